//! The cluster as a program: one line, one life.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The program, the rest of its output, and the path it has printed.
fn start() -> (Child, BufReader<ChildStdout>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wsx-test-cluster"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(Path::new(line.trim_end()).is_file(), "{line}");
    (child, stdout, line.trim_end().to_owned())
}

fn assert_gone(mut child: Child, mut stdout: BufReader<ChildStdout>, kubeconfig: &str) {
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "the path is the only line");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(kubeconfig).parent().unwrap().exists());
}

#[test]
fn it_ends_with_its_stdin() {
    let (mut child, stdout, kubeconfig) = start();
    drop(child.stdin.take());
    assert_gone(child, stdout, &kubeconfig);
}

#[test]
fn it_ends_on_sigterm() {
    let (child, stdout, kubeconfig) = start();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_gone(child, stdout, &kubeconfig);
}

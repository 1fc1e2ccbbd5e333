//! Truth under loss: what ends, when, over which protocol; what kubectl says, what wsx says.
//!
//! The table is printed. What it must never hold: an exit code of 0 from wsx unless the command
//! ended with success before the loss.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::fixture::{Fixture, Translate};
use crate::support::{PATIENCE, Run, at, finish};

/// What is lost while the command runs.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The API server is killed and started again.
    ApiServer,
    /// Kubelet and runtime are killed and started again.
    Node,
    /// The container's main process is killed, and the command with it.
    Container,
}

impl Loss {
    fn order(self) -> &'static str {
        match self {
            Self::ApiServer => "restart apiserver",
            Self::Node => "restart node",
            Self::Container => "kill web-0 app",
        }
    }
}

/// When it is lost.
#[derive(Clone, Copy, Debug)]
enum When {
    /// After the first byte of output.
    Start,
    /// While output flows.
    Middle,
    /// After the last byte of output, before the command ends.
    End,
}

impl When {
    /// A command that has come exactly this far once `MARK` was printed.
    fn script(self) -> &'static str {
        match self {
            Self::Start => "echo MARK; sleep 60",
            Self::Middle => "seq 1 1000; echo MARK; sleep 60; seq 1 1000",
            Self::End => "seq 1 1000; echo done; echo MARK; sleep 60",
        }
    }
}

/// Fills the table and judges it.
pub(crate) fn table() {
    println!(
        "{:10} {:10} {:7} {:4} {:6} | {:28} | wsx: exit, class, close code, bytes",
        "translates", "lost", "when", "via", "stdin", "kubectl: exit, last words"
    );
    let mut false_successes = Vec::new();
    for translate in [Translate::Kubelet, Translate::ApiServer, Translate::Nobody] {
        let Some(mut fixture) = super::fixture(translate) else {
            return;
        };
        for loss in [Loss::Node, Loss::ApiServer, Loss::Container] {
            for when in [When::Start, When::Middle, When::End] {
                for (protocol, stdin) in [("v4", false), ("v5", false), ("v5", true)] {
                    if protocol == "v5" && matches!(translate, Translate::Nobody) {
                        continue;
                    }
                    let ours = ours(&mut fixture, loss, when, protocol, stdin);
                    let theirs = theirs(&mut fixture, loss, when, stdin);
                    let input = if stdin { "-i" } else { "" };
                    let row = format!(
                        "{:10} {:10} {:7} {:4} {:6} | {:28} | {}",
                        format!("{translate:?}"),
                        format!("{loss:?}"),
                        format!("{when:?}"),
                        protocol,
                        input,
                        theirs,
                        ours.1
                    );
                    println!("{row}");
                    if ours.0 == Some(0) {
                        false_successes.push(row);
                    }
                }
            }
        }
    }
    assert!(
        false_successes.is_empty(),
        "false successes:\n{}",
        false_successes.join("\n")
    );
}

fn command(stdin: bool, when: When) -> Vec<&'static str> {
    let mut words = vec!["exec", "web-0", "-c", "app"];
    if stdin {
        words.push("-i");
    }
    words.extend(["--", "sh", "-c", when.script()]);
    words
}

/// Runs a command until `MARK` is seen, has something lost, and waits for the end.
fn lose(command: &mut Command, fixture: &mut Fixture, loss: Loss) -> Run {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut seen = Vec::new();
    let stdout = child.stdout.as_mut().unwrap();
    while !seen.windows(4).any(|word| word == b"MARK") {
        let mut piece = [0; 4096];
        let count = stdout.read(&mut piece).unwrap();
        assert!(count > 0, "no MARK in {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..count]);
    }
    // The input stays open until the end: what is left of it is not what ends the command.
    let stdin = child.stdin.take();
    fixture.order(loss.order());
    let run = finish(child);
    drop(stdin);
    run
}

fn ours(
    fixture: &mut Fixture,
    loss: Loss,
    when: When,
    protocol: &str,
    stdin: bool,
) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.json");
    wait_for_the_pod(fixture);
    let flags = [
        format!("--protocol={protocol}"),
        format!("--status-file={}", path.display()),
    ];
    let mut program = at(&fixture.kubeconfig, ["exec"]);
    program.args(flags).args(&command(stdin, when)[1..]);
    let run = lose(&mut program, fixture, loss);
    let status: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let text = format!(
        "{:?}, {}, {}, {}",
        run.code.unwrap_or(-1),
        status["class"].as_str().unwrap(),
        status["close_code"],
        status["stdout"]
    );
    (run.code, text)
}

fn theirs(fixture: &mut Fixture, loss: Loss, when: When, stdin: bool) -> String {
    wait_for_the_pod(fixture);
    let mut program = fixture
        .kubectl
        .command(&fixture.kubeconfig, command(stdin, when));
    let run = lose(&mut program, fixture, loss);
    let words = run.stderr.lines().last().unwrap_or_default();
    let words: String = words.chars().take(24).collect();
    format!("{:?} {words}", run.code.unwrap_or(-1))
}

/// After a loss the pod comes back: the node answers again once its kubelet knows the pod.
fn wait_for_the_pod(fixture: &Fixture) {
    let begin = Instant::now();
    let words = ["exec", "web-0", "-c", "app", "--", "true"];
    while crate::support::run(&mut at(&fixture.kubeconfig, words)).code != Some(0) {
        assert!(begin.elapsed() < PATIENCE, "the pod does not come back");
    }
}

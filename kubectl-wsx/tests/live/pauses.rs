//! Readers and commands that pause: never cut for being slow. In full in `make soak`, with shortened
//! limits here; `core/src/session/process_tests.rs` has them in virtual time.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{cluster, finish, pattern, run, wsx};

/// Reads a little, pauses, and reads the rest of `size` bytes.
fn paused_reader(limits: &[&str], size: usize, pause: Duration) {
    let cluster = cluster();
    let mut command = wsx(&cluster, ["exec"]);
    command
        .args(limits)
        .args(["web-0", "-c", "app", "--", "gen", &size.to_string()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut received = vec![0; 1000];
    stdout.read_exact(&mut received).unwrap();
    rest(pause);
    stdout.read_to_end(&mut received).unwrap();
    finish(child).expect(0, &[]);
    assert!(
        received == pattern(size),
        "{} of {size} bytes, or others",
        received.len()
    );
}

/// Sends `size` bytes to a command that does not read for a while.
fn paused_command(limits: &[&str], size: usize, pause: Duration) {
    let cluster = cluster();
    let fault = format!("{{\"stdin_unread\":{{\"ms\":{}}}}}", pause.as_millis());
    let mut command = wsx(&cluster, ["exec", "-i"]);
    command
        .args(limits)
        .args(["web-0", "-c", "app", "--", "@fault", &fault, "sink"]);
    let run = run(command.stdin(crate::support::pattern_file(size)));
    run.expect(0, &[]).prints(format!("{size}\n"));
}

/// The pause is what is tested: this is no waiting for something to happen.
#[expect(
    clippy::disallowed_methods,
    reason = "a reader that pauses is the thing under test"
)]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}

/// Both limits pass several times during the pause.
const SHORT: &[&str] = &["--keepalive=200ms", "--keepalive-timeout=1s"];

#[test]
fn a_reader_that_pauses_gets_everything() {
    paused_reader(SHORT, 32 << 20, Duration::from_secs(4));
}

#[test]
fn a_reader_that_pauses_when_the_server_has_finished_gets_everything() {
    // All of it lies in buffers while nobody reads: a ping now would be answered with a reset.
    paused_reader(SHORT, 2 << 20, Duration::from_secs(4));
}

#[test]
fn a_command_that_does_not_read_is_waited_for() {
    paused_command(SHORT, 32 << 20, Duration::from_secs(4));
}

#[test]
#[ignore = "soak: 75 s at the default limits"]
fn soak_a_reader_that_pauses_for_75_seconds() {
    paused_reader(&[], 64 << 20, Duration::from_secs(75));
}

#[test]
#[ignore = "soak: 75 s at the default limits"]
fn soak_a_command_that_does_not_read_for_75_seconds() {
    paused_command(&[], 64 << 20, Duration::from_secs(75));
}

#[test]
#[ignore = "soak: 1 GiB out and in, tens of seconds in a debug build"]
fn soak_one_gibibyte_both_ways() {
    let cluster = cluster();
    let mut command = wsx(&cluster, ["exec", "web-0", "-c", "app", "--", "gen", "1G"]);
    let out = tempfile::NamedTempFile::new().unwrap();
    command
        .stdout(File::create(out.path()).unwrap())
        .stderr(Stdio::piped());
    finish(command.spawn().unwrap()).expect(0, &[]);
    assert_eq!(out.path().metadata().unwrap().len(), 1 << 30);
    let mut command = wsx(&cluster, ["exec", "-i", "web-0", "-c", "app", "--", "sink"]);
    run(command.stdin(File::open(out.path()).unwrap()))
        .expect(0, &[])
        .prints("1073741824\n");
}

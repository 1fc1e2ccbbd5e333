//! How much memory the real binary takes at its worst: what it may add to that of a session in which
//! nothing happens.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use crate::support::{cluster, finish, wsx};

/// Runs `cat` under a fault, sends one byte once the fault is over, and returns the most memory
/// that was used until then, in kB: the session is held open by its input.
fn peak(fault: &str, output: usize) -> u64 {
    let cluster = cluster();
    let arguments = ["exec", "-i", "web-0", "-c", "app", "--"];
    let mut command = wsx(&cluster, arguments);
    command
        .args(["@fault", fault, "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.as_mut().unwrap());
    stdin.write_all(b"x").unwrap();
    let copied = std::io::copy(&mut stdout.take(output as u64 + 1), &mut std::io::sink());
    assert_eq!(copied.unwrap(), output as u64 + 1);
    let peak = high_water(child.id());
    drop(stdin);
    finish(child).expect(0, &[]);
    peak
}

/// Returns the most memory that a running process ever took, in kB.
pub(crate) fn high_water(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn floods_take_no_memory() {
    let base = peak("{}", 0);
    for (fault, output) in [
        (r#"{"giant_frame":16777215}"#, 16_777_215),
        (r#"{"ping_flood":200000,"linger":true}"#, 0),
        (r#"{"empty_messages":900}"#, 0),
        (r#"{"unknown_channel":1000000}"#, 0),
    ] {
        let more = peak(fault, output).saturating_sub(base);
        assert!(more < 8 << 10, "{fault}: {more} kB above {base} kB");
    }
}

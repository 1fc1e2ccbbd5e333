//! Words that all tests with the hand-made client share.
//!
//! Lives here: targets, usual openings, usual events. Never here: sockets (`raw`), assertions of one test.

use std::time::{Duration, Instant};

use serde_json::Value;
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{FIN, TEXT};

use crate::raw::{Event, Raw};

/// The target of an exec in `web-0`, container `app`; `streams` as `stdin=true&stdout=true`.
pub(crate) fn exec(streams: &str, command: &[&str]) -> String {
    let words: Vec<String> = command
        .iter()
        .map(|word| format!("&command={}", encoded(word)))
        .collect();
    format!(
        "{PODS}/web-0/exec?container=app&{streams}{}",
        words.concat()
    )
}

/// What an exec with these faults gives, from the first frame to the end of TCP.
pub(crate) fn faulty(
    cluster: &Cluster,
    subprotocol: &str,
    faults: &str,
    command: &[&str],
) -> Vec<Event> {
    let mut raw = begin(cluster, subprotocol, faults, command);
    raw.rest()
}

/// An exec with these faults, after its 101.
pub(crate) fn begin(cluster: &Cluster, subprotocol: &str, faults: &str, command: &[&str]) -> Raw {
    let command = [&["@fault", faults], command].concat();
    let target = exec("stdin=true&stdout=true&stderr=true", &command);
    let mut raw = Raw::upgrade(cluster, "plain", Some(subprotocol), &target);
    assert_eq!(raw.answer().status, 101);
    raw
}

/// What `echo hi` gives with these faults, without the ready message that always comes first.
pub(crate) fn echo(subprotocol: &str, faults: &str) -> Vec<Event> {
    let mut events = faulty(&cluster(), subprotocol, faults, &["echo", "hi"]);
    assert_eq!(events.remove(0), message(1, ""));
    events
}

/// A message on a channel.
pub(crate) fn message(channel: u8, text: &str) -> Event {
    Event::Message(channel, text.to_owned())
}

/// The closing frame of a normal end.
pub(crate) fn close(code: u16) -> Event {
    Event::Close(code.to_be_bytes().to_vec())
}

/// The Status of success on v5, as it stands on channel 3.
pub(crate) fn success() -> Event {
    success_on(V5)
}

/// The Status of success as it stands on channel 3; only the translator of v5 writes `metadata`.
pub(crate) fn success_on(subprotocol: &str) -> Event {
    let metadata = if subprotocol == V5 {
        r#""metadata":{},"#
    } else {
        ""
    };
    message(3, &format!(r#"{{{metadata}"status":"Success"}}"#))
}

/// A cluster of its own for one test.
pub(crate) fn cluster() -> Cluster {
    Cluster::spawn().unwrap()
}

/// An exec after its 101, with all streams but the terminal.
pub(crate) fn enter(cluster: &Cluster, subprotocol: &str, command: &[&str]) -> Raw {
    let target = exec("stdin=true&stdout=true&stderr=true", command);
    let mut raw = Raw::upgrade(cluster, "plain", Some(subprotocol), &target);
    let answer = raw.answer();
    assert_eq!(
        (answer.status, answer.header("Sec-WebSocket-Protocol")),
        (101, Some(subprotocol))
    );
    raw
}

/// Makes a fifo, on which a process waits until the test writes.
pub(crate) fn fifo(folder: &std::path::Path, name: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.join(name))
        .status()
        .unwrap();
    assert!(made.success());
}

/// Asks again and again, for ten seconds at most.
pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::yield_now();
    }
}

/// The value of a JSON text.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The page that answers an upgrade which is refused.
pub(crate) fn refusal(
    cluster: &Cluster,
    listener: &str,
    subprotocols: &str,
    target: &str,
) -> (u16, String) {
    Raw::upgrade(cluster, listener, Some(subprotocols), target).page()
}

fn encoded(text: &str) -> String {
    let hex = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(hex).collect()
}

/// Text frame, whole.
pub(crate) const WHOLE_TEXT: u8 = FIN | TEXT;
/// Where the pods of the namespace `default` are.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
/// v4, by its name on the wire.
pub(crate) const V4: &str = "v4.channel.k8s.io";
/// v5, by its name on the wire.
pub(crate) const V5: &str = "v5.channel.k8s.io";

//! Attach and terminals of the embedded cluster, judged by a client made by hand.

use wsx_tests::wire::{CLOSE, FIN, PING, client_frame};

use crate::raw::{Event, Raw};
use crate::talk::{PODS, V4, V5, close, cluster, exec, fifo, json, message, success, success_on};

#[test]
fn a_terminal_has_the_size_it_is_told_and_no_stderr() {
    let cluster = cluster();
    let target = exec(
        "stdin=1&stdout=1&stderr=1&tty=1",
        &["sh", "-c", "read x; stty size; echo err >&2"],
    );
    let mut raw = Raw::upgrade(&cluster, "plain", Some(V5), &target);
    assert_eq!(raw.answer().status, 101);
    raw.send(b"\x04{\"Width\":101,");
    raw.send(b"\x04\"height\":33}\n");
    raw.send(b"\x00go\n");
    let expected = [
        message(1, ""),
        message(1, "go\r\n33 101\r\nerr\r\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn much_output_of_a_terminal_arrives_whole() {
    let cluster = cluster();
    let target = exec("stdout=1&tty=1", &["seq", "50000"]);
    let mut raw = Raw::upgrade(&cluster, "plain", Some(V5), &target);
    assert_eq!(raw.answer().status, 101);
    let expected: String = (1..=50_000).map(|number| format!("{number}\r\n")).collect();
    assert_eq!(
        raw.rest(),
        [
            message(1, ""),
            message(1, &expected),
            success(),
            close(1000),
            Event::Eof
        ]
    );
}

#[test]
fn the_end_of_stdin_detaches_a_terminal() {
    let cluster = cluster();
    // A fifo tells the process when to go on: its terminal hears nothing any more.
    let home = cluster.container_directory("default", "web-0", "app");
    fifo(&home, "go");
    let target = exec(
        "stdin=1&stdout=1&tty=1",
        &["sh", "-c", "echo first; read x <go; echo second"],
    );
    let mut raw = Raw::upgrade(&cluster, "plain", Some(V5), &target);
    assert_eq!(raw.answer().status, 101);
    assert_eq!(
        (raw.next(), raw.next()),
        (message(1, ""), message(1, "first\r\n"))
    );
    raw.send(b"\xFF\x00");
    raw.send(b"\x00dropped\n");
    raw.write(&client_frame(FIN | PING, b"read so far"));
    assert_eq!(raw.next(), Event::Pong(b"read so far".to_vec()));
    std::fs::write(home.join("go"), "go\n").unwrap();
    assert_eq!(raw.rest(), [success(), close(1000), Event::Eof]);
}

#[test]
fn attach_gives_what_comes_from_now_on() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V5),
        &format!("{PODS}/web-0/attach?container=app&stdout=1"),
    );
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.next(), message(1, ""));
    let Event::Message(1, text) = raw.next() else {
        panic!("no output")
    };
    assert!(text.starts_with("tick 1\n"), "{text}");
    raw.write(&client_frame(FIN | CLOSE, b""));
    assert!(raw.rest().ends_with(&[close(1000), Event::Eof]));
}

#[test]
fn attach_succeeds_whatever_the_container_says() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V5),
        &format!("{PODS}/ends-0/attach?stdin=1&stdout=1"),
    );
    assert_eq!(raw.answer().status, 101);
    raw.send(b"\x00hello\n");
    let expected = [
        message(1, ""),
        message(1, "got hello\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
    let (_, pod) = Raw::request(&cluster, "plain", &format!("{PODS}/ends-0"), &[]).page();
    let pod = json(&pod);
    assert_eq!(pod["status"]["phase"], "Failed");
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        3
    );
}

#[test]
fn attach_to_a_terminal_echoes() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V4),
        &format!("{PODS}/tty-0/attach?stdin=1&stdout=1&tty=1"),
    );
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.next(), message(1, ""));
    raw.send(b"\x00hi\n");
    raw.send(b"\x00\x04");
    let events = raw.rest();
    assert_eq!(
        events,
        [
            message(1, "hi\r\nhi\r\n"),
            success_on(V4),
            close(1000),
            Event::Eof
        ]
    );
}

#[test]
fn stdin_to_a_container_that_takes_none_blocks_for_ever() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V5),
        &format!("{PODS}/web-0/attach?container=app&stdin=1&stderr=1"),
    );
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.next(), message(2, ""));
    raw.send(b"\x00x");
    raw.write(&client_frame(FIN | PING, b""));
    assert!(raw.is_silent());
}

//! Faults in frames and in time, each shown by a client made by hand; ends and answers: `faults`.

use std::time::{Duration, Instant};

use wsx_tests::wire::{BINARY, CONTINUATION, FIN, PING, RSV1, TEXT, client_frame};

use crate::raw::Event;
use crate::talk::{V4, V5, begin, close, cluster, echo, faulty, message, success};

#[test]
fn slice() {
    let expected = [message(1, "hi\n"), success(), close(1000), Event::Eof];
    assert_eq!(echo(V5, r#"{"slice":1}"#), expected);
}

#[test]
fn ping_flood() {
    let events = echo(V5, r#"{"ping_flood":5000}"#);
    assert_eq!(
        events.iter().filter(|event| **event == Event::Ping).count(),
        5000
    );
    assert!(events.ends_with(&[message(1, "hi\n"), success(), close(1000), Event::Eof]));
}

#[test]
fn empty_messages() {
    let events = echo(V5, r#"{"empty_messages":3}"#);
    let empty = Event::Odd(FIN | BINARY, Vec::new());
    assert_eq!(events[..3], [empty.clone(), empty.clone(), empty]);
    assert_eq!(events[3], message(1, "hi\n"));
}

#[test]
fn unknown_channel() {
    assert_eq!(
        echo(V5, r#"{"unknown_channel":3}"#)[..2],
        [message(9, "???"), message(1, "hi\n")]
    );
}

#[test]
fn giant_frame() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"giant_frame":3000000}"#, &["true"]);
    assert_eq!(raw.next(), message(1, ""));
    assert_eq!(raw.next_length(), Some(3_000_001));
    assert_eq!(raw.rest(), [success(), close(1000), Event::Eof]);
}

#[test]
fn declared_length() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"declared_length":"2^62"}"#, &["true"]);
    assert_eq!(raw.next(), message(1, ""));
    let head = [0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(raw.bytes(head.len()), Ok(&head[..]));
}

#[test]
fn frames_nobody_may_send() {
    let data = |first: u8| Event::Odd(first, b"\x01hi\n".to_vec());
    for (fault, expected) in [
        ("text_frame", data(FIN | TEXT)),
        ("rsv", data(FIN | RSV1 | BINARY)),
        ("bad_opcode", Event::Odd(FIN | 0xB, b"\x01x".to_vec())),
        ("long_control", Event::Odd(FIN | PING, vec![b'p'; 126])),
        (
            "continuation_first",
            Event::Odd(FIN | CONTINUATION, b"\x01x".to_vec()),
        ),
    ] {
        let events = echo(V5, &format!("{{\"{fault}\":true}}"));
        assert_eq!(events[0], expected, "{fault}");
        assert!(events.ends_with(&[success(), close(1000), Event::Eof]));
    }
}

#[test]
fn masked() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"masked":true}"#, &["echo", "hi"]);
    assert_eq!(raw.next(), message(1, ""));
    let frame = client_frame(FIN | BINARY, b"\x01hi\n");
    assert_eq!(raw.bytes(frame.len()), Ok(&frame[..]));
}

#[test]
fn fragments_with_pings_between() {
    let piece = |first: u8, text: &str| Event::Odd(first, text.as_bytes().to_vec());
    let events = echo(V5, r#"{"fragment":2}"#);
    let expected = [
        piece(BINARY, "\u{1}h"),
        Event::Ping,
        piece(FIN | CONTINUATION, "i\n"),
    ];
    assert_eq!(events[..3], expected);

    let events = echo(V5, r#"{"fragment":1,"fragment_empty_first":true}"#);
    let expected = [
        piece(BINARY, ""),
        Event::Ping,
        piece(FIN | CONTINUATION, "\u{1}hi\n"),
    ];
    assert_eq!(events[..3], expected);

    let events = echo(V5, r#"{"fragment":2,"fragment_interrupted":true}"#);
    let expected = [
        piece(BINARY, "\u{1}h"),
        Event::Ping,
        message(1, "hi\n"),
        piece(FIN | CONTINUATION, "i\n"),
    ];
    assert_eq!(events[..4], expected);
}

#[test]
fn pause() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"pause_ms":1000}"#, &["echo", "hi"]);
    assert_eq!(raw.next(), message(1, ""));
    assert!(raw.is_silent());
    assert_eq!(
        raw.rest(),
        [message(1, "hi\n"), success(), close(1000), Event::Eof]
    );
}

#[test]
fn no_ready() {
    let events = faulty(&cluster(), V5, r#"{"no_ready":true}"#, &["echo", "hi"]);
    assert_eq!(
        events,
        [message(1, "hi\n"), success(), close(1000), Event::Eof]
    );
}

#[test]
fn silent_after_101() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"silent_after_101":true}"#, &["true"]);
    raw.write(&client_frame(FIN | PING, b""));
    assert!(raw.is_silent());
}

#[test]
fn stdin_unread() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"stdin_unread":true}"#, &["cat"]);
    assert_eq!(raw.next(), message(1, ""));
    raw.write(&client_frame(FIN | PING, b"before"));
    assert_eq!(raw.next(), Event::Pong(b"before".to_vec()));
    raw.send(b"\x00x");
    raw.write(&client_frame(FIN | PING, b"after"));
    assert!(raw.is_silent());

    let mut raw = begin(&cluster, V5, r#"{"stdin_unread":{"ms":1000}}"#, &["cat"]);
    assert_eq!(raw.next(), message(1, ""));
    raw.send(b"\x00x");
    assert!(raw.is_silent());
    assert_eq!(raw.next(), message(1, "x"));
}

#[test]
fn stderr_first() {
    let script = "echo out; echo err >&2; echo out";
    let events = faulty(
        &cluster(),
        V5,
        r#"{"stderr_first":true}"#,
        &["sh", "-c", script],
    );
    let expected = [
        message(1, ""),
        message(2, "err\n"),
        message(1, "out\nout\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(events, expected);
}

#[test]
fn idle_cut() {
    for (subprotocol, end) in [
        (V5, vec![success(), close(1000), Event::Eof]),
        (V4, vec![Event::Eof]),
    ] {
        let cluster = cluster();
        let mut raw = begin(&cluster, subprotocol, r#"{"idle_cut_ms":500}"#, &["cat"]);
        assert_eq!(raw.next(), message(1, ""));
        // Pings are answered and do not count.
        raw.write(&client_frame(FIN | PING, b""));
        assert_eq!(raw.next(), Event::Pong(Vec::new()));
        assert_eq!(raw.rest(), end);
    }
}

#[test]
fn idle_is_counted_from_the_last_data() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"idle_cut_ms":800}"#, &["cat"]);
    assert_eq!(raw.next(), message(1, ""));
    let started = Instant::now();
    // More turns than one limit could hold, each shorter than it.
    while started.elapsed() < Duration::from_millis(1200) {
        raw.send(b"\x00x");
        assert_eq!(raw.next(), message(1, "x"));
    }
    assert_eq!(raw.rest(), [success(), close(1000), Event::Eof]);
}

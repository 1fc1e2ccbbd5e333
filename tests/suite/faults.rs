//! Every fault on demand does what its row in `tests/README.md` says.

use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{BINARY, CONTINUATION, FIN, PING, RSV1, TEXT, client_frame};

use crate::raw::{Event, Raw, V4, V5, WHOLE_TEXT, begin, close, exec, faulty, message, success};

fn cluster() -> Cluster {
    Cluster::spawn().unwrap()
}

/// What `echo hi` gives with these faults, without the ready message that always comes first.
fn echo(subprotocol: &str, faults: &str) -> Vec<Event> {
    let mut events = faulty(&cluster(), subprotocol, faults, &["echo", "hi"]);
    assert_eq!(events.remove(0), message(1, ""));
    events
}

/// The answer to an upgrade with this handshake fault, before its status is looked at.
fn handshake(cluster: &Cluster, fault: &str) -> Raw {
    let faults = format!("{{\"handshake\":{fault}}}");
    let target = exec("stdout=true", &["@fault", &faults, "true"]);
    Raw::upgrade(cluster, "plain", Some(V4), &target)
}

/// The header of a good 101 that this handshake fault gives.
fn header(fault: &str, name: &str) -> Option<String> {
    let answer = handshake(&cluster(), fault).answer();
    assert_eq!(answer.status, 101);
    answer.header(name).map(str::to_owned)
}

#[test]
fn a_misspelt_fault_is_refused_by_name() {
    let cluster = cluster();
    let target = exec("stdout=true", &["@fault", r#"{"afterbytes":1}"#, "true"]);
    let (status, body) = Raw::upgrade(&cluster, "plain", Some(V4), &target).page();
    assert_eq!(status, 400);
    assert!(body.contains("unknown field `afterbytes`"), "{body}");
}

#[test]
fn faults_work_over_tls_and_in_base64() {
    let cluster = cluster();
    let target = exec(
        "stdout=true",
        &["@fault", r#"{"status":"empty-object"}"#, "true"],
    );
    let mut raw = Raw::upgrade(&cluster, "v1.35", Some("v4.base64.channel.k8s.io"), &target);
    assert_eq!(raw.answer().status, 101);
    let text = |text: &str| Event::Odd(WHOLE_TEXT, text.as_bytes().to_vec());
    assert_eq!(
        raw.rest(),
        [text("1"), text("3e30="), close(1000), Event::Eof]
    );
}

#[test]
fn handshake_silent() {
    assert!(handshake(&cluster(), r#""silent""#).is_silent());
}

#[test]
fn handshake_eof() {
    assert_eq!(
        handshake(&cluster(), r#""eof""#).try_answer().err(),
        Some(Event::Eof)
    );
}

#[test]
fn handshake_rst() {
    assert_eq!(
        handshake(&cluster(), r#""rst""#).try_answer().err(),
        Some(Event::Reset)
    );
}

#[test]
fn handshake_bad_accept() {
    let accept = header(r#""bad-accept""#, "Sec-WebSocket-Accept").unwrap();
    assert_ne!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn handshake_no_subprotocol() {
    assert_eq!(
        header(r#""no-subprotocol""#, "Sec-WebSocket-Protocol"),
        None
    );
}

#[test]
fn handshake_other_subprotocol() {
    let other = header(r#"{"subprotocol":"x"}"#, "Sec-WebSocket-Protocol");
    assert_eq!(other.as_deref(), Some("x"));
}

#[test]
fn handshake_extension() {
    let extension = header(r#""extension""#, "Sec-WebSocket-Extensions");
    assert_eq!(extension.as_deref(), Some("permessage-deflate"));
}

#[test]
fn handshake_connection_list() {
    let connection = header(r#""connection-list""#, "Connection");
    assert_eq!(connection.as_deref(), Some("keep-alive, Upgrade"));
}

#[test]
fn handshake_status() {
    let fault = r#"{"status":403,"body":"no\u001b[31m","content_type":"text/html"}"#;
    assert_eq!(
        handshake(&cluster(), fault).page(),
        (403, "no\u{1b}[31m".to_owned())
    );
}

#[test]
fn handshake_head_bytes() {
    let cluster = cluster();
    let mut raw = handshake(&cluster, r#"{"head_bytes":20}"#);
    assert_eq!(raw.bytes(20), Ok(&b"HTTP/1.1 101 Switchi"[..]));
    assert!(raw.is_silent());
}

#[test]
fn silent_after_101() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"silent_after_101":true}"#, &["true"]);
    raw.write(&client_frame(FIN | PING, b""));
    assert!(raw.is_silent());
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
fn then_fin() {
    assert_eq!(
        echo(V5, r#"{"after_bytes":2,"then":"fin"}"#),
        [message(1, "hi"), Event::Eof]
    );
}

#[test]
fn then_rst() {
    assert_eq!(
        echo(V5, r#"{"after_bytes":2,"then":"rst"}"#),
        [message(1, "hi"), Event::Reset]
    );
}

#[test]
fn then_stall() {
    let cluster = cluster();
    let mut raw = begin(
        &cluster,
        V5,
        r#"{"after_bytes":1,"then":"stall"}"#,
        &["echo", "hi"],
    );
    assert_eq!((raw.next(), raw.next()), (message(1, ""), message(1, "h")));
    raw.write(&client_frame(FIN | PING, b""));
    assert!(raw.is_silent());
}

#[test]
fn then_hang() {
    let cluster = cluster();
    let mut raw = begin(
        &cluster,
        V5,
        r#"{"after_bytes":0,"then":"hang"}"#,
        &["echo", "hi"],
    );
    assert_eq!(raw.next(), message(1, ""));
    raw.write(&client_frame(FIN | PING, b"1"));
    assert_eq!(raw.next(), Event::Pong(b"1".to_vec()));
    assert!(raw.is_silent());
}

#[test]
fn then_close() {
    let events = echo(
        V5,
        r#"{"after_bytes":0,"then":{"close":1001,"reason":"bye"}}"#,
    );
    assert_eq!(events, [Event::Close(b"\x03\xE9bye".to_vec()), Event::Eof]);
}

#[test]
fn then_close_no_status() {
    let events = echo(V5, r#"{"after_bytes":3,"then":"close-no-status"}"#);
    assert_eq!(events, [message(1, "hi\n"), close(1000), Event::Eof]);
}

#[test]
fn then_close_raw() {
    let events = echo(V5, r#"{"after_bytes":0,"then":{"close_raw":"03"}}"#);
    assert_eq!(events, [Event::Close(vec![3]), Event::Eof]);
}

#[test]
fn bytes_are_counted_over_messages_and_prepared_output() {
    let mut events = faulty(&cluster(), V5, r#"{"after_bytes":40000}"#, &["gen", "1M"]);
    let Event::Message(1, text) = events.remove(1) else {
        panic!("no output")
    };
    assert_eq!(text.chars().count(), 40_000);
    assert_eq!(events, [message(1, ""), Event::Eof]);
}

#[test]
fn status_missing() {
    assert_eq!(
        echo(V4, r#"{"status":"missing"}"#),
        [message(1, "hi\n"), close(1000), Event::Eof]
    );
}

#[test]
fn status_split() {
    let pieces = [
        message(3, r#"{"metadata":{},"s"#),
        message(3, r#"tatus":"Success"}"#),
    ];
    let [first, second] = pieces;
    let expected = [message(1, "hi\n"), first, second, close(1000), Event::Eof];
    assert_eq!(echo(V5, r#"{"status":"split"}"#), expected);
}

#[test]
fn status_bytewise() {
    let events = echo(V5, r#"{"status":"bytewise"}"#);
    let letters: Vec<Event> = r#"{"metadata":{},"status":"Success"}"#
        .chars()
        .map(|letter| message(3, &letter.to_string()))
        .collect();
    assert_eq!(events[1..=letters.len()], letters);
}

#[test]
fn status_texts_that_are_none() {
    for (fault, text) in [
        (r#""garbage""#, "\u{1}not a Status"),
        (r#""empty-object""#, "{}"),
        (r#"{"raw":"[1]"}"#, "[1]"),
    ] {
        let events = echo(V5, &format!("{{\"status\":{fault}}}"));
        assert_eq!(
            events,
            [
                message(1, "hi\n"),
                message(3, text),
                close(1000),
                Event::Eof
            ]
        );
    }
}

#[test]
fn status_exit() {
    let events = echo(V5, r#"{"status":{"exit":"256"}}"#);
    let Event::Message(3, status) = &events[1] else {
        panic!("no Status: {events:?}")
    };
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "256");
}

#[test]
fn a_lost_upstream_is_success_on_v5_and_nothing_on_v4() {
    let cut = r#"{"after_bytes":1,"status":"lost-upstream"}"#;
    assert_eq!(
        echo(V5, cut),
        [message(1, "h"), success(), close(1000), Event::Eof]
    );
    assert_eq!(echo(V4, cut), [message(1, "h"), Event::Eof]);
    let late = r#"{"status":"lost-upstream"}"#;
    assert_eq!(
        echo(V5, late),
        [message(1, "hi\n"), success(), close(1000), Event::Eof]
    );
    assert_eq!(echo(V4, late), [message(1, "hi\n"), Event::Eof]);
}

#[test]
fn status_before_output() {
    let expected = [success(), message(1, "hi\n"), close(1000), Event::Eof];
    assert_eq!(echo(V5, r#"{"status":"before-output"}"#), expected);
}

#[test]
fn status_flood() {
    let mut events = echo(V5, r#"{"status_flood":100000}"#);
    assert_eq!(events.remove(0), message(1, "hi\n"));
    let flood: usize = events
        .iter()
        .map(|event| match event {
            Event::Message(3, text) if text.starts_with(' ') => text.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(flood, 100_000);
    assert!(events.ends_with(&[success(), close(1000), Event::Eof]));
}

#[test]
fn no_metadata() {
    let bare = message(3, r#"{"status":"Success"}"#);
    let expected = [message(1, "hi\n"), bare, close(1000), Event::Eof];
    assert_eq!(echo(V4, r#"{"no_metadata":true}"#), expected);
}

#[test]
fn two_closes() {
    let expected = [
        message(1, "hi\n"),
        success(),
        close(1000),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(echo(V5, r#"{"two_closes":true}"#), expected);
}

#[test]
fn keep_tcp_open() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"keep_tcp_open":true}"#, &["true"]);
    assert_eq!(
        (raw.next(), raw.next(), raw.next()),
        (message(1, ""), success(), close(1000))
    );
    raw.write(&client_frame(FIN | 8, &1000_u16.to_be_bytes()));
    assert!(raw.is_silent());
    raw.hang_up();
    assert_eq!(raw.next(), Event::Eof);
}

#[test]
fn linger() {
    let cluster = cluster();
    let mut raw = begin(&cluster, V5, r#"{"linger":true}"#, &["true"]);
    let end = [message(1, ""), success(), close(1000), Event::Eof];
    assert_eq!(raw.rest(), end);
    // Nothing answers with a reset, however much is sent.
    for _ in 0..64 {
        raw.send(&[b'x'; 64 * 1024]);
    }
    assert_eq!(raw.next(), Event::Eof);
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
    let started = std::time::Instant::now();
    // More turns than one limit could hold, each shorter than it.
    while started.elapsed() < std::time::Duration::from_millis(1200) {
        raw.send(b"\x00x");
        assert_eq!(raw.next(), message(1, "x"));
    }
    assert_eq!(raw.rest(), [success(), close(1000), Event::Eof]);
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

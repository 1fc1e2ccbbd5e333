//! Faults of the handshake, the Status and the end: each does what its row in `tests/README.md` says.

use serde_json::Value;
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{FIN, PING, client_frame};

use crate::raw::{Event, Raw};
use crate::talk::{
    V4, V5, WHOLE_TEXT, begin, close, cluster, echo, exec, faulty, message, success,
};

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
    let status: Value = serde_json::from_str(status).unwrap();
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

//! The embedded cluster's logs over WebSocket, and everything that can end or spoil a reply.

use serde_json::json;
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{BINARY, CLOSE, FIN, PING, PONG, TEXT, client_frame};

use crate::logs::{empty, open};
use crate::raw::{Event, Raw};
use crate::talk::PODS;

/// A log over WebSocket, after its 101.
fn upgraded(cluster: &Cluster, subprotocol: &str, query: &str) -> Raw {
    let target = format!("{PODS}/own-0/log?{query}");
    let mut raw = Raw::upgrade(cluster, "plain", Some(subprotocol), &target);
    let answer = raw.answer();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some(subprotocol));
    raw
}

fn binary(bytes: &[u8]) -> Result<(u8, Vec<u8>), Event> {
    Ok((FIN | BINARY, bytes.to_vec()))
}

fn goodbye(code: u16) -> Result<(u8, Vec<u8>), Event> {
    Ok((FIN | CLOSE, code.to_be_bytes().to_vec()))
}

#[test]
fn messages_hold_2048_bytes_at_most() {
    let (cluster, log) = empty();
    log.run(json!({"write": [{"text": "ü", "repeat": 1500}], "exit": 0}));
    let mut raw = upgraded(&cluster, "binary.k8s.io", "follow=true");
    let whole = format!("{}\n", "ü".repeat(1500)).into_bytes();
    assert_eq!(raw.frame(), binary(b""));
    assert_eq!(raw.frame(), binary(&whole[..2048]));
    assert_eq!(raw.frame(), binary(&whole[2048..]));
    assert_eq!(raw.frame(), goodbye(1000));
    assert_eq!(raw.frame(), Err(Event::Eof));

    let mut raw = upgraded(&cluster, "base64.binary.k8s.io", "limitBytes=1");
    assert_eq!(raw.frame(), Ok((FIN | TEXT, Vec::new())));
    assert_eq!(raw.frame(), Ok((FIN | TEXT, b"ww==".to_vec())));
    assert_eq!(raw.frame(), goodbye(1000));
}

#[test]
fn pings_are_answered_and_a_goodbye_too() {
    let (cluster, log) = empty();
    let mut raw = upgraded(&cluster, "binary.k8s.io", "follow=true");
    assert_eq!(raw.frame(), binary(b""));
    raw.write(&client_frame(FIN | BINARY, b"nobody reads this"));
    raw.write(&client_frame(FIN | PING, b"are you there"));
    assert_eq!(raw.frame(), Ok((FIN | PONG, b"are you there".to_vec())));
    log.write("x");
    assert_eq!(raw.frame(), binary(b"x\n"));
    raw.write(&client_frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(raw.frame(), goodbye(1000));
    log.await_follows(0);
}

#[test]
fn every_cut_comes_after_what_was_written() {
    let (cluster, log) = empty();
    for (how, http, websocket) in [
        ("fin", Some(Event::Eof), Err(Event::Eof)),
        ("rst", Some(Event::Reset), Err(Event::Reset)),
        ("close 1000", None, goodbye(1000)),
        ("close 1001", None, goodbye(1001)),
        ("eof-polite", None, goodbye(1000)),
    ] {
        log.run(json!({"rotate": true}));
        let mut plain = open(&cluster, "follow=true");
        let mut raw = upgraded(&cluster, "binary.k8s.io", "follow=true");
        log.await_follows(2);
        assert_eq!(raw.frame(), binary(b""));
        log.write(how);
        // What has come is read first: a reset throws away what lies in the socket.
        assert_eq!(plain.chunk().unwrap(), format!("{how}\n"));
        assert_eq!(raw.frame(), binary(format!("{how}\n").as_bytes()));
        assert_eq!(log.cut(how), 2);
        assert_eq!(plain.chunks(), (String::new(), http), "{how}");
        assert_eq!(raw.frame(), websocket, "{how}");
        log.await_follows(0);
    }
    let mut raw = upgraded(&cluster, "binary.k8s.io", "follow=true&tailLines=0");
    assert_eq!(raw.frame(), binary(b""));
    assert_eq!(log.cut("close 1012 go away"), 1);
    assert_eq!(raw.frame(), Ok((FIN | CLOSE, b"\x03\xf4go away".to_vec())));
}

#[test]
fn a_cut_waits_for_all_that_was_written() {
    let (cluster, log) = empty();
    let mut raw = open(&cluster, "follow=true");
    log.await_follows(1);
    // In one go, so that the cut overtakes the reading.
    let line = format!("{:>99}\n", "");
    let operation = json!({"write": [{"text": line, "repeat": 20_000}], "cut": "fin"});
    let (body, end) = std::thread::scope(|scope| {
        scope.spawn(|| log.run(operation));
        raw.chunks()
    });
    assert_eq!((body.len(), end), (2_000_000, Some(Event::Eof)));
}

#[test]
fn a_stalled_reply_answers_no_ping() {
    let (cluster, log) = empty();
    let mut raw = upgraded(&cluster, "binary.k8s.io", "follow=true");
    assert_eq!(raw.frame(), binary(b""));
    log.cut("stall");
    log.write("never sent");
    raw.write(&client_frame(FIN | PING, b""));
    assert!(raw.is_silent());
}

#[test]
fn the_next_reply_is_cut_after_bytes_of_the_log() {
    let (cluster, log) = empty();
    log.write("0123456789");
    log.run(json!({"cut_after_bytes": 4, "then": "fin"}));
    log.run(json!({"cut_after_bytes": 0, "then": "close 1001"}));
    let cut = open(&cluster, "follow=true").chunks();
    assert_eq!(cut, ("0123".to_owned(), Some(Event::Eof)));
    let mut raw = upgraded(&cluster, "binary.k8s.io", "");
    assert_eq!((raw.frame(), raw.frame()), (binary(b""), goodbye(1001)));
    assert_eq!(
        open(&cluster, "").chunks(),
        ("0123456789\n".to_owned(), None)
    );
}

#[test]
fn an_intermediary_refuses_upgrades_or_takes_them_out() {
    let (cluster, log) = empty();
    log.write("x");
    let upgrade = || {
        let target = format!("{PODS}/own-0/log");
        Raw::upgrade(&cluster, "plain", Some("binary.k8s.io"), &target)
    };
    log.run(json!({"refuse_ws": true}));
    let answer = upgrade().answer();
    assert_eq!(
        (answer.status, answer.header("Content-Type")),
        (403, Some("text/html"))
    );
    assert_eq!(open(&cluster, "").chunks().0, "x\n");
    log.run(json!({"refuse_ws": "strip"}));
    let mut raw = upgrade();
    assert_eq!(raw.answer().status, 200);
    assert_eq!(raw.chunks(), ("x\n".to_owned(), None));
    log.run(json!({"refuse_ws": false}));
    assert_eq!(upgrade().answer().status, 101);
}

#[test]
fn the_same_words_work_on_the_clusters_own_path() {
    let (cluster, _log) = empty();
    let post = |body: &str| {
        let mut raw = Raw::connect(&cluster, "plain");
        let length = body.len();
        let head = "POST /__wsx/log/default/own-0/app HTTP/1.1\r\nHost: x\r\nContent-Length:";
        raw.write(format!("{head} {length}\r\n\r\n{body}").as_bytes());
        raw.page()
    };
    let body = "{\"write\":[{\"text\":\"a\"}]}\n{\"write\":[{\"hex\":\"620a63\"}],\"cut\":\"rst\"}";
    let nothing = r#"{"cut":0,"follows":0}"#;
    assert_eq!(post(body), (200, format!("[{nothing},{nothing}]")));
    assert_eq!(open(&cluster, "").chunks().0, "a\nb\nc\n");
    for nonsense in [
        "{\"rotat\":true}",
        "{\"cut\":\"off\"}",
        "{\"clock\":\"x\"}",
        "x",
    ] {
        assert_eq!(post(nonsense).0, 400, "{nonsense}");
    }
}

//! Port-forward on the embedded cluster, by the tunnel and a client made by hand.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{self, FIN, PING, PONG, TEXT};

use crate::raw::Event;
use crate::spdy::{Said, Tunnel, count};
use crate::talk::close;

fn cluster() -> Cluster {
    Cluster::spawn().unwrap()
}

/// A tunnel to `web-0` after its faults were arranged.
#[expect(clippy::needless_pass_by_value, reason = "callers write json!(…)")]
fn faulty(cluster: &Cluster, faults: Value) -> Tunnel {
    let ports = cluster.forward("default", "web-0");
    ports.run(json!({"next": faults}));
    open(cluster)
}

fn open(cluster: &Cluster) -> Tunnel {
    Tunnel::open(cluster, "default", "web-0")
}

/// What `gen` writes.
fn words(count: usize) -> Vec<u8> {
    let words = (0..count.div_ceil(8) as u64).flat_map(u64::to_le_bytes);
    words.take(count).collect()
}

fn text(said: &Said) -> String {
    match said {
        Said::Data(_, bytes) => String::from_utf8(bytes.clone()).unwrap(),
        said => panic!("no text: {said:?}"),
    }
}

#[test]
fn a_connection_ends_in_order_on_both_streams() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 100);
    tunnel.replied(1);
    tunnel.data(3, b"abc", false);
    let all = tunnel.until(&Said::End(1));
    assert_eq!(all, [Said::Data(3, words(100)), Said::End(3), Said::End(1)]);
}

#[test]
fn frames_come_in_the_pieces_of_go() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 7);
    tunnel.replied(1);
    assert_eq!(tunnel.lengths[..4], [2, 2, 4, 4]);
    tunnel.lengths.clear();
    tunnel.data(3, b"hello", false);
    assert_eq!(tunnel.next(), Said::Data(3, b"hello".to_vec()));
    tunnel.ping(1);
    assert_eq!(tunnel.next(), Said::Ping(1));
    assert_eq!(tunnel.lengths, [4, 4, 5, 2, 2, 4, 4]);
}

#[test]
fn long_messages_come_in_the_frames_of_gorilla() {
    let cluster = cluster();
    // What comes first from the two servers: an echo, and blocks of 32 KiB.
    for (port, length, frames) in [
        (7, 4082, vec![(0x82, 4082)]),
        (7, 4096, vec![(0x02, 4082), (0x80, 14)]),
        (7, 8000, vec![(0x02, 4082), (0x80, 3918)]),
        (19, 32_768, vec![(0x02, 32_768), (0x80, 0)]),
    ] {
        let mut tunnel = open(&cluster);
        tunnel.pair(1, port);
        // In ten messages; the head of the data frame comes in two more.
        tunnel.replied(1);
        tunnel.data(3, &words(length), false);
        assert!(tunnel.next() == Said::Data(3, words(length)), "{length}");
        if port == 19 {
            // The empty frame comes with the next data.
            tunnel.next();
        }
        let firsts = tunnel.firsts[12..].iter().copied();
        let all: Vec<_> = firsts.zip(tunnel.lengths[12..].iter().copied()).collect();
        assert_eq!(all[..frames.len()], frames, "{length}");
    }
}

#[test]
fn a_close_without_a_code_is_answered_with_one() {
    let cluster = cluster();
    for payload in [&[][..], &1001_u16.to_be_bytes()] {
        let mut tunnel = open(&cluster);
        tunnel.write_raw(&wire::client_frame(FIN | wire::CLOSE, payload));
        let echo = Event::Close(payload.to_vec());
        assert_eq!(tunnel.next(), Said::Event(echo));
        assert_eq!(tunnel.next(), Said::Event(Event::Eof));
    }
}

#[test]
fn an_older_runtime_ends_the_data_of_a_refused_port_first() {
    let cluster = cluster();
    let ports = cluster.forward("default", "web-0");
    ports.run(json!({"runtime": "early-end"}));
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 9999);
    tunnel.replied(1);
    let all = tunnel.until(&Said::Reset(1, 5));
    assert_eq!(all[0], Said::End(3));
    assert!(text(&all[1]).contains("connection refused"));
    assert_eq!(all.len(), 3);
}

#[test]
fn a_refused_port_is_a_text_and_two_resets() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 9999);
    tunnel.replied(1);
    let all = tunnel.until(&Said::Reset(1, 5));
    let [said, Said::Reset(3, 5), Said::Reset(1, 5)] = &all[..] else {
        panic!("{all:?}");
    };
    let said = text(said);
    let begin = "error forwarding port 9999 to pod ";
    assert!(said.starts_with(begin), "{said}");
    assert!(said.contains("connect: connection refused"), "{said}");
    tunnel.pair(5, 7);
    tunnel.replied(5);
}

#[test]
fn a_reset_of_the_pod_is_an_end_then_a_text() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 3000);
    tunnel.replied(1);
    tunnel.data(3, b"x", false);
    let all = tunnel.until(&Said::Reset(1, 5));
    assert_eq!(all[..2], [Said::Data(3, words(64 * 1024)), Said::End(3)]);
    assert!(text(&all[2]).ends_with("read: connection reset by peer"));
    assert_eq!(all.len(), 4);
}

#[test]
fn streams_without_sense_are_reset() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    let good = [("streamtype", "data"), ("port", "7")];
    for (id, headers) in [
        (1, &good[..1]),
        (3, &good[1..]),
        (5, &[("streamtype", "data"), ("port", "0")]),
        (7, &[("streamtype", "odd"), ("port", "7")]),
    ] {
        tunnel.syn(id, headers);
        assert_eq!(tunnel.next(), Said::Reset(id, 5), "{headers:?}");
    }
    tunnel.syn(5, &good);
    assert_eq!(tunnel.next(), Said::Reset(5, 1));
    // Even IDs are no mistake.
    tunnel.syn(12, &good);
    assert_eq!(tunnel.next(), Said::Reply(12));
}

#[test]
fn a_pair_has_one_stream_of_a_kind_and_needs_both() {
    let cluster = cluster();
    let mut tunnel = faulty(&cluster, json!({"creation_timeout_ms": 300}));
    let error = [("streamtype", "error"), ("port", "7"), ("requestid", "9")];
    tunnel.syn(1, &error);
    tunnel.syn(3, &error);
    let all = [tunnel.next(), tunnel.next(), tunnel.next(), tunnel.next()];
    let mut texts = all
        .iter()
        .filter(|said| matches!(said, Said::Data(1 | 3, _)));
    assert_eq!(
        text(texts.next().unwrap()),
        "error processing stream for request 9: error stream already assigned"
    );
    let said = text(texts.next().unwrap());
    let end = "request=9) timed out waiting for streams";
    assert!(said.ends_with(end), "{said}");
}

#[test]
fn what_is_wrong_brings_silence_until_the_client_speaks() {
    let cluster = cluster();
    let wrong: [&[u8]; 5] = [
        // Kinds 11 and 5, PING 0, GOAWAY, and SYN_STREAM with a block that is not flushed.
        &[0x80, 3, 0, 11, 0, 0, 0, 0],
        &[0x80, 3, 0, 5, 0, 0, 0, 0],
        &[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0],
        &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x80, 3, 0, 1, 0, 0, 0, 11, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
    ];
    for bytes in wrong {
        let mut tunnel = open(&cluster);
        tunnel.syn(1, &[("streamtype", "error"), ("port", "7")]);
        assert_eq!(tunnel.next(), Said::Reply(1));
        tunnel.write(bytes);
        assert!(tunnel.is_silent(), "{bytes:x?}");
        // A ping of the WebSocket does not help, any message does.
        tunnel.write_raw(&wire::client_frame(FIN | PING, b"?"));
        let pong = Event::Odd(FIN | PONG, b"?".to_vec());
        assert_eq!(tunnel.next(), Said::Event(pong));
        tunnel.ping(1);
        assert_eq!(tunnel.next(), Said::Event(close(1000)));
        assert_eq!(tunnel.next(), Said::Event(Event::Eof));
    }
}

#[test]
fn text_ends_the_tunnel_at_once() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.write_raw(&wire::client_frame(FIN | TEXT, b"hello"));
    assert_eq!(tunnel.next(), Said::Event(close(1000)));
}

#[test]
fn pings_are_echoed_by_parity_and_skipped_frames_are_skipped() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.control(4, &[0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 100]);
    tunnel.control(9, &[0, 0, 0, 1, 0, 0, 1, 0]);
    tunnel.ping(2);
    tunnel.ping(7);
    assert_eq!(tunnel.next(), Said::Ping(7));
    cluster
        .forward("default", "web-0")
        .run(json!({"await_pings": 2}));
}

#[test]
fn a_pod_that_does_not_read_holds_up_the_session() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 3001);
    tunnel.replied(1);
    tunnel.pair(5, 7);
    tunnel.replied(5);
    let block = vec![0; 32 * 1024];
    // The pod's buffer, then the queue of its worker: others are served.
    for _ in 0..50 {
        tunnel.data(3, &block, false);
    }
    tunnel.data(7, b"still served", false);
    assert_eq!(tunnel.next(), Said::Data(7, b"still served".to_vec()));
    for _ in 0..10 {
        tunnel.data(3, &block, false);
    }
    tunnel.ping(1);
    assert!(tunnel.is_silent());
}

#[test]
fn data_goes_on_for_a_second_after_a_reset() {
    let cluster = cluster();
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 19);
    tunnel.replied(1);
    assert!(matches!(tunnel.next(), Said::Data(3, _)));
    tunnel.reset(3);
    let begun = Instant::now();
    let all = tunnel.until(&Said::End(1));
    let lasted = begun.elapsed();
    // No end on a stream that the client has reset.
    let [Said::Data(3, data), Said::End(1)] = &all[..] else {
        panic!("{} frames", all.len());
    };
    assert!(data.len() > 1 << 20, "{}", data.len());
    assert!(lasted > Duration::from_millis(900), "{lasted:?}");
    let ports = cluster.forward("default", "web-0");
    ports.run(json!({"await_resets": 1, "await_open": 0}));
}

#[test]
fn a_half_close_is_passed_on_by_another_runtime() {
    let cluster = cluster();
    let ports = cluster.forward("default", "web-0");
    ports.run(json!({"runtime": "half-close"}));
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 2000);
    tunnel.replied(1);
    tunnel.data(3, b"12345678", true);
    let all = tunnel.until(&Said::End(1));
    let answer = Said::Data(3, words((1 << 20) + 8));
    assert!(
        all == [answer, Said::End(3), Said::End(1)],
        "{} frames",
        all.len()
    );
}

#[test]
fn a_session_ends_as_it_is_told() {
    let cluster = cluster();
    let ports = cluster.forward("default", "web-0");
    let why = [3, 0xE9, b'w', b'h', b'y'].to_vec();
    for (cut, event) in [
        ("rst", Event::Reset),
        ("fin", Event::Eof),
        ("close 1001 why", Event::Close(why)),
    ] {
        let mut tunnel = open(&cluster);
        tunnel.ping(1);
        assert_eq!(tunnel.next(), Said::Ping(1));
        assert_eq!(ports.run(json!({"cut": cut}))["cut"], 1, "{cut}");
        assert_eq!(tunnel.next(), Said::Event(event), "{cut}");
        drop(tunnel);
        ports.run(json!({"await_sessions": 0}));
    }
    for (cut, first) in [
        ("stall", None),
        ("upstream", None),
        ("goaway", Some(Said::Goaway(0))),
    ] {
        let mut tunnel = open(&cluster);
        tunnel.ping(1);
        assert_eq!(tunnel.next(), Said::Ping(1));
        ports.run(json!({"cut": cut}));
        if let Some(first) = first {
            assert_eq!(tunnel.next(), first);
        }
        assert!(tunnel.is_silent());
        tunnel.ping(3);
        if cut == "stall" {
            assert!(tunnel.is_silent());
        } else {
            assert_eq!(tunnel.next(), Said::Event(close(1000)));
        }
    }
}

#[test]
fn data_is_cut_at_the_byte() {
    let cluster = cluster();
    for (then, event) in [("rst", Event::Reset), ("fin", Event::Eof)] {
        let faults = json!({"after_bytes": 70_001, "then": then});
        let mut tunnel = faulty(&cluster, faults);
        tunnel.pair(1, 19);
        tunnel.replied(1);
        let mut count = 0;
        let last = loop {
            match tunnel.next() {
                Said::Data(3, bytes) => count += bytes.len(),
                said => break said,
            }
        };
        assert_eq!(last, Said::Event(event));
        // A reset may overtake what was sent.
        let overtaken = then == "rst" && count < 70_001;
        assert!(count == 70_001 || overtaken, "{then}: {count}");
    }
    let faults = json!({"after_received": 200, "then": "close 1011 full"});
    let mut tunnel = faulty(&cluster, faults);
    tunnel.write(&[0; 200]);
    let full = [&[3, 0xF3][..], b"full"].concat();
    assert_eq!(tunnel.next(), Said::Event(Event::Close(full)));
}

#[test]
fn odd_frames_are_said_when_asked() {
    let cluster = cluster();
    let with_nothing = vec![0, 0, 0, 1, 0x02, 0x61, 0, 0, 0, 0, 0xFF, 0xFF];
    let text = Event::Odd(FIN | TEXT, b"text".to_vec());
    for (word, said) in [
        ("unknown-control", Said::Other(11, Vec::new())),
        ("noop", Said::Other(5, Vec::new())),
        ("ping-0", Said::Ping(0)),
        ("ping-2", Said::Ping(2)),
        ("reply-twice", Said::Reply(1)),
        ("reply-unknown", Said::Reply(1001)),
        ("data-unknown", Said::Data(1001, b"lost".to_vec())),
        ("reset-without-reason", Said::Reset(1, 0)),
        ("headers", Said::Other(8, with_nothing)),
        (
            "window-update",
            Said::Other(9, vec![0, 0, 0, 1, 0, 0, 0x80, 0]),
        ),
        ("giant-data", Said::Data(1, vec![b'g'; 0xFF_FFFF])),
        ("text-message", Said::Event(text)),
        ("hex 000000050000000161", Said::Data(5, b"a".to_vec())),
    ] {
        let mut tunnel = faulty(&cluster, json!({"say": word}));
        tunnel.syn(1, &[("streamtype", "error"), ("port", "7")]);
        assert_eq!(tunnel.next(), Said::Reply(1), "{word}");
        assert!(tunnel.next() == said, "{word}");
    }
    let mut tunnel = faulty(&cluster, json!({"say": "big-header", "say_at": "open"}));
    let Said::Other(2, payload) = tunnel.next() else {
        panic!("no SYN_REPLY");
    };
    assert_eq!(payload.len(), 0x1_0001);
}

#[test]
fn answers_are_left_out_swapped_or_refused() {
    let cluster = cluster();
    let error = [("streamtype", "error"), ("port", "7"), ("requestid", "0")];
    let data = [("streamtype", "data"), ("port", "7"), ("requestid", "0")];
    let mut tunnel = faulty(&cluster, json!({"no_reply": true, "no_pong": true}));
    tunnel.syn(1, &error);
    tunnel.ping(1);
    assert!(tunnel.is_silent());
    let mut tunnel = faulty(&cluster, json!({"swap_replies": true, "slice": 1}));
    tunnel.syn(1, &error);
    assert!(tunnel.is_silent());
    tunnel.syn(3, &data);
    let replies = [tunnel.next(), tunnel.next()];
    assert_eq!(replies, [Said::Reply(3), Said::Reply(1)]);
    assert!(tunnel.lengths.iter().all(|length| *length == 1));
    let faults = json!({"refuse_streams": true, "empty_messages": true});
    let mut tunnel = faulty(&cluster, faults);
    tunnel.syn(1, &error);
    assert_eq!(tunnel.next(), Said::Reset(1, 5));
    assert_eq!(tunnel.lengths[..4], [0, 2, 0, 2]);
}

#[test]
fn connections_end_with_their_pod_and_the_session_stays() {
    let cluster = cluster();
    let ports = cluster.forward("default", "own-0");
    for (end, change) in [("fin", "delete"), ("rst", "replace"), ("fin", "restart")] {
        ports.run(json!({"create": {}, "end": end}));
        let mut tunnel = Tunnel::open(&cluster, "default", "own-0");
        tunnel.pair(1, 7);
        tunnel.replied(1);
        tunnel.data(3, b"hi", false);
        assert_eq!(tunnel.next(), Said::Data(3, b"hi".to_vec()));
        ports.run(json!({change: true}));
        assert_eq!(tunnel.next(), Said::End(3), "{change}");
        if end == "rst" {
            let said = text(&tunnel.next());
            assert!(said.ends_with("connection reset by peer"), "{said}");
            continue;
        }
        assert_eq!(tunnel.next(), Said::End(1), "{change}");
        tunnel.pair(5, 7);
        tunnel.replied(5);
        if change == "restart" {
            tunnel.data(7, b"anew", false);
            assert_eq!(tunnel.next(), Said::Data(7, b"anew".to_vec()));
        } else {
            let said = text(&tunnel.next());
            assert!(said.contains("failed to find sandbox"), "{said}");
        }
    }
}

#[test]
fn a_container_that_does_not_run_refuses() {
    let cluster = cluster();
    let mut tunnel = Tunnel::open(&cluster, "default", "crash-0");
    tunnel.pair(1, 8080);
    tunnel.replied(1);
    let said = text(&tunnel.next());
    assert!(said.contains("connection refused"), "{said}");
}

#[test]
fn a_port_may_lead_to_a_real_one_or_nowhere() {
    let cluster = cluster();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ports = json!({"9000": address, "9001": "unanswered", "7": "refused"});
    let own = cluster.forward("default", "web-0");
    own.run(json!({"ports": ports}));
    let mut tunnel = open(&cluster);
    tunnel.pair(1, 9000);
    tunnel.replied(1);
    tunnel.data(3, b"real", false);
    let (mut accepted, _) = listener.accept().unwrap();
    let mut four = [0; 4];
    std::io::Read::read_exact(&mut accepted, &mut four).unwrap();
    assert_eq!(&four, b"real");
    drop(accepted);
    assert_eq!([tunnel.next(), tunnel.next()], [Said::End(3), Said::End(1)]);
    tunnel.pair(5, 9001);
    tunnel.replied(5);
    assert!(tunnel.is_silent());
    tunnel.pair(9, 7);
    tunnel.replied(9);
    let said = text(&tunnel.next());
    assert!(said.contains("connection refused"), "{said}");
    assert_eq!(count(&cluster, "web-0", "streams"), 6);
}

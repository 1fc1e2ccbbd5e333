//! Port-forward on the embedded cluster: the choice of the protocol, and v4 channels.

use serde_json::json;
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{self, FIN, TEXT};

use crate::raw::{Event, Raw, UPGRADE};
use crate::spdy::{TUNNEL, target};
use crate::talk::{close, json as parsed, message};

const V4: &str = "v4.channel.k8s.io";
const OFFER: &str = "SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io";

fn cluster() -> Cluster {
    Cluster::spawn().unwrap()
}

fn ask(cluster: &Cluster, listener: &str, offer: &str, query: &str) -> Raw {
    let target = format!("{}{query}", target("default", "web-0"));
    Raw::upgrade(cluster, listener, Some(offer), &target)
}

/// Status and what was echoed.
fn chosen(cluster: &Cluster, listener: &str, offer: &str, query: &str) -> (u16, Option<String>) {
    let answer = ask(cluster, listener, offer, query).answer();
    let echoed = answer.header("Sec-WebSocket-Protocol");
    (answer.status, echoed.map(str::to_owned))
}

fn v4(cluster: &Cluster, query: &str) -> Raw {
    let mut raw = ask(cluster, "plain", V4, query);
    assert_eq!(raw.answer().status, 101);
    raw
}

#[test]
fn the_offer_and_the_version_decide() {
    let cluster = cluster();
    let tunnel = (101, Some(TUNNEL.to_owned()));
    let channels = (101, Some(V4.to_owned()));
    let swapped = "v4.channel.k8s.io,SPDY/3.1+portforward.k8s.io";
    for (listener, offer, expected) in [
        ("v1.35", OFFER, &tunnel),
        ("v1.36", swapped, &tunnel),
        ("v1.35", V4, &channels),
        ("v1.30", OFFER, &channels),
        ("v1.28", swapped, &channels),
        ("v1.28", TUNNEL, &(403, None)),
        ("v1.35", "v5.channel.k8s.io", &(403, None)),
        ("v1.35", "SPDY/3.1+odd", &(403, None)),
    ] {
        let found = chosen(&cluster, listener, offer, "?ports=7");
        assert_eq!(found, *expected, "{listener} {offer}");
    }
    assert_eq!(chosen(&cluster, "v1.35", TUNNEL, ""), tunnel);
}

#[test]
fn a_pod_may_know_one_protocol_or_none() {
    let cluster = cluster();
    let ports = cluster.forward("default", "web-0");
    for (protocols, both, tunnel, v4) in [
        ("tunnel", 101, 101, 403),
        ("v4", 101, 403, 101),
        ("none", 403, 403, 403),
        ("both", 101, 101, 101),
    ] {
        ports.run(json!({"protocols": protocols}));
        let found = [OFFER, TUNNEL, V4].map(|offer| chosen(&cluster, "plain", offer, "?ports=7").0);
        assert_eq!(found, [both, tunnel, v4], "{protocols}");
    }
}

#[test]
fn requests_without_sense_are_refused_before_the_websocket() {
    let cluster = cluster();
    for (query, text) in [
        ("", "query parameter \"port\" is required"),
        ("?ports=0", "port \"0\" must be > 0"),
        (
            "?ports=70000",
            "unable to parse \"70000\" as a port: strconv.ParseUint: parsing \"70000\": value out of range",
        ),
    ] {
        let found = ask(&cluster, "plain", V4, query).page();
        assert_eq!(found, (400, text.to_owned()));
    }
    let (status, body) = ask(&cluster, "plain", V4, "?ports=7&ports=x").page();
    let text = "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax";
    assert_eq!((status, &parsed(&body)["message"]), (400, &text.into()));
    let (status, body) = ask(&cluster, "plain", "SPDY/3.1+odd.k8s.io", "").page();
    let text = "unable to negotiate protocol: client supports [odd.k8s.io], server accepts [portforward.k8s.io]";
    assert_eq!(
        (status, &*body),
        (403, &*format!("unable to upgrade: {text}\n"))
    );
    let pod = |name: &str| {
        let target = format!("{}?ports=7", target("default", name));
        Raw::upgrade(&cluster, "plain", Some(V4), &target).page()
    };
    let text = "pod not found (\"done-0_default\")";
    assert_eq!(pod("done-0"), (500, text.to_owned()));
    assert_eq!(pod("nobody").0, 404);
    let plain = Raw::request(&cluster, "plain", &target("default", "web-0"), &[]).page();
    assert_eq!(plain.0, 400);
}

#[test]
fn rights_are_those_of_exec() {
    let cluster = cluster();
    for (user, listener, status) in [
        ("get-only", "v1.35", 403),
        ("get-only", "v1.28", 101),
        ("create-only", "v1.35", 403),
        ("exec-only", "v1.35", 101),
        ("no-list", "v1.35", 101),
        ("no-rights", "v1.35", 403),
    ] {
        let mut raw = Raw::connect(&cluster, listener);
        let token = cluster.token(user);
        let target = target("default", "web-0");
        let lines = UPGRADE.join("\r\n");
        let head = format!(
            "GET {target}?ports=7 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{lines}\r\n\
             Sec-WebSocket-Protocol: {OFFER}\r\n\r\n"
        );
        raw.write(head.as_bytes());
        assert_eq!(raw.answer().status, status, "{user} {listener}");
    }
}

#[test]
fn each_port_has_two_channels_that_begin_with_it() {
    let cluster = cluster();
    let mut raw = v4(&cluster, "?ports=8080&ports=7");
    for (channel, text) in [
        (0, "\u{90}\u{1f}"),
        (1, "\u{90}\u{1f}"),
        (2, "\u{7}\0"),
        (3, "\u{7}\0"),
    ] {
        assert_eq!(raw.next(), message(channel, text));
    }
    raw.send(b"\x02hello");
    assert_eq!(raw.next(), message(2, "hello"));
    raw.send(b"\x00GET / HTTP/1.1\r\n\r\n");
    let Event::Message(0, answer) = raw.next() else {
        panic!("no answer on channel 0");
    };
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn the_session_ends_with_its_last_port() {
    let cluster = cluster();
    let mut raw = v4(&cluster, "?ports=9999&ports=101");
    let all = raw.rest();
    let on = |wanted: u8| {
        let texts = all.iter().filter_map(|event| match event {
            Event::Message(channel, text) if *channel == wanted => Some(&**text),
            _ => None,
        });
        texts.collect::<String>()
    };
    let refused = on(1);
    assert!(refused.contains("connect: connection refused"), "{refused}");
    let data = on(2);
    assert!(data.len() == 102 && data.ends_with("9999999999"), "{data}");
    assert_eq!(all[all.len() - 2..], [close(1000), Event::Eof]);
}

#[test]
fn base64_carries_the_same() {
    let cluster = cluster();
    let mut raw = ask(&cluster, "plain", "v4.base64.channel.k8s.io", "?ports=7");
    assert_eq!(raw.answer().status, 101);
    // A channel as a digit, then base64.
    let text = |text: &str| Event::Odd(FIN | TEXT, text.as_bytes().to_vec());
    assert_eq!([raw.next(), raw.next()], [text("0BwA="), text("1BwA=")]);
    raw.write(&wire::client_frame(FIN | TEXT, b"0aGVsbG8="));
    assert_eq!(raw.next(), text("0aGVsbG8="));
}

#[test]
fn a_client_that_closes_is_answered_and_its_connection_ends() {
    let cluster = cluster();
    let mut raw = v4(&cluster, "?ports=7");
    assert_eq!(
        [raw.next(), raw.next()],
        [message(0, "\u{7}\0"), message(1, "\u{7}\0")]
    );
    let ports = cluster.forward("default", "web-0");
    ports.run(json!({"await_open": 1}));
    raw.write(&wire::client_frame(
        FIN | wire::CLOSE,
        &1001_u16.to_be_bytes(),
    ));
    assert_eq!(raw.rest(), [close(1000), Event::Eof]);
    ports.run(json!({"await_sessions": 0, "await_open": 0}));
}

#[test]
fn channels_have_their_faults() {
    let cluster = cluster();
    let ports = cluster.forward("default", "web-0");
    ports.run(json!({"next": {"after_bytes": 3, "then": "close 1011 cut"}}));
    let mut raw = v4(&cluster, "?ports=101");
    assert!(matches!(
        [raw.next(), raw.next()],
        [Event::Message(..), Event::Message(..)]
    ));
    let cut = [&[3, 0xF3][..], b"cut"].concat();
    assert_eq!(
        raw.rest(),
        [message(0, "000"), Event::Close(cut), Event::Eof]
    );
    ports.run(json!({"next": {"answer": {"status": 503, "body": "busy"}}}));
    let found = ask(&cluster, "plain", V4, "?ports=7").page();
    assert_eq!(found, (503, "busy".to_owned()));
    ports.run(json!({"next": {"subprotocol": "odd"}}));
    let found = chosen(&cluster, "plain", OFFER, "?ports=7");
    assert_eq!(found, (101, Some("odd".to_owned())));
    ports.run(json!({"await_sessions": 0}));
    let mut raw = v4(&cluster, "?ports=7");
    assert!(matches!(
        [raw.next(), raw.next()],
        [Event::Message(..), Event::Message(..)]
    ));
    assert_eq!(ports.run(json!({"cut": "rst"}))["cut"], 1);
    assert_eq!(raw.next(), Event::Reset);
}

#[test]
fn words_that_nobody_knows_are_named() {
    let cluster = cluster();
    for (line, named) in [
        (r#"{"sesions":{}}"#, "sesions"),
        (r#"{"next":{"say":"unknown"}}"#, "unknown"),
        (r#"{"cut":"soon"}"#, "soon"),
        (r#"{"ports":{"7":"nope"}}"#, "nope"),
        (r#"{"ready":true}"#, "nobody"),
    ] {
        let head = format!(
            "POST /__wsx/forward/default/nobody HTTP/1.1\r\nContent-Length: {}\r\n\r\n{line}",
            line.len()
        );
        let mut raw = Raw::connect(&cluster, "plain");
        raw.write(head.as_bytes());
        let (status, body) = raw.page();
        assert_eq!(status, 400, "{line}");
        assert!(body.contains(named), "{body}");
    }
}

//! What cannot be, told before anything is left open; servers that misbehave.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::process::Command;

use serde_json::json;

use super::{End, Forwarding, await_answer, get, own};
use crate::support::{cluster, run, words, wsx};

/// The table of client-go (reliability.md A4.1 to A4.4).
#[test]
fn the_grammar_of_ports_and_addresses_is_that_of_client_go() {
    let cluster = cluster();
    for port in [
        "a:5000", "0", "0:0", "65536", "5000:a", ":a", "5000:-1", "53/udp",
    ] {
        let run = run(&mut wsx(&cluster, ["pf", "web-0", port]));
        run.expect(125, &["error: "]).prints("");
    }
    for address in ["127.0.0.257", "::g", "domain.invalid"] {
        let run = run(&mut wsx(
            &cluster,
            ["pf", "web-0", ":80", "--address", address],
        ));
        run.expect(125, &["is no address"]).prints("");
    }
    for (address, lines) in [
        ("localhost", &["127.0.0.1:", "[::1]:"][..]),
        ("127.0.0.1", &["127.0.0.1:"]),
        ("::1", &["[::1]:"]),
        ("127.0.0.1,localhost", &["127.0.0.1:", "[::1]:"]),
        (
            "127.0.0.2,::1,127.0.0.1",
            &["127.0.0.1:", "127.0.0.2:", "[::1]:"],
        ),
    ] {
        let arguments = ["pf", "web-0", ":80", "--address", address];
        let mut forward = Forwarding::start(&mut wsx(&cluster, arguments));
        for local in lines {
            let line = forward.line();
            let start = format!("Forwarding from {local}");
            assert!(
                line.starts_with(&start) && line.ends_with(" -> 80"),
                "{line}"
            );
        }
        forward.interrupt().expect(0, &[]).prints("");
    }
}

#[test]
fn a_port_in_use_names_who_has_it_and_leaves_nothing_open() {
    let cluster = cluster();
    let mut first = Forwarding::on(&cluster, "web-0 :80");
    let port = first.port();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = free.local_addr().unwrap().port();
    drop(free);
    let line = format!("pf web-0 {other}:80 {port}:80");
    let holder = format!("kubectl-wsx (pid {}) has it", first.child.id());
    let said = format!("cannot listen on 127.0.0.1:{port}: the port is in use");
    let second = run(&mut wsx(&cluster, words(&line)));
    second.expect(125, &[&said, &holder, "try "]).prints("");
    TcpListener::bind(("127.0.0.1", other)).unwrap();
    first.interrupt().expect(0, &[]);
}

#[test]
fn pods_and_services_that_lead_nowhere_are_told_so() {
    let cluster = cluster();
    for (line, texts) in [
        (
            "nope :80",
            &["Error from server (NotFound): pods \"nope\" not found"][..],
        ),
        (
            "svc/nope :80",
            &["Error from server (NotFound): services \"nope\" not found"],
        ),
        (
            "done-0 :80",
            &["unable to forward port because pod is not running. Current status=Succeeded"],
        ),
        (
            "pending-0 :80 --pod-running-timeout=300ms",
            &["unable to forward port because pod is not running. Current status=Pending"],
        ),
        ("svc/noselector :80", &["defined without a selector"]),
        (
            "deploy/empty :80 --pod-running-timeout=300ms",
            &["deployment/empty"],
        ),
        (
            "web-0 :nope",
            &["Pod 'web-0' does not have a named port 'nope'"],
        ),
        (
            "foo/web :80",
            &["the server doesn't have a resource type \"foo\""],
        ),
    ] {
        let run = run(&mut wsx(&cluster, words(&format!("pf {line}"))));
        run.expect(125, texts).prints("");
    }
}

#[test]
fn a_udp_port_is_refused_and_what_works_is_named() {
    let cluster = cluster();
    for (line, texts) in [
        (
            "svc/udp :53",
            &["UDP protocol is not supported for 53", "kubectl wsx exec"][..],
        ),
        ("svc/front :dns", &["UDP protocol is not supported for 53"]),
        ("db-0 :53/udp", &["only TCP can be forwarded"]),
    ] {
        let run = run(&mut wsx(&cluster, words(&format!("pf -n ports {line}"))));
        run.expect(125, texts).prints("");
    }
    // The same number over TCP is another port.
    let mut forward = Forwarding::on(&cluster, "-n ports svc/mixed :53");
    forward.port();
    forward.interrupt().expect(0, &[]);
}

#[test]
fn services_are_translated_or_refused_by_name() {
    let cluster = cluster();
    for (line, texts) in [
        (
            "svc/front :81",
            &["Service front does not have a service port 81", "it has: "][..],
        ),
        (
            "svc/front :nope",
            &["Service 'front' does not have a named port 'nope'"],
        ),
        ("svc/missing :80", &["does not have a named port 'nope'"]),
        ("svc/noselector :80", &["defined without a selector"]),
        ("svc/external :80", &["ExternalName", "example.com"]),
        (
            "svc/empty :80 --pod-running-timeout=300ms",
            &["service/empty"],
        ),
        (
            "svc/waits :80 --pod-running-timeout=300ms",
            &["service/waits"],
        ),
    ] {
        let run = run(&mut wsx(&cluster, words(&format!("pf -n ports {line}"))));
        run.expect(125, texts).prints("");
    }
    for (line, remote) in [
        ("svc/front :80", "8080"),
        ("svc/front :http", "8080"),
        ("svc/numeric :80", "8080"),
        ("svc/headless :7", "7"),
    ] {
        let line = format!("-n ports {line}");
        let mut forward = Forwarding::on(&cluster, &line);
        let told = forward.line();
        assert!(told.ends_with(&format!(" -> {remote}")), "{line}: {told}");
        forward.interrupt().expect(0, &[]);
    }
}

#[test]
fn a_privileged_port_is_refused_with_the_reason() {
    let cluster = cluster();
    let line = "pf --address=127.0.0.1 web-0 81:80";
    let mut command = wsx(&cluster, words(line));
    let folder = tempfile::tempdir().unwrap();
    let nobody = Some(65_534);
    // Root may open every port: then it is done as somebody else.
    if chown(folder.path(), nobody, nobody).is_ok() {
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::copy(cluster.kubeconfig(), &kubeconfig).unwrap();
        chown(&kubeconfig, nobody, nobody).unwrap();
        command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_kubectl-wsx"))
            .args(words(line))
            .env("KUBECONFIG", kubeconfig);
    }
    run(&mut command)
        .expect(
            125,
            &["not allowed", "ports below 1024 are for root", "8080:80"],
        )
        .prints("");
}

#[test]
fn one_target_that_fails_leaves_no_other_open() {
    let cluster = cluster();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let line = format!("pf web-0 {port}:80 + nope :80");
    run(&mut wsx(&cluster, words(&line)))
        .expect(125, &["pods \"nope\" not found"])
        .prints("");
    TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
fn a_server_of_one_protocol_is_spoken_to_in_it() {
    for (knows, protocol, works) in [
        ("v4", "auto", true),
        ("v4", "v4", true),
        ("v4", "tunnel", false),
        ("tunnel", "auto", true),
        ("tunnel", "tunnel", true),
        ("tunnel", "v4", false),
        ("none", "auto", false),
    ] {
        let (cluster, ports) = own();
        ports.run(json!({"protocols": knows}));
        let mut forward = Forwarding::on(&cluster, &format!("--protocol={protocol} own-0 :80"));
        if works {
            let port = forward.port();
            assert_eq!(get(port, "/"), (b"own-0".to_vec(), End::Fin), "{knows}");
            forward.interrupt().expect(0, &[]);
        } else {
            forward.finish().expect(125, &["--protocol"]).prints("");
        }
    }
}

/// A session that breaks the protocol ends, and another one takes over. Every number and length is
/// checked before anything is made of it.
#[test]
fn frames_that_may_not_be_end_the_session_and_not_us() {
    for (word, why) in [
        ("unknown-control", "unexpected control frame of kind 11"),
        ("noop", "unexpected control frame of kind 5"),
        ("version2", "SPDY version 2"),
        ("oversize-control", "declares 16777215 bytes"),
        ("big-header", "declares 65537 bytes, the limit is 65536"),
        ("reply-twice", "was answered twice"),
        ("reply-unknown", "never opened"),
        ("data-unknown", "never opened"),
        ("reset-without-reason", "holds a 0 where none may be"),
        ("server-stream", "unexpected control frame of kind 1"),
        ("ping-0", "holds a 0 where none may be"),
        ("text-message", "text message"),
    ] {
        let (cluster, ports) = own();
        ports.run(json!({"next": {"say": word, "say_at": "data"}}));
        let mut forward = Forwarding::on(&cluster, "own-0 :80");
        let port = forward.port();
        // It may be answered before, or be reset; it is never cut and called whole.
        let (body, end) = get(port, "/");
        assert!(end == End::Reset || body == b"own-0", "{word}: {body:?}");
        let line = forward.says("reconnecting");
        assert!(line.contains(why), "{word}: {line}");
        await_answer(port, "own-0");
        forward.interrupt().expect(0, &["ready again after"]);
    }
}

/// What a client has to skip, or to answer.
#[test]
fn frames_that_mean_nothing_to_us_change_nothing() {
    for word in ["settings", "headers", "window-update", "ping-2"] {
        let (cluster, ports) = own();
        ports.run(json!({"sessions": {"say": word, "say_at": "data"}}));
        let mut forward = Forwarding::on(&cluster, "own-0 :80");
        let port = forward.port();
        for _ in 0..2 {
            assert_eq!(get(port, "/"), (b"own-0".to_vec(), End::Fin), "{word}");
        }
        let run = forward.interrupt();
        run.expect(0, &[]);
        assert!(!run.stderr.contains("reconnecting"), "{word}: {run:?}");
    }
}

#[test]
fn refused_upgrades_are_told_with_their_reason() {
    for (fault, code, texts) in [
        (
            json!({"answer": {"status": 403, "body": "no\u{1b}[2J way", "content_type": "text/plain"}}),
            125,
            &["no\\u{1b}[2J way"][..],
        ),
        (
            json!({"answer": {"status": 500, "body": "broken", "content_type": "text/plain"}}),
            125,
            &["broken"],
        ),
        (json!({"handshake": "bad-accept"}), 255, &["error: "]),
        (json!({"handshake": "no-subprotocol"}), 255, &["error: "]),
        (
            json!({"subprotocol": "v5.channel.k8s.io"}),
            255,
            &["error: "],
        ),
    ] {
        let (cluster, ports) = own();
        ports.run(json!({"sessions": fault}));
        let run = run(&mut wsx(&cluster, words("pf own-0 :80")));
        run.expect(code, texts).prints("");
        assert!(!run.stderr.contains('\u{1b}'));
    }
}

#[test]
fn a_silent_server_does_not_outlast_the_limit() {
    let (cluster, ports) = own();
    ports.run(json!({"sessions": {"handshake": "silent"}}));
    let mut command = wsx(&cluster, words("pf --connect-timeout=300ms own-0 :80"));
    let run = run(&mut command);
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("--connect-timeout"), "{run:?}");
}

//! Sessions and pods that go: the ports stay, what was cut is reset.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{End, Forwarding, await_answer, connect, exchange, get, own, read_all};

/// A path of the web server whose reply is endless, for whom nobody reads it all.
const LONG: &[u8] = b"GET /stream?n=1000000000 HTTP/1.1\r\nHost: pod\r\n\r\n";

#[test]
fn a_lost_session_is_replaced_and_the_port_stays() {
    for how in ["fin", "rst", "close 1001 bye", "goaway", "upstream"] {
        let (cluster, ports) = own();
        let mut forward = Forwarding::on(&cluster, "own-0 :80");
        let port = forward.port();
        let mut stream = connect(port);
        stream.write_all(LONG).unwrap();
        stream.read_exact(&mut [0; 4096]).unwrap();
        ports.run(json!({"cut": how}));
        // Cut data never looks whole.
        assert_eq!(read_all(&mut stream).1, End::Reset, "{how}");
        forward.says("connection 1 from ");
        assert_eq!(get(port, "/"), (b"own-0".to_vec(), End::Fin), "{how}");
        let run = forward.interrupt();
        run.expect(0, &["reconnecting", "ready again after"]);
    }
}

#[test]
fn a_session_that_answers_no_ping_is_given_up() {
    let (cluster, ports) = own();
    ports.run(json!({"next": {"no_pong": true}}));
    let mut forward = Forwarding::on(
        &cluster,
        "--keepalive=200ms --keepalive-timeout=1s own-0 :80",
    );
    let port = forward.port();
    forward.says("reconnecting");
    await_answer(port, "own-0");
    forward.interrupt().expect(0, &["ready again after"]);
}

#[test]
fn a_connection_that_has_carried_nothing_moves_to_the_next_session() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :7");
    let port = forward.port();
    let mut stream = connect(port);
    ports.run(json!({"await_open": 1}));
    ports.run(json!({"cut": "rst"}));
    forward.says("ready again after");
    stream.write_all(b"still here").unwrap();
    let mut back = [0; 10];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still here");
    drop(stream);
    let run = forward.interrupt();
    assert!(!run.stderr.contains("connection 1 from"), "{run:?}");
}

#[test]
fn a_refused_port_ends_its_own_connection_alone() {
    let (cluster, _ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :7 :81");
    let (echo, refused) = (forward.port(), forward.port());
    let mut stream = connect(echo);
    stream.write_all(b"a").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(read_all(&mut connect(refused)), (Vec::new(), End::Reset));
    let line = forward.says("to own-0:81: ");
    assert!(line.contains("connection refused"), "{line}");
    stream.write_all(b"b").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let run = forward.interrupt();
    run.expect(0, &[]);
    assert!(!run.stderr.contains("reconnecting"), "{run:?}");
}

#[test]
fn a_reset_of_the_pod_is_a_reset_here() {
    let (cluster, _ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :3000");
    let port = forward.port();
    let mut stream = connect(port);
    stream.write_all(b"x").unwrap();
    assert_eq!(read_all(&mut stream).1, End::Reset);
    forward.says("error: connection 1 from ");
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a_local_reset_in_the_middle_is_nobody_elses() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :7 :19");
    let (echo, endless) = (forward.port(), forward.port());
    let mut kept = connect(echo);
    kept.write_all(b"a").unwrap();
    kept.read_exact(&mut [0]).unwrap();
    let mut dropped = connect(endless);
    dropped.read_exact(&mut [0; 100_000]).unwrap();
    // What was not read makes it a reset.
    drop(dropped);
    ports.run(json!({"await_open": 1}));
    kept.write_all(b"b").unwrap();
    kept.read_exact(&mut [0]).unwrap();
    drop(kept);
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a_half_close_cuts_nothing_that_the_pod_still_sends() {
    let tens: Vec<u8> = (b'0'..=b'9').flat_map(|digit| [digit; 10]).collect();
    for flags in ["", "--half-close=hold"] {
        let (cluster, _ports) = own();
        let mut forward = Forwarding::on(&cluster, &format!("{flags} own-0 :2001"));
        assert_eq!(exchange(forward.port(), b"x"), (tens.clone(), End::Fin));
        forward.interrupt().expect(0, &[]);
    }
    // At once: containerd ends it all a second later, and cuts. That is the flag's price.
    let (cluster, _ports) = own();
    let mut forward = Forwarding::on(&cluster, "--half-close=pass own-0 :2001");
    let (data, _) = exchange(forward.port(), b"x");
    assert!(
        data.len() < tens.len() && tens.starts_with(&data),
        "{data:?}"
    );
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a_pod_that_comes_back_by_its_name_is_waited_for() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 --hold=20s");
    let port = forward.port();
    let (first, _) = get(port, "/uid");
    ports.run(json!({"delete": true}));
    forward.says("reconnecting");
    // This one is held until there is a session.
    let held = std::thread::spawn(move || get(port, "/uid"));
    ports.run(json!({"create": {"app": "own"}}));
    let (second, end) = held.join().unwrap();
    assert_eq!(end, End::Fin);
    assert!(second != first && !second.is_empty());
    forward.interrupt().expect(0, &["ready again after"]);
}

#[test]
fn a_connection_that_is_held_too_long_is_reset() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 --hold=300ms");
    let port = forward.port();
    ports.run(json!({"delete": true}));
    forward.says("reconnecting");
    let begin = Instant::now();
    assert_eq!(get(port, "/"), (Vec::new(), End::Reset));
    assert!(begin.elapsed() < Duration::from_secs(5));
    forward.says("--hold");
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a_pod_that_never_comes_back_is_lost_for_good() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 --wait=500ms");
    forward.port();
    ports.run(json!({"delete": true}));
    forward.finish().expect(255, &["reconnecting", "--wait"]);
}

#[test]
fn another_ready_pod_takes_over_for_a_workload() {
    let cluster = crate::support::cluster();
    let mut forward = Forwarding::on(&cluster, "deploy/web :80");
    let port = forward.port();
    let (first, _) = get(port, "/");
    let first = String::from_utf8(first).unwrap();
    let ports = cluster.forward("default", &first);
    ports.run(json!({"delete": true}));
    forward.says("ready again after");
    let (second, end) = get(port, "/");
    let second = String::from_utf8(second).unwrap();
    assert_eq!(end, End::Fin);
    assert!(second != first && second.starts_with("deploy-"), "{second}");
    forward.interrupt().expect(0, &[]);
}

#[test]
fn never_reconnecting_ends_with_the_session() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 --reconnect=never");
    assert_eq!(get(forward.port(), "/").1, End::Fin);
    ports.run(json!({"cut": "rst"}));
    forward.finish().expect(255, &["error: "]);
}

/// A laptop that sleeps: the session lived on, and is not given up for our own lateness.
#[test]
fn a_stopped_client_goes_on_where_it_was() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(
        &cluster,
        "--keepalive=200ms --keepalive-timeout=1s own-0 :7",
    );
    let mut stream = connect(forward.port());
    stream.write_all(b"a").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    forward.signal("STOP");
    let stopped = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_secs(4)))
        .unwrap();
    // Nothing can come: it is stopped. The read is the clock.
    stream.write_all(b"b").unwrap();
    stream.read_exact(&mut [0]).unwrap_err();
    assert!(stopped.elapsed() >= Duration::from_secs(3));
    forward.signal("CONT");
    stream.set_read_timeout(Some(super::LIMIT)).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    ports.run(json!({"await_open": 1}));
    drop(stream);
    let run = forward.interrupt();
    run.expect(0, &[]);
    assert!(!run.stderr.contains("reconnecting"), "{run:?}");
}

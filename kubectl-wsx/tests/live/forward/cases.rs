//! Kubernetes' own e2e cases of port-forward (reliability.md A1.1 to A1.10), with checks that can fail.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};

use serde_json::json;

use super::{End, Forwarding, connect, count, exchange, get, own, read_all};
use crate::support::pattern;

/// Both ways to travel.
const PROTOCOLS: [&str; 2] = ["tunnel", "v4"];

fn tens() -> Vec<u8> {
    (b'0'..=b'9').flat_map(|digit| [digit; 10]).collect()
}

/// By the tunnel: v4 has no way to say it.
#[test]
fn a1_1_a_client_that_sends_nothing_and_leaves_reaches_the_pod() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :100");
    let stream = connect(forward.port());
    ports.run(json!({"await_open": 1}));
    drop(stream);
    ports.run(json!({"await_open": 0}));
    assert_eq!(count(&ports, 100, "total"), 1);
    assert_eq!(count(&ports, 100, "to_pod"), 0);
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a1_2_a_client_that_half_closes_gets_all_100_bytes() {
    for protocol in PROTOCOLS {
        let (cluster, ports) = own();
        let mut forward = Forwarding::on(&cluster, &format!("--protocol={protocol} own-0 :100"));
        assert_eq!(exchange(forward.port(), b"abc"), (pattern(100), End::Fin));
        ports.run(json!({"await_open": 0}));
        assert_eq!(count(&ports, 100, "to_pod"), 3);
        assert_eq!(count(&ports, 100, "from_pod"), 100);
        forward.interrupt().expect(0, &[]);
    }
}

#[test]
fn a1_3_a_server_that_speaks_first_is_heard_to_its_end() {
    for protocol in PROTOCOLS {
        let (cluster, ports) = own();
        let mut forward = Forwarding::on(&cluster, &format!("--protocol={protocol} own-0 :101"));
        let mut stream = connect(forward.port());
        assert_eq!(read_all(&mut stream), (tens(), End::Fin));
        drop(stream);
        ports.run(json!({"await_open": 0}));
        forward.interrupt().expect(0, &[]);
    }
}

/// The raw frames of A1.4 are those of tests/suite; here they carry data.
#[test]
fn a1_4_v4_carries_what_is_said_on_its_data_channel() {
    let (cluster, _ports) = own();
    let mut forward = Forwarding::on(&cluster, "--protocol=v4.channel.k8s.io own-0 :7");
    let mut stream = connect(forward.port());
    let data = pattern(100_000);
    stream.write_all(&data).unwrap();
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == data);
    drop(stream);
    let offered = cluster.requests();
    let upgrades = offered
        .iter()
        .filter(|request| request.target.contains("portforward"));
    let ports: Vec<_> = upgrades.map(|request| &*request.target).collect();
    assert!(
        ports.iter().all(|target| target.ends_with("ports=7")),
        "{ports:?}"
    );
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a1_5_a_server_on_localhost_is_reached_as_well() {
    let (cluster, ports) = own();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    ports.run(json!({"ports": {"9000": address}}));
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut three = [0; 3];
        stream.read_exact(&mut three).unwrap();
        stream.write_all(&tens()).unwrap();
        three
    });
    let mut forward = Forwarding::on(&cluster, "own-0 :9000");
    assert_eq!(exchange(forward.port(), b"abc"), (tens(), End::Fin));
    assert_eq!(&serving.join().unwrap(), b"abc");
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a1_6_the_port_that_the_system_chose_is_told_and_accepts() {
    let (cluster, _ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 0:80");
    let (first, second) = (forward.port(), forward.port());
    assert!(first != 0 && second != 0 && first != second);
    for port in [first, second] {
        assert_eq!(get(port, "/"), (b"own-0".to_vec(), End::Fin));
    }
    forward.interrupt().expect(0, &[]);
}

#[test]
fn a1_7_a_pod_that_is_deleted_resets_its_uploads_and_ends_us_with_255() {
    let (cluster, ports) = own();
    // As the kernel does with what a process that was killed had not read.
    ports.run(json!({"end": "rst"}));
    let mut forward = Forwarding::on(&cluster, "--wait=1s own-0 :7");
    let mut stream = connect(forward.port());
    let block = pattern(16 << 10);
    let mut back = vec![0; block.len()];
    let mut done = 0;
    // One after the other: an error of a socket is told once, to a reader or a writer.
    let error = loop {
        if done == 64 {
            ports.run(json!({"delete": true}));
        }
        let sent = stream.write_all(&block);
        match sent.and_then(|()| stream.read_exact(&mut back)) {
            Ok(()) => done += 1,
            Err(error) => break error,
        }
        assert!(back == block && done < 65_536);
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "after {done}");
    let run = forward.finish();
    run.expect(255, &["error: ", "connection 1 from ", "--wait"]);
}

#[test]
fn a1_8_a_download_that_is_dropped_leaves_the_next_request_alone() {
    for protocol in PROTOCOLS {
        let (cluster, _ports) = own();
        let mut forward = Forwarding::on(&cluster, &format!("--protocol={protocol} own-0 :80"));
        let port = forward.port();
        for _ in 0..5 {
            let mut stream = connect(port);
            let request = b"GET /bytes?n=41943041 HTTP/1.1\r\nHost: pod\r\n\r\n";
            stream.write_all(request).unwrap();
            stream.read_exact(&mut [0]).unwrap();
            drop(stream);
            assert_eq!(get(port, "/"), (b"own-0".to_vec(), End::Fin));
        }
        forward.interrupt().expect(0, &[]);
    }
}

#[test]
fn a1_9_bodies_are_equal_to_the_last_byte() {
    for protocol in PROTOCOLS {
        let (cluster, _ports) = own();
        let mut forward = Forwarding::on(&cluster, &format!("--protocol={protocol} own-0 :80 :7"));
        let (web, echo) = (forward.port(), forward.port());
        let size = 8 << 20;
        let (body, end) = get(web, &format!("/bytes?n={size}"));
        assert!(body == pattern(size) && end == End::Fin, "{protocol}");
        let mut stream = connect(echo);
        let mut writing = stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            writing.write_all(&pattern(size)).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = vec![0; size];
        stream.read_exact(&mut back).unwrap();
        assert!(back == pattern(size), "{protocol}");
        writer.join().unwrap();
        forward.interrupt().expect(0, &[]);
    }
}

#[test]
fn a1_10_ctrl_c_is_the_end_by_itself() {
    let (cluster, _ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 :19");
    let (_, endless) = (forward.port(), forward.port());
    // Also with a connection in full flow.
    let mut stream = connect(endless);
    stream.read_exact(&mut [0; 1024]).unwrap();
    let run = forward.interrupt();
    run.expect(0, &[]);
    assert!(run.took < std::time::Duration::from_secs(5), "{run:?}");
    assert_eq!(read_all(&mut stream).1, End::Reset);
}

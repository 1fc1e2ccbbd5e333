//! Stock kubectl forwards ports through the embedded cluster.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::kubectl::{Court, court, run};

/// A kubectl that forwards, and the local ports by the remote ones.
struct Forwarder {
    child: Child,
    stdout: BufReader<ChildStdout>,
    ports: HashMap<u16, u16>,
}

impl Forwarder {
    /// Starts kubectl with any local ports, and waits until it forwards them.
    fn start((cluster, kubectl): &Court, target: &str, remote: &[&str]) -> Self {
        let mut words = vec!["port-forward".to_owned(), "--address=127.0.0.1".to_owned()];
        words.extend(target.split(' ').map(str::to_owned));
        words.extend(remote.iter().map(|port| format!(":{port}")));
        let mut command = kubectl.command(cluster.kubeconfig(), words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ports = HashMap::new();
        for _ in remote {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let rest = line.trim().strip_prefix("Forwarding from 127.0.0.1:");
            let (local, remote) = rest.and_then(|rest| rest.split_once(" -> ")).unwrap();
            ports.insert(remote.parse().unwrap(), local.parse().unwrap());
        }
        Self {
            child,
            stdout,
            ports,
        }
    }

    fn connect(&self, remote: u16) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.ports[&remote])).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// The exit code and what was said on stderr, once kubectl has ended by itself.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let mut more = String::new();
        self.stdout.read_to_string(&mut more).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // One that has ended is past killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends to an echo, and takes back as much at the same time.
fn echoes(mut socket: TcpStream, data: &[u8]) -> bool {
    let mut sending = socket.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sending.write_all(data).unwrap();
        });
        let mut back = vec![0; data.len()];
        socket.read_exact(&mut back).unwrap();
        back == data
    })
}

fn noise(count: usize, seed: usize) -> Vec<u8> {
    (0..count)
        .map(|at| (((at + seed) * 31) >> 3) as u8)
        .collect()
}

#[test]
fn a_request_is_answered_by_the_pod() {
    let Some(court) = court() else { return };
    let forwarder = Forwarder::start(&court, "web-0", &["8080"]);
    let mut socket = forwarder.connect(8080);
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nweb-0";
    let mut answer = vec![0; expected.len()];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

#[test]
fn a_service_leads_to_the_ports_of_a_pod() {
    let Some(court) = court() else { return };
    let target = "-n ports svc/front";
    let forwarder = Forwarder::start(&court, target, &["80", "echo"]);
    assert!(echoes(forwarder.connect(7), b"by name"));
    let mut socket = forwarder.connect(8080);
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    socket.write_all(request).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\r\n\r\nfront-"), "{answer}");
}

#[test]
fn services_that_lead_nowhere_are_refused() {
    let Some(court) = court() else { return };
    for (target, port, text) in [
        (
            "svc/external",
            "80",
            "Service is defined without a selector",
        ),
        (
            "svc/noselector",
            "80",
            "Service is defined without a selector",
        ),
        ("svc/udp", "53", "UDP protocol is not supported for 53"),
        ("svc/missing", "80", "does not have a named port 'nope'"),
        ("svc/front", "81", "does not have a service port 81"),
        (
            "waits-0",
            "8080",
            "pod is not running. Current status=Pending",
        ),
    ] {
        let (code, _, stderr) = run(&court, &format!("-n ports port-forward {target} :{port}"));
        assert_eq!(code, Some(1), "{target}");
        assert!(stderr.contains(text), "{target}: {stderr}");
    }
}

#[test]
fn megabytes_go_both_ways_at_once() {
    let Some(court) = court() else { return };
    let forwarder = Forwarder::start(&court, "web-0", &["7"]);
    assert!(echoes(forwarder.connect(7), &noise(8 << 20, 0)));
}

#[test]
fn fifty_connections_share_a_tunnel() {
    let Some(court) = court() else { return };
    let forwarder = Forwarder::start(&court, "web-0", &["7"]);
    std::thread::scope(|scope| {
        for seed in 0..50 {
            let socket = forwarder.connect(7);
            scope.spawn(move || assert!(echoes(socket, &noise(100_000, seed))));
        }
    });
    let told = court.0.forward("default", "web-0").run(json!({}));
    assert_eq!(told["counts"]["sessions_total"], 1);
    assert_eq!(told["counts"]["streams"], 100);
}

#[test]
fn a_refused_port_ends_kubectl() {
    let Some(court) = court() else { return };
    let mut forwarder = Forwarder::start(&court, "web-0", &["9999"]);
    // Kept open, as kubectl's own rule is about the error text.
    let _socket = forwarder.connect(9999);
    let (code, said) = forwarder.end();
    assert_eq!(code, Some(1));
    let refused = "failed to connect to localhost:9999 inside namespace";
    assert!(said.contains(refused), "{said}");
    assert!(said.ends_with("error: lost connection to pod\n"), "{said}");
}

#[test]
fn a_half_close_has_a_second_of_grace() {
    let Some(court) = court() else { return };
    let forwarder = Forwarder::start(&court, "web-0", &["2001"]);
    let mut socket = forwarder.connect(2001);
    socket.write_all(b"x").unwrap();
    let mut first = [0; 10];
    socket.read_exact(&mut first).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    // Ten chunks in three seconds, of which the pod has one to go on.
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert!((10..=50).contains(&rest.len()), "{} bytes", rest.len());
}

#[test]
fn a_runtime_may_pass_a_half_close_on() {
    let Some(court) = court() else { return };
    court
        .0
        .forward("default", "web-0")
        .run(json!({"runtime": "half-close"}));
    let forwarder = Forwarder::start(&court, "web-0", &["2000"]);
    let mut socket = forwarder.connect(2000);
    socket.write_all(b"question").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.len(), (1 << 20) + 8);
}

#[test]
fn a_lost_node_shows_when_kubectl_pings() {
    let Some(court) = court() else { return };
    let mut forwarder = Forwarder::start(&court, "web-0", &["7"]);
    assert!(echoes(forwarder.connect(7), b"still there"));
    let told = court
        .0
        .forward("default", "web-0")
        .run(json!({"cut": "upstream"}));
    assert_eq!(told["cut"], 1);
    // The API server is silent until the client speaks: every ten seconds.
    let (code, said) = forwarder.end();
    assert_eq!(code, Some(1));
    assert!(said.ends_with("error: lost connection to pod\n"), "{said}");
}

const PATIENCE: Duration = Duration::from_secs(20);

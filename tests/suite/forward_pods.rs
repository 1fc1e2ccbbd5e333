//! Port-forward of the core: which pods it leads to, and what comes when they go.

use std::collections::BTreeMap;
use std::io::ErrorKind as IoKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wsx_core::{Balance, Client, Config, ErrorKind, ForwardEvent, ForwardOptions, PortForward};
use wsx_tests::cluster::{Cluster, Forward};

use crate::forwarding::{PATIENCE, address, options, run, until};

async fn client(cluster: &Cluster) -> Client {
    let config = Config::default().kubeconfig(cluster.kubeconfig().to_owned());
    Client::connect(config).await.unwrap()
}

/// The options of all this, in the namespace with services.
fn usual() -> ForwardOptions {
    options().namespace("ports".to_owned())
}

async fn forward(
    cluster: &Cluster,
    target: &str,
    port: &str,
    options: ForwardOptions,
) -> PortForward {
    let client = client(cluster).await;
    let starting = client.port_forward(target, [format!(":{port}")], options);
    timeout(PATIENCE, starting).await.unwrap().unwrap()
}

/// A pod of the test's own behind `deploy/own` and `svc/own`, whose connections end with a reset.
fn own(cluster: &Cluster, name: &str) -> Forward {
    let pod = cluster.forward("ports", name);
    pod.run(json!({"end": "rst"}));
    pod.run(json!({"create": {"app": "own"}}));
    pod
}

/// What a request came to.
#[derive(Debug, Eq, PartialEq)]
enum Came {
    /// The whole body.
    Body(String),
    /// Nothing, or a part, and then a reset.
    Reset,
    /// An end as if it were whole, after so many bytes.
    Short(usize),
}

/// Asks once, on a connection of its own.
async fn ask(address: SocketAddr, path: &str) -> Came {
    // Whatever else happens: somebody listens.
    let mut socket = TcpStream::connect(address).await.unwrap();
    ask_on(&mut socket, path).await
}

/// Asks on a connection that stays.
async fn ask_on(socket: &mut TcpStream, path: &str) -> Came {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut answer = Vec::new();
    let asking = async {
        socket.write_all(request.as_bytes()).await?;
        loop {
            if let Some(body) = body(&answer) {
                return Ok(Came::Body(String::from_utf8_lossy(body).into_owned()));
            }
            if socket.read_buf(&mut answer).await? == 0 {
                return Ok(Came::Short(answer.len()));
            }
        }
    };
    let came: std::io::Result<_> = timeout(PATIENCE, asking).await.unwrap();
    match came.map_err(|error| error.kind()) {
        Err(IoKind::ConnectionReset | IoKind::BrokenPipe) => Came::Reset,
        result => result.unwrap(),
    }
}

/// Returns the body of an answer that is whole.
fn body(answer: &[u8]) -> Option<&[u8]> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let lines = std::str::from_utf8(&answer[..head]).unwrap();
    let promised = lines
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = promised.unwrap().parse().unwrap();
    answer.get(head + 4..head + 4 + length)
}

async fn name(forward: &PortForward) -> String {
    match ask(address(forward, 0), "/").await {
        Came::Body(name) => name.trim().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn targets_lead_to_the_pods_and_ports_of_kubectl() {
    let cluster = Cluster::spawn().unwrap();
    run(async {
        for (target, port, remote, pod) in [
            ("front-c", "http", 8080, "front-c"),
            ("deploy/front", "http", 8080, "front"),
            ("deploy/front", "80", 80, "front"),
            ("svc/front", "80", 8080, "front"),
            ("svc/front", "http", 8080, "front"),
            ("svc/numeric", "80", 8080, "front"),
            ("svc/same", "8080", 8080, "front"),
            ("svc/headless", "80", 80, "db-0"),
            ("sts/db", "8080", 8080, "db-0"),
        ] {
            let forward = forward(&cluster, target, port, usual()).await;
            assert_eq!(forward.local_ports()[0].remote, remote, "{target} {port}");
            let name = name(&forward).await;
            // Those that are not ready, or leave, are not taken.
            let fits = match pod {
                "front" => matches!(&*name, "front-a" | "front-b"),
                pod => name == pod,
            };
            assert!(fits, "{target} {port}: {name}");
        }
    });
}

#[test]
fn what_leads_nowhere_says_why() {
    let cluster = Cluster::spawn().unwrap();
    run(async {
        let client = client(&cluster).await;
        for (target, port, kind, what) in [
            (
                "nobody",
                "80",
                ErrorKind::NotFound,
                "pods \"nobody\" not found",
            ),
            (
                "svc/nobody",
                "80",
                ErrorKind::NotFound,
                "services \"nobody\" not found",
            ),
            (
                "db-0",
                "nope",
                ErrorKind::NotFound,
                "Pod 'db-0' does not have a named port 'nope'",
            ),
            ("db-0", "dns", ErrorKind::NotFound, ""),
            (
                "svc/missing",
                "80",
                ErrorKind::NotFound,
                "does not have a named port 'nope'",
            ),
            (
                "svc/front",
                "81",
                ErrorKind::NotFound,
                "Service front does not have a service port 81",
            ),
            (
                "svc/front",
                "53",
                ErrorKind::Unsupported,
                "UDP protocol is not supported for 53",
            ),
            (
                "svc/udp",
                "53",
                ErrorKind::Unsupported,
                "UDP protocol is not supported for 53",
            ),
            ("svc/mixed", "53", ErrorKind::NotFound, ""),
            (
                "svc/noselector",
                "80",
                ErrorKind::Invalid,
                "Service is defined without a selector",
            ),
            (
                "svc/external",
                "80",
                ErrorKind::Invalid,
                "is an ExternalName",
            ),
            (
                "svc/waits",
                "80",
                ErrorKind::NotStarted,
                "no pod of service/waits is ready within 100ms",
            ),
            (
                "svc/empty",
                "80",
                ErrorKind::NotStarted,
                "no pod of service/empty is ready within 100ms",
            ),
            (
                "waits-0",
                "80",
                ErrorKind::NotStarted,
                "unable to forward port because pod is not running. Current status=Pending",
            ),
        ] {
            let options = usual().pod_running_timeout(Duration::from_millis(100));
            let port = format!(":{port}");
            match client.port_forward(target, [port], options).await {
                // The same number is there for TCP.
                Ok(_) => assert_eq!(what, "", "{target}"),
                Err(error) => {
                    assert_eq!(error.kind(), kind, "{target}: {error}");
                    assert!(
                        !what.is_empty() && error.to_string().contains(what),
                        "{target}: {error}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_pod_that_comes_back_is_reached_within_two_seconds() {
    let cluster = Cluster::spawn().unwrap();
    run(async {
        for target in ["own-0", "deploy/own", "svc/own"] {
            let mut pod = own(&cluster, "own-0");
            let mut forward = forward(&cluster, target, "http", usual()).await;
            assert_eq!(name(&forward).await, "own-0");
            pod.run(json!({"delete": true}));
            let is_lost = |event: &ForwardEvent| matches!(event, ForwardEvent::Reconnecting { .. });
            until(&mut forward, is_lost).await;
            if target != "own-0" {
                pod = own(&cluster, "own-1");
            } else {
                pod.run(json!({"create": {"app": "own"}}));
            }
            let begin = Instant::now();
            let expected = if target == "own-0" { "own-0" } else { "own-1" };
            assert_eq!(name(&forward).await, expected);
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(2), "{target}: {took:?}");
            pod.run(json!({"delete": true}));
            assert_eq!(forward.report().reconnects, 1);
        }
    });
}

#[test]
fn a_pod_that_ceases_to_be_ready_keeps_what_it_has_and_gets_nothing_new() {
    let cluster = Cluster::spawn().unwrap();
    run(async {
        let old = own(&cluster, "own-0");
        let forward = forward(&cluster, "svc/own", "http", usual()).await;
        let mut kept = TcpStream::connect(address(&forward, 0)).await.unwrap();
        assert_eq!(ask_on(&mut kept, "/").await, Came::Body("own-0".to_owned()));
        let new = own(&cluster, "own-1");
        old.run(json!({"ready": false}));
        let changed = async { while name(&forward).await != "own-1" {} };
        timeout(PATIENCE, changed).await.unwrap();
        assert_eq!(ask_on(&mut kept, "/").await, Came::Body("own-0".to_owned()));
        assert_eq!(forward.report().failed, 0);
        new.run(json!({"delete": true}));
    });
}

#[test]
fn a_roll_out_under_fifty_clients_cuts_none_in_secret() {
    let cluster = Cluster::spawn().unwrap();
    run(async {
        let mut old = own(&cluster, "own-0");
        let forward = forward(&cluster, "deploy/own", "http", usual()).await;
        let address = address(&forward, 0);
        let (done, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut clients = JoinSet::new();
        for _ in 0..50 {
            let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
            clients.spawn(async move {
                let (mut bodies, mut resets) = (0, 0);
                while !done.load(Ordering::SeqCst) {
                    match ask(address, "/bytes?n=20000").await {
                        Came::Body(_) => bodies += 1,
                        Came::Reset => resets += 1,
                        Came::Short(length) => panic!("a short body of {length} bytes"),
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                (bodies, resets)
            });
        }
        for round in 1..=5 {
            let next = own(&cluster, &format!("own-{round}"));
            old.run(json!({"terminating": true}));
            old.run(json!({"delete": true}));
            let before = asked.load(Ordering::SeqCst);
            let on = async {
                while asked.load(Ordering::SeqCst) < before + 200 {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, on).await.unwrap();
            old = next;
        }
        done.store(true, Ordering::SeqCst);
        let counts = clients.join_all().await;
        let bodies: usize = counts.iter().map(|(bodies, _)| bodies).sum();
        let resets: usize = counts.iter().map(|(_, resets)| resets).sum();
        assert!(
            bodies > 500 && resets < bodies,
            "{bodies} bodies, {resets} resets"
        );
        old.run(json!({"delete": true}));
    });
}

#[test]
fn connections_are_spread_over_the_ready_pods() {
    let cluster = Cluster::spawn().unwrap();
    run(async {
        for (target, balance) in [
            ("svc/front", Balance::RoundRobin),
            ("deploy/front", Balance::RoundRobin),
            ("svc/front", Balance::Least),
        ] {
            let options = usual().balance(balance);
            let forward = forward(&cluster, target, "http", options).await;
            let (mut counts, mut held) = (BTreeMap::<_, usize>::new(), Vec::new());
            for _ in 0..10 {
                let mut socket = TcpStream::connect(address(&forward, 0)).await.unwrap();
                let came = ask_on(&mut socket, "/").await;
                *counts.entry(format!("{came:?}")).or_default() += 1;
                // It stays open: both ways of spreading come to the same.
                held.push(socket);
            }
            let body = |name: &str| format!("{:?}", Came::Body(name.to_owned()));
            let expected = BTreeMap::from([(body("front-a"), 5), (body("front-b"), 5)]);
            assert_eq!(counts, expected, "{target} {balance:?}");
        }
    });
}

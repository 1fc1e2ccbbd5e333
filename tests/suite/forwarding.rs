//! Port-forward of the core through the embedded cluster: what goes through, and how it ends.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wsx_core::protocol::machine::forward::HalfClose;
use wsx_core::protocol::portforward::{ForwardOptions, ForwardProtocol, ForwardSubprotocol};
use wsx_core::{Client, Config, ForwardEvent, Limits, PortForward};
use wsx_tests::cluster::{Cluster, Forward};

/// Longer than anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with a pod of the test's own.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) own: Forward,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::spawn().unwrap();
        let own = cluster.forward("default", "own-0");
        own.run(json!({"create": {"app": "own"}}));
        Self { cluster, own }
    }

    pub(crate) async fn client(&self) -> Client {
        let config = Config::default().kubeconfig(self.cluster.kubeconfig().to_owned());
        Client::connect(config).await.unwrap()
    }

    /// Forwards ports of the own pod.
    pub(crate) async fn forward(&self, ports: &[&str], options: ForwardOptions) -> PortForward {
        let client = self.client().await;
        let ports = ports.iter().map(|port| format!(":{port}"));
        let starting = client.port_forward("own-0", ports, options);
        timeout(PATIENCE, starting).await.unwrap().unwrap()
    }
}

/// The defaults, on one address.
pub(crate) fn options() -> ForwardOptions {
    ForwardOptions::default()
        .address(vec!["127.0.0.1".to_owned()])
        .pod_running_timeout(Duration::from_secs(10))
}

/// With limits that a test can wait for.
pub(crate) fn hasty() -> ForwardOptions {
    let limits = Limits::default()
        .connect(Duration::from_secs(5))
        .keepalive(Duration::from_millis(200))
        .keepalive_timeout(Duration::from_secs(2))
        .stall(Duration::from_secs(300));
    options().limits(limits)
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let all = async { timeout(2 * PATIENCE, test).await.unwrap() };
    Runtime::new().unwrap().block_on(all)
}

pub(crate) fn address(forward: &PortForward, place: usize) -> SocketAddr {
    let port = &forward.local_ports()[place];
    format!("{}:{}", port.address, port.local).parse().unwrap()
}

pub(crate) async fn connect(forward: &PortForward, place: usize) -> TcpStream {
    TcpStream::connect(address(forward, place)).await.unwrap()
}

/// Bytes that tell their places.
pub(crate) fn noise(count: usize, seed: usize) -> Vec<u8> {
    let byte = |at| (((at + seed) * 31) >> 3) as u8;
    (0..count).map(byte).collect()
}

/// Sends to an echo and takes back as much at the same time; tells whether all came back.
async fn comes_back(socket: TcpStream, data: &[u8]) -> std::io::Result<(bool, TcpStream)> {
    let (mut reader, mut writer) = socket.into_split();
    let mut back = vec![0; data.len()];
    let write = async {
        writer.write_all(data).await?;
        Ok::<_, std::io::Error>(writer)
    };
    let (_, writer) = tokio::try_join!(reader.read_exact(&mut back), write)?;
    let socket = reader.reunite(writer).map_err(std::io::Error::other)?;
    Ok((back == data, socket))
}

/// The same, then ends and waits for the other end. `v4` cannot tell the pod of an end.
pub(crate) async fn echoes(socket: TcpStream, data: &[u8]) -> std::io::Result<bool> {
    let (good, mut socket) = comes_back(socket, data).await?;
    socket.shutdown().await?;
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await?;
    Ok(good && rest.is_empty())
}

/// Takes events until one is of this kind.
pub(crate) async fn until(
    forward: &mut PortForward,
    is_it: impl Fn(&ForwardEvent) -> bool,
) -> ForwardEvent {
    let looking = async {
        loop {
            let event = forward.next_event().await.expect("it is over");
            if is_it(&event) {
                return event;
            }
        }
    };
    timeout(PATIENCE, looking).await.unwrap()
}

pub(crate) fn is_closed(event: &ForwardEvent) -> bool {
    matches!(event, ForwardEvent::Closed { .. })
}

#[test]
fn megabytes_go_both_ways_by_either_protocol() {
    let scene = Scene::new();
    run(async {
        for protocol in ForwardSubprotocol::ALL {
            let options = options().protocol(ForwardProtocol::Only(protocol));
            let forward = scene.forward(&["7"], options).await;
            let data = noise(8 << 20, 0);
            let back = comes_back(connect(&forward, 0).await, &data).await;
            assert!(back.unwrap().0);
            let report = forward.report();
            assert_eq!(report.protocol, Some(protocol));
            assert_eq!((report.sent, report.received), (8 << 20, 8 << 20));
        }
    });
}

#[test]
fn what_the_server_speaks_is_found_out_by_one_offer() {
    let scene = Scene::new();
    run(async {
        for (spoken, protocol) in [
            ("both", ForwardSubprotocol::Tunnel),
            ("tunnel", ForwardSubprotocol::Tunnel),
            ("v4", ForwardSubprotocol::V4),
        ] {
            scene.own.run(json!({"protocols": spoken}));
            scene.cluster.forget_requests();
            let forward = scene.forward(&["7"], options()).await;
            let back = comes_back(connect(&forward, 0).await, b"hello").await;
            assert!(back.unwrap().0);
            assert_eq!(forward.report().protocol, Some(protocol), "{spoken}");
            let requests = scene.cluster.requests();
            let upgrades = requests
                .iter()
                .filter(|it| it.target.contains("/portforward?"));
            assert_eq!(upgrades.count(), 1, "{spoken}");
        }
        scene.own.run(json!({"protocols": "none"}));
        let client = scene.client().await;
        let refused = client.port_forward("own-0", [":7"], options()).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), wsx_core::ErrorKind::Unsupported);
    });
}

#[test]
fn fifty_at_once_share_sessions_and_get_their_own_bytes() {
    let scene = Scene::new();
    run(async {
        let forward = scene.forward(&["7"], options()).await;
        let address = address(&forward, 0);
        let mut all = JoinSet::new();
        for seed in 0..50 {
            all.spawn(async move {
                let socket = TcpStream::connect(address).await.unwrap();
                echoes(socket, &noise(100_000 + seed, seed)).await.unwrap()
            });
        }
        assert!(all.join_all().await.into_iter().all(|good| good));
        let report = forward.report();
        assert_eq!((report.connections, report.failed), (50, 0));
    });
}

#[test]
fn a_refused_port_ends_one_connection_and_no_other() {
    let scene = Scene::new();
    run(async {
        let mut forward = scene.forward(&["7", "9"], options()).await;
        scene.own.run(json!({"ports": {"9": "refused"}}));
        let mut other = connect(&forward, 0).await;
        other.write_all(b"one").await.unwrap();
        let mut refused = connect(&forward, 1).await;
        let error = refused.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let ForwardEvent::Closed { error, remote, .. } = until(&mut forward, is_closed).await
        else {
            unreachable!()
        };
        let error = error.unwrap();
        assert_eq!((remote, error.kind()), (9, wsx_core::ErrorKind::NotStarted));
        let why = error.why().unwrap();
        assert!(why.contains("connection refused"), "{why}");
        other.write_all(b"two").await.unwrap();
        let mut back = [0; 6];
        other.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"onetwo");
        assert_eq!(forward.report().reconnects, 0);
    });
}

/// A pod that answers only after the end of what it gets, in a runtime that waits for it.
#[test]
fn a_half_close_passes_and_nothing_of_the_answer_is_lost() {
    let scene = Scene::new();
    scene.own.run(json!({"runtime": "half-close"}));
    run(async {
        for half_close in [HalfClose::Auto, HalfClose::Pass] {
            let forward = scene
                .forward(&["2000"], options().half_close(half_close))
                .await;
            let mut socket = connect(&forward, 0).await;
            socket.write_all(&noise(100_000, 3)).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut all = Vec::new();
            socket.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), 100_000 + (1 << 20), "{half_close:?}");
        }
    });
}

/// containerd closes a second after one direction has ended: a slow answer is saved by waiting.
#[test]
fn a_slow_answer_survives_a_half_close() {
    let scene = Scene::new();
    run(async {
        let forward = scene.forward(&["2001"], options()).await;
        let mut socket = connect(&forward, 0).await;
        socket.write_all(b"x").await.unwrap();
        socket.shutdown().await.unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 100);
        let cut = scene
            .forward(&["2001"], options().half_close(HalfClose::Pass))
            .await;
        let mut socket = connect(&cut, 0).await;
        socket.write_all(b"x").await.unwrap();
        socket.shutdown().await.unwrap();
        all.clear();
        socket.read_to_end(&mut all).await.unwrap();
        assert!(
            all.len() < 100,
            "passing it at once would lose nothing either"
        );
    });
}

#[test]
fn a_connection_without_a_local_socket_is_the_same() {
    let scene = Scene::new();
    run(async {
        let mut forward = scene
            .forward(&["http"], options().address(Vec::new()))
            .await;
        assert!(forward.local_ports().is_empty());
        let mut stream = forward.open("http").await.unwrap();
        let request = b"GET /stream?n=100000 HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.len() > 100_000);
        drop(stream);
        let closed = until(&mut forward, is_closed).await;
        let ForwardEvent::Closed {
            error: None,
            remote: 8080,
            ..
        } = closed
        else {
            panic!("{closed:?}")
        };
    });
}

//! The run of a pod that a session was opened to: connections with its ports live and end with it.
//!
//! Lives here: dialling, copying, the second of grace, the words of containerd. Never here: who listens
//! to the copy (`tunnel`, `channels`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, watch};

use super::ports::{self, Line};
use super::servers::Host;
use super::site::{Connected, End, Runtime, Site};
use crate::cluster::pods::{self, Pods};

/// One run of one pod.
pub(super) struct Sandbox {
    pub(super) site: Arc<Site>,
    pods: Arc<Pods>,
    namespace: String,
    host: Host,
    /// The ID of the sandbox, as error texts name it.
    id: String,
    /// whoever finds that the pod has changed --what is left of it--> connections
    state_tx: watch::Sender<State>,
    /// The version of the pods that this is true of; looking at them costs more than a connection.
    seen: AtomicU64,
}

/// What is left of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// The containers that run, by their IDs.
    Up(Vec<String>),
    /// The pod has gone, or another one has its name.
    Gone,
}

/// Who takes what comes from a pod.
pub(super) trait Sink: Send + Sync {
    /// Passes data on.
    fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Says that nothing follows; containerd does so before it tells of a failure.
    fn finish(&self) -> impl Future<Output = ()> + Send;
}

impl Sandbox {
    /// The run that this pod is now, or what the kubelet says when it has none.
    pub(super) fn new(site: Arc<Site>, pods: Arc<Pods>, pod: &Value) -> Result<Self, String> {
        let text = |field: &str| {
            let text = pod["metadata"][field].as_str();
            text.unwrap_or_default().to_owned()
        };
        let (namespace, name, uid) = (text("namespace"), text("name"), text("uid"));
        if pod["status"]["phase"] != "Running" {
            return Err(format!("pod not found (\"{name}_{namespace}\")"));
        }
        let id = pods::container_id(&format!("sandbox/{uid}"))["containerd://".len()..].to_owned();
        let state_tx = watch::Sender::new(State::Up(running(pod)));
        let host = Host { name, uid };
        Ok(Self {
            site,
            pods,
            namespace,
            host,
            id,
            state_tx,
            seen: AtomicU64::new(0),
        })
    }

    /// Watches the pod, so that connections end with the containers they lead to. Never ends.
    pub(super) async fn follow(&self) {
        let (_, mut changed_rx) = self.pods.watched();
        loop {
            changed_rx.borrow_and_update();
            self.look();
            // The sender lives in the pods.
            let _ = changed_rx.changed().await;
        }
    }

    fn look(&self) {
        let version = self.pods.version();
        if self.seen.load(Ordering::Acquire) == version {
            return;
        }
        let pod = self.pods.peek(&self.namespace, &self.host.name);
        let pod = pod.filter(|pod| pod["metadata"]["uid"] == *self.host.uid);
        let pod = pod.filter(|pod| pod["status"]["phase"] == "Running");
        let now = pod.map_or(State::Gone, |pod| State::Up(running(&pod)));
        self.state_tx.send_if_modified(|state| {
            let changed = *state != now;
            *state = now;
            changed
        });
        self.seen.store(version, Ordering::Release);
    }

    /// Connects one stream with a port until both are done, in the way of containerd.
    ///
    /// The error is the text for the client.
    // containerd internal/cri/server/sandbox_portforward_linux.go (2.x).
    pub(super) async fn forward(
        &self,
        port: u16,
        from_client: mpsc::Receiver<Vec<u8>>,
        sink: &impl Sink,
    ) -> Result<(), String> {
        let id = &self.id;
        let failed = |text: &str| format!("error forwarding port {port} to pod {id}, uid : {text}");
        self.look();
        let mut state_rx = self.state_tx.subscribe();
        let state = state_rx.borrow_and_update().clone();
        let run = match state {
            State::Gone => {
                let text = format!("failed to find sandbox \"{id}\" in store: not found");
                return Err(failed(&text));
            }
            State::Up(run) => run,
        };
        let leads = if run.is_empty() {
            ports::Leads::Refused
        } else {
            self.site.leads(port)
        };
        let space = format!(
            "failed to execute portforward in network namespace \"/var/run/netns/cni-{id}\""
        );
        let line = match ports::connect(leads, port, self.host.clone()).await {
            Ok(line) => line,
            Err(v4) => {
                if self.site.runtime() == Runtime::EarlyEnd {
                    sink.finish().await;
                }
                let v6 = v4.replace("tcp4", "tcp6").replace("127.0.0.1", "[::1]");
                let text = format!(
                    "{space}: failed to connect to localhost:{port} inside namespace \"{id}\", IPv4: {v4} IPv6: {v6} "
                );
                return Err(failed(&text));
            }
        };
        let counted = self.site.connected(port);
        let ended = async {
            // The sender lives in `self`.
            let _ = state_rx
                .wait_for(|now| *now != State::Up(run.clone()))
                .await;
            match self.site.end() {
                End::Fin => Ok(()),
                End::Rst => Err(io::ErrorKind::ConnectionReset.into()),
            }
        };
        let runtime = self.site.runtime();
        let copied = copy(line, from_client, sink, &counted, runtime, ended).await;
        drop(counted);
        sink.finish().await;
        copied.map_err(|error| {
            let text = format!(
                "read tcp4 127.0.0.1:40000->127.0.0.1:{port}: read: {}",
                words(&error)
            );
            failed(&format!("{space}: {text}"))
        })
    }
}

/// Copies both ways until the rule of the runtime says enough; the first failure counts.
async fn copy(
    line: Line,
    mut from_client: mpsc::Receiver<Vec<u8>>,
    sink: &impl Sink,
    counted: &Connected,
    runtime: Runtime,
    ended: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut from_pod, mut to_pod) = tokio::io::split(line);
    let enough = Notify::new();
    let down = async {
        let mut buffer = vec![0; 32 * 1024];
        let mut ended = std::pin::pin!(ended);
        loop {
            let count = tokio::select! {
                biased;
                // Between two messages only: one that has begun is not torn.
                () = enough.notified() => return Ok(()),
                read = from_pod.read(&mut buffer) => read?,
                ended = &mut ended => return ended,
            };
            if count == 0 {
                return Ok(());
            }
            counted.from_pod.fetch_add(count as u64, Ordering::Relaxed);
            sink.write(&buffer[..count]).await?;
        }
    };
    let up = async {
        while let Some(bytes) = from_client.recv().await {
            to_pod.write_all(&bytes).await?;
            counted
                .to_pod
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        if runtime == Runtime::HalfClose {
            to_pod.shutdown().await?;
        }
        io::Result::Ok(())
    };
    let (mut down, mut up) = (std::pin::pin!(down), std::pin::pin!(up));
    let (first, upward) = tokio::select! {
        first = &mut down => (first, false),
        first = &mut up => (first, true),
    };
    // What is not done after the grace is cut, and that is no failure.
    let second = match (upward, runtime) {
        (true, Runtime::HalfClose) => down.await,
        (true, Runtime::Grace | Runtime::EarlyEnd) => tokio::select! {
            second = &mut down => second,
            () = tokio::time::sleep(GRACE) => {
                enough.notify_one();
                down.await
            }
        },
        (false, _) => tokio::time::timeout(GRACE, up).await.unwrap_or(Ok(())),
    };
    first.and(second)
}

fn running(pod: &Value) -> Vec<String> {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let running = statuses.into_iter().flatten();
    running
        .filter(|status| status["state"]["running"].is_object())
        .filter_map(|status| status["containerID"].as_str().map(str::to_owned))
        .collect()
}

/// An error of the system in the words of Go.
fn words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::BrokenPipe => "broken pipe",
        _ => "i/o error",
    }
}

/// What containerd and CRI-O give the other direction.
const GRACE: Duration = Duration::from_secs(1);

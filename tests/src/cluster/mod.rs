//! A Kubernetes cluster in one process: API server, kubelet and runtime as far as clients can see.
//!
//! Lives here: starting, ending, and what tests may ask. Never here: the wire (`wire`, `http`).
//! `tests/README.md` lists contexts, pods, built-in commands and faults.

mod api;
mod connection;
mod faults;
mod forward;
mod http;
mod identity;
mod inlet;
mod kubeconfig;
mod life;
mod listener;
mod logs;
mod mains;
mod mischief;
mod objects;
mod outlet;
mod pods;
mod process;
mod program;
mod record;
mod remote;
mod resize;
mod roster;
mod services;
mod session;
mod slices;
mod stdin;
mod subprotocol;
mod task;
mod terminal;
mod version;
mod watch;
mod world;

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

pub use self::forward::Forward;
use self::identity::Secrets;
use self::kubeconfig::{Entries, base64};
use self::listener::Listener;
pub use self::logs::Log;
use self::process::Node;
pub use self::record::Recorded;
use self::version::{Manner, Version};
use self::world::World;
use crate::tls::{Authority, Validity};

/// A running cluster; dropping it ends everything, child processes and files too.
///
/// It runs on threads of its own, so that a test may block, pause its clock, or have no runtime.
pub struct Cluster {
    world: Arc<World>,
    addresses: HashMap<&'static str, SocketAddr>,
    authority: String,
    kubeconfig: PathBuf,
    runtime: Option<Runtime>,
    /// Keeps a port taken, and closed, for the context `unreachable`.
    _closed_port: TcpSocket,
    /// Dropped last: the scratch directory goes when nobody uses it any more.
    scratch: TempDir,
}

impl Cluster {
    /// Starts a cluster from asynchronous code.
    ///
    /// # Errors
    /// When no port, no thread, no scratch directory or no random bytes can be had.
    ///
    /// # Cancel safety
    /// A start that is dropped ends what it has begun.
    pub async fn start() -> io::Result<Self> {
        tokio::task::spawn_blocking(Self::spawn)
            .await
            .map_err(io::Error::other)?
    }

    /// Starts a cluster from blocking code.
    ///
    /// # Errors
    /// When no port, no thread, no scratch directory or no random bytes can be had.
    pub fn spawn() -> io::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("wsx-cluster-").tempdir()?;
        let authority = Authority::new()?;
        let certificate = authority.client("cert")?;
        let world = Arc::new(World {
            forwards: forward::Forwards::default(),
            logs: logs::Logs::default(),
            mains: Arc::default(),
            node: Arc::new(Node::new(scratch.path().join("node"))),
            pods: Arc::default(),
            records: record::Records::default(),
            secrets: Secrets::new(random_hex()?, certificate.der.clone()),
            elsewhere: OnceLock::new(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("wsx-cluster")
            .enable_all()
            .build()?;

        let valid = authority.server(Validity::Valid)?;
        let expired = authority.server(Validity::Expired)?;
        let mut addresses = HashMap::new();
        for (name, version, manner) in LISTENERS {
            let tls = match name {
                "plain" => None,
                "expired" => Some(expired.clone()),
                _ => Some(valid.clone()),
            };
            let listener = Listener {
                name,
                version,
                manner,
                tls,
            };
            addresses.insert(name, runtime.block_on(listener.open(world.clone()))?);
        }
        // Nobody else sets it.
        let _ = world
            .elsewhere
            .set(format!("http://{}", addresses["plain"]));
        let (closed_port, closed) = runtime.block_on(async { closed_port() })?;

        let cluster = Self {
            world,
            addresses,
            authority: authority.pem(),
            kubeconfig: scratch.path().join("kubeconfig"),
            runtime: Some(runtime),
            _closed_port: closed_port,
            scratch,
        };
        cluster.write_kubeconfig(&certificate, &Authority::new()?.pem(), closed)?;
        Ok(cluster)
    }

    /// The kubeconfig with all contexts, readable by its owner alone.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of a listener, by the name of its context.
    ///
    /// # Panics
    /// When there is no listener of that name.
    #[must_use]
    pub fn address(&self, listener: &str) -> SocketAddr {
        match self.addresses.get(listener) {
            Some(address) => *address,
            None => panic!("the cluster has no listener {listener:?}"),
        }
    }

    /// The certificate of the authority that signs all listeners but `wrong-ca`, as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The bearer token of a user, such as `admin` or `get-only`.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        self.world.secrets.token(user)
    }

    /// The requests that came so far, to all listeners, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.world.records.all()
    }

    /// Forgets the requests that came so far.
    pub fn forget_requests(&self) {
        self.world.records.clear();
    }

    /// The log of a container, to write to and to cut.
    #[must_use]
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> Log {
        let runtime = self
            .runtime
            .as_ref()
            .map(|runtime| runtime.handle().clone());
        Log {
            world: self.world.clone(),
            // Only a cluster that is dropped has none.
            runtime: runtime.unwrap_or_else(tokio::runtime::Handle::current),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        }
    }

    /// The ports of a pod, to arrange and to cut.
    #[must_use]
    pub fn forward(&self, namespace: &str, pod: &str) -> Forward {
        let log = self.log(namespace, pod, "");
        Forward {
            world: log.world,
            runtime: log.runtime,
            namespace: log.namespace,
            pod: log.pod,
        }
    }

    /// The directory in which a container's commands run.
    #[must_use]
    pub fn container_directory(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        self.scratch
            .path()
            .join("node")
            .join(namespace)
            .join(pod)
            .join(container)
    }

    fn write_kubeconfig(
        &self,
        certificate: &crate::tls::ClientCertificate,
        other_authority: &str,
        closed: SocketAddr,
    ) -> io::Result<()> {
        let mut entries = Entries::new();
        for (name, _, _) in LISTENERS {
            let address = self.addresses[name];
            match name {
                "plain" => entries.cluster(name, &format!("http://{address}"), None),
                _ => entries.cluster(name, &format!("https://{address}"), Some(&self.authority)),
            }
            entries.context(name, name, "admin");
        }
        let standard = format!("https://{}", self.addresses[STANDARD]);
        entries.cluster("wrong-ca", &standard, Some(other_authority));
        entries.cluster(
            "unreachable",
            &format!("https://{closed}"),
            Some(&self.authority),
        );
        entries.cluster(
            "bad-dns",
            "https://no-such-host.invalid",
            Some(&self.authority),
        );
        for name in ["wrong-ca", "unreachable", "bad-dns"] {
            entries.context(name, name, "admin");
        }

        for name in ["admin"].into_iter().chain(LIMITED) {
            entries.user(name, json!({"token": self.token(name)}));
        }
        entries.user("wrong-token", json!({"token": "nobody.knows"}));
        entries.user(
            "cert",
            json!({
                "client-certificate-data": base64(&certificate.certificate),
                "client-key-data": base64(&certificate.key),
            }),
        );
        entries.user(
            "basic",
            json!({"username": "basic", "password": self.world.secrets.password()}),
        );
        let token_file = self.kubeconfig.with_file_name("token");
        write_private(&token_file, &self.token("tokenfile"))?;
        entries.user("tokenfile", json!({"tokenFile": token_file}));
        for name in LIMITED.into_iter().chain(["wrong-token"]) {
            entries.context(name, STANDARD, name);
        }
        for name in ["cert", "basic", "tokenfile"] {
            entries.context(name, STANDARD, name);
        }
        write_private(&self.kubeconfig, &entries.document(STANDARD))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.world.node.kill_all();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        // Once more, for what was started while the runtime went down.
        self.world.node.kill_all();
    }
}

/// A port that is taken and not listened to, so that every connection to it is refused.
fn closed_port() -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

/// The listener that most contexts use, and the current context.
const STANDARD: &str = "v1.35";

/// Users with a token and not all rights.
const LIMITED: [&str; 6] = [
    "get-only",
    "create-only",
    "exec-only",
    "no-list",
    "no-rights",
    "no-watch",
];

const LISTENERS: [(&str, Version, Manner); 14] = [
    ("v1.28", Version::V1_28, Manner::Faithful),
    ("v1.30", Version::V1_30, Manner::Faithful),
    (STANDARD, Version::V1_35, Manner::Faithful),
    ("v1.36", Version::V1_36, Manner::Faithful),
    ("split-logs", Version::V1_36, Manner::SplitLogs),
    ("cri-dockerd", Version::CriDockerd, Manner::Faithful),
    ("plain", Version::V1_35, Manner::Faithful),
    ("expired", Version::V1_35, Manner::Faithful),
    ("silent", Version::V1_35, Manner::Silent),
    ("redirect", Version::V1_35, Manner::Redirect),
    ("html-200", Version::V1_35, Manner::Html(200)),
    ("html-403", Version::V1_35, Manner::Html(403)),
    ("slow-head", Version::V1_35, Manner::SlowHead),
    ("big-head", Version::V1_35, Manner::BigHead),
];

//! What a caller asks of a port-forward: options with all their defaults.
//!
//! Lives here: plain values. Never here: the request, ports and addresses as text.

use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::machine::forward::HalfClose;
use crate::protocol::request::{Limits, setters};

/// How connections travel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ForwardSubprotocol {
    /// `SPDY/3.1+portforward.k8s.io`: many connections in one WebSocket; Kubernetes 1.31 and newer.
    Tunnel,
    /// `v4.channel.k8s.io`: a WebSocket for each connection, without half-close; every Kubernetes.
    V4,
}

impl ForwardSubprotocol {
    /// All of them, the preferred first.
    pub const ALL: [Self; 2] = [Self::Tunnel, Self::V4];

    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "SPDY/3.1+portforward.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
        }
    }

    /// Returns the subprotocol with exactly this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|subprotocol| subprotocol.name() == name)
    }
}

/// Which subprotocol to offer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ForwardProtocol {
    /// Both at once; the server chooses.
    #[default]
    Auto,
    /// This one alone.
    Only(ForwardSubprotocol),
}

impl ForwardProtocol {
    /// Returns what is offered.
    #[must_use]
    pub const fn offers(self) -> &'static [ForwardSubprotocol] {
        match self {
            Self::Auto => &[ForwardSubprotocol::Tunnel, ForwardSubprotocol::V4],
            Self::Only(ForwardSubprotocol::Tunnel) => &[ForwardSubprotocol::Tunnel],
            Self::Only(ForwardSubprotocol::V4) => &[ForwardSubprotocol::V4],
        }
    }
}

/// What to do when a session is lost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reconnect {
    /// Open another, for as long as it takes.
    #[default]
    Auto,
    /// End.
    Never,
    /// Open another; end after so many failures in a row.
    Times(u32),
}

/// What to do when a local port is in use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnConflict {
    /// Fail, naming who has it.
    #[default]
    Fail,
    /// Take the next one that is free, up to 100 further.
    Next,
    /// Take any that is free.
    Random,
}

/// How connections are spread over the pods of a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Balance {
    /// To the pod with the fewest connections of ours.
    Least,
    /// To each pod in turn.
    RoundRobin,
}

/// What to ask of a port-forward. All defaults are here; roofs pass what is absent on as absent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ForwardOptions {
    /// Where to listen: `localhost` (both of its addresses, where there are both) or IP addresses.
    /// None at all: connections come from `PortForward::open` alone.
    pub address: Vec<String>,
    /// Whether to use all ready pods of the target; absent: one of them until it goes.
    pub balance: Option<Balance>,
    /// When the end of a local side's input goes to the pod.
    pub half_close: HalfClose,
    /// How long a new connection waits for a session while there is none.
    pub hold: Duration,
    /// Time limits.
    pub limits: Limits,
    /// Namespace; absent: the client's.
    pub namespace: Option<String>,
    /// What to do when a local port is in use.
    pub on_conflict: OnConflict,
    /// How long to wait for a pod before the first session.
    pub pod_running_timeout: Duration,
    /// Which subprotocol to offer.
    pub protocol: ForwardProtocol,
    /// What to do when a session is lost.
    pub reconnect: Reconnect,
    /// Whether a pod of `TYPE/NAME` has to be ready; one that is named is taken as it is.
    pub require_ready: bool,
    /// How many sessions connections are spread over, 1 to 16.
    pub sessions: usize,
    /// A Unix socket to listen on instead of addresses; for a single port.
    pub unix: Option<PathBuf>,
    /// How long to wait for a pod once there was one: the same name, or another of `TYPE/NAME`.
    pub wait: Duration,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self {
            address: vec!["localhost".to_owned()],
            balance: None,
            half_close: HalfClose::Auto,
            hold: Duration::from_secs(5),
            limits: Limits::default()
                .keepalive_timeout(Duration::from_secs(15))
                .stall(Duration::from_secs(5 * 60)),
            namespace: None,
            on_conflict: OnConflict::Fail,
            pod_running_timeout: Duration::from_secs(60),
            protocol: ForwardProtocol::Auto,
            reconnect: Reconnect::Auto,
            require_ready: true,
            sessions: 1,
            unix: None,
            wait: Duration::from_secs(60),
        }
    }
}

impl ForwardOptions {
    setters! {
        /// Sets where to listen.
        address: Vec<String>,
        /// Sets how connections are spread over pods.
        balance: Option<Balance>,
        /// Sets when the end of a local side's input goes to the pod.
        half_close: HalfClose,
        /// Sets how long a new connection waits for a session.
        hold: Duration,
        /// Sets the time limits.
        limits: Limits,
        /// Sets the namespace.
        namespace: Option<String>,
        /// Sets what to do when a local port is in use.
        on_conflict: OnConflict,
        /// Sets how long to wait for a pod before the first session.
        pod_running_timeout: Duration,
        /// Sets which subprotocol to offer.
        protocol: ForwardProtocol,
        /// Sets what to do when a session is lost.
        reconnect: Reconnect,
        /// Sets whether a pod of `TYPE/NAME` has to be ready.
        require_ready: bool,
        /// Sets how many sessions connections are spread over.
        sessions: usize,
        /// Sets a Unix socket to listen on.
        unix: Option<PathBuf>,
        /// Sets how long to wait for a pod once there was one.
        wait: Duration,
    }
}

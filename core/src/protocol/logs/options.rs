//! What a caller asks of a log: options with all their defaults.
//!
//! Lives here: plain values. Never here: the request (request.rs), what a resume asks.

use std::time::Duration;

use super::request::{LogOptions, LogSubprotocol};
use crate::protocol::request::{Limits, setters};

/// How a log that is followed travels. Without following it is always plain HTTP.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogProtocol {
    /// WebSocket, where pings tell a dead peer from a quiet log; HTTP where that is refused.
    #[default]
    Auto,
    /// HTTP alone.
    Http,
    /// WebSocket with this subprotocol alone.
    Only(LogSubprotocol),
}

/// What to ask of logs. All defaults are here; roofs pass what is absent on as absent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogsOptions {
    /// Whether to read all containers of each pod: init, ordinary, ephemeral.
    pub all_containers: bool,
    /// Whether to look for pods in all namespaces.
    pub all_namespaces: bool,
    /// Whether to read all pods of `TYPE/NAME` instead of the best.
    pub all_pods: bool,
    /// Container; absent: the pod's annotation, else its first container.
    pub container: Option<String>,
    /// Whether to go on while the container runs.
    pub follow: bool,
    /// With `follow`: wait for a pod that does not exist yet, for the next run, for the next pod, and
    /// never give up.
    pub forever: bool,
    /// Whether a log that cannot be read, or not on, is told as `Failed` and the others are read; else
    /// the first one ends all.
    pub ignore_errors: bool,
    /// The most bytes of the reply, timestamps included where they were asked for; the last line may
    /// be cut. With `follow` nothing is resumed.
    pub limit_bytes: Option<u64>,
    /// Time limits.
    pub limits: Limits,
    /// How many logs are followed at once, at least one; the others wait for their turn, which is told.
    /// Without `follow` logs are read one after the other, and with `sort_window` so many at once.
    pub max_log_requests: usize,
    /// Namespace; absent: the client's.
    pub namespace: Option<String>,
    /// How long to wait for a pod, and with `follow` for its container to have started.
    pub pod_running_timeout: Duration,
    /// Whether to read the run before the present one; it is never followed.
    pub previous: bool,
    /// How it travels while following.
    pub protocol: LogProtocol,
    /// With `follow`: whether a cut is mended, without loss or with a gap that is told.
    pub resume: bool,
    /// Which pods' logs to read, by their labels (`app=web,tier!=db`), instead of a pod that is named.
    pub selector: Option<String>,
    /// Merges several logs by the times of their lines: none is held back for longer than this.
    pub sort_window: Option<Duration>,
    /// Only lines of this long ago or later, in whole seconds, at least one.
    pub since: Option<Duration>,
    /// Only lines of this point in time (RFC 3339) or later.
    pub since_time: Option<String>,
    /// Only the last so many records.
    pub tail_lines: Option<u64>,
    /// Whether each line begins with the time at which the runtime read it.
    pub timestamps: bool,
}

impl Default for LogsOptions {
    fn default() -> Self {
        Self {
            all_containers: false,
            all_namespaces: false,
            all_pods: false,
            container: None,
            follow: false,
            forever: false,
            ignore_errors: false,
            limit_bytes: None,
            limits: Limits::default().keepalive_timeout(Duration::from_secs(15)),
            max_log_requests: 50,
            namespace: None,
            pod_running_timeout: Duration::from_secs(20),
            previous: false,
            protocol: LogProtocol::Auto,
            resume: true,
            selector: None,
            sort_window: None,
            since: None,
            since_time: None,
            tail_lines: None,
            timestamps: false,
        }
    }
}

impl LogsOptions {
    setters! {
        /// Sets whether to read all containers of each pod.
        all_containers: bool,
        /// Sets whether to look for pods in all namespaces.
        all_namespaces: bool,
        /// Sets whether to read all pods of `TYPE/NAME`.
        all_pods: bool,
        /// Sets the container.
        container: Option<String>,
        /// Sets whether to go on while the container runs.
        follow: bool,
        /// Sets whether to wait and reconnect for ever.
        forever: bool,
        /// Sets whether the others are read where one cannot be.
        ignore_errors: bool,
        /// Sets the most bytes of the reply.
        limit_bytes: Option<u64>,
        /// Sets the time limits.
        limits: Limits,
        /// Sets how many logs are followed at once.
        max_log_requests: usize,
        /// Sets the namespace.
        namespace: Option<String>,
        /// Sets how long to wait for a pod and its container.
        pod_running_timeout: Duration,
        /// Sets whether to read the run before the present one.
        previous: bool,
        /// Sets how it travels while following.
        protocol: LogProtocol,
        /// Sets whether a cut is mended.
        resume: bool,
        /// Sets which pods' logs to read, by their labels.
        selector: Option<String>,
        /// Sets how long a line is held back at most to merge several logs by time.
        sort_window: Option<Duration>,
        /// Sets how long ago the first line may be.
        since: Option<Duration>,
        /// Sets the point in time from which lines are wanted.
        since_time: Option<String>,
        /// Sets how many of the last records are wanted.
        tail_lines: Option<u64>,
        /// Sets whether each line begins with its time.
        timestamps: bool,
    }

    /// Tells whether a cut is mended.
    #[must_use]
    pub const fn resumes(&self) -> bool {
        self.resume && self.follows() && self.limit_bytes.is_none()
    }

    /// Tells whether several logs may be asked for.
    #[must_use]
    pub const fn many(&self) -> bool {
        self.selector.is_some() || self.all_containers || self.all_namespaces || self.all_pods
    }

    /// Tells whether the reply goes on while the container runs.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.follow && !self.previous
    }

    /// Returns what to ask of the log where nothing is resumed.
    #[must_use]
    pub fn once(&self) -> LogOptions {
        LogOptions::default()
            .container(self.container.clone())
            .follow(self.follows())
            .limit_bytes(self.limit_bytes)
            .previous(self.previous)
            .since(self.since)
            .since_time(self.since_time.clone())
            .tail_lines(self.tail_lines)
            .timestamps(self.timestamps)
    }
}

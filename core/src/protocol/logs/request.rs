//! The request for a container's log.
//!
//! Lives here: options with all their defaults, the request, the subprotocols to offer. Never here:
//! which request comes next (that is [`Resume`](super::Resume)).

use std::time::Duration;

use http::Request;

use crate::protocol::error::ProtocolError;
use crate::protocol::request::{PodRef, encode, get, setters};

/// Which of the container's outputs to read.
///
/// Other than both needs the gate `PodLogsQuerySplitStreams`, off in 1.37: the kubelet answers 400 without
/// it, and refuses `tailLines` with it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogStream {
    /// Both, interleaved.
    #[default]
    All,
    /// Error output alone.
    Stderr,
    /// Output alone.
    Stdout,
}

impl LogStream {
    /// Returns the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Stderr => "Stderr",
            Self::Stdout => "Stdout",
        }
    }
}

/// What to ask of a log. All defaults are here; roofs pass what is absent on as absent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogOptions {
    /// Container; absent: the pod's only one.
    pub container: Option<String>,
    /// Whether the reply goes on while the container runs.
    pub follow: bool,
    /// The most bytes of the reply; the last line may be cut.
    pub limit_bytes: Option<u64>,
    /// Whether to read the run before the present one.
    pub previous: bool,
    /// Only lines of this long ago or later, in whole seconds, at least one.
    pub since: Option<Duration>,
    /// Only lines of this point in time (RFC 3339) or later; the API server cuts it to whole seconds.
    pub since_time: Option<String>,
    /// Which output to read.
    pub stream: LogStream,
    /// Only the last so many records.
    pub tail_lines: Option<u64>,
    /// Whether each line begins with the time at which the runtime read it.
    pub timestamps: bool,
}

impl LogOptions {
    setters! {
        /// Sets the container.
        container: Option<String>,
        /// Sets whether the reply goes on while the container runs.
        follow: bool,
        /// Sets the most bytes of the reply.
        limit_bytes: Option<u64>,
        /// Sets whether to read the run before the present one.
        previous: bool,
        /// Sets how long ago the first line may be.
        since: Option<Duration>,
        /// Sets the point in time from which lines are wanted.
        since_time: Option<String>,
        /// Sets which output to read.
        stream: LogStream,
        /// Sets how many of the last records are wanted.
        tail_lines: Option<u64>,
        /// Sets whether each line begins with its time.
        timestamps: bool,
    }

    /// Tells whether a cut can be mended: not with a limit of bytes, which counts a single reply.
    #[must_use]
    pub const fn resumes(&self) -> bool {
        self.follow && self.limit_bytes.is_none()
    }
}

/// A subprotocol of a log over WebSocket: no channels, messages as the server happens to read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LogSubprotocol {
    /// `base64.binary.k8s.io`: text messages, each padded standard base64 of its own.
    Base64Binary,
    /// `binary.k8s.io`: binary messages, the bytes as they are.
    Binary,
}

impl LogSubprotocol {
    /// All of them, the preferred first.
    pub const ALL: [Self; 2] = [Self::Binary, Self::Base64Binary];

    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base64Binary => "base64.binary.k8s.io",
            Self::Binary => "binary.k8s.io",
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

/// Returns the request for a log, plain or, with the headers of a handshake added, over WebSocket.
///
/// What is absent or false is not said: these are the API's defaults in every release.
///
/// # Errors
/// `UnusableRequest` for what the API server would refuse: `since` with `since_time`, a `since` under one
/// second, a limit of 0 bytes, `tail_lines` with a chosen stream.
pub fn log(pod: &PodRef, options: &LogOptions) -> Result<Request<()>, ProtocolError> {
    let refuse = |text: &str| Err(ProtocolError::UnusableRequest(text.to_owned()));
    if options.since.is_some() && options.since_time.is_some() {
        return refuse("at most one of since and since_time may be given");
    }
    if options.since.is_some_and(|since| since.as_secs() == 0) {
        return refuse("since must be one second at least");
    }
    if options.limit_bytes == Some(0) {
        return refuse("limit_bytes must be greater than 0");
    }
    let one_stream = options.stream != LogStream::All;
    if one_stream && options.tail_lines.is_some() {
        return refuse("tail_lines cannot be had of stdout or stderr alone");
    }
    let since = options.since.map(|since| since.as_secs().to_string());
    let tail = options.tail_lines.map(|records| records.to_string());
    let limit = options.limit_bytes.map(|bytes| bytes.to_string());
    let query: Vec<_> = [
        ("container", options.container.as_deref()),
        ("follow", options.follow.then_some("true")),
        ("previous", options.previous.then_some("true")),
        ("sinceSeconds", since.as_deref()),
        ("sinceTime", options.since_time.as_deref()),
        ("timestamps", options.timestamps.then_some("true")),
        ("tailLines", tail.as_deref()),
        ("limitBytes", limit.as_deref()),
        ("stream", one_stream.then(|| options.stream.as_str())),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
    .collect();
    let (namespace, name) = (encode(&pod.namespace), encode(&pod.name));
    get(
        &format!("/api/v1/namespaces/{namespace}/pods/{name}/log"),
        &query,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(options: &LogOptions) -> String {
        let pod = PodRef::new("default", "web-0");
        log(&pod, options).unwrap().uri().to_string()
    }

    #[test]
    fn what_is_absent_is_not_said() {
        assert_eq!(
            target(&LogOptions::default()),
            "/api/v1/namespaces/default/pods/web-0/log"
        );
    }

    #[test]
    fn everything_can_be_said() {
        let options = LogOptions::default()
            .container(Some("app".to_owned()))
            .follow(true)
            .previous(true)
            .timestamps(true)
            .limit_bytes(1);
        assert_eq!(
            target(
                &options
                    .clone()
                    .since(Duration::from_millis(90_500))
                    .tail_lines(10)
            ),
            "/api/v1/namespaces/default/pods/web-0/log?container=app&follow=true&previous=true\
             &sinceSeconds=90&timestamps=true&tailLines=10&limitBytes=1"
        );
        let time = Some("2026-11-21T12:00:00+01:00".to_owned());
        assert_eq!(
            target(&options.since_time(time).stream(LogStream::Stdout)),
            "/api/v1/namespaces/default/pods/web-0/log?container=app&follow=true&previous=true\
             &sinceTime=2026-11-21T12%3A00%3A00%2B01%3A00&timestamps=true&limitBytes=1&stream=Stdout"
        );
    }

    #[test]
    fn what_the_server_refuses_is_not_sent() {
        let none = LogOptions::default;
        for options in [
            none()
                .since(Duration::from_secs(1))
                .since_time("2026-11-21T12:00:00Z".to_owned()),
            none().since(Duration::from_millis(999)),
            none().limit_bytes(0),
            none().stream(LogStream::Stderr).tail_lines(0),
        ] {
            assert!(
                log(&PodRef::new("a", "b"), &options).is_err(),
                "{options:?}"
            );
        }
    }

    #[test]
    fn a_limit_of_bytes_cannot_be_resumed() {
        let options = LogOptions::default().follow(true);
        assert!(options.resumes());
        assert!(!options.limit_bytes(1).resumes());
    }

    #[test]
    fn subprotocols_have_their_names() {
        for subprotocol in LogSubprotocol::ALL {
            assert_eq!(LogSubprotocol::parse(subprotocol.name()), Some(subprotocol));
        }
        assert_eq!(LogSubprotocol::parse("channel.k8s.io"), None);
    }
}

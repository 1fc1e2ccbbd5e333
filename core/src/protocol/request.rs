//! What is asked for: options with all their defaults, and the request that each verb makes.
//!
//! Lives here: plain values and `http::Request`s without a body. Never here: who sends them.

use std::time::Duration;

use http::{Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::ProtocolError;
use super::subprotocol::Subprotocol;

/// A pod by name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PodRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
}

impl PodRef {
    /// Names a pod.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// The size of a terminal, in character cells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Size {
    /// Width.
    pub columns: u16,
    /// Height.
    pub rows: u16,
}

impl Size {
    /// Makes a size.
    #[must_use]
    pub const fn new(columns: u16, rows: u16) -> Self {
        Self { columns, rows }
    }
}

/// Which subprotocol to offer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Offer {
    /// The smallest protocol that can say all that is needed, because it is the one that cannot lie:
    /// `v4` alone where no stdin has to end, `v5` alone where it has.
    #[default]
    Auto,
    /// This one alone.
    Only(Subprotocol),
}

/// Whether a `Success` that may be the work of a lost node is looked into.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verify {
    /// After a `Success` over `v5` the pod and one byte of its log are asked for.
    #[default]
    Auto,
    /// A `Success` is believed.
    Never,
}

/// The time limits of a session. Every wait ends by one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// For each stage before data flow: connect with TLS, answer to the request, first frame.
    pub connect: Duration,
    /// Between two pings; zero sends none.
    pub keepalive: Duration,
    /// Without a single byte from the peer, while we read and nothing of ours waits to be read.
    pub keepalive_timeout: Duration,
    /// Without progress while the remote side leaves our data unread.
    pub stall: Duration,
}

impl Default for Limits {
    /// The limits of exec and attach.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            keepalive: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(60),
            stall: Duration::from_secs(30 * 60),
        }
    }
}

impl Limits {
    /// Sets the limit of each stage before data flow.
    #[must_use]
    pub const fn connect(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// Sets the time between two pings; zero sends none.
    #[must_use]
    pub const fn keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = interval;
        self
    }

    /// Sets how long a silent peer counts as alive.
    #[must_use]
    pub const fn keepalive_timeout(mut self, limit: Duration) -> Self {
        self.keepalive_timeout = limit;
        self
    }

    /// Sets how long the remote side may leave our data unread.
    #[must_use]
    pub const fn stall(mut self, limit: Duration) -> Self {
        self.stall = limit;
        self
    }
}

/// What to ask of `exec`. All defaults are here; roofs pass what is absent on as absent.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExecOptions {
    /// Container; absent: the pod's annotation, else its first container.
    pub container: Option<String>,
    /// Namespace; absent: the client's.
    pub namespace: Option<String>,
    /// How long to wait for the pod and its container to run.
    pub pod_running_timeout: Duration,
    /// Whether the pod is looked at before the command is sent.
    pub preflight: bool,
    /// Which subprotocol to offer.
    pub protocol: Offer,
    /// First size of the terminal, with `tty`.
    pub size: Option<Size>,
    /// Whether error output is wanted; with `tty` it arrives on stdout.
    pub stderr: bool,
    /// Whether the command gets input.
    pub stdin: bool,
    /// Whether output is wanted.
    pub stdout: bool,
    /// Limit for the whole call, from start to exit status.
    pub timeout: Option<Duration>,
    /// Whether the command gets a terminal.
    pub tty: bool,
    /// Whether a doubtful success is looked into.
    pub verify: Verify,
    /// Time limits.
    pub limits: Limits,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self {
            container: None,
            namespace: None,
            pod_running_timeout: Duration::from_secs(60),
            preflight: true,
            protocol: Offer::Auto,
            size: None,
            stderr: true,
            stdin: false,
            stdout: true,
            timeout: None,
            tty: false,
            verify: Verify::Auto,
            limits: Limits::default(),
        }
    }
}

/// Writes one setter a field: the option's own name, the value as it is.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: impl Into<$type>) -> Self {
            self.$name = $name.into();
            self
        })*
    };
}

pub(super) use setters;

impl ExecOptions {
    setters! {
        /// Sets the container.
        container: Option<String>,
        /// Sets the namespace.
        namespace: Option<String>,
        /// Sets how long to wait for the pod and its container to run.
        pod_running_timeout: Duration,
        /// Sets whether the pod is looked at before the command is sent.
        preflight: bool,
        /// Sets which subprotocol to offer.
        protocol: Offer,
        /// Sets the first size of the terminal.
        size: Option<Size>,
        /// Sets whether error output is wanted.
        stderr: bool,
        /// Sets whether the command gets input.
        stdin: bool,
        /// Sets whether output is wanted.
        stdout: bool,
        /// Sets the limit for the whole call.
        timeout: Option<Duration>,
        /// Sets whether the command gets a terminal.
        tty: bool,
        /// Sets whether a doubtful success is looked into.
        verify: Verify,
        /// Sets the time limits.
        limits: Limits,
    }

    /// Returns the subprotocols to try, one after the other, each offered alone.
    ///
    /// `v4` shows a lost node as an end without status, `v5` may show it as success; only `v5` can
    /// end stdin without ending the session. A refused `v4` may be followed by `v5`, never the other
    /// way round: the caller's stdin could not end.
    #[must_use]
    pub fn offers(&self) -> &'static [Subprotocol] {
        const V4_THEN_V5: &[Subprotocol] = &[Subprotocol::V4, Subprotocol::V5];
        match self.protocol {
            Offer::Auto if self.stdin && !self.tty => &[Subprotocol::V5],
            Offer::Auto => V4_THEN_V5,
            Offer::Only(Subprotocol::Base64Channel) => &[Subprotocol::Base64Channel],
            Offer::Only(Subprotocol::Channel) => &[Subprotocol::Channel],
            Offer::Only(Subprotocol::V4) => &[Subprotocol::V4],
            Offer::Only(Subprotocol::V4Base64) => &[Subprotocol::V4Base64],
            Offer::Only(Subprotocol::V5) => &[Subprotocol::V5],
        }
    }
}

/// What to ask of `attach`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AttachOptions {
    /// Everything that attach shares with exec.
    pub streams: ExecOptions,
}

/// Returns the upgrade request of `exec`, without the handshake's own headers.
///
/// # Errors
/// `UnusableRequest` when the command is empty or holds a NUL byte, or no stream is wanted.
pub fn exec(
    pod: &PodRef,
    container: Option<&str>,
    command: &[String],
    options: &ExecOptions,
) -> Result<Request<()>, ProtocolError> {
    if command.is_empty() {
        return Err(ProtocolError::UnusableRequest(
            "no command to execute".to_owned(),
        ));
    }
    if let Some(argument) = command.iter().position(|argument| argument.contains('\0')) {
        let text = format!("argument {argument} of the command holds a NUL byte");
        return Err(ProtocolError::UnusableRequest(text));
    }
    let mut query: Vec<_> = command
        .iter()
        .map(|argument| ("command", argument.as_str()))
        .collect();
    streams(&mut query, container, options)?;
    get(&pod_path(pod, "exec"), &query)
}

/// Returns the upgrade request of `attach`, without the handshake's own headers.
///
/// # Errors
/// `UnusableRequest` when no stream is wanted.
pub fn attach(
    pod: &PodRef,
    container: Option<&str>,
    options: &AttachOptions,
) -> Result<Request<()>, ProtocolError> {
    let mut query = Vec::new();
    streams(&mut query, container, &options.streams)?;
    get(&pod_path(pod, "attach"), &query)
}

/// Adds what exec and attach share. All four streams are said outright: releases differ in what an
/// absent one means, and a terminal has no error output of its own (a strict runtime refuses both).
fn streams<'a>(
    query: &mut Vec<(&'a str, &'a str)>,
    container: Option<&'a str>,
    options: &ExecOptions,
) -> Result<(), ProtocolError> {
    let stderr = options.stderr && !options.tty;
    if !(options.stdin || options.stdout || stderr) {
        let text = "at least one of stdin, stdout and stderr must be wanted".to_owned();
        return Err(ProtocolError::UnusableRequest(text));
    }
    query.extend(container.map(|container| ("container", container)));
    for (name, wanted) in [
        ("stdin", options.stdin),
        ("stdout", options.stdout),
        ("stderr", stderr),
        ("tty", options.tty),
    ] {
        query.push((name, if wanted { "true" } else { "false" }));
    }
    Ok(())
}

/// Returns the path of a subresource of a pod.
pub(super) fn pod_path(pod: &PodRef, verb: &str) -> String {
    let (namespace, name) = (encode(&pod.namespace), encode(&pod.name));
    format!("/api/v1/namespaces/{namespace}/pods/{name}/{verb}")
}

/// Makes a GET request for a path whose segments are already encoded, and a query that is not.
///
/// # Errors
/// `UnusableRequest` when the result is no URI (longer than 64 KiB).
pub fn get(path: &str, query: &[(&str, &str)]) -> Result<Request<()>, ProtocolError> {
    let mut target = path.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.push_str(&encode(value));
    }
    Request::builder()
        .method(Method::GET)
        .uri(&target)
        .body(())
        .map_err(|error| {
            let length = target.len();
            let text = if length > LONGEST {
                format!(
                    "the command is too long: its request has {length} bytes, the most is {LONGEST}"
                )
            } else {
                format!("the request of {length} bytes cannot be sent: {error}")
            };
            ProtocolError::UnusableRequest(text)
        })
}

/// The longest target that the crate `http` carries.
const LONGEST: usize = 65_534;

/// Percent-encodes all but the unreserved characters of RFC 3986.
#[must_use]
pub fn encode(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn exec_names_all_streams() {
        let pod = PodRef::new("default", "web-0");
        let request = exec(
            &pod,
            Some("app"),
            &words("echo a&b"),
            &ExecOptions::default(),
        )
        .unwrap();
        assert_eq!(
            request.uri(),
            "/api/v1/namespaces/default/pods/web-0/exec?command=echo&command=a%26b&container=app\
             &stdin=false&stdout=true&stderr=true&tty=false"
        );
    }

    #[test]
    fn a_terminal_has_no_stderr_of_its_own() {
        let pod = PodRef::new("default", "web-0");
        let options = ExecOptions::default().tty(true).stdin(true);
        let request = exec(&pod, None, &words("sh"), &options).unwrap();
        assert!(
            request
                .uri()
                .query()
                .unwrap()
                .ends_with("stdin=true&stdout=true&stderr=false&tty=true")
        );
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let pod = PodRef::new("default", "web-0");
        let silent = ExecOptions::default().stdout(false).stderr(false);
        assert!(exec(&pod, None, &[], &ExecOptions::default()).is_err());
        assert!(exec(&pod, None, &words("a\0b"), &ExecOptions::default()).is_err());
        assert!(exec(&pod, None, &words("true"), &silent).is_err());
    }

    #[test]
    fn only_the_protocol_that_is_needed_is_offered() {
        let options = ExecOptions::default();
        assert_eq!(options.offers(), [Subprotocol::V4, Subprotocol::V5]);
        assert_eq!(options.clone().stdin(true).offers(), [Subprotocol::V5]);
        assert_eq!(
            options.stdin(true).tty(true).offers(),
            [Subprotocol::V4, Subprotocol::V5]
        );
    }

    #[test]
    fn a_twenty_thousand_character_argument_fits() {
        let command = vec!["echo".to_owned(), "ä".repeat(10_000)];
        let pod = PodRef::new("default", "web-0");
        assert!(exec(&pod, None, &command, &ExecOptions::default()).is_ok());
    }
}

//! The one error of the library: a kind to branch on, and words for people.
//!
//! Lives here: [`Error`], [`ErrorKind`], the chain printer. Never here: exit codes or formatting for
//! a terminal (the roofs do that), details of a protocol (those are the source of an error).

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::protocol::error::ProtocolError;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in one word that is the same in Rust, Python, Node and in JSON.
///
/// The kinds fall in two groups: those of a command that certainly never ran, and those after which
/// nobody knows ([`ErrorKind::may_have_started`]). `tests/vectors/error.json` lists them for all languages.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The credentials were not accepted, or could not be obtained.
    Auth,
    /// The caller ended the session before the remote side did.
    Closed,
    /// The kubeconfig or the environment cannot be used.
    Config,
    /// The remote command ended with a code other than 0, where the caller asked for an error then.
    Exit,
    /// The credentials are known, but may not do this.
    Forbidden,
    /// A defect of this library.
    Internal,
    /// The caller asked for something that cannot be.
    Invalid,
    /// Data could not be read from or written to this machine.
    LocalIo,
    /// The connection ended before the outcome was known.
    Lost,
    /// The pod, the container or another named thing does not exist.
    NotFound,
    /// The command certainly did not start: the request never left, or the runtime refused it.
    NotStarted,
    /// The peer broke the protocol, so the outcome is not known.
    Protocol,
    /// The time limit of the caller passed.
    Timeout,
    /// The cluster cannot do what was asked.
    Unsupported,
    /// The server, or something before it, answered the upgrade with something else.
    Upgrade,
}

impl ErrorKind {
    /// All kinds, in alphabetical order.
    pub const ALL: [Self; 15] = [
        Self::Auth,
        Self::Closed,
        Self::Config,
        Self::Exit,
        Self::Forbidden,
        Self::Internal,
        Self::Invalid,
        Self::LocalIo,
        Self::Lost,
        Self::NotFound,
        Self::NotStarted,
        Self::Protocol,
        Self::Timeout,
        Self::Unsupported,
        Self::Upgrade,
    ];

    /// Returns the stable name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Closed => "closed",
            Self::Config => "config",
            Self::Exit => "exit",
            Self::Forbidden => "forbidden",
            Self::Internal => "internal",
            Self::Invalid => "invalid",
            Self::LocalIo => "local_io",
            Self::Lost => "lost",
            Self::NotFound => "not_found",
            Self::NotStarted => "not_started",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::Upgrade => "upgrade",
        }
    }

    /// Tells whether the remote command may have run although this error was returned.
    #[must_use]
    pub const fn may_have_started(self) -> bool {
        matches!(
            self,
            Self::Closed
                | Self::Exit
                | Self::Internal
                | Self::LocalIo
                | Self::Lost
                | Self::Protocol
                | Self::Timeout
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error in up to three parts: what happened (`Display`), [`why`](Self::why), and what to
/// [`try`](Self::remedies). Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    why: Option<String>,
    remedies: Vec<String>,
    http_status: Option<u16>,
    reason: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error from its kind and its message: lower case, no full stop, values in place.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            why: None,
            remedies: Vec::new(),
            http_status: None,
            reason: None,
            source: None,
        }))
    }

    /// Adds the reason, in one line.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).why = Some(why.into());
        self
    }

    /// Adds one thing to try, in one line.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).remedies.push(remedy.into());
        self
    }

    /// Says before the message what it is about.
    #[must_use]
    #[cfg(feature = "client")]
    pub(crate) fn of(mut self, what: &str) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.message = format!("{what}: {}", inner.message);
        self
    }

    /// Adds the status of the HTTP answer that refused.
    #[must_use]
    pub fn answered(mut self, http_status: u16) -> Self {
        Arc::make_mut(&mut self.0).http_status = Some(http_status);
        self
    }

    /// Adds the one word of a Kubernetes `Status` that programs branch on, without foreign controls.
    #[must_use]
    pub fn with_reason(mut self, reason: Option<String>) -> Self {
        Arc::make_mut(&mut self.0).reason = reason.filter(|reason| !reason.is_empty());
        self
    }

    /// Adds the error below this one; its text must not be part of the message.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::from(source.into()));
        self
    }

    /// Returns what to branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the reason, where it is known.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.0.why.as_deref()
    }

    /// Returns what to try next, where something is known to help.
    #[must_use]
    pub fn remedies(&self) -> &[String] {
        &self.0.remedies
    }

    /// Returns the status of the HTTP answer that refused, where there was one.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// Returns the reason of a Kubernetes `Status`, such as `NotFound`, where there was one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Returns this message and those of all causes, joined with ": ".
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.0.message.clone();
        let mut source = self.source();
        while let Some(error) = source {
            let words = words(error);
            if !words.is_empty() && !text.ends_with(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            source = error.source();
        }
        text
    }
}

/// Returns what lies at the bottom of an error of the system or of a library, for people: without
/// numbers, and without advice for programmers.
#[cfg(feature = "client")]
pub(crate) fn plain(error: &(dyn StdError + 'static)) -> String {
    let mut bottom = error;
    while !bottom.is::<io::Error>()
        && let Some(below) = bottom.source()
    {
        bottom = below;
    }
    words(bottom)
}

/// Returns the words of one error, without what it was caused by.
pub(crate) fn words(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string();
    match error.downcast_ref::<io::Error>() {
        // TLS libraries explain at length what a missing goodbye means to them.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was cut off".to_owned()
        }
        Some(_) => match text.split_once(" (os error ") {
            Some((words, _)) => words.to_owned(),
            None => text,
        },
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("why", &self.0.why)
            .field("source", &self.0.source.as_ref().map(ToString::to_string))
            .finish_non_exhaustive()
    }
}

/// Errors are equal when they say the same; what they were caused by is not compared.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        (ours.kind, &ours.message, &ours.why, &ours.remedies)
            == (theirs.kind, &theirs.message, &theirs.why, &theirs.remedies)
            && (ours.http_status, &ours.reason) == (theirs.http_status, &theirs.reason)
    }
}

impl Eq for Error {}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        Self::new(
            ErrorKind::Protocol,
            "the server broke the protocol, so the outcome is not known",
        )
        .caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_distinct() {
        let names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn report_joins_the_chain_once() {
        let inner = Error::new(ErrorKind::Lost, "connection reset");
        let outer = Error::new(ErrorKind::Lost, "cannot read").caused_by(inner);
        assert_eq!(outer.report(), "cannot read: connection reset");
        assert_eq!(outer.to_string(), "cannot read");
    }

    #[test]
    fn words_of_the_system_have_no_numbers() {
        let missing = std::fs::read("/nonexistent/file").unwrap_err();
        let error = Error::new(ErrorKind::LocalIo, "cannot read").caused_by(missing);
        assert_eq!(error.report(), "cannot read: No such file or directory");
    }

    #[test]
    fn words_of_libraries_have_no_advice_for_programmers() {
        let advice = "no close_notify: https://docs.rs/rustls";
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, advice);
        assert_eq!(words(&cut), "the connection was cut off");
    }

    #[test]
    fn the_three_parts_are_kept_apart() {
        let error = Error::new(ErrorKind::Config, "what")
            .because("why")
            .remedy("try");
        assert_eq!(
            (error.to_string(), error.why(), error.remedies()),
            ("what".to_owned(), Some("why"), &["try".to_owned()][..])
        );
    }
}

//! What a log is made of for its reader: lines, events, the end, the count of it all.
//!
//! Lives here: plain values. Never here: queues, connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::protocol::logs::LogProtocol;

/// Whose log it is.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct LogSource {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Container; empty where it is not known, because pods may not be read and none was named.
    pub container: String,
}

impl LogSource {
    /// Names a log.
    pub fn new(
        namespace: impl Into<String>,
        pod: impl Into<String>,
        container: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            pod: pod.into(),
            container: container.into(),
        }
    }
}

/// A line of a log, or a piece of one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogLine {
    /// The bytes as the container wrote them, with their line feed where the line ends here; with
    /// [`timestamps`](crate::LogsOptions::timestamps) the timestamp and a space before them.
    pub data: Bytes,
    /// When the runtime read the line, in nanoseconds since 1970; absent where it is not known.
    pub timestamp: Option<i64>,
    /// Whether the line begins here. Lines over 1 MiB come in pieces.
    pub begins: bool,
    /// Whose line it is. All lines of a run share it.
    pub source: Arc<LogSource>,
}

impl LogLine {
    /// Makes a line.
    #[must_use]
    pub const fn new(
        data: Bytes,
        timestamp: Option<i64>,
        begins: bool,
        source: Arc<LogSource>,
    ) -> Self {
        Self {
            data,
            timestamp,
            begins,
            source,
        }
    }
}

/// What happened to a log at this place.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogEvent {
    /// Lines may be missing here.
    Gap {
        /// False where the place was found, but by too little to be sure of it.
        certain: bool,
        /// Timestamp of the last line before, in nanoseconds since 1970.
        from: Option<i64>,
        /// Timestamp of the next line; absent when none has come yet.
        to: Option<i64>,
    },
    /// The connection was lost, and the log goes on over another one.
    Reconnected {
        /// For how long nothing could come.
        away: Duration,
        /// How the last connection ended.
        why: String,
    },
    /// The pod was replaced by another one: what follows is its log from the beginning.
    Replaced {
        /// Name of the pod now.
        pod: String,
    },
    /// The container was restarted: what follows is a new run from its beginning.
    Restarted {
        /// How often it was restarted since the pod was made.
        count: u32,
        /// How many whole runs in between nobody has seen; a gap was told then.
        unseen: u32,
    },
    /// Nothing can come for the time being.
    Waiting {
        /// What is waited for.
        reason: String,
    },
    /// Where several logs are read: this one joins.
    Started,
    /// Where several logs are read: this one is complete.
    Ended {
        /// The exit code of its container, where it was followed and the pod tells it.
        exit_code: Option<i32>,
    },
    /// With [`ignore_errors`](crate::LogsOptions::ignore_errors): this one could not be read, or not
    /// on; the others are.
    Failed {
        /// Why not.
        error: Error,
    },
}

/// What travels in a log, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogItem {
    /// Something happened to this log.
    Event(Arc<LogSource>, LogEvent),
    /// A line, or a piece of one.
    Line(LogLine),
}

/// How a log ended where nothing failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LogEnd {
    /// The container does not run any more, and everything it wrote was shown or told as a gap.
    Ended {
        /// Its exit code, where the pod tells it.
        exit_code: Option<i32>,
    },
    /// All that was asked for was there.
    Complete,
}

/// What was taken from a log so far, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogReport {
    /// Lines that began.
    pub lines: u64,
    /// Bytes of lines, as they were given out.
    pub bytes: u64,
    /// Gaps that were told.
    pub gaps: u64,
    /// Connections that were lost and replaced by another one.
    pub reconnects: u64,
    /// Lines that were given out after a later one, where several logs are sorted.
    pub late: u64,
    /// How it travels, once an answer came: [`Http`](LogProtocol::Http) or [`Only`](LogProtocol::Only).
    pub protocol: Option<LogProtocol>,
}

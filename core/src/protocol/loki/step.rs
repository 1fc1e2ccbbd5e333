//! What a tail asks for, and what it answers.
//!
//! Lives here: the plain values between a [`Tail`](super::Tail) and whoever makes its requests.

use std::time::Duration;

use super::ending::{Ending, Retry};
use super::entry::Entry;
use super::message::Dropped;

/// What to follow, and how carefully.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TailOptions {
    /// The most entries by which repeats are recognized, about 32 bytes each. Where more come within the
    /// window, a cut costs a gap that is told, and a late entry may be shown twice.
    pub capacity: usize,
    /// The most entries of history.
    pub limit: u32,
    /// The most entries of a page; Loki's own limit lowers it.
    pub page: u32,
    /// How long `query_range` may fail before a gap is told.
    pub patience: Duration,
    /// How late an entry may come before a look for what is missing.
    pub settle: Duration,
    /// Where the history begins: nanoseconds since 1970. What is older than the first entry that was shown
    /// is not asked for later.
    pub start: i64,
    /// How often to look for entries that Loki lost on the way; absent: never.
    pub verify: Option<Duration>,
    /// How far an entry's time may be from when Loki took it, in either direction.
    pub window: Duration,
}

impl TailOptions {
    /// Follows from now on, after up to `limit` entries of `start` or later.
    #[must_use]
    pub const fn new(start: i64, limit: u32) -> Self {
        Self {
            capacity: 400_000,
            limit,
            page: 5_000,
            patience: Duration::from_secs(60),
            settle: Duration::from_secs(10),
            start,
            verify: None,
            window: Duration::from_secs(30),
        }
    }
}

/// The time, as the caller knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Now {
    /// A clock that never steps.
    pub elapsed: Duration,
    /// Loki's clock, by the `Date` of its answers: nanoseconds since 1970.
    pub server: i64,
}

impl Now {
    /// Tells the time.
    #[must_use]
    pub const fn new(elapsed: Duration, server: i64) -> Self {
        Self { elapsed, server }
    }
}

/// Names a socket or a query of [`Step`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Id(pub(super) u64);

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Close this tail; what it still brings is ignored.
    Close(Id),
    /// Nothing follows.
    Ended(Ending),
    /// Open a tail.
    Open {
        /// Its name.
        id: Id,
        /// The parameter `limit`.
        limit: u32,
        /// When.
        retry: Retry,
        /// The parameter `start`.
        start: i64,
    },
    /// Ask `query_range` for one page, forward.
    Query {
        /// The parameter `end`.
        end: i64,
        /// Its name.
        id: Id,
        /// The parameter `limit`.
        limit: u32,
        /// When.
        retry: Retry,
        /// The parameter `start`.
        start: i64,
    },
    /// Give out this entry.
    Show(Entry, Origin),
    /// Tell the reader.
    Tell(Notice),
}

/// Which way an entry came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// From `query_range`, after a cut or after Loki said that it had dropped some.
    CaughtUp,
    /// From the tail.
    Live,
    /// From `query_range`: Loki had lost it on the way without saying so.
    Recovered,
}

/// What the reader must be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Loki dropped entries because it was not read fast enough; they are asked for.
    Dropped(Dropped),
    /// Entries of this time may be missing, `to` not included; nothing can be done about it.
    Gap {
        /// The first nanosecond.
        from: i64,
        /// The nanosecond after the last.
        to: i64,
        /// Why.
        why: Why,
    },
    /// A tail is open again, and what it missed was shown.
    Resumed {
        /// How long there was none.
        away: Duration,
        /// Entries that were shown meanwhile.
        caught_up: u64,
    },
    /// Nobody knows whether entries of this time are missing, `to` not included.
    Unverified {
        /// The first nanosecond.
        from: i64,
        /// The nanosecond after the last.
        to: i64,
    },
}

/// Why entries may be missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// More entries share one nanosecond than Loki gives at once.
    Crowded,
    /// They are too many, or too old, for repeats to be recognized: [`TailOptions::capacity`], `window`.
    Forgotten,
    /// `query_range` failed.
    Query,
}

//! What a resume asks for, and what it answers.
//!
//! Lives here: the plain values between a [`Resume`](super::Resume) and whoever makes its requests.

use std::time::Duration;

use super::line::Line;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Start {
    /// With the first line of the current file.
    #[default]
    Beginning,
    /// With what is written from now on (`tailLines=0`).
    End,
    /// With the last so many records.
    Tail(u64),
    /// With the lines since a point in time, which the caller adds where [`Ask::since`] is set.
    Time,
}

/// How much may have been written meanwhile: all a resume needs to know of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Pace {
    /// Lines a second, as lately seen.
    pub lines_per_second: f64,
    /// How long nothing was received.
    pub away: Duration,
    /// From a request to the first byte of its reply.
    pub round_trip: Duration,
}

impl Pace {
    /// Makes a pace.
    #[must_use]
    pub const fn new(lines_per_second: f64, away: Duration, round_trip: Duration) -> Self {
        Self {
            lines_per_second,
            away,
            round_trip,
        }
    }

    /// Twice what is to be expected in this time.
    pub(super) fn lines(&self, time: Duration) -> u64 {
        // A cast from a float saturates.
        (2.0 * self.lines_per_second * time.as_secs_f64()) as u64
    }
}

/// What to ask the log for, always with `timestamps=true`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ask {
    /// `tailLines`; absent: from the beginning of the file. It counts records, of which a long line has several.
    pub tail: Option<u64>,
    /// `follow`; without it the reply ends by itself.
    pub follow: bool,
    /// `previous`: the run before the present one.
    pub previous: bool,
    /// Whether the caller's `sinceTime` or `sinceSeconds` belongs to the request.
    pub since: bool,
}

/// What to do with a line, or after the end of a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// End this reply and make the request that [`Resume::ask`](super::Resume::ask) tells now.
    Again,
    /// Everything of this run was shown.
    Done,
    /// Show this line, or piece of a line.
    Show(Line),
    /// Nothing: go on reading.
    Wait,
}

/// What the reader must be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Lines may be missing at this place of the output.
    Gap {
        /// False where the place was found, but by too little to be sure of it.
        certain: bool,
        /// Timestamp of the last line shown before, in nanoseconds.
        after: Option<i64>,
        /// Timestamp of the next line, in nanoseconds; absent when none has come yet.
        before: Option<i64>,
    },
}

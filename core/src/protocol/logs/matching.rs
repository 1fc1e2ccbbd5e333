//! Finding the place in a reply where what was shown ends.
//!
//! Lives here: steps 3 and 4 of reliability.md E.2, as pure functions of keys. Never here: which request
//! comes next.

use std::collections::VecDeque;

use super::ring::{Key, Ring};

/// Whether a reply was asked for as the last N records, or from the beginning of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    /// All of the current file.
    Whole,
    /// Its last records; the first line may be the tail of a long one.
    Window,
}

/// Where the reply holds the longest suffix of the ring.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Match {
    /// How many lines agree.
    pub(super) length: usize,
    /// How many lines of the reply are up to the end of the match: the next one is new.
    pub(super) lines: u64,
    /// A fold of the keys of all these lines.
    pub(super) fold: u64,
}

/// What a match is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Worth {
    /// The place is nowhere in the file.
    Absent,
    /// It may be further back than the window reaches.
    Insufficient,
    /// It is certain.
    Sure,
    /// It is likely.
    Weak,
}

/// So many lines must agree, of more than one moment, before a part of the ring is believed.
pub(super) const ENOUGH: usize = 8;

/// Looks for the ring in a reply, line by line, in memory of the ring's size.
#[derive(Debug)]
pub(super) struct Matcher {
    extent: Extent,
    recent: VecDeque<Key>,
    lines: u64,
    fold: u64,
    best: Match,
    /// Comparisons left before long matches are no longer measured in full: a reply of one line a
    /// million times must not cost a million squared.
    work: usize,
}

const WORK: usize = 1 << 24;
const SHORT: usize = 1024;

impl Matcher {
    pub(super) const fn new(extent: Extent) -> Self {
        Self {
            extent,
            recent: VecDeque::new(),
            lines: 0,
            fold: 0,
            best: Match {
                length: 0,
                lines: 0,
                fold: 0,
            },
            work: WORK,
        }
    }

    /// Takes the next whole line; returns the longest match that ends with it.
    pub(super) fn take(&mut self, ring: &Ring, key: Key) -> Match {
        self.lines += 1;
        self.fold = fold(self.fold, key);
        // The window may begin inside a long line: what looks like its first line is not one.
        if self.extent == Extent::Window && self.lines == 1 {
            return self.here(0);
        }
        if self.recent.len() >= ring.len() {
            self.recent.pop_front();
        }
        self.recent.push_back(key);
        let limit = if self.work > 0 { ring.len() } else { SHORT };
        let pairs = ring.latest().zip(self.recent.iter().rev());
        let length = pairs
            .take(limit)
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        self.work = self.work.saturating_sub(length);
        let found = self.here(length);
        // On equal length the earliest counts: what follows it is shown rather than lost.
        if length > self.best.length {
            self.best = found;
        }
        found
    }

    const fn here(&self, length: usize) -> Match {
        Match {
            length,
            lines: self.lines,
            fold: self.fold,
        }
    }

    /// Returns how many whole lines the reply has had.
    pub(super) const fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns the longest match of the reply, the earliest of equals.
    pub(super) const fn best(&self) -> Match {
        self.best
    }

    /// Tells what the longest match is worth, now that the reply is complete.
    pub(super) fn worth(&self, ring: &Ring) -> Worth {
        let length = self.best.length;
        let many = length >= ENOUGH && differ(ring, length);
        match self.extent {
            Extent::Window if many => Worth::Sure,
            Extent::Window => Worth::Insufficient,
            Extent::Whole if length == 0 && !ring.is_empty() => Worth::Absent,
            Extent::Whole if length == ring.len() || many => Worth::Sure,
            // The lines before these were rotated away after they had been shown.
            Extent::Whole if length as u64 == self.best.lines && differ(ring, length) => {
                Worth::Sure
            }
            Extent::Whole => Worth::Weak,
        }
    }
}

/// Tells whether this match may be believed at once, while the reply goes on.
///
/// Besides the rule for windows, the lines that agree must stand in the ring once only: a longer
/// match cannot follow then.
pub(super) fn settles(ring: &Ring, length: usize) -> bool {
    length >= ENOUGH && differ(ring, length) && ring.is_unique(length)
}

/// Tells whether the last `length` lines of the ring have more than one timestamp.
///
/// Lines of one and the same moment may be there twice in a row. A match over the border of two
/// moments is elsewhere only if the clock came back to both of them.
fn differ(ring: &Ring, length: usize) -> bool {
    let mut moments = ring.latest().take(length).map(|key| key.timestamp);
    let last = moments.next();
    moments.any(|moment| Some(moment) != last)
}

fn fold(sum: u64, key: Key) -> u64 {
    // The multiplier of splitmix64; any odd number with many bits would do.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    (sum ^ key.hash ^ key.timestamp.cast_unsigned().rotate_left(32))
        .wrapping_mul(MIX)
        .rotate_left(23)
}

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
    /// Its last records; the first line may be the tail of a long one, which agrees with no line shown.
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
        let found = Match {
            length,
            ..self.here()
        };
        // On equal length the earliest counts: what follows it is shown rather than lost.
        if length > self.best.length {
            self.best = found;
        }
        found
    }

    /// Returns the present end of the reply, as a place without a match.
    pub(super) const fn here(&self) -> Match {
        Match {
            length: 0,
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
            Extent::Window if many && reaches_back(ring, self.best) => Worth::Sure,
            Extent::Window => Worth::Insufficient,
            Extent::Whole if length == 0 && !ring.is_empty() => Worth::Absent,
            Extent::Whole if length == ring.len() || many => Worth::Sure,
            // The lines before these were rotated away after they had been shown.
            // The first may be the tail of a long line, whose beginning went with them.
            Extent::Whole if length as u64 + 1 >= self.best.lines && differ(ring, length) => {
                Worth::Sure
            }
            Extent::Whole => Worth::Weak,
        }
    }
}

/// Tells whether this match in a window may be believed at once, while the reply goes on.
///
/// Besides the rule for windows, the lines that agree must stand in the ring once only: no longer
/// match can follow then.
pub(super) fn settles(ring: &Ring, found: Match) -> bool {
    found.length >= ENOUGH
        && differ(ring, found.length)
        && reaches_back(ring, found)
        && ring.is_unique(found.length)
}

/// Tells whether all lines of the reply up to here agree, or all of the ring.
///
/// But for the first of either: it may be the tail of a long line.
fn reaches_back(ring: &Ring, found: Match) -> bool {
    found.length as u64 + 1 >= found.lines || found.length + 1 >= ring.len()
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

#[cfg(test)]
mod tests {
    use super::super::Budget;
    use super::*;

    /// Lines by name: the moment is the number, the content the letter.
    fn keys(names: &str) -> Vec<Key> {
        let key = |name: &str| {
            let (content, moment) = name.split_at(1);
            Key::new(moment.parse().ok(), content.as_bytes())
        };
        names
            .split(' ')
            .filter(|name| !name.is_empty())
            .map(key)
            .collect()
    }

    fn ring(names: &str) -> Ring {
        let mut ring = Ring::new(&Budget::default());
        keys(names).into_iter().for_each(|key| ring.push(key));
        ring
    }

    /// Returns what the reply is worth, and the line after which the new ones begin.
    fn look(shown: &str, extent: Extent, reply: &str) -> (Worth, u64) {
        let (ring, mut matcher) = (ring(shown), Matcher::new(extent));
        for key in keys(reply) {
            matcher.take(&ring, key);
        }
        (matcher.worth(&ring), matcher.best().lines)
    }

    const SHOWN: &str = "y1 z2 a3 b4 c5 d6 e7 f8 g9 h10";

    #[test]
    fn a_window_needs_eight_lines_of_two_moments_back_to_its_first() {
        use Extent::Window;
        let all = "z2 a3 b4 c5 d6 e7 f8 g9 h10 n11";
        assert_eq!(look(SHOWN, Window, all), (Worth::Sure, 9));
        let tail_first = "x2 a3 b4 c5 d6 e7 f8 g9 h10 n11";
        assert_eq!(look(SHOWN, Window, tail_first), (Worth::Sure, 9));
        let seven = "b4 c5 d6 e7 f8 g9 h10 n11";
        assert_eq!(look(SHOWN, Window, seven), (Worth::Insufficient, 7));
        let another = "x1 x2 a3 b4 c5 d6 e7 f8 g9 h10 n11";
        assert_eq!(look(SHOWN, Window, another), (Worth::Insufficient, 10));
        let one_moment = "a1 b1 a1 b1 a1 b1 a1 b1 a1 b1";
        assert_eq!(
            look(one_moment, Window, one_moment),
            (Worth::Insufficient, 10)
        );
    }

    #[test]
    fn a_whole_file_is_sure_with_all_of_the_ring_or_eight_lines_or_from_its_start() {
        use Extent::Whole;
        for (shown, file, expected) in [
            ("a1", "x1 a1 n2", (Worth::Sure, 2)),
            (SHOWN, "x2 a3 b4 c5 d6 e7 f8 g9 h10", (Worth::Sure, 9)),
            (SHOWN, "x1 x2 a3 b4 c5 d6 e7 f8 g9 h10", (Worth::Sure, 10)),
            (SHOWN, "g9 h10 n11", (Worth::Sure, 2)),
            (SHOWN, "x8 g9 h10 n11", (Worth::Sure, 3)),
            (SHOWN, "x7 x8 g9 h10 n11", (Worth::Weak, 4)),
            (SHOWN, "h10 n11", (Worth::Weak, 1)),
            (SHOWN, "n11", (Worth::Absent, 0)),
            (SHOWN, "", (Worth::Absent, 0)),
        ] {
            assert_eq!(look(shown, Whole, file), expected, "{file}");
        }
    }

    #[test]
    fn the_longest_match_counts_and_of_equals_the_earliest() {
        use Extent::Whole;
        assert_eq!(
            look("a1 b2 c3", Whole, "c3 b2 c3 a1 b2 c3 n4 b2 c3"),
            (Worth::Sure, 6)
        );
        assert_eq!(look("a1 b2 c3", Whole, "x1 x2 c3 n4 c3"), (Worth::Weak, 3));
    }

    #[test]
    fn a_match_that_could_grow_is_not_believed_at_once() {
        let half = "a1 b2 a1 b2 a1 b2 a1 b2";
        let ring = ring(&[half, half].join(" "));
        let mut matcher = Matcher::new(Extent::Window);
        let reply = keys(&[half, half].join(" "));
        let found: Vec<_> = reply
            .into_iter()
            .map(|key| matcher.take(&ring, key))
            .collect();
        assert_eq!((found[7].length, settles(&ring, found[7])), (8, false));
        assert_eq!((found[15].length, settles(&ring, found[15])), (16, true));
    }
}

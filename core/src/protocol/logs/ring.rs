//! What was shown last, as keys of whole lines: what a resume recognises its place by.
//!
//! Lives here: keys, rings and the budget they share. Never here: looking for a ring in a reply.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use twox_hash::XxHash3_64;

/// One whole line: its timestamp and the hash of its content.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Key {
    /// Nanoseconds since 1970; `i64::MIN` where the line had no timestamp.
    pub timestamp: i64,
    /// XXH3 (64 bits, seed 0) of the content without timestamp and line feed.
    pub hash: u64,
}

impl Key {
    /// Makes the key of a whole line.
    ///
    /// XXH3 because short lines take it a few nanoseconds and long ones run at memory speed, and because
    /// the hash of a stream of pieces is the hash of the whole. The seed is fixed: a pod that makes
    /// its own lines collide gains nothing, as the timestamp, which it cannot choose, must agree too.
    #[must_use]
    pub fn new(timestamp: Option<i64>, content: &[u8]) -> Self {
        Self::from_hash(timestamp, XxHash3_64::oneshot(content))
    }

    pub(super) fn from_hash(timestamp: Option<i64>, hash: u64) -> Self {
        let timestamp = timestamp.unwrap_or(i64::MIN);
        Self { timestamp, hash }
    }
}

/// The length and the hash of content that comes in pieces.
#[derive(Default)]
pub(super) struct Sum {
    length: u64,
    hash: XxHash3_64,
}

impl Sum {
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.hash.write(piece);
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {:x}", self.length, self.hash())
    }
}

/// The memory that all rings of a process share: 16 MB, 16 bytes a line.
///
/// Every ring may hold an equal part of it, at least 2,000 lines and at most 100,000. Rings shrink
/// as they are pushed to, so the sum is over the budget only while idle rings have not noticed.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    rings: Arc<AtomicUsize>,
}

const BUDGET_BYTES: usize = 16_000_000;
const FEWEST_LINES: usize = 2_000;
const MOST_LINES: usize = 100_000;

impl Budget {
    /// Returns how many lines each ring may hold now.
    #[must_use]
    pub fn lines(&self) -> usize {
        let rings = self.rings.load(Ordering::Relaxed).max(1);
        (BUDGET_BYTES / size_of::<Key>() / rings).clamp(FEWEST_LINES, MOST_LINES)
    }
}

/// The keys of the last whole lines that were shown, in file order.
#[derive(Debug)]
pub struct Ring {
    keys: VecDeque<Key>,
    budget: Budget,
}

impl Ring {
    /// Makes an empty ring that takes part in the budget until it is dropped.
    #[must_use]
    pub fn new(budget: &Budget) -> Self {
        budget.rings.fetch_add(1, Ordering::Relaxed);
        Self {
            keys: VecDeque::new(),
            budget: budget.clone(),
        }
    }

    /// Adds the line that was shown last; the oldest go when the ring is full.
    pub fn push(&mut self, key: Key) {
        let most = self.budget.lines();
        if self.keys.len() >= most {
            while self.keys.len() >= most {
                self.keys.pop_front();
            }
            if self.keys.capacity() > 2 * most {
                self.keys.shrink_to(most);
            }
        } else if self.keys.len() == self.keys.capacity() {
            // Doubling of its own accord would pass the budget.
            let more = self.keys.len().clamp(64, most - self.keys.len());
            self.keys.reserve_exact(more);
        }
        self.keys.push_back(key);
    }

    /// Forgets all lines.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
    }

    /// Returns how many lines it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Tells whether no line was shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the line that was shown last.
    #[must_use]
    pub fn last(&self) -> Option<Key> {
        self.keys.back().copied()
    }

    /// Iterates over the lines, the last one first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Key> + Clone {
        self.keys.iter().rev()
    }

    /// Tells whether the last `length` lines stand in the ring once only.
    pub(super) fn is_unique(&self, length: usize) -> bool {
        let suffix = self.latest().take(length);
        (1..=self.len().saturating_sub(length))
            .all(|back| !suffix.clone().eq(self.latest().skip(back).take(length)))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.budget.rings.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::new(Some(number as i64), b"x")
    }

    #[test]
    fn all_rings_share_one_budget() {
        let budget = Budget::default();
        for (rings, lines) in [(1, 100_000), (10, 100_000), (50, 20_000), (1000, 2_000)] {
            let all: Vec<_> = (0..rings).map(|_| Ring::new(&budget)).collect();
            assert_eq!(budget.lines(), lines, "{rings}");
            drop(all);
        }
    }

    #[test]
    fn a_full_ring_keeps_the_latest_and_its_memory_bounded() {
        let budget = Budget::default();
        let mut ring = Ring::new(&budget);
        (0..250_000).for_each(|number| ring.push(key(number)));
        assert_eq!((ring.len(), ring.last()), (100_000, Some(key(249_999))));
        assert!(ring.keys.capacity() <= 100_000);
        let others: Vec<_> = (0..49).map(|_| Ring::new(&budget)).collect();
        ring.push(key(250_000));
        assert_eq!((ring.len(), ring.last()), (20_000, Some(key(250_000))));
        assert!(ring.keys.capacity() <= 40_000);
        drop(others);
    }

    #[test]
    fn a_suffix_that_stands_twice_is_not_unique() {
        let mut ring = Ring::new(&Budget::default());
        [1, 2, 1, 2, 3, 1, 2]
            .into_iter()
            .for_each(|number| ring.push(key(number)));
        assert_eq!(
            [1, 2, 3, 7].map(|n| ring.is_unique(n)),
            [false, false, true, true]
        );
    }
}

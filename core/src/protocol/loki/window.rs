//! Which entries were shown lately: what a repeat is recognized by.
//!
//! Lives here: keys of entries, how often each was shown, and the bound on their number. Never here: which
//! entries are asked for again.

use std::collections::{BTreeMap, HashMap};

use twox_hash::XxHash3_64;

use super::entry::Entry;

/// 16 bytes that stand for an entry: its time, and labels of the stream and line, not the metadata, which
/// Loki adds on some ways and not on others.
///
/// Two different lines of one stream that agree in it must share a nanosecond and collide in 64 bits: who
/// makes that happen loses their own line.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    timestamp: i64,
    hash: u64,
}

impl Key {
    pub(super) fn new(entry: &Entry) -> Self {
        let (timestamp, line) = (entry.timestamp_ns, entry.line.as_bytes());
        let hash = XxHash3_64::oneshot_with_seed(entry.labels.sum(), line);
        Self { timestamp, hash }
    }
}

/// How often an entry was shown, and how often the present tail has brought it.
///
/// The same line at the same nanosecond is legal: the second one of one source is another entry, the
/// first one of another source is a repeat.
#[derive(Debug, Default)]
struct Seen {
    shown: u32,
    tail: u32,
}

/// All entries that were shown since some time, in slices of time, of which the oldest go first.
#[derive(Debug)]
pub(super) struct Window {
    slices: BTreeMap<i64, HashMap<Key, Seen>>,
    slice: i64,
    length: usize,
    capacity: usize,
    known_from: i64,
    overflowed: i64,
}

/// Into how many slices the span that is kept is cut: what goes early when it overflows.
const SLICES: i64 = 32;

impl Window {
    /// Makes a window of about `span` nanoseconds; nothing before `known_from` belongs to it.
    pub(super) fn new(span: i64, capacity: usize, known_from: i64) -> Self {
        Self {
            slices: BTreeMap::new(),
            slice: (span / SLICES).max(1),
            length: 0,
            capacity: capacity.max(1),
            known_from,
            overflowed: i64::MIN,
        }
    }

    /// Returns the time from which on everything that was shown is known.
    pub(super) const fn known_from(&self) -> i64 {
        self.known_from
    }

    /// Returns the time before which entries were forgotten for want of room.
    pub(super) const fn overflowed(&self) -> i64 {
        self.overflowed
    }

    /// Tells whether more than three quarters of the room are taken.
    pub(super) const fn is_nearly_full(&self) -> bool {
        self.length > self.capacity / 4 * 3
    }

    /// Tells whether an entry of the present tail is to be shown, and takes it as shown.
    pub(super) fn live(&mut self, key: Key) -> bool {
        self.take(key, |seen| {
            seen.tail += 1;
            seen.tail
        })
    }

    /// The same of the `nth` entry with this key in one reply of `query_range`.
    pub(super) fn stored(&mut self, key: Key, nth: u32) -> bool {
        self.take(key, |_| nth)
    }

    fn take(&mut self, key: Key, count: impl FnOnce(&mut Seen) -> u32) -> bool {
        if key.timestamp < self.known_from {
            return true;
        }
        let slice = self
            .slices
            .entry(key.timestamp.div_euclid(self.slice))
            .or_default();
        let before = slice.len();
        let seen = slice.entry(key).or_default();
        let new = count(seen) > seen.shown;
        seen.shown += u32::from(new);
        self.length += slice.len() - before;
        while self.length > self.capacity {
            self.forget_slice();
            self.overflowed = self.known_from;
        }
        new
    }

    /// Another tail begins: what it brings first is no second one.
    pub(super) fn new_tail(&mut self) {
        let all = self.slices.values_mut().flat_map(HashMap::values_mut);
        all.for_each(|seen| seen.tail = 0);
    }

    /// Nothing before this time will be asked for any more.
    pub(super) fn forget_before(&mut self, time: i64) {
        let first = time.div_euclid(self.slice);
        while self
            .slices
            .first_key_value()
            .is_some_and(|(&slice, _)| slice < first)
        {
            self.forget_slice();
        }
    }

    /// What is older than this was never shown, and is not wanted.
    pub(super) fn begin_at(&mut self, time: i64) {
        self.known_from = self.known_from.max(time);
    }

    fn forget_slice(&mut self) {
        if let Some((slice, entries)) = self.slices.pop_first() {
            self.length -= entries.len();
            self.known_from = self.known_from.max((slice + 1).saturating_mul(self.slice));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::entry::Labels;
    use super::*;

    fn key(timestamp: i64, line: &str) -> Key {
        Key::new(&Entry::new(timestamp, Arc::default(), line))
    }

    #[test]
    fn keys_tell_time_labels_and_line_apart() {
        let labels = [Labels::new([("a", "1")]), Labels::new([("a", "2")])].map(Arc::new);
        let key =
            |time, set: usize, line: &str| Key::new(&Entry::new(time, labels[set].clone(), line));
        assert_eq!(key(1, 0, "x"), key(1, 0, "x"));
        for other in [
            key(2, 0, "x"),
            key(1, 1, "x"),
            key(1, 0, "y"),
            key(1, 0, ""),
        ] {
            assert_ne!(other, key(1, 0, "x"));
        }
        assert_eq!(size_of::<Key>(), 16);
    }

    #[test]
    fn the_second_of_one_source_is_new_and_the_first_of_another_is_not() {
        let mut window = Window::new(3200, 100, 0);
        let x = key(5, "x");
        assert!(window.live(x));
        assert!(!window.stored(x, 1));
        assert!(window.stored(x, 2));
        assert!(!window.live(x));
        assert!(window.live(x));
        window.new_tail();
        assert_eq!(
            [(); 4].map(|()| window.live(x)),
            [false, false, false, true]
        );
    }

    #[test]
    fn what_does_not_fit_goes_with_its_time() {
        let mut window = Window::new(3200, 100, 0);
        (0..100).for_each(|time| assert!(window.live(key(time * 10, "x"))));
        assert_eq!((window.known_from(), window.overflowed()), (0, i64::MIN));
        assert!(window.is_nearly_full());
        assert!(window.live(key(1000, "x")));
        assert_eq!((window.known_from(), window.overflowed()), (100, 100));
        assert!(!window.stored(key(100, "x"), 1));
        assert!(window.stored(key(90, "x"), 1), "nobody knows");
    }

    #[test]
    fn one_moment_with_more_than_fits_is_forgotten_whole() {
        let mut window = Window::new(3200, 100, 0);
        (0..101).for_each(|line| assert!(window.live(key(5, &line.to_string()))));
        assert_eq!((window.known_from(), window.length), (100, 0));
    }

    #[test]
    fn what_is_not_asked_for_any_more_is_forgotten_by_slices() {
        let mut window = Window::new(3200, 100, 50);
        [60, 160, 260]
            .into_iter()
            .for_each(|time| assert!(window.live(key(time, "x"))));
        window.forget_before(199);
        assert_eq!(
            (window.known_from(), window.length, window.overflowed()),
            (100, 2, i64::MIN)
        );
        window.forget_before(200);
        assert_eq!((window.known_from(), window.length), (200, 1));
    }
}

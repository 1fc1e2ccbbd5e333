//! What Loki sends: entries and their labels.
//!
//! Lives here: values, and the table that keeps each set of labels once. Never here: JSON, printing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hasher as _;
use std::sync::Arc;

use twox_hash::XxHash3_64;

/// A set of labels, sorted by name, each name once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Labels {
    pairs: Box<[(Box<str>, Box<str>)]>,
    sum: u64,
}

impl Labels {
    /// Makes a set; where a name stands twice, the last one counts, as it does for Go's clients.
    #[must_use]
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.into_iter();
        let mut pairs: Vec<_> = pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        sort(&mut pairs);
        Self::from_sorted(&pairs)
    }

    fn from_sorted(pairs: &[Pair<'_>]) -> Self {
        Self {
            sum: sum(pairs),
            pairs: pairs
                .iter()
                .map(|(name, value)| ((**name).into(), (**value).into()))
                .collect(),
        }
    }

    /// Iterates over names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self
            .pairs
            .binary_search_by(|(known, _)| (**known).cmp(name));
        at.ok().map(|at| &*self.pairs[at].1)
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// A hash of all of them.
    pub(super) const fn sum(&self) -> u64 {
        self.sum
    }

    fn holds(&self, pairs: &[Pair<'_>]) -> bool {
        let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
        self.iter().eq(pairs)
    }
}

/// A name and its value, as they stand in a message.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn sort(pairs: &mut Vec<Pair<'_>>) {
    // Stable, so that the last one of a name is the last of its group.
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    pairs.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
}

fn sum(pairs: &[Pair<'_>]) -> u64 {
    let mut hash = XxHash3_64::new();
    for (name, value) in pairs {
        // Lengths, so that no two sets read the same.
        hash.write_usize(name.len());
        hash.write(name.as_bytes());
        hash.write_usize(value.len());
        hash.write(value.as_bytes());
    }
    hash.finish()
}

/// One line of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Labels of the stream.
    pub labels: Arc<Labels>,
    /// The line; foreign text.
    pub line: String,
    /// Structured metadata.
    pub metadata: Arc<Labels>,
    /// Labels that the query's own parsers made.
    pub parsed: Arc<Labels>,
    /// Nanoseconds since 1970.
    pub timestamp_ns: i64,
}

impl Entry {
    /// Makes an entry without metadata.
    pub fn new(timestamp_ns: i64, labels: Arc<Labels>, line: impl Into<String>) -> Self {
        Self {
            labels,
            line: line.into(),
            metadata: Arc::default(),
            parsed: Arc::default(),
            timestamp_ns,
        }
    }
}

/// Keeps each set of labels once, as nearly all entries share few of them.
#[derive(Debug, Default)]
pub(super) struct Table {
    known: HashMap<u64, Arc<Labels>>,
}

/// Metadata may be different for every line: then the table begins anew.
const MOST_KNOWN: usize = 4_096;

impl Table {
    /// Returns the set of these pairs, which may be in any order.
    pub(super) fn labels(&mut self, pairs: &mut Vec<Pair<'_>>) -> Arc<Labels> {
        sort(pairs);
        let sum = sum(pairs);
        if let Some(known) = self.known.get(&sum).filter(|known| known.holds(pairs)) {
            return Arc::clone(known);
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        let labels = Arc::new(Labels::from_sorted(pairs));
        self.known.insert(sum, Arc::clone(&labels));
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_the_last_of_a_name_counts() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3"), ("b", "4")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "4")]);
        assert_eq!((labels.get("b"), labels.get("c")), (Some("4"), None));
    }

    #[test]
    fn no_two_sets_read_the_same() {
        let sets = [
            Labels::new([("a", "bc")]),
            Labels::new([("ab", "c")]),
            Labels::new([("a", "b"), ("c", "")]),
            Labels::new([]),
        ];
        for (index, one) in sets.iter().enumerate() {
            assert!(sets[..index].iter().all(|other| other.sum != one.sum));
        }
    }

    #[test]
    fn each_set_is_kept_once_and_their_number_is_bounded() {
        let mut table = Table::default();
        let mut set = |number: usize| {
            let value = number.to_string();
            table.labels(&mut vec![("n".into(), value.into())])
        };
        let first = set(0);
        assert!(Arc::ptr_eq(&first, &set(0)));
        (1..10_000).for_each(|number| drop(set(number)));
        assert_eq!(set(0), first);
        assert!(table.known.len() <= MOST_KNOWN);
    }
}

//! `--include`, `--exclude`, `--highlight`: which lines are shown, and what stands out in them.
//!
//! Lives here: matching, on the bytes of a line without its timestamp and line feed. Never here:
//! prefixes, how a match is shown.

use std::ops::Range;

use regex::bytes::{Regex, RegexSet};

/// What to look for in lines.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    include: Option<RegexSet>,
    exclude: Option<RegexSet>,
    highlight: Vec<Regex>,
}

impl Filter {
    /// Makes a filter of patterns that were each parsed before; no pattern of a kind takes all lines.
    ///
    /// # Errors
    /// When they are too large together.
    pub(crate) fn new(
        include: &[Regex],
        exclude: &[Regex],
        highlight: Vec<Regex>,
    ) -> Result<Self, regex::Error> {
        let set = |patterns: &[Regex]| {
            let set =
                (!patterns.is_empty()).then(|| RegexSet::new(patterns.iter().map(Regex::as_str)));
            set.transpose()
        };
        Ok(Self {
            include: set(include)?,
            exclude: set(exclude)?,
            highlight,
        })
    }

    /// Tells whether a line is shown.
    pub(crate) fn takes(&self, line: &[u8]) -> bool {
        let matches = |set: &RegexSet| set.is_match(line);
        self.include.as_ref().is_none_or(matches) && !self.exclude.as_ref().is_some_and(matches)
    }

    /// Returns what stands out in a line: ranges in order that do not meet.
    pub(crate) fn highlights(&self, line: &[u8]) -> Vec<Range<usize>> {
        let found = self
            .highlight
            .iter()
            .flat_map(|pattern| pattern.find_iter(line));
        let mut ranges: Vec<_> = found
            .map(|found| found.range())
            .filter(|range| !range.is_empty())
            .collect();
        ranges.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        apart
    }

    /// Whether anything stands out at all.
    pub(crate) fn highlights_any(&self) -> bool {
        !self.highlight.is_empty()
    }
}

/// Reads a regular expression, or says in one line what is wrong with it.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        let words = error.to_string();
        let last = words.lines().last().unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Regex> {
        texts.iter().map(|text| parse(text).unwrap()).collect()
    }

    #[test]
    fn a_line_needs_one_of_the_included_and_none_of_the_excluded() {
        let filter =
            Filter::new(&patterns(&["^a", "b$"]), &patterns(&["(?i)x"]), Vec::new()).unwrap();
        for (line, takes) in [
            ("ac", true),
            ("cb", true),
            ("cc", false),
            ("aX", false),
            ("", false),
        ] {
            assert_eq!(filter.takes(line.as_bytes()), takes, "{line}");
        }
        assert!(Filter::default().takes(b"\xff\0"));
    }

    #[test]
    fn what_stands_out_is_told_once() {
        let filter = Filter::new(&[], &[], patterns(&["bc", "ab", "e*", "(?-u:\\xff)"])).unwrap();
        assert_eq!(filter.highlights(b"abcd e\xff"), [0..3, 5..7]);
        assert!(Filter::default().highlights(b"abc").is_empty());
    }

    #[test]
    fn a_bad_pattern_is_explained_in_one_line() {
        assert_eq!(parse("(").unwrap_err(), "unclosed group");
        assert_eq!(parse("a{2,1}").unwrap_err().lines().count(), 1);
        assert!(
            parse("a{1000}{1000}{1000}")
                .unwrap_err()
                .contains("size limit")
        );
    }
}

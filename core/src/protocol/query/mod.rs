//! A query string carried past hops that drop it: "queryargs v1" (docs/queryargs.md).
//!
//! The API server drops the query of an upgrade through a service, pod or node proxy (kubernetes#77142).
//! [`compose`] moves it into the path, [`normalize`] and [`HEADER`] put it beside the request, and
//! [`decompose`] restores either. All work on the raw request target, once: nothing is decoded twice.
//!
//! Lives here: pure functions on targets. Never here: servers, sockets, which carrier is taken.

mod decompose;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use thiserror::Error;

pub use decompose::{OnConflict, Policy, Restored, Via, decompose};

/// The request header that carries a query: what follows the `?` of a [`normalize`]d target.
pub const HEADER: &str = "x-wsx-query";

/// The answer header by which a decomposer tells what it did; its value is [`Via::answer`].
pub const ANSWER_HEADER: &str = "x-wsx-decomposed";

/// The path segment before a composed query.
const MARKER: &str = "/queryargs";

/// How a target is composed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Composition {
    /// The most bytes of the result. nginx takes 8,150 as it is delivered, HAProxy 15,000, Go 1 MB.
    pub max_target: usize,
    /// Whether the segment is padded with `=`: older decomposers need it, some hops mangle it.
    pub padding: bool,
}

impl Default for Composition {
    fn default() -> Self {
        Self {
            max_target: 8_000,
            padding: true,
        }
    }
}

impl Composition {
    /// Sets the most bytes of the result.
    #[must_use]
    pub const fn max_target(mut self, bytes: usize) -> Self {
        self.max_target = bytes;
        self
    }

    /// Sets whether the segment is padded.
    #[must_use]
    pub const fn padding(mut self, padding: bool) -> Self {
        self.padding = padding;
        self
    }
}

/// Why a target is not composed, or not restored.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum QueryError {
    /// The API server would change the path on the way.
    #[error("the path holds {what}, which the API server would change on the way")]
    Altered {
        /// What it holds.
        what: &'static str,
    },
    /// A composed query that no composer writes.
    #[error("the composed query is not canonical base64url")]
    BadBase64,
    /// A composed query, and another one behind `?`.
    #[error("the composed query differs from the one behind the question mark")]
    Conflict,
    /// A byte that could end a request line or a header, or begin a fragment.
    #[error("byte {byte:#04x} cannot stand in a request target")]
    ForbiddenByte {
        /// The byte.
        byte: u8,
    },
    /// A target that does not begin with a slash.
    #[error("the target does not begin with /")]
    NotAPath,
    /// A path that is not on the list.
    #[error("the path is not one of those that are allowed")]
    PathNotAllowed,
    /// A target or a query over the limit.
    #[error("{length} bytes are too many, the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Returns the target with its query moved into the path, or without `?` where the query is empty.
///
/// The result survives hops that drop the query of an upgrade; [`decompose`] undoes it. It is
/// `BASE/queryargs/SEGMENT/`, and ends with `~/` where the path ended with a slash.
///
/// # Errors
/// Those of [`normalize`].
pub fn compose(target: &str, options: &Composition) -> Result<String, QueryError> {
    let native = normalize(target, usize::MAX)?;
    let Some((path, query)) = native.split_once('?') else {
        return fits(native, options.max_target);
    };
    let (base, slash) = match path.strip_suffix('/') {
        Some("") => ("", ""),
        Some(base) => (base, "~/"),
        None => (path, ""),
    };
    let segment = match options.padding {
        true => URL_SAFE.encode(query),
        false => URL_SAFE_NO_PAD.encode(query),
    };
    let composite = format!("{base}{MARKER}/{segment}/{slash}");
    fits(composite, options.max_target)
}

/// Returns the target as it may be sent: bytes that must not stand in a query are percent-encoded there,
/// and an empty query goes. All else stays as it was written.
///
/// # Errors
/// `Altered` when the path holds `//`, `.` or `..` segments or `%2F`; `ForbiddenByte` when it holds a byte
/// outside of 0x21 to 0x7E, or `#`; `NotAPath`; `TooLong` when the result has more than `max_target` bytes.
pub fn normalize(target: &str, max_target: usize) -> Result<String, QueryError> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    check_visible(path.as_bytes())?;
    check_path(path)?;
    if query.is_empty() {
        return fits(path.to_owned(), max_target);
    }
    const HIDDEN: &AsciiSet = &CONTROLS.add(b' ').add(b'#');
    let query = Cow::from(utf8_percent_encode(query, HIDDEN));
    fits(format!("{path}?{query}"), max_target)
}

/// Returns the target with its path as the API server would forward it: escaped slashes are slashes, and
/// empty and dot segments are gone. The query stays.
#[must_use]
pub fn clean(target: &str) -> String {
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let path = path.replace("%2F", "/").replace("%2f", "/");
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match dots(segment) {
            0 if segment.is_empty() => {}
            0 => segments.push(segment),
            1 => {}
            _ => {
                segments.pop();
            }
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}{query}", segments.join("/"))
}

fn fits(target: String, limit: usize) -> Result<String, QueryError> {
    match target.len() {
        length if length > limit => Err(QueryError::TooLong { length, limit }),
        _ => Ok(target),
    }
}

/// Refuses what the API server rewrites: it decodes the path, cleans it, and encodes it again.
fn check_path(path: &str) -> Result<(), QueryError> {
    let segments = path.strip_prefix('/').ok_or(QueryError::NotAPath)?;
    let altered = |what| Err(QueryError::Altered { what });
    if path.contains("//") {
        return altered("//");
    }
    if path.contains("%2F") || path.contains("%2f") {
        return altered("%2F");
    }
    if segments.split('/').any(|segment| dots(segment) > 0) {
        return altered("a segment of dots");
    }
    Ok(())
}

/// 1 for `.`, 2 for `..`, escaped or not; 0 for every other segment.
fn dots(segment: &str) -> usize {
    let plain = segment.replace("%2E", ".").replace("%2e", ".");
    match &*plain {
        "." => 1,
        ".." => 2,
        _ => 0,
    }
}

/// The injection barrier: what passes can neither end a line, nor separate words, nor begin a fragment.
fn check_visible(bytes: &[u8]) -> Result<(), QueryError> {
    let hidden = |byte: &&u8| !matches!(byte, b'!'..=b'~') || **byte == b'#';
    match bytes.iter().find(hidden) {
        Some(&byte) => Err(QueryError::ForbiddenByte { byte }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_counts_the_result() {
        let options = Composition::default();
        for (target, length) in [
            ("/t?a=1".to_owned(), 18),
            ("/".to_owned() + &"a".repeat(20), 21),
        ] {
            assert!(compose(&target, &options.max_target(length)).is_ok());
            let limit = length - 1;
            let refused = compose(&target, &options.max_target(limit));
            assert_eq!(refused, Err(QueryError::TooLong { length, limit }));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_composed_comes_back(
            path in "(/[!-\"$-.0->@-~]{1,8}){0,4}/?",
            query in "[!-~]{1,60}|\\PC{1,20}|.{1,20}",
            padding: bool,
        ) {
            let target = format!("{path}?{query}");
            let options = Composition::default().padding(padding);
            let Ok(native) = normalize(&target, usize::MAX) else {
                prop_assert_eq!(compose(&target, &options), normalize(&target, usize::MAX));
                return Ok(());
            };
            let composite = compose(&target, &options).unwrap();
            prop_assert!(check_visible(composite.as_bytes()).is_ok());
            prop_assert!(!composite.contains('?'));
            let restored = decompose(&composite, None, &Policy::default()).unwrap();
            prop_assert_eq!(&restored.target, &native);
            prop_assert_eq!(restored.via, Via::Path);
            let (path, query) = native.split_once('?').unwrap();
            let restored = decompose(path, Some(query.as_bytes()), &Policy::default());
            // A path may itself look composed: only then the header is not asked.
            if let Ok(Restored { via: Via::Header, target }) = restored {
                prop_assert_eq!(target, native);
            } else {
                prop_assert!(path.contains(MARKER));
            }
        }

        #[test]
        fn a_clean_target_stays_and_every_target_can_be_cleaned(target in "(/|%2[fFeE]|\\.|a|\\?){0,16}") {
            let cleaned = clean(&target);
            prop_assert_eq!(&clean(&cleaned), &cleaned);
            prop_assert!(normalize(&cleaned, usize::MAX).is_ok(), "{}", cleaned);
            if normalize(&target, usize::MAX).is_ok() {
                prop_assert_eq!(cleaned, target);
            }
        }
    }
}

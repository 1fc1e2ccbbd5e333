//! Restoring a query from the path or the header that carried it.
//!
//! Lives here: the decision about one request target. Never here: composing, forwarding, answering.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{MARKER, QueryError, check_path, check_visible};

/// What becomes of a composed query where another one stands behind `?`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnConflict {
    /// The composed one is taken.
    Composed,
    /// The one behind `?` is taken.
    Native,
    /// The request is refused.
    #[default]
    Reject,
}

/// What a decomposer accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// The only paths that may come out, byte for byte; absent: all.
    pub allow_paths: Option<Vec<String>>,
    /// Whether the header is a carrier.
    pub header: bool,
    /// The most bytes of a restored query.
    pub max_query: usize,
    /// What becomes of two queries that differ.
    pub on_conflict: OnConflict,
    /// Whether the path is a carrier.
    pub path: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_paths: None,
            header: true,
            max_query: 64 * 1024,
            on_conflict: OnConflict::default(),
            path: true,
        }
    }
}

impl Policy {
    /// Sets the only paths that may come out.
    #[must_use]
    pub fn allow_paths(mut self, paths: Option<Vec<String>>) -> Self {
        self.allow_paths = paths;
        self
    }

    /// Sets which carriers are accepted.
    #[must_use]
    pub const fn carriers(mut self, header: bool, path: bool) -> Self {
        (self.header, self.path) = (header, path);
        self
    }

    /// Sets the most bytes of a restored query.
    #[must_use]
    pub const fn max_query(mut self, bytes: usize) -> Self {
        self.max_query = bytes;
        self
    }

    /// Sets what becomes of two queries that differ.
    #[must_use]
    pub const fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = on_conflict;
        self
    }
}

/// Which carrier brought the query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Via {
    /// The header.
    Header,
    /// None: it stood behind `?`, or there was no query.
    Native,
    /// The path.
    Path,
}

impl Via {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Native => "native",
            Self::Path => "path",
        }
    }

    /// Returns the value of [`ANSWER_HEADER`](super::ANSWER_HEADER).
    #[must_use]
    pub const fn answer(self) -> &'static str {
        match self {
            Self::Header => "v1;via=header",
            Self::Native => "v1;via=native",
            Self::Path => "v1;via=path",
        }
    }
}

/// A target as the backend is to see it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Restored {
    /// Path and query: bytes 0x21 to 0x7E without `#`, beginning with a slash.
    pub target: String,
    /// Where the query was.
    pub via: Via,
}

/// Returns the target that was meant by a target and the value of the header, which must not go further.
///
/// The last composite at the end of the path is decoded, once; a target without one, and with a
/// query of its own or without the header, passes as it is. A request with several such headers is for the
/// caller to refuse.
///
/// # Errors
/// Nothing is to be forwarded. 400 is the answer to `BadBase64`, `Conflict`, `ForbiddenByte` in the target or
/// in what it carried, `NotAPath` and `TooLong`; with a list of paths 400 to `Altered` and 403 to
/// `PathNotAllowed`.
pub fn decompose(
    target: &str,
    header: Option<&[u8]>,
    policy: &Policy,
) -> Result<Restored, QueryError> {
    check_visible(target.as_bytes())?;
    if !target.starts_with('/') {
        return Err(QueryError::NotAPath);
    }
    let (path, native) = target.split_once('?').unwrap_or((target, ""));
    let header = header.filter(|query| policy.header && !query.is_empty());
    let composite = Composite::find(path).filter(|_| policy.path);
    let restored = match (composite, header) {
        (Some(composite), _) => {
            let query = readable(composite.query()?, policy)?;
            let path = composite.path();
            let (query, via) = match policy.on_conflict {
                _ if native.is_empty() || native == query => (&*query, Via::Path),
                OnConflict::Composed => (&*query, Via::Path),
                OnConflict::Native => (native, Via::Native),
                OnConflict::Reject => return Err(QueryError::Conflict),
            };
            let target = format!("{path}?{query}");
            Restored { target, via }
        }
        (None, Some(query)) if native.is_empty() => {
            let query = readable(query.to_owned(), policy)?;
            let target = format!("{path}?{query}");
            Restored {
                target,
                via: Via::Header,
            }
        }
        (None, _) => Restored {
            target: target.to_owned(),
            via: Via::Native,
        },
    };
    if let Some(allowed) = &policy.allow_paths {
        let path = restored.target.split('?').next().unwrap_or_default();
        check_path(path)?;
        if !allowed.iter().any(|allowed| allowed == path) {
            return Err(QueryError::PathNotAllowed);
        }
    }
    Ok(restored)
}

/// A carried query as text, when it may stand in a request line.
fn readable(query: Vec<u8>, policy: &Policy) -> Result<String, QueryError> {
    let (length, limit) = (query.len(), policy.max_query);
    if length > limit {
        return Err(QueryError::TooLong { length, limit });
    }
    check_visible(&query)?;
    Ok(String::from_utf8(query).expect("visible bytes are ASCII"))
}

/// `BASE/queryargs/TOKEN` with its ending taken apart.
struct Composite<'a> {
    base: &'a str,
    token: &'a str,
    slash: bool,
}

impl<'a> Composite<'a> {
    /// `^(.*)/queryargs/([A-Za-z0-9_-]+)(=|%3D|%3d)*(/|/~/?)?$`, the last marker.
    fn find(path: &'a str) -> Option<Self> {
        let whole = path.strip_suffix('/').unwrap_or(path);
        let (whole, slash) = match whole.strip_suffix("/~") {
            Some(whole) => (whole, true),
            None => (whole, false),
        };
        let (base, token) = whole.rsplit_once('/')?;
        let base = base.strip_suffix(MARKER)?;
        let token = unpadded(token);
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (!token.is_empty() && token.bytes().all(known)).then_some(Self { base, token, slash })
    }

    fn query(&self) -> Result<Vec<u8>, QueryError> {
        // Refuses a length of 4n + 1 and bits behind the last byte, so that there is one writing only.
        URL_SAFE_NO_PAD
            .decode(self.token)
            .map_err(|_| QueryError::BadBase64)
    }

    fn path(&self) -> String {
        match self.slash || self.base.is_empty() {
            true => format!("{}/", self.base),
            false => self.base.to_owned(),
        }
    }
}

/// A hop may have escaped `=` on the way.
fn unpadded(mut token: &str) -> &str {
    let padding = ["=", "%3D", "%3d"];
    while let Some(rest) = padding.iter().find_map(|one| token.strip_suffix(one)) {
        token = rest;
    }
    token
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_pass_only() {
        let inner = URL_SAFE_NO_PAD.encode("/t/queryargs/YT0x/");
        let twice = decompose(&format!("/t/queryargs/{inner}/"), None, &Policy::default());
        assert_eq!(twice.unwrap().target, "/t?/t/queryargs/YT0x/");
    }

    /// Segments that hostile pages would try, and any others.
    fn hostile() -> impl Strategy<Value = String> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..40);
        let encoded = bytes.prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        prop_oneof![
            encoded,
            "[A-Za-z0-9_=%~/-]{0,24}",
            "(queryargs|/|~|=|%3[dD]|YT0x|\\?|\\.){0,12}",
            ".{0,12}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn nothing_hidden_gets_through(
            segments in proptest::collection::vec(hostile(), 1..4),
            header in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..12)),
            strict: bool,
        ) {
            let target = format!("/t/queryargs/{}/", segments.join("/queryargs/"));
            let allowed = strict.then(|| vec!["/t".to_owned()]);
            let policy = Policy::default().allow_paths(allowed).on_conflict(OnConflict::Composed);
            let Ok(Restored { target, via }) = decompose(&target, header.as_deref(), &policy) else {
                return Ok(());
            };
            prop_assert!(target.starts_with('/'));
            prop_assert!(target.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'#'));
            prop_assert!(!strict || target == "/t" || target.starts_with("/t?"));
            prop_assert!(via == Via::Native || target.contains('?'));
        }
    }
}

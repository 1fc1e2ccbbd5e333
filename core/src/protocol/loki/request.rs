//! The requests that Loki is asked with.
//!
//! Lives here: path, parameters and headers of a tail and of `query_range`. Never here: which comes next, how
//! the query gets through the API server (that is [`query`](crate::protocol::query)).

use http::{HeaderName, HeaderValue, Request};

use crate::protocol::error::ProtocolError;
use crate::protocol::request::get;

/// Tells structured metadata from labels: without it a line has other labels in the history of a tail than
/// after it, and no repeat could be recognized (grafana/loki pkg/ingester/tailer.go).
const ENCODING: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-loki-response-encoding-flags"),
    HeaderValue::from_static("categorize-labels"),
);

/// Names the tenant, where Loki has several.
const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// The longest `delay_for` that Loki takes, in seconds.
const LONGEST_DELAY: u8 = 5;

/// Where a Loki is, and what all requests to it share.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Place {
    /// What stands before `/loki/api/v1`, without a slash at its end: a service's proxy path, an ingress's prefix.
    pub prefix: String,
    /// The tenant.
    pub tenant: Option<String>,
}

impl Place {
    /// Makes a place.
    #[must_use]
    pub fn new(prefix: impl Into<String>, tenant: Option<String>) -> Self {
        Self {
            prefix: prefix.into(),
            tenant,
        }
    }

    fn request(&self, path: &str, query: &[(&str, &str)]) -> Result<Request<()>, ProtocolError> {
        let mut request = get(&format!("{}/loki/api/v1/{path}", self.prefix), query)?;
        let headers = request.headers_mut();
        let (name, value) = ENCODING;
        headers.insert(name, value);
        if let Some(tenant) = &self.tenant {
            let value = HeaderValue::from_str(tenant)
                .map_err(|_| unusable(format!("{tenant:?} is no name of a tenant")))?;
            headers.insert(TENANT, value);
        }
        Ok(request)
    }
}

/// One tail.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TailRequest {
    /// For how many seconds Loki collects lines to order them, 0 to 5.
    pub delay_for: u8,
    /// The most lines of history; lines that are new are not counted.
    pub limit: u32,
    /// LogQL.
    pub query: String,
    /// Where the history begins: nanoseconds since 1970.
    pub start: i64,
}

impl TailRequest {
    /// Asks for new lines and up to `limit` older ones, `start` or later.
    pub fn new(query: impl Into<String>, start: i64, limit: u32) -> Self {
        Self {
            delay_for: 0,
            limit,
            query: query.into(),
            start,
        }
    }

    /// Sets for how many seconds Loki collects lines to order them.
    #[must_use]
    pub const fn delay_for(mut self, seconds: u8) -> Self {
        self.delay_for = seconds;
        self
    }

    /// Returns the upgrade request, without the handshake's own headers.
    ///
    /// # Errors
    /// `UnusableRequest` when the query is empty, the limit is zero, the delay is over 5 s, the tenant is no
    /// header's value, or all is over 64 KiB.
    pub fn request(&self, place: &Place) -> Result<Request<()>, ProtocolError> {
        check(&self.query, self.limit)?;
        if self.delay_for > LONGEST_DELAY {
            let text = format!(
                "Loki delays for {LONGEST_DELAY} s at most, not {}",
                self.delay_for
            );
            return Err(unusable(text));
        }
        let (start, limit) = (self.start.to_string(), self.limit.to_string());
        let delay = self.delay_for.to_string();
        let query = [
            ("query", &*self.query),
            ("start", &start),
            ("limit", &limit),
            ("delay_for", &delay),
        ];
        place.request("tail", &query)
    }
}

/// One page of lines that are stored already, the oldest first.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RangeRequest {
    /// The first nanosecond after the range.
    pub end: i64,
    /// The most lines.
    pub limit: u32,
    /// LogQL.
    pub query: String,
    /// The first nanosecond of the range.
    pub start: i64,
}

impl RangeRequest {
    /// Asks for the first `limit` lines from `start` on and before `end`.
    pub fn new(query: impl Into<String>, start: i64, end: i64, limit: u32) -> Self {
        Self {
            end,
            limit,
            query: query.into(),
            start,
        }
    }

    /// Returns the request.
    ///
    /// # Errors
    /// `UnusableRequest` as for a tail.
    pub fn request(&self, place: &Place) -> Result<Request<()>, ProtocolError> {
        check(&self.query, self.limit)?;
        let [start, end] = [self.start, self.end].map(|time| time.to_string());
        let limit = self.limit.to_string();
        let query = [
            ("query", &*self.query),
            ("start", &start),
            ("end", &end),
            ("limit", &limit),
            ("direction", "forward"),
        ];
        place.request("query_range", &query)
    }
}

fn check(query: &str, limit: u32) -> Result<(), ProtocolError> {
    if query.trim().is_empty() {
        return Err(unusable(
            "no query is given: write one, as {app=\"web\"}".to_owned(),
        ));
    }
    if limit == 0 {
        return Err(unusable(
            "Loki gives no history without a limit: write 1 or more".to_owned(),
        ));
    }
    Ok(())
}

const fn unusable(text: String) -> ProtocolError {
    ProtocolError::UnusableRequest(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_asks_for_the_same_labels() {
        let place = Place::new("/p", Some("team-a".to_owned()));
        let tail = TailRequest::new("{a=\"b\"}", 1, 1).request(&place).unwrap();
        let range = RangeRequest::new("{a=\"b\"}", 1, 2, 1)
            .request(&place)
            .unwrap();
        for request in [tail, range] {
            let header = |name: &str| request.headers()[name].to_str().unwrap();
            assert_eq!(
                header("X-Loki-Response-Encoding-Flags"),
                "categorize-labels"
            );
            assert_eq!(header("X-Scope-OrgID"), "team-a");
        }
    }

    #[test]
    fn a_tenant_cannot_add_headers() {
        let place = Place::new("", Some("a\r\nX-Evil: 1".to_owned()));
        let error = RangeRequest::new("{}", 1, 2, 1)
            .request(&place)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""a\r\nX-Evil: 1" is no name of a tenant"#
        );
    }
}

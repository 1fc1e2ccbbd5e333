//! Why a tail or a request to Loki ended, and what is to be done.
//!
//! Loki says it as plain text: in the answer to the request, or in a closing frame, whose text vanishes
//! when it has more than 123 bytes (the client sees 1006 then). The texts are those of grafana/loki
//! `pkg/querier`, `pkg/logql` and `docs/sources/shared/troubleshoot-query.md`.
//!
//! Lives here: text to classes. Never here: waiting, asking again, advice to people.

/// Why something ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// A limit of Loki's that a setting raises.
    Limit(Limit),
    /// The tail reached its greatest age (an hour, as Loki is delivered): nothing is wrong.
    Planned,
    /// The query did not arrive. Where ours was not empty and Loki accepts it otherwise, a hop has dropped it.
    QueryLost,
    /// Loki refuses what was asked, and would again.
    Refused,
    /// Loki has several tenants, and none, or a wrong one, was named.
    Tenant,
    /// A restart, an overload, a connection that broke: it may be different the next time.
    Transient,
    /// A hop took the headers of the upgrade away.
    UpgradeStripped,
}

/// A limit that was hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Limit {
    /// What it allows, where the text says so by `(asked > allowed)`.
    pub allowed: Option<u64>,
    /// The setting that changes it, with its section of Loki's configuration.
    pub setting: &'static str,
    /// Whether it is hit only for as long as others use up what it allows.
    pub passes: bool,
}

/// When to try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Retry {
    /// Without waiting.
    AtOnce,
    /// After 0.1 s, doubling to 10 s, with jitter.
    BackOff,
    /// Never: it would end the same way.
    Never,
    /// After 10 s or more.
    Slowly,
}

impl Ending {
    /// Reads a closing frame; without one, the code is 1006.
    #[must_use]
    pub fn of_close(code: u16, reason: &str) -> Self {
        if let Some(ending) = Self::of_text(reason) {
            return ending;
        }
        match code {
            // Policy, and what only a wrong request can bring.
            1002 | 1003 | 1007..=1010 => Self::Refused,
            _ if reason.contains("parse error") => Self::Refused,
            _ => Self::Transient,
        }
    }

    /// Reads an HTTP answer that is no success, to an upgrade or to `query_range`.
    #[must_use]
    pub fn of_status(status: u16, body: &str) -> Self {
        if let Some(ending) = Self::of_text(body) {
            return ending;
        }
        match status {
            408 | 429 | 500.. => Self::Transient,
            _ => Self::Refused,
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        let has = |part: &str| text.contains(part);
        if has("reached tail max duration limit") {
            return Some(Self::Planned);
        }
        if has("unexpected $end") {
            return Some(Self::QueryLost);
        }
        if has("'upgrade' token not found") || has("'websocket' token not found") {
            return Some(Self::UpgradeStripped);
        }
        if has("no org id") {
            return Some(Self::Tenant);
        }
        let (_, setting, passes) = *SETTINGS.iter().find(|(words, ..)| has(words))?;
        let allowed = allowed(text);
        Some(Self::Limit(Limit {
            allowed,
            setting,
            passes,
        }))
    }

    /// Tells when to try again.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Planned => Retry::AtOnce,
            Self::Transient => Retry::BackOff,
            Self::Limit(Limit { passes: true, .. }) => Retry::Slowly,
            Self::Limit(_)
            | Self::QueryLost
            | Self::Refused
            | Self::Tenant
            | Self::UpgradeStripped => Retry::Never,
        }
    }
}

/// Words of an error, the setting behind it, and whether the error passes by waiting.
const SETTINGS: [(&str, &str, bool); 14] = [
    (
        "max concurrent tail requests limit exceeded",
        "limits_config.max_concurrent_tail_requests",
        true,
    ),
    (
        "too many outstanding requests",
        "query_scheduler.max_outstanding_requests_per_tenant",
        true,
    ),
    (
        "max entries limit per query exceeded",
        "limits_config.max_entries_limit_per_query",
        false,
    ),
    (
        "the query time range exceeds the limit",
        "limits_config.max_query_length",
        false,
    ),
    (
        "it is past now - max_query_lookback",
        "limits_config.max_query_lookback",
        false,
    ),
    (
        "the query would read too many bytes",
        "limits_config.max_query_bytes_read",
        false,
    ),
    (
        "query too large to execute on a single querier",
        "limits_config.max_querier_bytes_read",
        false,
    ),
    (
        "the query hit the max number of chunks limit",
        "limits_config.max_chunks_per_query",
        false,
    ),
    (
        "max streams matchers per query exceeded",
        "limits_config.max_streams_matchers_per_query",
        false,
    ),
    (
        "cardinality limit exceeded",
        "limits_config.cardinality_limit",
        false,
    ),
    (
        "stream selector is missing required matchers",
        "limits_config.required_labels",
        false,
    ),
    (
        "stream selector has less label matchers than required",
        "limits_config.minimum_labels_number",
        false,
    ),
    (
        "querying is disabled",
        "limits_config.max_query_parallelism",
        false,
    ),
    (
        "grpc: received message larger than max",
        "server.grpc_server_max_recv_msg_size",
        false,
    ),
];

/// The second number of `(asked > allowed)`.
fn allowed(text: &str) -> Option<u64> {
    let (_, pair) = text.rsplit_once('(')?;
    let (_, allowed) = pair.split_once(')')?.0.split_once(" > ")?;
    allowed.parse().ok()
}

/// Finds where in the query Loki saw an error: line and column, both from 1.
#[must_use]
pub fn position(text: &str) -> Option<(u32, u32)> {
    let (_, place) = text.split_once("parse error at line ")?;
    let (line, place) = place.split_once(", col ")?;
    let column = place
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

//! What a request for a log asks for, as the API server reads and checks it.
//!
//! Lives here: kubernetes 1.36.3 `PodLogOptions` in a query, its validation and the words of it. Never
//! here: pods.

use std::num::IntErrorKind;

use serde_json::{Value, json};

use super::stamp::{self, Nanoseconds, SECOND};
use crate::cluster::http::{Request, Response};

/// Which output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Stream {
    #[default]
    All,
    Stderr,
    Stdout,
}

impl Stream {
    /// Whether a record of that stream is wanted.
    pub(crate) fn wants(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

/// A request that makes sense.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail_lines: Option<u64>,
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) stream: Stream,
    since_seconds: Option<i64>,
    since_time: Option<Nanoseconds>,
}

impl Options {
    /// Reads the query; `splits` tells whether the gate `PodLogsQuerySplitStreams` is on, where there is one.
    pub(crate) fn parse(
        request: &Request,
        name: &str,
        splits: Option<bool>,
    ) -> Result<Self, Response> {
        let integer = |parameter: &str| match request.parameter(parameter) {
            None => Ok(None),
            Some(text) => text.parse::<i64>().map(Some).map_err(|error| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                let text = format!("strconv.ParseInt: parsing \"{text}\": {why}");
                Response::bad_request(&text)
            }),
        };
        let since_time = match request.parameter("sinceTime") {
            None | Some("" | "null") => None,
            Some(text) => Some(stamp::parse(text).ok_or_else(|| {
                let layout = "2006-01-02T15:04:05Z07:00";
                let (rest, part) = unparsed(text);
                let text = format!(
                    "parsing time \"{text}\" as \"{layout}\": cannot parse \"{rest}\" as \"{part}\""
                );
                Response::bad_request(&text)
            })?),
        };
        let (tail_lines, limit_bytes) = (integer("tailLines")?, integer("limitBytes")?);
        let since_seconds = integer("sinceSeconds")?;
        // Without the gate nobody knows the parameter.
        let stream = splits.and_then(|_| request.parameter("stream"));

        let mut faults = Vec::new();
        let invalid = |field: &str, value: i64, text: &str| {
            let text = format!("Invalid value: {value}: {text}");
            (field.to_owned(), "FieldValueInvalid", text)
        };
        if let Some(lines @ ..0) = tail_lines {
            let text = "must be greater than or equal to 0";
            faults.push(invalid("tailLines", lines, text));
        }
        if let Some(bytes @ ..1) = limit_bytes {
            faults.push(invalid("limitBytes", bytes, "must be greater than 0"));
        }
        let forbidden = |field: &str, text: &str| {
            let text = format!("Forbidden: {text}");
            (field.to_owned(), "FieldValueForbidden", text)
        };
        match (since_seconds, since_time) {
            (Some(_), Some(_)) => {
                let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
                faults.push(forbidden("[]", text));
            }
            (Some(seconds @ ..1), None) => {
                faults.push(invalid("sinceSeconds", seconds, "must be greater than 0"));
            }
            _ => {}
        }
        let chosen = match stream {
            None | Some("All") => Some(Stream::All),
            Some("Stdout") => Some(Stream::Stdout),
            Some("Stderr") => Some(Stream::Stderr),
            Some(_) => None,
        };
        match stream {
            Some(_) if splits == Some(false) => {
                faults.push(forbidden("stream", "may not be specified"));
            }
            Some(text) => {
                if chosen.is_none() {
                    let known = "supported values: \"All\", \"Stderr\", \"Stdout\"";
                    let text = format!("Unsupported value: \"{text}\": {known}");
                    faults.push(("stream".to_owned(), "FieldValueNotSupported", text));
                }
                if chosen != Some(Stream::All) && tail_lines.is_some() {
                    let text = "`tailLines` and specific `stream` are mutually exclusive for now";
                    faults.push(forbidden("[]", text));
                }
            }
            None => {}
        }
        if !faults.is_empty() {
            return Err(refusal(name, &faults));
        }
        Ok(Self {
            follow: request.flag("follow"),
            previous: request.flag("previous"),
            timestamps: request.flag("timestamps"),
            tail_lines: tail_lines.map(i64::unsigned_abs),
            limit_bytes: limit_bytes.map(i64::unsigned_abs),
            stream: chosen.unwrap_or_default(),
            since_seconds,
            // On its way to the kubelet it is cut to whole seconds.
            since_time: since_time.map(|time| time.div_euclid(SECOND) * SECOND),
        })
    }

    /// The first point in time that is wanted, by the node's clock.
    pub(crate) fn since(&self, now: Nanoseconds) -> Nanoseconds {
        let ago = self
            .since_seconds
            .map(|seconds| now - i128::from(seconds) * SECOND);
        ago.or(self.since_time).unwrap_or(Nanoseconds::MIN)
    }
}

/// Where Go's reading of a time stops, and for want of what.
fn unparsed(text: &str) -> (&str, &'static str) {
    let mut rest = text;
    for part in [
        "2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05",
    ] {
        let digits = part.as_bytes()[0].is_ascii_digit();
        let fits = rest.get(..part.len()).filter(|word| match digits {
            true => word.bytes().all(|byte| byte.is_ascii_digit()),
            false => *word == part,
        });
        if fits.is_none() {
            return (rest, part);
        }
        rest = &rest[part.len()..];
    }
    (rest, "Z07:00")
}

fn refusal(name: &str, faults: &[(String, &str, String)]) -> Response {
    let texts: Vec<String> = faults
        .iter()
        .map(|(field, _, text)| format!("{field}: {text}"))
        .collect();
    let text = match &texts[..] {
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let causes: Vec<Value> = faults
        .iter()
        .map(|(field, reason, text)| json!({"reason": reason, "message": text, "field": field}))
        .collect();
    let message = format!("PodLogOptions \"{name}\" is invalid: {text}");
    let details = json!({"name": name, "kind": "PodLogOptions", "causes": causes});
    Response::refusal(422, "Invalid", &message, &details)
}

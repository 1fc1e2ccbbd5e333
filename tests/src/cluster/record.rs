//! What was asked, kept for tests: methods, targets, headers without secrets.
//!
//! Lives here: the list. Never here: decisions about a request.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::http::Request;

/// One request as it came, secrets taken out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Recorded {
    /// The listener that was asked: the name of its context.
    pub listener: String,
    /// The method.
    pub method: String,
    /// The target with its query.
    pub target: String,
    /// The headers in their order; credentials are replaced by `[redacted]`.
    pub headers: Vec<(String, String)>,
}

/// The list.
#[derive(Default)]
pub(crate) struct Records {
    list: Mutex<Vec<Recorded>>,
}

impl Records {
    pub(crate) fn add(&self, listener: &str, request: &Request) {
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), redacted(name, value)));
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // A bench that runs for hours asks more often than anybody reads.
        if list.len() < LONGEST {
            list.push(Recorded {
                listener: listener.to_owned(),
                method: request.method.clone(),
                target: request.target.clone(),
                headers: headers.collect(),
            });
        }
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn clear(&self) {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn redacted(name: &str, value: &str) -> String {
    if name.eq_ignore_ascii_case("Authorization") {
        let scheme = value.split(' ').next().unwrap_or_default();
        return format!("{scheme} [redacted]");
    }
    if name.eq_ignore_ascii_case("Sec-WebSocket-Protocol") {
        let names = value.split(',').map(str::trim);
        let names = names.map(|name| match name.strip_prefix(super::identity::BEARER) {
            Some(_) => format!("{}[redacted]", super::identity::BEARER),
            None => name.to_owned(),
        });
        return names.collect::<Vec<_>>().join(", ");
    }
    value.to_owned()
}

const LONGEST: usize = 100_000;

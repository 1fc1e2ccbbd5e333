//! What an HTTP answer that nobody wanted means: a kind, kubectl's words, and what to try.
//!
//! Lives here: from status, headers and body to an error. Never here: sending, retries.

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, SERVER, VIA};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Deserialize;

use crate::error::{Error, ErrorKind};
use crate::protocol::text::excerpt;

/// How much of a foreign text a person is shown.
const SHOWN: usize = 2048;
/// The same of its reason, which is one word.
const REASON: usize = 80;

/// An answer with as much of its body as was wanted.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Status {
    kind: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

impl Answer {
    /// Explains the refusal of a plain request for this path, made before anything was started.
    pub(super) fn refusal(&self, path: &str) -> Error {
        let error = self.explain(ErrorKind::NotStarted);
        match self.status {
            // Not from the API server: rights are not the matter.
            _ if self.status_object().is_none() => error,
            StatusCode::FORBIDDEN if path.contains("/pods/") => {
                error.remedy("allow get on pods, or name all: POD -c CONTAINER --no-preflight")
            }
            StatusCode::FORBIDDEN if path.ends_with("/pods") => {
                error.remedy("allow list on pods, or name a pod")
            }
            _ => error,
        }
    }

    /// Explains the refusal of an upgrade, after which the command certainly never ran.
    pub(super) fn upgrade_refusal(&self, subresource: &str) -> Error {
        let error = self.explain(ErrorKind::Upgrade);
        if error.kind() == ErrorKind::Forbidden && self.status_object().is_some() {
            // The handler's own check hands an empty reason on (seen with Kubernetes 1.36.3).
            let error = if error.to_string().trim_end().ends_with("is forbidden:") {
                error.because(format!(
                    "the server gives no reason; it asks for create on pods/{subresource} beside get"
                ))
            } else {
                error
            };
            return error.remedy(format!(
                "allow get and create on pods/{subresource}: Kubernetes 1.35 and later ask for both"
            ));
        }
        error
    }

    /// Explains the refusal of a log.
    pub(super) fn log_refusal(&self) -> Error {
        if self.status == StatusCode::NO_CONTENT {
            let message = "the pod is not assigned to a node yet, so it has no log";
            return Error::new(ErrorKind::NotStarted, message).answered(204);
        }
        let error = self.explain(ErrorKind::NotStarted);
        if error.kind() == ErrorKind::Forbidden && self.status_object().is_some() {
            return error.remedy("allow get on pods/log");
        }
        error
    }

    /// Tells whether an upgrade was refused because of its subprotocol.
    ///
    /// golang.org/x/net websocket/hybi.go: 403 with an empty body, where RBAC sends a `Status`.
    pub(super) fn is_subprotocol_refusal(&self) -> bool {
        self.status == StatusCode::FORBIDDEN && self.body.is_empty()
    }

    fn explain(&self, otherwise: ErrorKind) -> Error {
        let reason = self.status_object().and_then(|status| status.reason);
        self.in_words(otherwise)
            .answered(self.status.as_u16())
            .with_reason(reason.map(|reason| excerpt(reason.as_bytes(), REASON)))
    }

    fn in_words(&self, otherwise: ErrorKind) -> Error {
        let text = excerpt(&self.body, SHOWN);
        let status = self.status_object();
        let message = status.as_ref().and_then(|status| status.message.clone());
        let plain = message.as_deref().unwrap_or_else(|| text.trim());
        if self.status == StatusCode::BAD_REQUEST && plain.contains("Upgrade request required") {
            let error = Error::new(ErrorKind::Upgrade, self.headline(status.as_ref()));
            return self.with_origin(error, "a proxy on the way removed the Upgrade header");
        }
        let kind = match self.status.as_u16() {
            401 => ErrorKind::Auth,
            403 => ErrorKind::Forbidden,
            404 => ErrorKind::NotFound,
            400 | 405 | 422 => ErrorKind::Invalid,
            _ => otherwise,
        };
        let error = Error::new(kind, self.headline(status.as_ref()));
        match self.status.as_u16() {
            300..=399 => {
                let place = self
                    .header(&LOCATION)
                    .unwrap_or_else(|| "nowhere".to_owned());
                let why = format!("it points to {place}; redirects are never followed");
                error
                    .because(why)
                    .remedy("check the server in the kubeconfig")
            }
            401 => error.remedy("log in again, or check the user of the context"),
            429 | 503 if self.header(&RETRY_AFTER).is_some() => {
                let after = self.header(&RETRY_AFTER).unwrap_or_default();
                error.because(format!(
                    "the server is busy and asks to try again in {after}s"
                ))
            }
            _ if plain.contains("error dialing backend") => error
                .because("the API server cannot reach the kubelet on the node of the pod")
                .remedy(
                    "kubectl get nodes   # then look at port 10250 between API server and node",
                ),
            _ if status.is_none() && (self.is_html() || self.status.is_success()) => self
                .with_origin(
                    error,
                    "an ingress or login page answered, not the API server",
                ),
            // kubelet server.go: in plain text, through the API server, over v4.
            404 if plain == "pod does not exist" => {
                Error::new(ErrorKind::NotStarted, "the node does not know the pod")
                    .because("its kubelet was restarted a moment ago, or the pod is gone from it")
                    .remedy("try again in some seconds")
            }
            404 if status.is_none() => {
                self.with_origin(error, "what answered has no Kubernetes API at this path")
            }
            _ => error,
        }
    }

    fn headline(&self, status: Option<&Status>) -> String {
        // kubectl pkg/cmd/util/helpers.go: the same words for what the API server says.
        if self.status == StatusCode::UNAUTHORIZED {
            return "You must be logged in to the server (Unauthorized)".to_owned();
        }
        match status {
            Some(status) => {
                let message = excerpt(status.message.as_deref().unwrap_or("").as_bytes(), SHOWN);
                match status.reason.as_deref().filter(|reason| !reason.is_empty()) {
                    Some(reason) => {
                        format!(
                            "Error from server ({}): {message}",
                            excerpt(reason.as_bytes(), REASON)
                        )
                    }
                    None => format!("Error from server: {message}"),
                }
            }
            None if self.status == StatusCode::FORBIDDEN => {
                format!("Error from server (Forbidden): {}", self.body_or_nothing())
            }
            None => format!(
                "the server answered {}: {}",
                self.status,
                self.body_or_nothing()
            ),
        }
    }

    fn body_or_nothing(&self) -> String {
        let text = excerpt(self.body.trim_ascii(), SHOWN);
        if text.is_empty() {
            "(nothing)".to_owned()
        } else {
            text
        }
    }

    fn with_origin(&self, error: Error, why: &str) -> Error {
        match self.header(&VIA).or_else(|| self.header(&SERVER)) {
            Some(name) => error.because(format!("{why} ({name})")),
            None => error.because(why),
        }
    }

    fn status_object(&self) -> Option<Status> {
        let status: Status = serde_json::from_slice(&self.body).ok()?;
        (status.kind == "Status").then_some(status)
    }

    fn is_html(&self) -> bool {
        let html = self
            .header(&CONTENT_TYPE)
            .is_some_and(|kind| kind.contains("html"));
        let start = self.body.trim_ascii_start().get(..5).unwrap_or_default();
        html || start.eq_ignore_ascii_case(b"<html") || start.eq_ignore_ascii_case(b"<!doc")
    }

    fn header(&self, name: &HeaderName) -> Option<String> {
        self.headers
            .get(name)
            .map(|value| excerpt(value.as_bytes(), 200))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Answer {
            status,
            headers: map,
            body: body.as_bytes().to_vec(),
        }
    }

    fn status(reason: &str, message: &str) -> String {
        serde_json::json!({"kind": "Status", "reason": reason, "message": message}).to_string()
    }

    #[test]
    fn a_forbidden_upgrade_names_both_verbs() {
        let error = answer(403, &[], &status("Forbidden", "no")).upgrade_refusal("exec");
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert_eq!(error.to_string(), "Error from server (Forbidden): no");
        assert_eq!(error.http_status(), Some(403));
        assert_eq!(error.reason(), Some("Forbidden"));
        assert!(error.remedies()[0].starts_with("allow get and create on pods/exec"));
    }

    #[test]
    fn a_page_with_403_says_nothing_of_rights() {
        let error = answer(403, &[], "<html>").upgrade_refusal("exec");
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert_eq!(
            error.why(),
            Some("an ingress or login page answered, not the API server")
        );
        assert!(error.remedies().is_empty());
    }

    #[test]
    fn each_status_has_its_kind() {
        for (code, kind) in [
            (200, ErrorKind::Upgrade),
            (302, ErrorKind::Upgrade),
            (400, ErrorKind::Invalid),
            (401, ErrorKind::Auth),
            (404, ErrorKind::NotFound),
            (409, ErrorKind::Upgrade),
            (500, ErrorKind::Upgrade),
        ] {
            assert_eq!(
                answer(code, &[], "x").upgrade_refusal("exec").kind(),
                kind,
                "{code}"
            );
        }
    }

    #[test]
    fn a_stripped_header_is_recognised() {
        let body = status("BadRequest", "Upgrade request required");
        let error = answer(400, &[("via", "1.1 squid")], &body).upgrade_refusal("exec");
        assert_eq!(error.kind(), ErrorKind::Upgrade);
        assert_eq!(
            error.why(),
            Some("a proxy on the way removed the Upgrade header (1.1 squid)")
        );
    }

    #[test]
    fn a_page_is_escaped_and_explained() {
        let error =
            answer(200, &[("content-type", "text/html")], "<b>\x1b[2J").upgrade_refusal("exec");
        assert_eq!(
            error.to_string(),
            "the server answered 200 OK: <b>\\u{1b}[2J"
        );
        assert_eq!(
            error.why(),
            Some("an ingress or login page answered, not the API server")
        );
    }

    #[test]
    fn a_redirect_says_where_it_pointed() {
        let error = answer(302, &[("location", "https://evil/")], "").upgrade_refusal("exec");
        assert_eq!(
            error.why(),
            Some("it points to https://evil/; redirects are never followed")
        );
    }

    #[test]
    fn an_unreachable_kubelet_is_explained() {
        let text = "error dialing backend: dial tcp 10.0.0.3:10250: i/o timeout";
        let error = answer(500, &[], &status("", text)).upgrade_refusal("exec");
        assert_eq!(error.to_string(), format!("Error from server: {text}"));
        assert!(error.why().unwrap().contains("kubelet"));
    }

    #[test]
    fn only_an_empty_403_is_about_the_subprotocol() {
        assert!(answer(403, &[], "").is_subprotocol_refusal());
        assert!(!answer(403, &[], "no").is_subprotocol_refusal());
        assert!(!answer(400, &[], "").is_subprotocol_refusal());
    }
}

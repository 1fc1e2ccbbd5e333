//! HTTP/1.1 by hand: a request as it came, a response as it goes.
//!
//! Lives here: parsing and formatting. Never here: routes or sockets.

use serde_json::{Value, json};

/// A request without its body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    /// Parses a head without its final empty line.
    pub(crate) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines
            .map(|line| line.split_once(':'))
            .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let path = path
            .split('/')
            .skip(1)
            .map(|segment| decode(segment, false))
            .collect();
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name, true), decode(value, true)))
            .collect();
        Some(Self {
            method,
            target,
            path,
            query,
            headers,
        })
    }

    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|header| header.0.eq_ignore_ascii_case(name));
        found.next().map(|header| &*header.1)
    }

    /// Every header of that name.
    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |header| header.0.eq_ignore_ascii_case(name))
            .map(|h| &*h.1)
    }

    /// The first query parameter of that name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|pair| pair.0 == name)
            .map(|pair| &*pair.1)
    }

    /// A boolean parameter.
    // apimachinery runtime/conversion.go: all but "0" and "false" is true, the empty text too.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.parameter(name)
            .is_some_and(|text| text != "0" && !text.eq_ignore_ascii_case("false"))
    }

    /// Whether the client asks for a WebSocket.
    pub(crate) fn wants_websocket(&self) -> bool {
        self.headers("Connection")
            .any(|value| value.to_ascii_lowercase().contains("upgrade"))
            && self
                .header("Upgrade")
                .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }

    /// The length of the body that follows the head.
    pub(crate) fn body_length(&self) -> usize {
        self.header("Content-Length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }
}

/// A response with its body.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    pub(crate) extra: Vec<(&'static str, String)>,
}

impl Response {
    /// A JSON answer.
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        let body = value.to_string().into_bytes();
        Self {
            status,
            content_type: "application/json".to_owned(),
            body,
            extra: vec![("Cache-Control", "no-cache, private".to_owned())],
        }
    }

    /// One line of text, as kubelet and runtime answer.
    pub(crate) fn text(status: u16, text: impl Into<Vec<u8>>) -> Self {
        let content_type = "text/plain; charset=utf-8".to_owned();
        Self {
            status,
            content_type,
            body: text.into(),
            extra: Vec::new(),
        }
    }

    /// A Status object, as the API server refuses.
    pub(crate) fn refusal(status: u16, reason: &str, message: &str, details: &Value) -> Self {
        let body = crate::status::refusal(status, reason, message, details);
        Self {
            body: body.into_bytes(),
            ..Self::json(status, &Value::Null)
        }
    }

    /// The refusal of a request that makes no sense.
    pub(crate) fn bad_request(message: &str) -> Self {
        Self::refusal(400, "BadRequest", message, &Value::Null)
    }

    /// The refusal of somebody unknown.
    pub(crate) fn unauthorized() -> Self {
        Self::refusal(401, "Unauthorized", "Unauthorized", &Value::Null)
    }

    /// The refusal for an object that is not there.
    pub(crate) fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let what = if group.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}.{group}")
        };
        let mut details = json!({"name": name, "kind": resource});
        if !group.is_empty() {
            details["group"] = group.into();
        }
        Self::refusal(
            404,
            "NotFound",
            &format!("{what} \"{name}\" not found"),
            &details,
        )
    }

    /// The bytes that go out; `head_only` for HEAD.
    pub(crate) fn to_bytes(&self, head_only: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        for (name, value) in &self.extra {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Type: {}\r\n", self.content_type));
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut bytes = text.into_bytes();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// The words behind a status code.
pub(crate) fn phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("-")
}

fn decode(text: &str, plus_is_space: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (
            first,
            digits.and_then(|two| u8::from_str_radix(two, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            _ => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_apart() {
        let head = "GET /api/v1/x%2Fy?command=a+b&command=%7B%7D&tty=&stdin=FALSE HTTP/1.1\r\nHost: h\r\nconnection: keep-alive, Upgrade\r\nUpgrade: WebSocket";
        let request = Request::parse(head).expect("the head is well formed");
        assert_eq!(request.path, ["api", "v1", "x/y"]);
        let command: Vec<_> = request.query.iter().map(|pair| &*pair.1).collect();
        assert_eq!(command, ["a b", "{}", "", "FALSE"]);
        assert_eq!(
            (
                request.flag("tty"),
                request.flag("stdin"),
                request.flag("stderr")
            ),
            (true, false, false)
        );
        assert!(request.wants_websocket());
    }

    #[test]
    fn a_missing_object_is_refused_in_the_words_of_kubernetes() {
        let body = Response::not_found("apps", "deployments", "x").body;
        let value: Value = serde_json::from_slice(&body).expect("the body is JSON");
        assert_eq!(value["message"], "deployments.apps \"x\" not found");
        assert_eq!(
            value["details"],
            json!({"name": "x", "kind": "deployments", "group": "apps"})
        );
    }
}

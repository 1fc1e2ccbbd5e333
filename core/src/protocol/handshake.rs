//! The WebSocket handshake of RFC 6455 as values: what to send, what to check.
//!
//! Lives here: the accept key and the checks of a 101. Never here: sockets, credentials, retries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS};
use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

/// What is wrong with a 101 answer.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// `Sec-WebSocket-Accept` is missing or belongs to another key.
    #[error("the answer's accept key does not belong to our request")]
    AcceptKey,
    /// An extension that nobody asked for.
    #[error("the server insists on the extension {0:?}, which was not asked for")]
    Extension(String),
    /// The `Upgrade` or `Connection` header does not agree to the upgrade.
    #[error("the header {0} does not agree to the upgrade")]
    Header(&'static str),
    /// No subprotocol was chosen although one was offered.
    #[error("the server chose no subprotocol")]
    NoSubprotocol,
    /// A subprotocol that was not offered.
    #[error("the server chose the subprotocol {0:?}, which was not offered")]
    Subprotocol(String),
}

/// Returns the value of `Sec-WebSocket-Key` for these random bytes.
#[must_use]
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Returns the headers of an upgrade request that offers these names, in one line.
///
/// The server looks at the first `Sec-WebSocket-Protocol` line only (golang.org/x/net websocket/hybi.go).
#[must_use]
pub fn headers(key: &str, names: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        http::header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    insert(&mut headers, http::header::SEC_WEBSOCKET_KEY, key);
    if !names.is_empty() {
        insert(&mut headers, SEC_WEBSOCKET_PROTOCOL, &names.join(", "));
    }
    headers
}

/// Checks the headers of a 101 answer and returns which of the offered names the server chose.
///
/// # Errors
/// [`HandshakeError`] names the first thing that is wrong.
pub fn check(
    headers: &HeaderMap,
    key: &str,
    names: &[&str],
) -> Result<Option<usize>, HandshakeError> {
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(HandshakeError::Header("Upgrade"));
    }
    // Proxies answer "keep-alive, Upgrade" and the like: a list of tokens, not one value.
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(HandshakeError::Header("Connection"));
    }
    let accept = headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accept != Some(accept_key(key).as_bytes()) {
        return Err(HandshakeError::AcceptKey);
    }
    if let Some(extension) = headers
        .get(SEC_WEBSOCKET_EXTENSIONS)
        .filter(|value| !value.is_empty())
    {
        return Err(HandshakeError::Extension(lossy(extension)));
    }
    let chosen = headers
        .get(SEC_WEBSOCKET_PROTOCOL)
        .filter(|value| !value.is_empty());
    match chosen.map(lossy) {
        None if names.is_empty() => Ok(None),
        None => Err(HandshakeError::NoSubprotocol),
        Some(name) => match names.iter().position(|offered| *offered == name) {
            Some(index) => Ok(Some(index)),
            None => Err(HandshakeError::Subprotocol(name)),
        },
    }
}

fn accept_key(key: &str) -> String {
    // RFC 6455, 1.3: this constant is appended to the key.
    const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(MAGIC.as_bytes());
    STANDARD.encode(hash.digest().bytes())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Keys are base64 and names are ASCII, so this is always a header value.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn answer(change: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("upgrade", HeaderValue::from_static("WebSocket"));
        headers.insert(
            "connection",
            HeaderValue::from_static("keep-alive, Upgrade"),
        );
        headers.insert(
            "sec-websocket-accept",
            HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        );
        headers.insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("v4.channel.k8s.io"),
        );
        for (name, value) in change {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let names = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
        assert_eq!(check(&answer(&[]), KEY, &names), Ok(Some(1)));
    }

    #[test]
    fn every_wrong_answer_is_named() {
        let offer = ["v4.channel.k8s.io"];
        for (change, error) in [
            ([("upgrade", "h2c")], HandshakeError::Header("Upgrade")),
            (
                [("connection", "close")],
                HandshakeError::Header("Connection"),
            ),
            (
                [("sec-websocket-accept", "AAAA")],
                HandshakeError::AcceptKey,
            ),
            (
                [("sec-websocket-extensions", "permessage-deflate")],
                HandshakeError::Extension("permessage-deflate".into()),
            ),
            (
                [("sec-websocket-protocol", "")],
                HandshakeError::NoSubprotocol,
            ),
            (
                [("sec-websocket-protocol", "v5.channel.k8s.io")],
                HandshakeError::Subprotocol("v5.channel.k8s.io".into()),
            ),
        ] {
            assert_eq!(check(&answer(&change), KEY, &offer), Err(error));
        }
    }

    #[test]
    fn the_offer_is_one_line() {
        let headers = headers(KEY, &["v5.channel.k8s.io", "v4.channel.k8s.io"]);
        let lines: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
        assert_eq!(lines, ["v5.channel.k8s.io, v4.channel.k8s.io"]);
    }
}

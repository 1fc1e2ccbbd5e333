//! The cases of `tests/scenarios/raw.json`: what is asked, and what is said after the 101.
//!
//! Lives here: reading the file, and the bytes of a request. Never here: sockets.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use crate::wire::{self, BINARY, FIN, TEXT};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    #[serde(rename = "about")]
    _about: String,
    #[serde(rename = "rules")]
    _rules: Value,
    /// Users by their role, with the name they have on each side.
    users: BTreeMap<String, Names>,
    /// Lists of offers by name; an offer is what stands in one `Sec-WebSocket-Protocol` line.
    offers: BTreeMap<String, Vec<Option<String>>>,
    /// What is asked.
    pub cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    real: String,
    embedded: String,
}

/// Which of the two servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The cluster of this crate.
    Embedded,
    /// Kubernetes.
    Real,
}

/// One request and what follows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// `POD/SUBRESOURCE` in the namespace `default`, or a whole path.
    at: String,
    #[serde(default)]
    container: Option<String>,
    #[serde(default = "outputs")]
    streams: String,
    #[serde(default)]
    command: Vec<String>,
    /// More of the query, as it is.
    #[serde(default)]
    query: Option<String>,
    #[serde(default = "all")]
    user: String,
    #[serde(default = "get")]
    method: String,
    /// The name of a list of offers.
    offer: String,
    /// Instead of the four lines that ask for a WebSocket.
    #[serde(default)]
    headers: Option<Vec<String>>,
    /// What is said after the 101.
    #[serde(default)]
    pub(super) then: Vec<Step>,
    /// Why the embedded cluster is not asked.
    #[serde(default)]
    pub real_only: Option<String>,
}

/// One thing the client says, or waits for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Step {
    /// A message on a channel.
    Channel(u8, String),
    /// A whole binary message, in hexadecimal digits.
    Message(String),
    /// First byte and payload of a masked frame, in hexadecimal digits.
    Frame(String, String),
    /// Bytes as they are, in hexadecimal digits.
    Bytes(String),
    /// The end of our side of TCP.
    HangUp,
    /// Waits for the ready message, which a pong may overtake.
    Ready,
    /// Waits for this text on stdout.
    See(String),
    /// Waits for a pong with this text.
    Pong(String),
}

impl Cases {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds a word nobody knows.
    pub fn read() -> io::Result<Self> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/raw.json");
        serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::other)
    }

    /// Every case with every offer, and the name of the two together.
    ///
    /// # Errors
    /// When a case names a list of offers that is not there.
    pub fn all(&self) -> io::Result<Vec<(String, &Case, Option<&str>)>> {
        let mut all = Vec::new();
        for case in &self.cases {
            let offers = self.offers.get(&case.offer);
            for offer in offers.ok_or_else(|| unknown(&case.offer))? {
                let offer = offer.as_deref();
                let name = format!("{}: {}", case.name, offer.unwrap_or("no subprotocol"));
                all.push((name, case, offer));
            }
        }
        Ok(all)
    }

    pub(super) fn user(&self, case: &Case, side: Side) -> io::Result<&str> {
        let names = self.users.get(&case.user);
        let names = names.ok_or_else(|| unknown(&case.user))?;
        Ok(match side {
            Side::Embedded => &names.embedded,
            Side::Real => &names.real,
        })
    }
}

impl Case {
    /// The role of the user.
    pub(super) fn role(&self) -> &str {
        &self.user
    }

    /// Whether the pod is one whose only container has another name on each side.
    pub(super) fn renames_container(&self) -> bool {
        !self.at.starts_with("web-0/")
    }

    /// The head of the request.
    pub(super) fn head(&self, offer: Option<&str>, token: &str) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: kubernetes.default.svc\r\n",
            self.method,
            self.target()
        );
        let browser = offer.is_some_and(|offer| offer.contains("{bearer}"));
        if !token.is_empty() && !browser {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let standard = UPGRADE.map(str::to_owned).to_vec();
        for line in self.headers.as_ref().unwrap_or(&standard) {
            head.push_str(line);
            head.push_str("\r\n");
        }
        if let Some(offer) = offer {
            let bearer = format!("{BEARER}{}", URL_SAFE_NO_PAD.encode(token));
            let offer = offer.replace("{bearer}", &bearer);
            head.push_str(&format!("Sec-WebSocket-Protocol: {offer}\r\n"));
        }
        head + "\r\n"
    }

    fn target(&self) -> String {
        if self.at.starts_with('/') {
            return self.at.clone();
        }
        let container = self.container.iter();
        let container = container.map(|name| format!("container={name}"));
        let streams = self.streams.split_whitespace();
        let streams = streams.map(|name| match name.split_once('=') {
            Some(_) => name.to_owned(),
            None => format!("{name}=true"),
        });
        let command = self.command.iter();
        let command = command.map(|word| format!("command={}", encoded(word)));
        let query = container.chain(streams).chain(command);
        let query: Vec<String> = query.chain(self.query.clone()).collect();
        format!(
            "/api/v1/namespaces/default/pods/{}?{}",
            self.at,
            query.join("&")
        )
    }
}

impl Step {
    /// Whether it is a closing frame.
    pub(super) fn says_goodbye(&self) -> bool {
        matches!(self, Self::Frame(first, _) if first == "88")
    }

    /// What goes out for it.
    pub(super) fn bytes(&self, base64: bool) -> Vec<u8> {
        match self {
            Self::Channel(channel, text) if base64 => {
                let mut message = String::from(char::from(b'0'.wrapping_add(*channel)));
                STANDARD.encode_string(text, &mut message);
                wire::client_frame(FIN | TEXT, message.as_bytes())
            }
            Self::Channel(channel, text) => {
                wire::client_frame(FIN | BINARY, &[&[*channel], text.as_bytes()].concat())
            }
            Self::Message(digits) => wire::client_frame(FIN | BINARY, &unhex(digits)),
            Self::Frame(first, payload) => {
                let first = unhex(first).first().copied().unwrap_or_default();
                wire::client_frame(first, &unhex(payload))
            }
            Self::Bytes(digits) => unhex(digits),
            Self::HangUp | Self::Pong(_) | Self::Ready | Self::See(_) => Vec::new(),
        }
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

fn encoded(text: &str) -> String {
    let hex = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(hex).collect()
}

fn unknown(name: &str) -> io::Error {
    io::Error::other(format!("raw.json does not define {name:?}"))
}

fn all() -> String {
    "all".to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

fn outputs() -> String {
    "stdout stderr".to_owned()
}

const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// What answers the key of `UPGRADE`, by RFC 6455 itself.
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

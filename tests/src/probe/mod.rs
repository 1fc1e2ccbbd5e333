//! The same requests to two servers, and everything that comes back, written down line by line.
//!
//! Lives here: what is asked (`tests/scenarios/raw.json`), the asking, and what the real Kubernetes
//! answered (`tests/scenarios/raw.recorded.json`). Never here: our client, or any codec of it.

mod case;
mod link;
mod recorded;
mod transcript;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

pub use self::case::{Case, Cases, Side, Step};
use self::link::Link;
pub use self::recorded::Recorded;
use self::transcript::{Transcript, plain};
use crate::cluster::Cluster;

/// A server that can be asked.
pub struct Server {
    address: SocketAddr,
    authority: String,
    side: Side,
    /// Users and their tokens.
    tokens: Vec<(String, String)>,
}

impl Server {
    /// The embedded cluster, by the name of a listener with TLS.
    #[must_use]
    pub fn embedded(cluster: &Cluster, listener: &str) -> Self {
        let tokens = USERS.map(|user| (user.to_owned(), cluster.token(user)));
        Self {
            address: cluster.address(listener),
            authority: cluster.authority().to_owned(),
            side: Side::Embedded,
            tokens: tokens.to_vec(),
        }
    }

    /// A real API server, from what `kubectl config view --raw --output json` says.
    ///
    /// # Errors
    /// When there is no address or no authority in it.
    pub fn real(kubeconfig: &Value) -> io::Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        let address = text(&cluster["server"]);
        let address = address.trim_start_matches("https://").parse();
        let authority = STANDARD.decode(text(&cluster["certificate-authority-data"]));
        let users = kubeconfig["users"].as_array().into_iter().flatten();
        let tokens: Vec<(String, String)> = users
            .map(|user| (text(&user["name"]), text(&user["user"]["token"])))
            .collect();
        Ok(Self {
            address: address.map_err(io::Error::other)?,
            authority: String::from_utf8_lossy(&authority.map_err(io::Error::other)?).into_owned(),
            side: Side::Real,
            tokens,
        })
    }

    /// Asks once, with this list of subprotocols or none, and tells what came, to the end.
    ///
    /// # Errors
    /// When there is no connection, or the answer is no HTTP.
    pub fn ask(&self, cases: &Cases, case: &Case, offer: Option<&str>) -> io::Result<Vec<String>> {
        let mut link = Link::connect(self.address, &self.authority)?;
        let user = cases.user(case, self.side)?;
        let known = self.tokens.iter().find(|known| known.0 == user);
        let token = known.map_or(user, |known| &known.1);
        link.write(case.head(offer, token).as_bytes());
        let mut transcript = Transcript::default();
        match link.answer() {
            Err(end) => transcript.end(end),
            Ok(answer) if answer.status != 101 => {
                transcript.refusal(&answer, link.body(&answer)?);
            }
            Ok(answer) => {
                transcript.accepted(&answer);
                let base64 = answer
                    .header("Sec-WebSocket-Protocol")
                    .is_some_and(|name| name.contains("base64"));
                talk(&mut link, case, base64, &mut transcript);
            }
        }
        Ok(transcript
            .lines()
            .iter()
            .map(|line| plain(line, self.side, cases, case))
            .collect())
    }
}

/// Takes the steps, then reads to the end.
fn talk(link: &mut Link, case: &Case, base64: bool, transcript: &mut Transcript) {
    for step in &case.then {
        let awaited = match step {
            Step::See(text) => Awaited::Text(text),
            Step::Pong(text) => Awaited::Pong(text),
            Step::Ready => Awaited::Ready,
            Step::HangUp => {
                link.hang_up();
                transcript.leave();
                continue;
            }
            _ => {
                link.write(&step.bytes(base64));
                if step.says_goodbye() {
                    transcript.leave();
                }
                continue;
            }
        };
        while !awaited.has_come(transcript) {
            match link.frame() {
                Ok(frame) => transcript.frame(&frame, base64),
                Err(end) => return transcript.end(end),
            }
        }
    }
    loop {
        match link.frame() {
            Ok(frame) => transcript.frame(&frame, base64),
            Err(end) => return transcript.end(end),
        }
    }
}

enum Awaited<'a> {
    Text(&'a str),
    Pong(&'a str),
    Ready,
}

impl Awaited<'_> {
    fn has_come(&self, transcript: &Transcript) -> bool {
        match self {
            Self::Text(text) => transcript.shows(text),
            Self::Pong(text) => transcript.has_pong(text),
            Self::Ready => transcript.has_begun(),
        }
    }
}

/// What differs between two transcripts, or `None`.
#[must_use]
pub fn difference(first: (&str, &[String]), second: (&str, &[String])) -> Option<String> {
    if first.1 == second.1 {
        return None;
    }
    let mut told = String::new();
    for (name, lines) in [first, second] {
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(told, "    {name}: {line}");
        }
    }
    Some(told)
}

/// The users of the embedded cluster that have tokens.
const USERS: [&str; 5] = ["admin", "create-only", "exec-only", "get-only", "no-rights"];

//! What came, one line each, without what is drawn anew each time.
//!
//! Lives here: wording and levelling. Never here: sockets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::case::{ACCEPT, Case, Cases, Side};
use super::link::{Answer, End, Frame};
use crate::wire::{BINARY, CLOSE, FIN, PING, PONG, TEXT};

/// The lines so far.
#[derive(Default)]
pub(super) struct Transcript {
    lines: Vec<String>,
    /// Output that has come since the last line, stdout and stderr apart: neither how it is cut nor
    /// the order of the two is promised.
    output: [(&'static str, Vec<u8>); 2],
    seen: Vec<u8>,
    /// The client has said goodbye: what overtakes it on the way is luck.
    left: bool,
}

impl Transcript {
    /// The head of a 101.
    pub(super) fn accepted(&mut self, answer: &Answer) {
        self.lines.push(head(answer));
    }

    /// Any other answer, with its body.
    pub(super) fn refusal(&mut self, answer: &Answer, body: Vec<u8>) {
        self.lines.push(head(answer));
        self.lines.push(format!("body {}", escaped(&body)));
    }

    /// The client sends its closing frame now.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }

    pub(super) fn frame(&mut self, frame: &Frame, base64: bool) {
        if self.left && frame.head.opcode < CLOSE {
            return;
        }
        let kind = match frame.first {
            first if first == FIN | BINARY => "binary",
            first if first == FIN | TEXT => "text",
            first if first == FIN | CLOSE => "close",
            first if first == FIN | PING => "ping",
            first if first == FIN | PONG => "pong",
            _ => "odd",
        };
        let kind = if frame.head.mask.is_some() {
            "masked"
        } else {
            kind
        };
        match (kind, &frame.payload[..]) {
            ("binary", [channel @ 1..=2, data @ ..]) if !base64 && !data.is_empty() => {
                self.data(*channel, "binary", data);
            }
            ("binary", [channel, data @ ..]) => self.line(format!("binary {channel}"), data),
            ("text", [digit, text @ ..]) if base64 => match STANDARD.decode(text) {
                Ok(data) if !data.is_empty() && matches!(digit, b'1' | b'2') => {
                    self.data(digit - b'0', "base64", &data);
                }
                Ok(data) => self.line(format!("base64 {}", char::from(*digit)), &data),
                Err(_) => self.line("text".to_owned(), &frame.payload),
            },
            ("close", [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                self.line(format!("close {code}"), reason);
            }
            ("odd", payload) => self.line(format!("frame {:02x}", frame.first), payload),
            (kind, payload) => self.line(kind.to_owned(), payload),
        }
    }

    pub(super) fn end(&mut self, end: End) {
        let words = match end {
            End::Alert => "end of TLS",
            End::Fin => "end of TCP without the alert of TLS",
            End::Reset => "reset",
            End::Silence => "silence",
        };
        self.flush();
        self.lines.push(words.to_owned());
    }

    /// Whether anything has come after the head.
    pub(super) fn has_begun(&self) -> bool {
        self.lines.len() > 1
    }

    /// Whether stdout has shown this text.
    pub(super) fn shows(&self, text: &str) -> bool {
        contains(&self.seen, text.as_bytes())
    }

    pub(super) fn has_pong(&self, text: &str) -> bool {
        let pong = format!("pong {text}");
        self.lines.iter().any(|line| line == pong.trim_end())
    }

    pub(super) fn lines(mut self) -> Vec<String> {
        self.flush();
        self.lines
    }

    fn data(&mut self, channel: u8, kind: &'static str, data: &[u8]) {
        if channel == 1 {
            self.seen.extend_from_slice(data);
        }
        let output = &mut self.output[usize::from(channel) - 1];
        output.0 = kind;
        output.1.extend_from_slice(data);
    }

    fn line(&mut self, kind: String, payload: &[u8]) {
        self.flush();
        let line = format!("{kind} {}", escaped(payload));
        let line = line.trim_end().to_owned();
        // Two ends that cross each other may both be told.
        if !(self.left && self.lines.last() == Some(&line)) {
            self.lines.push(line);
        }
    }

    fn flush(&mut self) {
        for (index, (kind, data)) in std::mem::take(&mut self.output).iter().enumerate() {
            if !data.is_empty() {
                let line = format!("{kind} {} {}", index + 1, escaped(data));
                self.lines.push(line);
            }
        }
    }
}

/// Status line and headers in the order of their names.
fn head(answer: &Answer) -> String {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let right = name == "sec-websocket-accept" && value == ACCEPT;
            !right && !PASSING.contains(&&*name)
        })
        .map(|(name, value)| format!("{name}: {value}").trim_end().to_owned())
        .collect();
    headers.sort_by_key(|header| header.to_ascii_lowercase());
    headers.insert(0, answer.line.clone());
    headers.join(" | ")
}

/// A line in the words of the embedded cluster: identifiers, users and the container's name.
pub(super) fn plain(line: &str, side: Side, cases: &Cases, case: &Case) -> String {
    let mut line = nameless(line);
    let mut rename = |from: &str, to: &str| {
        for quote in ["\"", "\\\""] {
            line = line.replace(
                &format!("{quote}{from}{quote}"),
                &format!("{quote}{to}{quote}"),
            );
        }
    };
    if let Ok(user) = cases.user(case, side)
        && !user.is_empty()
    {
        rename(user, &format!("<{}>", case.role()));
    }
    if side == Side::Real && case.renames_container() {
        rename("main", "app");
        line = line.replace("container main ", "container app ");
    }
    line
}

/// The line without the identifiers of exec sessions and the addresses of the fixture's pods.
fn nameless(line: &str) -> String {
    let is_id = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = line.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let mut words: Vec<String> = words
        .map(|word| {
            let name = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            if is_id(name) {
                word.replace(name, "ID")
            } else {
                word.to_owned()
            }
        })
        .collect();
    // The fixture's pods, as `127.201.1.7`.
    for at in 3..words.len() {
        let numbers = &words[at - 3..at];
        if numbers[0] == "127." && numbers.iter().all(|number| number.ends_with('.')) {
            let rest = words[at].trim_start_matches(|c: char| c.is_ascii_digit());
            words[at] = format!("POD{rest}");
            words[at - 3..at].fill(String::new());
        }
    }
    words.concat()
}

fn escaped(bytes: &[u8]) -> String {
    if bytes.len() > LONGEST {
        let digest = sha1_smol::Sha1::from(bytes).digest();
        return format!("{} bytes, SHA-1 {digest}", bytes.len());
    }
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// More than this is told by its digest.
const LONGEST: usize = 4096;

/// Headers that say when, not what; the length follows from the body.
const PASSING: [&str; 5] = [
    "audit-id",
    "content-length",
    "date",
    "x-kubernetes-pf-flowschema-uid",
    "x-kubernetes-pf-prioritylevel-uid",
];

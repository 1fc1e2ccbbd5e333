//! Faults on demand: what a request asks the cluster to do wrong.
//!
//! Lives here: the vocabulary, as data. Never here: the doing (`handshake`, `outlet`, `session`).
//! The table in `tests/README.md` explains every word.

use serde::Deserialize;
use serde_json::Value;

/// The argument that announces faults; the next one is their JSON.
pub(crate) const MARK: &str = "@fault";

/// Everything one session is asked to do wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    pub(crate) handshake: Option<Handshake>,
    pub(crate) silent_after_101: bool,
    pub(crate) no_ready: bool,
    pub(crate) pause_ms: u64,
    pub(crate) slice: Option<usize>,

    pub(crate) after_bytes: Option<u64>,
    pub(crate) then: Option<Then>,
    pub(crate) status: Option<StatusFault>,
    pub(crate) status_flood: Option<usize>,
    pub(crate) no_metadata: bool,
    pub(crate) keep_tcp_open: bool,
    pub(crate) linger: bool,
    pub(crate) two_closes: bool,
    pub(crate) idle_cut_ms: Option<u64>,
    pub(crate) stdin_unread: Option<Unread>,
    pub(crate) stderr_first: bool,

    pub(crate) ping_flood: usize,
    pub(crate) giant_frame: Option<u64>,
    pub(crate) declared_length: Option<Length>,
    pub(crate) empty_messages: usize,
    pub(crate) unknown_channel: Option<usize>,
    pub(crate) bad_opcode: bool,
    pub(crate) long_control: bool,
    pub(crate) continuation_first: bool,

    pub(crate) fragment: Option<usize>,
    pub(crate) fragment_empty_first: bool,
    pub(crate) fragment_interrupted: bool,
    pub(crate) text_frame: bool,
    pub(crate) rsv: bool,
    pub(crate) masked: bool,
}

/// What happens instead of a valid 101.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Handshake {
    Word(HandshakeWord),
    Head(HeadBytes),
    Status(StatusAnswer),
    Subprotocol(SubprotocolAnswer),
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HandshakeWord {
    BadAccept,
    ConnectionList,
    Eof,
    Extension,
    NoSubprotocol,
    Rst,
    Silent,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadBytes {
    pub(crate) head_bytes: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusAnswer {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default = "plain_text")]
    pub(crate) content_type: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubprotocolAnswer {
    pub(crate) subprotocol: String,
}

/// What happens once `after_bytes` have been sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Then {
    Word(ThenWord),
    Close(CloseFault),
    Raw(RawClose),
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ThenWord {
    CloseNoStatus,
    Fin,
    Hang,
    Rst,
    Stall,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloseFault {
    pub(crate) close: u16,
    #[serde(default)]
    pub(crate) reason: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawClose {
    pub(crate) close_raw: Hex,
}

/// What is wrong with the Status.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum StatusFault {
    Word(StatusWord),
    Exit(ExitStatus),
    Raw(RawStatus),
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StatusWord {
    BeforeOutput,
    Bytewise,
    EmptyObject,
    Garbage,
    LostUpstream,
    Missing,
    Split,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExitStatus {
    pub(crate) exit: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStatus {
    pub(crate) raw: String,
}

/// How long stdin stays unread once its first byte has arrived.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Unread {
    Forever(bool),
    For(Milliseconds),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Milliseconds {
    pub(crate) ms: u64,
}

/// A length: a number, or `"2^62"`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Length(pub(crate) u64);

/// Bytes, written as hexadecimal digits.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Faults {
    /// Takes the faults off the front of a command line.
    pub(crate) fn split(command: &[String]) -> Result<(Self, &[String]), String> {
        match command {
            [mark, json, rest @ ..] if mark == MARK => {
                let faults = serde_json::from_str(json)
                    .map_err(|error| format!("the faults are not understood: {error}"))?;
                Ok((faults, rest))
            }
            _ => Ok((Self::default(), command)),
        }
    }

    /// Whether data frames leave as they are, so that they may be prepared in batches.
    pub(crate) fn leave_data_alone(&self) -> bool {
        self.after_bytes.is_none()
            && self.slice.is_none()
            && self.fragment.is_none()
            && self.idle_cut_ms.is_none()
            && !self.holds(1)
            && !(self.text_frame || self.rsv || self.masked)
    }

    /// Whether data of this channel waits for the end of the process.
    pub(crate) fn holds(&self, channel: u8) -> bool {
        self.status_is(StatusWord::BeforeOutput) || self.stderr_first && channel == 1
    }

    /// Whether the Status is spoilt in this way.
    pub(crate) fn status_is(&self, word: StatusWord) -> bool {
        matches!(&self.status, Some(StatusFault::Word(found)) if *found == word)
    }

    /// Whether the handshake is spoilt in this way.
    pub(crate) fn handshake_is(&self, word: HandshakeWord) -> bool {
        matches!(&self.handshake, Some(Handshake::Word(found)) if *found == word)
    }
}

impl TryFrom<Value> for Length {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let power = |text: &str| 1_u64.checked_shl(text.strip_prefix("2^")?.parse().ok()?);
        value
            .as_u64()
            .or_else(|| power(value.as_str()?))
            .map(Self)
            .ok_or_else(|| format!("no length: {value}"))
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
            .collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let digits = digits.ok_or_else(|| format!("no hexadecimal bytes: {text}"))?;
        Ok(Self(
            digits
                .chunks(2)
                .map(|pair| pair[0] << 4 | pair[1])
                .collect(),
        ))
    }
}

fn plain_text() -> String {
    "text/plain".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(json: &str) -> Result<Faults, String> {
        let command = [MARK, json, "true"].map(str::to_owned);
        Faults::split(&command).map(|(faults, rest)| {
            assert_eq!(rest, ["true"]);
            faults
        })
    }

    #[test]
    fn every_shape_of_a_word_is_understood() {
        for json in [
            r#"{"handshake":"bad-accept"}"#,
            r#"{"handshake":{"status":403,"body":"no"}}"#,
            r#"{"handshake":{"head_bytes":7}}"#,
            r#"{"handshake":{"subprotocol":"x"}}"#,
            r#"{"after_bytes":0,"then":"close-no-status"}"#,
            r#"{"then":{"close":1001,"reason":"going"}}"#,
            r#"{"then":{"close_raw":"03e7"}}"#,
            r#"{"status":"lost-upstream"}"#,
            r#"{"status":{"exit":"256"}}"#,
            r#"{"status":{"raw":"{"}}"#,
            r#"{"stdin_unread":true}"#,
            r#"{"stdin_unread":{"ms":5}}"#,
            r#"{"declared_length":"2^62"}"#,
        ] {
            split(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        }
    }

    #[test]
    fn a_misspelt_word_is_refused() {
        for json in [
            r#"{"afterbytes":1}"#,
            r#"{"then":"explode"}"#,
            r#"{"then":{"close_raw":"0"}}"#,
        ] {
            assert!(split(json).is_err(), "{json}");
        }
    }
}

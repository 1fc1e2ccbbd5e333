//! What may go wrong with a session of port-forward, as tests ask for it.
//!
//! Lives here: the words. Never here: their doing. `tests/README.md` has the table.

use serde::Deserialize;

use super::frame;
use crate::cluster::faults::Hex;

/// The faults of one session.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    pub(super) answer: Option<Answer>,
    pub(super) handshake: Option<Handshake>,
    /// Echoed instead of the one that was chosen.
    pub(super) subprotocol: Option<String>,
    pub(super) say: Option<Say>,
    pub(super) say_at: Moment,
    pub(super) no_pong: bool,
    pub(super) no_ws_pong: bool,
    pub(super) no_reply: bool,
    pub(super) refuse_streams: bool,
    pub(super) swap_replies: bool,
    pub(super) slice: Option<usize>,
    pub(super) empty_messages: bool,
    /// Payload bytes from the client, after which the socket is not read any more.
    pub(super) unread_after: Option<u64>,
    pub(super) read_pause_ms: u64,
    /// Payload bytes to the client, after which `then` is done.
    pub(super) after_bytes: Option<u64>,
    /// Payload bytes from the client, after which `then` is done.
    pub(super) after_received: Option<u64>,
    pub(super) then: How,
    /// Milliseconds for the second stream of a pair.
    pub(super) creation_timeout_ms: Option<u64>,
}

/// An answer that is no 101.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) body: String,
    #[serde(default = "plain")]
    pub(super) content_type: String,
}

/// What else may become of the handshake.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Handshake {
    BadAccept,
    Eof,
    NoSubprotocol,
    Rst,
    Silent,
}

/// Frames that nobody expects: a word, or `hex` and bytes of SPDY.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Say {
    Bytes(Vec<u8>),
    Word(Word),
}

/// Frames by name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    BigHeader,
    DataUnknown,
    GiantData,
    Headers,
    Noop,
    OversizeControl,
    #[serde(rename = "ping-0")]
    PingZero,
    #[serde(rename = "ping-2")]
    PingTwo,
    ReplyTwice,
    ReplyUnknown,
    ResetWithoutReason,
    ServerStream,
    Settings,
    TextMessage,
    UnknownControl,
    Version2,
    WindowUpdate,
}

/// When they are said.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Moment {
    /// After the first data from a pod.
    Data,
    /// Right after the 101.
    Open,
    /// After the first SYN_REPLY.
    #[default]
    Reply,
}

/// How a session ends before its time.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) enum How {
    /// A closing frame with this code and reason, then the end.
    Close(u16, String),
    /// TCP ends without a word.
    #[default]
    Fin,
    /// A GOAWAY, and then nothing until the client speaks.
    Goaway,
    /// TCP is reset.
    Rst,
    /// Nobody sends or reads any more, and TCP stays.
    Stall,
    /// The API server has lost the node: nothing until the client speaks.
    Upstream,
}

impl TryFrom<String> for How {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.split_once(' ').unwrap_or((&text, "")) {
            ("fin", "") => Self::Fin,
            ("goaway", "") => Self::Goaway,
            ("rst", "") => Self::Rst,
            ("stall", "") => Self::Stall,
            ("upstream", "") => Self::Upstream,
            ("close", rest) => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let code = code.parse().map_err(|_| format!("no code: {code:?}"))?;
                Self::Close(code, reason.to_owned())
            }
            _ => return Err(format!("no such end: {text:?}")),
        })
    }
}

impl TryFrom<String> for Say {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(digits) = text.strip_prefix("hex ") {
            return Ok(Self::Bytes(Hex::try_from(digits.to_owned())?.0));
        }
        let word = serde_json::from_value(text.into());
        word.map(Self::Word).map_err(|error| error.to_string())
    }
}

impl Word {
    /// The bytes; `id` is the stream that was answered or has spoken.
    pub(super) fn bytes(self, id: u32) -> Vec<u8> {
        let id_bytes = id.to_be_bytes();
        let unknown = (id + 1000).to_be_bytes();
        match self {
            Self::BigHeader => {
                [&[0x80, 3, 0, 2, 0, 1, 0, 1][..], &id_bytes, &[0; 64 * 1024]].concat()
            }
            Self::DataUnknown => {
                let head = frame::data_head(id + 1000, false, 4);
                [&head[..], b"lost"].concat()
            }
            Self::GiantData => {
                let length = 0xFF_FFFF;
                let head = frame::data_head(id, false, length);
                [&head[..], &vec![b'g'; length]].concat()
            }
            Self::Headers => frame::control(frame::HEADERS, &[&id_bytes, &EMPTY_LIST]),
            Self::Noop => frame::control(5, &[]),
            Self::OversizeControl => vec![0x80, 3, 0, 4, 0, 0xFF, 0xFF, 0xFF],
            Self::PingZero => frame::ping(0),
            Self::PingTwo => frame::ping(2),
            Self::ReplyTwice => frame::control(frame::SYN_REPLY, &[&id_bytes, &EMPTY_LIST]),
            Self::ReplyUnknown => frame::control(frame::SYN_REPLY, &[&unknown, &EMPTY_LIST]),
            Self::ResetWithoutReason => frame::reset(id, 0),
            Self::ServerStream => {
                let fields = [&2_u32.to_be_bytes()[..], &[0; 6], &EMPTY_LIST];
                frame::control(frame::SYN_STREAM, &fields)
            }
            Self::Settings => {
                let fields = [&1_u32.to_be_bytes()[..], &[0, 0, 0, 4], &[0, 0, 0, 100]];
                frame::control(frame::SETTINGS, &fields)
            }
            // Sent as text by whoever sends it.
            Self::TextMessage => b"text".to_vec(),
            Self::UnknownControl => frame::control(11, &[]),
            Self::Version2 => vec![0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1],
            Self::WindowUpdate => {
                frame::control(frame::WINDOW_UPDATE, &[&id_bytes, &[0, 0, 0x80, 0]])
            }
        }
    }
}

/// A block as the second reply of a connection has it: stored in the recorded form.
const EMPTY_LIST: [u8; 8] = [0x02, 0x61, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF];

fn plain() -> String {
    "text/plain".to_owned()
}

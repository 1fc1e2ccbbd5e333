//! The conversation of exec and attach: output, input, sizes, and the last word.
//!
//! Lives here: channels and their meaning. Never here: terminals, time limits, sockets.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Machine, Outgoing};
use crate::protocol::error::ProtocolError;
use crate::protocol::request::Size;
use crate::protocol::status::{self, STATUS_LIMIT, Verdict};
use crate::protocol::subprotocol::{Encoding, Subprotocol};
use crate::protocol::websocket::{MessageKind, Piece};

/// One of the two outputs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Stream {
    /// Error output, channel 2.
    Stderr,
    /// Output, channel 1.
    Stdout,
}

/// What the caller wants said.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// The terminal has a new size.
    Resize(Size),
    /// Bytes for the command's input.
    Stdin(Bytes),
    /// No more input comes.
    StdinEnd,
}

/// What the caller is told.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Bytes of output, in the order of arrival.
    Output {
        /// Which of the two.
        stream: Stream,
        /// Never empty.
        data: Bytes,
    },
}

/// Which streams a session has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Streams {
    /// Whether input was asked for.
    pub stdin: bool,
    /// Whether output was asked for.
    pub stdout: bool,
    /// Whether error output was asked for.
    pub stderr: bool,
    /// Whether there is a terminal.
    pub tty: bool,
}

impl Streams {
    /// Names the streams of a session.
    #[must_use]
    pub const fn new(stdin: bool, stdout: bool, stderr: bool, tty: bool) -> Self {
        Self {
            stdin,
            stdout,
            stderr,
            tty,
        }
    }
}

/// The conversation of one exec or attach session.
#[derive(Debug)]
pub struct Process {
    subprotocol: Subprotocol,
    streams: Streams,
    stdin_ended: bool,
    message: Option<Message>,
    status: Vec<u8>,
    verdict: Option<Verdict>,
    /// Whether output came: then a failure is not a failure to start. Input that we sent says
    /// nothing: it crosses the refusal on the way, and the outcome would hang on who was first.
    received: bool,
    /// Whether output came after the status: then the status is not the end of it.
    late: bool,
    empty_run: u32,
    unknown: u64,
    unwanted: u64,
    events: VecDeque<Event>,
    outgoing: VecDeque<Outgoing>,
}

/// The message whose pieces are arriving.
#[derive(Debug)]
struct Message {
    channel: Option<u8>,
    /// Base64 characters that do not make up a group of four yet.
    carry: Vec<u8>,
    /// Characters of base64 seen before the carry.
    offset: usize,
    length: usize,
}

mod channel {
    pub(super) const STDIN: u8 = 0x00;
    pub(super) const STDOUT: u8 = 0x01;
    pub(super) const STDERR: u8 = 0x02;
    pub(super) const STATUS: u8 = 0x03;
    pub(super) const RESIZE: u8 = 0x04;
    /// `v5` only: the payload names the channel to close.
    pub(super) const CLOSE: u8 = 0xff;
}

const EMPTY_LIMIT: u32 = 1000;
const UNKNOWN_LIMIT: u64 = 1024 * 1024;
/// What Ctrl-D sends: a terminal's way to end input.
const END_OF_TRANSMISSION: u8 = 0x04;

impl Process {
    /// Begins a conversation; the first size is said before anything else.
    #[must_use]
    pub fn new(subprotocol: Subprotocol, streams: Streams, size: Option<Size>) -> Self {
        let mut process = Self {
            subprotocol,
            streams,
            stdin_ended: !streams.stdin,
            message: None,
            status: Vec::new(),
            verdict: None,
            received: false,
            late: false,
            empty_run: 0,
            unknown: 0,
            unwanted: 0,
            events: VecDeque::new(),
            outgoing: VecDeque::new(),
        };
        if let Some(size) = size {
            process.command(Command::Resize(size));
        }
        process
    }

    /// Returns the last word, now that the connection is over or quiet for good.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict.clone().or_else(|| self.read_status(true))
    }

    /// Tells whether output came after the last word: then only a Close shows that it was all.
    #[must_use]
    pub const fn has_late_output(&self) -> bool {
        self.late
    }

    /// Returns how many bytes came for streams that were not asked for, or for unknown channels.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.unknown + self.unwanted
    }

    fn read_status(&self, done: bool) -> Option<Verdict> {
        let form = self.subprotocol.status_form();
        status::read(form, &self.status, self.received, done)
    }

    fn say(&mut self, channel: u8, data: Bytes, carried: usize) {
        let outgoing = match self.subprotocol.encoding() {
            Encoding::Binary => Outgoing {
                kind: MessageKind::Binary,
                head: channel,
                data,
                carried,
            },
            Encoding::Base64 => {
                let data = STANDARD.encode(&data).into();
                Outgoing {
                    kind: MessageKind::Text,
                    head: b'0' + channel,
                    data,
                    carried,
                }
            }
        };
        self.outgoing.push_back(outgoing);
    }

    fn expected_kind(&self) -> MessageKind {
        match self.subprotocol.encoding() {
            Encoding::Binary => MessageKind::Binary,
            Encoding::Base64 => MessageKind::Text,
        }
    }

    /// Turns the pieces of a base64 message into bytes, group by group.
    fn decode(&mut self, data: Bytes, last: bool) -> Result<Bytes, ProtocolError> {
        let Some(message) = self.message.as_mut() else {
            return Ok(data);
        };
        if self.subprotocol.encoding() == Encoding::Binary {
            return Ok(data);
        }
        let channel = message.channel.unwrap_or_default();
        message.carry.extend_from_slice(&data);
        let whole = message.carry.len() / 4 * 4;
        let bad = |offset| ProtocolError::BadBase64 { channel, offset };
        if last && whole != message.carry.len() {
            return Err(bad(message.offset + whole));
        }
        let decoded = STANDARD
            .decode(&message.carry[..whole])
            .map_err(|_| bad(message.offset))?;
        message.carry.drain(..whole);
        message.offset += whole;
        Ok(decoded.into())
    }

    fn take(&mut self, channel: u8, data: Bytes) -> Result<(), ProtocolError> {
        let stream = match channel {
            channel::STDOUT => Stream::Stdout,
            channel::STDERR => Stream::Stderr,
            channel::STATUS => {
                // One byte over the limit is enough to know; the rest is drained.
                let room = (STATUS_LIMIT + 1).saturating_sub(self.status.len());
                self.status.extend_from_slice(&data[..data.len().min(room)]);
                return Ok(());
            }
            _ => {
                self.unknown += data.len() as u64;
                return if self.unknown > UNKNOWN_LIMIT {
                    Err(ProtocolError::UnknownChannel {
                        channel,
                        limit: UNKNOWN_LIMIT,
                    })
                } else {
                    Ok(())
                };
            }
        };
        let wanted = match stream {
            Stream::Stdout => self.streams.stdout,
            Stream::Stderr => self.streams.stderr,
        };
        if data.is_empty() {
            return Ok(());
        }
        if wanted {
            self.received = true;
            self.late |= self.verdict.is_some();
            self.events.push_back(Event::Output { stream, data });
        } else {
            self.unwanted += data.len() as u64;
        }
        Ok(())
    }

    /// Counts messages without data. Servers begin with one ("ready"), and may send a few.
    fn end_message(&mut self, length: usize) -> Result<(), ProtocolError> {
        self.message = None;
        if length > 0 {
            self.empty_run = 0;
        } else {
            self.empty_run += 1;
            if self.empty_run > EMPTY_LIMIT {
                return Err(ProtocolError::TooManyEmptyMessages { limit: EMPTY_LIMIT });
            }
        }
        if self.verdict.is_none() {
            self.verdict = self.read_status(false);
        }
        Ok(())
    }
}

impl Machine for Process {
    type Command = Command;
    type Event = Event;

    fn command(&mut self, command: Command) {
        match command {
            Command::Resize(size) if self.streams.tty => {
                // client-go remotecommand/v3.go: capital keys, a line feed at the end.
                let json = format!("{{\"Width\":{},\"Height\":{}}}\n", size.columns, size.rows);
                self.say(channel::RESIZE, json.into(), 0);
            }
            Command::Resize(_) => {}
            Command::Stdin(data) if !self.stdin_ended && !data.is_empty() => {
                let carried = data.len();
                self.say(channel::STDIN, data, carried);
            }
            Command::Stdin(_) => {}
            Command::StdinEnd if !self.stdin_ended => {
                self.stdin_ended = true;
                if self.streams.tty {
                    // Never a CLOSE here: containerd answers it by detaching a terminal.
                    self.say(
                        channel::STDIN,
                        Bytes::from_static(&[END_OF_TRANSMISSION]),
                        1,
                    );
                } else if self.subprotocol.half_close() {
                    // Not counted as carried: it cannot lie unread unless data before it does.
                    self.say(channel::CLOSE, Bytes::from_static(&[channel::STDIN]), 0);
                }
            }
            Command::StdinEnd => {}
        }
    }

    fn receive(&mut self, piece: Piece) -> Result<(), ProtocolError> {
        let (expected, actual) = (self.expected_kind(), piece.kind);
        if actual != expected {
            let (expected, actual) = (expected.as_str(), actual.as_str());
            return Err(ProtocolError::UnexpectedMessageKind { expected, actual });
        }
        let mut data = piece.data;
        let message = self.message.get_or_insert_with(|| Message {
            channel: None,
            carry: Vec::new(),
            offset: 0,
            length: 0,
        });
        if message.channel.is_none() && !data.is_empty() {
            let head = data.split_to(1)[0];
            message.channel = Some(match self.subprotocol.encoding() {
                Encoding::Binary => head,
                Encoding::Base64 => head.wrapping_sub(b'0'),
            });
        }
        message.length += data.len();
        let (channel, length) = (message.channel, message.length);
        if let Some(channel) = channel {
            let data = self.decode(data, piece.last)?;
            self.take(channel, data)?;
        }
        if piece.last {
            self.end_message(length)
        } else {
            Ok(())
        }
    }

    fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn is_settled(&self) -> bool {
        self.verdict.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Streams = Streams::new(true, true, true, false);
    const EXIT_3: &[u8] =
        b"\x03{\"metadata\":{},\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\
        \"message\":\"x\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}";
    const SUCCESS: &[u8] = b"\x03{\"status\":\"Success\"}";

    fn binary(data: &[u8]) -> Piece {
        Piece::whole(MessageKind::Binary, Bytes::copy_from_slice(data))
    }

    fn text(data: &str) -> Piece {
        Piece::whole(MessageKind::Text, Bytes::copy_from_slice(data.as_bytes()))
    }

    fn hear(process: &mut Process, pieces: impl IntoIterator<Item = Piece>) -> Vec<Event> {
        for piece in pieces {
            process.receive(piece).unwrap();
        }
        std::iter::from_fn(|| process.poll_event()).collect()
    }

    fn out(stream: Stream, data: &'static [u8]) -> Event {
        Event::Output {
            stream,
            data: Bytes::from_static(data),
        }
    }

    fn said(process: &mut Process) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| process.poll_transmit())
            .map(|outgoing| (outgoing.head, outgoing.data.to_vec()))
            .collect()
    }

    #[test]
    fn cri_dockerd_cannot_have_taken_our_input() {
        const FAILURE: &[u8] =
            b"\x03{\"status\":\"Failure\",\"message\":\"error sending request: Post \\\"//x\"}";
        for (output, starts) in [(&b"\x01"[..], false), (b"\x01hi", true)] {
            let mut process = Process::new(Subprotocol::V5, ALL, None);
            process.command(Command::Stdin(Bytes::from_static(b"x")));
            hear(&mut process, [output, FAILURE].map(binary));
            let failed = matches!(process.verdict(), Some(Verdict::Failed { .. }));
            assert_eq!(failed, starts, "{:?}", process.verdict());
        }
    }

    #[test]
    fn ready_output_status() {
        let mut process = Process::new(Subprotocol::V4, ALL, None);
        let events = hear(
            &mut process,
            [b"\x01" as &[u8], b"\x01hi", b"\x02oh", EXIT_3].map(binary),
        );
        assert_eq!(
            events,
            [out(Stream::Stdout, b"hi"), out(Stream::Stderr, b"oh")]
        );
        assert!(process.is_settled());
        assert_eq!(process.verdict(), Some(Verdict::Exited { code: 3 }));
    }

    #[test]
    fn an_end_without_status_has_no_verdict() {
        let mut process = Process::new(Subprotocol::V5, ALL, None);
        hear(
            &mut process,
            [b"\x01" as &[u8], b"\x01hi", b"\x03"].map(binary),
        );
        assert_eq!((process.is_settled(), process.verdict()), (false, None));
    }

    #[test]
    fn a_status_may_come_byte_by_byte() {
        let mut process = Process::new(Subprotocol::V4, ALL, None);
        for byte in &SUCCESS[1..] {
            assert!(!process.is_settled());
            hear(&mut process, [binary(&[3, *byte])]);
        }
        assert_eq!(process.verdict(), Some(Verdict::Exited { code: 0 }));
    }

    #[test]
    fn output_after_the_status_is_still_output() {
        let mut process = Process::new(Subprotocol::V4, ALL, None);
        let events = hear(&mut process, [binary(SUCCESS), binary(b"\x01late")]);
        assert_eq!(events, [out(Stream::Stdout, b"late")]);
    }

    #[test]
    fn stdin_ends_once_and_only_where_it_can() {
        for (subprotocol, streams, expected) in [
            (
                Subprotocol::V5,
                ALL,
                vec![(0x00, b"a".to_vec()), (0xff, vec![0x00])],
            ),
            (Subprotocol::V4, ALL, vec![(0x00, b"a".to_vec())]),
            (
                Subprotocol::V5,
                Streams { tty: true, ..ALL },
                vec![(0x00, b"a".to_vec()), (0x00, vec![0x04])],
            ),
            (
                Subprotocol::V5,
                Streams {
                    stdin: false,
                    ..ALL
                },
                vec![],
            ),
        ] {
            let mut process = Process::new(subprotocol, streams, None);
            process.command(Command::Stdin(Bytes::from_static(b"a")));
            process.command(Command::StdinEnd);
            process.command(Command::StdinEnd);
            process.command(Command::Stdin(Bytes::from_static(b"late")));
            assert_eq!(said(&mut process), expected, "{subprotocol} {streams:?}");
        }
    }

    #[test]
    fn the_first_size_is_the_first_message() {
        let streams = Streams { tty: true, ..ALL };
        let mut process = Process::new(Subprotocol::V4, streams, Some(Size::new(80, 24)));
        process.command(Command::Stdin(Bytes::from_static(b"ls\r")));
        let expected = [
            (0x04, b"{\"Width\":80,\"Height\":24}\n".to_vec()),
            (0x00, b"ls\r".to_vec()),
        ];
        assert_eq!(said(&mut process), expected);
    }

    #[test]
    fn base64_messages_travel_as_text() {
        let mut process = Process::new(Subprotocol::V4Base64, ALL, None);
        let events = hear(&mut process, [text("1"), text("1aGk="), text("2b2g=")]);
        assert_eq!(
            events,
            [out(Stream::Stdout, b"hi"), out(Stream::Stderr, b"oh")]
        );
        process.command(Command::Stdin(Bytes::from_static(b"hi")));
        assert_eq!(said(&mut process), [(b'0', b"aGk=".to_vec())]);
        let error = process.receive(text("1aGk"));
        assert_eq!(
            error,
            Err(ProtocolError::BadBase64 {
                channel: 1,
                offset: 0
            })
        );
    }

    #[test]
    fn what_a_peer_does_wrong_is_named() {
        let mut process = Process::new(Subprotocol::V4, ALL, None);
        let error = ProtocolError::UnexpectedMessageKind {
            expected: "binary",
            actual: "text",
        };
        assert_eq!(process.receive(text("1aGk=")), Err(error));
        for _ in 0..EMPTY_LIMIT {
            process.receive(binary(b"")).unwrap();
        }
        let error = ProtocolError::TooManyEmptyMessages { limit: EMPTY_LIMIT };
        assert_eq!(process.receive(binary(b"")), Err(error));
        let flood = vec![9; UNKNOWN_LIMIT as usize + 2];
        let error = ProtocolError::UnknownChannel {
            channel: 9,
            limit: UNKNOWN_LIMIT,
        };
        assert_eq!(process.receive(binary(&flood)), Err(error));
    }

    #[test]
    fn streams_that_were_not_asked_for_are_counted() {
        let mut process = Process::new(
            Subprotocol::V4,
            Streams {
                stderr: false,
                ..ALL
            },
            None,
        );
        assert_eq!(
            hear(&mut process, [binary(b"\x02oh"), binary(b"\x07?")]),
            []
        );
        assert_eq!(process.dropped(), 3);
    }

    #[test]
    fn a_flooded_status_is_capped() {
        let mut process = Process::new(Subprotocol::V4, ALL, None);
        for _ in 0..100 {
            process
                .receive(binary(&[&[3][..], &[b' '; 32_768]].concat()))
                .unwrap();
        }
        assert!(matches!(
            process.verdict(),
            Some(Verdict::Unreadable { .. })
        ));
        assert_eq!(process.status.len(), STATUS_LIMIT + 1);
    }

    #[test]
    fn input_that_crosses_a_refusal_to_start_changes_nothing() {
        let refusal = binary(
            b"\x03{\"status\":\"Failure\",\"message\":\"container not found (\\\"app\\\")\"}",
        );
        for output in [false, true] {
            let mut process = Process::new(Subprotocol::V5, ALL, None);
            process.command(Command::Stdin(Bytes::from_static(b"early")));
            if output {
                hear(&mut process, [binary(b"\x01x")]);
            }
            hear(&mut process, [refusal.clone()]);
            let not_started = matches!(process.verdict(), Some(Verdict::NotStarted { .. }));
            assert_eq!(not_started, !output);
        }
    }

    #[test]
    fn prose_is_a_failure_and_silence_is_nothing() {
        let mut process = Process::new(Subprotocol::Channel, ALL, None);
        hear(&mut process, [binary(b"\x01x"), binary(b"\x03it broke")]);
        assert!(!process.is_settled());
        let failed = Verdict::Failed {
            reason: None,
            message: "it broke".into(),
        };
        assert_eq!(process.verdict(), Some(failed));
        assert_eq!(
            Process::new(Subprotocol::Channel, ALL, None).verdict(),
            None
        );
    }

    proptest! {
        #[test]
        fn cutting_messages_into_pieces_changes_nothing(
            data in proptest::collection::vec(any::<u8>(), 1..300),
            cuts in proptest::collection::vec(1usize..40, 1..20),
            base64 in any::<bool>(),
        ) {
            let (subprotocol, kind, message) = if base64 {
                let message = format!("1{}", STANDARD.encode(&data)).into_bytes();
                (Subprotocol::V4Base64, MessageKind::Text, message)
            } else {
                (Subprotocol::V4, MessageKind::Binary, [&[1][..], &data].concat())
            };
            let mut process = Process::new(subprotocol, ALL, None);
            let (mut rest, mut first) = (Bytes::from(message), true);
            for cut in cuts.iter().cycle() {
                let part = rest.split_to((*cut).min(rest.len()));
                let last = rest.is_empty();
                process.receive(Piece { kind, first, last, data: part }).unwrap();
                first = false;
                if last { break; }
            }
            let mut heard = Vec::new();
            while let Some(Event::Output { data, .. }) = process.poll_event() {
                heard.extend_from_slice(&data);
            }
            prop_assert_eq!(heard, data);
        }

        #[test]
        fn hearing_survives_anything(
            data in proptest::collection::vec(any::<u8>(), 0..100),
            index in 0usize..5,
        ) {
            let subprotocol = Subprotocol::ALL[index];
            let mut process = Process::new(subprotocol, ALL, None);
            let kind = process.expected_kind();
            let _ = process.receive(Piece::whole(kind, Bytes::from(data)));
            let _ = process.verdict();
        }
    }
}

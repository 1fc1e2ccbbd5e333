//! One connection a port, on the channels of `v4.channel.k8s.io`.
//!
//! The server dials each port at once, and says nothing when one of several is over: only its Close
//! tells, after the last. So one port a WebSocket is what the caller wants, though several work.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use bytes::Bytes;

use super::{BACKLOG, Command, Connection, End, Event, Forwarding};
use crate::protocol::error::ProtocolError;
use crate::protocol::machine::{Machine, Outgoing};
use crate::protocol::spdy::DATA_LIMIT;
use crate::protocol::websocket::{MessageKind, Piece};

/// The conversation on `v4` channels: for the port at `i` in the request, channel `2 * i` is data
/// and `2 * i + 1` an error text.
///
/// Connections are there from the beginning, [`Command::Open`] is answered as lost. There is no
/// half-close: after [`Command::End`] nothing more is sent, and the pod does not learn it. An abort
/// of the last connection settles the conversation; closing the WebSocket is what tells the pod.
#[derive(Debug)]
pub struct Channels {
    ports: Vec<Port>,
    /// The channel of the message whose pieces are arriving.
    channel: Option<u8>,
    unknown: u64,
    over: bool,
    events: VecDeque<Event>,
    outgoing: VecDeque<Outgoing>,
}

/// One port of the request.
#[derive(Debug)]
struct Port {
    connection: Connection,
    port: u16,
    /// What came of the port's number, on either channel.
    data: Prefix,
    error: Prefix,
    text: Vec<u8>,
    opened: bool,
    over: bool,
    /// Whether the local side has ended.
    ended: bool,
    /// Whether a byte was carried, either way.
    touched: bool,
    /// Bytes told and not taken.
    backlog: usize,
}

/// The first two bytes of a channel.
#[derive(Clone, Copy, Debug, Default)]
struct Prefix {
    bytes: [u8; 2],
    count: usize,
}

/// How many ports the channels of one WebSocket can carry.
const PORT_LIMIT: usize = 128;
const TEXT_LIMIT: usize = 4096;
const UNKNOWN_LIMIT: u64 = 1024 * 1024;

impl Channels {
    /// Begins after the handshake, with the ports in the order of the request.
    ///
    /// # Errors
    /// `UnusableRequest` when there is no port, or more than 128.
    pub fn new(
        ports: impl IntoIterator<Item = (Connection, NonZeroU16)>,
    ) -> Result<Self, ProtocolError> {
        let ports: Vec<_> = ports
            .into_iter()
            .map(|(connection, port)| Port::new(connection, port.get()))
            .collect();
        if ports.is_empty() || ports.len() > PORT_LIMIT {
            let (count, limit) = (ports.len(), PORT_LIMIT);
            let message = format!("{count} ports on one WebSocket, 1 to {limit} are possible");
            return Err(ProtocolError::UnusableRequest(message));
        }
        Ok(Self {
            ports,
            channel: None,
            unknown: 0,
            over: false,
            events: VecDeque::new(),
            outgoing: VecDeque::new(),
        })
    }

    /// Tells whether to read the WebSocket: a slow local side holds the pod back, as TCP would.
    #[must_use]
    pub fn reads(&self) -> bool {
        let full = |port: &Port| !port.over && port.backlog >= BACKLOG;
        !self.ports.iter().any(full)
    }

    /// Tells how the WebSocket ended: only a Close with 1000 says that the pods' sides are over.
    pub fn closed(&mut self, code: Option<u16>) {
        self.over = true;
        for port in self.ports.iter_mut().filter(|port| !port.over) {
            let end = match code {
                _ if !port.text.is_empty() => port.failure(),
                Some(1000) if port.opened => End::Finished,
                _ => End::Lost {
                    fresh: !port.touched,
                },
            };
            port.over = true;
            self.events.push_back(Event::Ended(port.connection, end));
        }
    }

    /// The live connection of that name, and its channel for data.
    fn port(&mut self, connection: Connection) -> Option<(u8, &mut Port)> {
        let channels = (0..=u8::MAX).step_by(2);
        channels
            .zip(&mut self.ports)
            .find(|(_, port)| port.connection == connection && !port.over)
    }

    fn settle(&mut self) {
        self.over |= self.ports.iter().all(|port| port.over);
    }

    fn take(&mut self, channel: u8, mut data: Bytes, last: bool) -> Result<(), ProtocolError> {
        let Some(port) = self.ports.get_mut(usize::from(channel / 2)) else {
            self.unknown += data.len() as u64;
            let limit = UNKNOWN_LIMIT;
            return match self.unknown > limit {
                true => Err(ProtocolError::UnknownChannel { channel, limit }),
                false => Ok(()),
            };
        };
        let is_error = channel % 2 == 1;
        let prefix = match is_error {
            true => &mut port.error,
            false => &mut port.data,
        };
        if let Some(actual) = prefix.take(&mut data)
            && actual != port.port
        {
            return Err(ProtocolError::PortMismatch {
                channel,
                expected: port.port,
                actual,
            });
        }
        if port.over {
            return Ok(());
        }
        let whole = port.error.is_whole() && port.data.is_whole();
        if !port.opened && (whole || !data.is_empty()) {
            port.opened = true;
            self.events.push_back(Event::Opened(port.connection));
        }
        if is_error {
            let room = TEXT_LIMIT - port.text.len();
            port.text.extend_from_slice(&data[..data.len().min(room)]);
            if last && !port.text.is_empty() {
                port.over = true;
                let failed = Event::Ended(port.connection, port.failure());
                self.events.push_back(failed);
                self.settle();
            }
        } else if !data.is_empty() {
            port.touched = true;
            port.backlog += data.len();
            self.events.push_back(Event::Data(port.connection, data));
        }
        Ok(())
    }
}

impl Port {
    fn new(connection: Connection, port: u16) -> Self {
        Self {
            connection,
            port,
            data: Prefix::default(),
            error: Prefix::default(),
            text: Vec::new(),
            opened: false,
            over: false,
            ended: false,
            touched: false,
            backlog: 0,
        }
    }

    fn failure(&self) -> End {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        End::Failed { text }
    }
}

impl Prefix {
    const fn is_whole(self) -> bool {
        self.count == 2
    }

    /// Takes what is missing; returns the port when it becomes whole.
    fn take(&mut self, data: &mut Bytes) -> Option<u16> {
        if self.is_whole() {
            return None;
        }
        for place in self.bytes.iter_mut().skip(self.count) {
            if data.is_empty() {
                return None;
            }
            *place = data.split_to(1)[0];
            self.count += 1;
        }
        // kubelet portforward/websocket.go: little-endian, unlike everything else here.
        Some(u16::from_le_bytes(self.bytes))
    }
}

impl Machine for Channels {
    type Command = Command;
    type Event = Event;

    fn command(&mut self, command: Command) {
        match command {
            Command::Open(connection, _) => {
                let lost = End::Lost { fresh: true };
                self.events.push_back(Event::Ended(connection, lost));
            }
            Command::Leave => {
                self.over = true;
                self.ports.iter_mut().for_each(|port| port.over = true);
            }
            Command::Abort(connection) => {
                if let Some((_, port)) = self.port(connection) {
                    port.over = true;
                }
                self.settle();
            }
            Command::Data(connection, data) => {
                let Some((channel, port)) = self.port(connection) else {
                    return;
                };
                if port.ended || data.is_empty() {
                    return;
                }
                port.touched = true;
                let mut rest = data;
                while !rest.is_empty() {
                    let data = rest.split_to(rest.len().min(DATA_LIMIT));
                    self.outgoing.push_back(Outgoing {
                        kind: MessageKind::Binary,
                        head: channel,
                        carried: data.len(),
                        data,
                    });
                }
            }
            Command::End(connection) => {
                if let Some((_, port)) = self.port(connection) {
                    port.ended = true;
                }
            }
            Command::Taken(connection, bytes) => {
                if let Some((_, port)) = self.port(connection) {
                    port.backlog = port.backlog.saturating_sub(bytes);
                }
            }
        }
    }

    fn receive(&mut self, piece: Piece) -> Result<(), ProtocolError> {
        if piece.kind != MessageKind::Binary {
            return Err(ProtocolError::UnexpectedMessageKind {
                expected: MessageKind::Binary.as_str(),
                actual: piece.kind.as_str(),
            });
        }
        let mut data = piece.data;
        if self.channel.is_none() && !data.is_empty() {
            self.channel = Some(data.split_to(1)[0]);
        }
        let Some(channel) = self.channel else {
            return Ok(());
        };
        if piece.last {
            self.channel = None;
        }
        self.take(channel, data, piece.last)
    }

    fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn is_settled(&self) -> bool {
        self.over
    }

    /// Closing the WebSocket is what tells the pod.
    fn takes_leave(&self) -> bool {
        true
    }

    fn reads(&self) -> bool {
        Self::reads(self)
    }
}

impl Forwarding for Channels {
    fn has_room(&self) -> bool {
        false
    }

    fn gone(&mut self, code: Option<u16>) {
        self.closed(code);
    }

    fn dropped(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Connection = Connection(7);
    const B: Connection = Connection(8);

    /// 8080 and 443 are asked for.
    fn channels() -> Channels {
        let ports = [(A, 8080), (B, 443)];
        let ports = ports.map(|(name, port)| (name, NonZeroU16::new(port).unwrap()));
        Channels::new(ports).unwrap()
    }

    /// The same, after the prefixes.
    fn opened() -> Channels {
        let mut channels = channels();
        for message in [
            b"\x00\x90\x1f",
            b"\x01\x90\x1f",
            b"\x02\xbb\x01",
            b"\x03\xbb\x01",
        ] {
            hear(&mut channels, message);
        }
        assert_eq!(events(&mut channels), [Event::Opened(A), Event::Opened(B)]);
        channels
    }

    fn binary(data: &[u8]) -> Piece {
        Piece::whole(MessageKind::Binary, Bytes::copy_from_slice(data))
    }

    fn hear(channels: &mut Channels, message: &[u8]) {
        channels.receive(binary(message)).unwrap();
    }

    fn events(channels: &mut Channels) -> Vec<Event> {
        std::iter::from_fn(|| channels.poll_event()).collect()
    }

    fn data(connection: Connection, data: &'static [u8]) -> Event {
        Event::Data(connection, Bytes::from_static(data))
    }

    fn failed(text: &str) -> End {
        let text = text.to_owned();
        End::Failed { text }
    }

    #[test]
    fn both_channels_of_a_port_begin_with_it_in_little_endian() {
        let mut channels = channels();
        for message in [&b"\x00\x90\x1f"[..], b"", b"\x01\x90"] {
            hear(&mut channels, message);
        }
        assert_eq!(events(&mut channels), []);
        hear(&mut channels, b"\x01\x1f");
        assert_eq!(events(&mut channels), [Event::Opened(A)]);
        hear(&mut channels, b"\x00\x90\x1f");
        assert_eq!(events(&mut channels), [data(A, b"\x90\x1f")]);
    }

    #[test]
    fn data_may_follow_a_prefix_at_once() {
        let mut channels = channels();
        hear(&mut channels, b"\x02\xbb\x01hi");
        assert_eq!(events(&mut channels), [Event::Opened(B), data(B, b"hi")]);
        hear(&mut channels, b"\x03\xbb\x01");
        assert_eq!(events(&mut channels), []);
    }

    #[test]
    fn another_port_than_was_asked_for_is_refused() {
        for (message, channel, actual) in [(b"\x00\x1f\x90", 0, 36_895), (b"\x01\xbb\x01", 1, 443)]
        {
            let expected = 8080;
            let error = ProtocolError::PortMismatch {
                channel,
                expected,
                actual,
            };
            assert_eq!(channels().receive(binary(message)), Err(error.clone()));
            let mut byte_by_byte = channels();
            hear(&mut byte_by_byte, &message[..2]);
            let second = binary(&[message[0], message[2]]);
            assert_eq!(byte_by_byte.receive(second), Err(error));
        }
    }

    #[test]
    fn each_port_has_its_data_and_its_error() {
        let mut channels = opened();
        channels.command(Command::Data(B, Bytes::from_static(b"x")));
        let said = channels.poll_transmit().unwrap();
        assert_eq!((said.head, &said.data[..], said.carried), (2, &b"x"[..], 1));
        hear(&mut channels, b"\x02y");
        hear(&mut channels, b"\x01error forwarding port 8080");
        hear(&mut channels, b"\x00late");
        let told = [
            data(B, b"y"),
            Event::Ended(A, failed("error forwarding port 8080")),
        ];
        assert_eq!(events(&mut channels), told);
        assert!(!channels.is_settled());
        hear(&mut channels, b"\x03too");
        assert_eq!(events(&mut channels), [Event::Ended(B, failed("too"))]);
        assert!(channels.is_settled());
    }

    #[test]
    fn only_a_good_close_is_a_good_end() {
        let lost = |fresh| End::Lost { fresh };
        let cases = [
            (Some(1000), End::Finished, End::Finished),
            (Some(1001), lost(false), lost(true)),
            (None, lost(false), lost(true)),
        ];
        for (code, first, second) in cases {
            let mut channels = opened();
            hear(&mut channels, b"\x00hi");
            channels.closed(code);
            channels.closed(code);
            let ends = [(A, first), (B, second)].map(|(name, end)| Event::Ended(name, end));
            assert_eq!(events(&mut channels)[1..], ends);
        }
        let mut uploaded = opened();
        uploaded.command(Command::Data(A, Bytes::from_static(b"x")));
        uploaded.closed(None);
        assert_eq!(events(&mut uploaded)[0], Event::Ended(A, lost(false)));
        let mut unopened = channels();
        unopened.closed(Some(1000));
        assert_eq!(events(&mut unopened)[0], Event::Ended(A, lost(true)));
    }

    #[test]
    fn a_text_that_was_cut_is_still_an_error() {
        let mut channels = opened();
        let mut piece = binary(b"\x01half");
        piece.last = false;
        channels.receive(piece).unwrap();
        assert_eq!(events(&mut channels), []);
        channels.closed(Some(1000));
        assert_eq!(events(&mut channels)[0], Event::Ended(A, failed("half")));
    }

    #[test]
    fn a_flood_of_text_is_capped() {
        let mut channels = opened();
        hear(&mut channels, &[&[1][..], &[b'x'; 100_000]].concat());
        let told = Event::Ended(A, failed(&"x".repeat(TEXT_LIMIT)));
        assert_eq!(events(&mut channels), [told]);
    }

    #[test]
    fn there_is_no_half_close_and_no_second_opening() {
        let mut channels = opened();
        channels.command(Command::End(A));
        channels.command(Command::Data(A, Bytes::from_static(b"late")));
        channels.command(Command::Open(Connection(9), NonZeroU16::MIN));
        assert_eq!(channels.poll_transmit(), None);
        hear(&mut channels, b"\x00still");
        let lost = Event::Ended(Connection(9), End::Lost { fresh: true });
        assert_eq!(events(&mut channels), [lost, data(A, b"still")]);
    }

    #[test]
    fn an_abort_is_final_and_the_last_one_settles() {
        let mut channels = opened();
        channels.command(Command::Abort(A));
        hear(&mut channels, b"\x00late");
        channels.command(Command::Data(A, Bytes::from_static(b"late")));
        assert!(!channels.is_settled());
        channels.command(Command::Abort(B));
        assert!(channels.is_settled());
        channels.closed(None);
        assert_eq!(
            (events(&mut channels), channels.poll_transmit()),
            (vec![], None)
        );
        let mut channels = opened();
        channels.command(Command::Leave);
        channels.closed(None);
        assert!(channels.is_settled() && events(&mut channels).is_empty());
    }

    #[test]
    fn a_local_side_that_takes_nothing_holds_the_pod_back() {
        let mut channels = opened();
        let message = [&[0][..], &vec![0; BACKLOG]].concat();
        hear(&mut channels, &message[..BACKLOG]);
        assert!(channels.reads());
        hear(&mut channels, b"\x00x");
        assert!(!channels.reads());
        channels.command(Command::Taken(A, 1));
        assert!(channels.reads());
        hear(&mut channels, b"\x00x");
        channels.command(Command::Abort(A));
        assert!(channels.reads());
    }

    #[test]
    fn much_data_goes_in_messages_of_32_kib() {
        let mut channels = opened();
        channels.command(Command::Data(A, vec![0; DATA_LIMIT + 1].into()));
        let sizes = std::iter::from_fn(|| channels.poll_transmit());
        let sizes: Vec<_> = sizes.map(|said| (said.data.len(), said.carried)).collect();
        assert_eq!(sizes, [(DATA_LIMIT, DATA_LIMIT), (1, 1)]);
    }

    #[test]
    fn what_was_not_agreed_is_refused() {
        let text = Piece::whole(MessageKind::Text, Bytes::from_static(b"0kB8="));
        let (expected, actual) = ("binary", "text");
        let error = ProtocolError::UnexpectedMessageKind { expected, actual };
        assert_eq!(channels().receive(text), Err(error));
        let mut channels = channels();
        let flood = vec![4; UNKNOWN_LIMIT as usize + 1];
        hear(&mut channels, &flood);
        let (channel, limit) = (4, UNKNOWN_LIMIT);
        let error = ProtocolError::UnknownChannel { channel, limit };
        assert_eq!(channels.receive(binary(b"\x04x")), Err(error));
        let some = |count| (0..count).map(|name| (Connection(name), NonZeroU16::MIN));
        for (count, works) in [(0, false), (1, true), (128, true), (129, false)] {
            assert_eq!(Channels::new(some(count)).is_ok(), works, "{count} ports");
        }
    }

    proptest! {
        #[test]
        fn cutting_messages_into_pieces_changes_nothing(
            messages in proptest::collection::vec(
                (0u8..4, proptest::collection::vec(any::<u8>(), 0..30)), 0..12
            ),
            cuts in proptest::collection::vec(1usize..20, 1..6),
        ) {
            let whole = |channels: &mut Channels| {
                for (channel, data) in &messages {
                    hear(channels, &[&[*channel][..], data].concat());
                }
            };
            let mut cut = cuts.iter().cycle();
            let mut pieces = |channels: &mut Channels| {
                for (channel, data) in &messages {
                    let mut rest = Bytes::from([&[*channel][..], data].concat());
                    let mut first = true;
                    while !rest.is_empty() {
                        let data = rest.split_to(cut.next().unwrap().min(&rest.len()).to_owned());
                        let (kind, last) = (MessageKind::Binary, rest.is_empty());
                        channels.receive(Piece { kind, first, last, data }).unwrap();
                        first = false;
                    }
                }
            };
            let (mut one, mut other) = (opened(), opened());
            whole(&mut one);
            pieces(&mut other);
            prop_assert_eq!(joined(&mut other), joined(&mut one));
        }

        #[test]
        fn hearing_survives_anything(
            messages in proptest::collection::vec(
                proptest::collection::vec(0u8..9, 0..9), 0..20
            ),
        ) {
            let mut channels = channels();
            for message in messages {
                if channels.receive(binary(&message)).is_err() {
                    break;
                }
            }
            channels.closed(None);
            let ended = |event: &Event| matches!(event, Event::Ended(..));
            prop_assert_eq!(events(&mut channels).iter().filter(|event| ended(event)).count(), 2);
        }
    }

    /// What was told, with the data of each connection in one.
    fn joined(channels: &mut Channels) -> (Vec<Event>, [Vec<u8>; 2]) {
        let (mut others, mut bytes) = (Vec::new(), [Vec::new(), Vec::new()]);
        for event in events(channels) {
            match event {
                Event::Data(connection, data) => bytes[usize::from(connection == B)].extend(data),
                other => others.push(other),
            }
        }
        (others, bytes)
    }
}

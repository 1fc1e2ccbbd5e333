//! Many connections in one tunnel: SPDY/3.1 inside binary messages.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::limits::Clock;
use super::pair::{Input, Pair, Side};
use super::{Command, Connection, End, Event, Forwarding, HalfClose, Over, Rules};
use crate::protocol::error::ProtocolError;
use crate::protocol::machine::{Machine, Outgoing};
use crate::protocol::spdy::{
    self, DATA_LIMIT, Decoder, Half, Incoming, Opener, STREAM_LIMIT, SpdyError,
};
use crate::protocol::websocket::{MessageKind, Piece};

/// The conversation in a tunnel.
///
/// There is no flow control in it: what one connection does not take holds up all. So a connection
/// that is alone is held back by not reading ([`Tunnel::reads`]), as TCP would. Where several share
/// a tunnel, one may lie 4 MiB behind before the others wait for it, newcomers are to go elsewhere
/// from half of that on ([`Tunnel::has_room`]), and it is reset once it has taken nothing for the
/// stall limit. Nothing is reset for being slow.
#[derive(Debug)]
pub struct Tunnel {
    pub(super) rules: Rules,
    pub(super) clock: Clock,
    /// By their first stream, the one for errors; the data stream is two higher.
    pub(super) pairs: BTreeMap<u32, Pair>,
    pub(super) names: BTreeMap<Connection, u32>,
    /// How many of them may still be given data.
    pub(super) busy: usize,
    /// Bytes told and not taken, of all of them.
    pub(super) backlog: usize,
    /// No limit of theirs passes before.
    pub(super) pairs_due: Duration,
    next: u32,
    decoder: Decoder,
    opener: Opener,
    pub(super) over: bool,
    dropped: u64,
    pub(super) events: VecDeque<Event>,
    /// Pings of the server's to be answered.
    echoes: VecDeque<u32>,
    pub(super) outgoing: VecDeque<Outgoing>,
}

/// How many connections may share a tunnel.
pub const SHARED_BY: usize = 16;
/// How far a connection may lie behind that is alone.
pub const BACKLOG: usize = 1024 * 1024;
/// How far one may lie behind that others would wait for.
pub const SHARED_BACKLOG: usize = 4 * BACKLOG;
/// How many pings of the server's wait for an answer; those before them need none.
const ECHOES: usize = 16;

impl Tunnel {
    /// Begins after the handshake, at time zero.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            clock: Clock::new(&rules),
            pairs: BTreeMap::new(),
            names: BTreeMap::new(),
            busy: 0,
            backlog: 0,
            pairs_due: Duration::MAX,
            next: 1,
            decoder: Decoder::default(),
            opener: Opener::default(),
            over: false,
            dropped: 0,
            events: VecDeque::new(),
            echoes: VecDeque::new(),
            outgoing: VecDeque::new(),
        }
    }

    /// Tells whether to read the tunnel. While it says no, no clock runs against the peer.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.backlog < self.backlog_limit() || !self.pairs.values().any(|pair| self.is_full(pair))
    }

    /// Tells whether a new connection fares well here. Opening one elsewhere is up to the caller.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let half = self.backlog_limit() / 2;
        let behind = |pair: &Pair| pair.backlog >= half;
        !self.over
            && self.has_streams()
            && self.busy < SHARED_BY
            && !self.clock.is_stuck()
            && (self.backlog < half || !self.pairs.values().any(behind))
    }

    /// Tells whether a connection may be given data at once.
    #[must_use]
    pub fn is_open(&self, connection: Connection) -> bool {
        let first = self.names.get(&connection);
        let pair = first.and_then(|first| self.pairs.get(first));
        pair.is_some_and(|pair| pair.opened)
    }

    /// Tells whether what was sent may lie unread: a request on a second connection tells then
    /// whether the server is there at all.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.clock.waits()
    }

    /// Returns how many bytes came for connections that were over.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Tells that the WebSocket is gone, however it ended: a good end comes from a stream.
    pub fn lost(&mut self) {
        self.end_all();
    }

    #[cfg(test)]
    pub(super) const fn set_next(&mut self, next: u32) {
        self.next = next;
    }

    const fn has_streams(&self) -> bool {
        self.next <= STREAM_LIMIT - 2
    }

    fn backlog_limit(&self) -> usize {
        match self.pairs.len() {
            ..=1 => BACKLOG,
            _ => SHARED_BACKLOG,
        }
    }

    pub(super) fn is_full(&self, pair: &Pair) -> bool {
        pair.backlog >= self.backlog_limit()
    }

    // Saying

    pub(super) fn say(&mut self, frames: BytesMut, carried: usize) {
        let mut data = frames.freeze();
        if data.is_empty() {
            return;
        }
        // Where messages begin and end means nothing in a tunnel.
        let head = data.split_to(1)[0];
        self.outgoing.push_back(Outgoing {
            kind: MessageKind::Binary,
            head,
            data,
            carried,
        });
    }

    pub(super) fn ask(&mut self) {
        let mut frame = BytesMut::new();
        spdy::put_ping(&mut frame, self.clock.ask());
        self.say(frame, 0);
    }

    fn open(&mut self, connection: Connection, port: NonZeroU16) {
        if self.names.contains_key(&connection) {
            return;
        }
        if self.over || !self.has_streams() {
            let end = End::Lost { fresh: true };
            self.events.push_back(Event::Ended(connection, end));
            return;
        }
        let first = self.next;
        self.next += 4;
        let mut frames = BytesMut::new();
        for (stream, half) in [(first, Half::Error), (first + 2, Half::Data)] {
            let request = first / 4; // unique in this tunnel, whatever names are chosen
            self.opener.open(&mut frames, stream, half, port, request);
        }
        self.say(frames, 0);
        self.names.insert(connection, first);
        let now = self.clock.now;
        if self.pairs.len() == 1 {
            // Nobody waited behind it before.
            let alone = self.pairs.values_mut();
            alone.for_each(|pair| pair.moved = now);
            self.pairs_due = Duration::ZERO;
        }
        self.pairs.insert(first, Pair::new(connection, now));
        self.busy += 1;
        self.touch(first);
    }

    fn send(&mut self, first: u32, data: &[u8]) {
        let mark = self.clock.send(data.len());
        for part in data.chunks(DATA_LIMIT) {
            let mut frame = BytesMut::new();
            spdy::put_data(&mut frame, first + 2, part, false);
            self.say(frame, part.len());
        }
        if let Some(pair) = self.pairs.get_mut(&first) {
            pair.mark = mark;
            pair.touched = true;
        }
    }

    /// Says that nothing more comes from here on one stream.
    pub(super) fn end_stream(&mut self, stream: u32) {
        let mut frame = BytesMut::new();
        spdy::put_data(&mut frame, stream, &[], true);
        self.say(frame, 0);
    }

    fn local_end(&mut self, first: u32) {
        let Some(pair) = self.pairs.get_mut(&first) else {
            return;
        };
        if pair.input != Input::Open {
            return;
        }
        pair.input = Input::Ended;
        pair.quiet = self.clock.now;
        self.busy -= 1;
        self.touch(first);
        self.ask_for_end(first);
    }

    /// Asks whether the pod's side has read everything, where the end of input waits for that.
    fn ask_for_end(&mut self, first: u32) {
        let Some(pair) = self.pairs.get(&first) else {
            return;
        };
        let waits = pair.opened && pair.input == Input::Ended && pair.mark > self.clock.confirmed;
        let auto = self.rules.half_close == HalfClose::Auto;
        if auto && waits && !self.clock.held && !self.clock.asks_for(pair.mark) {
            self.ask();
        }
    }

    // Hearing

    /// Whose stream it is; nothing where that one is over.
    fn locate(&self, stream: u32) -> Result<Option<(u32, Half)>, SpdyError> {
        if stream.is_multiple_of(2) || stream >= self.next {
            return Err(SpdyError::UnknownStream { stream });
        }
        let (first, half) = match stream % 4 {
            1 => (stream, Half::Error),
            _ => (stream - 2, Half::Data),
        };
        Ok(self.pairs.contains_key(&first).then_some((first, half)))
    }

    fn hear(&mut self, incoming: Incoming) -> Result<(), SpdyError> {
        match incoming {
            Incoming::Data { stream, data, fin } => self.hear_data(stream, data, fin),
            Incoming::GoAway { status, .. } => {
                self.give_up(Over::GoneAway { status });
                Ok(())
            }
            Incoming::Ping(id) if id.is_multiple_of(2) => {
                if self.echoes.len() == ECHOES {
                    self.echoes.pop_front();
                }
                self.echoes.push_back(id);
                Ok(())
            }
            Incoming::Ping(id) => {
                self.hear_answer(id);
                Ok(())
            }
            Incoming::Reply { stream, fin } => self.hear_reply(stream, fin),
            Incoming::Reset { stream, status } => {
                if let Some((first, half)) = self.locate(stream)? {
                    self.close(first, half, Side::Reset(status));
                }
                Ok(())
            }
        }
    }

    fn hear_answer(&mut self, id: u32) {
        let before = self.clock.confirmed;
        if !self.clock.answer(id) {
            return;
        }
        let read = before + 1..=self.clock.confirmed;
        for pair in self.pairs.values_mut() {
            if read.contains(&pair.mark) {
                pair.quiet = self.clock.now;
                // Its end may follow.
                self.pairs_due = Duration::ZERO;
            }
        }
    }

    fn hear_reply(&mut self, stream: u32, fin: bool) -> Result<(), SpdyError> {
        let Some((first, half)) = self.locate(stream)? else {
            return Ok(());
        };
        let Some(pair) = self.pairs.get_mut(&first) else {
            return Ok(());
        };
        if pair.answer(half) {
            return Err(SpdyError::AnsweredTwice { stream });
        }
        let both = pair.error_answered && pair.data_answered;
        if half == Half::Error {
            // We never write on it.
            self.end_stream(stream);
        }
        if both {
            self.opened(first);
        }
        if fin {
            self.close(first, half, Side::Ended);
        }
        Ok(())
    }

    fn hear_data(&mut self, stream: u32, data: Bytes, fin: bool) -> Result<(), SpdyError> {
        let Some((first, half)) = self.locate(stream)? else {
            self.dropped += data.len() as u64;
            return Ok(());
        };
        let Some(pair) = self.pairs.get_mut(&first) else {
            return Ok(());
        };
        if *pair.side(half) != Side::Open {
            return Err(SpdyError::DataAfterEnd { stream });
        }
        match half {
            Half::Error => {
                pair.complain(&data);
                self.settle(first);
            }
            Half::Data if !data.is_empty() => {
                pair.touched = true;
                pair.quiet = self.clock.now;
                if pair.backlog == 0 {
                    pair.moved = self.clock.now;
                }
                pair.backlog += data.len();
                self.backlog += data.len();
                let connection = pair.connection;
                if pair.mark > self.clock.confirmed {
                    // A pod that speaks is none that stands still.
                    self.clock.progress = self.clock.now;
                }
                self.opened(first);
                self.events.push_back(Event::Data(connection, data));
            }
            Half::Data => {}
        }
        if fin {
            self.close(first, half, Side::Ended);
        }
        Ok(())
    }

    /// Both streams were taken, or one speaks: answers come in any order.
    fn opened(&mut self, first: u32) {
        let Some(pair) = self.pairs.get_mut(&first) else {
            return;
        };
        if mem::replace(&mut pair.opened, true) {
            return;
        }
        pair.quiet = self.clock.now;
        self.events.push_back(Event::Opened(pair.connection));
        for data in mem::take(&mut pair.early) {
            self.send(first, &data);
        }
        self.touch(first);
        self.ask_for_end(first);
    }

    fn close(&mut self, first: u32, half: Half, how: Side) {
        if let Some(pair) = self.pairs.get_mut(&first) {
            let side = pair.side(half);
            if *side == Side::Open || matches!(how, Side::Reset(_)) {
                *side = how;
            }
            self.settle(first);
        }
    }
}

impl Machine for Tunnel {
    type Command = Command;
    type Event = Event;

    fn command(&mut self, command: Command) {
        match command {
            Command::Open(connection, port) => self.open(connection, port),
            Command::Leave => self.leave(),
            Command::Abort(connection) => {
                if let Some(first) = self.names.get(&connection) {
                    self.forget(*first, false);
                }
            }
            Command::Data(connection, data) => {
                let first = self.names.get(&connection).copied();
                if let Some(first) = first
                    && let Some(pair) = self.pairs.get_mut(&first)
                    && pair.input == Input::Open
                    && !data.is_empty()
                {
                    match pair.opened {
                        true => self.send(first, &data),
                        false => pair.early.push_back(data),
                    }
                }
            }
            Command::End(connection) => {
                if let Some(first) = self.names.get(&connection) {
                    self.local_end(*first);
                }
            }
            Command::Taken(connection, bytes) => {
                let now = self.clock.now;
                if let Some(first) = self.names.get(&connection)
                    && let Some(pair) = self.pairs.get_mut(first)
                    && bytes > 0
                {
                    let taken = bytes.min(pair.backlog);
                    pair.backlog -= taken;
                    self.backlog -= taken;
                    pair.moved = now;
                }
            }
        }
        self.turn();
    }

    /// Everything whole that a broken piece holds is told before the error; then all connections
    /// are lost.
    fn receive(&mut self, piece: Piece) -> Result<(), ProtocolError> {
        if piece.kind != MessageKind::Binary {
            self.end_all();
            return Err(ProtocolError::UnexpectedMessageKind {
                expected: MessageKind::Binary.as_str(),
                actual: piece.kind.as_str(),
            });
        }
        let mut input = piece.data;
        if !input.is_empty() {
            self.clock.heard = self.clock.now;
        }
        while !self.over {
            let incoming = self.decoder.decode(&mut input);
            let heard = match incoming {
                Ok(Some(incoming)) => self.hear(incoming),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = heard {
                self.end_all();
                return Err(error.into());
            }
        }
        self.turn();
        Ok(())
    }

    fn poll_transmit(&mut self) -> Option<Outgoing> {
        if let Some(id) = self.echoes.pop_front() {
            let mut frame = BytesMut::new();
            spdy::put_ping(&mut frame, id);
            self.say(frame, 0);
        }
        self.outgoing.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn is_settled(&self) -> bool {
        self.over
    }

    /// The API server behind a tunnel that is lost says so only when it is spoken to.
    fn takes_leave(&self) -> bool {
        true
    }

    fn reads(&self) -> bool {
        Self::reads(self)
    }

    fn waits(&self) -> Option<bool> {
        Some(Self::waits(self))
    }

    fn at(&mut self, now: Duration) {
        Self::at(self, now);
    }

    fn deadline(&self) -> Option<Duration> {
        Self::deadline(self)
    }

    fn resumed(&mut self, now: Duration) {
        Self::resumed(self, now);
    }
}

impl Forwarding for Tunnel {
    fn has_room(&self) -> bool {
        Self::has_room(self)
    }

    fn gone(&mut self, _code: Option<u16>) {
        self.lost();
    }

    fn dropped(&self) -> u64 {
        Self::dropped(self)
    }
}

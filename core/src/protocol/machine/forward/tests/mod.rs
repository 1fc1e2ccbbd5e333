//! The tunnel, call by call: what comes in, what is told and said.

mod conversation;
mod limits;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::protocol::machine::Machine as _;
use crate::protocol::spdy::judge::{self, Said};
use crate::protocol::websocket::{MessageKind, Piece};

pub(super) const RULES: Rules = Rules {
    keepalive: Duration::from_secs(5),
    keepalive_timeout: Duration::from_secs(15),
    stall: Duration::from_secs(300),
    half_close: HalfClose::Auto,
};
const A: Connection = Connection(0);
const B: Connection = Connection(1);
/// Streams of the first two connections: error, data.
const A_ERROR: u32 = 1;
const A_DATA: u32 = 3;
const B_DATA: u32 = 7;

/// A tunnel and the judge at its other end.
pub(super) struct Talk {
    pub(super) tunnel: Tunnel,
    begun: bool,
}

impl Talk {
    pub(super) fn new(rules: Rules) -> Self {
        let tunnel = Tunnel::new(rules);
        Self {
            tunnel,
            begun: false,
        }
    }

    /// With so many connections that the server has answered.
    fn opened(count: u64) -> Self {
        Self::opened_by(RULES, count)
    }

    fn opened_by(rules: Rules, count: u64) -> Self {
        let mut talk = Self::new(rules);
        for number in 0..count {
            talk.open(Connection(number));
            let first = 1 + 4 * number as u32;
            talk.hear(&[judge::reply(first), judge::reply(first + 2)].concat());
        }
        talk.events();
        talk.said();
        talk
    }

    fn open(&mut self, connection: Connection) {
        let port = NonZeroU16::new(80).unwrap();
        self.tunnel.command(Command::Open(connection, port));
    }

    fn data(&mut self, connection: Connection, data: &'static [u8]) {
        let data = Bytes::from_static(data);
        self.tunnel.command(Command::Data(connection, data));
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.tunnel.receive(binary(bytes)).unwrap();
    }

    fn at(&mut self, seconds: f64) {
        self.tunnel.at(Duration::from_secs_f64(seconds));
    }

    /// Goes from deadline to deadline until then.
    fn pass_until(&mut self, seconds: f64) -> Vec<Said> {
        let until = Duration::from_secs_f64(seconds);
        let mut said = self.said();
        while let Some(next) = self.tunnel.deadline().filter(|next| *next <= until) {
            self.tunnel.at(next);
            said.extend(self.said());
        }
        self.tunnel.at(until);
        said.extend(self.said());
        said
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.tunnel.poll_event()).collect()
    }

    pub(super) fn said(&mut self) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(outgoing) = self.tunnel.poll_transmit() {
            assert_eq!(outgoing.kind, MessageKind::Binary);
            let bytes = [&[outgoing.head], &outgoing.data[..]].concat();
            all.extend(judge::read(&bytes, &mut self.begun));
        }
        all
    }
}

fn binary(bytes: &[u8]) -> Piece {
    Piece::whole(MessageKind::Binary, Bytes::copy_from_slice(bytes))
}

fn open(stream: u32, half: &str, request: &str) -> Said {
    let headers = [("port", "80"), ("requestid", request), ("streamtype", half)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Said::Open(stream, headers.into())
}

fn data(connection: Connection, data: &'static [u8]) -> Event {
    Event::Data(connection, Bytes::from_static(data))
}

fn fin(stream: u32) -> Said {
    Said::Data(stream, Vec::new(), true)
}

fn failed(text: &str) -> End {
    let text = text.to_owned();
    End::Failed { text }
}

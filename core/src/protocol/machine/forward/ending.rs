//! How connections in a tunnel end, and how the tunnel does.

use std::mem;

use bytes::BytesMut;

use super::limits::Due;
use super::pair::{Input, Side};
use super::tunnel::Tunnel;
use super::{Connection, End, Event, Over};
use crate::protocol::spdy::{self, code};

impl Tunnel {
    /// Ends a connection whose ending is known, or begins to wait for the rest of it.
    pub(super) fn settle(&mut self, first: u32) {
        let Some(pair) = self.pairs.get_mut(&first) else {
            return;
        };
        match pair.verdict(false) {
            Some(end) => self.end(first, end),
            None if pair.ends() && pair.settling.is_none() => {
                pair.settling = Some(self.clock.now);
                self.touch(first);
            }
            None => {}
        }
    }

    fn end(&mut self, first: u32, end: End) {
        if let Some(connection) = self.forget(first, end == End::Finished) {
            self.events.push_back(Event::Ended(connection, end));
        }
    }

    /// Closes what the server may still think open, and forgets the connection.
    pub(super) fn forget(&mut self, first: u32, finished: bool) -> Option<Connection> {
        let pair = self.pairs.remove(&first)?;
        self.names.remove(&pair.connection);
        self.busy -= usize::from(pair.input == Input::Open);
        self.backlog -= pair.backlog;
        let open = |side: Side, ours: bool| match side {
            Side::Open => true,
            Side::Ended => ours,
            Side::Reset(_) => false,
        };
        let streams = [
            (first + 2, open(pair.data, pair.input != Input::Passed)),
            (first, open(pair.error, !pair.error_answered)),
        ];
        for (stream, _) in streams.into_iter().filter(|(_, open)| *open) {
            if finished && stream != first {
                self.end_stream(stream);
            } else {
                let mut frame = BytesMut::new();
                spdy::put_reset(&mut frame, stream, code::CANCEL);
                self.say(frame, 0);
            }
        }
        Some(pair.connection)
    }

    /// Ends all connections with what is known of them.
    pub(super) fn end_all(&mut self) {
        self.over = true;
        self.names.clear();
        (self.busy, self.backlog) = (0, 0);
        for (_, pair) in mem::take(&mut self.pairs) {
            let fresh = !pair.touched;
            let end = pair.verdict(true).unwrap_or(End::Lost { fresh });
            self.events.push_back(Event::Ended(pair.connection, end));
        }
    }

    pub(super) fn give_up(&mut self, why: Over) {
        self.end_all();
        self.events.push_back(Event::Over(why));
    }

    pub(super) fn leave(&mut self) {
        if self.over {
            return;
        }
        let all: Vec<_> = self.pairs.keys().copied().collect();
        for first in all {
            self.forget(first, false);
        }
        let mut frame = BytesMut::new();
        spdy::put_go_away(&mut frame, code::OK);
        self.say(frame, 0);
        self.over = true;
    }

    pub(super) fn act(&mut self, due: Due) {
        match due {
            Due::Fin(first) => {
                if let Some(pair) = self.pairs.get_mut(&first) {
                    pair.input = Input::Passed;
                    self.end_stream(first + 2);
                }
            }
            Due::Full(first) => self.end(first, End::Stalled),
            Due::Ping => self.ask(),
            Due::Settle(first) => {
                let end = self.pairs.get(&first).and_then(|pair| pair.verdict(true));
                if let Some(end) = end {
                    self.end(first, end);
                }
            }
            Due::Silent => self.give_up(Over::Silent),
            Due::Stalled => self.give_up(Over::Stalled),
            Due::Unanswered(first) => self.end(first, End::Unanswered),
        }
    }
}

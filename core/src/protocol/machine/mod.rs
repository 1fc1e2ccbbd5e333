//! Conversations: what was said before decides what the next message means.
//!
//! A machine takes one thing in and is then emptied: no clock, no socket, no `async`. It is public
//! as the surface for tests, fuzzers and other transports, and not on the paved path.

pub mod forward;
pub mod log;
pub mod process;

use std::time::Duration;

use bytes::Bytes;

use super::error::ProtocolError;
use super::websocket::{MessageKind, Piece};

/// A conversation over whole messages, seen from the client.
pub trait Machine {
    /// What the caller wants said.
    type Command;
    /// What the caller is told.
    type Event;

    /// Takes a wish; it becomes messages.
    fn command(&mut self, command: Self::Command);

    /// Takes a piece of a message from the peer; it becomes events.
    ///
    /// # Errors
    /// What the peer did wrong; the conversation is over.
    fn receive(&mut self, piece: Piece) -> Result<(), ProtocolError>;

    /// Returns the next message to send.
    fn poll_transmit(&mut self) -> Option<Outgoing>;

    /// Returns the next thing to tell the caller.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// Tells whether the peer has said how the conversation ended.
    fn is_settled(&self) -> bool;

    /// Tells whether it is up to us to say goodbye once the conversation is settled.
    fn takes_leave(&self) -> bool {
        false
    }

    /// Tells whether to read on. While it says no, no clock runs against the peer.
    fn reads(&self) -> bool {
        true
    }

    /// Tells whether what was sent may lie unread, where the conversation has pings of its own.
    fn waits(&self) -> Option<bool> {
        None
    }

    /// Tells how late it is: since the conversation began, never going back.
    fn at(&mut self, now: Duration) {
        let _ = now;
    }

    /// Returns when [`at`](Self::at) has to be called next if nothing else happens before.
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Tells that this process was stopped, or the machine asleep: the peer could not be heard.
    fn resumed(&mut self, now: Duration) {
        let _ = now;
    }
}

/// A message to be sent in one frame: `head`, then `data`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Outgoing {
    /// Kind of the message.
    pub kind: MessageKind,
    /// The channel, as a byte or a digit.
    pub head: u8,
    /// The rest.
    pub data: Bytes,
    /// How many bytes of the caller's are in it; 0 for control messages.
    pub carried: usize,
}

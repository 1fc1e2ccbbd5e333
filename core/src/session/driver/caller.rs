//! The other side of a driver: whoever is told what the peer said, and says what is sent.
//!
//! Lives here: the trait, and the three queues of a caller that has one conversation. Never here:
//! many connections in one conversation (`session::forward`).

use std::task::{Context, Poll};

use crate::protocol::machine::Machine;
use crate::session::queue::{Receiver, Sender, Weigh};

/// Whoever is at the other side.
pub(crate) trait Caller<M: Machine> {
    /// Waits until there is room for what the peer says. Ready with `false` when nobody will take it.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool>;

    /// Takes an event, whatever the room, or gives it back when nobody will take it.
    fn add(&mut self, event: M::Event) -> Result<(), M::Event>;

    /// Wakes whoever waits for what was added, and for what was sent.
    fn announce(&mut self, machine: &M);

    /// Returns what bypasses data. Without `room`, little enough waits to be written only for what
    /// causes no output.
    fn poll_urgent(&mut self, cx: &mut Context<'_>, room: bool) -> Poll<Option<M::Command>>;

    /// Returns what is to be sent, in order; ready with nothing at the end.
    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Option<M::Command>>;

    /// Nothing more is sent; whoever would learns it.
    fn refuse(&mut self);
}

/// The queues of a caller that has the conversation for itself.
#[derive(Debug)]
pub(crate) struct Queues<E, C> {
    /// driver --what the peer said--> caller
    pub(crate) events: Sender<E>,
    /// caller --data, in order--> driver
    pub(crate) commands: Option<Receiver<C>>,
    /// caller --what bypasses data; the latest counts--> driver
    pub(crate) urgent: Receiver<C>,
}

impl<M> Caller<M> for Queues<M::Event, M::Command>
where
    M: Machine,
    M::Event: Weigh,
    M::Command: Weigh,
{
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.events.poll_room(cx)
    }

    fn add(&mut self, event: M::Event) -> Result<(), M::Event> {
        self.events.add(event)
    }

    fn announce(&mut self, _machine: &M) {
        self.events.announce();
    }

    fn poll_urgent(&mut self, cx: &mut Context<'_>, room: bool) -> Poll<Option<M::Command>> {
        match room {
            true => self.urgent.poll_next(cx),
            false => Poll::Pending,
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Option<M::Command>> {
        match &self.commands {
            Some(commands) => commands.poll_next(cx),
            None => Poll::Ready(None),
        }
    }

    fn refuse(&mut self) {
        self.commands = None;
    }
}

//! The conversation of port-forward: many connections in a tunnel, or one a port on `v4` channels.
//!
//! Lives here: streams, channels and what their ends mean. Never here: sockets, clocks (the time is
//! an argument), which pod, opening anew.
//!
//! A connection has one ending and it is said once, in [`Event::Ended`]. Only [`End::Finished`] is
//! the pod's own end; after every other one the local side is to be reset, so that cut data never
//! looks whole.

mod channels;
mod ending;
mod limits;
mod pair;
mod tunnel;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;

use super::Machine;

pub use channels::Channels;
pub use tunnel::{BACKLOG, SHARED_BACKLOG, SHARED_BY, Tunnel};

/// A connection, by the name its opener gave it; one at a time has it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Connection(pub u64);

/// What the caller wants said.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// The local side is gone: nothing more is told of this connection.
    Abort(Connection),
    /// Bytes for the pod. Before [`Event::Opened`] they are kept, and not carried.
    Data(Connection, Bytes),
    /// The local side sends no more; what the pod sends still comes.
    End(Connection),
    /// Goodbye: all connections are aborted.
    Leave,
    /// A new connection to a port of the pod. A name that is in use is ignored.
    Open(Connection, NonZeroU16),
    /// So many bytes of [`Event::Data`] have found their way.
    Taken(Connection, usize),
}

/// What the caller is told.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Bytes from the pod, in order; never empty.
    Data(Connection, Bytes),
    /// The connection is over; nothing follows.
    Ended(Connection, End),
    /// The server has taken it. A refused port shows only afterwards.
    Opened(Connection),
    /// The tunnel is of no more use; all connections have ended before.
    Over(Over),
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// The server says why. Foreign text: escape it before a person sees it.
    Failed {
        /// At most 4 KiB of it.
        text: String,
    },
    /// The pod ended it, and everything it sent was told.
    Finished,
    /// The tunnel was lost under it.
    Lost {
        /// Whether not a byte was carried, either way: then it may be opened anew elsewhere.
        fresh: bool,
    },
    /// The server reset it, saying nothing.
    Reset {
        /// What the server gave as its reason.
        status: u32,
    },
    /// Its data was not taken for longer than the stall limit, while others waited behind it.
    Stalled,
    /// The server did not answer within 30 s.
    Unanswered,
}

/// What both forms of the conversation can tell beside events.
pub trait Forwarding: Machine<Command = Command, Event = Event> {
    /// Tells whether a new connection fares well here.
    fn has_room(&self) -> bool;

    /// Tells that the WebSocket is gone, with the code of its Close frame where there was one.
    fn gone(&mut self, code: Option<u16>);

    /// Returns how many bytes came for connections that were over.
    fn dropped(&self) -> u64;
}

/// Why a tunnel is of no more use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Over {
    /// The server said goodbye.
    GoneAway {
        /// 0: nothing is wrong.
        status: u32,
    },
    /// Not a byte, in spite of pings, for longer than the dead-peer limit.
    Silent,
    /// What was sent was not read for longer than the stall limit.
    Stalled,
}

/// When the end of the local side's input goes to the pod.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum HalfClose {
    /// Once the pod has been quiet for 1 s: runtimes close a connection 1 s after such an end, and
    /// cut what the pod had still to say.
    #[default]
    Auto,
    /// When the pod has ended.
    Hold,
    /// At once.
    Pass,
}

/// The limits of a tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// A peer that is quiet for so long is pinged; at most 10 s, and at most a third of the next one.
    pub keepalive: Duration,
    /// A peer that is silent for so long is dead.
    pub keepalive_timeout: Duration,
    /// Data may lie so long, unread by the pod or by the local side.
    pub stall: Duration,
    /// What becomes of the local side's end.
    pub half_close: HalfClose,
}

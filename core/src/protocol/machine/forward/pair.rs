//! One connection in a tunnel: an error stream and a data stream.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::{Connection, End};
use crate::protocol::spdy::Half;

/// What the server has said of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Open,
    Ended,
    Reset(u32),
}

/// How far the local side's input has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Input {
    Open,
    /// The local side has ended; the pod does not know yet.
    Ended,
    Passed,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) connection: Connection,
    /// Since when it waits to be answered.
    pub(super) asked: Duration,
    pub(super) opened: bool,
    pub(super) error_answered: bool,
    pub(super) data_answered: bool,
    pub(super) error: Side,
    pub(super) data: Side,
    /// What came on the error stream.
    text: Vec<u8>,
    /// Since when one stream is over, or a text is there, and the rest has to follow soon.
    pub(super) settling: Option<Duration>,
    /// What the caller gave before the server answered.
    pub(super) early: VecDeque<Bytes>,
    pub(super) input: Input,
    /// How much the tunnel had sent when this one sent last.
    pub(super) mark: u64,
    /// Since when the pod has had all that was sent and has said nothing.
    pub(super) quiet: Duration,
    /// Whether a byte was carried, either way.
    pub(super) touched: bool,
    /// Bytes told and not taken.
    pub(super) backlog: usize,
    /// When some of it was taken last, or it began.
    pub(super) moved: Duration,
}

/// The most that is kept of an error text.
const TEXT_LIMIT: usize = 4096;

impl Pair {
    pub(super) const fn new(connection: Connection, now: Duration) -> Self {
        Self {
            connection,
            asked: now,
            opened: false,
            error_answered: false,
            data_answered: false,
            error: Side::Open,
            data: Side::Open,
            text: Vec::new(),
            settling: None,
            early: VecDeque::new(),
            input: Input::Open,
            mark: 0,
            quiet: now,
            touched: false,
            backlog: 0,
            moved: now,
        }
    }

    pub(super) const fn side(&mut self, half: Half) -> &mut Side {
        match half {
            Half::Data => &mut self.data,
            Half::Error => &mut self.error,
        }
    }

    /// Marks a half as answered; returns whether it was before.
    pub(super) fn answer(&mut self, half: Half) -> bool {
        let answered = match half {
            Half::Data => &mut self.data_answered,
            Half::Error => &mut self.error_answered,
        };
        std::mem::replace(answered, true)
    }

    pub(super) fn complain(&mut self, text: &[u8]) {
        let room = TEXT_LIMIT - self.text.len();
        self.text.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// All clocks of this connection begin anew.
    pub(super) fn restart(&mut self, now: Duration) {
        self.asked = now;
        self.quiet = now;
        if self.settling.is_some() {
            self.settling = Some(now);
        }
    }

    /// Whether the rest of an ending has begun to be waited for.
    pub(super) fn ends(&self) -> bool {
        let reset = matches!(self.error, Side::Reset(_));
        !self.text.is_empty() || self.data != Side::Open || reset
    }

    /// Whether nothing is missing for a good end but the server's word, for which a busy one may need
    /// long.
    pub(super) fn seems_good(&self) -> bool {
        self.text.is_empty() && (self.data, self.error) == (Side::Ended, Side::Open)
    }

    /// The ending, once it is known, or after the rest was `waited` for in vain.
    ///
    /// Servers write a text before they reset, and end both streams of a good connection in either
    /// order.
    pub(super) fn verdict(&self, waited: bool) -> Option<End> {
        let over = |side: Side| waited || side != Side::Open;
        if !self.text.is_empty() {
            let text = String::from_utf8_lossy(&self.text).into_owned();
            return over(self.error).then_some(End::Failed { text });
        }
        match (self.data, self.error) {
            (Side::Reset(status), _) | (_, Side::Reset(status)) if !self.opened => {
                Some(End::Reset { status })
            }
            (Side::Reset(status), error) => over(error).then_some(End::Reset { status }),
            (data, Side::Reset(status)) => over(data).then_some(End::Reset { status }),
            (Side::Ended, Side::Ended) => Some(End::Finished),
            // A pod's reset ends its data, too, and is told on the other stream only afterwards.
            (Side::Ended, _) => waited.then_some(End::Lost {
                fresh: !self.touched,
            }),
            (Side::Open, _) => None,
        }
    }
}

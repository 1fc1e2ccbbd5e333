//! What is arranged for the log of one container, whichever run of it: cuts, a clock, a writer.
//!
//! Lives here: the arrangements, and who follows. Never here: the doing of a cut (`reply`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::file::{Instance, Record};
use super::stamp::{self, Nanoseconds};

/// A way to end a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    /// A closing frame with this code and reason; over HTTP the last chunk, then the end of TCP.
    Close(u16, String),
    /// As Kubernetes ends a log: the last chunk, or a closing frame 1000.
    Eof,
    /// TCP ends without a word.
    Fin,
    /// TCP is reset.
    Rst,
    /// Nobody sends or reads any more, and TCP stays.
    Stall,
}

/// What becomes of a request for a WebSocket on its way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Upgrades {
    #[default]
    Pass,
    /// An intermediary answers 403 with a page.
    Refused,
    /// An intermediary takes the upgrade out, so that plain HTTP comes back.
    Stripped,
}

/// The arrangements of one container.
pub(crate) struct Site {
    state: Mutex<State>,
    /// control --how--> every reply that follows
    cut_tx: broadcast::Sender<Cut>,
    /// replies --how many follow--> the control that waits for them
    follows_tx: watch::Sender<usize>,
    /// replies --how many have followed and do no more--> the control that cuts them
    gone_tx: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    next_cuts: VecDeque<(u64, Cut)>,
    upgrades: Upgrades,
    clock: Nanoseconds,
    rotate_at: Option<usize>,
    /// Lines a second while somebody follows, and the number of the next.
    rate: u64,
    next_line: u64,
    /// The run that is written to.
    written: Option<Arc<Instance>>,
}

/// One reply that follows.
pub(crate) struct Follow {
    site: Arc<Site>,
    pub(crate) cut_rx: broadcast::Receiver<Cut>,
}

impl Cut {
    /// Reads `fin`, `rst`, `stall`, `eof-polite` or `close CODE [REASON]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(' ').unwrap_or((text, "")) {
            ("fin", "") => Self::Fin,
            ("rst", "") => Self::Rst,
            ("stall", "") => Self::Stall,
            ("eof-polite", "") => Self::Eof,
            ("close", rest) => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Close(code.parse().ok()?, reason.to_owned())
            }
            _ => return None,
        })
    }
}

impl Site {
    /// Without arrangements, but for a writer of `rate` lines a second.
    pub(crate) fn new(rate: u64) -> Self {
        let state = State {
            rate,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            cut_tx: broadcast::Sender::new(16),
            follows_tx: watch::Sender::new(0),
            gone_tx: watch::Sender::new(0),
        }
    }

    /// The node's clock.
    pub(crate) fn now(&self) -> Nanoseconds {
        stamp::now() + self.state().clock
    }

    /// Sets how far the node's clock is from ours.
    pub(crate) fn set_clock(&self, offset: Nanoseconds) {
        self.state().clock = offset;
    }

    pub(crate) fn set_upgrades(&self, upgrades: Upgrades) {
        self.state().upgrades = upgrades;
    }

    pub(crate) fn upgrades(&self) -> Upgrades {
        self.state().upgrades
    }

    /// Sets the size from which a file is rotated; `None`: never by itself.
    pub(crate) fn set_rotate_at(&self, size: Option<usize>) {
        self.state().rotate_at = size;
    }

    pub(crate) fn set_rate(&self, rate: u64) {
        self.state().rate = rate;
    }

    /// Cuts every reply that follows, waits until it is done, and tells how many.
    pub(crate) async fn cut(&self, how: Cut) -> usize {
        let mut gone = self.gone_tx.subscribe();
        let before = *gone.borrow();
        // Without anybody there is nothing to cut.
        let count = self.cut_tx.send(how).unwrap_or(0);
        // The sender lives in `self`.
        let _ = gone.wait_for(|now| *now >= before + count).await;
        count
    }

    /// Cuts the next reply that nothing is arranged for yet, after so many bytes of the log.
    pub(crate) fn cut_next(&self, after: u64, how: Cut) {
        self.state().next_cuts.push_back((after, how));
    }

    /// The cut of a reply that begins now.
    pub(crate) fn take_cut(&self) -> Option<(u64, Cut)> {
        self.state().next_cuts.pop_front()
    }

    /// How many follow, now and after every change.
    pub(crate) fn follows(&self) -> watch::Receiver<usize> {
        self.follows_tx.subscribe()
    }

    /// Writes records, and rotates where it is time.
    pub(crate) fn write(&self, instance: &Instance, records: &[Record<'_>]) {
        instance.write(records);
        let limit = self.state().rotate_at;
        if limit.is_some_and(|limit| instance.look().1.bytes().len() >= limit) {
            instance.rotate();
        }
    }

    /// Somebody follows this run from now on.
    pub(crate) fn follow(self: &Arc<Self>, instance: &Arc<Instance>) -> Follow {
        self.follows_tx.send_modify(|count| *count += 1);
        let mut state = self.state();
        let known = state.written.as_ref();
        let new = !known.is_some_and(|written| Arc::ptr_eq(written, instance));
        if state.rate > 0 && new {
            state.written = Some(instance.clone());
            super::super::task::spawn(self.clone().write_lines(instance.clone()));
        }
        drop(state);
        Follow {
            site: self.clone(),
            cut_rx: self.cut_tx.subscribe(),
        }
    }

    async fn write_lines(self: Arc<Self>, instance: Arc<Instance>) {
        let mut beat = tokio::time::interval(BEAT);
        let mut owed = 0;
        loop {
            beat.tick().await;
            let (from, count) = {
                let mut state = self.state();
                let over = *self.follows_tx.borrow() == 0 || !instance.look().0;
                let mine = state.written.as_ref();
                let mine = mine.is_some_and(|written| Arc::ptr_eq(written, &instance));
                if over || !mine {
                    if mine {
                        state.written = None;
                    }
                    return;
                }
                owed += state.rate;
                let from = state.next_line;
                state.next_line += owed / BEATS;
                (from, owed / BEATS)
            };
            owed %= BEATS;
            let lines: Vec<String> = (from..from + count).map(|n| format!("{n:>99}")).collect();
            let now = self.now();
            let records = lines.iter().zip(0..).map(|(line, nth)| Record {
                time: now + nth,
                stream: "stdout",
                tag: "F",
                content: line.as_bytes(),
            });
            if count > 0 {
                self.write(&instance, &records.collect::<Vec<_>>());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.site.follows_tx.send_modify(|count| *count -= 1);
        self.site.gone_tx.send_modify(|count| *count += 1);
    }
}

/// How often a writer writes, and how often that is in a second.
const BEAT: Duration = Duration::from_millis(10);
const BEATS: u64 = 100;

//! Signals that end us, resize the terminal, or stop us for a while.
//!
//! Lives here: the thread that hears them, so that they count even while the rest is blocked.
//! Never here: what a session does about them.

use std::fs;
use std::future::pending;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator;
use signal_hook::low_level::{emulate_default_handler, signal_name};
use tokio::sync::{Notify, mpsc, watch};

use crate::terminal;

/// A signal that ends this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Signal(i32);

impl Signal {
    /// Returns its name, such as `SIGTERM`.
    pub(crate) fn name(self) -> &'static str {
        signal_name(self.0).unwrap_or("a signal")
    }

    /// Returns what a shell shows for a process that died by it.
    pub(crate) fn code(self) -> u8 {
        u8::try_from(self.0).map_or(u8::MAX, |number| number.saturating_add(128))
    }

    /// Tells whether it may come from keys of a terminal, which sends it to a whole group of processes.
    pub(crate) fn is_typed(self) -> bool {
        matches!(self.0, SIGINT | SIGQUIT)
    }

    /// Tells whether it is SIGINT.
    pub(crate) fn is_interrupt(self) -> bool {
        self.0 == SIGINT
    }

    /// Ends this process by the signal itself, so that whoever started us sees it.
    pub(crate) fn die(self) {
        terminal::restore();
        // It returns only for signals that end nobody, and ours all do.
        let _ = emulate_default_handler(self.0);
    }
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal.0 {
            SIGHUP => Self::HUP,
            SIGINT => Self::INT,
            SIGQUIT => Self::QUIT,
            _ => Self::TERM,
        }
    }
}

/// The signals of this process. The first that ends us is handed over; it has [`LIMIT`] to have its
/// effect. The second ends us at once. Both find the terminal restored.
#[derive(Debug)]
pub(crate) struct Signals {
    first: watch::Receiver<Option<Signal>>,
    resized: Arc<Notify>,
    passed: Passed,
    handle: iterator::Handle,
}

/// Where signals go instead, once they are somebody else's.
type Passed = Arc<OnceLock<mpsc::Sender<Signal>>>;

/// How many signals may wait to be passed on; more of them say nothing new.
const WAITING: usize = 16;

/// How long the first signal may take to end us.
const LIMIT: Duration = Duration::from_secs(1);

impl Signals {
    /// Starts to hear SIGHUP, SIGINT, SIGQUIT and SIGTERM, except those that were ignored when we
    /// started (`nohup`, background jobs of scripts).
    ///
    /// # Errors
    /// When the system refuses a handler or a thread.
    pub(crate) fn hear() -> io::Result<Self> {
        let ignored = ignored();
        let heard = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
        let heard = heard
            .into_iter()
            .filter(|signal| ignored & (1 << (signal - 1)) == 0);
        let signals = iterator::Signals::new(heard)?;
        let handle = signals.handle();
        let (first_tx, first) = watch::channel(None);
        let resized = Arc::new(Notify::new());
        let notify = Arc::clone(&resized);
        let passed = Passed::default();
        let pass = Arc::clone(&passed);
        // It waits for signals until the process ends, and ends with it.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || listen(signals, &first_tx, &notify, &pass))?;
        Ok(Self {
            first,
            resized,
            passed,
            handle,
        })
    }

    /// Hears SIGWINCH, SIGTSTP and SIGCONT too: what a session with a terminal needs.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(crate) fn hear_terminal(&self) -> io::Result<()> {
        let ignored = ignored();
        for signal in [SIGWINCH, SIGTSTP, SIGCONT] {
            if ignored & (1 << (signal - 1)) == 0 {
                self.handle.add_signal(signal)?;
            }
        }
        Ok(())
    }

    /// Waits for a signal that ends us.
    ///
    /// # Cancel safety
    /// Safe: the signal stays.
    pub(crate) async fn ended(&self) -> Signal {
        let mut first = self.first.clone();
        let signal = first
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|signal| *signal);
        match signal {
            Some(signal) => signal,
            None => pending().await,
        }
    }

    /// From now on no signal ends us: all of them are handed over, however many come. They are the
    /// affair of a command that we wait for. Nothing is returned when a signal has come already.
    pub(crate) fn pass_on(&self) -> Option<mpsc::Receiver<Signal>> {
        let (passed_tx, passed) = mpsc::channel(WAITING);
        let is_first = self.passed.set(passed_tx).is_ok();
        (is_first && self.first.borrow().is_none()).then_some(passed)
    }

    /// Returns what is notified when the terminal may have a new size.
    pub(crate) fn resized(&self) -> &Notify {
        &self.resized
    }
}

fn listen(
    mut signals: iterator::Signals,
    first: &watch::Sender<Option<Signal>>,
    resized: &Notify,
    passed: &OnceLock<mpsc::Sender<Signal>>,
) {
    for signal in &mut signals {
        match signal {
            SIGWINCH => resized.notify_one(),
            SIGTSTP => {
                terminal::suspend();
                // Returns when somebody lets us go on.
                let _ = emulate_default_handler(signal);
            }
            SIGCONT => {
                terminal::resume();
                resized.notify_one();
            }
            _ => {
                let signal = Signal(signal);
                if let Some(passed) = passed.get() {
                    let _ = passed.try_send(signal);
                    continue;
                }
                if first.borrow().is_some() {
                    signal.die();
                }
                terminal::restore();
                first.send_replace(Some(signal));
                // Where no thread can be had, the second signal has to do.
                let _ = thread::Builder::new().spawn(move || die_late(signal));
            }
        }
    }
}

/// Ends us by the signal when the orderly way takes too long: a blocked disk, an unread pipe.
fn die_late(signal: Signal) {
    let start = Instant::now();
    while let Some(left) = LIMIT
        .checked_sub(start.elapsed())
        .filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
    signal.die();
}

/// Returns the signals that are ignored, as a set of bits; none where the system does not tell.
fn ignored() -> u64 {
    fs::read_to_string("/proc/self/status").map_or(0, |status| parse_ignored(&status))
}

fn parse_ignored(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_those_of_a_shell() {
        for (signal, code, name) in [
            (SIGHUP, 129, "SIGHUP"),
            (SIGINT, 130, "SIGINT"),
            (SIGTERM, 143, "SIGTERM"),
        ] {
            assert_eq!((Signal(signal).code(), Signal(signal).name()), (code, name));
        }
    }

    #[test]
    fn ignored_signals_are_read_from_the_status_of_the_process() {
        assert_eq!(
            parse_ignored("Name:\tx\nSigBlk:\t01\nSigIgn:\t0000000000001001\n"),
            0x1001
        );
        assert_eq!(parse_ignored("Name:\tx\n"), 0);
    }
}

//! The terminal on standard input: raw mode and size.
//!
//! Lives here: the only code that changes a terminal. Never here: signals, what is typed or shown.

use std::convert::Infallible;
use std::io;
use std::panic;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::process::getpgrp;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};
use tokio::sync::Notify;
use wsx_core::Size;

/// A terminal in raw mode: every key is data. Dropping it restores what was before; so do a panic
/// and every signal that ends us.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Turns standard input raw.
    ///
    /// # Errors
    /// When standard input is no terminal, or does not obey.
    pub(crate) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        HOOK.call_once(|| {
            let hook = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                restore();
                hook(panic);
            }));
        });
        let mut modes = modes();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        *modes = Some(Modes { before, raw });
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Tells whether keys that send signals (Ctrl-C) send them to us and what we started.
pub(crate) fn is_in_foreground() -> bool {
    [tcgetpgrp(stdin()), tcgetpgrp(stderr()), tcgetpgrp(stdout())]
        .into_iter()
        .any(|terminal| terminal.is_ok_and(|group| group == getpgrp()))
}

/// Ends raw mode, where there is one. May be called from any thread, any number of times.
pub(crate) fn restore() {
    if let Some(modes) = modes().take() {
        apply(&modes.before);
    }
}

/// Leaves raw mode until [`resume`], because this process is about to be stopped.
pub(crate) fn suspend() {
    if let Some(modes) = &*modes() {
        apply(&modes.before);
    }
}

/// Returns to raw mode after a stop.
pub(crate) fn resume() {
    if let Some(modes) = &*modes() {
        apply(&modes.raw);
    }
}

/// Tells whether a descriptor is a terminal.
pub(crate) fn is_terminal(descriptor: impl AsFd) -> bool {
    isatty(descriptor)
}

/// Returns the size of the terminal that input comes from, or output goes to.
pub(crate) fn size() -> Option<Size> {
    [stdin(), stdout(), stderr()]
        .into_iter()
        .filter_map(|descriptor| tcgetwinsize(descriptor).ok())
        .find(|size| size.ws_col > 0 && size.ws_row > 0)
        .map(|size| Size::new(size.ws_col, size.ws_row))
}

/// Says every new size, at most twenty times a second; the last one is always said.
pub(crate) async fn follow(resized: &Notify, say: impl Fn(Size)) -> Infallible {
    coalesce(resized, || size().into_iter().for_each(&say)).await
}

/// Acts on notifications with a pause after each. One that comes during the pause is kept.
async fn coalesce(resized: &Notify, act: impl Fn()) -> Infallible {
    loop {
        resized.notified().await;
        act();
        tokio::time::sleep(RESIZE_PAUSE).await;
    }
}

const RESIZE_PAUSE: Duration = Duration::from_millis(50);

/// What the terminal was, and what we made of it.
struct Modes {
    before: Termios,
    raw: Termios,
}

static MODES: Mutex<Option<Modes>> = Mutex::new(None);

fn modes() -> MutexGuard<'static, Option<Modes>> {
    // No code panics while it holds the lock.
    MODES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn apply(modes: &Termios) {
    // A background process that changes its terminal is stopped (SIGTTOU), and would hang.
    if tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp()) {
        // Nothing helps when the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::{Command, Stdio};

    use rustix::termios::LocalModes;

    use super::*;

    /// Its driver is [`a_panic_restores_the_terminal`]; without a terminal it shows nothing.
    #[test]
    #[ignore = "another test makes a terminal for it"]
    #[should_panic(expected = "raw mode")]
    fn panic_in_raw_mode() {
        // Only the hook can restore it: a guard that is forgotten is never dropped, as in a build
        // that aborts.
        std::mem::forget(RawMode::enter());
        let modes = tcgetattr(stdin()).map(|modes| modes.local_modes);
        panic!(
            "raw mode: {:?}",
            modes.map(|modes| !modes.contains(LocalModes::ICANON))
        );
    }

    #[test]
    fn a_panic_restores_the_terminal() {
        let program = std::env::current_exe().unwrap();
        let line = format!(
            "{} --ignored --nocapture --exact terminal::tests::panic_in_raw_mode; stty -a",
            program.display()
        );
        let run = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&run.stdout);
        for part in ["raw mode: Ok(true)", "1 passed", " icanon ", " echo "] {
            assert!(text.contains(part), "no {part:?} in {text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_changes_is_told_at_most_twenty_times_a_second() {
        let (resized, told) = (Notify::new(), Cell::new(0));
        let storm = async {
            for _ in 0..1000 {
                resized.notify_one();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = storm => {}
            never = coalesce(&resized, || told.set(told.get() + 1)) => match never {},
        }
        assert!((19..=21).contains(&told.get()), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_change_is_always_told() {
        let (resized, told) = (Notify::new(), Cell::new(0));
        let two = async {
            resized.notify_one();
            tokio::task::yield_now().await;
            resized.notify_one();
            tokio::time::sleep(RESIZE_PAUSE * 2).await;
        };
        tokio::select! {
            () = two => {}
            never = coalesce(&resized, || told.set(told.get() + 1)) => match never {},
        }
        assert_eq!(told.get(), 2);
    }
}

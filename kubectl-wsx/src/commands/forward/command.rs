//! `-- COMMAND`: a local command that lives as long as it likes, and finds the ports in its environment.
//!
//! Lives here: starting it, passing signals on, its code. Never here: what ports there are.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wsx_core::{Error, ErrorKind};

use crate::ending::plain;
use crate::output;
use crate::signals::Signal;
use crate::terminal;

/// The command, running.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Signals of ours, which are its affair now.
    signals: mpsc::Receiver<Signal>,
}

/// How long a command may take to end once its ports are gone.
const GRACE: Duration = Duration::from_secs(5);

impl Running {
    /// Starts the command with our standard input, output and error.
    ///
    /// # Errors
    /// `NotStarted` when there is no such program, or it may not be run.
    pub(super) fn start(
        command: &[OsString],
        variables: impl IntoIterator<Item = (String, String)>,
        signals: mpsc::Receiver<Signal>,
    ) -> Result<Self, Error> {
        let [program, arguments @ ..] = command else {
            return Err(Error::new(ErrorKind::Internal, "there is no command"));
        };
        let child = Command::new(program)
            .args(arguments)
            .envs(variables)
            .spawn()
            .map_err(|error| {
                let program = program.to_string_lossy();
                let text = format!("cannot run {program}: {}", plain(&error));
                Error::new(ErrorKind::NotStarted, text)
            })?;
        Ok(Self { child, signals })
    }

    /// Waits for its end and passes signals on, but those that a terminal has sent to it as well.
    /// Returns its exit code, or what a shell shows for the signal that ended it.
    ///
    /// # Cancel safety
    /// Safe: the command runs on.
    pub(super) async fn ended(&mut self) -> Result<u8, Error> {
        loop {
            tokio::select! {
                status = self.child.wait() => return status.map(code).map_err(|error| {
                    let text = format!("cannot wait for the command: {}", plain(&error));
                    Error::new(ErrorKind::LocalIo, text)
                }),
                Some(signal) = self.signals.recv() => {
                    if !(signal.is_typed() && terminal::is_in_foreground()) {
                        self.send(signal.into());
                    }
                }
            }
        }
    }

    /// Sends SIGTERM, and waits for the end, but not for ever.
    pub(super) async fn end(&mut self) {
        self.send(rustix::process::Signal::TERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            let pid = self.child.id().unwrap_or_default();
            output::say(&format!(
                "Warning: the command (pid {pid}) still runs {}s after SIGTERM",
                GRACE.as_secs()
            ));
        }
    }

    fn send(&self, signal: rustix::process::Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // One that has ended by itself gets none.
            let _ = kill_process(pid, signal);
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let number = status
        .code()
        .or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    number
        .and_then(|number| u8::try_from(number).ok())
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_a_shell() {
        for (raw, shown) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (15, 143), (9, 137)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), shown, "{raw}");
        }
    }
}

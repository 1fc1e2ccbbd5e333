//! Exit codes: the only place that chooses them.
//!
//! Lives here: the table, and how the process is left. Never here: what happened, and its words.

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind as Clap;
use wsx_core::{Error, ErrorKind};

use crate::cli::Refused;
use crate::ending::{Ending, Hint, Moved, failure_words, plain};
use crate::environment::ExitCodes;
use crate::output::{self, Output};
use crate::signals::Signal;

/// The codes of our own endings. A remote command's own code is passed on as it is.
mod code {
    pub(super) const SUCCESS: u8 = 0;
    /// The command line cannot be.
    pub(super) const USAGE: u8 = 2;
    /// Lines of a log are missing.
    pub(super) const GAPS: u8 = 65;
    /// This machine's data: output that was not written, input that cannot be read.
    pub(super) const LOCAL_IO: u8 = 74;
    /// The caller's own time limit.
    pub(super) const TIMEOUT: u8 = 124;
    /// The remote command certainly did not start.
    pub(super) const NOT_STARTED: u8 = 125;
    /// What a shell shows for a process that died of SIGPIPE.
    pub(super) const PIPE_CLOSED: u8 = 141;
    /// The outcome is not known.
    pub(super) const UNKNOWN: u8 = 255;
    /// What kubectl says instead of ours.
    pub(super) const KUBECTL: u8 = 1;
}

/// How to leave the process.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exit {
    code: u8,
    signal: Option<Signal>,
}

impl Exit {
    /// Returns the code for the end of `main`, or dies by the signal that ended us.
    pub(crate) fn leave(self) -> ExitCode {
        if let Some(signal) = self.signal {
            signal.die();
        }
        ExitCode::from(self.code)
    }
}

impl Ending {
    /// Returns the exit code of the process.
    ///
    /// Output that was lost turns a remote 0 into a failure; any other remote code is one already.
    pub(crate) fn code(&self, codes: ExitCodes) -> u8 {
        if let Some(remote) = self.status().map(|status| status.code)
            && (remote != code::SUCCESS || matches!(self, Self::Exited(_)))
        {
            return remote;
        }
        let own = match self {
            Self::Passed(code) => return *code,
            Self::Detached | Self::Exited(_) | Self::Succeeded => code::SUCCESS,
            Self::Failed(error) => failure_code(error.kind()),
            Self::Gaps(_) => code::GAPS,
            Self::Interrupted(signal) | Self::Left(signal) => signal.code(),
            Self::Lost(_) => code::UNKNOWN,
            Self::PipeClosed => code::PIPE_CLOSED,
            Self::Unwritten { .. } => code::LOCAL_IO,
            Self::Usage { .. } => code::USAGE,
        };
        let folded = [code::USAGE, code::TIMEOUT, code::NOT_STARTED, code::UNKNOWN];
        if codes == ExitCodes::Kubectl && folded.contains(&own) {
            code::KUBECTL
        } else {
            own
        }
    }

    /// Returns the class for the status file.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Exited(_) | Self::Passed(_) | Self::Succeeded => "exited",
            Self::Failed(error) => match failure_code(error.kind()) {
                code::LOCAL_IO => "local_io",
                code::TIMEOUT => "timeout",
                code::NOT_STARTED => "not_started",
                _ => "lost",
            },
            Self::Gaps(_) | Self::Lost(_) => "lost",
            Self::Interrupted(_) | Self::Left(_) => "interrupted",
            Self::PipeClosed | Self::Unwritten { .. } => "local_io",
            Self::Usage { .. } => "not_started",
        }
    }

    /// Returns this ending, or the error where this would have been a success.
    pub(crate) fn despite(self, error: Error) -> Self {
        if self.code(ExitCodes::Wsx) == code::SUCCESS {
            return Self::Failed(error);
        }
        output::say(&failure_words(&error, None));
        self
    }

    /// Says what is to be said, and returns how to leave.
    pub(crate) fn announce(self, moved: Option<&Moved>, codes: ExitCodes) -> Exit {
        if let Some(words) = self.words(moved) {
            output::say(&words);
        }
        let signal = match self {
            Self::Interrupted(signal) | Self::Left(signal) => Some(signal),
            _ => None,
        };
        Exit {
            code: self.code(codes),
            signal,
        }
    }
}

/// Returns how to leave after a command line that clap refused, or answered itself.
pub(crate) fn from_clap(refused: &Refused, codes: ExitCodes) -> Exit {
    let text = refused.error.to_string();
    let ending = match refused.error.kind() {
        Clap::DisplayHelp | Clap::DisplayVersion => printed(Output::Talkative.print(&text)),
        Clap::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::say(text.trim_end());
            return Exit {
                code: Ending::usage("", Hint::None).code(codes),
                signal: None,
            };
        }
        _ => Ending::usage(mistake(&text), Hint::Flags(refused.command)),
    };
    ending.announce(None, codes)
}

/// Returns the ending of something that only prints.
pub(crate) fn printed(result: io::Result<()>) -> Ending {
    match result {
        Ok(()) => Ending::Succeeded,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ending::PipeClosed,
        Err(error) => {
            let text = format!("cannot write to standard output: {}", plain(&error));
            Ending::Failed(Error::new(ErrorKind::LocalIo, text))
        }
    }
}

fn failure_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::LocalIo => code::LOCAL_IO,
        ErrorKind::Timeout => code::TIMEOUT,
        kind if kind.may_have_started() => code::UNKNOWN,
        _ => code::NOT_STARTED,
    }
}

/// Returns what clap says is wrong, without its advice: it takes an unknown flag for a value.
fn mistake(text: &str) -> String {
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    let first = lines
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    // pflag's words.
    let unknown = first
        .strip_prefix("unexpected argument '")
        .and_then(|rest| rest.split_once('\''));
    let first = match unknown {
        Some((flag, _)) if flag.starts_with("--") => format!("unknown flag: {flag}"),
        Some((flag, _)) if flag.starts_with('-') => {
            format!(
                "unknown shorthand flag: '{}' in {flag}",
                flag.trim_start_matches('-')
            )
        }
        _ => first.to_owned(),
    };
    let rest = lines.map(|line| format!(" {}", line.trim()));
    first + &rest.collect::<String>()
}

#[cfg(test)]
mod tests {
    use wsx_core::{Confidence, Stream};

    use super::*;
    use crate::ending::Status;
    use crate::sink::WriteError;

    fn exited(code: u8) -> Ending {
        Ending::Exited(Status {
            code,
            confidence: Confidence::Confirmed,
        })
    }

    fn unwritten(status: Option<u8>) -> Ending {
        let error = WriteError {
            stream: Stream::Stdout,
            error: io::ErrorKind::StorageFull.into(),
        };
        let status = status.map(|code| Status {
            code,
            confidence: Confidence::Confirmed,
        });
        Ending::Unwritten {
            error,
            bytes: 1,
            status,
        }
    }

    #[test]
    fn a_remote_code_is_passed_on_whatever_it_is() {
        for remote in 0..=u8::MAX {
            for codes in [ExitCodes::Wsx, ExitCodes::Kubectl] {
                assert_eq!(exited(remote).code(codes), remote);
            }
        }
    }

    #[test]
    fn every_kind_of_failure_has_its_code_and_class() {
        for kind in ErrorKind::ALL {
            let (code, folded, class) = match kind {
                ErrorKind::LocalIo => (74, 74, "local_io"),
                ErrorKind::Timeout => (124, 1, "timeout"),
                ErrorKind::Auth
                | ErrorKind::Config
                | ErrorKind::Forbidden
                | ErrorKind::Invalid
                | ErrorKind::NotFound
                | ErrorKind::NotStarted
                | ErrorKind::Unsupported
                | ErrorKind::Upgrade => (125, 1, "not_started"),
                ErrorKind::Closed
                | ErrorKind::Exit
                | ErrorKind::Internal
                | ErrorKind::Lost
                | ErrorKind::Protocol => (255, 1, "lost"),
                other => panic!("{other} is new: give it a code"),
            };
            let ending = Ending::Failed(Error::new(kind, "x"));
            let codes = (ending.code(ExitCodes::Wsx), ending.code(ExitCodes::Kubectl));
            assert_eq!((codes, ending.class()), ((code, folded), class), "{kind}");
        }
    }

    #[test]
    fn lost_output_is_never_a_success() {
        for (status, code) in [(None, 74), (Some(0), 74), (Some(3), 3), (Some(255), 255)] {
            assert_eq!(
                unwritten(status).code(ExitCodes::Kubectl),
                code,
                "{status:?}"
            );
        }
        assert_eq!(Ending::PipeClosed.code(ExitCodes::Kubectl), 141);
    }

    #[test]
    fn a_status_that_cannot_be_written_is_never_a_success() {
        let error = || Error::new(ErrorKind::LocalIo, "x");
        assert_eq!(exited(0).despite(error()).code(ExitCodes::Wsx), 74);
        assert_eq!(exited(3).despite(error()).code(ExitCodes::Wsx), 3);
    }

    #[test]
    fn missing_lines_have_a_code_of_their_own() {
        let ending = Ending::Gaps(2);
        assert_eq!(
            (ending.code(ExitCodes::Wsx), ending.code(ExitCodes::Kubectl)),
            (65, 65)
        );
    }

    #[test]
    fn what_was_up_and_is_lost_is_255_whatever_the_reason() {
        for kind in ErrorKind::ALL {
            let ending = Ending::Lost(Error::new(kind, "x"));
            assert_eq!((ending.code(ExitCodes::Wsx), ending.class()), (255, "lost"));
            assert_eq!(ending.code(ExitCodes::Kubectl), 1);
        }
    }

    #[test]
    fn the_code_of_a_local_command_is_passed_on_whatever_it_is() {
        for code in 0..=u8::MAX {
            for codes in [ExitCodes::Wsx, ExitCodes::Kubectl] {
                assert_eq!(Ending::Passed(code).code(codes), code);
            }
        }
    }

    #[test]
    fn usage_is_two() {
        let ending = Ending::usage("x", Hint::None);
        assert_eq!(
            (ending.code(ExitCodes::Wsx), ending.code(ExitCodes::Kubectl)),
            (2, 1)
        );
    }

    #[test]
    fn mistakes_are_told_without_the_advice_of_clap() {
        let text = "error: unexpected argument '--tokne' found\n\n  tip: a similar argument exists: \
                    '--token'\n  tip: to pass '--tokne' as a value, use '-- --tokne'\n\nUsage: x\n";
        assert_eq!(mistake(text), "unknown flag: --tokne");
        let text = "error: unexpected argument '-x' found\n\nUsage: x\n";
        assert_eq!(mistake(text), "unknown shorthand flag: 'x' in -x");
        let text =
            "error: the following required arguments were not provided:\n  <X>\n\nUsage: x\n";
        assert_eq!(
            mistake(text),
            "the following required arguments were not provided: <X>"
        );
    }
}

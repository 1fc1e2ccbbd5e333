//! How a run ended, and the words for it.
//!
//! Lives here: endings and the form of error reports. Never here: exit codes, printing.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use wsx_core::protocol::text::escape;
use wsx_core::{Confidence, Error, ExitStatus, Report, Stream};

use crate::signals::Signal;
use crate::sink::WriteError;

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The keys for leaving were typed; the remote process runs on.
    Detached,
    /// The remote command ended, and all it said was written.
    Exited(Status),
    /// There is no exit status, or what was asked for could not be done.
    Failed(Error),
    /// Everything that is left of the logs was shown, but so many times lines are missing.
    Gaps(u64),
    /// A signal ended us.
    Interrupted(Signal),
    /// A signal ended what goes on until it is left.
    Left(Signal),
    /// What was up is lost for good.
    Lost(Error),
    /// A local command ended with this code, which is ours.
    Passed(u8),
    /// The reader of standard output has gone, as `head` does.
    PipeClosed,
    /// Everything that was asked for was done, without a remote command.
    Succeeded,
    /// Output arrived, but not all of it could be written.
    Unwritten {
        /// Which output, and why.
        error: WriteError,
        /// How many bytes of it.
        bytes: u64,
        /// How the remote command ended, where that is known.
        status: Option<Status>,
    },
    /// The command line cannot be.
    Usage {
        /// What is wrong.
        message: String,
        /// Where to read on.
        hint: Hint,
    },
}

/// Where to read on after a mistake in the command line, as kubectl says it: with the command whose
/// help it is, empty where none was named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hint {
    /// The help has examples of the right thing.
    Examples(&'static str),
    /// The help lists the flags.
    Flags(&'static str),
    /// The message says it all.
    None,
}

/// How the remote command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Status {
    /// Its own exit code.
    pub(crate) code: u8,
    /// How sure a code of 0 is.
    pub(crate) confidence: Confidence,
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        Self {
            code: status.code,
            confidence: status.confidence,
        }
    }
}

/// What a session moved, and how its connection closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moved {
    pub(crate) protocol: &'static str,
    pub(crate) stdin: u64,
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
    pub(crate) last_data: Option<Duration>,
    pub(crate) close_code: Option<u16>,
}

impl From<Report> for Moved {
    fn from(report: Report) -> Self {
        Self {
            protocol: report.protocol.name(),
            stdin: report.stdin,
            stdout: report.stdout,
            stderr: report.stderr,
            last_data: report.last_data,
            close_code: report.close_code,
        }
    }
}

impl Ending {
    /// Returns an ending for an unusable command line.
    pub(crate) fn usage(message: impl Into<String>, hint: Hint) -> Self {
        Self::Usage {
            message: message.into(),
            hint,
        }
    }

    /// Returns how the remote command ended, where that is known.
    pub(crate) fn status(&self) -> Option<Status> {
        match self {
            Self::Exited(status)
            | Self::Unwritten {
                status: Some(status),
                ..
            } => Some(*status),
            _ => None,
        }
    }

    /// Returns the error behind it, where there is one.
    pub(crate) fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) | Self::Lost(error) => Some(error),
            _ => None,
        }
    }

    /// Returns what happened, in one safe line.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Failed(error) | Self::Lost(error) => Some(escape(&error.report())),
            _ => self
                .words(None)
                .map(|words| escape(words.trim_start_matches("error: "))),
        }
    }

    /// Returns what to say on standard error, made safe; nothing where nothing is to be said.
    pub(crate) fn words(&self, moved: Option<&Moved>) -> Option<String> {
        match self {
            Self::Exited(status) => exit_words(*status),
            Self::Failed(error) | Self::Lost(error) => Some(failure_words(error, moved)),
            Self::Interrupted(signal) => Some(interrupted_words(*signal, moved)),
            Self::Gaps(count) => Some(gap_words(*count)),
            Self::Detached
            | Self::Left(_)
            | Self::Passed(_)
            | Self::PipeClosed
            | Self::Succeeded => None,
            Self::Unwritten {
                error,
                bytes,
                status,
            } => {
                let mut text = unwritten_words(error, *bytes);
                if let Some(words) = status.and_then(exit_words) {
                    text.push('\n');
                    text.push_str(&words);
                }
                Some(text)
            }
            Self::Usage { message, hint } => Some(usage_words(message, *hint)),
        }
    }
}

/// Returns the report of an error: what, what was received, why, and what to try.
pub(crate) fn failure_words(error: &Error, moved: Option<&Moved>) -> String {
    let mut text = headline(&error.report());
    let mut line = |label: &str, words: &str| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {label:<10} {}", escape(words));
    };
    if let Some(moved) = moved.filter(|_| error.kind().may_have_started()) {
        line("received", &received(moved));
    }
    if let Some(why) = error.why() {
        line("why", why);
    }
    for (index, remedy) in error.remedies().iter().enumerate() {
        line(if index == 0 { "try" } else { "" }, remedy);
    }
    text
}

/// Returns what the system says, without the number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// kubectl's words, for every code but 0.
fn exit_words(status: Status) -> Option<String> {
    (status.code != 0).then(|| format!("command terminated with exit code {}", status.code))
}

fn interrupted_words(signal: Signal, moved: Option<&Moved>) -> String {
    let name = signal.name();
    match moved {
        Some(_) => format!(
            "error: interrupted by {name}: the session was closed, but the remote process may live on"
        ),
        None => format!("error: interrupted by {name}"),
    }
}

fn gap_words(count: u64) -> String {
    let places = if count == 1 {
        "in one place"
    } else {
        "in several places"
    };
    format!("error: lines are missing, or may be, {places} (--strict)")
}

fn unwritten_words(error: &WriteError, bytes: u64) -> String {
    let stream = match error.stream {
        Stream::Stderr => "error",
        _ => "output",
    };
    let (count, why) = (grouped(bytes), plain(&error.error));
    let unit = if bytes == 1 { "byte" } else { "bytes" };
    format!("error: cannot write to standard {stream}: {why}: {count} {unit} not written")
}

fn usage_words(message: &str, hint: Hint) -> String {
    let message: Vec<_> = message.split('\n').map(escape).collect();
    let message = message.join("\n");
    let named = |command: &str| match command {
        "" => "kubectl wsx".to_owned(),
        command => format!("kubectl wsx {command}"),
    };
    match hint {
        Hint::Examples(command) => {
            format!(
                "error: {message}\nSee '{} -h' for help and examples",
                named(command)
            )
        }
        Hint::Flags(command) => {
            format!(
                "error: {message}\nSee '{} --help' for usage.",
                named(command)
            )
        }
        Hint::None => format!("error: {message}"),
    }
}

/// Errors of the API keep the words, and the beginning, that they have with kubectl.
fn headline(text: &str) -> String {
    const KUBECTL: [&str; 3] = [
        "Error from server",
        "The connection to the server ",
        "Unable to connect to the server",
    ];
    let text = escape(text);
    if KUBECTL.iter().any(|start| text.starts_with(start)) {
        text
    } else {
        format!("error: {text}")
    }
}

fn received(moved: &Moved) -> String {
    let (stdout, stderr) = (grouped(moved.stdout), grouped(moved.stderr));
    let mut text = format!("{stdout} bytes stdout, {stderr} stderr");
    // Writing to a string cannot fail.
    if let Some(age) = moved.last_data {
        let _ = write!(text, ", last data {:.1}s ago", age.as_secs_f64());
    }
    if let Some(code) = moved.close_code {
        let _ = write!(text, "; close code {code}");
    }
    text
}

/// Writes a number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;

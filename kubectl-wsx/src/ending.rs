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
    /// The remote command ended, and all it said was written.
    Exited(Status),
    /// There is no exit status, or what was asked for could not be done.
    Failed(Error),
    /// A signal ended us.
    Interrupted(Signal),
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
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Returns what happened, in one safe line.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Failed(error) => Some(escape(&error.report())),
            _ => self
                .words(None)
                .map(|words| escape(words.trim_start_matches("error: "))),
        }
    }

    /// Returns what to say on standard error, made safe; nothing where nothing is to be said.
    pub(crate) fn words(&self, moved: Option<&Moved>) -> Option<String> {
        match self {
            Self::Exited(status) => exit_words(*status),
            Self::Failed(error) => Some(failure_words(error, moved)),
            Self::Interrupted(signal) => Some(interrupted_words(*signal, moved)),
            Self::PipeClosed | Self::Succeeded => None,
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
    let message = escape(message);
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
mod tests {
    use wsx_core::ErrorKind;

    use super::*;

    const MOVED: Moved = Moved {
        protocol: "v4.channel.k8s.io",
        stdin: 0,
        stdout: 1_204_118,
        stderr: 0,
        last_data: Some(Duration::from_millis(3_200)),
        close_code: Some(1000),
    };

    fn unwritten(status: Option<Status>) -> Ending {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        let error = WriteError {
            stream: Stream::Stdout,
            error,
        };
        Ending::Unwritten {
            error,
            bytes: 4096,
            status,
        }
    }

    #[test]
    fn a_lost_session_is_reported_in_full() {
        let error = Error::new(
            ErrorKind::Lost,
            "the server closed the stream; outcome unknown",
        )
        .because("no status came")
        .remedy("one thing")
        .remedy("another thing");
        assert_eq!(
            Ending::Failed(error).words(Some(&MOVED)).unwrap(),
            "error: the server closed the stream; outcome unknown\n\
             \x20 received   1,204,118 bytes stdout, 0 stderr, last data 3.2s ago; close code 1000\n\
             \x20 why        no status came\n\
             \x20 try        one thing\n\
             \x20            another thing"
        );
    }

    #[test]
    fn what_was_received_is_told_only_where_something_can_have_been() {
        let moved = Moved {
            last_data: None,
            close_code: None,
            ..MOVED
        };
        let error = Error::new(ErrorKind::NotStarted, "container not found");
        assert_eq!(
            failure_words(&error, Some(&moved)),
            "error: container not found"
        );
        let error = Error::new(ErrorKind::Lost, "x");
        assert_eq!(
            failure_words(&error, Some(&moved)),
            "error: x\n  received   1,204,118 bytes stdout, 0 stderr"
        );
    }

    #[test]
    fn errors_of_the_api_keep_their_words() {
        let text = "Error from server (NotFound): pods \"x\" not found";
        let error = Error::new(ErrorKind::NotFound, text);
        assert_eq!(failure_words(&error, None), text);
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        let error = Error::new(ErrorKind::Lost, "a\x1b[2J")
            .because("b\r\nc")
            .remedy("d\u{202e}");
        assert_eq!(
            failure_words(&error, None),
            "error: a\\u{1b}[2J\n  why        b\\r\\nc\n  try        d\\u{202e}"
        );
    }

    #[test]
    fn mistakes_in_the_command_line_say_where_to_read_on() {
        for (hint, words) in [
            (Hint::None, "error: x\\u{7}"),
            (
                Hint::Examples("exec"),
                "error: x\\u{7}\nSee 'kubectl wsx exec -h' for help and examples",
            ),
            (
                Hint::Flags(""),
                "error: x\\u{7}\nSee 'kubectl wsx --help' for usage.",
            ),
        ] {
            assert_eq!(
                Ending::usage("x\x07", hint).words(None).as_deref(),
                Some(words)
            );
        }
    }

    #[test]
    fn unwritten_output_is_counted_and_the_exit_code_told() {
        let text = "error: cannot write to standard output: No space left on device: \
                    4,096 bytes not written";
        let status = |code| {
            Some(Status {
                code,
                confidence: Confidence::Confirmed,
            })
        };
        assert_eq!(unwritten(None).words(None).unwrap(), text);
        assert_eq!(unwritten(status(0)).words(None).unwrap(), text);
        assert_eq!(
            unwritten(status(3)).words(None).unwrap(),
            format!("{text}\ncommand terminated with exit code 3")
        );
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}

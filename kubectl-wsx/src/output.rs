//! What we say ourselves: help and versions to standard output, everything else to standard error.
//!
//! Lives here: the only code that prints. Never here: the data of remote commands (`sink.rs`).

use std::io::{self, Write as _};

use wsx_core::client::{Level, Notice};
use wsx_core::protocol::text::escape;

/// How much to say. Errors are always said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// Errors only.
    Quiet,
    /// Notes and warnings too.
    Talkative,
}

impl Output {
    /// Prints what was asked for.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(crate) fn print(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Says something that is good to know.
    pub(crate) fn note(self, text: &str) {
        if self == Self::Talkative {
            say(&escape(text));
        }
    }

    /// Says something that may be wrong.
    pub(crate) fn warn(self, text: &str) {
        if self == Self::Talkative {
            say(&format!("Warning: {}", escape(text)));
        }
    }

    /// Passes on what the library found worth telling.
    pub(crate) fn notice(self, notice: &Notice) {
        match notice.level() {
            Level::Warning => self.warn(&notice.to_string()),
            Level::Note => self.note(&notice.to_string()),
            _ => tracing::info!("{notice}"),
        }
    }
}

/// Says lines that were made safe before.
///
/// Standard error that takes nothing is no reason to end: nobody is left to be told.
pub(crate) fn say(text: &str) {
    // One write, so that lines of several writers do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

//! What exec and attach share: the flags of a session, the terminal, the connection.
//!
//! Lives here: flags that mean the same for both. Never here: what only one of them does.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::stdio::stdin;
use tokio::time::{Instant, timeout_at};
use wsx_core::{Client, Error, ErrorKind, ExecOptions, Limits, Notice, Offer, Subprotocol};

use crate::ending::plain;
use crate::environment;
use crate::flag::parse_bool;
use crate::globals::Globals;
use crate::input::Input;
use crate::place::Place;
use crate::{duration, terminal};

/// The flags of a session.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Container [default: the annotated one, else the first]
    #[arg(short, long, value_name = "NAME")]
    pub(super) container: Option<String>,
    /// Pass standard input to the container
    #[arg(
        short = 'i',
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    pub(super) stdin: Option<bool>,
    /// Stdin is a terminal; needs -i
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    pub(super) tty: Option<bool>,
    /// Wait for the pod to run [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pub(super) pod_running_timeout: Option<Duration>,
    /// Limit from the first request to the exit status
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) timeout: Option<Duration>,
    /// Limit of each step until data flows [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pub(super) connect_timeout: Option<Duration>,
    /// Time between two pings; 0 sends none [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) keepalive: Option<Duration>,
    /// Limit for a silent server [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pub(super) keepalive_timeout: Option<Duration>,
    /// Limit for input left unread [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pub(super) stall_timeout: Option<Duration>,
    /// Subprotocol: auto, v4, v5, or a name [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parse_offer)]
    pub(super) protocol: Option<Offer>,
    /// Write how it ended, as one line of JSON
    #[arg(long, value_name = "FILE")]
    pub(super) status_file: Option<PathBuf>,
}

impl Flags {
    /// Returns the options that these flags stand for; absent ones leave the defaults.
    pub(super) fn options(&self, tty: bool) -> ExecOptions {
        let defaults = ExecOptions::default();
        let limits = Limits::default();
        let limits = limits
            .connect(self.connect_timeout.unwrap_or(limits.connect))
            .keepalive(self.keepalive.unwrap_or(limits.keepalive))
            .keepalive_timeout(self.keepalive_timeout.unwrap_or(limits.keepalive_timeout))
            .stall(self.stall_timeout.unwrap_or(limits.stall));
        let waiting = self
            .pod_running_timeout
            .unwrap_or(defaults.pod_running_timeout);
        defaults
            .container(self.container.clone())
            .limits(limits)
            .pod_running_timeout(waiting)
            .protocol(self.protocol.unwrap_or_default())
            .size(if tty { terminal::size() } else { None })
            .stdin(self.stdin == Some(true))
            .stderr(!tty)
            .timeout(self.timeout.filter(|limit| !limit.is_zero()))
            .tty(tty)
    }

    /// Tells whether there is a terminal on both ends, by kubectl's rules.
    pub(super) fn has_terminal(&self, globals: &Globals) -> bool {
        let wanted = self.tty == Some(true) && self.stdin == Some(true);
        let terminal = wanted && terminal::is_terminal(stdin());
        if wanted && !terminal {
            tell_no_terminal(globals);
        }
        terminal
    }

    /// Opens standard input, where the session is to have it. Nothing is read yet.
    ///
    /// # Errors
    /// `Invalid` when it is nothing that can be read.
    pub(super) fn input(&self) -> Result<Option<Input>, Error> {
        let open = || {
            Input::open(stdin()).map_err(|error| {
                let text = format!("cannot read standard input: {}", plain(&error));
                Error::new(ErrorKind::Invalid, text)
            })
        };
        (self.stdin == Some(true)).then(open).transpose()
    }
}

/// kubectl pkg/cmd/exec/exec.go, SetupTTY: the same words.
pub(super) fn tell_no_terminal(globals: &Globals) {
    globals
        .output()
        .note("Unable to use a TTY - input is not a terminal or the right kind of file");
}

/// Prepares the client, within the time limit.
///
/// # Errors
/// As [`Client::connect`], and `Timeout`.
pub(super) async fn connect(
    options: &ExecOptions,
    deadline: Option<Instant>,
    globals: &Globals,
    place: &Place,
) -> Result<Client, Error> {
    let (output, place) = (globals.output(), place.clone());
    if environment::wants_spdy() {
        output.warn("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false has no effect: there is no SPDY here");
    }
    let config = globals.config(move |notice| {
        place.learn(notice);
        output.notice(notice);
        if let Notice::Attaching { .. } = notice {
            output.note("If you don't see a command prompt, try pressing enter.");
        }
    });
    let connecting = Client::connect(config.connect_timeout(options.limits.connect));
    let Some(deadline) = deadline else {
        return connecting.await;
    };
    timeout_at(deadline, connecting).await.unwrap_or_else(|_| {
        let message = "the time limit passed before the session was open (--timeout)";
        let error = Error::new(ErrorKind::Timeout, message);
        Err(error.because("it was still reading the kubeconfig"))
    })
}

/// What the system refused before anything was started.
pub(super) fn system_error(what: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::NotStarted, format!("{what}: {}", plain(error)))
}

fn parse_offer(text: &str) -> Result<Offer, String> {
    if text == "auto" {
        return Ok(Offer::Auto);
    }
    let known = || {
        let names = Subprotocol::ALL.map(Subprotocol::name).join(", ");
        format!("it must be one of auto, v4, v5, {names}")
    };
    text.parse::<Subprotocol>()
        .map(Offer::Only)
        .map_err(|_| known())
}

//! `exec`: a command in a container, with its own exit status.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::stdio::{stderr, stdin, stdout};
use tokio::time::{Instant, timeout_at};
use wsx_core::{Client, Error, ErrorKind, ExecOptions, Limits, Offer, Subprotocol, Verify};

use crate::bridge::{self, Local, Outcome};
use crate::ending::{Ending, Hint, plain};
use crate::environment;
use crate::exit::Exit;
use crate::flag::parse_bool;
use crate::globals::Globals;
use crate::input::Input;
use crate::manifest;
use crate::place::Place;
use crate::signals::Signals;
use crate::sink::Sinks;
use crate::status_file::StatusFile;
use crate::{duration, terminal};

/// Run a command in a container, and end with its exit status
#[derive(clap::Args)]
#[command(
    override_usage = "kubectl wsx exec (POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
    help_template = "{about}\n\n{before-help}Usage:\n  {usage}\n\nOptions:\n{options}{after-help}",
    before_help = "Examples:
  kubectl wsx exec mypod -- date                       # its output, and its exit status
  kubectl wsx exec -it deploy/web -- bash              # a shell in one pod of a deployment
  kubectl wsx exec -i db-0 -c db -- psql < dump.sql    # a file as input
  kubectl wsx exec --timeout=30s mypod -- ./check.sh   # give up after 30 seconds",
    after_help = "Exit status: that of COMMAND. Ours: 124 time limit, 125 not started, 255 outcome unknown,
74 output not written. Use \"kubectl wsx options\" for the flags of all commands (-n, -q, -v, ...)."
)]
pub(crate) struct Args {
    #[arg(hide = true)]
    target: Vec<String>,
    #[arg(last = true, hide = true)]
    command: Vec<String>,
    /// Container [default: the annotated one, else the first]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Manifest of the pod, or of what has pods
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
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
    stdin: Option<bool>,
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
    tty: Option<bool>,
    /// Wait for the pod to run [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pod_running_timeout: Option<Duration>,
    /// Limit from the first request to the exit status
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Limit of each step until data flows [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    connect_timeout: Option<Duration>,
    /// Time between two pings; 0 sends none [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    keepalive: Option<Duration>,
    /// Limit for a silent server [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    keepalive_timeout: Option<Duration>,
    /// Limit for input left unread [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    stall_timeout: Option<Duration>,
    /// Do not look at the pod first; saves a request
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    no_preflight: Option<bool>,
    /// Subprotocol: auto, v4, v5, or a name [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parse_offer)]
    protocol: Option<Offer>,
    /// Look into doubtful success: auto, never [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = parse_verify)]
    verify: Option<Verify>,
    /// Write how it ended, as one line of JSON
    #[arg(long, value_name = "FILE")]
    status_file: Option<PathBuf>,
}

/// What is going to be run.
struct Plan {
    target: String,
    command: Vec<String>,
    options: ExecOptions,
    input: Option<Input>,
    /// When the time limit passes.
    deadline: Option<Instant>,
}

/// Runs the command, says how it ended, and returns how to leave.
pub(crate) async fn run(args: Args, globals: &Globals) -> Exit {
    let codes = environment::exit_codes();
    if let Some((message, hint)) = args.mistake() {
        return Ending::usage(message, hint).announce(None, codes);
    }
    let place = Place::default();
    let file = match args
        .status_file
        .as_deref()
        .map(StatusFile::create)
        .transpose()
    {
        Ok(file) => file,
        Err(error) => return Ending::Failed(error).announce(None, codes),
    };
    let outcome = match Signals::hear() {
        Ok(signals) => execute(args, globals, &signals, &place).await,
        Err(error) => Outcome::from(system_error("cannot handle signals", &error)),
    };
    outcome.conclude(file, &place, codes)
}

async fn execute(args: Args, globals: &Globals, signals: &Signals, place: &Place) -> Outcome {
    let tty = args.has_terminal(globals);
    if tty && let Err(error) = signals.hear_terminal() {
        return Outcome::from(system_error("cannot handle signals", &error));
    }
    let plan = match args.plan(globals, tty) {
        Ok(plan) => plan,
        Err(error) => return Outcome::from(error),
    };
    place.name(&plan.target, plan.options.container.as_deref());
    let start = async {
        let sinks = Sinks::open(stdout(), stderr());
        let sinks = sinks.map_err(|error| system_error("cannot open standard output", &error))?;
        let client = connect(&plan.options, plan.deadline, globals, place).await?;
        let process = client
            .exec(&plan.target, plan.command, plan.options)
            .await?;
        Ok::<_, Error>((
            process,
            Local {
                input: plan.input,
                sinks,
                deadline: plan.deadline,
            },
        ))
    };
    let started = tokio::select! {
        biased;
        signal = signals.ended() => return Outcome::from(Ending::Interrupted(signal)),
        started = start => started,
    };
    match started {
        Ok((process, local)) if tty => {
            bridge::join_terminal(process, local, signals, globals.output()).await
        }
        Ok((process, local)) => bridge::join(process, local, signals).await,
        Err(error) => Outcome::from(error),
    }
}

async fn connect(
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

impl Args {
    /// Returns what is wrong with the command line, in kubectl's words (pkg/cmd/exec/exec.go).
    fn mistake(&self) -> Option<(&'static str, Hint)> {
        const NO_COMMAND: &str = "you must specify at least one command for the container";
        const NO_POD: &str = "pod, type/name or --filename must be specified";
        const TOO_MANY: &str = "only one of POD, TYPE/NAME and --filename can be specified";
        const NO_DASHES: &str =
            "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead";
        let targets = self.target.len() + usize::from(self.filename.is_some());
        match (targets, self.command.is_empty()) {
            (0, _) => Some((NO_POD, Hint::None)),
            (1, true) => Some((NO_COMMAND, Hint::None)),
            (1, false) => None,
            (_, true) => Some((NO_DASHES, Hint::Examples("exec"))),
            (_, false) => Some((TOO_MANY, Hint::Examples("exec"))),
        }
    }

    /// Tells whether there is a terminal on both ends, by kubectl's rules.
    fn has_terminal(&self, globals: &Globals) -> bool {
        let wanted = self.tty == Some(true) && self.stdin == Some(true);
        let terminal = wanted && terminal::is_terminal(stdin());
        if wanted && !terminal {
            globals
                .output()
                .note("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        terminal
    }

    /// Returns what is going to be run. Nothing is sent or read yet.
    fn plan(self, globals: &Globals, tty: bool) -> Result<Plan, Error> {
        let options = self.options(tty);
        let (target, options) = match (self.target.into_iter().next(), &self.filename) {
            (Some(target), _) => (target, options),
            (None, Some(path)) => {
                let named = manifest::read(path)?;
                let namespace = named.namespace_beside(globals.namespace())?;
                (named.target, options.namespace(namespace))
            }
            (None, None) => return Err(Error::new(ErrorKind::Internal, "there is no target")),
        };
        let input = if options.stdin {
            Some(open_input()?)
        } else {
            None
        };
        Ok(Plan {
            target,
            command: self.command,
            deadline: options.timeout.map(|limit| Instant::now() + limit),
            options,
            input,
        })
    }

    fn options(&self, tty: bool) -> ExecOptions {
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
            .preflight(self.no_preflight != Some(true))
            .protocol(self.protocol.unwrap_or_default())
            .size(if tty { terminal::size() } else { None })
            .stdin(self.stdin == Some(true))
            .stderr(!tty)
            .timeout(self.timeout.filter(|limit| !limit.is_zero()))
            .tty(tty)
            .verify(self.verify.unwrap_or_default())
    }
}

fn open_input() -> Result<Input, Error> {
    Input::open(stdin()).map_err(|error| {
        let text = format!("cannot read standard input: {}", plain(&error));
        Error::new(ErrorKind::Invalid, text)
    })
}

fn system_error(what: &str, error: &io::Error) -> Error {
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

fn parse_verify(text: &str) -> Result<Verify, String> {
    match text {
        "auto" => Ok(Verify::Auto),
        "never" => Ok(Verify::Never),
        _ => Err("it must be auto or never".to_owned()),
    }
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;

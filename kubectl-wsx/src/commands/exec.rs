//! `exec`: a command in a container, with its own exit status.

use std::path::PathBuf;

use rustix::stdio::{stderr, stdout};
use tokio::time::Instant;
use wsx_core::{Error, ErrorKind, ExecOptions, Verify};

use super::session::{Flags, connect, system_error};
use crate::bridge::{self, Local, Outcome};
use crate::ending::{Ending, Hint};
use crate::environment;
use crate::exit::Exit;
use crate::flag::parse_bool;
use crate::globals::Globals;
use crate::history::Again;
use crate::input::Input;
use crate::manifest;
use crate::place::Place;
use crate::signals::Signals;
use crate::sink::Sinks;
use crate::status_file::StatusFile;

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
    #[command(flatten)]
    session: Flags,
    /// Manifest of the pod, or of what has pods
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
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
    /// Look into doubtful success: auto, never [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = parse_verify)]
    verify: Option<Verify>,
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
        .session
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
    let tty = args.session.has_terminal(globals);
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
                detach: None,
                deadline: plan.deadline,
                again: Again::default(),
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
        let input = self.session.input()?;
        Ok(Plan {
            target,
            command: self.command,
            deadline: options.timeout.map(|limit| Instant::now() + limit),
            options,
            input,
        })
    }

    fn options(&self, tty: bool) -> ExecOptions {
        self.session
            .options(tty)
            .preflight(self.no_preflight != Some(true))
            .verify(self.verify.unwrap_or_default())
    }
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

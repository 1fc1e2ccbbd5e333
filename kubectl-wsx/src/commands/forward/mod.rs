//! `port-forward`: local ports that stay up while pods come and go.
//!
//! - `flags`: the flags, and what they ask for
//! - `up`: what is up, and telling what happens to it
//! - `words`: kubectl's lines, our own, and JSON
//! - `command`, `variables`: `-- COMMAND` and what it finds in its environment
//! - `ready_file`: `--ready-file`

mod command;
mod flags;
mod ready_file;
mod up;
mod variables;
mod words;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::stdio::{stderr, stdout};
use wsx_core::{Client, Error, PortForward};

use self::command::Running;
use self::flags::Plan;
use self::ready_file::ReadyFile;
use self::up::{Forward, Up};
use self::words::{Place, Words};
use super::session::system_error;
use crate::ending::Ending;
use crate::environment;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::output::Output;
use crate::signals::{Signal, Signals};
use crate::sink::Sinks;

pub(crate) use self::flags::Args;

/// Forwards ports, says how that ended, and returns how to leave.
pub(crate) async fn run(args: Args, globals: &Globals) -> Exit {
    let codes = environment::exit_codes();
    let ending = match (args.plan(), Signals::hear()) {
        (Err((message, hint)), _) => Ending::usage(message, hint),
        (_, Err(error)) => Ending::Failed(system_error("cannot handle signals", &error)),
        (Ok(plan), Ok(signals)) => forward(plan, globals, &signals).await,
    };
    ending.announce(None, codes)
}

async fn forward(plan: Plan, globals: &Globals, signals: &Signals) -> Ending {
    if plan.command.is_empty() {
        allow_descriptors();
    }
    let started = async {
        let mut up = start(&plan, globals).await.map_err(Ending::Failed)?;
        up.announce().await?;
        Ok::<_, Ending>(up)
    };
    let started = tokio::select! {
        biased;
        signal = signals.ended() => return Ending::Left(signal),
        started = started => started,
    };
    let mut up = match started {
        Ok(up) => up,
        Err(ending) => return ending,
    };
    let ending = match plan.command.is_empty() {
        true => alone(&mut up, signals).await,
        false => with_command(&mut up, &plan, signals).await,
    };
    up.close().await;
    if plan.stats {
        up.tell_stats();
    }
    up.despite_output(ending)
}

/// Allows as many descriptors as the system lets us have: each connection needs one, and shells give
/// few. A command would inherit that, and old ones cannot deal with it.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where that is refused there are fewer: the listener pauses then, and says so.
    let raised = setrlimit(Resource::Nofile, all);
    tracing::debug!(?limit, ?raised, "descriptors");
}

/// Opens everything that is asked for, or nothing.
async fn start(plan: &Plan, globals: &Globals) -> Result<Up, Error> {
    let file = plan.ready_file.as_deref().map(ReadyFile::prepare);
    let file = file.transpose()?;
    let sinks = Sinks::open(stdout(), stderr());
    let sinks = sinks.map_err(|error| system_error("cannot open standard output", &error))?;
    let output = globals.output();
    if environment::wants_spdy_forward() {
        output.warn("KUBECTL_PORT_FORWARD_WEBSOCKETS=false has no effect: there is no SPDY here");
    }
    let config = globals.config(move |notice| output.notice(notice));
    let limit = plan.options.limits.connect;
    let client = Client::connect(config.connect_timeout(limit)).await?;
    let mut forwards = Vec::new();
    for target in &plan.targets {
        let handle: PortForward = client
            .port_forward(&target.name, target.ports.iter(), plan.options.clone())
            .await?;
        let place = Place {
            target: target.name.clone(),
            ports: handle.local_ports().to_vec(),
        };
        forwards.push(Forward { place, handle });
    }
    let words = Words {
        form: plan.form,
        quiet: output == Output::Quiet,
        several: plan.targets.len() > 1,
        has_command: !plan.command.is_empty(),
    };
    Ok(Up::new(forwards, words, sinks, file))
}

/// Until a signal ends it, or it is lost for good.
async fn alone(up: &mut Up, signals: &Signals) -> Ending {
    tokio::select! {
        biased;
        signal = signals.ended() => stopped(signal),
        error = up.tell() => Ending::Lost(error),
    }
}

/// Until the command has ended. If the ports are lost for good before, it is ended, too.
async fn with_command(up: &mut Up, plan: &Plan, signals: &Signals) -> Ending {
    let Some(passed) = signals.pass_on() else {
        return stopped(signals.ended().await);
    };
    let variables = up.variables(&plan.targets);
    let mut command = match Running::start(&plan.command, variables, passed) {
        Ok(command) => command,
        Err(error) => return Ending::Failed(error),
    };
    tokio::select! {
        biased;
        code = command.ended() => code.map_or_else(Ending::Failed, Ending::Passed),
        error = up.tell() => {
            command.end().await;
            Ending::Lost(error)
        }
    }
}

/// Ctrl-C is the way to end it, as with kubectl.
fn stopped(signal: Signal) -> Ending {
    match signal.is_interrupt() {
        true => Ending::Succeeded,
        false => Ending::Left(signal),
    }
}

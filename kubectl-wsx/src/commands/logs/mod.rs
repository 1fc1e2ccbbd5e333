//! `logs`: what containers wrote, once or followed, without a silent loss.
//!
//! - `flags`: the flags, and what they ask for

mod flags;

use std::io;

use rustix::stdio::{stderr, stdout};
use wsx_core::client::Notice;
use wsx_core::{Client, Error, LogItem, Logs, LogsOptions, Stream};

use super::session::system_error;
use crate::ending::Ending;
use crate::environment;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::lines::filter::Filter;
use crate::lines::{Looks, Printer};
use crate::signals::Signals;
use crate::sink::{Sinks, WriteError};

pub(crate) use self::flags::Args;

/// What is going to be read, and how it is shown.
struct Plan {
    target: Option<String>,
    options: LogsOptions,
    looks: Looks,
    filter: Filter,
    strict: bool,
}

/// Shows the logs, says how that ended, and returns how to leave.
pub(crate) async fn run(args: Args, globals: &Globals) -> Exit {
    let codes = environment::exit_codes();
    let ending = match (args.plan(globals), Signals::hear()) {
        (Err((message, hint)), _) => Ending::usage(message, hint),
        (_, Err(error)) => Ending::Failed(system_error("cannot handle signals", &error)),
        (Ok(plan), Ok(signals)) => show(plan, globals, &signals).await,
    };
    ending.announce(None, codes)
}

async fn show(plan: Plan, globals: &Globals, signals: &Signals) -> Ending {
    let Plan {
        target,
        options,
        looks,
        filter,
        strict,
    } = plan;
    let start = async {
        let sinks = Sinks::open(stdout(), stderr());
        let sinks = sinks.map_err(|error| system_error("cannot open standard output", &error))?;
        let output = globals.output();
        let config = globals.config(move |notice| match notice {
            // kubectl pkg/polymorphichelpers/logsforobject.go: the same words.
            Notice::ChosenPod { pod, count, .. } => {
                output.note(&format!("Found {count} pods, using pod/{pod}"));
            }
            notice => output.notice(notice),
        });
        let client = Client::connect(config.connect_timeout(options.limits.connect)).await?;
        let logs = client.logs(target.as_deref(), options).await?;
        Ok::<_, Error>((logs, sinks))
    };
    let started = tokio::select! {
        biased;
        signal = signals.ended() => return Ending::Left(signal),
        started = start => started,
    };
    let (mut logs, mut sinks) = match started {
        Ok(started) => started,
        Err(error) => return Ending::Failed(error),
    };
    let mut printer = Printer::new(looks, filter);
    let ended = tokio::select! {
        biased;
        signal = signals.ended() => Err(signal),
        written = write(&mut logs, &mut printer, &mut sinks) => Ok(written),
    };
    let gaps = logs.report().gaps + printer.failed();
    let outcome = match ended {
        Ok(Ok(())) => logs.wait().await.map(|_| ()),
        Ok(Err(failed)) => return failed,
        Err(signal) if !strict || gaps == 0 => return Ending::Left(signal),
        Err(_) => Ok(()),
    };
    match outcome {
        Err(error) => Ending::Failed(error),
        Ok(()) if strict && gaps > 0 => Ending::Gaps(gaps),
        Ok(()) => Ending::Succeeded,
    }
}

/// Writes everything until the end of the logs.
async fn write(logs: &mut Logs, printer: &mut Printer, sinks: &mut Sinks) -> Result<(), Ending> {
    let mut items: Vec<LogItem> = Vec::new();
    let mut made = 0;
    let mut more = true;
    let written = async {
        while more {
            more = tokio::select! {
                biased;
                more = logs.next_batch(&mut items) => more,
                () = sinks.reader_gone() => return Err(WriteError::pipe_closed()),
            };
            for item in items.drain(..) {
                printer.print(&item);
            }
            if !more {
                printer.finish();
            }
            let pieces = printer.take();
            let stdout = pieces
                .iter()
                .filter(|(stream, _)| *stream == Stream::Stdout);
            made += stdout.map(|(_, data)| data.len() as u64).sum::<u64>();
            sinks.write(pieces).await?;
        }
        sinks.finish().await
    };
    let error = match written.await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if error.stream == Stream::Stdout && error.error.kind() == io::ErrorKind::BrokenPipe {
        return Err(Ending::PipeClosed);
    }
    Err(Ending::Unwritten {
        bytes: made.saturating_sub(sinks.written(Stream::Stdout)),
        error,
        status: None,
    })
}

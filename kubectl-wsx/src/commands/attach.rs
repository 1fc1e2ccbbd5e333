//! `attach`: the main process of a container, until it ends or is left.

use clap::value_parser;
use rustix::stdio::{stderr, stdin, stdout};
use tokio::time::Instant;
use wsx_core::protocol::text::escape;
use wsx_core::{AttachOptions, Error, LogItem, Size, Stream};

use super::session::{self, Flags, connect, system_error};
use crate::bridge::{self, Local, Outcome};
use crate::detach::DetachKeys;
use crate::ending::{Ending, Hint};
use crate::environment;
use crate::exit::Exit;
use crate::globals::Globals;
use crate::history::{self, Again, History, Mark};
use crate::lines::filter::Filter;
use crate::lines::{Looks, Printer};
use crate::output::Output;
use crate::place::Place;
use crate::signals::Signals;
use crate::sink::Sinks;
use crate::status_file::StatusFile;
use crate::terminal;

/// Join the main process of a container, and end with its exit status
#[derive(clap::Args)]
#[command(
    override_usage = "kubectl wsx attach (POD | TYPE/NAME) [-c CONTAINER] [flags]",
    help_template = "{about}\n\n{before-help}Usage:\n  {usage}\n\nOptions:\n{options}{after-help}",
    before_help = "Examples:
  kubectl wsx attach mypod                       # its output from now on, and its exit status
  kubectl wsx attach --history=20 mypod          # the last lines of its log first
  kubectl wsx attach -it mypod -c shell          # its terminal; Ctrl-P Ctrl-Q leaves it running",
    after_help = "Exit status: that of the container, once it ends; 0 when it was left by its keys. Ours: 124
time limit, 125 not attached, 255 the stream ended but not the container, 74 output not written.
Use \"kubectl wsx options\" for the flags of all commands (-n, -q, -v, ...)."
)]
pub(crate) struct Args {
    #[arg(hide = true)]
    target: Vec<String>,
    #[command(flatten)]
    session: Flags,
    /// Keys that leave a terminal session
    #[arg(
        long,
        value_name = "KEYS",
        default_value = "ctrl-p,ctrl-q",
        value_parser = DetachKeys::parse,
        allow_hyphen_values = true,
    )]
    detach_keys: DetachKeys,
    /// Show so many lines of its log first, at most 10000
    #[arg(long, value_name = "LINES", value_parser = value_parser!(u64).range(1..=10_000))]
    history: Option<u64>,
}

/// Attaches, says how it ended, and returns how to leave.
pub(crate) async fn run(args: Args, globals: &Globals) -> Exit {
    let codes = environment::exit_codes();
    let target = match args.target() {
        Ok(target) => target,
        Err(message) => return Ending::usage(message, Hint::None).announce(None, codes),
    };
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
        Ok(signals) => execute(args, &target, globals, &signals, &place).await,
        Err(error) => Outcome::from(system_error("cannot handle signals", &error)),
    };
    outcome.conclude(file, &place, codes)
}

async fn execute(
    args: Args,
    target: &str,
    globals: &Globals,
    signals: &Signals,
    place: &Place,
) -> Outcome {
    place.name(target, args.session.container.as_deref());
    let at_terminal = args.session.stdin == Some(true) && terminal::is_terminal(stdin());
    let size = terminal::size().filter(|_| at_terminal);
    // Another size and then the right one makes programs draw their screen again (attach.go).
    let other = size.map(|size| Size::new(size.columns + 1, size.rows + 1));
    let options = args.session.options(args.session.tty == Some(true));
    let options = options.stderr(true).size(other);
    let deadline = options.timeout.map(|limit| Instant::now() + limit);
    let start = async {
        let input = args.session.input()?;
        let sinks = Sinks::open(stdout(), stderr());
        let sinks = sinks.map_err(|error| system_error("cannot open standard output", &error))?;
        let client = connect(&options, deadline, globals, place).await?;
        let mark = match args.history {
            Some(_) => Some(Mark::set(&client, target, options.container.as_deref()).await?),
            None => None,
        };
        let mut streams = AttachOptions::default();
        streams.streams = options;
        let process = client.attach(target, streams).await?;
        let again = match (mark, args.history, place.known()) {
            (Some(mark), Some(count), (Some(pod), Some(container))) => {
                let history = mark.history(&client, (&pod, &container), count).await?;
                first(history, &format!("{pod}/{container}"), globals.output())
            }
            _ => Again::default(),
        };
        let namespace = client.namespace().to_owned();
        Ok::<_, Error>((process, input, sinks, namespace, again))
    };
    let started = tokio::select! {
        biased;
        signal = signals.ended() => return Outcome::from(Ending::Interrupted(signal)),
        started = start => started,
    };
    let (process, input, sinks, namespace, again) = match started {
        Ok(started) => started,
        Err(error) => return Outcome::from(error),
    };
    let raw = at_terminal && process.has_terminal();
    let wanted = args.session.stdin == Some(true) && process.has_terminal();
    if wanted && !raw {
        session::tell_no_terminal(globals);
    }
    let local = Local {
        input,
        sinks,
        detach: raw.then_some(args.detach_keys),
        deadline,
        again,
    };
    if !raw {
        return bridge::join(process, local, signals).await;
    }
    if let Err(error) = signals.hear_terminal() {
        return Outcome::from(system_error("cannot handle signals", &error));
    }
    if let Some(size) = size {
        process.resize(size);
    }
    let outcome = bridge::join_terminal(process, local, signals, globals.output()).await;
    if let (true, (Some(pod), Some(container))) = (outcome.is_detached(), place.known()) {
        // kubectl pkg/cmd/attach/attach.go, reattachMessage: the same words.
        globals.output().note(&format!(
            "Session ended, resume using 'kubectl wsx attach {pod} -c {container} -n {namespace} -i -t' command"
        ));
    }
    outcome
}

/// Puts the lines of the log first, between two lines on stderr that say so.
fn first(history: History, name: &str, output: Output) -> Again {
    let History {
        lines,
        mut again,
        doubtful,
    } = history;
    let looks = Looks {
        safe: terminal::is_terminal(stdout()),
        ..Looks::default()
    };
    let mut printer = Printer::new(looks, Filter::default());
    let mark = |said: &str| {
        let text = format!("--- {}: {said} ---\n", escape(name));
        (output == Output::Talkative).then(|| (Stream::Stderr, text.into()))
    };
    again.show_first(mark("the last lines of its log").into_iter().collect());
    for line in lines {
        printer.print(&LogItem::Line(history::unstamped(line)));
    }
    printer.finish();
    again.show_first(printer.take());
    let said = match doubtful {
        0 => "attached".to_owned(),
        lines => format!("attached; at most {lines} of these lines may be shown twice"),
    };
    again.show_first(mark(&said).into_iter().collect());
    again
}

impl Args {
    /// Returns the target, or what is wrong with it in kubectl's words (pkg/cmd/attach/attach.go).
    fn target(&self) -> Result<String, String> {
        match &self.target[..] {
            [] => Err("at least 1 argument is required for attach".to_owned()),
            [target] => Ok(target.clone()),
            [kind, name] => Ok(format!("{kind}/{name}")),
            more => Err(format!(
                "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]",
                more.len(),
                more.join(" ")
            )),
        }
    }
}

//! `kubectl wsx`: streams to and from pods that never lie about how they ended.
//!
//! A roof over `wsx_core`: flags in, words and exit codes out. What bytes mean, who moves them and
//! whom we reach is decided there.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bridge;
mod cli;
mod commands;
mod detach;
mod duration;
mod ending;
mod environment;
mod exit;
mod flag;
mod globals;
mod history;
mod input;
mod lines;
mod log;
mod manifest;
mod output;
mod place;
mod relay;
mod signals;
mod sink;
mod status_file;
mod terminal;

use std::process::ExitCode;

use tokio::runtime::Builder;
use wsx_core::{Error, ErrorKind};

use crate::cli::{Cli, Verb};
use crate::commands::{attach, exec, forward, logs, version};
use crate::ending::Ending;
use crate::exit::Exit;

fn main() -> ExitCode {
    // A standard descriptor that was closed is /dev/null by now (the standard library sees to it),
    // and SIGPIPE is ignored: what nobody reads is an error of the write.
    let codes = environment::exit_codes();
    let exit = match cli::parse(std::env::args_os()) {
        Ok(cli) => start(cli),
        Err(error) => exit::from_clap(&error, codes),
    };
    exit.leave()
}

fn start(cli: Cli) -> Exit {
    log::start(cli.globals.verbosity());
    cli.globals.tell_ignored();
    // One thread: data crosses no boundary between the socket and standard output.
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(run(cli));
            // A name that is still being resolved must not hold up the end.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            let error = Error::new(ErrorKind::NotStarted, "cannot start").caused_by(error);
            Ending::Failed(error).announce(None, environment::exit_codes())
        }
    }
}

async fn run(Cli { globals, verb }: Cli) -> Exit {
    let ending = match verb {
        Verb::Attach(args) => return attach::run(*args, &globals).await,
        Verb::Exec(args) => return exec::run(*args, &globals).await,
        Verb::Logs(args) => return logs::run(*args, &globals).await,
        Verb::Options => exit::printed(globals.output().print(&cli::options())),
        Verb::PortForward(args) => return forward::run(*args, &globals).await,
        Verb::Version(args) => version::run(args, &globals).await,
    };
    ending.announce(None, environment::exit_codes())
}

//! The command line as a whole.
//!
//! Lives here: the root of the flags, and parsing. Never here: what a command does.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Args as _, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands::{attach, exec, forward, logs, version};
use crate::flag;
use crate::globals::Globals;

/// Streams to and from pods over WebSocket that never lie about how they ended
#[derive(Parser)]
#[command(
    name = "kubectl wsx",
    bin_name = "kubectl wsx",
    version,
    args_override_self = true,
    subcommand_required = true,
    arg_required_else_help = true,
    override_usage = "kubectl wsx COMMAND [flags]",
    after_help = "Use \"kubectl wsx COMMAND --help\" for the flags of a command, and\n\
                  \"kubectl wsx options\" for those of all commands. All flags come after \"wsx\"."
)]
pub(crate) struct Cli {
    /// The flags of every command.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Verb {
    Attach(Box<attach::Args>),
    Exec(Box<exec::Args>),
    Logs(Box<logs::Args>),
    /// Show the flags that every command has
    Options,
    #[command(name = "port-forward", visible_alias = "pf")]
    PortForward(Box<forward::Args>),
    Version(version::Args),
}

/// A command line that is not carried out: a mistake, or a question for help.
#[derive(Debug)]
pub(crate) struct Refused {
    /// clap's words.
    pub(crate) error: clap::Error,
    /// The command whose help explains it; empty where none was named.
    pub(crate) command: &'static str,
}

/// What stands for a command, and the name of its help.
const NAMES: [(&str, &str); 7] = [
    ("attach", "attach"),
    ("exec", "exec"),
    ("logs", "logs"),
    ("options", "options"),
    ("pf", "port-forward"),
    ("port-forward", "port-forward"),
    ("version", "version"),
];

/// Returns what was asked for.
///
/// # Errors
/// Mistakes, and questions for help.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Refused> {
    let mut command = command();
    let arguments = flag::normalize(arguments, &names(&command));
    let named = NAMES
        .into_iter()
        .find(|(name, _)| arguments.iter().skip(1).any(|argument| argument == *name));
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| {
        let error = error.format(&mut command);
        Refused {
            error,
            command: named.map_or("", |(_, name)| name),
        }
    })
}

/// Returns the help of the flags that every command has.
pub(crate) fn options() -> String {
    let command = Command::new("kubectl wsx")
        .disable_help_flag(true)
        .help_template(
            "The following flags can be passed to every command, after \"wsx\":\n\n{options}\n",
        );
    Globals::augment_args(command).render_help().to_string()
}

/// Returns the command line with its global flags, which are hidden: they are many, and well known.
fn command() -> Command {
    Cli::command().mut_args(|flag| flag.global(true).hide(true))
}

/// Returns the long names of all flags.
fn names(command: &Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter_map(|flag| flag.get_long())
        .map(str::to_owned);
    own.chain(command.get_subcommands().flat_map(names))
        .collect()
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;

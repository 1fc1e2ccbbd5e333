//! What exec makes of its flags.

use std::ffi::OsString;

use std::time::Duration;

use wsx_core::{Limits, Offer, Subprotocol};

use super::*;
use crate::cli::{self, Verb};

impl Args {
    /// Returns what `-i` and `-t` say.
    pub(crate) fn switches(&self) -> (Option<bool>, Option<bool>) {
        (self.session.stdin, self.session.tty)
    }

    /// Returns the command.
    pub(crate) fn command(&self) -> &[String] {
        &self.command
    }
}

fn args(line: &str) -> Args {
    let words = ["kubectl-wsx", "exec"]
        .into_iter()
        .chain(line.split_whitespace());
    match cli::parse(words.map(OsString::from)) {
        Ok(cli) => match cli.verb {
            Verb::Exec(args) => *args,
            _ => panic!("{line} is no exec"),
        },
        Err(refused) => panic!("{line}: {}", refused.error),
    }
}

#[test]
fn mistakes_are_told_in_the_words_of_kubectl() {
    const DASHES: &str =
        "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead";
    for (line, words) in [
        ("web-0 -- ls", None),
        ("-f pod.yaml -- ls", None),
        ("web-0 ls", Some(DASHES)),
        ("-f pod.yaml ls", Some(DASHES)),
        (
            "web-0",
            Some("you must specify at least one command for the container"),
        ),
        (
            "web-0 --",
            Some("you must specify at least one command for the container"),
        ),
        (
            "-f pod.yaml",
            Some("you must specify at least one command for the container"),
        ),
        ("", Some("pod, type/name or --filename must be specified")),
        (
            "-- ls",
            Some("pod, type/name or --filename must be specified"),
        ),
        (
            "web-0 app -- ls",
            Some("only one of POD, TYPE/NAME and --filename can be specified"),
        ),
    ] {
        assert_eq!(
            args(line).mistake().map(|(words, _)| words),
            words,
            "{line:?}"
        );
    }
}

#[test]
fn absent_flags_leave_the_defaults() {
    assert_eq!(args("web-0 -- ls").options(false), ExecOptions::default());
}

#[test]
fn flags_become_options() {
    let line = "web-0 -c app -i --pod-running-timeout=5s --timeout=1m --protocol=v5 --verify=never \
                --keepalive=0 --keepalive-timeout=7s --stall-timeout=8s --connect-timeout=9s \
                --no-preflight -- ls";
    let seconds = Duration::from_secs;
    let limits = Limits::default()
        .connect(seconds(9))
        .keepalive(Duration::ZERO)
        .keepalive_timeout(seconds(7))
        .stall(seconds(8));
    let expected = ExecOptions::default()
        .container("app".to_owned())
        .limits(limits)
        .pod_running_timeout(seconds(5))
        .preflight(false)
        .protocol(Offer::Only(Subprotocol::V5))
        .stdin(true)
        .timeout(seconds(60))
        .verify(Verify::Never);
    assert_eq!(args(line).options(false), expected);
}

#[test]
fn a_terminal_has_no_error_output_of_its_own() {
    let options = args("web-0 -it -- sh").options(true);
    assert!(options.tty && options.stdin && !options.stderr);
}

#[test]
fn a_time_limit_of_zero_is_none() {
    assert_eq!(args("web-0 --timeout=0 -- ls").options(false).timeout, None);
}

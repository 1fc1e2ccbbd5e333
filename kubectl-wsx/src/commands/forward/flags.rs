//! The flags of `port-forward`, and what they ask for.
//!
//! Lives here: flags, targets and their ports as they stand in the command line. Never here: looking
//! anything up, what a port is (the core reads it).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use wsx_core::{
    Balance, ForwardOptions, ForwardProtocol, ForwardSubprotocol, HalfClose, OnConflict, Reconnect,
};

use super::variables;
use crate::duration;
use crate::ending::Hint;
use crate::flag::parse_bool;

/// Forward local ports to pods and services, over restarts and losses
#[derive(clap::Args)]
#[command(
    override_usage = "kubectl wsx port-forward TYPE/NAME [LOCAL:]REMOTE... [+ TYPE/NAME ...] [flags] [-- COMMAND]",
    help_template = "{about}\n\n{before-help}Usage:\n  {usage}\n\nOptions:\n{options}{after-help}",
    before_help = "Examples:
  kubectl wsx port-forward mypod 8080:80          # local port 8080 to port 80 of a pod
  kubectl wsx port-forward svc/db :5432           # any free port to a ready pod of a service
  kubectl wsx pf svc/db 5432 + deploy/web 8080    # several targets
  kubectl wsx pf svc/db :5432 -- ./test.sh        # with WSX_PORT_5432; ends with its code",
    after_help = "Exit status: 0 after Ctrl-C, that of COMMAND; 125 could not start (a port in use, no such pod), 255
lost for good, 74 output not written. Use \"kubectl wsx options\" for the flags of all commands."
)]
pub(crate) struct Args {
    #[arg(hide = true)]
    targets: Vec<String>,
    #[arg(last = true, hide = true)]
    command: Vec<OsString>,
    /// IP addresses to listen on [default: localhost]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    address: Vec<String>,
    /// A Unix socket instead, mode 0600; for a single port
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Local port in use: fail, next, random [default: fail]
    #[arg(long, value_name = "WHAT", value_parser = parse_on_conflict)]
    on_conflict: Option<OnConflict>,
    /// Use all ready pods of the target: least, round-robin
    #[arg(long, value_name = "HOW", value_parser = parse_balance)]
    balance: Option<Balance>,
    /// Pods of TYPE/NAME have to be ready [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    require_ready: Option<bool>,
    /// When a session is lost: auto, never, a count [default: auto]
    #[arg(long, value_name = "HOW", value_parser = parse_reconnect)]
    reconnect: Option<Reconnect>,
    /// Wait for a pod once there was one [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    wait: Option<Duration>,
    /// Keep new connections waiting for a session [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    hold: Option<Duration>,
    /// Pass on the end of input: auto, hold, pass [default: auto]
    #[arg(long, value_name = "WHEN", value_parser = parse_half_close)]
    half_close: Option<HalfClose>,
    /// Sessions to spread connections over [default: 1]
    #[arg(long, value_name = "COUNT")]
    sessions: Option<usize>,
    /// Subprotocol: auto, tunnel, v4, or a name [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parse_protocol)]
    protocol: Option<ForwardProtocol>,
    /// Wait for the pod to run [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pod_running_timeout: Option<Duration>,
    /// Limit of each step until data flows [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    connect_timeout: Option<Duration>,
    /// Time between two pings; 0 sends none [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    keepalive: Option<Duration>,
    /// Limit for a silent server [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    keepalive_timeout: Option<Duration>,
    /// Limit for data left unread [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    stall_timeout: Option<Duration>,
    /// Form of the output: text, json [default: text]
    #[arg(short, long, value_name = "FORM", hide_possible_values = true)]
    output: Option<Form>,
    /// Written when all ports are ready, as JSON; gone at the end
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Say at the end what went through
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    stats: Option<bool>,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Form {
    /// kubectl's lines
    #[default]
    Text,
    /// One object a line, for every event
    Json,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) targets: Vec<Target>,
    pub(super) options: ForwardOptions,
    pub(super) command: Vec<OsString>,
    pub(super) form: Form,
    pub(super) ready_file: Option<PathBuf>,
    pub(super) stats: bool,
}

/// A target with its ports, as they were written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) ports: Vec<String>,
}

/// What is wrong with a command line.
type Mistake = (String, Hint);

/// What stands between two targets.
const AND: &str = "+";

impl Args {
    /// Returns what is to be done, or what is wrong.
    pub(super) fn plan(self) -> Result<Plan, Mistake> {
        let targets = targets(&self.targets)?;
        if !self.command.is_empty() {
            variables::names(&targets).map_err(|error| (error, Hint::None))?;
        }
        if self.unix.is_some()
            && targets
                .iter()
                .map(|target| target.ports.len())
                .sum::<usize>()
                > 1
        {
            let words = "a Unix socket leads to a single port, and not to several (--unix)";
            return Err((words.to_owned(), Hint::None));
        }
        if self.unix.is_some() && !self.address.is_empty() {
            let words = "only one of --unix or --address is allowed";
            return Err((words.to_owned(), Hint::None));
        }
        Ok(Plan {
            options: self.options(),
            targets,
            command: self.command,
            form: self.output.unwrap_or_default(),
            ready_file: self.ready_file,
            stats: self.stats == Some(true),
        })
    }

    /// Absent flags leave the defaults.
    fn options(&self) -> ForwardOptions {
        let defaults = ForwardOptions::default();
        let limits = defaults.limits;
        let limits = limits
            .connect(self.connect_timeout.unwrap_or(limits.connect))
            .keepalive(self.keepalive.unwrap_or(limits.keepalive))
            .keepalive_timeout(self.keepalive_timeout.unwrap_or(limits.keepalive_timeout))
            .stall(self.stall_timeout.unwrap_or(limits.stall));
        let mut options = defaults.limits(limits).unix(self.unix.clone());
        if !self.address.is_empty() {
            options.address.clone_from(&self.address);
        }
        options.balance = self.balance;
        options.half_close = self.half_close.unwrap_or(options.half_close);
        options.hold = self.hold.unwrap_or(options.hold);
        options.on_conflict = self.on_conflict.unwrap_or(options.on_conflict);
        options.pod_running_timeout = self
            .pod_running_timeout
            .unwrap_or(options.pod_running_timeout);
        options.protocol = self.protocol.unwrap_or(options.protocol);
        options.reconnect = self.reconnect.unwrap_or(options.reconnect);
        options.require_ready = self.require_ready.unwrap_or(options.require_ready);
        options.sessions = self.sessions.unwrap_or(options.sessions);
        options.wait = self.wait.unwrap_or(options.wait);
        options
    }
}

/// Reads `TYPE/NAME [LOCAL:]REMOTE... [+ TYPE/NAME [LOCAL:]REMOTE...]`.
fn targets(words: &[String]) -> Result<Vec<Target>, Mistake> {
    // kubectl pkg/cmd/portforward/portforward.go, Complete: the same words.
    const NEEDED: &str = "TYPE/NAME and list of ports are required for port-forward";
    let target = |words: &[String]| match words {
        [name, ports @ ..] if !ports.is_empty() => Ok(Target {
            name: name.clone(),
            ports: ports.to_vec(),
        }),
        _ => Err((NEEDED.to_owned(), Hint::Examples("port-forward"))),
    };
    words.split(|word| word == AND).map(target).collect()
}

fn parse_on_conflict(text: &str) -> Result<OnConflict, String> {
    match text {
        "fail" => Ok(OnConflict::Fail),
        "next" => Ok(OnConflict::Next),
        "random" => Ok(OnConflict::Random),
        _ => Err("it must be one of fail, next, random".to_owned()),
    }
}

fn parse_balance(text: &str) -> Result<Balance, String> {
    match text {
        "least" => Ok(Balance::Least),
        "round-robin" => Ok(Balance::RoundRobin),
        _ => Err("it must be one of least, round-robin".to_owned()),
    }
}

fn parse_half_close(text: &str) -> Result<HalfClose, String> {
    match text {
        "auto" => Ok(HalfClose::Auto),
        "hold" => Ok(HalfClose::Hold),
        "pass" => Ok(HalfClose::Pass),
        _ => Err("it must be one of auto, hold, pass".to_owned()),
    }
}

fn parse_reconnect(text: &str) -> Result<Reconnect, String> {
    match text {
        "auto" => Ok(Reconnect::Auto),
        "never" => Ok(Reconnect::Never),
        count => count
            .parse()
            .map(Reconnect::Times)
            .map_err(|_| "it must be auto, never, or a number".to_owned()),
    }
}

fn parse_protocol(text: &str) -> Result<ForwardProtocol, String> {
    match text {
        "auto" => Ok(ForwardProtocol::Auto),
        "tunnel" => Ok(ForwardProtocol::Only(ForwardSubprotocol::Tunnel)),
        "v4" => Ok(ForwardProtocol::Only(ForwardSubprotocol::V4)),
        name => ForwardSubprotocol::parse(name)
            .map(ForwardProtocol::Only)
            .ok_or_else(|| {
                let names = ForwardSubprotocol::ALL.map(ForwardSubprotocol::name);
                format!("it must be one of auto, tunnel, v4, {}", names.join(", "))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<Target>, Mistake> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        targets(&words)
    }

    fn target(name: &str, ports: &[&str]) -> Target {
        Target {
            name: name.to_owned(),
            ports: ports.iter().map(|port| (*port).to_owned()).collect(),
        }
    }

    #[test]
    fn targets_stand_between_plus_signs() {
        let db = target("svc/db", &["5432"]);
        let web = target("web-0", &["8080:80", ":http"]);
        assert_eq!(read("svc/db 5432"), Ok(vec![db.clone()]));
        assert_eq!(read("svc/db 5432 + web-0 8080:80 :http"), Ok(vec![db, web]));
    }

    #[test]
    fn every_target_has_ports() {
        let words = "TYPE/NAME and list of ports are required for port-forward";
        let mistake = Err((words.to_owned(), Hint::Examples("port-forward")));
        for line in [
            "",
            "web-0",
            "web-0 80 +",
            "+ web-0 80",
            "web-0 80 + db-0",
            "a 1 + + b 2",
        ] {
            assert_eq!(read(line), mistake, "{line}");
        }
    }

    #[test]
    fn words_stand_for_themselves_and_others_are_told_what_there_is() {
        assert_eq!(parse_reconnect("3"), Ok(Reconnect::Times(3)));
        assert_eq!(parse_reconnect("auto"), Ok(Reconnect::Auto));
        assert!(parse_reconnect("-1").is_err() && parse_reconnect("").is_err());
        for (text, protocol) in [
            ("auto", ForwardProtocol::Auto),
            ("tunnel", ForwardProtocol::Only(ForwardSubprotocol::Tunnel)),
            ("v4", ForwardProtocol::Only(ForwardSubprotocol::V4)),
            (
                "SPDY/3.1+portforward.k8s.io",
                ForwardProtocol::Only(ForwardSubprotocol::Tunnel),
            ),
            (
                "v4.channel.k8s.io",
                ForwardProtocol::Only(ForwardSubprotocol::V4),
            ),
        ] {
            assert_eq!(parse_protocol(text), Ok(protocol), "{text}");
        }
        let error = parse_protocol("v5").unwrap_err();
        let all =
            "it must be one of auto, tunnel, v4, SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io";
        assert_eq!(error, all);
        assert!(parse_balance("sticky").is_err() && parse_half_close("").is_err());
        assert!(parse_on_conflict("Fail").is_err());
    }
}

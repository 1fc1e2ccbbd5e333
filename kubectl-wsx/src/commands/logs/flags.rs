//! The flags of `logs`, and what they ask for.
//!
//! Lives here: kubectl's rules and words for what cannot be (pkg/cmd/logs/logs.go). Never here: reading.

use std::time::Duration;

use regex::bytes::Regex;
use rustix::stdio::stdout;
use wsx_core::{LogProtocol, LogSubprotocol, LogsOptions};

use super::Plan;
use crate::duration::{self, DurationError};
use crate::ending::Hint;
use crate::environment;
use crate::flag::parse_bool;
use crate::globals::Globals;
use crate::lines::filter::{self, Filter};
use crate::lines::{Form, Looks};
use crate::output::Output;
use crate::terminal;

/// Print what containers wrote, or follow it; a loss is never silent
#[derive(clap::Args)]
#[command(
    override_usage = "kubectl wsx logs [-f | -F] [-p] (POD | TYPE/NAME | -l SELECTOR | -A) [-c CONTAINER] [flags]",
    help_template = "{about}\n\n{before-help}Usage:\n  {usage}\n\nOptions:\n{options}{after-help}",
    before_help = "Examples:
  kubectl wsx logs mypod                          # all that its container wrote
  kubectl wsx logs -f deploy/web --tail 100       # the last 100 lines, and what comes
  kubectl wsx logs -F -l app=web --prefix         # every pod of a selector, new ones too, for ever
  kubectl wsx logs -f mypod --strict -o json      # for programs; 65 at the end if lines are missing",
    after_help = "Exit status: 0 when all that was asked for was shown; 65 lines are missing (--strict), 74 output
not written, 125 not to be had, 255 lost. Use \"kubectl wsx options\" for the flags of all commands."
)]
pub(crate) struct Args {
    #[arg(hide = true)]
    target: Vec<String>,
    /// Container [default: the annotated one, else the first]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// All containers of each pod
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    all_containers: Option<bool>,
    /// All pods of TYPE/NAME; sets --prefix
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    all_pods: Option<bool>,
    /// Pods of all namespaces; sets --prefix
    #[arg(short = 'A', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    all_namespaces: Option<bool>,
    /// Pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Go on with what comes, over every cut
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    follow: Option<bool>,
    /// Follow, wait for pods and runs to come, never give up
    #[arg(short = 'F', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    forever: Option<bool>,
    /// The run before the present one
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    previous: Option<bool>,
    /// Only the last lines [default: all, 10 with -l or -A]
    #[arg(long = "tail", value_name = "LINES", allow_hyphen_values = true)]
    tail_lines: Option<i64>,
    /// Only lines of this long ago or later
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only lines of this time (RFC 3339) or later
    #[arg(long, value_name = "TIME")]
    since_time: Option<String>,
    /// At most so many bytes of each log
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    limit_bytes: Option<i64>,
    /// Show when each line was written
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    timestamps: Option<bool>,
    /// Show pod and container before each line
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    prefix: Option<bool>,
    /// Go on with the others when a log cannot be read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    ignore_errors: Option<bool>,
    /// How many logs are read at once; others wait [default: 50]
    #[arg(long, value_name = "COUNT")]
    max_log_requests: Option<usize>,
    /// Wait for a pod, and with -f for its container [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    pod_running_timeout: Option<Duration>,
    /// Only lines that match; may be repeated
    #[arg(long, value_name = "REGEX", value_parser = filter::parse)]
    include: Vec<Regex>,
    /// No lines that match; may be repeated
    #[arg(long, value_name = "REGEX", value_parser = filter::parse)]
    exclude: Vec<Regex>,
    /// Mark what matches on a terminal; may be repeated
    #[arg(long, value_name = "REGEX", value_parser = filter::parse)]
    highlight: Vec<Regex>,
    /// Order of several logs: none, window [default: none]
    #[arg(long, value_name = "ORDER", hide_possible_values = true)]
    sort: Option<Sort>,
    /// How long --sort=window may hold back a line [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    sort_window: Option<Duration>,
    /// Form of the output: text, raw, json [default: text]
    #[arg(short, long, value_name = "FORM", hide_possible_values = true)]
    output: Option<Form>,
    /// Let control characters through to a terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    raw: Option<bool>,
    /// End with the connection instead of resuming
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    no_resume: Option<bool>,
    /// End with 65 when lines are missing, or a log is
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    strict: Option<bool>,
    /// Limit of each step until data flows [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    connect_timeout: Option<Duration>,
    /// Time between two pings; 0 sends none [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    keepalive: Option<Duration>,
    /// Limit for a silent server [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive)]
    keepalive_timeout: Option<Duration>,
    /// How to follow: auto, http, or a subprotocol [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parse_protocol)]
    protocol: Option<LogProtocol>,
}

/// Order of lines of several logs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Sort {
    /// As they come
    None,
    /// By time, as far as they come within --sort-window
    Window,
}

/// What is wrong with a command line.
type Mistake = (String, Hint);

impl Args {
    /// Returns what is to be done, or what is wrong.
    pub(super) fn plan(self, globals: &Globals) -> Result<Plan, Mistake> {
        let (target, container) = self.whose()?;
        let since = self.since()?;
        let forever = self.forever == Some(true);
        let form = self.output.unwrap_or_default();
        let filter = Filter::new(&self.include, &self.exclude, self.highlight.clone());
        let filter = filter.map_err(|error| (error.to_string(), Hint::None))?;
        let terminal = terminal::is_terminal(stdout());
        // A limit of bytes counts timestamps, too.
        let dated = form == Form::Json && self.limit_bytes.unwrap_or(0) == 0;
        let timestamps = self.timestamps == Some(true) || dated;
        let several = self.is_several();
        let looks = Looks {
            form,
            prefix: self.all_pods == Some(true)
                || self.prefix.or(self.all_namespaces) == Some(true),
            namespaces: self.all_namespaces == Some(true),
            timestamps,
            safe: terminal && form == Form::Text && self.raw != Some(true),
            colours: terminal && form == Form::Text && environment::allows_colours(),
            together: several && (forever || self.follow == Some(true)),
            quiet: globals.output() == Output::Quiet,
        };
        let options = self.options(container, since, timestamps)?;
        Ok(Plan {
            target,
            options,
            looks,
            filter,
            strict: self.strict == Some(true),
        })
    }

    /// Whether several logs may be read.
    fn is_several(&self) -> bool {
        let switches = [self.all_containers, self.all_pods, self.all_namespaces];
        self.selector.is_some() || switches.contains(&Some(true))
    }

    /// Returns the target, and the container that stands beside it or is named.
    fn whose(&self) -> Result<(Option<String>, Option<String>), Mistake> {
        const NEEDED: &str = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n\
            POD or TYPE/NAME is a required argument for the logs command";
        let mistake = |words: &str, hint| Err((words.to_owned(), hint));
        let selected = self.selector.is_some() || self.all_namespaces == Some(true);
        let (target, inline) = match &self.target[..] {
            [] if selected => (None, None),
            [] => return mistake(NEEDED, Hint::Examples("logs")),
            _ if selected => {
                let words = match self.selector {
                    Some(_) => "only a selector (-l) or a POD name is allowed",
                    None => "only all namespaces (-A) or a POD name is allowed",
                };
                return mistake(words, Hint::Examples("logs"));
            }
            [target] => (Some(target), None),
            [target, container] => (Some(target), Some(container)),
            _ => return mistake(NEEDED, Hint::Examples("logs")),
        };
        if inline.is_some() && self.container.is_some() {
            return mistake(
                "only one of -c or an inline [CONTAINER] arg is allowed",
                Hint::None,
            );
        }
        let container = inline.or(self.container.as_ref());
        if let (Some(container), Some(true)) = (container, self.all_containers) {
            let words = format!(
                "--all-containers=true should not be specified with container name {container}"
            );
            return mistake(&words, Hint::None);
        }
        Ok((target.cloned(), container.cloned()))
    }

    fn since(&self) -> Result<Option<Duration>, Mistake> {
        let Some(text) = &self.since else {
            return Ok(None);
        };
        if self.since_time.is_some() {
            let words = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            return Err((words.to_owned(), Hint::None));
        }
        match duration::parse(text) {
            Ok(since) => Ok(Some(since).filter(|since| !since.is_zero())),
            Err(DurationError::Negative(_)) => {
                Err(("--since must be greater than 0".to_owned(), Hint::None))
            }
            Err(error) => {
                let words = format!("invalid argument {text:?} for \"--since\" flag: {error}");
                Err((words, Hint::Flags("logs")))
            }
        }
    }

    /// Returns how long a line may be held back to be sorted.
    fn sort_window(&self) -> Result<Option<Duration>, Mistake> {
        match (self.sort, self.sort_window) {
            (Some(Sort::Window), window) => Ok(Some(window.unwrap_or(SORT_WINDOW))),
            (_, None) => Ok(None),
            (_, Some(_)) => Err(("--sort-window needs --sort=window".to_owned(), Hint::None)),
        }
    }

    fn options(
        &self,
        container: Option<String>,
        since: Option<Duration>,
        timestamps: bool,
    ) -> Result<LogsOptions, Mistake> {
        let mistake = |words: &str| Err((words.to_owned(), Hint::None));
        let selected = self.selector.is_some() || self.all_namespaces == Some(true);
        let tail = match self.tail_lines {
            None => selected.then_some(SELECTED_TAIL),
            Some(-1) => None,
            Some(lines) => match u64::try_from(lines) {
                Ok(lines) => Some(lines),
                Err(_) => return mistake("--tail must be greater than or equal to -1"),
            },
        };
        let limit_bytes = match self.limit_bytes.map(u64::try_from) {
            None | Some(Ok(0)) => None,
            Some(Ok(bytes)) => Some(bytes),
            Some(Err(_)) => return mistake("--limit-bytes must be greater than 0"),
        };
        let defaults = LogsOptions::default();
        let limits = defaults.limits;
        let limits = limits
            .connect(self.connect_timeout.unwrap_or(limits.connect))
            .keepalive(self.keepalive.unwrap_or(limits.keepalive))
            .keepalive_timeout(self.keepalive_timeout.unwrap_or(limits.keepalive_timeout));
        let waiting = self
            .pod_running_timeout
            .unwrap_or(defaults.pod_running_timeout);
        let forever = self.forever == Some(true);
        let max_log_requests = self.max_log_requests.unwrap_or(defaults.max_log_requests);
        Ok(defaults
            .all_containers(self.all_containers == Some(true))
            .all_namespaces(self.all_namespaces == Some(true))
            .all_pods(self.all_pods == Some(true))
            .container(container)
            .follow(forever || self.follow == Some(true))
            .forever(forever)
            .ignore_errors(self.ignore_errors == Some(true))
            .limit_bytes(limit_bytes)
            .limits(limits)
            .max_log_requests(max_log_requests)
            .pod_running_timeout(waiting)
            .previous(self.previous == Some(true))
            .protocol(self.protocol.unwrap_or_default())
            .resume(self.no_resume != Some(true))
            .selector(self.selector.clone())
            .since(since)
            .since_time(self.since_time.clone())
            .sort_window(self.sort_window()?)
            .tail_lines(tail)
            .timestamps(timestamps))
    }
}

/// kubectl pkg/cmd/logs/logs.go, `selectorTail`.
const SELECTED_TAIL: u64 = 10;
const SORT_WINDOW: Duration = Duration::from_secs(1);

fn parse_protocol(text: &str) -> Result<LogProtocol, String> {
    match text {
        "auto" => Ok(LogProtocol::Auto),
        "http" => Ok(LogProtocol::Http),
        name => LogSubprotocol::parse(name)
            .map(LogProtocol::Only)
            .ok_or_else(|| {
                let names = LogSubprotocol::ALL.map(LogSubprotocol::name).join(", ");
                format!("it must be one of auto, http, {names}")
            }),
    }
}

//! Several logs as one: which are read, how many at once, and when it is all over.
//!
//! - `select`: the pods that are meant
//! - `roll`: which logs they have, and which of them come next
//! - `outlet`: from many queues into one
//!
//! Without following the pods are listed once, and their logs read one after the other: pods as listed,
//! of each the init, the ordinary, the ephemeral containers (kubectl collects them so, and walks over
//! them in the order of a Go map). With it they are watched: a container that starts later joins from
//! its first line on, one that is started anew joins again, and nothing is asked twice for it. It is
//! over when no container that is left can write any more.

mod outlet;
mod roll;
mod select;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::outlet::{Log, Outlet};
use self::roll::{Entry, Outlook, Roll, Turn};
use super::open::Opener;
use super::pump::{Pump, closed};
use crate::client::notice::Notice;
use crate::client::pod::{Pod, PodList};
use crate::client::server::Server;
use crate::client::target::Target;
use crate::client::watch::{News, Selection, Watcher};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::{Instance, LogsOptions};
use crate::session::logs::{Batch, Facts, LogEnd, LogEvent, LogSource, READ_SIZE_SHARED};
use crate::session::queue;

/// How many bytes of lines of one log wait for their turn.
const LOG_LIMIT: usize = 32 * 1024;
/// How often pods are listed that may not be watched.
const LISTED: Duration = Duration::from_secs(10);
/// How many changes of pods wait.
const NEWS: usize = 16;
/// How long the end of a log is waited for whose pod is gone, while it is silent.
const GRACE: Duration = Duration::from_secs(10);
/// As good as never.
const FAR: Duration = Duration::from_secs(24 * 3600);
/// What is missing before a log that nobody could read from its beginning.
const GAP: LogEvent = gap(true);
/// What may be missing at the end of a log.
const UNCERTAIN: LogEvent = gap(false);

const fn gap(certain: bool) -> LogEvent {
    LogEvent::Gap {
        certain,
        from: None,
        to: None,
    }
}

/// What is to be read, found out before anything is.
pub(super) struct Found {
    pub(super) selection: Selection,
    pub(super) list: PodList,
}

/// Asks for the pods.
///
/// # Errors
/// `NotFound` where nobody is there and nobody is waited for; `Forbidden` … as the server says.
pub(super) async fn find(
    server: &Server,
    target: Option<&Target>,
    namespace: &str,
    options: &LogsOptions,
) -> Result<Found> {
    let selection = select::select(server, target, namespace, options).await?;
    let list = selection.list(server, options.limits.connect).await?;
    if list.items.is_empty() && !options.follows() {
        return Err(selection.nobody());
    }
    Ok(Found { selection, list })
}

/// What the task of a log came to.
type Ended = (Result<LogEnd>, Option<Instance>);

/// Reads several logs.
pub(super) struct Many {
    server: Arc<Server>,
    options: LogsOptions,
    facts: Arc<Facts>,
    selection: Selection,
    begin: Instant,
    roll: Roll,
    outlet: Outlet,
    tasks: JoinSet<(u64, Ended)>,
    /// How many logs were begun.
    count: u64,
    /// Since when nothing is read, nor known to come.
    idle: Option<Instant>,
}

/// What happened.
enum Step {
    /// The task of a log has ended.
    Ended(u64, Ended),
    /// Items were moved on; false when nobody takes them any more.
    Moved(bool),
    News(News<Pod>),
    Time,
}

impl Many {
    pub(super) fn new(
        server: Arc<Server>,
        options: LogsOptions,
        namespace: &str,
        facts: Arc<Facts>,
        selection: Selection,
        output: queue::Sender<Batch>,
    ) -> Self {
        Self {
            outlet: Outlet::new(output, options.sort_window, Arc::clone(&facts)),
            roll: Roll::new(&options, namespace),
            server,
            options,
            facts,
            selection,
            begin: Instant::now(),
            tasks: JoinSet::new(),
            count: 0,
            idle: None,
        }
    }

    /// Reads all there is, and what joins, to the end.
    pub(super) async fn run(mut self, list: PodList) -> Result<LogEnd> {
        let (news_tx, mut news_rx) = mpsc::channel(NEWS);
        let mut watching = JoinSet::new();
        if self.options.follows() {
            let watcher = Watcher {
                server: Arc::clone(&self.server),
                selection: self.selection.clone(),
                limits: self.options.limits,
                period: LISTED,
                forever: self.options.forever,
                doubt: Arc::default(),
                news: news_tx,
            };
            watching.spawn(watcher.run(Some(list.metadata.resource_version)));
        }
        let end = match self.hear(News::All(list.items)) {
            Ok(()) => self.work(&mut news_rx).await,
            Err(error) => Err(error),
        };
        self.tasks.abort_all();
        match self.outlet.finish().await {
            true => end,
            false => Err(closed()),
        }
    }

    async fn work(&mut self, news: &mut mpsc::Receiver<News<Pod>>) -> Result<LogEnd> {
        loop {
            self.start();
            if let Some(end) = self.over() {
                return end;
            }
            let deadline = self.deadline();
            // A reader that takes nothing holds up the watch, too.
            let hears = !self.outlet.is_blocked();
            let (tasks, outlet) = (&mut self.tasks, &mut self.outlet);
            let step = tokio::select! {
                Some(news) = news.recv(), if hears => Step::News(news),
                Some(ended) = tasks.join_next() => match ended {
                    Ok((id, ended)) => Step::Ended(id, ended),
                    // We did that.
                    Err(error) if error.is_cancelled() => Step::Time,
                    Err(error) => {
                        let lost = Error::new(ErrorKind::Internal, "the task of a log is gone");
                        return Err(lost.caused_by(error));
                    }
                },
                moved = poll_fn(|cx| outlet.poll_move(cx)) => Step::Moved(moved),
                () = sleep_until(deadline) => Step::Time,
            };
            match step {
                Step::Ended(id, ended) => self.outlet.ended(id, ended),
                Step::Moved(true) | Step::Time => {}
                Step::Moved(false) => return Err(closed()),
                Step::News(news) => self.hear(news)?,
            }
            self.settle()?;
        }
    }

    fn hear(&mut self, news: News<Pod>) -> Result<()> {
        let heard = match news {
            News::All(pods) => {
                self.roll.only(&pods);
                let heard = pods.iter().try_for_each(|pod| self.look(pod));
                self.roll.all_seen();
                heard
            }
            News::Changed(pod) => self.look(&pod),
            News::Gone(pod) => {
                self.roll.gone(&pod.metadata.uid);
                Ok(())
            }
            News::Away(_) | News::Back => Ok(()),
            News::Failed(error) => Err(error),
        };
        for (source, event) in self.roll.events() {
            self.outlet.tell(source, event);
        }
        self.outlet.without_pod(|key| self.roll.is_gone(key));
        heard
    }

    fn look(&mut self, pod: &Pod) -> Result<()> {
        for notice in self.roll.look(pod)? {
            self.server.tell(&notice);
        }
        Ok(())
    }

    /// Begins with the logs whose turn it is.
    fn start(&mut self) {
        let most = match self.options.follows() || self.options.sort_window.is_some() {
            true => self.options.max_log_requests,
            // One after the other, as kubectl does.
            false => 1,
        };
        while self.outlet.logs() < most
            && let Some(entry) = self.roll.next()
        {
            self.read(entry);
        }
        if !self.options.follows() {
            return;
        }
        for source in self.roll.in_line() {
            let reason = format!("its turn: {most} logs are read at once (--max-log-requests)");
            self.outlet.tell(source, LogEvent::Waiting { reason });
        }
    }

    fn read(&mut self, entry: Entry) {
        let Entry { key, place, turn } = entry;
        let mut options = self.options.clone();
        if turn != Turn::First {
            // It joins: all of it is new.
            (options.tail_lines, options.since, options.since_time) = (None, None, None);
        }
        let (server, facts) = (Arc::clone(&self.server), Arc::clone(&self.facts));
        let (limits, protocol) = (options.limits, options.protocol);
        let opener = Opener::new(
            Arc::clone(&server),
            limits,
            protocol,
            facts,
            READ_SIZE_SHARED,
        );
        let target = Target::Pod(place.pod.name.clone());
        let source = place.source();
        let (log_tx, log_rx) = queue::channel(LOG_LIMIT);
        let mut pump = Pump::new(server, opener, target, options, place, log_tx).watched();
        pump.begin = self.begin;
        self.count += 1;
        let id = self.count;
        let abort = self.tasks.spawn(async move { (id, pump.run().await) });
        let log = Log::new(id, key, Arc::clone(&source), log_rx, abort);
        self.outlet.join(log);
        let event = match turn {
            Turn::Again { count, unseen } => {
                if unseen > 0 {
                    self.outlet.say(id, &source, GAP);
                }
                LogEvent::Restarted { count, unseen }
            }
            Turn::First | Turn::Joining => LogEvent::Started,
        };
        self.outlet.say(id, &source, event);
    }

    /// Takes leave of the logs of which all was given out.
    ///
    /// # Errors
    /// The error of the first log that failed, unless errors are ignored.
    fn settle(&mut self) -> Result<()> {
        for (id, source) in self.outlet.end_silent(GRACE) {
            // The kubelet did not end it: who knows what it has not sent.
            self.outlet.say(id, &source, UNCERTAIN);
        }
        while let Some(log) = self.outlet.take_ended() {
            let (id, source) = (log.id, &log.source);
            let (end, run) = log.end.unwrap_or((Ok(LogEnd::Complete), None));
            let follows = self.options.follows();
            let event = match end {
                Ok(LogEnd::Ended { exit_code }) => LogEvent::Ended { exit_code },
                Ok(LogEnd::Complete) => LogEvent::Ended { exit_code: None },
                // Its pod went away before a line of it was read.
                Err(error) if follows && error.http_status() == Some(404) => {
                    self.outlet.say(id, source, GAP);
                    LogEvent::Ended { exit_code: None }
                }
                Err(error) if self.options.ignore_errors => LogEvent::Failed { error },
                Err(error) => return Err(named(error, source)),
            };
            let run = run.filter(|_| matches!(event, LogEvent::Ended { .. }));
            self.outlet.say(id, source, event);
            self.outlet.leave(id);
            self.roll.done(&log.key, run);
        }
        Ok(())
    }

    /// Tells how all ended, where it did.
    fn over(&mut self) -> Option<Result<LogEnd>> {
        if self.outlet.logs() > 0 {
            self.idle = None;
            return None;
        }
        if !self.options.follows() {
            return Some(Ok(LogEnd::Complete));
        }
        let ended = Ok(LogEnd::Ended { exit_code: None });
        let forever = self.options.forever;
        let reason = match self.roll.outlook() {
            Outlook::Over if !forever => return Some(ended),
            Outlook::Over => "all of them have ended".to_owned(),
            Outlook::Restart => return None,
            Outlook::Nobody => "there is no pod".to_owned(),
            Outlook::Unbegun(state) => state,
        };
        let since = match self.idle {
            Some(since) => since,
            None => {
                let now = Instant::now();
                self.idle = Some(now);
                self.server.tell(&Notice::Waiting {
                    target: self.selection.to_string(),
                    reason: reason.clone(),
                });
                now
            }
        };
        let limit = self.options.pod_running_timeout;
        if forever || since.elapsed() < limit {
            return None;
        }
        if self.roll.began && self.roll.outlook() == Outlook::Nobody {
            return Some(ended);
        }
        let message = format!(
            "{} has not started within {limit:?} (--pod-running-timeout)",
            self.selection
        );
        Some(Err(
            Error::new(ErrorKind::NotStarted, message).because(reason)
        ))
    }

    fn deadline(&self) -> Instant {
        let idle = self
            .idle
            .map(|since| since + self.options.pod_running_timeout)
            .filter(|_| !self.options.forever);
        [self.outlet.deadline(), self.outlet.silence(GRACE), idle]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + FAR)
    }
}

/// Adds to an error whose log it is of, where it does not say so.
fn named(error: Error, source: &LogSource) -> Error {
    let LogSource { pod, container, .. } = source;
    match error.to_string().contains(&**pod) {
        true => error,
        false => error.of(&format!("pod/{pod}/{container}")),
    }
}

//! From replies to items: shows lines, and knows what comes after the end of a reply.
//!
//! Lives here: the order of requests, and what a reply shows. Never here: what follows a lost one
//! (after.rs), which lines are new (protocol/logs), how a request travels (open.rs).
//!
//! A clean end means that the container has ended, or that a kubelet or an API server went away
//! politely (reliability.md E.1). So an end counts only when the container was known to have ended
//! before the request was made; else the place is looked for once more.

mod after;
mod held;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use self::held::Held;
use super::open::{Opener, Reply};
use super::place::Place;
use crate::client::pod::Pod;
use crate::client::resolve::pod_path;
use crate::client::server::Server;
use crate::client::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::request::LogOptions;
use crate::protocol::logs::{self as machine, Ask, Given, Instance, Line, LineReader};
use crate::protocol::logs::{LogsOptions, Pace, Resume, Start, Step};
use crate::session::logs::{Batch, Finish, LogEnd, LogEvent, LogItem, LogLine, LogSource};
use crate::session::queue;

/// Nothing came for this long, beside a round trip: all that was there has been shown.
const QUIET: Duration = Duration::from_millis(500);
/// A reply that lived this long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// What a reply came to.
enum Turn {
    /// Make the request that the resume tells now.
    Again,
    /// The connection is gone.
    Cut(Finish, Option<Given>),
    /// All of this run was shown.
    Done,
    /// The reader is gone.
    Gone,
    /// There was no reply.
    Refused(Error),
    /// Nothing came over HTTP for so long that the peer may be dead.
    Renew(Option<Given>),
}

pub(super) struct Pump {
    server: Arc<Server>,
    opener: Opener,
    target: Target,
    options: LogsOptions,
    place: Place,
    /// Whether somebody else knows of the next run and the next pod.
    watched: bool,
    /// Set when the pod is there no more, where that is watched.
    gone: bool,
    source: Arc<LogSource>,
    output: queue::Sender<Batch>,
    items: Vec<LogItem>,
    resume: Resume,
    /// When the log was asked for: `since` counts from there.
    pub(super) begin: Instant,
    /// Whether a reply ever came.
    opened: bool,
    /// Whether any line was shown, and the time of the last one.
    shown: bool,
    last: Option<i64>,
    /// When a hole was told after which another run may have been shown: the pod tells late of restarts.
    strange: Option<Instant>,
    /// Lines up to this time were shown under the name of the run before.
    skip: Option<i64>,
    /// Set while the rest of a run is read that the container has left behind.
    draining: bool,
    /// Since when the connection is lost, and why, until that is told.
    lost: Option<(Instant, String)>,
    /// Replies in a row that brought nothing, or refusals.
    failures: u32,
    waiting: Option<String>,
    rate: Rate,
    round_trip: Duration,
    held: Held,
}

/// Lines a second, as lately seen.
struct Rate {
    since: Instant,
    lines: u64,
    last: f64,
    heard: Instant,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            lines: 0,
            last: 0.0,
            heard: now,
        }
    }

    fn count(&mut self, lines: u64) {
        self.heard = Instant::now();
        self.lines += lines;
        let elapsed = self.heard - self.since;
        if elapsed >= GOOD {
            self.last = self.lines as f64 / elapsed.as_secs_f64();
            (self.since, self.lines) = (self.heard, 0);
        }
    }

    fn pace(&self, round_trip: Duration) -> Pace {
        let elapsed = (self.heard - self.since).as_secs_f64().max(1.0);
        let rate = self.last.max(self.lines as f64 / elapsed);
        Pace::new(rate, self.heard.elapsed(), round_trip)
    }
}

impl Pump {
    pub(super) fn new(
        server: Arc<Server>,
        opener: Opener,
        target: Target,
        options: LogsOptions,
        place: Place,
        output: queue::Sender<Batch>,
    ) -> Self {
        let start = match options.tail_lines {
            Some(0) => Start::End,
            Some(records) => Start::Tail(records),
            None if options.since.is_some() || options.since_time.is_some() => Start::Time,
            None => Start::Beginning,
        };
        let now = Instant::now();
        Self {
            resume: Resume::new(start, true, server.log_budget()),
            server,
            opener,
            target,
            options,
            source: place.source(),
            place,
            watched: false,
            gone: false,
            output,
            items: Vec::new(),
            begin: now,
            opened: false,
            shown: false,
            last: None,
            strange: None,
            skip: None,
            draining: false,
            lost: None,
            failures: 0,
            waiting: None,
            rate: Rate::new(now),
            round_trip: Duration::ZERO,
            held: Held::default(),
        }
    }

    /// Leaves the next run and the next pod to somebody who watches them.
    pub(super) const fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// Reads to the end; returns the run that was read last, too.
    pub(super) async fn run(mut self) -> (Result<LogEnd>, Option<Instance>) {
        let end = match self.options.resumes() {
            true => self.follow().await,
            false => self.once().await,
        };
        self.flush();
        (end, self.place.run.map(|run| run.instance))
    }

    // One reply and no more

    async fn once(&mut self) -> Result<LogEnd> {
        let mut options = self.options.once();
        options.container.clone_from(&self.place.container);
        // To be sorted, lines need their time.
        options.timestamps |= self.options.sort_window.is_some();
        let mut reply = self.opener.open(&self.place.pod, &options, false).await?;
        let mut reader = match options.timestamps {
            true => LineReader::default(),
            false => LineReader::without_timestamps(),
        };
        let mut bytes = 0;
        let finish = loop {
            if !self.room().await {
                return Err(closed());
            }
            match reply.next().await {
                Ok(chunk) => {
                    bytes += chunk.len() as u64;
                    reader.push(chunk);
                    while let Some(line) = reader.next_line() {
                        self.show(&line);
                    }
                    self.flush();
                }
                Err(finish) => break finish,
            }
        };
        if let Some(line) = reader.take_rest() {
            self.show(&line);
        }
        let lost = |why: &str| {
            let message = "the log was cut: what came is not all of it";
            Err(Error::new(ErrorKind::Lost, message).because(why))
        };
        if !finish.polite {
            return lost(&finish.why);
        }
        if !options.follow || options.limit_bytes.is_some_and(|limit| bytes >= limit) {
            return Ok(LogEnd::Complete);
        }
        let path = pod_path(&self.place.pod.namespace, &self.place.pod.name);
        let pod: Result<Pod> = self.server.object(&path, &[], None).await;
        let run = match (&pod, &self.place.container) {
            (Ok(pod), Some(container)) => pod.run(container),
            _ => None,
        };
        match run {
            Some(run) if !run.running => Ok(LogEnd::Ended {
                exit_code: run.exit_code,
            }),
            None if self.watched && is_gone(&pod) => Ok(LogEnd::Ended { exit_code: None }),
            Some(_) => lost("the container runs on: a kubelet or an API server went away politely"),
            None => lost("it ended politely, but not known to be with the container"),
        }
    }

    // Following

    async fn follow(&mut self) -> Result<LogEnd> {
        while !self.gone {
            let ask = self.resume.ask();
            match self.reply(ask).await {
                Turn::Again => {}
                Turn::Cut(finish, given) => self.recover(finish, given).await?,
                Turn::Done => {
                    if self.held.forget() {
                        self.gap(false, self.last, None);
                    }
                    if self.draining {
                        self.next_run(0);
                    } else if self.options.forever && !self.watched {
                        self.await_next_run().await?;
                    } else {
                        let run = self.place.run.as_ref();
                        let exit_code = run.and_then(|run| run.exit_code);
                        return Ok(LogEnd::Ended { exit_code });
                    }
                }
                Turn::Gone => return Err(closed()),
                Turn::Refused(error) => self.refused(error).await?,
                Turn::Renew(given) => {
                    self.resume.cut(given, self.rate.pace(self.round_trip));
                    self.look_after().await?;
                    self.gap_if_gone();
                }
            }
        }
        Ok(LogEnd::Ended { exit_code: None })
    }

    /// Whether the container was known to have ended before the request was made.
    fn is_over(&self) -> bool {
        self.place.run.as_ref().is_some_and(|run| !run.running)
    }

    fn request(&self, ask: Ask) -> LogOptions {
        // Only before the first line: from then on the position counts.
        let since = ask.since || (!self.shown && self.resume.is_live() && !self.draining);
        let since = since && ask.tail != Some(0);
        let back = self.options.since.map(|since| since + self.begin.elapsed());
        LogOptions::default()
            .container(self.place.container.clone())
            .follow(ask.follow)
            .previous(ask.previous)
            .since(back.filter(|_| since))
            .since_time(self.options.since_time.clone().filter(|_| since))
            .tail_lines(ask.tail)
            .timestamps(true)
    }

    async fn reply(&mut self, ask: Ask) -> Turn {
        let (begin, over) = (Instant::now(), self.is_over());
        let options = self.request(ask);
        let answers = !self.resume.is_live();
        let opening = self.opener.open(&self.place.pod, &options, answers).await;
        let mut reply = match opening {
            Ok(reply) => reply,
            Err(error) => {
                // A log without a line yet, whose server went away while the first one was waited for.
                let waited = begin.elapsed() >= self.options.limits.connect;
                self.opened |= waited && error.kind() == ErrorKind::Lost;
                return Turn::Refused(error);
            }
        };
        self.opened = true;
        self.round_trip = begin.elapsed();
        let silence = match reply {
            Reply::Http(_) if ask.follow => self.options.limits.keepalive_timeout * 4,
            _ => Duration::MAX,
        };
        let (mut reader, mut armed) = (LineReader::default(), true);
        let finish = loop {
            if !self.room().await {
                return Turn::Gone;
            }
            let looks = ask.follow && !ask.previous;
            if looks {
                self.look_for_files().await;
            }
            let patience = match armed && ask.follow {
                true => QUIET + self.round_trip,
                false => silence,
            };
            match timeout(patience, reply.next()).await {
                Ok(Ok(chunk)) => {
                    armed = true;
                    reader.push(chunk);
                    if looks {
                        self.look_for_files().await;
                    }
                    let again = self.take(&mut reader);
                    self.flush();
                    if again {
                        return Turn::Again;
                    }
                    if begin.elapsed() >= GOOD && self.resume.is_live() {
                        self.failures = 0;
                    }
                }
                Ok(Err(finish)) => break finish,
                Err(_) if armed && ask.follow => {
                    armed = false;
                    let step = self.resume.quiet();
                    self.tell();
                    self.flush();
                    if step == Step::Again {
                        return Turn::Again;
                    }
                }
                Err(_) => return Turn::Renew(reader.given()),
            }
        };
        if !finish.polite || (ask.follow && !over) {
            if begin.elapsed() >= GOOD {
                self.failures = 0;
            }
            return Turn::Cut(finish, reader.given());
        }
        if let Some(rest) = reader.take_rest() {
            self.step(rest);
        }
        let step = self.resume.end();
        self.tell_notices();
        self.flush();
        match step {
            Step::Done => Turn::Done,
            _ => Turn::Again,
        }
    }

    /// Takes all lines that are there; tells whether another request must be made.
    fn take(&mut self, reader: &mut LineReader) -> bool {
        let mut lines = 0;
        let mut again = false;
        while let Some(line) = reader.next_line() {
            lines += 1;
            if self.step(line) == Step::Again {
                again = true;
                break;
            }
        }
        if self.resume.is_live() {
            self.rate.count(lines);
        }
        again
    }

    /// Takes one line; returns what else than showing it is to be done.
    fn step(&mut self, line: Line) -> Step {
        match self.resume.line(line) {
            Step::Show(line) if self.skip.is_some() && line.timestamp <= self.skip => Step::Wait,
            Step::Show(line) => {
                self.skip = None;
                self.tell();
                self.failures = 0;
                self.show(&line);
                Step::Wait
            }
            step => {
                self.tell_notices();
                step
            }
        }
    }

    fn show(&mut self, line: &Line) {
        let data = match self.options.timestamps {
            true => line.raw().clone(),
            false => line.content(),
        };
        if let Some(timestamp) = line.timestamp
            && self.held.passes(timestamp)
        {
            self.gap(false, self.last, Some(timestamp));
        }
        self.shown = true;
        self.last = line.timestamp.or(self.last);
        if !data.is_empty() {
            let line = LogLine::new(data, line.timestamp, line.begins, Arc::clone(&self.source));
            self.items.push(LogItem::Line(line));
        }
    }

    /// Tells that the log goes on, and what may be missing.
    fn tell(&mut self) {
        self.waiting = None;
        if self.resume.is_live()
            && let Some((since, why)) = self.lost.take()
        {
            let away = since.elapsed();
            self.event(LogEvent::Reconnected { away, why });
        }
        self.tell_notices();
    }

    fn tell_notices(&mut self) {
        while let Some(notice) = self.resume.poll_notice() {
            let machine::Notice::Gap {
                certain,
                after,
                before,
            } = notice;
            self.held.forget();
            self.strange = certain.then(Instant::now).or(self.strange);
            self.gap(certain, after, before);
        }
    }

    fn event(&mut self, event: LogEvent) {
        self.items
            .push(LogItem::Event(Arc::clone(&self.source), event));
    }

    /// Tells once what is waited for.
    fn wait_for(&mut self, reason: String) {
        if self.waiting.as_ref() != Some(&reason) {
            self.waiting = Some(reason.clone());
            self.event(LogEvent::Waiting { reason });
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.items.is_empty() {
            // A reader that is gone is noticed where room is waited for.
            let _ = self.output.push(Batch(std::mem::take(&mut self.items)));
        }
    }
}

fn is_gone(pod: &Result<Pod>) -> bool {
    pod.as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "nobody reads the log any more")
}

//! From replies to items: shows lines, and knows what comes after the end of a reply.
//!
//! Lives here: the order of requests around a cut. Never here: which lines are new (protocol/logs),
//! how a request travels (open.rs).
//!
//! A clean end means that the container has ended, or that a kubelet or an API server went away
//! politely (reliability.md E.1). So an end counts only when the container was known to have ended
//! before the request was made; else the place is looked for once more.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::open::{Opener, Reply};
use super::place::{self, PERIOD, Place};
use crate::client::pod::{Pod, Run};
use crate::client::resolve::pod_path;
use crate::client::server::{Server, random};
use crate::client::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::request::LogOptions;
use crate::protocol::logs::{self as machine, Ask, Change, Given, Line, LineReader};
use crate::protocol::logs::{LogsOptions, Pace, Resume, Start, Step};
use crate::session::logs::{Batch, Finish, LogEnd, LogEvent, LogItem, LogLine};
use crate::session::queue;

/// Nothing came for this long, beside a round trip: all that was there has been shown.
const QUIET: Duration = Duration::from_millis(500);
/// A reply that lived this long was a good one.
const GOOD: Duration = Duration::from_secs(5);
/// A server that is not reachable for so long is told.
const OUTAGE: Duration = Duration::from_secs(2);
/// The longest pause between two requests to a server that answers with errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many refusals that look final are taken for a server that is still starting.
const REFUSALS: u32 = 6;
/// How many short replies in a row are told.
const SHORT_REPLIES: u32 = 3;

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
    output: queue::Sender<Batch>,
    items: Vec<LogItem>,
    resume: Resume,
    begin: Instant,
    /// Whether a reply ever came.
    opened: bool,
    /// Whether any line was shown, and the time of the last one.
    shown: bool,
    last: Option<i64>,
    /// Set while the rest of a run is read that the container has left behind.
    draining: bool,
    /// Since when the connection is lost, and why, until that is told.
    lost: Option<(Instant, String)>,
    /// Replies in a row that brought nothing, or refusals.
    failures: u32,
    waiting: Option<String>,
    rate: Rate,
    round_trip: Duration,
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
            place,
            output,
            items: Vec::new(),
            begin: now,
            opened: false,
            shown: false,
            last: None,
            draining: false,
            lost: None,
            failures: 0,
            waiting: None,
            rate: Rate::new(now),
            round_trip: Duration::ZERO,
        }
    }

    pub(super) async fn run(mut self) -> Result<LogEnd> {
        let end = match self.options.resumes() {
            true => self.follow().await,
            false => self.once().await,
        };
        self.flush();
        end
    }

    // One reply and no more

    async fn once(&mut self) -> Result<LogEnd> {
        let mut options = self.options.once();
        options.container.clone_from(&self.place.container);
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
            Some(_) => lost("the container runs on: a kubelet or an API server went away politely"),
            None => lost("it ended politely, but not known to be with the container"),
        }
    }

    // Following

    async fn follow(&mut self) -> Result<LogEnd> {
        loop {
            let ask = self.resume.ask();
            match self.reply(ask).await {
                Turn::Again => {}
                Turn::Cut(finish, given) => self.recover(finish, given).await?,
                Turn::Done => {
                    if self.draining {
                        self.next_run(0);
                    } else if self.options.forever {
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
                }
            }
        }
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
            Err(error) => return Turn::Refused(error),
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
            let patience = match armed && ask.follow {
                true => QUIET + self.round_trip,
                false => silence,
            };
            match timeout(patience, reply.next()).await {
                Ok(Ok(chunk)) => {
                    armed = true;
                    reader.push(chunk);
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
            Step::Show(line) => {
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
        self.shown = true;
        self.last = line.timestamp.or(self.last);
        if !data.is_empty() {
            let line = LogLine::new(data, line.timestamp, line.begins);
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
            self.event(LogEvent::Gap {
                certain,
                from: after,
                to: before,
            });
        }
    }

    fn event(&mut self, event: LogEvent) {
        self.items.push(LogItem::Event(event));
    }

    /// Tells once what is waited for.
    fn wait_for(&mut self, reason: String) {
        if self.waiting.as_ref() != Some(&reason) {
            self.waiting = Some(reason.clone());
            self.event(LogEvent::Waiting { reason });
            self.flush();
        }
    }

    /// Waits until the reader has room: while it has not, nothing is read and the kubelet is held up.
    async fn room(&self) -> bool {
        poll_fn(|cx| self.output.poll_room(cx)).await
    }

    fn flush(&mut self) {
        if !self.items.is_empty() {
            // A reader that is gone is noticed where room is waited for.
            let _ = self.output.push(Batch(std::mem::take(&mut self.items)));
        }
    }

    // After a reply

    async fn recover(&mut self, finish: Finish, given: Option<Given>) -> Result<()> {
        let now = Instant::now();
        self.resume.cut(given, self.rate.pace(self.round_trip));
        self.failures += 1;
        if finish.polite {
            self.look_after().await?;
            if self.is_over() {
                return Ok(());
            }
        }
        self.lost.get_or_insert_with(|| (now, finish.why.clone()));
        if self.failures >= SHORT_REPLIES {
            if finish.polite && self.place.run.is_none() && !self.options.forever {
                return Err(Error::new(
                    ErrorKind::Lost,
                    "the log ended, but not known to be with its container",
                )
                .because(finish.why)
                .remedy("allow get on pods"));
            }
            let reason = format!(
                "the log ends again and again without a line: {}",
                finish.why
            );
            self.wait_for(reason);
        }
        if timeout(OUTAGE, self.server.reachable(now)).await.is_err() {
            self.wait_for(format!("the server is not reachable: {}", finish.why));
            self.server.reachable(now).await;
        }
        sleep(Duration::from_secs(1).mul_f64(random())).await;
        if self.failures >= SHORT_REPLIES {
            sleep(pause(self.failures - SHORT_REPLIES)).await;
        }
        self.look_after().await
    }

    async fn refused(&mut self, error: Error) -> Result<()> {
        if !self.opened && !self.options.forever {
            return Err(error);
        }
        if self.draining && matches!(error.http_status(), Some(400 | 404)) {
            // The rest of the old run is gone with its file.
            self.gap();
            self.next_run(0);
            return Ok(());
        }
        self.lost
            .get_or_insert_with(|| (Instant::now(), error.report()));
        self.resume.cut(None, self.rate.pace(self.round_trip));
        self.back_off(error).await?;
        self.look_after().await
    }

    /// Waits after an error: until the server takes connections where it did not answer, else longer
    /// and longer.
    async fn back_off(&mut self, error: Error) -> Result<()> {
        self.wait_for(error.report());
        let unanswered = matches!(error.kind(), ErrorKind::NotStarted | ErrorKind::Lost);
        if unanswered && error.http_status().is_none() {
            self.server.reachable(Instant::now()).await;
            sleep(Duration::from_secs(1).mul_f64(random())).await;
            return Ok(());
        }
        self.failures += 1;
        let temporary = unanswered || error.kind() == ErrorKind::Protocol;
        if !temporary && !self.options.forever && self.failures > REFUSALS {
            return Err(error);
        }
        sleep(pause(self.failures)).await;
        Ok(())
    }

    /// Looks at the pod until it is known what to read now.
    async fn look_after(&mut self) -> Result<()> {
        let path = pod_path(&self.place.pod.namespace, &self.place.pod.name);
        loop {
            let connect = Some(self.options.limits.connect);
            let pod: Pod = match self.server.object(&path, &[], connect).await {
                Ok(pod) => pod,
                Err(error) => match error.kind() {
                    ErrorKind::NotFound => return self.pod_is_gone().await,
                    ErrorKind::Forbidden if self.place.run.is_none() => return Ok(()),
                    _ => {
                        self.back_off(error).await?;
                        continue;
                    }
                },
            };
            let container = self.place.container.as_deref().unwrap_or_default();
            if let Some(run) = pod.run(container) {
                self.compare(run);
            }
            return Ok(());
        }
    }

    /// Step 7 of E.2: what became of the run that was read.
    fn compare(&mut self, now: Run) {
        let complete = self.is_over() && self.lost.is_none();
        let Some(old) = self.place.run.replace(now.clone()) else {
            return;
        };
        match old.instance.change(&now.instance) {
            Change::Same => {}
            Change::Restarted if !self.draining && !complete => {
                self.resume.drain();
                self.draining = true;
            }
            Change::Restarted => self.next_run(u32::from(self.draining)),
            Change::Unseen { instances } => self.next_run(instances),
            _ => self.replaced(),
        }
    }

    /// Goes on with the next run of the container, from its beginning.
    fn next_run(&mut self, unseen: u32) {
        if unseen > 0 {
            self.gap();
        }
        let count = self.place.run.as_ref();
        let count = count.map_or(0, |run| run.instance.restart_count);
        self.event(LogEvent::Restarted { count, unseen });
        self.start_anew();
    }

    fn replaced(&mut self) {
        self.gap();
        let pod = self.place.pod.name.clone();
        self.event(LogEvent::Replaced { pod });
        self.start_anew();
    }

    fn gap(&mut self) {
        self.event(LogEvent::Gap {
            certain: true,
            from: self.last,
            to: None,
        });
    }

    fn start_anew(&mut self) {
        self.draining = false;
        self.shown = true;
        self.lost = None;
        self.resume = Resume::new(Start::Beginning, true, self.server.log_budget());
    }

    async fn pod_is_gone(&mut self) -> Result<()> {
        if self.options.forever {
            let name = &self.place.pod.name;
            let reason = format!("pod {name} is gone");
            self.wait_for(reason);
            let namespace = self.place.pod.namespace.clone();
            self.place = place::find(&self.server, &self.target, &namespace, &self.options).await?;
            self.replaced();
            return Ok(());
        }
        let name = &self.place.pod.name;
        let message = format!("pod {name} was deleted while its log was followed");
        Err(Error::new(ErrorKind::NotFound, message).because("its last lines may be missing"))
    }

    /// Waits for the next run of a container whose log was shown to the end.
    async fn await_next_run(&mut self) -> Result<()> {
        let run = self.place.run.clone();
        let Some(old) = run else {
            return Ok(());
        };
        self.lost = None;
        self.wait_for(old.state.clone());
        loop {
            sleep(2 * PERIOD).await;
            if self.output.is_closed() {
                return Err(closed());
            }
            self.look_after().await?;
            let now = self.place.run.as_ref();
            if now.is_none_or(|now| now.instance != old.instance) {
                return Ok(());
            }
        }
    }
}

/// From half a second, doubled with each failure, up to 30 s; half of it is random.
fn pause(failures: u32) -> Duration {
    let most = Duration::from_millis(500).saturating_mul(2_u32.saturating_pow(failures));
    most.min(LONGEST_PAUSE).mul_f64(0.5 + random() / 2.0)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "nobody reads the log any more")
}

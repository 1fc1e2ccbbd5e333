//! A log being read, as things to take that never wait.
//!
//! Events and lines are one sequence: `advance` gives the events that come next; `read`, `lines` or
//! `batch` then take lines up to the event after them. Where nothing is found the bell will ring.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Buf as _;
use napi::Env;
use napi::bindgen_prelude::{
    BigInt, BigInt64Array, BufferSlice, Either, Function, Null, Uint8Array, Uint32Array,
};
use napi_derive::napi;
use wsx_core::{
    Error, ErrorKind, LogEnd, LogEvent, LogItem, LogLine, LogProtocol, LogReport, LogSource, Logs,
};

use crate::bell::Bell;
use crate::characters::Characters;
use crate::error::{describe, rejected};
use crate::process::{BATCH, LINES, NativeLines};

/// How many bytes are fetched before they are asked for, so that the end can be seen.
const AHEAD: usize = 256 * 1024;
/// What is counted for an item beside its own bytes.
const OVERHEAD: usize = 64;
/// The time of a line whose time is not known.
const UNKNOWN: i64 = i64::MIN;

/// A log, or several, being read. Its drop closes the connections.
#[napi]
pub struct NativeLogs {
    state: State,
    items: VecDeque<LogItem>,
    held: usize,
    report: LogReport,
    characters: Characters,
    bell: Option<Arc<Bell>>,
}

enum State {
    Reading(Logs),
    /// Everything was fetched. A future rather than a task: nobody has to end it.
    Ending(Pin<Box<dyn Future<Output = wsx_core::Result<LogEnd>> + Send>>),
    Ended(wsx_core::Result<LogEnd>),
}

/// Whose log it is.
#[napi(object)]
#[derive(Default)]
pub struct NativeLogSource {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Container; empty where it is not known.
    pub container: String,
}

/// What happened to a log; the kind tells which fields there are.
#[napi(object)]
#[derive(Default)]
pub struct NativeLogEvent {
    /// What happened.
    pub kind: String,
    /// Whose log it happened to.
    pub source: NativeLogSource,
    /// `gap`: whether lines are missing for certain.
    pub certain: Option<bool>,
    /// `gap`: time of the last line before, in nanoseconds since 1970.
    pub from: Option<Either<BigInt, Null>>,
    /// `gap`: time of the next line.
    pub to: Option<Either<BigInt, Null>>,
    /// `reconnected`: for how many seconds nothing could come.
    pub away: Option<f64>,
    /// `reconnected`: how the last connection ended.
    pub why: Option<String>,
    /// `replaced`: name of the pod now.
    pub pod: Option<String>,
    /// `restarted`: how often since the pod was made.
    pub count: Option<u32>,
    /// `restarted`: how many runs in between nobody has seen.
    pub unseen: Option<u32>,
    /// `waiting`: what is waited for.
    pub reason: Option<String>,
    /// `ended`: the exit code of the container.
    pub exit_code: Option<Either<i32, Null>>,
    /// `failed`: why, in JSON.
    pub error: Option<String>,
}

/// Lines in one buffer, with what is known of each.
#[napi(object)]
pub struct NativeLogBatch<'env> {
    /// The lines, one after the other, each with its line feed.
    pub data: BufferSlice<'env>,
    /// Where each ends.
    pub ends: Uint32Array,
    /// Whether each begins here: 0 for what goes on a line over 1 MiB.
    pub begins: Uint8Array,
    /// Nanoseconds since 1970; the smallest number where it is not known.
    pub timestamps: BigInt64Array,
    /// Whose line each is: its place in `sources`.
    pub owners: Uint32Array,
    /// Whose lines these are.
    pub sources: Vec<NativeLogSource>,
}

/// How a log ended.
#[napi(object)]
pub struct NativeLogEnd {
    /// `complete` or `ended`.
    pub kind: String,
    /// The exit code of the container.
    pub exit_code: Either<i32, Null>,
}

/// What came so far.
#[napi(object)]
pub struct NativeLogReport {
    /// Lines that began.
    pub lines: i64,
    /// Bytes of lines.
    pub bytes: i64,
    /// Gaps that were told.
    pub gaps: i64,
    /// Connections that were replaced.
    pub reconnects: i64,
    /// With `sortWindow`: lines that came too late for their place.
    pub late: i64,
    /// `http` or a subprotocol; absent before the first answer.
    pub protocol: Either<String, Null>,
}

impl NativeLogs {
    pub(crate) fn new(logs: Logs) -> Self {
        Self {
            state: State::Reading(logs),
            items: VecDeque::new(),
            held: 0,
            report: LogReport::default(),
            characters: Characters::default(),
            bell: None,
        }
    }

    fn waker(&self) -> Waker {
        match &self.bell {
            Some(bell) => bell.waker(),
            None => Waker::noop().clone(),
        }
    }

    /// Fetches what is there, up to a limit; below it the bell will ring when there is more.
    fn fetch(&mut self) {
        let waker = self.waker();
        let mut context = Context::from_waker(&waker);
        let mut batch = Vec::new();
        while self.held < AHEAD {
            let State::Reading(logs) = &mut self.state else {
                return;
            };
            let polled = logs.poll_batch(&mut context, &mut batch);
            self.report = logs.report();
            self.held += batch.iter().map(weight).sum::<usize>();
            self.items.extend(batch.drain(..));
            match polled {
                Poll::Pending => return,
                Poll::Ready(true) => {}
                Poll::Ready(false) => self.finish(),
            }
        }
    }

    /// Turns to how it ended, of which whoever waits for that is told now.
    fn finish(&mut self) {
        let ended = State::Ended(Err(closed()));
        if let State::Reading(logs) = std::mem::replace(&mut self.state, ended) {
            self.state = State::Ending(Box::pin(async move { logs.wait().await }));
            self.waker().wake();
        }
    }

    fn take_event(&mut self) -> Option<NativeLogEvent> {
        let Some(LogItem::Event(source, event)) = self.items.front() else {
            return None;
        };
        let event = NativeLogEvent::new(source, event);
        self.held -= OVERHEAD;
        self.items.pop_front();
        Some(event)
    }

    fn take_line(&mut self) -> Option<LogLine> {
        match self.items.pop_front()? {
            LogItem::Line(line) => {
                self.held -= line.data.len() + OVERHEAD;
                Some(line)
            }
            event => {
                self.items.push_front(event);
                None
            }
        }
    }

    /// Takes lines up to the next event; nothing when none will ever come.
    fn take_lines(&mut self) -> Option<Vec<LogLine>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < LINES && bytes < BATCH {
            let Some(line) = self.take_line() else { break };
            bytes += line.data.len();
            lines.push(line);
        }
        (!lines.is_empty() || !self.is_over()).then_some(lines)
    }

    fn is_over(&self) -> bool {
        self.items.is_empty() && !matches!(self.state, State::Reading(_))
    }
}

#[napi]
impl NativeLogs {
    /// Has this function called when something that was not there may be.
    #[napi(catch_unwind)]
    pub fn listen(&mut self, callback: Function<'_, (), ()>) -> napi::Result<()> {
        self.bell = Some(Bell::new(&callback)?);
        Ok(())
    }

    /// Says that the function was called.
    #[napi(catch_unwind)]
    pub fn heard(&self) {
        if let Some(bell) = &self.bell {
            bell.heard();
        }
    }

    /// Takes the events that come next. What follows is a line, or not there yet, or the end.
    #[napi(catch_unwind)]
    pub fn advance(&mut self) -> Vec<NativeLogEvent> {
        let mut events = Vec::new();
        loop {
            if self.items.is_empty() {
                self.fetch();
            }
            let Some(event) = self.take_event() else {
                return events;
            };
            events.push(event);
        }
    }

    /// Fills a buffer with lines, and tells how many bytes that is: 0 when there are none yet, `null`
    /// when there never will be.
    #[napi(catch_unwind)]
    pub fn read(&mut self, mut target: BufferSlice<'_>) -> Option<u32> {
        let mut used = 0;
        while used < target.len()
            && let Some(LogItem::Line(line)) = self.items.front_mut()
        {
            let count = line.data.len().min(target.len() - used);
            target[used..used + count].copy_from_slice(&line.data[..count]);
            line.data.advance(count);
            used += count;
            self.held -= count;
            if line.data.is_empty() {
                self.take_line();
            }
        }
        // At most the buffer, which is far below 4 GiB.
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        (used > 0 || !self.is_over()).then_some(used)
    }

    /// Takes lines: no `ends` when there are none yet, `null` when there never will be. With `text` no
    /// character is cut where a long line is: its first bytes wait for the next piece.
    #[napi(catch_unwind)]
    pub fn lines<'env>(
        &mut self,
        env: &'env Env,
        text: bool,
    ) -> napi::Result<Option<NativeLines<'env>>> {
        let mut taken = self.take_lines();
        if text {
            match &mut taken {
                Some(lines) => {
                    for line in lines {
                        self.characters.complete(line);
                    }
                }
                None => {
                    let rest = self.characters.rest().collect::<Vec<_>>();
                    taken = (!rest.is_empty()).then_some(rest);
                }
            }
        }
        let Some(lines) = taken else {
            return Ok(None);
        };
        let (data, ends) = packed(&lines);
        Ok(Some(NativeLines {
            data: BufferSlice::copy_from(env, data)?,
            ends: Uint32Array::new(ends),
        }))
    }

    /// Takes lines with what is known of each: no `ends` when there are none yet, `null` when there
    /// never will be.
    #[napi(catch_unwind)]
    pub fn batch<'env>(&mut self, env: &'env Env) -> napi::Result<Option<NativeLogBatch<'env>>> {
        let Some(lines) = self.take_lines() else {
            return Ok(None);
        };
        let (data, ends) = packed(&lines);
        let mut sources: Vec<&Arc<LogSource>> = Vec::new();
        let mut owners = Vec::with_capacity(lines.len());
        for line in &lines {
            let known = sources
                .iter()
                .rposition(|source| Arc::ptr_eq(source, &line.source));
            owners.push(u32::try_from(known.unwrap_or(sources.len())).unwrap_or(u32::MAX));
            if known.is_none() {
                sources.push(&line.source);
            }
        }
        let timestamps = lines.iter().map(|line| line.timestamp.unwrap_or(UNKNOWN));
        let begins = lines.iter().map(|line| u8::from(line.begins));
        Ok(Some(NativeLogBatch {
            data: BufferSlice::copy_from(env, data)?,
            ends: Uint32Array::new(ends),
            begins: Uint8Array::new(begins.collect()),
            timestamps: BigInt64Array::new(timestamps.collect()),
            owners: Uint32Array::new(owners),
            sources: sources
                .into_iter()
                .map(|source| (&**source).into())
                .collect(),
        }))
    }

    /// Tells how the log ended: nothing while it is read, and the bell will ring. Much that nobody takes
    /// holds up the end, too.
    #[napi(catch_unwind)]
    pub fn status(&mut self) -> napi::Result<Option<NativeLogEnd>> {
        self.fetch();
        let waker = self.waker();
        if let State::Ending(outcome) = &mut self.state
            && let Poll::Ready(ended) = outcome.as_mut().poll(&mut Context::from_waker(&waker))
        {
            self.state = State::Ended(ended);
        }
        match &self.state {
            State::Ended(Ok(LogEnd::Ended { exit_code })) => Ok(Some(NativeLogEnd {
                kind: "ended".to_owned(),
                exit_code: or_null(*exit_code),
            })),
            State::Ended(Ok(_)) => Ok(Some(NativeLogEnd {
                kind: "complete".to_owned(),
                exit_code: Either::B(Null),
            })),
            State::Ended(Err(error)) => Err(rejected(error, None)),
            _ => Ok(None),
        }
    }

    /// Closes the connections and drops what nobody has taken; the end follows.
    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.items.clear();
        self.held = 0;
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(Err(closed()));
        }
        self.waker().wake();
    }

    /// Tells what came so far.
    #[napi(catch_unwind)]
    pub fn report(&self) -> NativeLogReport {
        let report = match &self.state {
            State::Reading(logs) => logs.report(),
            _ => self.report,
        };
        let protocol = match report.protocol {
            Some(LogProtocol::Only(subprotocol)) => Some(subprotocol.name().to_owned()),
            Some(_) => Some("http".to_owned()),
            None => None,
        };
        NativeLogReport {
            lines: count(report.lines),
            bytes: count(report.bytes),
            gaps: count(report.gaps),
            reconnects: count(report.reconnects),
            late: count(report.late),
            protocol: or_null(protocol),
        }
    }
}

impl NativeLogEvent {
    fn new(source: &LogSource, event: &LogEvent) -> Self {
        let mut told = Self {
            source: source.into(),
            ..Self::default()
        };
        let kind = match event {
            LogEvent::Gap { certain, from, to } => {
                told.certain = Some(*certain);
                told.from = Some(or_null(from.map(BigInt::from)));
                told.to = Some(or_null(to.map(BigInt::from)));
                "gap"
            }
            LogEvent::Reconnected { away, why } => {
                told.away = Some(away.as_secs_f64());
                told.why = Some(why.clone());
                "reconnected"
            }
            LogEvent::Replaced { pod } => {
                told.pod = Some(pod.clone());
                "replaced"
            }
            LogEvent::Restarted { count, unseen } => {
                told.count = Some(*count);
                told.unseen = Some(*unseen);
                "restarted"
            }
            LogEvent::Waiting { reason } => {
                told.reason = Some(reason.clone());
                "waiting"
            }
            LogEvent::Started => "started",
            LogEvent::Ended { exit_code } => {
                told.exit_code = Some(or_null(*exit_code));
                "ended"
            }
            LogEvent::Failed { error } => {
                told.error = Some(describe(error, None));
                "failed"
            }
            _ => "other",
        };
        told.kind = kind.to_owned();
        told
    }
}

impl From<&LogSource> for NativeLogSource {
    fn from(source: &LogSource) -> Self {
        Self {
            namespace: source.namespace.clone(),
            pod: source.pod.clone(),
            container: source.container.clone(),
        }
    }
}

/// What an item takes of the limit.
fn weight(item: &LogItem) -> usize {
    match item {
        LogItem::Line(line) => line.data.len() + OVERHEAD,
        _ => OVERHEAD,
    }
}

/// Puts lines into one buffer, and says where each ends.
fn packed(lines: &[LogLine]) -> (Vec<u8>, Vec<u32>) {
    let mut data = Vec::with_capacity(lines.iter().map(|line| line.data.len()).sum());
    let mut ends = Vec::with_capacity(lines.len());
    for line in lines {
        data.extend_from_slice(&line.data);
        // A batch has 256 KiB and a line more, which has 1 MiB at most.
        ends.push(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }
    (data, ends)
}

fn or_null<T>(value: Option<T>) -> Either<T, Null> {
    value.map_or(Either::B(Null), Either::A)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the log was closed")
}

//! Who follows a log: wsx as a library, wsx as a command, and kubectl.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use tokio::sync::oneshot;
use wsx_core::{Client, Config, LogEnd, LogEvent, LogItem, LogsOptions};

use super::writer::{Truth, Writer};
use crate::judge::fixture::Fixture;
use crate::support::{PATIENCE, Run, at, finish};

/// What came, in order.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Event(LogEvent),
    /// The number of a line and its timestamp.
    Line(u64, Option<i64>),
}

/// What came until now; everybody who waits is woken by more.
#[derive(Default)]
struct Shelf {
    seen: Mutex<(Vec<Seen>, bool)>,
    more: Condvar,
}

impl Shelf {
    fn put(&self, items: impl IntoIterator<Item = Seen>) {
        self.seen.lock().unwrap().0.extend(items);
        self.more.notify_all();
    }

    fn close(&self) {
        self.seen.lock().unwrap().1 = true;
        self.more.notify_all();
    }

    fn wait(&self, what: &str, is_there: impl Fn(&Seen) -> bool) {
        let seen = self.seen.lock().unwrap();
        let lacks = |(seen, over): &mut (Vec<Seen>, bool)| !*over && !seen.iter().any(&is_there);
        let (seen, _) = self.more.wait_timeout_while(seen, PATIENCE, lacks).unwrap();
        let is_there = seen.0.iter().any(is_there);
        let events = seen.0.iter().filter(|seen| matches!(seen, Seen::Event(_)));
        let events: Vec<_> = events.cloned().collect();
        let (count, over) = (seen.0.len(), seen.1);
        drop(seen);
        assert!(
            is_there,
            "no {what}: {count} came, over: {over}, {events:?}"
        );
    }
}

/// How wsx ended, in words where it failed.
pub(super) type End = Result<LogEnd, String>;

/// wsx as a library, following.
pub(super) struct Reader {
    shelf: Arc<Shelf>,
    thread: JoinHandle<Option<End>>,
    leave: oneshot::Sender<()>,
}

impl Reader {
    pub(super) fn start(fixture: &Fixture, writer: &Writer, options: LogsOptions) -> Self {
        let shelf = Arc::new(Shelf::default());
        let (leave, left) = oneshot::channel();
        let config = Config::default().kubeconfig(fixture.kubeconfig.clone());
        let (theirs, pod) = (Arc::clone(&shelf), writer.pod.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let end = runtime.block_on(async {
                tokio::select! {
                    end = follow(config, &pod, options, &theirs) => Some(end),
                    _ = left => None,
                }
            });
            theirs.close();
            end
        });
        Self {
            shelf,
            thread,
            leave,
        }
    }

    /// Waits until this line, or a later one, was shown.
    pub(super) fn await_line(&self, number: u64) {
        let is_there = |seen: &Seen| matches!(seen, Seen::Line(line, _) if *line >= number);
        self.shelf.wait(&format!("line {number}"), is_there);
    }

    /// Waits until something was told.
    pub(super) fn await_event(&self, what: &str, is_it: impl Fn(&LogEvent) -> bool) {
        let is_there = |seen: &Seen| matches!(seen, Seen::Event(event) if is_it(event));
        self.shelf.wait(what, is_there);
    }

    /// Waits until it ends by itself.
    pub(super) fn wait(self) -> (Vec<Seen>, End) {
        let seen = self.shelf.seen.lock().unwrap();
        let follows = |(_, over): &mut (Vec<Seen>, bool)| !*over;
        let wait = self.shelf.more.wait_timeout_while(seen, PATIENCE, follows);
        assert!(!wait.unwrap().1.timed_out(), "it follows on");
        let (seen, end) = self.end();
        (seen, end.unwrap())
    }

    /// Leaves when it has not ended by itself; how it did.
    pub(super) fn end(self) -> (Vec<Seen>, Option<End>) {
        // Nobody listens where it has ended.
        let _ = self.leave.send(());
        let end = self.thread.join().unwrap();
        let seen = std::mem::take(&mut self.shelf.seen.lock().unwrap().0);
        (seen, end)
    }
}

async fn follow(config: Config, pod: &str, options: LogsOptions, shelf: &Shelf) -> End {
    let read = async {
        let client = Client::connect(config).await?;
        let mut logs = client.logs(Some(pod), options).await?;
        let mut batch = Vec::new();
        while logs.next_batch(&mut batch).await {
            shelf.put(batch.drain(..).map(seen));
        }
        logs.wait().await
    };
    read.await
        .map_err(|error: wsx_core::Error| error.to_string())
}

fn seen(item: LogItem) -> Seen {
    match item {
        LogItem::Line(line) => Seen::Line(number(&line.data), line.timestamp),
        LogItem::Event(_, event) => Seen::Event(event),
        other => panic!("{other:?}"),
    }
}

fn number(line: &[u8]) -> u64 {
    let text = std::str::from_utf8(line).unwrap();
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("no line of ours: {text:?}"))
}

/// An object of `-o json`. Of a time only equality counts: all but its first digits.
fn object(line: &str) -> Seen {
    let object: Value = serde_json::from_str(line).unwrap();
    let time = |name: &str| {
        let digits = object[name].as_str()?.bytes().filter(u8::is_ascii_digit);
        let time = digits.map(|digit| i64::from(digit - b'0'));
        Some(time.fold(0, |time, digit| (time * 10 + digit) % 10_i64.pow(17)))
    };
    match (object["line"].as_str(), object["event"].as_str()) {
        (Some(text), _) => Seen::Line(number(text.as_bytes()), time("time")),
        (_, Some("gap")) => Seen::Event(LogEvent::Gap {
            certain: object["certain"].as_bool().unwrap(),
            from: time("from"),
            to: time("to"),
        }),
        (_, Some(event)) => Seen::Event(LogEvent::Waiting {
            reason: event.to_owned(),
        }),
        _ => panic!("neither a line nor an event: {line}"),
    }
}

/// A program that follows beside it: `kubectl logs -f`, and the command line of wsx.
pub(super) struct Program {
    shelf: Arc<Shelf>,
    thread: JoinHandle<()>,
    child: Child,
}

/// What came of `kubectl logs -f`.
pub(super) struct Beside {
    /// Nothing where it still followed.
    pub(super) code: Option<i32>,
    pub(super) stderr: String,
    pub(super) lost: usize,
    pub(super) repeated: usize,
}

impl Program {
    pub(super) fn kubectl(fixture: &Fixture, writer: &Writer) -> Self {
        let words = ["logs", "-f", &*writer.pod];
        let mut command = fixture.kubectl.command(&fixture.kubeconfig, words);
        Self::start(&mut command, |line| {
            Seen::Line(number(line.as_bytes()), None)
        })
    }

    pub(super) fn wsx(fixture: &Fixture, writer: &Writer, words: &[&str]) -> Self {
        let all = [&["logs", &*writer.pod, "-o=json", "--strict"], words].concat();
        Self::start(&mut at(&fixture.kubeconfig, all), object)
    }

    fn start(command: &mut Command, read: fn(&str) -> Seen) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let shelf = Arc::new(Shelf::default());
        let theirs = Arc::clone(&shelf);
        let thread = thread::spawn(move || {
            for line in lines {
                theirs.put([read(&line.unwrap())]);
            }
            theirs.close();
        });
        Self {
            shelf,
            thread,
            child,
        }
    }

    /// Waits until this line, or a later one, was shown, or it has ended.
    pub(super) fn await_line(&self, number: u64) {
        let seen = self.shelf.seen.lock().unwrap();
        let is_there = |seen: &Seen| matches!(seen, Seen::Line(line, _) if *line >= number);
        let lacks = |(seen, over): &mut (Vec<Seen>, bool)| !*over && !seen.iter().any(is_there);
        let wait = self.shelf.more.wait_timeout_while(seen, PATIENCE, lacks);
        assert!(
            !wait.unwrap().1.timed_out(),
            "neither line {number} nor an end"
        );
    }

    /// Interrupts it where it follows on; what it has shown, and how it ended.
    pub(super) fn end(mut self) -> (Vec<Seen>, Run, bool) {
        let still = self.child.try_wait().unwrap().is_none();
        if still {
            let pid = self.child.id().to_string();
            let sent = Command::new("kill").args(["-INT", &pid]).status();
            assert!(sent.unwrap().success());
        }
        self.thread.join().unwrap();
        let run = finish(self.child);
        let seen = std::mem::take(&mut self.shelf.seen.lock().unwrap().0);
        (seen, run, still)
    }

    /// The same, counted against what was written.
    pub(super) fn count(self, truth: &Truth) -> Beside {
        let (seen, run, still) = self.end();
        let mut shown = vec![0_usize; truth.records.len()];
        for seen in &seen {
            if let Seen::Line(number, _) = seen {
                shown[truth.place(*number).unwrap()] += 1;
            }
        }
        Beside {
            code: run.code.filter(|_| !still),
            stderr: run.stderr,
            lost: shown.iter().filter(|count| **count == 0).count(),
            repeated: shown.iter().map(|count| count.saturating_sub(1)).sum(),
        }
    }
}

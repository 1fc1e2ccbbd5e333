//! Who follows a log: wsx as a library, and kubectl.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use wsx_core::{Client, Config, LogEnd, LogEvent, LogItem, LogsOptions};

use super::writer::{Truth, Writer};
use crate::judge::fixture::Fixture;
use crate::support::{PATIENCE, finish};

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

/// `kubectl logs -f` beside it.
pub(super) struct Kubectl {
    shelf: Arc<Shelf>,
    thread: JoinHandle<()>,
    child: Child,
}

/// What came of kubectl.
pub(super) struct Beside {
    /// Nothing where it still followed.
    pub(super) code: Option<i32>,
    pub(super) stderr: String,
    pub(super) lost: usize,
    pub(super) repeated: usize,
}

impl Kubectl {
    pub(super) fn start(fixture: &Fixture, writer: &Writer) -> Self {
        let words = ["logs", "-f", &*writer.pod];
        let mut command = fixture.kubectl.command(&fixture.kubeconfig, words);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let shelf = Arc::new(Shelf::default());
        let theirs = Arc::clone(&shelf);
        let thread = thread::spawn(move || {
            for line in lines {
                theirs.put([Seen::Line(number(line.unwrap().as_bytes()), None)]);
            }
            theirs.close();
        });
        Self {
            shelf,
            thread,
            child,
        }
    }

    /// Waits until this line was shown, or it has ended.
    pub(super) fn await_line(&self, number: u64) {
        let seen = self.shelf.seen.lock().unwrap();
        let is_there = |seen: &Seen| matches!(seen, Seen::Line(line, _) if *line >= number);
        let lacks = |(seen, over): &mut (Vec<Seen>, bool)| !*over && !seen.iter().any(is_there);
        let wait = self.shelf.more.wait_timeout_while(seen, PATIENCE, lacks);
        assert!(
            !wait.unwrap().1.timed_out(),
            "kubectl: neither line {number} nor an end"
        );
    }

    /// Ends it where it follows on, and counts.
    pub(super) fn end(mut self, truth: &Truth) -> Beside {
        let still = self.child.try_wait().unwrap().is_none();
        if still {
            self.child.kill().unwrap();
        }
        self.thread.join().unwrap();
        let run = finish(self.child);
        let mut shown = vec![0_usize; truth.records.len()];
        for seen in &self.shelf.seen.lock().unwrap().0 {
            if let Seen::Line(number, _) = seen {
                shown[truth.place(*number).unwrap()] += 1;
            }
        }
        Beside {
            code: run.code,
            stderr: run.stderr,
            lost: shown.iter().filter(|count| **count == 0).count(),
            repeated: shown.iter().map(|count| count.saturating_sub(1)).sum(),
        }
    }
}

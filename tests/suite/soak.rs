//! Logs over very many reconnects and rotations: lost 0, repeated 0, every hole told.
//!
//! A small size runs with the suite, the full one in `make soak`, which prints the table.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;
use wsx_core::{Client, Config, LogEnd, LogEvent, LogItem, LogsOptions};
use wsx_tests::cluster::{Cluster, Log};

/// How long one log may go without a line, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of a file that is rotated while nobody is there to read it.
const HOLE: u64 = 100;

/// How much is done. All streams do it at once.
struct Size {
    streams: u64,
    /// Cuts of each stream, and lines written between two of them.
    cuts: u64,
    lines: u64,
    /// Rotations of each stream while it is away.
    holes: u64,
}

impl Size {
    const fn written(&self) -> u64 {
        self.cuts * self.lines + self.holes * (HOLE + 1)
    }
}

/// What came of a log, or of several.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    shown: u64,
    reconnects: u64,
    lost: u64,
    repeated: u64,
    /// Gaps that stand for missing lines, how many these are, and gaps that stand for none.
    holes: u64,
    announced: u64,
    needless: u64,
    /// The next number, and whether a gap was told before it.
    next: u64,
    gap: bool,
}

impl Tally {
    fn line(&mut self, line: &[u8]) {
        let text = std::str::from_utf8(line).unwrap();
        let number: u64 = text.trim().parse().unwrap();
        let gap = std::mem::take(&mut self.gap);
        self.shown += 1;
        if number < self.next {
            self.repeated += 1;
            return;
        }
        let missing = number - self.next;
        match (gap, missing) {
            (false, _) => self.lost += missing,
            (true, 0) => self.needless += 1,
            (true, _) => {
                self.holes += 1;
                self.announced += missing;
            }
        }
        self.next = number + 1;
    }

    fn item(&mut self, item: LogItem) {
        match item {
            LogItem::Line(line) => self.line(&line.data),
            LogItem::Event(_, LogEvent::Gap { .. }) => self.gap = true,
            LogItem::Event(_, LogEvent::Reconnected { .. }) => self.reconnects += 1,
            _ => {}
        }
    }

    /// What was written and never came is lost, too.
    fn end(mut self, written: u64) -> Self {
        self.lost += written - self.next;
        self
    }

    fn add(&mut self, other: &Self) {
        self.shown += other.shown;
        self.reconnects += other.reconnects;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.holes += other.holes;
        self.announced += other.announced;
        self.needless += other.needless;
    }

    fn row(&self, who: &str, written: u64) -> String {
        format!(
            "| {who} | {written} | {} | {} | {} | {} | {} |",
            self.reconnects, self.lost, self.repeated, self.holes, self.needless
        )
    }
}

/// Follows a log with wsx to the end of its container; tells the number that comes next.
async fn follow(client: Client, pod: String, place: watch::Sender<u64>) -> Tally {
    let options = LogsOptions::default().follow(true);
    let mut logs = client.logs(Some(&pod), options).await.unwrap();
    let (mut batch, mut tally) = (Vec::new(), Tally::default());
    while logs.next_batch(&mut batch).await {
        batch.drain(..).for_each(|item| tally.item(item));
        place.send_replace(tally.next);
    }
    let end = logs.wait().await.unwrap();
    assert!(matches!(end, LogEnd::Ended { .. }), "{end:?}");
    tally
}

/// What befalls one log. `await_shown` waits until everything before this number was shown.
fn befall(log: &Log, size: &Size, await_shown: impl Fn(u64)) {
    let mut next = 0;
    let mut numbers = |count: u64| {
        next += count;
        json!({"from": next - count, "count": count})
    };
    for round in 0..size.cuts {
        // A reset throws away what is on its way; the second half is written while nobody reads.
        let how = ["rst", "fin", "eof-polite", "close 1001"][(round % 4) as usize];
        let half = size.lines / 2;
        log.await_follows(1);
        log.run(json!({"numbers": numbers(half), "cut": how}));
        log.run(json!({"numbers": numbers(size.lines - half)}));
        await_shown((round + 1) * size.lines);
        // Nothing is on its way: a rotation takes nothing from who follows.
        log.await_follows(1);
        log.run(json!({"rotate": true}));
    }
    let written = size.cuts * size.lines;
    for hole in 1..=size.holes {
        log.await_follows(1);
        // The next two replies are cut before their first byte, so that nobody is back too early.
        log.run(json!({"cut_after_bytes": 0}));
        log.run(json!({"cut_after_bytes": 0, "cut": "rst"}));
        log.run(json!({"numbers": numbers(HOLE), "rotate": true}));
        log.run(json!({"numbers": numbers(1)}));
        await_shown(written + hole * (HOLE + 1));
    }
    log.run(json!({"exit": 0}));
}

/// Runs all streams of wsx at once.
fn soak(cluster: &Cluster, size: &Size) -> Tally {
    let runtime = Runtime::new().unwrap();
    let config = Config::default().kubeconfig(cluster.kubeconfig().to_owned());
    let client = runtime.block_on(Client::connect(config)).unwrap();
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let (runtime, mut streams) = (&runtime, Vec::new());
        for number in 0..size.streams {
            let pod = format!("soak-{number}");
            let log = cluster.log("default", &pod, "app");
            log.run(json!({"create": {}}));
            let (place, shown) = watch::channel(0);
            let client = client.clone();
            streams.push(scope.spawn(move || runtime.block_on(follow(client, pod, place))));
            scope.spawn(move || {
                befall(&log, size, |number| {
                    let mut shown = shown.clone();
                    let shown = async {
                        let all = shown.wait_for(|next| *next >= number);
                        timeout(PATIENCE, all).await.expect("lines come").unwrap();
                    };
                    runtime.block_on(shown);
                });
            });
        }
        for stream in streams {
            let tally = stream.join().unwrap().end(size.written());
            all.add(&tally);
        }
    });
    all
}

/// The same with one `kubectl logs -f`: it ends at the first cut.
fn kubectl(cluster: &Cluster, size: &Size) -> Option<Tally> {
    let kubectl = wsx_tests::kubectl::find()?;
    let log = cluster.log("default", "soak-kubectl", "app");
    log.run(json!({"create": {}}));
    let mut command = kubectl.command(cluster.kubeconfig(), ["logs", "-f", "soak-kubectl"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    let mut tally = Tally::default();
    log.await_follows(1);
    log.run(json!({"numbers": {"from": 0, "count": size.lines / 2}, "cut": "rst"}));
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        tally.line(line.unwrap().as_bytes());
    }
    child.wait().unwrap();
    Some(tally.end(size.written()))
}

#[expect(clippy::print_stdout, reason = "the table is what a soak is for")]
fn judge(size: &Size) {
    let cluster = Cluster::spawn().unwrap();
    let begin = Instant::now();
    let tally = soak(&cluster, size);
    let took = begin.elapsed();
    println!("| who | lines | reconnects | lost | repeated | holes told | gaps for nothing |");
    println!("|---|---|---|---|---|---|---|");
    let written = size.streams * size.written();
    println!("{}", tally.row("wsx", written));
    match kubectl(&cluster, size) {
        Some(kubectl) => println!("{}", kubectl.row("kubectl, one log", size.written())),
        None => println!("SKIPPED: no kubectl to stand beside wsx"),
    }
    println!("{took:?}, {} logs at once", size.streams);
    let holes = size.streams * size.holes;
    assert_eq!((tally.lost, tally.repeated), (0, 0), "{tally:?}");
    assert_eq!((tally.holes, tally.announced), (holes, holes * HOLE));
    assert_eq!(tally.shown + tally.announced, written, "{tally:?}");
    // One is told with the next line: of two cuts without a line in between there is one.
    assert!(tally.reconnects >= size.streams * size.cuts, "{tally:?}");
}

#[test]
fn logs_lose_nothing_over_many_reconnects() {
    judge(&Size {
        streams: 8,
        cuts: 3,
        lines: 1000,
        holes: 1,
    });
}

#[test]
#[ignore = "soak: 1,000 reconnects over 10 million lines, 100 rotations unseen"]
fn soak_logs_lose_nothing_over_1000_reconnects() {
    judge(&Size {
        streams: 20,
        cuts: 50,
        lines: 10_000,
        holes: 5,
    });
}

#[test]
fn what_is_lost_or_repeated_is_counted() {
    let mut tally = Tally::default();
    for number in [0, 1, 1, 4] {
        tally.line(format!("{number:>99}\n").as_bytes());
    }
    tally.gap = true;
    tally.line(b"5\n");
    tally.gap = true;
    tally.line(b"8\n");
    let expected = Tally {
        shown: 6,
        lost: 2 + 1,
        repeated: 1,
        needless: 1,
        holes: 1,
        announced: 2,
        next: 9,
        ..Tally::default()
    };
    assert_eq!(tally.end(10), expected);
}

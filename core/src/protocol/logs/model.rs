//! A node that writes, rotates, truncates and restarts, and a reader who is cut at any byte.
//!
//! The invariant: what was shown and the gaps that were announced are what was written, in order, nothing
//! twice. Seeds are fixed: a red one is red again. The table is printed by `soak_of_resume`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

use super::resume::Sizes;
use super::{Ask, Budget, Line, LineReader, Notice, Pace, Resume, Start, Step};

/// What may happen in a run.
#[derive(Clone, Copy, Debug, Default)]
struct Mode {
    name: &'static str,
    /// One line in so many has the timestamp of the one before.
    equal: u64,
    /// One line in so many is up to a second out of order.
    disorder: u64,
    /// One line in so many follows a step of the clock, mostly back.
    steps: u64,
    /// One record in so many is not the last of its line.
    partial: u64,
    /// How many different lines there are.
    contents: u64,
    /// One absence in so many sees a rotation.
    rotations: u64,
    /// One absence in so many sees the file truncated.
    truncations: u64,
    /// One absence in so many sees a restart.
    restarts: u64,
    /// A file is rotated between two requests of a resume, once in so many.
    hasty: u64,
    /// Whether `tailLines` is refused.
    one_stream: bool,
}

const PLAIN: Mode = Mode {
    name: "plain",
    equal: 100,
    disorder: 0,
    steps: 0,
    partial: 0,
    contents: 1000,
    rotations: 0,
    truncations: 0,
    restarts: 0,
    hasty: 0,
    one_stream: false,
};

#[rustfmt::skip]
const MODES: [Mode; 12] = [
    PLAIN,
    Mode { name: "out of order", disorder: 5, ..PLAIN },
    Mode { name: "equal times, two contents", equal: 5, contents: 2, ..PLAIN },
    Mode { name: "mostly equal times, two contents", equal: 0, contents: 2, ..PLAIN },
    Mode { name: "clock steps back", steps: 20, disorder: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "partial records", partial: 3, equal: 5, contents: 3, ..PLAIN },
    Mode { name: "one stream", one_stream: true, partial: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "restarts", restarts: 2, partial: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "rotation while away", rotations: 2, ..PLAIN },
    Mode { name: "truncation while away", truncations: 2, partial: 5, ..PLAIN },
    Mode { name: "rotation, equal times, steps", rotations: 2, steps: 20, disorder: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "everything", rotations: 3, truncations: 9, restarts: 5, hasty: 20, partial: 5, steps: 20, disorder: 5, equal: 5, contents: 3, ..PLAIN },
];

/// splitmix64: the same numbers for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True once in `chance` times; never for 0.
    fn once_in(&mut self, chance: u64) -> bool {
        chance > 0 && self.below(chance) == 0
    }
}

/// One line of a CRI log file.
#[derive(Clone, Debug)]
struct Record {
    line: usize,
    first: bool,
    last: bool,
    nanoseconds: i64,
    content: String,
}

/// A line as it was written.
#[derive(Debug, Default)]
struct Written {
    content: String,
    ended: bool,
}

struct Node {
    mode: Mode,
    dice: Dice,
    clock: i64,
    written: Vec<Written>,
    /// The files of all time; only the last one is read, and the one before a restart with `previous`.
    files: Vec<Vec<Record>>,
    previous: Option<usize>,
    rotations: u64,
}

/// The kubelet's side of one request (cri-client pkg/logs/logs.go, `ReadLogs`).
struct Reply {
    file: usize,
    position: usize,
    left: Option<u64>,
    follow: bool,
    is_new_line: bool,
    bytes: VecDeque<u8>,
    /// The number of each line that begins in these bytes, and whether it begins at its beginning.
    lines: Vec<(usize, bool)>,
}

impl Node {
    fn now(&mut self) -> i64 {
        let mode = self.mode;
        if mode.steps > 0 && self.dice.once_in(mode.steps) {
            // Whole milliseconds, so that a moment can come back to the nanosecond.
            self.clock += (self.dice.below(40) as i64 - 30) * 1_000_000;
        } else if mode.equal == 0 {
            self.clock += i64::from(self.dice.once_in(10)) * 1_000_000;
        } else if mode.steps > 0 && !self.dice.once_in(mode.equal) {
            self.clock += 1_000_000;
        } else if !self.dice.once_in(mode.equal) {
            self.clock += 1 + self.dice.below(2_000_000) as i64;
        }
        let late = self.dice.once_in(mode.disorder);
        self.clock - i64::from(late) * self.dice.below(1000) as i64 * 1_000_000
    }

    fn write(&mut self, records: u64) {
        for _ in 0..records {
            let first = self.written.last().is_none_or(|line| line.ended);
            if first {
                self.written.push(Written::default());
            }
            let (nanoseconds, last) = (self.now(), !self.dice.once_in(self.mode.partial));
            let content = match self.dice.below(self.mode.contents) {
                0 => String::new(),
                number => format!("{number}é").repeat(1 + number as usize % 9),
            };
            // An empty record that is not the last one makes the kubelet put a timestamp into the line.
            let content = if content.is_empty() && !last {
                "x".to_owned()
            } else {
                content
            };
            let line = self.written.len() - 1;
            self.written[line].content.push_str(&content);
            self.written[line].ended = last;
            let record = Record {
                line,
                first,
                last,
                nanoseconds,
                content,
            };
            self.files.last_mut().unwrap().push(record);
        }
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        self.files.push(Vec::new());
    }

    fn restart(&mut self) {
        // What the old run did not end stays without an end.
        self.previous = Some(self.files.len() - 1);
        self.files.push(Vec::new());
        if self.written.last().is_some_and(|line| !line.ended) {
            self.written.push(Written {
                content: String::new(),
                ended: false,
            });
            let line = self.written.len() - 1;
            self.written[line].ended = true;
            let (nanoseconds, content) = (self.now(), String::new());
            let record = Record {
                line,
                first: true,
                last: true,
                nanoseconds,
                content,
            };
            self.files.last_mut().unwrap().push(record);
        }
    }

    fn open(&self, ask: Ask) -> Reply {
        let file = if ask.previous {
            self.previous.unwrap()
        } else {
            self.files.len() - 1
        };
        let records = self.files[file].len();
        let tail = ask.tail.map(|tail| usize::try_from(tail).unwrap());
        Reply {
            file,
            position: tail.map_or(0, |tail| records.saturating_sub(tail)),
            left: ask.tail.filter(|_| !ask.follow),
            follow: ask.follow,
            is_new_line: true,
            bytes: VecDeque::new(),
            lines: Vec::new(),
        }
    }
}

impl Reply {
    fn pump(&mut self, node: &Node) {
        while self.left != Some(0) {
            let Some(record) = node.files[self.file].get(self.position) else {
                if self.follow && self.file + 1 < node.files.len() {
                    (self.file, self.position) = (self.file + 1, 0);
                    continue;
                }
                return;
            };
            self.position += 1;
            self.left = self.left.map(|left| left - 1);
            let mut text = String::new();
            if self.is_new_line {
                self.lines.push((record.line, record.first));
                text = stamp(record.nanoseconds);
            }
            text.push_str(&record.content);
            text.extend(record.last.then_some('\n'));
            self.is_new_line = record.last;
            self.bytes.extend(text.bytes());
        }
    }
}

/// A moment of an hour of 2026, as the kubelet writes it.
fn stamp(nanoseconds: i64) -> String {
    let (seconds, fraction) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("2026-11-21T12:{minutes:02}:{seconds:02}.{fraction:09}Z ")
}

/// A line, or part of one, as it was shown.
struct Shown {
    line: usize,
    content: Vec<u8>,
    gap: bool,
    headless: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tally {
    runs: u64,
    written: u64,
    reconnects: u64,
    requests: u64,
    rotations: u64,
    announced: u64,
    /// Notices where nothing was missing.
    too_many: u64,
    /// Lines, or pieces of lines, that are missing without a notice.
    lost: u64,
    lost_runs: u64,
    repeated: u64,
}

struct Reader {
    resume: Resume,
    budget: Budget,
    sizes: Sizes,
    limit: usize,
    shown: Vec<Shown>,
    gap: bool,
    /// Whether a line of this run was shown: before that, nobody can see a rotation.
    seen: bool,
    tally: Tally,
}

enum Ending {
    Cut,
    Done,
}

impl Reader {
    fn new(node: &mut Node) -> Self {
        let dice = &mut node.dice;
        let sizes = Sizes {
            window: 3 + dice.below(40),
            overlap: 2 + dice.below(20),
            small: dice.below(100),
            largest: 40 + dice.below(1000),
        };
        let budget = Budget::default();
        let windows = !node.mode.one_stream;
        Self {
            resume: Resume::with_sizes(Start::Beginning, windows, &budget, sizes),
            budget,
            sizes,
            limit: 36 + dice.below(60) as usize,
            shown: Vec::new(),
            gap: false,
            seen: false,
            tally: Tally::default(),
        }
    }

    /// Reads until it is cut, after so many steps, or until there is nothing more.
    fn read(&mut self, node: &mut Node, steps: Option<u64>) -> Ending {
        let mut left = steps;
        loop {
            let mut reply = node.open(self.resume.ask());
            let mut lines = LineReader::with_limit(self.limit);
            self.tally.requests += 1;
            let mut begun = 0;
            let step = loop {
                if let Some(left) = &mut left {
                    if *left == 0 {
                        let rate = node.dice.below(100) as f64;
                        let pace = Pace::new(rate, Duration::from_millis(50), Duration::ZERO);
                        self.resume.cut(lines.given(), pace);
                        return Ending::Cut;
                    }
                    *left -= 1;
                    if node.previous.is_none() && node.dice.once_in(4) {
                        let records = node.dice.below(6);
                        node.write(records);
                    }
                }
                reply.pump(node);
                if reply.bytes.is_empty() {
                    let step = if reply.follow {
                        self.resume.quiet()
                    } else {
                        self.resume.end()
                    };
                    self.hear();
                    let idle = step == Step::Wait && self.resume.is_live();
                    let part = (step == Step::Done
                        || (idle && (left.is_none() || node.dice.once_in(3))))
                    .then(|| lines.take_part())
                    .flatten();
                    if let Some(part) = part {
                        self.take(part, &reply, &mut begun);
                    }
                    match step {
                        Step::Wait if idle && left.is_none() => return Ending::Done,
                        Step::Wait => continue,
                        step => break step,
                    }
                }
                let size = (1 + node.dice.below(90) as usize).min(reply.bytes.len());
                lines.push(reply.bytes.drain(..size).collect::<Bytes>());
                let mut again = None;
                while let Some(line) = lines.next_line() {
                    if self.take(line, &reply, &mut begun) == Step::Again {
                        again = Some(Step::Again);
                        break;
                    }
                }
                if let Some(step) = again {
                    break step;
                }
            };
            if step == Step::Done {
                return Ending::Done;
            }
            if left.is_some()
                && self.seen
                && node.previous.is_none()
                && node.dice.once_in(node.mode.hasty)
            {
                node.rotate();
                let records = node.dice.below(30);
                node.write(records);
            }
        }
    }

    fn take(&mut self, line: Line, reply: &Reply, begun: &mut usize) -> Step {
        *begun += usize::from(line.begins);
        let (number, first) = reply.lines[*begun - 1];
        let step = self.resume.line(line);
        self.hear();
        if let Step::Show(line) = &step {
            self.seen = true;
            if line.begins || self.gap {
                self.shown.push(Shown {
                    line: number,
                    content: Vec::new(),
                    gap: std::mem::take(&mut self.gap),
                    headless: !first,
                });
            }
            let last = self.shown.last_mut().unwrap();
            // A piece belongs to the line before it.
            self.tally.lost += u64::from(last.line != number);
            last.content.extend_from_slice(&line.content());
        }
        step
    }

    fn hear(&mut self) {
        while let Some(Notice::Gap { .. }) = self.resume.poll_notice() {
            self.tally.announced += 1;
            self.gap = true;
        }
    }

    /// What happens while nobody reads.
    fn away(&mut self, node: &mut Node) {
        let records = node.dice.below(60);
        node.write(records);
        let mode = node.mode;
        if node.dice.once_in(mode.restarts) {
            self.drain(node);
        } else if self.seen && node.dice.once_in(mode.rotations) {
            node.rotate();
            let records = node.dice.below(60);
            node.write(records);
        } else if self.seen && node.dice.once_in(mode.truncations) {
            node.rotations += 1;
            node.files.last_mut().unwrap().clear();
            let records = node.dice.below(60);
            node.write(records);
        }
    }

    /// Reads the rest of the old run, cut now and then, and begins with the new one.
    fn drain(&mut self, node: &mut Node) {
        node.restart();
        let records = node.dice.below(60);
        self.resume.drain();
        loop {
            let steps = node.dice.once_in(2).then(|| node.dice.below(40));
            match self.read(node, steps) {
                Ending::Done => break,
                Ending::Cut => self.tally.reconnects += 1,
            }
        }
        node.previous = None;
        node.write(records);
        let windows = !node.mode.one_stream;
        self.resume = Resume::with_sizes(Start::Beginning, windows, &self.budget, self.sizes);
        self.seen = false;
    }

    /// Compares what was shown with what was written.
    fn judge(mut self, node: &Node) -> Tally {
        let (mut next, mut whole) = (0, true);
        let wanted = |line: usize| {
            let written = &node.written[line];
            [
                written.content.as_bytes(),
                if written.ended { b"\n" } else { b"" },
            ]
            .concat()
        };
        let mut before = 0;
        for shown in &self.shown {
            // The end of a line whose beginning was shown and then rotated away.
            let rest = shown.line + 1 == next
                && shown.headless
                && shown.gap
                && before + shown.content.len() <= wanted(shown.line).len();
            before = shown.content.len();
            self.tally.repeated += u64::from(shown.line < next && !rest);
            let missing = shown.line > next || !whole || shown.headless;
            self.tally.lost += u64::from(missing && !shown.gap);
            self.tally.too_many += u64::from(shown.gap && !missing);
            let wanted = wanted(shown.line);
            let fits = if shown.headless {
                wanted.ends_with(&shown.content)
            } else {
                wanted.starts_with(&shown.content)
            };
            self.tally.lost += u64::from(!fits);
            whole = shown.headless || shown.content == wanted;
            next = shown.line + 1;
        }
        self.tally.lost += u64::from((next < node.written.len() || !whole) && !self.gap);
        self.tally.lost_runs = u64::from(self.tally.lost > 0);
        self.tally.runs = 1;
        self.tally.written = node.written.len() as u64;
        self.tally.rotations = node.rotations;
        self.tally
    }
}

fn run(mode: Mode, seed: u64) -> Tally {
    let mut node = Node {
        mode,
        dice: Dice(seed),
        clock: 1_000_000_000_000,
        written: Vec::new(),
        files: vec![Vec::new()],
        previous: None,
        rotations: 0,
    };
    let mut reader = Reader::new(&mut node);
    let records = node.dice.below(200);
    node.write(records);
    for _ in 0..2 + node.dice.below(5) {
        let steps = node.dice.below(120);
        reader.read(&mut node, Some(steps));
        reader.tally.reconnects += 1;
        reader.away(&mut node);
    }
    reader.read(&mut node, None);
    reader.judge(&node)
}

fn runs(mode: Mode, seeds: std::ops::Range<u64>) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
        let one = run(mode, seed);
        let quiet = mode.rotations + mode.truncations + mode.hasty == 0;
        let clean = one.lost == 0 && one.announced == 0 || !quiet;
        assert!(
            clean && one.repeated == 0,
            "{}, seed {seed}: {one:?}",
            mode.name
        );
        sum.runs += one.runs;
        sum.written += one.written;
        sum.reconnects += one.reconnects;
        sum.requests += one.requests;
        sum.rotations += one.rotations;
        sum.announced += one.announced;
        sum.too_many += one.too_many;
        sum.lost += one.lost;
        sum.lost_runs += one.lost_runs;
        sum.repeated += one.repeated;
    }
    sum
}

/// The same line in the same nanosecond on both sides of a rotation: nobody can tell them apart.
fn assert_bounds(mode: Mode, sum: Tally) {
    assert!(
        sum.lost_runs * 10_000 <= sum.rotations,
        "{}: {sum:?}",
        mode.name
    );
    assert!(sum.too_many * 20 <= sum.announced, "{}: {sum:?}", mode.name);
}

#[test]
fn nothing_is_lost_in_silence_and_nothing_shown_twice() {
    for mode in MODES {
        assert_bounds(mode, runs(mode, 0..200));
    }
}

#[test]
#[ignore = "minutes: 20,000 seeds for each mode"]
#[expect(clippy::print_stdout, reason = "the table is what the soak is for")]
fn soak_of_resume() {
    let mut table = "| mode | runs | lines | reconnects | requests | rotations | notices | of them too many | runs with silent loss | repeated |\n".to_owned();
    for mode in MODES {
        let sum = runs(mode, 1_000_000..1_020_000);
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            mode.name,
            sum.runs,
            sum.written,
            sum.reconnects,
            sum.requests,
            sum.rotations,
            sum.announced,
            sum.too_many,
            sum.lost_runs,
            sum.repeated
        );
        assert_bounds(mode, sum);
    }
    println!("{table}");
}

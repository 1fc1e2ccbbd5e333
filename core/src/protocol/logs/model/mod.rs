//! A node that writes, rotates, truncates and restarts, and a reader who is cut at any byte.
//!
//! The invariant: what was shown and the gaps that were announced are what was written, in order, nothing
//! twice. Seeds are fixed: a red one is red again. The table is printed by `soak_of_resume`.

mod node;

use std::fmt::Write as _;
use std::time::Duration;

use self::node::{Mode, Node, Reply};
use super::resume::Sizes;
use super::{Budget, Line, LineReader, Notice, Pace, Resume, Start, Step};

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
    swaps: 0,
    one_stream: false,
};

#[rustfmt::skip]
const MODES: [Mode; 15] = [
    PLAIN,
    Mode { name: "out of order", disorder: 5, ..PLAIN },
    Mode { name: "equal times, two contents", equal: 5, contents: 2, ..PLAIN },
    Mode { name: "mostly equal times, two contents", equal: 0, contents: 2, ..PLAIN },
    Mode { name: "clock steps back", steps: 20, disorder: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "clock repeats itself", steps: 12, contents: 2, ..PLAIN },
    Mode { name: "partial records", partial: 3, equal: 5, contents: 3, ..PLAIN },
    Mode { name: "one stream", one_stream: true, partial: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "restarts", restarts: 2, partial: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "rotation while away", rotations: 2, ..PLAIN },
    Mode { name: "rotation while following", swaps: 60, partial: 5, ..PLAIN },
    Mode { name: "rotation between requests", hasty: 3, contents: 2, ..PLAIN },
    Mode { name: "truncation while away", truncations: 2, partial: 5, ..PLAIN },
    Mode { name: "rotation, equal times, steps", rotations: 2, steps: 20, disorder: 5, equal: 5, contents: 2, ..PLAIN },
    Mode { name: "everything", rotations: 3, truncations: 9, restarts: 5, hasty: 20, swaps: 200, partial: 5, steps: 20, disorder: 5, equal: 5, contents: 3, ..PLAIN },
];

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
    /// Ends of lines that were rotated away in the middle, shown again after a notice.
    tails: u64,
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
            limit: if dice.once_in(3) { 40 } else { 4096 },
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
                if left.is_some() && self.seen && reply.follow && node.dice.once_in(node.mode.swaps)
                {
                    node.rotate();
                    node.write(1);
                }
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
                let size = (1 + node.dice.below(300) as usize).min(reply.bytes.len());
                lines.push(reply.bytes.split_to(size).freeze());
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
            // A notice inside of a line: told when all was quiet, before the rest came after all.
            self.tally.too_many += u64::from(!line.begins && std::mem::take(&mut self.gap));
            if line.begins {
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
        let records = node.dice.below(40);
        node.write(records);
        let mode = node.mode;
        if node.dice.once_in(mode.restarts) {
            self.drain(node);
        } else if self.seen && node.dice.once_in(mode.rotations) {
            node.rotate();
            let records = node.dice.below(60);
            node.write(records);
        } else if self.seen && node.dice.once_in(mode.truncations) {
            node.truncate();
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
        for shown in &self.shown {
            // The records of one line may be in two files; the second file alone shows its tail.
            let tail = shown.line + 1 == next && shown.headless && shown.gap;
            self.tally.tails += u64::from(tail);
            self.tally.repeated += u64::from(shown.line < next && !tail);
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
    let mut node = Node::new(mode, seed);
    let mut reader = Reader::new(&mut node);
    let records = node.dice.below(120);
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
        let quiet = mode.rotations + mode.truncations + mode.hasty + mode.swaps == 0;
        let clean = !quiet || one.announced == 0 && (one.lost == 0 || mode.steps > 0);
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
        sum.tails += one.tails;
    }
    sum
}

/// The same line in the same nanosecond on both sides of a rotation, or eight lines in a row that a clock
/// set back repeats to the nanosecond: nobody can tell them apart.
fn assert_bounds(mode: Mode, sum: Tally) {
    let repeats = if mode.steps > 0 { 4 * sum.runs } else { 0 };
    let bound = sum.rotations + repeats;
    assert!(sum.lost_runs * 10_000 <= bound, "{}: {sum:?}", mode.name);
    assert!(sum.tails * 50 <= sum.rotations, "{}: {sum:?}", mode.name);
    // A file that is new and holds nothing that was shown says nothing of what was in the old one.
    let percent = if mode.swaps > 0 { 35 } else { 3 };
    let bound = sum.announced * percent;
    assert!(sum.too_many * 100 <= bound, "{}: {sum:?}", mode.name);
}

/// For each mode, so that all take some seconds.
const SEEDS: u64 = 140;

#[test]
fn nothing_is_lost_in_silence_and_nothing_shown_twice() {
    for mode in MODES {
        assert_bounds(mode, runs(mode, 0..SEEDS));
    }
}

#[test]
#[ignore = "minutes: 20,000 seeds for each mode"]
#[expect(clippy::print_stdout, reason = "the table is what the soak is for")]
fn soak_of_resume() {
    let mut table = "| mode | runs | lines | reconnects | requests | rotations | notices | of them too many | runs with silent loss | lines repeated | tails repeated |\n|---|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
    for mode in MODES {
        let sum = runs(mode, 1_000_000..1_020_000);
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            mode.name,
            sum.runs,
            sum.written,
            sum.reconnects,
            sum.requests,
            sum.rotations,
            sum.announced,
            sum.too_many,
            sum.lost_runs,
            sum.repeated,
            sum.tails
        );
        assert_bounds(mode, sum);
    }
    println!("{table}");
}

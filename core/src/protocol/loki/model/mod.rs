//! A Loki that is cut, restarted, late and lossy, and a reader who follows it.
//!
//! The invariant: what was shown is what was stored, each entry as often as it was stored, but for what lies in a
//! gap that was told. Seeds are fixed: a red one is red again. Times are a tenth of the real ones.

mod world;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use self::world::{END, EPOCH, MS, Mode, World};
use super::*;

/// How long before a run Loki has written, where it has.
const HISTORY: i64 = 20_000 * MS;

const PLAIN: Mode = Mode {
    name: "cuts",
    rate: 6,
    late: 0,
    ahead: 0,
    equal: 0,
    contents: 0,
    cuts: 60,
    restarts: 0,
    drops: 0,
    silent: 0,
    errors: 0,
    crowds: 0,
    life: 360_000,
    cap: 500,
    capacity: 40_000,
    verify: false,
    history: false,
};

const ROUGH: Mode = Mode {
    late: 5,
    ahead: 9,
    equal: 3,
    cuts: 40,
    ..PLAIN
};

#[rustfmt::skip]
const MODES: [Mode; 14] = [
    PLAIN,
    Mode { name: "late and ahead", ..ROUGH },
    Mode { name: "a quiet stream", rate: 2, cuts: 30, late: 3, ..PLAIN },
    Mode { name: "small pages", cap: 7, ..ROUGH },
    Mode { name: "restarts", restarts: 60, errors: 5, ..ROUGH },
    Mode { name: "dropped entries", drops: 40, ..ROUGH },
    Mode { name: "short lives", cuts: 0, life: 6_000, late: 5, equal: 3, ..PLAIN },
    Mode { name: "short lives and cuts", life: 6_000, errors: 5, ..ROUGH },
    Mode { name: "lost in silence, verified", silent: 30, verify: true, ..ROUGH },
    Mode { name: "the same line again, verified", contents: 2, verify: true, ..ROUGH },
    Mode { name: "more than can be recognized", capacity: 50, rate: 12, ..ROUGH },
    Mode { name: "crowded nanoseconds", crowds: 50, cap: 20, ..ROUGH },
    Mode { name: "queries fail for long", restarts: 0, errors: 1, ..ROUGH },
    Mode { name: "history, everything", history: true, drops: 60, restarts: 90, silent: 60, verify: true, life: 9_000, errors: 9, ..ROUGH },
];

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tally {
    stored: u64,
    tails: u64,
    pages: u64,
    caught_up: u64,
    recovered: u64,
    gaps: u64,
    /// Entries that are missing inside of gaps.
    in_gaps: u64,
    lost: u64,
    repeated: u64,
}

impl World {
    /// Compares what was shown with what was stored.
    fn judge(mut self) -> Tally {
        type Name = (i64, Option<String>, String);
        let name = |entry: &Entry| -> Name {
            (
                entry.timestamp_ns,
                entry.labels.get("app").map(str::to_owned),
                entry.line.clone(),
            )
        };
        let mut counts: HashMap<Name, i64> = HashMap::new();
        for entry in &self.shown {
            *counts.entry(name(entry)).or_default() -= 1;
        }
        let start = EPOCH - if self.mode.history { HISTORY } else { 0 };
        let floor = self
            .shown
            .first()
            .map_or(start, |entry| entry.timestamp_ns.max(start));
        for (index, stored) in self.stored.iter().enumerate() {
            let count = counts.entry(name(&stored.entry)).or_default();
            // Of the history only its end is wanted, and nothing older than its first entry.
            let wanted = index >= self.wanted && stored.entry.timestamp_ns >= floor;
            if wanted || *count < 0 {
                *count += 1;
            }
        }
        for ((time, ..), count) in counts {
            let told = self
                .gaps
                .iter()
                .any(|(from, to)| (*from..*to).contains(&time));
            match count {
                1.. if told => self.tally.in_gaps += count as u64,
                1.. => self.tally.lost += count as u64,
                _ => self.tally.repeated += count.unsigned_abs(),
            }
        }
        self.tally.gaps = self.gaps.len() as u64;
        self.tally.stored = self.stored.len() as u64;
        self.tally
    }
}

fn run(mode: Mode, seed: u64) -> Tally {
    let mut world = World::new(mode, seed);
    let mut options = TailOptions::new(EPOCH, 1_000);
    if mode.history {
        options = TailOptions::new(EPOCH - HISTORY, 5);
        (1..=200)
            .rev()
            .for_each(|back| world.write(EPOCH - back * 100 * MS));
    }
    options.capacity = mode.capacity;
    options.page = 50;
    options.patience = Duration::from_secs(6);
    options.settle = Duration::from_millis(2_500);
    options.verify = mode.verify.then_some(Duration::from_secs(3));
    options.window = Duration::from_secs(3);
    let mut tail = Tail::new(options, world.clock());
    for beat in 0..END / (100 * MS) {
        let until = EPOCH + beat * 100 * MS;
        loop {
            while let Some(step) = tail.poll() {
                world.take(step);
            }
            match world.events.first_key_value() {
                Some((&(at, _), _)) if at <= until => {}
                _ => break,
            }
            let ((at, _), event) = world.events.pop_first().unwrap();
            world.now = at;
            world.happen(event, &mut tail);
        }
        world.now = until;
        world.beat();
        if tail
            .deadline()
            .is_some_and(|deadline| deadline <= world.clock().elapsed)
        {
            tail.tick(world.clock());
        }
    }
    world.judge()
}

fn runs(mode: Mode, seeds: std::ops::Range<u64>) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
        let one = run(mode, seed);
        // Where keys were driven out, what comes late may come a second time.
        let small = mode.capacity < 1_000 && one.repeated * 20 < one.stored;
        let repeated = one.repeated == 0 || small;
        assert!(
            repeated && one.lost == 0,
            "{}, seed {seed}: {one:?}",
            mode.name
        );
        sum.stored += one.stored;
        sum.tails += one.tails;
        sum.pages += one.pages;
        sum.caught_up += one.caught_up;
        sum.recovered += one.recovered;
        sum.gaps += one.gaps;
        sum.in_gaps += one.in_gaps;
        sum.repeated += one.repeated;
    }
    sum
}

#[test]
fn nothing_is_lost_in_silence_and_nothing_shown_twice() {
    for mode in MODES {
        let sum = runs(mode, 0..10);
        let unavoidable = mode.crowds > 0 || mode.capacity < 1_000 || mode.errors == 1;
        // Of what is dropped, something may be older than the history that was asked for.
        assert!(
            sum.gaps == 0 || unavoidable || mode.history,
            "{}: {sum:?}",
            mode.name
        );
        assert!(sum.in_gaps > 0 || !unavoidable, "{}: {sum:?}", mode.name);
        assert_eq!(sum.recovered > 0, mode.verify, "{}: {sum:?}", mode.name);
        assert!(sum.caught_up > 0, "{}: {sum:?}", mode.name);
    }
}

#[test]
#[ignore = "minutes: 4,000 seeds for each mode"]
#[expect(clippy::print_stdout, reason = "the table is what the soak is for")]
fn soak_of_tail() {
    let mut table = "| mode | runs | stored | tails | pages | caught up | recovered | gaps | missing in gaps | lost | repeated |\n|---|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
    for mode in MODES {
        let sum = runs(mode, 1_000_000..1_004_000);
        let Tally {
            stored,
            tails,
            pages,
            caught_up,
            recovered,
            gaps,
            in_gaps,
            lost,
            repeated,
        } = sum;
        let _ = writeln!(
            table,
            "| {} | 4000 | {stored} | {tails} | {pages} | {caught_up} | {recovered} | {gaps} | {in_gaps} | {lost} | {repeated} |",
            mode.name
        );
    }
    println!("{table}");
}

//! The steps of a tail, one by one; the model shows that together they lose nothing.

use std::sync::Arc;
use std::time::Duration;

use super::*;

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_000_000 * SECOND;

/// The time so many seconds after the start.
fn at(seconds: i64) -> Now {
    Now::new(
        Duration::from_secs(seconds.unsigned_abs()),
        START + seconds * SECOND,
    )
}

fn entry(seconds: i64, line: &str) -> Entry {
    Entry::new(START + seconds * SECOND, Arc::default(), line)
}

fn message(entries: &[Entry]) -> TailMessage {
    TailMessage {
        dropped: None,
        entries: entries.to_vec(),
    }
}

/// A tail, and the name of its last request.
struct Court {
    tail: Tail,
    id: Option<Id>,
}

impl Court {
    fn new(change: impl FnOnce(&mut TailOptions)) -> Self {
        let mut options = TailOptions::new(START, 30);
        change(&mut options);
        Self {
            tail: Tail::new(options, at(0)),
            id: None,
        }
    }

    /// A tail that was opened at 0 and has shown one entry of that time.
    fn open(change: impl FnOnce(&mut TailOptions)) -> (Self, Id) {
        let mut court = Self::new(change);
        assert_eq!(court.steps(), ["open from 0, 30, AtOnce"]);
        let id = court.id.unwrap();
        court.tail.opened(id, at(0));
        court.tail.message(id, message(&[entry(0, "first")]), at(0));
        assert_eq!(court.steps(), ["Live first"]);
        (court, id)
    }

    /// All steps that are due, in words; times in seconds after the start.
    fn steps(&mut self) -> Vec<String> {
        let seconds = |time: i64| (time - START) as f64 / SECOND as f64;
        std::iter::from_fn(|| self.tail.poll())
            .map(|step| match step {
                Step::Close(_) => "close".to_owned(),
                Step::Ended(ending) => format!("ended {ending:?}"),
                Step::Open {
                    id,
                    limit,
                    retry,
                    start,
                } => {
                    self.id = Some(id);
                    format!("open from {}, {limit}, {retry:?}", seconds(start))
                }
                Step::Query {
                    end,
                    id,
                    limit,
                    retry,
                    start,
                } => {
                    self.id = Some(id);
                    format!(
                        "query {} to {}, {limit}, {retry:?}",
                        seconds(start),
                        seconds(end)
                    )
                }
                Step::Show(entry, origin) => {
                    format!("{origin:?} {:.40}", entry.line)
                }
                Step::Tell(Notice::Dropped(dropped)) => format!("dropped {}", dropped.count),
                Step::Tell(Notice::Gap { from, to, why }) => {
                    format!("gap {} to {}, {why:?}", seconds(from), seconds(to))
                }
                Step::Tell(Notice::Resumed { away, caught_up }) => {
                    format!("resumed after {away:?}, {caught_up}")
                }
                Step::Tell(Notice::Unverified { from, to }) => {
                    format!("unverified {} to {}", seconds(from), seconds(to))
                }
            })
            .collect()
    }

    fn reply(&mut self, entries: &[Entry], now: Now) -> Vec<String> {
        self.tail.reply(self.id.unwrap(), Ok(entries.to_vec()), now);
        self.steps()
    }

    fn fail(&mut self, ending: Ending, now: Now) -> Vec<String> {
        self.tail.reply(self.id.unwrap(), Err(ending), now);
        self.steps()
    }

    /// Cut at so many seconds, open again one second later.
    fn reopen(&mut self, id: Id, seconds: i64) -> (Id, Vec<String>) {
        self.tail.closed(id, Ending::Transient, at(seconds));
        let mut steps = self.steps();
        let id = self.id.unwrap();
        self.tail.opened(id, at(seconds + 1));
        assert_eq!(
            self.steps(),
            [""; 0],
            "101 comes before Loki has registered the tail"
        );
        self.tail.frame(id, at(seconds + 1));
        steps.extend(self.steps());
        (id, steps)
    }
}

#[test]
fn a_cut_is_caught_up_after_the_first_frame_and_before_what_is_new() {
    let (mut court, id) = Court::open(|_| {});
    court.tail.message(id, message(&[entry(100, "a")]), at(100));
    assert_eq!(court.steps(), ["Live a"]);
    let (id, steps) = court.reopen(id, 101);
    assert_eq!(
        steps,
        ["open from 70, 1, BackOff", "query 70 to 132, 5000, AtOnce"]
    );
    court
        .tail
        .message(id, message(&[entry(101, "b"), entry(103, "c")]), at(103));
    assert_eq!(court.steps(), [""; 0], "held back");
    let steps = court.reply(&[entry(100, "a"), entry(101, "b")], at(104));
    assert_eq!(steps, ["CaughtUp b", "Live c", "resumed after 3s, 1"]);
    court.tail.message(id, message(&[entry(105, "d")]), at(105));
    assert_eq!(court.steps(), ["Live d"]);
}

#[test]
fn before_the_first_entry_the_first_request_is_made_again() {
    let mut court = Court::new(|_| {});
    court.steps();
    for _ in 0..2 {
        let id = court.id.unwrap();
        court.tail.opened(id, at(1));
        court.tail.frame(id, at(1));
        court.tail.closed(id, Ending::Transient, at(2));
        assert_eq!(court.steps(), ["open from 0, 30, BackOff"]);
    }
}

#[test]
fn a_tail_that_stays_quiet_is_caught_up_too() {
    let mut court = Court::new(|_| {});
    court.steps();
    let id = court.id.unwrap();
    court.tail.opened(id, at(0));
    (0..=100).for_each(|second| court.tail.frame(id, at(second)));
    let (_, steps) = court.reopen(id, 200);
    // After 10 s it was sure that there is no history; since then nothing was heard.
    assert_eq!(
        steps,
        ["open from 0, 1, BackOff", "query 0 to 231, 5000, AtOnce"]
    );
}

#[test]
fn a_range_that_was_caught_up_is_not_asked_for_again() {
    let (mut court, id) = Court::open(|_| {});
    let (id, _) = court.reopen(id, 3600);
    court.reply(&[], at(3602));
    let (_, steps) = court.reopen(id, 7200);
    assert_eq!(
        steps,
        [
            "open from 3571, 1, BackOff",
            "query 3571 to 7231, 5000, AtOnce"
        ]
    );
}

#[test]
fn the_hourly_end_is_forestalled_once_its_hour_is_known() {
    let (mut court, id) = Court::open(|_| {});
    assert_eq!(
        court.tail.deadline(),
        Some(Duration::from_secs(3300)),
        "55 min"
    );
    court.tail.closed(id, Ending::Planned, at(600));
    assert_eq!(court.steps(), ["open from 0, 1, AtOnce"]);
    let id = court.id.unwrap();
    court.tail.opened(id, at(600));
    court.tail.frame(id, at(600));
    court.steps();
    court.reply(&[], at(600));
    assert_eq!(court.tail.deadline(), Some(Duration::from_secs(600 + 540)));
    court.tail.tick(at(1139));
    assert_eq!(court.steps(), [""; 0]);
    court.tail.tick(at(1140));
    assert_eq!(court.steps(), ["open from 570, 1, AtOnce"]);
    let next = court.id.unwrap();
    court
        .tail
        .message(id, message(&[entry(1141, "a")]), at(1141));
    court.tail.opened(next, at(1141));
    assert_eq!(court.steps(), ["Live a"], "the old one goes on");
    court
        .tail
        .message(next, message(&[entry(1141, "a")]), at(1142));
    assert_eq!(court.steps(), ["close", "query 1111 to 1172, 5000, AtOnce"]);
    court
        .tail
        .message(id, message(&[entry(1142, "too late")]), at(1142));
    assert_eq!(
        court.reply(&[entry(1141, "a")], at(1142)),
        ["resumed after 0ns, 0"]
    );
}

#[test]
fn a_successor_that_is_refused_leaves_the_old_tail_alone() {
    let (mut court, id) = Court::open(|_| {});
    court.tail.tick(at(3300));
    assert_eq!(court.steps(), ["open from 0, 1, AtOnce"]);
    let limit = Ending::of_close(
        1011,
        "max concurrent tail requests limit exceeded, count > limit (11 > 10)",
    );
    court.tail.closed(court.id.unwrap(), limit, at(3301));
    assert_eq!((court.steps(), court.tail.deadline()), (vec![], None));
    court
        .tail
        .message(id, message(&[entry(3302, "a")]), at(3302));
    assert_eq!(court.steps(), ["Live a"]);
}

#[test]
fn pages_overlap_by_their_last_nanosecond() {
    let (mut court, id) = Court::open(|options| options.page = 2);
    court.reopen(id, 1);
    let steps = court.reply(&[entry(0, "first"), entry(1, "a")], at(3));
    assert_eq!(steps, ["CaughtUp a", "query 1 to 32, 2, AtOnce"]);
    let steps = court.reply(&[entry(1, "a"), entry(1, "b")], at(3));
    assert_eq!(
        steps,
        ["CaughtUp b", "query 1 to 32, 8, AtOnce"],
        "one nanosecond needs a longer page"
    );
    let steps = court.reply(&[entry(1, "a"), entry(1, "b"), entry(1, "c")], at(3));
    assert_eq!(steps, ["CaughtUp c", "resumed after 2s, 3"]);
}

#[test]
fn what_one_nanosecond_holds_over_lokis_limit_is_a_gap() {
    let (mut court, id) = Court::open(|options| options.page = 2);
    court.reopen(id, 1);
    court.reply(&[entry(1, "a"), entry(1, "b")], at(3));
    let steps = court.reply(&[entry(1, "a"), entry(1, "b")], at(3));
    assert_eq!(steps, ["query 1 to 32, 8, AtOnce"]);
    let text = "max entries limit per query exceeded, limit > max_entries_limit_per_query (8 > 2)";
    assert_eq!(
        court.fail(Ending::of_status(400, text), at(3)),
        ["query 1 to 32, 2, AtOnce"]
    );
    let steps = court.reply(&[entry(1, "a"), entry(1, "b")], at(3));
    assert_eq!(
        steps,
        [
            "gap 1 to 1.000000001, Crowded",
            "query 1.000000001 to 32, 2, AtOnce"
        ]
    );
}

#[test]
fn lokis_own_limit_shortens_all_pages() {
    let (mut court, id) = Court::open(|_| {});
    let (id, _) = court.reopen(id, 1);
    let text =
        "max entries limit per query exceeded, limit > max_entries_limit_per_query (5000 > 1000)";
    assert_eq!(
        court.fail(Ending::of_status(400, text), at(3)),
        ["query 0 to 32, 1000, AtOnce"]
    );
    court.reply(&[], at(3));
    let (_, steps) = court.reopen(id, 4);
    assert_eq!(steps[1], "query 0 to 35, 1000, AtOnce");
}

#[test]
fn a_query_that_fails_is_made_again_for_a_minute_then_a_gap_is_told() {
    let (mut court, id) = Court::open(|_| {});
    let (id, _) = court.reopen(id, 1);
    court.tail.message(id, message(&[entry(9, "a")]), at(9));
    let failing = Ending::of_status(503, "");
    assert_eq!(
        court.fail(failing, at(10)),
        ["query 0 to 32, 5000, BackOff"]
    );
    assert_eq!(
        court.fail(failing, at(69)),
        ["query 0 to 32, 5000, BackOff"]
    );
    let steps = court.fail(failing, at(70));
    assert_eq!(
        steps,
        ["gap 0 to 32, Query", "Live a", "resumed after 69s, 0"]
    );
}

#[test]
fn what_loki_dropped_is_asked_for() {
    let (mut court, id) = Court::open(|_| {});
    court.tail.message(id, message(&[entry(100, "a")]), at(100));
    court.steps();
    let dropped = Some(Dropped {
        count: 2,
        from: START + 60 * SECOND,
        to: START + 101 * SECOND,
    });
    let news = TailMessage {
        dropped,
        entries: vec![entry(102, "d")],
    };
    court.tail.message(id, news, at(102));
    assert_eq!(
        court.steps(),
        ["dropped 2", "query 60 to 132, 5000, AtOnce"]
    );
    let steps = court.reply(
        &[
            entry(99, "b"),
            entry(100, "a"),
            entry(101, "c"),
            entry(102, "d"),
        ],
        at(103),
    );
    assert_eq!(steps, ["CaughtUp b", "CaughtUp c", "CaughtUp d"]);
}

#[test]
fn what_is_held_back_has_a_bound() {
    let (mut court, id) = Court::open(|_| {});
    let (id, _) = court.reopen(id, 1);
    let long = "x".repeat(1 << 20);
    for second in 3..6 {
        court
            .tail
            .message(id, message(&[entry(second, &long)]), at(second));
    }
    assert_eq!(court.steps(), [""; 0], "3 MiB");
    court.tail.message(id, message(&[entry(6, &long)]), at(7));
    assert_eq!(court.steps().len(), 4);
    court.tail.message(id, message(&[entry(8, "b")]), at(8));
    assert_eq!(court.steps(), ["Live b"], "and from now on as it comes");
    assert_eq!(
        court.reply(&[entry(2, "c"), entry(8, "b")], at(9)),
        ["CaughtUp c", "resumed after 8s, 1"]
    );
}

#[test]
fn what_loki_lost_in_silence_is_found() {
    let (mut court, id) = Court::open(|options| options.verify = Some(Duration::from_secs(30)));
    court.tail.tick(at(0));
    assert_eq!(
        (court.steps(), court.tail.deadline()),
        (vec![], Some(Duration::from_secs(30)))
    );
    court.tail.message(id, message(&[entry(10, "a")]), at(10));
    court.steps();
    court.tail.tick(at(30));
    assert_eq!(
        court.steps(),
        ["query 0 to 20, 5000, AtOnce"],
        "the last 10 s are settling"
    );
    let steps = court.reply(&[entry(0, "first"), entry(9, "b"), entry(10, "a")], at(31));
    assert_eq!(steps, ["Recovered b"]);
    court.tail.message(id, message(&[entry(9, "b")]), at(32));
    assert_eq!(court.steps(), [""; 0], "only late");
    court.tail.tick(at(60));
    assert_eq!(court.steps(), ["query 20 to 50, 5000, AtOnce"]);
}

#[test]
fn a_check_gives_way_to_a_catch_up_and_is_made_later() {
    let (mut court, id) = Court::open(|options| options.verify = Some(Duration::from_secs(30)));
    court.tail.tick(at(30));
    assert_eq!(court.steps(), ["query 0 to 20, 5000, AtOnce"]);
    let check = court.id.unwrap();
    let (_, steps) = court.reopen(id, 31);
    assert_eq!(steps[1], "query 0 to 62, 5000, AtOnce");
    court.tail.reply(
        check,
        Ok(vec![entry(5, "of a query that was given up")]),
        at(32),
    );
    assert_eq!(court.steps(), [""; 0]);
    court.reply(&[], at(33));
    court.tail.tick(at(60));
    assert_eq!(court.steps(), ["query 0 to 50, 5000, AtOnce"]);
}

#[test]
fn a_window_that_is_too_small_is_told_where_it_matters() {
    let (mut court, id) = Court::open(|options| options.capacity = 10);
    for second in 50..90 {
        court
            .tail
            .message(id, message(&[entry(second, "a")]), at(second));
    }
    court.steps();
    let (_, steps) = court.reopen(id, 90);
    assert!(
        steps[1].starts_with("gap 59 to ") && steps[1].ends_with(", Forgotten"),
        "{steps:?}"
    );
    let known: f64 = steps[1]
        .split(' ')
        .nth(3)
        .unwrap()
        .trim_end_matches(',')
        .parse()
        .unwrap();
    assert!((79.0..81.0).contains(&known), "{known}");
    assert_eq!(steps[2], format!("query {known} to 121, 5000, AtOnce"));
}

#[test]
fn a_refusal_is_the_end_and_gives_out_what_was_held_back() {
    let (mut court, id) = Court::open(|_| {});
    let (id, _) = court.reopen(id, 1);
    court.tail.message(id, message(&[entry(2, "a")]), at(3));
    let lost = Ending::of_close(1011, "parse error : syntax error: unexpected $end");
    court.tail.closed(id, lost, at(4));
    assert_eq!(court.steps(), ["Live a", "ended QueryLost"]);
    court.tail.frame(id, at(5));
    court.tail.message(id, message(&[entry(5, "b")]), at(5));
    assert_eq!(court.reply(&[entry(5, "c")], at(5)), [""; 0]);
    assert_eq!(court.tail.deadline(), None);
}

#[test]
fn a_clock_that_is_ahead_moves_no_start_into_the_future() {
    let (mut court, id) = Court::open(|_| {});
    court
        .tail
        .message(id, message(&[entry(5000, "ahead")]), at(100));
    court.steps();
    let (_, steps) = court.reopen(id, 101);
    assert_eq!(
        steps,
        ["open from 70, 1, BackOff", "query 70 to 132, 5000, AtOnce"]
    );
}

#[test]
fn a_flood_with_one_key_each_stays_within_its_memory() {
    let mut court = Court::new(|options| options.capacity = 1000);
    court.steps();
    let id = court.id.unwrap();
    for number in 0..100_000 {
        let line = entry(number / 1000, &number.to_string());
        court.tail.message(id, message(&[line]), at(number / 1000));
        assert_eq!(court.steps().len(), 1);
    }
}

#[test]
fn who_ends_each_tail_at_once_is_not_asked_at_once() {
    let (mut court, id) = Court::open(|_| {});
    court.tail.closed(id, Ending::Planned, at(1));
    assert_eq!(court.steps(), ["open from 0, 1, BackOff"]);
    let id = court.id.unwrap();
    court.tail.opened(id, at(2));
    court.tail.frame(id, at(2));
    court.steps();
    court.reply(&[], at(2));
    assert_eq!(court.tail.deadline(), Some(Duration::from_millis(3800)));
}

#[test]
fn a_window_that_fills_is_checked_earlier_but_not_all_the_time() {
    let (mut court, id) = Court::open(|options| {
        options.capacity = 100;
        options.verify = Some(Duration::from_secs(30));
    });
    court.tail.tick(at(0));
    for second in 1..90 {
        court.tail.message(
            id,
            message(&[entry(second / 9, &second.to_string())]),
            at(second / 9),
        );
    }
    court.steps();
    assert_eq!(court.tail.deadline(), Some(Duration::from_secs(5)));
    court.tail.tick(at(15));
    assert_eq!(court.steps(), ["query 0 to 5, 5000, AtOnce"]);
    court.reply(&[], at(15));
    assert_eq!(court.tail.deadline(), Some(Duration::from_secs(20)));
}

#[test]
fn what_was_dropped_long_ago_is_a_gap() {
    let (mut court, id) = Court::open(|_| {});
    for hour in 1..10 {
        court
            .tail
            .message(id, message(&[entry(hour * 3600, "a")]), at(hour * 3600));
    }
    court.steps();
    for (from, to, told) in [
        (i64::MIN, i64::MAX, true),
        (START - 9, START - 1, false),
        (START, START, true),
    ] {
        let dropped = Some(Dropped { count: 1, from, to });
        court.tail.message(
            id,
            TailMessage {
                dropped,
                entries: vec![],
            },
            at(9 * 3600),
        );
        let gaps = court
            .steps()
            .iter()
            .filter(|step| step.starts_with("gap 0 to "))
            .count();
        assert_eq!(gaps, usize::from(told), "{from} to {to}");
    }
}

#[test]
fn where_the_first_entries_were_dropped_no_older_history_is_asked_for() {
    let mut court = Court::new(|_| {});
    court.steps();
    let id = court.id.unwrap();
    court.tail.opened(id, at(100));
    let dropped = Some(Dropped {
        count: 2,
        from: START + 90 * SECOND,
        to: START + 95 * SECOND,
    });
    court.tail.message(
        id,
        TailMessage {
            dropped,
            entries: vec![entry(99, "c")],
        },
        at(100),
    );
    assert_eq!(
        court.steps(),
        ["dropped 2", "query 90 to 130, 5000, AtOnce"]
    );
    let steps = court.reply(&[entry(90, "a"), entry(95, "b"), entry(99, "c")], at(100));
    assert_eq!(steps, ["CaughtUp a", "CaughtUp b", "CaughtUp c"]);
}

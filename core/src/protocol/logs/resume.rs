//! Following one log file over many connections: no line twice, none lost without a word.
//!
//! Lives here: which request comes next and which lines of its reply are new (reliability.md E.2,
//! steps 2 to 6). Never here: clocks, back-off, who asks for the pod.

use std::collections::VecDeque;

use super::ask::{Ask, Notice, Pace, Start, Step};
use super::line::{Given, Line};
use super::matching::{Extent, Match, Matcher, Worth, settles};
use super::ring::{Budget, Ring, Sum};

/// Sizes that the algorithm begins with; the tests shrink them to reach every branch with small files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Records of the first window.
    pub(super) window: u64,
    /// Records of overlap in the request that follows.
    pub(super) overlap: u64,
    /// Files of so many lines are followed from their beginning.
    pub(super) small: u64,
    /// Windows larger than this are not asked for.
    pub(super) largest: u64,
}

const SIZES: Sizes = Sizes {
    window: 200,
    overlap: 64,
    small: 1000,
    largest: 1_000_000,
};

/// Rounds in which windows are tried, each ten times as large; then it is the whole file.
const WINDOW_ROUNDS: u32 = 3;

/// Rounds of settling and following before the place is given up.
const ROUNDS: u32 = 6;

/// One run's log, followed over as many connections as it takes.
///
/// ```text
/// ask ─▶ request ─▶ LineReader ─▶ line() ─▶ Show, Wait ─┐
///  ▲                              end()  ─▶ Again, Done  │
///  └── cut(): the connection ended before its time ◀─────┘
/// ```
///
/// A resume has two requests. **Settle** is finite, so that nothing hangs on guessing where the
/// back-log ends; nothing of it is shown or held, only keys are compared. **Replay** asks from a little
/// before the place that was found, recognises it, and shows what comes after. Both may be cut or found
/// wanting at any byte: what was shown is all that counts.
#[derive(Debug)]
pub struct Resume {
    ring: Ring,
    start: Start,
    windows: bool,
    previous: bool,
    sizes: Sizes,
    pace: Pace,
    state: State,
    matcher: Matcher,
    round: u32,
    /// What was given out of an unfinished line, until that line has come again.
    given: Option<Given>,
    /// Where in the finite reply a line begins that may be that one.
    begun: Option<Match>,
    /// What was passed over of that line so far.
    passing: Option<Sum>,
    /// Set when the next line shown does not surely follow the last one.
    gap: Option<Certainty>,
    notices: VecDeque<Notice>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Every line is new.
    Live(Ask),
    /// Filling the ring with what is already there, before a reader that begins at the end.
    Prime { tail: Option<u64> },
    /// Looking for the place again, in the reply that is to be shown from there.
    Replay { tail: Option<u64>, place: Match },
    /// Looking for the place in a finite reply.
    Settle { tail: Option<u64> },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Certainty {
    Certain,
    Possible,
}

impl Resume {
    /// Begins with a run of a container.
    ///
    /// `windows` is false where the API refuses `tailLines`: with a chosen stream (`stdout`, `stderr`).
    #[must_use]
    pub fn new(start: Start, windows: bool, budget: &Budget) -> Self {
        Self::with_sizes(start, windows, budget, SIZES)
    }

    pub(super) fn with_sizes(start: Start, windows: bool, budget: &Budget, sizes: Sizes) -> Self {
        let mut resume = Self {
            ring: Ring::new(budget),
            start,
            windows,
            previous: false,
            sizes,
            pace: Pace::default(),
            state: State::Settle { tail: None },
            matcher: Matcher::new(Extent::Whole),
            round: 0,
            given: None,
            begun: None,
            passing: None,
            gap: None,
            notices: VecDeque::new(),
        };
        resume.begin();
        resume
    }

    /// Tells what to ask for now.
    #[must_use]
    pub const fn ask(&self) -> Ask {
        let (tail, follow) = match self.state {
            State::Live(ask) => return ask,
            State::Replay { tail, .. } => (tail, !self.previous),
            State::Prime { tail } | State::Settle { tail } => (tail, false),
        };
        Ask {
            tail,
            follow,
            previous: self.previous,
            since: false,
        }
    }

    /// Tells whether lines are shown as they come; false while the place is looked for.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// Returns the next thing to tell the reader, before the line of the same step.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Takes a line of the reply.
    pub fn line(&mut self, line: Line) -> Step {
        match self.state {
            State::Live(_) => self.show(line),
            State::Prime { .. } => {
                if let Some(key) = line.key {
                    self.ring.push(key);
                }
                Step::Wait
            }
            State::Settle { .. } => {
                let given = self.given.filter(|given| given.timestamp == line.timestamp);
                if given.is_some() && line.begins {
                    self.begun.get_or_insert_with(|| self.matcher.here());
                }
                if let Some(key) = line.key {
                    self.matcher.take(&self.ring, key);
                }
                Step::Wait
            }
            State::Replay { tail, place } => {
                let Some(key) = line.key else {
                    return Step::Wait;
                };
                let found = self.matcher.take(&self.ring, key);
                match tail {
                    Some(_) if settles(&self.ring, found) => self.go_live(),
                    Some(most) if found.lines < most => Step::Wait,
                    None if found.lines < place.lines => Step::Wait,
                    None if found.fold == place.fold => self.go_live(),
                    _ => self.settle_again(),
                }
            }
        }
    }

    /// Takes the end of a reply that ended by itself: a finite one, or a run that is over.
    pub fn end(&mut self) -> Step {
        match self.state {
            State::Live(_) => {
                self.tell_gap(None);
                Step::Done
            }
            State::Replay { .. } => self.settle_again(),
            State::Prime { .. } => {
                // An empty file: all that comes is new.
                self.start = Start::Beginning;
                self.begin();
                Step::Again
            }
            State::Settle { tail } => {
                self.judge(tail);
                Step::Again
            }
        }
    }

    /// Takes that nothing came for a while (half a second and a round trip will do).
    ///
    /// Needed while the place is looked for in a reply that goes on: it may hold fewer lines than records.
    pub fn quiet(&mut self) -> Step {
        match self.state {
            State::Live(_) => {
                self.tell_gap(None);
                Step::Wait
            }
            State::Replay { .. } => self.settle_again(),
            State::Prime { .. } | State::Settle { .. } => Step::Wait,
        }
    }

    /// Takes that the connection is gone, and begins to resume.
    ///
    /// `given` is [`LineReader::given`](super::LineReader::given) of the reply that was cut.
    pub fn cut(&mut self, given: Option<Given>, pace: Pace) {
        if self.is_live() && self.given.is_none() {
            self.given = given;
        }
        self.pace = pace;
        self.round = 0;
        self.begin();
        if self.ring.is_empty() && matches!(self.start, Start::Tail(_)) {
            // More may have come than the tail asks for.
            self.gap = Some(Certainty::Possible);
        }
    }

    /// Takes that the container was restarted once: reads the rest of the old run with `previous=true`.
    ///
    /// Call it after [`cut`](Self::cut); ends with [`Step::Done`]. The new run is a `Resume` of its own.
    pub fn drain(&mut self) {
        self.previous = true;
        self.begin();
    }

    /// Decides on the first request: at the start, after a cut, and when a round came to nothing.
    fn begin(&mut self) {
        self.passing = None;
        self.gap = None;
        let tail = self.window();
        if self.start == Start::End {
            // A ring that was filled in part would be a place before the end.
            self.ring.clear();
            self.state = State::Prime { tail };
        } else if self.ring.is_empty() {
            let (tail, since) = match self.start {
                Start::Tail(records) => (Some(records), false),
                Start::Time => (None, true),
                Start::Beginning | Start::End => (None, false),
            };
            self.live(tail, since);
        } else if self.windows && self.round > ROUNDS {
            // Rather a hole that is told than lines that are repeated.
            self.gap = Some(Certainty::Certain);
            self.live(Some(0), false);
        } else {
            self.settle(tail);
        }
    }

    fn live(&mut self, tail: Option<u64>, since: bool) {
        self.state = State::Live(Ask {
            tail,
            follow: !self.previous,
            previous: self.previous,
            since,
        });
    }

    /// Returns how many records should hold the place; `None` is the whole file.
    fn window(&self) -> Option<u64> {
        let wanted = self
            .pace
            .lines(self.pace.away)
            .saturating_add(self.sizes.window);
        let wanted = wanted.saturating_mul(10_u64.saturating_pow(self.round));
        (self.by_windows() && wanted <= self.sizes.largest).then_some(wanted)
    }

    /// Tells whether windows are tried: three rounds at most.
    const fn by_windows(&self) -> bool {
        self.windows && self.round < WINDOW_ROUNDS
    }

    fn settle(&mut self, tail: Option<u64>) {
        self.matcher = Matcher::new(extent(tail));
        self.begun = None;
        self.state = State::Settle { tail };
    }

    /// Steps 4 and 6: what the finite reply shows, and the request after it.
    fn judge(&mut self, tail: Option<u64>) {
        let (lines, mut place) = (self.matcher.lines(), self.matcher.best());
        match self.matcher.worth(&self.ring) {
            Worth::Insufficient => {
                // Fewer lines than records were asked for: probably the whole file, but long lines
                // have many records, so that only a request without a window proves it.
                let wider = tail
                    .filter(|records| lines >= *records)
                    .map(|records| records * 10);
                return self.settle(wider.filter(|records| *records <= self.sizes.largest));
            }
            Worth::Absent => {
                self.gap = Some(Certainty::Certain);
                // The line that was being shown is the place too; its content will prove it.
                place = self.begun.unwrap_or_default();
            }
            Worth::Weak => self.gap = Some(Certainty::Possible),
            Worth::Sure => {}
        }
        let by_window = self.by_windows()
            && self.gap.is_none()
            && (tail.is_some() || (lines > self.sizes.small && place.length > 0));
        let tail = by_window.then(|| {
            let new = lines - place.lines;
            let meanwhile = self.pace.lines(self.pace.round_trip);
            // Records for each line, where the window tells it.
            let records = tail.map_or(1, |records| records.div_ceil(lines.max(1)));
            let wanted = meanwhile.saturating_add(new + self.sizes.overlap);
            wanted.saturating_mul(records)
        });
        self.replay(tail, place);
    }

    fn replay(&mut self, tail: Option<u64>, place: Match) {
        self.matcher = Matcher::new(extent(tail));
        self.state = State::Replay { tail, place };
        if tail.is_none() && place.lines == 0 {
            self.go_live();
        }
    }

    fn go_live(&mut self) -> Step {
        self.live(self.ask().tail, false);
        Step::Wait
    }

    fn show(&mut self, line: Line) -> Step {
        let Some(given) = self.given else {
            return self.deliver(line);
        };
        if line.begins && line.timestamp != given.timestamp {
            self.given = None;
            self.gap.get_or_insert(Certainty::Possible);
            return self.deliver(line);
        }
        // This line was begun before the cut: its beginning is passed over, if it is the same.
        let passing = self.passing.get_or_insert_default();
        let body = line.body();
        let left = usize::try_from(given.length - passing.length()).unwrap_or(usize::MAX);
        let passed = body.get(..left).unwrap_or(body);
        passing.add(passed);
        if passing.length() < given.length && line.key.is_none() {
            return Step::Wait;
        }
        let same = passing.length() == given.length && passing.hash() == given.hash;
        let skip = passed.len();
        (self.given, self.passing) = (None, None);
        if !same {
            self.gap = Some(Certainty::Possible);
            self.tell_gap(given.timestamp);
            return self.settle_again();
        }
        // This is the line that came after the last whole one: nothing is missing between them.
        self.gap = None;
        if skip == body.len() && line.key.is_none() {
            return Step::Wait;
        }
        self.deliver(line.after(skip))
    }

    fn deliver(&mut self, line: Line) -> Step {
        self.tell_gap(line.timestamp);
        if let Some(key) = line.key {
            self.ring.push(key);
        }
        Step::Show(line)
    }

    fn tell_gap(&mut self, before: Option<i64>) {
        if let Some(certainty) = self.gap.take() {
            self.notices.push_back(Notice::Gap {
                certain: certainty == Certainty::Certain,
                after: self.ring.last().map(|key| key.timestamp),
                before,
            });
        }
    }

    /// The place was not there any more: the file went on or was rotated between the two requests.
    fn settle_again(&mut self) -> Step {
        self.round += 1;
        self.begin();
        Step::Again
    }
}

const fn extent(tail: Option<u64>) -> Extent {
    match tail {
        Some(_) => Extent::Window,
        None => Extent::Whole,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::LineReader;
    use super::*;

    fn line(number: usize) -> String {
        format!("2026-11-21T12:00:00.{number:09}Z line {number}\n")
    }

    fn text(numbers: std::ops::Range<usize>) -> String {
        numbers.map(line).collect()
    }

    /// Lets the resume read the text of a reply; returns what it shows and its last other step.
    fn feed(resume: &mut Resume, text: &str) -> (String, Step) {
        let (mut reader, mut shown, mut last) =
            (LineReader::with_limit(64), Vec::new(), Step::Wait);
        reader.push(Bytes::copy_from_slice(text.as_bytes()));
        while let Some(line) = reader.next_line() {
            match resume.line(line) {
                Step::Show(line) => shown.extend_from_slice(line.raw()),
                step => last = step,
            }
            if last == Step::Again {
                break;
            }
        }
        (String::from_utf8(shown).unwrap(), last)
    }

    fn resume(start: Start) -> Resume {
        Resume::new(start, true, &Budget::default())
    }

    /// A resume that has shown these lines and was cut.
    fn cut_after(numbers: std::ops::Range<usize>) -> Resume {
        let mut resume = resume(Start::Beginning);
        let text = text(numbers);
        assert_eq!(feed(&mut resume, &text), (text.clone(), Step::Wait));
        resume.cut(None, Pace::default());
        resume
    }

    const fn ask(tail: Option<u64>, follow: bool) -> Ask {
        Ask {
            tail,
            follow,
            previous: false,
            since: false,
        }
    }

    fn gap(certain: bool, after: usize, before: Option<usize>) -> Notice {
        const NOON: i64 = 1_795_262_400_000_000_000;
        let (after, before) = (
            after as i64 + NOON,
            before.map(|number| number as i64 + NOON),
        );
        Notice::Gap {
            certain,
            after: Some(after),
            before,
        }
    }

    #[test]
    fn a_resume_is_two_small_requests() {
        let mut resume = cut_after(0..300);
        assert_eq!(resume.ask(), ask(Some(200), false));
        assert_eq!(
            feed(&mut resume, &text(110..310)),
            (String::new(), Step::Wait)
        );
        assert_eq!(resume.end(), Step::Again);
        assert_eq!(resume.ask(), ask(Some(10 + 64), true));
        let shown = feed(&mut resume, &text(238..312));
        assert_eq!(shown, (text(300..312), Step::Wait));
        assert_eq!((resume.is_live(), resume.poll_notice()), (true, None));
    }

    #[test]
    fn the_window_grows_with_time_and_rate() {
        let mut resume = cut_after(0..300);
        let (away, round_trip) = (Duration::from_secs(3), Duration::from_millis(500));
        resume.cut(None, Pace::new(50.0, away, round_trip));
        assert_eq!(resume.ask(), ask(Some(500), false));
        feed(&mut resume, &text(0..500));
        resume.end();
        assert_eq!(resume.ask(), ask(Some(200 + 64 + 50), true));
        resume.cut(None, Pace::new(f64::INFINITY, away, round_trip));
        assert_eq!(resume.ask(), ask(None, false));
    }

    #[test]
    fn the_window_is_widened_until_it_holds_the_place() {
        let mut resume = cut_after(0..300);
        for (tail, lines) in [(Some(200), 4800..5000), (Some(2000), 3000..5000)] {
            assert_eq!(resume.ask(), ask(tail, false));
            feed(&mut resume, &text(lines));
            assert_eq!(resume.end(), Step::Again);
        }
        assert_eq!(resume.ask(), ask(Some(20_000), false));
        feed(&mut resume, &text(0..5000));
        resume.end();
        // Four records a line, for all that this window tells.
        assert_eq!(resume.ask(), ask(Some((4700 + 64) * 4), true));
    }

    #[test]
    fn a_file_of_few_lines_is_followed_from_its_beginning() {
        let mut resume = cut_after(0..3);
        feed(&mut resume, &text(0..5));
        assert_eq!(
            (resume.end(), resume.ask()),
            (Step::Again, ask(None, false))
        );
        feed(&mut resume, &text(0..5));
        assert_eq!((resume.end(), resume.ask()), (Step::Again, ask(None, true)));
        assert_eq!(feed(&mut resume, &text(0..6)), (text(3..6), Step::Wait));
        assert_eq!(resume.poll_notice(), None);
    }

    #[test]
    fn a_rotated_file_is_shown_whole_after_a_gap() {
        let mut resume = cut_after(0..300);
        feed(&mut resume, &text(400..410));
        resume.end();
        feed(&mut resume, &text(400..410));
        assert_eq!((resume.end(), resume.ask()), (Step::Again, ask(None, true)));
        assert_eq!(feed(&mut resume, &text(400..411)).0, text(400..411));
        assert_eq!(resume.poll_notice(), Some(gap(true, 299, Some(400))));
        assert_eq!(resume.poll_notice(), None);
    }

    #[test]
    fn a_gap_without_a_line_after_it_is_told_when_all_is_quiet() {
        let mut resume = cut_after(0..300);
        resume.end();
        assert_eq!((resume.end(), resume.is_live()), (Step::Again, true));
        assert_eq!((resume.poll_notice(), resume.quiet()), (None, Step::Wait));
        assert_eq!(resume.poll_notice(), Some(gap(true, 299, None)));
    }

    #[test]
    fn a_weak_match_is_used_and_told() {
        let mut resume = cut_after(0..300);
        resume.end();
        // Before line 299 stands another one than what was shown.
        let file = text(400..401) + &text(299..301);
        feed(&mut resume, &file);
        assert_eq!((resume.end(), resume.ask()), (Step::Again, ask(None, true)));
        assert_eq!(feed(&mut resume, &file).0, line(300));
        assert_eq!(resume.poll_notice(), Some(gap(false, 299, Some(300))));
    }

    #[test]
    fn a_file_rotated_between_the_two_requests_is_settled_again() {
        let mut resume = cut_after(0..3);
        resume.end();
        feed(&mut resume, &text(0..5));
        resume.end();
        assert_eq!(
            feed(&mut resume, &text(6..30)),
            (String::new(), Step::Again)
        );
        assert_eq!(resume.ask(), ask(Some(2000), false));
    }

    #[test]
    fn a_place_that_is_never_there_again_is_given_up_for_a_gap() {
        let mut resume = cut_after(0..300);
        let mut asked = Vec::new();
        while !resume.is_live() {
            asked.push((resume.ask().tail, resume.ask().follow));
            let step = match resume.ask().follow {
                false => {
                    feed(&mut resume, &text(0..300));
                    resume.end()
                }
                true => resume.quiet(),
            };
            assert_eq!(step, Step::Again);
        }
        assert_eq!(asked.len(), 2 * 7);
        assert_eq!(asked[4], (Some(20_000), false));
        assert_eq!(asked[6..8], [(None, false), (None, true)]);
        assert_eq!(resume.ask(), ask(Some(0), true));
        assert_eq!(feed(&mut resume, &line(400)).0, line(400));
        assert_eq!(resume.poll_notice(), Some(gap(true, 299, Some(400))));
    }

    #[test]
    fn a_reader_from_the_end_knows_its_place() {
        let mut resume = resume(Start::End);
        assert_eq!(resume.ask(), ask(Some(200), false));
        feed(&mut resume, &text(100..150));
        resume.cut(None, Pace::default());
        feed(&mut resume, &text(100..300));
        assert_eq!(
            (resume.end(), resume.ask()),
            (Step::Again, ask(Some(200), false))
        );
        feed(&mut resume, &text(102..302));
        resume.end();
        assert_eq!(feed(&mut resume, &text(237..303)).0, text(300..303));
        assert_eq!(resume.poll_notice(), None);
    }

    #[test]
    fn before_the_first_line_the_first_request_is_made_again() {
        for (start, tail, since, told) in [
            (Start::Beginning, None, false, None),
            (Start::Tail(5), Some(5), false, Some(false)),
            (Start::Time, None, true, None),
        ] {
            let mut resume = resume(start);
            let first = resume.ask();
            resume.cut(None, Pace::default());
            assert_eq!(resume.ask(), first);
            assert_eq!(
                first,
                Ask {
                    tail,
                    follow: true,
                    previous: false,
                    since
                }
            );
            feed(&mut resume, &line(1));
            let notice = resume
                .poll_notice()
                .map(|Notice::Gap { certain, .. }| certain);
            assert_eq!(notice, told, "{start:?}");
        }
    }

    #[test]
    fn one_stream_is_read_whole() {
        let mut resume = Resume::new(Start::End, false, &Budget::default());
        for follow in [false, false, true] {
            assert_eq!(resume.ask(), ask(None, follow));
            let end = if follow { 2001 } else { 2000 };
            let shown = feed(&mut resume, &text(0..end)).0;
            assert_eq!(shown, if follow { line(2000) } else { String::new() });
            resume.end();
        }
    }

    #[test]
    fn an_old_run_is_read_to_its_end() {
        let mut resume = cut_after(0..300);
        resume.drain();
        let previous = |tail| Ask {
            previous: true,
            ..ask(tail, false)
        };
        assert_eq!(resume.ask(), previous(Some(200)));
        feed(&mut resume, &text(102..302));
        assert_eq!(
            (resume.end(), resume.ask()),
            (Step::Again, previous(Some(66)))
        );
        assert_eq!(feed(&mut resume, &text(236..302)).0, text(300..302));
        assert_eq!((resume.end(), resume.poll_notice()), (Step::Done, None));
    }

    #[test]
    fn what_was_given_out_of_a_line_is_not_shown_again() {
        let (mut resume, mut reader) = (cut_after(0..3), LineReader::with_limit(64));
        let long = format!("{}{}\n", line(3).trim_end(), "x".repeat(200));
        resume.end();
        feed(&mut resume, &text(0..3));
        resume.end();
        reader.push(Bytes::copy_from_slice(
            &[text(0..3).as_bytes(), &long.as_bytes()[..150]].concat(),
        ));
        let mut shown = Vec::new();
        while let Some(line) = reader.next_line() {
            if let Step::Show(line) = resume.line(line) {
                shown.extend_from_slice(line.raw());
            }
        }
        assert_eq!(shown, long.as_bytes()[..128]);
        resume.cut(reader.given(), Pace::default());
        for (file, rest, notice) in [
            (long.clone(), &long[128..], None),
            (
                long.replace("line 3", "line 4"),
                "",
                Some(gap(false, 2, Some(3))),
            ),
        ] {
            resume.cut(None, Pace::default());
            let mut again = Resume::new(Start::Beginning, true, &Budget::default());
            std::mem::swap(&mut again, &mut resume);
            feed(&mut again, &text(0..3));
            again.end();
            feed(&mut again, &text(0..3));
            again.end();
            let shown = feed(&mut again, &(text(0..3) + &file)).0;
            assert_eq!((&*shown, again.poll_notice()), (rest, notice));
            resume = cut_after(0..3);
            resume.given = reader.given();
        }
    }

    #[test]
    fn a_line_that_was_begun_proves_its_place_in_a_new_file() {
        let (mut resume, mut reader) = (cut_after(0..300), LineReader::with_limit(64));
        let long = format!("{}{}\n", line(300).trim_end(), "x".repeat(200));
        reader.push(Bytes::copy_from_slice(&long.as_bytes()[..150]));
        assert_eq!(std::iter::from_fn(|| reader.next_line()).count(), 2);
        resume.given = reader.given();
        // Before it stands the tail of line 299, whose beginning was rotated away.
        let file = line(500) + &long + &line(301);
        for _ in 0..2 {
            feed(&mut resume, &file);
            assert_eq!(resume.end(), Step::Again);
        }
        assert_eq!(resume.ask(), ask(None, true));
        assert_eq!(
            feed(&mut resume, &file).0,
            long[128..].to_owned() + &line(301)
        );
        assert_eq!(resume.poll_notice(), None);
    }

    #[test]
    fn a_clock_that_stands_still_costs_no_hours() {
        let mut resume = resume(Start::Beginning);
        let same = line(1).repeat(30_000);
        assert_eq!(feed(&mut resume, &same).0, same);
        resume.cut(None, Pace::default());
        feed(&mut resume, &line(1).repeat(200));
        resume.end();
        assert_eq!(resume.ask(), ask(Some(2000), false));
        feed(&mut resume, &line(1).repeat(60_000));
        assert_eq!(
            (resume.end(), resume.ask()),
            (Step::Again, ask(Some(20_000), false))
        );
    }
}

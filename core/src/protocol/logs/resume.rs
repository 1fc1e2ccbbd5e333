//! Following one log file over many connections: no line twice, none lost without a word.
//!
//! Lives here: which request comes next and which lines of its reply are new (reliability.md E.2,
//! steps 2 to 6). Never here: clocks, back-off, who asks for the pod.

use std::collections::VecDeque;
use std::time::Duration;

use super::line::{Given, Line};
use super::matching::{Extent, Match, Matcher, Worth, settles};
use super::ring::{Budget, Ring, Sum};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Start {
    /// With the first line of the current file.
    #[default]
    Beginning,
    /// With what is written from now on (`tailLines=0`).
    End,
    /// With the last so many records.
    Tail(u64),
    /// With the lines since a point in time, which the caller adds where [`Ask::since`] is set.
    Time,
}

/// How much may have been written meanwhile: all a resume needs to know of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Pace {
    /// Lines a second, as lately seen.
    pub lines_per_second: f64,
    /// How long nothing was received.
    pub away: Duration,
    /// From a request to the first byte of its reply.
    pub round_trip: Duration,
}

impl Pace {
    /// Makes a pace.
    #[must_use]
    pub const fn new(lines_per_second: f64, away: Duration, round_trip: Duration) -> Self {
        Self {
            lines_per_second,
            away,
            round_trip,
        }
    }

    /// Twice what is to be expected in this time.
    fn lines(&self, time: Duration) -> u64 {
        // A cast from a float saturates.
        (2.0 * self.lines_per_second * time.as_secs_f64()) as u64
    }
}

/// What to ask the log for, always with `timestamps=true`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ask {
    /// `tailLines`; absent: from the beginning of the file. It counts records, of which a long line has several.
    pub tail: Option<u64>,
    /// `follow`; without it the reply ends by itself.
    pub follow: bool,
    /// `previous`: the run before the present one.
    pub previous: bool,
    /// Whether the caller's `sinceTime` or `sinceSeconds` belongs to the request.
    pub since: bool,
}

/// What to do with a line, or after the end of a reply.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// End this reply and make the request that [`Resume::ask`] tells now.
    Again,
    /// Everything of this run was shown.
    Done,
    /// Show this line, or piece of a line.
    Show(Line),
    /// Nothing: go on reading.
    Wait,
}

/// What the reader must be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// Lines may be missing at this place of the output.
    Gap {
        /// False where the place was found, but by too little to be sure of it.
        certain: bool,
        /// Timestamp of the last line shown before, in nanoseconds.
        after: Option<i64>,
        /// Timestamp of the next line, in nanoseconds; absent when none has come yet.
        before: Option<i64>,
    },
}

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
                    Some(_) if settles(&self.ring, found.length) => self.go_live(),
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
        let wanted = self.pace.lines(self.pace.away) + self.sizes.window;
        let wanted = wanted.saturating_mul(10_u64.saturating_pow(self.round));
        (self.by_windows() && wanted <= self.sizes.largest).then_some(wanted)
    }

    /// Tells whether windows are tried: three rounds at most.
    const fn by_windows(&self) -> bool {
        self.windows && self.round < WINDOW_ROUNDS
    }

    fn settle(&mut self, tail: Option<u64>) {
        self.matcher = Matcher::new(extent(tail));
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
                place = Match::default();
            }
            Worth::Weak => self.gap = Some(Certainty::Possible),
            Worth::Sure => {}
        }
        let by_window = self.by_windows()
            && self.gap.is_none()
            && (tail.is_some() || (lines > self.sizes.small && place.length > 0));
        let tail = by_window.then(|| {
            let new = lines - place.lines;
            let slack = self.pace.lines(self.pace.round_trip) + self.sizes.overlap;
            // Records for each line, where the window tells it.
            let records = tail.map_or(1, |records| records.div_ceil(lines.max(1)));
            (new + slack).saturating_mul(records)
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

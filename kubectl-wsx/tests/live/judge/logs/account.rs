//! Holds what was shown and told against what was written.

use wsx_core::LogEvent;

use super::reader::Seen;
use super::writer::Truth;

/// *Shown ∪ announced gaps = written, in order, nothing twice*, in numbers.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) written: usize,
    pub(super) shown: usize,
    /// Gaps that were told, and how many lines they stand for.
    pub(super) gaps: usize,
    pub(super) announced: usize,
    /// Gaps for which nothing is missing.
    pub(super) needless: usize,
    /// Lines that end a file and came to no client: the kubelet went on in the next one. Not told.
    pub(super) hidden: usize,
    /// Everything that must not be.
    pub(super) faults: Vec<String>,
}

impl Account {
    pub(super) fn of(truth: &Truth, seen: &[Seen]) -> Self {
        let mut account = Self {
            written: truth.records.len(),
            ..Self::default()
        };
        // Place and time of the last line, and the gap told since.
        let (mut next, mut last, mut gap) = (0, None, None);
        for seen in seen {
            let (number, time) = match seen {
                Seen::Line(number, time) => (*number, *time),
                Seen::Event(LogEvent::Gap { from, to, .. }) => {
                    account.gaps += 1;
                    if *from != last {
                        account
                            .faults
                            .push(format!("a gap from {from:?}, not {last:?}"));
                    }
                    gap = Some(*to);
                    continue;
                }
                Seen::Event(_) => continue,
            };
            account.shown += 1;
            let Some(place) = truth.place(number) else {
                account.faults.push(format!("{number} was never written"));
                continue;
            };
            if place < next {
                account.faults.push(format!("{number} came again, or late"));
                continue;
            }
            if let Some(to) = gap.take() {
                account.needless += usize::from(place == next);
                account.announced += place - next;
                if to.is_some() && to != time {
                    account
                        .faults
                        .push(format!("a gap to {to:?}, not {time:?}"));
                }
            } else if place > next {
                account.hole(truth, next, place);
            }
            (next, last) = (place + 1, time);
        }
        if next < account.written {
            let missing = account.written - next;
            match gap {
                Some(_) => account.announced += missing,
                None => account
                    .faults
                    .push(format!("the last {missing} are missing")),
            }
        }
        account
    }

    fn hole(&mut self, truth: &Truth, from: usize, to: usize) {
        if truth.ends_a_file(&(from..to)) {
            self.hidden += to - from;
        } else {
            let (first, last) = (truth.records[from].number, truth.records[to - 1].number);
            self.faults
                .push(format!("{first} to {last} are missing, untold"));
        }
    }
}

/// The rules of the account itself, on paper.
mod tests {
    use super::super::writer::Record;
    use super::*;

    /// Three files of three lines each.
    fn truth() -> Truth {
        let records = (0..9).map(|at| Record {
            number: at + 1,
            file: at as usize / 3,
        });
        Truth::new(records.collect())
    }

    fn lines(numbers: &[u64]) -> Vec<Seen> {
        let line = |number: &u64| Seen::Line(*number, Some(*number as i64));
        numbers.iter().map(line).collect()
    }

    fn gap(from: i64, to: i64) -> Vec<Seen> {
        vec![Seen::Event(LogEvent::Gap {
            certain: true,
            from: Some(from),
            to: Some(to),
        })]
    }

    #[track_caller]
    fn judge(seen: &[Vec<Seen>], numbers: [usize; 4], faults: &[&str]) {
        let account = Account::of(&truth(), &seen.concat());
        let Account {
            shown,
            announced,
            needless,
            hidden,
            ..
        } = account;
        assert_eq!([shown, announced, needless, hidden], numbers);
        assert_eq!(account.faults, faults);
    }

    #[test]
    fn all_is_shown_or_told() {
        judge(&[lines(&[1, 2, 3, 4, 5, 6, 7, 8, 9])], [9, 0, 0, 0], &[]);
        let told = [lines(&[1, 2]), gap(2, 8), lines(&[8, 9])];
        judge(&told, [4, 5, 0, 0], &[]);
        let told = [lines(&[1, 2, 3, 4, 5, 6]), gap(6, 7), lines(&[7, 8, 9])];
        judge(&told, [9, 0, 1, 0], &[]);
    }

    #[test]
    fn what_is_missing_untold_is_a_fault_but_at_the_end_of_a_file() {
        judge(&[lines(&[1, 4, 5, 6, 7, 8, 9])], [7, 0, 0, 2], &[]);
        let fault = "2 to 4 are missing, untold";
        judge(&[lines(&[1, 5, 6, 7, 8, 9])], [6, 0, 0, 0], &[fault]);
        judge(
            &[lines(&[1, 2, 3])],
            [3, 0, 0, 0],
            &["the last 6 are missing"],
        );
    }

    #[test]
    fn what_comes_again_or_was_never_written_is_a_fault() {
        let again = lines(&[1, 2, 2, 3, 4, 5, 6, 7, 8, 9]);
        judge(&[again], [10, 0, 0, 0], &["2 came again, or late"]);
        let strange = lines(&[1, 2, 3, 4, 77, 5, 6, 7, 8, 9]);
        judge(&[strange], [10, 0, 0, 0], &["77 was never written"]);
    }

    #[test]
    fn a_gap_names_the_lines_beside_it() {
        let wrong = [lines(&[1, 2]), gap(1, 9), lines(&[8, 9])];
        let faults = [
            "a gap from Some(1), not Some(2)",
            "a gap to Some(9), not Some(8)",
        ];
        judge(&wrong, [4, 5, 0, 0], &faults);
    }
}

//! The node of the model: files of records, and how the kubelet reads them.

use bytes::BytesMut;

use super::super::Ask;

/// What may happen in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mode {
    pub(super) name: &'static str,
    /// One line in so many has the timestamp of the one before.
    pub(super) equal: u64,
    /// One line in so many is up to a second out of order.
    pub(super) disorder: u64,
    /// One line in so many follows a step of the clock, mostly back.
    pub(super) steps: u64,
    /// One record in so many is not the last of its line.
    pub(super) partial: u64,
    /// How many different lines there are.
    pub(super) contents: u64,
    /// One absence in so many sees a rotation.
    pub(super) rotations: u64,
    /// One absence in so many sees the file truncated.
    pub(super) truncations: u64,
    /// One absence in so many sees a restart.
    pub(super) restarts: u64,
    /// A file is rotated between two requests of a resume, once in so many.
    pub(super) hasty: u64,
    /// A file that is followed is rotated, once in so many steps.
    pub(super) swaps: u64,
    /// Whether `tailLines` is refused.
    pub(super) one_stream: bool,
}

/// splitmix64: the same numbers for the same seed, everywhere.
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True once in `chance` times; never for 0.
    pub(super) fn once_in(&mut self, chance: u64) -> bool {
        chance > 0 && self.below(chance) == 0
    }
}

/// One line of a CRI log file.
#[derive(Clone, Debug)]
struct Record {
    line: usize,
    first: bool,
    last: bool,
    stamp: String,
    content: String,
}

/// A line as it was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) content: String,
    pub(super) ended: bool,
    /// Whether no more can come of it: its end, or a restart.
    closed: bool,
}

pub(super) struct Node {
    pub(super) mode: Mode,
    pub(super) dice: Dice,
    clock: i64,
    pub(super) written: Vec<Written>,
    /// The files of all time; only the last one is read, and the one before a restart with `previous`.
    files: Vec<Vec<Record>>,
    pub(super) previous: Option<usize>,
    pub(super) rotations: u64,
}

/// The kubelet's side of one request (cri-client pkg/logs/logs.go, `ReadLogs`).
pub(super) struct Reply {
    file: usize,
    position: usize,
    left: Option<u64>,
    pub(super) follow: bool,
    is_new_line: bool,
    pub(super) bytes: BytesMut,
    /// The number of each line that begins in these bytes, and whether it begins at its beginning.
    pub(super) lines: Vec<(usize, bool)>,
}

impl Node {
    pub(super) fn new(mode: Mode, seed: u64) -> Self {
        Self {
            mode,
            dice: Dice(seed),
            clock: 1_000_000_000_000,
            written: Vec::new(),
            files: vec![Vec::new()],
            previous: None,
            rotations: 0,
        }
    }

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

    pub(super) fn write(&mut self, records: u64) {
        for _ in 0..records {
            let first = self.written.last().is_none_or(|line| line.closed);
            if first {
                self.written.push(Written::default());
            }
            let (stamp, last) = (stamp(self.now()), !self.dice.once_in(self.mode.partial));
            let content = match self.dice.below(self.mode.contents) {
                0 => String::new(),
                number => format!("{number}é").repeat(1 + number as usize % 5),
            };
            // An empty record that is not the last one makes the kubelet put a timestamp into the line.
            let content = if content.is_empty() && !last {
                "x".to_owned()
            } else {
                content
            };
            let line = self.written.len() - 1;
            self.written[line].content.push_str(&content);
            (self.written[line].ended, self.written[line].closed) = (last, last);
            let record = Record {
                line,
                first,
                last,
                stamp,
                content,
            };
            self.files.last_mut().unwrap().push(record);
        }
    }

    pub(super) fn rotate(&mut self) {
        self.rotations += 1;
        self.files.push(Vec::new());
    }

    pub(super) fn truncate(&mut self) {
        self.rotations += 1;
        self.files.last_mut().unwrap().clear();
    }

    /// Begins a new run; what the old one did not end stays without an end.
    pub(super) fn restart(&mut self) {
        self.previous = Some(self.files.len() - 1);
        self.files.push(Vec::new());
        if let Some(line) = self.written.last_mut() {
            line.closed = true;
        }
    }

    pub(super) fn open(&self, ask: Ask) -> Reply {
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
            bytes: BytesMut::new(),
            lines: Vec::new(),
        }
    }
}

impl Reply {
    pub(super) fn pump(&mut self, node: &Node) {
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
            if self.is_new_line {
                self.lines.push((record.line, record.first));
                self.bytes.extend_from_slice(record.stamp.as_bytes());
            }
            self.bytes.extend_from_slice(record.content.as_bytes());
            if record.last {
                self.bytes.extend_from_slice(b"\n");
            }
            self.is_new_line = record.last;
        }
    }
}

/// A moment of an hour of 2026, as the kubelet writes it.
fn stamp(nanoseconds: i64) -> String {
    let (seconds, fraction) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("2026-11-21T12:{minutes:02}:{seconds:02}.{fraction:09}Z ")
}

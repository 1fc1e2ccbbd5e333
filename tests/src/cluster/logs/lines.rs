//! A log of numbered lines that needs no memory: fast enough to measure clients with.
//!
//! Lives here: record `n` says `n` in 100 bytes, one microsecond after the one before. Never here: files.

use std::sync::Arc;

use super::file::Instance;
use super::options::{Options, Stream};
use super::read::Pull;
use super::stamp::{self, Nanoseconds, SECOND};

/// One reader of such a log.
pub(crate) struct Reader {
    instance: Arc<Instance>,
    next: u64,
    total: u64,
    remain: u64,
    options: Options,
}

impl Reader {
    /// Reads `total` bytes' worth of lines; `now` is the node's clock.
    pub(crate) fn open(
        instance: Arc<Instance>,
        total: u64,
        options: Options,
        now: Nanoseconds,
    ) -> Self {
        let total = total / LINE as u64;
        let since = (options.since(now).max(FIRST) - FIRST + STEP - 1) / STEP;
        let tail = options
            .tail_lines
            .map_or(0, |records| total.saturating_sub(records));
        let next = u64::try_from(since)
            .unwrap_or(u64::MAX)
            .max(tail)
            .min(total);
        let wanted = options.stream.wants(Stream::Stdout);
        Self {
            instance,
            next: if wanted { next } else { total },
            total,
            remain: options.limit_bytes.unwrap_or(u64::MAX),
            options,
        }
    }

    /// The run that is read.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Puts some 256 KiB into `out`.
    pub(crate) fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        if self.remain == 0 || self.next == self.total {
            let waits = self.options.follow && self.remain > 0 && self.instance.look().0;
            return if waits { Pull::Wait } else { Pull::End };
        }
        let count = (self.total - self.next).min(PIECE);
        let start = out.len();
        let mut line = format!("{:>99}\n", self.next).into_bytes();
        if self.options.timestamps {
            let mut stamp = Vec::new();
            for index in self.next..self.next + count {
                if stamp.is_empty() || index % PER_SECOND == 0 {
                    let time = FIRST + i128::from(index) * STEP;
                    stamp = format!("{} ", stamp::nano(time)).into_bytes();
                }
                out.extend_from_slice(&stamp);
                out.extend_from_slice(&line);
                // The last three digits of the nanoseconds stay.
                let digits = stamp.len() - "001Z ".len();
                increment(&mut stamp[..digits]);
                increment(&mut line[..LINE - 1]);
            }
        } else {
            for _ in 0..count {
                out.extend_from_slice(&line);
                increment(&mut line[..LINE - 1]);
            }
        }
        self.next += count;
        let length = (out.len() - start) as u64;
        let kept = length.min(self.remain);
        self.remain -= kept;
        out.truncate(start + usize::try_from(kept).unwrap_or(0));
        Pull::Data
    }
}

/// Adds one to a decimal number that ends the text, with spaces before it.
fn increment(text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        match *digit {
            b'9' => *digit = b'0',
            b'0'..=b'8' => {
                *digit += 1;
                return;
            }
            _ => {
                *digit = b'1';
                return;
            }
        }
    }
}

const LINE: usize = 100;
/// Lines of one piece.
const PIECE: u64 = 2600;
/// 2026-11-01T08:00:06.000000001Z: never a zero at the end, so that all stamps have the same length.
const FIRST: Nanoseconds = 1_793_520_006 * SECOND + 1;
const STEP: Nanoseconds = 1000;
const PER_SECOND: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_over_spaces_and_nines() {
        let mut text = *b"  8";
        for expected in [b"  9", b" 10", b" 11"] {
            increment(&mut text);
            assert_eq!(&text, expected);
        }
        assert_eq!(stamp::nano(FIRST), "2026-11-01T08:00:06.000000001Z");
    }
}

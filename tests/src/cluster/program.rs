//! Commands that need no process, so that a benchmark measures the client and not a pipe.
//!
//! Lives here: `gen`, `sink`, `true` and their numbers. Never here: sessions.

use crate::wire::{self, BINARY, FIN};

/// A built-in command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    /// `gen TOTAL [FRAME]`: that many bytes on stdout, in messages of `frame` bytes.
    Generate { total: u64, frame: usize },
    /// `sink [TOTAL]`: counts stdin to its end, or to `TOTAL`, and prints the count.
    Sink { limit: u64 },
    /// `true`: nothing, at once.
    True,
}

impl Program {
    /// Recognises a built-in by its words.
    pub(crate) fn parse(command: &[String]) -> Option<Self> {
        let words: Vec<&str> = command.iter().map(|word| &**word).collect();
        Some(match words[..] {
            ["gen", total] => Self::Generate {
                total: number(total)?,
                frame: 32 * 1024,
            },
            ["gen", total, frame] => {
                let frame = usize::try_from(number(frame)?)
                    .ok()
                    .filter(|frame| *frame > 0)?;
                Self::Generate {
                    total: number(total)?,
                    frame,
                }
            }
            ["sink"] => Self::Sink { limit: u64::MAX },
            ["sink", limit] => Self::Sink {
                limit: number(limit)?,
            },
            ["true"] => Self::True,
            _ => return None,
        })
    }
}

/// Writes the pattern: each little-endian word of eight bytes is its own index.
pub(crate) fn pattern(out: &mut [u8], mut position: u64) {
    let mut rest = out;
    while !rest.is_empty() && !position.is_multiple_of(8) {
        rest[0] = (position / 8).to_le_bytes()[(position % 8) as usize];
        rest = &mut rest[1..];
        position += 1;
    }
    let mut words = rest.chunks_exact_mut(8);
    let mut index = position / 8;
    for word in &mut words {
        word.copy_from_slice(&index.to_le_bytes());
        index += 1;
    }
    let tail = words.into_remainder();
    tail.copy_from_slice(&index.to_le_bytes()[..tail.len()]);
}

/// Puts the next stdout frames into `batch`, about a megabyte, and gives the new position.
pub(crate) fn batch(batch: &mut Vec<u8>, mut position: u64, total: u64, frame: usize) -> u64 {
    batch.clear();
    while position < total && batch.len() < BATCH {
        let length = usize::try_from(total - position)
            .unwrap_or(usize::MAX)
            .min(frame);
        wire::put_head(batch, FIN | BINARY, length as u64 + 1, None);
        batch.push(1);
        let start = batch.len();
        batch.resize(start + length, 0);
        pattern(&mut batch[start..], position);
        position += length as u64;
    }
    position
}

fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

const BATCH: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_recognised() {
        let parse =
            |text: &str| Program::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            parse("gen 1M"),
            Some(Program::Generate {
                total: 1 << 20,
                frame: 32768
            })
        );
        assert_eq!(
            parse("gen 7 3"),
            Some(Program::Generate { total: 7, frame: 3 })
        );
        assert_eq!(parse("sink"), Some(Program::Sink { limit: u64::MAX }));
        assert_eq!(
            (parse("gen"), parse("gen x"), parse("gen 1 0")),
            (None, None, None)
        );
    }

    #[test]
    fn the_pattern_does_not_depend_on_how_it_is_cut() {
        let mut whole = vec![0; 1000];
        pattern(&mut whole, 0);
        let words: Vec<u8> = (0..125).flat_map(u64::to_le_bytes).collect();
        assert_eq!(whole, words);
        let mut pieces = vec![0; 1000];
        for (start, end) in [(0, 1), (1, 7), (7, 21), (21, 800), (800, 1000)] {
            pattern(&mut pieces[start..end], start as u64);
        }
        assert_eq!(pieces, whole);
    }
}

//! Commands that need no process, so that a benchmark measures the client and not a pipe.
//!
//! Lives here: `gen`, `lines`, `sink`, `true` and their numbers. Never here: sessions.

use crate::wire::{self, BINARY, FIN};

/// A built-in command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    /// `gen TOTAL [FRAME]`, `lines TOTAL [FRAME]`: that many bytes on stdout, in messages of `frame` bytes.
    Generate {
        content: Content,
        total: u64,
        frame: usize,
    },
    /// `sink [TOTAL]`: counts stdin to its end, or to `TOTAL`, and prints the count.
    Sink { limit: u64 },
    /// `true`: nothing, at once.
    True,
}

/// What is generated; each byte follows from its position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    /// Each little-endian word of eight bytes is its own index.
    Words,
    /// Each line of 100 bytes is its own index, with spaces before it.
    Lines,
}

impl Program {
    /// Recognises a built-in by its words.
    pub(crate) fn parse(command: &[String]) -> Option<Self> {
        let words: Vec<&str> = command.iter().map(|word| &**word).collect();
        Some(match words[..] {
            [name @ ("gen" | "lines"), total, ref frame @ ..] => {
                let frame = match frame {
                    [] => 32 * 1024,
                    [frame] => usize::try_from(number(frame)?)
                        .ok()
                        .filter(|frame| *frame > 0)?,
                    _ => return None,
                };
                Self::Generate {
                    content: if name == "gen" {
                        Content::Words
                    } else {
                        Content::Lines
                    },
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

impl Content {
    /// Writes what stands at this position.
    pub(crate) fn fill(self, out: &mut [u8], position: u64) {
        match self {
            Self::Words => words(out, position),
            Self::Lines => lines(out, position),
        }
    }
}

fn words(out: &mut [u8], mut position: u64) {
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

const LINE: usize = 100;

fn lines(out: &mut [u8], position: u64) {
    let mut index = position / LINE as u64;
    let mut skip = (position % LINE as u64) as usize;
    let mut rest = out;
    while !rest.is_empty() {
        let mut line = [b' '; LINE];
        line[LINE - 1] = b'\n';
        let (mut at, mut digits) = (LINE - 1, index);
        loop {
            at -= 1;
            line[at] = b'0' + (digits % 10) as u8;
            digits /= 10;
            if digits == 0 {
                break;
            }
        }
        let part = (LINE - skip).min(rest.len());
        rest[..part].copy_from_slice(&line[skip..skip + part]);
        rest = &mut rest[part..];
        skip = 0;
        index += 1;
    }
}

/// Puts the next stdout frames into `batch`, about a megabyte, and gives the new position.
pub(crate) fn batch(
    batch: &mut Vec<u8>,
    content: Content,
    mut position: u64,
    total: u64,
    frame: usize,
) -> u64 {
    batch.clear();
    while position < total && batch.len() < BATCH {
        let length = usize::try_from(total - position)
            .unwrap_or(usize::MAX)
            .min(frame);
        wire::put_head(batch, FIN | BINARY, length as u64 + 1, None);
        batch.push(1);
        let start = batch.len();
        batch.resize(start + length, 0);
        content.fill(&mut batch[start..], position);
        position += length as u64;
    }
    position
}

/// A count with a suffix.
pub(crate) fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
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
                content: Content::Words,
                total: 1 << 20,
                frame: 32768
            })
        );
        assert_eq!(
            parse("gen 7 3"),
            Some(Program::Generate {
                content: Content::Words,
                total: 7,
                frame: 3
            })
        );
        assert_eq!(parse("sink"), Some(Program::Sink { limit: u64::MAX }));
        assert_eq!(
            (parse("gen"), parse("gen x"), parse("gen 1 0")),
            (None, None, None)
        );
    }

    #[test]
    fn the_pattern_does_not_depend_on_how_it_is_cut() {
        let words: Vec<u8> = (0..125).flat_map(u64::to_le_bytes).collect();
        let lines: String = (0..10).map(|index| format!("{index:>99}\n")).collect();
        for (content, expected) in [
            (Content::Words, words),
            (Content::Lines, lines.into_bytes()),
        ] {
            let mut whole = vec![0; 1000];
            content.fill(&mut whole, 0);
            assert_eq!(whole, expected);
            let mut pieces = vec![0; 1000];
            for (start, end) in [(0, 1), (1, 7), (7, 21), (21, 800), (800, 1000)] {
                content.fill(&mut pieces[start..end], start as u64);
            }
            assert_eq!(pieces, whole);
        }
    }
}

//! Characters that lie across two pieces of a long line.
//!
//! Lives here: holding back the beginning of a character until its rest comes. Never here: decoding.

use std::sync::Arc;

use bytes::Bytes;
use wsx_core::{Lines, LogLine, LogSource};

/// What was held back of each log: the bytes of a character of UTF-8 that is not complete.
#[derive(Default)]
pub(crate) struct Characters {
    held: Vec<(Arc<LogSource>, Bytes)>,
}

impl Characters {
    /// Puts what was held back before a line, and holds back what it does not complete. The bytes of a
    /// log stay the same, in the same order; a piece may become empty.
    pub(crate) fn complete(&mut self, line: &mut LogLine) {
        let before = self.held.iter().position(|(log, _)| *log == line.source);
        if let Some(place) = before {
            let (_, held) = self.held.swap_remove(place);
            line.data = [held, line.data.clone()].concat().into();
        }
        // A line feed is no part of a character.
        let rest = line
            .data
            .split_off(line.data.len() - incomplete(&line.data));
        if !rest.is_empty() {
            self.held.push((Arc::clone(&line.source), rest));
        }
    }

    /// Gives back what will never be complete, as lines of their own.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = LogLine> {
        let line = |(source, data)| LogLine::new(data, None, false, source);
        self.held.drain(..).map(line)
    }
}

/// Does the same for the lines of one output: their ends move before what is not complete, and what the
/// last one lacks is held.
pub(crate) fn complete(held: &mut Vec<u8>, lines: &mut Lines) {
    let mut data = std::mem::take(held);
    let mut start = 0;
    if !data.is_empty() {
        let before = u32::try_from(data.len()).unwrap_or(u32::MAX);
        lines.ends.iter_mut().for_each(|end| *end += before);
        data.extend_from_slice(&lines.data);
        lines.data = data.into();
    }
    for end in &mut lines.ends {
        let line = &lines.data[start..*end as usize];
        *end -= u32::try_from(incomplete(line)).unwrap_or(0);
        start = *end as usize;
    }
    *held = lines.data.split_off(start).into();
}

/// Tells how many bytes at the end begin a character without ending it.
fn incomplete(data: &[u8]) -> usize {
    let begins = |byte: &u8| byte & 0xc0 != 0x80;
    let Some(back) = data.iter().rev().take(3).position(begins) else {
        return 0;
    };
    let count = back + 1;
    let wanted = match data[data.len() - count] {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    if count < wanted { count } else { 0 }
}

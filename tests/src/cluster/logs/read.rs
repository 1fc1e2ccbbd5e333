//! The kubelet's reading of a log file: which records, which bytes of them, and when it is over.
//!
//! Lives here: k8s.io/cri-client v0.36.3 pkg/logs/logs.go (`ReadLogs`) and tail.go, rule by rule. Never
//! here: how the bytes travel.

use std::sync::Arc;

use super::file::{File, Instance};
use super::options::{Options, Stream};
use super::stamp::{self, Nanoseconds};

/// What a look at the source gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pull {
    /// Bytes were put, and there may be more.
    Data,
    /// Nothing more until something changes.
    Wait,
    /// Nothing more, ever.
    End,
}

/// One reader of one run's log.
pub(crate) struct Reader {
    instance: Arc<Instance>,
    file: Arc<File>,
    offset: usize,
    options: Options,
    since: Nanoseconds,
    /// Records still wanted, where `tailLines` is given without `follow`.
    limited: Option<u64>,
    remain: u64,
    at_line_start: bool,
    ended: bool,
}

impl Reader {
    /// The run that is read.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Opens the current file; `now` is the node's clock.
    pub(crate) fn open(instance: Arc<Instance>, options: Options, now: Nanoseconds) -> Self {
        let (_, file) = instance.look();
        let offset = options
            .tail_lines
            .map_or(0, |records| tail_start(&file.bytes(), records));
        Self {
            instance,
            file,
            offset,
            since: options.since(now),
            limited: options.tail_lines.filter(|_| !options.follow),
            remain: options.limit_bytes.unwrap_or(u64::MAX),
            at_line_start: true,
            ended: options.tail_lines == Some(0) && !options.follow,
            options,
        }
    }

    /// Puts what there is into `out`, some 32 KiB at most.
    pub(crate) fn pull(&mut self, out: &mut Vec<u8>) -> Pull {
        let start = out.len();
        while out.len() - start < PIECE {
            if self.ended {
                return data_or(Pull::End, out, start);
            }
            // In this order: of a container that does not run, all is there.
            let (running, current) = self.instance.look();
            let file = self.file.clone();
            let bytes = file.bytes();
            while let rest = &bytes[self.offset..]
                && let Some(length) = rest.iter().position(|byte| *byte == b'\n')
                && !self.ended
                && out.len() - start < PIECE
            {
                self.offset += length + 1;
                self.record(&rest[..=length], out);
            }
            if self.ended || out.len() - start >= PIECE {
                continue;
            }
            if !self.options.follow {
                // "Incomplete line in log file": it is read all the same.
                self.record(&bytes[self.offset..], out);
                self.ended = true;
            } else if !running {
                self.ended = true;
            } else if !Arc::ptr_eq(&self.file, &current) {
                // Files that came and went in between are never seen.
                self.file = current;
                self.offset = 0;
            } else {
                return data_or(Pull::Wait, out, start);
            }
        }
        Pull::Data
    }

    fn record(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some((time, stream, content)) = parse(line) else {
            return;
        };
        if let Some(left) = &mut self.limited {
            *left -= 1;
            self.ended |= *left == 0;
        }
        if time >= self.since && self.options.stream.wants(stream) {
            let before = out.len();
            if self.options.timestamps && self.at_line_start {
                out.extend_from_slice(stamp::nano(time).as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(content);
            let length = (out.len() - before) as u64;
            if length > self.remain {
                out.truncate(out.len() - usize::try_from(length - self.remain).unwrap_or(0));
            }
            self.remain -= length.min(self.remain);
            self.ended |= self.remain == 0;
        }
        self.at_line_start = content.last().is_none_or(|last| *last == b'\n');
    }
}

fn data_or(other: Pull, out: &[u8], start: usize) -> Pull {
    if out.len() > start { Pull::Data } else { other }
}

/// Where the last `records` begin; one without its end is not counted.
fn tail_start(bytes: &[u8], records: u64) -> usize {
    let newlines = bytes.iter().enumerate().rev();
    let mut newlines = newlines.filter(|(_, byte)| **byte == b'\n');
    let before = newlines.nth(usize::try_from(records).unwrap_or(usize::MAX));
    before.map_or(0, |(at, _)| at + 1)
}

/// Time, whether it is stderr, and content; a partial record's content has no end of line.
fn parse(line: &[u8]) -> Option<(Nanoseconds, Stream, &[u8])> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags, content) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let time = stamp::parse(std::str::from_utf8(time).ok()?)?;
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    let content = match content {
        [content @ .., b'\n'] if partial => content,
        content => content,
    };
    Some((time, stream, content))
}

const PIECE: usize = 32 * 1024;

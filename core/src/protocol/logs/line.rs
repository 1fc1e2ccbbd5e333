//! From the bytes of a log with timestamps to its lines.
//!
//! Lives here: cutting at line feeds, timestamps, lines too long to hold. Never here: what was seen before.

use bytes::{Bytes, BytesMut};

use super::ring::{Key, Sum};
use super::stamp;

/// The most bytes of an unfinished line that are held; longer lines are given out in pieces.
pub const LINE_LIMIT: usize = 1024 * 1024;

/// A line of a log, or a piece of one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Line {
    /// Nanoseconds since 1970. Absent where the line began without a readable timestamp: the tail of
    /// a long line whose beginning is not in the reply.
    pub timestamp: Option<i64>,
    /// Whether this is the beginning of the line.
    pub begins: bool,
    /// What to recognise the line by, when this piece ends it (then `raw` ends with a line feed).
    pub key: Option<Key>,
    raw: Bytes,
    start: usize,
}

impl Line {
    /// Tells whether this is one line from the beginning to its line feed.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.begins && self.key.is_some()
    }

    /// Returns the content without the timestamp, with the line feed when the line ends here.
    ///
    /// A carriage return before the line feed, NUL and invalid UTF-8 are content.
    #[must_use]
    pub fn content(&self) -> Bytes {
        self.raw.slice(self.start..)
    }

    /// Returns the line as it came: timestamp, space, content.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Returns the text of the timestamp as it came; empty where there is none in this piece.
    #[must_use]
    pub fn timestamp_text(&self) -> &[u8] {
        self.raw
            .get(..self.start.saturating_sub(1))
            .unwrap_or_default()
    }

    /// Returns the content without timestamp and line feed: what the key is made of.
    pub(super) fn body(&self) -> &[u8] {
        let end = self.raw.len() - usize::from(self.key.is_some());
        self.raw.get(self.start..end).unwrap_or_default()
    }

    /// Returns what follows the first `skip` bytes of the content, as a later piece of its line.
    pub(super) fn after(mut self, skip: usize) -> Self {
        self.raw = self.raw.slice(self.start + skip..);
        (self.start, self.begins) = (0, false);
        self
    }
}

/// What was given out of a line whose end has not come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Given {
    /// Nanoseconds since 1970, as of the line.
    pub timestamp: Option<i64>,
    /// Bytes of content.
    pub length: u64,
    /// XXH3 of that content.
    pub hash: u64,
}

/// Cuts the bytes of one reply into lines, however they arrive.
///
/// The reply is one of the kubelet with `timestamps=true`: a timestamp at the start of each line, and
/// records of a long line already joined (kubernetes staging cri-client pkg/logs/logs.go, `ReadLogs`).
/// Holds at most the unfinished line, never more than the limit.
#[derive(Debug)]
pub struct LineReader {
    limit: usize,
    stamps: bool,
    chunk: Bytes,
    held: BytesMut,
    open: Option<Open>,
}

/// A line of which pieces were given out.
#[derive(Debug)]
struct Open {
    timestamp: Option<i64>,
    sum: Sum,
}

impl Default for LineReader {
    fn default() -> Self {
        Self::with_limit(LINE_LIMIT)
    }
}

impl LineReader {
    /// Makes a reader that gives out lines longer than `limit` bytes in pieces.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self {
            // A first piece must hold its timestamp.
            limit: limit.max(stamp::LONGEST + 1),
            stamps: true,
            chunk: Bytes::new(),
            held: BytesMut::new(),
            open: None,
        }
    }

    /// Makes a reader for a reply without timestamps: all of a line is its content.
    #[must_use]
    pub fn without_timestamps() -> Self {
        Self {
            stamps: false,
            ..Self::default()
        }
    }

    /// Takes the next bytes; take the lines out with [`next_line`](Self::next_line) before the next call.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = [&self.chunk[..], &chunk].concat().into();
        }
    }

    /// Returns the next line or piece; `None` when more bytes are needed.
    pub fn next_line(&mut self) -> Option<Line> {
        let room = self.limit - self.held.len();
        let window = self.chunk.get(..room).unwrap_or(&self.chunk);
        match memchr::memchr(b'\n', window) {
            Some(at) => Some(self.take(at + 1, true)),
            None if window.len() == room => Some(self.take(room, false)),
            None => {
                self.held.extend_from_slice(&self.chunk);
                self.chunk = Bytes::new();
                None
            }
        }
    }

    /// Returns what is held of an unfinished line, to be shown before its end has come.
    ///
    /// `None` when nothing of its content is there. What follows of the line comes as later pieces.
    pub fn take_part(&mut self) -> Option<Line> {
        let beginning = self.open.is_none();
        let stamp = self.stamp(beginning, &self.held);
        let start = stamp.map_or(0, |(_, length)| length + 1);
        // A short beginning without a timestamp may be a timestamp that was cut.
        let unclear = beginning && stamp.is_none() && self.held.len() <= stamp::LONGEST;
        if unclear || self.held.len() == start {
            return None;
        }
        let raw = self.held.split().freeze();
        Some(self.line(raw, false))
    }

    /// Returns all that is held: the last line of a reply that has ended, without its line feed.
    pub fn take_rest(&mut self) -> Option<Line> {
        let raw = self.held.split().freeze();
        (!raw.is_empty()).then(|| self.line(raw, false))
    }

    /// Tells what was given out of the line that is not finished: what a resume must not show again.
    #[must_use]
    pub fn given(&self) -> Option<Given> {
        self.open.as_ref().map(|open| Given {
            timestamp: open.timestamp,
            length: open.sum.length(),
            hash: open.sum.hash(),
        })
    }

    fn take(&mut self, length: usize, ends: bool) -> Line {
        let piece = self.chunk.split_to(length);
        if self.held.is_empty() {
            return self.line(piece, ends);
        }
        self.held.extend_from_slice(&piece);
        let raw = self.held.split().freeze();
        self.line(raw, ends)
    }

    fn stamp(&self, begins: bool, raw: &[u8]) -> Option<(i64, usize)> {
        (self.stamps && begins).then(|| stamp::parse(raw)).flatten()
    }

    fn line(&mut self, raw: Bytes, ends: bool) -> Line {
        let begins = self.open.is_none();
        let stamp = self.stamp(begins, &raw);
        let start = stamp.map_or(0, |(_, length)| length + 1);
        let body = &raw[start..raw.len() - usize::from(ends)];
        let mut timestamp = stamp.map(|(nanoseconds, _)| nanoseconds);
        let mut key = None;
        if begins && ends {
            key = Some(Key::new(timestamp, body));
        } else {
            let open = self.open.get_or_insert_with(|| Open {
                timestamp,
                sum: Sum::default(),
            });
            open.sum.add(body);
            timestamp = open.timestamp;
            if ends {
                key = Some(Key::from_hash(timestamp, open.sum.hash()));
                self.open = None;
            }
        }
        Line {
            timestamp,
            begins,
            key,
            raw,
            start,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: &str = "2026-11-21T12:38:38.123456789Z ";
    const NS: Option<i64> = Some(1_795_264_718_123_456_789);

    fn lines(reader: &mut LineReader, bytes: &[u8], step: usize) -> Vec<Line> {
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            reader.push(Bytes::copy_from_slice(part));
            all.extend(std::iter::from_fn(|| reader.next_line()));
        }
        all
    }

    fn read(text: &[u8]) -> Vec<(Option<i64>, Vec<u8>)> {
        lines(&mut LineReader::default(), text, 7)
            .into_iter()
            .map(|line| (line.timestamp, line.content().to_vec()))
            .collect()
    }

    #[test]
    fn content_is_kept_as_it_is() {
        let text = [
            AT.as_bytes(),
            b"a\r\n",
            AT.as_bytes(),
            b"\0\xff\xc3\n",
            AT.as_bytes(),
            b"\n",
        ];
        assert_eq!(
            read(&text.concat()),
            [
                (NS, b"a\r\n".to_vec()),
                (NS, b"\0\xff\xc3\n".to_vec()),
                (NS, b"\n".to_vec())
            ]
        );
    }

    #[test]
    fn only_the_first_timestamp_of_a_line_is_one() {
        let other = "1999-01-01T00:00:00Z ";
        let text = format!("{AT}{other}x\n");
        assert_eq!(
            read(text.as_bytes()),
            [(NS, format!("{other}x\n").into_bytes())]
        );
    }

    #[test]
    fn a_reply_may_begin_with_the_tail_of_a_line() {
        let text = format!("ail of a line\n{AT}x\n");
        let all = lines(&mut LineReader::default(), text.as_bytes(), 5);
        assert_eq!(
            (all[0].timestamp, all[0].timestamp_text()),
            (None, &b""[..])
        );
        assert_eq!(all[0].raw(), "ail of a line\n");
        assert_eq!(
            (all[1].timestamp, all[1].timestamp_text()),
            (NS, AT.trim_end().as_bytes())
        );
        assert_eq!(all[1].raw(), format!("{AT}x\n").as_bytes());
    }

    #[test]
    fn without_timestamps_a_time_is_content_and_a_rest_is_short() {
        let mut reader = LineReader::without_timestamps();
        reader.push(format!("{AT}x\ny").into());
        let line = reader.next_line().unwrap();
        assert_eq!(
            (line.timestamp, line.content()),
            (None, format!("{AT}x\n").into())
        );
        assert_eq!(
            (reader.next_line(), reader.take_rest().unwrap().content()),
            (None, "y".into())
        );
    }

    #[test]
    fn a_line_over_the_limit_comes_in_pieces_with_the_key_of_the_whole() {
        let (mut reader, body) = (LineReader::with_limit(100), "0123456789".repeat(50));
        let all = lines(&mut reader, format!("{AT}{body}\n{AT}x\n").as_bytes(), 33);
        let (last, pieces) = all.split_last().unwrap();
        assert!(last.is_whole() && pieces.iter().all(|piece| piece.timestamp == NS));
        let joined: Vec<u8> = pieces.iter().flat_map(Line::content).collect();
        assert_eq!(joined, format!("{body}\n").as_bytes());
        let begins: Vec<_> = pieces.iter().map(|piece| piece.begins).collect();
        assert_eq!(begins, [true, false, false, false, false, false]);
        assert_eq!(
            pieces.last().unwrap().key,
            Some(Key::new(NS, body.as_bytes()))
        );
        assert_eq!(reader.given(), None);
    }

    #[test]
    fn a_line_without_end_needs_a_megabyte() {
        let (mut reader, mut length) = (LineReader::default(), 0);
        let chunk = Bytes::from(vec![b'x'; 3 << 19]);
        reader.push(Bytes::from_static(AT.as_bytes()));
        for _ in 0..16 {
            reader.push(chunk.clone());
            while let Some(piece) = reader.next_line() {
                assert!(piece.raw().len() <= LINE_LIMIT);
                length += piece.content().len();
            }
            assert!(
                reader.held.capacity() <= 2 * LINE_LIMIT,
                "{}",
                reader.held.capacity()
            );
        }
        assert_eq!(
            reader.given().map(|given| given.length),
            Some(length as u64)
        );
        assert_eq!(length >> 20, 23);
    }

    #[test]
    fn a_part_is_given_out_once() {
        let mut reader = LineReader::default();
        reader.push(Bytes::copy_from_slice(&AT.as_bytes()[..12]));
        assert_eq!((reader.next_line(), reader.take_part()), (None, None));
        reader.push(Bytes::copy_from_slice(&AT.as_bytes()[12..]));
        assert_eq!((reader.next_line(), reader.take_part()), (None, None));
        reader.push(Bytes::from_static(b"50%"));
        assert_eq!(reader.next_line(), None);
        let part = reader.take_part().unwrap();
        assert_eq!((part.timestamp, part.begins, part.key), (NS, true, None));
        assert_eq!(part.content(), "50%");
        let hash = Key::new(NS, b"50%").hash;
        assert_eq!(
            reader.given(),
            Some(Given {
                timestamp: NS,
                length: 3,
                hash
            })
        );
        assert_eq!(reader.take_part(), None);
        reader.push(Bytes::from_static(b" 100%\n"));
        let rest = reader.next_line().unwrap();
        assert_eq!(
            (rest.content(), rest.begins),
            (Bytes::from_static(b" 100%\n"), false)
        );
        assert_eq!(rest.key, Some(Key::new(NS, b"50% 100%")));
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(
            texts in proptest::collection::vec("[a-z0-9:TZ \r-]{0,60}", 0..12),
            headless in any::<bool>(),
            step in 1usize..50,
            limit in 36usize..80,
        ) {
            let mut bytes = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                let stamp = if headless && index == 0 { "" } else { AT };
                bytes.extend_from_slice(format!("{stamp}{text}\n").as_bytes());
            }
            let whole = lines(&mut LineReader::with_limit(4096), &bytes, usize::MAX);
            let keys = |all: &[Line]| all.iter().filter_map(|line| line.key).collect::<Vec<_>>();
            prop_assert_eq!(keys(&whole).len(), texts.len());
            let pieces = lines(&mut LineReader::with_limit(limit), &bytes, step);
            prop_assert_eq!(keys(&pieces), keys(&whole));
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.raw().to_vec()).collect();
            prop_assert_eq!(joined, bytes);
        }

        #[test]
        fn reading_survives_anything(bytes in proptest::collection::vec(any::<u8>(), 0..400), step in 1usize..50) {
            let mut reader = LineReader::with_limit(64);
            let all = lines(&mut reader, &bytes, step);
            let part = reader.take_part();
            let joined: Vec<u8> = all.iter().chain(&part).flat_map(|line| line.raw().to_vec()).collect();
            prop_assert!(bytes.starts_with(&joined));
        }
    }
}

//! `attach --history`: the last lines of the log first, then what is attached to.
//!
//! Lives here: reading those lines, and leaving out what comes again. Never here: attaching, writing.
//!
//! What is written while we attach may be in both, in the log and in what is attached to. So the log
//! is looked at before and read after: only lines that are new in between can come again. Where they
//! are not alike they are found at the start of the output and left out. Where they are, nobody can
//! tell how many of them come again: all are shown, and that is said.

use std::collections::HashSet;

use bytes::Bytes;
use wsx_core::{Client, Error, LogItem, LogLine, LogsOptions, Stream};

/// The last line of a log before attaching; nothing where there was none.
#[derive(Debug)]
pub(crate) struct Mark(Option<LogLine>);

/// What is shown before that which is attached to.
#[derive(Debug)]
pub(crate) struct History {
    /// Lines with their timestamps.
    pub(crate) lines: Vec<LogLine>,
    /// What of it may come again.
    pub(crate) again: Again,
    /// How many lines may be shown twice.
    pub(crate) doubtful: usize,
}

/// What is shown first, and what of it may stand at the start of the output again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    first: Vec<(Stream, Bytes)>,
    /// By how many bytes more is written than comes, of stdout and of stderr.
    extra: [i64; 2],
    /// Every end of the new lines that the output may begin with and does not contradict.
    ends: Vec<Bytes>,
    /// Output that is the beginning of such an end.
    held: Vec<(Stream, Bytes)>,
    seen: Vec<u8>,
}

impl Mark {
    /// Looks where the log is now.
    ///
    /// # Errors
    /// Those of a log.
    pub(crate) async fn set(
        client: &Client,
        target: &str,
        container: Option<&str>,
    ) -> Result<Self, Error> {
        let options = options(container).tail_lines(1);
        Ok(Self(read(client, target, options).await?.pop()))
    }

    /// Reads the last `count` lines of the log of what was attached to since.
    ///
    /// # Errors
    /// Those of a log.
    pub(crate) async fn history(
        self,
        client: &Client,
        (pod, container): (&str, &str),
        count: u64,
    ) -> Result<History, Error> {
        let lines = read(client, pod, options(Some(container)).tail_lines(count)).await?;
        Ok(History::new(lines, self.0))
    }
}

impl History {
    fn new(lines: Vec<LogLine>, mark: Option<LogLine>) -> Self {
        let is_mark = |line: &LogLine| {
            let mark = mark.as_ref();
            mark.is_some_and(|mark| mark.data == line.data && mark.source == line.source)
        };
        let old = lines.iter().rposition(is_mark).map_or(0, |at| at + 1);
        let contents: Vec<_> = lines.iter().map(content).collect();
        let mut different = HashSet::new();
        let is_new = |(at, content): (usize, &Bytes)| different.insert(content.clone()) || at < old;
        let alike = !contents.iter().enumerate().all(is_new);
        let new = &contents[old..];
        let ends = (0..new.len()).map(|from| new[from..].concat().into());
        Self {
            again: Again {
                ends: if alike { Vec::new() } else { ends.collect() },
                ..Again::default()
            },
            doubtful: if alike { new.len() } else { 0 },
            lines,
        }
    }
}

impl Again {
    /// Adds what is shown before the output.
    pub(crate) fn show_first(&mut self, pieces: Vec<(Stream, Bytes)>) {
        for (stream, data) in &pieces {
            self.count(*stream, data.len() as i64);
        }
        self.first.extend(pieces);
    }

    /// Returns what is shown before the output, once.
    pub(crate) fn take_first(&mut self) -> Vec<(Stream, Bytes)> {
        std::mem::take(&mut self.first)
    }

    /// Returns by how many bytes more is written of a stream than comes; fewer where it is negative.
    pub(crate) fn extra(&self, stream: Stream) -> i64 {
        self.extra[usize::from(stream == Stream::Stderr)]
    }

    fn count(&mut self, stream: Stream, bytes: i64) {
        self.extra[usize::from(stream == Stream::Stderr)] += bytes;
    }

    /// Takes a piece of the output; returns what is to be shown now, in order.
    pub(crate) fn sift(&mut self, stream: Stream, data: Bytes) -> Vec<(Stream, Bytes)> {
        if self.ends.is_empty() {
            return vec![(stream, data)];
        }
        self.seen.extend_from_slice(&data);
        self.held.push((stream, data));
        let seen = &self.seen;
        self.ends
            .retain(|end| seen.starts_with(end) || end.starts_with(seen));
        if self.ends.iter().any(|end| end.len() > seen.len()) {
            return Vec::new();
        }
        let mut known = self.ends.drain(..).map(|end| end.len()).max().unwrap_or(0);
        let mut shown = Vec::new();
        for (stream, mut data) in std::mem::take(&mut self.held) {
            let rest = data.split_off(known.min(data.len()));
            known -= data.len();
            self.count(stream, -(data.len() as i64));
            if !rest.is_empty() {
                shown.push((stream, rest));
            }
        }
        shown
    }

    /// Whether output is held back.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns what is held back: it is not what was shown, or nobody can wait for the rest.
    pub(crate) fn release(&mut self) -> Vec<(Stream, Bytes)> {
        self.ends.clear();
        self.seen.clear();
        std::mem::take(&mut self.held)
    }
}

/// Returns a line without its timestamp.
pub(crate) fn unstamped(mut line: LogLine) -> LogLine {
    line.data = content(&line);
    line
}

/// The text of a line without its timestamp.
fn content(line: &LogLine) -> Bytes {
    let stamp = line.timestamp.filter(|_| line.begins);
    let space = stamp.and_then(|_| line.data.iter().position(|byte| *byte == b' '));
    line.data.slice(space.map_or(0, |space| space + 1)..)
}

fn options(container: Option<&str>) -> LogsOptions {
    let options = LogsOptions::default().timestamps(true);
    options.container(container.map(str::to_owned))
}

async fn read(client: &Client, target: &str, options: LogsOptions) -> Result<Vec<LogLine>, Error> {
    let mut logs = client.logs(Some(target), options).await?;
    let (mut items, mut lines) = (Vec::new(), Vec::new());
    while logs.next_batch(&mut items).await {
        lines.extend(items.drain(..).filter_map(|item| match item {
            LogItem::Line(line) => Some(line),
            _ => None,
        }));
    }
    logs.wait().await?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use wsx_core::LogSource;

    use super::*;

    const OUT: Stream = Stream::Stdout;

    fn line(number: i64, text: &str) -> LogLine {
        let data = format!("1970-01-01T00:00:00.{number:09}Z {text}\n");
        let source = Arc::new(LogSource::new("default", "web-0", "app"));
        LogLine::new(data.into(), Some(number), true, source)
    }

    fn lines(texts: &[&str]) -> Vec<LogLine> {
        (0..)
            .zip(texts)
            .map(|(number, text)| line(number, text))
            .collect()
    }

    fn shown(history: &mut History, output: &[u8], step: usize) -> String {
        let mut all = Vec::new();
        for piece in output.chunks(step) {
            all.extend(history.again.sift(OUT, Bytes::copy_from_slice(piece)));
        }
        all.extend(history.again.release());
        let all: Vec<u8> = all.iter().flat_map(|(_, data)| data.to_vec()).collect();
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn what_came_while_attaching_is_not_shown_twice() {
        let all = lines(&["a", "b", "c", "d"]);
        for (output, rest) in [
            ("c\nd\ne\n", "e\n"),
            ("d\ne\n", "e\n"),
            ("e\n", "e\n"),
            ("c\nd\n", ""),
            ("c\ne\n", "c\ne\n"),
            ("b\nc\nd\n", "b\nc\nd\n"),
            ("c\n", "c\n"),
        ] {
            for step in [1, 3, 100] {
                let mut history = History::new(all.clone(), Some(all[1].clone()));
                assert_eq!(history.doubtful, 0);
                assert_eq!(
                    shown(&mut history, output.as_bytes(), step),
                    rest,
                    "{output:?}"
                );
            }
        }
    }

    #[test]
    fn a_log_that_did_not_grow_holds_nothing_back() {
        let all = lines(&["tick", "tick"]);
        let mut history = History::new(all.clone(), all.last().cloned());
        assert_eq!(
            (
                history.doubtful,
                history.again.sift(OUT, "tick\n".into()).len()
            ),
            (0, 1)
        );
    }

    #[test]
    fn lines_that_are_alike_are_shown_and_counted() {
        for (texts, old) in [(["tick", "tick", "tick"], 0), (["tick", "x", "tick"], 1)] {
            let all = lines(&texts);
            let mut history = History::new(all.clone(), Some(all[old].clone()));
            assert_eq!(history.doubtful, 2 - old);
            assert_eq!(shown(&mut history, b"tick\n", 2), "tick\n");
        }
    }

    #[test]
    fn without_a_mark_all_lines_may_come_again() {
        let all = lines(&["a", "b"]);
        let mut elsewhere = line(0, "a");
        elsewhere.source = Arc::new(LogSource::new("default", "web-1", "app"));
        for mark in [None, Some(line(9, "other")), Some(elsewhere)] {
            let mut history = History::new(all.clone(), mark);
            assert_eq!(shown(&mut history, b"a\nb\nc\n", 1), "c\n");
        }
    }

    #[test]
    fn both_streams_keep_their_pieces() {
        let all = lines(&["a", "b"]);
        let mut history = History::new(all.clone(), Some(all[0].clone()));
        let again = &mut history.again;
        assert_eq!(again.sift(OUT, "b".into()), []);
        assert!(again.holds());
        let rest = again.sift(Stream::Stderr, "\nerror\n".into());
        assert_eq!(rest, [(Stream::Stderr, Bytes::from("error\n"))]);
        assert!(!again.holds());
        again.show_first(vec![(OUT, "a\nb\n".into())]);
        assert_eq!((again.extra(OUT), again.extra(Stream::Stderr)), (3, -1));
        assert_eq!((again.take_first().len(), again.take_first().len()), (1, 0));
    }

    proptest! {
        #[test]
        fn nothing_that_is_new_is_lost(old in 0usize..4, new in 0usize..4, from in 0usize..4, more in "[a-c\n]{0,9}", step in 1usize..9) {
            let texts: Vec<_> = (0..old + new).map(|number| format!("line {number}")).collect();
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            let all = lines(&texts);
            let mark = old.checked_sub(1).map(|at| all[at].clone());
            let mut history = History::new(all, mark);
            let again: String = texts[old + from.min(new)..].iter().map(|text| format!("{text}\n")).collect();
            let output = format!("{again}{more}");
            prop_assert_eq!(shown(&mut history, output.as_bytes(), step), more);
        }
    }
}

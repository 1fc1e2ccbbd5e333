//! A slow reader holds the kubelet up; what it may leave out meanwhile is told.
//!
//! A kubelet reads its file to the end and goes on in the newest one: files that were begun and ended
//! in between are never read (k8s.io/cri-client pkg/logs/logs.go, `ReadLogs`), and nothing on the
//! connection tells. So once a log was held up, the newest file is asked for its first time. Where that
//! is later than the last line, lines may be missing right before the first line that is as late. A new
//! file has no line yet: then it is asked again.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Pump;
use crate::protocol::logs::LineReader;
use crate::protocol::logs::request::LogOptions;

/// For so long altogether there must have been no room.
const HELD: Duration = Duration::from_secs(2);
/// Between two requests, where the answer told no time.
const AGAIN: Duration = Duration::from_millis(250);
/// A timestamp and the space behind it.
const HEAD: u64 = 36;
/// As many files are kept in mind; of more the last is forgotten, and one gap told for both.
const FILES: usize = 64;

/// For how long a log was held up, and where lines may be missing therefore.
#[derive(Default)]
pub(super) struct Held {
    /// Since the newest file was last asked for.
    waited: Duration,
    /// Where the last answer told no time: when that was, and the last line before the first of them.
    unknown: Option<(Instant, i64)>,
    /// First times of files that were the newest while older lines were still to come; rising.
    files: Vec<i64>,
}

impl Held {
    fn add(&mut self, file: i64) {
        if self.files.len() == FILES {
            self.files.pop();
        }
        if self.files.last().is_none_or(|last| *last < file) {
            self.files.push(file);
        }
    }

    /// Tells whether a line of this time is the first behind a place where lines may be missing.
    pub(super) fn passes(&mut self, timestamp: i64) -> bool {
        let passed = self.files.partition_point(|file| *file <= timestamp);
        self.files.drain(..passed);
        passed > 0
    }

    /// Forgets these places; tells whether there were any.
    pub(super) fn forget(&mut self) -> bool {
        let unknown = self.unknown.take().is_some();
        !std::mem::take(&mut self.files).is_empty() || unknown
    }
}

impl Pump {
    /// Waits until the reader has room: while it has not, nothing is read and the kubelet is held up.
    pub(super) async fn room(&mut self) -> bool {
        let begin = Instant::now();
        let room = poll_fn(|cx| self.output.poll_room(cx)).await;
        self.held.waited += begin.elapsed();
        room
    }

    /// Looks where the newest file begins, when the kubelet was held up.
    pub(super) async fn look_for_files(&mut self) {
        let unknown = self.held.unknown;
        let due = unknown.is_some_and(|(asked, _)| asked.elapsed() >= AGAIN);
        let Some(last) = self.last.filter(|_| due || self.held.waited >= HELD) else {
            return;
        };
        self.held.waited = Duration::ZERO;
        let limit = self.options.limits.connect;
        let first = timeout(limit, self.first_time()).await.ok().flatten();
        tracing::debug!(?first, last, "held up by the reader");
        let before = unknown.map_or(last, |(_, before)| before);
        self.held.unknown = first.is_none().then(|| (Instant::now(), before));
        match first {
            Some(first) if first > last => self.held.add(first),
            // It was passed before it could be known.
            Some(first) if first > before => {
                self.gap(false, Some(before), Some(first));
                self.flush();
            }
            _ => {}
        }
    }

    async fn first_time(&mut self) -> Option<i64> {
        let options = LogOptions::default()
            .container(self.place.container.clone())
            .limit_bytes(Some(HEAD))
            .timestamps(true);
        let opening = self.opener.open(&self.place.pod, &options, true).await;
        let (mut reply, mut reader) = (opening.ok()?, LineReader::default());
        while let Ok(chunk) = reply.next().await {
            reader.push(chunk);
        }
        let line = reader.next_line().or_else(|| reader.take_rest())?;
        line.timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_once_by_the_first_line_behind_it() {
        let mut held = Held::default();
        held.add(10);
        held.add(10);
        held.add(20);
        assert!(!held.passes(9));
        assert!(held.passes(10));
        assert!(!held.passes(19));
        assert!(held.passes(25));
        assert!(!held.passes(30) && !held.forget());
    }

    #[test]
    fn files_beyond_the_most_are_told_with_the_last() {
        let mut held = Held::default();
        (0..1000).for_each(|file| held.add(file));
        assert_eq!(held.files.len(), FILES);
        assert!(held.passes(998) && held.passes(999) && !held.forget());
    }
}

//! stdout and stderr read apart: what the modules for Python and Node hand to their own streams.
//!
//! Lives here: parting one ordered output in two, lines. Never here: event loops, decoding of text.
//!
//! Reading is two steps, so that a cancelled wait can lose nothing: a `try_` method takes what is
//! there, `poll_ready` only waits. One connection carries both streams, so a pipe that nobody reads
//! holds up the other one once [`PIPE_LIMIT`] bytes lie in it, like the pipes of a local process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf as _, Bytes, BytesMut};

use super::process::{Chunk, Output, Stream};

/// How many bytes may lie in one pipe before the other one stops too; what arrived together with
/// the last of them comes on top.
pub const PIPE_LIMIT: usize = 256 * 1024;

/// How long a line may grow; a longer one is given out in pieces of this size without line feed.
pub const LINE_LIMIT: usize = 1024 * 1024;

/// What a `try_` method found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Taken<T> {
    /// What was there.
    Data(T),
    /// Nothing will ever come again.
    End,
    /// Nothing is there yet.
    Nothing,
}

/// Lines in one piece of memory, each with its line feed; only the last one of a stream may have none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lines {
    /// All lines, one after the other.
    pub data: Bytes,
    /// Where each line ends in `data`.
    pub ends: Vec<u32>,
}

/// One output of a remote process. Dropping it discards what comes.
#[derive(Debug)]
pub struct Pipe {
    shared: Arc<Shared>,
    stream: Stream,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct State {
    /// Nothing once it has ended, or nobody wants any of it.
    output: Option<Output>,
    stdout: Side,
    stderr: Side,
}

#[derive(Debug, Default)]
struct Side {
    pieces: VecDeque<Bytes>,
    used: usize,
    /// How many bytes from the front are known to hold no line feed.
    scanned: usize,
    discarded: bool,
}

/// Who waits. Apart from the state, so that the queue below can hold it without a circle.
#[derive(Debug, Default)]
struct Readers {
    wakers: Mutex<[Option<Waker>; 2]>,
}

impl Wake for Readers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Output {
    /// Parts the output in stdout and stderr, for readers that know nothing of each other. Their
    /// order among each other is lost.
    #[must_use]
    pub fn split(self) -> (Pipe, Pipe) {
        let state = State {
            output: Some(self),
            stdout: Side::default(),
            stderr: Side::default(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            readers: Arc::default(),
        });
        let pipe = |stream| Pipe {
            shared: Arc::clone(&shared),
            stream,
        };
        (pipe(Stream::Stdout), pipe(Stream::Stderr))
    }
}

impl Pipe {
    /// Takes one piece as it arrived, or the first `max` bytes of it.
    pub fn try_read(&self, max: usize) -> Taken<Bytes> {
        self.take(|side, _| side.piece(max))
    }

    /// Takes at most `max` bytes in pieces as they arrived, none of them empty.
    pub fn try_pieces(&self, max: usize) -> Taken<Vec<Bytes>> {
        self.take(|side, _| {
            let (mut pieces, mut room) = (Vec::new(), max);
            while room > 0
                && let Some(piece) = side.piece(room)
            {
                room -= piece.len();
                pieces.push(piece);
            }
            (!pieces.is_empty()).then_some(pieces)
        })
    }

    /// Takes whole lines, and stops at so many of them or so many bytes: the line that reaches
    /// `bytes` is taken whole. A line over [`LINE_LIMIT`] comes in pieces.
    pub fn try_lines(&self, items: usize, bytes: usize) -> Taken<Lines> {
        self.take(|side, ended| side.lines(items, bytes, ended))
    }

    /// Waits until [`try_read`](Self::try_read) has something to say. Only the last one who waits
    /// for a pipe is woken.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, |side, _| side.used > 0)
    }

    /// Waits until [`try_lines`](Self::try_lines) has something to say. Only the last one who waits
    /// for a pipe is woken.
    pub fn poll_line(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, |side, ended| side.line(ended).is_some())
    }

    /// Drops what is there and what will come, and counts it in
    /// [`Report::discarded`](super::Report::discarded): the other pipe flows on.
    pub fn discard(&self) {
        let mut state = lock(&self.shared.state);
        let side = state.side(self.stream);
        side.discarded = true;
        let dropped = side.used;
        side.pieces.clear();
        (side.used, side.scanned) = (0, 0);
        if let Some(output) = &state.output {
            output.count_discarded(dropped);
        }
        if state.stdout.discarded && state.stderr.discarded {
            state.output = None;
        }
        drop(state);
        self.shared.readers.wake_by_ref();
    }

    /// Tells whether everything was taken and nothing will come.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        matches!(
            self.take(|side, _| (side.used > 0).then_some(())),
            Taken::End
        )
    }

    fn take<T>(&self, mut pick: impl FnMut(&mut Side, bool) -> Option<T>) -> Taken<T> {
        let mut state = lock(&self.shared.state);
        let was_full = state.side(self.stream).used >= PIPE_LIMIT;
        let found = loop {
            let ended = state.output.is_none();
            if let Some(data) = pick(state.side(self.stream), ended) {
                break Taken::Data(data);
            }
            if ended {
                break Taken::End;
            }
            if !state.pull(self.stream, None) {
                break Taken::Nothing;
            }
        };
        let freed = was_full && state.side(self.stream).used < PIPE_LIMIT;
        drop(state);
        if freed {
            // The other pipe may have waited for this one.
            self.shared.readers.wake_by_ref();
        }
        found
    }

    fn poll(&self, cx: &Context<'_>, mut ready: impl FnMut(&mut Side, bool) -> bool) -> Poll<()> {
        let mut state = lock(&self.shared.state);
        lock(&self.shared.readers.wakers)[self.stream as usize] = Some(cx.waker().clone());
        let waker = Waker::from(Arc::clone(&self.shared.readers));
        loop {
            let ended = state.output.is_none();
            if ended || ready(state.side(self.stream), ended) {
                lock(&self.shared.readers.wakers)[self.stream as usize] = None;
                return Poll::Ready(());
            }
            if !state.pull(self.stream, Some(&waker)) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.discard();
    }
}

impl State {
    fn side(&mut self, stream: Stream) -> &mut Side {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Fetches all that has arrived, unless the other pipe is full. Tells whether anything changed;
    /// if nothing did, `waker` is woken when something may.
    fn pull(&mut self, stream: Stream, waker: Option<&Waker>) -> bool {
        let other = match stream {
            Stream::Stdout => &self.stderr,
            Stream::Stderr => &self.stdout,
        };
        if other.used >= PIPE_LIMIT {
            return false;
        }
        let Some(output) = &mut self.output else {
            return false;
        };
        let mut batch = Vec::new();
        let more = match waker {
            None => output.try_batch(&mut batch),
            Some(waker) => match output.poll_batch(&mut Context::from_waker(waker), &mut batch) {
                Poll::Ready(more) => Some(more),
                Poll::Pending => None,
            },
        };
        let mut dropped = 0;
        for Chunk { stream, data } in batch {
            let side = match stream {
                Stream::Stdout => &mut self.stdout,
                Stream::Stderr => &mut self.stderr,
            };
            if side.discarded {
                dropped += data.len();
            } else {
                side.used += data.len();
                side.pieces.push_back(data);
            }
        }
        output.count_discarded(dropped);
        if more == Some(false) {
            self.output = None;
        }
        more.is_some()
    }
}

impl Side {
    fn piece(&mut self, max: usize) -> Option<Bytes> {
        let front = self.pieces.front_mut()?;
        let piece = if front.len() <= max {
            self.pieces.pop_front()?
        } else {
            front.split_to(max)
        };
        self.forget(piece.len());
        Some(piece)
    }

    fn lines(&mut self, items: usize, bytes: usize, ended: bool) -> Option<Lines> {
        let (mut data, mut ends) = (BytesMut::new(), Vec::new());
        while ends.len() < items
            && data.len() < bytes
            && let Some(length) = self.line(ended)
        {
            self.move_to(&mut data, length);
            // At most `bytes` and one line, so far below 4 GiB.
            ends.push(u32::try_from(data.len()).ok()?);
        }
        let data = data.freeze();
        (!ends.is_empty()).then_some(Lines { data, ends })
    }

    /// Returns the length of the first line, when all of it is there.
    fn line(&mut self, ended: bool) -> Option<usize> {
        let mut passed = 0;
        for piece in &self.pieces {
            let skip = self.scanned.saturating_sub(passed).min(piece.len());
            if let Some(at) = memchr::memchr(b'\n', &piece[skip..]) {
                return Some((passed + skip + at + 1).min(LINE_LIMIT));
            }
            passed += piece.len();
            if passed >= LINE_LIMIT {
                return Some(LINE_LIMIT);
            }
        }
        self.scanned = self.used;
        (ended && self.used > 0).then_some(self.used)
    }

    fn move_to(&mut self, data: &mut BytesMut, mut length: usize) {
        self.forget(length);
        while length > 0
            && let Some(front) = self.pieces.front_mut()
        {
            let part = front.len().min(length);
            data.extend_from_slice(&front[..part]);
            front.advance(part);
            if front.is_empty() {
                self.pieces.pop_front();
            }
            length -= part;
        }
    }

    fn forget(&mut self, taken: usize) {
        self.used -= taken;
        self.scanned = self.scanned.saturating_sub(taken);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::protocol::machine::process::Event;
    use crate::session::queue;

    fn pipes() -> (queue::Sender<Event>, Pipe, Pipe) {
        let (events, output) = Output::for_tests();
        let (stdout, stderr) = output.split();
        (events, stdout, stderr)
    }

    fn put(events: &queue::Sender<Event>, stream: Stream, data: impl Into<Bytes>) {
        let data = data.into();
        events.push(Event::Output { stream, data }).unwrap();
    }

    fn is_pending(pipe: &Pipe) -> bool {
        pipe.poll_ready(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    }

    fn lines(taken: Taken<Lines>) -> Vec<Vec<u8>> {
        let Taken::Data(Lines { data, ends }) = taken else {
            return Vec::new();
        };
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let range = |(start, end): (u32, &u32)| data[start as usize..*end as usize].to_vec();
        starts.zip(&ends).map(range).collect()
    }

    #[test]
    fn each_pipe_gives_its_own_bytes_and_then_the_end() {
        let (events, stdout, stderr) = pipes();
        put(&events, Stream::Stdout, "abc");
        put(&events, Stream::Stderr, "x");
        put(&events, Stream::Stdout, "def");
        drop(events);
        assert_eq!(stderr.try_read(10), Taken::Data("x".into()));
        assert_eq!(stderr.try_read(10), Taken::End);
        assert_eq!(stdout.try_read(2), Taken::Data("ab".into()));
        let some = vec![Bytes::from("c"), Bytes::from("de")];
        assert_eq!(stdout.try_pieces(3), Taken::Data(some));
        assert_eq!(stdout.try_pieces(3), Taken::Data(vec!["f".into()]));
        assert!(stdout.is_at_end());
    }

    #[test]
    fn a_line_may_come_in_many_pieces_and_the_last_without_line_feed() {
        let (events, stdout, _stderr) = pipes();
        put(&events, Stream::Stdout, "on");
        assert_eq!(stdout.try_lines(8, 100), Taken::Nothing);
        put(&events, Stream::Stdout, "e\ntwo\n\nthr");
        let some = stdout.try_lines(2, 100);
        assert_eq!(lines(some), [&b"one\n"[..], b"two\n"]);
        assert_eq!(lines(stdout.try_lines(8, 100)), [b"\n"]);
        assert_eq!(stdout.try_lines(8, 100), Taken::Nothing);
        put(&events, Stream::Stdout, "ee");
        drop(events);
        assert_eq!(lines(stdout.try_lines(8, 100)), [b"three"]);
        assert_eq!(stdout.try_lines(8, 100), Taken::End);
    }

    #[test]
    fn a_line_without_end_is_given_out_in_pieces() {
        let (events, stdout, _stderr) = pipes();
        for _ in 0..3 {
            put(&events, Stream::Stdout, vec![b'a'; LINE_LIMIT / 2]);
        }
        put(&events, Stream::Stdout, "b\n");
        let lengths: Vec<_> = lines(stdout.try_lines(8, usize::MAX))
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(lengths, [LINE_LIMIT, LINE_LIMIT / 2 + 2]);
    }

    #[test]
    fn lines_and_bytes_may_be_mixed() {
        let (events, stdout, _stderr) = pipes();
        put(&events, Stream::Stdout, "no line yet");
        assert_eq!(stdout.try_lines(8, 100), Taken::Nothing);
        assert_eq!(stdout.try_read(3), Taken::Data("no ".into()));
        put(&events, Stream::Stdout, "\nx");
        assert_eq!(lines(stdout.try_lines(8, 100)), [b"line yet\n"]);
        assert_eq!(stdout.try_read(3), Taken::Data("x".into()));
    }

    #[tokio::test]
    async fn an_unread_pipe_holds_up_the_other_until_it_is_read() {
        let (events, stdout, stderr) = pipes();
        put(&events, Stream::Stderr, vec![0; PIPE_LIMIT]);
        assert!(is_pending(&stdout));
        put(&events, Stream::Stdout, "late");
        assert!(is_pending(&stdout));
        let waiting = poll_fn(|cx| stdout.poll_ready(cx));
        let reading = async {
            // Both are polled once before this is.
            assert!(matches!(stderr.try_read(PIPE_LIMIT), Taken::Data(_)));
        };
        tokio::join!(waiting, reading);
        assert_eq!(stdout.try_read(9), Taken::Data("late".into()));
    }

    #[tokio::test]
    async fn what_comes_wakes_both_and_so_does_the_end() {
        let (events, stdout, stderr) = pipes();
        let stdout_ready = poll_fn(|cx| stdout.poll_ready(cx));
        let stderr_ready = async {
            poll_fn(|cx| stderr.poll_ready(cx)).await;
            stderr.try_read(9)
        };
        let send = async {
            put(&events, Stream::Stdout, "out");
            tokio::task::yield_now().await;
            drop(events);
        };
        let ((), last, ()) = tokio::join!(stdout_ready, stderr_ready, send);
        assert_eq!(last, Taken::End);
        assert_eq!(stdout.try_read(9), Taken::Data("out".into()));
    }

    #[test]
    fn a_dropped_pipe_lets_the_other_flow_and_counts() {
        let (events, stdout, stderr) = pipes();
        put(&events, Stream::Stderr, vec![0; PIPE_LIMIT]);
        assert_eq!(stdout.try_read(9), Taken::Nothing);
        drop(stderr);
        put(&events, Stream::Stderr, "more");
        put(&events, Stream::Stdout, "out");
        assert_eq!(stdout.try_read(9), Taken::Data("out".into()));
        let state = lock(&stdout.shared.state);
        let output = state.output.as_ref().unwrap();
        assert_eq!(output.report().discarded, PIPE_LIMIT as u64 + 4);
    }

    #[test]
    fn two_dropped_pipes_end_the_queue() {
        let (events, stdout, stderr) = pipes();
        drop((stdout, stderr));
        assert!(events.is_closed());
    }
}

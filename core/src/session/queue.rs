//! A queue between two tasks that is bounded in bytes and wakes each side once.
//!
//! Lives here: the queue. Never here: what travels in it. A sender that asks before it pushes
//! overruns the limit by at most one item; a reader takes everything that is there in one go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How much of a queue's limit an item takes.
pub trait Weigh {
    /// Returns the item's own bytes, without the queue's cost of keeping it.
    fn weight(&self) -> usize;
}

/// What keeping one item costs beside its own bytes.
const OVERHEAD: usize = 64;

/// Makes a queue that holds at most about `limit` bytes.
#[must_use]
pub fn channel<T: Weigh>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(State {
        items: VecDeque::new(),
        used: 0,
        limit,
        closed: false,
        reader: None,
        writer: None,
    }));
    (
        Sender {
            shared: Arc::clone(&shared),
        },
        Receiver { shared },
    )
}

/// The side that puts in. Dropping it ends the queue; what is inside can still be taken.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// The side that takes out. Dropping it refuses everything that comes.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Mutex<State<T>>>,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    used: usize,
    limit: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<T> State<T> {
    fn wake_reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    /// Wakes the writer when half the room is free, so that both sides work in batches.
    fn wake_writer(&mut self) -> Option<Waker> {
        if self.closed || self.used <= self.limit / 2 {
            self.writer.take()
        } else {
            None
        }
    }
}

fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // No code panics while it holds the lock.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<T: Weigh> Sender<T> {
    /// Waits until there is room. Ready with `false` when nobody will take anything.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = lock(&self.shared);
        if state.closed {
            Poll::Ready(false)
        } else if state.used < state.limit {
            Poll::Ready(true)
        } else {
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    /// Puts an item in, whatever the room, or gives it back when nobody will take it.
    pub fn push(&self, item: T) -> Result<(), T> {
        self.add(item)?;
        self.announce();
        Ok(())
    }

    /// Puts an item in like [`push`](Self::push), but leaves a reader asleep until half of the limit is
    /// taken: whoever adds several items ends with [`announce`](Self::announce).
    pub fn add(&self, item: T) -> Result<(), T> {
        let mut state = lock(&self.shared);
        if state.closed {
            return Err(item);
        }
        state.used += item.weight() + OVERHEAD;
        state.items.push_back(item);
        let reader = match state.used >= state.limit / 2 {
            true => state.wake_reader(),
            false => None,
        };
        drop(state);
        wake(reader);
        Ok(())
    }

    /// Wakes the reader when there is something to take.
    pub fn announce(&self) {
        let mut state = lock(&self.shared);
        let reader = match state.items.is_empty() {
            true => None,
            false => state.wake_reader(),
        };
        drop(state);
        wake(reader);
    }

    /// Puts an item in instead of all that nobody has taken yet: the latest one counts.
    pub fn replace(&self, item: T) -> Result<(), T> {
        let mut state = lock(&self.shared);
        state.items.clear();
        state.used = 0;
        drop(state);
        self.push(item)
    }

    /// Waits until nobody will take anything any more.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.shared);
        if state.closed {
            Poll::Ready(())
        } else {
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    /// Returns how much of the limit is taken.
    #[must_use]
    pub fn used(&self) -> usize {
        lock(&self.shared).used
    }

    /// Tells whether nobody will take anything any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.shared).closed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.closed = true;
        let reader = state.wake_reader();
        drop(state);
        wake(reader);
    }
}

impl<T: Weigh> Receiver<T> {
    /// Waits for an item; ready with nothing at the end.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.shared);
        match state.items.pop_front() {
            Some(item) => {
                state.used = state.used.saturating_sub(item.weight() + OVERHEAD);
                let writer = state.wake_writer();
                drop(state);
                wake(writer);
                Poll::Ready(Some(item))
            }
            None if state.closed => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes an item without waiting; `Some(None)` at the end, `None` when nothing is there yet.
    pub fn try_next(&self) -> Option<Option<T>> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => Some(item),
            Poll::Pending => None,
        }
    }

    /// Waits for at least one item and takes all that are there; ready with `false` at the end.
    pub fn poll_batch(&self, cx: &mut Context<'_>, batch: &mut Vec<T>) -> Poll<bool> {
        let state = lock(&self.shared);
        match Self::drain(state, batch) {
            Ok(more) => Poll::Ready(more),
            Err(mut state) => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes all that is there; `Some(false)` at the end, `None` when nothing is there yet.
    pub fn try_batch(&self, batch: &mut Vec<T>) -> Option<bool> {
        Self::drain(lock(&self.shared), batch).ok()
    }

    fn drain<'a>(
        mut state: MutexGuard<'a, State<T>>,
        batch: &mut Vec<T>,
    ) -> Result<bool, MutexGuard<'a, State<T>>> {
        if state.items.is_empty() {
            return if state.closed { Ok(false) } else { Err(state) };
        }
        batch.extend(state.items.drain(..));
        state.used = 0;
        let writer = state.wake_writer();
        drop(state);
        wake(writer);
        Ok(true)
    }

    /// Tells whether nothing is waiting to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        lock(&self.shared).items.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.closed = true;
        state.items.clear();
        state.used = 0;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Weigh for Vec<u8> {
        fn weight(&self) -> usize {
            self.len()
        }
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_sender_wait_until_half_is_free() {
        let (tx, rx) = channel::<Vec<u8>>(1000);
        tx.push(vec![0; 500]).unwrap();
        tx.push(vec![0; 500]).unwrap();
        let pending = poll_fn(|cx| Poll::Ready(tx.poll_room(cx).is_pending())).await;
        assert!(pending);
        let (room, ()) = tokio::join!(poll_fn(|cx| tx.poll_room(cx)), async {
            assert!(poll_fn(|cx| rx.poll_next(cx)).await.is_some());
            assert!(poll_fn(|cx| rx.poll_next(cx)).await.is_some());
        });
        assert!(room);
    }

    #[tokio::test]
    async fn a_batch_takes_everything_and_the_end_follows() {
        let (tx, rx) = channel::<Vec<u8>>(10);
        tx.push(vec![1]).unwrap();
        tx.push(vec![2]).unwrap();
        drop(tx);
        let mut batch = Vec::new();
        assert!(poll_fn(|cx| rx.poll_batch(cx, &mut batch)).await);
        assert_eq!(batch, [vec![1], vec![2]]);
        assert!(!poll_fn(|cx| rx.poll_batch(cx, &mut batch)).await);
    }

    #[test]
    fn a_reader_sleeps_until_it_is_told_or_half_is_taken() {
        let (tx, rx) = channel::<Vec<u8>>(1000);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let count = || woken.0.load(Ordering::Relaxed);
        assert!(rx.poll_next(&mut cx).is_pending());
        tx.announce();
        tx.add(vec![0; 100]).unwrap();
        assert_eq!(count(), 0);
        tx.announce();
        assert_eq!(count(), 1);
        assert!(rx.poll_next(&mut cx).is_ready());
        assert!(rx.poll_next(&mut cx).is_pending());
        tx.add(vec![0; 500]).unwrap();
        assert_eq!(count(), 2);
    }

    #[tokio::test]
    async fn a_dropped_receiver_gives_items_back() {
        let (tx, rx) = channel::<Vec<u8>>(10);
        drop(rx);
        assert_eq!(tx.push(vec![1]), Err(vec![1]));
        assert!(!poll_fn(|cx| tx.poll_room(cx)).await);
    }

    #[tokio::test]
    async fn replacing_keeps_the_latest() {
        let (tx, rx) = channel::<Vec<u8>>(10);
        tx.replace(vec![1]).unwrap();
        tx.replace(vec![2]).unwrap();
        assert_eq!(poll_fn(|cx| rx.poll_next(cx)).await, Some(vec![2]));
        assert!(rx.is_empty());
    }
}

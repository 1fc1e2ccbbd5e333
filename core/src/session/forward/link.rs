//! One connection through a session, seen from its own side, and the switch on the session's side.
//!
//! Lives here: who waits for whom, and how many bytes may lie between. Never here: sockets, sessions
//! that are lost and opened anew.
//!
//! All connections of a session put what they have into one inbox, each at most 64 KiB at a time, so
//! that they take turns; what comes back waits in the connection's own port, which the machine bounds.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::protocol::machine::forward::{Command, Connection, End, Event, Forwarding, Over};
use crate::session::driver::Caller;

/// How many bytes of a connection wait for the session.
pub(super) const INPUT_LIMIT: usize = 64 * 1024;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What lies between a connection and its session.
#[derive(Debug, Default)]
struct Port {
    state: Mutex<PortState>,
}

#[derive(Debug, Default)]
struct PortState {
    opened: bool,
    /// From the pod.
    data: VecDeque<Bytes>,
    end: Option<End>,
    reader: Option<Waker>,
    /// Bytes for the pod that the session has not taken, or holds until the server has answered.
    queued: usize,
    /// What it holds of these.
    held: usize,
    writer: Option<Waker>,
}

/// What lies between all connections and their session.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    has_room: AtomicBool,
    /// How many connections hold a link to this session.
    links: AtomicUsize,
    /// How many of these may still give bytes: who has ended takes no place.
    busy: AtomicUsize,
    /// Is told when nobody does any more.
    idle: Arc<Notify>,
}

#[derive(Debug, Default)]
struct InboxState {
    urgent: VecDeque<Wish>,
    data: VecDeque<(Arc<Port>, Command)>,
    waker: Option<Waker>,
    /// The session is over: nobody looks here any more.
    over: bool,
}

#[derive(Debug)]
enum Wish {
    Abort(Connection),
    Leave,
    Open(Connection, NonZeroU16, Arc<Port>),
    Taken(Connection, usize),
}

impl Inbox {
    /// Tells whether a new connection fares well here, as far as is known.
    pub(super) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    /// Returns how many connections hold a link to this session.
    pub(super) fn links(&self) -> usize {
        self.links.load(Ordering::Relaxed)
    }

    /// Returns how many of them have not ended from their side.
    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Begins a connection to a port of the pod. The name is the caller's, and used once.
    pub(super) fn open(self: &Arc<Self>, connection: Connection, port: NonZeroU16) -> Link {
        let link = self.link(connection);
        self.wish(Wish::Open(connection, port, Arc::clone(&link.port)));
        link
    }

    fn link(self: &Arc<Self>, connection: Connection) -> Link {
        self.links.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        Link {
            inbox: Arc::clone(self),
            port: Arc::new(Port::default()),
            connection,
            finished: AtomicBool::new(false),
        }
    }

    /// Aborts all connections, and says goodbye.
    pub(super) fn leave(&self) {
        self.wish(Wish::Leave);
    }

    fn wish(&self, wish: Wish) {
        let mut state = lock(&self.state);
        if state.over {
            drop(state);
            if let Wish::Open(_, _, port) = wish {
                port.end(End::Lost { fresh: true });
            }
            return;
        }
        match (&wish, state.urgent.back_mut()) {
            (Wish::Taken(one, more), Some(Wish::Taken(other, bytes))) if one == other => {
                *bytes += more;
            }
            _ => state.urgent.push_back(wish),
        }
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl PortState {
    fn take(&mut self, batch: &mut VecDeque<Bytes>) -> Poll<Result<bool, End>> {
        if !self.data.is_empty() {
            batch.append(&mut self.data);
            return Poll::Ready(Ok(true));
        }
        match &self.end {
            Some(End::Finished) => Poll::Ready(Ok(false)),
            Some(end) => Poll::Ready(Err(end.clone())),
            None => Poll::Pending,
        }
    }
}

impl Port {
    fn end(&self, end: End) {
        let mut state = lock(&self.state);
        state.end.get_or_insert(end);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }
}

/// A connection through a session. Dropping it aborts what has not ended.
#[derive(Debug)]
pub(super) struct Link {
    inbox: Arc<Inbox>,
    port: Arc<Port>,
    connection: Connection,
    /// Whether nothing more is given.
    finished: AtomicBool,
}

impl Link {
    /// Waits until the server has taken the connection.
    ///
    /// # Errors
    /// How it ended instead.
    pub(super) fn poll_opened(&self, cx: &Context<'_>) -> Poll<Result<(), End>> {
        let mut state = lock(&self.port.state);
        if state.opened {
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(Err(end.clone()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Tells whether its session is one in which a new connection fares well.
    pub(super) fn has_room(&self) -> bool {
        self.inbox.has_room()
    }

    /// Waits for bytes from the pod and takes all that are there; ready with `false` when the pod has
    /// ended and everything was taken. Say with [`taken`](Self::taken) what has found its way.
    ///
    /// # Errors
    /// How it ended, if not so, after what came before.
    pub(super) fn poll_data(
        &self,
        cx: &Context<'_>,
        batch: &mut VecDeque<Bytes>,
    ) -> Poll<Result<bool, End>> {
        let mut state = lock(&self.port.state);
        let taken = state.take(batch);
        if taken.is_pending() {
            state.reader = Some(cx.waker().clone());
        }
        taken
    }

    /// The same without waiting.
    pub(super) fn try_data(&self, batch: &mut VecDeque<Bytes>) -> Poll<Result<bool, End>> {
        lock(&self.port.state).take(batch)
    }

    /// Waits until [`try_data`](Self::try_data) has something to say.
    pub(super) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.port.state);
        if !state.data.is_empty() || state.end.is_some() {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns how it ended, if it has.
    pub(super) fn ended(&self) -> Option<End> {
        lock(&self.port.state).end.clone()
    }

    /// Tells that so many bytes have found their way.
    pub(super) fn taken(&self, bytes: usize) {
        self.inbox.wish(Wish::Taken(self.connection, bytes));
    }

    /// Waits until bytes may be given; ready with `false` when nobody takes any.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = lock(&self.port.state);
        if state.end.is_some() {
            return Poll::Ready(false);
        }
        if state.queued < INPUT_LIMIT {
            return Poll::Ready(true);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Gives bytes to the session, whatever the room.
    pub(super) fn push(&self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        lock(&self.port.state).queued += data.len();
        self.hand(Command::Data(self.connection, data));
    }

    /// Says that nothing more is given.
    pub(super) fn finish(&self) {
        self.give_place();
        self.hand(Command::End(self.connection));
    }

    fn give_place(&self) {
        if !self.finished.swap(true, Ordering::Relaxed) {
            self.inbox.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn hand(&self, command: Command) {
        let mut inbox = lock(&self.inbox.state);
        if inbox.over {
            return;
        }
        inbox.data.push_back((Arc::clone(&self.port), command));
        let waker = inbox.waker.take();
        drop(inbox);
        wake(waker);
    }

    /// Ends the connection from this side.
    pub(super) fn abort(&self) {
        self.port.end(End::Lost { fresh: false });
        self.inbox.wish(Wish::Abort(self.connection));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if lock(&self.port.state).end.is_none() {
            self.abort();
        }
        self.give_place();
        if self.inbox.links.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.inbox.idle.notify_one();
        }
    }
}

/// The side of the session: hands out what comes, and collects what is to go.
#[derive(Debug)]
pub(super) struct Switch {
    inbox: Arc<Inbox>,
    ports: HashMap<Connection, Arc<Port>>,
    woken: Vec<Waker>,
    refusing: bool,
    over: Option<Over>,
}

impl Switch {
    /// Begins with a session; `idle` is told each time when no connection is left.
    pub(super) fn new(idle: Arc<Notify>) -> Self {
        Self {
            inbox: Arc::new(Inbox {
                has_room: AtomicBool::new(true),
                idle,
                ..Inbox::default()
            }),
            ports: HashMap::new(),
            woken: Vec::new(),
            refusing: false,
            over: None,
        }
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// The link of a connection that is there from the beginning.
    pub(super) fn attach(&mut self, connection: Connection) -> Link {
        let link = self.inbox.link(connection);
        self.ports.insert(connection, Arc::clone(&link.port));
        link
    }

    /// Tells all who are left that the session is over; returns the reason that the server gave.
    pub(super) fn close(mut self, events: impl Iterator<Item = Event>) -> Option<Over> {
        for event in events {
            self.take(event);
        }
        let mut state = lock(&self.inbox.state);
        state.over = true;
        state.data.clear();
        let wishes = std::mem::take(&mut state.urgent);
        drop(state);
        self.inbox.has_room.store(false, Ordering::Relaxed);
        for wish in wishes {
            if let Wish::Open(_, _, port) = wish {
                port.end(End::Lost { fresh: true });
            }
        }
        for port in self.ports.values() {
            port.end(End::Lost { fresh: false });
        }
        self.woken.drain(..).for_each(Waker::wake);
        self.over
    }

    /// Returns what is wished for next; who comes too late is told so.
    fn next_wish(&mut self, state: &mut InboxState) -> Option<Command> {
        loop {
            return Some(match state.urgent.pop_front()? {
                Wish::Abort(connection) => {
                    self.ports.remove(&connection);
                    Command::Abort(connection)
                }
                Wish::Leave => Command::Leave,
                Wish::Open(_, _, port) if self.refusing => {
                    port.end(End::Lost { fresh: true });
                    continue;
                }
                Wish::Open(connection, number, port) => {
                    self.ports.insert(connection, port);
                    Command::Open(connection, number)
                }
                Wish::Taken(connection, bytes) => Command::Taken(connection, bytes),
            });
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Data(connection, data) => {
                if let Some(port) = self.ports.get(&connection) {
                    let mut state = lock(&port.state);
                    state.data.push_back(data);
                    self.woken.extend(state.reader.take());
                }
            }
            Event::Opened(connection) => {
                if let Some(port) = self.ports.get(&connection) {
                    let mut state = lock(&port.state);
                    state.opened = true;
                    state.queued -= std::mem::take(&mut state.held);
                    self.woken.extend(state.reader.take());
                    self.woken.extend(state.writer.take());
                }
            }
            Event::Ended(connection, end) => {
                if let Some(port) = self.ports.remove(&connection) {
                    port.end(end);
                }
            }
            Event::Over(over) => self.over = Some(over),
        }
    }
}

impl<M: Forwarding> Caller<M> for Switch {
    /// The machine itself bounds what waits, and says when not to read.
    fn poll_room(&mut self, _cx: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    fn add(&mut self, event: Event) -> Result<(), Event> {
        self.take(event);
        Ok(())
    }

    fn announce(&mut self, machine: &M) {
        let room = !self.refusing && machine.has_room();
        self.inbox.has_room.store(room, Ordering::Relaxed);
        self.woken.drain(..).for_each(Waker::wake);
    }

    fn poll_urgent(&mut self, cx: &mut Context<'_>, _room: bool) -> Poll<Option<Command>> {
        let inbox = Arc::clone(&self.inbox);
        let mut state = lock(&inbox.state);
        match self.next_wish(&mut state) {
            Some(command) => Poll::Ready(Some(command)),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        let inbox = Arc::clone(&self.inbox);
        let mut state = lock(&inbox.state);
        // A connection begins before its data, also when both came just now.
        if let Some(command) = self.next_wish(&mut state) {
            return Poll::Ready(Some(command));
        }
        let Some((port, command)) = state.data.pop_front() else {
            state.waker = Some(cx.waker().clone());
            return match self.refusing {
                true => Poll::Ready(None),
                false => Poll::Pending,
            };
        };
        drop(state);
        if let Command::Data(_, data) = &command {
            let mut state = lock(&port.state);
            match state.opened {
                true => state.queued -= data.len(),
                false => state.held += data.len(),
            }
            let writer = match state.queued <= INPUT_LIMIT / 2 {
                true => state.writer.take(),
                false => None,
            };
            drop(state);
            wake(writer);
        }
        Poll::Ready(Some(command))
    }

    fn refuse(&mut self) {
        self.refusing = true;
        self.inbox.has_room.store(false, Ordering::Relaxed);
    }
}

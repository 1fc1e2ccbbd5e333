//! One accepted connection: a socket that reader and writer share and that anyone may cut.
//!
//! Lives here: TCP or TLS as one stream, and the ways to end it. Never here: what the bytes mean.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

/// The socket, with or without TLS.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }
}

/// A handle on the connection; all clones mean the same socket.
#[derive(Clone)]
pub(crate) struct Connection {
    socket: Arc<Mutex<Option<Socket>>>,
    /// whoever ends or stalls the connection --state--> everyone who waits on it
    state_tx: Arc<watch::Sender<State>>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Open,
    /// Nobody reads or writes any more, and the socket stays.
    Stalled,
    Over,
}

impl Connection {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket: Arc::new(Mutex::new(Some(socket))),
            state_tx: Arc::new(watch::Sender::new(State::Open)),
        }
    }

    /// Resolves when the connection has come to `state`, by our own hand.
    pub(crate) async fn reaches(&self, state: State) {
        let mut state_rx = self.state_tx.subscribe();
        // The sender lives in `self`, so that this cannot fail before it is true.
        let _ = state_rx
            .wait_for(|now| *now == state || *now == State::Over)
            .await;
    }

    /// Leaves the socket open, and everybody who asks stops using it.
    pub(crate) fn stall(&self) {
        self.state_tx.send_replace(State::Stalled);
    }

    /// Ends TLS politely, then drops the socket at once, as a Go server does.
    pub(crate) async fn close(&mut self) {
        // A peer that reads nothing must not keep us: Go gives the alert five seconds.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), self.shutdown()).await;
        self.cut();
    }

    /// Drops the socket without a word.
    pub(crate) fn cut(&self) {
        self.lock().take();
        self.state_tx.send_replace(State::Over);
    }

    /// Drops the socket with a TCP reset.
    pub(crate) fn reset(&self) {
        if let Some(mut socket) = self.lock().take() {
            // A socket that is gone already needs no reset.
            let _ = socket.tcp().set_zero_linger();
        }
        self.state_tx.send_replace(State::Over);
    }

    /// Sends a bare FIN, without the closing alert of TLS; reading goes on.
    pub(crate) async fn finish(&self) {
        let _ = std::future::poll_fn(|context| match self.lock().as_mut() {
            Some(socket) => Pin::new(socket.tcp()).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        })
        .await;
    }

    /// The client's certificate, when it sent one.
    pub(crate) fn client_certificate(&self) -> Option<Vec<u8>> {
        match self.lock().as_ref()? {
            Socket::Plain(_) => None,
            Socket::Tls(tls) => Some(tls.get_ref().1.peer_certificates()?.first()?.to_vec()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Socket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.lock().as_mut() {
            Some(Socket::Plain(tcp)) => Pin::new(tcp).poll_read(context, buffer),
            Some(Socket::Tls(tls)) => Pin::new(tls).poll_read(context, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.lock().as_mut() {
            Some(Socket::Plain(tcp)) => Pin::new(tcp).poll_write(context, bytes),
            Some(Socket::Tls(tls)) => Pin::new(tls).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.lock().as_mut() {
            Some(Socket::Plain(tcp)) => Pin::new(tcp).poll_flush(context),
            Some(Socket::Tls(tls)) => Pin::new(tls).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.lock().as_mut() {
            Some(Socket::Plain(tcp)) => Pin::new(tcp).poll_shutdown(context),
            Some(Socket::Tls(tls)) => Pin::new(tls).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

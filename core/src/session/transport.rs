//! What a session needs from whoever opened its connection.
//!
//! Lives here: the trait that turns the dependency round. Never here: kube, TLS, credentials.

use futures_util::future::BoxFuture;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Result;
use crate::protocol::subprotocol::Subprotocol;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection after a valid 101: WebSocket frames follow, beginning with what was already read.
pub struct Upgraded {
    /// The stream of frames.
    pub io: Box<dyn Io>,
    /// What the server chose, or nothing where nothing was offered.
    pub subprotocol: Option<Subprotocol>,
}

/// Opens connections to one server with the right credentials.
pub trait Dial: Send + Sync + 'static {
    /// Sends an upgrade request that offers these subprotocols, and checks the answer.
    ///
    /// The request is sent at most once: an error of kind [`NotStarted`](crate::ErrorKind::NotStarted)
    /// says that it never left, [`Lost`](crate::ErrorKind::Lost) and
    /// [`Protocol`](crate::ErrorKind::Protocol) that it may have had an effect.
    fn upgrade(
        &self,
        request: Request<()>,
        offer: Vec<Subprotocol>,
    ) -> BoxFuture<'_, Result<Upgraded>>;

    /// Asks the server for anything at all on a connection of its own; any HTTP answer is success.
    ///
    /// It has no time limit: the session that asks has one.
    fn probe(&self) -> BoxFuture<'_, Result<()>>;
}

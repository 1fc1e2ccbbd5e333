//! What a port of a pod leads to: a small server in this process, a real port, or nobody.
//!
//! Lives here: the table, the words for it, and the connecting. Never here: the servers.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::servers::{self, Server};

/// Who answers on a port.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) enum Leads {
    /// Nobody: the connection is refused.
    Refused,
    Server(Server),
    /// A real port of this machine.
    Tcp(SocketAddr),
    /// Nobody, and no refusal either: the connection is never made.
    Unanswered,
}

impl Leads {
    /// Where a port leads that nothing was arranged for.
    pub(super) fn by_default(port: u16) -> Self {
        let found = TABLE.iter().find(|(number, _)| *number == port);
        found.map_or(Self::Refused, |(_, server)| Self::Server(*server))
    }
}

impl TryFrom<String> for Leads {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        Ok(match &*text {
            "refused" => Self::Refused,
            "unanswered" => Self::Unanswered,
            _ => Self::Server(serde_json::from_value(text.into()).map_err(|e| e.to_string())?),
        })
    }
}

/// The runtime's side of a connection with a pod.
pub(super) enum Line {
    Memory {
        io: DuplexStream,
        /// Set by a server that resets before it lets go.
        broken: Arc<AtomicBool>,
    },
    Tcp(TcpStream),
}

/// Connects; the error is what Go's dialler says.
pub(super) async fn connect(leads: Leads, port: u16, host: servers::Host) -> Result<Line, String> {
    let refused = || format!("dial tcp4 127.0.0.1:{port}: connect: connection refused");
    match leads {
        Leads::Refused => Err(refused()),
        Leads::Unanswered => std::future::pending().await,
        Leads::Tcp(address) => match TcpStream::connect(address).await {
            Ok(tcp) => {
                tcp.set_nodelay(true).map_err(|error| error.to_string())?;
                Ok(Line::Tcp(tcp))
            }
            Err(_) => Err(refused()),
        },
        Leads::Server(server) => {
            let (io, theirs) = tokio::io::duplex(SOCKET_BUFFER);
            let broken = Arc::new(AtomicBool::new(false));
            let line = servers::Line {
                io: theirs,
                broken: broken.clone(),
                host,
            };
            crate::cluster::task::spawn(servers::serve(server, line));
            Ok(Line::Memory { io, broken })
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Memory { io, broken } => {
                let before = buffer.filled().len();
                let read = Pin::new(io).poll_read(context, buffer);
                let ended = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
                if ended && broken.load(Ordering::Acquire) {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                read
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Memory { io, .. } => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Memory { io, .. } => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Memory { io, .. } => Pin::new(io).poll_shutdown(context),
        }
    }
}

const SOCKET_BUFFER: usize = 64 * 1024;

/// Every running pod has these.
const TABLE: &[(u16, Server)] = &[
    (7, Server::Echo),
    (9, Server::Discard),
    (19, Server::Generate),
    (80, Server::Http),
    (100, Server::Hundred),
    (101, Server::Unprompted),
    (2000, Server::AfterEnd),
    (2001, Server::Slow),
    (3000, Server::Reset),
    (3001, Server::Silent),
    (8080, Server::Http),
];

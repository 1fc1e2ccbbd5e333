//! The small servers that answer on the ports of pods.
//!
//! Lives here: what each says. Never here: which port leads to which (`ports`), HTTP (`web`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::web;
use crate::cluster::program::Content;

/// One of them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Server {
    /// Reads to the end, then answers with as many bytes and 1 MiB more.
    AfterEnd,
    /// Reads everything and says nothing.
    Discard,
    /// Sends back what it gets, to the end.
    Echo,
    /// Sends for ever, and reads what comes.
    Generate,
    Http,
    /// Wants three bytes, then sends a hundred and ends (e2e of Kubernetes).
    Hundred,
    /// After the first byte: 64 KiB, then a reset.
    Reset,
    /// Never reads and never writes.
    Silent,
    /// After the first byte: ten times ten bytes, one every 300 ms, then the end.
    Slow,
    /// Sends ten times ten bytes, one every 100 ms, and ends.
    Unprompted,
}

/// The pod that a server is in.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) uid: String,
}

/// The server's side of a connection.
pub(super) struct Line {
    pub(super) io: DuplexStream,
    pub(super) broken: Arc<AtomicBool>,
    pub(super) host: Host,
}

/// Serves one connection to its end.
pub(super) async fn serve(server: Server, mut line: Line) {
    // Whoever breaks off hears nothing more.
    let _ = talk(server, &mut line).await;
}

async fn talk(server: Server, line: &mut Line) -> io::Result<()> {
    match server {
        Server::AfterEnd => {
            let count = count(&mut line.io).await?;
            pour(&mut line.io, count + (1 << 20)).await
        }
        Server::Discard => count(&mut line.io).await.map(drop),
        Server::Echo => {
            let (mut from, mut to) = tokio::io::split(&mut line.io);
            tokio::io::copy(&mut from, &mut to).await?;
            to.shutdown().await
        }
        Server::Generate => {
            let (mut from, mut to) = tokio::io::split(&mut line.io);
            tokio::select! {
                poured = pour(&mut to, u64::MAX) => poured,
                // Reading ends with the connection; half an end is none.
                () = async { if count(&mut from).await.is_ok() { std::future::pending().await } } => Ok(()),
            }
        }
        Server::Http => web::serve(line).await,
        Server::Hundred => {
            line.io.read_exact(&mut [0; 3]).await?;
            pour(&mut line.io, 100).await
        }
        Server::Reset => {
            line.io.read_exact(&mut [0; 1]).await?;
            pour(&mut line.io, 64 * 1024).await?;
            line.reset();
            Ok(())
        }
        Server::Silent => std::future::pending().await,
        Server::Slow => {
            line.io.read_exact(&mut [0; 1]).await?;
            drip(&mut line.io, Duration::from_millis(300)).await
        }
        Server::Unprompted => drip(&mut line.io, Duration::from_millis(100)).await,
    }
}

impl Line {
    /// The end that follows is a reset.
    pub(super) fn reset(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

/// Reads to the end, and tells how much it was.
async fn count(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<u64> {
    tokio::io::copy(from, &mut tokio::io::sink()).await
}

/// Writes so many bytes; each little-endian word of eight is its own index.
pub(super) async fn pour(
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    total: u64,
) -> io::Result<()> {
    let mut block = vec![0; 32 * 1024];
    let mut position = 0;
    while position < total {
        let left = usize::try_from(total - position).unwrap_or(usize::MAX);
        let step = left.min(block.len());
        Content::Words.fill(&mut block[..step], position);
        to.write_all(&block[..step]).await?;
        position += step as u64;
    }
    Ok(())
}

async fn drip(to: &mut DuplexStream, pause: Duration) -> io::Result<()> {
    for chunk in *b"0123456789" {
        to.write_all(&[chunk; 10]).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

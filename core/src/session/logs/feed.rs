//! The bytes of one connection of a log, and how it ended.
//!
//! Lives here: reading an upgraded connection. Never here: lines, resuming, requests.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::error::Result;
use crate::protocol::logs::request::LogSubprotocol;
use crate::protocol::machine::log::{Command, Log};
use crate::protocol::request::Limits;
use crate::session::driver::{self, Ending, Life};
use crate::session::queue::{self, Weigh};
use crate::session::transport::{Dial, Io};

/// How many bytes are read at once of the only log.
pub const READ_SIZE_ALONE: usize = driver::READ_SIZE;
/// The same of one of many: fifty logs fit into 60 MB.
pub const READ_SIZE_SHARED: usize = 32 * 1024;
/// How many bytes wait between a connection and whoever cuts them into lines.
const CHUNK_LIMIT: usize = 64 * 1024;

impl Weigh for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weigh for Command {
    fn weight(&self) -> usize {
        0
    }
}

/// How a reply ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finish {
    /// Whether the server said goodbye. It does so at the end of a log, and when it goes away.
    pub polite: bool,
    /// In words.
    pub why: String,
}

/// The bytes of one connection. Dropping it ends the connection.
#[derive(Debug)]
pub struct Feed {
    chunks: queue::Receiver<Bytes>,
    driver: JoinSet<Ending>,
    life: Arc<Life>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.life.end();
    }
}

impl Feed {
    /// Reads an upgraded connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(
        io: Box<dyn Io>,
        subprotocol: LogSubprotocol,
        limits: Limits,
        dial: Arc<dyn Dial>,
        read_size: usize,
    ) -> Self {
        let (events, chunks) = queue::channel(CHUNK_LIMIT);
        let (_, commands) = queue::channel(1);
        let (_, urgent) = queue::channel(1);
        let life = Arc::new(Life::default());
        let setup = driver::Setup {
            io,
            machine: Log::new(subprotocol),
            caller: driver::Queues {
                events,
                commands: Some(commands),
                urgent,
            },
            limits,
            deadline: None,
            life: Arc::clone(&life),
            dial,
            observe: Box::new(|_| {}),
            read_size,
        };
        let mut driver = JoinSet::new();
        driver.spawn(async move { driver::drive(setup).await.2 });
        Self {
            chunks,
            driver,
            life,
        }
    }

    /// Waits for the next bytes, never empty.
    ///
    /// # Errors
    /// [`Finish`] at the end, once.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Result<Bytes, Finish> {
        if let Some(chunk) = poll_fn(|cx| self.chunks.poll_next(cx)).await {
            return Ok(chunk);
        }
        let ending = self.driver.join_next().await;
        Err(match ending {
            Some(Ok(ending)) => Finish::of(&ending),
            _ => Finish::new(false, "its task is gone"),
        })
    }
}

impl Finish {
    /// Makes an ending.
    pub fn new(polite: bool, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { polite, why }
    }

    fn of(ending: &Ending) -> Self {
        let why = match ending {
            Ending::Closed(close) => match close.code {
                Some(code) => format!("the server closed the connection (close code {code})"),
                None => "the server closed the connection".to_owned(),
            },
            Ending::Broken(error) => crate::error::words(error),
            Ending::Silent | Ending::NothingFlows => {
                "nothing came from the server, not even an answer to pings (--keepalive-timeout)"
                    .to_owned()
            }
            Ending::Violation(error) => error.to_string(),
            _ => "the connection ended without a goodbye".to_owned(),
        };
        let polite = match ending {
            Ending::Closed(close) => matches!(close.code, None | Some(1000)),
            _ => false,
        };
        Self { polite, why }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::BoxFuture;
    use http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::protocol::logs::LogsOptions;
    use crate::protocol::subprotocol::Subprotocol;
    use crate::session::transport::Upgraded;

    struct Nobody;

    impl Dial for Nobody {
        fn upgrade(&self, _: Request<()>, _: Vec<Subprotocol>) -> BoxFuture<'_, Result<Upgraded>> {
            Box::pin(std::future::pending())
        }

        fn probe(&self) -> BoxFuture<'_, Result<()>> {
            Box::pin(std::future::pending())
        }
    }

    fn feed() -> (DuplexStream, Feed) {
        let (server, io) = duplex(4096);
        let limits = LogsOptions::default().limits;
        let (io, dial) = (Box::new(io), Arc::new(Nobody));
        let feed = Feed::new(io, LogSubprotocol::Binary, limits, dial, READ_SIZE_SHARED);
        (server, feed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_peer_is_found_within_sixteen_seconds() {
        let (mut server, mut feed) = feed();
        server.write_all(&[0x82, 0, 0x82, 1, b'a']).await.unwrap();
        assert_eq!(feed.next().await, Ok("a".into()));
        let begin = Instant::now();
        let finish = feed.next().await.unwrap_err();
        assert!(begin.elapsed() <= Duration::from_secs(16));
        assert!(!finish.polite && finish.why.contains("pings"), "{finish:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_log_whose_server_answers_pings_lives_for_days() {
        let (mut server, mut feed) = feed();
        let answer = async {
            server.write_all(&[0x82, 0]).await.unwrap();
            loop {
                let mut head = [0; 6];
                server.read_exact(&mut head).await.unwrap();
                let length = usize::from(head[1] & 0x7f);
                let mut payload = vec![0; length];
                server.read_exact(&mut payload).await.unwrap();
                for (index, byte) in payload.iter_mut().enumerate() {
                    *byte ^= head[2 + index % 4];
                }
                let pong = [&[0x8a, length as u8][..], &payload].concat();
                server.write_all(&pong).await.unwrap();
            }
        };
        tokio::select! {
            () = answer => {}
            end = feed.next() => panic!("{end:?}"),
            () = sleep(Duration::from_secs(48 * 3600)) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_pauses_for_ten_minutes_loses_nothing() {
        let (mut server, mut feed) = feed();
        let total = 1 << 20;
        let write = async move {
            for _ in 0..total / 64 {
                let frame = [&[0x82, 64][..], &[b'x'; 64]].concat();
                server.write_all(&frame).await.unwrap();
            }
            server.write_all(&[0x88, 2, 0x03, 0xe8]).await.unwrap();
            server
        };
        let read = async {
            sleep(Duration::from_secs(600)).await;
            let mut got = 0;
            loop {
                match feed.next().await {
                    Ok(chunk) => got += chunk.len(),
                    Err(finish) => return (got, finish),
                }
            }
        };
        let (_server, (got, finish)) = tokio::join!(write, read);
        assert_eq!((got, finish.polite), (total, true), "{finish:?}");
    }
}

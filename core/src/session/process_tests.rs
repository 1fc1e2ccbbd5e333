//! A session over an in-memory pipe, with a hand-made server and, where time matters, virtual time.

#![expect(
    clippy::disallowed_methods,
    reason = "tasks of a test end with its runtime"
)]

use std::sync::atomic::AtomicUsize;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{advance, timeout};

use super::*;

/// The server's end: frames by hand, without the codec under test.
struct Server(DuplexStream);

#[derive(Debug, Eq, PartialEq)]
struct Frame {
    opcode: u8,
    payload: Vec<u8>,
}

impl Server {
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ 0..126 => frame.push(short as u8),
            middle @ 126..65_536 => {
                frame.push(126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn data(&mut self, channel: u8, data: &[u8]) {
        self.send(2, &[&[channel], data].concat()).await;
    }

    async fn success(&mut self) {
        self.data(3, b"{\"metadata\":{},\"status\":\"Success\"}")
            .await;
    }

    async fn close(&mut self) {
        self.send(8, &1000u16.to_be_bytes()).await;
    }

    /// Reads one frame of the client, or nothing at the end of the stream.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await.ok()?;
        assert_eq!(
            (head[0] & 0x80, head[1] & 0x80),
            (0x80, 0x80),
            "one masked frame a message"
        );
        let length = match head[1] & 0x7f {
            126 => u64::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        self.0.read_exact(&mut mask).await.unwrap();
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        Some(Frame {
            opcode: head[0] & 0x0f,
            payload,
        })
    }

    /// Reads the next frame that is no ping, answering pings.
    async fn message(&mut self) -> Option<Frame> {
        loop {
            match self.frame().await? {
                Frame { opcode: 9, payload } => self.send(10, &payload).await,
                frame => return Some(frame),
            }
        }
    }
}

/// A second connection that answers or does not.
struct Vouch {
    answers: bool,
    asked: AtomicUsize,
}

impl Dial for Vouch {
    fn upgrade(&self, _: Request<()>, _: Vec<Subprotocol>) -> BoxFuture<'_, Result<Upgraded>> {
        unreachable!("a session never dials exec again")
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answers = self.answers;
        Box::pin(async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

fn vouch(answers: bool) -> Arc<Vouch> {
    Arc::new(Vouch {
        answers,
        asked: AtomicUsize::new(0),
    })
}

const ALL: Streams = Streams::new(true, true, true, false);
const TERMINAL: Streams = Streams::new(true, true, true, true);

fn start(pipe: usize, change: impl FnOnce(&mut Setup)) -> (Server, Process) {
    let (near, far) = duplex(pipe);
    let mut setup = Setup::new(Subprotocol::V5, ALL, vouch(true));
    change(&mut setup);
    let upgraded = Upgraded {
        io: Box::new(near),
        subprotocol: Some(setup.subprotocol),
    };
    (Server(far), Process::start(upgraded, setup))
}

fn kind(outcome: &Result<ExitStatus>) -> Option<ErrorKind> {
    outcome.as_ref().err().map(Error::kind)
}

#[path = "process_waiting_tests.rs"]
mod waiting;

#[tokio::test]
async fn output_and_status_arrive_in_order() {
    let (mut server, mut process) = start(1024, |setup| setup.subprotocol = Subprotocol::V4);
    server.data(1, b"").await;
    server.data(1, b"hi").await;
    server.data(2, b"oh").await;
    server.success().await;
    server.close().await;
    let mut heard = Vec::new();
    while let Some(chunk) = process.next().await {
        heard.push((chunk.stream, chunk.data.to_vec()));
    }
    assert_eq!(
        heard,
        [
            (Stream::Stdout, b"hi".to_vec()),
            (Stream::Stderr, b"oh".to_vec())
        ]
    );
    let report = process.report();
    assert_eq!(
        (report.stdout, report.stderr, report.close_code),
        (2, 2, Some(1000))
    );
    let status = process.wait().await.unwrap();
    assert_eq!(
        status,
        ExitStatus {
            code: 0,
            confidence: Confidence::Confirmed
        }
    );
}

#[tokio::test]
async fn a_success_that_needs_proof_is_looked_into() {
    for (answer, expected) in [
        (Ok(Confidence::Checked), Ok(Confidence::Checked)),
        (Ok(Confidence::Unchecked), Ok(Confidence::Unchecked)),
        (
            Err(Error::new(ErrorKind::Lost, "node gone")),
            Err(ErrorKind::Lost),
        ),
    ] {
        let (mut server, process) = start(1024, |setup| {
            let status = answer.map(|confidence| ExitStatus {
                code: 0,
                confidence,
            });
            setup.confirm = Some(Box::pin(async { status }));
        });
        server.success().await;
        server.close().await;
        let outcome = process.wait().await;
        assert_eq!(
            outcome
                .map(|status| status.confidence)
                .map_err(|error| error.kind()),
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_look_into_a_success_ends_with_the_time_limit() {
    let begin = Instant::now();
    let (mut server, process) = start(1024, |setup| {
        setup.deadline = Some(begin + Duration::from_secs(2));
        setup.confirm = Some(Box::pin(std::future::pending()));
    });
    server.success().await;
    server.close().await;
    let error = process.wait().await.unwrap_err();
    assert_eq!(
        (error.kind(), begin.elapsed()),
        (ErrorKind::Timeout, Duration::from_secs(2))
    );
}

#[tokio::test]
async fn a_status_is_enough_when_the_stream_breaks_after_it() {
    let (mut server, process) = start(1024, |setup| setup.subprotocol = Subprotocol::V4);
    server.success().await;
    drop(server);
    assert_eq!(process.wait().await.unwrap().code, 0);
}

#[tokio::test]
async fn close_1000_without_status_is_lost() {
    let (mut server, process) = start(1024, |_| {});
    server.data(1, b"half").await;
    server.close().await;
    assert_eq!(kind(&process.wait().await), Some(ErrorKind::Lost));
}

#[tokio::test]
async fn an_ended_stream_is_lost() {
    let (mut server, process) = start(1024, |_| {});
    server.data(1, b"half").await;
    drop(server);
    assert_eq!(kind(&process.wait().await), Some(ErrorKind::Lost));
}

#[tokio::test]
async fn a_violation_is_a_protocol_error() {
    let (mut server, process) = start(1024, |_| {});
    server.send(1, b"1aGk=").await;
    assert_eq!(kind(&process.wait().await), Some(ErrorKind::Protocol));
}

#[tokio::test(start_paused = true)]
async fn after_the_status_a_close_is_awaited_for_five_seconds() {
    let (mut server, process) = start(1024, |setup| setup.subprotocol = Subprotocol::V4);
    server.data(1, b"all").await;
    server.success().await;
    let begin = Instant::now();
    let done = process.communicate(Bytes::new(), None).await;
    assert_eq!(
        (done.status.unwrap().code, &done.stdout[..]),
        (0, &b"all"[..])
    );
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn output_after_the_status_is_all_only_with_a_close() {
    for closes in [true, false] {
        let (mut server, process) = start(1024, |setup| setup.subprotocol = Subprotocol::V4);
        server.success().await;
        server.data(1, b"late").await;
        if closes {
            server.close().await;
        }
        let done = process.communicate(Bytes::new(), None).await;
        let told = done.status.map_err(|error| error.kind()).map(|_| ());
        assert_eq!(told, if closes { Ok(()) } else { Err(ErrorKind::Lost) });
        assert_eq!(done.stdout, "late");
    }
}

#[tokio::test(start_paused = true)]
async fn more_output_than_wanted_closes_the_session_and_keeps_what_was_wanted() {
    let (mut server, process) = start(1024, |_| ());
    server.data(1, b"wan").await;
    server.data(2, b"ted too much").await;
    let done = process.communicate(Bytes::new(), Some(6)).await;
    assert_eq!(done.status.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!((done.stdout, done.stderr), ("wan".into(), "ted".into()));
}

#[tokio::test(start_paused = true)]
async fn input_handed_over_at_once_is_sent_and_room_is_told() {
    let (mut server, mut process) = start(1024, |_| ());
    let stdin = process.stdin().unwrap();
    assert!(stdin.try_write(Bytes::from_static(b"abc")).unwrap());
    assert!(!stdin.try_write(Bytes::from(vec![0; 100_000])).unwrap());
    assert!(stdin.waiting() > 100_000);
    let mut received = 0;
    while received < 100_003 {
        received += server.frame().await.unwrap().payload.len() - 1;
    }
    poll_fn(|cx| stdin.poll_drained(cx)).await.unwrap();
    drop(process);
    let gone = poll_fn(|cx| {
        std::task::ready!(stdin.poll_drained(cx)).map_or_else(
            |error| Poll::Ready(error.kind()),
            |()| {
                cx.waker().wake_by_ref();
                Poll::Pending
            },
        )
    });
    assert_eq!(gone.await, ErrorKind::Closed);
    assert!(stdin.try_write(Bytes::from_static(b"x")).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_gets_what_follows_the_status() {
    let (mut server, process) = start(1024, |setup| setup.subprotocol = Subprotocol::V4);
    let sending = tokio::spawn(async move {
        server.success().await;
        for _ in 0..100 {
            server.data(1, &[7; 10_000]).await;
        }
        server.close().await;
        server
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let done = process.communicate(Bytes::new(), None).await;
    let code = done.status.unwrap().code;
    assert_eq!((code, done.stdout.len()), (0, 1_000_000));
    drop(sending.await);
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_ends_even_a_blocked_session() {
    let (mut server, process) = start(1024, |setup| {
        setup.deadline = Some(Instant::now() + Duration::from_secs(3));
    });
    let flood = tokio::spawn(async move {
        loop {
            server.data(1, &[7; 9000]).await;
        }
    });
    let exit = {
        let (_output, _stdin, exit) = process.split();
        exit.wait().await
    };
    assert_eq!(kind(&exit), Some(ErrorKind::Timeout));
    assert!(flood.await.is_err(), "the connection is gone");
}

#[tokio::test]
async fn both_directions_full_do_not_deadlock() {
    const TOTAL: usize = 64 << 20;
    let (server, process) = start(16 * 1024, |_| {});
    let (mut output, stdin, exit) = process.split();
    tokio::spawn(async move {
        let mut server = server;
        loop {
            let Frame { payload, .. } = server.message().await.unwrap();
            match payload.split_first() {
                Some((0, data)) => server.data(1, data).await,
                _ => break,
            }
        }
        server.success().await;
        server.close().await;
    });
    let mut stdin = stdin.unwrap();
    tokio::spawn(async move {
        let piece = Bytes::from(vec![3; 1 << 20]);
        for _ in 0..TOTAL / piece.len() {
            stdin.write(piece.clone()).await.unwrap();
        }
    });
    let mut received = 0;
    while let Some(chunk) = output.next().await {
        received += chunk.data.len();
    }
    assert_eq!((received, exit.wait().await.unwrap().code), (TOTAL, 0));
}

#[tokio::test]
async fn dropping_the_handle_says_goodbye() {
    let (mut server, process) = start(1024, |_| {});
    server.data(1, b"").await;
    drop(process);
    let frame = server.message().await.unwrap();
    assert_eq!(
        frame,
        Frame {
            opcode: 8,
            payload: 1000u16.to_be_bytes().to_vec()
        }
    );
    assert_eq!(server.frame().await, None);
}

#[tokio::test]
async fn dropping_stdin_ends_the_input() {
    let (mut server, mut process) = start(1024, |_| {});
    drop(process.stdin());
    assert_eq!(server.message().await.unwrap().payload, [0xff, 0x00]);
}

#[tokio::test]
async fn of_many_sizes_the_last_one_is_sent() {
    let (mut server, process) = start(64, |setup| {
        setup.streams = TERMINAL;
        setup.size = Some(Size::new(80, 24));
    });
    for columns in 1..=1000 {
        process.resize(Size::new(columns, 24));
    }
    let mut last = Vec::new();
    while !last.ends_with(b"\"Width\":1000,\"Height\":24}\n") {
        last = server.message().await.unwrap().payload;
        assert_eq!(last[0], 4);
    }
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_still_heard() {
    // The server ends without reading our input: writing fails, its last word is still there.
    let (near, far) = duplex(64 * 1024);
    let (mut server, writes_fail) = (Server(far), FailingWriter(near));
    let setup = Setup::new(Subprotocol::V4, ALL, vouch(true));
    let upgraded = Upgraded {
        io: Box::new(writes_fail),
        subprotocol: Some(Subprotocol::V4),
    };
    let process = Process::start(upgraded, setup);
    server.data(1, b"hi").await;
    server.success().await;
    server.close().await;
    let input = Bytes::from(vec![0; 1 << 20]);
    let done = process.communicate(input, None).await;
    let code = done.status.unwrap().code;
    assert_eq!((code, &done.stdout[..]), (0, &b"hi"[..]));
}

/// A stream whose peer has reset the writing side.
struct FailingWriter(DuplexStream);

impl tokio::io::AsyncRead for FailingWriter {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for FailingWriter {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn input_that_fills_the_output_exactly_is_followed_by_its_end() {
    let (mut server, process) = start(1 << 20, |_| {});
    server.data(1, b"").await;
    let (_output, stdin, _exit) = process.split();
    let mut stdin = stdin.unwrap();
    for _ in 0..3 {
        stdin
            .write(Bytes::from(vec![1; INPUT_PIECE]))
            .await
            .unwrap();
    }
    stdin.end();
    let begin = Instant::now();
    while server.message().await.unwrap().payload != [0xff, 0x00] {}
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "no wake-up but the next ping's"
    );
}

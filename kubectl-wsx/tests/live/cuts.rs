//! A cutter between client and server: the connection ends at every kind of byte, raw.
//!
//! What must hold wherever it is cut: 0 only with all output and the status, 125 only while no
//! request can have arrived, what was printed is a beginning of what was sent, and an end in time.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wsx_tests::cluster::Cluster;

use crate::support::{Run, cluster, pattern, pattern_file, run, wsx};

/// How a connection is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// Both ends see the end of the stream.
    Fin,
    /// The client sees a reset.
    Reset,
    /// Nothing moves any more, and nobody is told.
    Silence,
}

const MANNERS: [Manner; 3] = [Manner::Fin, Manner::Reset, Manner::Silence];

/// Which bytes are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Down,
    Up,
}

/// Where a connection is cut: after this many bytes of one direction.
#[derive(Clone, Copy, Debug)]
struct Cut {
    way: Way,
    after: usize,
    manner: Manner,
}

/// A relay for one connection, which it cuts.
struct Cutter {
    address: SocketAddr,
    /// Ends with what went down and how much went up.
    thread: JoinHandle<(Vec<u8>, usize)>,
}

impl Cutter {
    fn before(server: SocketAddr, cut: Option<Cut>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = std::net::TcpStream::connect(server).unwrap();
            for stream in [&client, &server] {
                stream.set_nonblocking(true).unwrap();
                stream.set_nodelay(true).unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let client = TcpStream::from_std(client).unwrap();
                relay(client, TcpStream::from_std(server).unwrap(), cut).await
            })
        });
        Self { address, thread }
    }

    fn seen(self) -> (Vec<u8>, usize) {
        self.thread.join().unwrap()
    }
}

/// Carries bytes both ways up to the cut; returns what went down and how much went up.
async fn relay(mut client: TcpStream, mut server: TcpStream, cut: Option<Cut>) -> (Vec<u8>, usize) {
    let limit = |way| {
        cut.filter(|cut| cut.way == way)
            .map_or(usize::MAX, |cut| cut.after)
    };
    let (mut down, mut up) = (Vec::new(), Vec::new());
    let whole = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let downwards = carry(from_server, to_client, limit(Way::Down), &mut down);
        let upwards = carry(from_client, to_server, limit(Way::Up), &mut up);
        tokio::pin!(downwards, upwards);
        tokio::select! {
            whole = &mut downwards => whole && upwards.await,
            whole = &mut upwards => whole && downwards.await,
        }
    };
    if let Some(cut) = cut.filter(|_| !whole) {
        match cut.manner {
            Manner::Fin => {
                // A close with unread bytes would be a reset.
                let _ = client.shutdown().await;
                drain(&mut client).await;
            }
            Manner::Reset => client.set_zero_linger().unwrap(),
            Manner::Silence => drain(&mut client).await,
        }
    }
    (down, up.len())
}

/// Carries bytes of one direction; `false` when the limit was reached.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    limit: usize,
    seen: &mut Vec<u8>,
) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if seen.len() == limit {
            return false;
        }
        let room = buffer.len().min(limit - seen.len());
        // A reset ends a direction as its end does.
        let count = from.read(&mut buffer[..room]).await.unwrap_or(0);
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            let _ = to.shutdown().await;
            return true;
        }
        seen.extend_from_slice(&buffer[..count]);
    }
}

async fn drain(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

const SIZE: usize = 3000;

/// A session through a cutter: over plain HTTP, where a byte is a byte, or over TLS.
struct Line {
    cluster: Cluster,
    context: &'static str,
    scheme: &'static str,
    /// Whether bytes are sent to the command, over v5, or only received, over v4.
    upload: bool,
}

impl Line {
    fn new(context: &'static str, upload: bool) -> Self {
        let scheme = if context == "plain" { "http" } else { "https" };
        Self {
            cluster: cluster(),
            context,
            scheme,
            upload,
        }
    }

    fn run(&self, cut: Option<Cut>) -> (Run, Vec<u8>, usize) {
        let cutter = Cutter::before(self.cluster.address(self.context), cut);
        let mut command = wsx(&self.cluster, ["exec", "--no-preflight"]);
        command
            .arg(format!("--context={}", self.context))
            .arg(format!("--server={}://{}", self.scheme, cutter.address))
            .arg("--verify=never");
        if cut.is_some_and(|cut| cut.manner == Manner::Silence) {
            command.args(["--connect-timeout=200ms", "--keepalive=50ms"]);
            command.arg("--keepalive-timeout=200ms");
        }
        let run = run(self.finish(&mut command));
        let (down, up) = cutter.seen();
        (run, down, up)
    }

    fn finish<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if self.upload {
            let input: File = pattern_file(SIZE);
            command.stdin(input);
            command.args(["-i", "web-0", "-c", "app", "--", "cat"])
        } else {
            let size = SIZE.to_string();
            command.args(["web-0", "-c", "app", "--", "gen", &size])
        }
    }

    /// Cuts, and judges by what got through: `complete` bytes of the direction hold all that a
    /// success needs, and up to `unsent` the request cannot have arrived.
    fn judge(&self, cut: Cut, complete: usize, unsent: usize) {
        let (run, ..) = self.run(Some(cut));
        assert!(pattern(SIZE).starts_with(&run.stdout), "{cut:?}: {run:?}");
        assert!(run.took < Duration::from_secs(10), "{cut:?}: {run:?}");
        match run.code {
            Some(0) => {
                assert!(cut.after >= complete, "a false success: {cut:?}: {run:?}");
                assert_eq!(run.stdout.len(), SIZE, "{cut:?}: {run:?}");
            }
            Some(125) => assert!(cut.after <= unsent, "it was sent: {cut:?}: {run:?}"),
            Some(255) => assert!(run.stderr.starts_with("error: "), "{cut:?}: {run:?}"),
            other => panic!("{other:?}: {cut:?}: {run:?}"),
        }
        for word in ["os error", "https://", "close_notify", "rustls", "hyper"] {
            assert!(!run.stderr.contains(word), "{cut:?}: {}", run.stderr);
        }
    }
}

/// The place behind these words.
fn behind(all: &[u8], words: &[u8]) -> usize {
    let start = all.windows(words.len()).position(|part| part == words);
    start.expect("they were sent") + words.len()
}

/// Where the status ends in what a plain connection carried.
fn end_of_status(down: &[u8]) -> usize {
    let word = behind(down, br#""status":"Success""#);
    // The Status is one frame, and Close begins the next.
    word + down[word..].iter().position(|byte| *byte == 0x88).unwrap()
}

fn plain(upload: bool, offsets: impl Fn(usize, usize, usize) -> Vec<usize>) {
    let line = Line::new("plain", upload);
    let (run, down, _) = line.run(None);
    run.expect(0, &[]).prints(pattern(SIZE));
    let (head, status) = (behind(&down, b"\r\n\r\n"), end_of_status(&down));
    for after in offsets(head, status, down.len()) {
        // For a Close that does not follow its status we wait 5 s: `process_tests.rs` has that.
        for manner in MANNERS {
            if after >= status && manner == Manner::Silence {
                continue;
            }
            let cut = Cut {
                way: Way::Down,
                after,
                manner,
            };
            line.judge(cut, status, 0);
        }
    }
}

/// In the head, around the first frames, in the output, the status and the Close.
fn corners(head: usize, status: usize, end: usize) -> Vec<usize> {
    let around = [0, head, status, end];
    let around = around
        .into_iter()
        .flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    let within = [10, head / 2, head + 4, head + 1000, status - 30];
    around.chain(within).filter(|at| *at < end).collect()
}

#[test]
fn output_is_cut() {
    plain(false, corners);
}

#[test]
fn output_of_v5_is_cut() {
    plain(true, corners);
}

/// With TLS lengths differ by some bytes, and what goes when the status is complete is not seen:
/// two records at the end hold status and Close, each with 22 bytes of its own.
const LAST_RECORDS: usize = 2 * 22 + 40;

fn sealed(upload: bool, way: Way, offsets: impl Fn(usize) -> Vec<usize>) {
    let line = Line::new("v1.35", upload);
    let (run, down, up) = line.run(None);
    run.expect(0, &[]).prints(pattern(SIZE));
    let (end, complete) = match way {
        Way::Down => (down.len(), down.len() - LAST_RECORDS),
        // What the client sends last is only an answer.
        Way::Up => (up, 0),
    };
    for after in offsets(end) {
        for manner in MANNERS {
            // The request goes with the last bytes of the client's side of the handshake.
            line.judge(Cut { way, after, manner }, complete, end);
        }
    }
}

#[test]
fn tls_is_cut() {
    sealed(false, Way::Down, |end| {
        vec![0, 1, 5, 90, 130, 700, 1200, end / 2, end - 100]
    });
}

#[test]
fn a_request_is_cut() {
    sealed(false, Way::Up, |_| vec![0, 1, 100, 300, 400, 600]);
}

#[test]
fn input_is_cut() {
    sealed(true, Way::Up, |_| vec![700, 1200, 2500, 4000]);
}

#[test]
#[ignore = "soak: some thousand runs"]
fn soak_output_is_cut_everywhere() {
    let everywhere = |head, _, end| (0..head + 20).chain(end - 120..end).collect();
    plain(false, everywhere);
    plain(true, everywhere);
}

#[test]
#[ignore = "soak: some thousand runs"]
fn soak_tls_is_cut_everywhere() {
    sealed(false, Way::Down, |end| {
        (0..600).chain(end - 200..end).collect()
    });
}

#[test]
#[ignore = "soak: some thousand runs"]
fn soak_input_is_cut_everywhere() {
    sealed(true, Way::Down, |end| (0..end).step_by(13).collect());
    sealed(true, Way::Up, |end| (0..end).step_by(13).collect());
}

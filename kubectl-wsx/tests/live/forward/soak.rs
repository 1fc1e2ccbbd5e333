//! Very many connections: exact bytes, bounded memory, nothing left behind.
//!
//! A small size runs with the tests, the full one in `make soak`, which prints the table.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

use super::{Forwarding, own};

/// How long all of it may take at the full size, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(3000);

/// Memory in kB, and open descriptors, of a running process.
fn holds(process: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.unwrap().trim().trim_end_matches(" kB");
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    (memory.parse().unwrap(), open.count())
}

/// Waits until so many descriptors are open at most; sessions that nobody uses stay for 10 s.
fn settles(process: u32, most: usize) {
    let begin = Instant::now();
    while holds(process).1 > most {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{:?}",
            holds(process)
        );
        std::thread::yield_now();
    }
}

fn start(line: &str) -> (Forwarding, [SocketAddr; 2], Box<dyn std::any::Any>) {
    let (cluster, ports) = own();
    ports.run(json!({"ports": {"81": "refused"}}));
    let mut forward = Forwarding::on(&cluster, line);
    let addresses = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], forward.port())));
    (forward, addresses, Box::new((cluster, ports)))
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Aborted,
    Exact,
    Refused,
    /// What went wrong.
    Wrong(&'static str),
}

/// Opens a connection, waits for all others, and then moves so many bytes both ways.
async fn visit(number: usize, ports: [SocketAddr; 2], bytes: usize, all: Arc<Barrier>) -> Fate {
    let refused = number % 100 == 7;
    let aborted = number % 100 == 13;
    let mut stream = TcpStream::connect(ports[usize::from(refused)])
        .await
        .unwrap();
    if refused {
        let error = stream.read_u8().await.unwrap_err();
        all.wait().await;
        return match error.kind() {
            ErrorKind::ConnectionReset => Fate::Refused,
            _ => Fate::Wrong("a refusal without a reset"),
        };
    }
    let sent = stream.write_all(&[number as u8]).await;
    let first = stream.read_u8().await;
    all.wait().await;
    if sent.is_err() || first.is_err() {
        return Fate::Wrong("cut before the first byte");
    }
    if aborted {
        stream.write_all(&[0; 1000]).await.unwrap();
        stream.set_zero_linger().unwrap();
        return Fate::Aborted;
    }
    let (mut reader, mut writer) = stream.split();
    let piece: Vec<u8> = (0..16 * 1024).map(|at| (at + number) as u8).collect();
    let write = async {
        for _ in 0..bytes / piece.len() {
            writer.write_all(&piece).await?;
        }
        writer.shutdown().await
    };
    let read = async {
        let mut back = vec![0; piece.len()];
        for _ in 0..bytes / piece.len() {
            let read = reader.read_exact(&mut back).await;
            if read.is_err() || back != piece {
                return Fate::Wrong("other bytes than were sent, or a cut");
            }
        }
        match (reader.read(&mut back).await, first) {
            (Ok(0), Ok(first)) if first == number as u8 => Fate::Exact,
            _ => Fate::Wrong("no clean end"),
        }
    };
    match tokio::join!(read, write) {
        (fate, Ok(())) => fate,
        (_, Err(_)) => Fate::Wrong("not all was taken"),
    }
}

/// So many connections at once, each of which moves so many bytes both ways.
fn at_once(connections: usize, bytes: usize) -> String {
    let (forward, ports, _kept) = start("-q own-0 :7 :81");
    let process = forward.child.id();
    let runtime = Runtime::new().unwrap();
    // One connection first, for what everybody has.
    let one = runtime.block_on(visit(1, ports, bytes, Arc::new(Barrier::new(1))));
    assert_eq!(one, Fate::Exact);
    let before = holds(process);
    let begin = Instant::now();
    let all = Arc::new(Barrier::new(connections + 1));
    let fates = async {
        let mut visits = JoinSet::new();
        for number in 0..connections {
            visits.spawn(visit(number, ports, bytes, Arc::clone(&all)));
        }
        all.wait().await;
        let open = holds(process);
        let fates = visits.join_all().await;
        (open, fates)
    };
    let (open, fates) = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, fates).await })
        .unwrap();
    let took = begin.elapsed().as_secs_f64();
    let peak = crate::memory::high_water(process);
    let count = |fate| fates.iter().filter(|it| **it == fate).count();
    let wrong: Vec<_> = fates
        .iter()
        .filter(|it| matches!(it, Fate::Wrong(_)))
        .collect();
    if !wrong.is_empty() {
        let run = forward.interrupt();
        panic!("{} went wrong, {:?}: {}", wrong.len(), wrong[0], run.stderr);
    }
    assert_eq!(
        count(Fate::Exact) + count(Fate::Refused) + count(Fate::Aborted),
        connections
    );
    settles(process, before.1 + 2);
    let each = (open.0 - before.0) as f64 / connections as f64;
    assert!(each < 64.0, "{each} kB a connection");
    let after = holds(process);
    forward.interrupt().expect(0, &[]);
    format!(
        "| {connections} at once, {bytes} bytes both ways | {} exact, {} aborted, {} refused | {took:.0} s | {each:.1} kB each while open, {:.1} MB at most | {} descriptors before, {} while open, {} after |",
        count(Fate::Exact),
        count(Fate::Aborted),
        count(Fate::Refused),
        peak as f64 / 1e3,
        before.1,
        open.1,
        after.1
    )
}

/// So many connections that are aborted as soon as they are open, fifty at a time.
fn aborted(connections: usize) -> String {
    let (forward, ports, _kept) = start("-q own-0 :7 :81");
    let process = forward.child.id();
    let runtime = Runtime::new().unwrap();
    let storm = |connections: usize| async move {
        let places = Arc::new(Semaphore::new(50));
        let mut visits = JoinSet::new();
        for number in 0..connections {
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            visits.spawn(async move {
                let mut stream = TcpStream::connect(ports[0]).await.unwrap();
                // Some before the pod knows of them, some after.
                if number % 2 == 0 {
                    stream.write_all(b"x").await.unwrap();
                    stream.read_u8().await.unwrap();
                }
                stream.set_zero_linger().unwrap();
                drop((stream, place));
            });
            while visits.try_join_next().is_some_and(|done| done.is_ok()) {}
        }
        visits.join_all().await;
    };
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, storm(1000)).await })
        .unwrap();
    settles(process, 40);
    let before = holds(process);
    let begin = Instant::now();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, storm(connections)).await })
        .unwrap();
    let took = begin.elapsed().as_secs_f64();
    settles(process, before.1 + 2);
    let after = holds(process);
    let one = runtime.block_on(visit(1, ports, 16 * 1024, Arc::new(Barrier::new(1))));
    assert_eq!(one, Fate::Exact);
    let grown = after.0 as f64 / before.0 as f64 - 1.0;
    // 5 % of the whole is less than the allocator's own noise where little was done.
    assert!(
        grown < 0.05 || after.0 < before.0 + 2000,
        "{} kB, then {} kB",
        before.0,
        after.0
    );
    forward.interrupt().expect(0, &[]);
    format!(
        "| {connections} connected and aborted | all | {took:.0} s | {} kB before, {} kB after | {} descriptors before, {} after |",
        before.0, after.0, before.1, after.1
    )
}

#[test]
fn hundreds_at_once_are_exact_and_leave_nothing() {
    println!("{}", at_once(300, 128 * 1024));
}

#[test]
fn thousands_that_are_aborted_leave_nothing() {
    println!("{}", aborted(2000));
}

#[test]
#[ignore = "minutes: make soak"]
fn soak_ten_thousand_at_once() {
    println!("{}", at_once(9900, 1024 * 1024));
}

#[test]
#[ignore = "minutes: make soak"]
fn soak_two_hundred_thousand_aborted() {
    println!("{}", aborted(200_000));
}

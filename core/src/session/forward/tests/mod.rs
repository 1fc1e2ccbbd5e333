//! A port-forward over in-memory sessions, with a hand-made server and, where time matters, virtual time.

mod local;
mod losses;
mod sharing;

use std::collections::VecDeque;
use std::future::pending;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::protocol::portforward::{Balance, ForwardSubprotocol, Reconnect};
use crate::protocol::spdy::judge::{self, Said};
use crate::protocol::subprotocol::Subprotocol;
use crate::session::transport::{Dial, Upgraded};

/// How many bytes lie in the pipe between both ends.
const PIPE: usize = 64 * 1024;

/// The server's end of a session: frames by hand, without the codecs under test.
struct Server {
    io: DuplexStream,
    pod: String,
    begun: bool,
    /// Says that the pod is gone.
    gone: Option<oneshot::Sender<String>>,
}

impl Server {
    async fn send(&mut self, payload: &[u8]) {
        let mut frame = vec![0x82];
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
        // The client may be gone.
        let _ = self.io.write_all(&frame).await;
    }

    /// Reads one message: opcode and payload; nothing at the end.
    async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.io.read_exact(&mut head).await.ok()?;
        let length = match head[1] & 0x7f {
            126 => u64::from(self.io.read_u16().await.ok()?),
            127 => self.io.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        self.io.read_exact(&mut mask).await.ok()?;
        let mut payload = vec![0; length as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        Some((head[0] & 0x0f, payload))
    }

    /// Reads what the client says next in the tunnel; nothing at the end or with its Close.
    async fn said(&mut self) -> Option<Vec<Said>> {
        match self.message().await? {
            (2, payload) => Some(judge::read(&payload, &mut self.begun)),
            _ => None,
        }
    }

    /// Answers pings, takes every connection, and sends back what comes, until the client leaves.
    fn echo(mut self) -> JoinHandle<Vec<Said>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test's tasks end with its runtime"
        )]
        tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(said) = self.said().await {
                for said in said {
                    self.answer(&said).await;
                    all.push(said);
                }
            }
            all
        })
    }

    async fn answer(&mut self, said: &Said) {
        match said {
            Said::Open(stream, _) => self.send(&judge::reply(*stream)).await,
            Said::Ping(id) => self.send(&judge::ping(*id)).await,
            Said::Data(stream, data, fin) if stream % 4 == 3 => {
                let ends = match fin {
                    true => judge::data(stream - 2, &[], true),
                    false => Vec::new(),
                };
                let back = judge::data(*stream, data, *fin);
                self.send(&[ends, back].concat()).await;
            }
            Said::Data(..) | Said::Reset(..) | Said::GoAway(_) => {}
        }
    }

    /// Takes the next connection.
    async fn accept(&mut self) -> u32 {
        loop {
            for said in self.said().await.unwrap() {
                self.answer(&said).await;
                if let Said::Open(stream, _) = said
                    && stream % 4 == 3
                {
                    return stream;
                }
            }
        }
    }
}

/// What a route does when it is asked.
enum Plan {
    Fail(ErrorKind, bool),
    Open,
}

/// A route to pods that do not exist.
struct Fake {
    plans: Mutex<VecDeque<Plan>>,
    /// What is done without a plan.
    after: Box<dyn Fn() -> Plan + Send + Sync>,
    protocol: ForwardSubprotocol,
    pods: Mutex<Vec<String>>,
    asked: Mutex<Vec<(usize, Option<String>)>>,
    servers: mpsc::Sender<Server>,
}

struct Silent;

impl Dial for Silent {
    fn upgrade(&self, _: Request<()>, _: Vec<Subprotocol>) -> BoxFuture<'_, Result<Upgraded>> {
        unreachable!("a forward opens sessions by its route")
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(pending())
    }
}

impl Fake {
    fn opened(&self, pod: &str) -> (Opened, Server) {
        let (near, far) = duplex(PIPE);
        let (gone, going) = oneshot::channel();
        let ports = [80, 443].map(|port| NonZeroU16::new(port).unwrap());
        let opened = Opened {
            io: Box::new(near),
            protocol: self.protocol,
            pod: pod.to_owned(),
            ports: ports.into(),
            gone: Box::pin(async {
                match going.await {
                    Ok(why) => why,
                    Err(_) => pending().await,
                }
            }),
            dial: Arc::new(Silent),
        };
        let server = Server {
            io: far,
            pod: pod.to_owned(),
            begun: false,
            gone: Some(gone),
        };
        (opened, server)
    }
}

impl Route for Fake {
    fn open(&self, remote: usize, pod: Option<&str>) -> BoxFuture<'_, Result<Opened, Unopened>> {
        self.asked
            .lock()
            .unwrap()
            .push((remote, pod.map(str::to_owned)));
        let pod = pod.unwrap_or("web-1").to_owned();
        let plan = self.plans.lock().unwrap().pop_front();
        Box::pin(async move {
            match plan.unwrap_or_else(&self.after) {
                Plan::Open => {
                    let (opened, server) = self.opened(&pod);
                    assert!(self.servers.send(server).await.is_ok(), "nobody serves");
                    Ok(opened)
                }
                Plan::Fail(kind, lasting) => Err(Unopened {
                    error: Error::new(kind, "no way"),
                    lasting,
                }),
            }
        })
    }

    fn pods(&self) -> Vec<String> {
        self.pods.lock().unwrap().clone()
    }
}

/// A port-forward whose servers come out here.
struct Set {
    forward: PortForward,
    route: Arc<Fake>,
    first: Server,
    servers: mpsc::Receiver<Server>,
}

fn start(options: ForwardOptions) -> Set {
    start_with(options, ForwardSubprotocol::Tunnel, vec![], || Plan::Open)
}

fn start_with(
    options: ForwardOptions,
    protocol: ForwardSubprotocol,
    listeners: Vec<Listener>,
    after: impl Fn() -> Plan + Send + Sync + 'static,
) -> Set {
    let (sender, servers) = mpsc::channel(100);
    let route = Arc::new(Fake {
        plans: Mutex::default(),
        after: Box::new(after),
        protocol,
        pods: Mutex::new(vec!["web-0".to_owned(), "web-1".to_owned()]),
        asked: Mutex::default(),
        servers: sender,
    });
    let (opened, first) = route.opened("web-0");
    let remote = |name: &str, number| Remote {
        name: name.to_owned(),
        number,
    };
    let remotes = vec![remote("80", 80), remote("https", 443)];
    let setup = Setup::new(Arc::clone(&route) as _, opened, listeners, remotes, options);
    Set {
        forward: PortForward::start(setup).unwrap(),
        route,
        first,
        servers,
    }
}

/// An event in a word, with what matters of it.
fn word(event: &ForwardEvent) -> String {
    match event {
        ForwardEvent::Closed {
            sent,
            received,
            error,
            ..
        } => {
            let end = error.as_ref().map_or("", |error| error.kind().as_str());
            format!("closed {sent} {received} {end}")
                .trim_end()
                .to_owned()
        }
        ForwardEvent::Missed { .. } => "missed".to_owned(),
        ForwardEvent::Opened { remote, .. } => format!("opened {remote}"),
        ForwardEvent::Paused { .. } => "paused".to_owned(),
        ForwardEvent::Ready { pod, away } => {
            format!("ready {pod}{}", away.map_or("", |_| " again"))
        }
        ForwardEvent::Reconnecting { pod, why } => format!("reconnecting {pod}: {why}"),
        ForwardEvent::Resumed => "resumed".to_owned(),
    }
}

/// The next events, so many.
async fn words(forward: &mut PortForward, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    for _ in 0..count {
        words.push(word(&forward.next_event().await.unwrap()));
    }
    words
}

async fn read_all(reader: &mut ForwardReader) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(data) = reader.next().await? {
        all.extend(&data);
    }
    Ok(all)
}

/// Sends a word and gets it back.
async fn try_out(stream: &mut ForwardStream) {
    stream.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_and_the_end_is_the_pods_own() {
    let mut set = start(ForwardOptions::default());
    let echo = set.first.echo();
    let (mut reader, mut writer) = set.forward.open("80").await.unwrap().split();
    let data: Vec<u8> = (0..300_000u32).map(|index| index as u8).collect();
    let sent = Bytes::from(data.clone());
    let write = async {
        writer.write(sent).await.unwrap();
        writer.end();
    };
    let (read, ()) = tokio::join!(read_all(&mut reader), write);
    assert_eq!(read.unwrap(), data);
    let late = writer.write(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
    drop((reader, writer));
    let told = words(&mut set.forward, 3).await;
    assert_eq!(told, ["ready web-0", "opened 80", "closed 300000 300000"]);
    let report = set.forward.report();
    assert_eq!(
        (report.connections, report.active, report.failed),
        (1, 0, 0)
    );
    assert_eq!((report.sent, report.received), (300_000, 300_000));
    set.forward.close();
    set.forward.wait().await.unwrap();
    assert!(set.forward.next_event().await.is_none());
    let goodbye = echo.await.unwrap().pop();
    assert_eq!(goodbye, Some(Said::GoAway(0)));
}

#[tokio::test(start_paused = true)]
async fn only_ports_that_were_asked_for_are_opened() {
    let set = start(ForwardOptions::default());
    let mut server = set.first;
    let opener = set.forward.opener();
    let (stream, by_name) = tokio::join!(server.accept(), opener.open("https"));
    assert!(by_name.is_ok());
    assert_eq!(stream, 3);
    let error = opener.open("8080").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.why(),
        Some("the ports that were asked for: 80, https")
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_resets_it_and_dropping_the_handle_ends_all() {
    let set = start(ForwardOptions::default());
    let echo = set.first.echo();
    let mut one = set.forward.open("80").await.unwrap();
    try_out(&mut one).await;
    drop(one);
    let mut other = set.forward.open("80").await.unwrap();
    try_out(&mut other).await;
    drop(set.forward);
    let error = other.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let said = echo.await.unwrap();
    let resets = said
        .iter()
        .filter(|said| matches!(said, Said::Reset(3 | 7, 5)));
    assert_eq!(resets.count(), 2);
    assert_eq!(said.last(), Some(&Said::GoAway(0)));
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_takes_are_counted() {
    let mut set = start(ForwardOptions::default());
    set.first.echo();
    for _ in 0..4000 {
        drop(set.forward.open("80").await.unwrap());
    }
    let (mut told, mut missed) = (0, 0);
    while told + missed < 8001 {
        match set.forward.next_event().await.unwrap() {
            ForwardEvent::Missed { count } => missed += count,
            _ => told += 1,
        }
    }
    assert!(missed > 1000 && told > 1000, "{told} {missed}");
    assert_eq!(set.forward.report().connections, 4000);
}

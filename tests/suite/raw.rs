//! A client made by hand: HTTP and frames as literally as a test wants them.
//!
//! Lives here: sending anything, and telling everything that came. Never here: assertions, `wsx_core`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{self, BINARY, CLOSE, FIN, Head, PING, PONG};

/// A connection to one listener.
pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// What came, in the order it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A message on a channel, each byte as one character.
    Message(u8, String),
    /// A frame with another first byte than FIN + binary.
    Odd(u8, Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(Vec<u8>),
    /// TCP ended in order.
    Eof,
    /// TCP was reset.
    Reset,
    /// Nothing came for a while, and the connection stands.
    Silence,
}

/// The head of an answer, and what follows it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Raw {
    /// Connects; with TLS, except to `plain`.
    pub(crate) fn connect(cluster: &Cluster, listener: &str) -> Self {
        let socket = TcpStream::connect(cluster.address(listener)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let copy = socket.try_clone().unwrap();
        let stream: Box<dyn Stream> = if listener == "plain" {
            Box::new(copy)
        } else {
            let authority = CertificateDer::from_pem_slice(cluster.authority().as_bytes()).unwrap();
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("localhost").unwrap();
            let tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
            Box::new(rustls::StreamOwned::new(tls, copy))
        };
        Self {
            stream,
            socket,
            buffer: Vec::new(),
        }
    }

    /// Sends a request as `admin`; `lines` are whole header lines.
    pub(crate) fn request(cluster: &Cluster, listener: &str, target: &str, lines: &[&str]) -> Self {
        let mut raw = Self::connect(cluster, listener);
        let token = cluster.token("admin");
        let mut head =
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
        for line in lines {
            head.push_str(line);
            head.push_str("\r\n");
        }
        raw.write(format!("{head}\r\n").as_bytes());
        raw
    }

    /// Asks for an upgrade, with these subprotocols in one line, or without such a line.
    pub(crate) fn upgrade(
        cluster: &Cluster,
        listener: &str,
        subprotocols: Option<&str>,
        target: &str,
    ) -> Self {
        let line = subprotocols.map(|names| format!("Sec-WebSocket-Protocol: {names}"));
        let mut lines = UPGRADE.to_vec();
        lines.extend(line.as_deref());
        Self::request(cluster, listener, target, &lines)
    }

    /// Reads the head of the answer.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    /// Reads the head of the answer, or how it failed to come.
    pub(crate) fn try_answer(&mut self) -> Result<Answer, Event> {
        let end = loop {
            if let Some(end) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break end;
            }
            self.fill()?;
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.trim().to_owned())
        };
        Ok(Answer {
            status,
            headers: lines.map(pair).collect(),
        })
    }

    /// Reads the head of the answer and its whole body.
    pub(crate) fn page(&mut self) -> (u16, String) {
        let answer = self.answer();
        let length = answer
            .header("Content-Length")
            .map(|text| text.parse::<usize>().unwrap());
        while length.is_none_or(|length| self.buffer.len() < length) {
            match self.fill() {
                Ok(()) => {}
                Err(Event::Eof) if length.is_none() => break,
                Err(event) => panic!("the body broke off: {event:?}"),
            }
        }
        (
            answer.status,
            String::from_utf8(std::mem::take(&mut self.buffer)).unwrap(),
        )
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends one masked binary message.
    pub(crate) fn send(&mut self, message: &[u8]) {
        self.write(&wire::client_frame(FIN | BINARY, message));
    }

    /// The next thing that comes.
    pub(crate) fn next(&mut self) -> Event {
        loop {
            if let Some(head) = Head::parse(&self.buffer)
                && let Ok(length) = usize::try_from(head.length)
                && self.buffer.len() >= head.size.saturating_add(length)
            {
                let frame: Vec<u8> = self.buffer.drain(..head.size + length).collect();
                return event(frame[0], head, frame[head.size..].to_vec());
            }
            if let Err(event) = self.fill() {
                return event;
            }
        }
    }

    /// The next chunk of a body, empty at its end; or how it failed to come.
    pub(crate) fn chunk(&mut self) -> Result<String, Event> {
        let head = loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            self.fill()?;
        };
        let digits = str::from_utf8(&self.buffer[..head]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        let end = head + 2 + length + 2;
        self.bytes(end)?;
        let chunk: Vec<u8> = self.buffer.drain(..end).collect();
        Ok(String::from_utf8(chunk[head + 2..end - 2].to_vec()).unwrap())
    }

    /// All chunks to the end, which is told where it is not the last chunk.
    pub(crate) fn chunks(&mut self) -> (String, Option<Event>) {
        let mut all = String::new();
        loop {
            match self.chunk() {
                Ok(chunk) if chunk.is_empty() => return (all, None),
                Ok(chunk) => all.push_str(&chunk),
                Err(event) => return (all, Some(event)),
            }
        }
    }

    /// The next frame: first byte and payload.
    pub(crate) fn frame(&mut self) -> Result<(u8, Vec<u8>), Event> {
        loop {
            if let Some(head) = Head::parse(&self.buffer)
                && let Ok(length) = usize::try_from(head.length)
                && self.buffer.len() >= head.size.saturating_add(length)
            {
                let frame: Vec<u8> = self.buffer.drain(..head.size + length).collect();
                return Ok((frame[0], frame[head.size..].to_vec()));
            }
            self.fill()?;
        }
    }

    /// The length of the next frame's payload, or `None` at the end.
    pub(crate) fn next_length(&mut self) -> Option<usize> {
        match self.next() {
            Event::Message(_, text) => Some(text.chars().count() + 1),
            Event::Odd(_, payload) | Event::Pong(payload) | Event::Close(payload) => {
                Some(payload.len())
            }
            Event::Ping => Some(0),
            Event::Eof | Event::Reset | Event::Silence => None,
        }
    }

    /// Everything up to the end; neighbouring messages of one output channel are joined.
    pub(crate) fn rest(&mut self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            match (self.next(), events.last_mut()) {
                (Event::Message(channel @ 1..=2, text), Some(Event::Message(last, before)))
                    if *last == channel && !before.is_empty() =>
                {
                    before.push_str(&text);
                }
                (event @ (Event::Eof | Event::Reset | Event::Silence), _) => {
                    events.push(event);
                    return events;
                }
                (event, _) => events.push(event),
            }
        }
    }

    /// Whether nothing at all comes for a moment.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.socket.set_read_timeout(Some(MOMENT)).unwrap();
        let event = self.next();
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        event == Event::Silence
    }

    /// Reads until that many bytes are there, or gives what came instead.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&[u8], Event> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        Ok(&self.buffer[..count])
    }

    /// Ends our side, as a client that has nothing more to say.
    pub(crate) fn hang_up(&self) {
        self.socket.shutdown(std::net::Shutdown::Write).unwrap();
    }

    fn fill(&mut self) -> Result<(), Event> {
        let mut block = vec![0; 64 * 1024];
        let read = loop {
            match self.stream.read(&mut block) {
                // A socket with a timeout is interrupted by the end of any child process.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(Event::Eof),
            Ok(count) => {
                self.buffer.extend_from_slice(&block[..count]);
                Ok(())
            }
            Err(error) => Err(match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Event::Silence,
                io::ErrorKind::ConnectionReset => Event::Reset,
                // TLS that ends without its closing alert.
                io::ErrorKind::UnexpectedEof => Event::Eof,
                _ => panic!("reading failed: {error}"),
            }),
        }
    }
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|header| header.0.eq_ignore_ascii_case(name));
        found.map(|header| &*header.1)
    }
}

fn event(first: u8, head: Head, payload: Vec<u8>) -> Event {
    match (first, head.mask) {
        (first, None) if first == FIN | PING && payload.len() <= 125 => Event::Ping,
        (first, None) if first == FIN | PONG => Event::Pong(payload),
        (first, None) if first == FIN | CLOSE => Event::Close(payload),
        (first, None) if first == FIN | BINARY && !payload.is_empty() => Event::Message(
            payload[0],
            payload[1..].iter().copied().map(char::from).collect(),
        ),
        _ => Event::Odd(first, payload),
    }
}

/// Both halves of a byte stream.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The header lines of an upgrade, without subprotocol.
pub(crate) const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(150);

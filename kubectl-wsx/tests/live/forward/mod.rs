//! port-forward: the real binary between local sockets and the embedded cluster.
//!
//! - `cases`: the cases of Kubernetes' own e2e tests (reliability.md A1)
//! - `bad_input`: what cannot be, and servers that misbehave
//! - `here`: this machine: ports, sockets, files, commands, signals
//! - `losses`: sessions and pods that go; `soak`: very many connections
//! - `beside`: kubectl and wsx with the same command lines
//! - `scenarios`: what every front must make of a port-forward

mod bad_input;
pub(crate) mod beside;
mod cases;
mod here;
mod losses;
mod scenarios;
mod soak;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wsx_tests::cluster::{Cluster, Forward};

use crate::support::{Run, cluster, finish, words, wsx};

/// How long anything may take that is awaited.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A run of port-forward, both of whose outputs are read line by line.
pub(crate) struct Forwarding {
    pub(crate) child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    /// What was read of stderr.
    said: String,
}

impl Forwarding {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            said: String::new(),
            child,
        }
    }

    /// Starts on this cluster, on 127.0.0.1 alone.
    pub(crate) fn on(cluster: &Cluster, line: &str) -> Self {
        let line = format!("port-forward --address=127.0.0.1 {line}");
        Self::start(&mut wsx(cluster, words(&line)))
    }

    /// The next line of stdout, without its line feed.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.stdout.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(error) => self.give_up(&format!("no line: {error}")),
        }
    }

    /// The next line of stdout; nothing at its end.
    #[track_caller]
    pub(crate) fn next_line(&mut self) -> Option<String> {
        match self.stdout.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => self.give_up(&format!("no line: {error}")),
        }
    }

    /// The next local port that is told.
    #[track_caller]
    pub(crate) fn port(&mut self) -> u16 {
        let line = self.line();
        let port = line.strip_prefix("Forwarding from 127.0.0.1:");
        let port = port.and_then(|rest| rest.split(' ').next());
        match port.and_then(|port| port.parse().ok()) {
            Some(port) => port,
            None => self.give_up(&format!("no port in {line:?}")),
        }
    }

    /// The next event of `-o json` of this kind.
    #[track_caller]
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        loop {
            let object: Value = serde_json::from_str(&self.line()).unwrap();
            if object["event"] == kind {
                return object;
            }
        }
    }

    /// Waits for a line of stderr with this text in it.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        loop {
            match self.stderr.recv_timeout(LIMIT) {
                Ok(line) => {
                    self.said += &line;
                    self.said.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => self.give_up(&format!("no {text:?}: {error}")),
            }
        }
    }

    /// Asserts that nothing more is said for so long.
    #[track_caller]
    pub(crate) fn is_quiet_for(&mut self, time: Duration) {
        if let Ok(line) = self.stderr.recv_timeout(time) {
            self.give_up(&line);
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let arguments = [format!("-{name}"), self.child.id().to_string()];
        let status = Command::new("kill").args(arguments).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end; `stdout` is what was not read before, `stderr` all of it.
    pub(crate) fn finish(mut self) -> Run {
        // The outputs end with whoever has them open last: a command may have outlived us.
        let run = finish(self.child);
        self.said.extend(self.stderr.iter().map(|line| line + "\n"));
        let rest: String = self.stdout.iter().map(|line| line + "\n").collect();
        Run {
            stdout: rest.into_bytes(),
            stderr: self.said,
            ..run
        }
    }

    /// Ends it by Ctrl-C.
    pub(crate) fn interrupt(self) -> Run {
        self.signal("INT");
        self.finish()
    }

    #[track_caller]
    fn give_up(&mut self, why: &str) -> ! {
        self.child.kill().unwrap();
        self.said.extend(self.stderr.iter().map(|line| line + "\n"));
        panic!("{why}\n{}", self.said);
    }
}

fn lines(source: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (line_tx, lines) = mpsc::sync_channel(4096);
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if line_tx.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A pod of its own, with its cluster.
pub(crate) fn own() -> (Cluster, Forward) {
    let cluster = cluster();
    let ports = cluster.forward("default", "own-0");
    ports.run(json!({"create": {"app": "own"}}));
    (cluster, ports)
}

/// What is counted of a pod's port.
pub(crate) fn count(ports: &Forward, port: u16, what: &str) -> u64 {
    let answer = ports.run(json!({}));
    answer["counts"]["ports"][port.to_string()][what]
        .as_u64()
        .unwrap_or_default()
}

/// A connection that does not wait for ever.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// What came of reading to the end.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// A clean end.
    Fin,
    Reset,
}

/// Reads to the end, and tells how it ended.
#[track_caller]
pub(crate) fn read_all(stream: &mut impl Read) -> (Vec<u8>, End) {
    let mut data = Vec::new();
    match stream.read_to_end(&mut data) {
        Ok(_) => (data, End::Fin),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            (data, End::Reset)
        }
    }
}

/// Sends, says that this was all, and reads to the end.
pub(crate) fn exchange(port: u16, data: &[u8]) -> (Vec<u8>, End) {
    let mut stream = connect(port);
    stream.write_all(data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_all(&mut stream)
}

/// Asks the pod's web server for a path; the body of a 200, and a reset where it was cut.
#[track_caller]
pub(crate) fn get(port: u16, path: &str) -> (Vec<u8>, End) {
    match request(port, path) {
        Ok(body) => (body, End::Fin),
        Err(error) => {
            let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(kinds.contains(&error.kind()), "{path}: {error}");
            (Vec::new(), End::Reset)
        }
    }
}

/// Asks a web server for a path and returns the body of a 200.
pub(crate) fn request(port: u16, path: &str) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut stream = BufReader::new(stream);
    let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    read_answer(&mut stream)
}

/// Reads head and body of an answer; an end in between is an error that is no reset.
fn read_answer(stream: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head.to_ascii_lowercase();
    let length = length.split_once("content-length: ").unwrap().1;
    let length = length.split_once("\r\n").unwrap().0.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// Asks again until the answer is that of this pod.
#[track_caller]
pub(crate) fn await_answer(port: u16, body: &str) {
    let begin = Instant::now();
    while get(port, "/") != (body.as_bytes().to_vec(), End::Fin) {
        assert!(begin.elapsed() < LIMIT, "no answer of {body}");
    }
}

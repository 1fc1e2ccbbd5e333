//! One TLS connection by hand: HTTP and frames as they come.
//!
//! Lives here: sockets. Never here: what is written down about them.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::wire::Head;

/// A connection.
pub(super) struct Link {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

/// How the server's side ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// TLS said goodbye.
    Alert,
    /// TCP ended in order, TLS said nothing.
    Fin,
    /// TCP was reset, or TLS broke.
    Reset,
    /// Nothing came for a long time.
    Silence,
}

/// The head of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Status and words, without the version.
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
}

/// One frame.
pub(super) struct Frame {
    pub(super) first: u8,
    pub(super) head: Head,
    pub(super) payload: Vec<u8>,
}

impl Link {
    pub(super) fn connect(address: SocketAddr, authority: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let authority =
            CertificateDer::from_pem_slice(authority.as_bytes()).map_err(io::Error::other)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::from(address.ip());
        let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        Ok(Self {
            stream: StreamOwned::new(tls, socket),
            buffer: Vec::new(),
        })
    }

    /// Sends bytes; a server that has gone tells so when we read.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.flush();
    }

    /// Ends our side of TCP, without a word.
    pub(super) fn hang_up(&self) {
        // A connection that is gone has nothing left to end.
        let _ = self.stream.sock.shutdown(Shutdown::Write);
    }

    pub(super) fn answer(&mut self) -> Result<Answer, End> {
        let end = loop {
            let found = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = found {
                break end;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default();
        let line = line.strip_prefix("HTTP/1.1 ").unwrap_or(line).to_owned();
        let status = line.split(' ').next().and_then(|code| code.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        });
        Ok(Answer {
            status: status.unwrap_or_default(),
            headers: headers.collect(),
            line,
        })
    }

    /// The body, however its end is told.
    pub(super) fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let broken = |end: End| io::Error::other(format!("the body broke off: {end:?}"));
        if let Some(length) = answer.header("Content-Length") {
            let length: usize = length.parse().map_err(io::Error::other)?;
            while self.buffer.len() < length {
                self.fill().map_err(broken)?;
            }
            return Ok(self.buffer.drain(..length).collect());
        }
        if answer.header("Transfer-Encoding") == Some("chunked") {
            while !self.buffer.ends_with(b"0\r\n\r\n") {
                self.fill().map_err(broken)?;
            }
            return Ok(std::mem::take(&mut self.buffer));
        }
        while self.fill().is_ok() {}
        Ok(std::mem::take(&mut self.buffer))
    }

    pub(super) fn frame(&mut self) -> Result<Frame, End> {
        loop {
            if let Some(head) = Head::parse(&self.buffer)
                && let Ok(length) = usize::try_from(head.length)
                && self.buffer.len() >= head.size.saturating_add(length)
            {
                let frame: Vec<u8> = self.buffer.drain(..head.size + length).collect();
                return Ok(Frame {
                    first: frame[0],
                    head,
                    payload: frame[head.size..].to_vec(),
                });
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), End> {
        let mut block = vec![0; 64 * 1024];
        let read = loop {
            match self.stream.read(&mut block) {
                // A socket with a time limit is interrupted by the end of any child process.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(End::Alert),
            Ok(count) => {
                self.buffer.extend_from_slice(&block[..count]);
                Ok(())
            }
            Err(error) => Err(match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Silence,
                io::ErrorKind::UnexpectedEof => End::Fin,
                _ => End::Reset,
            }),
        }
    }
}

impl Answer {
    /// The first header of that name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter();
        let found = found.find(|header| header.0.eq_ignore_ascii_case(name));
        found.map(|header| &*header.1)
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

//! The server of the tests: answers by hand, remembers what it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::session::transport::Io;

/// What the server does about a request.
pub(super) enum Reply {
    /// Ends the connection without a word.
    Close,
    /// The events of a watch, from now on.
    Events(broadcast::Receiver<serde_json::Value>),
    /// Sends an answer as it is and ends the connection without announcing it.
    Last(Box<Self>),
    /// Sends these bytes as they are.
    Raw(Vec<u8>),
    /// Keeps the connection and says nothing.
    Silence,
    /// Upgrades to this subprotocol and sends these bytes in the same breath.
    Upgrade(&'static str, Vec<u8>),
}

impl Reply {
    pub(super) fn of(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        Self::Raw(text.into_bytes())
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self::of(
            "200 OK",
            "content-type: application/json\r\n",
            &value.to_string(),
        )
    }

    pub(super) fn status(code: u16, reason: &str, message: &str) -> Self {
        let body = serde_json::json!({"kind": "Status", "reason": reason, "message": message});
        Self::of(&format!("{code} {reason}"), "", &body.to_string())
    }

    /// A session that says `hi` and ends with success.
    pub(super) fn session(subprotocol: &'static str) -> Self {
        let status = br#"{"status":"Success"}"#;
        let mut frames = vec![0x82, 3, 1, b'h', b'i', 0x82, 1 + status.len() as u8, 3];
        frames.extend(status);
        frames.extend([0x88, 2, 0x03, 0xe8]);
        Self::Upgrade(subprotocol, frames)
    }
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a server that answers each request by this function of its head.
    pub(super) async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(None, answer).await
    }

    pub(super) async fn start_on(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(anywhere, tls, answer).await
    }

    pub(super) async fn start_at(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        #[expect(
            clippy::disallowed_methods,
            reason = "aborted when the server is dropped"
        )]
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (tls, seen, answer) = (tls.clone(), Arc::clone(&seen), Arc::clone(&answer));
                let serve: BoxFuture<'static, ()> = Box::pin(async move {
                    let stream: Box<dyn Io> = match tls {
                        None => Box::new(stream),
                        Some(config) => match TlsAcceptor::from(config).accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    serve(stream, &seen, &*answer).await;
                });
                connections.spawn(serve);
            }
        });
        Self {
            address,
            heads,
            connections: count,
            task,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns how many connections were accepted so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the request lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.heads()
            .iter()
            .map(|head| head.lines().next().unwrap().to_owned())
            .collect()
    }

    /// Returns the heads of all requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Returns the value of a header in a head.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let of = |line: &'a str| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    };
    head.lines().filter_map(of).collect()
}

async fn serve(
    mut stream: Box<dyn Io>,
    seen: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> Reply + Send + Sync),
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        seen.lock().unwrap().push(head.clone());
        let (reply, last) = match answer(&head) {
            Reply::Last(reply) => (*reply, true),
            reply => (reply, false),
        };
        match reply {
            Reply::Close | Reply::Last(_) => return,
            Reply::Events(mut events) => {
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut bytes = head.to_vec();
                while stream.write_all(&bytes).await.is_ok() {
                    let Ok(event) = events.recv().await else {
                        return;
                    };
                    let line = format!("{event}\n");
                    bytes = format!("{:x}\r\n{line}\r\n", line.len()).into_bytes();
                }
                return;
            }
            Reply::Silence => std::future::pending().await,
            Reply::Raw(bytes) => {
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() || last
                {
                    return;
                }
            }
            Reply::Upgrade(subprotocol, frames) => {
                let key = header(&head, "sec-websocket-key")[0].to_owned();
                let accept = derive_accept_key(key.as_bytes());
                let mut bytes = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {subprotocol}\r\n\r\n"
                )
                .into_bytes();
                bytes.extend(frames);
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
                if last {
                    return;
                }
                // Whatever the client still says is read, so that it sees no reset.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                return;
            }
        }
    }
}

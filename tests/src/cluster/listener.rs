//! One address of the cluster: accepting, TLS, one request after another.
//!
//! Lives here: sockets and their loops. Never here: what an answer says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::api;
use super::connection::{Connection, Socket};
use super::http::{Request, Response};
use super::inlet::Inlet;
use super::remote::Next;
use super::version::{Manner, Version};
use super::world::World;

/// One address and what it plays.
pub(crate) struct Listener {
    /// The name of its context.
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    pub(crate) manner: Manner,
    /// TLS settings; without any it speaks plain HTTP, and whoever comes is `admin`.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

impl Listener {
    /// Binds an ephemeral port and accepts until the runtime ends.
    pub(crate) async fn open(self, world: Arc<World>) -> io::Result<SocketAddr> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let listener = Arc::new(self);
        super::task::spawn(async move {
            loop {
                // A client that has gone before it was accepted is no reason to stop.
                let Ok((tcp, _)) = socket.accept().await else {
                    continue;
                };
                let (listener, world) = (listener.clone(), world.clone());
                super::task::spawn(async move {
                    // Whoever breaks off hears nothing more from us.
                    let _ = listener.serve(tcp, &world).await;
                });
            }
        });
        Ok(address)
    }

    async fn serve(&self, tcp: TcpStream, world: &World) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        if self.manner == Manner::Silent {
            std::future::pending::<()>().await;
        }
        let socket = match &self.tls {
            None => Socket::Plain(tcp),
            Some(config) => Socket::Tls(Box::new(
                TlsAcceptor::from(config.clone()).accept(tcp).await?,
            )),
        };
        let mut connection = Connection::new(socket);
        let certificate = connection.client_certificate();
        let mut inlet = Inlet::new(connection.clone());
        while let Some(head) = inlet.request_head().await? {
            let Some(request) = Request::parse(&head) else {
                let refusal = Response::bad_request("the request is malformed").to_bytes(false);
                connection.write_all(&refusal).await?;
                break;
            };
            let body = inlet.take(request.body_length()).await?;
            if request.target.starts_with("/__wsx/log/")
                || request.target.starts_with("/__wsx/forward/")
            {
                let answer = api::control(world, &request, &body).await;
                connection.write_all(&answer.to_bytes(false)).await?;
                connection.flush().await?;
                continue;
            }
            if !request.target.starts_with("/__wsx/") {
                world.records.add(self.name, &request);
            }
            match api::answer(world, self, &request, certificate.as_deref()) {
                Next::Answer(response) => {
                    connection
                        .write_all(&response.to_bytes(request.method == "HEAD"))
                        .await?;
                    connection.flush().await?;
                    let last = request
                        .headers("Connection")
                        .any(|value| value.eq_ignore_ascii_case("close"));
                    if last {
                        break;
                    }
                }
                Next::Last(bytes) => {
                    connection.write_all(&bytes).await?;
                    connection.flush().await?;
                    break;
                }
                Next::Nothing => break,
                Next::Reset => {
                    connection.reset();
                    return Ok(());
                }
                Next::Silence(bytes) => {
                    connection.write_all(&bytes).await?;
                    connection.flush().await?;
                    return self.keep(&mut inlet).await;
                }
                Next::Log(reply) => {
                    if !reply.run(&mut inlet).await? {
                        return Ok(());
                    }
                }
                Next::Watch(watch) => {
                    if !watch.run(&mut inlet).await? {
                        return Ok(());
                    }
                }
                Next::Forward(head, session) => {
                    connection.write_all(&head).await?;
                    connection.flush().await?;
                    session.run(inlet).await;
                    return Ok(());
                }
                Next::Session(head, session) => {
                    connection.write_all(&head).await?;
                    connection.flush().await?;
                    session.run(world, inlet).await;
                    return Ok(());
                }
            }
        }
        connection.close().await;
        Ok(())
    }

    /// Keeps the connection until the client leaves, dripping or pouring where that is the manner.
    async fn keep(&self, inlet: &mut Inlet) -> io::Result<()> {
        let mut connection = inlet.connection.clone();
        let talk = async {
            match self.manner {
                Manner::BigHead => loop {
                    connection.write_all(&[b'b'; 16 * 1024]).await?;
                },
                Manner::SlowHead => loop {
                    connection.write_all(b"s").await?;
                    connection.flush().await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                },
                _ => std::future::pending().await,
            }
        };
        let leave = async { while inlet.skip(1).await.is_ok() {} };
        tokio::select! {
            ended = talk => ended,
            () = leave => Ok(()),
        }
    }
}

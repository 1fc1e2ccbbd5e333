//! One HTTP request on one connection: the service below kube's client.
//!
//! Lives here: stages of a request and whether it left us. Never here: credentials, what answers mean.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::time::{Instant, timeout};

use super::connector::Connector;
use super::credentials::Identity;
use super::tls;
use crate::error::{Error, ErrorKind, Result, plain};

/// The longest head of an answer.
const HEAD_LIMIT: usize = 64 * 1024;
/// How long a connection may lie idle and still be used: servers close theirs after minutes.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// Under what terms a request is sent; it travels in the extensions of the request.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) identity: Identity,
    pub(super) limits: Stages,
    pub(super) connection: Connection,
}

/// Limits of the stages of a request; an absent one does not exist.
#[derive(Clone, Copy)]
pub(super) struct Stages {
    pub(super) connect: Option<Duration>,
    pub(super) answer: Option<Duration>,
}

/// Which connection a request goes over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Connection {
    /// A new one that nothing else uses: it cannot turn out to be dead.
    Own,
    /// The last one where it is still good. Only for requests that may be sent twice.
    Shared,
}

/// A request that got no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Whether the server may have seen the request.
    pub(super) sent: bool,
    pub(super) error: Error,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl StdError for Unanswered {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

impl From<Error> for Unanswered {
    /// An error from before the request was sent.
    fn from(error: Error) -> Self {
        Self { sent: false, error }
    }
}

/// Sends requests to one server.
pub(super) struct Transport {
    connector: Connector,
    idle: Mutex<Option<Idle>>,
}

struct Idle {
    sender: SendRequest<Body>,
    generation: u64,
    since: Instant,
}

impl Transport {
    pub(super) fn new(connector: Connector) -> Self {
        Self {
            connector,
            idle: Mutex::default(),
        }
    }

    /// Sends a request and returns its answer; the body follows on the same connection.
    ///
    /// # Errors
    /// [`Unanswered`] says whether the server may have seen the request.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let Some(terms) = request.extensions_mut().remove::<Terms>() else {
            return Err(Error::new(ErrorKind::Internal, "a request without terms").into());
        };
        if terms.connection == Connection::Shared
            && let Some(sender) = self.take_idle(terms.identity.generation)
        {
            let begin = Instant::now();
            let answer = self.exchange(sender, copy(&request), &terms).await;
            let patience = terms
                .limits
                .answer
                .is_none_or(|limit| begin.elapsed() < limit);
            // An idle connection may have been closed by the server: that is no news about it.
            if answer.is_ok() || !patience {
                return answer;
            }
        }
        let tls = terms.identity.tls.as_ref();
        let stream = self.connector.connect(tls, terms.limits.connect).await?;
        let handshake = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|error| {
            Error::new(ErrorKind::NotStarted, "the connection cannot be used").caused_by(error)
        })?;
        // The task ends with the connection: by an upgrade, or when the sender and the body are gone.
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the connection, which we drop"
        )]
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection ended");
            }
        });
        self.exchange(sender, request, &terms).await
    }

    /// Opens a connection, TLS included, and drops it.
    ///
    /// # Errors
    /// Those of connecting.
    pub(super) async fn knock(&self, identity: &Identity, limit: Duration) -> Result<()> {
        let tls = identity.tls.as_ref();
        self.connector.connect(tls, Some(limit)).await.map(drop)
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Body>,
        request: Request<Body>,
        terms: &Terms,
    ) -> Result<Response<Incoming>, Unanswered> {
        let sending = sender.try_send_request(request);
        let result = match terms.limits.answer {
            Some(limit) => match timeout(limit, sending).await {
                Ok(result) => result,
                Err(_) => return Err(self.silent(limit, terms.connection)),
            },
            None => sending.await,
        };
        match result {
            Ok(response) => {
                if terms.connection == Connection::Shared {
                    self.keep(Idle {
                        sender,
                        generation: terms.identity.generation,
                        since: Instant::now(),
                    });
                }
                Ok(response)
            }
            Err(mut error) => {
                let sent = error.take_message().is_none();
                Err(self.lost(&error.into_error(), sent))
            }
        }
    }

    fn silent(&self, limit: Duration, connection: Connection) -> Unanswered {
        let (request, option) = match connection {
            Connection::Own => ("the upgrade request", "--connect-timeout"),
            Connection::Shared => ("a request", "--request-timeout"),
        };
        let message = format!("no answer to {request} within {limit:?} ({option})");
        let error = Error::new(ErrorKind::Lost, message).because(format!(
            "{} took the connection, but its answer did not come, or not to an end",
            self.connector.target()
        ));
        Unanswered { sent: true, error }
    }

    fn lost(&self, hyper: &hyper::Error, sent: bool) -> Unanswered {
        let target = self.connector.target();
        if tls::is_refusal(hyper)
            && let Some(error) = tls::explain(hyper, &target)
        {
            return Unanswered { sent: false, error };
        }
        let error = if hyper.is_parse_too_large() {
            let message = format!(
                "the head of the answer is longer than {} KiB",
                HEAD_LIMIT / 1024
            );
            Error::new(ErrorKind::Protocol, message).because(format!("{target} sent it"))
        } else if hyper.is_parse() {
            Error::new(
                ErrorKind::Protocol,
                format!("{target} does not answer with HTTP/1.1"),
            )
            .because(hyper.to_string())
        } else {
            let message = format!("the connection to {target} ended before an answer");
            let error = Error::new(ErrorKind::Lost, message);
            if hyper.is_incomplete_message() {
                error.because("the server or something before it closed the connection")
            } else {
                error.because(plain(hyper))
            }
        };
        Unanswered { sent, error }
    }

    fn take_idle(&self, generation: u64) -> Option<SendRequest<Body>> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let usable = idle.generation == generation
            && idle.since.elapsed() < IDLE_LIMIT
            && idle.sender.is_ready();
        usable.then_some(idle.sender)
    }

    fn keep(&self, idle: Idle) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(idle);
    }
}

/// Copies a request of which nothing but the head exists.
fn copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

//! One request for a log, and the bytes of its reply.
//!
//! Lives here: WebSocket or HTTP, what a refusal means. Never here: lines, which request comes next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::time::{sleep, timeout};

use crate::client::dial::Dialer;
use crate::client::notice::Notice;
use crate::client::server::{Server, unusable};
use crate::client::transport::{Connection, Stages};
use crate::error::{Error, ErrorKind, Result, plain};
use crate::protocol::handshake;
use crate::protocol::logs::LogProtocol;
use crate::protocol::logs::request::{LogOptions, LogSubprotocol, log};
use crate::protocol::request::{Limits, PodRef};
use crate::session::logs::{Facts, Feed, Finish};
use crate::session::transport::Dial;

/// How long an answer is waited for before the server is asked whether it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bytes of a log over one connection.
pub(super) enum Reply {
    Http(Body),
    WebSocket(Feed),
}

impl Reply {
    /// Waits for the next bytes, never empty. Cancel safe.
    ///
    /// # Errors
    /// How it ended.
    pub(super) async fn next(&mut self) -> Result<Bytes, Finish> {
        let body = match self {
            Self::Http(body) => body,
            Self::WebSocket(feed) => return feed.next().await,
        };
        loop {
            match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(data),
                    _ => {}
                },
                Some(Err(error)) => return Err(Finish::new(false, plain(&error))),
                None => return Err(Finish::new(true, "the server ended its answer")),
            }
        }
    }
}

/// Makes the requests of one log.
pub(super) struct Opener {
    server: Arc<Server>,
    limits: Limits,
    protocol: LogProtocol,
    dial: Arc<dyn Dial>,
    facts: Arc<Facts>,
    read_size: usize,
}

impl Opener {
    pub(super) fn new(
        server: Arc<Server>,
        limits: Limits,
        protocol: LogProtocol,
        facts: Arc<Facts>,
        read_size: usize,
    ) -> Self {
        let dial = Arc::new(Dialer::new(Arc::clone(&server), limits));
        Self {
            server,
            limits,
            protocol,
            dial,
            facts,
            read_size,
        }
    }

    /// Asks for a log. A kubelet that follows answers with the first line, not before: then there is no
    /// limit, but every 5 s the server is asked whether it is there. `answers` tells that a line is
    /// there already.
    ///
    /// # Errors
    /// As the server says; `Lost` without an answer.
    pub(super) async fn open(
        &mut self,
        pod: &PodRef,
        options: &LogOptions,
        answers: bool,
    ) -> Result<Reply> {
        let request = log(pod, options).map_err(unusable)?;
        if answers || !options.follow {
            return self
                .request(request, options.follow, Some(self.limits.connect))
                .await;
        }
        let (dial, limit) = (Arc::clone(&self.dial), self.limits.keepalive_timeout);
        let opening = Box::pin(self.request(request, true, None));
        match select(opening, Box::pin(watch(&*dial, limit))).await {
            Either::Left((reply, _)) => reply,
            Either::Right((error, _)) => Err(error),
        }
    }

    async fn request(
        &mut self,
        request: Request<()>,
        follow: bool,
        answer: Option<Duration>,
    ) -> Result<Reply> {
        let subprotocol = match self.protocol {
            _ if !follow => return self.plain(&request, answer).await,
            LogProtocol::Http => return self.plain(&request, answer).await,
            LogProtocol::Auto => LogSubprotocol::Binary,
            LogProtocol::Only(subprotocol) => subprotocol,
        };
        let auto = self.protocol == LogProtocol::Auto;
        let (reply, reason) = match self.upgrade(&request, subprotocol, answer).await {
            Ok(reply @ Reply::Http(_)) if auto => {
                let reason = "something on the way removed the Upgrade header";
                (reply, reason.to_owned())
            }
            Ok(Reply::Http(_)) => {
                let message = "the server answered with plain HTTP, not with an upgrade";
                return Err(Error::new(ErrorKind::Upgrade, message)
                    .because("a proxy on the way removed the Upgrade header"));
            }
            // What is refused over HTTP, too, is refused for a reason of its own.
            Err(error) if auto && is_refusal(&error) => {
                (self.plain(&request, answer).await?, error.report())
            }
            result => return result,
        };
        self.protocol = LogProtocol::Http;
        self.server.tell(&Notice::LogFallback { reason });
        Ok(reply)
    }

    async fn send(
        &self,
        request: &Request<()>,
        answer: Option<Duration>,
    ) -> Result<Response<Body>> {
        let stages = Stages {
            connect: Some(self.limits.connect),
            answer,
        };
        let sent = self.server.send(request, stages, Connection::Own).await;
        sent.map_err(|unanswered| unanswered.error)
    }

    async fn plain(&self, request: &Request<()>, answer: Option<Duration>) -> Result<Reply> {
        let answer = self.send(request, answer).await?;
        if is_log(&answer) {
            self.facts.travels(LogProtocol::Http);
            return Ok(Reply::Http(answer.into_body()));
        }
        let answer = self.server.refusal(answer, self.limits.connect).await;
        Err(answer.log_refusal())
    }

    async fn upgrade(
        &self,
        request: &Request<()>,
        subprotocol: LogSubprotocol,
        answer: Option<Duration>,
    ) -> Result<Reply> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(ErrorKind::Internal, "no random numbers").because(error.to_string())
        })?;
        let (key, names) = (handshake::key(random), [subprotocol.name()]);
        let mut request = request.clone();
        request
            .headers_mut()
            .extend(handshake::headers(&key, &names));
        let answer = self.send(&request, answer).await?;
        if is_log(&answer) {
            self.facts.travels(LogProtocol::Http);
            return Ok(Reply::Http(answer.into_body()));
        }
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = self.server.refusal(answer, self.limits.connect).await;
            if answer.is_subprotocol_refusal() {
                let message = format!("the server refused the protocol {}", subprotocol.name());
                return Err(Error::new(ErrorKind::Unsupported, message).answered(403));
            }
            return Err(answer.upgrade_refusal("log"));
        }
        handshake::check(answer.headers(), &key, &names).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the server's 101 answer is invalid").caused_by(error)
        })?;
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| {
            Error::new(ErrorKind::Lost, "the connection ended after its upgrade")
                .because(plain(&error))
        })?;
        self.facts.travels(LogProtocol::Only(subprotocol));
        let io = Box::new(TokioIo::new(upgraded));
        let dial = Arc::clone(&self.dial);
        Ok(Reply::WebSocket(Feed::new(
            io,
            subprotocol,
            self.limits,
            dial,
            self.read_size,
        )))
    }
}

/// Tells whether an answer is a log: a login page is answered with 200, too.
fn is_log(answer: &Response<Body>) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE);
    let is_page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    answer.status() == StatusCode::OK && !is_page
}

/// Tells whether an upgrade was answered, but not by what makes every other request useless, too.
fn is_refusal(error: &Error) -> bool {
    matches!(error.http_status(), Some(status) if status != 401)
        || error.kind() == ErrorKind::Protocol
}

/// Asks the server whether it is there, again and again; returns when it is not.
async fn watch(dial: &dyn Dial, limit: Duration) -> Error {
    loop {
        sleep(PATIENCE.min(limit)).await;
        let why = match timeout(limit, dial.probe()).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.report(),
            Err(_) => format!("nor to another request within {limit:?} (--keepalive-timeout)"),
        };
        return Error::new(ErrorKind::Lost, "no answer to the request for the log").because(why);
    }
}

//! The upgrade: one request, one answer, and what each way to fail says about the command.
//!
//! Lives here: [`Dial`] over a [`Server`]. Never here: frames, which subprotocol to try next.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::server::{Server, unstarted, unusable};
use super::transport::{Connection, Stages, Unanswered};
use crate::error::{Error, ErrorKind, Result, plain};
use crate::protocol::handshake;
use crate::protocol::request::{self, Limits};
use crate::protocol::subprotocol::Subprotocol;
use crate::session::transport::{Dial, Upgraded};

/// Opens the connections of one session.
pub(super) struct Dialer {
    server: Arc<Server>,
    limits: Limits,
}

impl Dialer {
    pub(super) fn new(server: Arc<Server>, limits: Limits) -> Self {
        Self { server, limits }
    }

    async fn shake(&self, mut request: Request<()>, offer: &[Subprotocol]) -> Result<Upgraded> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(ErrorKind::Internal, "no random numbers").because(error.to_string())
        })?;
        let key = handshake::key(random);
        request
            .headers_mut()
            .extend(handshake::headers(&key, offer));
        let limit = Some(self.limits.connect);
        let stages = Stages {
            connect: limit,
            answer: limit,
        };
        let answer = self
            .server
            .send(&request, stages, Connection::Own)
            .await
            .map_err(lost)?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let subresource = request.uri().path().rsplit('/').next().unwrap_or_default();
            let answer = self.server.refusal(answer, self.limits.connect).await;
            return Err(match offer {
                [only] if answer.is_subprotocol_refusal() => refused(*only),
                _ => answer.upgrade_refusal(subresource),
            });
        }
        let subprotocol = handshake::check(answer.headers(), &key, offer).map_err(|error| {
            let message = "the server's 101 answer is invalid; the command may have started";
            Error::new(ErrorKind::Protocol, message).caused_by(error)
        })?;
        // What was read behind the head comes first out of this stream.
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| {
            Error::new(
                ErrorKind::Lost,
                "the connection ended after its upgrade; the command may have started",
            )
            .because(plain(&error))
        })?;
        tracing::info!(
            protocol = subprotocol.map_or("none", Subprotocol::name),
            "upgraded"
        );
        Ok(Upgraded {
            io: Box::new(TokioIo::new(upgraded)),
            subprotocol,
        })
    }

    async fn ask(&self) -> Result<()> {
        let request = request::get("/version", &[]).map_err(unusable)?;
        let stages = Stages {
            connect: None,
            answer: None,
        };
        self.server
            .send_as_before(&request, stages, Connection::Own)
            .await
            .map_err(unstarted)?;
        Ok(())
    }
}

impl Dial for Dialer {
    fn upgrade(
        &self,
        request: Request<()>,
        offer: Vec<Subprotocol>,
    ) -> BoxFuture<'_, Result<Upgraded>> {
        Box::pin(async move { self.shake(request, &offer).await })
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.ask())
    }
}

/// The kind by which a caller knows that another subprotocol may do.
fn refused(subprotocol: Subprotocol) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("the server refused the protocol {subprotocol}"),
    )
    .because("it answered 403 without a text, before anything was started")
}

/// An upgrade request without an answer: what left us may have started the command.
fn lost(unanswered: Unanswered) -> Error {
    let Unanswered { sent, error } = unanswered;
    if !sent {
        return error;
    }
    let kind = match error.kind() {
        ErrorKind::Protocol => ErrorKind::Protocol,
        _ => ErrorKind::Lost,
    };
    let new = Error::new(kind, format!("{error}; the command may have started"));
    match error.why() {
        Some(why) => new.because(why),
        None => new,
    }
}

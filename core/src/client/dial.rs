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
use crate::session::transport::{Dial, Io, Upgraded};

/// What an upgrade asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// Something that is not to be done twice: whether it began has to be told.
    Command,
    /// A connection to a pod, which does nothing by itself.
    Forward,
}

/// Opens the connections of one session.
pub(super) struct Dialer {
    server: Arc<Server>,
    limits: Limits,
}

impl Dialer {
    pub(super) fn new(server: Arc<Server>, limits: Limits) -> Self {
        Self { server, limits }
    }

    /// Sends an upgrade request that offers these names, and checks the answer: returns the stream of
    /// frames, and which of the names was chosen.
    ///
    /// # Errors
    /// `Unsupported` when the server speaks none of them, `Protocol` for an invalid 101, `Lost` without an
    /// answer, else by the answer.
    pub(super) async fn shake(
        &self,
        mut request: Request<()>,
        names: &[&str],
        purpose: Purpose,
    ) -> Result<(Box<dyn Io>, Option<usize>)> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| {
            Error::new(ErrorKind::Internal, "no random numbers").because(error.to_string())
        })?;
        let key = handshake::key(random);
        request
            .headers_mut()
            .extend(handshake::headers(&key, names));
        let limit = Some(self.limits.connect);
        let stages = Stages {
            connect: limit,
            answer: limit,
        };
        let answer = self
            .server
            .send(&request, stages, Connection::Own)
            .await
            .map_err(|unanswered| purpose.lost(unanswered))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let subresource = request.uri().path().rsplit('/').next().unwrap_or_default();
            let answer = self.server.refusal(answer, self.limits.connect).await;
            return Err(match names.is_empty() {
                false if answer.is_subprotocol_refusal() => refused(names),
                _ => answer.upgrade_refusal(subresource),
            });
        }
        let chosen = handshake::check(answer.headers(), &key, names).map_err(|error| {
            let message = purpose.warned("the server's 101 answer is invalid");
            Error::new(ErrorKind::Protocol, message).caused_by(error)
        })?;
        // What was read behind the head comes first out of this stream.
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| {
            let message = purpose.warned("the connection ended after its upgrade");
            Error::new(ErrorKind::Lost, message).because(plain(&error))
        })?;
        let protocol = chosen.and_then(|index| names.get(index).copied());
        tracing::info!(protocol = protocol.unwrap_or("none"), "upgraded");
        Ok((Box::new(TokioIo::new(upgraded)), chosen))
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
        Box::pin(async move {
            let names: Vec<_> = offer.iter().map(|offered| offered.name()).collect();
            let (io, chosen) = self.shake(request, &names, Purpose::Command).await?;
            let subprotocol = chosen.and_then(|index| offer.get(index).copied());
            Ok(Upgraded { io, subprotocol })
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.ask())
    }
}

/// The kind by which a caller knows that another subprotocol may do.
fn refused(names: &[&str]) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        match names {
            [one, other] => format!("the server speaks neither {one} nor {other}"),
            _ => format!("the server refused the protocol {}", names.join(", ")),
        },
    )
    .because("it answered 403 without a text, before anything was started")
}

impl Purpose {
    /// Adds to a message what may have happened nevertheless.
    fn warned(self, message: &str) -> String {
        match self {
            Self::Command => format!("{message}; the command may have started"),
            Self::Forward => message.to_owned(),
        }
    }

    /// Explains an upgrade request without an answer: what left us may have started the command.
    fn lost(self, unanswered: Unanswered) -> Error {
        let Unanswered { sent, error } = unanswered;
        if !sent {
            return error;
        }
        let kind = match error.kind() {
            ErrorKind::Protocol => ErrorKind::Protocol,
            _ => ErrorKind::Lost,
        };
        let new = Error::new(kind, self.warned(&error.to_string()));
        match error.why() {
            Some(why) => new.because(why),
            None => new,
        }
    }
}

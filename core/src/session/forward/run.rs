//! One session: a WebSocket with one machine on it, until it is over.
//!
//! Lives here: starting a driver, and why it ended in words. Never here: which session a connection gets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::link::{Inbox, Link, Switch};
use super::route::Opened;
use crate::error::{Error, ErrorKind, Result, words};
use crate::protocol::machine::forward::{
    Channels, Connection, End, Forwarding, HalfClose, Over, Rules, Tunnel,
};
use crate::protocol::portforward::ForwardSubprotocol;
use crate::protocol::request::Limits;
use crate::protocol::text::escape;
use crate::session::driver::{self, Ending, Life};

/// What is read at once at most: TLS gives no more than a quarter of it.
const READ_SIZE: usize = 128 * 1024;

/// A session that runs.
pub(super) struct Running {
    pub(super) inbox: Arc<Inbox>,
    /// The only connection of `v4`, until somebody takes it.
    pub(super) only: Option<Link>,
    /// The session itself; it ends with the reason.
    pub(super) work: BoxFuture<'static, String>,
}

/// Starts a session. `remote` is the place of the port that was asked for with `v4`.
///
/// # Errors
/// `Internal` where the machine does not take the port.
pub(super) fn start(
    opened: Opened,
    remote: usize,
    limits: Limits,
    half_close: HalfClose,
    idle: Arc<Notify>,
) -> Result<Running> {
    let mut switch = Switch::new(idle);
    let inbox = switch.inbox();
    let Opened {
        io, protocol, dial, ..
    } = opened;
    let port = opened.ports.get(remote).copied();
    let setup = move |limits| Setup { io, dial, limits };
    let (only, work): (_, BoxFuture<'static, String>) = match protocol {
        ForwardSubprotocol::Tunnel => {
            // The tunnel has pings of its own; a first one tells soon whether anything flows.
            let keepalive = match limits.keepalive {
                Duration::ZERO => limits.connect / 2,
                some => some.min(limits.connect / 2),
            };
            let machine = Tunnel::new(Rules {
                keepalive,
                keepalive_timeout: limits.keepalive_timeout,
                stall: limits.stall,
                half_close,
            });
            let setup = setup(limits.keepalive(Duration::ZERO));
            (None, Box::pin(run(setup, machine, switch)))
        }
        ForwardSubprotocol::V4 => {
            let name = Connection(0);
            let machine = Channels::new(port.map(|port| (name, port)))
                .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
            let link = switch.attach(name);
            (Some(link), Box::pin(run(setup(limits), machine, switch)))
        }
    };
    Ok(Running { inbox, only, work })
}

/// What both forms share.
struct Setup {
    io: Box<dyn crate::session::transport::Io>,
    dial: Arc<dyn crate::session::transport::Dial>,
    limits: Limits,
}

async fn run<M>(setup: Setup, machine: M, switch: Switch) -> String
where
    M: Forwarding + Send + Unpin,
{
    let Setup { io, dial, limits } = setup;
    let setup = driver::Setup {
        io,
        machine,
        caller: switch,
        limits,
        deadline: None,
        life: Arc::new(Life::default()),
        dial,
        observe: Box::new(|_| {}),
        read_size: READ_SIZE,
    };
    let (mut machine, switch, ending) = driver::drive(setup).await;
    machine.gone(match &ending {
        Ending::Closed(close) => close.code,
        _ => None,
    });
    let dropped = machine.dropped();
    if dropped > 0 {
        tracing::debug!(bytes = dropped, "came for connections that were over");
    }
    let over = switch.close(std::iter::from_fn(|| machine.poll_event()));
    why(&ending, over, &limits)
}

/// Returns why a session is over.
fn why(ending: &Ending, over: Option<Over>, limits: &Limits) -> String {
    let seconds = |limit: Duration| format!("{} s", limit.as_secs_f64());
    match (over, ending) {
        (Some(Over::GoneAway { status }), _) => match status {
            0 => "the server said goodbye".to_owned(),
            _ => format!("the server said goodbye (status {status})"),
        },
        (Some(Over::Silent), _) | (None, Ending::Silent) => format!(
            "not a byte came for {} (--keepalive-timeout)",
            seconds(limits.keepalive_timeout)
        ),
        (Some(Over::Stalled), _) | (None, Ending::Stalled) => format!(
            "what was sent lay unread for {} (--stall-timeout)",
            seconds(limits.stall)
        ),
        // TLS tells an end without its goodbye as an error of its own.
        (_, Ending::Broken(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
            format!("the connection broke: {}", escape(&words(error)))
        }
        (_, Ending::Closed(close)) => {
            let code = close
                .code
                .map_or_else(String::new, |code| format!(" ({code})"));
            match escape(&close.reason) {
                reason if reason.is_empty() => format!("the server closed it{code}"),
                reason => format!("the server closed it{code}: {reason}"),
            }
        }
        (_, Ending::EndedAtOnce) => {
            "it ended at once: the server accepted it, but nothing flows".to_owned()
        }
        (_, Ending::NothingFlows) => format!(
            "the server accepted it, but not a byte came within {} (--connect-timeout)",
            seconds(limits.connect)
        ),
        (_, Ending::Unreachable) => format!(
            "what was sent lay unread, and the server did not answer for {} (--keepalive-timeout)",
            seconds(limits.keepalive_timeout)
        ),
        (_, Ending::Violation(error)) => format!("the server broke the protocol: {error}"),
        (
            _,
            Ending::Abandoned
            | Ending::Broken(_)
            | Ending::Deadline
            | Ending::EndOfStream
            | Ending::Lingered,
        ) => "the connection ended".to_owned(),
    }
}

/// Returns the error of a connection that was reset; nothing for a good end.
pub(super) fn error(end: &End, remote: &str, received: u64) -> Option<Error> {
    let lost = |why: String| {
        Error::new(
            ErrorKind::Lost,
            format!("the connection to port {remote} was cut"),
        )
        .because(why)
    };
    Some(match end {
        End::Finished => return None,
        End::Failed { text } if received == 0 => Error::new(
            ErrorKind::NotStarted,
            format!("port {remote} of the pod cannot be reached"),
        )
        .because(escape(text.trim_end())),
        End::Failed { text } => lost(escape(text.trim_end())),
        End::Lost { .. } => lost("the session that carried it was lost".to_owned()),
        End::Reset { status } => lost(format!("the server reset it (status {status})")),
        End::Stalled => lost(
            "its data was not taken while other connections waited behind it (--stall-timeout)"
                .to_owned(),
        ),
        End::Unanswered => Error::new(
            ErrorKind::NotStarted,
            format!("port {remote} of the pod cannot be reached"),
        )
        .because("the server did not answer within 30 s"),
    })
}

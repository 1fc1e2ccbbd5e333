//! What the last word of a session and the end of its connection mean together.
//!
//! Lives here: the rule that no status is never success, and its words. Never here: exit codes.

use std::io;
use std::time::Duration;

use super::driver::Ending;
use crate::error::{Error, ErrorKind, Result, words};
use crate::protocol::request::Limits;
use crate::protocol::status::{self, Confidence, ExitStatus, Verdict};
use crate::protocol::subprotocol::{StatusForm, Subprotocol};
use crate::protocol::text::escape;

/// Returns the exit status, or why there is none.
///
/// A verdict wins over the ending: servers close at once after it, and what they left unread of our
/// input makes that a reset. Unless output still came after the verdict (`late`), which no known
/// server does: then the output is only complete when the server said goodbye.
pub(super) fn read(
    verdict: Option<Verdict>,
    late: bool,
    ending: &Ending,
    subprotocol: Subprotocol,
    limits: &Limits,
) -> Result<ExitStatus> {
    if late && !matches!(ending, Ending::Closed(_)) {
        return Err(cut_short(ending));
    }
    match verdict {
        Some(Verdict::Exited { code }) => Ok(ExitStatus {
            code,
            confidence: Confidence::Confirmed,
        }),
        Some(Verdict::NotStarted { reason, message }) => {
            Err(not_started(&message).with_reason(reason.as_deref().map(escape)))
        }
        Some(Verdict::Failed { reason, message }) => Err(Error::new(
            ErrorKind::Lost,
            format!(
                "the session failed without an exit code: {}",
                escape(&message)
            ),
        )
        .because("the failure came after the start, or does not say that nothing was started")
        .with_reason(reason.as_deref().map(escape))),
        Some(Verdict::Unreadable { problem }) => Err(Error::new(
            ErrorKind::Protocol,
            format!("the exit status cannot be read, so the outcome is not known: {problem}"),
        )),
        None => Err(lost(ending, subprotocol, limits)),
    }
}

fn cut_short(ending: &Ending) -> Error {
    let (kind, what) = match ending {
        Ending::Abandoned => (ErrorKind::Closed, "the session was closed from this side"),
        Ending::Deadline => (ErrorKind::Timeout, "the time limit passed (--timeout)"),
        _ => (ErrorKind::Lost, "the connection ended"),
    };
    let rest = "while output still came after the status; output may be missing";
    Error::new(kind, format!("{what} {rest}"))
}

fn not_started(message: &str) -> Error {
    let error = Error::new(ErrorKind::NotStarted, escape(message));
    if status::is_cri_dockerd(message) {
        return error
            .because("cri-dockerd cannot take v5 behind Kubernetes 1.36 (cri-dockerd#569)")
            .remedy("--protocol v4   # works there; stdin cannot end");
    }
    if message.contains("executable file not found") || message.contains("no such file or") {
        return error.because("the command is not in the container's image, or not in its PATH");
    }
    error
}

fn lost(ending: &Ending, subprotocol: Subprotocol, limits: &Limits) -> Error {
    let unknown = |what: &str| {
        Error::new(
            ErrorKind::Lost,
            format!("{what} before the command reported a status; outcome unknown"),
        )
    };
    match ending {
        Ending::Abandoned => Error::new(
            ErrorKind::Closed,
            "the session was closed from this side before the command reported a status",
        )
        .because("the remote process was not told to stop, and may live on"),
        Ending::Deadline => Error::new(
            ErrorKind::Timeout,
            "the time limit passed before the command reported a status (--timeout)",
        )
        .because("the session was closed; the remote process may live on"),
        Ending::Violation(error) => Error::from(error.clone()),
        Ending::Closed(close) if subprotocol.status_form() == StatusForm::Text => {
            unknown("the stream ended").because(format!(
                "{subprotocol} carries no exit status{}",
                close_words(close.code, &close.reason)
            ))
        }
        Ending::Closed(close) => unknown("the server closed the stream").because(format!(
            "no status came: a node or an intermediary ended the stream{}",
            close_words(close.code, &close.reason)
        )),
        // TLS tells an end without its goodbye as an error of its own.
        Ending::Broken(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            unknown("the connection broke").because(escape(&words(error)))
        }
        Ending::Broken(_) | Ending::EndOfStream => unknown("the connection ended")
            .because("the stream ended without a Close frame: an API server or node restart, or an intermediary"),
        Ending::EndedAtOnce => unknown("the server accepted the session, but nothing flows: it ended")
            .because(format!("no data came after the 101: {TUNNEL}"))
            .remedy(AROUND),
        Ending::Lingered => unknown("the stream fell silent"),
        Ending::NothingFlows => unknown("the server accepted the session, but nothing flows,")
            .because(format!(
                "not one byte within {} of the 101 (--connect-timeout): {TUNNEL}",
                seconds(limits.connect)
            ))
            .remedy(AROUND),
        Ending::Silent => unknown("the server fell silent").because(format!(
            "no byte, not even an answer to a ping, within {} (--keepalive-timeout)",
            seconds(limits.keepalive_timeout)
        )),
        Ending::Unreachable => unknown("the server became unreachable").because(format!(
            "input lay unread, and a second connection got no answer within {} (--keepalive-timeout)",
            seconds(limits.keepalive_timeout)
        )),
        Ending::Stalled => unknown("the command left its input unread for too long,")
            .because(format!(
                "no byte moved in either direction for {} (--stall-timeout), while the server was reachable",
                seconds(limits.stall)
            )),
    }
}

/// What was found behind it wherever it was looked into: yamux under TLS, proxies that buffer.
const TUNNEL: &str =
    "a tunnel or reverse proxy before the API server passes the upgrade, but not what follows";
const AROUND: &str = "reach the API server without that proxy, or let it pass WebSockets";

fn close_words(code: Option<u16>, reason: &str) -> String {
    let code = code.map_or_else(
        || "no close code".to_owned(),
        |code| format!("close code {code}"),
    );
    if reason.is_empty() {
        format!(" ({code})")
    } else {
        format!(" ({code}: {})", escape(reason))
    }
}

fn seconds(limit: Duration) -> String {
    format!("{limit:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::ProtocolError;
    use crate::protocol::websocket::CloseFrame;

    fn endings() -> Vec<(Ending, ErrorKind)> {
        vec![
            (Ending::Abandoned, ErrorKind::Closed),
            (
                Ending::Broken(io::ErrorKind::ConnectionReset.into()),
                ErrorKind::Lost,
            ),
            (Ending::Closed(CloseFrame::default()), ErrorKind::Lost),
            (Ending::Deadline, ErrorKind::Timeout),
            (Ending::EndedAtOnce, ErrorKind::Lost),
            (Ending::EndOfStream, ErrorKind::Lost),
            (Ending::Lingered, ErrorKind::Lost),
            (Ending::NothingFlows, ErrorKind::Lost),
            (Ending::Silent, ErrorKind::Lost),
            (Ending::Stalled, ErrorKind::Lost),
            (Ending::Unreachable, ErrorKind::Lost),
            (
                Ending::Violation(ProtocolError::MaskedFrame),
                ErrorKind::Protocol,
            ),
        ]
    }

    #[test]
    fn no_status_is_never_success() {
        for subprotocol in Subprotocol::ALL {
            for (ending, kind) in endings() {
                let error =
                    read(None, false, &ending, subprotocol, &Limits::default()).unwrap_err();
                assert_eq!(error.kind(), kind, "{ending:?}");
            }
        }
    }

    #[test]
    fn an_end_without_the_goodbye_of_tls_is_told_as_any_other() {
        let told = |ending| {
            let limits = Limits::default();
            read(None, false, &ending, Subprotocol::V4, &limits).unwrap_err()
        };
        let cut = told(Ending::Broken(io::ErrorKind::UnexpectedEof.into()));
        let ended = told(Ending::EndOfStream);
        assert_eq!((cut.report(), cut.why()), (ended.report(), ended.why()));
    }

    #[test]
    fn a_verdict_wins_over_every_ending() {
        for (ending, _) in endings() {
            let verdict = Some(Verdict::Exited { code: 3 });
            let status =
                read(verdict, false, &ending, Subprotocol::V4, &Limits::default()).unwrap();
            assert_eq!(status.code, 3);
        }
    }

    #[test]
    fn output_after_the_status_is_complete_only_with_a_close() {
        let read = |ending| {
            let verdict = Some(Verdict::Exited { code: 0 });
            read(verdict, true, &ending, Subprotocol::V4, &Limits::default())
        };
        for (ending, _) in endings() {
            let closed = matches!(ending, Ending::Closed(_));
            assert_eq!(read(ending).is_ok(), closed);
        }
    }

    #[test]
    fn foreign_words_are_escaped() {
        let close = CloseFrame {
            code: Some(1011),
            reason: "\x1b[2J".into(),
        };
        let limits = Limits::default();
        let error = read(
            None,
            false,
            &Ending::Closed(close),
            Subprotocol::V4,
            &limits,
        )
        .unwrap_err();
        assert!(
            error
                .why()
                .unwrap()
                .ends_with("(close code 1011: \\u{1b}[2J)")
        );
    }

    #[test]
    fn cri_dockerd_is_named_with_its_remedy() {
        let message =
            "Internal error occurred: error sending request: Post \"//x\": no Host".to_owned();
        let verdict = Some(Verdict::NotStarted {
            reason: None,
            message,
        });
        let error = read(
            verdict,
            false,
            &Ending::Lingered,
            Subprotocol::V5,
            &Limits::default(),
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotStarted);
        assert!(error.remedies()[0].starts_with("--protocol v4"));
    }
}

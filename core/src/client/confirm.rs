//! A second look after a success that may be the work of a lost node.
//!
//! Lives here: what proves that the node was there to the end. Never here: when to look (session).
//!
//! The translator behind `v5` reports Success when its own connection to the node breaks
//! (kubernetes/kubectl#1726). Asking for one byte of the container's log reaches the kubelet, so an
//! answer shows that the node is there now; the same container ID shows that the container the
//! command ran in was not replaced. Where the pod was not looked at before there is no ID: then the
//! container must have been running since before the session began, by the clock of the server, with
//! some seconds for the difference between its clock and that of the node. What remains is a kubelet
//! that was gone and came back within the moment between.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::pod::Pod;
use super::refusal::Answer;
use super::resolve::{Resolved, pod_path};
use super::server::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::status::{Confidence, ExitStatus};

/// How far apart the clocks of a server and its node may be.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// As [`look`], for a command that is said to have ended with 0.
///
/// # Errors
/// As [`look`].
pub(super) async fn confirm(
    server: Arc<Server>,
    resolved: Resolved,
    begin: Instant,
) -> Result<ExitStatus> {
    let confidence = look(server, resolved, begin).await?;
    Ok(ExitStatus {
        code: 0,
        confidence,
    })
}

/// Looks whether node and container are still those that the command began with.
///
/// # Errors
/// `Lost` when they are not, or nobody can say.
async fn look(server: Arc<Server>, resolved: Resolved, begin: Instant) -> Result<Confidence> {
    let path = pod_path(&resolved.pod.namespace, &resolved.pod.name);
    let answer = server
        .get_aside(&path, &[])
        .await
        .map_err(|error| doubt(error.report()))?;
    match judge(&answer)? {
        Judgement::Answered => {}
        Judgement::NotAllowed => return Ok(Confidence::Unchecked),
    }
    let pod: Pod = serde_json::from_slice(&answer.body)
        .map_err(|_| doubt(format!("the answer to {path} is no pod")))?;
    let named = resolved
        .container
        .as_deref()
        .or_else(|| pod.only_container());
    let Some(container) = named else {
        return Ok(Confidence::Unchecked);
    };
    let same = is_same(&resolved, &pod, container, &answer, begin.elapsed());
    if same == Some(false) {
        return Err(doubt(format!(
            "container {container} was replaced while the command ran"
        )));
    }
    let query = [
        ("container", container),
        ("tailLines", "1"),
        ("limitBytes", "1"),
    ];
    let log = format!("{path}/log");
    let answer = server
        .get_aside(&log, &query)
        .await
        .map_err(|error| doubt(error.report()))?;
    match (judge(&answer)?, same) {
        (Judgement::Answered, Some(true)) => Ok(Confidence::Checked),
        _ => Ok(Confidence::Unchecked),
    }
}

/// What an answer says about the node.
#[derive(Debug, Eq, PartialEq)]
enum Judgement {
    Answered,
    NotAllowed,
}

fn judge(answer: &Answer) -> Result<Judgement> {
    match answer.status {
        status if status.is_success() => Ok(Judgement::Answered),
        StatusCode::NOT_FOUND => Err(doubt("the pod is gone".to_owned())),
        // Neither a proof for the node nor against it.
        status if status.is_client_error() => Ok(Judgement::NotAllowed),
        _ => Err(doubt(answer.refusal("").report())),
    }
}

/// Tells whether the container is the one of before, where that can be told.
fn is_same(
    resolved: &Resolved,
    pod: &Pod,
    container: &str,
    answer: &Answer,
    elapsed: Duration,
) -> Option<bool> {
    let status = pod.status_of(container)?;
    if let Some(before) = &resolved.container_id {
        return Some(status.container_id.as_ref() == Some(before));
    }
    let running = status.state.running.as_ref()?;
    let started: Timestamp = running.started_at.as_deref()?.parse().ok()?;
    let date = answer.headers.get(http::header::DATE)?.to_str().ok()?;
    let now = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let began = now
        .checked_sub(SignedDuration::try_from(elapsed).ok()?)
        .ok()?;
    let limit = began.checked_add(SKEW).ok()?;
    Some(started <= limit)
}

fn doubt(why: String) -> Error {
    Error::new(
        ErrorKind::Lost,
        "the success that was reported may be that of a lost node; outcome unknown",
    )
    .because(why)
    .remedy("look whether the command did its work before running it again")
    .remedy("--verify=never   # believes what v5 reports")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::protocol::request::PodRef;

    fn pod(id: &str, started: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web-0"},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "containerID": id, "state": {"running": {"startedAt": started}}},
            ]},
        }))
        .unwrap()
    }

    fn same(before: Option<&str>, pod: &Pod) -> Option<bool> {
        let mut headers = HeaderMap::new();
        headers.insert("date", "Sat, 21 Nov 2026 10:00:30 GMT".parse().unwrap());
        let answer = Answer {
            status: StatusCode::OK,
            headers,
            body: Vec::new(),
        };
        let resolved = Resolved {
            pod: PodRef::new("default", "web-0"),
            container: Some("app".to_owned()),
            container_id: before.map(str::to_owned),
            stdin: false,
            tty: false,
        };
        is_same(&resolved, pod, "app", &answer, Duration::from_secs(20))
    }

    #[test]
    fn the_container_id_decides_where_it_is_known() {
        assert_eq!(
            same(Some("a"), &pod("a", "2026-11-21T10:00:20Z")),
            Some(true)
        );
        assert_eq!(
            same(Some("a"), &pod("b", "2020-01-01T00:00:00Z")),
            Some(false)
        );
    }

    #[test]
    fn without_it_the_start_of_the_container_decides() {
        // The session began at 10:00:10 by the clock of the server.
        assert_eq!(same(None, &pod("a", "2026-11-21T09:00:00Z")), Some(true));
        assert_eq!(same(None, &pod("a", "2026-11-21T10:00:14Z")), Some(true));
        assert_eq!(same(None, &pod("a", "2026-11-21T10:00:20Z")), Some(false));
        assert_eq!(same(None, &pod("a", "")), None);
    }

    #[test]
    fn answers_are_judged_by_what_they_say_of_the_node() {
        let judged = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            judge(&Answer {
                status,
                headers: HeaderMap::new(),
                body: Vec::new(),
            })
            .map_err(|error| error.kind())
        };
        assert_eq!(judged(200), Ok(Judgement::Answered));
        assert_eq!(judged(403), Ok(Judgement::NotAllowed));
        assert_eq!(judged(404), Err(ErrorKind::Lost));
        assert_eq!(judged(500), Err(ErrorKind::Lost));
        assert_eq!(judged(302), Err(ErrorKind::Lost));
    }
}

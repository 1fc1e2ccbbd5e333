//! What became of a container whose attached stream has ended.
//!
//! Lives here: the exit code in the status of the pod. Never here: how the stream ended (session).
//!
//! The Status of attach says only that the stream ended, and so it does when a kubelet or an API
//! server goes away politely. The exit code stands in the status of the pod, some time later.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::pod::Pod;
use super::resolve::{Resolved, pod_path};
use super::server::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::status::{Confidence, ExitStatus};

/// How long the kubelet may take to tell the API server of an end.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the pod is looked at meanwhile.
const PERIOD: Duration = Duration::from_millis(250);

/// Returns the exit code of the container that was attached to.
///
/// # Errors
/// `Lost` when it runs on, or nobody can say.
pub(super) async fn ended(server: Arc<Server>, resolved: Resolved) -> Result<ExitStatus> {
    let path = pod_path(&resolved.pod.namespace, &resolved.pod.name);
    let container = resolved.container.as_deref().unwrap_or_default();
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = server
            .get_aside(&path, &[])
            .await
            .map_err(|error| unknown(error.report()))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(unknown("the pod is gone".to_owned()));
        }
        if !answer.status.is_success() {
            return Err(unknown(answer.refusal(&path).report()));
        }
        let pod: Pod = serde_json::from_slice(&answer.body)
            .map_err(|_| unknown(format!("the answer to {path} is no pod")))?;
        if let Some(code) = pod.exit_code(container, resolved.container_id.as_deref()) {
            let code = u8::try_from(code)
                .map_err(|_| unknown(format!("its exit code {code} is none of 0 to 255")))?;
            return Ok(ExitStatus {
                code,
                confidence: Confidence::Confirmed,
            });
        }
        if Instant::now() >= deadline {
            return Err(unknown(format!(
                "{LIMIT:?} later container {container} still runs: a node, an API server or an intermediary ended the stream"
            )));
        }
        sleep(PERIOD).await;
    }
}

fn unknown(why: String) -> Error {
    Error::new(
        ErrorKind::Lost,
        "the stream ended, but not known to be with the container; outcome unknown",
    )
    .because(why)
}

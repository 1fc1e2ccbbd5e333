//! Which run of a container a request means, by the pod's status.
//!
//! Lives here: the kubelet's `validateContainerLogStatus` and its words. Never here: files.

use serde_json::Value;

/// The container ID whose log is read, or the text of the refusal.
pub(crate) fn run(pod: &Value, container: &str, previous: bool) -> Result<String, String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let place = format!("container \"{container}\" in pod \"{name}\"");
    let lists = [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ];
    let statuses = lists
        .iter()
        .filter_map(|list| pod["status"][list].as_array());
    let status = statuses
        .flatten()
        .find(|status| status["name"] == container);
    let Some(status) = status else {
        return Err(format!("{place} is not available"));
    };
    let id = |value: &Value| value["containerID"].as_str().map(str::to_owned);
    let (state, last) = (&status["state"], &status["lastState"]["terminated"]);
    if previous {
        let gone = || format!("previous terminated {place} not found");
        return id(last).ok_or_else(gone);
    }
    if state["running"].is_object() {
        return id(status).ok_or_else(|| format!("{place} is waiting to start - no logs yet"));
    }
    if state["terminated"].is_object() || last.is_object() {
        let found = id(&state["terminated"]).or_else(|| id(last));
        return found.ok_or_else(|| format!("{place} is terminated"));
    }
    let Some(reason) = state["waiting"]["reason"].as_str() else {
        return Err(format!("{place} is waiting to start - no logs yet"));
    };
    let words = match reason {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        reason => reason,
    };
    Err(format!("{place} is waiting to start: {words}"))
}

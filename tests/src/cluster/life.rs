//! What becomes of pods on demand: containers that start again or end, pods that come and go.
//!
//! Lives here: changes of one pod object, as the kubelet reports them. Never here: who asks, or logs.

use serde_json::{Value, json};

use super::logs::stamp;
use super::pods;

/// The container runs anew: another ID, and the run before is the last one. `serial` is never used twice.
pub(crate) fn restart(pod: &mut Value, container: &str, serial: u64) -> Option<()> {
    let place = format!("{}/{container}/{serial}", pod["metadata"]["name"]);
    let status = status(pod, container)?;
    let ran = status["containerID"].is_string();
    if ran {
        let last = ended(status, 1);
        status["lastState"] = json!({"terminated": last});
        status["restartCount"] = (status["restartCount"].as_u64().unwrap_or_default() + 1).into();
    }
    status["containerID"] = pods::container_id(&place).into();
    status["state"] = json!({"running": {"startedAt": seconds()}});
    status["ready"] = true.into();
    status["started"] = true.into();
    pod["status"]["phase"] = "Running".into();
    settle(pod);
    Some(())
}

/// The container ends with this code, and stays so.
pub(crate) fn exit(pod: &mut Value, container: &str, code: i64) -> Option<()> {
    let status = status(pod, container)?;
    status["state"] = json!({"terminated": ended(status, code)});
    status["ready"] = false.into();
    status["started"] = false.into();
    let all = pod["status"]["containerStatuses"].as_array()?.iter();
    let codes: Option<Vec<i64>> = all
        .map(|status| status["state"]["terminated"]["exitCode"].as_i64())
        .collect();
    if let Some(codes) = codes {
        let failed = codes.iter().any(|code| *code != 0);
        pod["status"]["phase"] = if failed { "Failed" } else { "Succeeded" }.into();
    }
    settle(pod);
    Some(())
}

/// The container waits, for this reason; a run before is the last one. `first`: it has never run.
pub(crate) fn wait(pod: &mut Value, container: &str, reason: &str, first: bool) -> Option<()> {
    let status = status(pod, container)?;
    if first {
        status.as_object_mut()?.remove("containerID");
    } else if status["state"]["running"].is_object() {
        status["lastState"] = json!({"terminated": ended(status, 1)});
    }
    status["state"] = json!({"waiting": {"reason": reason}});
    status["ready"] = false.into();
    status["started"] = false.into();
    if first {
        pod["status"]["phase"] = "Pending".into();
    }
    settle(pod);
    Some(())
}

/// Another pod of the same name: nothing of the old one is left.
pub(crate) fn replace(pod: &mut Value, serial: u64) {
    let metadata = &mut pod["metadata"];
    metadata["uid"] = pods::uid(&format!("{}/{serial}", metadata["uid"])).into();
    metadata["creationTimestamp"] = seconds().into();
    let place = metadata["uid"].to_string();
    let statuses = pod["status"]["containerStatuses"].as_array_mut();
    for status in statuses.into_iter().flatten() {
        status["lastState"] = json!({});
        status["restartCount"] = 0.into();
        status["state"] = json!({"running": {"startedAt": seconds()}});
        let id = pods::container_id(&format!("{place}/{}", status["name"]));
        status["containerID"] = id.into();
        status["ready"] = true.into();
    }
    pod["status"]["phase"] = "Running".into();
    settle(pod);
}

/// The condition `Ready`, whatever the containers do.
pub(crate) fn ready(pod: &mut Value, ready: bool) {
    let statuses = pod["status"]["containerStatuses"].as_array_mut();
    for status in statuses.into_iter().flatten() {
        status["ready"] = ready.into();
    }
    settle(pod);
}

/// Somebody has asked for the pod's end; it runs on for its time of grace.
pub(crate) fn terminate(pod: &mut Value) {
    pod["metadata"]["deletionTimestamp"] = seconds().into();
    pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
}

fn status<'a>(pod: &'a mut Value, container: &str) -> Option<&'a mut Value> {
    let status = pod["status"].as_object_mut()?;
    let lists = [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ];
    let lists = status
        .iter_mut()
        .filter(|(key, _)| lists.contains(&&***key));
    let mut all = lists.filter_map(|(_, list)| list.as_array_mut()).flatten();
    all.find(|status| status["name"] == container)
}

/// What is kept of a run that has ended.
fn ended(status: &Value, code: i64) -> Value {
    if status["state"]["terminated"].is_object() {
        return status["state"]["terminated"].clone();
    }
    json!({
        "exitCode": code,
        "reason": if code == 0 { "Completed" } else { "Error" },
        "containerID": status["containerID"],
        "startedAt": status["state"]["running"]["startedAt"],
        "finishedAt": seconds(),
    })
}

/// The condition `Ready` follows the containers.
fn settle(pod: &mut Value) {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let ready = statuses.is_some_and(|all| all.iter().all(|status| status["ready"] == true));
    let ready = if ready { "True" } else { "False" };
    let condition = &mut pod["status"]["conditions"][0];
    if condition["status"] != ready {
        condition["status"] = ready.into();
        condition["lastTransitionTime"] = seconds().into();
    }
}

fn seconds() -> String {
    format!("{}Z", stamp::whole(stamp::now()))
}

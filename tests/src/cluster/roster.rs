//! Which pods there are, and what each looks like.
//!
//! Lives here: the objects, as the API server shows them. Never here: their changes (`pods`, `life`).

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// All pods, before anything was changed on demand.
pub(super) fn all(slow_started: bool, restarts: u32, exits: &HashMap<String, i32>) -> Vec<Value> {
    let running = json!({"running": {"startedAt": "2026-11-01T08:00:05Z"}});
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    let slow = if slow_started {
        ("Running", running.clone())
    } else {
        ("Pending", waiting("ContainerCreating"))
    };
    let done = json!({"terminated": {
        "exitCode": 0, "reason": "Completed",
        "startedAt": "2026-11-01T08:00:05Z", "finishedAt": "2026-11-01T08:00:09Z",
    }});

    let mut pods = vec![
        pod("default", "web-0", &["app", "sidecar"], "Running", &running),
        pod(
            "default",
            "annotated-0",
            &["first", "second"],
            "Running",
            &running,
        ),
        pod("default", "tty-0", &["app"], "Running", &running),
        pod("default", "stdin-0", &["app"], "Running", &running),
        pod("default", "ends-0", &["app"], "Running", &running),
        pod("default", "done-0", &["app"], "Succeeded", &done),
        pod(
            "default",
            "pending-0",
            &["app"],
            "Pending",
            &waiting("ContainerCreating"),
        ),
        pod("default", "slow-start-0", &["app"], slow.0, &slow.1),
        pod(
            "default",
            "crash-0",
            &["app"],
            "Running",
            &waiting("CrashLoopBackOff"),
        ),
        pod("default", "init-0", &["app"], "Running", &running),
        pod("default", "lost-kubelet-0", &["app"], "Running", &running),
        pod("default", "restarts-0", &["app"], "Running", &running),
        pod("default", "nolog-0", &["app"], "Running", &running),
        pod("default", "deploy-a", &["app"], "Running", &running),
        pod("default", "deploy-b", &["app"], "Running", &running),
        pod("default", "deploy-c", &["app"], "Running", &running),
        pod(
            "default",
            "lines-0",
            &["1k", "1m", "100m", "1g", "10g"],
            "Succeeded",
            &done,
        ),
        pod(
            "default",
            "writer-0",
            &["r10", "r1000", "r100000"],
            "Running",
            &running,
        ),
        pod("other", "web-0", &["app"], "Running", &running),
    ];
    for (name, app) in [
        ("db-0", "db"),
        ("front-a", "front"),
        ("front-b", "front"),
        ("front-c", "front"),
        ("front-d", "front"),
        ("waits-0", "waits"),
    ] {
        let mut one = match app {
            "waits" => pod(
                "ports",
                name,
                &["app"],
                "Pending",
                &waiting("ContainerCreating"),
            ),
            _ => pod("ports", name, &["app"], "Running", &running),
        };
        one["metadata"]["labels"] = json!({"app": app});
        declare_ports(&mut one);
        pods.push(one);
    }
    for pod in &mut pods {
        adorn(pod, restarts);
        apply_exits(pod, exits);
    }
    pods
}

/// A pod that runs and has nothing else about it.
pub(crate) fn fresh(namespace: &str, name: &str, containers: &[&str]) -> Value {
    let running = json!({"running": {"startedAt": "2026-11-01T08:00:05Z"}});
    pod(namespace, name, containers, "Running", &running)
}

/// Declares the ports that every pod answers on, in its first container, as programs do that know of them.
pub(crate) fn declare_ports(pod: &mut Value) {
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "containerPort": number, "protocol": protocol});
    pod["spec"]["containers"][0]["ports"] = json!([
        port("http", 8080, "TCP"),
        port("echo", 7, "TCP"),
        port("dns", 53, "UDP"),
        port("dns-tcp", 53, "TCP"),
    ]);
}

/// What makes each pod different from the plain one.
fn adorn(pod: &mut Value, restarts: u32) {
    let name = pod["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let (metadata, rest) = ("metadata", "spec");
    match &*name {
        "web-0" => pod[metadata]["labels"] = json!({"app": "web", "job-name": "web"}),
        "annotated-0" => {
            pod[metadata]["annotations"] =
                json!({"kubectl.kubernetes.io/default-container": "second"});
        }
        "tty-0" => {
            pod[rest]["containers"][0]["stdin"] = true.into();
            pod[rest]["containers"][0]["tty"] = true.into();
        }
        "stdin-0" => pod[rest]["containers"][0]["stdin"] = true.into(),
        "ends-0" => {
            pod[rest]["containers"][0]["stdin"] = true.into();
            pod[rest]["containers"][0]["stdinOnce"] = true.into();
            pod[rest]["restartPolicy"] = "Never".into();
        }
        "init-0" => {
            pod[rest]["initContainers"] = json!([{"name": "setup", "image": IMAGE}]);
            pod[rest]["ephemeralContainers"] = json!([{"name": "debugger", "image": IMAGE}]);
            let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
            let running = json!({"running": {"startedAt": "2026-11-01T09:00:00Z"}});
            pod["status"]["initContainerStatuses"] =
                json!([status("default/init-0", "setup", &done)]);
            pod["status"]["ephemeralContainerStatuses"] =
                json!([status("default/init-0", "debugger", &running)]);
        }
        "crash-0" => {
            let last = json!({
                "exitCode": 1, "reason": "Error",
                "containerID": pod["status"]["containerStatuses"][0]["containerID"],
                "startedAt": "2026-11-01T08:00:05Z", "finishedAt": "2026-11-01T08:00:06Z",
            });
            pod["status"]["containerStatuses"][0]["lastState"] = json!({"terminated": last});
            pod["status"]["containerStatuses"][0]["restartCount"] = 7.into();
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] =
                "back-off 5m0s restarting failed container=app pod=crash-0_default".into();
        }
        "restarts-0" => {
            let status = &mut pod["status"]["containerStatuses"][0];
            status["restartCount"] = restarts.into();
            status["containerID"] = container_id(&format!("restarts-0/{restarts}")).into();
        }
        // kubectl's order: running, ready, longest ready. Not the first by name, not the oldest.
        "deploy-a" => among_three(pod, "2026-10-01T08:00:00Z", None),
        "front-c" => not_ready(pod),
        "front-d" => pod[metadata]["deletionTimestamp"] = "2026-11-03T08:00:00Z".into(),
        "waits-0" => {
            pod["status"]
                .as_object_mut()
                .map(|status| status.remove("podIP"));
        }
        "deploy-b" => among_three(pod, "2026-11-02T08:00:00Z", Some("2026-11-02T08:00:20Z")),
        "deploy-c" => among_three(pod, "2026-11-01T12:00:00Z", Some("2026-11-01T12:00:20Z")),
        _ => {}
    }
}

fn among_three(pod: &mut Value, created: &str, ready_since: Option<&str>) {
    pod["metadata"]["labels"] = json!({"app": "three"});
    pod["metadata"]["creationTimestamp"] = created.into();
    let ready = &mut pod["status"]["conditions"][0];
    ready["status"] = if ready_since.is_some() {
        "True"
    } else {
        "False"
    }
    .into();
    ready["lastTransitionTime"] = ready_since.unwrap_or("2026-11-03T08:00:00Z").into();
    pod["status"]["containerStatuses"][0]["ready"] = ready_since.is_some().into();
}

fn not_ready(pod: &mut Value) {
    pod["status"]["conditions"][0]["status"] = "False".into();
    pod["status"]["containerStatuses"][0]["ready"] = false.into();
}

fn apply_exits(pod: &mut Value, exits: &HashMap<String, i32>) {
    let place = |field: &str| {
        pod["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let prefix = format!("{}/{}", place("namespace"), place("name"));
    let never = pod["spec"]["restartPolicy"] == "Never";
    let mut phase = None;
    for status in pod["status"]["containerStatuses"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let name = status["name"].as_str().unwrap_or_default();
        let Some(&code) = exits.get(&format!("{prefix}/{name}")) else {
            continue;
        };
        if never {
            let reason = if code == 0 { "Completed" } else { "Error" };
            let id = status["containerID"].clone();
            status["ready"] = false.into();
            status["state"] = json!({"terminated": {
                "exitCode": code, "reason": reason, "containerID": id,
                "startedAt": "2026-11-01T08:00:05Z", "finishedAt": "2026-11-03T08:00:09Z",
            }});
            phase = Some(if code == 0 { "Succeeded" } else { "Failed" });
        }
    }
    if let Some(phase) = phase {
        pod["status"]["phase"] = phase.into();
    }
}

fn pod(namespace: &str, name: &str, containers: &[&str], phase: &str, state: &Value) -> Value {
    let uid = uid(&format!("{namespace}/{name}"));
    let ready = if state["running"].is_object() {
        "True"
    } else {
        "False"
    };
    let place = format!("{namespace}/{name}");
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid, "resourceVersion": "1000",
            "creationTimestamp": "2026-11-01T08:00:00Z", "labels": {"name": name},
        },
        "spec": {
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": containers
                .iter()
                .map(|container| json!({"name": container, "image": IMAGE}))
                .collect::<Vec<_>>(),
        },
        "status": {
            "phase": phase,
            "hostIP": "10.0.0.9",
            "podIP": address(&uid),
            "startTime": "2026-11-01T08:00:01Z",
            "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-01T08:00:06Z"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-01T08:00:00Z"},
            ],
            "containerStatuses": containers
                .iter()
                .map(|container| status(&place, container, state))
                .collect::<Vec<_>>(),
        },
    })
}

/// An address of the pod network, always the same for the same UID.
fn address(uid: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&uid[at..at + 2], 16).unwrap_or_default();
    format!("10.244.{}.{}", byte(0), byte(2).clamp(2, 250))
}

fn status(place: &str, container: &str, state: &Value) -> Value {
    let mut status = Map::new();
    status.insert("name".to_owned(), container.into());
    status.insert("image".to_owned(), IMAGE.into());
    status.insert("imageID".to_owned(), format!("{IMAGE}@sha256:0").into());
    status.insert("restartCount".to_owned(), 0.into());
    status.insert("ready".to_owned(), state["running"].is_object().into());
    status.insert("started".to_owned(), state["running"].is_object().into());
    status.insert("state".to_owned(), state.clone());
    if state["waiting"]["reason"] != "ContainerCreating" {
        let id = container_id(&format!("{place}/{container}"));
        if state["terminated"].is_object() {
            status["state"]["terminated"]["containerID"] = id.as_str().into();
        }
        status.insert("containerID".to_owned(), id.into());
    }
    Value::Object(status)
}

/// A UID of the right shape, always the same for the same text.
pub(crate) fn uid(text: &str) -> String {
    let id = &container_id(text)["containerd://".len()..];
    let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32]];
    parts.join("-")
}

/// A container ID of the right shape, always the same for the same place.
pub(crate) fn container_id(place: &str) -> String {
    let first = sha1_smol::Sha1::from(place).digest().to_string();
    let second = sha1_smol::Sha1::from(&first).digest().to_string();
    format!("containerd://{first}{}", &second[..24])
}

const IMAGE: &str = "registry.example/wsx/test:1";

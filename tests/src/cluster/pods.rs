//! The pods, as the API server shows them, and what stands behind a container's name.
//!
//! Lives here: the objects and their small changes over time. Never here: routes or processes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::{broadcast, watch};

use super::logs::Cut;

/// What changes about pods while the cluster lives.
pub(crate) struct Pods {
    changing: Mutex<Changing>,
    /// whoever changes a pod --()--> watches
    changed_tx: watch::Sender<()>,
    /// control --what to do--> watches
    orders_tx: broadcast::Sender<Order>,
}

/// What watches are told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Bookmark,
    Cut(Cut),
    /// An event with this code, reason and text, then the end.
    Error(u16, &'static str, &'static str),
}

/// One change of one pod.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
}

struct Changing {
    slow_start: Option<Instant>,
    restarts: u32,
    /// Exit codes of main processes that have ended, by `namespace/pod/container`.
    exits: HashMap<String, i32>,
    /// Pods that were changed on demand, by namespace and name; `None` was deleted.
    changed: BTreeMap<(String, String), Option<Value>>,
    version: u64,
    /// All pods when they were last looked at, and what has happened to them.
    seen: BTreeMap<(String, String), Value>,
    history: Vec<Change>,
    /// Watches from before this version are refused.
    oldest: u64,
}

impl Default for Pods {
    fn default() -> Self {
        let mut changing = Changing {
            slow_start: None,
            restarts: 0,
            exits: HashMap::new(),
            changed: BTreeMap::new(),
            version: FIRST_VERSION,
            seen: BTreeMap::new(),
            history: Vec::new(),
            oldest: FIRST_VERSION,
        };
        changing.seen = by_name(all(&changing));
        Self {
            changing: Mutex::new(changing),
            changed_tx: watch::Sender::new(()),
            orders_tx: broadcast::Sender::new(16),
        }
    }
}

impl Changing {
    /// Notes what is different from the last look, and gives all pods with their versions.
    fn look(&mut self) -> Vec<Value> {
        let mut now = by_name(all(self));
        let names: Vec<_> = self.seen.keys().chain(now.keys()).cloned().collect();
        for name in names {
            let old = self.seen.get(&name).cloned();
            let mut new = now.get(&name).cloned();
            if let (Some(old), Some(new)) = (&old, &mut new) {
                new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            }
            if old != new {
                self.version += 1;
                let version = self.version;
                let set = |mut pod: Value| {
                    pod["metadata"]["resourceVersion"] = version.to_string().into();
                    pod
                };
                new = new.map(set);
                match &new {
                    Some(pod) => self.seen.insert(name.clone(), pod.clone()),
                    None => self.seen.remove(&name),
                };
                let old = if new.is_none() { old.map(set) } else { old };
                self.history.push(Change { version, old, new });
            }
        }
        now = self.seen.clone();
        now.into_values().collect()
    }
}

impl Pods {
    /// Reads one pod, which is an event for those that change when looked at.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Value> {
        match name {
            "restarts-0" => self.changing().restarts += 1,
            "slow-start-0" => {
                self.changing().slow_start.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
        self.peek(namespace, name)
    }

    /// Reads one pod, and changes nothing.
    pub(crate) fn peek(&self, namespace: &str, name: &str) -> Option<Value> {
        self.list().1.into_iter().find(|pod| {
            pod["metadata"]["namespace"] == namespace && pod["metadata"]["name"] == name
        })
    }

    /// Lists the pods of all namespaces with the version of the list, and changes nothing.
    pub(crate) fn list(&self) -> (u64, Vec<Value>) {
        let mut changing = self.changing();
        let before = changing.version;
        let all = changing.look();
        let version = changing.version;
        drop(changing);
        if version != before {
            self.changed_tx.send_replace(());
        }
        (version, all)
    }

    /// Remembers that a container's main process has ended.
    pub(crate) fn ended(&self, namespace: &str, pod: &str, container: &str, code: i32) {
        let place = format!("{namespace}/{pod}/{container}");
        self.changing().exits.insert(place, code);
        self.list();
    }

    /// Changes one pod on demand, makes it or deletes it; the function also gets a number never used before.
    pub(crate) fn change(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(Option<Value>, u64) -> Option<Value>,
    ) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut changing = self.changing();
        changing.look();
        let new = change(changing.seen.get(&key).cloned(), changing.version + 1);
        changing.changed.insert(key, new);
        drop(changing);
        self.list();
    }

    /// What happened after this version, or the oldest version that is still known.
    pub(crate) fn since(&self, version: u64) -> Result<Vec<Change>, u64> {
        let changing = self.changing();
        if version < changing.oldest {
            return Err(changing.oldest);
        }
        let later = changing
            .history
            .iter()
            .filter(|change| change.version > version);
        Ok(later.cloned().collect())
    }

    /// Forgets what happened so far.
    pub(crate) fn compact(&self) {
        let mut changing = self.changing();
        changing.version += 1;
        changing.oldest = changing.version;
        changing.history.clear();
    }

    /// Tells all watches.
    pub(crate) fn order(&self, order: Order) {
        // Without a watch there is nobody to tell.
        let _ = self.orders_tx.send(order);
    }

    /// Orders and changes from now on.
    pub(crate) fn watched(&self) -> (broadcast::Receiver<Order>, watch::Receiver<()>) {
        (self.orders_tx.subscribe(), self.changed_tx.subscribe())
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One container as somebody who wants to enter it sees it.
pub(crate) struct Container {
    pub(crate) running: bool,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
}

/// The names of a pod's containers, as the API server lists them in a refusal.
pub(crate) fn container_names(pod: &Value) -> Vec<String> {
    names(&pod["spec"]["containers"])
}

/// The container a request means, or the text of the refusal.
// kubernetes pkg/registry/core/pod/strategy.go: validateContainer; annotations are not looked at.
pub(crate) fn choose_container(pod: &Value, wanted: Option<&str>) -> Result<String, String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let regular = container_names(pod);
    match wanted.filter(|wanted| !wanted.is_empty()) {
        None if regular.len() == 1 => Ok(regular[0].clone()),
        None => {
            let mut text = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                regular.join(" ")
            );
            let init = names(&pod["spec"]["initContainers"]);
            if !init.is_empty() {
                text.push_str(&format!(
                    " or one of the init containers: [{}]",
                    init.join(" ")
                ));
            }
            Err(text)
        }
        Some(wanted) => {
            let mut known = regular;
            known.extend(names(&pod["spec"]["initContainers"]));
            known.extend(names(&pod["spec"]["ephemeralContainers"]));
            if known.iter().any(|known| known == wanted) {
                Ok(wanted.to_owned())
            } else {
                Err(format!("container {wanted} is not valid for pod {name}"))
            }
        }
    }
}

/// What is known about one container of a pod.
pub(crate) fn container(pod: &Value, name: &str) -> Container {
    let find = |list: &Value| {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .find(|item| item["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    let mut spec = Value::Null;
    let mut status = Value::Null;
    for (specs, statuses) in [
        ("containers", "containerStatuses"),
        ("initContainers", "initContainerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        if spec.is_null() {
            spec = find(&pod["spec"][specs]);
            status = find(&pod["status"][statuses]);
        }
    }
    Container {
        running: status["state"]["running"].is_object(),
        stdin: spec["stdin"] == true,
        stdin_once: spec["stdinOnce"] == true,
        tty: spec["tty"] == true,
    }
}

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|item| item["name"].as_str())
        .map(str::to_owned)
        .collect()
}

fn all(changing: &Changing) -> Vec<Value> {
    let running = json!({"running": {"startedAt": "2026-11-01T08:00:05Z"}});
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    let slow = match changing.slow_start {
        Some(since) if since.elapsed() >= SLOW_START => ("Running", running.clone()),
        _ => ("Pending", waiting("ContainerCreating")),
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
    for pod in &mut pods {
        adorn(pod, changing);
        apply_exits(pod, &changing.exits);
    }
    let mut pods = by_name(pods);
    for (name, changed) in &changing.changed {
        match changed {
            Some(pod) => pods.insert(name.clone(), pod.clone()),
            None => pods.remove(name),
        };
    }
    pods.into_values().collect()
}

fn by_name(pods: Vec<Value>) -> BTreeMap<(String, String), Value> {
    let text = |pod: &Value, field: &str| {
        let text = pod["metadata"][field].as_str();
        text.unwrap_or_default().to_owned()
    };
    let named = pods.into_iter();
    named
        .map(|pod| ((text(&pod, "namespace"), text(&pod, "name")), pod))
        .collect()
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
fn adorn(pod: &mut Value, changing: &Changing) {
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
            status["restartCount"] = changing.restarts.into();
            status["containerID"] =
                container_id(&format!("restarts-0/{}", changing.restarts)).into();
        }
        // kubectl's order: running, ready, longest ready. Not the first by name, not the oldest.
        "deploy-a" => among_three(pod, "2026-10-01T08:00:00Z", None),
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
            "podIP": "10.244.0.7",
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
const FIRST_VERSION: u64 = 1000;
const SLOW_START: Duration = Duration::from_millis(1500);

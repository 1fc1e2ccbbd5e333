//! What we need to know of a pod: choice, containers, readiness. Pure.
//!
//! Lives here: kubectl's order of pods and its choice of a container. Never here: requests, waiting.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::notice::Notice;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::Instance;
use crate::protocol::text::{escape, excerpt};

/// A list of objects.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct List<T> {
    #[serde(default)]
    pub(super) metadata: ListMetadata,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) items: Vec<T>,
}

/// A list of pods.
pub(super) type PodList = List<Pod>;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ListMetadata {
    pub(super) resource_version: String,
}

/// The parts of a pod that are looked at. Unknown and absent fields are fine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
    pub(super) status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    #[serde(deserialize_with = "nullable")]
    annotations: BTreeMap<String, String>,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    node_name: Option<String>,
    restart_policy: Option<String>,
    #[serde(deserialize_with = "nullable")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    ephemeral_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    #[serde(deserialize_with = "nullable")]
    ports: Vec<ContainerPort>,
    restart_policy: Option<String>,
    stdin: bool,
    tty: bool,
}

/// A port of a container, as its pod declares it: one that is not declared may be open as well.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub(super) name: String,
    pub(super) container_port: u16,
    pub(super) protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    phase: Option<String>,
    reason: Option<String>,
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "nullable")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    r#type: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    pub(super) container_id: Option<String>,
    restart_count: i64,
    pub(super) state: State,
    last_state: State,
}

/// What a container does. At most one of the three is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) running: Option<Running>,
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Running {
    pub(super) started_at: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    reason: Option<String>,
    exit_code: i32,
}

/// What a log needs to know of a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Run {
    pub(super) instance: Instance,
    /// Whether it may still write.
    pub(super) running: bool,
    /// Whether there is anything to read: this run or one before it was begun.
    pub(super) started: bool,
    pub(super) exit_code: Option<i32>,
    /// Its state, for people.
    pub(super) state: String,
}

/// Whether a command could be started in a container now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Readiness {
    /// Never: the container will not run again.
    Never(String),
    Now,
    /// Perhaps later.
    Wait(String),
}

/// Go writes empty lists as `null`.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Returns the pod that kubectl would take for exec, attach and port-forward.
///
/// kubectl pkg/util/podutils: the last in the order of `ActivePods`.
pub(super) fn best<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Option<&'a Pod> {
    // Of equals the first one listed.
    pods.into_iter().min_by_key(|pod| Reverse(pod.rank()))
}

/// Returns the pod whose log kubectl would take.
///
/// kubectl pkg/polymorphichelpers/logsforobject.go: the first in the order of `ByLogging`
/// (pkg/util/podutils). Unlike for exec, a pod that has ended ranks with those that run, one that is
/// being deleted is not put back, and more restarts are better.
pub(super) fn best_for_logs(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().min_by_key(|pod| pod.rank_for_logs())
}

impl Pod {
    fn rank_for_logs(&self) -> impl Ord {
        let phase = match self.status.phase.as_deref() {
            Some("Pending") => 2,
            Some("Unknown") => 1,
            _ => 0,
        };
        let status = &self.status;
        let ready = status.conditions.iter().find(|it| it.is_ready());
        let since = ready.and_then(|ready| ready.last_transition_time.clone());
        let most = |statuses: &[ContainerStatus], counted: &dyn Fn(&str) -> bool| {
            let counts = statuses.iter().filter(|it| counted(&it.name));
            counts.map(|it| it.restart_count).max().unwrap_or(0)
        };
        let sidecar = |name: &str| {
            let mut init = self.spec.init_containers.iter();
            init.any(|it| it.name == name && it.restart_policy.as_deref() == Some("Always"))
        };
        let created = self.metadata.creation_timestamp.clone();
        (
            self.spec.node_name.as_deref().is_none_or(str::is_empty),
            phase,
            ready.is_none(),
            // Absent times come last.
            (since.is_none(), since),
            Reverse(most(&status.container_statuses, &|_| true)),
            Reverse(most(&status.init_container_statuses, &sidecar)),
            (created.is_none(), created),
        )
    }

    /// Returns what is known of a container's present run; nothing where its node has not said a word.
    pub(super) fn run(&self, container: &str) -> Option<Run> {
        let status = self.status_of(container)?;
        let ended = status.state.terminated.as_ref();
        let ended = ended.or(status.last_state.terminated.as_ref());
        let running = status.state.running.is_some();
        let state = match self.readiness(container, "the pod is") {
            Readiness::Now => "running".to_owned(),
            Readiness::Never(state) | Readiness::Wait(state) => state,
        };
        Some(Run {
            instance: Instance::new(
                &*self.metadata.uid,
                u32::try_from(status.restart_count).unwrap_or(0),
            ),
            running,
            started: running || ended.is_some(),
            exit_code: ended.filter(|_| !running).map(|ended| ended.exit_code),
            state,
        })
    }

    /// Returns the container that the pod's annotation names although it has none of this name.
    pub(super) fn wrong_default(&self) -> Option<&str> {
        let name = self
            .metadata
            .annotations
            .get("kubectl.kubernetes.io/default-container")?;
        let known = name.is_empty() || self.all().any(|container| container.name == *name);
        (!known).then_some(name)
    }

    /// Returns the names of all containers in the order in which kubectl collects their logs.
    pub(super) fn containers_in_order(&self) -> impl Iterator<Item = &str> {
        let spec = &self.spec;
        let all = spec.init_containers.iter().chain(&spec.containers);
        all.chain(&spec.ephemeral_containers)
            .map(|container| &*container.name)
    }

    /// Tells whether a container may write to its log now or later.
    pub(super) fn may_write(&self, container: &str) -> bool {
        !matches!(self.readiness(container, ""), Readiness::Never(_))
    }

    /// Returns the container that comes first.
    pub(super) fn first_container(&self) -> Option<&str> {
        let first = self.spec.containers.first()?;
        Some(&first.name)
    }

    fn rank(&self) -> impl Ord {
        let phase = match self.status.phase.as_deref() {
            Some("Running") => 2,
            Some("Unknown") => 1,
            _ => 0,
        };
        let ready = self
            .status
            .conditions
            .iter()
            .find(|condition| condition.is_ready());
        let restarts = self
            .status
            .container_statuses
            .iter()
            .map(|status| status.restart_count)
            .max();
        (
            self.spec
                .node_name
                .as_deref()
                .is_some_and(|node| !node.is_empty()),
            phase,
            ready.is_some(),
            self.metadata.deletion_timestamp.is_none(),
            // Times are RFC 3339 in UTC, whose order is that of their text. Newer deletion is better.
            self.metadata.deletion_timestamp.clone(),
            // Longer ready is better, and any time better than none.
            ready.map(|ready| ready.last_transition_time.clone().map(Reverse)),
            Reverse(restarts.unwrap_or(0)),
            self.metadata.creation_timestamp.clone().map(Reverse),
        )
    }

    /// Returns the container for a command, and what a person should be told about the choice.
    ///
    /// # Errors
    /// `NotFound` when the container that was named, by the caller or the pod, is not in the pod.
    pub(super) fn container(&self, wanted: Option<&str>) -> Result<(String, Option<Notice>)> {
        let annotation = self
            .metadata
            .annotations
            .get("kubectl.kubernetes.io/default-container");
        let annotation = annotation
            .map(String::as_str)
            .filter(|name| !name.is_empty());
        if let Some(name) = wanted.or(annotation) {
            if self.all().any(|container| container.name == name) {
                return Ok((name.to_owned(), None));
            }
            let pod = &self.metadata.name;
            let error = Error::new(
                ErrorKind::NotFound,
                format!("container {} not found in pod {pod}", escape(name)),
            )
            .because(format!("the pod has: {}", self.names().join(", ")));
            return Err(match wanted {
                Some(_) => error.remedy("-c CONTAINER"),
                None => error
                    .because(format!(
                        "the pod's annotation kubectl.kubernetes.io/default-container names it; the pod has: {}",
                        self.names().join(", ")
                    ))
                    .remedy("-c CONTAINER"),
            });
        }
        let Some(first) = self.spec.containers.first() else {
            let message = format!("pod {} does not have any containers", self.metadata.name);
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let container = first.name.clone();
        let all = self.names();
        let notice = (all.len() > 1).then(|| Notice::DefaultedContainer {
            container: container.clone(),
            all,
        });
        Ok((container, notice))
    }

    /// Returns the names of all containers as kubectl lists them.
    fn names(&self) -> Vec<String> {
        let name = |container: &Container| excerpt(container.name.as_bytes(), 63);
        let spec = &self.spec;
        let mut names: Vec<_> = spec.containers.iter().map(name).collect();
        names.extend(
            spec.ephemeral_containers
                .iter()
                .map(|it| format!("{} (ephem)", name(it))),
        );
        names.extend(
            spec.init_containers
                .iter()
                .map(|it| format!("{} (init)", name(it))),
        );
        names
    }

    fn all(&self) -> impl Iterator<Item = &Container> {
        let spec = &self.spec;
        spec.containers
            .iter()
            .chain(&spec.init_containers)
            .chain(&spec.ephemeral_containers)
    }

    /// Returns what is known of a container.
    pub(super) fn status_of(&self, container: &str) -> Option<&ContainerStatus> {
        let status = &self.status;
        status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .chain(&status.ephemeral_container_statuses)
            .find(|status| status.name == container)
    }

    /// Returns the name of the only container, where there is only one.
    pub(super) fn only_container(&self) -> Option<&str> {
        let mut all = self.all();
        all.next()
            .filter(|_| all.next().is_none())
            .map(|container| container.name.as_str())
    }

    /// Tells whether a container was made with stdin, and with a terminal.
    pub(super) fn streams(&self, container: &str) -> (bool, bool) {
        let found = self.all().find(|it| it.name == container);
        found.map_or((false, false), |it| (it.stdin, it.tty))
    }

    /// Returns all ports that are declared; those of init containers come last, as in kubectl.
    pub(super) fn ports(&self) -> impl Iterator<Item = &ContainerPort> {
        let spec = &self.spec;
        let all = spec.containers.iter().chain(&spec.init_containers);
        all.flat_map(|container| &container.ports)
    }

    pub(super) fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or("Pending")
    }

    pub(super) fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(Condition::is_ready)
    }

    pub(super) const fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Returns the exit code of the instance of a container with this ID, once it has ended.
    pub(super) fn exit_code(&self, container: &str, id: Option<&str>) -> Option<i32> {
        let status = self.status_of(container)?;
        let ended = [&status.state, &status.last_state];
        ended
            .into_iter()
            .filter_map(|state| state.terminated.as_ref())
            .find(|ended| ended.container_id.as_deref() == id)
            .map(|ended| ended.exit_code)
    }

    /// Tells whether a command could be started in this container.
    /// `on_completed` are the words for a pod that has ended, before its phase.
    pub(super) fn readiness(&self, container: &str, on_completed: &str) -> Readiness {
        let phase = self.status.phase.as_deref().unwrap_or("Pending");
        if matches!(phase, "Succeeded" | "Failed") {
            return Readiness::Never(format!("{on_completed} {phase}"));
        }
        let Some(status) = self.status_of(container) else {
            // Without a word about the container the phase has to do.
            return if phase == "Running" {
                Readiness::Now
            } else {
                Readiness::Wait(self.why_pending())
            };
        };
        let quoted = excerpt(container.as_bytes(), 63);
        match &status.state {
            State {
                running: Some(_), ..
            } => Readiness::Now,
            State {
                terminated: Some(ended),
                ..
            } => {
                let reason = reason(ended.reason.as_deref(), None);
                let code = ended.exit_code;
                let text = format!("container {quoted} is terminated: {reason}, exit code {code}");
                match self.comes_back(container, code) {
                    true => Readiness::Wait(text),
                    false => Readiness::Never(text),
                }
            }
            State {
                waiting: Some(waiting),
                ..
            } => {
                let reason = reason(waiting.reason.as_deref(), waiting.message.as_deref());
                Readiness::Wait(format!("container {quoted} is waiting: {reason}"))
            }
            _ => Readiness::Wait(format!("container {quoted} is waiting")),
        }
    }

    fn comes_back(&self, container: &str, exit_code: i32) -> bool {
        let restarts =
            |container: &Container| container.restart_policy.as_deref() == Some("Always");
        if let Some(init) = self
            .spec
            .init_containers
            .iter()
            .find(|it| it.name == container)
        {
            return restarts(init);
        }
        if self
            .spec
            .ephemeral_containers
            .iter()
            .any(|it| it.name == container)
        {
            return false;
        }
        match self.spec.restart_policy.as_deref() {
            Some("Never") => false,
            Some("OnFailure") => exit_code != 0,
            _ => true,
        }
    }

    /// Returns why a pod does not run, for people.
    pub(super) fn why_pending(&self) -> String {
        let phase = self.status.phase.as_deref().unwrap_or("Pending");
        let mut conditions = self.status.conditions.iter();
        let scheduled = conditions.find(|it| it.r#type == "PodScheduled" && it.status == "False");
        let details = match scheduled {
            Some(it) => Some(reason(it.reason.as_deref(), it.message.as_deref())),
            None => self
                .status
                .reason
                .as_deref()
                .map(|text| reason(Some(text), None)),
        };
        let phase = excerpt(phase.as_bytes(), 63);
        match details {
            Some(details) => format!("the pod is {phase}: {details}"),
            None => format!("the pod is {phase}"),
        }
    }
}

impl Condition {
    fn is_ready(&self) -> bool {
        self.r#type == "Ready" && self.status == "True"
    }
}

fn reason(reason: Option<&str>, message: Option<&str>) -> String {
    let reason = excerpt(reason.unwrap_or("no reason given").as_bytes(), 200);
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason} ({})", excerpt(message.as_bytes(), 500)),
        None => reason,
    }
}

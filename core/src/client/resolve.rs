//! From what was asked for to a pod and a container that run.
//!
//! Lives here: the requests before an upgrade, and waiting. Never here: names (target.rs), choice (pod.rs).
//!
//! Requests: none where all is named and no preflight is wanted, one for a pod, two for a workload.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::notice::Notice;
use super::open::Work;
use super::pod::{Pod, PodList, Readiness, best};
use super::server::Server;
use super::stage::Stage;
use super::target::{Target, Workload};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::request::{ExecOptions, PodRef, encode};

/// How often a pod that does not run yet is looked at.
const PERIOD: Duration = Duration::from_millis(500);

/// Where the command will run.
#[derive(Clone)]
pub(super) struct Resolved {
    pub(super) pod: PodRef,
    pub(super) container: Option<String>,
    /// The identity of the container before the command, where the pod was looked at.
    pub(super) container_id: Option<String>,
    /// Whether it was made with stdin.
    pub(super) stdin: bool,
    /// Whether it was made with a terminal.
    pub(super) tty: bool,
}

/// Finds the pod and the container, and waits until both run.
///
/// # Errors
/// `NotStarted` when they do not run in time, `NotFound`, `Forbidden`, … as the server says.
pub(super) async fn resolve(
    server: &Server,
    target: &Target,
    namespace: &str,
    work: &Work,
    options: &ExecOptions,
    stage: &Stage,
) -> Result<Resolved> {
    let wanted = options.container.as_deref();
    let search = match target {
        Target::Pod(name) if !options.preflight && wanted.is_some() => {
            return Ok(Resolved {
                pod: PodRef::new(namespace, name),
                container: options.container.clone(),
                container_id: None,
                stdin: false,
                tty: false,
            });
        }
        Target::Pod(name) => Search::Named(pod_path(namespace, name)),
        Target::Workload(workload, name) => {
            let connect = options.limits.connect;
            Search::Selected(selector(server, *workload, namespace, name, connect).await?)
        }
    };
    let limit = options.pod_running_timeout;
    let deadline = Instant::now() + limit;
    let mut told = None;
    loop {
        let (pod, count) = search
            .look(server, namespace, options.limits.connect)
            .await?;
        let (state, chosen) = match &pod {
            Some(pod) => {
                let (container, notice) = pod.container(wanted)?;
                // A caller who wants no preflight wants no waiting either.
                let state = match options.preflight {
                    true => pod.readiness(&container, work.on_completed()),
                    false => Readiness::Now,
                };
                (state, Some((pod, container, notice)))
            }
            None => (
                Readiness::Wait("no pod matches its selector".to_owned()),
                None,
            ),
        };
        let reason = match (state, chosen) {
            (Readiness::Now, Some((pod, container, notice))) => {
                announce(server, target, pod, count, &container, notice);
                let status = pod.status_of(&container);
                let (stdin, tty) = pod.streams(&container);
                return Ok(Resolved {
                    pod: PodRef::new(namespace, &pod.metadata.name),
                    container_id: status.and_then(|status| status.container_id.clone()),
                    container: Some(container),
                    stdin,
                    tty,
                });
            }
            (Readiness::Never(why), _) => return Err(Error::new(ErrorKind::NotStarted, why)),
            (Readiness::Wait(reason), _) => reason,
            (Readiness::Now, None) => "no pod".to_owned(),
        };
        if told.as_ref() != Some(&reason) {
            let target = target.to_string();
            server.tell(&Notice::Waiting {
                target,
                reason: reason.clone(),
            });
            stage.enter("waiting for the pod to run");
            told = Some(reason.clone());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message =
                format!("{target} is not running within {limit:?} (--pod-running-timeout)");
            return Err(Error::new(ErrorKind::NotStarted, message).because(reason));
        }
        sleep(PERIOD.min(left)).await;
    }
}

/// Returns the path of a pod.
pub(super) fn pod_path(namespace: &str, name: &str) -> String {
    format!(
        "/api/v1/namespaces/{}/pods/{}",
        encode(namespace),
        encode(name)
    )
}

fn announce(
    server: &Server,
    target: &Target,
    pod: &Pod,
    count: usize,
    container: &str,
    notice: Option<Notice>,
) {
    if let Some(notice) = notice {
        server.tell(&notice);
    }
    if matches!(target, Target::Workload(..)) {
        server.tell(&Notice::ChosenPod {
            pod: pod.metadata.name.clone(),
            count,
            container: container.to_owned(),
        });
    }
}

enum Search {
    /// The path of a pod.
    Named(String),
    /// A label selector.
    Selected(String),
}

impl Search {
    async fn look(
        &self,
        server: &Server,
        namespace: &str,
        connect: Duration,
    ) -> Result<(Option<Pod>, usize)> {
        let connect = Some(connect);
        match self {
            Self::Named(path) => Ok((Some(server.object(path, &[], connect).await?), 1)),
            Self::Selected(selector) => {
                let path = format!("/api/v1/namespaces/{}/pods", encode(namespace));
                let query = [("labelSelector", &**selector)];
                let list: PodList = server.object(&path, &query, connect).await?;
                Ok((best(&list.items).cloned(), list.items.len()))
            }
        }
    }
}

/// An object that may select pods.
#[derive(Deserialize)]
pub(super) struct Selecting {
    spec: Option<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    selector: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LabelSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Requirement>>,
}

#[derive(Deserialize)]
struct Requirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

/// Returns what selects the pods of a workload.
pub(super) async fn selector(
    server: &Server,
    workload: Workload,
    namespace: &str,
    name: &str,
    connect: Duration,
) -> Result<String> {
    let path = workload.path(namespace, name);
    let object: Selecting = server.object(&path, &[], Some(connect)).await?;
    object.selector(workload, name)
}

impl Selecting {
    /// Returns what selects the pods, as a query.
    ///
    /// # Errors
    /// `Invalid` without a selector, `Unsupported` for one of a later Kubernetes.
    pub(super) fn selector(self, workload: Workload, name: &str) -> Result<String> {
        let value = self.spec.and_then(|spec| spec.selector).unwrap_or_default();
        let selector = match workload {
            // These two have a plain map.
            Workload::Service | Workload::ReplicationController => {
                let labels: Option<BTreeMap<String, String>> =
                    serde_json::from_value(value).unwrap_or_default();
                LabelSelector {
                    match_labels: labels,
                    match_expressions: None,
                }
            }
            _ => serde_json::from_value(value).unwrap_or_default(),
        };
        match selector.text() {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(Error::new(
                ErrorKind::Invalid,
                // kubectl pkg/polymorphichelpers: the same words.
                format!(
                    "invalid {} '{name}': {} is defined without a selector",
                    workload.singular(),
                    capital(workload.singular())
                ),
            )
            .because("there is no way to tell which pods belong to it")
            .remedy("name a pod")),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the selector of {} {name} cannot be understood",
                    workload.singular()
                ),
            )),
        }
    }
}

impl LabelSelector {
    /// Writes the selector as a query parameter, or nothing where it has an unknown operator.
    fn text(&self) -> Option<String> {
        let labels = self.match_labels.iter().flatten();
        let mut parts: Vec<_> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        for requirement in self.match_expressions.iter().flatten() {
            let key = &requirement.key;
            let values = requirement.values.as_deref().unwrap_or_default().join(",");
            parts.push(match requirement.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.clone(),
                "DoesNotExist" => format!("!{key}"),
                _ => return None,
            });
        }
        Some(parts.join(","))
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_keeps_all_its_requirements() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "x", "operator": "NotIn", "values": ["c"]},
                {"key": "y", "operator": "Exists"},
                {"key": "z", "operator": "DoesNotExist", "values": null},
            ],
        }))
        .unwrap();
        assert_eq!(
            selector.text().unwrap(),
            "app=web,tier in (a,b),x notin (c),y,!z"
        );
    }
}

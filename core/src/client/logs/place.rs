//! Whose log it is: the pod, its container, and the run of that container.
//!
//! Lives here: looking and waiting. Never here: which pod is best (pod.rs), the log itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::notice::Notice;
use crate::client::pod::{Pod, PodList, Run, best_for_logs};
use crate::client::resolve::{pod_path, selector};
use crate::client::server::Server;
use crate::client::target::Target;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::LogsOptions;
use crate::protocol::request::{PodRef, encode};
use crate::session::logs::LogSource;

/// How often is looked at a pod that is waited for.
pub(super) const PERIOD: Duration = Duration::from_millis(500);

/// Whose log is read.
pub(super) struct Place {
    pub(super) pod: PodRef,
    /// Absent where pods may not be read and none was named: the server takes the only one.
    pub(super) container: Option<String>,
    /// Absent where it is not known.
    pub(super) run: Option<Run>,
}

impl Place {
    /// Returns a container of a pod that was looked at.
    pub(super) fn of(pod: &Pod, namespace: &str, container: String) -> Self {
        Self {
            pod: PodRef::new(namespace, &pod.metadata.name),
            run: pod.run(&container),
            container: Some(container),
        }
    }

    /// Returns whose log it is.
    pub(super) fn source(&self) -> Arc<LogSource> {
        let container = self.container.clone().unwrap_or_default();
        let PodRef {
            namespace, name, ..
        } = &self.pod;
        Arc::new(LogSource::new(namespace, name, container))
    }
}

/// Finds the pod and the container, and waits for a pod of a workload; when following, until the
/// container has begun.
///
/// # Errors
/// `NotStarted` when that takes too long, `NotFound` … as the server says.
pub(super) async fn find(
    server: &Server,
    target: &Target,
    namespace: &str,
    options: &LogsOptions,
) -> Result<Place> {
    let limit = options.pod_running_timeout;
    let deadline = Instant::now() + limit;
    let follows = options.follow && !options.previous;
    let mut told = None;
    loop {
        let reason = match look(server, target, namespace, options).await {
            Ok(Some((pod, count))) => {
                let place = choose(server, &pod, namespace, options, count, told.is_none())?;
                match &place.run {
                    _ if !follows => return Ok(place),
                    Some(run) if run.started => return Ok(place),
                    Some(run) => run.state.clone(),
                    None => "its node has not begun with it".to_owned(),
                }
            }
            Ok(None) => "no pod matches its selector".to_owned(),
            Err(error) => match (target, error.kind()) {
                (Target::Pod(name), ErrorKind::Forbidden) => {
                    if follows {
                        let reason = error.report();
                        server.tell(&Notice::PodsUnknown { reason });
                    }
                    return Ok(Place {
                        pod: PodRef::new(namespace, name),
                        container: options.container.clone(),
                        run: None,
                    });
                }
                (_, ErrorKind::NotFound | ErrorKind::NotStarted) if options.forever => {
                    error.report()
                }
                _ => return Err(error),
            },
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() && !options.forever {
            let message =
                format!("{target} has not started within {limit:?} (--pod-running-timeout)");
            return Err(Error::new(ErrorKind::NotStarted, message).because(reason));
        }
        if told.as_ref() != Some(&reason) {
            server.tell(&Notice::Waiting {
                target: target.to_string(),
                reason: reason.clone(),
            });
            told = Some(reason);
        }
        sleep(PERIOD).await;
    }
}

async fn look(
    server: &Server,
    target: &Target,
    namespace: &str,
    options: &LogsOptions,
) -> Result<Option<(Pod, usize)>> {
    let connect = options.limits.connect;
    match target {
        Target::Pod(name) => {
            let path = pod_path(namespace, name);
            Ok(Some((server.object(&path, &[], Some(connect)).await?, 1)))
        }
        Target::Workload(workload, name) => {
            let selector = selector(server, *workload, namespace, name, connect).await?;
            let path = format!("/api/v1/namespaces/{}/pods", encode(namespace));
            let query = [("labelSelector", &*selector)];
            let list: PodList = server.object(&path, &query, Some(connect)).await?;
            let best = best_for_logs(&list.items).cloned();
            Ok(best.map(|pod| (pod, list.items.len())))
        }
    }
}

fn choose(
    server: &Server,
    pod: &Pod,
    namespace: &str,
    options: &LogsOptions,
    count: usize,
    tell: bool,
) -> Result<Place> {
    let (container, notices) = container(pod, options)?;
    if tell {
        for notice in notices {
            server.tell(&notice);
        }
        if count > 1 {
            server.tell(&Notice::ChosenPod {
                pod: pod.metadata.name.clone(),
                count,
                container: container.clone(),
            });
        }
    }
    Ok(Place::of(pod, namespace, container))
}

/// Returns the one container of a pod whose log is meant, and what a person should be told about it.
///
/// # Errors
/// `NotFound` when the one that was named is not in the pod.
pub(super) fn container(pod: &Pod, options: &LogsOptions) -> Result<(String, Vec<Notice>)> {
    let mut wanted = options.container.as_deref();
    let wrong = pod.wrong_default().filter(|_| wanted.is_none());
    if wrong.is_some() {
        wanted = pod.first_container();
    }
    let (container, notice) = pod.container(wanted)?;
    let wrong = wrong.map(|container| Notice::WrongDefault {
        container: container.to_owned(),
        pod: pod.metadata.name.clone(),
    });
    Ok((container, wrong.into_iter().chain(notice).collect()))
}

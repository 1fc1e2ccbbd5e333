//! What stands before `--`: a pod, or something that has pods.
//!
//! Lives here: names and paths. Never here: requests, which pod is chosen.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::request::encode;

/// What was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// One pod.
    Pod(String),
    /// The pods of something.
    Workload(Workload, String),
}

/// What has pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Workload {
    DaemonSet,
    Deployment,
    Job,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
}

impl Target {
    /// Reads `POD` or `TYPE/NAME`, with kubectl's short names and groups.
    ///
    /// # Errors
    /// `Invalid` when the type is unknown or the name is none that Kubernetes gives out.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some((kind, name)) = text.split_once('/') else {
            return Ok(Self::Pod(checked(text)?));
        };
        if name.contains('/') {
            return Err(Error::new(
                ErrorKind::Invalid,
                "arguments in resource/name form may not have more than one slash",
            ));
        }
        let name = checked(name)?;
        let Some(workload) = workload(kind)? else {
            return Ok(Self::Pod(name));
        };
        Ok(Self::Workload(workload, name))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "pod/{name}"),
            Self::Workload(workload, name) => write!(f, "{}/{name}", workload.singular()),
        }
    }
}

impl Workload {
    /// Returns the path of the object.
    pub(super) fn path(self, namespace: &str, name: &str) -> String {
        let (group, plural) = match self {
            Self::DaemonSet => ("apis/apps/v1", "daemonsets"),
            Self::Deployment => ("apis/apps/v1", "deployments"),
            Self::Job => ("apis/batch/v1", "jobs"),
            Self::ReplicaSet => ("apis/apps/v1", "replicasets"),
            Self::ReplicationController => ("api/v1", "replicationcontrollers"),
            Self::Service => ("api/v1", "services"),
            Self::StatefulSet => ("apis/apps/v1", "statefulsets"),
        };
        format!(
            "/{group}/namespaces/{}/{plural}/{}",
            encode(namespace),
            encode(name)
        )
    }

    pub(super) fn singular(self) -> &'static str {
        match self {
            Self::DaemonSet => "daemonset",
            Self::Deployment => "deployment",
            Self::Job => "job",
            Self::ReplicaSet => "replicaset",
            Self::ReplicationController => "replicationcontroller",
            Self::Service => "service",
            Self::StatefulSet => "statefulset",
        }
    }
}

/// Returns the workload of a type's name, nothing for pods.
fn workload(kind: &str) -> Result<Option<Workload>> {
    let lower = kind.to_ascii_lowercase();
    // TYPE, TYPE.GROUP and TYPE.VERSION.GROUP
    let (name, group) = lower.split_once('.').unwrap_or((&lower, ""));
    let group = group.strip_prefix("v1.").unwrap_or(group);
    let (found, home) = match name {
        "pod" | "pods" | "po" => (None, ""),
        "daemonset" | "daemonsets" | "ds" => (Some(Workload::DaemonSet), "apps"),
        "deployment" | "deployments" | "deploy" => (Some(Workload::Deployment), "apps"),
        "job" | "jobs" => (Some(Workload::Job), "batch"),
        "replicaset" | "replicasets" | "rs" => (Some(Workload::ReplicaSet), "apps"),
        "replicationcontroller" | "replicationcontrollers" | "rc" => {
            (Some(Workload::ReplicationController), "")
        }
        "service" | "services" | "svc" => (Some(Workload::Service), ""),
        "statefulset" | "statefulsets" | "sts" => (Some(Workload::StatefulSet), "apps"),
        _ => return Err(unknown(kind)),
    };
    if group.is_empty() || group == home || (home.is_empty() && group == "v1") {
        return Ok(found);
    }
    Err(unknown(kind))
}

fn unknown(kind: &str) -> Error {
    // kubectl's words, cli-runtime resource/builder.go.
    Error::new(
        ErrorKind::Invalid,
        format!("the server doesn't have a resource type {kind:?}"),
    )
    .because("or it is none that leads to pods")
    .remedy("POD, or TYPE/NAME with pod, deploy, rs, sts, ds, job, svc or rc")
}

/// Checks a name by the rule for DNS subdomains that all these types share.
fn checked(name: &str) -> Result<String> {
    if is_name(name, 253) {
        return Ok(name.to_owned());
    }
    Err(Error::new(ErrorKind::Invalid, format!("{name:?} is no name of a Kubernetes object"))
        .because("names are made of lower case letters, digits, '-' and '.', and begin and end with a letter or digit"))
}

/// Checks the name of a namespace.
///
/// # Errors
/// `Invalid` when it is none that Kubernetes gives out.
pub(super) fn checked_namespace(name: &str) -> Result<()> {
    if is_name(name, 63) && !name.contains('.') {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!("{name:?} is no name of a namespace"),
    ))
}

fn is_name(name: &str, limit: usize) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = [name.bytes().next(), name.bytes().next_back()];
    name.len() <= limit
        && edges.into_iter().all(|edge| edge.is_some_and(inner))
        && name
            .bytes()
            .all(|byte| inner(byte) || byte == b'-' || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_names_of_kubectl_are_understood() {
        for (text, expected) in [
            ("x", Target::Pod("x".to_owned())),
            ("po/x", Target::Pod("x".to_owned())),
            ("pod/x.y", Target::Pod("x.y".to_owned())),
            ("pods/x", Target::Pod("x".to_owned())),
            (
                "deploy/x",
                Target::Workload(Workload::Deployment, "x".to_owned()),
            ),
            (
                "deployment.apps/x",
                Target::Workload(Workload::Deployment, "x".to_owned()),
            ),
            (
                "deployments.v1.apps/x",
                Target::Workload(Workload::Deployment, "x".to_owned()),
            ),
            (
                "Deployment/x",
                Target::Workload(Workload::Deployment, "x".to_owned()),
            ),
            (
                "rs/x",
                Target::Workload(Workload::ReplicaSet, "x".to_owned()),
            ),
            (
                "sts/x",
                Target::Workload(Workload::StatefulSet, "x".to_owned()),
            ),
            (
                "ds/x",
                Target::Workload(Workload::DaemonSet, "x".to_owned()),
            ),
            (
                "jobs.batch/x",
                Target::Workload(Workload::Job, "x".to_owned()),
            ),
            ("svc/x", Target::Workload(Workload::Service, "x".to_owned())),
            (
                "rc/x",
                Target::Workload(Workload::ReplicationController, "x".to_owned()),
            ),
        ] {
            assert_eq!(Target::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_exist_is_refused_without_a_request() {
        for text in [
            "", "/", "pod/", "/x", "a/b/c", "Web", "web_0", "-web", "web-", "..", "secret/x",
        ] {
            assert_eq!(
                Target::parse(text).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{text:?}"
            );
        }
        assert!(checked_namespace("a.b").is_err());
        assert!(checked_namespace("kube-system").is_ok());
    }
}

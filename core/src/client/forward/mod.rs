//! Port-forward: from a target and ports to something that listens and leads there.
//!
//! - `ports`: from a port that was asked for to one of a pod
//! - `keeper`: which pods may be used, kept by a watch
//! - `route`: from a target to a session with one of its pods

mod keeper;
mod ports;
mod route;

use std::sync::Arc;

use serde_json::Value;

use self::keeper::{Pods, Slice};
use self::ports::{Ports, Service};
pub(super) use self::route::Way;
use super::Client;
use super::notice::Notice;
use super::pod::{Pod, PodList};
use super::resolve::{Selecting, pod_path};
use super::server::{Server, unusable};
use super::target::{self, Target, Workload};
use super::watch::{Resource, Selection};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::portforward::{self, ForwardOptions, PortPair};
use crate::session::forward::{PortForward, Remote, Route as _, Setup, bind};

/// The most sessions that connections are spread over.
const SESSIONS: usize = 16;

impl Client {
    /// Forwards local ports to ports of `POD` or `TYPE/NAME`, each `[LOCAL:]REMOTE` as kubectl writes
    /// them, with names for numbers; those of a service are its own.
    ///
    /// It goes on until it is closed: a lost session is replaced, and so is a pod, by another of the
    /// target that is ready, or by the next one of the same name. Pods are watched for that; where that
    /// is not allowed, they are listed every second, and one that is named is asked for by its name.
    /// Nobody needs more rights than for kubectl. With [`balance`](ForwardOptions::balance) all ready pods
    /// are used, of a service those in its EndpointSlices, where these may be listed and watched.
    ///
    /// # Errors
    /// `Invalid` for what cannot be asked, `NotFound`, `Forbidden`, … as the server says of the target,
    /// its ports and the upgrade, `NotStarted` when no pod may be used in time or a port cannot be
    /// listened on, `Unsupported` for UDP and when the server speaks no offered protocol.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn port_forward(
        &self,
        target: &str,
        ports: impl IntoIterator<Item = impl Into<String>>,
        options: ForwardOptions,
    ) -> Result<PortForward> {
        let ports = ports.into_iter().map(Into::into).collect();
        self.forward(target, ports, options).await
    }

    async fn forward(
        &self,
        target: &str,
        ports: Vec<String>,
        options: ForwardOptions,
    ) -> Result<PortForward> {
        let way = self.way(target, ports, &options).await?;
        let numbers = way.choose(None).await.map_err(|it| it.error)?.numbers;
        let (listeners, notes) = bind(&way.wanted(&numbers), &options)?;
        for note in notes {
            self.server.tell(&Notice::Listening { note });
        }
        let names = way.ports().names().zip(&numbers);
        let remotes = names.map(|(name, number)| Remote {
            name,
            number: number.get(),
        });
        let remotes = remotes.collect();
        let first = way.open(0, None).await.map_err(|it| it.error)?;
        let way = Arc::new(way);
        PortForward::start(Setup::new(way, first, listeners, remotes, options))
    }

    /// Finds the way to the pods of a target.
    pub(super) async fn way(
        &self,
        target: &str,
        ports: Vec<String>,
        options: &ForwardOptions,
    ) -> Result<Way> {
        let target = Target::parse(target)?;
        let namespace = options.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| self.namespace().to_owned());
        target::checked_namespace(&namespace)?;
        let pairs = portforward::ports(ports.iter().map(String::as_str)).map_err(unusable)?;
        check(&pairs, options)?;
        let (ports, pods) = find(&self.server, &target, &namespace, pairs, options).await?;
        let server = Arc::clone(&self.server);
        Ok(Way::new(
            server,
            namespace,
            target,
            ports,
            options.clone(),
            pods,
        ))
    }
}

/// Refuses what can only be a mistake before anything is sent.
fn check(pairs: &[PortPair], options: &ForwardOptions) -> Result<()> {
    let refuse = |message: &str| Err(Error::new(ErrorKind::Invalid, message));
    if !options.address.is_empty() && options.unix.is_none() {
        let addresses = options.address.iter().map(String::as_str);
        portforward::addresses(addresses).map_err(unusable)?;
    }
    if options.unix.is_some() && pairs.len() != 1 {
        return refuse("a Unix socket leads to one port: name one, or listen on addresses");
    }
    if !(1..=SESSIONS).contains(&options.sessions) {
        return refuse(&format!("sessions are 1 to {SESSIONS}"));
    }
    let limits = &options.limits;
    let named = [
        ("connect", limits.connect),
        ("keepalive_timeout", limits.keepalive_timeout),
        ("pod_running", options.pod_running_timeout),
        ("stall", limits.stall),
    ];
    match named.iter().find(|(_, limit)| limit.is_zero()) {
        Some((name, _)) => refuse(&format!("the {name} time limit must be higher than zero")),
        None => Ok(()),
    }
}

/// Asks for the target, and for its pods as they are now.
async fn find(
    server: &Server,
    target: &Target,
    namespace: &str,
    pairs: Vec<PortPair>,
    options: &ForwardOptions,
) -> Result<(Ports, Pods)> {
    let connect = options.limits.connect;
    let mut selection = Selection {
        resource: Resource::Pods,
        namespace: Some(namespace.to_owned()),
        labels: None,
        name: None,
        words: target.to_string(),
    };
    let rule = route::rule(target, options);
    let (workload, name) = match target {
        Target::Pod(name) => {
            let path = pod_path(namespace, name);
            let pod: Pod = server
                .object(&path, &[], Some(connect))
                .await
                .map_err(fitting)?;
            selection.name = Some(name.clone());
            let pods = Pods {
                selection,
                rule,
                known: vec![pod],
                version: None,
                slices: None,
            };
            return Ok((Ports::of_pods(pairs), pods));
        }
        Target::Workload(workload, name) => (*workload, name),
    };
    let path = workload.path(namespace, name);
    let object: Value = server.object(&path, &[], Some(connect)).await?;
    let ports = match workload {
        Workload::Service => Ports::of_service(pairs, &read::<Service>(&object, target)?)?,
        _ => Ports::of_pods(pairs),
    };
    let selecting: Selecting = read(&object, target)?;
    selection.labels = Some(selecting.selector(workload, name)?);
    let slices = match (workload, options.balance) {
        (Workload::Service, Some(_)) => slices(server, namespace, name, options).await,
        _ => None,
    };
    let list: PodList = selection.list(server, connect).await?;
    let pods = Pods {
        selection,
        rule,
        known: list.items,
        version: Some(list.metadata.resource_version),
        slices,
    };
    Ok((ports, pods))
}

/// Asks for the endpoints of a service; nothing where that is not allowed.
async fn slices(
    server: &Server,
    namespace: &str,
    name: &str,
    options: &ForwardOptions,
) -> Option<(Selection, Vec<Slice>, String)> {
    let selection = Selection {
        resource: Resource::EndpointSlices,
        namespace: Some(namespace.to_owned()),
        labels: Some(format!("kubernetes.io/service-name={name}")),
        name: None,
        words: format!("the endpoints of service/{name}"),
    };
    let list = selection
        .list::<Slice>(server, options.limits.connect)
        .await;
    match list {
        Ok(list) => Some((selection, list.items, list.metadata.resource_version)),
        Err(error) => {
            tracing::debug!(error = %error.report(), "no endpoints, pods will do");
            None
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(object: &Value, target: &Target) -> Result<T> {
    T::deserialize(object.clone()).map_err(|error| {
        Error::new(
            ErrorKind::NotStarted,
            format!("{target} cannot be understood"),
        )
        .because(error.to_string())
    })
}

/// Replaces the remedy of a pod that may not be read by one for this verb.
fn fitting(error: Error) -> Error {
    if error.kind() != ErrorKind::Forbidden {
        return error;
    }
    let new = Error::new(error.kind(), error.to_string())
        .answered(error.http_status().unwrap_or_default())
        .with_reason(error.reason().map(str::to_owned))
        .remedy("allow get on pods");
    match error.why() {
        Some(why) => new.because(why),
        None => new,
    }
}

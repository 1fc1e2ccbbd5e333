//! From a port that was asked for to one of a pod.
//!
//! Lives here: kubectl's rules (pkg/cmd/portforward, pkg/util: service_port.go, pod_port.go), and the
//! words for what is not there. Never here: requests, which pod, local ports.

use std::num::NonZeroU16;

use serde::Deserialize;
use serde_json::Value;

use crate::client::pod::{ContainerPort, Pod, nullable};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::portforward::{PortPair, RemotePort};
use crate::protocol::text::excerpt;

/// How much of a foreign name is shown: names of ports have at most 63 letters.
const SHOWN: usize = 63;

/// The ports that were asked for.
pub(super) struct Ports(Vec<Port>);

struct Port {
    pair: PortPair,
    /// What is looked up in a pod.
    remote: RemotePort,
    /// The number of the service's port.
    service: Option<NonZeroU16>,
}

/// What is looked at of a service.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    metadata: Named,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    external_name: Option<String>,
    r#type: Option<String>,
    #[serde(deserialize_with = "nullable")]
    ports: Vec<ServicePort>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServicePort {
    name: Option<String>,
    port: u16,
    protocol: Option<String>,
    target_port: Value,
}

impl Ports {
    /// Takes ports of a pod.
    pub(super) fn of_pods(pairs: Vec<PortPair>) -> Self {
        let port = |pair: PortPair| Port {
            remote: pair.remote.clone(),
            service: None,
            pair,
        };
        Self(pairs.into_iter().map(port).collect())
    }

    /// Takes ports of a service.
    ///
    /// # Errors
    /// `NotFound` for one that it has not, `Unsupported` for one that is not TCP, `Invalid` for a
    /// service that leads out of the cluster.
    pub(super) fn of_service(pairs: Vec<PortPair>, service: &Service) -> Result<Self> {
        service.leads_to_pods()?;
        let port = |pair: PortPair| {
            let own = service.port(&pair.remote)?;
            Ok(Port {
                remote: service.behind(own),
                service: NonZeroU16::new(own.port),
                pair,
            })
        };
        let ports: Result<_> = pairs.into_iter().map(port).collect();
        Ok(Self(ports?))
    }

    /// Returns the numbers in a pod.
    ///
    /// # Errors
    /// `NotFound` for a name that it has not, `Unsupported` for a port that it declares, but not as TCP.
    pub(super) fn in_pod(&self, pod: &Pod) -> Result<Vec<NonZeroU16>> {
        let number = |port: &Port| match &port.remote {
            RemotePort::Name(name) => named(pod, name),
            RemotePort::Number(number) if port.service.is_some() => Ok(*number),
            RemotePort::Number(number) => {
                // One that is not declared may be open as well.
                let declared = pod.ports().filter(|it| it.container_port == number.get());
                tcp(declared, |it| it.protocol.as_deref(), &number.to_string()).map(|_| *number)
            }
        };
        self.0.iter().map(number).collect()
    }

    /// Returns the local numbers, 0 for any, where the numbers in a pod are these.
    pub(super) fn local<'a>(&'a self, numbers: &'a [NonZeroU16]) -> impl Iterator<Item = u16> + 'a {
        let both = self.0.iter().zip(numbers);
        both.map(|(port, number)| port.pair.local_for(port.service.unwrap_or(*number)))
    }

    /// Returns what was asked for: `80`, `http`.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|port| match &port.pair.remote {
            RemotePort::Name(name) => name.clone(),
            RemotePort::Number(number) => number.to_string(),
        })
    }
}

impl Service {
    fn leads_to_pods(&self) -> Result<()> {
        if self.spec.r#type.as_deref() != Some("ExternalName") {
            return Ok(());
        }
        let host = self.spec.external_name.as_deref().unwrap_or("another host");
        let (name, host) = (self.name(), excerpt(host.as_bytes(), 253));
        let message = format!("service/{name} is an ExternalName: it has no pods");
        Err(Error::new(ErrorKind::Invalid, message)
            .because(format!("it is another name for {host}"))
            .remedy(format!("connect to {host} itself, or name a pod")))
    }

    /// Finds the port that is meant. Of several with one number the one for TCP is.
    fn port(&self, remote: &RemotePort) -> Result<&ServicePort> {
        let ports = &self.spec.ports;
        let number = match remote {
            RemotePort::Number(number) => number.get(),
            RemotePort::Name(name) => {
                let named = ports.iter().find(|it| it.name.as_deref() == Some(name));
                let missing = || {
                    let service = self.name();
                    self.lacks(format!(
                        "Service '{service}' does not have a named port '{name}'"
                    ))
                };
                named.ok_or_else(missing)?.port
            }
        };
        let alike = ports.iter().filter(|it| it.port == number);
        let found = tcp(alike, |it| it.protocol.as_deref(), &number.to_string())?;
        found.ok_or_else(|| {
            let service = self.name();
            self.lacks(format!(
                "Service {service} does not have a service port {number}"
            ))
        })
    }

    /// Returns what is behind a port.
    fn behind(&self, port: &ServicePort) -> RemotePort {
        let headless = self.spec.cluster_ip.as_deref() == Some("None");
        match &port.target_port {
            // Nothing translates the ports of a headless service: its own is the pod's.
            Value::String(name) if !headless => RemotePort::Name(name.clone()),
            target => {
                let target = target.as_u64().filter(|_| !headless);
                let target = target.and_then(|target| u16::try_from(target).ok());
                let target = target.and_then(NonZeroU16::new);
                let own = NonZeroU16::new(port.port).unwrap_or(NonZeroU16::MIN);
                RemotePort::Number(target.unwrap_or(own))
            }
        }
    }

    fn lacks(&self, message: String) -> Error {
        let ports = self.spec.ports.iter();
        let ports = ports.map(|it| shown(it.name.as_deref(), it.port, it.protocol.as_deref()));
        Error::new(ErrorKind::NotFound, message).because(has(ports.collect()))
    }

    fn name(&self) -> String {
        excerpt(self.metadata.name.as_bytes(), 253)
    }
}

/// Finds a port of a pod by its name.
fn named(pod: &Pod, name: &str) -> Result<NonZeroU16> {
    let found = pod.ports().find(|it| it.name == name);
    let number = found.and_then(|it| NonZeroU16::new(it.container_port));
    let Some(number) = number else {
        let pod_name = excerpt(pod.metadata.name.as_bytes(), 253);
        let message = format!("Pod '{pod_name}' does not have a named port '{name}'");
        let names = pod.ports().filter(|it| !it.name.is_empty());
        let show =
            |it: &ContainerPort| shown(Some(&it.name), it.container_port, it.protocol.as_deref());
        return Err(Error::new(ErrorKind::NotFound, message)
            .because(has(names.map(show).collect()))
            .remedy("the port by its number: the pod need not declare it"));
    };
    let alike = pod.ports().filter(|it| it.container_port == number.get());
    tcp(alike, |it| it.protocol.as_deref(), name).map(|_| number)
}

/// Finds the port for TCP among those with one number; nothing where there is none at all.
fn tcp<'a, T>(
    ports: impl Iterator<Item = &'a T>,
    protocol: impl Fn(&T) -> Option<&str>,
    asked: &str,
) -> Result<Option<&'a T>> {
    let mut other = None;
    for port in ports {
        match protocol(port) {
            None | Some("" | "TCP") => return Ok(Some(port)),
            Some(protocol) => other = other.or_else(|| Some(excerpt(protocol.as_bytes(), SHOWN))),
        }
    }
    match other {
        None => Ok(None),
        Some(protocol) => {
            // kubectl pkg/cmd/portforward/portforward.go: the same words.
            let message = format!("{protocol} protocol is not supported for {asked}");
            Err(Error::new(ErrorKind::Unsupported, message)
                .because("Kubernetes forwards TCP connections and nothing else")
                .remedy("a TCP port, where the pod serves the same over TCP, as DNS does")
                .remedy("kubectl wsx exec POD -- …   # a client of that protocol, in the pod"))
        }
    }
}

fn shown(name: Option<&str>, number: u16, protocol: Option<&str>) -> String {
    let name = name.filter(|name| !name.is_empty());
    let name = name.map(|name| excerpt(name.as_bytes(), SHOWN));
    let number = match protocol {
        None | Some("" | "TCP") => number.to_string(),
        Some(other) => format!("{number}/{}", excerpt(other.as_bytes(), SHOWN)),
    };
    match name {
        Some(name) => format!("{name} ({number})"),
        None => number,
    }
}

fn has(ports: Vec<String>) -> String {
    match ports.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has: {}", ports.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs(texts: &[&str]) -> Vec<PortPair> {
        texts
            .iter()
            .map(|it| PortPair::parse(it).unwrap())
            .collect()
    }

    fn pod(ports: Value) -> Pod {
        let containers = json!([{"name": "app", "ports": ports}, {"name": "other"}]);
        let init = json!([{"name": "side", "ports": [{"name": "side", "containerPort": 7}]}]);
        let value = json!({
            "metadata": {"name": "web-0"},
            "spec": {"containers": containers, "initContainers": init},
        });
        serde_json::from_value(value).unwrap()
    }

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
    }

    /// The remote numbers and the local ones, or the words for why there are none.
    fn through(ports: Result<Ports>, pod: &Pod) -> String {
        let words = |error: Error| {
            let why = error.why().unwrap_or_default().to_owned();
            format!("{}: {error}: {why}", error.kind())
        };
        let ports = match ports {
            Ok(ports) => ports,
            Err(error) => return words(error),
        };
        match ports.in_pod(pod) {
            Ok(numbers) => {
                let local: Vec<_> = ports.local(&numbers).collect();
                format!("{local:?} to {numbers:?}")
            }
            Err(error) => words(error),
        }
    }

    #[test]
    fn ports_of_a_pod() {
        let pod = pod(json!([
            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53},
            {"name": "syslog", "containerPort": 514, "protocol": "UDP"},
            {"containerPort": 9, "protocol": "SCTP"},
        ]));
        let lacks = "it has: http (8080), dns (53/UDP), dns-tcp (53), syslog (514/UDP), side (7)";
        let tcp_only = "Kubernetes forwards TCP connections and nothing else";
        for (text, expected) in [
            ("80", "[80] to [80]".to_owned()),
            ("8080:80", "[8080] to [80]".to_owned()),
            (":80", "[0] to [80]".to_owned()),
            ("http", "[8080] to [8080]".to_owned()),
            ("80:http", "[80] to [8080]".to_owned()),
            ("side", "[7] to [7]".to_owned()),
            // The same number is there as TCP.
            ("53", "[53] to [53]".to_owned()),
            ("dns", "[53] to [53]".to_owned()),
            (
                "514",
                format!("unsupported: UDP protocol is not supported for 514: {tcp_only}"),
            ),
            (
                "syslog",
                format!("unsupported: UDP protocol is not supported for syslog: {tcp_only}"),
            ),
            (
                "9",
                format!("unsupported: SCTP protocol is not supported for 9: {tcp_only}"),
            ),
            (
                "grpc",
                format!("not_found: Pod 'web-0' does not have a named port 'grpc': {lacks}"),
            ),
        ] {
            let ports = Ports::of_pods(pairs(&[text]));
            assert_eq!(through(Ok(ports), &pod), expected, "{text}");
        }
    }

    #[test]
    fn ports_of_a_service() {
        let pod = pod(json!([
            {"name": "http", "containerPort": 8080},
            {"name": "syslog", "containerPort": 514, "protocol": "UDP"},
        ]));
        let ports = json!([
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "https", "port": 443, "targetPort": 8443},
            {"name": "plain", "port": 81},
            {"name": "zero", "port": 82, "targetPort": 0},
            {"name": "grpc", "port": 83, "targetPort": "grpc"},
            {"name": "log", "port": 84, "targetPort": "syslog"},
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353},
            {"name": "dns-tcp", "port": 53, "targetPort": 5354},
            {"name": "snmp", "port": 161, "protocol": "UDP"},
        ]);
        let all = "it has: http (80), https (443), plain (81), zero (82), grpc (83), log (84), \
                   dns (53/UDP), dns-tcp (53), snmp (161/UDP)";
        let tcp_only = "Kubernetes forwards TCP connections and nothing else";
        for (text, expected) in [
            ("80", "[80] to [8080]".to_owned()),
            ("http", "[80] to [8080]".to_owned()),
            ("8080:http", "[8080] to [8080]".to_owned()),
            (":https", "[0] to [8443]".to_owned()),
            ("443", "[443] to [8443]".to_owned()),
            ("81", "[81] to [81]".to_owned()),
            ("82", "[82] to [82]".to_owned()),
            ("53", "[53] to [5354]".to_owned()),
            ("dns", "[53] to [5354]".to_owned()),
            (
                "snmp",
                format!("unsupported: UDP protocol is not supported for 161: {tcp_only}"),
            ),
            (
                "84",
                format!("unsupported: UDP protocol is not supported for syslog: {tcp_only}"),
            ),
            (
                "83",
                "not_found: Pod 'web-0' does not have a named port 'grpc': it has: http (8080), \
                 syslog (514/UDP), side (7)"
                    .to_owned(),
            ),
            (
                "8080",
                format!("not_found: Service web does not have a service port 8080: {all}"),
            ),
            (
                "metrics",
                format!("not_found: Service 'web' does not have a named port 'metrics': {all}"),
            ),
        ] {
            let service = service(json!({"clusterIP": "10.0.0.1", "ports": ports}));
            let ports = Ports::of_service(pairs(&[text]), &service);
            assert_eq!(through(ports, &pod), expected, "{text}");
        }
        let headless = service(json!({"clusterIP": "None", "ports": ports}));
        let ports = Ports::of_service(pairs(&["80", "https", "83"]), &headless);
        assert_eq!(through(ports, &pod), "[80, 443, 83] to [80, 443, 83]");
    }

    #[test]
    fn a_service_that_leads_elsewhere_or_nowhere() {
        let spec = json!({"type": "ExternalName", "externalName": "db.example.com"});
        let expected = "invalid: service/web is an ExternalName: it has no pods: it is another name \
                        for db.example.com";
        let pod = pod(json!([]));
        let ports = |spec| Ports::of_service(pairs(&["80"]), &service(spec));
        assert_eq!(through(ports(spec), &pod), expected);
        let expected = "not_found: Service web does not have a service port 80: it has none";
        assert_eq!(through(ports(json!({"ports": null})), &pod), expected);
    }

    #[test]
    fn foreign_names_cannot_steer_a_terminal() {
        let spec = json!({"ports": [{"name": "a\u{1b}[2J", "port": 1, "protocol": "\u{1b}"}]});
        let ports = Ports::of_service(pairs(&["80"]), &service(spec));
        let text = through(ports, &pod(json!([{"name": "\u{1b}", "containerPort": 2}])));
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

//! Port-forward: the answer to `…/portforward`, in both protocols that travel in a WebSocket.
//!
//! Lives here: the checks in the order of the real path, and the choice. Never here: sessions (`tunnel`,
//! `channels`), pods' ports (`ports`).

mod channels;
pub(crate) mod control;
mod dictionary;
mod faults;
mod frame;
mod handle;
mod listen;
mod out;
mod ports;
mod sandbox;
mod servers;
pub(crate) mod site;
mod streams;
mod tunnel;
mod web;

use serde_json::Value;

use self::faults::{Faults, Handshake};
pub use self::handle::Forward;
use self::sandbox::Sandbox;
pub(crate) use self::site::Forwards;
use self::site::Protocols;
use super::http::{Request, Response};
use super::inlet::Inlet;
use super::listener::Listener;
use super::remote::{self, Next, Terminator};
use super::world::World;
use crate::wire;

/// A session that may begin.
pub(crate) struct Session {
    /// Counted before the client hears of it.
    counted: site::Session,
    sandbox: Sandbox,
    faults: Faults,
    talk: Talk,
}

/// What is spoken.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Talk {
    /// A channel for data and one for errors, for each of these ports.
    Channels { base64: bool, ports: Vec<u16> },
    /// SPDY/3.1, as many connections as one likes.
    Tunnel,
}

/// Answers a request for port-forward that may read and, where asked, create.
pub(crate) fn answer(world: &World, listener: &Listener, request: &Request, pod: &Value) -> Next {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if !pod["spec"]["nodeName"].is_string() {
        let text = format!("pod {name} does not have a host assigned");
        return refuse(Response::bad_request(&text));
    }
    if request.header("Upgrade").is_some()
        && let Some(next) = remote::strange(world, listener)
    {
        return next;
    }
    if !request.wants_websocket() {
        let text = if request.header("Upgrade").is_some() {
            "this cluster does not speak SPDY"
        } else {
            "Upgrade request required"
        };
        return refuse(Response::bad_request(text));
    }
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let site = world.forwards.site(namespace, name);
    let protocols = site.protocols();
    let faults = site.faults();
    if let Some(answer) = &faults.answer {
        let mut response = Response::text(answer.status, answer.body.clone());
        response.content_type = answer.content_type.clone();
        return refuse(response);
    }
    let line = remote::first_line(request).unwrap_or_default();
    let offered: Vec<&str> = line.split(',').map(str::trim).collect();
    // apiserver: the tunnel wins wherever it stands in the list.
    let tunnels =
        listener.version.tunnels() && matches!(protocols, Protocols::Both | Protocols::Tunnel);
    let in_tunnels: Vec<&str> = offered
        .iter()
        .filter_map(|name| name.strip_prefix("SPDY/3.1+"))
        .filter(|name| tunnels && name.ends_with(".k8s.io"))
        .collect();
    let (chosen, end) = if in_tunnels.contains(&PORT_FORWARD) {
        (Some((TUNNEL, Talk::Tunnel)), Terminator::ApiServer)
    } else if !in_tunnels.is_empty() {
        return refuse(negotiation(&in_tunnels));
    } else {
        // The kubelet reads the ports before anybody looks at the protocol.
        let ports = match ports_of(request) {
            Ok(ports) => ports,
            Err(response) => return refuse(response),
        };
        let channels = matches!(protocols, Protocols::Both | Protocols::V4);
        let known = offered.iter().find_map(|name| match *name {
            name @ ("" | "v4.channel.k8s.io") => Some((name, false)),
            name @ "v4.base64.channel.k8s.io" => Some((name, true)),
            _ => None,
        });
        let known = known.filter(|_| channels);
        let talk = known.map(|(name, base64)| (name, Talk::Channels { base64, ports }));
        (talk, Terminator::Node)
    };
    let sandbox = match Sandbox::new(site, world.pods.clone(), pod) {
        Ok(sandbox) => sandbox,
        Err(text) => return refuse(Response::text(500, text)),
    };
    let (subprotocol, talk) = match remote::handshake(request, chosen, end) {
        Ok(chosen) => chosen,
        Err(bytes) => return Next::Last(bytes),
    };
    let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
    let head = head(key, subprotocol, &faults);
    match faults.handshake {
        Some(Handshake::Eof) => Next::Nothing,
        Some(Handshake::Rst) => Next::Reset,
        Some(Handshake::Silent) => Next::Silence(Vec::new()),
        Some(Handshake::BadAccept | Handshake::NoSubprotocol) | None => {
            let session = Session {
                counted: sandbox.site.begin(),
                sandbox,
                faults,
                talk,
            };
            Next::Forward(head.into_bytes(), Box::new(session))
        }
    }
}

/// The 101.
fn head(key: &str, subprotocol: &str, faults: &Faults) -> String {
    let key = match faults.handshake {
        Some(Handshake::BadAccept) => "another key",
        _ => key,
    };
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        wire::accept(key)
    );
    let subprotocol = faults.subprotocol.as_deref().unwrap_or(subprotocol);
    if faults.handshake != Some(Handshake::NoSubprotocol) {
        head.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// The ports of the query, or the refusal: of the API server, for which they are numbers, or of the kubelet.
// apimachinery runtime conversion; kubernetes cri-streaming portforward/websocket.go: NewV4Options.
fn ports_of(request: &Request) -> Result<Vec<u16>, Response> {
    let named = request.query.iter().filter(|pair| pair.0 == "ports");
    let mut numbers = Vec::new();
    for (_, text) in named {
        let number = text.parse::<u32>().map_err(|_| {
            let parsing = format!("strconv.ParseUint: parsing \"{text}\": invalid syntax");
            Response::bad_request(&format!("cannot convert to []int32: {parsing}"))
        });
        numbers.push(number?);
    }
    let text = |text: String| Response::text(400, text);
    if numbers.is_empty() {
        return Err(text("query parameter \"port\" is required".to_owned()));
    }
    let ports = numbers
        .into_iter()
        .map(|number| match u16::try_from(number) {
            Ok(0) => Err(text("port \"0\" must be > 0".to_owned())),
            Ok(port) => Ok(port),
            Err(_) => {
                let parsing =
                    format!("strconv.ParseUint: parsing \"{number}\": value out of range");
                Err(text(format!(
                    "unable to parse \"{number}\" as a port: {parsing}"
                )))
            }
        });
    ports.collect()
}

impl Session {
    /// Runs to the end of the session; connections with the pod end a second later at most.
    pub(crate) async fn run(self, inlet: Inlet) {
        let Self {
            counted,
            sandbox,
            faults,
            talk,
        } = self;
        match talk {
            Talk::Tunnel => tunnel::run(inlet, counted, sandbox, faults).await,
            Talk::Channels { base64, ports } => {
                channels::run(inlet, counted, sandbox, faults, (base64, ports)).await;
            }
        }
    }
}

/// The runtime's refusal of what was offered to travel in a tunnel.
fn negotiation(offered: &[&str]) -> Response {
    let text = format!(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{PORT_FORWARD}]\n",
        offered.join(" ")
    );
    let mut response = Response::text(403, text);
    let accepted = (
        "X-Accepted-Stream-Protocol-Versions",
        PORT_FORWARD.to_owned(),
    );
    response.extra.push(accepted);
    response
}

fn refuse(response: Response) -> Next {
    Next::Answer(Box::new(response))
}

const PORT_FORWARD: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

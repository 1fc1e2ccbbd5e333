//! exec and attach up to the 101: who may, which container, which subprotocol.
//!
//! Lives here: the checks in the order of the real path, and their refusals. Never here: sessions.

use serde_json::Value;

use super::faults::{Faults, Handshake, HandshakeWord};
use super::http::{Request, Response};
use super::identity::BEARER;
use super::inlet::Inlet;
use super::listener::Listener;
use super::logs::Reply;
use super::outlet::Outlet;
use super::pods;
use super::process::{Place, Streams};
use super::program::Program;
use super::session::{self, Manners, Work};
use super::subprotocol::Subprotocol;
use super::version::{Manner, Version};
use super::watch::Watch;
use super::world::World;
use crate::status::Status;
use crate::wire;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Attach,
    Exec,
}

/// Who ends the WebSocket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Terminator {
    ApiServer,
    /// The kubelet, or the runtime behind it.
    Node,
}

/// What becomes of the connection after the answer.
pub(crate) enum Next {
    /// These bytes, then the next request.
    Answer(Box<Response>),
    /// These bytes, then the end.
    Last(Vec<u8>),
    /// The end, without a word.
    Nothing,
    /// A TCP reset.
    Reset,
    /// These bytes, then silence with the socket open.
    Silence(Vec<u8>),
    /// A log: its head is out with the first of it.
    Log(Box<Reply>),
    /// Events about pods.
    Watch(Box<Watch>),
    /// These bytes, then a session.
    Session(Vec<u8>, Box<Session>),
    /// These bytes, then a session of port-forward.
    Forward(Vec<u8>, Box<super::forward::Session>),
}

/// A session that may begin.
pub(crate) struct Session {
    subprotocol: &'static Subprotocol,
    end: Terminator,
    faults: Faults,
    /// The channel of the ready message.
    ready: u8,
    streams: Streams,
    plan: Plan,
}

enum Plan {
    Attach(Place),
    Exec(Place, Vec<String>),
    Refuse(Status),
}

/// Answers a request for exec or attach that may read and, where asked, create.
pub(crate) fn answer(
    world: &World,
    listener: &Listener,
    request: &Request,
    verb: Verb,
    pod: &Value,
) -> Next {
    let container = match pods::choose_container(pod, request.parameter("container")) {
        Ok(container) => container,
        Err(text) => return refuse(Response::bad_request(&text)),
    };
    if request.header("Upgrade").is_some()
        && let Some(next) = strange(world, listener)
    {
        return next;
    }
    if request.parameter("dryRun").is_some() {
        return refuse(Response::bad_request("dryRun is not supported"));
    }
    if !request.wants_websocket() {
        let text = if request.method == "POST" && request.header("Upgrade").is_some() {
            "this cluster does not speak SPDY"
        } else {
            "Upgrade request required"
        };
        return refuse(Response::bad_request(text));
    }
    let words: Vec<String> = request
        .query
        .iter()
        .filter(|pair| pair.0 == "command")
        .map(|pair| pair.1.clone())
        .collect();
    let (faults, command) = match Faults::split(&words) {
        Ok((faults, command)) => (faults, command.to_vec()),
        Err(text) => return refuse(Response::bad_request(&text)),
    };
    let streams = Streams {
        stdin: request.flag("stdin"),
        stdout: request.flag("stdout"),
        // The kubelet drops stderr beside a terminal.
        stderr: request.flag("stderr") && !request.flag("tty"),
        tty: request.flag("tty"),
    };
    let place = Place {
        namespace: pod["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        pod: pod["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        container,
    };
    let node_says = node_refusal(pod, &place, streams, verb);

    let line = first_line(request);
    let chosen = Subprotocol::choose(line.as_deref(), listener.version);
    let end = if chosen.is_some_and(|subprotocol| subprotocol.translated)
        && listener.version.translates_at_the_api_server()
    {
        Terminator::ApiServer
    } else {
        Terminator::Node
    };
    // Passed through, the node speaks before the WebSocket exists; translated, only after.
    if end == Terminator::Node
        && let Some((status, text)) = &node_says
    {
        return refuse(Response::text(*status, text.clone()));
    }
    let subprotocol = match handshake(request, chosen, end) {
        Ok(subprotocol) => subprotocol,
        Err(bytes) => return Next::Last(bytes),
    };
    let plan = match (node_says, verb) {
        (Some((_, text)), _) => Plan::Refuse(Status::translated(&format!(
            "unable to upgrade connection: {text}"
        ))),
        _ if subprotocol.translated && listener.version == Version::CriDockerd => {
            Plan::Refuse(Status::translated(CRI_DOCKERD))
        }
        (None, Verb::Attach) => Plan::Attach(place),
        (None, Verb::Exec) => Plan::Exec(place, command),
    };
    // The API server does not know that the kubelet drops stderr beside a terminal.
    let stderr = match end {
        Terminator::ApiServer => request.flag("stderr"),
        Terminator::Node => streams.stderr,
    };
    let ready = match (streams.stdout, stderr) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 3,
    };
    let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
    greet(
        key,
        subprotocol,
        Session {
            subprotocol,
            end,
            faults,
            ready,
            streams,
            plan,
        },
    )
}

/// What a listener with bad manners does instead.
pub(super) fn strange(world: &World, listener: &Listener) -> Option<Next> {
    Some(match listener.manner {
        Manner::Faithful | Manner::Silent | Manner::SplitLogs => return None,
        Manner::Html(status) => {
            let mut page = Response::text(status, LOGIN_PAGE);
            page.content_type = "text/html; charset=utf-8".to_owned();
            refuse(page)
        }
        Manner::Redirect => {
            let mut response = Response::text(302, "Found\n");
            response
                .extra
                .push(("Location", format!("{}/stolen", world.elsewhere())));
            refuse(response)
        }
        Manner::SlowHead => Next::Silence(b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: ".to_vec()),
        Manner::BigHead => Next::Silence(b"HTTP/1.1 101 Switching Protocols\r\nX-Big: ".to_vec()),
    })
}

/// What kubelet or runtime say before anything starts: status code and text.
fn node_refusal(pod: &Value, place: &Place, streams: Streams, verb: Verb) -> Option<(u16, String)> {
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Some((
            400,
            "you must specify at least 1 of stdin, stdout, stderr".to_owned(),
        ));
    }
    if pods::container(pod, &place.container).running {
        return None;
    }
    let Place {
        namespace,
        pod,
        container,
    } = place;
    let text = match verb {
        Verb::Attach => format!("container {container} not found in pod {pod}_{namespace}"),
        Verb::Exec => format!("container not found (\"{container}\")"),
    };
    Some((500, text))
}

/// The first line of subprotocols, without a bearer token.
pub(super) fn first_line(request: &Request) -> Option<String> {
    let line = request.header("Sec-WebSocket-Protocol")?;
    let names = line
        .split(',')
        .map(str::trim)
        .filter(|name| !name.starts_with(BEARER));
    Some(names.collect::<Vec<_>>().join(","))
}

/// The checks of x/net, in its order, and its bare answers.
pub(super) fn handshake<T>(
    request: &Request,
    chosen: Option<T>,
    end: Terminator,
) -> Result<T, Vec<u8>> {
    // What comes from the node is written anew by Go's HTTP on its way.
    let (close, version) = match end {
        Terminator::ApiServer => ("", "Sec-WebSocket-Version: 13\r\n"),
        Terminator::Node => ("Connection: close\r\n", "Sec-Websocket-Version: 13\r\n"),
    };
    let bare = |status: u16, extra: &str, text: &str| {
        let phrase = super::http::phrase(status);
        format!("HTTP/1.1 {status} {phrase}\r\n{close}{extra}\r\n{text}").into_bytes()
    };
    if request.method != "GET" {
        return Err(bare(405, "", "bad method"));
    }
    if request
        .header("Sec-WebSocket-Key")
        .unwrap_or_default()
        .is_empty()
    {
        return Err(bare(400, "", "mismatch challenge/response"));
    }
    if request.header("Sec-WebSocket-Version") != Some("13") {
        return Err(bare(400, version, "missing or bad WebSocket Version"));
    }
    chosen.ok_or_else(|| bare(403, "", ""))
}

/// The 101, or what the faults make of it.
fn greet(key: &str, subprotocol: &'static Subprotocol, session: Session) -> Next {
    let faults = &session.faults;
    let is = |word| faults.handshake_is(word);
    let accept = if is(HandshakeWord::BadAccept) {
        wire::accept("another key")
    } else {
        wire::accept(key)
    };
    let connection = if is(HandshakeWord::ConnectionList) {
        "keep-alive, Upgrade"
    } else {
        "Upgrade"
    };
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: {connection}\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if is(HandshakeWord::Extension) {
        head.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    let name = match &faults.handshake {
        Some(Handshake::Subprotocol(other)) => &other.subprotocol,
        _ => subprotocol.name,
    };
    if !is(HandshakeWord::NoSubprotocol) {
        head.push_str(&format!("Sec-WebSocket-Protocol: {name}\r\n"));
    }
    head.push_str("\r\n");
    match &faults.handshake {
        Some(Handshake::Word(HandshakeWord::Eof)) => Next::Nothing,
        Some(Handshake::Word(HandshakeWord::Rst)) => Next::Reset,
        Some(Handshake::Word(HandshakeWord::Silent)) => Next::Silence(Vec::new()),
        Some(Handshake::Head(cut)) => {
            Next::Silence(head.as_bytes()[..cut.head_bytes.min(head.len())].to_vec())
        }
        Some(Handshake::Status(answer)) => {
            let mut response = Response::text(answer.status, answer.body.clone());
            response.content_type = answer.content_type.clone();
            refuse(response)
        }
        Some(Handshake::Word(_) | Handshake::Subprotocol(_)) | None => {
            Next::Session(head.into_bytes(), Box::new(session))
        }
    }
}

impl Session {
    /// Starts what was asked for and runs to the end.
    pub(crate) async fn run(self, world: &World, inlet: Inlet) {
        let Self {
            subprotocol,
            end,
            faults,
            ready,
            streams,
            plan,
        } = self;
        let refused = |text: String| {
            Work::Refused(if subprotocol.translated {
                Status::translated(&format!("Internal error occurred: {text}"))
            } else {
                Status::not_done(&text)
            })
        };
        let work = match plan {
            Plan::Refuse(status) => Work::Refused(status),
            Plan::Attach(place) => {
                let pod = world
                    .pods
                    .get(&place.namespace, &place.pod)
                    .unwrap_or_default();
                let container = pods::container(&pod, &place.container);
                let attached = world
                    .mains
                    .attach(&place, &container, &world.node, &world.pods);
                attached.map_or_else(refused, Work::Attached)
            }
            Plan::Exec(place, command) => match Program::parse(&command) {
                Some(program) => Work::Program(program),
                None => match world.node.start(&place, &command, streams) {
                    Ok(process) => Work::Process(Box::new(process), command),
                    Err(text) => refused(text),
                },
            },
        };
        let outlet = Outlet::new(inlet.connection.clone(), subprotocol, faults);
        let manner = Manners { end, ready };
        session::run(inlet, outlet, streams, manner, work).await;
    }
}

fn refuse(response: Response) -> Next {
    Next::Answer(Box::new(response))
}

const CRI_DOCKERD: &str = "error sending request: Post \"//[::]:33733/cri/exec/p09n54Wf\": \
     http: server gave HTTP response to HTTPS client";
const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>\u{1b}]0;owned\u{7}Sign in</title></head>\n\
     <body>\u{1b}[31mPlease sign in\u{1b}[0m\r\n<form action=\"/login\"></form></body></html>\n";

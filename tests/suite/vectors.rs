//! The shared vectors, read by Rust. Python and Node read the same files.

use std::num::NonZeroU16;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use wsx_core::protocol::machine::process::{Command, Event, Process, Stream, Streams};
use wsx_core::protocol::machine::{Machine, Outgoing};
use wsx_core::protocol::portforward::request::portforward;
use wsx_core::protocol::portforward::{self, LocalPort, RemotePort};
use wsx_core::protocol::request::{self, PodRef};
use wsx_core::protocol::spdy::{self, Half};
use wsx_core::protocol::status::{self, Verdict};
use wsx_core::protocol::subprotocol::{Encoding, StatusForm};
use wsx_core::protocol::websocket::{MessageKind, Piece};
use wsx_core::{AttachOptions, ErrorKind, ExecOptions, Size, Subprotocol};

/// Runs every case of a file; the closure returns the output, or the kind of an error.
fn check(file: &str, run: impl Fn(&Value) -> Result<Value, &'static str>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(file);
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty(), "{file} is empty");
    for case in cases {
        let expected = match case.get("error") {
            Some(kind) => Err(kind.as_str().unwrap()),
            None => Ok(case["output"].clone()),
        };
        assert_eq!(run(&case["input"]), expected, "{file}: {}", case["name"]);
    }
}

fn unhex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verdict(verdict: Option<Verdict>) -> Value {
    match verdict {
        None => Value::Null,
        Some(Verdict::Exited { code }) => json!({ "exited": code }),
        Some(Verdict::Failed { .. }) => json!("failed"),
        Some(Verdict::NotStarted { .. }) => json!("not_started"),
        Some(Verdict::Unreadable { .. }) => json!("unreadable"),
        Some(other) => panic!("no word for {other:?}"),
    }
}

#[test]
fn subprotocol() {
    check("subprotocol.json", |input| {
        let subprotocol = Subprotocol::parse(input.as_str().unwrap()).ok_or("invalid")?;
        Ok(json!({
            "encoding": match subprotocol.encoding() {
                Encoding::Base64 => "base64",
                Encoding::Binary => "binary",
                other => panic!("no word for {other:?}"),
            },
            "half_close": subprotocol.half_close(),
            "status": match subprotocol.status_form() {
                StatusForm::Object => "object",
                StatusForm::Text => "text",
                other => panic!("no word for {other:?}"),
            },
        }))
    });
}

#[test]
fn status() {
    check("status.json", |input| {
        let form = match input["form"].as_str().unwrap() {
            "object" => StatusForm::Object,
            _ => StatusForm::Text,
        };
        let (touched, done) = (input["touched"] == true, input["done"] == true);
        Ok(verdict(status::read(
            form,
            input["text"].as_str().unwrap().as_bytes(),
            touched,
            done,
        )))
    });
}

#[test]
fn start_failure() {
    check("start_failure.json", |input| {
        Ok(json!(status::is_start_failure(input.as_str().unwrap())))
    });
}

#[test]
fn channel() {
    check("channel.json", |input| {
        let name = |stream: &str| match input.get("streams") {
            Some(streams) => streams
                .as_array()
                .unwrap()
                .iter()
                .any(|name| name == stream),
            None => stream != "tty",
        };
        let streams = Streams::new(name("stdin"), name("stdout"), name("stderr"), name("tty"));
        let subprotocol = Subprotocol::parse(input["subprotocol"].as_str().unwrap()).unwrap();
        let process = Process::new(subprotocol, streams, None);
        match (input.get("receive"), input.get("send")) {
            (Some(messages), None) => receive(process, messages.as_array().unwrap()),
            (None, Some(commands)) => Ok(send(process, commands.as_array().unwrap())),
            _ => panic!("either receive or send"),
        }
    });
}

fn receive(mut process: Process, messages: &[Value]) -> Result<Value, &'static str> {
    let mut events = Vec::new();
    for message in messages {
        let piece = match message.get("text") {
            Some(text) => {
                let data = Bytes::copy_from_slice(text.as_str().unwrap().as_bytes());
                Piece::whole(MessageKind::Text, data)
            }
            None => Piece::whole(MessageKind::Binary, unhex(&message["binary"]).into()),
        };
        process.receive(piece).map_err(|_| "protocol")?;
        while let Some(Event::Output { stream, data }) = process.poll_event() {
            let name = if stream == Stream::Stdout {
                "stdout"
            } else {
                "stderr"
            };
            events.push(json!([name, hex(&data)]));
        }
    }
    Ok(json!({ "events": events, "verdict": verdict(process.verdict()) }))
}

fn send(mut process: Process, commands: &[Value]) -> Value {
    for command in commands {
        process.command(match command.as_object() {
            None => Command::StdinEnd,
            Some(named) if named.contains_key("stdin") => {
                Command::Stdin(unhex(&named["stdin"]).into())
            }
            Some(named) => {
                let side = |index: usize| named["resize"][index].as_u64().unwrap() as u16;
                Command::Resize(Size::new(side(0), side(1)))
            }
        });
    }
    let mut messages = Vec::new();
    while let Some(Outgoing {
        kind, head, data, ..
    }) = process.poll_transmit()
    {
        let payload = [&[head], &data[..]].concat();
        messages.push(match kind {
            MessageKind::Text => json!({ "text": String::from_utf8(payload).unwrap() }),
            _ => json!({ "binary": hex(&payload) }),
        });
    }
    json!({ "messages": messages })
}

#[test]
fn request() {
    check("request.json", |input| {
        let flag = |name: &str, default: bool| {
            input
                .get(name)
                .map_or(default, |flag| flag.as_bool().unwrap())
        };
        let options = ExecOptions::default()
            .stdin(flag("stdin", false))
            .stdout(flag("stdout", true))
            .stderr(flag("stderr", true))
            .tty(flag("tty", false));
        let container = input.get("container").map(|name| name.as_str().unwrap());
        let pod = PodRef::new("default", "web-0");
        let request = if input["verb"] == "portforward" {
            let port = input["port"].as_u64().unwrap().try_into().unwrap();
            portforward(&pod, NonZeroU16::new(port).unwrap())
        } else if input["verb"] == "exec" {
            let words = input["command"].as_array().unwrap();
            let command: Vec<_> = words
                .iter()
                .map(|word| word.as_str().unwrap().into())
                .collect();
            request::exec(&pod, container, &command, &options)
        } else {
            let mut attach = AttachOptions::default();
            attach.streams = options;
            request::attach(&pod, container, &attach)
        };
        request
            .map(|request| json!(request.uri().to_string()))
            .map_err(|_| "invalid")
    });
}

#[test]
fn spdy() {
    check("spdy.json", |input| {
        match (input.get("receive"), input.get("send")) {
            (Some(messages), None) => spdy_heard(messages.as_array().unwrap()),
            (None, Some(frames)) => Ok(json!(spdy_said(frames.as_array().unwrap()))),
            _ => panic!("either receive or send"),
        }
    });
}

fn spdy_heard(messages: &[Value]) -> Result<Value, &'static str> {
    let (mut decoder, mut heard) = (spdy::Decoder::default(), Vec::new());
    for message in messages {
        let mut input = Bytes::from(unhex(message));
        while let Some(incoming) = decoder.decode(&mut input).map_err(|_| "protocol")? {
            heard.push(match incoming {
                spdy::Incoming::Data {
                    stream, data, fin, ..
                } => json!(["data", stream, hex(&data), fin]),
                spdy::Incoming::GoAway { last, status, .. } => json!(["goaway", last, status]),
                spdy::Incoming::Ping(id) => json!(["ping", id]),
                spdy::Incoming::Reply { stream, fin, .. } => json!(["reply", stream, fin]),
                spdy::Incoming::Reset { stream, status, .. } => json!(["reset", stream, status]),
                other => panic!("no word for {other:?}"),
            });
        }
    }
    Ok(json!(heard))
}

fn spdy_said(frames: &[Value]) -> String {
    let (mut opener, mut out) = (spdy::Opener::default(), BytesMut::new());
    for frame in frames {
        let number = |name: &str| frame.get(name).map(|value| value.as_u64().unwrap());
        let (status, narrow) = (number("status"), |value: u64| u32::try_from(value).unwrap());
        if let (Some(stream), Some(port)) = (number("open"), number("port")) {
            let half = match frame["half"].as_str().unwrap() {
                "data" => Half::Data,
                _ => Half::Error,
            };
            let port = u16::try_from(port).unwrap().try_into().unwrap();
            let request = narrow(number("request").unwrap());
            opener.open(&mut out, narrow(stream), half, port, request);
        } else if let Some(stream) = number("data") {
            let data = frame.get("bytes").map(unhex).unwrap_or_default();
            spdy::put_data(&mut out, narrow(stream), &data, frame["fin"] == true);
        } else if let (Some(stream), Some(status)) = (number("reset"), status) {
            spdy::put_reset(&mut out, narrow(stream), narrow(status));
        } else if let Some(id) = number("ping") {
            spdy::put_ping(&mut out, narrow(id));
        } else {
            spdy::put_go_away(&mut out, narrow(number("goaway").unwrap()));
        }
    }
    hex(&out)
}

#[test]
fn ports() {
    check("ports.json", |input| {
        let texts = |name: &str| {
            let texts = input.get(name)?.as_array().unwrap().iter();
            Some(texts.map(|text| text.as_str().unwrap()))
        };
        if let Some(addresses) = texts("addresses") {
            let listens = portforward::addresses(addresses).map_err(|_| "invalid")?;
            let listens = listens.iter().map(|one| json!([one.address, one.required]));
            return Ok(listens.collect());
        }
        let pairs = portforward::ports(texts("ports").unwrap()).map_err(|_| "invalid")?;
        let pairs = pairs.into_iter().map(|pair| {
            let local = match pair.local {
                LocalPort::Any => json!(0),
                LocalPort::Number(number) => json!(number),
                LocalPort::Same => json!("same"),
                other => panic!("no word for {other:?}"),
            };
            match pair.remote {
                RemotePort::Name(name) => json!([local, name]),
                RemotePort::Number(number) => json!([local, number]),
                other => panic!("no word for {other:?}"),
            }
        });
        Ok(pairs.collect())
    });
}

#[test]
fn loki() {
    check("loki.json", crate::loki::loki);
}

#[test]
fn queryargs() {
    check("queryargs.json", crate::queries::queryargs);
}

/// The exit codes of the same file are checked where they are chosen (kubectl-wsx/src/exit.rs).
#[test]
fn error() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/error.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let listed: Vec<_> = vectors["cases"].as_array().unwrap().iter().collect();
    let known: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|kind| json!([kind.as_str(), kind.may_have_started()]))
        .collect();
    let listed: Vec<_> = listed
        .iter()
        .map(|case| json!([case["input"], case["output"]["may_have_started"]]))
        .collect();
    assert_eq!(listed, known);
}

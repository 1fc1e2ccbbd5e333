//! SPDY in a tunnel by hand, for a client that says anything and tells everything.
//!
//! Lives here: frames. Never here: assertions of one test, `wsx_core`.

use serde_json::Value;
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{BINARY, CLOSE, CONTINUATION, FIN};

use crate::raw::{Event, Raw};

/// A tunnel to one pod.
pub(crate) struct Tunnel {
    raw: Raw,
    bytes: Vec<u8>,
    begun: bool,
    /// The lengths of the frames of the WebSocket that came.
    pub(crate) lengths: Vec<usize>,
    /// Their first bytes.
    pub(crate) firsts: Vec<u8>,
}

/// What a server says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Reply(u32),
    Data(u32, Vec<u8>),
    /// Data with FIN, which is always empty.
    End(u32),
    Reset(u32, u32),
    Ping(u32),
    Goaway(u32),
    /// Another control frame: kind and payload.
    Other(u16, Vec<u8>),
    /// No frame of SPDY.
    Event(Event),
}

impl Tunnel {
    /// Opens a tunnel on the listener without TLS.
    pub(crate) fn open(cluster: &Cluster, namespace: &str, pod: &str) -> Self {
        let target = target(namespace, pod);
        let mut raw = Raw::upgrade(cluster, "plain", Some(TUNNEL), &target);
        let answer = raw.answer();
        let echoed = answer.header("Sec-WebSocket-Protocol");
        assert_eq!((answer.status, echoed), (101, Some(TUNNEL)));
        Self {
            raw,
            bytes: Vec::new(),
            begun: false,
            lengths: Vec::new(),
            firsts: Vec::new(),
        }
    }

    /// Sends bytes in one message.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.raw.send(bytes);
    }

    /// Sends a message of the WebSocket as it is.
    pub(crate) fn write_raw(&mut self, bytes: &[u8]) {
        self.raw.write(bytes);
    }

    /// SYN_STREAM with these headers, in a stored block.
    pub(crate) fn syn(&mut self, id: u32, headers: &[(&str, &str)]) {
        let mut block = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        let length = block.len() as u16;
        let begin: &[u8] = if self.begun { &[] } else { &[0x78, 0x01] };
        self.begun = true;
        let stored = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes()].concat();
        let fields = [
            &id.to_be_bytes()[..],
            &[0; 6],
            begin,
            &stored,
            &block,
            &[0, 0, 0, 0xFF, 0xFF],
        ];
        self.control(1, &fields.concat());
    }

    /// Both streams of one connection: errors on `id`, data on `id` + 2.
    pub(crate) fn pair(&mut self, id: u32, port: u16) {
        let (port, request) = (port.to_string(), id.to_string());
        let headers = |kind| {
            [
                ("streamtype", kind),
                ("port", &*port),
                ("requestid", &*request),
            ]
        };
        self.syn(id, &headers("error"));
        self.data(id, b"", true);
        // The last word, since the pod may answer it with a reset.
        self.syn(id + 2, &headers("data"));
    }

    pub(crate) fn data(&mut self, id: u32, bytes: &[u8], fin: bool) {
        let length = (bytes.len() as u32) | if fin { 0x0100_0000 } else { 0 };
        self.write(&[&id.to_be_bytes()[..], &length.to_be_bytes(), bytes].concat());
    }

    pub(crate) fn reset(&mut self, id: u32) {
        self.control(3, &[id.to_be_bytes(), 5_u32.to_be_bytes()].concat());
    }

    pub(crate) fn ping(&mut self, id: u32) {
        self.control(6, &id.to_be_bytes());
    }

    pub(crate) fn control(&mut self, kind: u16, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let kind = kind.to_be_bytes();
        self.write(&[&[0x80, 3][..], &kind, &length, payload].concat());
    }

    /// The next thing that comes.
    pub(crate) fn next(&mut self) -> Said {
        loop {
            if let Some(said) = self.frame() {
                return said;
            }
            match self.raw.frame() {
                Ok((first @ (BINARY | CONTINUATION | 0x80 | 0x82), payload)) => {
                    self.lengths.push(payload.len());
                    self.firsts.push(first);
                    self.bytes.extend_from_slice(&payload);
                }
                Ok((first, payload)) if first == FIN | CLOSE => {
                    return Said::Event(Event::Close(payload));
                }
                Ok((first, payload)) => return Said::Event(Event::Odd(first, payload)),
                Err(event) => return Said::Event(event),
            }
        }
    }

    /// Everything up to this, which is the last; neighbouring data of one stream are joined.
    pub(crate) fn until(&mut self, last: &Said) -> Vec<Said> {
        let mut all: Vec<Said> = Vec::new();
        loop {
            match (self.next(), all.last_mut()) {
                (Said::Data(id, bytes), Some(Said::Data(before, data))) if *before == id => {
                    data.extend_from_slice(&bytes);
                }
                (said, _) => all.push(said),
            }
            if all.last() == Some(last) {
                return all;
            }
            if let Some(Said::Event(event)) = all.last() {
                panic!(
                    "{last:?} does not come, but after {} others {event:?}",
                    all.len()
                );
            }
        }
    }

    /// Both replies for a pair, in any order.
    pub(crate) fn replied(&mut self, id: u32) {
        let mut replies = [self.next(), self.next()];
        replies.sort_by_key(|said| matches!(said, Said::Reply(other) if *other != id));
        assert_eq!(replies, [Said::Reply(id), Said::Reply(id + 2)]);
    }

    pub(crate) fn is_silent(&mut self) -> bool {
        self.bytes.is_empty() && self.raw.is_silent()
    }

    fn frame(&mut self) -> Option<Said> {
        let &[a, b, c, d, flags, e, f, g] = self.bytes.first_chunk()?;
        let length = u32::from_be_bytes([0, e, f, g]) as usize;
        if self.bytes.len() < 8 + length {
            return None;
        }
        let body: Vec<u8> = self.bytes.drain(..8 + length).skip(8).collect();
        let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        if a & 0x80 == 0 {
            let id = u32::from_be_bytes([a, b, c, d]);
            return Some(match flags {
                0 => Said::Data(id, body),
                _ => {
                    assert_eq!((flags, body.len()), (1, 0));
                    Said::End(id)
                }
            });
        }
        Some(match u16::from_be_bytes([c, d]) {
            2 if length > 4 && length < 100 => Said::Reply(word(0)),
            3 => Said::Reset(word(0), word(4)),
            6 => Said::Ping(word(0)),
            7 => Said::Goaway(word(0)),
            kind => Said::Other(kind, body),
        })
    }
}

/// The path of a pod's ports.
pub(crate) fn target(namespace: &str, pod: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{pod}/portforward")
}

/// One count of a pod's ports.
pub(crate) fn count(cluster: &Cluster, pod: &str, name: &str) -> Value {
    let told = cluster.forward("default", pod).run(serde_json::json!({}));
    told["counts"][name].clone()
}

pub(crate) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

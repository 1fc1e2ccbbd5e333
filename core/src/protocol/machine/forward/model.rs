//! Many connections at random, between a local side and a server that keeps the protocol.
//!
//! The model knows what was given on either side and what was done to each stream. Whatever the
//! order and however the bytes are cut, what is told must follow from that alone.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::tests::{RULES, Talk};
use super::*;
use crate::protocol::machine::Machine as _;
use crate::protocol::spdy::judge::{self, Said};
use crate::protocol::websocket::{MessageKind, Piece};

/// What happens next; a number picks one of the connections there are.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Give(usize, Vec<u8>),
    End(usize),
    Abort(usize),
    /// The local side takes everything, or one byte.
    Take(usize, bool),
    /// The server answers one of the streams, the error stream first where it is told so.
    Reply(usize, bool),
    Serve(usize, Vec<u8>),
    /// The server ends a good connection, the error stream first where it is told so.
    Finish(usize, bool),
    /// The server ends one half of a good connection.
    FinishHalf(usize, bool),
    Fail(usize),
    Pongs,
    Pass(u64),
}

/// One connection as the model knows it.
#[derive(Debug, Default)]
struct Known {
    given: Vec<u8>,
    ended: bool,
    aborted: bool,
    replied: [bool; 2],
    served: Vec<u8>,
    /// Which streams the server has ended: error, data.
    finished: [bool; 2],
    failed: bool,
    // What the machine said.
    uploaded: Vec<u8>,
    passed: bool,
    /// The data stream.
    reset: bool,
    // What the machine told.
    opened: bool,
    told: Vec<u8>,
    taken: usize,
    over: Option<End>,
}

struct Model {
    talk: Talk,
    known: BTreeMap<u64, Known>,
    cuts: Vec<usize>,
    cut: usize,
    pings: Vec<u32>,
    now: Duration,
}

impl Model {
    fn new(half_close: HalfClose, cuts: Vec<usize>) -> Self {
        let rules = Rules {
            half_close,
            // The patience of this model is without end.
            keepalive_timeout: Duration::from_secs(100_000),
            stall: Duration::from_secs(100_000),
            ..RULES
        };
        Self {
            talk: Talk::new(rules),
            known: BTreeMap::new(),
            cuts,
            cut: 0,
            pings: Vec::new(),
            now: Duration::ZERO,
        }
    }

    fn pick(&mut self, index: usize) -> Option<(u64, &mut Known)> {
        let count = self.known.len().max(1);
        let picked = self.known.iter_mut().nth(index % count)?;
        Some((*picked.0, picked.1))
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut rest = Bytes::copy_from_slice(bytes);
        while !rest.is_empty() {
            let cut = self.cuts[self.cut % self.cuts.len()];
            self.cut += 1;
            let part = rest.split_to(cut.min(rest.len()));
            let piece = Piece::whole(MessageKind::Binary, part);
            self.talk.tunnel.receive(piece).unwrap();
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open => {
                let name = self.known.len() as u64;
                self.known.insert(name, Known::default());
                let port = NonZeroU16::MIN;
                let command = Command::Open(Connection(name), port);
                self.talk.tunnel.command(command);
            }
            Step::Give(index, data) => {
                if let Some((name, known)) = self.pick(index)
                    && !known.ended
                    && !known.aborted
                    && known.over.is_none()
                {
                    known.given.extend_from_slice(&data);
                    let command = Command::Data(Connection(name), data.into());
                    self.talk.tunnel.command(command);
                }
            }
            Step::End(index) => {
                if let Some((name, known)) = self.pick(index) {
                    known.ended = true;
                    self.talk.tunnel.command(Command::End(Connection(name)));
                }
            }
            Step::Abort(index) => {
                if let Some((name, known)) = self.pick(index) {
                    known.aborted |= known.over.is_none();
                    self.talk.tunnel.command(Command::Abort(Connection(name)));
                }
            }
            Step::Take(index, all) => {
                if let Some((name, known)) = self.pick(index) {
                    let left = known.told.len() - known.taken;
                    let taken = if all { left } else { left.min(1) };
                    known.taken += taken;
                    let command = Command::Taken(Connection(name), taken);
                    self.talk.tunnel.command(command);
                }
            }
            Step::Pongs => {
                let pings = std::mem::take(&mut self.pings);
                let bytes: Vec<_> = pings.into_iter().flat_map(judge::ping).collect();
                self.hear(&bytes);
            }
            Step::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.talk.tunnel.at(self.now);
                let next = self.talk.tunnel.deadline();
                assert!(next.is_none_or(|next| next > self.now), "{next:?} passed");
            }
            Step::Reply(..)
            | Step::Serve(..)
            | Step::Finish(..)
            | Step::FinishHalf(..)
            | Step::Fail(_) => self.serve(&step),
        }
        self.look();
    }

    /// The server acts on a connection, as far as the protocol lets it.
    fn serve(&mut self, step: &Step) {
        let (Step::Reply(index, _)
        | Step::Serve(index, _)
        | Step::Finish(index, _)
        | Step::FinishHalf(index, _)
        | Step::Fail(index)) = step
        else {
            return;
        };
        let Some((name, known)) = self.pick(*index) else {
            return;
        };
        if known.over == Some(End::Unanswered) {
            return;
        }
        let (error, data) = (1 + 4 * name as u32, 3 + 4 * name as u32);
        let pumps = known.replied == [true; 2] && !known.failed;
        let mut bytes = Vec::new();
        let mut finish = |half: usize, known: &mut Known| {
            if !std::mem::replace(&mut known.finished[half], true) {
                bytes.extend(judge::data([error, data][half], b"", true));
            }
        };
        match step {
            Step::Reply(_, first) => {
                let half = usize::from(!first);
                if !known.failed && !std::mem::replace(&mut known.replied[half], true) {
                    bytes.extend(judge::reply([error, data][half]));
                }
            }
            Step::Serve(_, some) if pumps && !known.finished[1] => {
                known.served.extend_from_slice(some);
                bytes.extend(judge::data(data, some, false));
            }
            Step::Finish(_, first) if pumps => {
                finish(usize::from(!first), known);
                finish(usize::from(*first), known);
            }
            Step::FinishHalf(_, first) if pumps => finish(usize::from(!first), known),
            Step::Fail(_) if pumps && known.finished == [false; 2] => {
                known.failed = true;
                bytes.extend(judge::data(error, b"why", false));
                bytes.extend(judge::reset(data, 5));
                bytes.extend(judge::reset(error, 5));
            }
            _ => {}
        }
        if self.talk.tunnel.reads() {
            self.hear(&bytes);
        } else {
            // Not read yet: in this model the local sides take everything then.
            let all: Vec<_> = self.known.keys().map(|name| *name as usize).collect();
            for index in all {
                self.step(Step::Take(index, true));
            }
            self.hear(&bytes);
        }
    }

    /// Compares what was told and said with what is known.
    fn look(&mut self) {
        for said in self.talk.said() {
            match said {
                Said::Ping(id) => self.pings.push(id),
                Said::GoAway(_) => panic!("nobody leaves"),
                Said::Open(stream, headers) => {
                    let name: u64 = headers["requestid"].parse().unwrap();
                    let half = if stream % 4 == 1 { "error" } else { "data" };
                    assert_eq!(headers["streamtype"], half);
                    assert_eq!(u64::from(stream / 4), name, "streams rise by connection");
                }
                Said::Reset(stream, status) => {
                    let known = self.known.get_mut(&u64::from(stream / 4)).unwrap();
                    assert_eq!(status, 5);
                    known.reset |= stream % 4 == 3;
                }
                Said::Data(stream, data, fin) if stream % 4 == 1 => {
                    assert_eq!((data.len(), fin), (0, true), "data on an error stream");
                }
                Said::Data(stream, data, fin) => {
                    let known = self.known.get_mut(&u64::from(stream / 4)).unwrap();
                    assert!(known.replied == [true; 2], "data before the answers");
                    assert!(!known.passed && !known.reset, "data after the end");
                    known.uploaded.extend(data);
                    known.passed |= fin;
                }
            }
        }
        for event in self.talk.events() {
            let (connection, end) = match event {
                Event::Opened(connection) => {
                    let known = self.known.get_mut(&connection.0).unwrap();
                    assert!(!std::mem::replace(&mut known.opened, true), "opened twice");
                    (connection, None)
                }
                Event::Data(connection, data) => {
                    let known = self.known.get_mut(&connection.0).unwrap();
                    assert!(known.opened && !data.is_empty());
                    known.told.extend_from_slice(&data);
                    (connection, None)
                }
                Event::Ended(connection, end) => (connection, Some(end)),
                Event::Over(over) => panic!("{over:?}"),
            };
            let known = self.known.get_mut(&connection.0).unwrap();
            assert!(known.over.is_none(), "{connection:?} goes on after its end");
            assert!(
                !known.aborted,
                "{connection:?} goes on after it was aborted"
            );
            known.over = end;
        }
        for (name, known) in &self.known {
            assert_eq!(known.told, known.served[..known.told.len()], "{name}");
            assert_eq!(
                known.uploaded,
                known.given[..known.uploaded.len()],
                "{name}"
            );
            let whole = known.told == known.served;
            let good = known.finished[1] && !known.failed;
            match &known.over {
                None | Some(End::Lost { .. }) => {
                    // Aborted, or nothing has happened that ends it.
                    assert!(known.aborted || whole, "{name}: told too little");
                    let over = known.finished == [true; 2] || known.failed;
                    assert!(known.aborted || !over, "{name}: the end was not told");
                    if known.opened && !known.aborted {
                        assert_eq!(known.uploaded, known.given, "{name}: kept back");
                        assert!(known.ended || !known.passed, "{name}: ended by itself");
                    }
                }
                Some(End::Finished) => assert!(good && whole && !known.reset, "{known:?}"),
                Some(End::Failed { text }) => {
                    assert!(known.failed && whole && text == "why", "{known:?}");
                }
                Some(End::Unanswered) => assert!(known.replied != [true; 2], "{known:?}"),
                Some(end) => panic!("{end:?}"),
            }
            if known.over.is_none() && !known.aborted {
                let ahead = known.told.len() - known.taken;
                assert!(ahead < SHARED_BACKLOG + 300, "{ahead} bytes are not taken");
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let index = || 0usize..6;
    let bytes = || proptest::collection::vec(any::<u8>(), 1..300);
    prop_oneof![
        3 => Just(Step::Open),
        6 => (index(), any::<bool>()).prop_map(|(index, first)| Step::Reply(index, first)),
        6 => (index(), bytes()).prop_map(|(index, data)| Step::Give(index, data)),
        6 => (index(), bytes()).prop_map(|(index, data)| Step::Serve(index, data)),
        3 => (index(), any::<bool>()).prop_map(|(index, all)| Step::Take(index, all)),
        2 => index().prop_map(Step::End),
        1 => index().prop_map(Step::Abort),
        1 => (index(), any::<bool>()).prop_map(|(index, first)| Step::Finish(index, first)),
        1 => (index(), any::<bool>()).prop_map(|(index, first)| Step::FinishHalf(index, first)),
        1 => index().prop_map(Step::Fail),
        2 => Just(Step::Pongs),
        3 => (1u64..2000).prop_map(Step::Pass),
        1 => (2000u64..20_000).prop_map(Step::Pass),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..120)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1usize..90, 1..12)
}

fn half_close() -> impl Strategy<Value = HalfClose> {
    prop_oneof![
        Just(HalfClose::Auto),
        Just(HalfClose::Hold),
        Just(HalfClose::Pass)
    ]
}

fn run(steps: Vec<Step>, cuts: Vec<usize>, half_close: HalfClose) {
    let mut model = Model::new(half_close, cuts);
    for step in steps {
        model.step(step);
    }
    // In the end everybody who may learns that the local side has ended.
    for _ in 0..3 {
        model.step(Step::Pongs);
        model.step(Step::Pass(1000));
    }
    for (name, known) in &model.known {
        let lives = known.opened && known.over.is_none() && !known.aborted;
        let told = half_close != HalfClose::Hold && known.ended;
        assert!(!lives || known.passed == told, "{name}: {known:?}");
    }
    model.talk.tunnel.lost();
    model.look();
    for (name, known) in &model.known {
        assert!(known.aborted || known.over.is_some(), "{name}: {known:?}");
        // What is given before the server has answered is kept.
        let sent = known.opened && !known.given.is_empty();
        let fresh = !sent && known.served.is_empty();
        if let Some(End::Lost { fresh: told }) = known.over {
            assert_eq!(told, fresh, "{name}: {known:?}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_connection_gets_its_own_bytes_and_its_own_end(
        steps in steps(),
        cuts in cuts(),
        half_close in half_close(),
    ) {
        run(steps, cuts, half_close);
    }

    #[test]
    fn hearing_survives_anything(
        opened in 0u64..4,
        frames in proptest::collection::vec(
            (0u8..12, any::<u8>(), proptest::collection::vec(0u8..9, 0..12)), 0..20
        ),
        cut in 1usize..40,
    ) {
        let mut talk = Talk::new(RULES);
        for name in 0..opened {
            talk.tunnel.command(Command::Open(Connection(name), NonZeroU16::MIN));
        }
        let mut bytes = Vec::new();
        for (kind, flags, payload) in frames {
            bytes.extend(match kind {
                0 => judge::data(u32::from(flags % 16), &payload, payload.len() % 3 == 0),
                kind => judge::control(kind, flags, &payload),
            });
        }
        for part in bytes.chunks(cut) {
            let part = Bytes::copy_from_slice(part);
            if talk.tunnel.receive(Piece::whole(MessageKind::Binary, part)).is_err() {
                break;
            }
        }
        talk.tunnel.lost();
        let ended = talk.events().into_iter().filter(|event| matches!(event, Event::Ended(..)));
        prop_assert_eq!(ended.count() as u64, opened);
        prop_assert_eq!(talk.tunnel.deadline(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    #[ignore = "minutes: 20,000 runs"]
    fn soak_of_a_tunnel(steps in steps(), cuts in cuts(), half_close in half_close()) {
        run(steps, cuts, half_close);
    }
}

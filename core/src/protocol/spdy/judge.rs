//! A second hand for the tests: the server's side of SPDY, written without the code it judges.

use std::collections::BTreeMap;

/// What a client sent, as this judge reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Open(u32, BTreeMap<String, String>),
    Data(u32, Vec<u8>, bool),
    Reset(u32, u32),
    Ping(u32),
    GoAway(u32),
}

/// Reads all that a client wrote, which must be whole frames; `begun` is kept between calls.
pub(crate) fn read(mut bytes: &[u8], begun: &mut bool) -> Vec<Said> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let length = number(&bytes[5..8]) as usize;
        let (first, flags, payload) = (number(&bytes[..4]), bytes[4], &bytes[8..8 + length]);
        all.push(if first >> 31 == 0 {
            assert_eq!(flags & !1, 0, "flags of data");
            Said::Data(first, payload.to_vec(), flags == 1)
        } else {
            assert_eq!((first >> 16, flags), (0x8003, 0), "version, flags");
            match first & 0xffff {
                1 => {
                    assert_eq!(payload[4..10], [0; 6], "associated stream, priority, slot");
                    Said::Open(number(&payload[..4]), headers(&payload[10..], begun))
                }
                3 => Said::Reset(number(&payload[..4]), number(&payload[4..])),
                6 => Said::Ping(number(payload)),
                7 => Said::GoAway(number(&payload[4..])),
                kind => panic!("a client never sends kind {kind}"),
            }
        });
        bytes = &bytes[8 + length..];
    }
    all
}

/// Inflates stored blocks up to the empty one, and reads the pairs in them.
fn headers(mut block: &[u8], begun: &mut bool) -> BTreeMap<String, String> {
    if !std::mem::replace(begun, true) {
        assert_eq!(block[..2], [0x78, 0x01], "zlib header");
        block = &block[2..];
    }
    let mut plain = Vec::new();
    loop {
        let (length, complement) = (block[1] as usize | (block[2] as usize) << 8, &block[3..5]);
        assert_eq!(block[0], 0, "not a stored block, or the last one");
        assert_eq!(
            [!block[1], !block[2]],
            complement,
            "complement of the length"
        );
        plain.extend_from_slice(&block[5..5 + length]);
        block = &block[5 + length..];
        if length == 0 {
            break;
        }
    }
    assert!(block.is_empty(), "the block does not end with the flush");
    let mut rest = &plain[4..];
    let mut text = || {
        let length = number(&rest[..4]) as usize;
        let text = String::from_utf8(rest[4..4 + length].to_vec()).unwrap();
        rest = &rest[4 + length..];
        text
    };
    let pairs: BTreeMap<_, _> = (0..number(&plain[..4])).map(|_| (text(), text())).collect();
    assert!(rest.is_empty(), "bytes after the pairs");
    pairs
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A control frame of the server's.
pub(crate) fn control(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&[0x80, 3, 0, kind, flags], &length[1..], payload].concat()
}

/// A data frame of the server's.
pub(crate) fn data(stream: u32, data: &[u8], fin: bool) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [
        &stream.to_be_bytes()[..],
        &[u8::from(fin)],
        &length[1..],
        data,
    ]
    .concat()
}

/// SYN_REPLY as spdystream writes the later ones.
pub(crate) fn reply(stream: u32) -> Vec<u8> {
    let block = [0x02, 0x61, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff];
    control(2, 0, &[&stream.to_be_bytes()[..], &block].concat())
}

/// RST_STREAM.
pub(crate) fn reset(stream: u32, status: u32) -> Vec<u8> {
    control(3, 0, &[stream.to_be_bytes(), status.to_be_bytes()].concat())
}

/// PING, or its answer.
pub(crate) fn ping(id: u32) -> Vec<u8> {
    control(6, 0, &id.to_be_bytes())
}

/// GOAWAY.
pub(crate) fn go_away(last: u32, status: u32) -> Vec<u8> {
    control(7, 0, &[last.to_be_bytes(), status.to_be_bytes()].concat())
}

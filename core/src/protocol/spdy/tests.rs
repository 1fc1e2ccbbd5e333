//! The codec before its judge.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::judge::{self, Said};
use super::*;

/// Everything that is in `bytes`, fed in parts of the lengths in `cuts`, pieces of a frame joined.
fn decode(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Incoming>, SpdyError> {
    let (mut decoder, mut all, mut rest) = (Decoder::default(), Vec::new(), bytes);
    for cut in cuts.iter().cycle() {
        let (part, after) = rest.split_at((*cut).min(rest.len()));
        rest = after;
        let mut input = Bytes::copy_from_slice(part);
        while let Some(incoming) = decoder.decode(&mut input)? {
            join(&mut all, incoming);
        }
        assert!(input.is_empty(), "bytes were left behind");
        if rest.is_empty() {
            break;
        }
    }
    Ok(all)
}

fn join(all: &mut Vec<Incoming>, incoming: Incoming) {
    if let Incoming::Data {
        stream, data, fin, ..
    } = &incoming
        && let Some(Incoming::Data {
            stream: before,
            data: begun,
            fin: ended @ false,
        }) = all.last_mut()
        && before == stream
    {
        *begun = [&begun[..], data].concat().into();
        *ended = *fin;
    } else {
        all.push(incoming);
    }
}

fn some(stream: u32, data: &'static [u8], fin: bool) -> Incoming {
    let data = Bytes::from_static(data);
    Incoming::Data { stream, data, fin }
}

#[test]
fn data_is_given_out_as_it_arrives_and_without_a_copy() {
    let (mut decoder, whole) = (Decoder::default(), judge::data(3, b"hello", true));
    let mut first = Bytes::copy_from_slice(&whole[..11]);
    let place = first[8..].as_ptr();
    let piece = decoder.decode(&mut first);
    assert_eq!(piece, Ok(Some(some(3, b"hel", false))));
    let Ok(Some(Incoming::Data { data, .. })) = piece else {
        panic!("data");
    };
    assert_eq!(data.as_ptr(), place);
    assert_eq!(decoder.decode(&mut first), Ok(None));
    let mut second = Bytes::copy_from_slice(&whole[11..]);
    assert_eq!(decoder.decode(&mut second), Ok(Some(some(3, b"lo", true))));
}

#[test]
fn an_end_needs_no_data_and_empty_data_is_nothing() {
    let bytes = [judge::data(3, b"", false), judge::data(3, b"", true)].concat();
    assert_eq!(decode(&bytes, &[64]), Ok(vec![some(3, b"", true)]));
    let headers = judge::control(8, 1, b"\0\0\0\x05block");
    assert_eq!(decode(&headers, &[64]), Ok(vec![some(5, b"", true)]));
}

#[test]
fn what_means_nothing_is_skipped_by_its_length() {
    let bytes = [
        judge::control(4, 1, &[0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 1, 0]),
        judge::control(9, 0, &[0; 8]),
        judge::control(8, 0, &[&[0, 0, 0, 1][..], &[0xee; 65_532]].concat()),
        judge::reply(1),
        judge::ping(2),
        // So is the bit before a stream.
        judge::reset(0x8000_0003, 5),
    ]
    .concat();
    let expected = vec![
        Incoming::Reply {
            stream: 1,
            fin: false,
        },
        Incoming::Ping(2),
        Incoming::Reset {
            stream: 3,
            status: 5,
        },
    ];
    assert_eq!(decode(&bytes, &[1000]), Ok(expected));
}

#[test]
fn every_violation_has_its_name() {
    use SpdyError::*;
    let long = |kind, length| TooLong {
        kind,
        length,
        limit: BLOCK_LIMIT,
    };
    let cases: [(&[u8], SpdyError); 15] = [
        (b"\x80\x02\0\x06\0\0\0\x04", Version { version: 2 }),
        (b"\x80\x03\0\x01\0\0\0\x0a", UnexpectedKind { kind: 1 }),
        (b"\x80\x03\0\x05\0\0\0\0", UnexpectedKind { kind: 5 }),
        (b"\x80\x03\0\x0a\0\0\0\0", UnexpectedKind { kind: 10 }),
        (
            b"\x80\x03\x01\x06\0\0\0\x04",
            UnexpectedKind { kind: 0x106 },
        ),
        // Refused from the head: not one byte of the payload is there.
        (b"\x80\x03\0\x02\0\x01\0\x01", long(2, 65_537)),
        (b"\x80\x03\0\x08\0\xff\xff\xff", long(8, 0xff_ffff)),
        (b"\x80\x03\0\x04\0\xff\xff\xff", long(4, 0xff_ffff)),
        (
            b"\x80\x03\0\x02\0\0\0\x03",
            BadLength { kind: 2, length: 3 },
        ),
        (
            b"\x80\x03\0\x06\0\xff\xff\xff",
            BadLength {
                kind: 6,
                length: 0xff_ffff,
            },
        ),
        (
            b"\x80\x03\0\x07\0\0\0\x04",
            BadLength { kind: 7, length: 4 },
        ),
        (b"\x80\x03\0\x06\0\0\0\x04\0\0\0\0", Zero { kind: 6 }),
        (b"\x80\x03\0\x02\0\0\0\x04\x80\0\0\0", Zero { kind: 2 }),
        (
            b"\x80\x03\0\x03\0\0\0\x08\0\0\0\0\0\0\0\x05",
            Zero { kind: 3 },
        ),
        (
            b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x01\0\0\0\0",
            Zero { kind: 3 },
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(bytes, &[64]), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn a_declared_length_allocates_nothing() {
    let mut decoder = Decoder::default();
    let mut input = Bytes::from_static(b"\0\0\0\x03\0\xff\xff\xffx");
    assert_eq!(decoder.decode(&mut input), Ok(Some(some(3, b"x", false))));
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(
        size_of::<Decoder>() <= 48,
        "what it keeps is of a fixed size"
    );
}

#[test]
fn long_data_is_cut_into_frames_and_ends_once() {
    let data: Vec<u8> = (0..DATA_LIMIT * 2 + 1).map(|at| (at % 251) as u8).collect();
    let mut out = BytesMut::new();
    put_data(&mut out, 3, &data, true);
    let parts = data.chunks(DATA_LIMIT).map(<[u8]>::to_vec);
    let expected: Vec<_> = parts
        .zip([false, false, true])
        .map(|(part, fin)| Said::Data(3, part, fin))
        .collect();
    assert_eq!(judge::read(&out, &mut false), expected);
    out.clear();
    put_data(&mut out, 3, &[], false);
    assert!(out.is_empty());
}

/// A frame of the server's and what it means.
fn frame() -> impl Strategy<Value = (Vec<u8>, Vec<Incoming>)> {
    let stream = || 1..=STREAM_LIMIT;
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        (stream(), bytes(), any::<bool>()).prop_map(|(stream, data, fin)| {
            let means = Incoming::Data {
                stream,
                data: data.clone().into(),
                fin,
            };
            let means = (fin || !data.is_empty()).then_some(means);
            (judge::data(stream, &data, fin), means.into_iter().collect())
        }),
        (stream(), bytes(), any::<bool>()).prop_map(|(stream, block, fin)| {
            let payload = [&stream.to_be_bytes()[..], &block].concat();
            let means = vec![Incoming::Reply { stream, fin }];
            (judge::control(2, u8::from(fin), &payload), means)
        }),
        (stream(), 1u32..).prop_map(|(stream, status)| {
            let means = vec![Incoming::Reset { stream, status }];
            (judge::reset(stream, status), means)
        }),
        (1u32..).prop_map(|id| (judge::ping(id), vec![Incoming::Ping(id)])),
        (stream(), any::<u32>()).prop_map(|(last, status)| {
            let means = vec![Incoming::GoAway { last, status }];
            (judge::go_away(last, status), means)
        }),
        (bytes(), any::<u8>()).prop_map(|(settings, flags)| {
            let payload = [&[0; 4][..], &settings].concat();
            (judge::control(4, flags, &payload), Vec::new())
        }),
    ]
}

proptest! {
    #[test]
    fn cutting_changes_nothing(
        frames in proptest::collection::vec(frame(), 1..12),
        cuts in proptest::collection::vec(1usize..60, 1..12),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut expected = Vec::new();
        for incoming in frames.into_iter().flat_map(|(_, means)| means) {
            join(&mut expected, incoming);
        }
        prop_assert_eq!(decode(&bytes, &cuts), Ok(expected));
    }

    #[test]
    fn reading_survives_anything(
        frames in proptest::collection::vec(frame(), 0..4),
        spoilt in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        noise in proptest::collection::vec(any::<u8>(), 0..60),
        cuts in proptest::collection::vec(1usize..60, 1..12),
    ) {
        let mut bytes: Vec<u8> = frames.into_iter().flat_map(|(bytes, _)| bytes).collect();
        bytes.extend(noise);
        for (place, byte) in spoilt {
            let length = bytes.len().max(1);
            if let Some(place) = bytes.get_mut(place % length) {
                *place = byte;
            }
        }
        // However it is cut, it means the same, or is refused for the same reason.
        prop_assert_eq!(decode(&bytes, &cuts), decode(&bytes, &[usize::MAX]));
    }

    #[test]
    fn what_we_write_is_read_by_the_judge(
        requests in proptest::collection::vec((any::<u32>(), 1u16..), 1..5),
        data in proptest::collection::vec(any::<u8>(), 1..500),
        fin in any::<bool>(),
        id in 1u32..,
    ) {
        let (mut out, mut opener, mut expected) = (BytesMut::new(), Opener::default(), Vec::new());
        for (index, (request, port)) in requests.iter().enumerate() {
            let stream = 1 + 2 * index as u32;
            let (half, word) = match index % 2 {
                0 => (Half::Error, "error"),
                _ => (Half::Data, "data"),
            };
            opener.open(&mut out, stream, half, (*port).try_into().unwrap(), *request);
            let (port, request) = (port.to_string(), request.to_string());
            let headers = [("port", &*port), ("requestid", &request), ("streamtype", word)];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
            expected.push(Said::Open(stream, headers.into()));
        }
        put_data(&mut out, 3, &data, fin);
        put_reset(&mut out, 3, code::CANCEL);
        put_ping(&mut out, id);
        put_go_away(&mut out, code::OK);
        expected.extend([Said::Data(3, data, fin), Said::Reset(3, 5), Said::Ping(id), Said::GoAway(0)]);
        prop_assert_eq!(judge::read(&out, &mut false), expected);
    }
}

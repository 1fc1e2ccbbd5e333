//! Openings, data, ends and errors.

use super::*;
use crate::protocol::error::ProtocolError;
use crate::protocol::spdy::{DATA_LIMIT, STREAM_LIMIT, SpdyError};

#[test]
fn a_connection_from_its_opening_to_its_end() {
    let mut talk = Talk::new(RULES);
    talk.open(A);
    let opening = [open(A_ERROR, "error", "0"), open(A_DATA, "data", "0")];
    assert_eq!(talk.said(), opening);
    talk.hear(&judge::reply(A_ERROR));
    // Nothing is ever written on the error stream.
    assert_eq!((talk.events(), talk.said()), (vec![], vec![fin(A_ERROR)]));
    talk.hear(&judge::reply(A_DATA));
    assert_eq!(talk.events(), [Event::Opened(A)]);
    talk.data(A, b"question");
    assert_eq!(
        talk.said(),
        [Said::Data(A_DATA, b"question".to_vec(), false)]
    );
    talk.hear(&judge::data(A_DATA, b"answer", false));
    talk.hear(&judge::data(A_ERROR, b"", true));
    assert_eq!(talk.events(), [data(A, b"answer")]);
    talk.hear(&judge::data(A_DATA, b"!", true));
    assert_eq!(
        talk.events(),
        [data(A, b"!"), Event::Ended(A, End::Finished)]
    );
    // The server forgets a stream when both sides have ended it.
    assert_eq!(talk.said(), [fin(A_DATA)]);
    assert!(!talk.tunnel.is_settled());
}

#[test]
fn answers_and_ends_come_in_any_order() {
    for swapped in [false, true] {
        let order = |a: Vec<u8>, b: Vec<u8>| match swapped {
            true => [b, a].concat(),
            false => [a, b].concat(),
        };
        let mut talk = Talk::new(RULES);
        talk.open(A);
        talk.hear(&order(judge::reply(A_ERROR), judge::reply(A_DATA)));
        talk.hear(&order(
            judge::data(A_ERROR, b"", true),
            judge::data(A_DATA, b"", true),
        ));
        let expected = [Event::Opened(A), Event::Ended(A, End::Finished)];
        assert_eq!(talk.events(), expected, "{swapped}");
    }
}

#[test]
fn an_answer_may_say_the_end_of_its_stream() {
    let mut talk = Talk::new(RULES);
    talk.open(A);
    for stream in [A_ERROR, A_DATA] {
        let payload = [&stream.to_be_bytes()[..], b"block"].concat();
        talk.hear(&judge::control(2, 1, &payload));
    }
    let expected = [Event::Opened(A), Event::Ended(A, End::Finished)];
    assert_eq!(talk.events(), expected);
}

#[test]
fn a_stream_may_speak_before_its_answers() {
    let mut talk = Talk::new(RULES);
    talk.open(A);
    talk.hear(&judge::data(A_DATA, b"220 ready", false));
    assert_eq!(talk.events(), [Event::Opened(A), data(A, b"220 ready")]);
    talk.hear(&[judge::reply(A_DATA), judge::reply(A_ERROR)].concat());
    assert_eq!(talk.events(), []);
}

#[test]
fn what_is_given_early_is_kept_until_the_answers() {
    let mut talk = Talk::new(RULES);
    talk.open(A);
    talk.said();
    talk.data(A, b"one");
    talk.data(A, b"two");
    assert_eq!((talk.said(), talk.tunnel.is_open(A)), (vec![], false));
    talk.hear(&[judge::reply(A_DATA), judge::reply(A_ERROR)].concat());
    let said = [
        fin(A_ERROR),
        Said::Data(A_DATA, b"one".to_vec(), false),
        Said::Data(A_DATA, b"two".to_vec(), false),
    ];
    assert_eq!((talk.said(), talk.tunnel.is_open(A)), (said.to_vec(), true));
}

#[test]
fn an_error_text_ends_its_own_connection_only() {
    let text = b"error forwarding port 80 to pod x, uid : refused".as_slice();
    let frames = [
        judge::data(A_ERROR, &text[..5], false),
        judge::data(A_ERROR, &text[5..], false),
        judge::reset(A_DATA, 5),
        judge::reset(A_ERROR, 5),
    ];
    // The text stands before the resets, wherever those of the streams stand.
    for order in [[0, 1, 2, 3], [0, 1, 3, 2], [2, 0, 1, 3]] {
        let mut talk = Talk::opened(2);
        for at in order {
            talk.hear(&frames[at]);
        }
        let text = std::str::from_utf8(text).unwrap();
        let events = talk.events();
        assert_eq!(events, [Event::Ended(A, failed(text))], "{order:?}");
        talk.hear(&judge::data(B_DATA, b"lives", false));
        assert_eq!(talk.events(), [data(B, b"lives")]);
    }
}

#[test]
fn a_flood_of_text_is_capped() {
    let mut talk = Talk::opened(1);
    talk.hear(&judge::data(A_ERROR, &[b'x'; 100_000], true));
    let expected = Event::Ended(A, failed(&"x".repeat(4096)));
    assert_eq!(talk.events(), [expected]);
}

#[test]
fn a_reset_without_a_text_is_no_good_end() {
    let mut talk = Talk::opened(1);
    talk.hear(&[judge::data(A_DATA, b"half", false), judge::reset(A_DATA, 5)].concat());
    assert_eq!(talk.events(), [data(A, b"half")]);
    talk.hear(&judge::data(A_ERROR, b"", true));
    let expected = Event::Ended(A, End::Reset { status: 5 });
    assert_eq!((talk.events(), talk.said()), (vec![expected], vec![]));
}

#[test]
fn a_stream_that_is_refused_takes_the_other_with_it() {
    let mut talk = Talk::new(RULES);
    talk.open(A);
    talk.said();
    talk.hear(&[judge::reply(A_ERROR), judge::reset(A_DATA, 5)].concat());
    let expected = Event::Ended(A, End::Reset { status: 5 });
    assert_eq!(talk.events(), [expected]);
    assert_eq!(talk.said(), [fin(A_ERROR), Said::Reset(A_ERROR, 5)]);
}

/// A pod's reset is the same end of data, and its word comes only afterwards.
#[test]
fn data_that_ended_is_whole_only_by_the_servers_word() {
    let mut talk = Talk::opened(1);
    talk.hear(&judge::data(A_DATA, b"all", true));
    talk.pass_until(4.0);
    assert_eq!(talk.events(), [data(A, b"all")]);
    talk.hear(&judge::data(A_ERROR, b"", true));
    assert_eq!(talk.events(), [Event::Ended(A, End::Finished)]);
    let mut silent = Talk::opened(1);
    silent.hear(&judge::data(A_DATA, b"all", true));
    for seconds in 0..=30 {
        silent.hear(&judge::ping(2));
        silent.pass_until(f64::from(seconds));
    }
    let lost = Event::Ended(A, End::Lost { fresh: false });
    assert_eq!(silent.events(), [data(A, b"all"), lost]);
}

#[test]
fn a_goodbye_loses_what_was_not_over() {
    let mut talk = Talk::opened(3);
    talk.data(B, b"x");
    let last = 9;
    let end = judge::data(last + 2, b"", true);
    talk.hear(&[end, judge::go_away(9, 2), judge::data(B_DATA, b"x", false)].concat());
    let expected = [
        Event::Ended(A, End::Lost { fresh: true }),
        Event::Ended(B, End::Lost { fresh: false }),
        Event::Ended(Connection(2), End::Lost { fresh: true }),
        Event::Over(Over::GoneAway { status: 2 }),
    ];
    assert_eq!(talk.events(), expected);
    talk.open(Connection(3));
    let lost = Event::Ended(Connection(3), End::Lost { fresh: true });
    assert_eq!(talk.events(), [lost]);
}

#[test]
fn what_was_only_given_and_never_sent_is_fresh() {
    for (answered, fresh) in [(false, true), (true, false)] {
        let mut talk = Talk::new(RULES);
        talk.open(A);
        talk.data(A, b"x");
        if answered {
            talk.hear(&[judge::reply(A_ERROR), judge::reply(A_DATA)].concat());
        }
        talk.tunnel.lost();
        let lost = Event::Ended(A, End::Lost { fresh });
        assert_eq!(talk.events().pop(), Some(lost));
    }
}

#[test]
fn a_connection_without_a_good_end_is_lost_with_the_socket() {
    let mut talk = Talk::opened(2);
    talk.hear(&judge::data(A_DATA, b"cut", false));
    talk.hear(&judge::data(5, b"why", false));
    talk.tunnel.lost();
    let expected = [
        data(A, b"cut"),
        Event::Ended(A, End::Lost { fresh: false }),
        Event::Ended(B, failed("why")),
    ];
    assert_eq!(talk.events(), expected);
}

#[test]
fn streams_run_out_once() {
    let mut talk = Talk::new(RULES);
    talk.tunnel.set_next(STREAM_LIMIT - 2);
    assert!(talk.tunnel.has_room());
    talk.open(A);
    let (error, data) = (STREAM_LIMIT - 2, STREAM_LIMIT);
    let request = (error / 4).to_string();
    let opening = [open(error, "error", &request), open(data, "data", &request)];
    assert_eq!(talk.said(), opening);
    assert!(!talk.tunnel.has_room());
    talk.hear(&[judge::reply(error), judge::reply(data)].concat());
    talk.open(B);
    let lost = Event::Ended(B, End::Lost { fresh: true });
    assert_eq!(talk.events(), [Event::Opened(A), lost]);
}

#[test]
fn an_abort_is_final_and_a_name_in_use_is_not_taken_twice() {
    let mut talk = Talk::opened(1);
    talk.open(A);
    assert_eq!((talk.said(), talk.events()), (vec![], vec![]));
    talk.tunnel.command(Command::Abort(A));
    let said = [Said::Reset(A_DATA, 5), Said::Reset(A_ERROR, 5)];
    assert_eq!(talk.said(), said);
    talk.hear(&judge::data(A_DATA, b"late", true));
    talk.hear(&judge::data(A_ERROR, b"late", true));
    talk.data(A, b"late");
    assert_eq!((talk.said(), talk.events()), (vec![], vec![]));
    // The name is free again; streams and request are new ones.
    talk.open(A);
    assert_eq!(talk.said(), [open(5, "error", "1"), open(7, "data", "1")]);
}

#[test]
fn a_goodbye_of_ours_aborts_all() {
    let mut talk = Talk::opened(1);
    talk.tunnel.command(Command::Leave);
    let said = [
        Said::Reset(A_DATA, 5),
        Said::Reset(A_ERROR, 5),
        Said::GoAway(0),
    ];
    assert_eq!((talk.said(), talk.events()), (said.to_vec(), vec![]));
    assert_eq!(
        (talk.tunnel.is_settled(), talk.tunnel.deadline()),
        (true, None)
    );
    talk.tunnel.command(Command::Leave);
    assert_eq!(talk.said(), []);
}

#[test]
fn pings_of_the_server_are_answered_and_strangers_are_not() {
    let mut talk = Talk::opened(1);
    talk.data(A, b"x");
    talk.pass_until(5.0);
    // Only the 1 was asked.
    talk.hear(&[judge::ping(2), judge::ping(9), judge::ping(4)].concat());
    assert_eq!(talk.said(), [Said::Ping(2), Said::Ping(4)]);
    assert!(talk.tunnel.waits());
    let flood: Vec<_> = (1..=1000).flat_map(|id| judge::ping(2 * id)).collect();
    talk.hear(&flood);
    let last = (985..=1000).map(|id| Said::Ping(2 * id));
    assert_eq!(talk.said(), last.collect::<Vec<_>>());
}

#[test]
fn what_a_peer_does_wrong_is_named_and_loses_all() {
    use SpdyError::*;
    let cases = [
        (judge::data(0, b"x", false), UnknownStream { stream: 0 }),
        (judge::data(2, b"x", false), UnknownStream { stream: 2 }),
        (judge::data(5, b"x", false), UnknownStream { stream: 5 }),
        (judge::reset(9, 5), UnknownStream { stream: 9 }),
        (judge::reply(7), UnknownStream { stream: 7 }),
        (judge::reply(A_DATA), AnsweredTwice { stream: A_DATA }),
        (
            judge::data(A_DATA, b"", true).repeat(2),
            DataAfterEnd { stream: A_DATA },
        ),
        (judge::ping(0), Zero { kind: 6 }),
        (judge::control(11, 0, b""), UnexpectedKind { kind: 11 }),
    ];
    for (bytes, error) in cases {
        let mut talk = Talk::opened(1);
        let whole = [judge::data(A_DATA, b"x", false), bytes].concat();
        let refused = talk.tunnel.receive(binary(&whole));
        assert_eq!(refused, Err(ProtocolError::Spdy(error)));
        let events = talk.events();
        assert_eq!(events[0], data(A, b"x"));
        assert!(matches!(events[1..], [Event::Ended(A, _)]), "{events:?}");
    }
    let text = Piece::whole(MessageKind::Text, Bytes::from_static(b"x"));
    let refused = Talk::opened(1).tunnel.receive(text);
    let (expected, actual) = ("binary", "text");
    let error = ProtocolError::UnexpectedMessageKind { expected, actual };
    assert_eq!(refused, Err(error));
}

#[test]
fn a_reset_of_the_error_stream_waits_for_the_data() {
    let mut talk = Talk::opened(1);
    talk.hear(&judge::reset(A_ERROR, 5));
    talk.hear(&judge::data(A_DATA, b"rest", true));
    let expected = [data(A, b"rest"), Event::Ended(A, End::Reset { status: 5 })];
    assert_eq!(talk.events(), expected);
}

#[test]
fn a_reset_takes_back_a_good_end() {
    let mut talk = Talk::opened(1);
    talk.hear(&[judge::data(A_DATA, b"x", true), judge::reset(A_DATA, 6)].concat());
    talk.hear(&judge::data(A_ERROR, b"", true));
    let expected = [data(A, b"x"), Event::Ended(A, End::Reset { status: 6 })];
    assert_eq!(talk.events(), expected);
}

#[test]
fn an_error_stream_that_ended_unanswered_is_closed() {
    let mut talk = Talk::new(RULES);
    talk.open(A);
    talk.said();
    talk.hear(&judge::data(A_ERROR, b"timed out", true));
    assert_eq!(talk.events(), [Event::Ended(A, failed("timed out"))]);
    assert_eq!(
        talk.said(),
        [Said::Reset(A_DATA, 5), Said::Reset(A_ERROR, 5)]
    );
}

#[test]
fn much_data_goes_in_messages_of_a_frame_each() {
    let mut talk = Talk::opened(1);
    let data = Bytes::from(vec![7; 2 * DATA_LIMIT + 1]);
    talk.tunnel.command(Command::Data(A, data));
    let messages: Vec<_> = std::iter::from_fn(|| talk.tunnel.poll_transmit())
        .map(|outgoing| (1 + outgoing.data.len(), outgoing.carried))
        .collect();
    let expected = [DATA_LIMIT, DATA_LIMIT, 1].map(|carried| (carried + 8, carried));
    assert_eq!(messages, expected);
}

/// Two connections of this client's shape, as spdystream 0.5.1 answered them: the data streams
/// first, and the second connection before the end of the first.
#[test]
fn what_spdystream_says_is_understood() {
    const RECORDED: &[u8] =
        b"\x80\x03\x00\x02\x00\x00\x00\x14\x00\x00\x00\x03\x78\xf9\xe3\xc6\xa7\xc2\x62\x60\
        \x60\x60\x00\x00\x00\x00\xff\xff\x80\x03\x00\x02\x00\x00\x00\x0c\x00\x00\x00\x01\
        \x02\x61\x00\x00\x00\x00\xff\xff\x00\x00\x00\x01\x01\x00\x00\x00\x80\x03\x00\x06\
        \x00\x00\x00\x04\x00\x00\x00\x01\x80\x03\x00\x02\x00\x00\x00\x0c\x00\x00\x00\x07\
        \x02\x61\x00\x00\x00\x00\xff\xff\x00\x00\x00\x07\x00\x00\x00\x06\x61\x6e\x73\x77\
        \x65\x72\x00\x00\x00\x07\x01\x00\x00\x00\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\
        \x00\x03\x80\x03\x00\x02\x00\x00\x00\x0c\x00\x00\x00\x05\x02\x61\x00\x00\x00\x00\
        \xff\xff\x00\x00\x00\x05\x01\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x06\x61\x6e\
        \x73\x77\x65\x72\x00\x00\x00\x03\x01\x00\x00\x00";
    let mut talk = Talk::new(RULES);
    talk.open(A);
    talk.open(B);
    talk.hear(RECORDED);
    let expected = [
        Event::Opened(A),
        Event::Opened(B),
        data(B, b"answer"),
        Event::Ended(B, End::Finished),
        data(A, b"answer"),
        Event::Ended(A, End::Finished),
    ];
    assert_eq!(talk.events(), expected);
}

//! Time limits, and what lies untaken.

use super::*;

#[test]
fn a_text_without_an_end_is_not_waited_for_longer_than_2_s() {
    let mut talk = Talk::opened(1);
    talk.hear(&judge::data(A_ERROR, b"no", false));
    talk.pass_until(1.9);
    assert_eq!(talk.events(), []);
    assert_eq!(
        talk.pass_until(2.0),
        [Said::Reset(A_DATA, 5), Said::Reset(A_ERROR, 5)]
    );
    assert_eq!(talk.events(), [Event::Ended(A, failed("no"))]);
}

#[test]
fn nobody_answers_for_30_s() {
    let mut talk = Talk::new(RULES);
    talk.open(A);
    talk.hear(&judge::reply(A_ERROR));
    for second in 1..30 {
        talk.at(f64::from(second));
        talk.hear(&judge::ping(2));
    }
    talk.said();
    talk.pass_until(30.0);
    assert_eq!(talk.events(), [Event::Ended(A, End::Unanswered)]);
    talk.hear(&judge::reply(A_DATA));
    assert_eq!(talk.events(), []);
}

#[test]
fn an_end_of_input_waits_for_a_pod_that_says_nothing() {
    let mut talk = Talk::opened(1);
    talk.at(1.0);
    talk.tunnel.command(Command::End(A));
    assert_eq!(talk.pass_until(1.9), []);
    talk.hear(&judge::data(A_DATA, b"wait", false));
    assert_eq!(talk.pass_until(2.8), []);
    assert_eq!(talk.pass_until(2.9), [fin(A_DATA)]);
    talk.data(A, b"late");
    talk.tunnel.command(Command::End(A));
    assert_eq!(talk.pass_until(4.0), []);
}

#[test]
fn an_end_of_input_waits_until_the_input_was_read() {
    let mut talk = Talk::opened(1);
    talk.data(A, b"much");
    talk.tunnel.command(Command::End(A));
    let said = talk.pass_until(4.0);
    // Asked at once whether it was read.
    assert_eq!(
        said,
        [Said::Data(A_DATA, b"much".to_vec(), false), Said::Ping(1)]
    );
    talk.hear(&judge::ping(1));
    assert_eq!(talk.pass_until(4.9), []);
    assert_eq!(talk.pass_until(5.0), [fin(A_DATA)]);
}

#[test]
fn an_end_of_input_is_passed_on_or_held_where_that_is_asked_for() {
    let mut talk = Talk::new(Rules {
        half_close: HalfClose::Pass,
        ..RULES
    });
    talk.open(A);
    talk.data(A, b"x");
    talk.tunnel.command(Command::End(A));
    talk.said();
    talk.hear(&[judge::reply(A_ERROR), judge::reply(A_DATA)].concat());
    let expected = [
        fin(A_ERROR),
        Said::Data(A_DATA, b"x".to_vec(), false),
        fin(A_DATA),
    ];
    assert_eq!(talk.said(), expected);

    let hold = Rules {
        half_close: HalfClose::Hold,
        ..RULES
    };
    let mut talk = Talk::opened_by(hold, 1);
    talk.tunnel.command(Command::End(A));
    assert_eq!(talk.pass_until(4.9), []);
    talk.hear(&judge::data(A_DATA, b"", true));
    talk.hear(&judge::data(A_ERROR, b"", true));
    assert_eq!(talk.said(), [fin(A_DATA)]);
}

#[test]
fn a_quiet_peer_is_pinged_and_a_silent_one_is_dead() {
    let mut talk = Talk::opened(1);
    talk.at(3.0);
    talk.hear(&judge::data(A_DATA, b"x", false));
    assert_eq!(talk.pass_until(7.9), []);
    assert_eq!(talk.pass_until(8.0), [Said::Ping(1)]);
    talk.hear(&judge::ping(1));
    assert_eq!(talk.pass_until(22.9), [Said::Ping(3), Said::Ping(5)]);
    talk.events();
    talk.pass_until(23.0);
    let lost = Event::Ended(A, End::Lost { fresh: false });
    assert_eq!(talk.events(), [lost, Event::Over(Over::Silent)]);
    assert!(talk.tunnel.is_settled() && talk.tunnel.deadline().is_none());
}

#[test]
fn pings_are_never_more_than_10_s_apart() {
    for keepalive in [Duration::ZERO, Duration::from_secs(60)] {
        let mut talk = Talk::opened_by(
            Rules {
                keepalive,
                keepalive_timeout: Duration::from_secs(90),
                ..RULES
            },
            1,
        );
        assert_eq!(talk.pass_until(20.0), [Said::Ping(1), Said::Ping(3)]);
    }
}

#[test]
fn a_dead_peer_limit_that_is_short_brings_more_pings() {
    let rules = Rules {
        keepalive_timeout: Duration::from_secs(3),
        ..RULES
    };
    let mut talk = Talk::opened_by(rules, 1);
    assert_eq!(talk.pass_until(2.0), [Said::Ping(1), Said::Ping(3)]);
}

#[test]
fn silence_means_nothing_while_our_data_lies_unread() {
    let mut talk = Talk::opened(1);
    talk.data(A, b"much");
    talk.pass_until(299.9);
    assert_eq!((talk.events(), talk.tunnel.waits()), (vec![], true));
    talk.pass_until(300.0);
    let lost = Event::Ended(A, End::Lost { fresh: false });
    assert_eq!(talk.events(), [lost, Event::Over(Over::Stalled)]);
}

#[test]
fn what_is_read_or_answered_is_no_stall() {
    let mut talk = Talk::opened(1);
    talk.data(A, b"much");
    talk.pass_until(200.0);
    // The pod does not read, but it speaks.
    talk.hear(&judge::data(A_DATA, b"x", false));
    talk.data(A, b"more");
    talk.pass_until(450.0);
    talk.hear(&judge::ping(1));
    // The first part was read, the second not yet.
    assert!(talk.tunnel.waits());
    talk.pass_until(749.0);
    assert_eq!(talk.events(), [data(A, b"x")]);
    // An answer to a later ping says the same of all before it.
    talk.hear(&judge::ping(199));
    assert!(!talk.tunnel.waits());
}

#[test]
fn while_we_do_not_read_no_clock_runs_against_the_peer() {
    let mut talk = Talk::opened(1);
    talk.hear(&judge::data(A_DATA, &vec![0; BACKLOG], false));
    assert!(!talk.tunnel.reads());
    assert_eq!(
        (talk.pass_until(4000.0), talk.tunnel.deadline()),
        (vec![], None)
    );
    talk.tunnel.command(Command::Taken(A, 1));
    assert!(talk.tunnel.reads());
    assert_eq!(talk.pass_until(4004.9), []);
    assert_eq!(talk.pass_until(4005.0), [Said::Ping(1)]);
    assert_eq!(talk.events().len(), 1);
}

#[test]
fn one_that_is_shared_ends_after_the_stall_limit_and_the_others_go_on() {
    let mut talk = Talk::opened(2);
    let part = judge::data(A_DATA, &vec![0; BACKLOG], false);
    talk.hear(&part.repeat(2));
    // Newcomers go elsewhere, those that are here are still served.
    assert!(talk.tunnel.reads() && !talk.tunnel.has_room());
    talk.hear(&part.repeat(2));
    assert!(!talk.tunnel.reads());
    talk.at(200.0);
    // Slow is not stalled.
    talk.tunnel.command(Command::Taken(A, 10));
    talk.hear(&judge::data(A_DATA, &[0; 10], false));
    talk.at(400.0);
    talk.tunnel.command(Command::Taken(A, 0));
    talk.events();
    assert_eq!(talk.pass_until(499.9), []);
    let said = talk.pass_until(500.0);
    assert_eq!(said, [Said::Reset(A_DATA, 5), Said::Reset(A_ERROR, 5)]);
    assert_eq!(talk.events(), [Event::Ended(A, End::Stalled)]);
    assert!(talk.tunnel.reads() && talk.tunnel.has_room());
    talk.hear(&part);
    assert_eq!(
        (talk.events(), talk.tunnel.dropped()),
        (vec![], BACKLOG as u64)
    );
    talk.hear(&judge::data(B_DATA, b"b", false));
    assert_eq!(talk.events(), [data(B, b"b")]);
}

#[test]
fn one_that_was_alone_gets_the_whole_stall_limit_when_it_is_joined() {
    let mut talk = Talk::opened(1);
    talk.hear(&judge::data(A_DATA, &vec![0; SHARED_BACKLOG], false));
    talk.pass_until(1000.0);
    talk.open(B);
    talk.events();
    talk.pass_until(1299.9);
    assert_eq!(talk.events(), []);
    talk.pass_until(1300.0);
    assert_eq!(talk.events(), [Event::Ended(A, End::Stalled)]);
}

#[test]
fn a_tunnel_takes_16_and_none_while_an_upload_is_stuck() {
    let talk = Talk::opened(15);
    assert!(talk.tunnel.has_room());
    assert!(!Talk::opened(16).tunnel.has_room());
    let mut talk = Talk::opened(1);
    talk.data(A, b"much");
    talk.pass_until(10.0);
    assert!(talk.tunnel.has_room());
    talk.pass_until(10.1);
    assert!(!talk.tunnel.has_room());
    talk.hear(&judge::ping(1));
    assert!(talk.tunnel.has_room());
}

#[test]
fn whoever_was_stopped_asks_before_it_gives_up() {
    let mut talk = Talk::opened(1);
    talk.tunnel.resumed(Duration::from_secs(3600));
    assert_eq!((talk.said(), talk.events()), (vec![Said::Ping(1)], vec![]));
    talk.pass_until(3614.9);
    assert_eq!(talk.events(), []);
    talk.pass_until(3615.0);
    let lost = Event::Ended(A, End::Lost { fresh: true });
    assert_eq!(talk.events(), [lost, Event::Over(Over::Silent)]);
}

#[test]
fn a_connection_that_was_idle_does_not_stall_at_once() {
    let mut talk = Talk::opened(2);
    for second in (5..=400).step_by(5) {
        talk.pass_until(f64::from(second));
        talk.hear(&judge::ping(2 * (second as u32 / 5) - 1));
    }
    talk.data(B, b"x");
    talk.hear(&judge::data(A_DATA, &vec![0; SHARED_BACKLOG], false));
    let told = talk.events();
    assert!(matches!(&told[..], [Event::Data(A, _)]));
    talk.pass_until(600.0);
    talk.tunnel.command(Command::Taken(A, 10));
    assert_eq!((talk.events(), talk.tunnel.is_settled()), (vec![], false));
}

#[test]
fn an_upload_does_not_stall_at_once_after_a_pause() {
    let mut talk = Talk::opened(1);
    for second in (5..=400).step_by(5) {
        talk.pass_until(f64::from(second));
        talk.hear(&judge::ping(2 * (second as u32 / 5) - 1));
    }
    talk.data(A, b"x");
    talk.pass_until(699.9);
    assert!(!talk.tunnel.is_settled());
    talk.pass_until(700.0);
    assert!(talk.tunnel.is_settled());
}

#[test]
fn an_upload_is_asked_for_even_while_its_pod_speaks() {
    let mut talk = Talk::opened(1);
    talk.data(A, b"x");
    talk.said();
    let mut said = Vec::new();
    for second in 1..=10 {
        said.extend(talk.pass_until(f64::from(second)));
        talk.hear(&judge::data(A_DATA, b"x", false));
    }
    assert_eq!(said, [Said::Ping(1), Said::Ping(3)]);
}

#[test]
fn what_others_receive_is_no_progress_of_an_upload() {
    let mut talk = Talk::opened(2);
    talk.data(A, b"x");
    for second in 1..=300 {
        assert!(!talk.tunnel.is_settled());
        talk.pass_until(f64::from(second));
        if second < 300 {
            talk.hear(&judge::data(B_DATA, b"x", false));
        }
    }
    let events = talk.events();
    assert_eq!(events.last(), Some(&Event::Over(Over::Stalled)));
}

#[test]
fn no_ping_is_put_behind_what_waits_to_be_sent() {
    let mut talk = Talk::opened(1);
    for second in 1..=14 {
        talk.at(f64::from(second));
    }
    assert_eq!(talk.said(), [Said::Ping(1)]);
}

#[test]
fn an_empty_message_is_no_sign_of_life() {
    let mut talk = Talk::opened(1);
    talk.at(14.0);
    talk.hear(b"");
    talk.at(15.0);
    assert!(talk.tunnel.is_settled());
}

#[test]
fn endings_are_not_hurried_while_we_do_not_read() {
    let mut talk = Talk::opened(3);
    talk.tunnel.command(Command::End(A));
    talk.hear(&judge::data(5, b"why", false));
    talk.hear(&judge::data(11, &vec![0; SHARED_BACKLOG], false));
    talk.events();
    assert_eq!(talk.pass_until(100.0), []);
    talk.tunnel.command(Command::Taken(Connection(2), 10));
    assert_eq!(talk.pass_until(100.9), []);
    assert_eq!(talk.pass_until(101.0), [fin(A_DATA)]);
    talk.pass_until(101.9);
    assert_eq!(talk.events(), []);
    talk.pass_until(102.0);
    assert_eq!(talk.events(), [Event::Ended(B, failed("why"))]);
}

#[test]
fn nobody_is_asked_while_we_do_not_read() {
    let mut talk = Talk::opened(1);
    talk.data(A, b"x");
    talk.hear(&judge::data(A_DATA, &vec![0; BACKLOG], false));
    talk.said();
    talk.tunnel.command(Command::End(A));
    talk.tunnel.resumed(Duration::from_secs(1));
    assert_eq!(talk.said(), []);
}

#[test]
fn an_end_of_input_is_asked_for_once() {
    let mut talk = Talk::opened(1);
    talk.data(A, b"x");
    talk.pass_until(5.0);
    talk.tunnel.command(Command::End(A));
    assert_eq!(talk.said(), []);
}

#[test]
fn an_end_of_input_before_the_answers_waits_for_them() {
    for early in [false, true] {
        let mut talk = Talk::new(RULES);
        talk.open(A);
        if early {
            talk.data(A, b"x");
        }
        talk.tunnel.command(Command::End(A));
        talk.pass_until(4.0);
        talk.hear(&[judge::reply(A_DATA), judge::reply(A_ERROR)].concat());
        let mut expected = vec![fin(A_ERROR)];
        if early {
            expected.extend([Said::Data(A_DATA, b"x".to_vec(), false), Said::Ping(1)]);
        }
        assert_eq!(talk.said(), expected);
        talk.hear(&judge::ping(1));
        assert_eq!(talk.pass_until(4.9), []);
        assert_eq!(talk.pass_until(5.0), [fin(A_DATA)]);
    }
}

#[test]
fn an_end_of_input_waits_for_no_others() {
    let mut talk = Talk::opened(2);
    talk.tunnel.command(Command::End(A));
    talk.data(B, b"x");
    talk.tunnel.command(Command::End(B));
    talk.said();
    talk.at(0.9);
    talk.hear(&judge::ping(1));
    assert_eq!(talk.pass_until(1.0), [fin(A_DATA)]);
    assert_eq!(talk.pass_until(1.9), [fin(B_DATA)]);
}

#[test]
fn what_follows_the_first_half_of_an_ending_brings_no_more_time() {
    let mut talk = Talk::opened(1);
    talk.hear(&judge::data(A_ERROR, b"why", false));
    talk.at(1.5);
    talk.hear(&judge::reset(A_DATA, 5));
    assert_eq!(talk.events(), []);
    talk.at(2.0);
    assert_eq!(talk.events(), [Event::Ended(A, failed("why"))]);
}

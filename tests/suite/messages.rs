//! Messages in both directions after the 101, judged by a client made by hand.

use serde_json::json;
use wsx_tests::wire::{BINARY, CLOSE, FIN, PING, TEXT, client_frame};

use crate::raw::{Event, Raw};
use crate::talk::{
    V4, V5, WHOLE_TEXT, close, cluster, enter, exec, fifo, json, message, success, success_on,
    wait_until,
};

#[test]
fn a_session_is_ready_output_status_close_end() {
    let cluster = cluster();
    for subprotocol in [V4, V5] {
        let events = enter(&cluster, subprotocol, &["echo", "hi"]).rest();
        let expected = [
            message(1, ""),
            message(1, "hi\n"),
            success_on(subprotocol),
            close(1000),
            Event::Eof,
        ];
        assert_eq!(events, expected);
    }
}

#[test]
fn over_tls_it_is_the_same() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "v1.28",
        Some(V4),
        &exec("stdout=true", &["echo", "hi"]),
    );
    assert_eq!(
        raw.answer().header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let expected = [
        message(1, ""),
        message(1, "hi\n"),
        success_on(V4),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn an_exit_code_stands_in_the_status() {
    let cluster = cluster();
    for (subprotocol, prose) in [
        (V4, "error executing command [sh -c exit 3], exit code 3"),
        (V5, "command terminated with exit code 3"),
    ] {
        let mut events = enter(&cluster, subprotocol, &["sh", "-c", "exit 3"]).rest();
        let Event::Message(3, status) = events.remove(1) else {
            panic!("no Status: {events:?}")
        };
        // Recorded from Kubernetes 1.36.3, to the letter.
        let metadata = if subprotocol == V5 {
            r#""metadata":{},"#
        } else {
            ""
        };
        let expected = format!(
            r#"{{{metadata}"status":"Failure","message":"command terminated with non-zero exit code: {prose}","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"3"}}]}}}}"#
        );
        assert_eq!(status, expected);
        assert_eq!(events, [message(1, ""), close(1000), Event::Eof]);
    }
}

#[test]
fn a_signal_is_128_and_its_number() {
    let cluster = cluster();
    let events = enter(&cluster, V5, &["sh", "-c", "kill -TERM $$"]).rest();
    let Event::Message(3, status) = &events[1] else {
        panic!("no Status: {events:?}")
    };
    assert_eq!(json(status)["details"]["causes"][0]["message"], "143");
}

#[test]
fn a_command_that_cannot_start_is_an_internal_error_after_the_101() {
    let cluster = cluster();
    let home = cluster.container_directory("default", "web-0", "app");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("plain.txt"), "no program").unwrap();
    for (subprotocol, command, text) in [
        (
            V4,
            "nope",
            "exec: \"nope\": executable file not found in $PATH: unknown",
        ),
        (
            V5,
            "./plain.txt",
            "exec: \"./plain.txt\": permission denied: unknown",
        ),
        (
            V5,
            "/nope",
            "exec: \"/nope\": stat /nope: no such file or directory: unknown",
        ),
    ] {
        let events = enter(&cluster, subprotocol, &[command]).rest();
        let Event::Message(3, status) = &events[1] else {
            panic!("no Status: {events:?}")
        };
        let status = json(status);
        assert_eq!(
            (&status["reason"], &status["code"]),
            (&json!("InternalError"), &json!(500))
        );
        let said = status["message"].as_str().unwrap();
        // The translator wraps it once more.
        let said = match said.strip_prefix("Internal error occurred: Internal") {
            Some(rest) if subprotocol == V5 => format!("Internal{rest}"),
            _ => said.to_owned(),
        };
        assert!(said.starts_with("Internal error occurred: error executing command in container: failed to exec in container: failed to start exec \""), "{said}");
        assert!(said.ends_with(text), "{said}");
    }
}

#[test]
fn the_ready_message_is_on_the_lowest_channel_asked_for() {
    let cluster = cluster();
    for (streams, channel) in [
        ("stdout=true&stderr=true", 1),
        ("stderr=true", 2),
        ("stdin=true", 3),
    ] {
        let mut raw = Raw::upgrade(&cluster, "plain", Some(V4), &exec(streams, &["true"]));
        assert_eq!(raw.answer().status, 101);
        assert_eq!(raw.next(), message(channel, ""));
    }
}

#[test]
fn without_a_subprotocol_the_echo_is_an_empty_header() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        None,
        &exec("stdout=true", &["echo", "hi"]),
    );
    assert_eq!(raw.answer().header("Sec-WebSocket-Protocol"), Some(""));
    let expected = [message(1, ""), message(1, "hi\n"), close(1000), Event::Eof];
    assert_eq!(raw.rest(), expected, "success writes nothing on channel 3");
}

#[test]
fn before_v4_a_failure_is_text() {
    let cluster = cluster();
    let events = enter(&cluster, "channel.k8s.io", &["sh", "-c", "exit 4"]).rest();
    let text = "command terminated with non-zero exit code: error executing command [sh -c exit 4], exit code 4";
    assert_eq!(
        events,
        [message(1, ""), message(3, text), close(1000), Event::Eof]
    );
}

#[test]
fn base64_forms_are_text_with_a_digit() {
    let cluster = cluster();
    let mut raw = enter(&cluster, "v4.base64.channel.k8s.io", &["head", "-n1"]);
    raw.write(&client_frame(FIN | TEXT, b"0not base64!"));
    raw.write(&client_frame(FIN | TEXT, b"0aGkK"));
    let text = |text: &str| Event::Odd(WHOLE_TEXT, text.as_bytes().to_vec());
    let expected = [
        text("1"),
        text("1aGkK"),
        text("3eyJzdGF0dXMiOiJTdWNjZXNzIn0="),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);

    let events = enter(&cluster, "base64.channel.k8s.io", &["true"]).rest();
    assert_eq!(events, [text("1"), close(1000), Event::Eof]);
}

#[test]
fn v5_half_closes_stdin_and_v4_does_not_know_it() {
    let cluster = cluster();
    let mut raw = enter(&cluster, V5, &["cat"]);
    raw.send(b"\x00hello");
    raw.send(b"\xFF\x00");
    let expected = [
        message(1, ""),
        message(1, "hello"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);

    let mut raw = enter(&cluster, V4, &["head", "-n2"]);
    raw.send(b"\x00one\n");
    raw.send(b"\xFF\x00");
    raw.send(b"\x00two\n");
    let expected = [
        message(1, ""),
        message(1, "one\ntwo\n"),
        success_on(V4),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn a_malformed_half_close_ends_the_connection() {
    let cluster = cluster();
    for broken in [&b"\xFF"[..], b"\xFF\x00\x00", b"\xFF\x05"] {
        let mut raw = enter(&cluster, V5, &["cat"]);
        raw.send(broken);
        assert_eq!(raw.rest(), [message(1, ""), close(1000), Event::Eof]);
    }
}

#[test]
fn every_frame_is_a_message_of_its_own() {
    let cluster = cluster();
    let mut raw = enter(&cluster, V5, &["cat"]);
    // A fragmented 00 "ab" | "cd": the second piece goes to channel 0x63, which is nobody's.
    raw.write(&client_frame(BINARY, b"\x00ab"));
    raw.write(&client_frame(FIN, b"cd"));
    raw.write(&client_frame(FIN | TEXT, b"\x00ef"));
    raw.write(&client_frame(FIN | BINARY, b""));
    raw.send(b"\x01gh");
    raw.send(b"\x07ij");
    raw.send(b"\xFF\x00");
    let expected = [
        message(1, ""),
        message(1, "abef"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn a_ping_is_answered_and_a_close_ends_without_more() {
    let cluster = cluster();
    let mut raw = enter(&cluster, V5, &["cat"]);
    assert_eq!(raw.next(), message(1, ""));
    raw.write(&client_frame(FIN | PING, b"are you there"));
    assert_eq!(raw.next(), Event::Pong(b"are you there".to_vec()));
    raw.write(&client_frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(raw.rest(), [close(1000), Event::Eof]);
}

#[test]
fn an_unmasked_frame_gets_two_closes() {
    let cluster = cluster();
    let mut raw = enter(&cluster, V5, &["cat"]);
    raw.write(b"\x82\x02\x00x");
    assert_eq!(
        raw.rest(),
        [message(1, ""), close(1002), close(1000), Event::Eof]
    );
}

#[test]
fn a_process_that_does_not_read_stops_the_whole_reader() {
    let cluster = cluster();
    // A fifo tells the process when to read, so that nothing depends on time.
    let home = cluster.container_directory("default", "web-0", "app");
    fifo(&home, "go");
    let mut raw = enter(&cluster, V5, &["sh", "-c", "read go <go; wc -c"]);
    assert_eq!(raw.next(), message(1, ""));
    for _ in 0..16 {
        raw.send(&[&[0][..], &[b'x'; 16 * 1024]].concat());
    }
    raw.write(&client_frame(FIN | PING, b"late"));
    assert!(raw.is_silent(), "a pong came past the blocked stdin");
    std::fs::write(home.join("go"), "go\n").unwrap();
    assert_eq!(raw.next(), Event::Pong(b"late".to_vec()));
    raw.send(b"\xFF\x00");
    let expected = [message(1, "262144\n"), success(), close(1000), Event::Eof];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn messages_are_32_kib_on_v5_and_what_was_written_on_v4() {
    let cluster = cluster();
    for (subprotocol, longest, status) in [(V5, 32 * 1024, 35), (V4, 100_000, 21)] {
        let mut raw = enter(&cluster, subprotocol, &["gen", "200000", "100000"]);
        let mut sizes = Vec::new();
        while let Some(size) = raw.next_length() {
            sizes.push(size);
        }
        assert_eq!(sizes.remove(0), 1, "the ready message");
        assert_eq!(
            sizes.drain(sizes.len() - 2..).collect::<Vec<_>>(),
            [status, 2],
            "Status and Close"
        );
        assert_eq!(sizes.iter().map(|size| size - 1).sum::<usize>(), 200_000);
        assert_eq!(sizes.iter().max(), Some(&(longest + 1)));
    }
}

#[test]
fn a_client_that_goes_ends_stdin_and_not_the_process() {
    let cluster = cluster();
    let script = "cat >/dev/null; echo to nobody; echo still here >done";
    let mut raw = enter(&cluster, V5, &["sh", "-c", script]);
    assert_eq!(raw.next(), message(1, ""));
    drop(raw);
    let file = cluster
        .container_directory("default", "web-0", "app")
        .join("done");
    wait_until("the process goes on", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text == "still here\n")
    });
}

//! The wire of the embedded cluster, judged by a client made by hand.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wsx_tests::cluster::Cluster;
use wsx_tests::wire::{BINARY, CLOSE, FIN, PING, TEXT, client_frame};

use crate::raw::{Event, PODS, Raw, UPGRADE, V4, V5, WHOLE_TEXT, close, exec, message, success};

fn cluster() -> Cluster {
    Cluster::spawn().unwrap()
}

/// An exec after its 101, with all streams but the terminal.
fn enter(cluster: &Cluster, subprotocol: &str, command: &[&str]) -> Raw {
    let target = exec("stdin=true&stdout=true&stderr=true", command);
    let mut raw = Raw::upgrade(cluster, "plain", Some(subprotocol), &target);
    let answer = raw.answer();
    assert_eq!(
        (answer.status, answer.header("Sec-WebSocket-Protocol")),
        (101, Some(subprotocol))
    );
    raw
}

fn fifo(folder: &std::path::Path, name: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.join(name))
        .status()
        .unwrap();
    assert!(made.success());
}

/// Asks again and again, for ten seconds at most.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::yield_now();
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn refusal(cluster: &Cluster, listener: &str, subprotocols: &str, target: &str) -> (u16, String) {
    Raw::upgrade(cluster, listener, Some(subprotocols), target).page()
}

#[test]
fn a_session_is_ready_output_status_close_end() {
    let cluster = cluster();
    for subprotocol in [V4, V5] {
        let events = enter(&cluster, subprotocol, &["echo", "hi"]).rest();
        let expected = [
            message(1, ""),
            message(1, "hi\n"),
            success(),
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
        success(),
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
        let expected = json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: {prose}"),
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        });
        assert_eq!(json(&status), expected);
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
        text("3eyJtZXRhZGF0YSI6e30sInN0YXR1cyI6IlN1Y2Nlc3MifQ=="),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);

    let events = enter(&cluster, "base64.channel.k8s.io", &["true"]).rest();
    assert_eq!(events, [text("1"), close(1000), Event::Eof]);
}

#[test]
fn a_subprotocol_nobody_knows_is_refused_without_a_body() {
    let cluster = cluster();
    let target = exec("stdout=true", &["true"]);
    for (listener, offered) in [
        ("plain", "v3.channel.k8s.io"),
        ("v1.28", V5),
        ("plain", "v2.channel.k8s.io, x"),
    ] {
        assert_eq!(
            refusal(&cluster, listener, offered, &target),
            (403, String::new())
        );
    }
}

#[test]
fn only_the_first_line_of_subprotocols_counts() {
    let cluster = cluster();
    let lines = [
        &UPGRADE[..],
        &[
            "Sec-WebSocket-Protocol: v4.channel.k8s.io",
            "Sec-WebSocket-Protocol: v5.channel.k8s.io",
        ],
    ]
    .concat();
    let mut raw = Raw::request(&cluster, "plain", &exec("stdout=true", &["true"]), &lines);
    assert_eq!(raw.answer().header("Sec-WebSocket-Protocol"), Some(V4));
}

#[test]
fn v5_wins_in_any_place_where_it_is_known() {
    let cluster = cluster();
    let both = Some("v4.channel.k8s.io, v5.channel.k8s.io");
    for (listener, chosen) in [("plain", V5), ("v1.30", V5), ("v1.28", V4)] {
        let mut raw = Raw::upgrade(&cluster, listener, both, &exec("stdout=true", &["true"]));
        assert_eq!(raw.answer().header("Sec-WebSocket-Protocol"), Some(chosen));
    }
}

#[test]
fn the_handshake_is_checked_as_x_net_does() {
    let cluster = cluster();
    let target = exec("stdout=true", &["true"]);
    let ask = |lines: &[&str]| Raw::request(&cluster, "plain", &target, lines).page();
    let (status, body) = ask(&[]);
    assert_eq!(
        (status, json(&body)["message"].clone()),
        (400, json!("Upgrade request required"))
    );
    assert_eq!(ask(&UPGRADE[..3]).0, 400);
    let old = [
        UPGRADE[0],
        UPGRADE[1],
        "Sec-WebSocket-Version: 8",
        UPGRADE[3],
    ];
    let mut raw = Raw::request(&cluster, "plain", &target, &old);
    let answer = raw.answer();
    assert_eq!(
        (answer.status, answer.header("Sec-WebSocket-Version")),
        (400, Some("13"))
    );
}

#[test]
fn container_and_command_are_checked_before_the_upgrade() {
    let cluster = cluster();
    for (path, status, text) in [
        (
            "web-0/exec?stdout=1&command=true",
            400,
            "a container name must be specified for pod web-0, choose one of: [app sidecar]",
        ),
        (
            "web-0/exec?stdout=1&command=true&container=nope",
            400,
            "container nope is not valid for pod web-0",
        ),
        (
            "gone-0/exec?stdout=1&command=true",
            404,
            "pods \"gone-0\" not found",
        ),
    ] {
        let (found, body) = refusal(&cluster, "plain", V5, &format!("{PODS}/{path}"));
        assert_eq!(
            (found, json(&body)["message"].as_str()),
            (status, Some(text))
        );
    }
}

#[test]
fn the_node_refuses_with_text_on_v4_and_with_a_status_on_v5() {
    let cluster = cluster();
    for (path, status, text) in [
        (
            "web-0/exec?container=app&stdout=1",
            400,
            "you must specify at least one command for the container",
        ),
        (
            "web-0/exec?container=app&command=true",
            400,
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        (
            "crash-0/exec?stdout=1&command=true",
            500,
            "container not found (\"app\")",
        ),
    ] {
        let target = format!("{PODS}/{path}");
        assert_eq!(
            refusal(&cluster, "plain", V4, &target),
            (status, text.to_owned())
        );
        let mut raw = Raw::upgrade(&cluster, "plain", Some(V5), &target);
        assert_eq!(raw.answer().status, 101);
        let events = raw.rest();
        let Event::Message(3, status) = &events[1] else {
            panic!("no Status: {events:?}")
        };
        let said = format!("Internal error occurred: unable to upgrade connection: {text}");
        assert_eq!(json(status)["message"], said);
        assert_eq!(events[2..], [close(1000), Event::Eof]);
    }
}

#[test]
fn since_1_35_a_get_needs_create() {
    let cluster = cluster();
    let target = exec("stdout=true", &["true"]);
    let ask = |listener: &str, user: &str| {
        let mut raw = Raw::connect(&cluster, listener);
        let token = cluster.token(user);
        let lines = UPGRADE.join("\r\n");
        raw.write(format!("GET {target} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n{lines}\r\nSec-WebSocket-Protocol: {V4}\r\n\r\n").as_bytes());
        raw
    };
    assert_eq!(ask("v1.30", "get-only").answer().status, 101);
    let (status, body) = ask("v1.35", "get-only").page();
    let text = "pods \"web-0\" is forbidden: User \"get-only\" cannot create resource \"pods/exec\" in API group \"\" in the namespace \"default\"";
    assert_eq!((status, json(&body)["message"].as_str()), (403, Some(text)));
    let (status, body) = ask("v1.35", "create-only").page();
    let text = "pods \"web-0\" is forbidden: User \"create-only\" cannot get resource \"pods/exec\" in API group \"\" in the namespace \"default\"";
    assert_eq!((status, json(&body)["message"].as_str()), (403, Some(text)));
}

#[test]
fn a_browser_brings_its_token_as_a_subprotocol() {
    use base64::Engine as _;
    let cluster = cluster();
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(cluster.token("admin"));
    let ask = |names: &str| {
        let mut raw = Raw::connect(&cluster, "v1.35");
        let target = exec("stdout=true", &["true"]);
        let lines = UPGRADE.join("\r\n");
        raw.write(
            format!("GET {target} HTTP/1.1\r\n{lines}\r\nSec-WebSocket-Protocol: {names}\r\n\r\n")
                .as_bytes(),
        );
        let answer = raw.answer();
        (
            answer.status,
            answer.header("Sec-WebSocket-Protocol").map(str::to_owned),
        )
    };
    let bearer = format!("base64url.bearer.authorization.k8s.io.{token}");
    assert_eq!(ask(&format!("{bearer}, {V4}")), (101, Some(V4.to_owned())));
    assert_eq!(ask(&bearer), (401, None));
    assert_eq!(ask(V4), (401, None));
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
        success(),
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
    for (subprotocol, longest) in [(V5, 32 * 1024), (V4, 100_000)] {
        let mut raw = enter(&cluster, subprotocol, &["gen", "200000", "100000"]);
        let mut sizes = Vec::new();
        while let Some(size) = raw.next_length() {
            sizes.push(size);
        }
        assert_eq!(sizes.remove(0), 1, "the ready message");
        assert_eq!(
            sizes.drain(sizes.len() - 2..).collect::<Vec<_>>(),
            [35, 2],
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

#[test]
fn a_terminal_has_the_size_it_is_told_and_no_stderr() {
    let cluster = cluster();
    let target = exec(
        "stdin=1&stdout=1&stderr=1&tty=1",
        &["sh", "-c", "read x; stty size; echo err >&2"],
    );
    let mut raw = Raw::upgrade(&cluster, "plain", Some(V5), &target);
    assert_eq!(raw.answer().status, 101);
    raw.send(b"\x04{\"Width\":101,");
    raw.send(b"\x04\"height\":33}\n");
    raw.send(b"\x00go\n");
    let expected = [
        message(1, ""),
        message(1, "go\r\n33 101\r\nerr\r\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn much_output_of_a_terminal_arrives_whole() {
    let cluster = cluster();
    let target = exec("stdout=1&tty=1", &["seq", "50000"]);
    let mut raw = Raw::upgrade(&cluster, "plain", Some(V5), &target);
    assert_eq!(raw.answer().status, 101);
    let expected: String = (1..=50_000).map(|number| format!("{number}\r\n")).collect();
    assert_eq!(
        raw.rest(),
        [
            message(1, ""),
            message(1, &expected),
            success(),
            close(1000),
            Event::Eof
        ]
    );
}

#[test]
fn the_end_of_stdin_detaches_a_terminal() {
    let cluster = cluster();
    let target = exec(
        "stdin=1&stdout=1&tty=1",
        &["sh", "-c", "stty -echo; echo first; read x; echo second"],
    );
    let mut raw = Raw::upgrade(&cluster, "plain", Some(V5), &target);
    assert_eq!(raw.answer().status, 101);
    assert_eq!(
        (raw.next(), raw.next()),
        (message(1, ""), message(1, "first\r\n"))
    );
    raw.send(b"\xFF\x00");
    raw.send(b"\x00go\n");
    // Dropped input would leave the process waiting; a terminal still takes it, its output goes nowhere.
    assert_eq!(raw.rest(), [success(), close(1000), Event::Eof]);
}

#[test]
fn attach_gives_what_comes_from_now_on() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V5),
        &format!("{PODS}/web-0/attach?container=app&stdout=1"),
    );
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.next(), message(1, ""));
    let Event::Message(1, text) = raw.next() else {
        panic!("no output")
    };
    assert!(text.starts_with("tick 1\n"), "{text}");
    raw.write(&client_frame(FIN | CLOSE, b""));
    assert!(raw.rest().ends_with(&[close(1000), Event::Eof]));
}

#[test]
fn attach_succeeds_whatever_the_container_says() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V5),
        &format!("{PODS}/ends-0/attach?stdin=1&stdout=1"),
    );
    assert_eq!(raw.answer().status, 101);
    raw.send(b"\x00hello\n");
    let expected = [
        message(1, ""),
        message(1, "got hello\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
    let (_, pod) = Raw::request(&cluster, "plain", &format!("{PODS}/ends-0"), &[]).page();
    let pod = json(&pod);
    assert_eq!(pod["status"]["phase"], "Failed");
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        3
    );
}

#[test]
fn attach_to_a_terminal_echoes() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V4),
        &format!("{PODS}/tty-0/attach?stdin=1&stdout=1&tty=1"),
    );
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.next(), message(1, ""));
    raw.send(b"\x00hi\n");
    raw.send(b"\x00\x04");
    let events = raw.rest();
    assert_eq!(
        events,
        [
            message(1, "hi\r\nhi\r\n"),
            success(),
            close(1000),
            Event::Eof
        ]
    );
}

#[test]
fn stdin_to_a_container_that_takes_none_blocks_for_ever() {
    let cluster = cluster();
    let mut raw = Raw::upgrade(
        &cluster,
        "plain",
        Some(V5),
        &format!("{PODS}/web-0/attach?container=app&stdin=1&stderr=1"),
    );
    assert_eq!(raw.answer().status, 101);
    assert_eq!(raw.next(), message(2, ""));
    raw.send(b"\x00x");
    raw.write(&client_frame(FIN | PING, b""));
    assert!(raw.is_silent());
}

#[test]
fn gen_is_a_pattern_and_sink_counts() {
    let cluster = cluster();
    let mut raw = enter(&cluster, V5, &["gen", "20", "12"]);
    assert_eq!(raw.next(), message(1, ""));
    let bytes = "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}";
    assert_eq!(raw.next(), message(1, bytes));
    assert_eq!(
        raw.next(),
        message(1, "\u{0}\u{0}\u{0}\u{0}\u{2}\u{0}\u{0}\u{0}")
    );
    assert_eq!(raw.rest(), [success(), close(1000), Event::Eof]);

    let mut raw = enter(&cluster, V5, &["sink"]);
    for _ in 0..100 {
        raw.send(&[0; 1001]);
    }
    raw.send(b"\xFF\x00");
    let expected = [
        message(1, ""),
        message(1, "100000\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);

    let mut raw = enter(&cluster, V4, &["sink", "1k"]);
    raw.send(&[0; 1025]);
    let expected = [
        message(1, ""),
        message(1, "1024\n"),
        success(),
        close(1000),
        Event::Eof,
    ];
    assert_eq!(raw.rest(), expected);
}

#[test]
fn the_process_sees_its_own_small_world() {
    let cluster = cluster();
    let events = enter(
        &cluster,
        V5,
        &[
            "sh",
            "-c",
            "pwd; echo $HOME $POD_NAME $CONTAINER_NAME; env | wc -l",
        ],
    )
    .rest();
    let home = cluster.container_directory("default", "web-0", "app");
    let home = home.display();
    let Event::Message(1, text) = &events[1] else {
        panic!("no output: {events:?}")
    };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], [format!("{home}"), format!("{home} web-0 app")]);
}

#[test]
fn dropping_the_cluster_ends_every_process_and_file() {
    let cluster = cluster();
    let scratch = cluster.kubeconfig().parent().unwrap().to_owned();
    let mut raw = enter(
        &cluster,
        V5,
        &["sh", "-c", "sleep 1000 & setsid sleep 1000 & echo $$; wait"],
    );
    assert_eq!(raw.next(), message(1, ""));
    assert!(matches!(raw.next(), Event::Message(1, _)));
    let living = || {
        let mark = format!("HOME={}", scratch.display()).into_bytes();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let environments =
            entries.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
        environments
            .filter(|bytes| {
                bytes
                    .split(|byte| *byte == 0)
                    .any(|line| line.starts_with(&mark))
            })
            .count()
    };
    assert_eq!(living(), 3);
    drop(cluster);
    // A killed process is gone when the kernel has cleared its environment.
    wait_until("every process is gone", || living() == 0);
    assert!(!scratch.exists());
}

#[test]
fn the_kubeconfig_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = cluster();
    let mode = std::fs::metadata(cluster.kubeconfig())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn requests_are_recorded_without_secrets() {
    let cluster = cluster();
    drop(Raw::request(&cluster, "v1.35", "/version", &["X-One: 1"]).page());
    let (_, body) = Raw::request(&cluster, "plain", "/__wsx/requests", &[]).page();
    let expected = json!([{
        "listener": "v1.35", "method": "GET", "target": "/version",
        "headers": [["Host", "x"], ["Authorization", "Bearer [redacted]"], ["X-One", "1"]],
    }]);
    assert_eq!(json(&body), expected);
    assert_eq!(json!(cluster.requests()), expected);
    cluster.forget_requests();
    assert_eq!(cluster.requests(), []);
}

#[test]
fn pods_that_change_do_so_when_looked_at() {
    let cluster = cluster();
    let pod = |name: &str| {
        json(
            &Raw::request(&cluster, "plain", &format!("{PODS}/{name}"), &[])
                .page()
                .1,
        )
    };
    let id = || pod("restarts-0")["status"]["containerStatuses"][0]["containerID"].clone();
    assert_ne!(id(), id());
    assert_eq!(pod("slow-start-0")["status"]["phase"], "Pending");
    wait_until("slow-start-0 runs", || {
        pod("slow-start-0")["status"]["phase"] == "Running"
    });
}

#[test]
fn the_listeners_with_bad_manners_have_them() {
    let cluster = cluster();
    let target = exec("stdout=true", &["true"]);
    let ask = |listener: &str| Raw::upgrade(&cluster, listener, Some(V4), &target);

    let answer = ask("redirect").answer();
    let stolen = format!("http://{}/stolen", cluster.address("plain"));
    assert_eq!(
        (answer.status, answer.header("Location")),
        (302, Some(&*stolen))
    );

    for (listener, status) in [("html-200", 200), ("html-403", 403)] {
        let (found, body) = ask(listener).page();
        assert_eq!(found, status);
        assert!(body.starts_with("<!DOCTYPE html>") && body.contains("\u{1b}[31m"));
    }
    assert!(ask("slow-head").is_silent());
    let mut raw = ask("big-head");
    assert!(raw.bytes(1 << 20).unwrap().ends_with(b"bbbb"));
    let mut silent = std::net::TcpStream::connect(cluster.address("silent")).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let read = std::io::Read::read(&mut silent, &mut [0; 1]);
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn cri_dockerd_breaks_v5_after_the_101_and_not_v4() {
    let cluster = cluster();
    let target = exec("stdout=true", &["true"]);
    let mut raw = Raw::upgrade(&cluster, "cri-dockerd", Some(V5), &target);
    assert_eq!(raw.answer().status, 101);
    let events = raw.rest();
    let Event::Message(3, status) = &events[1] else {
        panic!("no Status: {events:?}")
    };
    let said = json(status)["message"].as_str().unwrap().to_owned();
    assert!(
        said.starts_with("Internal error occurred: error sending request: Post \"//"),
        "{said}"
    );
    assert_eq!(events[2..], [close(1000), Event::Eof]);
    let mut raw = Raw::upgrade(&cluster, "cri-dockerd", Some(V4), &target);
    assert_eq!(raw.answer().status, 101);
    assert_eq!(
        raw.rest(),
        [message(1, ""), success(), close(1000), Event::Eof]
    );
}

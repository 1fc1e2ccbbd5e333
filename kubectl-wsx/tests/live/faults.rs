//! Every fault of the embedded cluster, with the exit code and the words it ends with.
//!
//! Expected results are written by hand; reliability.md B.1 and B.2 hold the reasons.

use crate::support::{Run, cluster, pattern, run, run_with, wsx};

/// Runs a command under a fault in web-0, without stdin (so over v4) and with short limits.
fn under(fault: &str, command: &str) -> Run {
    exec("", fault, command, b"")
}

/// The same with stdin, so over v5.
fn under_v5(fault: &str, command: &str, input: &[u8]) -> Run {
    exec("-i", fault, command, input)
}

fn exec(flags: &str, fault: &str, command: &str, input: &[u8]) -> Run {
    let cluster = cluster();
    let mut arguments = vec!["exec", "web-0", "-c", "app", "--connect-timeout=2s"];
    arguments.extend(flags.split(' ').filter(|flag| !flag.is_empty()));
    arguments.extend(["--", "@fault", fault]);
    arguments.extend(command.split(' '));
    run_with(&mut wsx(&cluster, arguments), input)
}

/// Writes one test a fault: its data, the command, the exit code, words on stderr.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident: $run:ident($fault:expr, $command:expr $(, $input:expr)?) => $code:expr, [$($text:expr),*];)*) => {
        $($(#[$doc])* #[test] fn $name() {
            $run($fault, $command $(, $input)?).expect($code, &[$($text),*]);
        })*
    };
}

// The handshake: nobody may take these for success, and those that were sent may have started.
faults! {
    handshake_never_answered: under(r#"{"handshake":"silent"}"#, "true") => 255, ["--connect-timeout", "may have started"];
    handshake_ended: under(r#"{"handshake":"eof"}"#, "true") => 255, ["may have started"];
    handshake_reset: under(r#"{"handshake":"rst"}"#, "true") => 255, ["may have started"];
    handshake_stops_within_the_head: under(r#"{"handshake":{"head_bytes":20}}"#, "true") => 255, ["may have started"];
    wrong_accept_key: under(r#"{"handshake":"bad-accept"}"#, "true") => 255, ["accept key"];
    unknown_echoed_subprotocol: under(r#"{"handshake":{"subprotocol":"v9.channel.k8s.io"}}"#, "true") => 255, ["v9.channel.k8s.io"];
    no_subprotocol_chosen: under(r#"{"handshake":"no-subprotocol"}"#, "true") => 255, ["chose no subprotocol"];
    extension_nobody_asked_for: under(r#"{"handshake":"extension"}"#, "true") => 255, ["permessage-deflate"];
    connection_header_as_a_list: under(r#"{"handshake":"connection-list"}"#, "true") => 0, [];
    refused_with_500: under(r#"{"handshake":{"status":500,"body":"boom"}}"#, "true") => 125, ["500", "boom"];
    refused_with_an_escape_sequence: under(r#"{"handshake":{"status":502,"body":"a\u001b[31mb"}}"#, "true") => 125, ["a\\u{1b}[31mb"];
    refused_with_426: under(r#"{"handshake":{"status":426,"body":"Upgrade Required"}}"#, "true") => 125, ["426"];
    accepted_and_then_silence: under(r#"{"silent_after_101":true}"#, "true") => 255, ["nothing flows", "--connect-timeout", "reverse proxy"];
    no_ready_message: under(r#"{"no_ready":true}"#, "true") => 0, [];
}

// The end: without a status it is 255, whatever the manners.
faults! {
    fin_in_the_middle: under(r#"{"after_bytes":1000,"then":"fin"}"#, "gen 64k") => 255, ["outcome unknown", "received", "1,000 bytes"];
    reset_in_the_middle: under(r#"{"after_bytes":1000,"then":"rst"}"#, "gen 64k") => 255, ["outcome unknown"];
    close_1000_without_status: under(r#"{"after_bytes":1000,"then":"close-no-status"}"#, "gen 64k") => 255, ["outcome unknown", "close code 1000"];
    close_1001: under(r#"{"after_bytes":1000,"then":{"close":1001,"reason":"going away"}}"#, "gen 64k") => 255, ["close code 1001", "going away"];
    close_1011_with_an_escape_sequence: under(r#"{"after_bytes":1000,"then":{"close":1011,"reason":"a\u001b[2Jb"}}"#, "gen 64k") => 255, ["a\\u{1b}[2Jb"];
    close_with_an_illegal_code: under(r#"{"after_bytes":1000,"then":{"close_raw":"03e7"}}"#, "gen 64k") => 255, ["malformed close frame"];
    close_with_one_byte: under(r#"{"after_bytes":1000,"then":{"close_raw":"03"}}"#, "gen 64k") => 255, ["malformed close frame"];
    close_without_a_code: under(r#"{"after_bytes":1000,"then":{"close_raw":""}}"#, "gen 64k") => 255, ["outcome unknown"];
    before_the_first_byte: under(r#"{"after_bytes":0,"then":"fin"}"#, "gen 64k") => 255, ["outcome unknown"];
    status_missing: under(r#"{"status":"missing"}"#, "gen 1k") => 255, ["outcome unknown"];
    status_missing_over_v5: under_v5(r#"{"status":"missing"}"#, "cat", b"x") => 255, ["outcome unknown"];
    status_garbage: under(r#"{"status":"garbage"}"#, "gen 1k") => 255, ["status"];
    status_of_nothing: under(r#"{"status":"empty-object"}"#, "gen 1k") => 255, ["neither Success nor Failure"];
    status_with_exit_code_256: under(r#"{"status":{"exit":"256"}}"#, "gen 1k") => 255, ["between 1 and 255"];
    status_with_exit_code_minus_1: under(r#"{"status":{"exit":"-1"}}"#, "gen 1k") => 255, ["between 1 and 255"];
    status_with_an_empty_exit_code: under(r#"{"status":{"exit":""}}"#, "gen 1k") => 255, ["between 1 and 255"];
    status_with_exit_code_7: under(r#"{"status":{"exit":"7"}}"#, "gen 1k") => 7, ["command terminated with exit code 7"];
    status_too_long: under(r#"{"status_flood":1000000}"#, "gen 1k") => 255, ["longer than 65536 bytes"];
    lost_upstream_over_v4_is_no_success: under(r#"{"status":"lost-upstream"}"#, "gen 1k") => 255, ["outcome unknown"];
    tcp_left_open_after_close: under(r#"{"keep_tcp_open":true}"#, "gen 1k") => 0, [];
    two_close_frames: under(r#"{"two_closes":true}"#, "gen 1k") => 0, [];
    idle_cut_over_v4: under(r#"{"idle_cut_ms":200}"#, "sleep 30") => 255, ["outcome unknown"];
}

// The protocol: what a peer must not do is an error at once, never silence.
faults! {
    text_frame: under(r#"{"text_frame":true}"#, "gen 1k") => 255, ["text message where binary was agreed"];
    reserved_bits: under(r#"{"rsv":true}"#, "gen 1k") => 255, ["reserved bit"];
    masked_frame: under(r#"{"masked":true}"#, "gen 1k") => 255, ["masked frame"];
    reserved_opcode: under(r#"{"bad_opcode":true}"#, "gen 1k") => 255, ["reserved opcode"];
    control_frame_too_long: under(r#"{"long_control":true}"#, "gen 1k") => 255, ["control frame"];
    continuation_without_a_beginning: under(r#"{"continuation_first":true}"#, "gen 1k") => 255, ["fragments out of order"];
    message_inside_a_message: under(r#"{"fragment":3,"fragment_interrupted":true}"#, "gen 1k") => 255, ["fragments out of order"];
    length_beyond_the_limit: under(r#"{"declared_length":"2^62"}"#, "gen 1k") => 255, ["bytes declared"];
    too_many_empty_messages: under(r#"{"empty_messages":2000}"#, "gen 1k") => 255, ["empty messages"];
    unknown_channels_without_end: under(r#"{"unknown_channel":2000000}"#, "gen 1k") => 255, ["unknown channels"];
    cri_dockerd_is_named: cri_dockerd("", "") => 125, ["--protocol v4"];
}

fn cri_dockerd(_: &str, _: &str) -> Run {
    let cluster = cluster();
    let arguments = [
        "exec",
        "-i",
        "--context=cri-dockerd",
        "web-0",
        "-c",
        "app",
        "--",
        "cat",
    ];
    run_with(&mut wsx(&cluster, arguments), b"x")
}

/// What a peer may do, and every byte must be there.
fn complete(fault: &str) {
    under(fault, "gen 256k")
        .expect(0, &[])
        .prints(pattern(256 << 10));
}

#[test]
fn status_in_two_messages() {
    complete(r#"{"status":"split"}"#);
}

#[test]
fn status_byte_by_byte() {
    complete(r#"{"status":"bytewise"}"#);
}

#[test]
fn status_before_output() {
    complete(r#"{"status":"before-output"}"#);
}

#[test]
fn status_without_metadata() {
    complete(r#"{"no_metadata":true}"#);
}

#[test]
fn fragments_with_pings_between() {
    complete(r#"{"fragment":5,"linger":true}"#);
}

#[test]
fn an_empty_first_fragment() {
    complete(r#"{"fragment":3,"fragment_empty_first":true,"linger":true}"#);
}

#[test]
fn writes_of_seven_bytes() {
    under(r#"{"slice":7}"#, "gen 16k")
        .expect(0, &[])
        .prints(pattern(16 << 10));
}

#[test]
fn a_flood_of_pings() {
    complete(r#"{"ping_flood":65536,"linger":true}"#);
}

#[test]
fn a_frame_of_sixteen_mebibytes() {
    under(r#"{"giant_frame":16777215}"#, "true").expect(0, &[]);
}

#[test]
fn some_empty_messages_and_unknown_channels() {
    complete(r#"{"empty_messages":500,"unknown_channel":1000}"#);
}

#[test]
fn lost_upstream_over_v5_is_looked_into() {
    // The pod's node is gone: its log cannot be read, so the Success is not believed.
    let cluster = cluster();
    let fault = r#"{"status":"lost-upstream"}"#;
    let arguments = ["exec", "-i", "lost-kubelet-0", "--", "@fault", fault, "cat"];
    run_with(&mut wsx(&cluster, arguments), b"x").expect(255, &["outcome unknown"]);
}

#[test]
fn a_success_over_v5_of_another_container_is_not_believed() {
    let cluster = cluster();
    let arguments = ["exec", "-i", "restarts-0", "--", "cat"];
    run_with(&mut wsx(&cluster, arguments), b"x").expect(255, &["outcome unknown", "replaced"]);
}

#[test]
fn verify_never_believes_a_success() {
    let cluster = cluster();
    let arguments = ["exec", "-i", "--verify=never", "restarts-0", "--", "cat"];
    run_with(&mut wsx(&cluster, arguments), b"x")
        .expect(0, &[])
        .prints("x");
}

#[test]
fn a_success_that_may_not_be_looked_into_is_marked() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("status.json");
    let mut command = wsx(&cluster, ["exec", "-i", "nolog-0", "--status-file"]);
    command.arg(&file).args(["--", "cat"]);
    run_with(&mut command, b"x").expect(0, &[]);
    let status: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(
        (&status["class"], &status["confidence"]),
        (&"exited".into(), &"unchecked".into())
    );
}

#[test]
fn a_cluster_without_v5_is_refused_before_stdin_is_read() {
    let cluster = cluster();
    let arguments = [
        "exec",
        "-i",
        "--context=v1.28",
        "web-0",
        "-c",
        "app",
        "--",
        "cat",
    ];
    run_with(&mut wsx(&cluster, arguments), b"x")
        .expect(125, &["--protocol v4"])
        .prints("");
}

#[test]
fn a_cluster_without_v5_runs_what_needs_no_end_of_stdin() {
    let cluster = cluster();
    let arguments = [
        "exec",
        "--context=v1.28",
        "web-0",
        "-c",
        "app",
        "--",
        "echo",
        "hi",
    ];
    run(&mut wsx(&cluster, arguments))
        .expect(0, &[])
        .prints("hi\n");
}

#[test]
fn every_protocol_works_by_name() {
    let cluster = cluster();
    for protocol in ["v5", "v4", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let arguments = [
            "exec",
            "--protocol",
            protocol,
            "web-0",
            "-c",
            "app",
            "--",
            "gen",
            "100k",
        ];
        run(&mut wsx(&cluster, arguments))
            .expect(0, &[])
            .prints(pattern(100 << 10));
    }
    for protocol in ["channel.k8s.io", "base64.channel.k8s.io"] {
        let arguments = [
            "exec",
            "--protocol",
            protocol,
            "web-0",
            "-c",
            "app",
            "--",
            "gen",
            "100k",
        ];
        run(&mut wsx(&cluster, arguments))
            .expect(255, &["carries no exit status"])
            .prints(pattern(100 << 10));
    }
}

#[test]
fn a_stalled_server_is_lost_after_the_keepalive_timeout() {
    let fault = r#"{"after_bytes":1000,"then":"stall"}"#;
    exec(
        "--keepalive=300ms --keepalive-timeout=1s",
        fault,
        "gen 64k",
        b"",
    )
    .expect(255, &["--keepalive-timeout"]);
}

#[test]
fn a_server_that_hangs_but_answers_pings_ends_by_the_timeout() {
    let fault = r#"{"after_bytes":1000,"then":"hang"}"#;
    exec(
        "--keepalive=100ms --keepalive-timeout=1s --timeout=3s",
        fault,
        "gen 64k",
        b"",
    )
    .expect(124, &["--timeout"]);
}

#[test]
fn stdin_that_is_never_read_ends_by_the_stall_timeout() {
    let flags = "-i --keepalive=200ms --keepalive-timeout=1s --stall-timeout=3s";
    let input = vec![7; 8 << 20];
    exec(flags, r#"{"stdin_unread":true}"#, "sink", &input).expect(255, &["--stall-timeout"]);
}

#[test]
fn the_timeout_is_124() {
    under_v5_timeout().expect(124, &["--timeout", "may live on"]);
}

fn under_v5_timeout() -> Run {
    let cluster = cluster();
    run(&mut wsx(
        &cluster,
        [
            "exec",
            "--timeout=1s",
            "web-0",
            "-c",
            "app",
            "--",
            "sleep",
            "30",
        ],
    ))
}

#[test]
fn nothing_is_run_twice() {
    // Whatever the fault: at most one upgrade request was sent.
    for fault in [
        r#"{"handshake":"eof"}"#,
        r#"{"handshake":"bad-accept"}"#,
        r#"{"status":"missing"}"#,
    ] {
        let cluster = cluster();
        let arguments = ["exec", "web-0", "-c", "app", "--", "@fault", fault, "true"];
        run(&mut wsx(&cluster, arguments)).expect(255, &[]);
        let upgrades = cluster
            .requests()
            .iter()
            .filter(|request| request.target.contains("/exec?"))
            .count();
        assert_eq!(upgrades, 1, "{fault}");
    }
}

#[test]
fn requests_are_counted() {
    for (arguments, count) in [
        (
            &["exec", "--no-preflight", "web-0", "-c", "app", "--", "true"][..],
            1,
        ),
        (&["exec", "web-0", "--", "true"], 2),
        (&["exec", "deploy/web", "--", "true"], 3),
    ] {
        let cluster = cluster();
        run(&mut wsx(&cluster, arguments)).expect(0, &[]);
        assert_eq!(
            cluster.requests().len(),
            count,
            "{arguments:?}: {:?}",
            cluster.requests()
        );
    }
}

#[test]
fn sixty_four_mebibytes_go_both_ways_at_once() {
    let cluster = cluster();
    let mut command = wsx(&cluster, ["exec", "-i", "web-0", "-c", "app", "--", "cat"]);
    let expected = pattern(64 << 20);
    command.stdin(crate::support::pattern_file(64 << 20));
    run(&mut command).expect(0, &[]).prints(expected);
}

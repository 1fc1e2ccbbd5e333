//! Stock kubectl is the judge of the embedded cluster's logs.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::json;
use wsx_tests::cluster::Log;

use crate::kubectl::{Court, court, done, run};

/// `own-0` with `app` and `side`, and `own-1`, labelled `app=own`.
fn pods(court: &Court) -> [Log; 3] {
    let log = |pod: &str, container: &str| court.0.log("default", pod, container);
    let logs = [
        log("own-0", "app"),
        log("own-0", "side"),
        log("own-1", "app"),
    ];
    let labels = json!({"app": "own"});
    logs[0].run(json!({"create": {"labels": labels, "containers": ["app", "side"]}}));
    logs[2].run(json!({"create": {"labels": labels}}));
    for (log, name) in logs.iter().zip(["zero", "side", "one"]) {
        log.run(json!({"write": [
            {"ts": "2026-11-01T08:00:01Z", "text": format!("{name} first")},
            {"ts": "2026-11-01T08:00:02.5Z", "tag": "P", "text": format!("{name} ")},
            {"ts": "2026-11-01T08:00:03.25Z", "stream": "stderr", "text": "second"},
        ]}));
    }
    logs
}

#[test]
fn logs_with_every_flag() {
    let Some(court) = court() else { return };
    let [app, ..] = pods(&court);
    let stamped = "2026-11-01T08:00:01Z side first\n2026-11-01T08:00:02.5Z side second\n";
    for (words, expected) in [
        ("logs own-1", "one first\none second\n"),
        ("logs own-0 -c side --timestamps", stamped),
        ("logs own-1 --tail=1", "second\n"),
        (
            "logs own-1 --since-time=2026-11-01T08:00:02Z",
            "one second\n",
        ),
        ("logs own-1 --since=1h", ""),
        ("logs own-1 --limit-bytes=4", "one "),
    ] {
        assert_eq!(run(&court, words), done(0, expected, ""), "{words}");
    }
    // Of several logs kubectl reads one after the other, but in the order of a Go map, which is none.
    for (words, expected) in [
        (
            "logs own-0 --all-containers --prefix --tail=1",
            ["[pod/own-0/app] second\n", "[pod/own-0/side] second\n"],
        ),
        (
            "logs -l app=own -c app --tail=-1",
            ["zero first\nzero second\n", "one first\none second\n"],
        ),
    ] {
        let [one, other] = expected;
        let said = run(&court, words);
        let either = [format!("{one}{other}"), format!("{other}{one}")];
        assert!(
            either.iter().any(|text| said == done(0, text, "")),
            "{words}: {said:?}"
        );
    }
    app.run(json!({"clock": -7200}));
    app.write("two hours ago");
    app.run(json!({"clock": 0}));
    app.write("now");
    assert_eq!(
        run(&court, "logs own-0 -c app --since=1h"),
        done(0, "now\n", "")
    );
    assert_eq!(
        run(&court, "logs own-0 -c app --since=3h").1,
        "two hours ago\nnow\n"
    );
}

#[test]
fn logs_of_the_run_before() {
    let Some(court) = court() else { return };
    let [.., log] = pods(&court);
    let text = "Error from server (BadRequest): previous terminated container \"app\" in pod \
                \"own-1\" not found\n";
    assert_eq!(run(&court, "logs own-1 -p"), done(1, "", text));
    log.run(json!({"restart": true}));
    log.write("anew");
    assert_eq!(
        run(&court, "logs own-1 -p --tail=1"),
        done(0, "second\n", "")
    );
    assert_eq!(run(&court, "logs own-1"), done(0, "anew\n", ""));
    log.run(json!({"replace": true, "waiting": "ImagePullBackOff"}));
    let text = "Error from server (BadRequest): container \"app\" in pod \"own-1\" is waiting to \
                start: trying and failing to pull image\n";
    assert_eq!(run(&court, "logs own-1"), done(1, "", text));
}

#[test]
fn logs_follow_to_the_end_of_the_container() {
    let Some(court) = court() else { return };
    let [.., log] = pods(&court);
    let words = ["logs", "-f", "--tail=1", "own-1"];
    let mut command = court.1.command(court.0.kubeconfig(), words);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut seen = [0; "second\nlive\nagain\n".len()];
    stdout.read_exact(&mut seen[..7]).unwrap();
    log.write("live");
    stdout.read_exact(&mut seen[7..12]).unwrap();
    log.run(json!({"write": [{"text": "again"}], "rotate": true}));
    stdout.read_exact(&mut seen[12..]).unwrap();
    assert_eq!(&seen, b"second\nlive\nagain\n");
    log.run(json!({"write": [{"text": "bye"}], "exit": 0}));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_follow_that_is_cut_ends_kubectl() {
    let Some(court) = court() else { return };
    let [.., log] = pods(&court);
    for (how, code, stderr) in [("eof-polite", 0, ""), ("fin", 1, "error: unexpected EOF\n")] {
        let words = ["logs", "-f", "--tail=1", "own-1"];
        let mut command = court.1.command(court.0.kubeconfig(), words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        log.await_follows(1);
        log.cut(how);
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*told),
            (Some(code), stderr),
            "{how}"
        );
        assert_eq!(output.stdout, b"second\n");
    }
}

#[test]
fn pods_are_watched() {
    let Some(court) = court() else { return };
    let [.., log] = pods(&court);
    let words = ["get", "pods", "-l", "app=own", "-w", "-o", "name"];
    let mut child = court.1.command(court.0.kubeconfig(), words);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut next = |expected: &str| {
        let mut seen = vec![0; expected.len()];
        stdout.read_exact(&mut seen).unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), expected);
    };
    next("pod/own-0\npod/own-1\n");
    log.run(json!({"restart": true}));
    next("pod/own-1\n");
    let other = court.0.log("default", "own-2", "app");
    other.run(json!({"create": {"labels": {"app": "own"}}}));
    next("pod/own-2\n");
    log.run(json!({"watch": "eof-polite"}));
    child.kill().unwrap();
    child.wait().unwrap();
}

//! attach: the container's own end, its terminal, and leaving it.

use std::process::Stdio;

use crate::local::on_a_terminal;
use crate::support::{cluster, finish, run, run_with, words, wsx};

#[test]
fn the_exit_status_is_that_of_the_container() {
    let cluster = cluster();
    let ended = run_with(&mut wsx(&cluster, words("attach -i ends-0")), b"hi\n");
    ended
        .expect(3, &["oops", "command terminated with exit code 3"])
        .prints("got hi\n");
}

#[test]
fn input_for_a_container_without_stdin_is_refused_at_once() {
    let cluster = cluster();
    let refused = run(&mut wsx(&cluster, words("attach -i web-0 -c app")));
    refused.expect(125, &["made without stdin", "attach without -i"]);
}

#[test]
fn what_cannot_be_is_told_in_the_words_of_kubectl() {
    let cluster = cluster();
    for (line, code, said) in [
        ("attach", 2, "at least 1 argument is required for attach"),
        ("attach a b c", 2, "(at most 2 arguments) saw 3: [a b c]"),
        (
            "attach pod done-0",
            125,
            "cannot attach a container in a completed pod; current phase is Succeeded",
        ),
        (
            "attach web-0 -c nope",
            125,
            "container nope not found in pod web-0",
        ),
        ("attach web-0 --detach-keys=ctrl-P", 2, "unknown key"),
    ] {
        run(&mut wsx(&cluster, words(line))).expect(code, &[said]);
    }
}

#[test]
fn output_comes_until_nobody_reads_it() {
    let cluster = cluster();
    let mut command = wsx(&cluster, words("attach -q web-0 -c sidecar"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("tick "), "{first:?}");
    drop(lines);
    finish(child).expect(141, &[]);
}

#[test]
fn a_terminal_is_left_by_its_keys_and_runs_on() {
    let cluster = cluster();
    for _ in 0..2 {
        // The remote `cat` says it once more, in raw mode: from then on every key arrives.
        let steps: [(&str, &[u8]); 2] = [
            ("pressing enter", b"again\r"),
            ("again\r\nagain", b"\x10\x11"),
        ];
        let text = on_a_terminal(cluster.kubeconfig(), "attach -it tty-0", &steps);
        let again = "Session ended, resume using \
            'kubectl wsx attach tty-0 -c app -n default -i -t' command";
        assert!(text.contains(again), "{text:?}");
        assert!(text.contains("code 0"), "{text:?}");
    }
}

#[test]
fn the_last_lines_of_the_log_come_first() {
    let cluster = cluster();
    let mut command = wsx(&cluster, words("attach --history=2 web-0 -c sidecar"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let first: Vec<_> = lines.by_ref().take(3).map(Result::unwrap).collect();
    assert_eq!(first, ["sidecar line 99", "sidecar line 100", "tick 1"]);
    drop(lines);
    let said = [
        "--- web-0/sidecar: the last lines of its log ---\n",
        "--- web-0/sidecar: attached ---\n",
    ];
    finish(child).expect(141, &said);
    for (line, code, said) in [
        ("attach --history=0 web-0", 2, "is not in 1..=10000"),
        ("attach --history=5 nolog-0", 125, "pods/log"),
    ] {
        run(&mut wsx(&cluster, words(line))).expect(code, &[said]);
    }
}

#[test]
fn the_history_counts_for_what_is_written() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("status.json");
    let mut command = wsx(
        &cluster,
        words("attach -i ends-0 --history=2 --status-file"),
    );
    let ended = run_with(command.arg(&file), b"hi\n");
    ended
        .expect(3, &[])
        .prints("app line 99\napp line 100\ngot hi\n");
    let status: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(
        (&status["stdout"], &status["unwritten"]),
        (&7.into(), &0.into())
    );
}

//! logs: what is shown of one log and of many, what is told of losses, and what cannot be.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use wsx_tests::cluster::{Cluster, Log};

use crate::local::on_a_terminal;
use crate::support::{Run, cluster, finish, run, words, wsx};

/// A container of its own, with an empty log, and its cluster.
fn own() -> (Cluster, Log) {
    let cluster = cluster();
    let log = cluster.log("default", "own-0", "app");
    log.run(json!({"create": {"labels": {"app": "own"}}}));
    (cluster, log)
}

/// How long a line may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A run that goes on, whose output is read line by line.
struct Following {
    child: Child,
    lines: mpsc::Receiver<Vec<u8>>,
}

impl Following {
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (line_tx, lines) = mpsc::sync_channel(0);
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while stdout
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                if line_tx.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => String::from_utf8(line).unwrap(),
            Err(error) => {
                self.child.kill().unwrap();
                let mut said = String::new();
                let stderr = self.child.stderr.as_mut().unwrap();
                stderr.read_to_string(&mut said).unwrap();
                panic!("no line: {error}\n{said}");
            }
        }
    }

    /// Waits for the end; `stdout` is what was not read before.
    fn finish(self) -> Run {
        let rest: Vec<u8> = self.lines.iter().flatten().collect();
        let run = finish(self.child);
        Run {
            stdout: rest,
            ..run
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }
}

#[test]
fn a_log_is_followed_over_cuts_to_the_end_of_its_container() {
    let (cluster, log) = own();
    log.write("one");
    let mut following = Following::start(&mut wsx(&cluster, words("logs -f own-0")));
    assert_eq!(following.line(), "one\n");
    for (how, text) in [("rst", "two"), ("fin", "three"), ("close 1001 bye", "four")] {
        log.await_follows(1);
        log.cut(how);
        log.write(text);
        assert_eq!(following.line(), format!("{text}\n"));
    }
    log.run(json!({"write": [{"text": "last"}], "exit": 3}));
    let run = following.finish();
    run.expect(0, &["--- own-0/app: reconnected after ", "close code 1001"])
        .prints("last\n");
    assert_eq!(
        run.stderr.matches("reconnected").count(),
        3,
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("missing"), "{}", run.stderr);
}

/// Cuts a log whose file was just rotated: nobody can tell whether lines are missing.
fn with_a_gap(flags: &str) -> Run {
    let (cluster, log) = own();
    log.write("one");
    let mut following =
        Following::start(&mut wsx(&cluster, words(&format!("logs -f own-0 {flags}"))));
    let first = following.line();
    assert!(first.contains("one"), "{first}");
    log.await_follows(1);
    log.run(json!({"write": [{"text": "unseen"}], "rotate": true, "cut": "rst"}));
    log.run(json!({"write": [{"text": "two"}], "exit": 0}));
    following.finish()
}

#[test]
fn missing_lines_are_told_where_they_are_missing() {
    let run = with_a_gap("");
    run.expect(0, &["--- own-0/app: lines ", " missing "]);
    let quiet = with_a_gap("-q");
    quiet.expect(0, &["--- own-0/app: lines ", " missing "]);
    assert!(!quiet.stderr.contains("reconnected"), "{}", quiet.stderr);
}

#[test]
fn strict_is_65_where_lines_are_missing() {
    with_a_gap("--strict").expect(
        65,
        &["error: lines are missing, or may be, in one place (--strict)"],
    );
    let (cluster, log) = own();
    log.run(json!({"write": [{"text": "all"}], "exit": 0}));
    run(&mut wsx(&cluster, words("logs -f own-0 --strict")))
        .expect(0, &[])
        .prints("all\n");
}

#[test]
fn strict_is_65_even_where_a_signal_is_the_end() {
    let (cluster, log) = own();
    log.write("one");
    let mut following = Following::start(&mut wsx(&cluster, words("logs -f own-0 --strict")));
    assert_eq!(following.line(), "one\n");
    log.await_follows(1);
    log.run(json!({"rotate": true, "cut": "rst"}));
    log.write("two");
    assert_eq!(following.line(), "two\n");
    following.signal("INT");
    following.finish().expect(65, &["(--strict)"]);
}

#[test]
fn without_resume_a_cut_is_the_end_and_255() {
    let (cluster, log) = own();
    log.write("one");
    let mut following = Following::start(&mut wsx(&cluster, words("logs -f own-0 --no-resume")));
    assert_eq!(following.line(), "one\n");
    log.await_follows(1);
    log.cut("fin");
    following
        .finish()
        .expect(255, &["the log was cut"])
        .prints("");
}

#[test]
fn forever_waits_for_the_pod_and_for_the_next_run() {
    let (cluster, log) = own();
    log.run(json!({"delete": true}));
    let mut following = Following::start(&mut wsx(&cluster, words("logs -F own-0")));
    log.run(json!({"create": {}, "write": [{"text": "first"}]}));
    assert_eq!(following.line(), "first\n");
    log.await_follows(1);
    log.run(json!({"restart": true}));
    log.write("second");
    assert_eq!(following.line(), "second\n");
    following.signal("INT");
    let run = following.finish();
    assert_eq!(run.signal, Some(2), "{run:?}");
    assert!(
        run.stderr
            .contains("own-0/app: the container was restarted (restart 1)"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("error"), "{}", run.stderr);
}

#[test]
fn a_container_that_waits_is_shown_and_waited_for() {
    let (cluster, log) = own();
    log.run(json!({"create": {}, "waiting": "ImagePullBackOff"}));
    let once = run(&mut wsx(&cluster, words("logs own-0")));
    once.expect(
        125,
        &["is waiting to start: trying and failing to pull image"],
    );
    let limit = run(&mut wsx(
        &cluster,
        words("logs -f own-0 --pod-running-timeout=500ms"),
    ));
    limit.expect(125, &["ImagePullBackOff", "--pod-running-timeout"]);
    let mut following = Following::start(&mut wsx(&cluster, words("logs -F own-0")));
    log.run(json!({"restart": true}));
    log.write("runs");
    assert_eq!(following.line(), "runs\n");
    following.signal("TERM");
    assert_eq!(following.finish().signal, Some(15));
}

#[test]
fn every_subprotocol_and_http_bring_the_same() {
    for (protocol, asked) in [
        ("auto", "binary.k8s.io"),
        ("binary.k8s.io", "binary.k8s.io"),
        ("base64.binary.k8s.io", "base64.binary.k8s.io"),
        ("http", "nothing"),
    ] {
        let (cluster, log) = own();
        log.run(json!({"write": [{"text": "ä\nb"}], "exit": 0}));
        let line = format!("logs -f own-0 --protocol={protocol}");
        run(&mut wsx(&cluster, words(&line)))
            .expect(0, &[])
            .prints("ä\nb\n");
        let requests = format!("{:?}", cluster.requests());
        for subprotocol in ["\"binary.k8s.io\"", "\"base64.binary.k8s.io\""] {
            let wanted = subprotocol.trim_matches('"') == asked;
            assert_eq!(
                requests.contains(subprotocol),
                wanted,
                "{protocol}: {requests}"
            );
        }
    }
}

#[test]
fn what_cannot_be_is_told() {
    let cluster = cluster();
    for (line, code, said) in [
        (
            "logs",
            2,
            "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or",
        ),
        (
            "logs web-0 --include (",
            2,
            "invalid value '(' for '--include <REGEX>': unclosed group",
        ),
        ("logs web-0 --exclude a{2,1}", 2, "'--exclude <REGEX>'"),
        ("logs web-0 --highlight [", 2, "'--highlight <REGEX>'"),
        (
            "logs web-0 --since 5",
            2,
            "time: missing unit in duration \"5\"",
        ),
        ("logs web-0 --since 5parsecs", 2, "unknown unit"),
        ("logs web-0 --keepalive-timeout 5", 2, "missing unit"),
        (
            "logs web-0 --since 1h --since-time 2026-01-01T00:00:00Z",
            2,
            "at most one of `sinceTime` or `sinceSeconds`",
        ),
        ("logs web-0 --since-time yesterday", 125, "yesterday"),
        (
            "logs web-0 --protocol v5.channel.k8s.io",
            2,
            "auto, http, binary.k8s.io, base64.binary.k8s.io",
        ),
        (
            "logs web-0 --sort-window 2s",
            2,
            "--sort-window needs --sort=window",
        ),
        (
            "logs web-0 --max-log-requests 0",
            125,
            "max_log_requests must be higher than zero",
        ),
        (
            "logs -A web-0",
            2,
            "only all namespaces (-A) or a POD name is allowed",
        ),
        ("logs web-0 -c nope", 125, "app, sidecar"),
        (
            "logs web-0 -p -c app",
            125,
            "previous terminated container \"app\" in pod \"web-0\" not found",
        ),
        ("logs nolog-0", 125, "cannot get resource \"pods/log\""),
        ("logs -l app=nope", 125, "no pod"),
        ("logs nope", 125, "pods \"nope\" not found"),
        ("logs web-0 --context=unreachable", 125, "refused"),
    ] {
        run(&mut wsx(&cluster, words(line)))
            .expect(code, &[said])
            .prints("");
    }
}

/// Two pods of one selector, each with a line of every other second.
fn two() -> Cluster {
    let cluster = cluster();
    for (pod, times) in [("own-0", [1, 3]), ("own-1", [2, 4])] {
        let log = cluster.log("default", pod, "app");
        log.run(json!({"create": {"labels": {"app": "own"}}}));
        for time in times {
            let stamp = format!("2026-11-01T08:00:0{time}Z");
            log.run(json!({"write": [{"ts": stamp, "text": format!("{pod} {time}")}]}));
        }
    }
    cluster
}

#[test]
fn several_logs_come_one_after_the_other_or_by_time() {
    let cluster = two();
    let apart = run(&mut wsx(&cluster, words("logs -l app=own")));
    apart
        .expect(0, &[])
        .prints("own-0 1\nown-0 3\nown-1 2\nown-1 4\n");
    let sorted = run(&mut wsx(&cluster, words("logs -l app=own --sort=window")));
    sorted
        .expect(0, &[])
        .prints("own-0 1\nown-1 2\nown-0 3\nown-1 4\n");
    assert_eq!((&*apart.stderr, &*sorted.stderr), ("", ""));
}

#[test]
fn lines_are_sorted_while_they_come() {
    let cluster = two();
    let line = "logs -f -q -l app=own --sort=window --sort-window=30s --prefix";
    let mut following = Following::start(&mut wsx(&cluster, words(line)));
    for pod in ["own-0", "own-1"] {
        let log = cluster.log("default", pod, "app");
        log.await_follows(1);
        log.run(json!({"exit": 0}));
    }
    for (pod, time) in [("own-0", 1), ("own-1", 2), ("own-0", 3), ("own-1", 4)] {
        assert_eq!(following.line(), format!("[pod/{pod}/app] {pod} {time}\n"));
    }
    following.signal("INT");
    following.finish();
}

#[test]
fn logs_beyond_the_limit_wait_and_that_is_told() {
    let cluster = two();
    let line = "logs -f -l app=own --max-log-requests=1";
    let mut following = Following::start(&mut wsx(&cluster, words(line)));
    assert_eq!(
        (following.line(), following.line()),
        ("own-0 1\n".into(), "own-0 3\n".into())
    );
    cluster
        .log("default", "own-0", "app")
        .run(json!({"exit": 7}));
    assert_eq!(
        (following.line(), following.line()),
        ("own-1 2\n".into(), "own-1 4\n".into())
    );
    following.signal("TERM");
    let run = following.finish();
    let waits = run.stderr.find("--- own-1/app: waiting: ");
    let ended = run.stderr.find("--- own-0/app: ended with exit code 7 ---");
    let joins = run.stderr.find("--- own-1/app: joins ---");
    assert!(
        waits.is_some() && waits < ended && ended < joins,
        "{}",
        run.stderr
    );
}

#[test]
fn pods_of_all_namespaces_have_their_namespace_before_them() {
    let cluster = cluster();
    let all = run(&mut wsx(
        &cluster,
        words("logs -A -l app=web -c app --tail=1"),
    ));
    all.expect(0, &[])
        .prints("[default/pod/web-0/app] app line 100\n[other/pod/web-0/app] app line 100\n");
}

#[test]
fn the_first_log_that_fails_ends_all_unless_errors_are_ignored() {
    let cluster = two();
    let waiting = cluster.log("default", "own-1", "app");
    waiting.run(json!({"create": {"labels": {"app": "own"}}, "waiting": "ContainerCreating"}));
    let reason = "container \"app\" in pod \"own-1\" is waiting to start: ContainerCreating";
    let fails = run(&mut wsx(&cluster, words("logs -l app=own")));
    fails.expect(125, &[reason]).prints("own-0 1\nown-0 3\n");
    for (flag, code) in [("", 0), ("--strict", 65)] {
        let line = format!("logs -q -l app=own --ignore-errors {flag}");
        let goes_on = run(&mut wsx(&cluster, words(&line)));
        goes_on
            .expect(
                code,
                &[
                    "--- own-1/app: cannot be read any further; the others go on ---",
                    reason,
                ],
            )
            .prints("own-0 1\nown-0 3\n");
    }
}

#[test]
fn filters_count_for_what_is_written() {
    let cluster = cluster();
    let line = "logs web-0 -c app --include 9$ --include 8$ --exclude 1 --tail 20";
    let filtered = run(&mut wsx(&cluster, words(line)));
    let expected = [88, 89, 98, 99]
        .map(|number| format!("app line {number}\n"))
        .concat();
    filtered.expect(0, &[]).prints(expected);
}

#[test]
fn json_is_one_object_a_line_and_fits_its_schema() {
    let schema =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.schema.json"));
    let schema: Value = serde_json::from_slice(&schema.unwrap()).unwrap();
    let (cluster, log) = own();
    log.run(json!({"write": [{"ts": 1, "text": "a\u{1b}[2J"}, {"ts": 2, "hex": "ff"}]}));
    let mut following = Following::start(&mut wsx(&cluster, words("logs -q -F own-0 -o json")));
    let mut objects: Vec<Value> = Vec::new();
    let mut until = |kind: &str, following: &mut Following| {
        loop {
            let line = following.line();
            assert!(!line.contains('\u{1b}'), "{line:?}");
            objects.push(serde_json::from_str(&line).unwrap());
            let last = objects.last().unwrap();
            if last["event"] == kind || last["line"] == kind {
                return;
            }
        }
    };
    log.run(json!({"write": [{"text": "first"}]}));
    until("first", &mut following);
    log.await_follows(1);
    log.run(json!({"rotate": true, "cut": "rst"}));
    log.write("second");
    until("second", &mut following);
    log.run(json!({"restart": true}));
    log.write("third");
    until("third", &mut following);
    following.signal("TERM");
    let text = json!({"v": 1, "time": "1970-01-01T00:00:00.000000001Z", "namespace": "default", "pod": "own-0", "container": "app", "line": "a\u{1b}[2J"});
    assert_eq!(objects[0], text);
    assert_eq!(objects[1]["base64"], "/w==");
    for object in &objects {
        let kind = object
            .get("event")
            .map_or("line", |event| event.as_str().unwrap());
        let shape = &schema["$defs"][kind];
        for name in object.as_object().unwrap().keys() {
            assert!(
                shape["properties"].get(name).is_some(),
                "{kind}: {name} is not in the schema"
            );
        }
        for name in shape["required"].as_array().unwrap() {
            assert!(
                object.get(name.as_str().unwrap()).is_some(),
                "{kind}: {name} is missing"
            );
        }
    }
    let kinds: Vec<_> = objects
        .iter()
        .filter_map(|object| object["event"].as_str())
        .collect();
    assert!(
        ["reconnected", "gap", "restarted"]
            .iter()
            .all(|kind| kinds.contains(kind)),
        "{kinds:?}"
    );
}

#[test]
fn a_terminal_sees_colours_and_no_other_control() {
    let (cluster, log) = own();
    let text = "\u{1b}[31mred\u{1b}[0m \u{1b}[2Jclear \u{9b}1A \u{7} \u{1b}]0;title\u{7} mark\n";
    log.run(json!({"write": [{"text": text}, {"hex": "9b324a0d"}], "exit": 0}));
    let safe = on_a_terminal(cluster.kubeconfig(), "logs own-0 --highlight mark", &[]);
    assert!(
        safe.contains("\u{1b}[31mred\u{1b}[0m \\u{1b}[2Jclear \\u{9b}1A \\u{7} \\u{1b}]0;title\\u{7} \u{1b}[7mmark\u{1b}[27m"),
        "{safe:?}"
    );
    assert!(safe.contains("\\x9b2J\\r"), "{safe:?}");
    let raw = on_a_terminal(cluster.kubeconfig(), "logs own-0 --raw", &[]);
    assert!(
        raw.contains("\u{1b}[2Jclear \u{9b}1A \u{7} \u{1b}]0;title\u{7} mark"),
        "{raw:?}"
    );
    let piped = run(&mut wsx(&cluster, words("logs own-0 --highlight mark")));
    assert!(piped.stdout.starts_with(text.as_bytes()), "{piped:?}");
}

#[test]
fn prefixes_have_colours_on_a_terminal_unless_they_are_not_wanted() {
    let cluster = cluster();
    let line = "logs web-0 -c app --tail 1 --prefix";
    let coloured = on_a_terminal(cluster.kubeconfig(), line, &[]);
    assert!(
        coloured.contains("m[pod/web-0/app]\u{1b}[0m app line 100"),
        "{coloured:?}"
    );
    // The variable stands before nothing: the line begins with the program's own path.
    let plain = on_a_terminal(
        cluster.kubeconfig(),
        &format!(
            "options >/dev/null; NO_COLOR= {} {line}",
            env!("CARGO_BIN_EXE_kubectl-wsx")
        ),
        &[],
    );
    assert!(plain.contains("[pod/web-0/app] app line 100"), "{plain:?}");
    assert!(!plain.contains("\u{1b}[3"), "{plain:?}");
}

#[test]
fn a_full_disk_is_an_error_that_says_how_much_is_missing() {
    let cluster = cluster();
    for line in ["logs lines-0 -c 1k", "logs -f lines-0 -c 1k"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = wsx(&cluster, words(line));
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        finish(child).expect(74, &["No space left on device", "bytes not written"]);
    }
}

#[test]
fn a_reader_that_leaves_is_a_quiet_end() {
    let (cluster, log) = own();
    log.run(json!({"rate": 1000}));
    let mut following = Following::start(&mut wsx(&cluster, words("logs -f own-0")));
    following.line();
    drop(following.lines);
    let run = finish(following.child);
    run.expect(141, &[]);
    assert_eq!(run.stderr, "");
}

#[test]
fn a_reader_that_leaves_is_noticed_although_the_log_is_quiet() {
    let (cluster, log) = own();
    log.write("one");
    let mut command = wsx(&cluster, words("logs -f own-0"));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    log.await_follows(1);
    drop(stdout);
    finish(child).expect(141, &[]);
    log.await_follows(0);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let (cluster, log) = own();
    log.run(json!({"write": [{"tag": "P", "text": "x".repeat(16384), "repeat": 4096}, {"text": "end"}], "exit": 0}));
    let mut command = wsx(&cluster, words("logs own-0"));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut length, mut peak) = (0, 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = stdout.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        length += count;
        if length < 1 << 26 {
            peak = crate::memory::high_water(child.id());
        }
    }
    finish(child).expect(0, &[]);
    assert_eq!(length, (1 << 26) + "end\n".len());
    assert!(peak < 32 << 10, "{peak} kB");
}

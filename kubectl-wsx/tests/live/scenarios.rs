//! `tests/scenarios/process.json` and `attach.json` through the real binary: how it ended is read from its status file.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Map, Value, json};

use crate::flags::flag;
use crate::judge::fixture::{Fixture, Translate};
use crate::scenario::{Ended, LIMIT, cases, command, differences, input, pairs, read, verb};
use crate::support::{PATIENCE, Run, at, cluster, finish, run_with};

#[test]
fn every_process_ends_as_the_list_says() {
    let cluster = cluster();
    let unsaid = run_all(&cases("process.json", "embedded"), cluster.kubeconfig());
    assert_eq!(unsaid, UNSAID);
}

#[test]
fn every_attach_ends_as_the_list_says() {
    let mut unsaid = Vec::new();
    // Most of them wait.
    for some in cases("attach.json", "embedded").chunks(8) {
        std::thread::scope(|scope| {
            let run = |case| scope.spawn(move || run_all(&[case], cluster().kubeconfig()));
            let threads: Vec<_> = some.iter().cloned().map(run).collect();
            unsaid.extend(threads.into_iter().flat_map(|one| one.join().unwrap()));
        });
    }
    assert_eq!(unsaid, UNSAID_OF_ATTACH);
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn every_process_ends_as_the_list_says_on_real_kubernetes() {
    let Some(fixture) = Fixture::start(Translate::Kubelet) else {
        println!("SKIPPED: the real Kubernetes is not built (needs Go; `make judge` builds it)");
        return;
    };
    let mut cases = cases("process.json", "real");
    for case in &mut cases {
        let names = case.as_object_mut().unwrap();
        names.entry("context").or_insert_with(|| json!("full"));
    }
    assert_eq!(run_all(&cases, &fixture.kubeconfig), UNSAID);
}

/// Runs the cases that can be said, and returns the names of the others.
fn run_all(cases: &[Value], kubeconfig: &Path) -> Vec<String> {
    let api = read("vectors/api.json");
    let (mut unsaid, mut wrong) = (Vec::new(), Vec::new());
    for case in cases {
        let Some(arguments) = arguments(&api, case) else {
            unsaid.push(word(&case["name"]).to_owned());
            continue;
        };
        let begin = Instant::now();
        wrong.extend(differences(case, &run(case, &arguments, kubeconfig)));
        if begin.elapsed() > LIMIT {
            wrong.push(format!("{}: took {:?}", case["name"], begin.elapsed()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    unsaid
}

/// Cases for modules only: there is no flag for it, no argument with a NUL, and a terminal of the
/// machine may have no size.
const UNSAID: [&str; 5] = [
    "stdout is not wanted",
    "stderr is not wanted",
    "a NUL in the command",
    "no streams at all",
    "a terminal of no size",
];
const UNSAID_OF_ATTACH: [&str; 4] = [
    "stdout is not wanted",
    "stderr is not wanted",
    "no streams at all",
    "a terminal of no size",
];

/// Returns the flags, the target and the command; nothing when one of them cannot be said.
fn arguments(api: &Value, case: &Value) -> Option<Vec<String>> {
    let mut line = vec![verb(case).to_owned(), "--quiet".to_owned()];
    line.extend(
        case.get("context")
            .map(|context| format!("--context={}", word(context))),
    );
    line.extend(case.get("input").map(|_| "--stdin".to_owned()));
    let timeouts = case.get("options").unwrap_or(&Value::Null);
    for (table, given) in [
        ("connect", pairs(case, "connect")),
        (verb(case), pairs(case, "options")),
        ("timeouts", pairs(timeouts, "timeouts")),
    ] {
        for (name, value) in given {
            if name == "size" && value[0] == 0 {
                return None;
            }
            // The terminal says its size, and the limits have a table of their own.
            if matches!(name, "size" | "timeouts") {
                continue;
            }
            let mut options = api["options"][table].as_array().unwrap().iter();
            let flag = flag(options.find(|option| option["name"] == name).unwrap())?;
            line.push(match (table, value) {
                ("timeouts", limit) => format!("{flag}={}ms", limit.as_f64().unwrap() * 1000.0),
                (_, Value::Bool(on)) => format!("{flag}={}", *on != flag.starts_with("--no-")),
                (_, value) => format!("{flag}={}", word(value)),
            });
        }
    }
    line.push(word(&case["target"]).to_owned());
    if verb(case) == "exec" {
        line.push("--".to_owned());
        line.extend(command(case));
    }
    (!line.iter().any(|word| word.contains('\0'))).then_some(line)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn run(case: &Value, arguments: &[String], kubeconfig: &Path) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.json");
    let mut command = at(kubeconfig, &arguments[..1]);
    command
        .arg("--status-file")
        .arg(&path)
        .args(&arguments[1..]);
    let input = input(case).unwrap_or_default();
    let run = match case.pointer("/options/tty") {
        Some(Value::Bool(true)) => on_a_terminal(&mut command, case, &input),
        _ => run_with(&mut command, &input),
    };
    ended(run, fs::read(path).ok())
}

/// Runs with a terminal as standard input, and types once it passes everything on.
fn on_a_terminal(command: &mut Command, case: &Value, input: &[u8]) -> Run {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave: OwnedFd = ioctl_tiocgptpeer(&master, flags).unwrap();
    let cells = |at: usize, default| {
        let size = case.pointer(&format!("/options/size/{at}"));
        size.map_or(default, |cells| cells.as_u64().unwrap() as u16)
    };
    let size = Winsize {
        ws_col: cells(0, 80),
        ws_row: cells(1, 24),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    let mut child = command
        .stdin(slave.try_clone().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let cooked = || {
        tcgetattr(&slave)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    };
    while cooked() && child.try_wait().unwrap().is_none() {
        assert!(
            begin.elapsed() < PATIENCE,
            "the terminal does not become raw"
        );
        std::thread::yield_now();
    }
    let mut keyboard = File::from(master);
    std::io::Write::write_all(&mut keyboard, input).unwrap();
    finish(child)
}

/// Reads how it ended. What the command wrote on stderr comes first: as much as arrived.
fn ended(run: Run, status: Option<Vec<u8>>) -> Ended {
    let mut facts = Map::new();
    let Some(status) = status else {
        // A command line that is refused gets as far as no file.
        assert_eq!(run.code, Some(2), "{run:?}");
        facts.insert("kind".to_owned(), json!("invalid"));
        return Ended {
            stdout: run.stdout,
            stderr: Vec::new(),
            facts,
        };
    };
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(
        run.code.map(Value::from).as_ref(),
        Some(&status["exit"]),
        "{run:?}"
    );
    for name in ["code", "confidence", "kind", "protocol", "close_code"] {
        // An error has no code, and a code no error.
        let absent = matches!(name, "code" | "kind") && status[name].is_null();
        if !absent {
            facts.insert(name.to_owned(), status[name].clone());
        }
    }
    let mut stderr = run.stderr.into_bytes();
    stderr.truncate(status["stderr"].as_u64().unwrap() as usize);
    Ended {
        stdout: run.stdout,
        stderr,
        facts,
    }
}

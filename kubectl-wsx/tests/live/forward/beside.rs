//! kubectl and wsx run the same command lines (tests/scenarios/kubectl-port-forward.json).

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wsx_tests::kubectl::Kubectl;

use super::{Forwarding, request};
use crate::scenario::read;
use crate::support::{Run, at, cluster, run};

/// How many lines may differ at all, and each says why.
const EXCUSES: usize = 10;

#[test]
fn kubectl_and_wsx_agree_on_ports() {
    match wsx_tests::kubectl::find() {
        Some(kubectl) => {
            let cluster = cluster();
            compare_all("embedded", cluster.kubeconfig(), &kubectl);
        }
        None => println!("SKIPPED: no kubectl on PATH to stand beside wsx"),
    }
}

/// Runs every line that is meant for this kind of cluster through both.
pub(crate) fn compare_all(kind: &str, kubeconfig: &Path, kubectl: &Kubectl) {
    println!("kubectl: {}", kubectl.version());
    let scenarios = read("scenarios/kubectl-port-forward.json");
    let cases = scenarios["cases"].as_array().unwrap().iter();
    let cases: Vec<_> = cases
        .filter(|case| case.get("only").is_none_or(|only| only == kind))
        .collect();
    let (mut excused, mut wrong) = (0, Vec::new());
    for case in &cases {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let arguments = arguments(case, &held);
        let theirs = run_case(case, &mut kubectl.command(kubeconfig, &arguments));
        let mut ours = at(kubeconfig, &arguments);
        let ours = run_case(case, ours.env("WSX_EXIT_CODES", "kubectl"));
        let name = case["name"].as_str().unwrap();
        let why = case["differs"]["why"].as_str();
        excused += usize::from(case.get("differs").is_some());
        println!(
            "| {name} | kubectl {:?} | wsx {:?} | {} |",
            theirs.0.code,
            ours.0.code,
            why.unwrap_or("the same")
        );
        wrong.extend(compare(case, &theirs, &ours).map(|what| format!("{name}: {what}")));
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert!(excused <= EXCUSES, "{excused} excuses");
    println!(
        "{} command lines, {excused} declared differences",
        cases.len()
    );
}

fn arguments(case: &Value, held: &TcpListener) -> Vec<String> {
    let held = held.local_addr().unwrap().port().to_string();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = free.local_addr().unwrap().port().to_string();
    let words = case["args"].as_array().unwrap().iter();
    words
        .map(|word| word.as_str().unwrap())
        .map(|word| word.replace("{port}", &free).replace("{held}", &held))
        .collect()
}

/// What came of a case, and what the pod answered.
type Came = (Run, Vec<Option<Vec<u8>>>);

fn run_case(case: &Value, command: &mut Command) -> Came {
    let Some(lines) = case["lines"].as_u64() else {
        return (run(command), Vec::new());
    };
    let mut forward = Forwarding::start(command);
    let mut told = Vec::new();
    let mut answers = Vec::new();
    // The one that does not begin is asked for nothing.
    while (told.len() as u64) < lines {
        match forward.next_line() {
            Some(line) => told.push(line),
            None => break,
        }
    }
    let port = told.first().and_then(|line| local(line));
    for path in case["get"].as_array().into_iter().flatten() {
        let answer = port.and_then(|port| request(port, path.as_str().unwrap()).ok());
        answers.push(answer);
        told.extend(forward.next_line());
    }
    let mut run = match forward.child.try_wait().unwrap() {
        Some(_) => forward.finish(),
        None => forward.interrupt(),
    };
    let rest = String::from_utf8(run.stdout).unwrap();
    let all = told
        .iter()
        .map(|line| line.clone() + "\n")
        .collect::<String>()
        + &rest;
    run.stdout = all.into_bytes();
    (run, answers)
}

/// The local port of a line `Forwarding from 127.0.0.1:8080 -> 80`.
fn local(line: &str) -> Option<u16> {
    let (address, _) = line.split_once(" -> ")?;
    address.rsplit_once(':')?.1.parse().ok()
}

/// Returns what differs although nothing says that it may, or does not although something says so.
fn compare(case: &Value, theirs: &Came, ours: &Came) -> Option<String> {
    let (their_answers, our_answers) = (&theirs.1, &ours.1);
    let (theirs, ours) = (&theirs.0, &ours.0);
    let may = |what: &str| case["differs"].get(what).is_some();
    if case.get("differs").is_some() && case["differs"]["why"].as_str().is_none_or(str::is_empty) {
        return Some("a difference without a reason".to_owned());
    }
    if their_answers != our_answers {
        return Some(format!(
            "answers: {} and {}",
            their_answers.len(),
            our_answers.len()
        ));
    }
    let codes = (theirs.code, ours.code);
    let expected = match case["differs"]["exit"].as_array() {
        Some(exit) => {
            let code = |index: usize| exit[index].as_i64().map(|code| code as i32);
            (code(0), code(1))
        }
        None => (theirs.code, theirs.code),
    };
    if codes != expected {
        return Some(format!(
            "exit {codes:?}\n{}\n{}",
            theirs.stderr, ours.stderr
        ));
    }
    let chosen = !case["args"].to_string().contains("{port}");
    for (what, theirs, ours) in [
        (
            "stdout",
            level(&String::from_utf8_lossy(&theirs.stdout), chosen),
            level(&String::from_utf8_lossy(&ours.stdout), chosen),
        ),
        ("stderr", normal(&theirs.stderr), normal(&ours.stderr)),
    ] {
        match (theirs == ours, may(what)) {
            (true, true) => return Some(format!("{what} is the same, and is declared to differ")),
            (false, false) => {
                return Some(format!(
                    "{what}\n  kubectl: {theirs:?}\n  wsx:     {ours:?}"
                ));
            }
            _ => {}
        }
    }
    None
}

/// The lines without the local port, where the system chose it.
fn level(stdout: &str, chosen: bool) -> Vec<String> {
    let level = |line: &str| match (line.split_once(" -> "), line.rsplit_once(' ')) {
        _ if !chosen => line.to_owned(),
        (Some((address, remote)), _) => {
            let address = address.rsplit_once(':').unwrap().0;
            format!("{address}:N -> {remote}")
        }
        (None, Some((words, _))) => format!("{words} N"),
        (None, None) => line.to_owned(),
    };
    stdout.lines().map(level).collect()
}

/// stderr without what only one of the two says as a matter of form.
fn normal(stderr: &str) -> Vec<String> {
    let ours = [
        "  why ",
        "  try ",
        "             ",
        "Using pod/",
        "waiting for ",
    ];
    // klog lines of kubectl: a letter, the date, the time.
    let is_klog = |line: &str| {
        line.starts_with(['E', 'W', 'I']) && line[1..].starts_with(|c: char| c.is_ascii_digit())
    };
    stderr
        .lines()
        .filter(|line| !ours.iter().any(|prefix| line.starts_with(prefix)) && !is_klog(line))
        .map(|line| line.replace("kubectl wsx", "kubectl"))
        .collect()
}

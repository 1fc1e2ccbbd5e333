//! kubectl and wsx run the same command lines (tests/scenarios/exec.json, kubectl-logs.json): same
//! stdout, same exit code, same words, but for what the file declares with its reason.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wsx_tests::kubectl::Kubectl;

use crate::support::{Run, at, pattern, run_with};

/// How many lines may differ at all, and each says why.
const EXCUSES: usize = 10;

/// Whether a cluster has v5, which alone can end stdin.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum V5 {
    Has,
    Lacks,
}

/// Runs every line of the file that is meant for this kind of cluster, through both.
///
/// Without v5 what needs an end of stdin is refused before it starts (decisions.md 36), where
/// kubectl falls back to SPDY.
pub(crate) fn compare_all(kind: &str, v5: V5, kubeconfig: &Path, kubectl: &Kubectl) {
    compare_file("exec.json", kind, v5, kubeconfig, kubectl);
}

/// As [`compare_all`], for the lines of one file below `tests/scenarios`.
pub(crate) fn compare_file(file: &str, kind: &str, v5: V5, kubeconfig: &Path, kubectl: &Kubectl) {
    println!(
        "kubectl: {} {}",
        kubectl.path().display(),
        kubectl.version()
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let file = folder.join(file);
    let scenarios: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let meant = |case: &&Value| case.get("only").is_none_or(|only| only == kind);
    let cases: Vec<_> = scenarios["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(meant)
        .collect();
    let (mut excused, mut wrong) = (0, Vec::new());
    for case in &cases {
        let arguments = arguments(case);
        if v5 == V5::Lacks && ends_stdin(&arguments) {
            both(&mut at(kubeconfig, &arguments), case)
                .expect(125, &["--protocol v4"])
                .prints("");
            continue;
        }
        let theirs = both(&mut kubectl.command(kubeconfig, &arguments), case);
        let ours = both(
            at(kubeconfig, &arguments).env("WSX_EXIT_CODES", "kubectl"),
            case,
        );
        excused += usize::from(case.get("differs").is_some());
        println!("{}", row(case, v5, &theirs, &ours));
        wrong.extend(
            compare(case, v5, &theirs, &ours).map(|what| format!("{}: {what}", case["name"])),
        );
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

/// What came of a case, as a line of a table.
fn row(case: &Value, v5: V5, theirs: &Run, ours: &Run) -> String {
    let code = |run: &Run| {
        run.code
            .map_or_else(|| "signal".to_owned(), |code| code.to_string())
    };
    let why = |key: &str| case.get(key).and_then(|differs| differs["why"].as_str());
    let without_v5 = why("differs_without_v5").filter(|_| v5 == V5::Lacks);
    let agree = without_v5.or_else(|| why("differs"));
    format!(
        "| {} | kubectl {} | wsx {} | {} |",
        case["name"].as_str().unwrap_or_default(),
        code(theirs),
        code(ours),
        agree.unwrap_or("the same")
    )
}

fn ends_stdin(arguments: &[String]) -> bool {
    let flags = arguments.iter().take_while(|argument| *argument != "--");
    flags
        .into_iter()
        .any(|flag| matches!(&**flag, "-i" | "-it" | "--stdin" | "--stdin=true"))
}

fn arguments(case: &Value) -> Vec<String> {
    let word = |value: &Value| match value.get("repeat") {
        Some(repeat) => repeat[0]
            .as_str()
            .unwrap()
            .repeat(repeat[1].as_u64().unwrap() as usize),
        None => value.as_str().unwrap().to_owned(),
    };
    case["args"].as_array().unwrap().iter().map(word).collect()
}

fn both(command: &mut Command, case: &Value) -> Run {
    let stdin = case.get("stdin");
    let input = stdin.map_or_else(Vec::new, |stdin| match stdin.get("pattern") {
        Some(size) => pattern(size.as_u64().unwrap() as usize),
        None => stdin["text"].as_str().unwrap().as_bytes().to_vec(),
    });
    run_with(command, &input)
}

/// Returns what differs although nothing says that it may, or does not although something says so.
fn compare(case: &Value, v5: V5, theirs: &Run, ours: &Run) -> Option<String> {
    let own = (v5 == V5::Lacks)
        .then(|| case.get("differs_without_v5"))
        .flatten();
    let differs = own.or_else(|| case.get("differs"));
    let may = |what: &str| differs.is_some_and(|differs| differs.get(what).is_some());
    let shown = |run: &Run| match case.get("any_order") {
        None => run.stdout.clone(),
        Some(_) => {
            let mut lines: Vec<_> = run.stdout.split_inclusive(|byte| *byte == b'\n').collect();
            lines.sort_unstable();
            lines.concat()
        }
    };
    if shown(theirs) != shown(ours) {
        let (theirs, ours) = (theirs.stdout.len(), ours.stdout.len());
        return Some(format!("stdout: {theirs} bytes and {ours} bytes"));
    }
    if differs.is_some_and(|differs| differs["why"].as_str().is_none_or(str::is_empty)) {
        return Some("a difference without a reason".into());
    }
    let codes = (theirs.code, ours.code);
    match differs.and_then(|differs| differs.get("exit")) {
        Some(exit) => {
            let declared = |index: usize| exit[index].as_i64().map(|code| code as i32);
            if codes != (declared(0), declared(1)) {
                return Some(format!("exit {codes:?}, declared {exit}"));
            }
        }
        None if codes.0 != codes.1 => return Some(format!("exit {codes:?}\n{}", ours.stderr)),
        None => {}
    }
    let (theirs, ours) = (normal(&theirs.stderr), normal(&ours.stderr));
    match (theirs == ours, may("stderr")) {
        (true, true) => Some("stderr is the same, and is declared to differ".into()),
        (false, false) => Some(format!(
            "stderr\n  kubectl: {theirs:?}\n  wsx:     {ours:?}"
        )),
        _ => None,
    }
}

/// stderr without what only one of the two says as a matter of form.
fn normal(stderr: &str) -> Vec<String> {
    let ours = ["  received ", "  why ", "  try ", "Using pod/"];
    // klog lines of kubectl: a letter, the date, the time.
    let is_klog = |line: &str| {
        line.starts_with(['E', 'W', 'I']) && line[1..].starts_with(|c: char| c.is_ascii_digit())
    };
    stderr
        .lines()
        .filter(|line| !ours.iter().any(|prefix| line.starts_with(prefix)) && !is_klog(line))
        .map(|line| line.replace("kubectl wsx", "kubectl"))
        // v5's translator says it once more than v4 does.
        .map(|line| {
            line.replace(
                "Internal error occurred: Internal error occurred: ",
                "Internal error occurred: ",
            )
        })
        .map(|line| nameless(&line))
        .map(|line| older(&line))
        .collect()
}

/// What `kubectl logs` of 1.35 and newer says of a missing object, in the words of all others.
fn older(line: &str) -> String {
    let Some(rest) = line.strip_prefix("error: error from server ") else {
        return line.to_owned();
    };
    let known = rest.split_once(" not found in namespace ");
    let rest = known.map_or_else(|| rest.to_owned(), |(rest, _)| format!("{rest} not found"));
    format!("Error from server {rest}")
}

/// The line without the identifiers of exec sessions, which are drawn anew for each.
fn nameless(line: &str) -> String {
    let is_id = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = line
        .split('"')
        .map(|word| if is_id(word) { "ID" } else { word });
    words.collect::<Vec<_>>().join("\"")
}

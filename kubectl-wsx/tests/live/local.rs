//! This machine's own troubles: full disks, closed pipes, signals, terminals.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::{PATIENCE, bare, cluster, finish, pattern, run, wait, words, wsx};

const GEN: &str = "exec web-0 -c app -- gen 1M";

#[test]
fn stdout_on_a_full_device() {
    let cluster = cluster();
    let mut command = wsx(&cluster, words(GEN));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    finish(child).expect(74, &["bytes", "not written", "No space left on device"]);
}

#[test]
fn stdout_on_a_full_device_is_an_error_even_for_one_byte() {
    let cluster = cluster();
    let mut command = wsx(&cluster, words("exec web-0 -c app -- printf x"));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    finish(child).expect(74, &["1 byte", "not written"]);
}

/// A file system of 4 MiB in a mount namespace of its own, where this machine allows it.
#[test]
fn stdout_on_a_file_system_of_four_mebibytes() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4m none {folder} && {wsx} exec web-0 -c app -- gen 10M > {folder}/out; \
         code=$?; stat -c %s {folder}/out; exit $code",
        folder = folder.path().display(),
        wsx = env!("CARGO_BIN_EXE_kubectl-wsx"),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", &script]);
    command.env("KUBECONFIG", cluster.kubeconfig());
    if !Command::new("unshare")
        .args(["--mount", "--map-root-user", "true"])
        .status()
        .unwrap()
        .success()
    {
        println!("SKIPPED: this machine allows no mount namespace");
        return;
    }
    let run = run(&mut command);
    run.expect(74, &["not written", "No space left on device"])
        .prints("4194304\n");
}

#[test]
fn a_reader_that_leaves_is_a_quiet_end() {
    let cluster = cluster();
    let mut command = wsx(&cluster, words("exec web-0 -c app -- gen 1G"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let run = finish(child);
    assert_eq!((first.as_slice(), &*run.stderr), (&pattern(10)[..], ""));
    assert_eq!(run.code, Some(141), "{run:?}");
}

#[test]
fn output_that_nobody_takes_does_not_outlast_the_time_limit() {
    let cluster = cluster();
    let (_unread, full) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while (&full).write(&[0; 4096]).is_ok() {}
    let mut command = wsx(
        &cluster,
        words("exec --timeout=300ms web-0 -c app -- echo hi"),
    );
    command.stdout(OwnedFd::from(full)).stderr(Stdio::piped());
    let run = finish(command.spawn().unwrap());
    run.expect(124, &["--timeout", "nobody takes", "exit code 0"]);
}

#[test]
fn a_kubeconfig_that_never_comes_does_not_outlast_the_time_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let mut command = bare(words("exec --timeout=300ms --kubeconfig"));
    run(command.arg(&path).args(words("web-0 -- true"))).expect(124, &["kubeconfig"]);
}

#[test]
fn a_closed_stdout_is_as_dev_null() {
    // Rust's runtime opens /dev/null for a closed descriptor before any of our code runs, and others
    // hand out exactly that on purpose: the two cannot be told apart. What matters is that our
    // output lands in nothing that we open later (the status file is opened as the first one).
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.json");
    let script = format!(
        "exec {} exec --status-file {} web-0 -c app -- printf MARK >&-",
        env!("CARGO_BIN_EXE_kubectl-wsx"),
        path.display()
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .env("KUBECONFIG", cluster.kubeconfig());
    run(&mut command).expect(0, &[]);
    assert!(!fs::read_to_string(path).unwrap().contains("MARK"));
}

#[test]
fn stdin_that_is_closed_is_empty() {
    let cluster = cluster();
    let script = format!(
        "exec {} exec -i web-0 -c app -- wc -c <&-",
        env!("CARGO_BIN_EXE_kubectl-wsx")
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .env("KUBECONFIG", cluster.kubeconfig());
    run(&mut command).expect(0, &[]).prints("0\n");
}

#[test]
fn stdin_that_is_a_directory_is_an_error_before_the_start() {
    let cluster = cluster();
    let mut command = wsx(&cluster, words("exec -i web-0 -c app -- cat"));
    run(command.stdin(File::open("/").unwrap())).expect(125, &["directory"]);
    let started = cluster
        .requests()
        .iter()
        .any(|request| request.target.contains("/exec?"));
    assert!(!started, "the command was sent");
}

#[test]
fn stdin_that_never_ends_does_not_hold_an_ended_command() {
    let cluster = cluster();
    let (_writer, reader) = pipe();
    let mut command = wsx(&cluster, words("exec -i web-0 -c app -- sh -c exit"));
    run(command.stdin(reader)).expect(0, &[]);
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (writer.into(), reader.into())
}

#[test]
fn stdin_from_a_pipe_arrives_whole() {
    let cluster = cluster();
    let mut command = wsx(&cluster, words("exec -i web-0 -c app -- cat"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for piece in pattern(4 << 20).chunks(10_007) {
            stdin.write_all(piece).unwrap();
        }
    });
    let run = finish(child);
    writer.join().unwrap();
    run.expect(0, &[]).prints(pattern(4 << 20));
}

#[test]
fn stdin_flows_while_stdout_is_blocked() {
    const OUT: usize = 32 << 20;
    let cluster = cluster();
    let script = format!("head -c {OUT} /dev/zero & cat >got; mv got done; wait");
    let mut command = wsx(
        &cluster,
        [
            "exec", "-i", "web-0", "-c", "app", "--", "sh", "-c", &script,
        ],
    );
    command.stdin(crate::support::pattern_file(4 << 20));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads stdout until all of the input is there.
    let done = cluster
        .container_directory("default", "web-0", "app")
        .join("done");
    let begin = Instant::now();
    while !done.exists() {
        assert!(begin.elapsed() < PATIENCE, "the input does not arrive");
        std::thread::yield_now();
    }
    assert!(fs::read(done).unwrap() == pattern(4 << 20));
    let mut output = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    finish(child).expect(0, &[]);
    assert_eq!(output.len(), OUT);
}

#[test]
fn the_flags_of_an_inherited_pipe_are_left_alone() {
    // O_NONBLOCK belongs to the pipe, not to us: setting it would break whoever shares it.
    let cluster = cluster();
    let script = format!(
        "{wsx} exec -i web-0 -c app -- cat; grep flags /proc/self/fdinfo/0 >&2",
        wsx = env!("CARGO_BIN_EXE_kubectl-wsx")
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .env("KUBECONFIG", cluster.kubeconfig());
    let (writer, reader) = pipe();
    File::from(writer).write_all(b"x").unwrap();
    let run = run(command.stdin(reader));
    run.expect(0, &["flags:"]).prints("x");
    let flags = run.stderr.split_whitespace().last().unwrap();
    assert_eq!(
        u32::from_str_radix(flags, 8).unwrap() & 0o4000,
        0,
        "O_NONBLOCK is set: {flags}"
    );
}

/// Starts a command that lasts, waits for its first output, and sends a signal.
fn signalled(name: &str) -> crate::support::Run {
    let cluster = cluster();
    let mut command = wsx(
        &cluster,
        [
            "exec",
            "web-0",
            "-c",
            "app",
            "--",
            "sh",
            "-c",
            "echo up; exec sleep 60",
        ],
    );
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .unwrap()
            .success()
    );
    finish(child)
}

#[test]
fn signals_end_us_by_the_same_signal() {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let run = signalled(name);
        assert_eq!(
            (run.code, run.signal),
            (None, Some(number)),
            "{name}: {run:?}"
        );
        assert!(run.stderr.contains("may live on"), "{name}: {}", run.stderr);
        assert!(run.took.as_secs() < 5, "{name}: {:?}", run.took);
    }
}

#[test]
fn the_status_file_says_how_it_ended() {
    let schema: serde_json::Value = serde_json::from_slice(
        &fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/status.schema.json"))
            .unwrap(),
    )
    .unwrap();
    let classes = &schema["properties"]["class"]["enum"];
    let lost = r#"{"after_bytes":1000,"then":"fin"}"#;
    for (line, code, class) in [
        (
            vec!["web-0", "-c", "app", "--", "sh", "-c", "exit 3"],
            3,
            "exited",
        ),
        (
            vec!["web-0", "-c", "nope", "--", "true"],
            125,
            "not_started",
        ),
        (
            vec!["web-0", "-c", "app", "--", "@fault", lost, "gen", "64k"],
            255,
            "lost",
        ),
        (
            vec!["--timeout=500ms", "web-0", "-c", "app", "--", "sleep", "30"],
            124,
            "timeout",
        ),
    ] {
        let cluster = cluster();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        let mut command = wsx(&cluster, ["exec", "--status-file"]);
        run(command.arg(&path).args(&line)).expect(code, &[]);
        let text = fs::read_to_string(&path).unwrap();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status["class"].as_str(), status["exit"].as_i64()),
            (Some(class), Some(code.into())),
            "{text}"
        );
        assert!(
            classes.as_array().unwrap().contains(&class.into()),
            "{class} is not in the schema"
        );
        for name in status.as_object().unwrap().keys() {
            assert!(
                schema["properties"].get(name).is_some(),
                "{name} is not in the schema"
            );
        }
        for name in schema["required"].as_array().unwrap() {
            assert!(
                status.get(name.as_str().unwrap()).is_some(),
                "{name} is missing: {text}"
            );
        }
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!((mode & 0o777, text.lines().count()), (0o600, 1));
    }
}

#[test]
fn a_status_file_is_not_written_through_a_link() {
    let cluster = cluster();
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("precious"), folder.path().join("link"));
    fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let mut command = wsx(&cluster, ["exec", "--status-file"]);
    run(command.arg(&link).args(words("web-0 -c app -- true"))).expect(125, &["link"]);
    assert_eq!(fs::read_to_string(target).unwrap(), "precious");
}

/// Runs in a terminal of its own, which `script` makes, and types each time these words were seen.
pub(crate) fn on_a_terminal(kubeconfig: &Path, line: &str, steps: &[(&str, &[u8])]) -> String {
    on_a_terminal_with(":", kubeconfig, line, steps)
}

/// The same, while a shell beside it does something to the terminal.
fn on_a_terminal_with(
    beside: &str,
    kubeconfig: &Path,
    line: &str,
    steps: &[(&str, &[u8])],
) -> String {
    let wsx = env!("CARGO_BIN_EXE_kubectl-wsx");
    let inner = format!("stty cols 77 rows 33; ({beside}) & {wsx} {line}; echo code $?; stty -a");
    let mut command = Command::new("script");
    command
        .args(["-qec", &inner, "/dev/null"])
        .env("KUBECONFIG", kubeconfig);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    for (awaited, typed) in steps {
        while !String::from_utf8_lossy(&seen).contains(awaited) {
            let mut piece = [0; 1000];
            let count = stdout.read(&mut piece).unwrap();
            let text = String::from_utf8_lossy(&seen);
            assert!(count > 0, "no {awaited:?} in {text:?}");
            seen.extend_from_slice(&piece[..count]);
        }
        stdin.write_all(typed).unwrap();
    }
    stdout.read_to_end(&mut seen).unwrap();
    assert!(wait(&mut child).success());
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn a_terminal_has_its_size_and_is_restored() {
    sized_terminal(cluster().kubeconfig());
}

/// Looks at a terminal's size from inside, and at what is left of it afterwards.
pub(crate) fn sized_terminal(kubeconfig: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let bell = folder.path().join("bell").display().to_string();
    let made = Command::new("mkfifo").arg(&bell).status();
    assert!(made.unwrap().success());
    // The runtime may start the command before the first size is applied, as real ones do.
    let line = format!(
        "exec -it web-0 -c app -- timeout --foreground 20 sh -c \
        'while [ \"$(stty size)\" = \"0 0\" ]; do :; done; stty size; test -t 1 && echo tty; read x; \
        trap \"stty size; exit 5\" WINCH; echo >{bell}; while :; do sleep 0.1; done'"
    );
    let resized = format!("read x <{bell}; stty cols 99 rows 44 </dev/tty");
    let text = on_a_terminal_with(&resized, kubeconfig, &line, &[("tty", b"\r")]);
    for part in ["33 77", "44 99", "code 5", " echo ", " icanon "] {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[test]
fn a_terminal_is_restored_when_the_connection_is_lost() {
    let cluster = cluster();
    let fault = r#"{"after_bytes":4,"then":"fin"}"#;
    let line = format!("exec -it web-0 -c app -- @fault '{fault}' sh -c 'echo ready; read x'");
    let text = on_a_terminal(cluster.kubeconfig(), &line, &[("outcome unknown", b"")]);
    for part in ["code 255", " echo ", " icanon "] {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[test]
fn ctrl_c_on_a_terminal_goes_to_the_remote_side() {
    let cluster = cluster();
    let line = "exec -it web-0 -c app -- \
        sh -c 'trap \"echo caught; exit 9\" INT; echo ready; while :; do sleep 0.1; done'";
    let text = on_a_terminal(cluster.kubeconfig(), line, &[("ready", b"\x03")]);
    assert!(
        text.contains("caught") && text.contains("code 9"),
        "{text:?}"
    );
}

#[test]
fn the_version_needs_no_cluster() {
    let run = run(&mut bare(["version", "--client"]));
    run.expect(0, &[]);
    assert!(String::from_utf8_lossy(&run.stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_session_that_ended_leaves_nothing_running() {
    let cluster = cluster();
    let mut child = wsx(&cluster, words("exec web-0 -c app -- true"))
        .spawn()
        .unwrap();
    assert!(wait(&mut child).success());
}

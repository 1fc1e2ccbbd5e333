//! The fixture's own bad days: every start and every end leaves this machine as it was.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use wsx_tests::kubectl::Kubectl;

use super::fixture::{Program, programs, turn};
use crate::support::run;

/// A network of 127.0.0.0/8 that no fixture takes by itself.
const NETWORK: &str = "250";

/// Processes whose command line or environment names a folder, but for this one.
fn processes(folder: &Path) -> BTreeSet<u32> {
    let name = folder.as_os_str().as_encoded_bytes();
    let holds = |path: PathBuf| {
        fs::read(path).is_ok_and(|text| text.windows(name.len()).any(|part| part == name))
    };
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let process = entry.path();
        if let Some(pid) = pid
            && (holds(process.join("cmdline")) || holds(process.join("environ")))
        {
            found.insert(pid);
        }
    }
    found
}

fn runs(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Asserts that no folder and no process of any run below this folder is left.
#[track_caller]
fn nothing_is_left(base: &Path) {
    assert_eq!(runs(base), [] as [PathBuf; 0]);
    assert_eq!(processes(base), BTreeSet::new());
}

/// Asserts that the API server's port and the two after it are free.
#[track_caller]
fn ports_are_free(server: SocketAddr) {
    for port in server.port()..server.port() + 3 {
        let listener = TcpListener::bind((server.ip(), port));
        assert!(listener.is_ok(), "{port} of {server}: {listener:?}");
    }
}

/// A cluster that is ready, with its state below a folder of its test.
struct Ready {
    program: Program,
    kubectl: Kubectl,
    kubeconfig: PathBuf,
    server: SocketAddr,
}

impl Ready {
    fn start(programs: &Path, base: &Path) -> Self {
        Self::wait(Self::begin(programs, base), programs)
    }

    fn begin(programs: &Path, base: &Path) -> Program {
        Program::spawn(programs, ["--base".as_ref(), base.as_os_str()])
    }

    fn wait(mut program: Program, programs: &Path) -> Self {
        let kubeconfig = program.ready();
        let kubeconfig = kubeconfig.unwrap_or_else(|| panic!("{}", program.said()));
        let kubectl = Kubectl::at(&programs.join("kubectl")).expect("the fixture's own kubectl");
        let view = ["config", "view", "-o", "json"];
        let config: Value = serde_json::from_slice(&kubectl.run(&kubeconfig, view).stdout).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
        let server = server.trim_start_matches("https://").parse().unwrap();
        Self {
            program,
            kubectl,
            kubeconfig,
            server,
        }
    }

    fn folder(&self) -> &Path {
        self.kubeconfig.parent().unwrap()
    }

    fn kubectl(&self, words: &[&str]) -> Output {
        self.kubectl.run(&self.kubeconfig, words)
    }

    /// What a command in a pod prints.
    #[track_caller]
    fn exec(&self, command: &[&str]) -> String {
        let output = self.kubectl(&[&["exec", "web-0", "-c", "app", "--"], command].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn ends_with(&mut self, code: i32) {
        let status = self.program.wait();
        assert_eq!(status.code(), Some(code), "{}", self.program.said());
        ports_are_free(self.server);
    }
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// What cannot start says so in one line, before it has started or created anything.
#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn what_cannot_start_says_so_in_one_line() {
    let Some(programs) = programs() else {
        return;
    };
    let _turn = turn();
    let folder = TempDir::new().unwrap();
    let base = folder.path().join("base");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let long = folder.path().join("l".repeat(60));
    let _taken = TcpListener::bind("127.250.0.1:7001").unwrap();
    let base_flag = format!("--base={}", base.display());
    let cases = [
        (
            // The kubelet's port is the one after.
            vec!["--network", NETWORK, "--port", "7000"],
            1,
            "port 7001 is taken on 127.250.0.1:7001; choose with --port or --network".to_owned(),
        ),
        (
            vec!["--network", NETWORK, "--port", "7001"],
            1,
            "port 7001 is taken on 127.250.0.1:7001; choose with --port or --network".to_owned(),
        ),
        (
            vec!["--base", file.to_str().unwrap()],
            1,
            format!(
                "mkdir {}: not a directory; choose another place with --base",
                file.display()
            ),
        ),
        (
            vec!["--base", long.to_str().unwrap()],
            1,
            "too long for unix sockets (72 characters are left); choose a shorter --base".into(),
        ),
        (
            vec!["--gatse", "none"],
            2,
            "flag provided but not defined: -gatse; see --help".into(),
        ),
        (
            vec!["--gates", "some"],
            2,
            "unknown gates \"some\": ".into(),
        ),
        (
            vec!["--port", "many"],
            2,
            "invalid value \"many\" for flag -port: parse error; see --help".into(),
        ),
        (
            vec!["--port", "65534"],
            2,
            "--network is 0 to 255, --port 1 to 65533".into(),
        ),
        (
            vec!["--log-size", "-1"],
            2,
            "--log-size is 0 or more".into(),
        ),
        (vec!["--", "now"], 2, "unexpected argument \"now\"".into()),
        (vec!["begin"], 2, "unknown subcommand \"begin\": ".into()),
    ];
    for (flags, code, text) in cases {
        let mut command = Command::new(programs.join("wsx-real"));
        if flags[0].starts_with("--") {
            command.arg(&base_flag);
        }
        let run = run(command.args(&flags));
        run.expect(code, &[&text]).prints("");
        assert!(run.stderr.starts_with("wsx-real: "), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{flags:?}: {run:?}");
    }
    for base in [&base, &long] {
        nothing_is_left(base);
    }
}

/// On a file system of 8 MiB in a mount namespace of its own, where this machine allows it.
#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn without_space_it_does_not_start() {
    let Some(programs) = programs() else {
        return;
    };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user"]);
        command
    };
    if !unshare().arg("true").output().unwrap().status.success() {
        println!("SKIPPED: this machine allows no mount namespace");
        return;
    }
    let folder = TempDir::new().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=8m none {folder} && {program} --base {folder}; \
         code=$?; ls -A {folder}; exit $code",
        folder = folder.path().display(),
        program = programs.join("wsx-real").display(),
    );
    let run = run(unshare().args(["sh", "-c", &script]));
    let text = format!(
        "wsx-real: no space: {} has 8 MiB free, a run needs 400; choose another place with --base\n",
        folder.path().display()
    );
    assert_eq!(run.stderr, text);
    run.expect(1, &[]).prints("");
}

/// Its processes go with it, but for what ran away from them; that and the folder wait for the next
/// start, which says what it found.
#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn what_was_killed_is_cleaned_by_the_next_start() {
    let Some(programs) = programs() else {
        return;
    };
    let _turn = turn();
    let base = TempDir::new().unwrap();
    let mut killed = Ready::start(&programs, base.path());
    let runaway = killed.exec(&[
        "sh",
        "-c",
        "setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' &",
    ]);
    let runaway: u32 = runaway.trim().parse().unwrap();
    let pid = killed.program.id();
    signal("-KILL", pid);
    assert_eq!(killed.program.wait().signal(), Some(9));
    assert!(killed.folder().exists());
    assert!(processes(killed.folder()).contains(&runaway));

    let mut next = Ready::start(&programs, base.path());
    let begin = format!(
        "wsx-real: cleaned stale run {} (its supervisor, pid {pid}, was killed): directory removed, ",
        killed.folder().display()
    );
    let said = next.program.said();
    let count = said.lines().find_map(|line| line.strip_prefix(&begin));
    let count = count.unwrap_or_else(|| panic!("no {begin:?} in:\n{said}"));
    println!("{begin}{count}");
    assert_ne!(count, "0 processes ended");
    assert_eq!(runs(base.path()), [next.folder()]);
    assert_eq!(processes(killed.folder()), BTreeSet::new());
    assert_eq!(next.exec(&["echo", "hi"]), "hi\n");
    next.program.close();
    next.ends_with(0);
    nothing_is_left(base.path());
}

/// One ends with its standard input while the other goes on; the other by a signal.
#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn two_at_once_do_not_meet_and_leave_nothing() {
    let Some(programs) = programs() else {
        return;
    };
    let _turn = turn();
    let base = TempDir::new().unwrap();
    let both = [(); 2].map(|()| Ready::begin(&programs, base.path()));
    let [mut one, mut other] = both.map(|program| Ready::wait(program, &programs));
    assert_ne!(one.server.ip(), other.server.ip());
    let address = |cluster: &Ready| cluster.exec(&["printenv", "POD_BIND_IP"]);
    assert_ne!(address(&one), address(&other));
    assert!(
        one.kubectl(&["create", "configmap", "mine"])
            .status
            .success()
    );
    let theirs = other.kubectl(&["get", "configmap", "mine"]);
    assert!(
        String::from_utf8_lossy(&theirs.stderr).contains("NotFound"),
        "{theirs:?}"
    );

    let folder = one.folder().to_owned();
    one.program.close();
    one.ends_with(0);
    assert!(!folder.exists());
    assert_eq!(processes(&folder), BTreeSet::new());
    assert_eq!(other.exec(&["echo", "hi"]), "hi\n");
    assert_eq!(runs(base.path()), [other.folder()]);

    signal("-TERM", other.program.id());
    other.ends_with(0);
    nothing_is_left(base.path());
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn an_end_before_it_is_ready_leaves_nothing() {
    let Some(programs) = programs() else {
        return;
    };
    let _turn = turn();
    let base = TempDir::new().unwrap();
    let mut program = Ready::begin(&programs, base.path());
    program.close();
    assert_eq!(program.ready(), None);
    assert_eq!(program.wait().code(), Some(0));
    let said = program.said();
    let last = said.lines().last();
    assert_eq!(
        last,
        Some("wsx-real: told to end before it was ready: a signal, or the end of standard input")
    );
    nothing_is_left(base.path());
}

/// A wrong order is answered like any other, and the next one is obeyed. Later a part dies.
#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn it_survives_wrong_orders_but_not_the_loss_of_a_part() {
    let Some(programs) = programs() else {
        return;
    };
    let _turn = turn();
    let base = TempDir::new().unwrap();
    let mut cluster = Ready::start(&programs, base.path());
    let long = "x".repeat(100_000);
    for (order, error) in [
        ("", ": unknown command: "),
        ("dance", "dance: unknown command: "),
        ("dance node", "dance node: unknown command: "),
        ("restart moon", "restart moon: unknown process: "),
        ("start node", "start node: runtime runs already"),
        ("cut kubelet", "cut kubelet: unknown command: "),
        ("restart", "restart: unknown command: "),
        (
            "kill nobody app",
            "kill nobody app: pod nobody has no running container app",
        ),
        (
            "kill web-0 nothing",
            "kill web-0 nothing: pod web-0 has no running container nothing",
        ),
        (&long, &long),
    ] {
        let answer = cluster.program.order(order);
        let said = answer["error"].as_str().unwrap_or_default();
        assert!(said.starts_with(error), "{order:?}: {answer}");
    }
    assert_eq!(cluster.program.order("wait")["done"], "wait");
    assert_eq!(cluster.exec(&["echo", "hi"]), "hi\n");

    let mut parts = processes(cluster.folder()).into_iter();
    let is_kubelet = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| words.starts_with(b"wsx-real\0kubelet\0"))
    };
    signal("-KILL", parts.find(is_kubelet).unwrap());
    cluster.ends_with(1);
    let said = cluster.program.said();
    let text = "wsx-real: kubelet ended by itself (signal: killed), the end of its log:";
    assert!(said.lines().any(|line| line == text), "{said}");
    nothing_is_left(base.path());
}

/// Cheap, so `make test` runs it, also where there is Go.
#[test]
fn without_go_the_build_says_so_in_one_line() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/real/build.sh");
    let without = |arguments: &[&str]| {
        let mut command = Command::new(&script);
        let command = command.env_clear().env("PATH", "/nonexistent");
        run(command.args(arguments))
    };
    let nowhere = without(&[]);
    nowhere.expect(127, &[]).prints("");
    assert_eq!(
        nowhere.stderr,
        "build.sh: the real Kubernetes is not built, because there is no `go` on PATH; \
         try: install Go 1.26 (https://go.dev/dl); all other tests run without it\n"
    );
    without(&["--release", "1.1"]).expect(2, &["no Kubernetes '1.1' here", "--release 1.34"]);
    without(&["--fast"]).expect(2, &["unknown flag --fast"]);
}

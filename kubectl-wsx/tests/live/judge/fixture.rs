//! The real API server and kubelet of tests/real as a child process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tempfile::NamedTempFile;
use wsx_tests::kubectl::Kubectl;

use crate::support::{required, wait};

/// Where WebSockets end in the emulated cluster (real-kubernetes.md 8).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Translate {
    /// Kubernetes 1.31 to 1.35, or a later one with an older node.
    ApiServer,
    /// Kubernetes 1.36.
    Kubelet,
    /// Before 1.30: there is no v5.
    Nobody,
}

impl Translate {
    fn flag(self) -> &'static str {
        match self {
            Self::ApiServer => "apiserver-translates",
            Self::Kubelet => "kubelet-translates",
            Self::Nobody => "none",
        }
    }
}

/// One at a time: each takes half a gigabyte, and both cores while it starts.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for the turn. A test that failed meanwhile has ended its cluster.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the fixture's programs are, or nothing, which is said, where they were not built.
///
/// `WSX_REAL_BIN` names the folder of another release (tests/real/README.md).
#[expect(
    clippy::disallowed_methods,
    reason = "the judges are chosen by the environment of a test"
)]
pub(crate) fn programs() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/real/bin");
    let folder = std::env::var_os("WSX_REAL_BIN").map_or(ours, PathBuf::from);
    if folder.join("wsx-real").exists() {
        return Some(folder);
    }
    assert!(
        !required("go"),
        "WSX_REQUIRE names go, and nothing is built in {folder:?}"
    );
    println!("SKIPPED: the real Kubernetes is not built (needs Go; `make judge` builds it)");
    None
}

/// The program `wsx-real`; it ends with this value.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    said: NamedTempFile,
}

impl Program {
    /// Starts it in the folder of programs.
    pub(crate) fn spawn<I>(programs: &Path, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let said = NamedTempFile::new().unwrap();
        let mut child = Command::new(programs.join("wsx-real"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said.reopen().unwrap())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            said,
        }
    }

    /// Waits until the cluster is ready, and returns the path of its kubeconfig; or nothing when it
    /// ends before, which it bounds itself.
    pub(crate) fn ready(&mut self) -> Option<PathBuf> {
        let path = self.answers.next()?.unwrap();
        let said = self.said();
        let time = said.lines().find(|line| line.contains("ready after"));
        println!("{}", time.expect("it says how long it took"));
        Some(path.into())
    }

    /// Gives an order, and returns the answer.
    pub(crate) fn order(&mut self, order: &str) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{order}").unwrap();
        let answer = self.answers.next();
        let answer = answer.unwrap_or_else(|| panic!("no answer to {order:?}:\n{}", self.said()));
        serde_json::from_str(&answer.unwrap()).unwrap()
    }

    /// Its standard error until now.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.said.path()).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends its standard input.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// Waits for the end, which something else must have brought about.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.close();
        let _ = self.child.wait();
    }
}

/// A running cluster; it ends with this value.
pub(crate) struct Fixture {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) kubectl: Kubectl,
    program: Program,
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    /// Starts it, or says why there is none: not built, or a release that has no such gates.
    pub(crate) fn start(translate: Translate) -> Option<Self> {
        Self::with(translate, &[])
    }

    /// The same, with more flags.
    pub(crate) fn with(translate: Translate, flags: &[&str]) -> Option<Self> {
        let programs = programs()?;
        let turn = turn();
        let kubectl = Kubectl::at(&programs.join("kubectl")).expect("the fixture's own kubectl");
        let mut program =
            Program::spawn(&programs, [&["--gates", translate.flag()], flags].concat());
        let Some(kubeconfig) = program.ready() else {
            let said = program.said();
            assert!(said.contains("unknown gates"), "it does not start:\n{said}");
            let (release, gates) = (kubectl.version(), translate.flag());
            println!("SKIPPED: Kubernetes {release} has no gates {gates}");
            return None;
        };
        Some(Self {
            kubeconfig,
            kubectl,
            program,
            _turn: turn,
        })
    }

    /// Where the API server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let config = self.config("admin");
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
        server.trim_start_matches("https://").parse().unwrap()
    }

    /// The token of the user of a context.
    pub(crate) fn token(&self, context: &str) -> String {
        let config = self.config(context);
        config["users"][0]["user"]["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn config(&self, context: &str) -> Value {
        let context = format!("--context={context}");
        let words = [
            "config", "view", "--minify", "--raw", "-o", "json", &context,
        ];
        serde_json::from_slice(&self.kubectl.run(&self.kubeconfig, words).stdout).unwrap()
    }

    /// Gives an order, such as `restart node`, and waits until it is carried out.
    pub(crate) fn order(&mut self, order: &str) {
        let answer = self.program.order(order);
        assert_eq!(answer["done"], order, "{answer}");
    }
}

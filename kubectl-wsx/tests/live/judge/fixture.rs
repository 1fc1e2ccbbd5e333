//! The real API server and kubelet of tests/real as a child process.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use wsx_tests::kubectl::Kubectl;

use crate::support::required;

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

/// A running cluster; it ends with this value.
pub(crate) struct Fixture {
    _turn: MutexGuard<'static, ()>,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) kubectl: Kubectl,
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Fixture {
    /// Starts it, or returns nothing where it was not built.
    pub(crate) fn start(translate: Translate) -> Option<Self> {
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/real/bin");
        let program = bin.join("wsx-real");
        if !program.exists() {
            assert!(
                !required("go"),
                "WSX_REQUIRE names go, and {program:?} is not built"
            );
            return None;
        }
        // A test that failed meanwhile has ended its cluster.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let kubectl = Kubectl::at(&bin.join("kubectl")).expect("the fixture's own kubectl");
        let mut child = Command::new(program)
            .args(["--gates", translate.flag()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let kubeconfig = answers.next().expect("the fixture starts").unwrap().into();
        let stdin = child.stdin.take();
        Some(Self {
            _turn: turn,
            kubeconfig,
            kubectl,
            child,
            stdin,
            answers,
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
        writeln!(self.stdin.as_mut().unwrap(), "{order}").unwrap();
        let answer = self.answers.next().expect("the fixture answers").unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["done"], order, "{answer}");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

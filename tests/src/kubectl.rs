//! Stock `kubectl`, the judge of the embedded cluster and the yardstick of our client.
//!
//! Lives here: finding the real binary and calling it. Never here: assertions.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A `kubectl` that runs.
#[derive(Clone, Debug)]
pub struct Kubectl {
    path: PathBuf,
    version: String,
}

/// Finds `kubectl`: `$WSX_KUBECTL`, else the newest beside the Cloud SDK's dispatcher, else `PATH`.
///
/// One older than 1.30 is passed over: it speaks SPDY, and WebSocket at most when asked to.
///
/// # Panics
/// When there is none, and `$WSX_REQUIRE` names `kubectl`: what is required may not be skipped.
#[must_use]
pub fn find() -> Option<Kubectl> {
    let found = candidates().iter().find_map(|path| Kubectl::at(path));
    let found = found.filter(|kubectl| kubectl.minor().is_some_and(|minor| minor >= FIRST_OF_USE));
    let required = variable("WSX_REQUIRE")
        .unwrap_or_default()
        .into_string()
        .unwrap_or_default();
    assert!(
        found.is_some() || !required.split(',').any(|name| name.trim() == "kubectl"),
        "WSX_REQUIRE names kubectl, and there is none"
    );
    found
}

impl Kubectl {
    /// The binary at `path`, when it is a `kubectl` that tells its version.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let arguments = ["version", "--client", "--output=json"];
        let output = Command::new(path).args(arguments).output().ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let version = answer["clientVersion"]["gitVersion"].as_str()?.to_owned();
        Some(Self {
            path: path.to_owned(),
            version,
        })
    }

    /// Where the binary lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, such as `v1.33.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    fn minor(&self) -> Option<u32> {
        self.version
            .strip_prefix("v1.")?
            .split('.')
            .next()?
            .parse()
            .ok()
    }

    /// A command with this kubeconfig, its caches beside it, and nothing of the user's settings.
    pub fn command<I>(&self, kubeconfig: &Path, arguments: I) -> Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = Command::new(&self.path);
        command
            .env("KUBECONFIG", kubeconfig)
            .env("KUBERC", "off")
            .env_remove("KUBECTL_EXTERNAL_DIFF");
        command.env("KUBECACHEDIR", kubeconfig.with_file_name("kubectl-cache"));
        command.args(arguments);
        command
    }

    /// Runs to the end and gives status and both outputs.
    ///
    /// # Panics
    /// When the binary cannot be started at all.
    pub fn run<I>(&self, kubeconfig: &Path, arguments: I) -> Output
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let output = self.command(kubeconfig, arguments).output();
        output.unwrap_or_else(|error| panic!("{} does not start: {error}", self.path.display()))
    }
}

fn candidates() -> Vec<PathBuf> {
    if let Some(path) = variable("WSX_KUBECTL") {
        return vec![path.into()];
    }
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(CLOUD_SDK).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let minor = name
            .to_str()
            .and_then(|name| name.strip_prefix("kubectl.1."));
        if let Some(minor) = minor.and_then(|minor| minor.parse().ok()) {
            found.push((minor, entry.path()));
        }
    }
    found.sort();
    let mut paths: Vec<PathBuf> = found.into_iter().rev().map(|(_, path)| path).collect();
    paths.push("kubectl".into());
    paths
}

#[expect(
    clippy::disallowed_methods,
    reason = "the judges are chosen by the environment of a test"
)]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

const FIRST_OF_USE: u32 = 30;
/// Where the dispatcher on `PATH` keeps the real binaries.
const CLOUD_SDK: &str = "/usr/lib/google-cloud-sdk/bin";

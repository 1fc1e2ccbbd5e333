//! Credential plugins: programs of the kubeconfig that print a token or a certificate.
//!
//! Lives here: one run of one plugin. Never here: when to run it again (credentials.rs).
//!
//! No shell, no current directory in the search, a process group of its own, 60 s, 1 MiB.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use base64::Engine as _;
use kube::config::{Cluster, ExecConfig, ExecInteractiveMode};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::config::{Config, Environment};
use super::credential::{self, Issued};
use super::notice::{Notice, Observer};
use super::settings::material;
use crate::error::{Error, ErrorKind, Result, plain};
use crate::protocol::text::escape;

/// How long a plugin may run; a person is told after half of it.
const LIMIT: Duration = Duration::from_secs(60);
/// How much a plugin may print.
const OUTPUT_LIMIT: u64 = 1 << 20;
/// How long output is waited for after the plugin has ended: a child of it may hold the pipe open.
const GRACE: Duration = Duration::from_secs(1);
const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];

/// A credential plugin, ready to be run.
pub(super) struct Plugin {
    command: String,
    arguments: Vec<String>,
    variables: Vec<(OsString, OsString)>,
    search: Option<OsString>,
    version: String,
    mode: ExecInteractiveMode,
    terminal: bool,
    information: String,
    install_hint: Option<String>,
    user: String,
    observer: Option<Observer>,
    pub(super) limit: Duration,
}

impl Plugin {
    /// Checks the kubeconfig's description of a plugin.
    ///
    /// # Errors
    /// `Config` when the command is missing or the version is none that is spoken here.
    pub(super) fn new(
        exec: ExecConfig,
        cluster: &Cluster,
        user: Option<String>,
        config: &Config,
        environment: &Environment,
    ) -> Result<Self> {
        let user = user.unwrap_or_default();
        let wrong = |why: String| {
            let message = format!("the credential plugin of user {user:?} cannot be used");
            Error::new(ErrorKind::Config, message).because(why)
        };
        let Some(command) = exec.command.filter(|command| !command.is_empty()) else {
            return Err(wrong("users[].user.exec.command is missing".to_owned()));
        };
        // Relative commands were joined to the folder of the kubeconfig: `/a/./b` is `/a/b`.
        let command: PathBuf = Path::new(&command).components().collect();
        let command = command.to_string_lossy().into_owned();
        let version = exec.api_version.unwrap_or_default();
        if !VERSIONS.contains(&version.as_str()) {
            let known = VERSIONS.join(" and ");
            return Err(wrong(format!(
                "its apiVersion is {version:?}, known are {known}"
            )));
        }
        let mode = exec
            .interactive_mode
            .unwrap_or(ExecInteractiveMode::IfAvailable);
        let terminal = environment.has_terminal() && mode != ExecInteractiveMode::Never;
        let mut specification = serde_json::json!({ "interactive": terminal });
        if exec.provide_cluster_info {
            specification["cluster"] = information(cluster)?;
        }
        let information = serde_json::json!({
            "kind": "ExecCredential", "apiVersion": version, "spec": specification,
        });
        let mut variables: Vec<_> = environment
            .all()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for entry in exec.env.into_iter().flatten() {
            if let (Some(name), Some(value)) = (entry.get("name"), entry.get("value")) {
                variables.push((name.into(), value.into()));
            }
        }
        Ok(Self {
            command,
            arguments: exec.args.unwrap_or_default(),
            variables,
            search: environment.get("PATH").map(ToOwned::to_owned),
            version,
            mode,
            terminal,
            information: information.to_string(),
            install_hint: exec.install_hint.filter(|hint| !hint.trim().is_empty()),
            user,
            observer: config.observer.clone(),
            limit: LIMIT,
        })
    }

    /// Tells whether the plugin is given the terminal.
    pub(super) const fn is_interactive(&self) -> bool {
        self.terminal
    }

    /// Runs the plugin once.
    ///
    /// # Errors
    /// `Auth` when it cannot be started, fails, takes too long or prints something else.
    ///
    /// # Cancel safety
    /// Dropping the future kills the plugin with its process group.
    pub(super) async fn run(&self) -> Result<Issued> {
        if self.mode == ExecInteractiveMode::Always && !self.terminal {
            return Err(self
                .failed("needs a terminal")
                .because("standard input is none"));
        }
        let mut running = self.start()?;
        let work = self.finish(&mut running.child);
        tokio::pin!(work);
        let (slow, late) = (sleep(self.limit / 2), sleep(self.limit));
        tokio::pin!(slow, late);
        let mut told = false;
        let (status, output, last_words) = loop {
            tokio::select! {
                result = &mut work => break result?,
                () = &mut slow, if !told => {
                    told = true;
                    self.tell(&Notice::PluginSlow {
                        command: self.command.clone(),
                        seconds: self.limit.as_secs() / 2,
                        limit: self.limit.as_secs(),
                    });
                }
                () = &mut late => {
                    return Err(self.failed(&format!("gave no answer within {:?}", self.limit)));
                }
            }
        };
        running.ended = true;
        if !status.success() {
            let error = self.failed(&how(status));
            return Err(match last_words {
                Some(words) => error.because(words),
                None => error,
            });
        }
        credential::read(&output, &self.version)
            .map_err(|why| self.failed("cannot be used").because(why))
    }

    fn start(&self) -> Result<Running> {
        let program = self.program()?;
        let mut command = Command::new(&program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", &self.information)
            .stdin(if self.terminal {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            // A prompt has no line feed: where somebody can answer it, it goes out as it is.
            .stderr(if self.terminal {
                Stdio::inherit()
            } else {
                Stdio::piped()
            })
            .kill_on_drop(true);
        // A background group may not read from the terminal.
        #[cfg(unix)]
        if !self.terminal {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| {
            self.hinted(self.failed("cannot be started").because(plain(&error)))
        })?;
        Ok(Running {
            group: child.id().filter(|_| !self.terminal),
            child,
            ended: false,
        })
    }

    async fn finish(&self, child: &mut Child) -> Result<(ExitStatus, Vec<u8>, Option<String>)> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut output = Vec::new();
        let mut last_words = None;
        let status = {
            let pipes = async {
                let (read, ()) = tokio::join!(
                    read(stdout, &mut output),
                    self.pass_on(stderr, &mut last_words)
                );
                read
            };
            tokio::pin!(pipes);
            let failed = |error: std::io::Error| self.failed("was lost").because(plain(&error));
            tokio::select! {
                // Too much output ends it early; otherwise the pipes end before the program does.
                result = &mut pipes => {
                    result.map_err(|why| self.failed("cannot be used").because(why))?;
                    child.wait().await.map_err(failed)?
                }
                status = child.wait() => {
                    if let Ok(result) = timeout(GRACE, &mut pipes).await {
                        result.map_err(|why| self.failed("cannot be used").because(why))?;
                    }
                    status.map_err(failed)?
                }
            }
        };
        Ok((status, output, last_words))
    }

    /// Tells a person each line of error output, and keeps the last for the error.
    async fn pass_on(
        &self,
        stderr: Option<impl AsyncRead + Unpin>,
        last_words: &mut Option<String>,
    ) {
        let Some(stderr) = stderr else { return };
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A line without an end is cut into pieces instead of filling the memory.
            let read = (&mut reader).take(4096).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if !text.is_empty() {
                *last_words = Some(escape(&text));
                self.tell(&Notice::Plugin {
                    command: self.command.clone(),
                    line: text,
                });
            }
        }
    }

    /// Finds the program: a path as it is, a name in the absolute directories of `PATH`.
    fn program(&self) -> Result<PathBuf> {
        let given = Path::new(&self.command);
        if given.components().count() > 1 || given.is_absolute() {
            return Ok(given.to_owned());
        }
        let endings: &[&str] = if cfg!(windows) {
            &[".exe", ".cmd", ".bat", ""]
        } else {
            &[""]
        };
        let directories = self
            .search
            .as_deref()
            .map(std::env::split_paths)
            .into_iter()
            .flatten();
        for directory in directories.filter(|directory| directory.is_absolute()) {
            for ending in endings {
                let candidate = directory.join(format!("{}{ending}", self.command));
                if is_program(&candidate) {
                    return Ok(candidate);
                }
            }
        }
        Err(self.hinted(
            self.failed("was not found")
                .because("it is in no directory of PATH"),
        ))
    }

    fn failed(&self, how: &str) -> Error {
        let (command, user) = (escape(&self.command), escape(&self.user));
        Error::new(
            ErrorKind::Auth,
            format!("the credential plugin {command} of user {user:?} {how}"),
        )
    }

    fn hinted(&self, error: Error) -> Error {
        match &self.install_hint {
            Some(hint) => hint
                .lines()
                .filter(|line| !line.trim().is_empty())
                .fold(error, |error, line| error.remedy(escape(line.trim()))),
            None => error.remedy(format!(
                "install {}, or correct PATH",
                escape(&self.command)
            )),
        }
    }

    fn tell(&self, notice: &Notice) {
        if let Some(observer) = &self.observer {
            observer(notice);
        }
    }
}

/// A plugin that is running; dropped before its end it is killed with all it started.
struct Running {
    child: Child,
    group: Option<u32>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        #[cfg(unix)]
        if let Some(group) = self.group.and_then(|id| i32::try_from(id).ok())
            && let Some(group) = rustix::process::Pid::from_raw(group)
        {
            // It may be gone already, which is what we want.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        // Without a group, or without groups, the child alone: it is gone already at worst.
        let _ = self.child.start_kill();
    }
}

async fn read(stdout: Option<impl AsyncRead + Unpin>, output: &mut Vec<u8>) -> Result<(), String> {
    let Some(stdout) = stdout else { return Ok(()) };
    let read = stdout.take(OUTPUT_LIMIT + 1).read_to_end(output).await;
    match read {
        Ok(length) if length as u64 > OUTPUT_LIMIT => {
            Err(format!("it printed more than {OUTPUT_LIMIT} bytes"))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(plain(&error)),
    }
}

fn information(cluster: &Cluster) -> Result<serde_json::Value> {
    let path = cluster
        .certificate_authority
        .as_deref()
        .filter(|path| !path.is_empty());
    let authorities = material(
        "certificate authority",
        cluster.certificate_authority_data.as_deref(),
        path,
    )?;
    let mut fields = serde_json::Map::new();
    let mut insert = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    insert("server", cluster.server.clone().map(Into::into));
    insert(
        "tls-server-name",
        cluster.tls_server_name.clone().map(Into::into),
    );
    insert(
        "insecure-skip-tls-verify",
        cluster.insecure_skip_tls_verify.map(Into::into),
    );
    let standard = base64::engine::general_purpose::STANDARD;
    insert(
        "certificate-authority-data",
        authorities.map(|pem| standard.encode(pem).into()),
    );
    insert("proxy-url", cluster.proxy_url.clone().map(Into::into));
    let mut extensions = cluster.extensions.iter().flatten();
    let own = extensions.find(|extension| extension.name == "client.authentication.k8s.io/exec");
    insert("config", own.map(|extension| extension.extension.clone()));
    Ok(fields.into())
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("failed with exit code {code}"),
        None => format!("was ended ({status})"),
    }
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

//! Containers are local processes: starting them in a scratch directory, and ending them all.
//!
//! Lives here: how a command becomes a process. Never here: where its bytes go.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncRead;
use tokio::process::{Child, ChildStdin, Command};

use super::pods::container_id;
use super::terminal::{Ends, Terminal};

/// The place where containers live, and the list of what runs there.
pub(crate) struct Node {
    scratch: PathBuf,
    running: Mutex<HashSet<u32>>,
}

/// Which streams of a process are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

/// The container a process runs in.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

/// A process that has just been started.
pub(crate) struct Process {
    child: Child,
    node: Arc<Node>,
    pub(crate) input: Input,
    /// Channel number and source, one for each output.
    pub(crate) outputs: Vec<(u8, Box<dyn AsyncRead + Send + Unpin>)>,
}

/// Where stdin goes.
pub(crate) enum Input {
    None,
    Pipe(ChildStdin),
    Terminal(Arc<Terminal>),
}

impl Node {
    pub(crate) fn new(scratch: PathBuf) -> Self {
        Self {
            scratch,
            running: Mutex::default(),
        }
    }

    /// Starts `command` in a container, or says why not in containerd's words.
    pub(crate) fn start(
        self: &Arc<Self>,
        place: &Place,
        command: &[String],
        streams: Streams,
    ) -> Result<Process, String> {
        let refuse = |text: &str| runtime_refusal(place, text);
        let home = self
            .scratch
            .join(&place.namespace)
            .join(&place.pod)
            .join(&place.container);
        std::fs::create_dir_all(&home).map_err(|error| refuse(&error.to_string()))?;
        let [name, arguments @ ..] = command else {
            return Err(refuse("args must not be empty"));
        };
        let program = find_program(name, &home).map_err(|text| refuse(&text))?;

        let terminal = if streams.tty {
            Some(Terminal::open().map_err(|error| refuse(&error.to_string()))?)
        } else {
            None
        };
        let mut recipe = match terminal {
            // A session of its own with the terminal in control needs code between fork and exec,
            // which Rust only gives to `unsafe`; util-linux has it ready.
            Some(_) => {
                let mut recipe = Command::new("setsid");
                recipe.arg("-c").arg(&program);
                recipe
            }
            None => {
                let mut recipe = Command::new(&program);
                recipe.process_group(0).arg0(name);
                recipe
            }
        };
        recipe
            .args(arguments)
            .current_dir(&home)
            .env_clear()
            .kill_on_drop(true);
        recipe.env("PATH", PATH).env("HOME", &home);
        recipe
            .env("POD_NAME", &place.pod)
            .env("CONTAINER_NAME", &place.container);

        let mut outputs: Vec<(u8, Box<dyn AsyncRead + Send + Unpin>)> = Vec::new();
        let mut child;
        let input;
        if let Some(Ends {
            terminal,
            output,
            slave,
        }) = terminal
        {
            recipe.env("TERM", "xterm");
            let end = || slave.try_clone().map(Stdio::from);
            let spawned = end().and_then(|fd| {
                recipe.stdin(fd).stdout(end()?).stderr(end()?);
                recipe.spawn()
            });
            child = spawned.map_err(|error| refuse(&exec_error(name, &error)))?;
            outputs.push((1, Box::new(output)));
            input = Input::Terminal(terminal);
        } else {
            recipe.stdin(if streams.stdin {
                Stdio::piped()
            } else {
                Stdio::null()
            });
            recipe.stdout(Stdio::piped()).stderr(Stdio::piped());
            child = recipe
                .spawn()
                .map_err(|error| refuse(&exec_error(name, &error)))?;
            if let Some(stdout) = child.stdout.take() {
                outputs.push((1, Box::new(stdout)));
            }
            if let Some(stderr) = child.stderr.take() {
                outputs.push((2, Box::new(stderr)));
            }
            input = child.stdin.take().map_or(Input::None, Input::Pipe);
        }
        self.running().extend(child.id());
        Ok(Process {
            child,
            node: self.clone(),
            input,
            outputs,
        })
    }

    /// Kills everything that was started here, and what that has started.
    pub(crate) fn kill_all(&self) {
        for id in self.running().drain() {
            if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
                // It may have ended a moment ago.
                let _ = kill_process_group(id, Signal::KILL);
                let _ = kill_process(id, Signal::KILL);
            }
        }
        // Those that left their group still carry our scratch directory in their environment.
        let mark = [b"HOME=", self.scratch.as_os_str().as_encoded_bytes(), b"/"].concat();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let id = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let Some(id) = id.and_then(Pid::from_raw) else {
                continue;
            };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|variable| variable.starts_with(&mark))
            {
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashSet<u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Waits for the end and gives the exit code, 128 + n for a signal.
    pub(crate) async fn wait(&mut self) -> i32 {
        let id = self.child.id();
        let status = self.child.wait().await;
        if let Some(id) = id {
            self.node.running().remove(&id);
        }
        status.map_or(255, code)
    }
}

impl Place {
    /// The container's name in the whole cluster.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.pod, self.container)
    }
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(255)
}

fn runtime_refusal(place: &Place, text: &str) -> String {
    let id = container_id(&format!("exec of {}", place.key()));
    let id = id.trim_start_matches("containerd://");
    format!(
        "error executing command in container: failed to exec in container: failed to start exec \
         \"{id}\": OCI runtime exec failed: exec failed: unable to start container process: {text}: unknown"
    )
}

/// Looks a program up as runc does, with its words when there is none.
fn find_program(name: &str, home: &Path) -> Result<PathBuf, String> {
    let executable = |path: &Path| {
        std::fs::metadata(path).map(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = home.join(name);
        return match executable(&path) {
            Ok(false) if path.is_dir() => Err(format!("exec: \"{name}\": is a directory")),
            Ok(true) => Ok(path),
            Ok(false) => Err(format!("exec: \"{name}\": permission denied")),
            Err(_) => Err(format!(
                "exec: \"{name}\": stat {name}: no such file or directory"
            )),
        };
    }
    PATH.split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| executable(path).unwrap_or(false))
        .ok_or_else(|| format!("exec: \"{name}\": executable file not found in $PATH"))
}

fn exec_error(name: &str, error: &io::Error) -> String {
    // ENOEXEC
    if error.raw_os_error() == Some(8) {
        return format!("exec {name}: exec format error");
    }
    format!("exec: \"{name}\": {error}")
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

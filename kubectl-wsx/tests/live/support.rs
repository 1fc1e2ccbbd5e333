//! Runs the real binary with a deadline, so that a hang is a failure and not a stuck build.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wsx_tests::cluster::Cluster;

/// Past every limit that a test sets, and the 75 s pauses of `make soak`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Run {
    /// Asserts exit code and, on stderr, every one of these texts.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, texts: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "no {text:?} in:\n{}",
                self.stderr
            );
        }
        self
    }

    #[track_caller]
    pub(crate) fn prints(&self, stdout: impl AsRef<[u8]>) -> &Self {
        let expected = stdout.as_ref();
        assert!(
            self.stdout == expected,
            "stdout: {:?}",
            String::from_utf8_lossy(&self.stdout)
        );
        self
    }
}

pub(crate) fn cluster() -> Cluster {
    Cluster::spawn().expect("the embedded cluster starts")
}

/// `kubectl-wsx` with this cluster's kubeconfig and none of the developer's environment.
pub(crate) fn wsx<I>(cluster: &Cluster, arguments: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    at(cluster.kubeconfig(), arguments)
}

/// `kubectl-wsx` with this kubeconfig and none of the developer's environment.
pub(crate) fn at<I>(kubeconfig: &Path, arguments: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = bare(arguments);
    command.env("KUBECONFIG", kubeconfig);
    command
}

/// `kubectl-wsx` without any kubeconfig.
pub(crate) fn bare<I>(arguments: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-wsx"));
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/proc/nobody");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Words separated by spaces, as a command line.
pub(crate) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').filter(|word| !word.is_empty())
}

pub(crate) fn run(command: &mut Command) -> Run {
    run_with(command, &[])
}

/// Runs to the end with these bytes on stdin when there are any.
pub(crate) fn run_with(command: &mut Command, input: &[u8]) -> Run {
    let mut file = None;
    if !input.is_empty() {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(input).unwrap();
        source.seek(SeekFrom::Start(0)).unwrap();
        file = Some(source);
    }
    if let Some(source) = file {
        command.stdin(source);
    }
    finish(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    )
}

/// Waits for the end of a child whose outputs may be piped.
pub(crate) fn finish(mut child: Child) -> Run {
    let begin = Instant::now();
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child);
    Run {
        code: status.code(),
        signal: std::os::unix::process::ExitStatusExt::signal(&status),
        stdout: stdout.recv().unwrap(),
        stderr: String::from_utf8_lossy(&stderr.recv().unwrap()).into_owned(),
        took: begin.elapsed(),
    }
}

fn drain(source: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (done_tx, done_rx) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut source) = source {
            source.read_to_end(&mut all).unwrap();
        }
        done_tx.send(all)
    });
    done_rx
}

/// Waits for the end, and ends what hangs.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let pid = child.id();
    let (done_tx, done_rx) = mpsc::sync_channel::<()>(1);
    let watchdog = std::thread::spawn(move || {
        if done_rx
            .recv_timeout(PATIENCE)
            .is_err_and(|error| error == mpsc::RecvTimeoutError::Timeout)
        {
            Command::new("kill")
                .args(["-9", &pid.to_string()])
                .status()
                .unwrap();
            panic!("process {pid} hung for {PATIENCE:?}");
        }
    });
    let status = child.wait().unwrap();
    let _ = done_tx.send(());
    watchdog.join().expect("no hang");
    status
}

/// The pattern that `gen` prints: each 8-byte little-endian word is its own index.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size.div_ceil(8) as u64)
        .flat_map(u64::to_le_bytes)
        .take(size)
        .collect()
}

/// A file that holds `size` bytes of the pattern.
pub(crate) fn pattern_file(size: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(size)).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// Whether `WSX_REQUIRE` says that this judge or hop may not be skipped.
#[expect(
    clippy::disallowed_methods,
    reason = "the judges are chosen by the environment of a test"
)]
pub(crate) fn required(name: &str) -> bool {
    std::env::var("WSX_REQUIRE").is_ok_and(|names| names.split(',').any(|listed| listed == name))
}

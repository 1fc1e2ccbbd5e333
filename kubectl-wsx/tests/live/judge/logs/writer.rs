//! A pod that writes what a test tells it, and what its log files held from first to last.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::judge::fixture::Fixture;
use crate::support::{PATIENCE, run_with};

/// A line of a log as the runtime wrote it.
pub(super) struct Record {
    pub(super) number: u64,
    /// Index of its file: rotations, restarts and new pods begin one.
    pub(super) file: usize,
}

/// Everything that was written to a log, and in which order.
pub(super) struct Truth {
    pub(super) records: Vec<Record>,
    places: HashMap<u64, usize>,
}

impl Truth {
    pub(super) fn new(records: Vec<Record>) -> Self {
        let places = records.iter().enumerate();
        let places: HashMap<_, _> = places.map(|(at, record)| (record.number, at)).collect();
        assert_eq!(places.len(), records.len(), "a number was written twice");
        Self { records, places }
    }

    /// Where a line stands, if it was ever written.
    pub(super) fn place(&self, number: u64) -> Option<usize> {
        self.places.get(&number).copied()
    }

    /// Whether these lines end with their file: what a kubelet that changes files may leave out.
    pub(super) fn ends_a_file(&self, hole: &Range<usize>) -> bool {
        let file = |at: usize| self.records.get(at).map(|record| record.file);
        file(hole.end - 1) != file(hole.end)
    }
}

/// A pod whose only container prints what comes through a named pipe: containers see the files of
/// this machine.
pub(super) struct Writer {
    pub(super) pod: String,
    pipe: File,
    next: u64,
    kept: PathBuf,
    folder: TempDir,
    restarts: &'static str,
}

impl Writer {
    /// Makes the pod and waits until it runs.
    pub(super) fn start(fixture: &Fixture, pod: &str) -> Self {
        Self::make(fixture, pod, "Always")
    }

    /// The same, but its container is not restarted.
    pub(super) fn once(fixture: &Fixture, pod: &str) -> Self {
        Self::make(fixture, pod, "Never")
    }

    fn make(fixture: &Fixture, pod: &str, restarts: &'static str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // Open for both, so that neither side ever sees an end, whatever becomes of the other.
        let pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let kept = fixture.kubeconfig.with_file_name("written");
        let writer = Self {
            pod: pod.to_owned(),
            pipe,
            next: 1,
            kept: kept.join(format!("default_{pod}_main")),
            folder,
            restarts,
        };
        writer.create(fixture);
        writer
    }

    /// Makes the pod, perhaps once more, and waits until it runs.
    pub(super) fn create(&self, fixture: &Fixture) {
        let command = format!("exec cat {}", self.folder.path().join("pipe").display());
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.pod},
            "spec": {
                "nodeName": "node-1",
                "restartPolicy": self.restarts,
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "x", "command": ["sh", "-c", command]}],
            },
        });
        let mut create = fixture
            .kubectl
            .command(&fixture.kubeconfig, ["create", "-f", "-"]);
        run_with(&mut create, manifest.to_string().as_bytes()).expect(0, &[]);
        self.await_ready(fixture);
    }

    pub(super) fn await_ready(&self, fixture: &Fixture) {
        let pod = format!("pod/{}", self.pod);
        let words = ["wait", "--for=condition=Ready", "--timeout=60s", &pod];
        let mut command = fixture.kubectl.command(&fixture.kubeconfig, words);
        run_with(&mut command, &[]).expect(0, &[]);
    }

    pub(super) fn delete(&self, fixture: &Fixture) {
        let words = ["delete", "pod", &*self.pod];
        let mut command = fixture.kubectl.command(&fixture.kubeconfig, words);
        run_with(&mut command, &[]).expect(0, &[]);
    }

    /// Writes so many numbered lines of 100 bytes; returns the number of the last one.
    pub(super) fn write(&mut self, count: u64) -> u64 {
        let lines: String = (self.next..self.next + count)
            .map(|number| format!("{number:>99}\n"))
            .collect();
        self.pipe.write_all(lines.as_bytes()).unwrap();
        self.next += count;
        self.next - 1
    }

    /// Writes so many lines and waits until they are in the log.
    pub(super) fn settle(&mut self, count: u64) -> u64 {
        let last = self.write(count);
        until("the log holds what was written", || {
            self.truth().place(last).is_some()
        });
        last
    }

    /// How many files the log has had.
    pub(super) fn count(&self) -> usize {
        self.files().len()
    }

    /// Waits until the kubelet has rotated the log since it had so many files: it is long enough.
    pub(super) fn await_rotation(&self, count: usize) {
        until("the kubelet rotates", || self.count() > count);
    }

    /// Writes so many lines, which fill a file, and waits until it is rotated.
    pub(super) fn fill(&mut self, count: u64) {
        let files = self.count();
        self.settle(count);
        self.await_rotation(files);
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.kept).into_iter().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Reads all files that the log ever had.
    pub(super) fn truth(&self) -> Truth {
        let mut records = Vec::new();
        for (file, path) in self.files().into_iter().enumerate() {
            let text = fs::read_to_string(path).unwrap();
            // The last line may be about to be written.
            let lines = text.split_inclusive('\n');
            for line in lines.filter(|line| line.ends_with('\n')) {
                let number = line.split_whitespace().next_back().unwrap();
                let number = number.parse().unwrap();
                records.push(Record { number, file });
            }
        }
        Truth::new(records)
    }
}

/// Looks at files of this machine until something is so.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no event for what another process does to several files"
)]
pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(
            begin.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

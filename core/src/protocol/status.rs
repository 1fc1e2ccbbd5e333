//! The last word of a session: an exit code, a failure to start, or nothing that can be used.
//!
//! Lives here: reading channel 3. Never here: what to do about it.

use serde::Deserialize;

use super::subprotocol::StatusForm;
use super::text::excerpt;

/// How a remote command ended. A code other than 0 is a result, not an error.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExitStatus {
    /// The command's own code.
    pub code: u8,
    /// How sure a code of 0 is.
    pub confidence: Confidence,
}

impl ExitStatus {
    /// Tells whether the code is 0.
    #[must_use]
    pub const fn success(&self) -> bool {
        self.code == 0
    }
}

/// How sure an exit status is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Confidence {
    /// A `Success` of a protocol that may report one for a lost stream (`v5`), and afterwards the
    /// node answered for the same container. A stream that broke between API server, node and
    /// runtime while all three lived is still reported as success: only `v4` shows that.
    Checked,
    /// The protocol cannot say this by mistake.
    Confirmed,
    /// A `Success` of a protocol that may report one for a lost node, not looked into because that
    /// was not wanted or not allowed.
    Unchecked,
}

impl Confidence {
    /// Returns the stable name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Confirmed => "confirmed",
            Self::Unchecked => "unchecked",
        }
    }
}

/// What channel 3 said.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The command ended with this code.
    Exited {
        /// The command's own code.
        code: u8,
    },
    /// Something failed, and the text does not say that the command never ran.
    Failed {
        /// Machine-readable reason, where given.
        reason: Option<String>,
        /// Foreign text: escape it before a person sees it.
        message: String,
    },
    /// The runtime could not start the command.
    NotStarted {
        /// Machine-readable reason, where given.
        reason: Option<String>,
        /// Foreign text: escape it before a person sees it.
        message: String,
    },
    /// The channel held something that is no status.
    Unreadable {
        /// What is wrong, with an excerpt that is already escaped.
        problem: String,
    },
}

/// The most that channel 3 may say.
pub const STATUS_LIMIT: usize = 64 * 1024;

/// Reads what came on channel 3, or `None` while it may be unfinished.
///
/// `touched` tells whether any byte of output came: a failure to start is only believed when none
/// did. `done` tells that no more will come.
#[must_use]
pub fn read(form: StatusForm, payload: &[u8], touched: bool, done: bool) -> Option<Verdict> {
    if payload.is_empty() {
        return None;
    }
    if payload.len() > STATUS_LIMIT {
        let problem = format!("the status is longer than {STATUS_LIMIT} bytes");
        return Some(Verdict::Unreadable { problem });
    }
    match form {
        StatusForm::Text => {
            done.then(|| failure(None, String::from_utf8_lossy(payload).into_owned(), touched))
        }
        StatusForm::Object => match serde_json::from_slice::<Status>(payload) {
            Ok(status) => Some(status.verdict(payload, touched)),
            Err(error) if error.is_eof() && !done => None,
            Err(_) => Some(unreadable("the status is not a Status object", payload)),
        },
    }
}

/// Tells whether this message of a failure shows that the command never ran.
///
/// The texts come from `tests/vectors/start_failure.json`: containerd, CRI-O, cri-dockerd and the
/// API server's own. They are matched at the places where those programs put them.
#[must_use]
pub fn is_start_failure(message: &str) -> bool {
    let message = bare(message);
    let starts = START_FAILURES.iter().any(|text| message.starts_with(text));
    let in_container = RUNTIME_PREFIXES
        .iter()
        .filter_map(|prefix| message.strip_prefix(prefix))
        .any(|rest| RUNTIME_FAILURES.iter().any(|text| rest.contains(text)));
    starts || in_container
}

/// Tells whether this is the failure of cri-dockerd behind Kubernetes 1.36 (`v4` works there).
#[must_use]
pub fn is_cri_dockerd(message: &str) -> bool {
    let message = bare(message);
    message.starts_with(CRI_DOCKERD)
}

/// Returns a message without what the API server puts before it, once for each hop that did.
fn bare(message: &str) -> &str {
    message.trim_start_matches("Internal error occurred: ")
}

/// Mirantis/cri-dockerd#569: its streaming URL has no host.
const CRI_DOCKERD: &str = "error sending request: Post \"//";

const START_FAILURES: &[&str] = &[
    CRI_DOCKERD,
    "container not found (\"",
    "unable to upgrade connection: container not found",
    "error dialing backend: ",
    "failed to find container ",
    "container is not created or running",
];

/// What runtimes put before their own words (CRI streaming server, containerd, CRI-O).
const RUNTIME_PREFIXES: &[&str] = &[
    "error executing command in container: ",
    "error attaching to container: ",
    "failed to exec in container: ",
];

const RUNTIME_FAILURES: &[&str] = &[
    "failed to start exec ",
    "failed to create exec ",
    "unable to start container process",
    "container is in CONTAINER_",
    "container is not created or running",
    "failed to find container",
    "failed to load task",
    "task not found",
];

#[derive(Deserialize)]
struct Status {
    status: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    causes: Option<Vec<Cause>>,
}

#[derive(Deserialize)]
struct Cause {
    // The Go field is called Type; on the wire it is "reason".
    reason: Option<String>,
    message: Option<String>,
}

impl Status {
    fn verdict(self, payload: &[u8], touched: bool) -> Verdict {
        match (self.status.as_deref(), self.reason.as_deref()) {
            (Some("Success"), _) => Verdict::Exited { code: 0 },
            (Some("Failure"), Some("NonZeroExitCode")) => match self.exit_code() {
                Some(code) if code != 0 => Verdict::Exited { code },
                _ => unreadable("the status names no exit code between 1 and 255", payload),
            },
            (Some("Failure"), _) => failure(self.reason, self.message.unwrap_or_default(), touched),
            _ => unreadable("the status says neither Success nor Failure", payload),
        }
    }

    /// client-go remotecommand/v4.go: the cause with reason `ExitCode`; kubectl reads eight bits.
    fn exit_code(&self) -> Option<u8> {
        let causes = self.details.as_ref()?.causes.as_ref()?;
        let cause = causes
            .iter()
            .find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
        cause.message.as_deref()?.parse().ok()
    }
}

fn failure(reason: Option<String>, message: String, touched: bool) -> Verdict {
    if !touched && is_start_failure(&message) {
        Verdict::NotStarted { reason, message }
    } else {
        Verdict::Failed { reason, message }
    }
}

fn unreadable(what: &str, payload: &[u8]) -> Verdict {
    Verdict::Unreadable {
        problem: format!("{what}: {}", excerpt(payload, 200)),
    }
}

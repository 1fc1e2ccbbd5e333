//! What a person should be told although nothing failed.
//!
//! Lives here: the notices and their words. Never here: who prints them, colours.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::protocol::subprotocol::Subprotocol;
use crate::protocol::text::escape;

/// Is called with every notice, from whatever task has one to give.
pub type Observer = Arc<dyn Fn(&Notice) + Send + Sync>;

/// How much a notice matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Level {
    /// For those who asked for more (`-v=1`).
    Detail,
    /// For everybody who did not ask for quiet.
    Note,
    /// A warning, which is shown with the word `Warning`.
    Warning,
}

/// Something worth telling that is no error. Its `Display` is one line without foreign controls.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A container is about to be attached to: what is typed and shown goes into its log.
    Attaching {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// A pod was chosen among those of a workload.
    ChosenPod {
        /// The pod.
        pod: String,
        /// How many there were to choose from.
        count: usize,
        /// The container of the pod.
        container: String,
    },
    /// A container was taken because none was named.
    DefaultedContainer {
        /// The container.
        container: String,
        /// All containers of the pod as kubectl lists them.
        all: Vec<String>,
    },
    /// The certificate of the server is not checked.
    InsecureTls {
        /// The server.
        server: String,
    },
    /// A kubeconfig that others can change is about to run a program.
    KubeconfigTrust {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something about where is listened: an address that this machine has not, another number.
    Listening {
        /// What it is.
        note: String,
    },
    /// A terminal was wanted, but the container was made without one.
    NoTerminal {
        /// The container.
        container: String,
    },
    /// A credential plugin said something on its error output.
    Plugin {
        /// The plugin.
        command: String,
        /// One line of it.
        line: String,
    },
    /// A credential plugin has been running for long.
    PluginSlow {
        /// The plugin.
        command: String,
        /// For how long, in seconds.
        seconds: u64,
        /// When it will be stopped, in seconds.
        limit: u64,
    },
    /// The server refused a subprotocol and the next one is tried.
    ProtocolFallback {
        /// What was refused.
        refused: Subprotocol,
        /// What is offered now.
        next: Subprotocol,
    },
    /// The log is not to be had over WebSocket: it is followed over HTTP, where a dead peer is noticed
    /// by TCP alone.
    LogFallback {
        /// Why not.
        reason: String,
    },
    /// Pods may be read, but not watched: changes are noticed later.
    PodsNotWatched {
        /// How often they are looked at, in seconds.
        seconds: u64,
        /// What the server said.
        reason: String,
    },
    /// Pods may not be read, so that restarts of a container whose log is followed are not known of.
    PodsUnknown {
        /// What the server said.
        reason: String,
    },
    /// The server sent a `Warning` header.
    ServerWarning {
        /// Its text.
        text: String,
    },
    /// The pod names a default container that it does not have; another one is taken.
    WrongDefault {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The pod or its container does not run yet.
    Waiting {
        /// The pod or the selection of pods.
        target: String,
        /// State and reason.
        reason: String,
    },
}

impl Notice {
    /// Returns how much it matters.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::ProtocolFallback { .. } => Level::Detail,
            Self::InsecureTls { .. }
            | Self::KubeconfigTrust { .. }
            | Self::ServerWarning { .. } => Level::Warning,
            _ => Level::Note,
        }
    }

    /// Returns the stable name, in snake case.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Attaching { .. } => "attaching",
            Self::ChosenPod { .. } => "chosen_pod",
            Self::DefaultedContainer { .. } => "defaulted_container",
            Self::InsecureTls { .. } => "insecure_tls",
            Self::Listening { .. } => "listening",
            Self::LogFallback { .. } => "log_fallback",
            Self::PodsNotWatched { .. } => "pods_not_watched",
            Self::PodsUnknown { .. } => "pods_unknown",
            Self::WrongDefault { .. } => "wrong_default",
            Self::KubeconfigTrust { .. } => "kubeconfig_trust",
            Self::NoTerminal { .. } => "no_terminal",
            Self::Plugin { .. } => "plugin",
            Self::PluginSlow { .. } => "plugin_slow",
            Self::ProtocolFallback { .. } => "protocol_fallback",
            Self::ServerWarning { .. } => "server_warning",
            Self::Waiting { .. } => "waiting",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // kubectl pkg/cmd/attach/attach.go: the same words.
            Self::Attaching { .. } => f.write_str(
                "All commands and output from this session will be recorded in container logs, \
                 including credentials and sensitive information passed through the command prompt.",
            ),
            Self::ChosenPod {
                pod,
                count,
                container,
            } => {
                write!(f, "Using pod/{pod} (1 of {count}), container {container:?}")
            }
            // kubectl pkg/cmd/util/podcmd/podcmd.go: the same words.
            Self::DefaultedContainer { container, all } => {
                write!(
                    f,
                    "Defaulted container {container:?} out of: {}",
                    all.join(", ")
                )
            }
            Self::InsecureTls { server } => {
                write!(
                    f,
                    "the certificate of {server} is not checked (insecure-skip-tls-verify)"
                )
            }
            Self::KubeconfigTrust { path, problem } => write!(
                f,
                "{} {problem}, and it makes a program run as you",
                escape(&path.display().to_string())
            ),
            // kubectl pkg/cmd/attach/attach.go: the same words.
            Self::NoTerminal { container } => write!(
                f,
                "error: Unable to use a TTY - container {} did not allocate one",
                escape(container)
            ),
            Self::Plugin { command, line } => write!(f, "{}: {}", escape(command), escape(line)),
            Self::PluginSlow {
                command,
                seconds,
                limit,
            } => write!(
                f,
                "the credential plugin {} has been running for {seconds}s, it is stopped after {limit}s",
                escape(command)
            ),
            Self::ProtocolFallback { refused, next } => {
                write!(f, "the server refused {refused}, trying {next}")
            }
            Self::Listening { note } => f.write_str(&escape(note)),
            Self::LogFallback { reason } => write!(
                f,
                "the log is followed over HTTP, without pings: {}",
                escape(reason)
            ),
            Self::PodsNotWatched { seconds, reason } => write!(
                f,
                "pods are not watched, but looked at every {seconds}s: {}",
                escape(reason)
            ),
            Self::PodsUnknown { reason } => write!(
                f,
                "restarts of the container cannot be noticed: {}",
                escape(reason)
            ),
            // kubectl pkg/polymorphichelpers/logsforobject.go: the same words.
            Self::WrongDefault { container, pod } => write!(
                f,
                "Default container name {:?} not found in pod {}",
                escape(container),
                escape(pod)
            ),
            Self::ServerWarning { text } => f.write_str(&escape(text)),
            Self::Waiting { target, reason } => {
                write!(f, "waiting for {}: {}", escape(target), escape(reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaulted_container_is_told_in_the_words_of_kubectl() {
        let all = ["a", "b", "dbg (ephem)", "init (init)"]
            .map(str::to_owned)
            .to_vec();
        let notice = Notice::DefaultedContainer {
            container: "a".to_owned(),
            all,
        };
        let text = "Defaulted container \"a\" out of: a, b, dbg (ephem), init (init)";
        assert_eq!(
            (notice.to_string().as_str(), notice.level()),
            (text, Level::Note)
        );
    }

    #[test]
    fn foreign_text_cannot_steer_a_terminal() {
        let notice = Notice::ServerWarning {
            text: "a\x1b[2Jb".to_owned(),
        };
        assert_eq!(notice.to_string(), "a\\u{1b}[2Jb");
    }
}

//! What is lost, when, and who had a stream open.

use std::fmt;

use super::super::fixture::Translate;

/// What is lost while the command runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Loss {
    /// Killed and started again; the node with runtime and containers.
    Restart(Part),
    /// Its connections towards the container are reset; both ends live on.
    Cut(Part),
    /// Stopped, as a machine that hangs.
    Pause(Part),
    /// The container's main process is killed, and the command with it.
    Kill,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    ApiServer,
    Node,
}

pub(super) const LOSSES: [Loss; 7] = [
    Loss::Cut(Part::Node),
    Loss::Cut(Part::ApiServer),
    Loss::Pause(Part::Node),
    Loss::Pause(Part::ApiServer),
    Loss::Restart(Part::Node),
    Loss::Restart(Part::ApiServer),
    Loss::Kill,
];

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiServer => "apiserver",
            Self::Node => "node",
        })
    }
}

/// The fixture's own words: this is the order.
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart(part) => write!(f, "restart {part}"),
            Self::Cut(part) => write!(f, "cut {part}"),
            Self::Pause(part) => write!(f, "pause {part}"),
            Self::Kill => f.write_str("kill web-0 app"),
        }
    }
}

/// When it is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum When {
    /// After the first bytes of output.
    Start,
    /// While output flows.
    Middle,
    /// After the last byte of output, before the command ends.
    End,
}

pub(super) const MOMENTS: [When; 3] = [When::Start, When::Middle, When::End];

impl When {
    /// A command that has come exactly this far once the mark was printed.
    fn script(self) -> &'static str {
        match self {
            Self::Start => "echo MARK; sleep 120",
            Self::Middle => "seq 1 1000; echo MARK; exec \"$0\" log 10ms",
            Self::End => "seq 1 10000; echo MARK; sleep 120",
        }
    }

    /// Whether this is an intact beginning of what the command prints, up to the mark at least.
    pub(super) fn is_output(self, stdout: &[u8]) -> bool {
        let numbers = |last: u32| (1..=last).map(|number| format!("{number}\n"));
        let text: String = match self {
            Self::Start => "MARK\n".to_owned(),
            Self::Middle => {
                // Each tenth line goes to standard error. They are more than the seconds of a test.
                let lines = (1..100_000).filter(|line| line % 10 != 0);
                let lines = lines.map(|line| format!("line {line}\n"));
                let begin = numbers(1000).chain(["MARK\n".to_owned()]);
                begin.chain(lines).collect()
            }
            Self::End => numbers(10_000).chain(["MARK\n".to_owned()]).collect(),
        };
        let mark = text.find("MARK\n").unwrap() + "MARK\n".len();
        stdout.len() >= mark && text.as_bytes().starts_with(stdout)
    }
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Via {
    /// Its own choice: v5, and SPDY where nobody translates.
    Kubectl,
    V4,
    V5,
}

/// One client with its stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Case {
    pub(super) via: Via,
    pub(super) when: When,
    pub(super) stdin: bool,
}

impl Case {
    /// Everyone who is there when something is lost.
    pub(super) fn all(translate: Translate) -> Vec<Self> {
        let mut all = Vec::new();
        for via in [Via::Kubectl, Via::V4, Via::V5] {
            if via == Via::V5 && matches!(translate, Translate::Nobody) {
                continue;
            }
            for when in MOMENTS {
                all.extend([false, true].map(|stdin| Self { via, when, stdin }));
            }
        }
        all
    }

    /// The words after `exec` and the client's own flags. The writer is a program of the fixture:
    /// containers see the files of this machine.
    pub(super) fn words(self, writer: &str) -> Vec<&str> {
        let mut words = vec!["web-0", "-c", "app"];
        if self.stdin {
            words.push("-i");
        }
        words.extend(["--", "sh", "-c", self.when.script(), writer]);
        words
    }
}

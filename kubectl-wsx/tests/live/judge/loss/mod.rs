//! Truth under loss: what ends, when, over which protocol; what came back on the wire, what kubectl
//! says, what wsx says.
//!
//! Each loss is paid once: all clients have their streams open, at each of the three moments, when it
//! comes. The table is printed, and is the one in tests/real/README.md. What it must never hold: an
//! exit code of 0 from wsx, but for the blind spot of v5 that is declared here ([`blind_spot`]).

mod case;
mod stream;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use self::case::{Case, LOSSES, Loss, Part, Via};
use self::stream::{End, Stream};
use self::table::Table;
use super::fixture::{Fixture, Translate};
use crate::support::at;

/// What has not ended so long after a loss hangs.
const LONGEST: Duration = Duration::from_secs(45);

/// The limits of wsx, where only time can tell that something is lost.
fn limits(translate: Translate, loss: Loss) -> &'static [&'static str] {
    match (translate, loss) {
        // The API server answers our pings for a node that hangs: the last limit ends that. The one
        // before it must be more than a busy machine takes to answer.
        (Translate::ApiServer, Loss::Pause(Part::Node)) => &[
            "--keepalive=500ms",
            "--keepalive-timeout=10s",
            "--timeout=30s",
        ],
        (_, Loss::Pause(_)) => &["--keepalive=500ms", "--keepalive-timeout=3s"],
        _ => &[],
    }
}

/// How long kubectl is watched where only time can tell: its own limit is a minute.
const WATCH: Duration = Duration::from_secs(5);

/// What is told by v5 as a success that no client can see through.
///
/// Whoever translates v5 says Success when its connection towards the container breaks. Afterwards
/// node, pod and container are well: the second look of wsx finds nothing.
fn blind_spot(translate: Translate, loss: Loss, via: Via) -> bool {
    let behind_the_translator = match loss {
        Loss::Cut(Part::Node) => true,
        Loss::Cut(Part::ApiServer) => matches!(translate, Translate::ApiServer),
        _ => false,
    };
    via == Via::V5 && behind_the_translator
}

/// Fills the table and judges it.
pub(super) fn table() {
    let begin = Instant::now();
    let mut table = Table::begin();
    for translate in [Translate::Kubelet, Translate::ApiServer, Translate::Nobody] {
        let Some(mut fixture) = Fixture::start(translate) else {
            continue;
        };
        for loss in LOSSES {
            let ends = lose(&mut fixture, translate, loss);
            for (case, end, status) in &ends {
                if case.via != Via::Kubectl {
                    table.judge(translate, loss, *case, end, status);
                }
            }
            table.add(translate, loss, &ends);
        }
    }
    table.finish();
    println!("{} streams in {:?}", table.streams(), begin.elapsed());
}

/// A client, its end and its status file (wsx only).
type Ended = (Case, End, Value);

/// Lets all clients open their streams and come to their moments, has something lost, and waits for
/// their ends. Afterwards everything is well again.
fn lose(fixture: &mut Fixture, translate: Translate, loss: Loss) -> Vec<Ended> {
    fixture.order("wait");
    let folder = tempfile::tempdir().unwrap();
    let limits = limits(translate, loss);
    let mut streams: Vec<(Case, Stream)> = Case::all(translate)
        .into_iter()
        .map(|case| {
            (
                case,
                Stream::start(&mut client(fixture, limits, case, &folder)),
            )
        })
        .collect();
    for (_, stream) in &mut streams {
        stream.reach_the_mark();
    }
    let begin = Instant::now();
    fixture.order(&loss.to_string());
    let only_time_tells = matches!(loss, Loss::Pause(_));
    let ends = streams
        .into_iter()
        .map(|(case, stream)| {
            let watched = case.via == Via::Kubectl && only_time_tells;
            let end = stream.end(begin + if watched { WATCH } else { LONGEST });
            // Empty when it had to be ended.
            let status = fs::read(status_path(&folder, case)).unwrap_or_default();
            let status = serde_json::from_slice(&status).unwrap_or_default();
            (case, end, status)
        })
        .collect();
    if let Loss::Pause(part) = loss {
        fixture.order(&format!("continue {part}"));
    }
    ends
}

fn client(fixture: &Fixture, limits: &[&str], case: Case, folder: &TempDir) -> Command {
    let writer = fixture.kubectl.path().with_file_name("wsx-pod");
    let writer = writer.to_string_lossy();
    let protocol = match case.via {
        Via::Kubectl => {
            let words = ["exec"].into_iter().chain(case.words(&writer));
            return fixture.kubectl.command(&fixture.kubeconfig, words);
        }
        Via::V4 => "--protocol=v4",
        Via::V5 => "--protocol=v5",
    };
    let mut command = at(&fixture.kubeconfig, ["exec", protocol]);
    let path = status_path(folder, case);
    command
        .args(limits)
        .arg(format!("--status-file={}", path.display()));
    command.args(case.words(&writer));
    command
}

fn status_path(folder: &TempDir, case: Case) -> PathBuf {
    let Case { via, when, stdin } = case;
    folder.path().join(format!("{via:?}-{when:?}-{stdin}"))
}

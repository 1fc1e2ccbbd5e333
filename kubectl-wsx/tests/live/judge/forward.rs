//! port-forward on real Kubernetes: kubectl beside, and everything that can be lost.
//!
//! Clients loop over requests while something befalls the cluster. The port never refuses, no reply is
//! cut and then ended as if it were whole, and requests are answered again; kubectl runs beside and is
//! told. Where the pod's own process is killed the kernel ends its connections politely (FIN) in the
//! middle of a reply, as without any port-forward: there a short one is told, and is no mistake.

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fixture::{Fixture, Translate};
use crate::forward::{Forwarding, LIMIT, beside, request};
use crate::support::{at, words};

/// What befalls: an order to the fixture, or kubectl's words, in which `{pod}` is the pod that is used;
/// and whether pods live on.
const LOSSES: [(&str, Befall, bool); 6] = [
    ("cut apiserver", Befall::Order, true),
    ("restart apiserver", Befall::Order, true),
    ("restart kubelet", Befall::Order, true),
    ("restart node", Befall::Order, false),
    ("delete pod {pod} --wait=true", Befall::Kubectl, false),
    ("rollout restart deploy/roll", Befall::Kubectl, false),
];

#[derive(Clone, Copy, Eq, PartialEq)]
enum Befall {
    Order,
    Kubectl,
}

/// How many clients loop over requests.
const CLIENTS: usize = 8;
/// Bytes of a reply: more than one piece of anything.
const SIZE: usize = 300_000;

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn kubectl_and_wsx_agree_on_ports_of_real_kubernetes() {
    let Some(fixture) = Fixture::start(Translate::Kubelet) else {
        return;
    };
    beside::compare_all("real", &fixture.kubeconfig, &fixture.kubectl);
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn ports_outlive_what_befalls_real_kubernetes() {
    let Some(mut fixture) = Fixture::start(Translate::Kubelet) else {
        return;
    };
    println!(
        "| what befalls | kubectl | wsx answers again after | answered | reset | refused | short |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (what, befall, pods_live) in LOSSES {
        outlives(&mut fixture, what, befall, pods_live);
        fixture.order("wait");
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    whole: AtomicU64,
    reset: AtomicU64,
    refused: AtomicU64,
    /// Replies that ended too early as if that were all.
    short: AtomicU64,
}

impl Seen {
    fn count(&self, port: u16) -> bool {
        let counter = match request(port, &format!("/bytes?n={SIZE}")) {
            Ok(body) => {
                assert!(body.len() == SIZE && body.iter().all(|byte| *byte == 0));
                self.whole.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => &self.reset,
                ErrorKind::ConnectionRefused => &self.refused,
                ErrorKind::UnexpectedEof => &self.short,
                other => panic!("{other}"),
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
        false
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [&self.whole, &self.reset, &self.refused, &self.short];
        let all = all.map(|counter| counter.load(Ordering::Relaxed).to_string());
        write!(f, "{}", all.join(" | "))
    }
}

fn outlives(fixture: &mut Fixture, what: &str, befall: Befall, pods_live: bool) {
    let line = "port-forward --address=127.0.0.1 svc/roll :80";
    let ours = format!("{line} -o json");
    let mut ours = Forwarding::start(&mut at(&fixture.kubeconfig, words(&ours)));
    let ready = ours.event("ready");
    let port = ready["ports"][0]["local"].as_u64().unwrap() as u16;
    let arguments: Vec<_> = words(line).map(str::to_owned).collect();
    let mut kubectl = fixture.kubectl.command(&fixture.kubeconfig, &arguments);
    let mut theirs = Forwarding::start(&mut kubectl);
    let their_port = theirs.port();
    let their_pod = request(their_port, "/").unwrap();
    let (seen, stop) = (Seen::default(), AtomicBool::new(false));
    let recovery = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    seen.count(port);
                }
            });
        }
        await_more(&seen, 20);
        let pod = ready["pod"].as_str().unwrap();
        match befall {
            Befall::Order => fixture.order(what),
            Befall::Kubectl => {
                let theirs = String::from_utf8_lossy(&their_pod).trim().to_owned();
                let mut line = what.replace("{pod}", pod);
                if line.contains(pod) && theirs != pod {
                    // Both lose theirs.
                    line = line.replace(pod, &format!("{pod} {theirs}"));
                }
                // A roll-out is over once the old pods are.
                for line in [&*line, "rollout status deploy/roll"] {
                    let run = fixture.kubectl.run(&fixture.kubeconfig, words(line));
                    assert!(run.status.success(), "{run:?}");
                }
            }
        }
        let begin = Instant::now();
        await_more(&seen, 1);
        let recovery = begin.elapsed();
        await_more(&seen, 50);
        stop.store(true, Ordering::Relaxed);
        recovery
    });
    let serves = request(their_port, "/").is_ok();
    let fate = match theirs.child.try_wait().unwrap() {
        None if serves => "goes on".to_owned(),
        None => "lives, and does not answer".to_owned(),
        Some(status) => format!("ended with {:?}", status.code()),
    };
    if theirs.child.try_wait().unwrap().is_none() {
        theirs.interrupt();
    }
    println!(
        "| `{what}` | {fate} | {:.1} s | {seen} |",
        recovery.as_secs_f64()
    );
    assert_eq!(seen.refused.load(Ordering::Relaxed), 0, "{what}");
    if pods_live {
        assert_eq!(seen.short.load(Ordering::Relaxed), 0, "{what}");
    }
    assert!(recovery < Duration::from_secs(10), "{what}: {recovery:?}");
    let run = ours.interrupt();
    let text = String::from_utf8(run.stdout).unwrap();
    let again = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "ready" && event["away"].is_number());
    let reconnects = again.count();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    if befall == Befall::Order {
        assert!(reconnects > 0, "{what}: it was not lost: nothing was shown");
    }
}

/// Waits until so many more requests were answered.
fn await_more(seen: &Seen, count: u64) {
    let begin = Instant::now();
    let aim = seen.whole.load(Ordering::Relaxed) + count;
    while seen.whole.load(Ordering::Relaxed) < aim {
        assert!(begin.elapsed() < LIMIT, "only {seen} answers");
        std::thread::yield_now();
    }
}

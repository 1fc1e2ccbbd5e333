//! kubectl and wsx side by side on logs and attach: `kubectl-logs-real.json`, `kubectl-attach.json`.

use std::path::Path;

use super::writer::until;
use crate::judge::fixture::{Fixture, Translate};
use crate::side_by_side::{V5, compare_file};
use crate::support::run;

/// Pods whose logs stay as they are: `tests/real/logs.json`.
fn make_pods(fixture: &mut Fixture) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/real/logs.json");
    let create = ["create", "-f", manifest.to_str().unwrap()];
    run(&mut fixture.kubectl.command(&fixture.kubeconfig, create)).expect(0, &[]);
    let restarts = |fixture: &Fixture, count: &str| {
        let status = "jsonpath={.status.containerStatuses[?(@.ready==true)].restartCount}";
        has(fixture, &["get", "pod", "again-0", "-o", status], count)
    };
    until("again-0 runs", || restarts(fixture, "0"));
    let printed = |fixture: &Fixture| has(fixture, &["logs", "again-0"], "begun\n");
    until("again-0 has printed all", || printed(fixture));
    fixture.order("kill again-0 main");
    let phase = ["get", "pod", "lines-0", "-o", "jsonpath={.status.phase}"];
    until("lines-0 has ended", || has(fixture, &phase, "Succeeded"));
    until("lines-1 has printed all", || {
        has(fixture, &["logs", "lines-1", "--tail=1"], "110\n")
    });
    until("again-0 runs again", || restarts(fixture, "1"));
    until("again-0 has printed all again", || printed(fixture));
}

/// Whether kubectl prints this, now.
fn has(fixture: &Fixture, words: &[&str], what: &str) -> bool {
    let output = fixture.kubectl.run(&fixture.kubeconfig, words);
    String::from_utf8_lossy(&output.stdout) == what
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn kubectl_and_wsx_agree_on_real_logs_and_attach() {
    let Some(mut fixture) = Fixture::start(Translate::Kubelet) else {
        return;
    };
    make_pods(&mut fixture);
    for file in ["kubectl-logs-real.json", "kubectl-attach.json"] {
        compare_file(file, "real", V5::Has, &fixture.kubeconfig, &fixture.kubectl);
    }
}

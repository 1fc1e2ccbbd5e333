//! What the real Kubernetes answered (`scenarios/raw.recorded.json`) is what the embedded cluster answers.
//!
//! The judge asks both, and records (`kubectl-wsx/tests/live/judge/raw.rs`); this needs no real one.

use std::collections::BTreeSet;

use wsx_tests::cluster::Cluster;
use wsx_tests::probe::{Cases, Recorded, Server, difference};

#[test]
fn the_embedded_cluster_answers_as_recorded_from_kubernetes() {
    let cluster = Cluster::spawn().unwrap();
    let cases = Cases::read().unwrap();
    let recorded = Recorded::read().unwrap();
    let mut wrong = Vec::new();
    for (gates, listener) in [
        ("kubelet-translates", "v1.36"),
        ("apiserver-translates", "v1.35"),
        ("none", "v1.28"),
    ] {
        let server = Server::embedded(&cluster, listener);
        for (name, case, offer) in cases.all().unwrap() {
            if case.real_only.is_some() {
                continue;
            }
            let said = recorded.answer(&name, gates);
            let said = said.unwrap_or_else(|| panic!("{name}: not recorded with {gates}"));
            let ours = server.ask(&cases, case, offer).unwrap();
            let lines = difference(("recorded", said), ("embedded", &ours));
            wrong.extend(lines.map(|lines| format!("  {name}, {gates}\n{lines}")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_recording_belongs_to_a_case() {
    let cases = Cases::read().unwrap();
    let asked = cases.all().unwrap();
    let asked: BTreeSet<&str> = asked.iter().map(|(name, ..)| &**name).collect();
    let recorded = Recorded::read().unwrap();
    assert_eq!(recorded.names().collect::<BTreeSet<_>>(), asked);
    assert_eq!(
        asked.len(),
        cases.all().unwrap().len(),
        "a name stands twice"
    );
}

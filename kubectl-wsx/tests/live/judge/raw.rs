//! The same raw requests (tests/scenarios/raw.json) to the real Kubernetes and to the embedded
//! cluster: every difference in status, headers, frames or end is one too many.

use std::time::Instant;

use wsx_tests::cluster::Cluster;
use wsx_tests::probe::{Cases, Recorded, Server, difference};

use super::fixture::{Fixture, Translate};
use crate::support::{pattern, run_with};

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn embedded_1_36_answers_as_the_kubelet_that_translates() {
    compare(Translate::Kubelet, "kubelet-translates", "v1.36");
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn embedded_1_35_answers_as_the_api_server_that_translates() {
    compare(Translate::ApiServer, "apiserver-translates", "v1.35");
}

#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn embedded_1_28_answers_as_where_nobody_translates() {
    compare(Translate::Nobody, "none", "v1.28");
}

/// A kubelet that a runtime resets drops output (README.md, "Output lost with Success"): ours must not. With a
/// runtime that closed at once, kubectl printed nothing in 9 of 100 of these.
#[test]
#[ignore = "real Kubernetes: `make judge` builds it and runs this, some minutes"]
fn output_survives_where_input_is_left_unread() {
    let Some(fixture) = Fixture::start(Translate::ApiServer) else {
        return;
    };
    let input = pattern(2 << 20);
    for _ in 0..100 {
        let words = ["exec", "-i", "web-0", "-c", "app", "--", "head", "-c", "5"];
        let mut kubectl = fixture.kubectl.command(&fixture.kubeconfig, words);
        run_with(&mut kubectl, &input)
            .expect(0, &[])
            .prints(&input[..5]);
    }
}

/// Asks both. `WSX_RECORD=1` writes down what the real one said, and compares afterwards.
fn compare(translate: Translate, gates: &str, listener: &str) {
    let Some(fixture) = Fixture::start(translate) else {
        return;
    };
    let mut recorded = Recorded::read().unwrap();
    let source = format!("recorded from Kubernetes {}", fixture.kubectl.version());
    if !recording() && recorded.source() != source {
        println!(
            "SKIPPED: {source} it would be, and is {}",
            recorded.source()
        );
        return;
    }
    let words = ["config", "view", "--raw", "--output=json"];
    let config = fixture.kubectl.run(&fixture.kubeconfig, words).stdout;
    let real = Server::real(&serde_json::from_slice(&config).unwrap()).unwrap();
    let cluster = Cluster::spawn().unwrap();
    let embedded = Server::embedded(&cluster, listener);
    let cases = Cases::read().unwrap();
    let all = cases.all().unwrap();

    let begin = Instant::now();
    let said: Vec<(String, Vec<String>)> = all
        .iter()
        .map(|(name, case, offer)| (name.clone(), real.ask(&cases, case, *offer).unwrap()))
        .collect();
    if recording() {
        recorded.replace(source, gates, said.clone());
        recorded.write().unwrap();
    }
    let mut wrong = Vec::new();
    let mut compared = 0;
    for ((name, case, offer), (_, said)) in all.iter().zip(&said) {
        let known = recorded.answer(name, gates).unwrap_or_default();
        if case.real_only.is_none() {
            compared += 1;
            let ours = embedded.ask(&cases, case, *offer).unwrap();
            wrong.extend(
                difference(("real", said), ("embedded", &ours))
                    .map(|lines| format!("  {name}\n{lines}")),
            );
        }
        wrong.extend(
            difference(("real", said), ("recorded", known))
                .map(|lines| format!("  {name}, WSX_RECORD=1 records anew\n{lines}")),
        );
    }
    println!(
        "{gates}: {} requests, {compared} of them to {listener}, {} differences, {:?}",
        all.len(),
        wrong.len(),
        begin.elapsed()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether to record is said by whoever starts the test"
)]
fn recording() -> bool {
    std::env::var_os("WSX_RECORD").is_some()
}

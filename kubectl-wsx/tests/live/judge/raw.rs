//! The same raw requests (tests/scenarios/raw.json) to the real Kubernetes and to the embedded
//! cluster: every difference in status, headers, frames or end is one too many.

use std::time::Instant;

use wsx_tests::cluster::Cluster;
use wsx_tests::probe::{Cases, Recorded, Server, difference};

use super::fixture::{Fixture, Translate};

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
    let (mut compared, mut cut_short) = (0, 0);
    for ((name, case, offer), (_, first)) in all.iter().zip(&said) {
        let known = recorded.answer(name, gates).unwrap_or_default();
        let mut said = first.clone();
        while is_cut_short(&said, known) && cut_short < CUT_SHORT {
            println!("{name}: the server left out output: {said:?}");
            cut_short += 1;
            said = real.ask(&cases, case, *offer).unwrap();
        }
        if case.real_only.is_none() {
            compared += 1;
            let ours = embedded.ask(&cases, case, *offer).unwrap();
            wrong.extend(
                difference(("real", &said), ("embedded", &ours))
                    .map(|lines| format!("  {name}\n{lines}")),
            );
        }
        wrong.extend(
            difference(("real", &said), ("recorded", known))
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

/// In how many answers of a run the real server may leave out the end of the output.
const CUT_SHORT: usize = 3;

/// Tells whether an answer is another one without some of its output, and ends alike: a real server now
/// and then reports Success without the last output of a command that reads its input.
fn is_cut_short(said: &[String], known: &[String]) -> bool {
    let length = |lines: &[String]| lines.iter().map(String::len).sum::<usize>();
    let is_output = |line: &String| line.starts_with("binary 1") || line.starts_with("text 1");
    let rest = |lines: &[String]| -> Vec<String> {
        let rest = lines.iter().filter(|line| !is_output(line));
        rest.cloned().collect()
    };
    length(said) < length(known) && rest(said) == rest(known)
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether to record is said by whoever starts the test"
)]
fn recording() -> bool {
    std::env::var_os("WSX_RECORD").is_some()
}

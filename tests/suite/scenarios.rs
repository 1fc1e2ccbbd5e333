//! `tests/scenarios/process.json` and `attach.json` through the core. The command line, Python and Node run the same list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wsx_core::{
    AttachOptions, Client, Config, Error, ErrorKind, ExecOptions, ExitStatus, Limits, Offer,
    Report, Size, Verify,
};
use wsx_tests::cluster::Cluster;

use crate::scenario::{
    EXPECT, Ended, LIMIT, cases, command, differences, input, pairs, read, verb,
};

#[tokio::test]
async fn every_process_ends_as_the_list_says() {
    let cluster = Cluster::start().await.unwrap();
    let mut wrong = Vec::new();
    for case in cases("process.json", "embedded") {
        wrong.extend(outcome(&case, &cluster).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_attach_ends_as_the_list_says() {
    let mut wrong = Vec::new();
    // Most of them wait.
    for some in cases("attach.json", "embedded").chunks(8) {
        let mut all = JoinSet::new();
        for case in some {
            let case = case.clone();
            all.spawn(async move {
                let cluster = Cluster::start().await.unwrap();
                outcome(&case, &cluster).await
            });
        }
        wrong.extend(all.join_all().await.concat());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a case, and returns what is not as expected.
async fn outcome(case: &Value, cluster: &Cluster) -> Vec<String> {
    match timeout(LIMIT, run(case, cluster.kubeconfig())).await {
        Ok(ended) => differences(case, &ended),
        Err(_) => vec![format!("{}: not over within {LIMIT:?}", case["name"])],
    }
}

#[test]
fn every_difference_is_noticed() {
    let expect =
        json!({"stdout": "out", "stderr": {"hex": "00"}, "kind": "lost", "close_code": 1001});
    let seen = |stdout: &str, stderr: &[u8], facts: Value| {
        let case = json!({"name": "x", "expect": expect});
        let facts = facts.as_object().unwrap().clone();
        let (stdout, stderr) = (stdout.into(), stderr.into());
        differences(
            &case,
            &Ended {
                stdout,
                stderr,
                facts,
            },
        )
        .len()
    };
    let right = json!({"kind": "lost", "close_code": 1001, "protocol": "not compared"});
    assert_eq!(seen("out", b"\0", right.clone()), 0);
    assert_eq!(seen("ou", b"\0", right.clone()), 1);
    assert_eq!(seen("out", b"", right), 1);
    assert_eq!(
        seen("out", b"\0", json!({"kind": "lost", "close_code": null})),
        1
    );
    assert_eq!(seen("out", b"\0", json!({"kind": "protocol"})), 1);
    assert_eq!(seen("out", b"\0", json!({"code": 0})), 2);
}

#[test]
fn a_name_that_nobody_compares_is_noticed() {
    let ended = |stdout: &str| Ended {
        stdout: stdout.into(),
        stderr: Vec::new(),
        facts: json!({"code": 0}).as_object().unwrap().clone(),
    };
    let case = json!({"name": "x", "expect": {"code": 0, "bogus": 1}});
    assert_eq!(differences(&case, &ended("")), ["x: nobody compares bogus"]);
    let case = json!({"name": "x", "expect": {"code": 0, "stdout": {"begin": "tick 1"}}});
    assert_eq!(differences(&case, &ended("tick 1\ntick")), [""; 0]);
    assert_eq!(differences(&case, &ended("tick")).len(), 1);
}

/// A misspelt name would be a check that never fails.
#[test]
fn every_name_in_the_list_is_known() {
    let api = read("vectors/api.json");
    let listed = |table: &str| -> BTreeSet<String> {
        let options = api["options"][table].as_array().unwrap().iter();
        options
            .map(|option| option["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let kinds = ErrorKind::ALL.map(ErrorKind::as_str);
    let known = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    };
    let keys = known(&[
        "name", "verb", "context", "connect", "target", "command", "options", "input", "expect",
        "only",
    ]);
    let mut names = BTreeSet::new();
    let files = ["process", "attach"].map(|file| read(&format!("scenarios/{file}.json")));
    for case in files
        .iter()
        .flat_map(|file| file["cases"].as_array().unwrap())
    {
        let name = case["name"].as_str().unwrap();
        let verb = verb(case);
        assert!(matches!(verb, "exec" | "attach"), "{name}: {verb}");
        assert!(names.insert((verb, name)), "{name}: twice");
        let options = case.get("options").unwrap_or(&Value::Null);
        let expect = &case["expect"];
        for (given, known) in [
            (case, &keys),
            (&case["expect"], &known(&EXPECT)),
            (
                case.get("connect").unwrap_or(&Value::Null),
                &listed("connect"),
            ),
            (options, &listed(verb)),
            (
                options.get("timeouts").unwrap_or(&Value::Null),
                &listed("timeouts"),
            ),
        ] {
            for key in given.as_object().into_iter().flat_map(Map::keys) {
                assert!(known.contains(key), "{name}: {key}");
            }
        }
        assert!(
            expect.get("code").is_some() != expect.get("kind").is_some(),
            "{name}"
        );
        let kind = expect.get("kind").and_then(Value::as_str);
        assert!(
            kind.is_none_or(|kind| kinds.contains(&kind)),
            "{name}: {kind:?}"
        );
        let only = case.get("only").and_then(Value::as_str);
        assert!(
            only.is_none_or(|only| matches!(only, "embedded" | "real")),
            "{name}: {only:?}"
        );
    }
}

async fn run(case: &Value, kubeconfig: &Path) -> Ended {
    let begun = async {
        let client = Client::connect(config(case, kubeconfig)).await?;
        let target = case["target"].as_str().unwrap();
        if verb(case) == "attach" {
            let mut attach = AttachOptions::default();
            attach.streams = options(case)?;
            return client.attach(target, attach).await;
        }
        client.exec(target, command(case), options(case)?).await
    };
    let process = match begun.await {
        Ok(process) => process,
        Err(error) => return ended(Bytes::new(), Bytes::new(), Err(error), None),
    };
    let has_terminal = process.has_terminal();
    let all = process
        .communicate(input(case).unwrap_or_default().into(), None)
        .await;
    let mut ended = ended(all.stdout, all.stderr, all.status, Some(all.report));
    let has_terminal = ("has_terminal".to_owned(), json!(has_terminal));
    ended.facts.extend([has_terminal]);
    ended
}

fn ended(
    stdout: Bytes,
    stderr: Bytes,
    status: Result<ExitStatus, Error>,
    report: Option<Report>,
) -> Ended {
    let protocol = report.as_ref().map(|report| report.protocol.name());
    let close_code = report.and_then(|report| report.close_code);
    let mut facts = Map::new();
    let mut fact = |name: &str, value| facts.insert(name.to_owned(), value);
    fact("protocol", json!(protocol));
    fact("close_code", json!(close_code));
    match status {
        Ok(status) => {
            fact("code", json!(status.code));
            fact("confidence", json!(status.confidence.as_str()));
        }
        Err(error) => {
            fact("kind", json!(error.kind().as_str()));
            fact("http_status", json!(error.http_status()));
            fact("reason", json!(error.reason()));
        }
    }
    Ended {
        stdout: stdout.into(),
        stderr: stderr.into(),
        facts,
    }
}

fn config(case: &Value, kubeconfig: &Path) -> Config {
    let mut config = Config::default().kubeconfig(kubeconfig.to_owned());
    if let Some(context) = case.get("context") {
        config = config.context(text(context));
    }
    for (name, value) in pairs(case, "connect") {
        config = match name {
            "certificate_authority" => config.certificate_authority(PathBuf::from(text(value))),
            "impersonate" => config.impersonate(text(value)),
            "insecure_skip_tls_verify" => config.insecure_skip_tls_verify(value == true),
            "kubeconfig" => config.kubeconfig(PathBuf::from(text(value))),
            "namespace" => config.namespace(text(value)),
            "server" => config.server(text(value)),
            "token" => config.token(text(value)),
            _ => panic!("{name}: this lane does not know it"),
        };
    }
    config
}

/// What cannot even be said in Rust's types is `Invalid`, as it is where they are texts.
fn options(case: &Value) -> Result<ExecOptions, Error> {
    let invalid =
        |name: &str, value: &Value| Error::new(ErrorKind::Invalid, format!("{name}: {value}"));
    let mut options = ExecOptions::default().stdin(case.get("input").is_some());
    for (name, value) in pairs(case, "options") {
        options = match name {
            "container" => options.container(text(value)),
            "namespace" => options.namespace(text(value)),
            "preflight" => options.preflight(value == true),
            "protocol" => {
                let only = text(value).parse().map_err(|_| invalid(name, value))?;
                options.protocol(Offer::Only(only))
            }
            "size" => options.size(Size::new(number(&value[0]), number(&value[1]))),
            "stderr" => options.stderr(value == true),
            "stdout" => options.stdout(value == true),
            "timeouts" => timeouts(options, value),
            "tty" => options.tty(value == true),
            "verify" => options.verify(match value.as_str() {
                Some("never") => Verify::Never,
                _ => return Err(invalid(name, value)),
            }),
            _ => panic!("{name}: this lane does not know it"),
        };
    }
    Ok(options)
}

fn timeouts(mut options: ExecOptions, timeouts: &Value) -> ExecOptions {
    let mut limits = Limits::default();
    for (name, value) in timeouts.as_object().unwrap() {
        let limit = Duration::from_secs_f64(value.as_f64().unwrap());
        match &**name {
            "connect" => limits = limits.connect(limit),
            "keepalive" => limits = limits.keepalive(limit),
            "keepalive_timeout" => limits = limits.keepalive_timeout(limit),
            "pod_running" => options = options.pod_running_timeout(limit),
            "stall" => limits = limits.stall(limit),
            "total" => options = options.timeout(limit),
            _ => panic!("{name}: this lane does not know it"),
        }
    }
    options.limits(limits)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn number(value: &Value) -> u16 {
    u16::try_from(value.as_u64().unwrap()).unwrap()
}

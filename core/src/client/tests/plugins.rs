//! Credential plugins: shell scripts that behave well or badly.

#![cfg(unix)]

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::super::config::Environment;
use super::super::credential::Issued;
use super::super::dial::Dialer;
use super::super::plugin::Plugin;
use super::super::settings::{Settings, Source};
use super::server::{Reply, Server, header};
use super::{Home, Told, direct};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::request::Limits;
use crate::session::transport::Dial as _;

const V1: &str = "client.authentication.k8s.io/v1";
const V4: &str = "v4.channel.k8s.io";

/// A plugin that runs this script, with more fields of `exec`.
fn home(server: &str, script: &str, more: &str) -> Home {
    let exec = format!("exec: {{apiVersion: {V1}, command: ./plugin{more}}}");
    let home = Home::new(server, "", &exec);
    home.write("plugin", &format!("#!/bin/sh\n{script}"));
    home
}

/// Prints a credential with this status.
fn printing(status: &str) -> String {
    format!("echo '{{\"apiVersion\":\"{V1}\",\"kind\":\"ExecCredential\",\"status\":{status}}}'\n")
}

fn plugin(home: &Home, told: &Told) -> Result<Box<Plugin>> {
    let environment = Environment::of(&[("PATH", "/bin:/usr/bin")], home.0.path());
    let settings = Settings::load(&home.config().observer(told.observer()), &environment)?;
    let Source::Plugin(plugin) = settings.source else {
        panic!("no plugin")
    };
    Ok(plugin)
}

async fn run(script: &str) -> Result<Issued> {
    let home = home("https://api", script, "");
    plugin(&home, &Told::default())?.run().await
}

async fn failing(script: &str) -> Error {
    let error = run(script).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Auth);
    error
}

/// kube-client.md A.6 #1.
#[tokio::test]
async fn divergence_1_a_plugin_runs_once_for_many_requests() {
    let server = Server::start(|_| Reply::session(V4)).await;
    let script = format!(
        "echo run >> \"$(dirname \"$0\")/runs\"\n{}",
        printing("{\"token\":\"t\"}")
    );
    let home = home(&server.url(), &script, "");
    let client = home
        .client_with(home.config(), &[("PATH", "/bin:/usr/bin")])
        .await
        .unwrap();
    let (first, second) = tokio::join!(
        client.exec("web-0", ["true"], direct()),
        client.exec("web-1", ["true"], direct())
    );
    assert!(first.is_ok() && second.is_ok());
    client.exec("web-2", ["true"], direct()).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(home.0.path().join("runs")).unwrap(),
        "run\n"
    );
    assert_eq!(header(&server.heads()[2], "authorization"), ["Bearer t"]);
}

#[tokio::test]
async fn a_plugin_that_fails_runs_once_for_all_who_wait() {
    let home = home(
        "http://127.0.0.1:1",
        "echo run >> \"$(dirname \"$0\")/runs\"\nexit 3",
        "",
    );
    let client = home
        .client_with(home.config(), &[("PATH", "/bin:/usr/bin")])
        .await
        .unwrap();
    let attempts = (0..100).map(|_| client.exec("web-0", ["true"], direct()));
    for result in futures_util::future::join_all(attempts).await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Auth);
    }
    assert_eq!(
        std::fs::read_to_string(home.0.path().join("runs")).unwrap(),
        "run\n"
    );
}

#[tokio::test]
async fn a_401_runs_the_plugin_once_more() {
    let server = Server::start(|head| match head.contains("Bearer 2") {
        true => Reply::session(V4),
        false => Reply::status(401, "Unauthorized", "Unauthorized"),
    })
    .await;
    let count = "f=\"$(dirname \"$0\")/runs\"; echo x >> \"$f\"; n=$(wc -l < \"$f\" | tr -d ' ')\n";
    let script = format!("{count}{}", printing("{\"token\":\"'$n'\"}"));
    let home = home(&server.url(), &script, "");
    let client = home
        .client_with(home.config(), &[("PATH", "/bin:/usr/bin")])
        .await
        .unwrap();
    client.exec("web-0", ["true"], direct()).await.unwrap();
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_401_that_stays_ends_after_one_more_run() {
    let server = Server::start(|_| Reply::status(401, "Unauthorized", "Unauthorized")).await;
    let home = home(&server.url(), &printing("{\"token\":\"t\"}"), "");
    let client = home
        .client_with(home.config(), &[("PATH", "/bin:/usr/bin")])
        .await
        .unwrap();
    let error = client.exec("web-0", ["true"], direct()).await.unwrap_err();
    assert_eq!((error.kind(), server.lines().len()), (ErrorKind::Auth, 2));
}

#[tokio::test]
async fn a_credential_that_is_about_to_expire_is_not_used_again() {
    let server = Server::start(|_| Reply::session(V4)).await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(9);
    let status = format!("{{\"token\":\"t\",\"expirationTimestamp\":\"{soon}\"}}");
    let script = format!(
        "echo run >> \"$(dirname \"$0\")/runs\"\n{}",
        printing(&status)
    );
    let home = home(&server.url(), &script, "");
    let client = home
        .client_with(home.config(), &[("PATH", "/bin:/usr/bin")])
        .await
        .unwrap();
    for _ in 0..2 {
        client.exec("web-0", ["true"], direct()).await.unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(home.0.path().join("runs")).unwrap(),
        "run\nrun\n"
    );
}

#[tokio::test]
async fn json_and_yaml_are_read() {
    let issued = run(&printing("{\"token\":\"t\"}")).await.unwrap();
    assert_eq!(issued.token.unwrap().expose_secret(), "t");
    let yaml =
        format!("printf 'apiVersion: {V1}\\nkind: ExecCredential\\nstatus:\\n  token: t\\n'");
    assert_eq!(
        run(&yaml).await.unwrap().token.unwrap().expose_secret(),
        "t"
    );
}

#[tokio::test]
async fn a_certificate_needs_its_key() {
    let status = "{\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\"}";
    let certificate = run(&printing(status)).await.unwrap().certificate.unwrap();
    assert_eq!(
        (
            certificate.chain.as_slice(),
            certificate.key.expose_secret()
        ),
        (&b"c"[..], &b"k"[..])
    );
    let error = failing(&printing("{\"clientCertificateData\":\"c\"}")).await;
    assert_eq!(
        error.why(),
        Some("it printed a certificate or a key, but not both")
    );
}

#[tokio::test]
async fn what_is_no_credential_is_refused_without_being_quoted() {
    let other =
        "{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"kind\":\"ExecCredential\"}";
    for (script, why) in [
        (
            "echo hunter2".to_owned(),
            "it printed 8 bytes that are no ExecCredential",
        ),
        (
            printing("{}"),
            "it printed neither a token nor a certificate",
        ),
        (printing("null"), "it printed no status"),
        (
            format!("echo '{other}'"),
            "but printed \"client.authentication.k8s.io/v1beta1\"",
        ),
        (
            format!("echo '{{\"apiVersion\":\"{V1}\",\"kind\":\"Pod\"}}'"),
            "it printed the kind \"Pod\"",
        ),
        (
            printing("{\"token\":\"t\",\"expirationTimestamp\":\"x\"}"),
            "expirationTimestamp \"x\" is no",
        ),
        (
            "head -c 2000000 /dev/zero".to_owned(),
            "it printed more than 1048576 bytes",
        ),
    ] {
        let error = failing(&script).await;
        assert!(error.why().unwrap().contains(why), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_failure_carries_the_last_words_and_its_code() {
    let home = home(
        "https://api",
        "echo first >&2; echo 'log in: \x1b[1m' >&2; exit 3",
        "",
    );
    let told = Told::default();
    let error = plugin(&home, &told).unwrap().run().await.err().unwrap();
    assert!(
        error
            .to_string()
            .ends_with("of user \"u\" failed with exit code 3"),
        "{error}"
    );
    assert_eq!(error.why(), Some("log in: \\u{1b}[1m"));
    assert_eq!(told.lines().len(), 2);
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_what_it_started() {
    let script = "sleep 1000 > \"$(dirname \"$0\")/alive\" & wait";
    let home = home("https://api", script, "");
    let alive = home.0.path().join("alive");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&alive)
            .status()
            .unwrap()
            .success()
    );
    let mut alive = tokio::net::unix::pipe::OpenOptions::new()
        .open_receiver(&alive)
        .unwrap();
    let told = Told::default();
    let mut plugin = plugin(&home, &told).unwrap();
    plugin.limit = Duration::from_millis(600);
    let error = plugin.run().await.err().unwrap();
    assert!(
        error.to_string().ends_with("gave no answer within 600ms"),
        "{error}"
    );
    assert!(
        told.lines()[0].contains("has been running for"),
        "{:?}",
        told.lines()
    );
    // The pipe ends when nobody is left who holds it.
    let mut nothing = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut alive, &mut nothing);
    tokio::time::timeout(Duration::from_secs(10), end)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_child_that_keeps_the_output_open_is_not_waited_for() {
    let script = format!("{}sleep 20 2>&1 & exit 0", printing("{\"token\":\"t\"}"));
    let issued = run(&script).await.unwrap();
    assert_eq!(issued.token.unwrap().expose_secret(), "t");
}

#[tokio::test]
async fn one_that_is_missing_is_answered_with_the_hint() {
    let exec = format!(
        "exec: {{apiVersion: {V1}, command: no-such-plugin, installHint: \"get it\\nfrom us\"}}"
    );
    let home = Home::new("https://api", "", &exec);
    let error = plugin(&home, &Told::default())
        .unwrap()
        .run()
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the credential plugin no-such-plugin of user \"u\" was not found"
    );
    assert_eq!(error.remedies(), ["get it", "from us"]);
}

#[tokio::test]
async fn the_current_directory_is_not_searched() {
    let exec = format!("exec: {{apiVersion: {V1}, command: Cargo.toml}}");
    let home = Home::new("https://api", "", &exec);
    let environment = Environment::of(&[("PATH", ":.::src")], home.0.path());
    let settings = Settings::load(&home.config(), &environment).unwrap();
    let Source::Plugin(plugin) = settings.source else {
        panic!("no plugin")
    };
    let error = plugin.run().await.err().unwrap();
    assert!(error.to_string().ends_with("was not found"));
}

#[tokio::test]
async fn it_is_told_about_the_cluster_and_its_own_variables() {
    let more = ", provideClusterInfo: true, args: [a b], env: [{name: MINE, value: m}]";
    let script = format!(
        "d=\"$(dirname \"$0\")\"; echo \"$1 $MINE $THEIRS\" > \"$d/said\"\n\
         echo \"$KUBERNETES_EXEC_INFO\" > \"$d/info\"\n{}",
        printing("{\"token\":\"t\"}")
    );
    let exec = format!("exec: {{apiVersion: {V1}, command: ./plugin{more}}}");
    let cluster = ", certificate-authority-data: aGVsbG8=, extensions: \
                   [{name: client.authentication.k8s.io/exec, extension: {audience: a}}]";
    let home = Home::new("https://api", cluster, &exec);
    home.write("plugin", &format!("#!/bin/sh\n{script}"));
    let environment = Environment::of(&[("PATH", "/bin:/usr/bin"), ("THEIRS", "t")], home.0.path());
    let settings = Settings::load(&home.config(), &environment).unwrap();
    let Source::Plugin(plugin) = settings.source else {
        panic!("no plugin")
    };
    plugin.run().await.unwrap();
    let read = |name: &str| std::fs::read_to_string(home.0.path().join(name)).unwrap();
    assert_eq!(read("said"), "a b m t\n");
    let information: serde_json::Value = serde_json::from_str(&read("info")).unwrap();
    let expected = serde_json::json!({
        "kind": "ExecCredential",
        "apiVersion": V1,
        "spec": {"interactive": false, "cluster": {
            "server": "https://api",
            "certificate-authority-data": "aGVsbG8=",
            "config": {"audience": "a"},
        }},
    });
    assert_eq!(information, expected);
}

#[tokio::test]
async fn one_that_needs_a_terminal_is_not_started_without() {
    let home = home(
        "https://api",
        &printing("{\"token\":\"t\"}"),
        ", interactiveMode: Always",
    );
    let error = plugin(&home, &Told::default())
        .unwrap()
        .run()
        .await
        .err()
        .unwrap();
    assert!(error.to_string().ends_with("needs a terminal"));
}

#[test]
fn an_unknown_version_is_refused_at_once() {
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x}";
    let home = Home::new("https://api", "", exec);
    let error = plugin(&home, &Told::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_probe_takes_any_answer_and_runs_no_plugin() {
    let server = Server::start(|head| match head.contains("/exec?") {
        true => Reply::session(V4),
        false => Reply::status(401, "Unauthorized", "Unauthorized"),
    })
    .await;
    let past = "{\"token\":\"t\",\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"}";
    let script = format!("echo run >> \"$(dirname \"$0\")/runs\"\n{}", printing(past));
    let home = home(&server.url(), &script, "");
    let client = home
        .client_with(home.config(), &[("PATH", "/bin:/usr/bin")])
        .await
        .unwrap();
    client.exec("web-0", ["true"], direct()).await.unwrap();
    let dialer = Dialer::new(Arc::clone(&client.server), Limits::default());
    dialer.probe().await.unwrap();
    assert_eq!(
        std::fs::read_to_string(home.0.path().join("runs")).unwrap(),
        "run\n"
    );
    assert_eq!((server.lines().len(), server.connections()), (2, 2));
}

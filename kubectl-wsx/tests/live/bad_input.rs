//! Wrong kubeconfigs, wrong servers, wrong names: a clear end at once, and 125.

use std::fs;
use std::path::PathBuf;

use crate::support::{Run, bare, cluster, run, words, wsx};

const TRUE: &str = "web-0 -c app -- true";

/// Runs `exec` in a context of the embedded cluster.
fn in_context(context: &str) -> Run {
    let cluster = cluster();
    let line = format!("exec --context={context} --connect-timeout=2s {TRUE}");
    run(&mut wsx(&cluster, words(&line)))
}

/// Writes one test a context: exit code and words.
macro_rules! contexts {
    ($($name:ident: $context:expr => $code:expr, [$($text:expr),*];)*) => {
        $(#[test] fn $name() { in_context($context).expect($code, &[$($text),*]); })*
    };
}

contexts! {
    unknown_context: "nope" => 125, ["context", "nope"];
    unreachable_server: "unreachable" => 125, ["was refused - did you specify the right host or port?"];
    dns_failure: "bad-dns" => 125, ["no-such-host.invalid"];
    wrong_ca: "wrong-ca" => 125, ["certificate"];
    expired_certificate: "expired" => 125, ["expired"];
    wrong_token_401: "wrong-token" => 125, ["You must be logged in to the server"];
    nothing_allowed_403: "no-rights" => 125, ["forbidden"];
    create_missing_403_names_both_verbs: "get-only" => 125, ["pods/exec", "get", "create"];
    a_server_that_says_nothing: "silent" => 125, ["--connect-timeout"];
    redirects_are_not_followed: "redirect" => 125, ["302"];
    an_html_page_with_200: "html-200" => 125, ["login page"];
    an_html_page_with_403: "html-403" => 125, ["login page"];
    an_endless_response_header: "big-head" => 255, ["may have started"];
    client_certificate: "cert" => 0, [];
    basic_authentication: "basic" => 0, [];
    token_file: "tokenfile" => 0, [];
    plain_http: "plain" => 0, [];
    kubernetes_1_28: "v1.28" => 0, [];
    kubernetes_1_30: "v1.30" => 0, [];
    cri_dockerd_takes_v4: "cri-dockerd" => 0, [];
}

#[test]
fn a_header_that_comes_byte_by_byte_ends_by_the_connect_timeout() {
    in_context("slow-head").expect(255, &["--connect-timeout", "may have started"]);
}

#[test]
fn foreign_html_cannot_steer_the_terminal() {
    for context in ["html-200", "html-403"] {
        assert!(!in_context(context).stderr.contains('\x1b'), "{context}");
    }
}

#[test]
fn no_kubeconfig() {
    run(&mut bare(words(&format!("exec {TRUE}")))).expect(125, &["kubeconfig"]);
}

#[test]
fn no_kubeconfig_but_a_server() {
    let cluster = cluster();
    let authority = tempfile::NamedTempFile::new().unwrap();
    fs::write(authority.path(), cluster.authority()).unwrap();
    let mut command = bare(["exec"]);
    command.arg(format!("--server=https://{}", cluster.address("v1.35")));
    command.arg(format!(
        "--certificate-authority={}",
        authority.path().display()
    ));
    command.arg(format!("--token={}", cluster.token("admin")));
    run(command.args(words(TRUE))).expect(0, &[]);
}

fn kubeconfig(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn broken_yaml() {
    let (_folder, path) = kubeconfig("apiVersion: v1\nclusters: [\n");
    let line = format!("exec --kubeconfig={} {TRUE}", path.display());
    run(&mut bare(words(&line))).expect(125, &[&path.display().to_string()]);
}

#[test]
fn a_kubeconfig_that_is_not_there() {
    let line = format!("exec --kubeconfig=/proc/nobody/config {TRUE}");
    run(&mut bare(words(&line))).expect(125, &["/proc/nobody/config"]);
}

fn exec(line: &str) -> Run {
    let cluster = cluster();
    run(&mut wsx(&cluster, words(&format!("exec {line}"))))
}

#[test]
fn pod_missing() {
    exec("nope -- true").expect(125, &["pods \"nope\" not found"]);
}

#[test]
fn pod_completed() {
    exec("done-0 -- true").expect(125, &["completed pod; current phase is Succeeded"]);
}

#[test]
fn container_missing_lists_the_containers() {
    exec("web-0 -c nope -- true").expect(125, &["nope", "app", "sidecar"]);
}

#[test]
fn a_pod_that_stays_pending() {
    exec("--pod-running-timeout=1s pending-0 -- true")
        .expect(125, &["--pod-running-timeout", "ContainerCreating"]);
}

#[test]
fn a_container_that_crashes_again_and_again() {
    exec("--pod-running-timeout=1s crash-0 -- true").expect(125, &["CrashLoopBackOff"]);
}

#[test]
fn a_pod_that_starts_is_waited_for() {
    exec("slow-start-0 -- echo hi")
        .expect(0, &[])
        .prints("hi\n");
}

#[test]
fn no_such_executable() {
    exec("web-0 -c app -- nope").expect(125, &["executable file not found"]);
}

#[test]
fn no_such_executable_over_v5() {
    exec("--protocol=v5 web-0 -c app -- nope").expect(125, &["executable file not found"]);
}

#[test]
fn no_command() {
    exec("web-0").expect(
        2,
        &["you must specify at least one command for the container"],
    );
}

#[test]
fn a_command_that_is_too_long() {
    let long = "x".repeat(100_000);
    exec(&format!("web-0 -- echo {long}")).expect(125, &["the command is too long", "65534"]);
}

#[test]
fn no_double_dash() {
    exec("web-0 true").expect(2, &["Use exec [POD] -- [COMMAND] instead"]);
}

#[test]
fn an_unknown_flag() {
    exec("--nope web-0 -- true").expect(2, &["--nope"]);
}

#[test]
fn an_unknown_protocol_lists_the_known_ones() {
    exec("--protocol=v3.channel.k8s.io web-0 -- true")
        .expect(2, &["v3.channel.k8s.io", "v5.channel.k8s.io"]);
}

#[test]
fn a_duration_without_a_unit() {
    exec("--timeout=5 web-0 -- true").expect(2, &["missing unit in duration"]);
}

#[test]
fn an_unwritable_status_file_fails_before_the_start() {
    let cluster = cluster();
    let line = "exec --status-file=/proc/nobody/x web-0 -c app -- true";
    run(&mut wsx(&cluster, words(line))).expect(125, &["/proc/nobody/x"]);
    assert_eq!(cluster.requests(), []);
}

/// A kubeconfig whose user is an exec plugin: this shell script.
fn with_plugin(script: &str) -> Run {
    let cluster = cluster();
    let text = fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let script = script.replace("TOKEN", &cluster.token("admin"));
    let user = serde_json::json!({ "name": "plugin", "user": { "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "sh", "args": ["-c", script], "installHint": "install it from somewhere" } } });
    config["users"].as_array_mut().unwrap().push(user);
    let (_folder, path) = kubeconfig(&config.to_string());
    let line = format!("exec --kubeconfig={} --user=plugin {TRUE}", path.display());
    run(&mut bare(words(&line)))
}

const CREDENTIAL: &str = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"TOKEN"}}'"#;

#[test]
fn a_plugin_gives_a_token() {
    with_plugin(CREDENTIAL).expect(0, &[]);
}

#[test]
fn a_plugin_that_fails_is_quoted() {
    with_plugin("echo please log in >&2; exit 3").expect(125, &["please log in", "3"]);
}

#[test]
fn a_plugin_that_prints_garbage() {
    with_plugin("echo garbage").expect(125, &["ExecCredential"]);
}

#[test]
fn a_plugin_that_is_not_installed() {
    let cluster = cluster();
    let text = fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let user = serde_json::json!({ "name": "plugin", "user": { "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "no-such-plugin", "installHint": "install it from somewhere" } } });
    config["users"].as_array_mut().unwrap().push(user);
    let (_folder, path) = kubeconfig(&config.to_string());
    let line = format!("exec --kubeconfig={} --user=plugin {TRUE}", path.display());
    run(&mut bare(words(&line))).expect(125, &["no-such-plugin", "install it from somewhere"]);
}

#[test]
fn secrets_are_never_shown() {
    let cluster = cluster();
    let secret = cluster.token("admin");
    for context in [
        "v1.35",
        "wrong-token",
        "unreachable",
        "html-200",
        "get-only",
    ] {
        let line = format!("exec -v=10 --context={context} --token={secret} {TRUE}");
        let run = run(&mut wsx(&cluster, words(&line)));
        assert!(!run.stderr.contains(&secret), "{context}:\n{}", run.stderr);
    }
}

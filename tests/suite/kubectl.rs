//! Stock kubectl is the judge of the embedded cluster.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Once;

use wsx_tests::cluster::Cluster;
use wsx_tests::kubectl::{self, Kubectl};

/// Cluster and judge.
pub(crate) type Court = (Cluster, Kubectl);

/// Cluster and judge, or `None` after saying that the judge is missing.
pub(crate) fn court() -> Option<Court> {
    let found = kubectl::find();
    // Past the capture of the test harness: a skipped judge must be seen.
    let said = match &found {
        Some(judge) => format!(
            "judge: kubectl {} at {}\n",
            judge.version(),
            judge.path().display()
        ),
        None => "SKIPPED: no kubectl on PATH\n".to_owned(),
    };
    static SAID: Once = Once::new();
    SAID.call_once(|| std::io::stderr().write_all(said.as_bytes()).unwrap());
    let kubectl = found?;
    Some((Cluster::spawn().unwrap(), kubectl))
}

/// What a run gave: status, stdout, stderr.
pub(crate) type Told = (Option<i32>, String, String);

fn told(output: Output) -> Told {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Runs kubectl with these words.
pub(crate) fn run((cluster, kubectl): &Court, words: &str) -> Told {
    told(kubectl.run(cluster.kubeconfig(), words.split(' ')))
}

/// Runs a shell script in `web-0`, container `app`.
fn script((cluster, kubectl): &Court, script: &str) -> Told {
    let words = ["exec", "web-0", "-c", "app", "--", "sh", "-c", script];
    told(kubectl.run(cluster.kubeconfig(), words))
}

/// Runs kubectl with these words and this stdin.
fn feed((cluster, kubectl): &Court, words: &str, stdin: &[u8]) -> Told {
    let mut command = kubectl.command(cluster.kubeconfig(), words.split(' '));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A command that reads only a part of it breaks the pipe; that is its right.
        scope.spawn(move || drop(pipe.write_all(stdin)));
        told(child.wait_with_output().unwrap())
    })
}

pub(crate) fn done(code: i32, stdout: &str, stderr: &str) -> Told {
    (Some(code), stdout.to_owned(), stderr.to_owned())
}

#[test]
fn exec_gives_both_streams() {
    let Some(court) = court() else { return };
    assert_eq!(
        script(&court, "echo out; echo err >&2"),
        done(0, "out\n", "err\n")
    );
}

#[test]
fn exec_gives_the_exit_code() {
    let Some(court) = court() else { return };
    assert_eq!(script(&court, "exit 0"), done(0, "", ""));
    for code in [1, 42, 255] {
        let said = format!("command terminated with exit code {code}\n");
        assert_eq!(
            script(&court, &format!("exit {code}")),
            done(code, "", &said)
        );
    }
}

#[test]
fn exec_feeds_stdin_to_its_end() {
    let Some(court) = court() else { return };
    let stdin: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    assert_eq!(
        feed(&court, "exec -i web-0 -c app -- wc -c", &stdin),
        done(0, "300000\n", "")
    );
    assert_eq!(
        feed(&court, "exec -i web-0 -c app -- sink", &stdin),
        done(0, "300000\n", "")
    );
}

#[test]
fn exec_carries_megabytes_exactly() {
    let Some(court) = court() else { return };
    let (cluster, kubectl) = &court;
    let words = ["exec", "web-0", "-c", "app", "--", "gen", "5M"];
    let output = kubectl.run(cluster.kubeconfig(), words);
    assert_eq!(output.status.code(), Some(0));
    let expected: Vec<u8> = (0..5_u64 << 17).flat_map(u64::to_le_bytes).collect();
    assert!(
        output.stdout == expected,
        "the pattern of gen came out different"
    );
}

#[test]
fn exec_with_a_terminal() {
    let Some((cluster, kubectl)) = court() else {
        return;
    };
    let path = kubectl.path().display();
    // `script` gives kubectl a terminal; it tells the size that kubectl has sent.
    let inner = format!(
        "stty cols 91 rows 27; {path} exec -it web-0 -c app -- sh -c 'read x; stty size; tty >/dev/null && echo tty $x'"
    );
    let mut child = Command::new("script")
        .args(["-qec", &inner, "/dev/null"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"typed\n").unwrap();
    let (code, stdout, _) = told(child.wait_with_output().unwrap());
    drop(pipe);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(
        stdout.contains("27 91\r\n") && stdout.contains("tty typed\r\n"),
        "{stdout}"
    );
}

#[test]
fn a_wrong_container_is_named() {
    let Some(court) = court() else { return };
    let (code, _, stderr) = run(&court, "exec web-0 -c nope -- true");
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("container nope is not valid for pod web-0"),
        "{stderr}"
    );
}

#[test]
fn the_container_is_chosen_by_annotation_or_is_the_first() {
    let Some(court) = court() else { return };
    let (cluster, kubectl) = &court;
    for (pod, container, said) in [
        ("annotated-0", "second", ""),
        (
            "web-0",
            "app",
            "Defaulted container \"app\" out of: app, sidecar\n",
        ),
    ] {
        let words = ["exec", pod, "--", "sh", "-c", "echo $CONTAINER_NAME"];
        let told = told(kubectl.run(cluster.kubeconfig(), words));
        assert_eq!(told, done(0, &format!("{container}\n"), said));
    }
}

#[test]
fn a_workload_leads_to_its_best_pod() {
    let Some(court) = court() else { return };
    let (cluster, kubectl) = &court;
    for (target, pod) in [
        ("deploy/web", "deploy-c"),
        ("rs/web", "deploy-c"),
        ("svc/web", "web-0"),
        ("sts/web", "web-0"),
        ("ds/web", "web-0"),
        ("job/web", "web-0"),
        ("rc/web", "web-0"),
    ] {
        let words = ["exec", target, "-q", "--", "sh", "-c", "echo $POD_NAME"];
        assert_eq!(
            told(kubectl.run(cluster.kubeconfig(), words)),
            done(0, &format!("{pod}\n"), "")
        );
    }
    let (code, _, stderr) = run(&court, "exec svc/noselector -- true");
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("Service is defined without a selector"),
        "{stderr}"
    );
}

#[test]
fn rights_are_refused_in_kubernetes_words() {
    let Some(court) = court() else { return };
    let text = "Error from server (Forbidden): pods \"web-0\" is forbidden: User \"get-only\" cannot create resource \"pods/exec\" in API group \"\" in the namespace \"default\"\n";
    for words in [
        "--context get-only exec web-0 -c app -- true",
        "--as get-only exec web-0 -c app -- true",
    ] {
        assert_eq!(run(&court, words), done(1, "", text));
    }
    let text = "Error from server (Forbidden): pods \"web-0\" is forbidden: User \"no-rights\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\"\n";
    assert_eq!(
        run(&court, "--context no-rights exec web-0 -c app -- true"),
        done(1, "", text)
    );
}

#[test]
fn every_kind_of_credential_works() {
    let Some(court) = court() else { return };
    for context in [
        "v1.28",
        "v1.30",
        "v1.35",
        "plain",
        "cert",
        "basic",
        "tokenfile",
        "get-only",
    ] {
        let words = format!("--context {context} get pod web-0 -o name");
        assert_eq!(run(&court, &words), done(0, "pod/web-0\n", ""), "{context}");
    }
    let (code, _, stderr) = run(&court, "--context wrong-token get pod web-0");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("Unauthorized"), "{stderr}");
}

#[test]
fn certificates_and_addresses_fail_as_named() {
    let Some(court) = court() else { return };
    for (context, text) in [
        ("wrong-ca", "certificate signed by unknown authority"),
        ("expired", "certificate has expired"),
        ("unreachable", "refused"),
        ("bad-dns", "no-such-host.invalid"),
    ] {
        let (code, _, stderr) = run(&court, &format!("--context {context} get pod web-0"));
        assert_eq!(code, Some(1), "{context}");
        assert!(stderr.contains(text), "{context}: {stderr}");
    }
}

#[test]
fn pods_that_do_not_run_are_refused() {
    let Some(court) = court() else { return };
    let text =
        "error: cannot exec into a container in a completed pod; current phase is Succeeded\n";
    assert_eq!(run(&court, "exec done-0 -- true"), done(1, "", text));
    let text = "error: Internal error occurred: unable to upgrade connection: container not found (\"app\")\n";
    assert_eq!(run(&court, "exec crash-0 -- true"), done(1, "", text));
}

#[test]
fn a_missing_command_is_an_error_of_the_runtime() {
    let Some(court) = court() else { return };
    let (code, _, stderr) = run(&court, "exec web-0 -c app -- nope");
    assert_eq!(code, Some(1));
    // v5's translator wraps the runtime's error once more (recorded from Kubernetes 1.36.3).
    let begin = "error: Internal error occurred: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec ";
    assert!(stderr.starts_with(begin), "{stderr}");
    assert!(
        stderr.ends_with("exec: \"nope\": executable file not found in $PATH: unknown\n"),
        "{stderr}"
    );
}

#[test]
fn pods_are_listed_and_selected() {
    let Some(court) = court() else { return };
    assert_eq!(
        run(&court, "get pods -l app=web -o name"),
        done(0, "pod/web-0\n", "")
    );
    let told = run(
        &court,
        "get pods -A --field-selector metadata.name=web-0 -o custom-columns=N:.metadata.namespace --no-headers",
    );
    assert_eq!(told, done(0, "default\nother\n", ""));
    let (code, table, _) = run(&court, "get pods");
    assert_eq!((code, table.lines().count()), (Some(0), 19));
}

#[test]
fn logs_come_whole_cut_or_not() {
    let Some(court) = court() else { return };
    let told = run(&court, "logs web-0 -c sidecar --tail=2");
    assert_eq!(told, done(0, "sidecar line 99\nsidecar line 100\n", ""));
    assert_eq!(
        run(&court, "logs web-0 -c app --limit-bytes=5"),
        done(0, "app l", "")
    );
    let text = "Error from server: error dialing backend: dial tcp 10.0.0.9:10250: connect: connection refused\n";
    assert_eq!(run(&court, "logs lost-kubelet-0"), done(1, "", text));
    assert_eq!(run(&court, "exec lost-kubelet-0 -- true"), done(0, "", ""));
    assert_eq!(run(&court, "logs nolog-0").0, Some(1));
}

#[test]
fn attach_streams_and_ends_well() {
    let Some(court) = court() else { return };
    let (code, stdout, stderr) = feed(&court, "attach -i ends-0", b"hello\n");
    assert_eq!((code, &*stdout), (Some(0), "got hello\n"));
    assert!(stderr.contains("oops\n"), "{stderr}");
    assert_eq!(
        run(&court, "get pod ends-0 -o jsonpath={.status.phase}"),
        done(0, "Failed", "")
    );
}

#[test]
fn without_spdy_an_old_cluster_cannot_serve_kubectl() {
    let Some(court) = court() else { return };
    // kubectl offers v5 alone, is refused, and falls back to SPDY, which the embedded cluster has not.
    let text = "Error from server (BadRequest): this cluster does not speak SPDY\n";
    assert_eq!(
        run(&court, "--context v1.28 exec web-0 -c app -- true"),
        done(1, "", text)
    );
    assert_eq!(
        run(&court, "--context v1.30 exec web-0 -c app -- true"),
        done(0, "", "")
    );
    let (code, _, stderr) = run(&court, "--context cri-dockerd exec web-0 -c app -- true");
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("error: Internal error occurred: error sending request: Post \"//"),
        "{stderr}"
    );
}

#[test]
fn kubectl_takes_a_lost_upstream_for_success() {
    let Some(court) = court() else { return };
    let (cluster, kubectl) = &court;
    let fault = r#"{"after_bytes":1,"status":"lost-upstream"}"#;
    let words = [
        "exec", "web-0", "-c", "app", "--", "@fault", fault, "echo", "hi",
    ];
    // kubernetes/kubectl #1726: this is the defect that `kubectl wsx` is there to notice.
    assert_eq!(
        told(kubectl.run(cluster.kubeconfig(), words)),
        done(0, "h", "")
    );
}

//! Several logs at once through the core, on the embedded cluster.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use wsx_core::{
    Client, Config, Error, ErrorKind, LogEnd, LogEvent, LogItem, Logs, LogsOptions, Result,
};
use wsx_tests::cluster::{Cluster, Log};

/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(15);

/// What was read so far: lines and events in order, each with the pod and the container before it.
struct Reader {
    logs: Logs,
    seen: Vec<String>,
}

async fn client(cluster: &Cluster) -> Client {
    let config = Config::default().kubeconfig(cluster.kubeconfig().to_owned());
    Client::connect(config).await.unwrap()
}

/// A pod with the label `app=own`.
fn pod(cluster: &Cluster, name: &str) -> Log {
    let log = cluster.log("default", name, "app");
    log.run(json!({"create": {"labels": {"app": "own"}}}));
    log
}

fn own() -> LogsOptions {
    LogsOptions::default().selector("app=own".to_owned())
}

async fn open(cluster: &Cluster, options: LogsOptions) -> Reader {
    let logs = client(cluster).await.logs(None, options).await.unwrap();
    Reader::new(logs)
}

impl Reader {
    const fn new(logs: Logs) -> Self {
        let seen = Vec::new();
        Self { logs, seen }
    }

    /// Reads on until all of these were seen since the last call, in whatever order.
    async fn until(&mut self, all: &[&str]) {
        let mut missing = all.to_vec();
        let reading = async {
            let mut batch = Vec::new();
            while !missing.is_empty() && self.logs.next_batch(&mut batch).await {
                for text in batch.drain(..).map(words) {
                    missing.retain(|wanted| !text.starts_with(wanted));
                    self.seen.push(text);
                }
            }
        };
        let over = timeout(LIMIT, reading).await;
        assert!(
            over.is_ok() && missing.is_empty(),
            "{missing:?} {:#?}",
            self.seen
        );
    }

    async fn until_all(&mut self, all: &[String]) {
        let all: Vec<_> = all.iter().map(|text| &**text).collect();
        self.until(&all).await;
    }

    /// Reads to the end.
    async fn end(&mut self) -> Result<LogEnd> {
        let reading = async {
            let mut batch = Vec::new();
            while self.logs.next_batch(&mut batch).await {
                self.seen.extend(batch.drain(..).map(words));
            }
            self.logs.wait().await
        };
        let end = timeout(LIMIT, reading).await;
        end.unwrap_or_else(|_| panic!("no end: {:#?}", self.seen))
    }

    /// Takes what was seen so far.
    fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }
}

fn words(item: LogItem) -> String {
    let (source, what) = match item {
        LogItem::Line(line) => {
            let text = String::from_utf8_lossy(&line.data).trim_end().to_owned();
            (line.source, text)
        }
        LogItem::Event(source, event) => {
            let what = match event {
                LogEvent::Started => "+".to_owned(),
                LogEvent::Ended { exit_code: None } => "-".to_owned(),
                LogEvent::Ended {
                    exit_code: Some(code),
                } => format!("- {code}"),
                LogEvent::Failed { error } => format!("! {}", error.kind()),
                LogEvent::Gap { certain, .. } => format!("gap {certain}"),
                LogEvent::Restarted { count, unseen } => format!("restarted {count} {unseen}"),
                LogEvent::Waiting { reason } => format!("waits {reason}"),
                event => format!("{event:?}"),
            };
            (source, what)
        }
        item => panic!("{item:?}"),
    };
    format!("{}/{} {what}", source.pod, source.container)
}

fn lost(end: Result<LogEnd>) -> Error {
    end.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_containers_are_read_init_ordinary_ephemeral() {
    let cluster = Cluster::start().await.unwrap();
    let options = LogsOptions::default().all_containers(true).tail_lines(1);
    let logs = client(&cluster).await.logs(Some("init-0"), options).await;
    let mut reader = Reader::new(logs.unwrap());
    assert_eq!(reader.end().await, Ok(LogEnd::Complete));
    let mut expected = Vec::new();
    for name in ["setup", "app", "debugger"] {
        expected.extend([
            format!("init-0/{name} +"),
            format!("init-0/{name} {name} line 100"),
            format!("init-0/{name} -"),
        ]);
    }
    assert_eq!(reader.seen(), expected);
    let report = reader.logs.report();
    assert_eq!((report.lines, report.gaps), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selector_reads_its_pods_one_after_the_other_in_their_order() {
    let cluster = Cluster::start().await.unwrap();
    for name in ["own-1", "own-0"] {
        pod(&cluster, name).write(&format!("{name} a\n{name} b"));
    }
    let mut reader = open(&cluster, own()).await;
    assert_eq!(reader.end().await, Ok(LogEnd::Complete));
    let lines: Vec<_> = reader
        .seen()
        .into_iter()
        .map(|text| text.replace("/app", ""))
        .collect();
    let expected = [
        "own-0 +",
        "own-0 own-0 a",
        "own-0 own-0 b",
        "own-0 -",
        "own-1 +",
        "own-1 own-1 a",
        "own-1 own-1 b",
        "own-1 -",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pods_of_a_workload_and_of_all_namespaces_are_read() {
    let cluster = Cluster::start().await.unwrap();
    let client = client(&cluster).await;
    let one = LogsOptions::default().tail_lines(1);
    let logs = client
        .logs(Some("deploy/web"), one.clone().all_pods(true))
        .await;
    let mut reader = Reader::new(logs.unwrap());
    reader.end().await.unwrap();
    let pods = ["deploy-a/app +", "deploy-b/app +", "deploy-c/app +"];
    assert!(
        pods.iter()
            .all(|pod| reader.seen.iter().any(|seen| seen == pod))
    );
    // The one that kubectl takes, and all its containers.
    let logs = client
        .logs(Some("deploy/web"), one.clone().all_containers(true))
        .await;
    let mut reader = Reader::new(logs.unwrap());
    reader.end().await.unwrap();
    assert_eq!(reader.seen[0], "deploy-c/app +");
    let everywhere = one.all_namespaces(true).selector("app=web".to_owned());
    let mut reader = open(&cluster, everywhere).await;
    reader.end().await.unwrap();
    let starts = reader.seen.iter().filter(|seen| *seen == "web-0/app +");
    assert_eq!(starts.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let cluster = Cluster::start().await.unwrap();
    let client = client(&cluster).await;
    let none = LogsOptions::default;
    for (target, options) in [
        (None, none()),
        (None, none().all_pods(true)),
        (Some("web-0"), own()),
        (Some("web-0"), none().all_namespaces(true)),
        (
            Some("web-0"),
            none().all_containers(true).container("app".to_owned()),
        ),
        (None, own().max_log_requests(0_usize)),
        (None, own().sort_window(LIMIT).limit_bytes(1)),
    ] {
        let error = client.logs(target, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
    assert_eq!(cluster.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selector_without_pods_is_an_error_and_waited_for_when_following() {
    let cluster = Cluster::start().await.unwrap();
    let client = client(&cluster).await;
    let error = client.logs(None, own()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("app=own"), "{error}");
    let short = own()
        .follow(true)
        .pod_running_timeout(Duration::from_millis(300));
    let mut reader = Reader::new(client.logs(None, short).await.unwrap());
    assert_eq!(lost(reader.end().await).kind(), ErrorKind::NotStarted);
    let mut reader = Reader::new(client.logs(None, own().follow(true)).await.unwrap());
    let log = pod(&cluster, "own-0");
    log.write("first");
    reader.until(&["own-0/app first"]).await;
    log.run(json!({"exit": 3}));
    let end = LogEnd::Ended { exit_code: None };
    assert_eq!(reader.end().await, Ok(end));
    assert_eq!(
        reader.seen(),
        ["own-0/app +", "own-0/app first", "own-0/app - 3"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_join_and_leave_while_others_are_followed() {
    let cluster = Cluster::start().await.unwrap();
    let (one, two) = (
        pod(&cluster, "own-0"),
        cluster.log("default", "own-1", "app"),
    );
    one.write("old");
    // What was there is cut to its tail; what joins is new from its first line on.
    let mut reader = open(&cluster, own().follow(true).tail_lines(0)).await;
    reader.until(&["own-0/app +"]).await;
    one.await_follows(1);
    one.write("one");
    two.run(json!({"create": {"labels": {"app": "own"}}, "write": [{"text": "a\nb"}]}));
    reader
        .until(&["own-0/app one", "own-1/app a", "own-1/app b"])
        .await;
    two.run(json!({"restart": true}));
    two.write("c");
    reader
        .until(&["own-1/app restarted 1 0", "own-1/app c"])
        .await;
    two.run(json!({"delete": true}));
    reader.until(&["own-1/app -"]).await;
    one.write("two");
    one.run(json!({"exit": 0}));
    reader.end().await.unwrap();
    let seen = reader.seen();
    assert!(!seen.iter().any(|text| text.contains("gap")), "{seen:#?}");
    let of = |pod: &str| {
        let all = seen.iter().filter_map(|text| text.strip_prefix(pod));
        all.filter(|text| !text.contains("Reconnected"))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("own-0/app "), ["+", "one", "two", "- 0"]);
    assert_eq!(of("own-1/app ")[..3], ["+", "a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_comes_back_under_its_name_joins_anew() {
    let cluster = Cluster::start().await.unwrap();
    let log = pod(&cluster, "own-0");
    log.write("old");
    let mut reader = open(&cluster, own().follow(true)).await;
    reader.until(&["own-0/app old"]).await;
    log.run(json!({"replace": true}));
    log.write("new");
    reader.until(&["own-0/app -", "own-0/app new"]).await;
    let starts = reader.seen.iter().filter(|text| text.ends_with(" +"));
    assert_eq!(starts.count(), 2, "{:#?}", reader.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_has_not_begun_joins_when_it_does() {
    let cluster = Cluster::start().await.unwrap();
    pod(&cluster, "own-0").write("x");
    let late = cluster.log("default", "own-1", "app");
    late.run(json!({"create": {"labels": {"app": "own"}}, "waiting": "ImagePullBackOff"}));
    let mut reader = open(&cluster, own().follow(true).tail_lines(1)).await;
    reader
        .until(&[
            "own-0/app x",
            "own-1/app waits container app is waiting: ImagePullBackOff",
        ])
        .await;
    late.run(json!({"restart": true}));
    late.write("a\nb");
    reader
        .until(&["own-1/app +", "own-1/app a", "own-1/app b"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_over_the_limit_wait_for_their_turn_and_it_is_told() {
    let cluster = Cluster::start().await.unwrap();
    let logs = ["own-0", "own-1", "own-2"].map(|name| pod(&cluster, name));
    for log in &logs {
        log.write("x");
    }
    let mut reader = open(&cluster, own().follow(true).max_log_requests(2_usize)).await;
    reader
        .until(&[
            "own-0/app x",
            "own-1/app x",
            "own-2/app waits its turn: 2 logs are read at once",
        ])
        .await;
    logs[2].await_follows(0);
    logs[1].run(json!({"exit": 0}));
    reader
        .until(&["own-1/app - 0", "own-2/app +", "own-2/app x"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_log_that_fails_ends_all_unless_errors_are_ignored() {
    let cluster = Cluster::start().await.unwrap();
    let labels = json!({"labels": {"app": "own"}});
    cluster.log("default", "nolog-0", "app").run(labels.clone());
    pod(&cluster, "own-0").write("x");
    pod(&cluster, "a-0").write("y");
    let mut reader = open(&cluster, own()).await;
    let error = lost(reader.end().await);
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error:?}");
    assert_eq!(
        reader.seen(),
        ["a-0/app +", "a-0/app y", "a-0/app -", "nolog-0/app +"]
    );
    let mut reader = open(&cluster, own().ignore_errors(true)).await;
    assert_eq!(reader.end().await, Ok(LogEnd::Complete));
    let seen = reader.seen();
    assert!(
        seen.contains(&"nolog-0/app ! forbidden".to_owned()),
        "{seen:?}"
    );
    assert!(seen.contains(&"own-0/app x".to_owned()), "{seen:?}");
    // No such container: of one pod, of all.
    let mut reader = open(&cluster, own().container("nope".to_owned())).await;
    assert_eq!(lost(reader.end().await).kind(), ErrorKind::NotFound);
    let ignoring = own().container("nope".to_owned()).ignore_errors(true);
    let mut reader = open(&cluster, ignoring).await;
    reader.end().await.unwrap();
    assert_eq!(reader.seen.len(), 3);
    assert_eq!(reader.seen[0], "a-0/nope ! not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_the_watch_pods_join_once() {
    for how in [
        "bookmark",
        "gone",
        "unauthorized",
        "fin",
        "rst",
        "eof-polite",
    ] {
        let cluster = Cluster::start().await.unwrap();
        let log = pod(&cluster, "own-0");
        log.write("x");
        let mut reader = open(&cluster, own().follow(true)).await;
        reader.until(&["own-0/app x"]).await;
        log.run(json!({"watch": how}));
        let other = pod(&cluster, "own-1");
        other.write("y");
        reader.until(&["own-1/app y"]).await;
        other.run(json!({"exit": 0}));
        log.run(json!({"exit": 0}));
        reader.end().await.unwrap();
        let starts = reader.seen.iter().filter(|text| text.ends_with(" +"));
        assert_eq!(starts.count(), 2, "{how}: {:#?}", reader.seen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_log_starves_no_other() {
    let cluster = Cluster::start().await.unwrap();
    let noisy = pod(&cluster, "own-0");
    noisy.run(json!({"lines": "1G"}));
    let quiet = pod(&cluster, "own-1");
    quiet.write("here I am");
    let mut reader = open(&cluster, own().follow(true)).await;
    let mut batch = Vec::new();
    let (mut bytes, mut found) = (0, false);
    while !found {
        assert!(reader.logs.next_batch(&mut batch).await);
        for item in batch.drain(..) {
            if let LogItem::Line(line) = item {
                bytes += line.data.len();
                found |= line.source.pod == "own-1";
            }
        }
    }
    assert!(bytes < 64 << 20, "{bytes} bytes before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sorted_logs_come_in_the_order_of_their_times() {
    let cluster = Cluster::start().await.unwrap();
    let logs = ["own-0", "own-1", "own-2"].map(|name| pod(&cluster, name));
    for (nth, log) in logs.iter().enumerate() {
        let line = |n: usize| {
            let n = n * 3 + nth;
            json!({"ts": format!("2026-11-01T08:00:{:02}.5Z", n), "text": format!("{n:02}")})
        };
        log.run(json!({"write": (0..20).map(line).collect::<Vec<_>>(), "exit": 0}));
    }
    for follow in [false, true] {
        let window = Duration::from_secs(5);
        let mut reader = open(&cluster, own().follow(follow).sort_window(window)).await;
        reader.end().await.unwrap();
        let lines = reader
            .seen
            .iter()
            .filter_map(|text| text.split_once("/app "));
        let numbers: Vec<usize> = lines.filter_map(|(_, text)| text.parse().ok()).collect();
        assert_eq!(numbers, (0..60).collect::<Vec<_>>());
        assert_eq!(reader.logs.report().late, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_stops_ends_its_follow() {
    for container in ["r10", "r1000", "r100000"] {
        let cluster = Cluster::start().await.unwrap();
        let log = cluster.log("default", "writer-0", container);
        let options = LogsOptions::default()
            .follow(true)
            .container(container.to_owned());
        let logs = client(&cluster).await.logs(Some("writer-0"), options).await;
        let mut reader = Reader::new(logs.unwrap());
        let first = format!("writer-0/{container}");
        reader.until(&[&first]).await;
        log.run(json!({"rate": 0, "exit": 0}));
        assert!(matches!(reader.end().await, Ok(LogEnd::Ended { .. })));
        let seen = reader.seen();
        let numbers = seen
            .iter()
            .filter_map(|text| text.rsplit_once(' ')?.1.parse().ok());
        assert_eq!(
            numbers.collect::<Vec<usize>>(),
            (0..seen.len()).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_them_ends_every_connection() {
    let cluster = Cluster::start().await.unwrap();
    let logs = ["own-0", "own-1"].map(|name| pod(&cluster, name));
    logs.iter().for_each(|log| log.write("x"));
    let mut reader = open(&cluster, own().follow(true)).await;
    reader.until(&["own-0/app x", "own-1/app x"]).await;
    drop(reader);
    logs.iter().for_each(|log| log.await_follows(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_holes_by_rotation_all_are_announced() {
    const ROUNDS: usize = 5;
    let cluster = Cluster::start().await.unwrap();
    let names: Vec<_> = (0..20).map(|nth| format!("own-{nth:02}")).collect();
    let logs: Vec<_> = names.iter().map(|name| pod(&cluster, name)).collect();
    let every = |what: &str| -> Vec<String> {
        let all = names.iter();
        all.map(|name| format!("{name}/app {what}")).collect()
    };
    let mut reader = open(&cluster, own().follow(true)).await;
    for log in &logs {
        log.write("first");
    }
    reader.until_all(&every("first")).await;
    for round in 0..ROUNDS {
        for log in &logs {
            log.cut("fin");
            log.run(json!({"write": [{"text": format!("hole {round}")}], "rotate": true}));
            log.write(&format!("after {round}"));
        }
        reader.until_all(&every(&format!("after {round}"))).await;
    }
    let (seen, report) = (reader.seen(), reader.logs.report());
    assert_eq!(report.reconnects, 100);
    for name in &names {
        let ours = seen
            .iter()
            .filter_map(|text| text.strip_prefix(&format!("{name}/app ")));
        let ours: Vec<_> = ours.filter(|text| !text.contains("Reconnected")).collect();
        let mut expected = vec!["+".to_owned(), "first".to_owned()];
        for round in 0..ROUNDS {
            // Who was back before the file went has read the line instead.
            let hole = format!("hole {round}");
            let told = if ours.contains(&&*hole) {
                hole
            } else {
                "gap true".to_owned()
            };
            expected.extend([told, format!("after {round}")]);
        }
        assert_eq!(ours, expected);
    }
    assert!(report.gaps > 50, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_steps_back_loses_and_repeats_nothing() {
    let cluster = Cluster::start().await.unwrap();
    let log = pod(&cluster, "own-0");
    log.write("one\ntwo");
    let mut reader = open(&cluster, own().follow(true)).await;
    reader.until(&["own-0/app two"]).await;
    log.run(json!({"clock": "-3600s"}));
    log.write("three");
    reader.until(&["own-0/app three"]).await;
    log.cut("rst");
    log.write("four");
    reader.until(&["own-0/app four"]).await;
    log.run(json!({"clock": 0}));
    log.write("five");
    reader.until(&["own-0/app five"]).await;
    let lines = reader.seen().join("\n").replace("own-0/app ", "");
    let lines: Vec<_> = lines
        .lines()
        .filter(|line| !line.contains("Reconnected"))
        .collect();
    assert_eq!(lines, ["+", "one", "two", "three", "four", "five"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_come_as_they_are() {
    let cluster = Cluster::start().await.unwrap();
    let log = pod(&cluster, "own-0");
    log.run(json!({"write": [{"hex": "00ff1b5b324ac30d"}], "exit": 0}));
    for follow in [false, true] {
        let options = LogsOptions::default().follow(follow);
        let logs = client(&cluster).await.logs(Some("own-0"), options).await;
        let (mut logs, mut batch) = (logs.unwrap(), Vec::new());
        while logs.next_batch(&mut batch).await {}
        let [LogItem::Line(line)] = &batch[..] else {
            panic!("{batch:?}")
        };
        assert_eq!(line.data, b"\x00\xff\x1b[2J\xc3\r\n"[..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_comes_late_loses_nothing() {
    let cluster = Cluster::start().await.unwrap();
    let logs = ["own-0", "own-1", "own-2"].map(|name| pod(&cluster, name));
    for log in &logs {
        // More than all queues on the way hold.
        log.run(json!({"lines": "8M"}));
    }
    let mut reader = open(&cluster, own().follow(true)).await;
    logs.iter().for_each(|log| log.await_follows(1));
    logs.iter().for_each(|log| {
        log.run(json!({"exit": 0}));
    });
    let mut next = std::collections::BTreeMap::<String, usize>::new();
    let mut batch = Vec::new();
    while reader.logs.next_batch(&mut batch).await {
        for item in batch.drain(..) {
            if let LogItem::Line(line) = item {
                let next = next.entry(line.source.pod.clone()).or_default();
                let number = std::str::from_utf8(&line.data).unwrap().trim();
                assert_eq!(number, next.to_string(), "{}", line.source.pod);
                *next += 1;
            }
        }
    }
    assert!(reader.logs.wait().await.is_ok());
    assert_eq!(next.into_values().collect::<Vec<_>>(), [83_886; 3]);
    assert_eq!(reader.logs.report().gaps, 0);
}

//! `tests/vectors/api.json` against the core: kinds, options and their defaults, in both directions.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wsx_core::{ErrorKind, ExecOptions, Limits, LogProtocol, LogsOptions, Verify};

use crate::scenario::read;

#[test]
fn the_core_has_what_the_table_says() {
    assert_eq!(differences(&read("vectors/api.json")), [""; 0]);
}

#[test]
fn a_bogus_name_in_the_table_is_noticed() {
    for (pointer, bogus) in [
        ("/kinds", json!({"name": "bogus"})),
        (
            "/options/connect",
            json!({"name": "bogus", "default": null}),
        ),
        ("/options/exec", json!({"name": "bogus", "default": null})),
        ("/options/attach", json!({"name": "bogus", "default": null})),
        ("/options/logs", json!({"name": "bogus", "default": null})),
        (
            "/options/run",
            json!({"name": "protocol", "default": "bogus"}),
        ),
        ("/options/timeouts", json!({"name": "bogus", "default": 1})),
    ] {
        let mut api = read("vectors/api.json");
        api.pointer_mut(pointer)
            .unwrap()
            .as_array_mut()
            .unwrap()
            .push(bogus);
        assert_eq!(differences(&api).len(), 1, "{pointer}");
    }
}

#[test]
fn a_name_that_the_table_lacks_is_noticed() {
    for pointer in [
        "/kinds",
        "/options/connect",
        "/options/exec",
        "/options/attach",
        "/options/logs",
        "/options/timeouts",
    ] {
        let mut api = read("vectors/api.json");
        api.pointer_mut(pointer)
            .unwrap()
            .as_array_mut()
            .unwrap()
            .remove(0);
        assert_eq!(differences(&api).len(), 1, "{pointer}");
    }
}

/// Returns what is not the same in the table and in the core, one line each.
fn differences(api: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, table: Defaults, core: Defaults| {
        for name in table
            .keys()
            .chain(core.keys().filter(|name| !table.contains_key(*name)))
        {
            let (table, core) = (table.get(name), core.get(name));
            if table != core {
                wrong.push(format!(
                    "{what} {name}: {table:?} in the table, {core:?} in the core"
                ));
            }
        }
    };
    let kinds = ErrorKind::ALL.map(|kind| (kind.as_str().to_owned(), Value::Null));
    compare("kind", names(&api["kinds"]), kinds.into());
    compare(
        "connect",
        names(&api["options"]["connect"]),
        config_fields(),
    );
    compare("exec", defaults(&api["options"]["exec"]), exec_defaults());
    compare(
        "timeouts",
        defaults(&api["options"]["timeouts"]),
        timeout_defaults(),
    );
    let attach = defaults(&api["options"]["attach"]);
    compare("attach", attach, attach_defaults());
    compare("logs", defaults(&api["options"]["logs"]), logs_defaults());
    let (table, core) = (&api["logs_timeouts"], logs_timeouts());
    let table = table.as_object().unwrap().clone().into_iter();
    compare(
        "logs_timeouts",
        table.filter(|(name, _)| name != "about").collect(),
        core,
    );
    // `run` is `exec` and more: what both have is the same.
    let exec = exec_defaults();
    let (mut table, mut core) = (defaults(&api["options"]["run"]), Defaults::new());
    table.retain(|name, _| exec.contains_key(name));
    core.extend(
        exec.into_iter()
            .filter(|(name, _)| table.contains_key(name)),
    );
    compare("run", table, core);
    wrong
}

/// Options by name, each with its default.
type Defaults = BTreeMap<String, Value>;

fn defaults(table: &Value) -> Defaults {
    let entries = table.as_array().unwrap().iter();
    entries
        .map(|entry| {
            (
                entry["name"].as_str().unwrap().to_owned(),
                entry["default"].clone(),
            )
        })
        .collect()
}

fn names(table: &Value) -> Defaults {
    let names = defaults(table).into_keys();
    names.map(|name| (name, Value::Null)).collect()
}

/// The fields of `Config` by the names of the table, without those that only the command line has.
/// They are private, so the source is read. `kubeconfig_text` is what `from_kubernetes` passes.
fn config_fields() -> Defaults {
    let source = include_str!("../../core/src/client/config.rs");
    let (_, fields) = source.split_once("pub struct Config {").unwrap();
    let (fields, _) = fields.split_once("\n}").unwrap();
    fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(super) ")?.split_once(':'))
        .filter_map(|(name, _)| match name {
            "kubeconfig_text" | "connect_timeout" | "impersonate_extra" | "impersonate_uid"
            | "password" | "username" => None,
            "observer" => Some("on_notice"),
            name => Some(name),
        })
        .map(|name| (name.to_owned(), Value::Null))
        .collect()
}

/// The fields of `ExecOptions` by the names of the table.
fn exec_defaults() -> Defaults {
    let core = ExecOptions::default();
    fields(&core)
        .into_iter()
        .filter_map(|name| {
            let default = match &*name {
                "container" => json!(core.container),
                "limits" => return Some(("timeouts".to_owned(), Value::Null)),
                "namespace" => json!(core.namespace),
                "pod_running_timeout" | "timeout" => return None,
                "preflight" => json!(core.preflight),
                "protocol" => json!(format!("{:?}", core.protocol).to_lowercase()),
                "size" => json!(core.size.map(|size| (size.columns, size.rows))),
                "stderr" => json!(core.stderr),
                "stdin" => json!(core.stdin),
                "stdout" => json!(core.stdout),
                "tty" => json!(core.tty),
                "verify" => json!(if core.verify == Verify::Auto {
                    "auto"
                } else {
                    "never"
                }),
                _ => json!("unknown to this test"),
            };
            Some((name, default))
        })
        .collect()
}

/// Those of `exec`, without what attach has no use for (`Client::attach`).
fn attach_defaults() -> Defaults {
    let mut defaults = exec_defaults();
    defaults.retain(|name, _| !matches!(&**name, "preflight" | "verify"));
    defaults
}

/// The fields of `LogsOptions` by the names of the table.
fn logs_defaults() -> Defaults {
    let core = LogsOptions::default();
    let seconds = |limit: Option<std::time::Duration>| json!(limit.map(|limit| limit.as_secs()));
    fields(&core)
        .into_iter()
        .filter_map(|name| {
            let default = match &*name {
                "all_containers" => json!(core.all_containers),
                "all_namespaces" => json!(core.all_namespaces),
                "all_pods" => json!(core.all_pods),
                "container" => json!(core.container),
                "follow" => json!(core.follow),
                "forever" => json!(core.forever),
                "ignore_errors" => json!(core.ignore_errors),
                "limit_bytes" => json!(core.limit_bytes),
                "limits" => return Some(("timeouts".to_owned(), Value::Null)),
                "max_log_requests" => json!(core.max_log_requests),
                "namespace" => json!(core.namespace),
                "pod_running_timeout" => return None,
                "previous" => json!(core.previous),
                "protocol" if core.protocol == LogProtocol::Auto => json!("auto"),
                "resume" => json!(core.resume),
                "selector" => json!(core.selector),
                "since" => seconds(core.since),
                "since_time" => json!(core.since_time),
                "sort_window" => seconds(core.sort_window),
                "tail_lines" => json!(core.tail_lines),
                "timestamps" => json!(core.timestamps),
                _ => json!("unknown to this test"),
            };
            Some((name, default))
        })
        .collect()
}

/// What is another limit for logs than for exec.
fn logs_timeouts() -> Defaults {
    let (logs, others) = (LogsOptions::default(), ExecOptions::default());
    let (ours, theirs) = (&logs.limits, &others.limits);
    [
        ("connect", ours.connect, theirs.connect),
        ("keepalive", ours.keepalive, theirs.keepalive),
        (
            "keepalive_timeout",
            ours.keepalive_timeout,
            theirs.keepalive_timeout,
        ),
        (
            "pod_running",
            logs.pod_running_timeout,
            others.pod_running_timeout,
        ),
    ]
    .into_iter()
    .filter(|(_, ours, theirs)| ours != theirs)
    .map(|(name, ours, _)| (name.to_owned(), json!(ours.as_secs())))
    .collect()
}

fn timeout_defaults() -> Defaults {
    let (core, limits) = (ExecOptions::default(), Limits::default());
    let mut defaults: Defaults = fields(&limits)
        .into_iter()
        .map(|name| {
            let default = match &*name {
                "connect" => json!(limits.connect.as_secs()),
                "keepalive" => json!(limits.keepalive.as_secs()),
                "keepalive_timeout" => json!(limits.keepalive_timeout.as_secs()),
                "stall" => json!(limits.stall.as_secs()),
                _ => json!("unknown to this test"),
            };
            (name, default)
        })
        .collect();
    let total = core.timeout.map(|limit| limit.as_secs());
    defaults.insert("total".to_owned(), json!(total));
    let pod_running = core.pod_running_timeout.as_secs();
    defaults.insert("pod_running".to_owned(), json!(pod_running));
    defaults
}

/// The names of a struct's fields, so that a new one is noticed.
fn fields(value: &impl std::fmt::Debug) -> Vec<String> {
    format!("{value:#?}")
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .filter(|(name, _)| !name.starts_with(' '))
        .map(|(name, _)| name.to_owned())
        .collect()
}

//! `tests/vectors/api.json` against the core: kinds, options and their defaults, in both directions.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use wsx_core::{ErrorKind, ExecOptions, ForwardOptions, Limits, LogProtocol, LogsOptions, Verify};

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
            "/options/port_forward",
            json!({"name": "bogus", "default": null}),
        ),
        ("/classes/ForwardEvent/properties", json!("bogus")),
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
        "/options/port_forward",
        "/options/timeouts",
        "/classes/ForwardedPort/properties",
        "/classes/ForwardReport/properties",
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
    compare(
        "port_forward",
        defaults(&api["options"]["port_forward"]),
        forward_defaults(),
    );
    for (class, core) in forward_values() {
        let table = api["classes"][class]["properties"].as_array().unwrap();
        let table = table.iter().map(|name| name.as_str().unwrap().to_owned());
        let named = |names: Vec<String>| names.into_iter().map(|name| (name, Value::Null));
        compare(
            class,
            named(table.collect()).collect(),
            named(core).collect(),
        );
    }
    let (logs, forward) = (LogsOptions::default(), ForwardOptions::default());
    for (name, core) in [
        (
            "logs_timeouts",
            others(&logs.limits, logs.pod_running_timeout),
        ),
        (
            "port_forward_timeouts",
            others(&forward.limits, forward.pod_running_timeout),
        ),
    ] {
        let table = api[name].as_object().unwrap().clone().into_iter();
        let table = table.filter(|(name, _)| name != "about").collect();
        compare(name, table, core);
    }
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
    let seconds = |limit: Option<Duration>| json!(limit.map(|limit| limit.as_secs()));
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

/// The fields of `ForwardOptions` by the names of the table.
fn forward_defaults() -> Defaults {
    let core = ForwardOptions::default();
    fields(&core)
        .into_iter()
        .filter_map(|name| {
            let default = match &*name {
                "address" => json!(core.address),
                "balance" if core.balance.is_none() => Value::Null,
                "half_close" => json!(format!("{:?}", core.half_close).to_lowercase()),
                "hold" => json!(core.hold.as_secs()),
                "limits" => return Some(("timeouts".to_owned(), Value::Null)),
                "namespace" => json!(core.namespace),
                "on_conflict" => json!(format!("{:?}", core.on_conflict).to_lowercase()),
                "pod_running_timeout" => return None,
                "protocol" => json!(format!("{:?}", core.protocol).to_lowercase()),
                "reconnect" => json!(format!("{:?}", core.reconnect).to_lowercase()),
                "require_ready" => json!(core.require_ready),
                "sessions" => json!(core.sessions),
                "unix" => json!(core.unix),
                "wait" => json!(core.wait.as_secs()),
                _ => json!("unknown to this test"),
            };
            Some((name, default))
        })
        .collect()
}

/// The fields of what a port-forward tells, by class. They are public, so the source is read.
fn forward_values() -> [(&'static str, Vec<String>); 3] {
    let source = include_str!("../../core/src/session/forward/event.rs");
    let body = |head: &str| {
        let (_, body) = source.split_once(head).unwrap();
        body.split_once("\n}").unwrap().0
    };
    let name = |line: &str| {
        let name = line.trim().trim_start_matches("pub ").split_once(": ")?.0;
        (!name.starts_with('/')).then(|| name.to_owned())
    };
    let names = |head| body(head).lines().filter_map(name).collect::<Vec<_>>();
    let mut event = names("pub enum ForwardEvent {");
    event.push("kind".to_owned());
    [
        ("ForwardEvent", event),
        ("ForwardReport", names("pub struct ForwardReport {")),
        ("ForwardedPort", names("pub struct ForwardedPort {")),
    ]
}

/// What is another limit than for exec.
fn others(ours: &Limits, pod_running: Duration) -> Defaults {
    let exec = ExecOptions::default();
    let theirs = &exec.limits;
    [
        ("connect", ours.connect, theirs.connect),
        ("keepalive", ours.keepalive, theirs.keepalive),
        (
            "keepalive_timeout",
            ours.keepalive_timeout,
            theirs.keepalive_timeout,
        ),
        ("pod_running", pod_running, exec.pod_running_timeout),
        ("stall", ours.stall, theirs.stall),
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

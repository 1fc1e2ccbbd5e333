//! What tests ask of the ports of a pod, as lines of JSON on the cluster's own path.
//!
//! Lives here: the words, and their doing. Never here: HTTP around them. `tests/README.md` has the table.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::faults::{Faults, How};
use super::ports::Leads;
use super::site::{End, Protocols, Runtime};
use crate::cluster::life;
use crate::cluster::pods;
use crate::cluster::world::World;

/// One line; what stands first here is done first.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Operation {
    create: Option<Map<String, Value>>,
    protocols: Option<Protocols>,
    runtime: Option<Runtime>,
    end: Option<End>,
    ports: BTreeMap<u16, Leads>,
    sessions: Option<Faults>,
    next: Option<Faults>,
    cut: Option<How>,
    replace: bool,
    restart: bool,
    /// The first container has not run yet, for this reason.
    waiting: Option<String>,
    exit: Option<i64>,
    ready: Option<bool>,
    terminating: bool,
    /// Nothing else becomes of the pod then.
    delete: bool,
    await_sessions: Option<u64>,
    await_open: Option<u64>,
    await_total: Option<u64>,
    await_pings: Option<u64>,
    await_resets: Option<u64>,
}

/// Does what one line says; the answer tells how many sessions were cut, and what was counted.
pub(crate) async fn perform(
    world: &World,
    namespace: &str,
    name: &str,
    line: &str,
) -> Result<Value, String> {
    let operation: Operation = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let site = world.forwards.site(namespace, name);
    if let Some(labels) = operation.create.clone() {
        world.pods.change(namespace, name, |_, serial| {
            let mut pod = pods::fresh(namespace, name, &["app"]);
            life::replace(&mut pod, serial);
            pod["metadata"]["labels"] = labels.into();
            pods::declare_ports(&mut pod);
            Some(pod)
        });
    }
    if let Some(protocols) = operation.protocols {
        site.set_protocols(protocols);
    }
    if let Some(runtime) = operation.runtime {
        site.set_runtime(runtime);
    }
    if let Some(end) = operation.end {
        site.set_end(end);
    }
    for (port, leads) in &operation.ports {
        site.lead(*port, *leads);
    }
    if let Some(faults) = operation.sessions.clone() {
        site.set_faults(faults);
    }
    if let Some(faults) = operation.next.clone() {
        site.add_faults(faults);
    }
    let cut = match &operation.cut {
        Some(how) => site.cut(how).await,
        None => 0,
    };
    change_pod(world, namespace, name, &operation)?;
    for (wanted, count) in [
        (
            operation.await_sessions,
            (|c| c.sessions) as fn(&super::site::Counts) -> u64,
        ),
        (operation.await_open, |c| {
            c.ports.values().map(|port| port.open).sum()
        }),
        (operation.await_total, |c| {
            c.ports.values().map(|port| port.total).sum()
        }),
        (operation.await_pings, |c| c.pings),
        (operation.await_resets, |c| c.resets),
    ] {
        if let Some(wanted) = wanted {
            site.reaches(|counts| count(counts) == wanted).await;
        }
    }
    Ok(json!({"cut": cut, "counts": site.counts()}))
}

fn change_pod(
    world: &World,
    namespace: &str,
    name: &str,
    operation: &Operation,
) -> Result<(), String> {
    let mut done = Some(());
    if operation.delete {
        world.pods.change(namespace, name, |_, _| None);
    } else if operation.ready.is_some()
        || operation.terminating
        || operation.waiting.is_some()
        || operation.exit.is_some()
        || operation.restart
        || operation.replace
    {
        world.pods.change(namespace, name, |pod, serial| {
            let Some(mut pod) = pod else {
                done = None;
                return None;
            };
            let first = pods::container_names(&pod).swap_remove(0);
            if operation.replace {
                life::replace(&mut pod, serial);
            }
            if operation.restart {
                done = done.and_then(|()| life::restart(&mut pod, &first, serial));
            }
            if let Some(reason) = &operation.waiting {
                done = done.and_then(|()| life::wait(&mut pod, &first, reason, true));
            }
            if let Some(code) = operation.exit {
                done = done.and_then(|()| life::exit(&mut pod, &first, code));
            }
            if let Some(ready) = operation.ready {
                life::ready(&mut pod, ready);
            }
            if operation.terminating {
                life::terminate(&mut pod);
            }
            Some(pod)
        });
    }
    done.ok_or_else(|| format!("no pod {namespace}/{name} that could do it"))
}

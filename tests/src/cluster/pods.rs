//! The pods and the slices of endpoints that follow from them, with their changes and versions.
//!
//! Lives here: the store, and what stands behind a container's name. Never here: how a pod looks (`roster`),
//! routes or processes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{broadcast, watch};

use super::logs::Cut;
pub(crate) use super::roster::{container_id, declare_ports, fresh, uid};
use super::{roster, slices};

/// What changes about pods while the cluster lives.
pub(crate) struct Pods {
    changing: Mutex<Changing>,
    /// whoever changes a pod --()--> watches
    changed_tx: watch::Sender<()>,
    /// control --what to do--> watches
    orders_tx: broadcast::Sender<Order>,
}

/// What watches are told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Bookmark,
    Cut(Cut),
    /// An event with this code, reason and text, then the end.
    Error(u16, &'static str, &'static str),
}

/// One change of one object.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
}

/// Objects by kind, namespace and name.
type Objects = BTreeMap<(&'static str, String, String), Value>;

struct Changing {
    slow_start: Option<Instant>,
    restarts: u32,
    /// Exit codes of main processes that have ended, by `namespace/pod/container`.
    exits: HashMap<String, i32>,
    /// Pods that were changed on demand, by namespace and name; `None` was deleted.
    changed: BTreeMap<(String, String), Option<Value>>,
    version: u64,
    /// All objects when they were last looked at, and what has happened to them.
    seen: Objects,
    /// Whether `slow-start-0` ran then.
    slow_started: bool,
    /// Whether something else has changed since.
    stale: bool,
    history: Vec<Change>,
    /// Watches from before this version are refused.
    oldest: u64,
}

impl Default for Pods {
    fn default() -> Self {
        let mut changing = Changing {
            slow_start: None,
            restarts: 0,
            exits: HashMap::new(),
            changed: BTreeMap::new(),
            version: FIRST_VERSION,
            seen: BTreeMap::new(),
            slow_started: false,
            stale: false,
            history: Vec::new(),
            oldest: FIRST_VERSION,
        };
        changing.seen = all(&changing);
        let slices = slices::slices(changing.seen.values());
        changing.seen.extend(by_name(slices));
        Self {
            changing: Mutex::new(changing),
            changed_tx: watch::Sender::new(()),
            orders_tx: broadcast::Sender::new(16),
        }
    }
}

impl Changing {
    /// Notes what is different from the last look.
    fn look(&mut self) {
        let started = self.slow_start.map(|since| since.elapsed() >= SLOW_START);
        let started = started.unwrap_or(false);
        if !self.stale && started == self.slow_started {
            return;
        }
        (self.stale, self.slow_started) = (false, started);
        let pods = all(self);
        if self.note(POD, pods) {
            let slices = slices::slices(self.seen.values());
            self.note(SLICE, by_name(slices));
        }
    }

    /// Notes what is different among the objects of one kind, and whether anything was.
    fn note(&mut self, kind: &str, mut now: Objects) -> bool {
        let before = self.version;
        let seen = self.seen.keys().filter(|key| key.0 == kind);
        let names: BTreeSet<_> = seen.chain(now.keys()).cloned().collect();
        for name in names {
            let old = self.seen.get(&name).cloned();
            let mut new = now.remove(&name);
            if let (Some(old), Some(new)) = (&old, &mut new) {
                new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            }
            if old != new {
                self.version += 1;
                let version = self.version;
                let set = |mut object: Value| {
                    object["metadata"]["resourceVersion"] = version.to_string().into();
                    object
                };
                new = new.map(set);
                match &new {
                    Some(object) => self.seen.insert(name, object.clone()),
                    None => self.seen.remove(&name),
                };
                let old = if new.is_none() { old.map(set) } else { old };
                self.history.push(Change { version, old, new });
            }
        }
        self.version != before
    }

    fn of_kind(&self, kind: &str) -> Vec<Value> {
        let fitting = self.seen.iter().filter(|(key, _)| key.0 == kind);
        fitting.map(|(_, object)| object.clone()).collect()
    }
}

impl Pods {
    /// Reads one pod, which is an event for those that change when looked at.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Value> {
        match name {
            "restarts-0" => {
                let mut changing = self.changing();
                changing.restarts += 1;
                changing.stale = true;
            }
            "slow-start-0" => {
                self.changing().slow_start.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
        self.peek(namespace, name)
    }

    /// Reads one pod, and changes nothing.
    pub(crate) fn peek(&self, namespace: &str, name: &str) -> Option<Value> {
        self.find(POD, namespace, name)
    }

    /// Reads one object of a kind, and changes nothing.
    pub(crate) fn find(&self, kind: &'static str, namespace: &str, name: &str) -> Option<Value> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        self.looked(|changing| changing.seen.get(&key).cloned())
    }

    /// Lists the objects of a kind in all namespaces with the version of the list, and changes nothing.
    pub(crate) fn list(&self, kind: &str) -> (u64, Vec<Value>) {
        self.looked(|changing| (changing.version, changing.of_kind(kind)))
    }

    /// The version of the last change that somebody has looked at.
    pub(crate) fn version(&self) -> u64 {
        self.changing().version
    }

    /// Looks at everything anew, so that what has changed by time is noted too.
    pub(crate) fn look(&self) {
        self.looked(|_| ());
    }

    fn looked<T>(&self, read: impl FnOnce(&Changing) -> T) -> T {
        let mut changing = self.changing();
        let before = changing.version;
        changing.look();
        let (version, read) = (changing.version, read(&changing));
        drop(changing);
        if version != before {
            self.changed_tx.send_replace(());
        }
        read
    }

    /// Remembers that a container's main process has ended.
    pub(crate) fn ended(&self, namespace: &str, pod: &str, container: &str, code: i32) {
        let place = format!("{namespace}/{pod}/{container}");
        let mut changing = self.changing();
        changing.exits.insert(place, code);
        changing.stale = true;
        drop(changing);
        self.look();
    }

    /// Changes one pod on demand, makes it or deletes it; the function also gets a number never used before.
    pub(crate) fn change(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(Option<Value>, u64) -> Option<Value>,
    ) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut changing = self.changing();
        changing.look();
        let place = (POD, key.0.clone(), key.1.clone());
        let new = change(changing.seen.get(&place).cloned(), changing.version + 1);
        changing.changed.insert(key, new);
        changing.stale = true;
        drop(changing);
        self.look();
    }

    /// What happened after this version, or the oldest version that is still known.
    pub(crate) fn since(&self, version: u64) -> Result<Vec<Change>, u64> {
        let changing = self.changing();
        if version < changing.oldest {
            return Err(changing.oldest);
        }
        let later = changing
            .history
            .iter()
            .filter(|change| change.version > version);
        Ok(later.cloned().collect())
    }

    /// Forgets what happened so far.
    pub(crate) fn compact(&self) {
        let mut changing = self.changing();
        changing.version += 1;
        changing.oldest = changing.version;
        changing.history.clear();
    }

    /// Tells all watches.
    pub(crate) fn order(&self, order: Order) {
        // Without a watch there is nobody to tell.
        let _ = self.orders_tx.send(order);
    }

    /// Orders and changes from now on.
    pub(crate) fn watched(&self) -> (broadcast::Receiver<Order>, watch::Receiver<()>) {
        (self.orders_tx.subscribe(), self.changed_tx.subscribe())
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One container as somebody who wants to enter it sees it.
pub(crate) struct Container {
    pub(crate) running: bool,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
}

/// The names of a pod's containers, as the API server lists them in a refusal.
pub(crate) fn container_names(pod: &Value) -> Vec<String> {
    names(&pod["spec"]["containers"])
}

/// The container a request means, or the text of the refusal.
// kubernetes pkg/registry/core/pod/strategy.go: validateContainer; annotations are not looked at.
pub(crate) fn choose_container(pod: &Value, wanted: Option<&str>) -> Result<String, String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let regular = container_names(pod);
    match wanted.filter(|wanted| !wanted.is_empty()) {
        None if regular.len() == 1 => Ok(regular[0].clone()),
        None => {
            let mut text = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                regular.join(" ")
            );
            let init = names(&pod["spec"]["initContainers"]);
            if !init.is_empty() {
                text.push_str(&format!(
                    " or one of the init containers: [{}]",
                    init.join(" ")
                ));
            }
            Err(text)
        }
        Some(wanted) => {
            let mut known = regular;
            known.extend(names(&pod["spec"]["initContainers"]));
            known.extend(names(&pod["spec"]["ephemeralContainers"]));
            if known.iter().any(|known| known == wanted) {
                Ok(wanted.to_owned())
            } else {
                Err(format!("container {wanted} is not valid for pod {name}"))
            }
        }
    }
}

/// What is known about one container of a pod.
pub(crate) fn container(pod: &Value, name: &str) -> Container {
    let find = |list: &Value| {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .find(|item| item["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    let mut spec = Value::Null;
    let mut status = Value::Null;
    for (specs, statuses) in [
        ("containers", "containerStatuses"),
        ("initContainers", "initContainerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        if spec.is_null() {
            spec = find(&pod["spec"][specs]);
            status = find(&pod["status"][statuses]);
        }
    }
    Container {
        running: status["state"]["running"].is_object(),
        stdin: spec["stdin"] == true,
        stdin_once: spec["stdinOnce"] == true,
        tty: spec["tty"] == true,
    }
}

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|item| item["name"].as_str())
        .map(str::to_owned)
        .collect()
}

fn all(changing: &Changing) -> Objects {
    let mut pods = by_name(roster::all(
        changing.slow_started,
        changing.restarts,
        &changing.exits,
    ));
    for ((namespace, name), changed) in &changing.changed {
        let key = (POD, namespace.clone(), name.clone());
        match changed {
            Some(pod) => pods.insert(key, pod.clone()),
            None => pods.remove(&key),
        };
    }
    pods
}

fn by_name(objects: Vec<Value>) -> Objects {
    let text = |object: &Value, field: &str| {
        let text = object["metadata"][field].as_str();
        text.unwrap_or_default().to_owned()
    };
    let kind = |object: &Value| match object["kind"].as_str() {
        Some("EndpointSlice") => SLICE,
        _ => POD,
    };
    let named = objects.into_iter().map(|object| {
        let key = (
            kind(&object),
            text(&object, "namespace"),
            text(&object, "name"),
        );
        (key, object)
    });
    named.collect()
}

/// The kinds that change.
pub(crate) const POD: &str = "Pod";
pub(crate) const SLICE: &str = "EndpointSlice";
const SLOW_START: Duration = Duration::from_millis(1500);
const FIRST_VERSION: u64 = 1000;

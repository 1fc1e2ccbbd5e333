//! What is known of the pods of a target, kept by a watch.
//!
//! Lives here: which pods may be used, and why the others may not. Never here: sessions, ports.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::client::pod::{Metadata, Pod, best, nullable};
use crate::client::server::Server;
use crate::client::watch::{News, Selection, Watched, Watcher};
use crate::protocol::request::Limits;
use crate::protocol::text::excerpt;

/// How often pods are looked at that may not be watched.
const PERIOD: Duration = Duration::from_secs(1);
/// How many changes wait.
const NEWS: usize = 16;
/// How many pods are named with what is wrong with them.
const NAMED: usize = 3;

/// Which pods may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// Those that are ready and stay.
    Ready,
    /// Those that run.
    Running,
}

impl Rule {
    /// Returns what speaks against a pod.
    fn objection(self, pod: &Pod) -> Option<String> {
        match pod.phase() {
            "Running" => {}
            phase @ ("Succeeded" | "Failed") => return Some(format!("has ended ({phase})")),
            _ => {
                let why = pod.why_pending();
                return Some(why.trim_start_matches("the pod ").to_owned());
            }
        }
        match self {
            Self::Running => None,
            Self::Ready if pod.is_terminating() => Some("is being deleted".to_owned()),
            Self::Ready if !pod.is_ready() => Some("is not ready".to_owned()),
            Self::Ready => None,
        }
    }
}

/// A part of the endpoints of a service.
#[derive(Debug, Deserialize)]
pub(super) struct Slice {
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Endpoint {
    #[serde(deserialize_with = "nullable")]
    conditions: Conditions,
    target_ref: Option<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    /// Absent: ready.
    ready: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    uid: String,
}

impl Watched for Slice {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Slice {
    /// Returns the identities of what it holds ready.
    fn ready(&self) -> Vec<String> {
        let ready = self
            .endpoints
            .iter()
            .filter(|it| it.conditions.ready != Some(false));
        ready
            .filter_map(|it| it.target_ref.as_ref().map(|it| it.uid.clone()))
            .collect()
    }
}

/// What is known now.
pub(super) struct View {
    rule: Rule,
    pods: Vec<Pod>,
    /// The pods of a service by the name of the slice they are in, where slices may be read.
    slices: Option<HashMap<String, Vec<String>>>,
    /// How often all of them were looked at.
    pub(super) looks: u64,
    /// Why the server cannot be reached.
    pub(super) away: Option<String>,
}

impl View {
    /// Returns the pods that may be used.
    pub(super) fn usable(&self) -> impl Iterator<Item = &Pod> {
        self.pods
            .iter()
            .filter(|pod| self.rule.objection(pod).is_none())
    }

    /// Returns the names of the pods over which connections are spread: those that may be used, and,
    /// where slices are known, are among the endpoints.
    pub(super) fn spread(&self) -> Vec<String> {
        let listed = |pod: &&Pod| match &self.slices {
            Some(slices) => slices
                .values()
                .flatten()
                .any(|uid| *uid == pod.metadata.uid),
            None => true,
        };
        let pods = self.usable().filter(listed);
        pods.map(|pod| pod.metadata.name.clone()).collect()
    }

    /// Returns the pod with this identity if it may be used, else the one that kubectl would take of
    /// those that may.
    pub(super) fn pick(&self, uid: Option<&str>) -> Option<&Pod> {
        let mut usable = self.usable();
        let same = usable.find(|pod| uid == Some(&*pod.metadata.uid));
        same.or_else(|| best(self.usable()))
    }

    /// Returns the only pod there is, for a target that is a pod.
    pub(super) fn only(&self) -> Option<&Pod> {
        self.pods.first()
    }

    /// Returns why none may be used.
    pub(super) fn why_none(&self) -> String {
        let objections = self.pods.iter().filter_map(|pod| {
            let objection = self.rule.objection(pod)?;
            Some(format!("{} {objection}", shown(&pod.metadata.name)))
        });
        let named: Vec<_> = objections.take(NAMED).collect();
        match self.pods.len().saturating_sub(NAMED) {
            _ if named.is_empty() => "there is no such pod".to_owned(),
            0 => named.join(", "),
            more => format!("{}, and {more} more", named.join(", ")),
        }
    }

    /// Returns why a pod may not be used any more.
    fn why_gone(&self, name: &str, uid: &str) -> Option<String> {
        let shown = shown(name);
        let found = self.pods.iter().find(|pod| pod.metadata.name == name);
        match found {
            None => Some(format!("pod {shown} is gone")),
            Some(pod) if pod.metadata.uid != uid => {
                Some(format!("pod {shown} was replaced by another of its name"))
            }
            Some(pod) => {
                let objection = self.rule.objection(pod)?;
                Some(format!("pod {shown} {objection}"))
            }
        }
    }

    fn hear(&mut self, news: News<Pod>) {
        match news {
            News::All(pods) => {
                self.pods = pods;
                self.looks += 1;
            }
            News::Away(why) => self.away = Some(why),
            News::Back => self.away = None,
            News::Changed(pod) => {
                let name = &pod.metadata.name;
                match self.pods.iter_mut().find(|it| it.metadata.name == *name) {
                    Some(old) => *old = *pod,
                    None => self.pods.push(*pod),
                }
            }
            News::Gone(pod) => self.pods.retain(|it| it.metadata.uid != pod.metadata.uid),
            // It goes on for ever.
            News::Failed(_) => {}
        }
    }

    fn hear_slices(&mut self, news: News<Slice>) {
        let all = self.slices.get_or_insert_default();
        match news {
            News::All(slices) => {
                let entry = |it: Slice| (it.metadata.name.clone(), it.ready());
                *all = slices.into_iter().map(entry).collect();
            }
            News::Changed(slice) => {
                all.insert(slice.metadata.name.clone(), slice.ready());
            }
            News::Gone(slice) => {
                all.remove(&slice.metadata.name);
            }
            News::Failed(_) => self.slices = None,
            News::Away(_) | News::Back => {}
        }
    }
}

/// Keeps a view up to date; dropping it ends that.
pub(super) struct Keeper {
    view: watch::Receiver<View>,
    doubt: Arc<Notify>,
    _tasks: JoinSet<()>,
}

/// The pods of a target.
pub(super) struct Pods {
    pub(super) selection: Selection,
    pub(super) rule: Rule,
    pub(super) known: Vec<Pod>,
    /// The version of the list; absent where it is none.
    pub(super) version: Option<String>,
    /// Slices of a service, listed once, and the version of that list.
    pub(super) slices: Option<(Selection, Vec<Slice>, String)>,
}

impl Keeper {
    /// Begins to watch.
    pub(super) fn start(server: &Arc<Server>, limits: Limits, pods: Pods) -> Self {
        let Pods {
            selection,
            rule,
            known,
            version,
            slices,
        } = pods;
        let (view_tx, view) = watch::channel(View {
            rule,
            pods: known,
            slices: None,
            looks: 0,
            away: None,
        });
        let doubt = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let (news, mut pods_rx) = mpsc::channel(NEWS);
        let watcher = Watcher {
            server: Arc::clone(server),
            selection,
            limits,
            period: PERIOD,
            forever: true,
            doubt: Arc::clone(&doubt),
            news,
        };
        tasks.spawn(watcher.run(version));
        let (news, mut slices_rx) = mpsc::channel(NEWS);
        if let Some((selection, slices, version)) = slices {
            view_tx.send_modify(|view| view.hear_slices(News::All(slices)));
            let watcher = Watcher {
                server: Arc::clone(server),
                selection,
                limits,
                period: PERIOD,
                forever: false,
                doubt: Arc::default(),
                news,
            };
            tasks.spawn(watcher.run(Some(version)));
        }
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    Some(news) = pods_rx.recv() => view_tx.send_modify(|view| view.hear(news)),
                    Some(news) = slices_rx.recv() => {
                        view_tx.send_modify(|view| view.hear_slices(news));
                    }
                    else => return,
                }
            }
        });
        Self {
            view,
            doubt,
            _tasks: tasks,
        }
    }

    /// Has all pods looked at again.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Returns the view.
    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Waits until a pod may not be used any more, and returns why.
    pub(super) fn gone(&self, pod: &Pod) -> BoxFuture<'static, String> {
        let mut view = self.view();
        let Metadata { name, uid, .. } = pod.metadata.clone();
        Box::pin(async move {
            loop {
                if let Some(why) = view.borrow_and_update().why_gone(&name, &uid) {
                    return why;
                }
                if view.changed().await.is_err() {
                    // Nobody looks any more: the port-forward is over.
                    std::future::pending::<()>().await;
                }
            }
        })
    }
}

fn shown(name: &str) -> String {
    excerpt(name.as_bytes(), 253)
}

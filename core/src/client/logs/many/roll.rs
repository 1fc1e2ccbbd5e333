//! Which logs there are, which come next, and which may still come.
//!
//! Lives here: the state of each log, by the UID of its pod and its container. Never here: requests,
//! queues, time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::client::logs::place::{self, Place};
use crate::client::notice::Notice;
use crate::client::pod::Pod;
use crate::error::{ErrorKind, Result};
use crate::protocol::logs::{Instance, LogsOptions};
use crate::session::logs::{LogEvent, LogSource};

/// Names the log of a container over its restarts.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) uid: String,
    pub(super) container: String,
}

/// Why a log is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// Its container runs anew.
    Again { count: u32, unseen: u32 },
    /// It was there from the beginning.
    First,
    /// It began later: all of it is new.
    Joining,
}

/// A log to be read.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) turn: Turn,
}

/// What may still come of all logs that are not being read.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Outlook {
    /// Nothing.
    Over,
    /// There is no pod.
    Nobody,
    /// A container will run anew.
    Restart,
    /// A container has not begun; its state.
    Unbegun(String),
}

struct Member {
    source: Arc<LogSource>,
    state: State,
    /// What it waits for, once that was told.
    told: Option<String>,
    may_write: bool,
    gone: bool,
}

enum State {
    /// Read to the end of this run; absent where it failed.
    Done(Option<Instance>),
    InLine,
    Reading,
    Unbegun,
}

pub(super) struct Roll {
    options: LogsOptions,
    namespace: String,
    members: HashMap<Key, Member>,
    line: VecDeque<Entry>,
    /// Whether somebody joined the line who was not told so yet.
    longer: bool,
    events: Vec<(Arc<LogSource>, LogEvent)>,
    notices: HashSet<String>,
    /// Whether those that were there from the beginning are known.
    seen: bool,
    /// Whether a log ever had its turn.
    pub(super) began: bool,
}

impl Roll {
    /// Makes an empty one; `namespace` is that of pods that tell none.
    pub(super) fn new(options: &LogsOptions, namespace: &str) -> Self {
        Self {
            options: options.clone(),
            namespace: namespace.to_owned(),
            members: HashMap::new(),
            line: VecDeque::new(),
            longer: false,
            events: Vec::new(),
            notices: HashSet::new(),
            seen: false,
            began: false,
        }
    }

    /// Takes what a pod is now; returns what a person should be told.
    ///
    /// # Errors
    /// `NotFound` when the container that was asked for is not in it, unless errors are ignored.
    pub(super) fn look(&mut self, pod: &Pod) -> Result<Vec<Notice>> {
        let mut told = Vec::new();
        let containers = if self.options.all_containers {
            pod.containers_in_order().map(str::to_owned).collect()
        } else {
            match place::container(pod, &self.options) {
                Ok((container, notices)) => {
                    // Once for all pods that are alike.
                    let new = |notice: &Notice| self.notices.insert(notice.to_string());
                    told.extend(notices.into_iter().filter(new));
                    vec![container]
                }
                Err(error) if self.options.ignore_errors && error.kind() == ErrorKind::NotFound => {
                    let container = self.options.container.clone().unwrap_or_default();
                    let place = Place::of(pod, self.namespace_of(pod), container);
                    let (key, source) = (key(pod, &place), place.source());
                    if !self.members.contains_key(&key) {
                        let failed = LogEvent::Failed { error };
                        self.events.push((Arc::clone(&source), failed));
                        self.members
                            .insert(key, Member::new(source, State::Done(None)));
                    }
                    return Ok(told);
                }
                Err(error) => return Err(error),
            }
        };
        for container in containers {
            let may_write = pod.may_write(&container);
            let place = Place::of(pod, self.namespace_of(pod), container);
            self.consider(key(pod, &place), place, may_write);
        }
        Ok(told)
    }

    fn namespace_of<'a>(&'a self, pod: &'a Pod) -> &'a str {
        match &*pod.metadata.namespace {
            "" => &self.namespace,
            namespace => namespace,
        }
    }

    fn consider(&mut self, key: Key, place: Place, may_write: bool) {
        let first = match self.seen {
            true => Turn::Joining,
            false => Turn::First,
        };
        let new = !self.members.contains_key(&key);
        let member = self.members.entry(key.clone());
        let member = member.or_insert_with(|| Member::new(place.source(), State::Unbegun));
        member.may_write = may_write;
        let started = place.run.as_ref().is_some_and(|run| run.started);
        let turn = match &member.state {
            State::Unbegun if !self.options.follows() => Some(first),
            State::Unbegun if started => Some(if new { first } else { Turn::Joining }),
            State::Done(Some(old)) if started => {
                let now = place.run.as_ref().map(|run| run.instance.restart_count);
                let more = now.and_then(|now| now.checked_sub(old.restart_count));
                more.filter(|more| *more > 0).map(|more| Turn::Again {
                    count: old.restart_count + more,
                    unseen: more - 1,
                })
            }
            _ => None,
        };
        if let Some(turn) = turn {
            (member.state, member.told) = (State::InLine, None);
            self.line.push_back(Entry { key, place, turn });
            self.longer = true;
            return;
        }
        let waits = matches!(member.state, State::Unbegun | State::Done(Some(_)));
        let state = place.run.filter(|run| !run.running && waits && may_write);
        if let Some(reason) = state.map(|run| run.state)
            && member.told.as_ref() != Some(&reason)
        {
            member.told = Some(reason.clone());
            let event = LogEvent::Waiting { reason };
            self.events.push((Arc::clone(&member.source), event));
        }
    }

    /// Takes that no other pods than these are there.
    pub(super) fn only(&mut self, pods: &[Pod]) {
        let there: HashSet<_> = pods.iter().map(|pod| &*pod.metadata.uid).collect();
        let gone: HashSet<_> = self.members.keys().map(|key| key.uid.clone()).collect();
        for uid in gone.iter().filter(|uid| !there.contains(&***uid)) {
            self.gone(uid);
        }
    }

    /// Takes that a pod is gone. What is read of it is read to its end.
    pub(super) fn gone(&mut self, uid: &str) {
        self.members.retain(|key, member| {
            let ours = key.uid == uid;
            member.gone |= ours;
            !ours || matches!(member.state, State::InLine | State::Reading)
        });
    }

    /// Tells whether the pod of a log is gone.
    pub(super) fn is_gone(&self, key: &Key) -> bool {
        self.members.get(key).is_none_or(|member| member.gone)
    }

    /// Takes that all that was there from the beginning was looked at.
    pub(super) const fn all_seen(&mut self) {
        self.seen = true;
    }

    /// Returns the log whose turn it is.
    pub(super) fn next(&mut self) -> Option<Entry> {
        let entry = self.line.pop_front()?;
        if let Some(member) = self.members.get_mut(&entry.key) {
            member.state = State::Reading;
        }
        self.began = true;
        Some(entry)
    }

    /// Returns the logs that are in line and were not told so yet.
    pub(super) fn in_line(&mut self) -> Vec<Arc<LogSource>> {
        let mut new = Vec::new();
        if !std::mem::take(&mut self.longer) {
            return new;
        }
        for entry in &self.line {
            if let Some(member) = self.members.get_mut(&entry.key)
                && member.told.is_none()
            {
                member.told = Some(String::new());
                new.push(Arc::clone(&member.source));
            }
        }
        new
    }

    /// Takes that a log was read to its end, or failed.
    pub(super) fn done(&mut self, key: &Key, run: Option<Instance>) {
        if self.is_gone(key) {
            self.members.remove(key);
        } else if let Some(member) = self.members.get_mut(key) {
            (member.state, member.told) = (State::Done(run), None);
        }
    }

    /// Returns what is to be told of logs that are not being read.
    pub(super) fn events(&mut self) -> Vec<(Arc<LogSource>, LogEvent)> {
        std::mem::take(&mut self.events)
    }

    /// Tells what may come where nothing is read and nothing is in line.
    pub(super) fn outlook(&self) -> Outlook {
        let mut outlook = match self.members.is_empty() {
            true => Outlook::Nobody,
            false => Outlook::Over,
        };
        for member in self.members.values().filter(|member| member.may_write) {
            match member.state {
                State::Done(Some(_)) => return Outlook::Restart,
                State::Unbegun => {
                    let state = member.told.clone();
                    let unknown = || "its node has not begun with it".to_owned();
                    outlook = Outlook::Unbegun(state.unwrap_or_else(unknown));
                }
                _ => {}
            }
        }
        outlook
    }
}

impl Member {
    const fn new(source: Arc<LogSource>, state: State) -> Self {
        Self {
            source,
            state,
            told: None,
            may_write: false,
            gone: false,
        }
    }
}

fn key(pod: &Pod, place: &Place) -> Key {
    Key {
        uid: pod.metadata.uid.clone(),
        container: place.container.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod with one container, which runs for the n-th time or is in another state.
    fn pod(uid: &str, restarts: u32, state: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": uid},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "restartCount": restarts, "state": state},
            ]},
        }))
        .unwrap()
    }

    fn running() -> Value {
        json!({"running": {}})
    }

    fn roll() -> Roll {
        Roll::new(&LogsOptions::default().follow(true), "n")
    }

    /// Reads the next log to the end of this run.
    fn read(roll: &mut Roll, restarts: u32) -> Option<Turn> {
        let entry = roll.next()?;
        roll.done(&entry.key, Some(Instance::new(&*entry.key.uid, restarts)));
        Some(entry.turn)
    }

    #[test]
    fn a_run_joins_once_and_says_what_nobody_saw() {
        let mut roll = roll();
        roll.look(&pod("a", 0, &running())).unwrap();
        roll.all_seen();
        assert_eq!(read(&mut roll, 0), Some(Turn::First));
        for (restarts, turn) in [
            (0, None),
            (
                1,
                Some(Turn::Again {
                    count: 1,
                    unseen: 0,
                }),
            ),
            (1, None),
            (
                4,
                Some(Turn::Again {
                    count: 4,
                    unseen: 2,
                }),
            ),
        ] {
            roll.look(&pod("a", restarts, &running())).unwrap();
            assert_eq!(read(&mut roll, restarts), turn, "{restarts}");
        }
        roll.look(&pod("b", 0, &running())).unwrap();
        assert_eq!(read(&mut roll, 0), Some(Turn::Joining));
    }

    #[test]
    fn what_waits_is_told_once_and_joins_when_it_runs() {
        let mut roll = roll();
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff"}});
        for _ in 0..2 {
            roll.look(&pod("a", 0, &waiting)).unwrap();
        }
        roll.all_seen();
        let state = "container app is waiting: ImagePullBackOff".to_owned();
        let told = roll.events();
        assert!(matches!(&told[..], [(_, LogEvent::Waiting { reason })] if *reason == state));
        assert_eq!(roll.outlook(), Outlook::Unbegun(state));
        roll.look(&pod("a", 0, &running())).unwrap();
        assert_eq!(read(&mut roll, 0), Some(Turn::Joining));
        assert_eq!(roll.outlook(), Outlook::Restart);
    }

    #[test]
    fn who_is_not_on_the_list_is_gone_but_what_is_read_is_read_to_its_end() {
        let mut roll = roll();
        for uid in ["a", "b"] {
            roll.look(&pod(uid, 0, &running())).unwrap();
        }
        roll.all_seen();
        assert_eq!(roll.in_line().len(), 2);
        assert_eq!(roll.in_line().len(), 0);
        let entry = roll.next().unwrap();
        assert_eq!((&*entry.key.uid, roll.is_gone(&entry.key)), ("a", false));
        roll.only(&[pod("b", 0, &running())]);
        assert!(roll.is_gone(&entry.key));
        roll.done(&entry.key, None);
        assert_eq!(read(&mut roll, 0), Some(Turn::First));
        roll.gone("b");
        assert_eq!(roll.outlook(), Outlook::Nobody);
    }

    #[test]
    fn it_is_over_when_nothing_can_write_any_more() {
        let mut roll = roll();
        roll.look(&pod("a", 0, &running())).unwrap();
        read(&mut roll, 0);
        let mut ended = pod("a", 0, &json!({"terminated": {"exitCode": 1}}));
        roll.look(&ended).unwrap();
        // Its pod starts it again.
        assert_eq!(roll.outlook(), Outlook::Restart);
        ended = serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "a"},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Failed"},
        }))
        .unwrap();
        roll.look(&ended).unwrap();
        assert_eq!(roll.outlook(), Outlook::Over);
    }
}

//! What to do when a reply has ended, was refused, or never came.
//!
//! Lives here: back-off, and step 7 of reliability.md E.2. Never here: replies.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Pump, closed};
use crate::client::logs::place::{self, PERIOD};
use crate::client::pod::{Pod, Run};
use crate::client::resolve::pod_path;
use crate::client::server::{pause, random};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::{Change, Given, Resume, Start};
use crate::session::logs::{Finish, LogEvent};

/// A server that is not reachable for so long is told.
const OUTAGE: Duration = Duration::from_secs(2);
/// The status of a pod is this old at most (the kubelet tells changes at once, and all every 10 s).
const STALE: Duration = Duration::from_secs(30);
/// How many refusals that look final are taken for a server that is still starting.
const REFUSALS: u32 = 6;
/// How many short replies in a row are told.
const SHORT_REPLIES: u32 = 3;

impl Pump {
    pub(super) async fn recover(&mut self, finish: Finish, given: Option<Given>) -> Result<()> {
        let now = Instant::now();
        self.resume.cut(given, self.rate.pace(self.round_trip));
        self.failures += 1;
        if finish.polite {
            self.look_after().await?;
            // What was followed to a polite end by the end of its pod was its own end.
            if self.is_over() || self.gone {
                return Ok(());
            }
        }
        self.lost.get_or_insert_with(|| (now, finish.why.clone()));
        if self.failures >= SHORT_REPLIES {
            if finish.polite && self.place.run.is_none() && !self.options.forever {
                return Err(Error::new(
                    ErrorKind::Lost,
                    "the log ended, but not known to be with its container",
                )
                .because(finish.why)
                .remedy("allow get on pods"));
            }
            let reason = format!(
                "the log ends again and again without a line: {}",
                finish.why
            );
            self.wait_for(reason);
        }
        if timeout(OUTAGE, self.server.reachable(now)).await.is_err() {
            self.wait_for(format!("the server is not reachable: {}", finish.why));
            self.server.reachable(now).await;
        }
        sleep(Duration::from_secs(1).mul_f64(random())).await;
        if self.failures >= SHORT_REPLIES {
            // A connection that breaks is no answer with an error: 2 s at most.
            let most = if finish.polite { u32::MAX } else { 2 };
            sleep(pause((self.failures - SHORT_REPLIES).min(most))).await;
        }
        self.look_after().await?;
        self.gap_if_gone();
        Ok(())
    }

    /// Tells that the last lines of a pod that is gone may be missing.
    pub(super) fn gap_if_gone(&mut self) {
        if self.gone {
            self.gap(false, self.last, None);
        }
    }

    pub(super) async fn refused(&mut self, error: Error) -> Result<()> {
        if !self.opened && !self.options.forever {
            return Err(error);
        }
        let gone = match error.http_status() {
            Some(400) => true,
            // A kubelet that was started a moment ago does not know its pods yet.
            Some(404) => self.failures >= SHORT_REPLIES,
            _ => false,
        };
        if self.draining && gone {
            // The rest of the old run is gone with its file.
            self.gap(true, self.last, None);
            self.next_run(0);
            return Ok(());
        }
        self.lost
            .get_or_insert_with(|| (Instant::now(), error.report()));
        self.resume.cut(None, self.rate.pace(self.round_trip));
        self.back_off(error).await?;
        self.look_after().await?;
        self.gap_if_gone();
        Ok(())
    }

    /// Waits after an error: until the server takes connections where it did not answer, else longer
    /// and longer.
    async fn back_off(&mut self, error: Error) -> Result<()> {
        self.wait_for(error.report());
        let unanswered = matches!(error.kind(), ErrorKind::NotStarted | ErrorKind::Lost);
        if unanswered && error.http_status().is_none() {
            self.server.reachable(Instant::now()).await;
            sleep(Duration::from_secs(1).mul_f64(random())).await;
            return Ok(());
        }
        self.failures += 1;
        let temporary = unanswered || error.kind() == ErrorKind::Protocol;
        if !temporary && !self.options.forever && self.failures > REFUSALS {
            return Err(error);
        }
        sleep(pause(self.failures)).await;
        Ok(())
    }

    /// Looks at the pod until it is known what to read now.
    pub(super) async fn look_after(&mut self) -> Result<()> {
        let path = pod_path(&self.place.pod.namespace, &self.place.pod.name);
        loop {
            let connect = Some(self.options.limits.connect);
            let pod: Pod = match self.server.object(&path, &[], connect).await {
                Ok(pod) => pod,
                Err(error) => match error.kind() {
                    ErrorKind::NotFound => return self.pod_is_gone().await,
                    ErrorKind::Forbidden if self.place.run.is_none() => return Ok(()),
                    _ => {
                        self.back_off(error).await?;
                        continue;
                    }
                },
            };
            let container = self.place.container.as_deref().unwrap_or_default();
            if let Some(run) = pod.run(container) {
                self.compare(run);
            }
            return Ok(());
        }
    }

    /// Step 7 of E.2: what became of the run that was read.
    fn compare(&mut self, now: Run) {
        let complete = self.is_over() && self.lost.is_none();
        let Some(old) = self.place.run.replace(now.clone()) else {
            return;
        };
        match old.instance.change(&now.instance) {
            Change::Same => {}
            Change::Restarted if self.strange.is_some_and(|at| at.elapsed() < STALE) => {
                // What was shown since the hole was of this run already: nothing of it comes again.
                self.event(LogEvent::Gap {
                    certain: false,
                    from: self.last,
                    to: None,
                });
                self.next_run(0);
                self.skip = self.last;
            }
            Change::Restarted if !self.draining && !complete => {
                self.resume.drain();
                self.draining = true;
            }
            Change::Restarted => self.next_run(u32::from(self.draining)),
            Change::Unseen { instances } => self.next_run(instances),
            _ if self.watched => {
                self.place.run = Some(old);
                self.gone = true;
            }
            _ => self.replaced(),
        }
    }

    /// Goes on with the next run of the container, from its beginning.
    pub(super) fn next_run(&mut self, unseen: u32) {
        if unseen > 0 {
            self.gap(true, self.last, None);
        } else if self.held.forget() {
            self.gap(false, self.last, None);
        }
        let count = self.place.run.as_ref();
        let count = count.map_or(0, |run| run.instance.restart_count);
        self.event(LogEvent::Restarted { count, unseen });
        self.start_anew();
    }

    fn replaced(&mut self) {
        self.gap(true, self.last, None);
        let pod = self.place.pod.name.clone();
        self.event(LogEvent::Replaced { pod });
        self.start_anew();
    }

    /// Tells that lines are missing, or may be, between those with these times.
    pub(super) fn gap(&mut self, certain: bool, from: Option<i64>, to: Option<i64>) {
        self.event(LogEvent::Gap { certain, from, to });
    }

    fn start_anew(&mut self) {
        self.draining = false;
        self.held.forget();
        (self.strange, self.skip) = (None, None);
        self.shown = true;
        self.lost = None;
        self.resume = Resume::new(Start::Beginning, true, self.server.log_budget());
    }

    async fn pod_is_gone(&mut self) -> Result<()> {
        if self.watched {
            self.gone = true;
            return Ok(());
        }
        if self.options.forever {
            let name = &self.place.pod.name;
            let reason = format!("pod {name} is gone");
            self.wait_for(reason);
            let namespace = self.place.pod.namespace.clone();
            self.place = place::find(&self.server, &self.target, &namespace, &self.options).await?;
            self.source = self.place.source();
            self.replaced();
            return Ok(());
        }
        let name = &self.place.pod.name;
        let message = format!("pod {name} was deleted while its log was followed");
        Err(Error::new(ErrorKind::NotFound, message).because("its last lines may be missing"))
    }

    /// Waits for the next run of a container whose log was shown to the end.
    pub(super) async fn await_next_run(&mut self) -> Result<()> {
        let run = self.place.run.clone();
        let Some(old) = run else {
            return Ok(());
        };
        self.lost = None;
        self.wait_for(old.state.clone());
        loop {
            sleep(2 * PERIOD).await;
            if self.output.is_closed() {
                return Err(closed());
            }
            self.look_after().await?;
            let now = self.place.run.as_ref();
            if now.is_none_or(|now| now.instance != old.instance) {
                return Ok(());
            }
        }
    }
}

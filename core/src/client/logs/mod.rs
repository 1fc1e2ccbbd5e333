//! The log of one container, or of several: read once, or followed over cuts, restarts and outages.
//!
//! - `place`: whose log it is
//! - `open`: one request, over WebSocket or HTTP
//! - `pump`: from replies to items, and what comes after a cut
//! - `many`: several logs as one

mod many;
mod open;
mod place;
mod pump;

use std::sync::Arc;

use self::many::{Found, Many};
use self::open::Opener;
use self::pump::Pump;
use super::target::{self, Target};
use super::{Client, server};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::LogsOptions;
use crate::protocol::logs::request::log;
use crate::protocol::request::PodRef;
use crate::session::logs::{Logs, READ_SIZE_ALONE};

impl Client {
    /// Reads the log of one container of `POD` or `TYPE/NAME`, of which kubectl's pod for logs is taken;
    /// or several: of all containers, of all pods of `TYPE/NAME`, or, without a target, of the pods of a
    /// [`selector`](LogsOptions::selector) or [`all_namespaces`](LogsOptions::all_namespaces).
    ///
    /// Several logs that are followed are watched: what begins later joins from its first line on. The
    /// first one that fails ends all, unless errors are ignored.
    ///
    /// Without [`follow`](LogsOptions::follow) it is one HTTP request. With it the log goes on over
    /// WebSocket, or over HTTP where that is refused, until the container does not run any more; a cut
    /// is mended by position, so that no line is repeated and none is missing without a
    /// [`Gap`](crate::LogEvent::Gap). Every `Client` and its clones knock at a lost server together,
    /// once every 0.5 to 1 s.
    ///
    /// # Errors
    /// `Invalid` for what cannot be asked, `NotFound`, `Forbidden`, … as the server says of the pod,
    /// `NotStarted` when it does not begin in time. What is wrong with the log itself
    /// [`Logs::wait`] tells, and all of it with [`forever`](LogsOptions::forever), which waits for pods
    /// while it is read.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn logs(&self, target: Option<&str>, options: LogsOptions) -> Result<Logs> {
        let target = target.map(Target::parse).transpose()?;
        let namespace = options.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| self.namespace().to_owned());
        target::checked_namespace(&namespace)?;
        check(target.as_ref(), &options)?;
        let Some(target) = target.as_ref().filter(|_| !options.many()) else {
            let Found { selection, list } =
                many::find(&self.server, target.as_ref(), &namespace, &options).await?;
            let server = Arc::clone(&self.server);
            return Ok(Logs::start(|output, facts| {
                let many = Many::new(server, options, &namespace, facts, selection, output);
                Box::pin(many.run(list))
            }));
        };
        let (server, target) = (Arc::clone(&self.server), target.clone());
        // Who waits for ever waits while reading.
        let found = match options.forever {
            true => None,
            false => Some(place::find(&server, &target, &namespace, &options).await?),
        };
        Ok(Logs::start(|output, facts| {
            let (limits, protocol) = (options.limits, options.protocol);
            let opener = Opener::new(
                Arc::clone(&server),
                limits,
                protocol,
                facts,
                READ_SIZE_ALONE,
            );
            Box::pin(async move {
                let place = match found {
                    Some(place) => place,
                    None => place::find(&server, &target, &namespace, &options).await?,
                };
                let pump = Pump::new(server, opener, target, options, place, output);
                pump.run().await.0
            })
        }))
    }
}

/// Refuses what can only be a mistake before anything is sent.
fn check(target: Option<&Target>, options: &LogsOptions) -> Result<()> {
    let refuse = |message: &str| Err(Error::new(ErrorKind::Invalid, message));
    let selects = options.selector.is_some() || options.all_namespaces;
    match target {
        Some(_) if selects => return refuse("name a pod, or select pods, not both"),
        None if !selects => {
            let error = "which logs? neither a pod was named nor a selector";
            return Err(Error::new(ErrorKind::Invalid, error)
                .remedy("POD, TYPE/NAME, or a selector of pods (-l)"));
        }
        _ => {}
    }
    if options.all_containers && options.container.is_some() {
        return refuse("all containers are asked for, and one of them: name one, or all");
    }
    if options.max_log_requests == 0 {
        return refuse("max_log_requests must be higher than zero");
    }
    if options.sort_window.is_some() && options.limit_bytes.is_some() {
        return refuse("a limit of bytes counts one log, so that logs are not sorted with it");
    }
    let limits = &options.limits;
    let named = [
        ("connect", limits.connect),
        ("keepalive_timeout", limits.keepalive_timeout),
    ];
    if let Some((name, _)) = named.iter().find(|(_, limit)| limit.is_zero()) {
        return refuse(&format!("the {name} time limit must be higher than zero"));
    }
    if options.forever && !options.resumes() {
        return refuse("only a log that is followed and resumed can be followed for ever");
    }
    log(&PodRef::new("x", "x"), &options.once()).map_err(server::unusable)?;
    Ok(())
}

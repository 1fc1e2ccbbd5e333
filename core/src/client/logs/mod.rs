//! The log of one container: read once, or followed over cuts, restarts and outages.
//!
//! - `place`: whose log it is
//! - `open`: one request, over WebSocket or HTTP
//! - `pump`: from replies to items, and what comes after a cut

mod open;
mod place;
mod pump;

use std::sync::Arc;

use self::open::Opener;
use self::pump::Pump;
use super::target::{self, Target};
use super::{Client, server};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::logs::LogsOptions;
use crate::protocol::logs::request::log;
use crate::protocol::request::PodRef;
use crate::session::logs::Logs;

impl Client {
    /// Reads the log of one container of `POD` or `TYPE/NAME`, of which kubectl's pod for logs is taken.
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
    /// [`Logs::wait`] tells.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn logs(&self, target: Option<&str>, options: LogsOptions) -> Result<Logs> {
        let Some(target) = target else {
            let message = "a log needs a pod or TYPE/NAME";
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let target = Target::parse(target)?;
        let namespace = options.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| self.namespace().to_owned());
        target::checked_namespace(&namespace)?;
        check(&options)?;
        let place = place::find(&self.server, &target, &namespace, &options).await?;
        let server = Arc::clone(&self.server);
        Ok(Logs::start(|output, facts| {
            let (limits, protocol) = (options.limits, options.protocol);
            let opener = Opener::new(Arc::clone(&server), limits, protocol, facts);
            let pump = Pump::new(server, opener, target, options, place, output);
            Box::pin(pump.run())
        }))
    }
}

/// Refuses what can only be a mistake before anything is sent.
fn check(options: &LogsOptions) -> Result<()> {
    let limits = &options.limits;
    let named = [
        ("connect", limits.connect),
        ("keepalive_timeout", limits.keepalive_timeout),
    ];
    if let Some((name, _)) = named.iter().find(|(_, limit)| limit.is_zero()) {
        let message = format!("the {name} time limit must be higher than zero");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    if options.forever && !options.resumes() {
        let message = "only a log that is followed and resumed can be followed for ever";
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    log(&PodRef::new("x", "x"), &options.once()).map_err(server::unusable)?;
    Ok(())
}

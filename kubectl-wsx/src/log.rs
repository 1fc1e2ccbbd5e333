//! What `-v` shows, on standard error.
//!
//! Lives here: which events are shown, and their form. Never here: events. Only this project's own
//! are ever shown: the libraries below may put credentials into theirs.

use std::fmt::{self, Write as _};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry;
use wsx_core::protocol::text::escape;

use crate::output;

/// Shows events up to a verbosity: 0 warnings, 1 choices and reasons, 4 details, 8 every message.
pub(crate) fn start(verbosity: u8) {
    let log = Log {
        start: Instant::now(),
        most: level(verbosity),
    };
    // Fails when somebody was faster, which nobody else here is.
    let _ = tracing::subscriber::set_global_default(registry().with(log));
}

fn level(verbosity: u8) -> Level {
    match verbosity {
        0 => Level::WARN,
        1..=3 => Level::INFO,
        4..=7 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

struct Log {
    start: Instant,
    most: Level,
}

impl Log {
    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let room = metadata.target().split("::").next();
        matches!(room, Some("wsx_core" | "kubectl_wsx")) && *metadata.level() <= self.most
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most.into())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let (metadata, elapsed) = (event.metadata(), self.start.elapsed());
        let (level, target) = (metadata.level(), metadata.target());
        let text = escape(&format!("{}{}", line.message, line.fields));
        output::say(&format!(
            "{:8.3}s {level:5} {target}: {text}",
            elapsed.as_secs_f64()
        ));
    }
}

/// The words of one event.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_v_shows_more() {
        for (verbosity, shown) in [
            (0, Level::WARN),
            (1, Level::INFO),
            (3, Level::INFO),
            (4, Level::DEBUG),
            (7, Level::DEBUG),
            (8, Level::TRACE),
            (99, Level::TRACE),
        ] {
            assert_eq!(level(verbosity), shown);
        }
    }
}

//! Logs on their way to standard output: text with prefixes, bytes as they are, or JSON.
//!
//! - `event`: what happens to a log, in words and fields
//! - `filter`: `--include`, `--exclude`, `--highlight`
//! - `json`: the objects of `-o json`
//! - `safe`: what a terminal may see of a log
//! - `time`: points in time as text
//!
//! Lives here: from items to pieces of output, in order. Never here: writing them, flags.

mod event;
pub(crate) mod filter;
pub(crate) mod json;
mod safe;
mod time;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use bytes::Bytes;
use wsx_core::protocol::text::escape;
use wsx_core::{LogEvent, LogItem, LogLine, LogSource, Stream};

use self::filter::Filter;
use self::safe::Safe;

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Lines, with prefixes where they are wanted
    #[default]
    Text,
    /// The bytes of the containers and nothing else
    Raw,
    /// One object a line, for lines and events
    Json,
}

/// What the output looks like.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Looks {
    pub(crate) form: Form,
    /// Whether every line begins with the name of its log.
    pub(crate) prefix: bool,
    /// Whether that name has the namespace in it.
    pub(crate) namespaces: bool,
    /// Whether the lines that come begin with their time.
    pub(crate) timestamps: bool,
    /// Whether a terminal shows it that may only see text and colours.
    pub(crate) safe: bool,
    /// Whether we may use colours.
    pub(crate) colours: bool,
    /// Whether logs come at the same time: a line that is not finished ends where another one begins.
    pub(crate) together: bool,
    /// Whether only gaps and failures are told.
    pub(crate) quiet: bool,
}

/// Turns items into pieces of output.
#[derive(Debug)]
pub(crate) struct Printer {
    looks: Looks,
    filter: Filter,
    logs: Vec<Log>,
    /// The log of the last line.
    last: usize,
    /// The log whose line on the output is not finished.
    open: Option<usize>,
    text: Vec<u8>,
    pieces: Vec<(Stream, Bytes)>,
    failed: u64,
}

/// One log, as it is shown.
#[derive(Debug)]
struct Log {
    source: Arc<LogSource>,
    /// What stands before every line: the prefix, or fields of JSON.
    head: Vec<u8>,
    safe: Safe,
    /// Whether the line that came last is shown.
    taken: bool,
}

/// From this size on bytes are passed on instead of copied.
const LARGE: usize = 16 * 1024;
/// Reversed video, which leaves the colours of a log alone.
const HIGHLIGHT: [&[u8]; 2] = [b"\x1b[7m", b"\x1b[27m"];

impl Printer {
    /// Makes a printer.
    pub(crate) fn new(looks: Looks, filter: Filter) -> Self {
        Self {
            looks,
            filter,
            logs: Vec::new(),
            last: 0,
            open: None,
            text: Vec::new(),
            pieces: Vec::new(),
            failed: 0,
        }
    }

    /// Takes one item.
    pub(crate) fn print(&mut self, item: &LogItem) {
        match item {
            LogItem::Line(line) => self.line(line),
            LogItem::Event(source, event) => self.event(source, event),
            _ => {}
        }
    }

    /// Ends the line that is not finished, where a terminal shows it.
    pub(crate) fn finish(&mut self) {
        if let Some(log) = self.open.take() {
            self.logs[log].safe.finish(&mut self.text);
        }
    }

    /// Returns what is to be written now, in order.
    pub(crate) fn take(&mut self) -> Vec<(Stream, Bytes)> {
        self.flush();
        std::mem::take(&mut self.pieces)
    }

    /// Returns how many logs could not be read, or not on.
    pub(crate) const fn failed(&self) -> u64 {
        self.failed
    }

    fn line(&mut self, line: &LogLine) {
        let at = self.find(&line.source);
        let whole = &line.data[..];
        let body = whole.strip_suffix(b"\n").unwrap_or(whole);
        let stamped = self.looks.timestamps && line.begins && line.timestamp.is_some();
        let stamp = stamped.then(|| body.iter().position(|byte| *byte == b' '));
        let (stamp, content) = body.split_at(stamp.flatten().map_or(0, |space| space + 1));
        if line.begins {
            self.logs[at].taken = self.filter.takes(content);
        }
        if !self.logs[at].taken {
            return;
        }
        match self.looks.form {
            Form::Json => json::line(line, &self.logs[at].head, content, &mut self.text),
            Form::Raw => self.pass(&line.data),
            Form::Text => {
                self.begin(at, line.begins);
                let highlights = self.looks.colours && self.filter.highlights_any();
                if highlights || self.looks.safe {
                    self.text.extend_from_slice(stamp);
                    self.show(at, content);
                    self.put(at, &whole[body.len()..]);
                } else {
                    self.pass(&line.data);
                }
                self.open = (body.len() == whole.len()).then_some(at);
            }
        }
    }

    /// Begins a line, or goes on with one that others may have interrupted.
    fn begin(&mut self, at: usize, begins: bool) {
        if self.open == Some(at) && !begins {
            return;
        }
        let interrupts = self.looks.together && self.open.is_some_and(|open| open != at);
        self.finish();
        if interrupts {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(&self.logs[at].head);
    }

    /// Shows the content of a line with what stands out in it.
    fn show(&mut self, at: usize, content: &[u8]) {
        let mut shown = 0;
        if self.looks.colours {
            for range in self.filter.highlights(content) {
                self.put(at, &content[shown..range.start]);
                self.text.extend_from_slice(HIGHLIGHT[0]);
                shown = range.end;
                self.put(at, &content[range]);
                self.text.extend_from_slice(HIGHLIGHT[1]);
            }
        }
        self.put(at, &content[shown..]);
    }

    fn put(&mut self, at: usize, data: &[u8]) {
        if self.looks.safe {
            self.logs[at].safe.write(data, &mut self.text);
        } else {
            self.text.extend_from_slice(data);
        }
    }

    fn pass(&mut self, data: &Bytes) {
        if data.len() < LARGE {
            self.text.extend_from_slice(data);
        } else {
            self.flush();
            self.pieces.push((Stream::Stdout, data.clone()));
        }
    }

    fn event(&mut self, source: &Arc<LogSource>, event: &LogEvent) {
        let at = self.find(source);
        self.failed += u64::from(matches!(event, LogEvent::Failed { .. }));
        if self.looks.form == Form::Json {
            json::log_event(event, &self.logs[at].head, &mut self.text);
        } else {
            self.say(source, event);
        }
        if matches!(event, LogEvent::Ended { .. } | LogEvent::Failed { .. }) {
            self.forget(at);
        }
    }

    fn say(&mut self, source: &LogSource, event: &LogEvent) {
        // Logs that are read one after the other come and go all the time.
        let usual = matches!(event, LogEvent::Started | LogEvent::Ended { .. });
        let hushed = (self.looks.quiet && !event::always(event)) || (usual && !self.looks.together);
        if hushed {
            return;
        }
        if self.open.is_some() && self.looks.safe {
            self.finish();
            self.text.push(b'\n');
        }
        self.flush();
        let words = event::words(&self.looks.name(source), event) + "\n";
        self.pieces.push((Stream::Stderr, words.into()));
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.text.reserve(text.len());
            self.pieces.push((Stream::Stdout, text.into()));
        }
    }

    /// Returns where a log stands.
    fn find(&mut self, source: &Arc<LogSource>) -> usize {
        let is_same = |log: &Log| Arc::ptr_eq(&log.source, source);
        if self.logs.get(self.last).is_some_and(is_same) {
            return self.last;
        }
        let found = self.logs.iter().position(is_same);
        let found = found.or_else(|| self.logs.iter().position(|log| log.source == *source));
        self.last = found.unwrap_or_else(|| {
            self.logs.push(Log {
                source: Arc::clone(source),
                head: self.looks.head(source),
                safe: Safe::default(),
                taken: true,
            });
            self.logs.len() - 1
        });
        self.last
    }

    /// Drops what is known of a log that has ended.
    fn forget(&mut self, at: usize) {
        if self.open == Some(at) {
            self.finish();
            if self.looks.together {
                self.text.push(b'\n');
            }
        }
        self.logs.remove(at);
        self.open = self.open.map(|open| open - usize::from(open > at));
        self.last = 0;
    }
}

impl Looks {
    fn head(&self, source: &LogSource) -> Vec<u8> {
        match self.form {
            Form::Json => json::head(source),
            Form::Text if self.prefix => self.prefix(source).into_bytes(),
            Form::Text | Form::Raw => Vec::new(),
        }
    }

    /// kubectl pkg/cmd/logs/logs.go, `addPrefixIfNeeded`: the same form.
    fn prefix(&self, source: &LogSource) -> String {
        let LogSource {
            namespace,
            pod,
            container,
            ..
        } = source;
        let namespace = if self.namespaces {
            format!("{namespace}/")
        } else {
            String::new()
        };
        let name = escape(&format!("[{namespace}pod/{pod}/{container}]"));
        if !self.colours {
            return format!("{name} ");
        }
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        // Green, yellow, blue, magenta, cyan: red looks like an error.
        let colour = 32 + hasher.finish() % 5;
        format!("\x1b[{colour}m{name}\x1b[0m ")
    }

    /// Returns the name of a log in what we say about it.
    fn name(&self, source: &LogSource) -> String {
        let namespace = self.namespaces.then_some(&*source.namespace);
        let container = (!source.container.is_empty()).then_some(&*source.container);
        let names = namespace.into_iter().chain([&*source.pod]).chain(container);
        names.collect::<Vec<_>>().join("/")
    }
}

#[cfg(test)]
mod tests;

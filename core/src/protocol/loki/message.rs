//! Loki's JSON: the messages of a tail and the replies of `query_range`.
//!
//! Foreign text: at most 64 MiB, nested at most 127 deep, read without trust and without a tree in memory.
//!
//! Lives here: bytes to entries. Never here: what was seen before, errors told as plain text.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::entry::{Entry, Labels, Table};
use crate::protocol::text;

/// What a Loki can send wrong.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum LokiError {
    /// It is no JSON, or not of the form that Loki's has.
    #[error("not what Loki sends: {0}")]
    Malformed(String),
    /// The query makes numbers.
    #[error("the query makes {0}, not log lines")]
    NotLines(String),
    /// More bytes than are read.
    #[error("a message of {length} bytes, the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// The most bytes of one message or reply: a hundred lines of 256 kB with room to spare.
const LONGEST: usize = 64 << 20;

/// One message of a tail.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TailMessage {
    /// What Loki left out because its reader was too slow.
    pub dropped: Option<Dropped>,
    /// In the order in which they stand in the message.
    pub entries: Vec<Entry>,
}

/// Entries that Loki left out. It lists at most a thousand; more may be missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dropped {
    /// How many are listed.
    pub count: u64,
    /// The lowest timestamp of these, in nanoseconds.
    pub from: i64,
    /// The highest.
    pub to: i64,
}

/// Reads messages and replies, and keeps each set of labels once.
#[derive(Debug, Default)]
pub struct Decoder {
    table: Table,
}

impl Decoder {
    /// Reads one message of a tail.
    ///
    /// # Errors
    /// `Malformed`, `TooLong`. Nothing of a message that is refused is given out.
    pub fn tail(&mut self, message: &[u8]) -> Result<TailMessage, LokiError> {
        let mut read = TailMessage::default();
        let table = &mut self.table;
        parse(
            message,
            TailSeed {
                table,
                read: &mut read,
            },
        )?;
        Ok(read)
    }

    /// Reads the reply of `query_range` for log lines: its entries, sorted by time.
    ///
    /// # Errors
    /// `Malformed`, `NotLines`, `TooLong`.
    pub fn range(&mut self, body: &[u8]) -> Result<Vec<Entry>, LokiError> {
        let (mut entries, mut kind) = (Vec::new(), String::new());
        let table = &mut self.table;
        let seed = RangeSeed {
            table,
            entries: &mut entries,
            kind: &mut kind,
        };
        let read = parse(body, seed);
        if !kind.is_empty() && kind != "streams" {
            return Err(LokiError::NotLines(text::excerpt(kind.as_bytes(), 100)));
        }
        read?;
        if kind.is_empty() {
            return Err(malformed("no resultType"));
        }
        entries.sort_by_key(|entry| entry.timestamp_ns);
        Ok(entries)
    }
}

fn malformed(error: impl fmt::Display) -> LokiError {
    LokiError::Malformed(text::excerpt(error.to_string().as_bytes(), 200))
}

fn parse<'de, S: DeserializeSeed<'de>>(json: &'de [u8], seed: S) -> Result<S::Value, LokiError> {
    let (length, limit) = (json.len(), LONGEST);
    if length > limit {
        return Err(LokiError::TooLong { length, limit });
    }
    // serde_json goes 127 levels deep, and does not descend into what is ignored.
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = seed.deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    Ok(value)
}

/// Writes a seed that reads a map: what each known key does, once each; others are skipped.
macro_rules! map_seed {
    ($(#[$doc:meta])* $seed:ident { $($field:ident: $type:ty),* $(,)? }, $what:literal,
     |$self:ident, $map:ident| { $($key:literal => $read:expr),* $(,)? }) => {
        $(#[$doc])*
        struct $seed<'t> { $($field: &'t mut $type),* }

        impl<'de> DeserializeSeed<'de> for $seed<'_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
                from.deserialize_map(self)
            }
        }

        impl<'de> Visitor<'de> for $seed<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($what)
            }

            fn visit_map<M: MapAccess<'de>>($self, mut $map: M) -> Result<(), M::Error> {
                let mut seen: Vec<&'static str> = Vec::new();
                while let Some(Text(key)) = $map.next_key()? {
                    match &*key {
                        $($key => {
                            // Two of them would mean that one is lost.
                            if seen.contains(&$key) {
                                return Err(M::Error::duplicate_field($key));
                            }
                            seen.push($key);
                            $read
                        })*
                        _ => drop($map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(())
            }
        }
    };
}

map_seed!(
    TailSeed { table: Table, read: TailMessage }, "a message of a tail",
    |self, map| {
        "streams" => map.next_value_seed(Streams { table: self.table, entries: &mut self.read.entries })?,
        "dropped_entries" => self.read.dropped = map.next_value::<Option<DroppedList>>()?.and_then(|list| list.0),
    }
);

map_seed!(
    RangeSeed { table: Table, entries: Vec<Entry>, kind: String }, "a reply of query_range",
    |self, map| {
        "status" => {
            let Text(status) = map.next_value()?;
            if status != "success" {
                return Err(M::Error::custom(format_args!("status {status:?}")));
            }
        },
        "data" => map.next_value_seed(Data { table: self.table, entries: self.entries, kind: self.kind })?,
    }
);

map_seed!(
    Data { table: Table, entries: Vec<Entry>, kind: String }, "the data of a reply",
    |self, map| {
        "resultType" => {
            let Text(kind) = map.next_value()?;
            *self.kind = kind.into_owned();
        },
        "result" => map.next_value_seed(Streams { table: self.table, entries: self.entries })?,
    }
);

/// A list of streams, or null.
struct Streams<'t> {
    table: &'t mut Table,
    entries: &'t mut Vec<Entry>,
}

impl<'de> DeserializeSeed<'de> for Streams<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Streams<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of streams")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        loop {
            let begin = self.entries.len();
            let mut labels = None;
            let stream = Stream {
                table: self.table,
                entries: self.entries,
                labels: &mut labels,
            };
            if list.next_element_seed(stream)?.is_none() {
                return Ok(());
            }
            let Some(labels) = labels else {
                return Err(S::Error::missing_field("stream"));
            };
            // The values may stand before the labels.
            for entry in &mut self.entries[begin..] {
                entry.labels = Arc::clone(&labels);
            }
        }
    }
}

map_seed!(
    Stream { table: Table, entries: Vec<Entry>, labels: Option<Arc<Labels>> }, "a stream",
    |self, map| {
        "stream" => *self.labels = Some(map.next_value_seed(LabelSeed(self.table))?),
        "values" => map.next_value_seed(Values { table: self.table, entries: self.entries })?,
    }
);

/// The values of a stream.
struct Values<'t> {
    table: &'t mut Table,
    entries: &'t mut Vec<Entry>,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        while let Some(entry) = list.next_element_seed(Value(self.table))? {
            self.entries.push(entry);
        }
        Ok(())
    }
}

/// `["TIME", "LINE"]` or `["TIME", "LINE", {"structuredMetadata": {…}, "parsed": {…}}]`.
struct Value<'t>(&'t mut Table);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Entry, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time, a line, and perhaps metadata")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut value: S) -> Result<Entry, S::Error> {
        let Some(Nanoseconds(time)) = value.next_element()? else {
            return Err(S::Error::invalid_length(0, &self));
        };
        let Some(Text(line)) = value.next_element()? else {
            return Err(S::Error::invalid_length(1, &self));
        };
        let mut entry = Entry::new(time, Arc::default(), line);
        let (metadata, parsed) = (&mut entry.metadata, &mut entry.parsed);
        value.next_element_seed(Extras {
            table: self.0,
            metadata,
            parsed,
        })?;
        while value.next_element::<IgnoredAny>()?.is_some() {}
        Ok(entry)
    }
}

map_seed!(
    Extras { table: Table, metadata: Arc<Labels>, parsed: Arc<Labels> }, "metadata of a line",
    |self, map| {
        "structuredMetadata" => *self.metadata = map.next_value_seed(LabelSeed(self.table))?,
        "parsed" => *self.parsed = map.next_value_seed(LabelSeed(self.table))?,
    }
);

/// A map of labels.
struct LabelSeed<'t>(&'t mut Table);

impl<'de> DeserializeSeed<'de> for LabelSeed<'_> {
    type Value = Arc<Labels>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Arc<Labels>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LabelSeed<'_> {
    type Value = Arc<Labels>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Arc<Labels>, M::Error> {
        let mut pairs = Vec::new();
        while let Some((Text(name), Text(value))) = map.next_entry()? {
            pairs.push((name, value));
        }
        Ok(self.0.labels(&mut pairs))
    }
}

/// A string, borrowed where it holds no escape.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(Read)
    }
}

/// A time, as a string of digits.
struct Nanoseconds(i64);

impl<'de> Deserialize<'de> for Nanoseconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Text(digits) = Text::deserialize(from)?;
        digits
            .parse()
            .map(Self)
            .map_err(|_| D::Error::custom(format_args!("no time: {digits:?}")))
    }
}

/// What a list of dropped entries says in all; nothing where it is empty.
struct DroppedList(Option<Dropped>);

impl<'de> Deserialize<'de> for DroppedList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct One {
            timestamp: Nanoseconds,
        }

        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = DroppedList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of dropped entries")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<DroppedList, S::Error> {
                let mut all: Option<Dropped> = None;
                while let Some(One {
                    timestamp: Nanoseconds(time),
                }) = list.next_element()?
                {
                    let all = all.get_or_insert(Dropped {
                        count: 0,
                        from: time,
                        to: time,
                    });
                    all.count += 1;
                    all.from = all.from.min(time);
                    all.to = all.to.max(time);
                }
                Ok(DroppedList(all))
            }
        }

        from.deserialize_seq(Read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_shared_between_entries_and_messages() {
        let mut decoder = Decoder::default();
        let message = br#"{"streams":[{"stream":{"a":"b"},"values":[["1","x"],["2","y"]]}]}"#;
        let [one, two] = [(); 2].map(|()| decoder.tail(message).unwrap().entries);
        assert!(Arc::ptr_eq(&one[0].labels, &one[1].labels));
        assert!(Arc::ptr_eq(&one[0].labels, &two[0].labels));
    }

    #[test]
    fn depth_and_size_are_limited() {
        let mut decoder = Decoder::default();
        let deep = "[".repeat(1_000_000);
        for message in [
            format!(r#"{{"streams":{deep}"#),
            format!(r#"{{"other":{deep}"#),
        ] {
            assert!(matches!(
                decoder.tail(message.as_bytes()),
                Err(LokiError::Malformed(_))
            ));
        }
        let limit = LONGEST;
        let long = vec![b' '; limit + 1];
        let refused = Err(LokiError::TooLong {
            length: limit + 1,
            limit,
        });
        assert_eq!(decoder.tail(&long), refused);
    }

    #[test]
    fn a_line_of_ten_mebibytes_is_a_line() {
        let line = "\\u00e4x".repeat(1 << 20) + &"y".repeat(7 << 20);
        let message = format!(r#"{{"streams":[{{"stream":{{}},"values":[["1","{line}"]]}}]}}"#);
        let entries = Decoder::default().tail(message.as_bytes()).unwrap().entries;
        assert_eq!(entries[0].line.len(), 10 << 20);
    }

    #[test]
    fn what_an_error_quotes_is_escaped() {
        let error = Decoder::default()
            .tail(b"{\"streams\":\"\\u001b[2J\"}")
            .unwrap_err();
        assert!(!error.to_string().contains('\x1b'), "{error}");
        assert!(
            error.to_string().contains("expected a list of streams"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn reading_survives_anything(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            tokens in "(\\{|\\}|\\[|\\]|,|:|\"streams\"|\"stream\"|\"values\"|\"1\"|\"data\"|\"result\"|null|\"dropped_entries\"){0,30}",
            cut in 0usize..200,
        ) {
            let whole = br#"{"streams":[{"stream":{"a":"b\n"},"values":[["1","x",{"parsed":{"c":"d"}}]]}],"dropped_entries":[{"timestamp":"1"}]}"#;
            let mut decoder = Decoder::default();
            for input in [&bytes, tokens.as_bytes()] {
                let _ = (decoder.tail(input), decoder.range(input));
            }
            if cut < whole.len() {
                prop_assert!(decoder.tail(&whole[..cut]).is_err());
            }
        }
    }
}

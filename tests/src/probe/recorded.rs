//! What the real Kubernetes answered, kept for those who have none: `tests/scenarios/raw.recorded.json`.
//!
//! Lives here: reading and writing the file. Never here: asking.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;
use serde_json::Value;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    about: String,
    source: String,
    /// By case; by gates, those that answer the same joined by ", "; line by line.
    cases: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Recorded {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read() -> io::Result<Self> {
        serde_json::from_slice(&std::fs::read(PATH)?).map_err(io::Error::other)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> io::Result<()> {
        let quoted = |text: &str| Value::from(text).to_string();
        let cases = self.cases.iter().map(|(name, answers)| {
            let answers = answers.iter().map(|(gates, lines)| {
                let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
                format!("      {}: [{}]", quoted(gates), lines.join(", "))
            });
            let answers: Vec<String> = answers.collect();
            format!("    {}: {{\n{}\n    }}", quoted(name), answers.join(",\n"))
        });
        let cases: Vec<String> = cases.collect();
        let text = format!(
            "{{\n  \"about\": {},\n  \"source\": {},\n  \"cases\": {{\n{}\n  }}\n}}\n",
            quoted(&self.about),
            quoted(&self.source),
            cases.join(",\n")
        );
        std::fs::write(PATH, text)
    }

    /// Which release it was.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the cluster with these gates answered.
    #[must_use]
    pub fn answer(&self, name: &str, gates: &str) -> Option<&[String]> {
        let mut answers = self.cases.get(name)?.iter();
        let answer = answers.find(|answer| answer.0.split(", ").any(|known| known == gates));
        answer.map(|answer| &**answer.1)
    }

    /// Replaces everything the cluster with these gates answered.
    pub fn replace(&mut self, source: String, gates: &str, answers: Vec<(String, Vec<String>)>) {
        self.source = source;
        let mut cases = BTreeMap::new();
        for (name, lines) in answers {
            let mut by_gates: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for known in GATES {
                if let Some(lines) = self.answer(&name, known) {
                    by_gates.insert(known, lines.to_vec());
                }
            }
            by_gates.insert(gates, lines);
            let mut joined: Vec<(String, Vec<String>)> = Vec::new();
            for known in GATES {
                let Some(lines) = by_gates.remove(known) else {
                    continue;
                };
                match joined.iter_mut().find(|other| other.1 == lines) {
                    Some(other) => other.0 = format!("{}, {known}", other.0),
                    None => joined.push((known.to_owned(), lines)),
                }
            }
            cases.insert(name, joined.into_iter().collect());
        }
        self.cases = cases;
    }

    /// The names of all cases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cases.keys().map(|name| &**name)
    }
}

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/raw.recorded.json");
const GATES: [&str; 3] = ["kubelet-translates", "apiserver-translates", "none"];

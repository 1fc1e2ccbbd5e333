//! What became of each log: printed, judged, and compared with tests/real/README.md.

use std::fs;

use super::account::Account;
use super::reader::Beside;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/real/README.md");

const HEAD: &str = "| a log is followed, and | `kubectl logs -f` | wsx |\n|---|---|---|";

/// The table as it grows.
pub(super) struct Table {
    rows: Vec<String>,
    faults: Vec<String>,
}

impl Table {
    pub(super) fn begin() -> Self {
        Self {
            rows: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Adds a row, and says in numbers what it stands for.
    pub(super) fn add(&mut self, name: &str, accounts: [&Account; 2], beside: &Beside) {
        let [account, printed] = accounts;
        println!(
            "{name}: wrote {}, shown {}, {} gaps for {} lines, {} needless, {} left out; \
             kubectl lost {}, repeated {}, {:?}",
            account.written,
            account.shown,
            account.gaps,
            account.announced,
            account.needless,
            account.hidden,
            beside.lost,
            beside.repeated,
            beside.stderr,
        );
        let (theirs, ours) = (kubectl(beside), wsx(account));
        self.rows.push(format!("| {name} | {theirs} | {ours} |"));
        let faults = accounts.iter().flat_map(|account| &account.faults);
        self.faults
            .extend(faults.map(|fault| format!("{name}: {fault}")));
        if account.hidden + printed.hidden > 0 {
            self.faults.push(format!("{name}: lines are left out"));
        }
        if wsx(printed) != ours {
            let what = format!("{name}: the command line {}", wsx(printed));
            self.faults.push(what);
        }
    }

    /// Judges all, and compares with the README.
    pub(super) fn finish(self) {
        let table = format!("{HEAD}\n{}\n", self.rows.join("\n"));
        println!("{table}");
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
        let readme = fs::read_to_string(README).unwrap();
        assert!(readme.contains(&table), "{README} has another table");
    }
}

/// Gaps for which nothing is missing are printed, not judged: right after a restart of a container
/// the API still tells of the run before.
fn wsx(account: &Account) -> &'static str {
    match account.announced {
        0 => "goes on, nothing lost",
        _ => "goes on, **gap told**",
    }
}

fn kubectl(beside: &Beside) -> String {
    let lost = match beside.lost {
        0 => "nothing lost",
        _ if beside.code.is_none() => "lines lost",
        _ => "the rest lost",
    };
    match beside.code {
        None => format!("goes on, {lost}"),
        Some(0) => format!("**0** without a word, {lost}"),
        Some(code) => format!("{code} with an error, {lost}"),
    }
}

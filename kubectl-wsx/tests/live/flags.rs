//! The flags of the command line against `tests/vectors/api.json`, in both directions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::scenario::read;
use crate::support::{bare, run, words};

const VERBS: [&str; 4] = ["exec", "attach", "logs", "port-forward"];

#[test]
fn the_flags_are_those_of_the_table() {
    let api = read("vectors/api.json");
    for verb in VERBS {
        assert_eq!(differences(&api, verb, &flags(verb)), [""; 0], "{verb}");
    }
}

#[test]
fn a_bogus_name_in_the_table_is_noticed() {
    let flags = VERBS.map(|verb| (verb, flags(verb)));
    let option = || json!({"name": "bogus", "default": null});
    for (pointer, bogus, wrong) in [
        ("/options/connect", option(), 4),
        ("/options/exec", option(), 1),
        ("/options/attach", option(), 1),
        ("/options/run", option(), 1),
        ("/options/logs", option(), 1),
        ("/options/port_forward", option(), 1),
        ("/options/timeouts", option(), 4),
        ("/cli_only/all", json!("--bogus"), 4),
        ("/cli_only/exec", json!("--bogus"), 1),
        ("/cli_only/attach", json!("--bogus"), 1),
        ("/cli_only/logs", json!("--bogus"), 1),
        ("/cli_only/port_forward", json!("--bogus"), 1),
    ] {
        let mut api = read("vectors/api.json");
        let list = api.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
        list.push(bogus);
        let found = flags
            .iter()
            .flat_map(|(verb, flags)| differences(&api, verb, flags));
        assert_eq!(found.count(), wrong, "{pointer}");
    }
}

#[test]
fn a_bogus_flag_or_default_is_noticed() {
    let api = read("vectors/api.json");
    for verb in VERBS {
        let mut more = flags(verb);
        more.insert("--bogus".to_owned(), None);
        assert_eq!(differences(&api, verb, &more).len(), 1);
        let mut other = flags(verb);
        other.insert("--connect-timeout".to_owned(), Some("29m".to_owned()));
        assert_eq!(differences(&api, verb, &other).len(), 1);
    }
}

/// Returns the flag of an option by the rule of the table; some have none.
pub(crate) fn flag(option: &Value) -> Option<String> {
    match option.get("cli") {
        Some(Value::Null) => None,
        Some(flag) => Some(flag.as_str().unwrap().to_owned()),
        None => Some(format!(
            "--{}",
            option["name"].as_str().unwrap().replace('_', "-")
        )),
    }
}

/// Flags by name, each with the default that its help names.
type Flags = BTreeMap<String, Option<String>>;

/// Reads the flags of a verb and those of all commands from what the binary says of itself.
fn flags(verb: &str) -> Flags {
    [&*format!("{verb} --help"), "options"]
        .into_iter()
        .flat_map(|line| {
            let help = run(&mut bare(words(line)));
            String::from_utf8(help.stdout)
                .unwrap()
                .lines()
                .filter_map(named)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Reads a line of help: `  -c, --container <NAME>   Container [default: …]`.
fn named(line: &str) -> Option<(String, Option<String>)> {
    let line = line.trim_start();
    let long = line.starts_with('-').then(|| line.find("--")).flatten()?;
    let name = line[long..].split([' ', '[']).next()?;
    let default = line
        .split_once("[default: ")
        .and_then(|(_, rest)| rest.split_once(']'));
    Some((
        name.to_owned(),
        default.map(|(default, _)| default.to_owned()),
    ))
}

/// Returns what is not the same in the table and in the help of a verb, one line each.
fn differences(api: &Value, verb: &str, flags: &Flags) -> Vec<String> {
    // `run` of the modules is `exec` to its end.
    let run = (verb == "exec").then_some("run");
    let verb = &*verb.replace('-', "_");
    let mut wrong = Vec::new();
    let mut known = Vec::new();
    for option in ["connect", verb, "timeouts"]
        .into_iter()
        .chain(run)
        .flat_map(|table| api["options"][table].as_array().unwrap())
    {
        let Some(flag) = flag(option) else { continue };
        // Some limits have another default for logs, and for ports.
        let own = &api[format!("{verb}_timeouts")][option["name"].as_str().unwrap()];
        let default = match own {
            Value::Null => &option["default"],
            default => default,
        };
        let of_sessions = SESSIONS_ONLY.contains(&(verb, &*flag));
        match flags.get(&flag) {
            None if of_sessions => continue,
            None => wrong.push(format!("{flag} is in the table only")),
            // Words such as "the annotated one" explain an absent value.
            Some(Some(said)) if !default.is_null() => {
                if ![spelled(default), default.to_string()].contains(said) {
                    wrong.push(format!("{flag}: {said}, in the table {default}"));
                }
            }
            Some(_) => {}
        }
        known.push(flag);
    }
    let only = &api["cli_only"];
    for flag in ["all", verb]
        .into_iter()
        .flat_map(|table| only[table].as_array().unwrap())
    {
        let flag = flag.as_str().unwrap();
        if !flags.contains_key(flag) {
            wrong.push(format!("{flag} is in the table only"));
        }
        known.push(flag.to_owned());
    }
    let extra = flags.keys().filter(|flag| !known.contains(flag));
    wrong.extend(extra.map(|flag| format!("{flag} is not in the table")));
    wrong
}

/// The limits that a verb has not.
const SESSIONS_ONLY: [(&str, &str); 3] = [
    ("logs", "--timeout"),
    ("logs", "--stall-timeout"),
    ("port_forward", "--timeout"),
];

/// Writes a default as help does: seconds as `5s` or `30m`, lists with commas.
fn spelled(default: &Value) -> String {
    if let Some(list) = default.as_array() {
        let words = list.iter().filter_map(Value::as_str);
        return words.collect::<Vec<_>>().join(",");
    }
    match default.as_u64() {
        Some(seconds) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        Some(seconds) => format!("{seconds}s"),
        None => default.as_str().unwrap_or_default().to_owned(),
    }
}

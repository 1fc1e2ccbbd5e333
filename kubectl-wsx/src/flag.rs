//! The grammar of flags: what people and scripts are used to from kubectl (pflag).
//!
//! Lives here: values of flags, and names with underscores. Never here: which flags there are.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// Reads the value of a switch, as Go's `strconv.ParseBool`.
///
/// # Errors
/// When it is none of Go's words for true and false.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

/// Reads `KEY=VALUE`.
///
/// # Errors
/// When there is no `=`, or nothing before it.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be KEY=VALUE".to_owned()),
    }
}

/// Returns the arguments with `-` for `_` in the names of flags that exist so, as kubectl does.
///
/// Nothing is changed after `--`, nor in values.
pub(crate) fn normalize(
    arguments: impl IntoIterator<Item = OsString>,
    flags: &BTreeSet<String>,
) -> Vec<OsString> {
    let mut ended = false;
    arguments
        .into_iter()
        .map(|argument| {
            ended |= argument == "--";
            if ended {
                argument
            } else {
                hyphenate(&argument, flags).unwrap_or(argument)
            }
        })
        .collect()
}

fn hyphenate(argument: &OsString, flags: &BTreeSet<String>) -> Option<OsString> {
    let flag = argument.to_str()?.strip_prefix("--")?;
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    let name = Some(name.replace('_', "-")).filter(|name| flags.contains(name))?;
    Some(match value {
        Some(value) => format!("--{name}={value}").into(),
        None => format!("--{name}").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_take_the_words_of_go() {
        for (text, value) in [
            ("1", Some(true)),
            ("F", Some(false)),
            ("True", Some(true)),
            ("yes", None),
            ("", None),
        ] {
            assert_eq!(parse_bool(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn a_pair_needs_a_key() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse_pair("=b").is_err() && parse_pair("a").is_err());
    }

    #[test]
    fn underscores_in_names_of_flags_are_hyphens() {
        let flags = ["as-group", "request-timeout"].map(str::to_owned).into();
        let given = [
            "x",
            "--as_group=a_b",
            "--request_timeout",
            "--no_such",
            "--",
            "--as_group",
        ];
        let expected = [
            "x",
            "--as-group=a_b",
            "--request-timeout",
            "--no_such",
            "--",
            "--as_group",
        ];
        assert_eq!(
            normalize(given.map(OsString::from), &flags),
            expected.map(OsString::from)
        );
    }
}

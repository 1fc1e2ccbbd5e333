//! `WSX_PORT_<REMOTE>` and `WSX_PORT_<TARGET>_<REMOTE>`: where a command finds its ports.
//!
//! Lives here: the names. Never here: running the command.

use std::collections::BTreeMap;

use super::flags::Target;

/// The names of one port in the environment of the command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Names {
    /// `WSX_PORT_5432`; nothing where several ports would have it.
    pub(super) short: Option<String>,
    /// `WSX_PORT_SVC_DB_5432`.
    pub(super) long: String,
}

/// Returns the names of all ports, target by target and in their order.
///
/// # Errors
/// When even the long name of a port would be that of another one.
pub(super) fn names(targets: &[Target]) -> Result<Vec<Vec<Names>>, String> {
    let all: Vec<Vec<(String, String)>> = targets
        .iter()
        .map(|target| target.ports.iter().map(|port| both(target, port)).collect())
        .collect();
    let (mut shorts, mut longs) = (BTreeMap::new(), BTreeMap::new());
    for (short, long) in all.iter().flatten() {
        *shorts.entry(short.clone()).or_insert(0) += 1;
        *longs.entry(long.clone()).or_insert(0) += 1;
    }
    if let Some((long, _)) = longs.iter().find(|(_, count)| **count > 1) {
        return Err(format!(
            "two ports would have the name {long} in the environment of the command"
        ));
    }
    let is_clear = |short: &String| shorts.get(short) == Some(&1) && !longs.contains_key(short);
    let named = |(short, long): (String, String)| Names {
        short: Some(short).filter(is_clear),
        long,
    };
    Ok(all
        .into_iter()
        .map(|ports| ports.into_iter().map(named).collect())
        .collect())
}

fn both(target: &Target, port: &str) -> (String, String) {
    let remote = port.rsplit_once(':').map_or(port, |(_, remote)| remote);
    let (target, remote) = (shell(&target.name), shell(remote));
    (
        format!("WSX_PORT_{remote}"),
        format!("WSX_PORT_{target}_{remote}"),
    )
}

/// Returns a text as it may stand in the name of a variable of a shell.
fn shell(text: &str) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter.to_ascii_uppercase(),
        false => '_',
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(targets: &[(&str, &[&str])]) -> Result<Vec<(Option<String>, String)>, String> {
        let targets: Vec<_> = targets
            .iter()
            .map(|(name, ports)| Target {
                name: (*name).to_owned(),
                ports: ports.iter().map(|port| (*port).to_owned()).collect(),
            })
            .collect();
        let flat = |names: Vec<Vec<Names>>| names.into_iter().flatten();
        names(&targets).map(|names| flat(names).map(|names| (names.short, names.long)).collect())
    }

    fn pair(short: Option<&str>, long: &str) -> (Option<String>, String) {
        (short.map(str::to_owned), long.to_owned())
    }

    #[test]
    fn a_port_is_named_after_what_was_asked_for() {
        assert_eq!(
            of(&[("svc/my-db", &[":5432", "8080:http", "metrics-2"])]),
            Ok(vec![
                pair(Some("WSX_PORT_5432"), "WSX_PORT_SVC_MY_DB_5432"),
                pair(Some("WSX_PORT_HTTP"), "WSX_PORT_SVC_MY_DB_HTTP"),
                pair(Some("WSX_PORT_METRICS_2"), "WSX_PORT_SVC_MY_DB_METRICS_2"),
            ])
        );
    }

    #[test]
    fn the_short_name_is_for_one_port_alone() {
        assert_eq!(
            of(&[("a", &["80"]), ("b", &["80", "81"])]),
            Ok(vec![
                pair(None, "WSX_PORT_A_80"),
                pair(None, "WSX_PORT_B_80"),
                pair(Some("WSX_PORT_81"), "WSX_PORT_B_81"),
            ])
        );
        // The short name of one is the long name of another.
        assert_eq!(
            of(&[("a", &["b"]), ("c", &["a-b"])]),
            Ok(vec![
                pair(Some("WSX_PORT_B"), "WSX_PORT_A_B"),
                pair(None, "WSX_PORT_C_A_B"),
            ])
        );
    }

    #[test]
    fn a_long_name_twice_is_a_mistake() {
        for targets in [
            &[("a", &["80", "8080:80"][..])][..],
            &[("a-b", &["80"]), ("a.b", &["80"])],
        ] {
            let error = of(targets).unwrap_err();
            assert!(error.starts_with("two ports would have the name WSX_PORT_A"));
        }
    }
}

//! The grammar of the command line: flags as kubectl takes them.

use super::*;

/// Parses a line, or returns clap's first line about it.
fn parse_line(line: &str) -> Result<Cli, String> {
    let words = std::iter::once("kubectl-wsx").chain(line.split_whitespace());
    parse(words.map(OsString::from)).map_err(|refused| {
        refused
            .error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

fn exec_line(line: &str) -> (Globals, Box<exec::Args>) {
    match parse_line(line) {
        Ok(Cli {
            globals,
            verb: Verb::Exec(args),
        }) => (globals, args),
        Ok(_) => panic!("{line} is no exec"),
        Err(error) => panic!("{line}: {error}"),
    }
}

#[test]
fn clap_finds_no_fault_with_the_definition() {
    command().debug_assert();
}

#[test]
fn switches_combine_as_with_kubectl() {
    for (flags, stdin, tty) in [
        ("", None, None),
        ("-it", Some(true), Some(true)),
        ("-ti", Some(true), Some(true)),
        ("-i -t", Some(true), Some(true)),
        ("-i=false -t", Some(false), Some(true)),
        ("--stdin=true", Some(true), None),
        ("--stdin", Some(true), None),
        ("-t=F", None, Some(false)),
        ("-itn ns", Some(true), Some(true)),
        ("-it -i=false", Some(false), Some(true)),
    ] {
        for line in [
            format!("exec {flags} web-0 -- sh"),
            format!("exec web-0 {flags} -- sh"),
        ] {
            let (_, args) = exec_line(&line);
            assert_eq!(args.switches(), (stdin, tty), "{line}");
        }
    }
}

#[test]
fn verbosity_has_all_its_forms() {
    for flag in ["-v6", "-v 6", "-v=6", "--v=6", "--v 6"] {
        assert_eq!(
            exec_line(&format!("exec web-0 {flag} -- sh")).0.verbosity(),
            6,
            "{flag}"
        );
        assert_eq!(
            exec_line(&format!("{flag} exec web-0 -- sh")).0.verbosity(),
            6,
            "{flag}"
        );
    }
}

#[test]
fn global_flags_stand_anywhere_and_the_last_one_counts() {
    for line in [
        "-n prod exec web-0 -- sh",
        "exec -n prod web-0 -- sh",
        "exec web-0 --namespace=prod -- sh",
        "exec web-0 -n dev -n prod -- sh",
        "-n dev exec web-0 -n prod -- sh",
    ] {
        assert_eq!(exec_line(line).0.namespace(), Some("prod"), "{line}");
    }
}

#[test]
fn everything_after_the_dashes_belongs_to_the_command() {
    let (globals, args) = exec_line("exec web-0 -- ls -n x --no_such -- -it");
    assert_eq!(globals.namespace(), None);
    assert_eq!(args.command(), ["ls", "-n", "x", "--no_such", "--", "-it"]);
    assert_eq!(args.switches(), (None, None));
}

#[test]
fn kubectl_flags_without_meaning_are_taken() {
    exec_line(
        "exec web-0 --cache-dir=/x --disable-compression --kuberc off --log-flush-frequency=5s \
         --match-server-version --profile none --profile_output p.out --vmodule a=1 \
         --warnings-as-errors=false -- sh",
    );
}

#[test]
fn every_connection_flag_is_taken() {
    exec_line(
        "exec web-0 --as me --as-group a --as-group b --as_uid 1 --as-user-extra k=v \
         --certificate-authority ca --client-certificate cc --client-key ck --cluster c \
         --context x --insecure-skip-tls-verify --kubeconfig f --password p -q \
         --request-timeout 5 -s https://h --tls-server-name t --token k --user u --username n \
         -- sh",
    );
}

#[test]
fn mistakes_are_named() {
    for (line, words) in [
        (
            "exec --timeout 5 web-0 -- sh",
            "error: invalid value '5' for '--timeout <DURATION>': time: missing unit in duration \"5\"",
        ),
        (
            "exec -i=maybe web-0 -- sh",
            "error: invalid value 'maybe' for '--stdin[=<BOOL>]': it must be true or false",
        ),
        (
            "exec --verify=always web-0 -- sh",
            "error: invalid value 'always' for '--verify <WHEN>': it must be auto or never",
        ),
        (
            "exec --keepalive-timeout=0 web-0 -- sh",
            "error: invalid value '0' for '--keepalive-timeout <DURATION>': must be higher than zero",
        ),
        (
            "exec --no-such web-0 -- sh",
            "error: unexpected argument '--no-such' found",
        ),
        ("tail web-0", "error: unrecognized subcommand 'tail'"),
    ] {
        assert_eq!(parse_line(line).err().as_deref(), Some(words));
    }
}

#[test]
fn secrets_do_not_appear_in_what_is_wrong() {
    for line in [
        "--token hunter2 exec --no-such web-0 -- sh",
        "exec --token=hunter2 --timeout 5 web-0 -- sh",
        "exec --password hunter2 --password hunter2 --as-user-extra x web-0 -- sh",
        "--tokens=hunter2 exec web-0 -- sh",
    ] {
        let words = std::iter::once("kubectl-wsx").chain(line.split_whitespace());
        let refused = parse(words.map(OsString::from)).err().unwrap();
        assert!(
            !format!("{refused:?} {}", refused.error).contains("hunter2"),
            "{line}"
        );
    }
}

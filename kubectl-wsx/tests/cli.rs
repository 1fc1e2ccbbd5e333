//! The command line without a cluster: help, mistakes, exit codes of the real binary.

use std::process::{Command, Stdio};

/// What a run said: exit code, stdout, stderr.
type Said = (Option<i32>, String, String);

/// Runs the binary with none of the developer's environment.
fn run_in(environment: &[(&str, &str)], line: &str) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-wsx"))
        .env_clear()
        .env("HOME", "/proc/nobody")
        .envs(environment.iter().copied())
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what we say is UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn run(line: &str) -> Said {
    run_in(&[], line)
}

fn refused(message: &str) -> Said {
    (Some(2), String::new(), format!("{message}\n"))
}

const HELP: &str = r#"Streams to and from pods over WebSocket that never lie about how they ended

Usage: kubectl wsx COMMAND [flags]

Commands:
  attach        Join the main process of a container, and end with its exit status
  exec          Run a command in a container, and end with its exit status
  logs          Print what containers wrote, or follow it; a loss is never silent
  options       Show the flags that every command has
  port-forward  Forward local ports to pods and services, over restarts and losses [alias: pf]
  version       Show the versions of this program, its protocols and the server
  help          Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Use "kubectl wsx COMMAND --help" for the flags of a command, and
"kubectl wsx options" for those of all commands. All flags come after "wsx".
"#;

const EXEC_HELP: &str = r#"Run a command in a container, and end with its exit status

Examples:
  kubectl wsx exec mypod -- date                       # its output, and its exit status
  kubectl wsx exec -it deploy/web -- bash              # a shell in one pod of a deployment
  kubectl wsx exec -i db-0 -c db -- psql < dump.sql    # a file as input
  kubectl wsx exec --timeout=30s mypod -- ./check.sh   # give up after 30 seconds

Usage:
  kubectl wsx exec (POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]

Options:
  -c, --container <NAME>                Container [default: the annotated one, else the first]
  -i, --stdin[=<BOOL>]                  Pass standard input to the container
  -t, --tty[=<BOOL>]                    Stdin is a terminal; needs -i
      --pod-running-timeout <DURATION>  Wait for the pod to run [default: 1m]
      --timeout <DURATION>              Limit from the first request to the exit status
      --connect-timeout <DURATION>      Limit of each step until data flows [default: 10s]
      --keepalive <DURATION>            Time between two pings; 0 sends none [default: 5s]
      --keepalive-timeout <DURATION>    Limit for a silent server [default: 1m]
      --stall-timeout <DURATION>        Limit for input left unread [default: 30m]
      --protocol <NAME>                 Subprotocol: auto, v4, v5, or a name [default: auto]
      --status-file <FILE>              Write how it ended, as one line of JSON
  -f, --filename <FILE>                 Manifest of the pod, or of what has pods
      --no-preflight[=<BOOL>]           Do not look at the pod first; saves a request
      --verify <WHEN>                   Look into doubtful success: auto, never [default: auto]
  -h, --help                            Print help

Exit status: that of COMMAND. Ours: 124 time limit, 125 not started, 255 outcome unknown,
74 output not written. Use "kubectl wsx options" for the flags of all commands (-n, -q, -v, ...).
"#;

const ATTACH_HELP: &str = r#"Join the main process of a container, and end with its exit status

Examples:
  kubectl wsx attach mypod                       # its output from now on, and its exit status
  kubectl wsx attach --history=20 mypod          # the last lines of its log first
  kubectl wsx attach -it mypod -c shell          # its terminal; Ctrl-P Ctrl-Q leaves it running

Usage:
  kubectl wsx attach (POD | TYPE/NAME) [-c CONTAINER] [flags]

Options:
  -c, --container <NAME>                Container [default: the annotated one, else the first]
  -i, --stdin[=<BOOL>]                  Pass standard input to the container
  -t, --tty[=<BOOL>]                    Stdin is a terminal; needs -i
      --pod-running-timeout <DURATION>  Wait for the pod to run [default: 1m]
      --timeout <DURATION>              Limit from the first request to the exit status
      --connect-timeout <DURATION>      Limit of each step until data flows [default: 10s]
      --keepalive <DURATION>            Time between two pings; 0 sends none [default: 5s]
      --keepalive-timeout <DURATION>    Limit for a silent server [default: 1m]
      --stall-timeout <DURATION>        Limit for input left unread [default: 30m]
      --protocol <NAME>                 Subprotocol: auto, v4, v5, or a name [default: auto]
      --status-file <FILE>              Write how it ended, as one line of JSON
      --detach-keys <KEYS>              Keys that leave a terminal session [default: ctrl-p,ctrl-q]
      --history <LINES>                 Show so many lines of its log first, at most 10000
  -h, --help                            Print help

Exit status: that of the container, once it ends; 0 when it was left by its keys. Ours: 124
time limit, 125 not attached, 255 the stream ended but not the container, 74 output not written.
Use "kubectl wsx options" for the flags of all commands (-n, -q, -v, ...).
"#;

const LOGS_HELP: &str = r#"Print what containers wrote, or follow it; a loss is never silent

Examples:
  kubectl wsx logs mypod                          # all that its container wrote
  kubectl wsx logs -f deploy/web --tail 100       # the last 100 lines, and what comes
  kubectl wsx logs -F -l app=web --prefix         # every pod of a selector, new ones too, for ever
  kubectl wsx logs -f mypod --strict -o json      # for programs; 65 at the end if lines are missing

Usage:
  kubectl wsx logs [-f | -F] [-p] (POD | TYPE/NAME | -l SELECTOR | -A) [-c CONTAINER] [flags]

Options:
  -c, --container <NAME>                Container [default: the annotated one, else the first]
      --all-containers[=<BOOL>]         All containers of each pod
      --all-pods[=<BOOL>]               All pods of TYPE/NAME; sets --prefix
  -A, --all-namespaces[=<BOOL>]         Pods of all namespaces; sets --prefix
  -l, --selector <SELECTOR>             Pods with these labels
  -f, --follow[=<BOOL>]                 Go on with what comes, over every cut
  -F, --forever[=<BOOL>]                Follow, wait for pods and runs to come, never give up
  -p, --previous[=<BOOL>]               The run before the present one
      --tail <LINES>                    Only the last lines [default: all, 10 with -l or -A]
      --since <DURATION>                Only lines of this long ago or later
      --since-time <TIME>               Only lines of this time (RFC 3339) or later
      --limit-bytes <BYTES>             At most so many bytes of each log
      --timestamps[=<BOOL>]             Show when each line was written
      --prefix[=<BOOL>]                 Show pod and container before each line
      --ignore-errors[=<BOOL>]          Go on with the others when a log cannot be read
      --max-log-requests <COUNT>        How many logs are read at once; others wait [default: 50]
      --pod-running-timeout <DURATION>  Wait for a pod, and with -f for its container [default: 20s]
      --include <REGEX>                 Only lines that match; may be repeated
      --exclude <REGEX>                 No lines that match; may be repeated
      --highlight <REGEX>               Mark what matches on a terminal; may be repeated
      --sort <ORDER>                    Order of several logs: none, window [default: none]
      --sort-window <DURATION>          How long --sort=window may hold back a line [default: 1s]
  -o, --output <FORM>                   Form of the output: text, raw, json [default: text]
      --raw[=<BOOL>]                    Let control characters through to a terminal
      --no-resume[=<BOOL>]              End with the connection instead of resuming
      --strict[=<BOOL>]                 End with 65 when lines are missing, or a log is
      --connect-timeout <DURATION>      Limit of each step until data flows [default: 10s]
      --keepalive <DURATION>            Time between two pings; 0 sends none [default: 5s]
      --keepalive-timeout <DURATION>    Limit for a silent server [default: 15s]
      --protocol <NAME>                 How to follow: auto, http, or a subprotocol [default: auto]
  -h, --help                            Print help

Exit status: 0 when all that was asked for was shown; 65 lines are missing (--strict), 74 output
not written, 125 not to be had, 255 lost. Use "kubectl wsx options" for the flags of all commands.
"#;

const FORWARD_HELP: &str = r#"Forward local ports to pods and services, over restarts and losses

Examples:
  kubectl wsx port-forward mypod 8080:80          # local port 8080 to port 80 of a pod
  kubectl wsx port-forward svc/db :5432           # any free port to a ready pod of a service
  kubectl wsx pf svc/db 5432 + deploy/web 8080    # several targets
  kubectl wsx pf svc/db :5432 -- ./test.sh        # with WSX_PORT_5432; ends with its code

Usage:
  kubectl wsx port-forward TYPE/NAME [LOCAL:]REMOTE... [+ TYPE/NAME ...] [flags] [-- COMMAND]

Options:
      --address <ADDRESS>               IP addresses to listen on [default: localhost]
      --unix <PATH>                     A Unix socket instead, mode 0600; for a single port
      --on-conflict <WHAT>              Local port in use: fail, next, random [default: fail]
      --balance <HOW>                   Use all ready pods of the target: least, round-robin
      --require-ready[=<BOOL>]          Pods of TYPE/NAME have to be ready [default: true]
      --reconnect <HOW>                 When a session is lost: auto, never, a count [default: auto]
      --wait <DURATION>                 Wait for a pod once there was one [default: 1m]
      --hold <DURATION>                 Keep new connections waiting for a session [default: 5s]
      --half-close <WHEN>               Pass on the end of input: auto, hold, pass [default: auto]
      --sessions <COUNT>                Sessions to spread connections over [default: 1]
      --protocol <NAME>                 Subprotocol: auto, tunnel, v4, or a name [default: auto]
      --pod-running-timeout <DURATION>  Wait for the pod to run [default: 1m]
      --connect-timeout <DURATION>      Limit of each step until data flows [default: 10s]
      --keepalive <DURATION>            Time between two pings; 0 sends none [default: 5s]
      --keepalive-timeout <DURATION>    Limit for a silent server [default: 15s]
      --stall-timeout <DURATION>        Limit for data left unread [default: 5m]
  -o, --output <FORM>                   Form of the output: text, json [default: text]
      --ready-file <FILE>               Written when all ports are ready, as JSON; gone at the end
      --stats[=<BOOL>]                  Say at the end what went through
  -h, --help                            Print help

Exit status: 0 after Ctrl-C, that of COMMAND; 125 could not start (a port in use, no such pod), 255
lost for good, 74 output not written. Use "kubectl wsx options" for the flags of all commands.
"#;

#[test]
fn help_of_all() {
    let help = (Some(0), HELP.to_owned(), String::new());
    assert_eq!(run("--help"), help);
    assert_eq!(run("-h"), help);
    assert_eq!(run("help"), help);
    assert_eq!(run(""), (Some(2), String::new(), HELP.to_owned()));
}

#[test]
fn help_fits_a_screen_and_begins_with_examples() {
    let help = (Some(0), EXEC_HELP.to_owned(), String::new());
    assert_eq!(run("exec --help"), help);
    assert_eq!(run("exec -h"), help);
    assert_eq!(run("help exec"), help);
    assert_eq!(
        run("attach --help"),
        (Some(0), ATTACH_HELP.to_owned(), String::new())
    );
    let logs = (Some(0), LOGS_HELP.to_owned(), String::new());
    assert_eq!(run("logs --help"), logs);
    let forward = (Some(0), FORWARD_HELP.to_owned(), String::new());
    assert_eq!(run("port-forward --help"), forward);
    assert_eq!(run("pf -h"), forward);
    for (help, most) in [
        (ATTACH_HELP, 32),
        (EXEC_HELP, 32),
        (FORWARD_HELP, 36),
        (LOGS_HELP, 48),
    ] {
        assert!(help.lines().count() <= most);
        assert!(help.lines().all(|line| line.len() <= 100));
    }
}

#[test]
fn options_lists_the_flags_of_all_commands() {
    let (code, stdout, stderr) = run("options");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let flags: Vec<_> = stdout
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix('-'))
        .filter_map(|flag| flag.split(['<', '[']).next())
        .map(str::trim_end)
        .collect();
    let expected = "-as|-as-group|-as-uid|-as-user-extra|-cache-dir|-certificate-authority|\
                    -client-certificate|-client-key|-cluster|-context|-disable-compression|\
                    -insecure-skip-tls-verify|-kubeconfig|-kuberc|-log-flush-frequency|\
                    -match-server-version|n, --namespace|-password|-profile|-profile-output|\
                    q, --quiet|-request-timeout|s, --server|-tls-server-name|-token|-user|\
                    -username|v, --v|-vmodule|-warnings-as-errors";
    let mut sorted = flags.clone();
    sorted.sort_unstable_by_key(|flag| flag.rsplit('-').collect::<String>());
    let mut expected: Vec<_> = expected.split('|').collect();
    expected.sort_unstable_by_key(|flag| flag.rsplit('-').collect::<String>());
    assert_eq!(sorted, expected);
}

#[test]
fn the_version_of_the_client_needs_no_cluster() {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "Client Version: v{version}\nProtocols: v5.channel.k8s.io, v4.channel.k8s.io, \
         v4.base64.channel.k8s.io, channel.k8s.io, base64.channel.k8s.io\n"
    );
    assert_eq!(run("version --client"), (Some(0), text, String::new()));
    let (code, stdout, _) = run("version --client -o json");
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(
        (code, &json["clientVersion"]),
        (Some(0), &format!("v{version}").into())
    );
    let text = format!("kubectl wsx {version}\n");
    assert_eq!(run("--version"), (Some(0), text, String::new()));
}

#[test]
fn mistakes_are_told_in_the_words_of_kubectl() {
    for (line, message) in [
        (
            "exec web-0 ls",
            "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] \
             instead\nSee 'kubectl wsx exec -h' for help and examples",
        ),
        (
            "exec web-0",
            "error: you must specify at least one command for the container",
        ),
        (
            "exec -- ls",
            "error: pod, type/name or --filename must be specified",
        ),
        (
            "exec --nope web-0 -- ls",
            "error: unknown flag: --nope\nSee 'kubectl wsx exec --help' for usage.",
        ),
        (
            "exec -x web-0 -- ls",
            "error: unknown shorthand flag: 'x' in -x\nSee 'kubectl wsx exec --help' for usage.",
        ),
        (
            "exec --timeout=5 web-0 -- ls",
            "error: invalid value '5' for '--timeout <DURATION>': time: missing unit in duration \
             \"5\"\nSee 'kubectl wsx exec --help' for usage.",
        ),
        (
            "port-forward web-0",
            "error: TYPE/NAME and list of ports are required for port-forward\n\
             See 'kubectl wsx port-forward -h' for help and examples",
        ),
        (
            "pf web-0 80 + db-0",
            "error: TYPE/NAME and list of ports are required for port-forward\n\
             See 'kubectl wsx port-forward -h' for help and examples",
        ),
        (
            "pf web-0 -1",
            "error: unknown shorthand flag: '1' in -1\n\
             See 'kubectl wsx port-forward --help' for usage.",
        ),
        (
            "pf --unix s web-0 80 81",
            "error: a Unix socket leads to a single port, and not to several (--unix)",
        ),
        (
            "pf --unix s --address localhost web-0 80",
            "error: only one of --unix or --address is allowed",
        ),
        (
            "pf web-0 80 8080:80 -- true",
            "error: two ports would have the name WSX_PORT_WEB_0_80 in the environment of the command",
        ),
        (
            "tail web-0",
            "error: unrecognized subcommand 'tail'\nSee 'kubectl wsx --help' for usage.",
        ),
    ] {
        assert_eq!(run(line), refused(message), "{line}");
    }
}

#[test]
fn our_own_codes_can_be_those_of_kubectl() {
    let kubectl = [("WSX_EXIT_CODES", "kubectl")];
    for (line, ours) in [
        ("exec web-0", 2),
        ("exec --nope", 2),
        ("exec web-0 -- ls", 125),
    ] {
        assert_eq!(run(line).0, Some(ours), "{line}");
        assert_eq!(run_in(&kubectl, line).0, Some(1), "{line}");
    }
}

#[test]
fn a_reader_of_help_that_leaves_is_a_quiet_end() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-wsx"))
        .arg("--help")
        .stdout(writer)
        .output()
        .expect("the binary runs");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(141), &b""[..])
    );
}

#[test]
fn spdy_cannot_be_had() {
    let environment = [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")];
    let (_, _, stderr) = run_in(&environment, "exec web-0 -- ls");
    let warning =
        "Warning: KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false has no effect: there is no SPDY here";
    assert_eq!(stderr.lines().next(), Some(warning));
    let (_, _, stderr) = run_in(&environment, "exec -q web-0 -- ls");
    assert!(!stderr.contains("Warning"), "{stderr}");
}

#[test]
fn spdy_cannot_be_had_for_ports_either() {
    let environment = [("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];
    let (code, _, stderr) = run_in(&environment, "pf web-0 80");
    let warning =
        "Warning: KUBECTL_PORT_FORWARD_WEBSOCKETS=false has no effect: there is no SPDY here";
    assert_eq!((code, stderr.lines().next()), (Some(125), Some(warning)));
}

#[test]
fn secrets_of_the_command_line_are_not_shown() {
    for line in [
        "exec -v=10 --token=hunter2 web-0 -- ls",
        "exec -v=10 --username=me --password=hunter2 web-0 -- ls",
        "exec --token=hunter2 --nope web-0 -- ls",
        "--tokens=hunter2 exec web-0 -- ls",
    ] {
        let (_, stdout, stderr) = run(line);
        assert!(!(stdout + &stderr).contains("hunter2"), "{line}");
    }
}

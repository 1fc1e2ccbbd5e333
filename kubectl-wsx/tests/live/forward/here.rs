//! This machine's part: sockets, files, commands, signals, outputs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{End, Forwarding, connect, get, own, read_all};
use crate::support::{finish, run, words, wsx};

#[test]
fn another_port_is_taken_where_that_was_asked_for() {
    let (cluster, _ports) = own();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    for how in ["next", "random"] {
        let line = format!("own-0 {port}:80 --on-conflict={how}");
        let mut forward = Forwarding::on(&cluster, &line);
        let other = forward.port();
        assert_ne!(other, port);
        if how == "next" {
            assert!((port + 1..=port.saturating_add(100)).contains(&other));
        }
        assert_eq!(get(other, "/"), (b"own-0".to_vec(), End::Fin));
        let said = format!("port {port} is in use");
        forward.interrupt().expect(0, &[&said, "has it"]);
    }
}

#[test]
fn a_unix_socket_is_private_and_goes_with_us() {
    let (cluster, _ports) = own();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut command = wsx(&cluster, words("pf own-0 80 --unix"));
    let mut forward = Forwarding::start(command.arg(&path));
    let shown = path.display();
    assert_eq!(forward.line(), format!("Forwarding from {shown} -> 80"));
    let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (answer, end) = read_all(&mut stream);
    assert!(answer.ends_with(b"\r\n\r\nown-0") && end == End::Fin);
    assert_eq!(forward.line(), format!("Handling connection for {shown}"));
    forward.interrupt().expect(0, &[]);
    assert!(fs::symlink_metadata(&path).is_err());
}

#[test]
fn the_ready_file_is_there_while_the_ports_are() {
    let (cluster, _ports) = own();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ready");
    fs::write(&path, "old").unwrap();
    let mut command = wsx(
        &cluster,
        words("pf own-0 :80 :7 + svc/web :80 --address=127.0.0.1 --ready-file"),
    );
    let mut forward = Forwarding::start(command.arg(&path).args(["--", "cat"]).arg(&path));
    let line = forward.line();
    let list: Value = serde_json::from_str(&line).unwrap();
    let told: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|port| (port["target"].clone(), port["remote"].clone()))
        .collect();
    let expected = [("own-0", 80), ("own-0", 7), ("svc/web", 8080)];
    assert_eq!(
        told,
        expected.map(|(target, remote)| (json!(target), json!(remote)))
    );
    assert!(list[0]["local"].as_u64().unwrap() > 0);
    assert_eq!(list[0]["address"], "127.0.0.1");
    forward.finish().expect(0, &["Forwarding from 127.0.0.1:"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_ready_file_that_cannot_be_is_refused_before_anything_starts() {
    let (cluster, _ports) = own();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink("elsewhere", &link).unwrap();
    let mut command = wsx(&cluster, words("pf own-0 :80 --ready-file"));
    run(command.arg(&link))
        .expect(125, &["symbolic link, which is not followed"])
        .prints("");
    assert!(cluster.requests().is_empty());
}

#[test]
fn a_command_finds_its_ports_and_gives_us_its_code() {
    let (cluster, _ports) = own();
    let script = "curl -s http://127.0.0.1:$WSX_PORT_80/; echo; \
                  test $WSX_PORT_80 = $WSX_PORT_OWN_0_80 && exit 7";
    let mut command = wsx(&cluster, words("pf own-0 :80 -- sh -c"));
    run(command.arg(script))
        .expect(
            7,
            &["Forwarding from 127.0.0.1:", "Handling connection for "],
        )
        .prints("own-0\n");
}

#[test]
fn the_short_name_is_absent_where_it_is_not_clear() {
    let (cluster, _ports) = own();
    let script = "echo ${WSX_PORT_80-none} ${WSX_PORT_HTTP:+there}; \
                  test $WSX_PORT_OWN_0_80 != $WSX_PORT_WEB_0_80";
    let mut command = wsx(&cluster, words("pf own-0 :80 :http + web-0 :80 -- sh -c"));
    run(command.arg(script))
        .expect(0, &[])
        .prints("none there\n");
}

#[test]
fn a_command_that_a_signal_ends_is_told_as_shells_do() {
    let (cluster, _ports) = own();
    let mut command = wsx(&cluster, words("pf own-0 :80 -- sh -c"));
    run(command.arg("kill -KILL $$")).expect(137, &[]);
    run(&mut wsx(
        &cluster,
        words("pf own-0 :80 -- /nonexistent/program"),
    ))
    .expect(
        125,
        &["cannot run /nonexistent/program: No such file or directory"],
    );
}

#[test]
fn signals_are_the_affair_of_the_command() {
    let (cluster, _ports) = own();
    let script = "trap 'echo got it; exit 9' TERM; echo up; while :; do sleep 0.1; done";
    for signal in ["TERM", "INT"] {
        let script = script.replace("TERM", signal);
        let mut command = wsx(&cluster, words("pf own-0 :80 -- sh -c"));
        let mut forward = Forwarding::start(command.arg(script));
        assert_eq!(forward.line(), "up");
        forward.signal(signal);
        forward.finish().expect(9, &[]).prints("got it\n");
    }
}

#[test]
fn a_command_whose_ports_are_lost_is_ended() {
    let (cluster, ports) = own();
    let script = "trap 'echo over; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let mut command = wsx(&cluster, words("pf own-0 :80 --reconnect=never -- sh -c"));
    let mut forward = Forwarding::start(command.arg(script));
    assert_eq!(forward.line(), "up");
    ports.run(json!({"cut": "rst"}));
    forward.finish().expect(255, &["error: "]).prints("over\n");
}

#[test]
fn other_signals_end_us_by_themselves() {
    let (cluster, _ports) = own();
    for (name, number) in [("TERM", 15), ("HUP", 1)] {
        let mut forward = Forwarding::on(&cluster, "own-0 :80");
        forward.port();
        forward.signal(name);
        let run = forward.finish();
        assert_eq!(run.signal, Some(number), "{run:?}");
    }
}

#[test]
fn several_targets_have_their_own_ports_and_lines() {
    let (cluster, _ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 + web-0 :80 --stats");
    let lines = [forward.line(), forward.line()];
    for (line, name) in lines.iter().zip(["own-0", "web-0"]) {
        assert!(line.ends_with(&format!(" -> 80 ({name})")), "{line}");
        let port = line.split([':', ' ']).nth(3).unwrap().parse().unwrap();
        assert_eq!(get(port, "/"), (name.as_bytes().to_vec(), End::Fin));
        cluster
            .forward("default", name)
            .run(json!({"await_open": 0}));
    }
    let run = forward.interrupt();
    run.expect(0, &["own-0: 1 connections, ", "web-0: 1 connections, "]);
}

#[test]
fn quiet_leaves_the_ports_and_what_went_wrong() {
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "-q own-0 :80 :81");
    let (web, refused) = (forward.port(), forward.port());
    ports.run(json!({"cut": "rst"}));
    assert_eq!(get(web, "/").1, End::Fin);
    assert_eq!(read_all(&mut connect(refused)).1, End::Reset);
    forward.says("error: connection ");
    let run = forward.interrupt();
    assert_eq!(
        (run.stderr.lines().count(), &*run.stdout),
        (1, &b""[..]),
        "{run:?}"
    );
}

/// Every event fits the schema, and nothing else is in it.
#[test]
fn json_events_fit_their_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (cluster, ports) = own();
    let mut forward = Forwarding::on(&cluster, "own-0 :80 :81 -o json");
    let ready = forward.event("ready");
    let local = |place: usize| ready["ports"][place]["local"].as_u64().unwrap() as u16;
    let mut objects = vec![ready.clone()];
    assert_eq!(
        (&ready["pod"], &ready["away"]),
        (&json!("own-0"), &json!(null))
    );
    assert_eq!(get(local(0), "/").1, End::Fin);
    objects.push(forward.event("opened"));
    let closed = forward.event("closed");
    assert_eq!(
        (&closed["error"], &closed["connection"]),
        (&json!(null), &json!(1))
    );
    assert!(closed["received"].as_u64().unwrap() > 5 && closed["lasted"].is_number());
    objects.push(closed);
    assert_eq!(read_all(&mut connect(local(1))).1, End::Reset);
    let refused = forward.event("closed");
    assert_eq!(refused["error"]["kind"], "not_started");
    objects.push(refused);
    ports.run(json!({"cut": "rst"}));
    objects.push(forward.event("reconnecting"));
    let again = forward.event("ready");
    assert!(again["away"].is_number());
    objects.push(again);
    // What is open at the end is told, too.
    let mut open = connect(local(0));
    forward.event("opened");
    let run = forward.interrupt();
    drop(read_all(&mut open));
    let last = String::from_utf8(run.stdout.clone()).unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["event"], "closed");
    assert_eq!(last["error"]["kind"], "closed");
    objects.push(last);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    for object in &objects {
        let shape = &schema["$defs"][object["event"].as_str().unwrap()];
        let fields = object.as_object().unwrap();
        for name in fields.keys() {
            assert!(shape["properties"].get(name).is_some(), "{name}: {object}");
        }
        for name in shape["required"].as_array().unwrap() {
            assert!(
                fields.contains_key(name.as_str().unwrap()),
                "{name}: {object}"
            );
        }
    }
}

#[test]
fn a_reader_that_leaves_after_the_first_line_ends_nothing() {
    let (cluster, _ports) = own();
    let mut command = wsx(&cluster, words("pf --address=127.0.0.1 own-0 :80"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    let port = line.split([':', ' ']).nth(3).unwrap().parse().unwrap();
    for _ in 0..3 {
        assert_eq!(get(port, "/"), (b"own-0".to_vec(), End::Fin));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let run = finish(child);
    run.expect(
        0,
        &["cannot write to standard output: Broken pipe; forwarding goes on"],
    );
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
}

#[test]
fn ports_that_nobody_could_be_told_of_are_not_kept() {
    let (cluster, _ports) = own();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = wsx(&cluster, words("pf own-0 :80"));
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    finish(child).expect(74, &["not written", "No space left on device"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = wsx(&cluster, words("pf own-0 :80"));
    let child = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = finish(child);
    assert_eq!((run.code, &*run.stderr), (Some(141), ""));
}

/// A listener without descriptors waits, says so, and goes on when there are some.
#[test]
fn descriptors_that_run_out_pause_the_listener() {
    let (cluster, _ports) = own();
    let script = format!(
        "ulimit -n 32; exec {} pf --address=127.0.0.1 own-0 :7",
        env!("CARGO_BIN_EXE_kubectl-wsx")
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .env("KUBECONFIG", cluster.kubeconfig());
    let mut forward = Forwarding::start(&mut command);
    let port = forward.port();
    let many: Vec<_> = (0..40).map(|_| connect(port)).collect();
    let line = forward.says("no connections are accepted: ");
    assert!(line.contains("Too many open files"), "{line}");
    // It does not spin meanwhile: of a second, less than a quarter of a processor.
    let before = cpu(forward.child.id());
    forward.is_quiet_for(Duration::from_secs(1));
    assert!(cpu(forward.child.id()) - before < 25);
    drop(many);
    forward.says("connections are accepted again");
    let mut stream = connect(port);
    stream.write_all(b"x").unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0]).unwrap();
    forward.interrupt().expect(0, &[]);
}

/// Hundredths of a second that a process has used.
fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(") ").unwrap().1;
    let mut fields = rest.split(' ').skip(11);
    let mut field = || fields.next().unwrap().parse::<u64>().unwrap();
    field() + field()
}

//! Real intermediaries between wsx and the API server: nginx, HAProxy, squid.
//!
//! Each is started here with a configuration of its own, where its package is installed; else the
//! test says that it is skipped, and fails where `WSX_REQUIRE` names the program.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use wsx_tests::kubectl::{self, Kubectl};

use crate::support::{PATIENCE, Run, at, pattern, required, run, run_with, wait};

/// An API server, and somebody who may exec there.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) token: String,
}

/// A running intermediary; it ends with this value.
struct Hop {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Hop {
    /// Starts a program with a configuration in which `PORT`, `UPSTREAM` and `FOLDER` are filled in.
    fn start(program: &str, flags: &[&str], config: &str, upstream: &Upstream) -> Option<Self> {
        let mut version = Command::new(program);
        version
            .arg("-v")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if version.status().is_err() {
            assert!(
                !required(program),
                "WSX_REQUIRE names {program}, and it is not installed"
            );
            println!("SKIPPED: {program} is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Some drop their rights and still write here.
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(folder.path(), everybody).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let place = folder.path().display().to_string();
        let config = config
            .replace("PORT", &port.to_string())
            .replace("UPSTREAM", &upstream.address.to_string())
            .replace("FOLDER", &place);
        let file = folder.path().join("config");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        command
            .args(flags)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let hop = Self {
            child,
            port,
            folder,
        };
        hop.listens(program);
        Some(hop)
    }

    /// There is no other sign of readiness that all three give.
    fn listens(&self, program: &str) {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begin.elapsed() < PATIENCE, "{program} does not listen");
            std::thread::yield_now();
        }
    }

    /// Ends squid, which then has written its log, and returns the servers it was asked to connect to.
    fn connects(&mut self) -> BTreeSet<String> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.unwrap().success());
        wait(&mut self.child);
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        let servers = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once(" CONNECT ")?;
            rest.split(' ').next().map(str::to_owned)
        });
        servers.collect()
    }

    /// Runs exec through this hop as a reverse proxy that takes TLS off.
    fn exec(&self, upstream: &Upstream, flags: &str, command: &[&str], input: &[u8]) -> Run {
        let mut words = vec![
            "exec".to_owned(),
            format!("--server=http://127.0.0.1:{}", self.port),
            format!("--token={}", upstream.token),
        ];
        words.extend(
            flags
                .split(' ')
                .filter(|flag| !flag.is_empty())
                .map(str::to_owned),
        );
        words.extend(["web-0", "-c", "app", "--"].map(str::to_owned));
        words.extend(command.iter().map(|&word| word.to_owned()));
        run_with(&mut at(&upstream.kubeconfig, words), input)
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NGINX: &str = "
daemon off; pid FOLDER/pid; error_log FOLDER/error.log; master_process off; worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path FOLDER/1; proxy_temp_path FOLDER/2; fastcgi_temp_path FOLDER/3;
  uwsgi_temp_path FOLDER/4; scgi_temp_path FOLDER/5;
  server { listen 127.0.0.1:PORT; location / { proxy_pass https://UPSTREAM; EXTRA } }
}
";

fn nginx(extra: &str, upstream: &Upstream) -> Option<Hop> {
    Hop::start("nginx", &["-c"], &NGINX.replace("EXTRA", extra), upstream)
}

pub(crate) fn nginx_with_the_upgrade_lines(upstream: &Upstream) {
    let lines = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
                 proxy_set_header Connection upgrade; proxy_buffering off;";
    let Some(hop) = nginx(lines, upstream) else {
        return;
    };
    hop.exec(upstream, "", &["sh", "-c", "echo hi; exit 3"], b"")
        .expect(3, &[])
        .prints("hi\n");
    let data = pattern(1 << 20);
    hop.exec(upstream, "-i", &["cat"], &data)
        .expect(0, &[])
        .prints(data);
}

pub(crate) fn nginx_without_the_upgrade_lines(upstream: &Upstream) {
    let Some(hop) = nginx("", upstream) else {
        return;
    };
    hop.exec(upstream, "", &["true"], b"")
        .expect(125, &["Upgrade request required", "Upgrade header"]);
}

const HAPROXY: &str = "
defaults
  mode http
  timeout connect 2s
  timeout client 2s
  timeout server 2s
  timeout tunnel 2s
frontend f
  bind 127.0.0.1:PORT
  default_backend b
backend b
  server s UPSTREAM ssl verify none
";

pub(crate) fn haproxy_with_a_short_tunnel_timeout(upstream: &Upstream) {
    let Some(hop) = Hop::start("haproxy", &["-db", "-f"], HAPROXY, upstream) else {
        return;
    };
    let quiet = ["sh", "-c", "sleep 5; echo held"];
    // Pings hold the tunnel open; without them it is cut, and that is no success.
    hop.exec(upstream, "--keepalive=500ms", &quiet, b"")
        .expect(0, &[])
        .prints("held\n");
    hop.exec(upstream, "--keepalive=0", &quiet, b"")
        .expect(255, &["outcome unknown"]);
}

const SQUID: &str = "
http_port 127.0.0.1:PORT
http_access allow all
pid_filename none
cache deny all
access_log stdio:FOLDER/access.log
cache_log FOLDER/cache.log
coredump_dir FOLDER
hosts_file FOLDER/hosts
visible_hostname wsx.test
shutdown_lifetime 0 seconds
";

pub(crate) fn squid_as_connect_proxy(upstream: &Upstream) {
    let Some(hop) = squid_with_names(upstream) else {
        return;
    };
    let through = |no_proxy: &str| {
        let words = [
            "exec".to_owned(),
            format!("--server=https://api.wsx.test:{}", upstream.address.port()),
            "--tls-server-name=localhost".to_owned(),
            format!("--token={}", upstream.token),
        ];
        let mut command = at(&upstream.kubeconfig, words);
        command.args(["web-0", "-c", "app", "--", "echo", "hi"]);
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{}", hop.port));
        command.env("NO_PROXY", no_proxy);
        run(&mut command)
    };
    through("10.0.0.0/8,.example.com")
        .expect(0, &[])
        .prints("hi\n");
    // Nobody but the proxy knows this name: going round it cannot work.
    through(".wsx.test").expect(125, &["api.wsx.test"]);
}

fn squid_with_names(upstream: &Upstream) -> Option<Hop> {
    let names = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        names.path(),
        format!("{} api.wsx.test\n", upstream.address.ip()),
    )
    .unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(names.path(), everybody).unwrap();
    let config = SQUID.replace("FOLDER/hosts", &names.path().display().to_string());
    Hop::start("squid", &["-N", "-f"], &config, upstream)
}

/// Networks in `NO_PROXY`: who goes through the proxy, by the proxy's own log, and kubectl beside us.
///
/// Loopback is never proxied, so the server gets another address of this machine.
pub(crate) fn squid_and_networks_in_no_proxy(upstream: &Upstream) {
    let addresses = own_addresses();
    if addresses.is_empty() {
        println!("SKIPPED: this machine has no address but loopback");
        return;
    }
    let Some(mut hop) = Hop::start("squid", &["-N", "-f"], SQUID, upstream) else {
        return;
    };
    let kubectl = any_kubectl();
    if kubectl.is_none() {
        println!("SKIPPED: no kubectl to stand beside wsx");
    }
    let clients: Vec<_> = [None].into_iter().chain(kubectl.iter().map(Some)).collect();
    let mut doors = Vec::new();
    let mut through = BTreeSet::new();
    for (address, network, other) in addresses {
        for (exceptions, is_direct) in [
            (format!("example.com,{network}"), true),
            (format!("example.com,{other}"), false),
            (String::new(), false),
        ] {
            for client in &clients {
                // Each has a port of its own, which the log names.
                let door = Door::before(upstream.address, address);
                if !is_direct {
                    through.insert(door.address.to_string());
                }
                exec_with_proxy(*client, upstream, door.address, hop.port, &exceptions);
                doors.push(door);
            }
        }
    }
    for client in clients {
        exec_with_proxy(client, upstream, upstream.address, hop.port, "");
    }
    assert_eq!(hop.connects(), through);
}

/// The addresses from which this machine talks to others, each with a network that holds it and one
/// that does not.
fn own_addresses() -> Vec<(IpAddr, String, &'static str)> {
    // Nothing is sent: these addresses are for documents.
    let towards = |local: &str, remote: &str| {
        let socket = UdpSocket::bind(local).ok()?;
        socket.connect(remote).ok()?;
        let address = socket.local_addr().ok()?.ip();
        (!address.is_loopback()).then_some(address)
    };
    let found = [
        towards("0.0.0.0:0", "203.0.113.1:9"),
        towards("[::]:0", "[2001:db8::1]:9"),
    ];
    let with_networks = |address| match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            (address, format!("{a}.{b}.{c}.0/24"), "203.0.113.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            (
                address,
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"),
                "2001:db8::/32",
            )
        }
    };
    found.into_iter().flatten().map(with_networks).collect()
}

fn any_kubectl() -> Option<Kubectl> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/real/bin/kubectl");
    kubectl::find().or_else(|| Kubectl::at(&ours))
}

/// Runs a command at this address; `None` is wsx.
#[track_caller]
fn exec_with_proxy(
    kubectl: Option<&Kubectl>,
    upstream: &Upstream,
    server: SocketAddr,
    proxy: u16,
    exceptions: &str,
) {
    let words = [
        "exec".to_owned(),
        format!("--server=https://{server}"),
        "--tls-server-name=localhost".to_owned(),
        format!("--token={}", upstream.token),
    ];
    let mut command = match kubectl {
        Some(kubectl) => {
            let mut command = kubectl.command(&upstream.kubeconfig, words);
            for name in ["https_proxy", "no_proxy", "HTTP_PROXY", "http_proxy"] {
                command.env_remove(name);
            }
            command
        }
        None => at(&upstream.kubeconfig, words),
    };
    command.args(["web-0", "-c", "app", "--", "echo", "hi"]);
    command.env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"));
    command.env("NO_PROXY", exceptions);
    run(&mut command).expect(0, &[]).prints("hi\n");
}

/// Makes a server reachable by another address; it ends with this value.
struct Door {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Door {
    fn before(server: SocketAddr, address: IpAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind((address, 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut server = tokio::net::TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }
}

/// yamux, TLS and httputil.ReverseProxy (tests/real/tunnel): with the plain library the stream is
/// dead after the 101, because its time-out error is not temporary and TLS keeps it for good.
pub(crate) fn tunnel_of_yamux(upstream: &Upstream) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/real/bin");
    let program = folder.join("wsx-tunnel");
    if !program.exists() {
        assert!(
            !required("go"),
            "WSX_REQUIRE names go, and {program:?} is not built"
        );
        println!("SKIPPED: the tunnel is not built (needs Go; `make judge` builds it)");
        return;
    }
    // What comes within the first microseconds may still get through: this comes later.
    let late = "sleep 1; echo hi; exit 3";
    through_tunnel(&program, &[], late, upstream)
        .expect(255, &["nothing flows", "a tunnel or reverse proxy"])
        .prints("");
    through_tunnel(&program, &["-temporary"], late, upstream)
        .expect(3, &[])
        .prints("hi\n");
}

fn through_tunnel(program: &Path, flags: &[&str], script: &str, upstream: &Upstream) -> Run {
    let mut command = Command::new(program);
    command
        .arg(format!("-upstream={}", upstream.address))
        .args(flags);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let tunnel: serde_json::Value = serde_json::from_str(&line).unwrap();
    let authority = tempfile::NamedTempFile::new().unwrap();
    fs::write(authority.path(), tunnel["authority"].as_str().unwrap()).unwrap();
    let words = [
        "exec".to_owned(),
        "--connect-timeout=3s".to_owned(),
        format!("--server=https://{}", tunnel["address"].as_str().unwrap()),
        format!("--certificate-authority={}", authority.path().display()),
        format!("--token={}", upstream.token),
    ];
    let mut command = at(&upstream.kubeconfig, words);
    let run = run(command.args(["web-0", "-c", "app", "--", "sh", "-c", script]));
    // It ends with its stdin.
    drop(child.stdin.take());
    child.wait().unwrap();
    run
}

//! Real intermediaries between wsx and the API server: nginx, HAProxy, squid.
//!
//! Each is started here with a configuration of its own, where its package is installed; else the
//! test says that it is skipped, and fails where `WSX_REQUIRE` names the program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::{PATIENCE, Run, at, pattern, required, run, run_with};

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
    _folder: tempfile::TempDir,
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
            _folder: folder,
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
    through_tunnel(&program, &[], upstream)
        .expect(255, &["nothing flows", "a tunnel or reverse proxy"]);
    through_tunnel(&program, &["-temporary"], upstream)
        .expect(3, &[])
        .prints("hi\n");
}

fn through_tunnel(program: &Path, flags: &[&str], upstream: &Upstream) -> Run {
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
    let run = run(command.args(["web-0", "-c", "app", "--", "sh", "-c", "echo hi; exit 3"]));
    // It ends with its stdin.
    drop(child.stdin.take());
    child.wait().unwrap();
    run
}

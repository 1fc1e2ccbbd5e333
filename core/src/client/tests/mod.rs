//! Tests that need more than one file: a server of a few lines, and the client against it.

mod attaching;
mod connecting;
mod forwarding;
mod forwarding_on;
mod kubelet;
mod logs;
mod many;
mod plugins;
mod pods;
mod proxies;
mod refusals;
mod resolving;
mod server;
mod settings;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::config::Environment;
use super::{Client, Config, Notice, Observer};
use crate::error::Result;
use crate::protocol::request::{ExecOptions, Limits};

/// Collects what the client tells.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Notice>>>);

impl Told {
    fn observer(&self) -> Observer {
        let told = self.clone();
        Arc::new(move |notice: &Notice| told.0.lock().unwrap().push(notice.clone()))
    }

    fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

/// A kubeconfig in a directory of its own; both go when it is dropped.
struct Home(tempfile::TempDir);

impl Home {
    fn new(server: &str, cluster: &str, user: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "current-context: c
clusters: [{{name: k, cluster: {{server: {server:?}{cluster}}}}}]
users: [{{name: u, user: {{{user}}}}}]
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
"
        );
        let home = Self(directory);
        home.write("config", &text);
        home
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }

    fn config(&self) -> Config {
        Config::default().kubeconfig(self.0.path().join("config"))
    }

    fn environment(&self, variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables, Path::new("/nonexistent"))
    }

    async fn client(&self) -> Result<Client> {
        self.client_with(self.config(), &[]).await
    }

    async fn client_with(&self, config: Config, variables: &[(&str, &str)]) -> Result<Client> {
        Client::within(config, self.environment(variables)).await
    }
}

/// Options under which exec makes a single request.
fn direct() -> ExecOptions {
    let limits = Limits::default().connect(Duration::from_secs(5));
    ExecOptions::default()
        .container("app".to_owned())
        .preflight(false)
        .limits(limits)
}

#[test]
fn what_callers_hold_can_be_moved_between_threads() {
    fn moved<T: Send + Sync>() {}
    fn sent(_: impl Send) {}
    moved::<Client>();
    moved::<Config>();
    sent(Client::connect(Config::default()));
    #[expect(dead_code, reason = "it is enough that it compiles")]
    fn started(client: &Client) {
        sent(client.exec("web-0", ["true"], ExecOptions::default()));
    }
}

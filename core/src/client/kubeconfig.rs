//! Finding the kubeconfig and the context in it.
//!
//! Lives here: which files, which entries win. Never here: what the entries mean (settings.rs).

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError};
use secrecy::ExposeSecret as _;

use super::config::{Config, Environment};
use crate::error::{Error, ErrorKind, Result, plain};

/// The entries that a context stands for, before flags are applied.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
    pub(super) user_name: Option<String>,
    pub(super) namespace: Option<String>,
    /// The file that the user came from, where it came from one.
    pub(super) user_file: Option<PathBuf>,
}

/// Files in order of precedence: the first that has an entry wins it (client-go loader.go).
struct Files(Vec<(Option<PathBuf>, Kubeconfig)>);

/// Finds the entries for this configuration: files first, then the cluster around us.
///
/// # Errors
/// `Config` when a file cannot be used or an entry does not exist.
pub(super) fn select(config: &Config, environment: &Environment) -> Result<Selection> {
    let files = Files::read(config, environment)?;
    if files.is_empty()
        && config.context.is_none()
        && config.cluster.is_none()
        && config.user.is_none()
    {
        if let Some(selection) = in_cluster(environment) {
            return Ok(selection);
        }
        if config.server.is_none() {
            return Err(nothing_found(config, environment));
        }
        return Ok(Selection::default());
    }
    files.select(config)
}

impl Files {
    fn read(config: &Config, environment: &Environment) -> Result<Self> {
        if let Some(text) = &config.kubeconfig_text {
            let parsed = Kubeconfig::from_yaml(text.expose_secret());
            let kubeconfig = parsed.map_err(|error| {
                unusable("the given kubeconfig cannot be used".to_owned(), &error)
            })?;
            return Ok(Self(vec![(None, kubeconfig)]));
        }
        if let Some(path) = &config.kubeconfig {
            return match read(path)? {
                Some(kubeconfig) => Ok(Self(vec![(Some(path.clone()), kubeconfig)])),
                None => Err(Error::new(
                    ErrorKind::Config,
                    format!("the kubeconfig {} does not exist", path.display()),
                )
                .remedy("--kubeconfig FILE")),
            };
        }
        let mut files = Vec::new();
        for path in paths(environment) {
            if let Some(kubeconfig) = read(&path)? {
                files.push((Some(path), kubeconfig));
            }
        }
        Ok(Self(files))
    }

    fn is_empty(&self) -> bool {
        let empty = |kubeconfig: &Kubeconfig| {
            kubeconfig.clusters.is_empty()
                && kubeconfig.contexts.is_empty()
                && kubeconfig.auth_infos.is_empty()
        };
        self.0.iter().all(|(_, kubeconfig)| empty(kubeconfig))
    }

    fn select(&self, config: &Config) -> Result<Selection> {
        let context = self.context(config)?;
        let cluster_name = config
            .cluster
            .clone()
            .or_else(|| context.as_ref().map(|context| context.cluster.clone()));
        let user_name = config
            .user
            .clone()
            .or_else(|| context.as_ref().and_then(|context| context.user.clone()));
        let cluster = match cluster_name.filter(|name| !name.is_empty()) {
            Some(name) => self.cluster(&name)?,
            None if config.server.is_some() => Cluster::default(),
            None => return Err(self.no_context()),
        };
        let user_name = user_name.filter(|name| !name.is_empty());
        let (user_file, user) = match &user_name {
            Some(name) => {
                let (path, user) = self.user(name)?;
                (path, user)
            }
            None => (None, AuthInfo::default()),
        };
        let namespace = context
            .and_then(|context| context.namespace)
            .filter(|namespace| !namespace.is_empty());
        Ok(Selection {
            cluster,
            user,
            user_name,
            namespace,
            user_file,
        })
    }

    fn context(&self, config: &Config) -> Result<Option<Context>> {
        let current = || {
            self.0
                .iter()
                .find_map(|(_, file)| non_empty(file.current_context.clone()))
        };
        let Some(name) = config.context.clone().or_else(current) else {
            return Ok(None);
        };
        let mut all = self.0.iter().flat_map(|(_, file)| &file.contexts);
        match all.find(|entry| entry.name == name) {
            Some(entry) => Ok(Some(entry.context.clone().unwrap_or_default())),
            None => Err(self.with_contexts(Error::new(
                ErrorKind::Config,
                format!("context {name:?} does not exist"),
            ))),
        }
    }

    fn cluster(&self, name: &str) -> Result<Cluster> {
        let mut all = self.0.iter().flat_map(|(_, file)| &file.clusters);
        let found = all
            .find(|entry| entry.name == name)
            .and_then(|entry| entry.cluster.clone());
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("cluster {name:?} does not exist in the kubeconfig"),
            )
        })
    }

    fn user(&self, name: &str) -> Result<(Option<PathBuf>, AuthInfo)> {
        for (path, file) in &self.0 {
            if let Some(entry) = file.auth_infos.iter().find(|entry| entry.name == name) {
                return Ok((path.clone(), entry.auth_info.clone().unwrap_or_default()));
            }
        }
        Err(Error::new(
            ErrorKind::Config,
            format!("user {name:?} does not exist in the kubeconfig"),
        ))
    }

    fn no_context(&self) -> Error {
        let error = Error::new(
            ErrorKind::Config,
            "no context is chosen: current-context is not set",
        );
        self.with_contexts(error)
    }

    fn with_contexts(&self, error: Error) -> Error {
        let all = self.0.iter().flat_map(|(_, file)| &file.contexts);
        let names: Vec<_> = all.map(|entry| entry.name.as_str()).collect();
        if names.is_empty() {
            return error.because("the kubeconfig has no contexts");
        }
        error.remedy(format!(
            "--context NAME   # there are: {}",
            names.join(", ")
        ))
    }
}

/// Returns the files to look into: `$KUBECONFIG` replaces the one in the home directory.
fn paths(environment: &Environment) -> Vec<PathBuf> {
    match environment.get("KUBECONFIG") {
        Some(list) => std::env::split_paths(list)
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
        None => environment
            .home()
            .map(|home| home.join(".kube").join("config"))
            .into_iter()
            .collect(),
    }
}

/// Reads one file; a missing one is nothing, as for client-go.
fn read(path: &Path) -> Result<Option<Kubeconfig>> {
    match Kubeconfig::read_from(path) {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::ReadConfig(error, _))
            if error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => {
            let message = format!("the kubeconfig {} cannot be used", path.display());
            Err(unusable(message, &error))
        }
    }
}

fn unusable(message: String, error: &KubeconfigError) -> Error {
    let why = match error {
        KubeconfigError::ReadConfig(error, _) => plain(error),
        // The parser's own words may quote the file, and with it secrets: only the place is told.
        KubeconfigError::Parse(error) => match error.location() {
            Some(place) => {
                format!(
                    "it is no kubeconfig: see line {}, column {}",
                    place.line(),
                    place.column()
                )
            }
            None => "it is no kubeconfig".to_owned(),
        },
        error => plain(error),
    };
    Error::new(ErrorKind::Config, message).because(why)
}

/// Returns what a pod is given to reach its own cluster (client-go rest/config.go).
fn in_cluster(environment: &Environment) -> Option<Selection> {
    let host = environment.text("KUBERNETES_SERVICE_HOST")?;
    let port = environment.text("KUBERNETES_SERVICE_PORT")?;
    let directory = environment.service_account();
    let file = |name: &str| {
        let path = directory.join(name);
        path.exists().then(|| path.to_string_lossy().into_owned())
    };
    let token_file = file("token")?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let namespace = std::fs::read_to_string(directory.join("namespace")).ok();
    Some(Selection {
        cluster: Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: file("ca.crt"),
            ..Cluster::default()
        },
        user: AuthInfo {
            token_file: Some(token_file),
            ..AuthInfo::default()
        },
        namespace: namespace
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()),
        ..Selection::default()
    })
}

fn nothing_found(config: &Config, environment: &Environment) -> Error {
    let looked: Vec<_> = match &config.kubeconfig {
        Some(path) => vec![path.display().to_string()],
        None => paths(environment)
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
    };
    // A mistake in scripts, and its text holds secrets.
    let text = environment.text("KUBECONFIG").unwrap_or_default();
    let why = if config.kubeconfig.is_none() && text.contains(['{', '\n']) {
        "KUBECONFIG holds the text of a kubeconfig instead of the path to its file".to_owned()
    } else {
        format!(
            "nothing usable in {}, and this is no pod",
            looked.join(", ")
        )
    };
    Error::new(ErrorKind::Config, "no cluster is configured")
        .because(why)
        .remedy("--kubeconfig FILE, or set KUBECONFIG")
        .remedy("--server URL")
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "
current-context: one
clusters: [{name: a, cluster: {server: 'https://a'}}]
users: [{name: u, user: {token: first}}]
contexts: [{name: one, context: {cluster: a, user: u, namespace: n}}]
";
    const TWO: &str = "
current-context: two
clusters: [{name: a, cluster: {server: 'https://other'}}, {name: b, cluster: {server: 'https://b'}}]
users: [{name: u, user: {token: second}}]
contexts: [{name: two, context: {cluster: b, user: u}}]
";

    struct Home(tempfile::TempDir);

    impl Home {
        fn new(files: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
            Self(directory)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn select(&self, config: &Config, variables: &[(&str, &str)]) -> Result<Selection> {
            select(config, &Environment::of(variables, self.0.path()))
        }

        fn list(&self, names: &[&str]) -> String {
            let paths = names.iter().map(|name| self.path(name));
            std::env::join_paths(paths).unwrap().into_string().unwrap()
        }
    }

    #[test]
    fn a_kubeconfig_in_memory_wins_over_files_and_is_never_quoted() {
        let home = Home::new(&[("one", ONE)]);
        let variables = [("KUBECONFIG", &*home.list(&["one"]))];
        let given = Config::default().kubeconfig_text(TWO.to_owned());
        let selection = home.select(&given, &variables).unwrap();
        assert_eq!(selection.cluster.server.as_deref(), Some("https://b"));
        assert_eq!(selection.user_file, None);
        let broken = Config::default().kubeconfig_text("users: [s3cret".to_owned());
        let error = home.select(&broken, &variables).unwrap_err();
        assert!(error.why().unwrap().starts_with("it is no kubeconfig"));
        assert!(!format!("{error:?} {}", error.report()).contains("s3cret"));
    }

    /// kube-client.md A.6 #2.
    #[test]
    fn divergence_2_a_missing_file_of_the_list_is_skipped() {
        let home = Home::new(&[("one", ONE)]);
        let list = home.list(&["missing", "one"]);
        let selection = home
            .select(&Config::default(), &[("KUBECONFIG", &list)])
            .unwrap();
        assert_eq!(selection.cluster.server.as_deref(), Some("https://a"));
    }

    #[test]
    fn the_first_file_wins_each_entry() {
        let home = Home::new(&[("one", ONE), ("two", TWO)]);
        let list = home.list(&["one", "two"]);
        let at = |config: &Config| home.select(config, &[("KUBECONFIG", &list)]).unwrap();
        let (first, second) = (
            at(&Config::default()),
            at(&Config::default().context("two".to_owned())),
        );
        assert_eq!(first.cluster.server.as_deref(), Some("https://a"));
        assert_eq!(first.namespace.as_deref(), Some("n"));
        assert_eq!(second.cluster.server.as_deref(), Some("https://b"));
        assert_eq!(
            (first.user_file, second.user_file),
            (Some(home.path("one")), Some(home.path("one")))
        );
    }

    #[test]
    fn cluster_and_user_can_be_named_apart_from_the_context() {
        let home = Home::new(&[("two", TWO)]);
        let config = Config::default()
            .kubeconfig(home.path("two"))
            .cluster("a".to_owned());
        let selection = home.select(&config, &[]).unwrap();
        assert_eq!(selection.cluster.server.as_deref(), Some("https://other"));
    }

    #[test]
    fn a_named_file_must_exist() {
        let home = Home::new(&[]);
        let error = home
            .select(&Config::default().kubeconfig(home.path("x")), &[])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().ends_with("x does not exist"));
    }

    #[test]
    fn an_unknown_context_is_answered_with_those_that_exist() {
        let home = Home::new(&[("one", ONE), ("two", TWO)]);
        let list = home.list(&["one", "two"]);
        let config = Config::default().context("three".to_owned());
        let error = home.select(&config, &[("KUBECONFIG", &list)]).unwrap_err();
        assert_eq!(error.to_string(), "context \"three\" does not exist");
        assert_eq!(error.remedies(), ["--context NAME   # there are: one, two"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_as_yaml_does_not_leak_into_the_error() {
        let home = Home::new(&[("bad", "users: [{name: u, user: hunter2}]\nclusters: x\n")]);
        let error = home
            .select(&Config::default().kubeconfig(home.path("bad")), &[])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            !format!("{error:?} {}", error.report()).contains("hunter2"),
            "{error:?}"
        );
        assert!(error.why().unwrap().starts_with("it is no kubeconfig"));
    }

    #[test]
    fn inside_a_pod_the_service_account_is_used() {
        let home = Home::new(&[("token", "t\n"), ("ca.crt", "x"), ("namespace", "web\n")]);
        let variables = [
            ("KUBERNETES_SERVICE_HOST", "fd00::1"),
            ("KUBERNETES_SERVICE_PORT", "443"),
        ];
        let selection = home.select(&Config::default(), &variables).unwrap();
        assert_eq!(
            selection.cluster.server.as_deref(),
            Some("https://[fd00::1]:443")
        );
        assert_eq!(selection.namespace.as_deref(), Some("web"));
        assert_eq!(selection.user.token_file, Some(home.list(&["token"])));
    }

    #[test]
    fn a_text_instead_of_a_path_is_not_shown() {
        let home = Home::new(&[]);
        for text in [
            "users: [{name: u, user: {token: hunter2}}]",
            "token:hunter2\n",
        ] {
            let error = home
                .select(&Config::default(), &[("KUBECONFIG", text)])
                .unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_server_alone_is_enough() {
        let home = Home::new(&[]);
        assert!(
            home.select(&Config::default().server("https://a".to_owned()), &[])
                .is_ok()
        );
        let error = home.select(&Config::default(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "no cluster is configured");
    }
}

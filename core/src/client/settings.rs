//! What the kubeconfig and the options mean together: where to connect, as whom, trusting whom.
//!
//! Lives here: overrides, normalising, the rules of client-go. Never here: connecting.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use http::{HeaderMap, Uri};
use kube::config::{AuthInfo, Cluster};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::config::{Config, Environment};
use super::impersonation;
use super::kubeconfig::{self, Selection};
use super::notice::Notice;
use super::plugin::Plugin;
use crate::error::{Error, ErrorKind, Result, plain};

/// Everything that is needed to reach the server, checked.
pub(super) struct Settings {
    /// Scheme, authority and the path below which the API lives, without a slash at its end.
    pub(super) server: Uri,
    pub(super) trust: Trust,
    /// The name to expect in the certificate, where it is not the host.
    pub(super) server_name: Option<String>,
    pub(super) proxy_url: Option<String>,
    pub(super) source: Source,
    pub(super) certificate: Option<Certificate>,
    pub(super) impersonation: HeaderMap,
    pub(super) namespace: String,
}

/// Whose certificates are believed.
#[derive(Clone)]
pub(super) enum Trust {
    /// Those signed by these authorities, in PEM, and by no others.
    Authorities(Vec<u8>),
    /// All.
    Everybody,
    /// Those that the operating system believes.
    System,
}

/// A client certificate and its key, both in PEM.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) chain: Vec<u8>,
    pub(super) key: SecretSlice<u8>,
}

/// Where the `Authorization` header comes from.
pub(super) enum Source {
    Basic {
        username: String,
        password: SecretString,
    },
    None,
    Plugin(Box<Plugin>),
    Token(SecretString),
    TokenFile {
        path: PathBuf,
        inline: Option<SecretString>,
    },
}

impl Settings {
    /// Loads the kubeconfig and applies the options.
    ///
    /// # Errors
    /// `Config` when something named is missing or cannot be used.
    pub(super) fn load(config: &Config, environment: &Environment) -> Result<Self> {
        let mut selection = kubeconfig::select(config, environment)?;
        override_cluster(&mut selection.cluster, config);
        override_user(&mut selection.user, config);
        let Selection {
            cluster,
            user,
            user_name,
            namespace,
            user_file,
        } = selection;

        let certificate = certificate(&user)?;
        let server = server(&cluster, certificate.is_some())?;
        let trust = trust(&cluster)?;
        if matches!(trust, Trust::Everybody) && server.scheme_str() == Some("https") {
            let server = server
                .authority()
                .map(ToString::to_string)
                .unwrap_or_default();
            config.tell(&Notice::InsecureTls { server });
        }
        let impersonation = impersonation::headers(&user)?;
        let source = source(user, &cluster, user_name, user_file, config, environment)?;
        let namespace = config
            .namespace
            .clone()
            .or(namespace)
            .unwrap_or_else(|| "default".to_owned());
        Ok(Self {
            server,
            trust,
            server_name: cluster.tls_server_name.filter(|name| !name.is_empty()),
            proxy_url: cluster.proxy_url.filter(|url| !url.is_empty()),
            source,
            certificate,
            impersonation,
            namespace,
        })
    }
}

/// client-go client_config.go: options about trust replace what the file says as a whole.
fn override_cluster(cluster: &mut Cluster, config: &Config) {
    if let Some(server) = &config.server {
        cluster.server = Some(server.clone());
    }
    if config.server.is_some() || config.tls_server_name.is_some() {
        cluster.tls_server_name.clone_from(&config.tls_server_name);
    }
    if config.insecure_skip_tls_verify || config.certificate_authority.is_some() {
        cluster.insecure_skip_tls_verify = Some(config.insecure_skip_tls_verify);
        cluster.certificate_authority_data = None;
        cluster.certificate_authority = config
            .certificate_authority
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned());
    }
}

fn override_user(user: &mut AuthInfo, config: &Config) {
    if let Some(token) = &config.token {
        user.token = Some(token.clone());
        user.token_file = None;
        (user.username, user.password, user.exec, user.auth_provider) = (None, None, None, None);
    }
    if config.username.is_some() || config.password.is_some() {
        user.username = config.username.clone().or_else(|| user.username.take());
        user.password = config.password.clone().or_else(|| user.password.take());
        (user.exec, user.auth_provider) = (None, None);
        if config.token.is_none() {
            (user.token, user.token_file) = (None, None);
        }
    }
    if let Some(path) = &config.client_certificate {
        user.client_certificate = Some(path.to_string_lossy().into_owned());
        user.client_certificate_data = None;
    }
    if let Some(path) = &config.client_key {
        user.client_key = Some(path.to_string_lossy().into_owned());
        user.client_key_data = None;
    }
    if config.impersonate.is_some() {
        user.impersonate.clone_from(&config.impersonate);
    }
    if config.impersonate_uid.is_some() {
        user.impersonate_uid.clone_from(&config.impersonate_uid);
    }
    if !config.impersonate_groups.is_empty() {
        user.impersonate_groups = Some(config.impersonate_groups.clone());
    }
    if !config.impersonate_extra.is_empty() {
        let extra = user.impersonate_user_extra.insert(Default::default());
        for (key, value) in &config.impersonate_extra {
            extra.entry(key.clone()).or_default().push(value.clone());
        }
    }
}

/// client-go rest/url_utils.go: without a scheme it is https as soon as anything about TLS is said.
fn server(cluster: &Cluster, client_certificate: bool) -> Result<Uri> {
    let Some(text) = cluster
        .server
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
    else {
        return Err(
            Error::new(ErrorKind::Config, "the cluster names no server").remedy("--server URL")
        );
    };
    let wrong = |why: String| {
        Error::new(
            ErrorKind::Config,
            format!(
                "host must be a URL or a host:port pair: {:?}",
                without_user(text)
            ),
        )
        .because(why)
    };
    let has_scheme = text.contains("://");
    let tls = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true)
        || client_certificate;
    let full = match (has_scheme, tls) {
        (true, _) => text.to_owned(),
        (false, true) => format!("https://{text}"),
        (false, false) => format!("http://{text}"),
    };
    let uri: Uri = full
        .trim_end_matches('/')
        .parse()
        .map_err(|error| wrong(format!("{error}")))?;
    if !has_scheme && uri.path() != "/" {
        return Err(wrong("a path needs a scheme before the host".to_owned()));
    }
    if uri.query().is_some() {
        return Err(wrong("a server has no query".to_owned()));
    }
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => Ok(uri),
        (Some("http" | "https"), Some(_)) => {
            Err(wrong("credentials do not belong here".to_owned()))
        }
        _ => Err(wrong("the scheme must be http or https".to_owned())),
    }
}

/// Returns a URL, however broken, with nothing of the user and password in it.
fn without_user(url: &str) -> String {
    let Some((before, rest)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://…@{rest}"),
        None => format!("…@{rest}"),
    }
}

fn trust(cluster: &Cluster) -> Result<Trust> {
    let path = cluster
        .certificate_authority
        .as_deref()
        .filter(|path| !path.is_empty());
    let data = cluster.certificate_authority_data.as_deref();
    let authorities = material("certificate authority", data, path)?;
    match (cluster.insecure_skip_tls_verify == Some(true), authorities) {
        (true, Some(_)) => Err(Error::new(
            ErrorKind::Config,
            "specifying a root certificates file with the insecure flag is not allowed",
        )),
        (true, None) => Ok(Trust::Everybody),
        (false, Some(pem)) => Ok(Trust::Authorities(pem)),
        (false, None) => Ok(Trust::System),
    }
}

fn certificate(user: &AuthInfo) -> Result<Option<Certificate>> {
    let chain = material(
        "client certificate",
        user.client_certificate_data.as_deref(),
        user.client_certificate
            .as_deref()
            .filter(|path| !path.is_empty()),
    )?;
    let key = material(
        "client key",
        user.client_key_data
            .as_ref()
            .map(|data| data.expose_secret()),
        user.client_key.as_deref().filter(|path| !path.is_empty()),
    )?;
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some(Certificate {
            chain,
            key: key.into(),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::new(
            ErrorKind::Config,
            "there is a client certificate without a key",
        )),
        (None, Some(_)) => Err(Error::new(
            ErrorKind::Config,
            "there is a client key without a certificate",
        )),
    }
}

/// Returns inline data, which win, or the contents of a file. Go's decoder skips line breaks.
pub(super) fn material(
    what: &str,
    data: Option<&str>,
    path: Option<&str>,
) -> Result<Option<Vec<u8>>> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let packed: String = data
            .chars()
            .filter(|character| !character.is_whitespace())
            .collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(packed);
        return decoded.map(Some).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                format!("the {what} in the kubeconfig is not valid base64"),
            )
        });
    }
    let Some(path) = path else { return Ok(None) };
    std::fs::read(path).map(Some).map_err(|error| {
        Error::new(
            ErrorKind::Config,
            format!("the {what} {path} cannot be read"),
        )
        .because(plain(&error))
    })
}

/// client-go: a token file beats a token, and both beat a plugin; basic and token exclude each other.
fn source(
    user: AuthInfo,
    cluster: &Cluster,
    user_name: Option<String>,
    user_file: Option<PathBuf>,
    config: &Config,
    environment: &Environment,
) -> Result<Source> {
    let token = user
        .token
        .filter(|token| !token.expose_secret().trim().is_empty());
    let token = token.map(|token| SecretString::from(token.expose_secret().trim().to_owned()));
    let token_file = user
        .token_file
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let username = user.username.filter(|name| !name.is_empty());
    if username.is_some() && (token.is_some() || token_file.is_some()) {
        return Err(Error::new(
            ErrorKind::Config,
            "username/password or bearer token may be set, but not both",
        ));
    }
    if let Some(path) = token_file {
        return Ok(Source::TokenFile {
            path,
            inline: token,
        });
    }
    if let Some(token) = token {
        return Ok(Source::Token(token));
    }
    if let Some(username) = username {
        return Ok(Source::Basic {
            username,
            password: user.password.unwrap_or_default(),
        });
    }
    if let Some(exec) = user.exec {
        let plugin = Plugin::new(exec, cluster, user_name, config, environment)?;
        if let Some(path) = user_file
            && let Some(problem) = distrust(&path)
        {
            config.tell(&Notice::KubeconfigTrust { path, problem });
        }
        return Ok(Source::Plugin(Box::new(plugin)));
    }
    if let Some(provider) = user.auth_provider {
        let message = format!("the auth provider {:?} is not supported", provider.name);
        return Err(Error::new(ErrorKind::Config, message)
            .because("auth providers were replaced by credential plugins (users[].user.exec)"));
    }
    Ok(Source::None)
}

/// Tells why a file that makes a program run should not be trusted blindly.
#[cfg(unix)]
fn distrust(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    let user = rustix::process::getuid().as_raw();
    if metadata.is_file() && metadata.uid() != user && metadata.uid() != 0 {
        return Some(format!("belongs to user {}", metadata.uid()));
    }
    let others = metadata.is_file() && metadata.mode() & 0o022 != 0;
    others.then(|| {
        format!(
            "can be changed by others (mode {:03o})",
            metadata.mode() & 0o777
        )
    })
}

#[cfg(not(unix))]
fn distrust(_: &Path) -> Option<String> {
    None
}

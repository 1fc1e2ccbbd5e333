//! What kubeconfig and options mean together.

use http::HeaderMap;
use secrecy::ExposeSecret as _;

use super::super::notice::Notice;
use super::super::settings::{Settings, Source, Trust};
use super::server::{Reply, Server, header};
use super::{Home, Told, direct};
use crate::client::Config;
use crate::error::{ErrorKind, Result};

fn load(home: &Home, config: &Config) -> Result<Settings> {
    Settings::load(config, &home.environment(&[]))
}

fn loaded(cluster: &str, user: &str) -> Result<Settings> {
    let home = Home::new("https://api:6443", cluster, user);
    load(&home, &home.config())
}

#[test]
fn what_may_be_secret_is_never_quoted() {
    let extra = "token: t, as: jane, as-user-extra: {ticket: [\"hunter2\\n\"]}";
    let mut told = vec![loaded("", extra).err().unwrap()];
    for server in [
        "https://jane:hunter2@api",
        "https://jane:hunter2 @api",
        "jane:hunter2@api?x",
    ] {
        let home = Home::new(server, "", "token: t");
        told.push(load(&home, &home.config()).err().unwrap());
    }
    for error in told {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

/// kube-client.md A.6 #4.
#[tokio::test]
async fn divergence_4_a_token_file_may_end_with_a_line_feed() {
    let server = Server::start(|_| Reply::session("v4.channel.k8s.io")).await;
    let home = Home::new(&server.url(), "", "tokenFile: token");
    home.write("token", "secret\n");
    home.client()
        .await
        .unwrap()
        .exec("web-0", ["true"], direct())
        .await
        .unwrap();
    assert_eq!(
        header(&server.heads()[0], "authorization"),
        ["Bearer secret"]
    );
}

/// kube-client.md A.6 #5.
#[test]
fn divergence_5_a_token_file_beats_a_token() {
    let settings = loaded("", "token: a, tokenFile: /x").unwrap();
    let Source::TokenFile { path, inline } = settings.source else {
        panic!("no token file")
    };
    assert_eq!(
        (path.to_str(), inline.unwrap().expose_secret()),
        (Some("/x"), "a")
    );
}

#[tokio::test]
async fn a_token_file_that_is_gone_leaves_the_token() {
    let server = Server::start(|_| Reply::session("v4.channel.k8s.io")).await;
    let home = Home::new(&server.url(), "", "token: inline, tokenFile: gone");
    home.client()
        .await
        .unwrap()
        .exec("web-0", ["true"], direct())
        .await
        .unwrap();
    assert_eq!(
        header(&server.heads()[0], "authorization"),
        ["Bearer inline"]
    );
}

#[tokio::test]
async fn a_rotated_token_is_read_after_a_401() {
    let server = Server::start(|head| match head.contains("Bearer new") {
        true => Reply::session("v4.channel.k8s.io"),
        false => Reply::status(401, "Unauthorized", "Unauthorized"),
    })
    .await;
    let home = Home::new(&server.url(), "", "tokenFile: token");
    home.write("token", "old");
    let client = home.client().await.unwrap();
    let error = client.exec("web-0", ["true"], direct()).await.unwrap_err();
    assert_eq!((error.kind(), server.lines().len()), (ErrorKind::Auth, 1));
    assert_eq!(
        error.to_string(),
        "You must be logged in to the server (Unauthorized)"
    );
    home.write("token", "new");
    client.exec("web-0", ["true"], direct()).await.unwrap();
    assert_eq!(server.lines().len(), 3);
}

/// kube-client.md A.6 #6.
#[test]
fn divergence_6_wrapped_base64_is_accepted() {
    let settings = loaded(", certificate-authority-data: \"aGVs\\n bG8=\\r\\n\"", "").unwrap();
    assert!(matches!(settings.trust, Trust::Authorities(pem) if pem == b"hello"));
}

/// kube-client.md A.6 #7, client-go rest/url_utils.go.
#[test]
fn divergence_7_a_server_without_a_scheme_gets_one() {
    let of = |server: &str, cluster: &str| {
        let home = Home::new(server, cluster, "");
        load(&home, &home.config()).map(|settings| settings.server.to_string())
    };
    assert_eq!(of("api:8080", "").unwrap(), "http://api:8080/");
    assert_eq!(
        of("api:6443", ", insecure-skip-tls-verify: true").unwrap(),
        "https://api:6443/"
    );
    let authority = ", certificate-authority-data: aGVsbG8=";
    assert_eq!(of("api:6443", authority).unwrap(), "https://api:6443/");
    assert_eq!(of("https://api/base/", "").unwrap(), "https://api/base");
    for wrong in [
        "api:6443/base",
        "ftp://api",
        "https://u:p@api",
        "https://api/?a=b",
        "https://",
        "",
    ] {
        assert_eq!(
            of(wrong, "").unwrap_err().kind(),
            ErrorKind::Config,
            "{wrong:?}"
        );
    }
}

#[test]
fn paths_are_relative_to_the_kubeconfig() {
    let home = Home::new("https://api", ", certificate-authority: ca.pem", "");
    home.write("ca.pem", "pem");
    let settings = load(&home, &home.config()).unwrap();
    assert!(matches!(settings.trust, Trust::Authorities(pem) if pem == b"pem"));
}

#[test]
fn options_win_over_the_kubeconfig() {
    let home = Home::new(
        "https://api",
        ", tls-server-name: other",
        "username: u, password: p",
    );
    let config = home
        .config()
        .server("https://b".to_owned())
        .token("t".to_owned());
    let settings = load(&home, &config.namespace("n".to_owned())).unwrap();
    assert_eq!(settings.server, "https://b/");
    assert_eq!(
        (settings.server_name, settings.namespace.as_str()),
        (None, "n")
    );
    assert!(matches!(settings.source, Source::Token(token) if token.expose_secret() == "t"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (cluster, user, message) in [
        (
            ", insecure-skip-tls-verify: true, certificate-authority-data: aGVsbG8=",
            "",
            "specifying a root certificates file with the insecure flag is not allowed",
        ),
        (
            "",
            "token: a, username: b",
            "username/password or bearer token may be set, but not both",
        ),
        (
            "",
            "client-certificate-data: aGVsbG8=",
            "there is a client certificate without a key",
        ),
        (
            "",
            "client-key-data: aGVsbG8=",
            "there is a client key without a certificate",
        ),
        (
            "",
            "as-uid: '1'",
            "requesting uid, groups or user-extra without impersonating a user",
        ),
        (
            "",
            "auth-provider: {name: oidc}",
            "the auth provider \"oidc\" is not supported",
        ),
        (
            "",
            "client-key-data: '%'",
            "the client key in the kubeconfig is not valid base64",
        ),
    ] {
        let error = loaded(cluster, user).err().unwrap();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Config, message)
        );
    }
}

#[test]
fn skipping_the_check_is_told_each_time() {
    let home = Home::new("https://api", "", "");
    let told = Told::default();
    let config = home
        .config()
        .insecure_skip_tls_verify(true)
        .observer(told.observer());
    load(&home, &config).unwrap();
    assert!(
        matches!(&told.0.lock().unwrap()[..], [Notice::InsecureTls { server }] if server == "api")
    );
}

#[tokio::test]
async fn all_four_impersonation_headers_are_sent() {
    let server = Server::start(|_| Reply::session("v4.channel.k8s.io")).await;
    let home = Home::new(&server.url(), "", "token: t");
    let config = home
        .config()
        .impersonate("jane".to_owned())
        .impersonate_uid("42".to_owned())
        .impersonate_groups(vec!["a".to_owned(), "b".to_owned()])
        .impersonate_extra(vec![("acme.com/team".to_owned(), "x".to_owned())]);
    let client = home.client_with(config, &[]).await.unwrap();
    client.exec("web-0", ["true"], direct()).await.unwrap();
    let head = &server.heads()[0];
    assert_eq!(header(head, "impersonate-user"), ["jane"]);
    assert_eq!(header(head, "impersonate-uid"), ["42"]);
    assert_eq!(header(head, "impersonate-group"), ["a", "b"]);
    assert_eq!(header(head, "impersonate-extra-acme.com%2fteam"), ["x"]);
}

#[tokio::test]
async fn basic_credentials_and_the_base_path_are_sent() {
    let server = Server::start(|_| Reply::session("v4.channel.k8s.io")).await;
    let home = Home::new(
        &format!("{}/base/", server.url()),
        "",
        "username: u, password: p",
    );
    home.client()
        .await
        .unwrap()
        .exec("web-0", ["a b"], direct())
        .await
        .unwrap();
    let head = &server.heads()[0];
    assert_eq!(header(head, "authorization"), ["Basic dTpw"]);
    assert_eq!(header(head, "host"), [server.address.to_string()]);
    assert!(head.starts_with(
        "GET /base/api/v1/namespaces/default/pods/web-0/exec?command=a%20b&container=app&stdin=false"
    ));
}

#[test]
fn impersonation_without_a_wish_is_nothing() {
    assert_eq!(
        loaded("", "token: t").unwrap().impersonation,
        HeaderMap::new()
    );
}

#[cfg(unix)]
#[test]
fn a_kubeconfig_that_others_can_change_is_told_before_it_runs_a_program() {
    use std::os::unix::fs::PermissionsExt as _;
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: x}";
    let home = Home::new("https://api", "", exec);
    let told = Told::default();
    let config = home.config().observer(told.observer());
    load(&home, &config).unwrap();
    assert!(told.lines().is_empty());
    let path = home.0.path().join("config");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
    load(&home, &config).unwrap();
    let line = format!(
        "{} can be changed by others (mode 620), and it makes a program run as you",
        path.display()
    );
    assert_eq!(told.lines(), [line]);
}

//! TCP and TLS: who is believed, and what failures are called.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;

use super::server::{Reply, Server};
use super::{Home, direct};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::request::Limits;
use crate::session::Process;

const V4: &str = "v4.channel.k8s.io";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Returns the kubeconfig's field.
    fn field(&self) -> String {
        format!(", certificate-authority-data: {}", base64(&self.0.pem()))
    }

    /// Makes a server whose certificate is valid for these names, in these years.
    fn server(
        &self,
        names: &[SanType],
        years: (i32, i32),
        clients: bool,
    ) -> Arc<rustls::ServerConfig> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        self.server_of(params, clients)
    }

    fn server_of(&self, params: CertificateParams, clients: bool) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Arc::new(
            builder
                .with_single_cert(vec![certificate.der().clone()], key.into())
                .unwrap(),
        )
    }

    /// Returns the kubeconfig's fields of a client certificate.
    fn client(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "jane");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let (chain, key) = (base64(&certificate.pem()), base64(&key.serialize_pem()));
        format!("client-certificate-data: {chain}, client-key-data: {key}")
    }
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn ip() -> SanType {
    SanType::IpAddress([127, 0, 0, 1].into())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

const NOW: (i32, i32) = (2020, 2100);

/// Runs one exec over TLS; the fields go to the kubeconfig.
async fn exec(config: Arc<rustls::ServerConfig>, cluster: &str, user: &str) -> Result<Process> {
    let server = Server::start_on(Some(config), |_| Reply::session(V4)).await;
    let home = Home::new(&format!("https://{}", server.address), cluster, user);
    home.client().await?.exec("web-0", ["true"], direct()).await
}

async fn refused(config: Arc<rustls::ServerConfig>, cluster: &str, user: &str) -> Error {
    let error = exec(config, cluster, user).await.unwrap_err();
    assert!(!error.kind().may_have_started(), "{error:?}");
    error
}

#[tokio::test]
async fn the_authority_of_the_kubeconfig_is_believed() {
    let authority = Authority::new();
    let config = authority.server(&[ip()], NOW, false);
    exec(config, &authority.field(), "token: t").await.unwrap();
}

#[tokio::test]
async fn no_other_authority_is_believed() {
    let authority = Authority::new();
    let config = authority.server(&[ip()], NOW, false);
    let error = refused(config, &Authority::new().field(), "token: t").await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.why(),
        Some("it was signed by an authority that is not trusted")
    );
}

#[tokio::test]
async fn an_expired_certificate_names_both_times() {
    let authority = Authority::new();
    let error = refused(
        authority.server(&[ip()], (2000, 2001), false),
        &authority.field(),
        "",
    )
    .await;
    let why = error.why().unwrap();
    assert!(
        why.starts_with("it expired at 2001-01-01T00:00:00Z; our clock says 20"),
        "{why}"
    );
    let error = refused(
        authority.server(&[ip()], (2099, 2100), false),
        &authority.field(),
        "",
    )
    .await;
    assert!(
        error
            .why()
            .unwrap()
            .starts_with("it is valid from 2099-01-01T00:00:00Z")
    );
}

#[tokio::test]
async fn the_name_must_fit() {
    let authority = Authority::new();
    let error = refused(
        authority.server(&[dns("other")], NOW, false),
        &authority.field(),
        "",
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.why(), Some("it is valid for: other"));
    let named = format!("{}, tls-server-name: other", authority.field());
    exec(authority.server(&[dns("other")], NOW, false), &named, "")
        .await
        .unwrap();
}

#[tokio::test]
async fn an_authority_that_stands_for_a_server_is_named() {
    let authority = Authority::new();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![ip()];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let config = authority.server_of(params, false);
    let error = exec(config, &authority.field(), "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.why().unwrap().contains("CA:TRUE"), "{error:?}");
}

#[tokio::test]
async fn a_wildcard_stands_for_one_label() {
    let authority = Authority::new();
    for (name, fits) in [
        ("a.c.example", true),
        ("a.b.c.example", false),
        ("c.example", false),
    ] {
        let config = authority.server(&[dns("*.c.example")], NOW, false);
        let cluster = format!("{}, tls-server-name: {name}", authority.field());
        let result = exec(config, &cluster, "").await;
        assert_eq!(result.is_ok(), fits, "{name}: {result:?}");
    }
}

#[tokio::test]
async fn a_certificate_for_clients_is_none_for_servers() {
    let authority = Authority::new();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![ip()];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let error = refused(authority.server_of(params, false), &authority.field(), "").await;
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn the_check_can_be_skipped() {
    let config = Authority::new().server(&[dns("other")], (2000, 2001), false);
    exec(config, ", insecure-skip-tls-verify: true", "")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let authority = Authority::new();
    let config = authority.server(&[ip()], NOW, true);
    exec(config, &authority.field(), &authority.client())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refused_client_certificate_is_an_auth_error() {
    let authority = Authority::new();
    for user in [Authority::new().client(), String::new()] {
        let config = authority.server(&[ip()], NOW, true);
        let error = refused(config, &authority.field(), &user).await;
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    }
}

#[tokio::test]
async fn an_encrypted_key_is_refused_by_name() {
    let key = base64(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let authority = Authority::new();
    let user = format!(
        "client-certificate-data: {}, client-key-data: {key}",
        base64(&authority.0.pem())
    );
    let error = refused(
        authority.server(&[ip()], NOW, false),
        &authority.field(),
        &user,
    )
    .await;
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Config, "the client key is encrypted")
    );
}

#[tokio::test]
async fn a_server_without_tls_is_recognised() {
    let reply = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, reply.as_bytes())
            .await
            .unwrap();
        std::future::pending::<()>().await;
    };
    let home = Home::new(&format!("https://{address}"), "", "");
    let config = home.config().insecure_skip_tls_verify(true);
    let client = home.client_with(config, &[]).await.unwrap();
    tokio::select! {
        () = serving => unreachable!(),
        result = client.exec("web-0", ["true"], direct()) => {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().ends_with("does not answer with TLS"), "{error:?}");
        }
    }
}

/// Returns an address that nobody listens on.
async fn closed() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_refused_connection_is_told_in_the_words_of_kubectl() {
    let address = closed().await;
    let home = Home::new(&format!("http://{address}"), "", "");
    let client = home.client().await.unwrap();
    let error = client.exec("web-0", ["true"], direct()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    assert_eq!(
        error.to_string(),
        format!(
            "The connection to the server {address} was refused - did you specify the right host or port?"
        )
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_named() {
    let home = Home::new("https://no-such-host.invalid:6443", "", "");
    let config = home.config().insecure_skip_tls_verify(true);
    let client = home.client_with(config, &[]).await.unwrap();
    let error = client.exec("web-0", ["true"], direct()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    assert_eq!(
        error.to_string(),
        "the server's name no-such-host.invalid cannot be resolved"
    );
}

#[tokio::test]
async fn a_handshake_without_an_end_names_its_stage() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::new(
        &format!("https://{}", listener.local_addr().unwrap()),
        "",
        "",
    );
    let config = home.config().insecure_skip_tls_verify(true);
    let client = home.client_with(config, &[]).await.unwrap();
    let options = direct().limits(Limits::default().connect(Duration::from_millis(200)));
    let error = client.exec("web-0", ["true"], options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    assert!(
        error
            .to_string()
            .ends_with("within 200ms (--connect-timeout)"),
        "{error}"
    );
    assert_eq!(error.why(), Some("the TLS handshake did not finish"));
}

#[tokio::test]
async fn nagle_is_off() {
    use super::super::connector::Connector;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connector = Connector::new("127.0.0.1".to_owned(), port, None, None);
    let stream = connector.tcp_for_test().await;
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn plain_requests_share_a_connection_and_the_upgrade_has_its_own() {
    let server = Server::start(|head| match head.contains("/exec?") {
        true => Reply::session(V4),
        false if head.contains("/version") => Reply::json(&serde_json::json!({"gitVersion": "v1"})),
        false => Reply::json(&super::pods::pod("web-0", "a")),
    })
    .await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    client.version().await.unwrap();
    client
        .exec("web-0", ["true"], direct().preflight(true))
        .await
        .unwrap();
    assert_eq!((server.lines().len(), server.connections()), (3, 2));
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced() {
    let version = || Reply::json(&serde_json::json!({"gitVersion": "v1"}));
    let server = Server::start(move |_| Reply::Last(Box::new(version()))).await;
    let home = Home::new(&server.url(), "", "");
    let client = home.client().await.unwrap();
    for _ in 0..3 {
        assert_eq!(client.version().await.unwrap(), "v1");
    }
}

#[tokio::test]
async fn who_gives_up_waiting_closes_the_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::new(
        &format!("http://{}", listener.local_addr().unwrap()),
        "",
        "",
    );
    let client = home.client().await.unwrap();
    let mut attempt = Box::pin(client.exec("web-0", ["true"], direct()));
    let mut stream = tokio::select! {
        _ = &mut attempt => unreachable!(),
        accepted = listener.accept() => accepted.unwrap().0,
    };
    let mut first = [0];
    tokio::select! {
        _ = &mut attempt => unreachable!(),
        read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first) => { read.unwrap(); }
    }
    drop(attempt);
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    tokio::time::timeout(Duration::from_secs(5), end)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_https_proxy_is_reached_with_tls() {
    let authority = Authority::new();
    let proxy = Server::start_on(
        Some(authority.server(&[ip()], NOW, false)),
        |head| match head.starts_with("CONNECT api.invalid:80 ") {
            true => Reply::Raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            false => Reply::session(V4),
        },
    )
    .await;
    let cluster = format!(
        "{}, proxy-url: 'https://{}'",
        authority.field(),
        proxy.address
    );
    let home = Home::new("http://api.invalid", &cluster, "");
    home.client()
        .await
        .unwrap()
        .exec("web-0", ["true"], direct())
        .await
        .unwrap();
    let other = format!(
        "{}, proxy-url: 'https://{}'",
        Authority::new().field(),
        proxy.address
    );
    let home = Home::new("http://api.invalid", &other, "");
    let error = home
        .client()
        .await
        .unwrap()
        .exec("web-0", ["true"], direct())
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("no TLS with the proxy"),
        "{error:?}"
    );
}

#[tokio::test]
async fn each_address_of_a_name_is_tried() {
    // The server listens on IPv4 alone; the name may stand for ::1 too.
    let server = Server::start(|_| Reply::session(V4)).await;
    let home = Home::new(
        &format!("http://localhost:{}", server.address.port()),
        "",
        "",
    );
    home.client()
        .await
        .unwrap()
        .exec("web-0", ["true"], direct())
        .await
        .unwrap();
}

//! TLS: whom to believe, what to show, and what a failure means.
//!
//! Lives here: the one builder of TLS configurations, the words for its errors. Never here: sockets.

use std::error::Error as StdError;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct,
};
use rustls::{RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;
use secrecy::ExposeSecret as _;

use super::settings::{Certificate, Trust};
use crate::error::{Error, ErrorKind, Result};

/// AES-128 before AES-256, as Go has it: a third fewer rounds for every byte that streams.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
            _ => 2,
        });
    provider
}

/// Makes the configuration for all connections, plain and upgraded.
///
/// # Errors
/// `Config` when a certificate or key cannot be used.
pub(super) fn client_config(
    trust: &Trust,
    certificate: Option<&Certificate>,
) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            Error::new(ErrorKind::Internal, "TLS cannot be set up").caused_by(error)
        })?;
    let builder = match trust {
        Trust::Authorities(pem) => {
            let roots = Arc::new(roots(pem)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|error| {
                Error::new(
                    ErrorKind::Config,
                    "the certificate authority cannot be used",
                )
                .caused_by(error)
            })?;
            builder.with_webpki_verifier(verifier)
        }
        Trust::Everybody => {
            let verifier = Unchecked(provider);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        Trust::System => builder.with_platform_verifier().map_err(|error| {
            Error::new(
                ErrorKind::Config,
                "the system's certificate authorities cannot be used",
            )
            .caused_by(error)
            .remedy("--certificate-authority FILE")
        })?,
    };
    let mut config = match certificate {
        Some(certificate) => {
            let (chain, key) = (chain(&certificate.chain)?, key(certificate)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Error::new(
                    ErrorKind::Config,
                    "the client certificate and its key cannot be used",
                )
                .caused_by(error)
            })?
        }
        None => builder.with_no_client_auth(),
    };
    // Upgrades exist in HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Go skips what is no certificate, so files with comments and keys are common.
    let (added, _) = roots.add_parsable_certificates(
        CertificateDer::pem_slice_iter(pem).filter_map(std::result::Result::ok),
    );
    if added == 0 {
        let message = "the certificate authority holds no usable certificate";
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(roots)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .filter_map(std::result::Result::ok)
        .collect();
    if chain.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "the client certificate holds no certificate",
        ));
    }
    Ok(chain)
}

fn key(certificate: &Certificate) -> Result<PrivateKeyDer<'static>> {
    let pem = certificate.key.expose_secret();
    if is_encrypted(pem) {
        return Err(Error::new(ErrorKind::Config, "the client key is encrypted")
            .because("kubeconfigs have no place for its passphrase; kubectl refuses it too")
            .remedy("openssl pkey -in ENCRYPTED.key -out PLAIN.key"));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "the client key holds no private key in PEM",
        )
    })
}

/// PKCS#8 has a label of its own for it, older files a header.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// Says what a failed handshake means, or nothing where TLS is not the cause.
///
/// `name` is what the certificate had to be valid for.
pub(super) fn explain(error: &(dyn StdError + 'static), name: &str) -> Option<Error> {
    let error = find(error)?;
    let refused = |kind, why: String| {
        Error::new(
            kind,
            format!("the certificate of the server {name} is not accepted"),
        )
        .because(why)
    };
    Some(match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // A bad signature is an authority of the right name with another key: a rebuilt cluster.
            CertificateError::BadSignature | CertificateError::UnknownIssuer => refused(
                ErrorKind::Config,
                "it was signed by an authority that is not trusted".to_owned(),
            )
            .remedy("check certificate-authority of the cluster in the kubeconfig"),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
                let names = names.join(", ");
                refused(ErrorKind::Config, format!("it is valid for: {names}"))
                    .remedy("check the server in the kubeconfig, or its tls-server-name")
            }
            CertificateError::ExpiredContext { time, not_after } => {
                let (ended, now) = (date(*not_after), date(*time));
                refused(
                    ErrorKind::NotStarted,
                    format!("it expired at {ended}; our clock says {now}"),
                )
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let (begins, now) = (date(*not_before), date(*time));
                refused(
                    ErrorKind::NotStarted,
                    format!("it is valid from {begins}; our clock says {now}"),
                )
                .remedy("check the clock of this machine")
            }
            // Go takes one that is itself in the list of authorities; webpki takes none.
            CertificateError::Other(inner) if inner.to_string() == "CaUsedAsEndEntity" => refused(
                ErrorKind::Config,
                "it is an authority's own certificate (CA:TRUE), which must not stand for a server"
                    .to_owned(),
            )
            .remedy("give the server a certificate that the authority signed"),
            other => refused(ErrorKind::Config, other.to_string()),
        },
        rustls::Error::AlertReceived(alert) if is_about_us(*alert) => Error::new(
            ErrorKind::Auth,
            format!("the server {name} did not accept our client certificate"),
        )
        .because(format!("it answered with the TLS alert {alert:?}")),
        rustls::Error::InvalidMessage(_) => Error::new(
            ErrorKind::Config,
            format!("{name} does not answer with TLS"),
        )
        .because("it may be plain http, or something before it answered")
        .remedy("check the scheme and port of the server in the kubeconfig"),
        other => Error::new(
            ErrorKind::NotStarted,
            format!("the TLS handshake with {name} failed"),
        )
        .because(other.to_string()),
    })
}

/// With TLS 1.3 the server judges our certificate after our side of the handshake is done: the
/// alert arrives where the answer was expected, and says that no request was ever read.
fn is_about_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            // Of handshakes alone (RFC 8446, 6.2): a signature that its authority did not make.
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

/// Tells whether this is the server's refusal of our certificate, after which it reads no request.
pub(super) fn is_refusal(error: &(dyn StdError + 'static)) -> bool {
    matches!(find(error), Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert))
}

fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error hides what it carries from `source`.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Takes a name out of rustls's way to show it: `DnsName("x")`.
fn plain(name: &str) -> &str {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

/// The name to check the certificate against.
///
/// # Errors
/// `Config` when it is neither a DNS name nor an IP address.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        Error::new(
            ErrorKind::Config,
            format!("{name:?} is no name for a certificate"),
        )
        .remedy("check the server in the kubeconfig, or its tls-server-name")
    })
}

/// insecure-skip-tls-verify: any certificate, but the handshake itself must be right.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

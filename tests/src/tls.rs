//! Throw-away certificates: an authority, server certificates, a client certificate.
//!
//! Lives here: key material and the server's TLS settings. Never here: sockets or files.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A certificate authority that lives as long as one cluster.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A client certificate with its key.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate in PEM form.
    pub certificate: String,
    /// Its private key in PEM form.
    pub key: String,
    /// The certificate as it arrives in the handshake.
    pub der: Vec<u8>,
}

/// Whether a server certificate is good for today.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    /// It ended in 2001.
    Expired,
    /// It lasts until 2100.
    Valid,
}

impl Authority {
    /// Makes a new authority with a fresh key.
    ///
    /// # Errors
    /// When the random source or the signature fails.
    pub fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "wsx test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        lasting(&mut params, Validity::Valid);
        let issuer = CertifiedIssuer::self_signed(params, key()?).map_err(io::Error::other)?;
        Ok(Self { issuer })
    }

    /// The authority's own certificate, for `certificate-authority-data`.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a client certificate for the user `name`.
    ///
    /// # Errors
    /// When the random source or the signature fails.
    pub fn client(&self, name: &str) -> io::Result<ClientCertificate> {
        let key = key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        lasting(&mut params, Validity::Valid);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;
        Ok(ClientCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        })
    }

    /// Issues a server certificate for this machine's loopback names and wraps it into settings.
    ///
    /// Client certificates of this authority are accepted, and not required. Only `http/1.1` is offered:
    /// an upgrade has no way through HTTP/2.
    ///
    /// # Errors
    /// When the random source or the signature fails.
    pub fn server(&self, validity: Validity) -> io::Result<Arc<rustls::ServerConfig>> {
        let key = key()?;
        let mut params =
            CertificateParams::new(["localhost".to_owned()]).map_err(io::Error::other)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for address in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        lasting(&mut params, validity);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(self.issuer.der().clone())
            .map_err(io::Error::other)?;
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .allow_unauthenticated()
                .build()
                .map_err(io::Error::other)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn key() -> io::Result<KeyPair> {
    KeyPair::generate().map_err(io::Error::other)
}

fn lasting(params: &mut CertificateParams, validity: Validity) {
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = match validity {
        Validity::Expired => date_time_ymd(2001, 1, 1),
        Validity::Valid => date_time_ymd(2100, 1, 1),
    };
}

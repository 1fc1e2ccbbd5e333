//! What a credential plugin prints: an `ExecCredential`, in JSON or YAML.
//!
//! Lives here: reading it, and refusing what it is not. Never here: running plugins (plugin.rs).

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::settings::Certificate;
use crate::protocol::text::excerpt;

/// What a plugin gave out.
pub(super) struct Issued {
    pub(super) token: Option<SecretString>,
    pub(super) certificate: Option<Certificate>,
    pub(super) expires: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Credential {
    #[serde(rename = "apiVersion", default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    token: Option<SecretString>,
    #[serde(rename = "clientCertificateData")]
    certificate: Option<String>,
    #[serde(rename = "clientKeyData")]
    key: Option<SecretString>,
    #[serde(rename = "expirationTimestamp")]
    expires: Option<String>,
}

/// Reads the output of a plugin that is configured for this version.
///
/// # Errors
/// Why it cannot be used, in words that quote nothing secret.
pub(super) fn read(output: &[u8], version: &str) -> Result<Issued, String> {
    // The parsers' own words may quote what was printed, and with it secrets.
    let credential: Credential = serde_json::from_slice(output)
        .ok()
        .or_else(|| serde_saphyr::from_slice(output).ok())
        .ok_or_else(|| {
            format!(
                "it printed {} bytes that are no ExecCredential",
                output.len()
            )
        })?;
    let shown = |text: &str| excerpt(text.as_bytes(), 80);
    if credential.kind != "ExecCredential" {
        let kind = shown(&credential.kind);
        return Err(format!(
            "it printed the kind {kind:?} instead of ExecCredential"
        ));
    }
    if credential.api_version != version {
        let actual = shown(&credential.api_version);
        return Err(format!(
            "it is configured for version {version}, but printed {actual:?}"
        ));
    }
    let Some(status) = credential.status else {
        return Err("it printed no status".to_owned());
    };
    let non_empty = |text: &SecretString| !text.expose_secret().trim().is_empty();
    let chain = status.certificate.filter(|pem| !pem.trim().is_empty());
    let certificate = match (chain, status.key.filter(non_empty)) {
        (Some(chain), Some(key)) => Some(Certificate {
            chain: chain.into_bytes(),
            key: key.expose_secret().as_bytes().to_vec().into(),
        }),
        (None, None) => None,
        _ => return Err("it printed a certificate or a key, but not both".to_owned()),
    };
    let token = status.token.filter(non_empty);
    if token.is_none() && certificate.is_none() {
        return Err("it printed neither a token nor a certificate".to_owned());
    }
    let expires = match status.expires.filter(|text| !text.is_empty()) {
        Some(text) => {
            let time = text.parse();
            Some(
                time.map_err(|_| format!("its expirationTimestamp {:?} is no time", shown(&text)))?,
            )
        }
        None => None,
    };
    Ok(Issued {
        token,
        certificate,
        expires,
    })
}

//! The identity to show to the server, kept fresh.
//!
//! Lives here: when a plugin is run or a file is read again, and by whom. Never here: how.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::settings::{Certificate, Source, Trust};
use super::tls;
use crate::error::{Error, ErrorKind, Result, plain};

/// Rotated tokens of pods must be seen (client-go transport/token_source.go).
const TOKEN_FILE_PERIOD: Duration = Duration::from_secs(60);
/// A credential that expires this soon is taken for expired.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// Gives out the identity for each request.
pub(super) struct Credentials {
    source: Source,
    certificate: Option<Certificate>,
    /// Nothing for a server without TLS.
    trust: Option<Trust>,
    /// One flight at a time: whoever holds it may run the plugin, the others wait for the result.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    identity: Option<Identity>,
    failure: Option<(Instant, Error)>,
}

/// What a request needs to be sent as somebody.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Counts how often the identity was obtained anew.
    pub(super) generation: u64,
    fresh: Fresh,
}

#[derive(Clone, Copy)]
enum Fresh {
    Always,
    Before(Timestamp),
    Until(Instant),
}

impl Credentials {
    pub(super) fn new(
        source: Source,
        certificate: Option<Certificate>,
        trust: Option<Trust>,
    ) -> Self {
        Self {
            source,
            certificate,
            trust,
            state: Mutex::default(),
        }
    }

    /// Returns the identity, obtained anew where it is not fresh.
    ///
    /// # Errors
    /// `Auth` when a plugin or a file fails, `Config` when what they give cannot be used.
    pub(super) async fn current(&self) -> Result<Identity> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        match &state.identity {
            Some(identity) if identity.is_fresh() => Ok(identity.clone()),
            _ => self.obtain(&mut state, asked).await,
        }
    }

    /// Returns another identity than the one that the server refused, or nothing where there is none.
    ///
    /// # Errors
    /// Those of [`Self::current`].
    pub(super) async fn renew(&self, refused: &Identity) -> Result<Option<Identity>> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(identity) = &state.identity
            && identity.generation != refused.generation
        {
            return Ok(Some(identity.clone()));
        }
        match &self.source {
            Source::Plugin(_) => self.obtain(&mut state, asked).await.map(Some),
            Source::TokenFile { .. } => {
                let identity = self.obtain(&mut state, asked).await?;
                Ok(Some(identity).filter(|new| new.authorization != refused.authorization))
            }
            Source::Basic { .. } | Source::None | Source::Token(_) => Ok(None),
        }
    }

    /// Returns the identity that was last obtained, fresh or not.
    pub(super) async fn last(&self) -> Option<Identity> {
        self.state.lock().await.identity.clone()
    }

    /// Tells whether obtaining an identity may read from the terminal.
    pub(super) fn may_ask(&self) -> bool {
        matches!(&self.source, Source::Plugin(plugin) if plugin.is_interactive())
    }

    async fn obtain(&self, state: &mut State, asked: Instant) -> Result<Identity> {
        // Those who waited while a plugin failed get its failure instead of another run.
        if let Some((when, error)) = &state.failure
            && *when >= asked
        {
            return Err(error.clone());
        }
        let generation = state
            .identity
            .as_ref()
            .map_or(1, |identity| identity.generation + 1);
        match self.identity(generation).await {
            Ok(identity) => {
                state.failure = None;
                Ok(state.identity.insert(identity).clone())
            }
            Err(error) => {
                state.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn identity(&self, generation: u64) -> Result<Identity> {
        let mut certificate = self.certificate.clone();
        let (authorization, fresh) = match &self.source {
            Source::None => (None, Fresh::Always),
            Source::Basic { username, password } => {
                (Some(basic(username, password)?), Fresh::Always)
            }
            Source::Token(token) => (Some(bearer(token)?), Fresh::Always),
            Source::TokenFile { path, inline } => {
                let token = read(path, inline.as_ref()).await?;
                (
                    Some(bearer(&token)?),
                    Fresh::Until(Instant::now() + TOKEN_FILE_PERIOD),
                )
            }
            Source::Plugin(plugin) => {
                let issued = plugin.run().await?;
                certificate = issued.certificate.or(certificate);
                let fresh = issued.expires.map_or(Fresh::Always, Fresh::Before);
                (issued.token.as_ref().map(bearer).transpose()?, fresh)
            }
        };
        let tls = match &self.trust {
            Some(trust) => Some(tls::client_config(trust, certificate.as_ref())?),
            None => None,
        };
        Ok(Identity {
            authorization,
            tls,
            generation,
            fresh,
        })
    }
}

impl Identity {
    fn is_fresh(&self) -> bool {
        match self.fresh {
            Fresh::Always => true,
            Fresh::Before(expires) => Timestamp::now() + MARGIN < expires,
            Fresh::Until(instant) => Instant::now() < instant,
        }
    }
}

/// Reads a token file; one that cannot be read is answered with the inline token, where there is one.
async fn read(path: &Path, inline: Option<&SecretString>) -> Result<SecretString> {
    let failed = |why: String| {
        Error::new(
            ErrorKind::Auth,
            format!("the token file {} cannot be used", path.display()),
        )
        .because(why)
    };
    match (tokio::fs::read_to_string(path).await, inline) {
        (Ok(text), _) if !text.trim().is_empty() => Ok(text.trim().to_owned().into()),
        (_, Some(inline)) => Ok(inline.clone()),
        (Ok(_), None) => Err(failed("it is empty".to_owned())),
        (Err(error), None) => Err(failed(plain(&error))),
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue> {
    sensitive(
        format!("Bearer {}", token.expose_secret().trim()),
        "the bearer token",
    )
}

fn basic(username: &str, password: &SecretString) -> Result<HeaderValue> {
    let pair = format!("{username}:{}", password.expose_secret());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    sensitive(format!("Basic {encoded}"), "the password")
}

fn sensitive(text: String, what: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Error::new(
            ErrorKind::Auth,
            format!("{what} holds characters that no header can carry"),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(credentials: &Credentials) -> String {
        let identity = credentials.current().await.unwrap();
        identity.authorization.unwrap().to_str().unwrap().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_file_is_read_again_after_a_minute() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let source = Source::TokenFile {
            path: file.path().to_owned(),
            inline: None,
        };
        let credentials = Credentials::new(source, None, None);
        assert_eq!(shown(&credentials).await, "Bearer old");
        std::fs::write(file.path(), "new\n").unwrap();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(shown(&credentials).await, "Bearer old");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(shown(&credentials).await, "Bearer new");
    }

    #[tokio::test]
    async fn a_secret_that_no_header_can_carry_is_refused_without_being_shown() {
        let source = Source::Token("hunter\n2".to_owned().into());
        let error = Credentials::new(source, None, None)
            .current()
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(!format!("{error:?}").contains("hunter"));
    }
}

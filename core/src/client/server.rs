//! The API server as we reach it: requests with an identity, plain answers, warnings.
//!
//! Lives here: who we are on each request, once more after a 401. Never here: pods, upgrades.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT, WARNING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::config::{Config, Environment};
use super::connector::Connector;
use super::credentials::{Credentials, Identity};
use super::notice::{Notice, Observer};
use super::proxy::{self, Proxy, Scheme};
use super::refusal::Answer;
use super::settings::{Settings, Trust};
use super::tls;
use super::transport::{Connection, Stages, Terms, Transport, Unanswered};
use crate::error::{self, Error, ErrorKind, Result};
use crate::protocol::error::ProtocolError;
use crate::protocol::logs::Budget;
use crate::protocol::request;
use crate::protocol::text::excerpt;

/// How much of a plain answer is read: a list of ten thousand pods fits.
const BODY_LIMIT: usize = 256 << 20;
/// How much of an answer that refuses something is read.
const REFUSAL_LIMIT: usize = 64 << 10;
/// How long the body of such an answer is waited for at most.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);
/// How long an attempt to reach the server again may take: TCP sends its first packet at 0, 1 and 3 s.
const KNOCK_LIMIT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest pause between two requests to a server that answers with errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many different warnings are remembered, so that each is told once.
const WARNINGS: usize = 64;

/// One API server, one identity.
pub(super) struct Server {
    client: kube::Client,
    transport: Arc<Transport>,
    /// When the server was last known to take connections. Whoever holds it knocks for all.
    gate: tokio::sync::Mutex<Option<Instant>>,
    budget: Budget,
    credentials: Credentials,
    impersonation: HeaderMap,
    address: Uri,
    observer: Option<Observer>,
    warned: Mutex<HashSet<String>>,
    connect_timeout: Duration,
    request_timeout: Duration,
}

impl Server {
    /// Prepares everything and sends nothing.
    ///
    /// # Errors
    /// `Config` when the server's address, its proxy or certificates cannot be used.
    pub(super) fn new(
        config: &Config,
        environment: &Environment,
        settings: Settings,
    ) -> Result<Self> {
        let tls = settings.server.scheme_str() == Some("https");
        let host = proxy::bare(settings.server.host().unwrap_or_default()).to_owned();
        let port = settings
            .server
            .port_u16()
            .unwrap_or(if tls { 443 } else { 80 });
        let name = settings.server_name.as_deref().unwrap_or(&host);
        let name = if tls {
            Some(tls::server_name(name)?)
        } else {
            None
        };
        let proxy = proxy::choose(settings.proxy_url.as_deref(), tls, &host, port, environment)?;
        let proxy = proxy
            .map(|proxy| with_tls(proxy, &settings.trust))
            .transpose()?;
        let transport = Arc::new(Transport::new(Connector::new(host, port, name, proxy)));
        let below = Arc::clone(&transport);
        let service = tower::service_fn(move |request| {
            let transport = Arc::clone(&below);
            async move { transport.send(request).await }
        });
        let trust = tls.then_some(settings.trust);
        let credentials = Credentials::new(settings.source, settings.certificate, trust);
        let request_timeout = config.request_timeout.filter(|limit| !limit.is_zero());
        Ok(Self {
            client: kube::Client::new(service, settings.namespace),
            transport,
            gate: tokio::sync::Mutex::default(),
            budget: Budget::default(),
            credentials,
            impersonation: settings.impersonation,
            address: settings.server,
            observer: config.observer.clone(),
            warned: Mutex::default(),
            connect_timeout: config.connect_timeout,
            request_timeout: request_timeout.unwrap_or(REQUEST_TIMEOUT),
        })
    }

    pub(super) fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Returns the memory that all logs of this client share.
    pub(super) const fn log_budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn tell(&self, notice: &Notice) {
        if let Some(observer) = &self.observer {
            observer(notice);
        }
    }

    /// Sends a request; after a 401 once more with credentials obtained anew, where there are any.
    ///
    /// # Errors
    /// [`Unanswered`] says whether the server may have seen the request.
    pub(super) async fn send(
        &self,
        request: &Request<()>,
        limits: Stages,
        connection: Connection,
    ) -> Result<Response<Body>, Unanswered> {
        let identity = self.credentials.current().await?;
        let answer = self.send_as(&identity, request, limits, connection).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // Refused before anything was done: this is no second run of anything.
        match self.credentials.renew(&identity).await? {
            Some(renewed) => self.send_as(&renewed, request, limits, connection).await,
            None => Ok(answer),
        }
    }

    /// Sends a request as the one we were last: no plugin is run, and nobody asked for a password.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub(super) async fn send_as_before(
        &self,
        request: &Request<()>,
        limits: Stages,
        connection: Connection,
    ) -> Result<Response<Body>, Unanswered> {
        let identity = match self.credentials.last().await {
            Some(identity) => identity,
            None => self.credentials.current().await?,
        };
        self.send_as(&identity, request, limits, connection).await
    }

    /// Waits until the server takes connections again: a bare attempt every 0.5 to 1 s, one at a time
    /// for all that wait (decision 52). `since` is when the caller's own connection was lost.
    ///
    /// # Cancel safety
    /// Another one that waits goes on.
    pub(super) async fn reachable(&self, since: Instant) {
        let mut open = self.gate.lock().await;
        while open.is_none_or(|open| open < since) {
            let identity = match self.credentials.last().await {
                Some(identity) => Ok(identity),
                None => self.credentials.current().await,
            };
            let begin = Instant::now();
            let limit = self.connect_timeout.min(KNOCK_LIMIT);
            let knock = match identity {
                Ok(identity) => self.transport.knock(&identity, limit).await,
                Err(error) => Err(error),
            };
            match knock {
                // Whatever else is wrong the next request tells better.
                Err(error) if error.kind() == ErrorKind::NotStarted => {
                    tracing::debug!(error = %error.report(), "not reachable");
                    let pause = Duration::from_millis(500).mul_f64(1.0 + random());
                    tokio::time::sleep_until(begin + pause).await;
                }
                _ => *open = Some(Instant::now()),
            }
        }
    }

    /// Asks for a path and reads the whole answer, whatever its status is.
    ///
    /// # Errors
    /// `NotStarted` without an answer in time, else those of connecting.
    async fn get(&self, path: &str, query: &[(&str, &str)], limits: Stages) -> Result<Answer> {
        let request = plain(path, query)?;
        let response = self.send(&request, limits, Connection::Shared).await;
        self.whole(path, response.map_err(unstarted)?).await
    }

    /// Like [`Self::get`] while a session has the terminal: a plugin that could read from it is not
    /// run, so that an identity that has expired is answered with 401.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub(super) async fn get_aside(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer> {
        if !self.credentials.may_ask() {
            return self.get(path, query, self.stages(None)).await;
        }
        let request = plain(path, query)?;
        let response = self
            .send_as_before(&request, self.stages(None), Connection::Shared)
            .await;
        self.whole(path, response.map_err(unstarted)?).await
    }

    fn stages(&self, connect: Option<Duration>) -> Stages {
        Stages {
            connect: connect.or(Some(self.connect_timeout)),
            answer: Some(self.request_timeout),
        }
    }

    async fn whole(&self, path: &str, response: Response<Body>) -> Result<Answer> {
        let limit = self.request_timeout;
        let failed = |message: String| Error::new(ErrorKind::NotStarted, message);
        let (parts, body) = response.into_parts();
        match timeout(limit, read(body, BODY_LIMIT)).await {
            Ok(Ok((body, false))) => Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            }),
            Ok(Ok((_, true))) => {
                let most = BODY_LIMIT >> 20;
                Err(failed(format!(
                    "the answer to {path} is longer than {most} MiB"
                )))
            }
            Ok(Err(why)) => Err(failed(format!("the answer to {path} ended early")).because(why)),
            Err(_) => Err(failed(format!(
                "the answer to {path} has no end within {limit:?} (--request-timeout)"
            ))),
        }
    }

    /// Asks for an object; `connect` limits the stages of connecting, absent as configured.
    ///
    /// # Errors
    /// By the status of the answer, else those of [`Self::get`].
    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        connect: Option<Duration>,
    ) -> Result<T> {
        let answer = self.get(path, query, self.stages(connect)).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refusal(path));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            let refusal = answer.refusal(path);
            let why = refusal
                .why()
                .map_or_else(|| error.to_string(), ToOwned::to_owned);
            let shown = excerpt(&answer.body, 200);
            Error::new(
                ErrorKind::NotStarted,
                format!("the answer to {path} is no Kubernetes object"),
            )
            .because(format!("{why}: {shown}"))
        })
    }

    /// Reads the body of an answer that refused something, for no longer than this.
    pub(super) async fn refusal(&self, response: Response<Body>, limit: Duration) -> Answer {
        let (parts, body) = response.into_parts();
        let body = match timeout(limit.min(REFUSAL_PATIENCE), read(body, REFUSAL_LIMIT)).await {
            Ok(Ok((body, _))) => body,
            // The status alone says enough for a kind.
            Ok(Err(why)) => format!("(its text was cut: {why})").into_bytes(),
            Err(_) => b"(its text did not come)".to_vec(),
        };
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    async fn send_as(
        &self,
        identity: &Identity,
        request: &Request<()>,
        limits: Stages,
        connection: Connection,
    ) -> Result<Response<Body>, Unanswered> {
        let mut outgoing = Request::new(Body::empty());
        outgoing.method_mut().clone_from(request.method());
        *outgoing.uri_mut() = self.place(request.uri())?;
        *outgoing.headers_mut() = self.headers(request.headers(), identity)?;
        outgoing.extensions_mut().insert(Terms {
            identity: identity.clone(),
            limits,
            connection,
        });
        let begin = Instant::now();
        let result = self.client.send(outgoing).await.map_err(unwrapped);
        let status = result
            .as_ref()
            .map_or(0, |response| response.status().as_u16());
        let elapsed = begin.elapsed().as_millis();
        // Never the query: it holds the command.
        let path = request.uri().path();
        tracing::debug!(method = %request.method(), path, status, elapsed_ms = elapsed, "request");
        if let Ok(response) = &result {
            self.pass_on_warnings(response.headers());
        }
        result
    }

    /// Puts the path of a request below the path of the server.
    fn place(&self, uri: &Uri) -> Result<Uri> {
        let base = self.address.path().trim_end_matches('/');
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        format!("{base}{target}")
            .parse()
            .map_err(|error: http::uri::InvalidUri| {
                Error::new(ErrorKind::Invalid, "the request cannot be sent")
                    .because(error.to_string())
            })
    }

    fn headers(&self, given: &HeaderMap, identity: &Identity) -> Result<HeaderMap> {
        let mut headers = given.clone();
        let authority = self
            .address
            .authority()
            .map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(authority).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                format!("the server {authority:?} is no host"),
            )
        })?;
        headers.insert(HOST, host);
        let agent = concat!("kubectl-wsx/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(authorization) = &identity.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        for (name, value) in &self.impersonation {
            headers.append(name.clone(), value.clone());
        }
        Ok(headers)
    }

    fn pass_on_warnings(&self, headers: &HeaderMap) {
        for text in headers.get_all(WARNING).iter().filter_map(warning) {
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            let new = warned.len() < WARNINGS && warned.insert(text.clone());
            drop(warned);
            if new {
                self.tell(&Notice::ServerWarning { text });
            }
        }
    }
}

/// From half a second, doubled with each failure, up to 30 s; half of it is random.
pub(super) fn pause(failures: u32) -> Duration {
    let most = Duration::from_millis(500).saturating_mul(2_u32.saturating_pow(failures));
    most.min(LONGEST_PAUSE).mul_f64(0.5 + random() / 2.0)
}

/// Returns a random number from 0 to 1.
pub(super) fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers all wait equally long.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

/// RFC 7234, 5.5, as the API server writes it: `299 - "text"`.
fn warning(value: &HeaderValue) -> Option<String> {
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let rest = text.strip_prefix("299 ")?;
    let (_, quoted) = rest.split_once('"')?;
    let mut words = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => words.extend(characters.next()),
            _ => words.push(character),
        }
    }
    Some(words)
}

fn with_tls(proxy: Proxy, trust: &Trust) -> Result<(Proxy, Option<Arc<rustls::ClientConfig>>)> {
    // Go believes the same authorities for a proxy as for the server behind it; our own
    // certificate is for the server alone.
    let config = match proxy.scheme {
        Scheme::Https => Some(tls::client_config(trust, None)?),
        Scheme::Http | Scheme::Socks5 => None,
    };
    Ok((proxy, config))
}

/// A request that cannot be put together from what the caller gave.
pub(super) fn unusable(error: ProtocolError) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
}

fn plain(path: &str, query: &[(&str, &str)]) -> Result<Request<()>> {
    let mut request = request::get(path, query).map_err(unusable)?;
    request
        .headers_mut()
        .insert(ACCEPT, HeaderValue::from_static("application/json"));
    Ok(request)
}

/// Finds our own error in what kube made of it.
fn unwrapped(error: kube::Error) -> Unanswered {
    let error = match error {
        kube::Error::Service(inner) => match inner.downcast::<Unanswered>() {
            Ok(unanswered) => return *unanswered,
            Err(other) => kube::Error::Service(other),
        },
        other => other,
    };
    // Not ours: the worker of the client ended with its runtime. Whether the request left is unknown.
    let error =
        Error::new(ErrorKind::Internal, "the client does not work any more").caused_by(error);
    Unanswered { sent: true, error }
}

/// A plain request starts no command, so its loss says that none was started.
pub(super) fn unstarted(unanswered: Unanswered) -> Error {
    let error = unanswered.error;
    if !error.kind().may_have_started() {
        return error;
    }
    let message = format!("{error}; the command was not started");
    match error.why() {
        Some(why) => Error::new(ErrorKind::NotStarted, message).because(why),
        None => Error::new(ErrorKind::NotStarted, message),
    }
}

/// Reads a body up to a limit, and tells whether there was more.
async fn read(mut body: Body, limit: usize) -> Result<(Vec<u8>, bool), String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error::plain(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = limit - bytes.len();
        if data.len() > room {
            bytes.extend_from_slice(data.get(..room).unwrap_or_default());
            return Ok((bytes, true));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, false))
}

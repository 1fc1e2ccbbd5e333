//! A cluster, and what can be asked of it: each question is one promise.

#![expect(clippy::too_many_arguments, reason = "JavaScript passes them by place")]

use std::sync::Arc;

use bytes::Bytes;
use napi::Env;
use napi::Status;
use napi::bindgen_prelude::{Buffer, Function, PromiseRaw};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use wsx_core::client::{Level, Notice};
use wsx_core::{AttachOptions, Client, Error};

use crate::cancel::Cancel;
use crate::error::{describe, rejected};
use crate::forward::NativeForward;
use crate::forward::options::PortForwardOptions;
use crate::logs::NativeLogs;
use crate::options::{ConnectOptions, LogsOptions, SessionOptions, whole};
use crate::process::NativeProcess;

/// A cluster that can be entered.
#[napi]
pub struct NativeClient {
    client: Client,
}

/// Something worth telling that is no error.
#[napi(object)]
pub struct NativeNotice {
    /// Stable name of what it is about.
    pub name: String,
    /// `detail`, `note` or `warning`.
    pub level: String,
    /// One line for people.
    pub message: String,
}

/// A command that has ended, with all it said.
#[napi(object)]
pub struct NativeCompleted {
    /// Its exit code; absent with `error`.
    pub code: Option<u8>,
    /// How sure a code of 0 is.
    pub confidence: Option<String>,
    /// What went wrong, in JSON.
    pub error: Option<String>,
    /// Its output.
    pub stdout: Buffer,
    /// Its error output.
    pub stderr: Buffer,
}

/// Loads the kubeconfig; nothing is sent yet.
#[napi]
pub fn connect<'env>(
    env: &'env Env,
    options: ConnectOptions,
    on_notice: Option<Function<'_, NativeNotice, ()>>,
    cancel: &Cancel,
) -> napi::Result<PromiseRaw<'env, NativeClient>> {
    let mut config = options.config()?;
    if let Some(callback) = on_notice {
        let tell: ThreadsafeFunction<NativeNotice, (), NativeNotice, Status, false, true> =
            callback
                .build_threadsafe_function::<NativeNotice>()
                .callee_handled::<false>()
                .weak::<true>()
                .build()?;
        let observer: wsx_core::client::Observer = Arc::new(move |notice: &Notice| {
            // Refused while the environment ends: then nobody listens any more.
            tell.call(notice.into(), ThreadsafeFunctionCallMode::NonBlocking);
        });
        config = config.observer(observer);
    }
    env.spawn_future(cancel.bound(async move {
        let client = Client::connect(config).await.map_err(unstarted)?;
        Ok(NativeClient { client })
    }))
}

#[napi]
impl NativeClient {
    /// The namespace where none is named.
    #[napi(getter)]
    pub fn namespace(&self) -> String {
        self.client.namespace().to_owned()
    }

    /// Asks the server for its version.
    #[napi]
    pub fn version<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
    ) -> napi::Result<PromiseRaw<'env, String>> {
        let client = self.client.clone();
        env.spawn_future(cancel.bound(async move { client.version().await.map_err(unstarted) }))
    }

    /// Starts a command.
    #[napi]
    pub fn exec<'env>(
        &self,
        env: &'env Env,
        target: String,
        command: Vec<String>,
        options: SessionOptions,
        cancel: &Cancel,
    ) -> napi::Result<PromiseRaw<'env, NativeProcess>> {
        let (client, options) = (self.client.clone(), options.exec()?);
        env.spawn_future(cancel.bound(async move {
            let wanted = (options.stdout, options.stderr);
            let process = client.exec(&target, command, options).await;
            Ok(NativeProcess::new(process.map_err(unstarted)?, wanted))
        }))
    }

    /// Joins the main process of a container.
    #[napi]
    pub fn attach<'env>(
        &self,
        env: &'env Env,
        target: String,
        options: SessionOptions,
        cancel: &Cancel,
    ) -> napi::Result<PromiseRaw<'env, NativeProcess>> {
        let (client, mut attach) = (self.client.clone(), AttachOptions::default());
        attach.streams = options.exec()?;
        env.spawn_future(cancel.bound(async move {
            let wanted = (attach.streams.stdout, attach.streams.stderr);
            let process = client.attach(&target, attach).await;
            Ok(NativeProcess::new(process.map_err(unstarted)?, wanted))
        }))
    }

    /// Reads a log, or several.
    #[napi]
    pub fn logs<'env>(
        &self,
        env: &'env Env,
        target: Option<String>,
        options: LogsOptions,
        cancel: &Cancel,
    ) -> napi::Result<PromiseRaw<'env, NativeLogs>> {
        let (client, options) = (self.client.clone(), options.checked()?);
        env.spawn_future(cancel.bound(async move {
            let logs = client.logs(target.as_deref(), options).await;
            Ok(NativeLogs::new(logs.map_err(unstarted)?))
        }))
    }

    /// Forwards ports, `[LOCAL:]REMOTE` each.
    #[napi]
    pub fn port_forward<'env>(
        &self,
        env: &'env Env,
        target: String,
        ports: Vec<String>,
        options: PortForwardOptions,
        cancel: &Cancel,
    ) -> napi::Result<PromiseRaw<'env, NativeForward>> {
        let (client, options) = (self.client.clone(), options.checked()?);
        env.spawn_future(cancel.bound(async move {
            let forward = client.port_forward(&target, ports, options).await;
            Ok(NativeForward::new(forward.map_err(unstarted)?))
        }))
    }

    /// Runs a command to its end, with at most `max_output` bytes of output.
    #[napi]
    pub fn run<'env>(
        &self,
        env: &'env Env,
        target: String,
        command: Vec<String>,
        options: SessionOptions,
        input: Option<&[u8]>,
        max_output: Option<f64>,
        cancel: &Cancel,
    ) -> napi::Result<PromiseRaw<'env, NativeCompleted>> {
        let client = self.client.clone();
        let options = options.exec()?.stdin(input.is_some());
        let input = input.map(Bytes::copy_from_slice).unwrap_or_default();
        let limit = whole("maxOutput", max_output)?;
        let limit = limit.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        env.spawn_future(cancel.bound(async move {
            let process = client.exec(&target, command, options).await;
            let process = process.map_err(unstarted)?;
            let ended = process.communicate(input, limit).await;
            let (status, error) = match ended.status {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(describe(&error, Some(&ended.report)))),
            };
            Ok(NativeCompleted {
                code: status.as_ref().map(|status| status.code),
                confidence: status.map(|status| status.confidence.as_str().to_owned()),
                error,
                stdout: Vec::from(ended.stdout).into(),
                stderr: Vec::from(ended.stderr).into(),
            })
        }))
    }
}

impl From<&Notice> for NativeNotice {
    fn from(notice: &Notice) -> Self {
        let level = match notice.level() {
            Level::Detail => "detail",
            Level::Warning => "warning",
            _ => "note",
        };
        Self {
            name: notice.class().to_owned(),
            level: level.to_owned(),
            message: notice.to_string(),
        }
    }
}

fn unstarted(error: Error) -> napi::Error {
    rejected(&error, None)
}

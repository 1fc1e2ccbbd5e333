//! `version`: ours, the protocols we speak, and the server's.

use serde::Serialize;
use wsx_core::client::Notice;
use wsx_core::protocol::text::escape;
use wsx_core::{Client, Error, Subprotocol};

use crate::ending::Ending;
use crate::exit;
use crate::flag::parse_bool;
use crate::globals::Globals;

/// Show the versions of this program, its protocols and the server
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask the server
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = parse_bool,
    )]
    client: Option<bool>,
    /// Form of the answer
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Form of the answer.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// One JSON object
    Json,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client_version: String,
    protocols: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_version: Option<String>,
}

/// Shows what is known even where the server does not answer.
pub(crate) async fn run(args: Args, globals: &Globals) -> Ending {
    let (mut versions, mut failure) = (Versions::of_client(), None);
    if args.client != Some(true) {
        match server_version(globals).await {
            Ok(version) => versions.server_version = Some(version),
            Err(error) => failure = Some(error),
        }
    }
    let text = match args.output {
        None => versions.lines(),
        // Strings are always valid JSON.
        Some(Format::Json) => serde_json::to_string_pretty(&versions).unwrap_or_default() + "\n",
    };
    match (exit::printed(globals.output().print(&text)), failure) {
        (Ending::Succeeded, Some(error)) => Ending::Failed(error),
        (ending, _) => ending,
    }
}

async fn server_version(globals: &Globals) -> Result<String, Error> {
    let output = globals.output();
    let client =
        Client::connect(globals.config(move |notice: &Notice| output.notice(notice))).await?;
    client.version().await
}

impl Versions {
    fn of_client() -> Self {
        Self {
            client_version: format!("v{}", env!("CARGO_PKG_VERSION")),
            protocols: Subprotocol::ALL.map(Subprotocol::name).to_vec(),
            server_version: None,
        }
    }

    fn lines(&self) -> String {
        let mut text = format!("Client Version: {}\n", self.client_version);
        text += &format!("Protocols: {}\n", self.protocols.join(", "));
        if let Some(version) = &self.server_version {
            text += &format!("Server Version: {}\n", escape(version));
        }
        text
    }
}

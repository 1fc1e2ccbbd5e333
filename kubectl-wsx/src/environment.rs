//! The environment variables of this program: the one place that reads them.
//!
//! Lives here: names and their meaning. Never here: what the library reads (`KUBECONFIG`, proxies).

/// How to number our own endings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum ExitCodes {
    /// 1 for everything that kubectl answers with 1 (`WSX_EXIT_CODES=kubectl`).
    Kubectl,
    /// One code for each class.
    #[default]
    Wsx,
}

/// Returns how to number our own endings.
pub(crate) fn exit_codes() -> ExitCodes {
    match variable("WSX_EXIT_CODES").as_deref() {
        Some("kubectl") => ExitCodes::Kubectl,
        _ => ExitCodes::Wsx,
    }
}

/// Tells whether kubectl was told to use SPDY instead of WebSocket, which we cannot.
pub(crate) fn wants_spdy() -> bool {
    variable("KUBECTL_REMOTE_COMMAND_WEBSOCKETS")
        .is_some_and(|value| value.eq_ignore_ascii_case("false"))
}

/// Tells whether kubectl was told to forward ports over SPDY instead of WebSocket, which we cannot.
pub(crate) fn wants_spdy_forward() -> bool {
    variable("KUBECTL_PORT_FORWARD_WEBSOCKETS")
        .is_some_and(|value| value.eq_ignore_ascii_case("false"))
}

/// Tells whether we may use colours of our own on a terminal; an empty `NO_COLOR` counts, as with kubectl.
pub(crate) fn allows_colours() -> bool {
    variable("NO_COLOR").is_none() && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

//! The WebSocket subprotocols of exec and attach, and the choice among them.
//!
//! Lives here: what each name means on the wire. Never here: sockets.

use super::version::Version;

/// One subprotocol.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Subprotocol {
    /// The name in the handshake; empty when none was asked for.
    pub(crate) name: &'static str,
    /// Text messages with a digit and base64, instead of binary ones.
    pub(crate) base64: bool,
    /// What channel 3 carries.
    pub(crate) status: StatusForm,
    /// Whether the API server terminates it and speaks SPDY to the node (v5).
    pub(crate) translated: bool,
}

/// What channel 3 carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StatusForm {
    /// Plain text, and only after a failure.
    FailureText,
    /// A Status object, always.
    Json,
}

impl Subprotocol {
    /// The longest payload of one output message.
    pub(crate) fn longest_output(&self) -> usize {
        // The translator copies through 32 KiB; the runtime's own server sends what was written.
        if self.translated {
            32 * 1024
        } else {
            usize::MAX
        }
    }

    /// Chooses from the first `Sec-WebSocket-Protocol` line, or refuses.
    ///
    /// The client's order decides, but v5 anywhere in the list wins where it is translated.
    pub(crate) fn choose(line: Option<&str>, version: Version) -> Option<&'static Self> {
        let names: Vec<&str> = match line {
            None | Some("") => vec![""],
            Some(line) => line.split(',').map(str::trim).collect(),
        };
        if version.translates() && names.contains(&V5.name) {
            return Some(&V5);
        }
        names
            .iter()
            .find_map(|name| PASSED_THROUGH.iter().find(|known| known.name == *name))
    }
}

const V5: Subprotocol = Subprotocol {
    name: "v5.channel.k8s.io",
    base64: false,
    status: StatusForm::Json,
    translated: true,
};

const PASSED_THROUGH: &[Subprotocol] = &[
    passed("", false, StatusForm::FailureText),
    passed("channel.k8s.io", false, StatusForm::FailureText),
    passed("base64.channel.k8s.io", true, StatusForm::FailureText),
    passed("v4.channel.k8s.io", false, StatusForm::Json),
    passed("v4.base64.channel.k8s.io", true, StatusForm::Json),
];

const fn passed(name: &'static str, base64: bool, status: StatusForm) -> Subprotocol {
    Subprotocol {
        name,
        base64,
        status,
        translated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(line: Option<&str>, version: Version) -> Option<&'static str> {
        Subprotocol::choose(line, version).map(|subprotocol| subprotocol.name)
    }

    #[test]
    fn v5_wins_anywhere_where_it_is_translated() {
        let list = Some("v4.channel.k8s.io, v5.channel.k8s.io");
        assert_eq!(choose(list, Version::V1_35), Some("v5.channel.k8s.io"));
        assert_eq!(choose(list, Version::V1_28), Some("v4.channel.k8s.io"));
        assert_eq!(choose(Some("v5.channel.k8s.io"), Version::V1_28), None);
    }

    #[test]
    fn otherwise_the_order_of_the_client_decides() {
        let list = Some("v3.channel.k8s.io,base64.channel.k8s.io,v4.channel.k8s.io");
        assert_eq!(choose(list, Version::V1_35), Some("base64.channel.k8s.io"));
        assert_eq!(choose(Some("v3.channel.k8s.io"), Version::V1_35), None);
        assert_eq!(choose(None, Version::V1_35), Some(""));
    }
}

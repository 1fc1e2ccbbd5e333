//! What a port-forward is asked for: ports and addresses, as kubectl writes them.
//!
//! - `options`: what else is asked for; [`request`]: the upgrade request
//!
//! Lives here: text to values. Never here: looking up names, binding.

mod options;
pub mod request;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use super::error::ProtocolError;

pub use options::{
    Balance, ForwardOptions, ForwardProtocol, ForwardSubprotocol, OnConflict, Reconnect,
};

/// One `[LOCAL:]REMOTE`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortPair {
    /// Where to listen.
    pub local: LocalPort,
    /// What to reach.
    pub remote: RemotePort,
}

/// The port to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LocalPort {
    /// One that is free: `:80`, `0:80`.
    Any,
    /// This one.
    Number(NonZeroU16),
    /// The number behind the name of the remote one: `http`.
    Same,
}

/// The port to reach.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RemotePort {
    /// A name in the pod, or of a service's port: 1 to 63 of `a-z`, `0-9` and `-`.
    Name(String),
    /// A port of the pod, or a service's own one.
    Number(NonZeroU16),
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Listen {
    /// The address; IPv4 where it was IPv4 in an IPv6 form.
    pub address: IpAddr,
    /// Whether its absence is an error by itself. `localhost` means either of its two.
    pub required: bool,
}

/// The most that a name may have; container ports have at most 15.
const NAME_LIMIT: usize = 63;

impl PortPair {
    /// Reads one `[LOCAL:]REMOTE`.
    ///
    /// # Errors
    /// `UnusableRequest` for everything else; UDP by name.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        let refuse = |why: &str| {
            let message = format!("{text:?} is no port: {why}; write [LOCAL:]REMOTE, as 8080:80");
            ProtocolError::UnusableRequest(message)
        };
        if let Some((_, protocol)) = text.split_once('/') {
            return Err(refuse(match &*protocol.to_ascii_lowercase() {
                "udp" | "sctp" => "only TCP can be forwarded",
                _ => "there is no / in one",
            }));
        }
        let (local, remote) = match text.split_once(':') {
            Some((local, remote)) => (Some(local), remote),
            None => (None, text),
        };
        let remote = match number(remote) {
            Some(number) => {
                RemotePort::Number(number.ok_or_else(|| refuse("the remote port is 1 to 65535"))?)
            }
            None if is_name(remote) => RemotePort::Name(remote.to_owned()),
            None => return Err(refuse("the remote port is a number or a name")),
        };
        let local = match (local, &remote) {
            (Some("" | "0"), _) => LocalPort::Any,
            (Some(local), _) => match number(local) {
                Some(Some(number)) => LocalPort::Number(number),
                Some(None) if local.bytes().all(|digit| digit == b'0') => LocalPort::Any,
                _ => return Err(refuse("the local port is 0 to 65535")),
            },
            (None, RemotePort::Number(number)) => LocalPort::Number(*number),
            (None, RemotePort::Name(_)) => LocalPort::Same,
        };
        Ok(Self { local, remote })
    }

    /// Returns the number to listen on, 0 for any, where the remote port was looked up as `number`:
    /// for a service its own port, not the pod's behind it.
    #[must_use]
    pub const fn local_for(&self, number: NonZeroU16) -> u16 {
        match self.local {
            LocalPort::Any => 0,
            LocalPort::Number(number) => number.get(),
            LocalPort::Same => number.get(),
        }
    }
}

/// Reads all ports of one target.
///
/// # Errors
/// `UnusableRequest` when there is none, or one is not a port.
pub fn ports<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<PortPair>, ProtocolError> {
    let ports: Vec<_> = texts
        .into_iter()
        .map(PortPair::parse)
        .collect::<Result<_, _>>()?;
    match ports.is_empty() {
        true => Err(none("port", "8080:80")),
        false => Ok(ports),
    }
}

/// Reads the addresses to listen on, sorted by their text and each once.
///
/// One that is named is required, also where `localhost` stands beside it.
///
/// # Errors
/// `UnusableRequest` when there is none, or one is neither `localhost` nor an IP address.
pub fn addresses<'a>(
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Listen>, ProtocolError> {
    // client-go portforward.go, parseAddresses.
    let mut found: Vec<Listen> = Vec::new();
    let mut add =
        |address: IpAddr, required| match found.iter_mut().find(|listen| listen.address == address)
        {
            Some(listen) => listen.required |= required,
            None => found.push(Listen { address, required }),
        };
    for text in texts {
        if text == "localhost" {
            add(Ipv4Addr::LOCALHOST.into(), false);
            add(Ipv6Addr::LOCALHOST.into(), false);
        } else if let Ok(address) = text.parse::<IpAddr>() {
            add(address.to_canonical(), true);
        } else {
            let message = format!("{text:?} is no address: write localhost or an IP address");
            return Err(ProtocolError::UnusableRequest(message));
        }
    }
    found.sort_by_key(|listen| listen.address.to_string());
    match found.is_empty() {
        true => Err(none("address", "localhost")),
        false => Ok(found),
    }
}

fn none(what: &str, example: &str) -> ProtocolError {
    ProtocolError::UnusableRequest(format!("no {what} is given: write one, as {example}"))
}

/// Nothing where it is no number; a number without a value where it is no port.
fn number(text: &str) -> Option<Option<NonZeroU16>> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())
}

fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let outside = text.starts_with('-') || text.ends_with('-');
    (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(known) && !outside
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_without_a_local_port_listens_on_its_number() {
        let number = NonZeroU16::new(443).unwrap();
        for (text, local) in [
            ("https", 443),
            (":https", 0),
            ("8443:https", 8443),
            ("80", 80),
        ] {
            let pair = PortPair::parse(text).unwrap();
            assert_eq!(pair.local_for(number), local, "{text}");
        }
    }

    #[test]
    fn refusals_say_what_is_wrong_and_what_to_write() {
        let cases = [
            ("53/UDP", "only TCP can be forwarded"),
            ("80/tcp", "there is no / in one"),
            ("65536", "the remote port is 1 to 65535"),
            ("80:-1", "the remote port is a number or a name"),
            ("web:80", "the local port is 0 to 65535"),
        ];
        for (text, why) in cases {
            let error = PortPair::parse(text).unwrap_err().to_string();
            let expected =
                format!("\"{text}\" is no port: {why}; write [LOCAL:]REMOTE, as 8080:80");
            assert_eq!(error, expected);
        }
        let error = PortPair::parse("\x1b[2J").unwrap_err().to_string();
        assert!(!error.contains('\x1b'), "{error}");
    }

    proptest! {
        #[test]
        fn reading_survives_anything_and_numbers_mean_themselves(
            text in "[0-9a-z:/-]{0,12}|.{0,8}",
            local in any::<u16>(),
            remote in 1u16..,
        ) {
            let _ = (PortPair::parse(&text), addresses([&*text]));
            let pair = PortPair::parse(&format!("{local}:{remote}")).unwrap();
            let number = NonZeroU16::new(remote).unwrap();
            prop_assert_eq!(pair.local_for(NonZeroU16::MIN), local);
            prop_assert_eq!(pair.remote, RemotePort::Number(number));
        }
    }
}

//! Which proxy stands between us and the server, if any.
//!
//! Lives here: the rules of client-go and of Go's httpproxy. Never here: talking to a proxy.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};

use super::config::Environment;
use crate::error::{Error, ErrorKind, Result};

/// A proxy that accepts connections for others.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<(String, SecretString)>,
}

/// How to talk to a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scheme {
    Http,
    Https,
    Socks5,
}

/// Returns the proxy for this server.
///
/// `proxy-url` of the cluster is used always, the environment's unless `NO_PROXY` names the server.
///
/// # Errors
/// `Config` when the URL of the proxy cannot be used.
pub(super) fn choose(
    proxy_url: Option<&str>,
    tls: bool,
    host: &str,
    port: u16,
    environment: &Environment,
) -> Result<Option<Proxy>> {
    if let Some(url) = proxy_url {
        return Proxy::parse(url, "proxy-url of the cluster").map(Some);
    }
    let either = |upper: &'static str, lower: &'static str| {
        let found = environment.text(upper).map(|value| (upper, value));
        found.or_else(|| environment.text(lower).map(|value| (lower, value)))
    };
    let found = match tls {
        true => either("HTTPS_PROXY", "https_proxy"),
        // In a CGI program HTTP_PROXY comes from a request header (CVE-2016-5386).
        false if environment.get("REQUEST_METHOD").is_some() => None,
        false => either("HTTP_PROXY", "http_proxy"),
    };
    let Some((variable, url)) = found else {
        return Ok(None);
    };
    let exceptions = either("NO_PROXY", "no_proxy").map_or("", |(_, list)| list);
    if is_local(host) || is_excepted(exceptions, host, port) {
        return Ok(None);
    }
    Proxy::parse(url, variable).map(Some)
}

impl Proxy {
    fn parse(url: &str, whence: &str) -> Result<Self> {
        // The URL may hold a password: it is never shown.
        let wrong = |why: &str| {
            Error::new(
                ErrorKind::Config,
                format!("the proxy in {whence} cannot be used"),
            )
            .because(why.to_owned())
        };
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            "socks5" | "socks5h" => (Scheme::Socks5, 1080),
            _ => return Err(wrong("the scheme must be http, https or socks5")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or(rest);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(credentials(user)), authority),
            None => (None, authority),
        };
        let authority: http::uri::Authority = authority
            .parse()
            .map_err(|_| wrong("it is no URL with a host"))?;
        if authority.host().is_empty() {
            return Err(wrong("it is no URL with a host"));
        }
        Ok(Self {
            scheme,
            host: bare(authority.host()).to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            user,
        })
    }

    /// Returns the value of `Proxy-Authorization`.
    pub(super) fn authorization(&self) -> Option<String> {
        let (user, password) = self.user.as_ref()?;
        let pair = format!("{user}:{}", password.expose_secret());
        Some(format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        ))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(&self.host, self.port))
    }
}

/// Returns host and port as one text, IPv6 in brackets.
pub(super) fn join(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Returns a host of a URL without the brackets of IPv6.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn credentials(text: &str) -> (String, SecretString) {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (plain(user), plain(password).into())
}

/// httpproxy: what runs here is never asked for through a proxy of the environment.
fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// golang.org/x/net/http/httpproxy: `*`, CIDR, addresses and domains, each with a port or without.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            if entry == "*" {
                return true;
            }
            let entry = entry.to_ascii_lowercase();
            if let Ok(network) = entry.parse::<IpNet>() {
                return address.is_some_and(|address| network.contains(&address));
            }
            let (name, wanted) = match entry.rsplit_once(':') {
                // A bare IPv6 address is full of colons.
                Some(_) if entry.parse::<IpAddr>().is_ok() => (entry.as_str(), None),
                Some((name, text)) => match text.parse::<u16>() {
                    Ok(wanted) => (name, Some(wanted)),
                    Err(_) => (entry.as_str(), None),
                },
                None => (entry.as_str(), None),
            };
            wanted.is_none_or(|wanted| wanted == port) && is_named(bare(name), &host, address)
        })
}

fn is_named(entry: &str, host: &str, address: Option<IpAddr>) -> bool {
    if let Ok(excepted) = entry.parse::<IpAddr>() {
        return address == Some(excepted);
    }
    let entry = entry.strip_prefix('*').unwrap_or(entry);
    let (suffix, itself) = match entry.strip_prefix('.') {
        Some(domain) => (domain, false),
        None => (entry, true),
    };
    if suffix.is_empty() {
        return false;
    }
    let below = host
        .strip_suffix(suffix)
        .is_some_and(|rest| rest.ends_with('.'));
    below || (itself && host == suffix)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn chosen(
        url: Option<&str>,
        server: (bool, &str, u16),
        variables: &[(&str, &str)],
    ) -> Option<String> {
        let environment = Environment::of(variables, Path::new("/"));
        let (tls, host, port) = server;
        choose(url, tls, host, port, &environment)
            .unwrap()
            .map(|proxy| proxy.to_string())
    }

    /// kube-client.md A.6 #3.
    #[test]
    fn divergence_3_no_proxy_is_compared_with_the_server() {
        for (list, host, port, direct) in [
            ("*", "api.example", 6443, true),
            ("10.0.0.0/8", "10.1.2.3", 6443, true),
            ("10.0.0.0/8", "11.1.2.3", 6443, false),
            ("10.1.2.3", "10.1.2.3", 6443, true),
            ("10.1.2.3:6443", "10.1.2.3", 6443, true),
            ("10.1.2.3:443", "10.1.2.3", 6443, false),
            ("fd00::1", "fd00::1", 6443, true),
            ("[fd00::1]:6443", "fd00::1", 6443, true),
            ("example", "api.example", 6443, true),
            ("example", "example", 6443, true),
            (".example", "api.example", 6443, true),
            (".example", "example", 6443, false),
            ("*.example", "api.example", 6443, true),
            ("ample", "example", 6443, false),
            ("EXAMPLE:6443", "api.Example.", 6443, true),
            ("example:443", "api.example", 6443, false),
            (" other , example ", "api.example", 6443, true),
            // The proxy itself is of no interest here.
            ("proxy.example.org", "api.example", 6443, false),
        ] {
            let variables = [
                ("HTTPS_PROXY", "http://proxy.example.org:3128"),
                ("NO_PROXY", list),
            ];
            let proxy = chosen(None, (true, host, port), &variables);
            assert_eq!(proxy.is_none(), direct, "{list} {host}:{port}");
        }
    }

    #[test]
    fn divergence_3_the_proxy_of_the_cluster_knows_no_exceptions() {
        let proxy = chosen(
            Some("socks5://p"),
            (true, "api", 6443),
            &[("NO_PROXY", "*")],
        );
        assert_eq!(proxy.as_deref(), Some("p:1080"));
    }

    /// kube-client.md A.6 #8.
    #[test]
    fn divergence_8_each_scheme_has_its_own_variable() {
        let variables = [("HTTPS_PROXY", "https://s"), ("http_proxy", "h:3128")];
        assert_eq!(
            chosen(None, (true, "api", 6443), &variables).as_deref(),
            Some("s:443")
        );
        assert_eq!(
            chosen(None, (false, "api", 80), &variables).as_deref(),
            Some("h:3128")
        );
        assert_eq!(chosen(None, (false, "localhost", 80), &variables), None);
        assert_eq!(chosen(None, (true, "127.0.0.1", 6443), &variables), None);
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let proxy = Proxy::parse("http://u:p%40ss@[::1]:3128/", "x").unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic dTpwQHNz");
        assert_eq!(proxy.to_string(), "[::1]:3128");
        assert!(!format!("{proxy:?}").contains("p@ss"));
        let error = Proxy::parse("ftp://u:hunter2@h", "HTTPS_PROXY").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

//! Talking to a proxy until it is a tunnel: CONNECT of HTTP, and SOCKS5.
//!
//! Lives here: the two dialogues, by hand so that errors can name what the proxy said. Never here:
//! which proxy to use (proxy.rs).

use std::io;
use std::net::IpAddr;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::proxy::{Proxy, join};
use crate::error::{Error, ErrorKind, Result, plain};
use crate::protocol::text::excerpt;
use crate::session::transport::Io;

/// How long the head of a proxy's answer may be.
const HEAD_LIMIT: usize = 16 * 1024;

/// Asks an HTTP proxy for a tunnel.
///
/// # Errors
/// `Config` when the proxy wants other credentials, `NotStarted` otherwise.
pub(super) async fn connect(
    mut stream: Box<dyn Io>,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Box<dyn Io>> {
    let target = join(host, port);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = proxy.authorization() {
        request.push_str("Proxy-Authorization: ");
        request.push_str(&authorization);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| broken(proxy, &error))?;
    stream
        .flush()
        .await
        .map_err(|error| broken(proxy, &error))?;

    // Byte by byte, so that nothing behind the head is taken away from the server's own bytes.
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_LIMIT {
            return Err(failed(proxy, "its answer has no end".to_owned()));
        }
        head.push(
            stream
                .read_u8()
                .await
                .map_err(|error| broken(proxy, &error))?,
        );
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    let mut words = text.splitn(3, ' ');
    let version = words.next().unwrap_or_default();
    match words.next().and_then(|code| code.parse::<u16>().ok()) {
        _ if !version.starts_with("HTTP/1.") => Err(failed(
            proxy,
            format!("it is no HTTP proxy, it answered {}", excerpt(line, 80)),
        )),
        Some(200..=299) => Ok(stream),
        Some(407) => Err(unauthorized(proxy)),
        _ => Err(failed(
            proxy,
            format!("it answered {} to CONNECT {target}", excerpt(line, 80)),
        )),
    }
}

/// Asks a SOCKS5 proxy for a tunnel (RFC 1928, RFC 1929); names are resolved by the proxy.
///
/// # Errors
/// Those of [`connect`].
pub(super) async fn socks5(
    mut stream: Box<dyn Io>,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Box<dyn Io>> {
    match negotiate(&mut stream, proxy, host, port).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(broken(proxy, &error)),
    }
}

async fn negotiate(
    stream: &mut Box<dyn Io>,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> io::Result<Result<()>> {
    const VERSION: u8 = 0x05;
    const NO_AUTHENTICATION: u8 = 0x00;
    const PASSWORD: u8 = 0x02;
    let method = if proxy.user.is_some() {
        PASSWORD
    } else {
        NO_AUTHENTICATION
    };
    stream.write_all(&[VERSION, 1, method]).await?;
    stream.flush().await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    match answer {
        [VERSION, chosen] if chosen == method => {}
        [VERSION, _] => return Ok(Err(unauthorized(proxy))),
        _ => return Ok(Err(failed(proxy, "it is no SOCKS5 proxy".to_owned()))),
    }
    if let Some((user, password)) = &proxy.user {
        let (user, password) = (user.as_bytes(), password.expose_secret().as_bytes());
        let (Ok(user_length), Ok(length)) =
            (u8::try_from(user.len()), u8::try_from(password.len()))
        else {
            return Ok(Err(failed(
                proxy,
                "its user or password is longer than 255 bytes".to_owned(),
            )));
        };
        let message = [&[0x01, user_length], user, &[length], password].concat();
        stream.write_all(&message).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        if answer != [0x01, 0x00] {
            return Ok(Err(unauthorized(proxy)));
        }
    }
    let mut request = vec![VERSION, 0x01, 0x00];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(0x01);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(0x04);
            request.extend(address.octets());
        }
        Err(_) => match u8::try_from(host.len()) {
            Ok(length) => {
                request.extend([0x03, length]);
                request.extend(host.as_bytes());
            }
            Err(_) => {
                return Ok(Err(failed(
                    proxy,
                    "the server's name is too long".to_owned(),
                )));
            }
        },
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [_, reply, _, form] = head;
    if reply != 0 {
        let target = join(host, port);
        return Ok(Err(failed(
            proxy,
            format!("{} for {target}", reason(reply)),
        )));
    }
    // What the proxy is bound to is of no interest, but has to be read.
    let length = match form {
        0x01 => 4,
        0x04 => 16,
        _ => usize::from(stream.read_u8().await?),
    };
    let mut bound = vec![0; length + 2];
    stream.read_exact(&mut bound).await?;
    Ok(Ok(()))
}

/// RFC 1928, 6.
fn reason(reply: u8) -> &'static str {
    match reply {
        0x01 => "it reports a general failure",
        0x02 => "its rules forbid the connection",
        0x03 => "it finds the network unreachable",
        0x04 => "it finds the host unreachable",
        0x05 => "it found the connection refused",
        0x06 => "its connection timed out",
        _ => "it refused the request",
    }
}

fn failed(proxy: &Proxy, why: String) -> Error {
    Error::new(
        ErrorKind::NotStarted,
        format!("the proxy {proxy} gave no tunnel to the server"),
    )
    .because(why)
    .remedy("check proxy-url in the kubeconfig, HTTPS_PROXY and NO_PROXY")
}

fn unauthorized(proxy: &Proxy) -> Error {
    let why = match proxy.user {
        Some(_) => "it did not accept the user and password of its URL",
        None => "it wants a user and password, in its URL: http://USER:PASSWORD@HOST:PORT",
    };
    Error::new(
        ErrorKind::Config,
        format!("the proxy {proxy} wants other credentials"),
    )
    .because(why)
}

fn broken(proxy: &Proxy, error: &io::Error) -> Error {
    failed(
        proxy,
        format!("the connection to it ended: {}", plain(error)),
    )
}

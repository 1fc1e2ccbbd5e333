//! Local listeners: TCP ports or a Unix socket, all that are asked for or none.
//!
//! Lives here: binding by the rules of `localhost` and `on_conflict`, accepted connections. Never
//! here: what connections carry.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::event::ForwardedPort;
use super::holder;
#[cfg(unix)]
use super::socket_file::{self, SocketFile};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::portforward::{ForwardOptions, Listen, OnConflict, addresses};

/// A port to listen on.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it leads to, as it is told: `pod/web-0`.
    pub target: String,
    /// Its place in the list of ports that were asked for.
    pub remote: usize,
    /// The remote number that is told.
    pub number: u16,
    /// The local number; 0 for any.
    pub local: u16,
}

/// One address that is listened on. Dropping it ends that, and removes the file of a Unix socket
/// unless somebody else's has its name by now.
#[derive(Debug)]
pub struct Listener {
    /// What is told of it.
    pub port: ForwardedPort,
    /// Its place in the list of ports that were asked for.
    pub remote: usize,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "its drop removes it")] SocketFile,
    ),
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Local {
    /// Over TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Over a Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// How many connections may wait to be accepted.
pub(super) const BACKLOG: u32 = 1024;
/// How many numbers follow the one that is in use, with [`OnConflict::Next`].
const FURTHER: u16 = 100;
/// How often a number is drawn that has to be free on all addresses.
const DRAWS: usize = 16;

/// Binds all that is asked for, or nothing. The second list is what is only worth a line: an address
/// family that this machine has not, a number that was not the one asked for.
///
/// `localhost` is both of its addresses; one that does not exist is no error while the other one
/// does, one that is in use always is. All addresses of a port have the same number.
///
/// # Errors
/// `Invalid` for texts that are no address, and a Unix socket for several ports; `NotStarted` when
/// an address is in use (naming by whom, where that can be found out), does not exist here, or is
/// not allowed; `Unsupported` for a Unix socket where there are none.
pub fn bind(wanted: &[Wanted], options: &ForwardOptions) -> Result<(Vec<Listener>, Vec<String>)> {
    if options.unix.is_some() {
        return Ok((vec![bind_unix(wanted, options)?], Vec::new()));
    }
    if options.address.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let addresses = addresses(options.address.iter().map(String::as_str))
        .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
    let (mut listeners, mut notes) = (Vec::new(), BTreeSet::new());
    for wanted in wanted {
        let bound = bind_port(wanted.local, &addresses, options.on_conflict, &listeners)?;
        notes.extend(bound.notes);
        listeners.extend(bound.sockets.into_iter().map(|(address, socket)| Listener {
            port: ForwardedPort {
                target: wanted.target.clone(),
                remote: wanted.number,
                local: address.port(),
                address: address.ip().to_string(),
            },
            remote: wanted.remote,
            socket: Socket::Tcp(socket),
        }));
    }
    Ok((listeners, notes.into_iter().collect()))
}

#[cfg(unix)]
fn bind_unix(wanted: &[Wanted], options: &ForwardOptions) -> Result<Listener> {
    let ([wanted], Some(path)) = (wanted, &options.unix) else {
        let text = "a Unix socket leads to a single port, and not to several (--unix)";
        return Err(Error::new(ErrorKind::Invalid, text));
    };
    let (listener, file) = socket_file::listen(path)?;
    Ok(Listener {
        port: ForwardedPort {
            target: wanted.target.clone(),
            remote: wanted.number,
            local: 0,
            address: path.display().to_string(),
        },
        remote: wanted.remote,
        socket: Socket::Unix(listener, file),
    })
}

#[cfg(not(unix))]
fn bind_unix(_: &[Wanted], _: &ForwardOptions) -> Result<Listener> {
    let text = "there are no Unix sockets on this system (--unix)";
    Err(Error::new(ErrorKind::Unsupported, text))
}

/// The sockets of one port.
struct Bound {
    sockets: Vec<(SocketAddr, TcpListener)>,
    notes: Vec<String>,
}

/// An address that could not be had.
struct Refusal {
    address: SocketAddr,
    error: io::Error,
}

fn bind_port(
    local: u16,
    addresses: &[Listen],
    on_conflict: OnConflict,
    others: &[Listener],
) -> Result<Bound> {
    let draws = std::iter::repeat_n(0, DRAWS);
    let numbers: Vec<u16> = match on_conflict {
        _ if local == 0 => draws.collect(),
        OnConflict::Fail => vec![local],
        OnConflict::Next => (local..=local.saturating_add(FURTHER)).collect(),
        OnConflict::Random => std::iter::once(local).chain(draws).collect(),
    };
    let mut first = None;
    for number in numbers {
        match bind_number(number, addresses) {
            Ok(mut bound) => {
                let chosen = bound.sockets.first().map(|(address, _)| address.port());
                if let (Some(Refusal { address, .. }), Some(chosen)) = (&first, chosen)
                    && local != 0
                {
                    let why = why_in_use(*address, others);
                    let note = format!("port {local} is in use ({why}): using {chosen}");
                    bound.notes.push(note);
                }
                return Ok(bound);
            }
            Err(refusal) if refusal.error.kind() == io::ErrorKind::AddrInUse => {
                first.get_or_insert(refusal);
            }
            Err(refusal) => return Err(refused(&refusal, others)),
        }
    }
    Err(first.map_or_else(
        || Error::new(ErrorKind::Internal, "no port was tried"),
        |refusal| refused(&refusal, others),
    ))
}

/// Binds one number, 0 for any, on all addresses.
fn bind_number(number: u16, addresses: &[Listen]) -> Result<Bound, Refusal> {
    let mut number = number;
    let mut missing = Vec::new();
    let mut sockets = Vec::new();
    for listen in addresses {
        let address = SocketAddr::new(listen.address, number);
        let opened = open(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        match opened {
            Ok((address, socket)) => {
                number = address.port();
                sockets.push((address, socket));
            }
            Err(error) if !listen.required && is_missing(&error) => {
                missing.push(Refusal { address, error });
            }
            Err(error) => return Err(Refusal { address, error }),
        }
    }
    if sockets.is_empty()
        && let Some(refusal) = missing.pop()
    {
        return Err(refusal);
    }
    let note = |refusal: Refusal| {
        let family = if refusal.address.is_ipv6() { 6 } else { 4 };
        let ip = refusal.address.ip();
        format!("not listening on {ip}: this machine has no IPv{family} there")
    };
    Ok(Bound {
        sockets,
        notes: missing.into_iter().map(note).collect(),
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // `::` is not `0.0.0.0` as well: both may be asked for.
            SockRef::from(&socket).set_only_v6(true)?;
            socket
        }
    };
    // Elsewhere it would take the port away from who has it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether it is the address, or its whole family, that this machine has not.
fn is_missing(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT`, which the standard library has no name for: Linux, BSD and macOS, Windows.
    const NO_FAMILY: [i32; 3] = [97, 47, 10047];
    let family = error
        .raw_os_error()
        .is_some_and(|number| NO_FAMILY.contains(&number));
    error.kind() == io::ErrorKind::AddrNotAvailable || family
}

fn refused(refusal: &Refusal, others: &[Listener]) -> Error {
    let Refusal { address, error } = refusal;
    let said = |words: &str| {
        let text = format!("cannot listen on {address}: {words}");
        Error::new(ErrorKind::NotStarted, text)
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => said("the port is in use")
            .because(why_in_use(*address, others))
            .remedy("another local port, or :REMOTE for any that is free")
            .remedy("--on-conflict=next, or random"),
        io::ErrorKind::PermissionDenied if address.port() < PRIVILEGED => said("not allowed")
            .because(format!("ports below {PRIVILEGED} are for root"))
            .remedy("a local port from 1024 on, as 8080:80"),
        _ if is_missing(error) => said("this machine has no such address")
            .remedy("--address localhost, or an address of this machine"),
        _ => said(&plain(error)),
    }
}

/// The first port that everybody may have.
const PRIVILEGED: u16 = 1024;

fn why_in_use(address: SocketAddr, others: &[Listener]) -> String {
    let twice = |other: &Listener| {
        other.port.local == address.port() && other.port.address == address.ip().to_string()
    };
    if others.iter().any(twice) {
        return "it is asked for twice".to_owned();
    }
    holder::of_port(address).map_or_else(
        || "who has it cannot be found out".to_owned(),
        |holder| holder.to_string(),
    )
}

/// Returns what the system says, without the number.
pub(super) fn plain(error: &io::Error) -> String {
    crate::error::words(error)
}

impl Listener {
    /// Takes the next connection. What ended before it was taken is passed over.
    ///
    /// # Errors
    /// What the system says: that there are no descriptors, for one. The connection waits on.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Local>> {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(listener) => ready!(listener.poll_accept(cx)).map(|(stream, _)| {
                    // A connection that is gone by now has no options; its reader will see that.
                    let _ = stream.set_nodelay(true);
                    Local::Tcp(stream)
                }),
                #[cfg(unix)]
                Socket::Unix(listener, _) => {
                    ready!(listener.poll_accept(cx)).map(|(stream, _)| Local::Unix(stream))
                }
            };
            match accepted {
                Err(error) if is_of_the_connection(&error) => {}
                accepted => return Poll::Ready(accepted),
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Calls a method that both kinds of streams have.
macro_rules! either {
    ($local:expr, $stream:ident => $call:expr) => {
        match $local {
            Local::Tcp($stream) => $call,
            #[cfg(unix)]
            Local::Unix($stream) => $call,
        }
    };
}

impl Local {
    /// Waits until something may be read.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read_ready(cx))
    }

    /// Waits until something may be written.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_write_ready(cx))
    }

    /// Reads what is there; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else how the connection broke.
    pub(super) fn try_read_buf(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        either!(self, stream => stream.try_read_buf(buffer))
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; else how the connection broke.
    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, stream => stream.try_write_vectored(slices))
    }

    /// Ends the connection so that the other side takes nothing for complete: RST over TCP.
    ///
    /// A Unix socket knows no RST. There the other side sees `ECONNRESET` where it has sent what was
    /// not read, and else no more than an end.
    pub(super) fn reset(self) {
        if let Self::Tcp(stream) = &self {
            // Refused only where the connection is gone already.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Local {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Local {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, data))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;

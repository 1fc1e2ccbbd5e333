//! Who has a local port.
//!
//! Lives here: what Linux tells below `/proc`; other systems tell nothing. Never here: binding.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Who has a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Holder {
    /// A process that may be looked into, with its name.
    Process { pid: u32, name: String },
    /// This very process.
    Ourselves,
    /// A process that may not be looked into, of the user with this number.
    User(u32),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "{name} (pid {pid}) has it"),
            Self::Ourselves => write!(f, "this process has it already"),
            Self::User(user) => write!(f, "a process of the user with number {user} has it"),
        }
    }
}

/// Returns who keeps others from listening on an address, where that can be found out.
pub(super) fn of_port(address: SocketAddr) -> Option<Holder> {
    let mut found: Option<Row> = None;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else {
            continue;
        };
        for row in text.lines().skip(1).filter_map(Row::parse) {
            // A listener is the likelier one: a connection is in the way only if it is from that port.
            if row.is_in_the_way(address) && found.as_ref().is_none_or(|found| !found.listens) {
                found = Some(row);
            }
        }
    }
    let row = found?;
    Some(process(row.inode).unwrap_or(Holder::User(row.user)))
}

/// Returns who listens on a Unix socket, where that can be found out.
pub(super) fn of_path(path: &Path) -> Option<Holder> {
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    let rows = table.lines().skip(1).map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (inode, path) = (words.nth(6), words.next());
        (inode, path)
    });
    let mut inodes = rows.filter(|(_, at)| at.is_some_and(|at| Path::new(at) == path));
    inodes.find_map(|(inode, _)| process(inode?.parse().ok()?))
}

/// A line of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, Eq, PartialEq)]
struct Row {
    local: SocketAddr,
    listens: bool,
    user: u32,
    inode: u64,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        const LISTEN: &str = "0A";
        let mut words = line.split_ascii_whitespace();
        let (address, port) = words.nth(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let listens = words.nth(1)? == LISTEN;
        let user = words.nth(3)?.parse().ok()?;
        let inode = words.nth(1)?.parse().ok()?;
        Some(Self {
            local: SocketAddr::new(ip(address)?, port),
            listens,
            user,
            inode,
        })
    }

    fn is_in_the_way(&self, wanted: SocketAddr) -> bool {
        let (ours, theirs) = (wanted.ip(), self.local.ip().to_canonical());
        self.inode != 0
            && self.local.port() == wanted.port()
            && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
    }
}

/// Reads an address as the kernel prints it: words of 32 bits, each in the order of this machine.
fn ip(hexadecimal: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    let mut rest = hexadecimal;
    while let Some((word, after)) = rest.split_at_checked(8) {
        bytes.extend(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
        rest = after;
    }
    match <[u8; 4]>::try_from(&*bytes) {
        Ok(bytes) => Some(Ipv4Addr::from(bytes).into()),
        Err(_) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
    }
}

/// Returns the process that has the socket open, among those that may be looked into.
fn process(inode: u64) -> Option<Holder> {
    let socket = format!("socket:[{inode}]");
    let pid_of = |name: &OsStr| name.to_str()?.parse::<u32>().ok();
    let mut processes = fs::read_dir("/proc").ok()?.flatten();
    processes.find_map(|entry| {
        let pid = pid_of(&entry.file_name())?;
        let mut open = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let is_it = |path: &Path| fs::read_link(path).is_ok_and(|link| link == Path::new(&socket));
        open.find(|descriptor| is_it(&descriptor.path()))?;
        if pid == std::process::id() {
            return Some(Holder::Ourselves);
        }
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let name = name.trim_end().to_owned();
        Some(Holder::Process { pid, name })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0";
        let row = Row {
            local: "127.0.0.1:8080".parse().unwrap(),
            listens: true,
            user: 1000,
            inode: 4711,
        };
        assert_eq!(Row::parse(line), Some(row));
        let line = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 01 \
                    00000000:00000000 00:00000000 00000000     0        0 12 1 0";
        let row = Row::parse(line).unwrap();
        assert_eq!(row.local, "[::1]:80".parse().unwrap());
        assert!(!row.listens);
        assert_eq!(Row::parse("  sl  local_address"), None);
        assert_eq!(Row::parse("0: 0100:1F90 x 0A"), None);
    }

    #[test]
    fn wildcards_and_mapped_addresses_are_in_the_way() {
        let row = |local: &str| Row {
            local: local.parse().unwrap(),
            listens: true,
            user: 0,
            inode: 1,
        };
        for (held, wanted, is_in_the_way) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
        ] {
            let found = row(held).is_in_the_way(wanted.parse().unwrap());
            assert_eq!(found, is_in_the_way, "{held} {wanted}");
        }
    }
}

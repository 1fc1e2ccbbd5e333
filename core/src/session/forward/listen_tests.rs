//! Tests of binding: ports, addresses, conflicts, Unix sockets.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener as StdUnixListener;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::*;

fn wanted(local: u16) -> Wanted {
    Wanted {
        target: "pod/web-0".to_owned(),
        remote: 0,
        number: 80,
        local,
    }
}

fn at(addresses: &[&str]) -> ForwardOptions {
    let addresses: Vec<_> = addresses
        .iter()
        .map(|address| (*address).to_owned())
        .collect();
    ForwardOptions::default().address(addresses)
}

/// Somebody else's listener, on a port that was free.
fn taken() -> (StdListener, u16) {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn locals(listeners: &[Listener]) -> Vec<(String, u16)> {
    let local = |listener: &Listener| (listener.port.address.clone(), listener.port.local);
    listeners.iter().map(local).collect()
}

async fn accept(listener: &Listener) -> Local {
    poll_fn(|cx| listener.poll_accept(cx)).await.unwrap()
}

#[tokio::test]
async fn localhost_is_both_families_with_one_number() {
    let (listeners, notes) = bind(&[wanted(0)], &at(&["localhost"])).unwrap();
    let number = listeners[0].port.local;
    assert_ne!(number, 0);
    let mut expected = vec![("127.0.0.1".to_owned(), number)];
    if notes.is_empty() {
        expected.push(("::1".to_owned(), number));
    } else {
        assert_eq!(
            notes,
            ["not listening on ::1: this machine has no IPv6 there"]
        );
    }
    assert_eq!(locals(&listeners), expected);
    for listener in listeners {
        let ip: IpAddr = listener.port.address.parse().unwrap();
        let address = SocketAddr::new(ip, number);
        let (connected, _) = tokio::join!(TcpStream::connect(address), accept(&listener));
        connected.unwrap();
    }
}

#[tokio::test]
async fn what_is_told_is_what_was_asked_for() {
    let (_held, port) = taken();
    drop(_held);
    let mut second = wanted(0);
    second.remote = 1;
    second.number = 81;
    let (listeners, _) = bind(&[wanted(port), second], &at(&["127.0.0.1"])).unwrap();
    let expected = ForwardedPort {
        target: "pod/web-0".to_owned(),
        remote: 80,
        local: port,
        address: "127.0.0.1".to_owned(),
    };
    assert_eq!((&listeners[0].port, listeners[0].remote), (&expected, 0));
    assert_eq!((listeners[1].port.remote, listeners[1].remote), (81, 1));
}

#[tokio::test]
async fn all_of_ipv4_and_all_of_ipv6_are_two_addresses() {
    let (listeners, _) = bind(&[wanted(0)], &at(&["0.0.0.0", "::"])).unwrap();
    let addresses: Vec<_> = locals(&listeners).into_iter().map(|(at, _)| at).collect();
    assert_eq!(addresses, ["0.0.0.0", "::"]);
}

#[tokio::test]
async fn an_address_of_nobody_here_is_refused() {
    // TEST-NET-1 is nobody's.
    let error = bind(&[wanted(0)], &at(&["192.0.2.1"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    let said = "cannot listen on 192.0.2.1:0: this machine has no such address";
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn no_address_at_all_listens_nowhere() {
    let (listeners, notes) = bind(&[wanted(0)], &at(&[])).unwrap();
    assert!(listeners.is_empty() && notes.is_empty());
}

#[tokio::test]
async fn text_that_is_no_address_is_invalid() {
    for text in ["127.0.0.257", "::g", "domain.invalid"] {
        let error = bind(&[wanted(0)], &at(&[text])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
    }
}

#[tokio::test]
async fn a_port_in_use_fails_and_names_who_has_it() {
    let (_held, port) = taken();
    let error = bind(&[wanted(port)], &at(&["localhost"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    let said = format!("cannot listen on 127.0.0.1:{port}: the port is in use");
    assert_eq!(error.to_string(), said);
    assert_eq!(error.why(), Some("this process has it already"));
    assert_eq!(error.remedies().len(), 2);
}

#[tokio::test]
async fn one_port_in_use_leaves_the_others_unbound() {
    let (_held, port) = taken();
    let (free, other) = taken();
    drop(free);
    bind(&[wanted(other), wanted(port)], &at(&["127.0.0.1"])).unwrap_err();
    StdListener::bind((Ipv4Addr::LOCALHOST, other)).unwrap();
}

#[tokio::test]
async fn one_family_in_use_fails_for_localhost() {
    // Silently listening on ::1 alone is what kubectl does.
    let (_held, port) = taken();
    bind(&[wanted(port)], &at(&["localhost"])).unwrap_err();
    if let Ok(listener) = StdListener::bind("[::1]:0") {
        let port = listener.local_addr().unwrap().port();
        let error = bind(&[wanted(port)], &at(&["localhost"])).unwrap_err();
        assert_eq!(error.why(), Some("this process has it already"));
    }
}

#[tokio::test]
async fn a_port_that_is_asked_for_twice_is_told_so() {
    let (held, port) = taken();
    drop(held);
    let error = bind(&[wanted(port), wanted(port)], &at(&["127.0.0.1"])).unwrap_err();
    assert_eq!(error.why(), Some("it is asked for twice"));
}

#[tokio::test]
async fn next_takes_the_next_one_that_is_free_and_says_so() {
    let (_held, port) = taken();
    let options = at(&["127.0.0.1"]).on_conflict(OnConflict::Next);
    let (listeners, notes) = bind(&[wanted(port)], &options).unwrap();
    let chosen = listeners[0].port.local;
    assert!(
        (port + 1..=port + FURTHER).contains(&chosen),
        "{port} {chosen}"
    );
    let said = format!("port {port} is in use (this process has it already): using {chosen}");
    assert_eq!(notes, [said]);
}

#[tokio::test]
async fn next_keeps_one_number_for_all_addresses() {
    let (_held, port) = taken();
    let options = at(&["localhost", "127.0.0.2"]).on_conflict(OnConflict::Next);
    let (listeners, _) = bind(&[wanted(port)], &options).unwrap();
    let numbers: BTreeSet<_> = locals(&listeners)
        .into_iter()
        .map(|(_, number)| number)
        .collect();
    assert_eq!(numbers.len(), 1);
    assert!(listeners.len() >= 2);
}

#[tokio::test]
async fn random_takes_the_port_itself_where_it_is_free() {
    let (held, port) = taken();
    let options = at(&["127.0.0.1"]).on_conflict(OnConflict::Random);
    let (listeners, notes) = bind(&[wanted(port)], &options).unwrap();
    assert_ne!(listeners[0].port.local, port);
    assert_eq!(notes.len(), 1);
    drop((listeners, held));
    let (listeners, notes) = bind(&[wanted(port)], &options).unwrap();
    assert_eq!((listeners[0].port.local, notes.len()), (port, 0));
}

#[tokio::test]
async fn a_reset_is_no_end() {
    let (mut listeners, _) = bind(&[wanted(0)], &at(&["127.0.0.1"])).unwrap();
    let listener = &mut listeners[0];
    let address = (Ipv4Addr::LOCALHOST, listener.port.local);
    let (client, local) = tokio::join!(TcpStream::connect(address), accept(listener));
    let Local::Tcp(stream) = &local else {
        panic!("{local:?}");
    };
    assert!(stream.nodelay().unwrap());
    local.reset();
    let error = client.unwrap().read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn bytes_go_both_ways_by_all_means() {
    let (mut listeners, _) = bind(&[wanted(0)], &at(&["127.0.0.1"])).unwrap();
    let listener = &mut listeners[0];
    let address = (Ipv4Addr::LOCALHOST, listener.port.local);
    let (client, local) = tokio::join!(TcpStream::connect(address), accept(listener));
    let (mut client, mut local) = (client.unwrap(), local);
    client.write_all(b"one").await.unwrap();
    poll_fn(|cx| local.poll_read_ready(cx)).await.unwrap();
    let mut buffer = Vec::new();
    assert_eq!(local.try_read_buf(&mut buffer).unwrap(), 3);
    poll_fn(|cx| local.poll_write_ready(cx)).await.unwrap();
    let slices = [IoSlice::new(b"t"), IoSlice::new(b"wo")];
    assert_eq!(local.try_write_vectored(&slices).unwrap(), 3);
    local.write_all(b" three").await.unwrap();
    local.shutdown().await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!((buffer.as_slice(), &*text), (&b"one"[..], "two three"));
}

#[tokio::test]
async fn a_unix_socket_is_for_its_owner_and_goes_with_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let options = at(&["localhost"]).unix(path.clone());
    let (listeners, notes) = bind(&[wanted(80)], &options).unwrap();
    assert!(notes.is_empty());
    let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown = (path.display().to_string(), 0);
    assert_eq!(locals(&listeners), [shown]);
    let (client, mut local) = tokio::join!(UnixStream::connect(&path), accept(&listeners[0]));
    client.unwrap().write_all(b"x").await.unwrap();
    assert_eq!(local.read_u8().await.unwrap(), b'x');
    drop(listeners);
    assert!(fs::symlink_metadata(&path).is_err());
}

#[tokio::test]
async fn the_reset_of_a_unix_socket_shows_where_something_was_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let (listeners, _) = bind(&[wanted(80)], &at(&[]).unix(path.clone())).unwrap();
    let (client, local) = tokio::join!(UnixStream::connect(&path), accept(&listeners[0]));
    let mut client = client.unwrap();
    client.write_all(b"unread").await.unwrap();
    local.reset();
    let error = client.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(StdUnixListener::bind(&path).unwrap());
    assert!(fs::symlink_metadata(&path).is_ok());
    let (_listeners, _) = bind(&[wanted(80)], &at(&[]).unix(path.clone())).unwrap();
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn names_that_are_taken_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link, live) = ["file", "link", "live"]
        .map(|name| folder.path().join(name))
        .into();
    fs::write(&file, "kept").unwrap();
    symlink(folder.path().join("elsewhere"), &link).unwrap();
    let _listener = StdUnixListener::bind(&live).unwrap();
    for (path, why) in [
        (&file, "there is a file, and it is no socket"),
        (&link, "it is a symbolic link, which is not followed"),
        (&live, "this process has it already"),
    ] {
        let error = bind(&[wanted(80)], &at(&[]).unix(path.clone())).unwrap_err();
        assert_eq!(
            (error.kind(), error.why()),
            (ErrorKind::NotStarted, Some(why))
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    assert!(fs::symlink_metadata(folder.path().join("elsewhere")).is_err());
    UnixStream::connect(&live).await.unwrap();
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a skipped test is announced")]
async fn a_socket_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    drop(StdUnixListener::bind(&path).unwrap());
    if chown(&path, Some(1), None).is_err() {
        println!("SKIPPED: only root can give a file away");
        return;
    }
    let error = bind(&[wanted(80)], &at(&[]).unix(path.clone())).unwrap_err();
    assert_eq!(error.why(), Some("there is a socket of somebody else"));
    fs::symlink_metadata(&path).unwrap();
}

#[tokio::test]
async fn a_name_that_somebody_else_took_over_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let (listeners, _) = bind(&[wanted(80)], &at(&[]).unix(path.clone())).unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    fs::write(&path, "theirs").unwrap();
    drop(listeners);
    assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
}

#[tokio::test]
async fn a_unix_socket_leads_to_one_port() {
    let folder = tempfile::tempdir().unwrap();
    let options = at(&[]).unix(folder.path().join("socket"));
    let error = bind(&[wanted(80), wanted(81)], &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

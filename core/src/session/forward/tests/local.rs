//! Local connections, over real sockets.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::*;

/// Listens on a free port of loopback.
fn listening(options: ForwardOptions) -> (Set, SocketAddr) {
    let options = options.address(vec!["127.0.0.1".to_owned()]);
    let wanted = Wanted {
        target: "pod/web-0".to_owned(),
        remote: 0,
        number: 80,
        local: 0,
    };
    let (listeners, notes) = bind(&[wanted], &options).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let set = start_with(options, ForwardSubprotocol::Tunnel, listeners, || {
        Plan::Open
    });
    let port = &set.forward.local_ports()[0];
    let address = format!("{}:{}", port.address, port.local).parse().unwrap();
    (set, address)
}

#[tokio::test]
async fn a_local_connection_gets_every_byte_and_then_the_end() {
    let (mut set, address) = listening(ForwardOptions::default());
    set.first.echo();
    let data: Vec<u8> = (0..3_000_000u32).map(|index| index as u8).collect();
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let mut back = Vec::new();
    let write = async {
        writer.write_all(&data).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let (read, ()) = tokio::join!(reader.read_to_end(&mut back), write);
    read.unwrap();
    assert!(back == data);
    let told = words(&mut set.forward, 3).await;
    assert_eq!(told[1..], ["opened 80", "closed 3000000 3000000"]);
}

#[tokio::test]
async fn cut_data_ends_with_a_reset() {
    let (mut set, address) = listening(ForwardOptions::default());
    let mut server = set.first;
    let (stream, local) = tokio::join!(server.accept(), TcpStream::connect(address));
    let mut local = local.unwrap();
    server.send(&judge::data(stream, b"half", false)).await;
    let mut half = [0; 4];
    local.read_exact(&mut half).await.unwrap();
    assert_eq!(&half, b"half");
    drop(server);
    let error = local.read(&mut half).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let told = words(&mut set.forward, 5).await;
    assert!(told.contains(&"closed 0 4 lost".to_owned()), "{told:?}");
}

#[tokio::test]
async fn a_local_reset_reaches_the_pod_and_ends_nobody_else() {
    let (mut set, address) = listening(ForwardOptions::default());
    let mut server = set.first;
    let (_, other) = tokio::join!(server.accept(), TcpStream::connect(address));
    let (stream, local) = tokio::join!(server.accept(), TcpStream::connect(address));
    let local = local.unwrap();
    local.set_zero_linger().unwrap();
    drop(local);
    let reset = loop {
        let said = server.said().await.unwrap();
        if let Some(said) = said
            .into_iter()
            .find(|said| matches!(said, Said::Reset(..)))
        {
            break said;
        }
    };
    assert_eq!(reset, Said::Reset(stream, 5));
    server.echo();
    let mut other = other.unwrap();
    other.write_all(b"on").await.unwrap();
    let mut back = [0; 2];
    other.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"on");
    let told = words(&mut set.forward, 4).await;
    assert_eq!(told[3], "closed 0 0 closed");
}

#[tokio::test]
async fn a_pod_that_answers_and_closes_early_is_read_to_its_end() {
    // The local side still sends: a close with its bytes unread would destroy the answer.
    let (set, address) = listening(ForwardOptions::default());
    let mut server = set.first;
    let (stream, local) = tokio::join!(server.accept(), TcpStream::connect(address));
    let mut local = local.unwrap();
    local.write_all(&[1; 100_000]).await.unwrap();
    let answer = [
        judge::data(stream, &[2; 50_000], true),
        judge::data(stream - 2, &[], true),
    ];
    server.send(&answer.concat()).await;
    let mut all = Vec::new();
    let _ = local.write_all(&[1; 100_000]).await;
    local.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, [2; 50_000]);
}

#[tokio::test]
async fn closing_resets_connections_and_closes_the_port() {
    let (set, address) = listening(ForwardOptions::default());
    set.first.echo();
    let mut local = TcpStream::connect(address).await.unwrap();
    local.write_all(b"x").await.unwrap();
    let mut back = [0];
    local.read_exact(&mut back).await.unwrap();
    set.forward.close();
    set.forward.wait().await.unwrap();
    let error = local.read(&mut back).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_was_read_before_the_server_answered_moves_to_the_next_session() {
    let (mut set, address) = listening(ForwardOptions::default());
    let mut server = set.first;
    let mut local = TcpStream::connect(address).await.unwrap();
    local.write_all(b"early").await.unwrap();
    local.shutdown().await.unwrap();
    // It asks, and is not answered.
    while !matches!(server.said().await.unwrap()[..], [Said::Open(..), ..]) {}
    drop(server);
    set.servers.recv().await.unwrap().echo();
    let mut back = Vec::new();
    local.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"early");
    let told = words(&mut set.forward, 5).await;
    assert!(told.contains(&"closed 5 5".to_owned()), "{told:?}");
}

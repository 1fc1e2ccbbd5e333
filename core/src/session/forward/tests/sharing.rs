//! How connections share sessions.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_seventeenth_gets_a_session_of_its_own_which_goes_when_idle() {
    let mut set = start(ForwardOptions::default());
    set.first.echo();
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(set.forward.open("80").await.unwrap());
    }
    let (seventeenth, second) = tokio::join!(set.forward.open("80"), async {
        [set.servers.recv().await.unwrap().echo()]
    });
    let [second] = second;
    let mut seventeenth = seventeenth.unwrap();
    try_out(&mut seventeenth).await;
    drop(seventeenth);
    let begin = Instant::now();
    assert_eq!(second.await.unwrap().last(), Some(&Said::GoAway(0)));
    let stayed = begin.elapsed().as_secs();
    assert!((10..12).contains(&stayed), "{stayed} s");
    for stream in &mut streams {
        try_out(stream).await;
    }
    assert_eq!(set.forward.report().reconnects, 0);
}

#[tokio::test(start_paused = true)]
async fn connections_are_spread_over_as_many_sessions_as_are_wanted() {
    let mut set = start(ForwardOptions::default().sessions(3usize));
    let mut servers = vec![set.first.echo()];
    for _ in 0..2 {
        servers.push(set.servers.recv().await.unwrap().echo());
    }
    let mut streams = Vec::new();
    for _ in 0..9 {
        let mut stream = set.forward.open("80").await.unwrap();
        try_out(&mut stream).await;
        streams.push(stream);
    }
    drop(set.forward);
    for server in servers {
        let said = server.await.unwrap();
        let opened = said.iter().filter(|said| matches!(said, Said::Open(..)));
        assert_eq!(opened.count(), 2 * 3);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_are_spread_over_pods() {
    for balance in [Balance::RoundRobin, Balance::Least] {
        let mut set = start(ForwardOptions::default().balance(balance));
        set.first.echo();
        let mut streams = Vec::new();
        let (mut serving, mut pods) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let stream = tokio::select! {
                stream = set.forward.open("80") => stream.unwrap(),
                server = set.servers.recv() => {
                    let server = server.unwrap();
                    pods.push(server.pod.clone());
                    serving.push(server.echo());
                    set.forward.open("80").await.unwrap()
                }
            };
            streams.push(stream);
        }
        assert_eq!(pods, ["web-1"], "{balance:?}");
        drop((streams, set.forward));
        let said = serving.remove(0).await.unwrap();
        let opened = said.iter().filter(|said| matches!(said, Said::Open(..)));
        assert!((6..=8).contains(&opened.count()), "{balance:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_nothing_holds_back_its_pod_and_newcomers_go_elsewhere() {
    let mut set = start(ForwardOptions::default());
    let mut server = set.first;
    let (stream, slow) = tokio::join!(server.accept(), set.forward.open("80"));
    let (mut slow, _writer) = slow.unwrap().split();
    // More than may lie anywhere: the server has to wait. The newcomer may come before that shows.
    let block = judge::data(stream, &[7; 32 * 1024], false);
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's tasks end with its runtime"
    )]
    let flood = tokio::spawn(async move {
        for _ in 0..512 {
            server.send(&block).await;
        }
        server
            .send(
                &[
                    judge::data(stream - 2, &[], true),
                    judge::data(stream, &[], true),
                ]
                .concat(),
            )
            .await;
        server
    });
    let (newcomer, second) = tokio::join!(set.forward.open("80"), async {
        [set.servers.recv().await.unwrap().echo()]
    });
    drop(second);
    try_out(&mut newcomer.unwrap()).await;
    // An hour later nothing is lost, and nobody was cut for being slow.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!flood.is_finished());
    let all = read_all(&mut slow).await.unwrap();
    assert_eq!(all.len(), 512 * 32 * 1024);
    assert_eq!(set.forward.report().reconnects, 0);
}

#[tokio::test(start_paused = true)]
async fn with_v4_each_connection_has_its_session_and_the_first_is_used() {
    let mut set = start_with(
        ForwardOptions::default(),
        ForwardSubprotocol::V4,
        vec![],
        || Plan::Open,
    );
    let mut one = set.first;
    one.send(&[0, 80, 0]).await;
    one.send(&[1, 80, 0]).await;
    let first = set.forward.open("80").await.unwrap();
    let (second, mut two) = tokio::join!(set.forward.open("https"), async {
        let mut server = set.servers.recv().await.unwrap();
        server.send(&[0, 0xbb, 1]).await;
        server.send(&[1, 0xbb, 1]).await;
        server
    });
    assert_eq!(*set.route.asked.lock().unwrap(), [(1, None)]);
    for (stream, server) in [(first, &mut one), (second.unwrap(), &mut two)] {
        let (mut reader, mut writer) = stream.split();
        writer.write(Bytes::from_static(b"hello")).await.unwrap();
        let said = loop {
            match server.message().await.unwrap() {
                (9, _) => {}
                (_, payload) => break payload,
            }
        };
        assert_eq!(said, b"\0hello");
        server.send(b"\0back").await;
        assert_eq!(reader.next().await.unwrap().unwrap(), "back");
        server.io.write_all(&[0x88, 2, 0x03, 0xe8]).await.unwrap();
        assert!(reader.next().await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn with_v4_a_connection_that_is_dropped_in_full_flow_ends() {
    let set = start_with(
        ForwardOptions::default(),
        ForwardSubprotocol::V4,
        vec![],
        || Plan::Open,
    );
    let mut server = set.first;
    server.send(&[0, 80, 0]).await;
    server.send(&[1, 80, 0]).await;
    let mut stream = set.forward.open("80").await.unwrap();
    let flood = async {
        let block = [0; 32 * 1024];
        // As much as is read of it: then it has gone.
        while server.io.write_all(&[0x82, 126, 0x7f, 0xff]).await.is_ok()
            && server.io.write_all(&block[..0x7fff]).await.is_ok()
        {}
    };
    let reading = async {
        let mut some = vec![0; 1_000_000];
        stream.read_exact(&mut some).await.unwrap();
        // It is held back by now.
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    };
    tokio::join!(flood, reading);
}

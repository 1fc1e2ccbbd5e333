//! Sessions that are lost, refused, or whose pod goes.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_session_that_is_lost_is_replaced_and_its_connections_say_so() {
    let mut set = start(ForwardOptions::default());
    let mut server = set.first;
    let (_, stream) = tokio::join!(server.accept(), set.forward.open("80"));
    let mut stream = stream.unwrap();
    stream.write_all(b"x").await.unwrap();
    while !matches!(server.said().await.unwrap()[..], [Said::Data(3, ..)]) {}
    drop(server);
    let mut one = [0];
    let error = stream.read_exact(&mut one).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    drop(stream);
    set.servers.recv().await.unwrap().echo();
    try_out(&mut set.forward.open("80").await.unwrap()).await;
    let told = words(&mut set.forward, 5).await;
    assert_eq!(told[..2], ["ready web-0", "opened 80"]);
    assert!(
        told[2..].contains(&"closed 1 0 lost".to_owned()),
        "{told:?}"
    );
    assert!(
        told[2..].contains(&"ready web-1 again".to_owned()),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|told| told.starts_with("reconnecting web-0: "))
    );
    assert_eq!(set.forward.report().reconnects, 1);
}

#[tokio::test(start_paused = true)]
async fn what_carried_nothing_is_opened_anew() {
    let mut set = start(ForwardOptions::default());
    let mut server = set.first;
    let (stream, ()) = tokio::join!(set.forward.open("80"), async {
        // It asks, and is not answered.
        while !matches!(server.said().await.unwrap()[..], [Said::Open(..), ..]) {}
        drop(server);
        set.servers.recv().await.unwrap().echo();
    });
    try_out(&mut stream.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn connections_are_held_while_there_is_no_session_and_then_refused() {
    for (outage, served) in [(3, true), (30, false)] {
        let begin = Instant::now();
        let back = begin + Duration::from_secs(outage);
        let mut set = start_with(
            ForwardOptions::default(),
            ForwardSubprotocol::Tunnel,
            vec![],
            move || match Instant::now() < back {
                true => Plan::Fail(ErrorKind::NotStarted, false),
                false => Plan::Open,
            },
        );
        drop(set.first);
        let opened = tokio::select! {
            opened = set.forward.open("80") => opened,
            server = set.servers.recv() => {
                server.unwrap().echo();
                set.forward.open("80").await
            }
        };
        let waited = begin.elapsed();
        match opened {
            Ok(mut stream) => {
                try_out(&mut stream).await;
                assert!(
                    served && waited < Duration::from_secs(outage + 1),
                    "{waited:?}"
                );
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotStarted);
                assert!(error.to_string().contains("within 5 s (--hold)"), "{error}");
                assert_eq!(error.why(), Some("no way"));
                assert!(!served && waited == Duration::from_secs(5), "{waited:?}");
            }
        }
        // One try at a time, with more and more time between: no storm.
        let tries = set.route.asked.lock().unwrap().len() as u64;
        assert!(tries < 10 + outage, "{tries} tries");
    }
}

#[tokio::test(start_paused = true)]
async fn without_reconnecting_a_loss_is_the_end() {
    let set = start(ForwardOptions::default().reconnect(Reconnect::Never));
    drop(set.first);
    let error = set.forward.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(error.to_string(), "lost connection to pod");
    let closed = set.forward.open("80").await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_in_a_row_are_the_end() {
    let set = start_with(
        ForwardOptions::default().reconnect(Reconnect::Times(3)),
        ForwardSubprotocol::Tunnel,
        vec![],
        || Plan::Fail(ErrorKind::Lost, false),
    );
    drop(set.first);
    assert_eq!(
        set.forward.wait().await.unwrap_err().kind(),
        ErrorKind::Lost
    );
    assert_eq!(set.route.asked.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_would_be_the_same_another_time_is_the_end() {
    let set = start_with(
        ForwardOptions::default(),
        ForwardSubprotocol::Tunnel,
        vec![],
        || Plan::Fail(ErrorKind::NotFound, true),
    );
    drop(set.first);
    assert_eq!(
        set.forward.wait().await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(set.route.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_is_replaced_by_its_limit() {
    let mut set = start(ForwardOptions::default());
    let begin = Instant::now();
    let told = words(&mut set.forward, 3).await;
    assert_eq!(
        told[1],
        "reconnecting web-0: the server accepted it, but not a byte came within 10 s (--connect-timeout)"
    );
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
    let mut server = set.servers.recv().await.unwrap();
    let ping = server.said().await.unwrap().remove(0);
    server.answer(&ping).await;
    let told = words(&mut set.forward, 1).await;
    assert_eq!(
        told[0],
        "reconnecting web-1: not a byte came for 15 s (--keepalive-timeout)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_of_the_server_is_a_loss_and_is_named() {
    let mut set = start(ForwardOptions::default());
    set.first.send(&judge::go_away(0, 0)).await;
    let told = words(&mut set.forward, 3).await;
    assert_eq!(told[1], "reconnecting web-0: the server said goodbye");
    assert_eq!(told[2], "ready web-1 again");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_keeps_what_is_open_and_gets_nothing_new() {
    let mut set = start(ForwardOptions::default());
    let gone = set.first.gone.take().unwrap();
    let old = set.first.echo();
    let mut before = set.forward.open("80").await.unwrap();
    try_out(&mut before).await;
    gone.send("pod web-0 is terminating".to_owned()).unwrap();
    let told = words(&mut set.forward, 4).await;
    assert_eq!(told[2], "reconnecting web-0: pod web-0 is terminating");
    assert_eq!(told[3], "ready web-1 again");
    let new = set.servers.recv().await.unwrap().echo();
    let mut after = set.forward.open("80").await.unwrap();
    try_out(&mut after).await;
    try_out(&mut before).await;
    drop(before);
    // Nobody uses it any more.
    assert_eq!(old.await.unwrap().last(), Some(&Said::GoAway(0)));
    try_out(&mut after).await;
    drop((after, set.forward));
    new.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_port_and_a_reset_end_one_connection_and_no_other() {
    let mut set = start(ForwardOptions::default());
    let mut server = set.first;
    let (_, one) = tokio::join!(server.accept(), set.forward.open("80"));
    let (_, two) = tokio::join!(server.accept(), set.forward.open("80"));
    let (_, three) = tokio::join!(server.accept(), set.forward.open("80"));
    let text = b"error forwarding port 80 to pod x, uid : connection refused\x1b[2J";
    let refusal = [
        judge::data(1, text, false),
        judge::reset(3, 5),
        judge::reset(1, 5),
    ];
    server.send(&refusal.concat()).await;
    server
        .send(
            &[
                judge::data(7, b"half", false),
                judge::reset(7, 5),
                judge::reset(5, 5),
            ]
            .concat(),
        )
        .await;
    let (mut one, _) = one.unwrap().split();
    let error = one.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    assert_eq!(error.to_string(), "port 80 of the pod cannot be reached");
    let why = error.why().unwrap();
    assert!(
        why.contains("connection refused") && !why.contains('\x1b'),
        "{why}"
    );
    let (mut two, _) = two.unwrap().split();
    assert_eq!(two.next().await.unwrap().unwrap(), "half");
    let error = two.next().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.why()),
        (ErrorKind::Lost, Some("the server reset it (status 5)"))
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's tasks end with its runtime"
    )]
    tokio::spawn(async move {
        while let Some(said) = server.said().await {
            for said in said {
                server.answer(&said).await;
            }
        }
    });
    try_out(&mut three.unwrap()).await;
    drop((one, two));
    let told = words(&mut set.forward, 7).await;
    assert!(
        told.contains(&"closed 0 0 not_started".to_owned()),
        "{told:?}"
    );
    assert!(told.contains(&"closed 0 4 lost".to_owned()), "{told:?}");
}

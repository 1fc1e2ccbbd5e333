//! Whom a session waits for, and how long: pings, silence, stalls, in virtual time.

use super::*;

#[tokio::test(start_paused = true)]
async fn accepted_but_nothing_flows_is_named_within_the_connect_limit() {
    let (_server, process) = start(1024, |_| {});
    let begin = Instant::now();
    let error = process.wait().await.unwrap_err();
    assert!(error.to_string().contains("nothing flows"), "{error}");
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_lost_after_the_keepalive_timeout() {
    let (mut server, process) = start(1 << 20, |_| {});
    server.data(1, b"").await;
    let begin = Instant::now();
    let error = process.wait().await.unwrap_err();
    assert!(
        error.why().unwrap().contains("--keepalive-timeout"),
        "{error:?}"
    );
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_peer_that_answers_pings_lives_for_a_day() {
    let (mut server, process) = start(1024, |_| {});
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(
        timeout(day, server.message()).await.is_err(),
        "only pings come"
    );
    server.success().await;
    server.close().await;
    assert_eq!(process.wait().await.unwrap().code, 0);
}

#[tokio::test(start_paused = true)]
async fn without_pings_nobody_is_declared_dead() {
    let (mut server, process) = start(1024, |setup| {
        setup.limits = Limits::default().keepalive(Duration::ZERO);
    });
    server.data(1, b"").await;
    assert!(
        timeout(Duration::from_secs(3600), server.frame())
            .await
            .is_err(),
        "not even a ping"
    );
    server.success().await;
    server.close().await;
    assert_eq!(process.wait().await.unwrap().code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_gets_everything() {
    let (server, process) = start(64 * 1024, |_| {});
    let (mut output, _stdin, exit) = process.split();
    const TOTAL: usize = 8 << 20;
    let sender = tokio::spawn(async move {
        let mut server = server;
        for _ in 0..TOTAL / 32_768 {
            server.data(1, &[7; 32_768]).await;
        }
        server.success().await;
        server.close().await;
        let mut pings = 0;
        while let Some(frame) = server.frame().await {
            pings += usize::from(frame.opcode == 9);
        }
        pings
    });
    let first = output.next().await.unwrap();
    tokio::time::sleep(Duration::from_secs(75)).await;
    let mut received = first.data.len();
    while let Some(chunk) = output.next().await {
        received += chunk.data.len();
    }
    assert_eq!((received, exit.wait().await.unwrap().code), (TOTAL, 0));
    // A server that has finished would answer a ping with a reset, and the rest would be lost.
    assert_eq!(sender.await.unwrap(), 0, "no pings while we do not read");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_does_not_read_stdin_is_waited_for() {
    let dial = vouch(true);
    let vouched = Arc::clone(&dial);
    let (mut server, process) = start(4096, |setup| setup.dial = dial);
    server.data(1, b"").await;
    let (_output, stdin, exit) = process.split();
    let mut stdin = stdin.unwrap();
    let writer = tokio::spawn(async move {
        stdin.write(Bytes::from(vec![1; 1 << 20])).await.unwrap();
        stdin.end();
    });
    tokio::time::sleep(Duration::from_secs(75)).await;
    assert!(
        vouched.asked.load(Ordering::Relaxed) >= 4,
        "the server was asked meanwhile"
    );
    let mut received = 0;
    loop {
        let Frame { payload, .. } = server.message().await.unwrap();
        if payload == [0xff, 0x00] {
            break;
        }
        received += payload.len() - 1;
    }
    assert_eq!(received, 1 << 20);
    writer.await.unwrap();
    server.success().await;
    server.close().await;
    assert_eq!(exit.wait().await.unwrap().code, 0);
}

/// Sends input that nobody reads and returns the error and how long it took.
async fn unread_stdin(answers: bool) -> (Error, u64) {
    let (mut server, process) = start(4096, |setup| setup.dial = vouch(answers));
    server.data(1, b"").await;
    let (_output, stdin, exit) = process.split();
    let mut stdin = stdin.unwrap();
    let begin = Instant::now();
    let writer = tokio::spawn(async move { stdin.write(Bytes::from(vec![1; 1 << 20])).await });
    let error = exit.wait().await.unwrap_err();
    let written = writer.await.unwrap();
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Closed);
    (error, begin.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn unread_stdin_and_an_unreachable_server_is_lost() {
    let (error, seconds) = unread_stdin(false).await;
    assert!(error.to_string().contains("unreachable"), "{error}");
    assert_eq!(seconds, 60);
}

#[tokio::test(start_paused = true)]
async fn unread_stdin_ends_by_the_stall_timeout() {
    let (error, seconds) = unread_stdin(true).await;
    assert!(
        error.why().unwrap().contains("--stall-timeout"),
        "{error:?}"
    );
    assert_eq!(seconds, 30 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_process_asks_before_it_gives_up() {
    let (mut server, process) = start(1 << 20, |_| {});
    server.data(1, b"").await;
    while server.frame().await.is_some_and(|frame| frame.opcode != 9) {}
    advance(Duration::from_secs(600)).await;
    let frame = server.frame().await.unwrap();
    assert_eq!(frame.opcode, 9, "a ping at once");
    server.send(10, &frame.payload).await;
    server.success().await;
    server.close().await;
    assert_eq!(process.wait().await.unwrap().code, 0);
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_with_the_latest() {
    let (mut server, process) = start(1 << 20, |_| {});
    for number in 0..10_000u32 {
        server.send(9, &number.to_be_bytes()).await;
    }
    let mut answers = 0;
    loop {
        let frame = server.frame().await.unwrap();
        answers += u32::from(frame.opcode == 10);
        if frame.opcode == 10 && frame.payload == 9_999u32.to_be_bytes() {
            break;
        }
    }
    assert!(answers < 1_000, "{answers} answers");
    drop(process);
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_data_arrives_is_not_pinged() {
    let (mut server, process) = start(1 << 20, |_| {});
    let (mut output, _stdin, _exit) = process.split();
    tokio::spawn(async move { while output.next().await.is_some() {} });
    for _ in 0..60 {
        server.data(1, b"slow link").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut pings = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(1), server.frame()).await {
        pings += 1;
    }
    assert!(
        pings <= 1,
        "{pings} pings; only the first one asks whether anything flows"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_start_is_asked_before_it_is_given_up() {
    let (mut server, process) = start(1024, |_| {});
    let begin = Instant::now();
    let ping = server.frame().await.unwrap();
    assert_eq!((ping.opcode, begin.elapsed().as_secs()), (9, 5));
    server.send(10, &ping.payload).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    server.success().await;
    server.close().await;
    assert_eq!(process.wait().await.unwrap().code, 0);
}

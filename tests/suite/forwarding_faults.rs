//! Port-forward of the core where the server or what lies between misbehaves.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wsx_core::ForwardEvent;
use wsx_core::protocol::portforward::{ForwardProtocol, ForwardSubprotocol};

use crate::forwarding::{Scene, address, connect, echoes, hasty, noise, options, run, until};

fn is_reconnecting(event: &ForwardEvent) -> bool {
    matches!(event, ForwardEvent::Reconnecting { .. })
}

/// Reads to the end, which has to be a reset.
async fn read_to_reset(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let error = socket.read_to_end(&mut all).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    all
}

#[test]
fn however_a_session_is_cut_data_ends_with_a_reset_and_the_port_stays() {
    let scene = Scene::new();
    run(async {
        let mut forward = scene.forward(&["19", "7"], hasty()).await;
        for (cut, why) in [
            ("fin", "the connection ended"),
            ("rst", "the connection broke"),
            ("close 1001 away", "the server closed it (1001): away"),
            ("goaway", "the server said goodbye"),
            ("upstream", "the server closed it (1000)"),
            ("stall", "not a byte came for 2 s (--keepalive-timeout)"),
        ] {
            let mut socket = connect(&forward, 0).await;
            let mut some = vec![0; 100_000];
            socket.read_exact(&mut some).await.unwrap();
            scene.own.run(json!({"cut": cut}));
            read_to_reset(&mut socket).await;
            let event = until(&mut forward, is_reconnecting).await;
            let ForwardEvent::Reconnecting { why: told, .. } = event else {
                unreachable!()
            };
            assert!(told.contains(why), "{cut}: {told}");
            assert!(
                echoes(connect(&forward, 1).await, b"again").await.unwrap(),
                "{cut}"
            );
        }
        let report = forward.report();
        assert_eq!((report.reconnects, report.failed), (6, 6));
    });
}

#[test]
fn with_v4_a_cut_is_a_reset_too() {
    let scene = Scene::new();
    run(async {
        let v4 = ForwardProtocol::Only(ForwardSubprotocol::V4);
        let forward = scene.forward(&["19", "9"], hasty().protocol(v4)).await;
        for cut in ["fin", "rst", "close 1001 away", "stall"] {
            let mut socket = connect(&forward, 0).await;
            let mut some = vec![0; 100_000];
            socket.read_exact(&mut some).await.unwrap();
            scene.own.run(json!({"cut": cut}));
            read_to_reset(&mut socket).await;
        }
        scene.own.run(json!({"ports": {"9": "refused"}}));
        read_to_reset(&mut connect(&forward, 1).await).await;
    });
}

#[test]
fn messages_in_slices_and_answers_in_any_order_change_nothing() {
    let scene = Scene::new();
    run(async {
        for faults in [
            json!({"slice": 1}),
            json!({"empty_messages": true}),
            json!({"swap_replies": true}),
            json!({"no_ws_pong": true}),
        ] {
            scene.own.run(json!({"next": faults}));
            let forward = scene.forward(&["7"], options()).await;
            let back = echoes(connect(&forward, 0).await, &noise(20_000, 1)).await;
            assert!(back.unwrap(), "{faults}");
            assert_eq!(forward.report().reconnects, 0, "{faults}");
        }
    });
}

/// One request; whether it was answered in whole, or reset. Anything else panics.
async fn request(address: std::net::SocketAddr) -> bool {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let asking = b"GET /bytes?n=20000 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answer: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    if socket.write_all(asking).await.is_err() {
        return false;
    }
    loop {
        match socket.read(&mut buffer).await {
            Ok(0) => panic!("an end after {} bytes", answer.len()),
            Ok(read) => answer.extend(&buffer[..read]),
            Err(_) => return false,
        }
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() == head + 4 + 20_000) {
            return true;
        }
    }
}

#[test]
fn a_pod_that_is_replaced_under_many_clients_costs_resets_and_no_short_answer() {
    const CLIENTS: usize = 50;
    const REPLACEMENTS: usize = 4;
    let scene = Scene::new();
    run(async {
        let mut forward = scene.forward(&["80"], hasty()).await;
        let address = address(&forward, 0);
        let over = Arc::new(AtomicBool::new(false));
        let (good, reset) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (over, good, reset) = (Arc::clone(&over), Arc::clone(&good), Arc::clone(&reset));
            clients.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let counted = if request(address).await {
                        &good
                    } else {
                        &reset
                    };
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..REPLACEMENTS {
            // In the middle of it, and only once all is well again.
            let before = good.load(Ordering::Relaxed);
            while good.load(Ordering::Relaxed) < before + 2 * CLIENTS {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            scene.own.run(json!({"end": "rst", "replace": true}));
            until(&mut forward, |event| {
                matches!(event, ForwardEvent::Ready { away: Some(_), .. })
            })
            .await;
        }
        over.store(true, Ordering::Relaxed);
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        let (good, reset) = (good.load(Ordering::Relaxed), reset.load(Ordering::Relaxed));
        assert!(good > REPLACEMENTS * CLIENTS, "{good} good, {reset} reset");
        assert!(reset < good, "{good} good, {reset} reset");
    });
}

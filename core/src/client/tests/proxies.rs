//! Tunnels through proxies, and whose fault a failure is.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Reply, Server};
use super::{Home, direct};
use crate::client::Client;
use crate::error::ErrorKind;

const V4: &str = "v4.channel.k8s.io";

/// Accepts one connection, does the dialogue, and copies to the server that it asked for.
async fn tunnel<F: AsyncFn(&mut TcpStream) -> Option<String>>(listener: TcpListener, dialogue: F) {
    let (mut stream, _) = listener.accept().await.unwrap();
    if let Some(target) = dialogue(&mut stream).await {
        let mut server = TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
    }
    std::future::pending::<()>().await;
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn bytes(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn exec(client: &Client) -> crate::Result<()> {
    client.exec("web-0", ["true"], direct()).await.map(drop)
}

async fn proxied(server: &str, scheme: &str) -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://u:p@{}", listener.local_addr().unwrap());
    let home = Home::new(server, &format!(", proxy-url: {url:?}"), "token: t");
    (listener, home.client().await.unwrap())
}

#[tokio::test]
async fn an_http_proxy_is_asked_for_a_tunnel() {
    let server = Server::start(|_| Reply::session(V4)).await;
    let (listener, client) = proxied(&server.url(), "http").await;
    let expected = format!(
        "CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nProxy-Authorization: Basic dTpw\r\n\r\n",
        server.address
    );
    let proxy = tunnel(listener, async |stream| {
        assert_eq!(head(stream).await, expected);
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .unwrap();
        Some(server.address.to_string())
    });
    tokio::select! {
        () = proxy => unreachable!(),
        result = exec(&client) => result.unwrap(),
    }
    assert!(
        !server.heads()[0]
            .to_lowercase()
            .contains("proxy-authorization")
    );
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used_for_servers_that_are_not_here() {
    let server = Server::start(|_| Reply::session(V4)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let home = Home::new("http://api.invalid:8080", "", "");
    let client = home
        .client_with(home.config(), &[("HTTP_PROXY", &url)])
        .await
        .unwrap();
    let proxy = tunnel(listener, async |stream| {
        assert!(
            head(stream)
                .await
                .starts_with("CONNECT api.invalid:8080 HTTP/1.1\r\n")
        );
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        Some(server.address.to_string())
    });
    tokio::select! {
        () = proxy => unreachable!(),
        result = exec(&client) => result.unwrap(),
    }
}

#[tokio::test]
async fn a_socks_proxy_is_asked_for_a_tunnel() {
    let server = Server::start(|_| Reply::session(V4)).await;
    let (listener, client) = proxied(
        &format!("http://localhost:{}", server.address.port()),
        "socks5",
    )
    .await;
    let proxy = tunnel(listener, async |stream| {
        assert_eq!(bytes(stream, 3).await, [5, 1, 2]);
        stream.write_all(&[5, 2]).await.unwrap();
        assert_eq!(bytes(stream, 5).await, [1, 1, b'u', 1, b'p']);
        stream.write_all(&[1, 0]).await.unwrap();
        let request = bytes(stream, 4 + 1 + 9 + 2).await;
        assert_eq!(request[..5], [5, 1, 0, 3, 9]);
        assert_eq!(&request[5..14], b"localhost");
        assert_eq!(request[14..], server.address.port().to_be_bytes());
        stream
            .write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        Some(server.address.to_string())
    });
    tokio::select! {
        () = proxy => unreachable!(),
        result = exec(&client) => result.unwrap(),
    }
}

/// Runs one exec through a proxy that answers CONNECT with this.
async fn refused(answer: &'static [u8]) -> crate::Error {
    let (listener, client) = proxied("https://api.invalid:6443", "http").await;
    let proxy = tunnel(listener, async |stream| {
        head(stream).await;
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        None
    });
    tokio::select! {
        () = proxy => unreachable!(),
        result = exec(&client) => result.unwrap_err(),
    }
}

#[tokio::test]
async fn an_error_tells_the_proxy_from_the_server() {
    let error = refused(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.why(),
        Some("it did not accept the user and password of its URL")
    );
    let error = refused(b"HTTP/1.1 503 no\x1broute\r\n\r\n").await;
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    assert_eq!(
        error.why(),
        Some("it answered HTTP/1.1 503 no\\u{1b}route to CONNECT api.invalid:6443")
    );
    let error = refused(b"").await;
    assert!(
        error
            .why()
            .unwrap()
            .starts_with("the connection to it ended")
    );
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let (listener, client) = proxied("https://api.invalid:6443", "http").await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = exec(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotStarted);
    let message = format!("the proxy {address} on the way to api.invalid:6443 cannot be reached");
    assert_eq!(error.to_string(), message);
}

#[tokio::test]
async fn a_socks_proxy_says_what_it_refuses() {
    let (listener, client) = proxied("https://api.invalid:6443", "socks5").await;
    let proxy = tunnel(listener, async |stream| {
        bytes(stream, 3).await;
        stream.write_all(&[5, 2]).await.unwrap();
        bytes(stream, 5).await;
        stream.write_all(&[1, 0]).await.unwrap();
        bytes(stream, 7 + 11).await;
        stream
            .write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        None
    });
    tokio::select! {
        () = proxy => unreachable!(),
        result = exec(&client) => {
            let error = result.unwrap_err();
            assert_eq!(error.why(), Some("it found the connection refused for api.invalid:6443"));
        }
    }
}

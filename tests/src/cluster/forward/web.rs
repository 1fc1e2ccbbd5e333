//! The HTTP server on ports 80 and 8080 of every pod.
//!
//! Lives here: its few paths. Never here: the cluster's own HTTP.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::servers::{Line, pour};
use crate::cluster::http::Request;

/// Answers requests until the client leaves.
pub(super) async fn serve(line: &mut Line) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut last = false;
    while !last {
        let Some(head) = head(line, &mut buffer).await? else {
            return Ok(());
        };
        let Some(request) = Request::parse(&head) else {
            return answer(line, "400 Bad Request", b"no HTTP\n").await;
        };
        last = request
            .headers("Connection")
            .any(|value| value.eq_ignore_ascii_case("close"));
        let mut length = request.body_length();
        let number = |name| request.parameter(name).and_then(|text| text.parse().ok());
        let n: u64 = number("n").unwrap_or(0);
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        match path[..] {
            ["echo"] => {
                start(line, "200 OK", length as u64).await?;
                // Piece by piece, so that no length is too long.
                while length > 0 {
                    if buffer.is_empty() && line.io.read_buf(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                    let step = length.min(buffer.len());
                    line.io.write_all(&buffer[..step]).await?;
                    buffer.drain(..step);
                    length -= step;
                }
                continue;
            }
            _ => take(line, &mut buffer, length).await?,
        }
        match path[..] {
            [""] => answer(line, "200 OK", line.host.name.clone().as_bytes()).await?,
            ["uid"] => answer(line, "200 OK", line.host.uid.clone().as_bytes()).await?,
            ["bytes"] => {
                start(line, "200 OK", n).await?;
                pour(&mut line.io, n).await?;
            }
            // A body that ends with the connection.
            ["stream"] => {
                line.io
                    .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                    .await?;
                return pour(&mut line.io, n).await;
            }
            // A body that is cut: by an end, or by a reset.
            ["cut" | "reset"] => {
                start(line, "200 OK", number("of").unwrap_or(n + 1)).await?;
                pour(&mut line.io, n).await?;
                if path == ["reset"] {
                    line.reset();
                }
                return Ok(());
            }
            _ => answer(line, "404 Not Found", b"not here\n").await?,
        }
    }
    Ok(())
}

async fn head(line: &mut Line, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 4);
            return Ok(Some(head));
        }
        if buffer.len() > LONGEST_HEAD || line.io.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn take(line: &mut Line, buffer: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while buffer.len() < length {
        if line.io.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    buffer.drain(..length);
    Ok(())
}

async fn start(line: &mut Line, status: &str, length: u64) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    );
    line.io.write_all(head.as_bytes()).await
}

async fn answer(line: &mut Line, status: &str, body: &[u8]) -> io::Result<()> {
    start(line, status, body.len() as u64).await?;
    line.io.write_all(body).await
}

const LONGEST_HEAD: usize = 64 * 1024;

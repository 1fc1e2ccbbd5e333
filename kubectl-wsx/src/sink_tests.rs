//! Every kind of output, and every way in which one fails.

use std::fs::File;
use std::io::{PipeReader, Read};
use std::time::Duration;

use bytes::Bytes;

use super::*;

fn open_file(path: &str) -> File {
    File::options().write(true).open(path).unwrap()
}

fn piece(stream: Stream, text: &'static str) -> (Stream, Bytes) {
    (stream, Bytes::from_static(text.as_bytes()))
}

fn is_nonblocking(descriptor: impl AsFd) -> bool {
    fcntl_getfl(descriptor).unwrap().contains(OFlags::NONBLOCK)
}

fn read_all(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_pipe_gets_both_streams_in_their_order() {
    let (reader, writer) = io::pipe().unwrap();
    let mut sinks = Sinks::open(&writer, &writer).unwrap();
    let pieces = [
        piece(Stream::Stdout, "a"),
        piece(Stream::Stdout, "b"),
        piece(Stream::Stderr, "c"),
        piece(Stream::Stdout, "d"),
    ];
    sinks.write(pieces).await.unwrap();
    sinks.finish().await.unwrap();
    assert_eq!(
        (sinks.written(Stream::Stdout), sinks.written(Stream::Stderr)),
        (3, 1)
    );
    assert!(
        !is_nonblocking(&writer),
        "the pipe that others share was changed"
    );
    drop((sinks, writer));
    assert_eq!(read_all(reader), "abcd");
}

#[tokio::test]
async fn a_full_pipe_holds_up_nothing_but_the_writing() {
    let (reader, writer) = io::pipe().unwrap();
    let mut sinks = Sinks::open(&writer, open_file("/dev/null")).unwrap();
    drop(writer);
    let large = [(Stream::Stdout, Bytes::from(vec![b'x'; 3 * 1024 * 1024]))];
    let blocked = tokio::time::timeout(Duration::from_millis(50), sinks.write(large)).await;
    assert!(blocked.is_err());
    let written = sinks.written(Stream::Stdout);
    assert!((1..3 * 1024 * 1024).contains(&written), "{written}");
    drop(sinks);
    assert_eq!(read_all(reader).len() as u64, written);
}

#[tokio::test]
async fn a_closed_pipe_is_a_broken_pipe() {
    let (reader, writer) = io::pipe().unwrap();
    let null = open_file("/dev/null");
    let early = Sinks::open(&writer, &null).unwrap();
    drop(reader);
    let late = Sinks::open(&writer, &null).unwrap();
    for mut sinks in [early, late] {
        let error = sinks.write([piece(Stream::Stdout, "a")]).await.unwrap_err();
        assert_eq!(
            (error.stream, error.error.kind()),
            (Stream::Stdout, io::ErrorKind::BrokenPipe)
        );
    }
}

#[tokio::test]
async fn a_full_device_takes_nothing() {
    let mut sinks = Sinks::open(open_file("/dev/full"), open_file("/dev/null")).unwrap();
    assert!(sinks.relay.is_none());
    let error = sinks
        .write([piece(Stream::Stdout, "abc")])
        .await
        .unwrap_err();
    assert_eq!(error.error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(sinks.written(Stream::Stdout), 0);
}

#[tokio::test]
async fn error_output_that_fails_leaves_the_rest() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut sinks = Sinks::open(&file, open_file("/dev/full")).unwrap();
    let pieces = [
        (Stream::Stderr, "lost"),
        (Stream::Stdout, "kept"),
        (Stream::Stderr, "lost"),
    ];
    sinks
        .write(pieces.map(|(stream, text)| piece(stream, text)))
        .await
        .unwrap();
    let error = sinks.finish().await.unwrap_err();
    assert_eq!(
        (error.stream, error.error.kind()),
        (Stream::Stderr, io::ErrorKind::StorageFull)
    );
    assert_eq!(
        (sinks.written(Stream::Stdout), sinks.written(Stream::Stderr)),
        (4, 0)
    );
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "kept");
}

#[tokio::test]
async fn a_pipe_that_may_only_be_read_is_not_written() {
    let (reader, _writer) = io::pipe().unwrap();
    let mut sinks = Sinks::open(&reader, open_file("/dev/null")).unwrap();
    sinks.write([piece(Stream::Stdout, "a")]).await.unwrap();
    let error = sinks.finish().await.unwrap_err();
    assert_eq!(
        error.error.raw_os_error(),
        Some(rustix::io::Errno::BADF.raw_os_error())
    );
}

//! The words with which runs end.

use wsx_core::ErrorKind;

use super::*;

const MOVED: Moved = Moved {
    protocol: "v4.channel.k8s.io",
    stdin: 0,
    stdout: 1_204_118,
    stderr: 0,
    last_data: Some(Duration::from_millis(3_200)),
    close_code: Some(1000),
};

fn unwritten(status: Option<Status>) -> Ending {
    let error = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
    let error = WriteError {
        stream: Stream::Stdout,
        error,
    };
    Ending::Unwritten {
        error,
        bytes: 4096,
        status,
    }
}

#[test]
fn a_lost_session_is_reported_in_full() {
    let error = Error::new(
        ErrorKind::Lost,
        "the server closed the stream; outcome unknown",
    )
    .because("no status came")
    .remedy("one thing")
    .remedy("another thing");
    assert_eq!(
        Ending::Failed(error).words(Some(&MOVED)).unwrap(),
        "error: the server closed the stream; outcome unknown\n\
         \x20 received   1,204,118 bytes stdout, 0 stderr, last data 3.2s ago; close code 1000\n\
         \x20 why        no status came\n\
         \x20 try        one thing\n\
         \x20            another thing"
    );
}

#[test]
fn what_was_received_is_told_only_where_something_can_have_been() {
    let moved = Moved {
        last_data: None,
        close_code: None,
        ..MOVED
    };
    let error = Error::new(ErrorKind::NotStarted, "container not found");
    assert_eq!(
        failure_words(&error, Some(&moved)),
        "error: container not found"
    );
    let error = Error::new(ErrorKind::Lost, "x");
    assert_eq!(
        failure_words(&error, Some(&moved)),
        "error: x\n  received   1,204,118 bytes stdout, 0 stderr"
    );
}

#[test]
fn errors_of_the_api_keep_their_words() {
    let text = "Error from server (NotFound): pods \"x\" not found";
    let error = Error::new(ErrorKind::NotFound, text);
    assert_eq!(failure_words(&error, None), text);
}

#[test]
fn foreign_text_cannot_steer_the_terminal() {
    let error = Error::new(ErrorKind::Lost, "a\x1b[2J")
        .because("b\r\nc")
        .remedy("d\u{202e}");
    assert_eq!(
        failure_words(&error, None),
        "error: a\\u{1b}[2J\n  why        b\\r\\nc\n  try        d\\u{202e}"
    );
}

#[test]
fn mistakes_in_the_command_line_say_where_to_read_on() {
    for (hint, words) in [
        (Hint::None, "error: x\\u{7}"),
        (
            Hint::Examples("exec"),
            "error: x\\u{7}\nSee 'kubectl wsx exec -h' for help and examples",
        ),
        (
            Hint::Flags(""),
            "error: x\\u{7}\nSee 'kubectl wsx --help' for usage.",
        ),
    ] {
        assert_eq!(
            Ending::usage("x\x07", hint).words(None).as_deref(),
            Some(words)
        );
    }
}

#[test]
fn unwritten_output_is_counted_and_the_exit_code_told() {
    let text = "error: cannot write to standard output: No space left on device: \
                4,096 bytes not written";
    let status = |code| {
        Some(Status {
            code,
            confidence: Confidence::Confirmed,
        })
    };
    assert_eq!(unwritten(None).words(None).unwrap(), text);
    assert_eq!(unwritten(status(0)).words(None).unwrap(), text);
    assert_eq!(
        unwritten(status(3)).words(None).unwrap(),
        format!("{text}\ncommand terminated with exit code 3")
    );
}

#[test]
fn numbers_are_grouped() {
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (1_234_567, "1,234,567"),
    ] {
        assert_eq!(grouped(number), text);
    }
}

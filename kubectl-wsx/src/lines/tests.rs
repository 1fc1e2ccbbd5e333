//! What comes out for items of one log and of several.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn source(pod: &str) -> Arc<LogSource> {
    Arc::new(LogSource::new("default", pod, "app"))
}

fn item(source: &Arc<LogSource>, data: &'static str, begins: bool) -> LogItem {
    LogItem::Line(LogLine::new(
        data.into(),
        Some(1),
        begins,
        Arc::clone(source),
    ))
}

/// Returns stdout and stderr, and both in the order of their pieces.
fn print(printer: &mut Printer, items: &[LogItem]) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for item in items {
        printer.print(item);
    }
    printer.finish();
    for (stream, data) in printer.take() {
        match stream {
            Stream::Stderr => stderr.extend_from_slice(&data),
            _ => stdout.extend_from_slice(&data),
        }
    }
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr))
}

fn printed(looks: Looks, items: &[LogItem]) -> String {
    print(&mut Printer::new(looks, Filter::default()), items).0
}

fn patterns(text: &str) -> Vec<regex::bytes::Regex> {
    vec![filter::parse(text).unwrap()]
}

#[test]
fn lines_pass_as_they_are() {
    let (one, two) = (source("web-0"), source("web-1"));
    let items = [
        item(&one, "\x1b[2Ja\n", true),
        item(&two, "b", true),
        item(&one, "c\n", true),
    ];
    assert_eq!(printed(Looks::default(), &items), "\x1b[2Ja\nbc\n");
    let form = Form::Raw;
    let raw = Looks {
        form,
        prefix: true,
        ..Looks::default()
    };
    assert_eq!(printed(raw, &items), "\x1b[2Ja\nbc\n");
}

#[test]
fn prefixes_have_the_form_of_kubectl() {
    let (one, two) = (source("web-0"), source("web-1"));
    let items = [item(&one, "a\n", true), item(&two, "b\n", true)];
    let prefix = Looks {
        prefix: true,
        ..Looks::default()
    };
    assert_eq!(
        printed(prefix, &items),
        "[pod/web-0/app] a\n[pod/web-1/app] b\n"
    );
    let namespaces = Looks {
        namespaces: true,
        ..prefix
    };
    assert_eq!(
        printed(namespaces, &items[..1]),
        "[default/pod/web-0/app] a\n"
    );
    let colours = Looks {
        colours: true,
        ..prefix
    };
    let coloured = printed(colours, &items[..1]);
    assert!(coloured.starts_with("\x1b[3") && coloured.ends_with("m[pod/web-0/app]\x1b[0m a\n"));
    let unknown = Arc::new(LogSource::new("default", "p\x1b[2J", ""));
    assert_eq!(
        printed(prefix, &[item(&unknown, "a\n", true)]),
        "[pod/p\\u{1b}[2J/] a\n"
    );
}

#[test]
fn pieces_of_a_line_are_one_line_unless_another_comes_between() {
    let (one, two) = (source("web-0"), source("web-1"));
    let pieces = [
        item(&one, "a", true),
        item(&one, "b", false),
        item(&one, "c\n", false),
    ];
    let looks = Looks {
        prefix: true,
        together: true,
        ..Looks::default()
    };
    assert_eq!(printed(looks, &pieces), "[pod/web-0/app] abc\n");
    let mut between = pieces.to_vec();
    between.insert(2, item(&two, "x\n", true));
    assert_eq!(
        printed(looks, &between),
        "[pod/web-0/app] ab\n[pod/web-1/app] x\n[pod/web-0/app] c\n"
    );
}

#[test]
fn no_colour_of_a_log_reaches_the_prefix_of_another() {
    let (one, two) = (source("web-0"), source("web-1"));
    let items = [
        item(&one, "\x1b[31mred\n", true),
        item(&two, "plain\n", true),
        item(&one, "still\x1b[", true),
        item(&two, "plain\n", true),
    ];
    let looks = Looks {
        prefix: true,
        safe: true,
        together: true,
        ..Looks::default()
    };
    assert_eq!(
        printed(looks, &items),
        "[pod/web-0/app] \x1b[31mred\x1b[0m\n[pod/web-1/app] plain\n\
         [pod/web-0/app] \x1b[31mstill\\u{1b}[\x1b[0m\n[pod/web-1/app] plain\n"
    );
}

#[test]
fn filters_look_at_the_content_alone() {
    let one = source("web-0");
    let items = [
        item(&one, "1970-01-01T00:00:00.000000001Z app 1\n", true),
        item(&one, "1970-01-01T00:00:00.000000001Z 1970\n", true),
        item(&one, "more\n", false),
    ];
    let looks = Looks {
        timestamps: true,
        prefix: true,
        ..Looks::default()
    };
    let filter = Filter::new(&[], &patterns("1970|web|more"), Vec::new()).unwrap();
    let (stdout, _) = print(&mut Printer::new(looks, filter), &items);
    assert_eq!(
        stdout,
        "[pod/web-0/app] 1970-01-01T00:00:00.000000001Z app 1\n"
    );
    let filter = Filter::new(&patterns("^app \\d$"), &[], Vec::new()).unwrap();
    let (stdout, _) = print(&mut Printer::new(looks, filter), &items);
    assert_eq!(
        stdout,
        "[pod/web-0/app] 1970-01-01T00:00:00.000000001Z app 1\n"
    );
}

#[test]
fn what_stands_out_is_reversed_where_colours_are() {
    let items = [item(&source("web-0"), "one two\x07 one\n", true)];
    let looks = |colours, safe| Looks {
        colours,
        safe,
        ..Looks::default()
    };
    for (looks, shown) in [
        (
            looks(true, true),
            "\x1b[7mone\x1b[27m two\\u{7} \x1b[7mone\x1b[27m\n",
        ),
        (
            looks(true, false),
            "\x1b[7mone\x1b[27m two\x07 \x1b[7mone\x1b[27m\n",
        ),
        (looks(false, true), "one two\\u{7} one\n"),
        (looks(false, false), "one two\x07 one\n"),
    ] {
        let filter = Filter::new(&[], &[], patterns("one")).unwrap();
        assert_eq!(print(&mut Printer::new(looks, filter), &items).0, shown);
    }
}

#[test]
fn events_are_lines_on_stderr_in_their_place() {
    let one = source("web-0");
    let event = |event| LogItem::Event(Arc::clone(&one), event);
    let gap = LogEvent::Gap {
        certain: true,
        from: None,
        to: None,
    };
    let away = Duration::from_secs(1);
    let items = [
        item(&one, "a\n", true),
        event(LogEvent::Reconnected {
            away,
            why: "cut".to_owned(),
        }),
        event(gap),
        item(&one, "b\n", true),
        event(LogEvent::Ended { exit_code: Some(0) }),
    ];
    let streams = |looks| {
        let mut printer = Printer::new(looks, Filter::default());
        for item in &items {
            printer.print(item);
        }
        let words = |data: &Bytes| String::from_utf8(data.to_vec()).unwrap();
        let pieces = printer.take();
        pieces
            .iter()
            .map(|(stream, data)| (*stream, words(data)))
            .collect::<Vec<_>>()
    };
    let missing = "--- web-0/app: lines are missing here ---\n".to_owned();
    let (out, err) = (Stream::Stdout, Stream::Stderr);
    let all = streams(Looks::default());
    assert_eq!(
        all,
        [
            (out, "a\n".to_owned()),
            (
                err,
                "--- web-0/app: reconnected after 1.0s: cut ---\n".to_owned()
            ),
            (err, missing.clone()),
            (out, "b\n".to_owned()),
        ]
    );
    let quiet = Looks {
        quiet: true,
        ..Looks::default()
    };
    assert_eq!(
        streams(quiet),
        [
            (out, "a\n".to_owned()),
            (err, missing),
            (out, "b\n".to_owned())
        ]
    );
    let together = Looks {
        together: true,
        ..Looks::default()
    };
    let ended = (
        err,
        "--- web-0/app: ended with exit code 0 ---\n".to_owned(),
    );
    assert_eq!(streams(together).last(), Some(&ended));
    let json = streams(Looks {
        form: Form::Json,
        quiet: true,
        ..Looks::default()
    });
    assert_eq!(json.len(), 1);
    assert_eq!(json[0].1.lines().count(), items.len());
}

#[test]
fn a_log_that_ended_is_forgotten() {
    let mut printer = Printer::new(
        Looks {
            together: true,
            ..Looks::default()
        },
        Filter::default(),
    );
    for number in 0..1000 {
        let one = source(&format!("web-{number}"));
        printer.print(&item(&one, "a", true));
        let event = LogEvent::Ended { exit_code: None };
        printer.print(&LogItem::Event(one, event));
        assert!(printer.logs.is_empty());
    }
}

#[test]
fn a_line_stays_open_while_another_log_ends() {
    let (one, two) = (source("web-0"), source("web-1"));
    let ended = LogEvent::Ended { exit_code: None };
    let items = [
        item(&one, "a\n", true),
        item(&two, "b", true),
        LogItem::Event(Arc::clone(&one), ended),
        item(&two, "c\n", false),
    ];
    let looks = Looks {
        prefix: true,
        together: true,
        ..Looks::default()
    };
    assert_eq!(
        printed(looks, &items),
        "[pod/web-0/app] a\n[pod/web-1/app] bc\n"
    );
}

#[test]
fn logs_that_fail_are_counted() {
    let error = wsx_core::Error::new(wsx_core::ErrorKind::Lost, "gone");
    let failed = LogItem::Event(source("web-0"), LogEvent::Failed { error });
    let mut printer = Printer::new(Looks::default(), Filter::default());
    assert_eq!(print(&mut printer, &[failed.clone(), failed]).0, "");
    assert_eq!(printer.failed(), 2);
}

proptest! {
    #[test]
    fn a_terminal_sees_every_line_with_its_own_prefix(
        lines in proptest::collection::vec((0usize..3, "(\x1b\\[[0-9;]{0,3}m?|[a-c\u{9b}\r]){0,6}"), 0..20),
    ) {
        let sources = ["a", "b", "c"].map(source);
        let items: Vec<_> = lines
            .iter()
            .map(|(log, text)| {
                let source = Arc::clone(&sources[*log]);
                LogItem::Line(LogLine::new(format!("{text}\n").into(), None, true, source))
            })
            .collect();
        let looks = Looks { prefix: true, safe: true, together: true, ..Looks::default() };
        let shown = printed(looks, &items);
        prop_assert_eq!(shown.lines().count(), lines.len());
        for ((log, _), line) in lines.iter().zip(shown.lines()) {
            let prefix = format!("[pod/{}/app] ", ["a", "b", "c"][*log]);
            prop_assert!(line.starts_with(&prefix), "{line:?}");
            prop_assert!(!line.contains('\r'));
        }
    }
}

"""What is asked of logs and what comes of them, apart from the reading: events that wait, text, bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kubectl_wsx import Client, InvalidError, LogEvent, LogSource, NotFoundError, Timeouts
from kubectl_wsx._logs import Decoder, Events

SOURCE = LogSource("default", "p", "c")


def event(number: int, kind: Any = "waiting", source: LogSource = SOURCE) -> LogEvent:
    facts: dict[str, Any] = {"reason": str(number)}
    if kind == "gap":
        facts = {"certain": number % 2 == 0, "from_": number, "to": number + 1}
    return LogEvent(kind=kind, source=source, **facts)


def taken(events: Events) -> list[LogEvent]:
    got: list[LogEvent] = []
    events.end()
    while True:
        try:
            next(events.next())
        except StopIteration as end:
            if end.value is None:
                return got
            got.append(end.value)


def test_events_that_nobody_takes_are_counted_and_losses_stay() -> None:
    events = Events()
    for number in range(3000):
        events.put(event(number))
        if number % 10 == 0:
            events.put(event(number, "gap"))
            events.put(event(number, "failed"))
    got = taken(events)
    assert len(got) == Events.LIMIT
    assert [each.from_ for each in got if each.kind == "gap"] == list(range(0, 3000, 10))
    assert [each.reason for each in got if each.kind == "failed"] == [str(number) for number in range(0, 3000, 10)]
    waiting = [each for each in got if each.kind == "waiting"]
    assert [each.reason for each in waiting] == [str(number) for number in range(2600, 3000)]
    assert sum(each.omitted for each in got) == 2600


def test_gaps_of_one_log_become_one_that_spans_them() -> None:
    events, other = Events(), replace(SOURCE, pod="other")
    events.put(event(7, "gap", other))
    for number in range(1, 2001):
        events.put(event(number, "gap"))
    first, merged, *rest = taken(events)
    assert (first, len(rest)) == (event(7, "gap", other), Events.LIMIT - 2)
    assert (merged.from_, merged.to, merged.certain, merged.omitted) == (1, 1003, True, 1001)
    assert [gap.from_ for gap in rest] == list(range(1003, 2001))


def test_a_gap_of_every_log_is_kept_whatever_their_number() -> None:
    events = Events()
    for number in range(Events.LIMIT + 5):
        events.put(event(number, "gap", replace(SOURCE, pod=str(number))))
    assert [each.from_ for each in taken(events)] == list(range(Events.LIMIT + 5))


def test_text_of_pieces_and_broken_lines() -> None:
    other = replace(SOURCE, pod="other")
    umlaut = "ä".encode()
    for rows, texts in [
        ([(b"a\xff\n", True, SOURCE)], ["a\ufffd\n"]),
        ([(b"a" + umlaut[:1], True, SOURCE), (umlaut[1:] + b"b\n", False, SOURCE)], ["a", "äb\n"]),
        ([(umlaut[:1], True, SOURCE), (b"x\n", True, other), (umlaut[1:] + b"\n", False, SOURCE)], ["", "x\n", "ä\n"]),
        ([(b"a" + umlaut[:1], True, SOURCE), (b"new\n", True, SOURCE)], ["a", "\ufffdnew\n"]),
        ([(b"a" + umlaut[:1], True, SOURCE), (umlaut[1:] + b"\n", True, SOURCE)], ["a", "\ufffd\ufffd\n"]),
        ([(b"a" + umlaut[:1], True, SOURCE)], ["a", "\ufffd"]),
    ]:
        decoder = Decoder("utf-8", "replace")
        got = [decoder.decode((data, None, begins, source)) for data, begins, source in rows]
        rest = decoder.flush()
        assert got + ([rest] if rest else []) == texts
    with pytest.raises(UnicodeDecodeError):
        Decoder("utf-8", "strict").decode((b"\xff\n", None, True, SOURCE))
    with pytest.raises(LookupError):
        Decoder("no such", "strict")


@pytest.mark.parametrize(
    "options",
    [
        {"follow": 1},
        {"tail_lines": "5"},
        {"tail_lines": 1.5},
        {"tail_lines": 2**64},
        {"since": "5m"},
        {"since_time": 5},
        {"selector": 5},
        {"container": b"app"},
        {"timeouts": 5},
        {"max_log_requests": None},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_options_of_wrong_types(client: Client, options: Any) -> None:
    with pytest.raises(TypeError):
        client.logs("web-0", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "v5"},
        {"since": -1},
        {"since": 0.5},
        {"since": float("nan")},
        {"since": 5, "since_time": "2026-11-01T08:00:05Z"},
        {"limit_bytes": 0},
        {"limit_bytes": -1},
        {"tail_lines": -1},
        {"max_log_requests": -1},
        {"max_log_requests": 0},
        {"sort_window": -1},
        {"selector": "app=web"},
        {"all_containers": True, "container": "app"},
        {"forever": True},
        {"namespace": "a/b"},
        {"timeouts": Timeouts(total=1)},
        {"timeouts": Timeouts(stall=1)},
        {"timeouts": Timeouts(connect=0)},
    ],
    ids=str,
)
def test_options_of_wrong_values(client: Client, options: Any) -> None:
    with pytest.raises(InvalidError):
        client.logs("web-0", **options)


def test_targets_that_are_none(client: Client) -> None:
    with pytest.raises(InvalidError, match="selector"):
        client.logs()
    with pytest.raises(NotFoundError):
        client.logs("nope")
    with pytest.raises(NotFoundError, match="nope"):
        client.logs("web-0", container="nope")
    wrong: Any = b"web-0"
    with pytest.raises(TypeError):
        client.logs(wrong)

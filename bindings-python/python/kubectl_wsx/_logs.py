"""How logs are read; `_async_logs.py` and `_blocking_logs.py` only drive this.

What was taken and not given out, by a loop that was left, is given back before another kind of read takes anew.
"""

from __future__ import annotations

import codecs
import threading
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from . import _native
from ._log_values import LogEnd, LogEvent, LogLine, LogReport, LogSource, OnEvent
from ._steps import Steps, finished
from ._streams import BATCH, CHUNK
from .errors import ClosedError, InvalidError, WsxError

T = TypeVar("T")
Row = tuple[bytes, int | None, bool, LogSource]


class Events:
    """Events that wait for somebody to take them: at most `LIMIT`, unless each tells of a loss in another log."""

    LIMIT = 1000
    #: What tells of a loss is never left out.
    KEPT = ("gap", "failed")

    def __init__(self) -> None:
        self._waiting: deque[LogEvent] = deque()
        self._lock = threading.Lock()
        self._bell = _native.Bell()
        self._over = False

    def put(self, event: LogEvent) -> None:
        """Takes in an event, for which an older one may have to go."""
        with self._lock:
            self._waiting.append(event)
            if len(self._waiting) > self.LIMIT:
                self._leave_out()
        self._bell.ring()

    def end(self) -> None:
        """Tells that no more will come."""
        self._over = True
        self._bell.ring()

    def _leave_out(self) -> None:
        """Drops the oldest event that tells of no loss; where there is none, two gaps of one log become one."""
        waiting, gaps = self._waiting, dict[LogSource, int]()
        for index in range(len(waiting) - 1):
            if waiting[index].kind not in self.KEPT:
                after = waiting[index + 1]
                waiting[index + 1] = replace(after, omitted=after.omitted + 1 + waiting[index].omitted)
                del waiting[index]
                return
        for index, gap in enumerate(waiting):
            if gap.kind == "gap" and (before := gaps.setdefault(gap.source, index)) != index:
                first = waiting[before]
                certain, omitted = first.certain or gap.certain, first.omitted + 1 + gap.omitted
                waiting[before] = replace(first, certain=certain, to=gap.to, omitted=omitted)
                del waiting[index]
                return

    def _arm(self, waiter: _native.Waiter) -> bool:
        self._bell.arm(waiter)
        return bool(self._waiting) or self._over

    def next(self) -> Steps[LogEvent | None]:
        """Waits for the next event; None at the end."""
        while True:
            over = self._over
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
            if over:
                return None
            yield (self._arm,)


class Decoder:
    """Makes text of lines: each log's pieces of a line go together, and nothing beyond the line."""

    def __init__(self, encoding: str, errors: str) -> None:
        self._make = codecs.getincrementaldecoder(encoding)
        self._encoding = encoding
        self._errors = errors
        #: What ended within a character.
        self._open: dict[LogSource, codecs.IncrementalDecoder] = {}

    def decode(self, row: Row) -> str:
        data, _, begins, source = row
        whole = data.endswith(b"\n")
        if begins and whole and not self._open:
            return data.decode(self._encoding, self._errors)
        decoder = self._open.pop(source, None)
        rest = ""
        if decoder is not None and begins:
            rest, decoder = decoder.decode(b"", True), None
        decoder = decoder or self._make(self._errors)
        text = decoder.decode(data, whole)
        if decoder.getstate() != (b"", 0):
            self._open[source] = decoder
        return rest + text

    def flush(self) -> str:
        """Returns what is left of lines that were never ended."""
        left = [decoder.decode(b"", True) for decoder in self._open.values()]
        self._open.clear()
        return "".join(left)


class LogsBase:
    """The log of one container or several."""

    def __init__(self, native: _native.Logs, what: str, on_event: OnEvent | None) -> None:
        self._native = native
        self._what = what
        self._on_event = on_event
        self._events = Events()
        #: What was taken last and not given out; one of both is empty.
        self._lines: deque[bytes] = deque()
        self._rows: deque[Row] = deque()
        self._reading = threading.Lock()
        self._closed = False
        self._told = False

    def report(self) -> LogReport:
        """What has come so far, in numbers."""
        return LogReport(*self._native.report())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._what}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not self._over():
            warnings.warn(f"unclosed logs: {self._what}", ResourceWarning, source=self)

    def _over(self) -> bool:
        try:
            return self._native.has_ended()
        except ClosedError:  # a forked child owns nothing of its parent
            return True

    def _begin(self) -> None:
        """Refuses a second reader at a time."""
        if not self._reading.acquire(blocking=False):
            raise RuntimeError("these logs are being read by somebody else")

    def _more(self, take: Callable[[], T | None]) -> Steps[T]:
        """Returns what `take` finds, as soon as it finds any; what is empty is the end. The events before it are
        handed on first."""
        if left := len(self._lines) + len(self._rows):
            self._native.give_back(left)
            self._lines.clear()
            self._rows.clear()
        while True:
            while (event := self._native.take_event()) is not None:
                (self._on_event or self._events.put)(event)
            if (found := take()) is not None:
                break
            yield (self._native.arm,)
        if not found:
            self._events.end()
            yield from self._ended()
        return found

    def _ended(self) -> Steps[None]:
        """Raises, once, why the log ended where that was a failure."""
        if not self._told:
            try:
                yield from self._end()
            except WsxError:
                self._told = True
                raise
            self._told = True

    def _line(self) -> Steps[bytes]:
        lines = yield from self._more(lambda: self._native.try_lines(BATCH, CHUNK))
        self._lines.extend(lines)
        return self._lines.popleft() if self._lines else b""

    def _row(self) -> Steps[Row | None]:
        rows = yield from self._more(lambda: self._native.try_rows(BATCH, CHUNK))
        self._rows.extend(rows)
        return self._rows.popleft() if self._rows else None

    def _batch(self) -> Steps[list[LogLine]]:
        rows = yield from self._more(lambda: self._native.try_rows(BATCH, CHUNK))
        return [LogLine(*row) for row in rows]

    def _chunk(self) -> Steps[bytes]:
        return self._more(self._native.try_chunk)

    def _event_source(self) -> Events:
        if self._on_event is not None:
            raise InvalidError("all events go to on_event")
        return self._events

    def _end(self) -> Steps[LogEnd]:
        kind, code = yield from finished(self._native.end())
        return LogEnd(kind, code)

    def _wait(self) -> Steps[LogEnd]:
        while not (yield (self._native.arm_end,)):
            pass
        return (yield from self._end())

    def _close(self) -> None:
        self._closed = True
        self._lines.clear()
        self._rows.clear()
        self._native.close()
        self._events.end()

"""Logs for threads. `_async_logs.py` is the same for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from . import _native
from ._log_values import LogEnd, LogEvent, LogLine, OnEvent
from ._logs import Decoder, LogsBase
from ._steps import Steps, block

T = TypeVar("T")


class Logs(LogsBase):
    r"""The log of one container or several, being read: `for` gives its lines as bytes with their \n.

    A line over 1 MiB comes in pieces. A log that fails raises, once, behind its last line. Events come between the
    lines, as far as these are read: to `on_event`, or to `events()` in another thread. A second read at a time is a
    `RuntimeError`. A slow reader slows the node's kubelet. `with` closes the connections, as does dropping it.
    """

    def __init__(
        self, native: _native.Logs, what: str, on_event: OnEvent | None, tell: Callable[[], object] | None = None
    ) -> None:
        super().__init__(native, what, on_event)
        self._tell = tell

    def _run(self, steps: Steps[T]) -> T:
        self._begin()
        try:
            return block(steps, self._tell)
        finally:
            self._reading.release()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return self._lines.popleft()
        except IndexError:
            pass
        if line := self._run(self._line()):
            return line
        raise StopIteration

    def lines(self, encoding: str = "utf-8", errors: str = "replace") -> Text:
        r"""Iterates over the lines as text, with their \n."""
        return Text(self, encoding, errors)

    def batches(self) -> Items[list[LogLine]]:
        """Iterates over lists of lines with all that is known of each, at most 256 lines at a time."""
        return Items(lambda: self._run(self._batch()))

    def chunks(self) -> Items[bytes]:
        """Iterates over the bytes as they come: whole lines, about 96 KiB at a time at most."""
        return Items(lambda: self._run(self._chunk()))

    def events(self) -> Items[LogEvent]:
        """Iterates over the events, beside whoever reads. `InvalidError` where they go to `on_event`."""
        events = self._event_source()
        return Items(lambda: block(events.next()))

    def wait(self) -> LogEnd:
        """Waits for the end. Without a reader it comes for small logs only: the rest waits to be read.

        Raises `ConnectionLostError` where it was cut and is not resumed or its container's end is not known,
        `NotFoundError`, `ForbiddenError`, ... as the server says, `ClosedError`.
        """
        return block(self._wait(), self._tell)

    def close(self) -> None:
        """Ends the connections and drops what was not read. Again does nothing."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()


class Items(Generic[T]):
    """Things that come one by one; what is empty is the end."""

    def __init__(self, following: Callable[[], T | None]) -> None:
        self._following = following

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if item := self._following():
            return item
        raise StopIteration


class Text:
    """Lines as text."""

    def __init__(self, logs: Logs, encoding: str, errors: str) -> None:
        self._logs = logs
        self._decoder = Decoder(encoding, errors)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        logs, text = self._logs, ""
        while not text:
            row = logs._rows.popleft() if logs._rows else logs._run(logs._row())
            text = self._decoder.decode(row) if row else self._decoder.flush()
            if not row:
                break
        if text:
            return text
        raise StopIteration

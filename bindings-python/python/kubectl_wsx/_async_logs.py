"""Logs for asyncio. `_blocking_logs.py` is the same without `await`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from . import _native
from ._log_values import LogEnd, LogEvent, LogLine, OnEvent
from ._logs import Decoder, LogsBase
from ._steps import Steps, Turn, drive

T = TypeVar("T")


class AsyncLogs(LogsBase):
    r"""The log of one container or several, being read: `async for` gives its lines as bytes with their \n.

    A line over 1 MiB comes in pieces. A log that fails raises, once, behind its last line. Events come between the
    lines, as far as these are read: to `on_event`, or to `events()`. A cancelled read loses nothing; a second one
    at a time is a `RuntimeError`. A slow reader slows the node's kubelet. `async with` closes the connections, as
    does dropping it.
    """

    def __init__(self, native: _native.Logs, what: str, on_event: OnEvent | None) -> None:
        super().__init__(native, what, on_event)
        self._turn = Turn()

    async def _run(self, steps: Steps[T]) -> T:
        self._begin()
        try:
            return await drive(steps, self._turn)
        finally:
            self._reading.release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return self._lines.popleft()
        except IndexError:
            pass
        if line := await self._run(self._line()):
            return line
        raise StopAsyncIteration

    def lines(self, encoding: str = "utf-8", errors: str = "replace") -> AsyncText:
        r"""Iterates over the lines as text, with their \n."""
        return AsyncText(self, encoding, errors)

    def batches(self) -> AsyncItems[list[LogLine]]:
        """Iterates over lists of lines with all that is known of each, at most 256 lines at a time."""
        return AsyncItems(lambda: self._run(self._batch()))

    def chunks(self) -> AsyncItems[bytes]:
        """Iterates over the bytes as they come: whole lines, about 96 KiB at a time at most."""
        return AsyncItems(lambda: self._run(self._chunk()))

    def events(self) -> AsyncItems[LogEvent]:
        """Iterates over the events, beside whoever reads. `InvalidError` where they go to `on_event`."""
        events = self._event_source()
        return AsyncItems(lambda: drive(events.next()))

    async def wait(self) -> LogEnd:
        """Waits for the end. Without a reader it comes for small logs only: the rest waits to be read.

        Raises `ConnectionLostError` where it was cut and is not resumed or its container's end is not known,
        `NotFoundError`, `ForbiddenError`, ... as the server says, `ClosedError`. Nothing is lost when it is cancelled.
        """
        return await drive(self._wait())

    async def close(self) -> None:
        """Ends the connections and drops what was not read. Again does nothing."""
        self._close()

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()


class AsyncItems(Generic[T]):
    """Things that come one by one; what is empty is the end. A cancelled wait can be tried again."""

    def __init__(self, following: Callable[[], Awaitable[T | None]]) -> None:
        self._following = following

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if item := await self._following():
            return item
        raise StopAsyncIteration


class AsyncText:
    """Lines as text."""

    def __init__(self, logs: AsyncLogs, encoding: str, errors: str) -> None:
        self._logs = logs
        self._decoder = Decoder(encoding, errors)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        logs, text = self._logs, ""
        while not text:
            row = logs._rows.popleft() if logs._rows else await logs._run(logs._row())
            text = self._decoder.decode(row) if row else self._decoder.flush()
            if not row:
                break
        if text:
            return text
        raise StopAsyncIteration

"""How reads and writes are put together; `_async.py` and `_blocking.py` only drive this.

A reader holds two things that were taken and not given out: `_head`, bytes of a read that was
interrupted, and behind it `_lines`, whole lines of a batch. Every kind of read looks there first.
"""

from __future__ import annotations

import threading
from collections import deque

from . import _native
from ._options import Buffer, buffer
from ._steps import Steps, finished
from .errors import ClosedError, WsxError

#: The largest piece that one read takes.
CHUNK = 256 * 1024
#: A batch of lines ends at so many of them, or at `CHUNK` bytes.
BATCH = 256
#: How much may wait to be sent before `write` refuses.
WRITE_LIMIT = 16 * 1024 * 1024


class ReaderBase:
    """Output of the remote command."""

    __slots__ = ("_native", "_head", "_lines", "_reading", "_told")

    def __init__(self, native: _native.Stream) -> None:
        self._native = native
        self._head = bytearray()
        self._lines: deque[bytes] = deque()
        self._reading = threading.Lock()
        self._told = False

    def at_eof(self) -> bool:
        """Tells whether everything was read and nothing will come."""
        return not self._head and not self._lines and self._native.is_at_end()

    def _begin(self) -> None:
        """Refuses a second reader at a time."""
        if not self._reading.acquire(blocking=False):
            raise RuntimeError("this stream is being read by somebody else")

    def _take(self, size: int) -> bytes | None:
        """Takes at most `size` bytes behind the head: None when nothing is there yet, b"" at the end."""
        if not self._lines:
            return self._native.try_read(size)
        line = self._lines.popleft()
        if len(line) > size:
            self._lines.appendleft(line[size:])
        return line[:size]

    def _ended(self) -> Steps[None]:
        """Raises, once, why the output ended without a status of the command."""
        if not self._told:
            try:
                yield from finished(self._native.wait())
            except WsxError:
                self._told = True
                raise
            self._told = True

    def _rest(self) -> bytes:
        return self._cut(len(self._head))

    def _cut(self, size: int) -> bytes:
        data = bytes(memoryview(self._head)[:size])
        del self._head[:size]
        return data

    def _fill(self, size: int | None) -> Steps[bool]:
        """Grows the head to `size` bytes, or to the end; tells whether there was enough."""
        while size is None or len(self._head) < size:
            data = self._take(CHUNK if size is None else size - len(self._head))
            if data is None:
                yield (self._native.arm,)
            elif data:
                self._head += data
                yield ()
            else:
                yield from self._ended()
                return False
        return True

    def _read(self, size: int) -> Steps[bytes]:
        if size < 0:
            yield from self._fill(None)
            return self._rest()
        if self._head or size == 0:
            return self._cut(size)
        while (data := self._take(size)) is None:
            yield (self._native.arm,)
        if not data:
            yield from self._ended()
        return data

    def _readexactly(self, size: int) -> Steps[bytes]:
        if size < 0:
            raise ValueError("readexactly size can not be less than zero")
        if (yield from self._fill(size)):
            return self._cut(size)
        from asyncio import IncompleteReadError

        raise IncompleteReadError(self._rest(), size)

    def _readline(self) -> Steps[bytes]:
        if end := self._head.find(b"\n") + 1:
            return self._cut(end)
        while not self._lines:
            lines = self._native.try_lines(BATCH, CHUNK)
            if lines is None:
                yield (self._native.arm_line,)
            elif lines:
                self._lines.extend(lines)
            else:
                yield from self._ended()
                break
        line = self._lines.popleft() if self._lines else b""
        return self._rest() + line if self._head else line

    def _readinto(self, target: bytearray | memoryview) -> Steps[int]:
        view = memoryview(target).cast("B")
        data = yield from self._read(len(view))
        view[: len(data)] = data
        return len(data)


class WriterBase:
    """Input of the remote command."""

    __slots__ = ("_native", "_closed")

    def __init__(self, native: _native.Stdin) -> None:
        self._native = native
        self._closed = False

    def write(self, data: Buffer) -> None:
        """Hands over all of `data` and returns at once; `drain()` waits until there is room for more.

        Raises `ClosedError` when the remote side takes no more, and `BufferError`, having taken nothing,
        when more than 16 MiB would wait to be sent.
        """
        view = memoryview(buffer("data", data))
        if self._closed:
            raise ClosedError("stdin is closed")
        waiting = self._native.waiting()
        if waiting + view.nbytes > WRITE_LIMIT:
            raise BufferError(f"{waiting} bytes wait to be sent and {view.nbytes} more were written: call drain()")
        self._native.write(view)

    def close(self) -> None:
        """Ends the input: the command sees end of file, and a terminal Ctrl-D. Output goes on."""
        self._closed = True
        self._native.end()

    def is_closing(self) -> bool:
        """Tells whether the input was ended."""
        return self._closed

    def _drain(self) -> Steps[None]:
        return drained(self._native)


def drained(stdin: _native.Stdin) -> Steps[None]:
    """Waits until there is room; raises `ClosedError` when the remote side takes no more."""
    while not (yield (stdin.arm,)):
        pass

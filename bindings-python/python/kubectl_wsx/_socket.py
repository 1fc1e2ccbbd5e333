"""A connection of a port-forward for threads: like a socket that is connected, without one."""

from __future__ import annotations

import errno
import io
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from . import _native
from ._options import Buffer, buffer
from ._steps import SLICE, Arm
from .errors import ClosedError, InvalidError, WsxError, WsxTimeoutError

#: What is handed over at once.
PIECE = 64 * 1024


class ForwardSocket:
    """A connection to a port of a pod, with the methods of `socket.socket`.

    Where the pod ended it, `recv` gives b""; where it was cut, it raises, behind the last byte:
    `ConnectionLostError`, `NotStartedError` where the pod refused the port, `ClosedError`. Threads may share it.
    `with` closes it. It has no descriptor: `select` and `ssl` cannot use it.
    """

    def __init__(self, native: _native.Connection, owner: object) -> None:
        self._native = native
        #: For as long as there is a connection, there is its port-forward.
        self._owner = owner
        self._timeout: float | None = None
        self._unread = False
        self._files = 0
        self._closed = False
        self._gone = False

    def settimeout(self, value: float | None) -> None:
        """Sets how many seconds a call may wait: `WsxTimeoutError`, a `TimeoutError`, then; 0 does not wait, and
        is a `BlockingIOError`. Nothing is lost. Waiting ends up to 50 ms late."""
        if value is not None and not value >= 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        """Returns what was set."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """Sets no limit, or 0."""
        self.settimeout(None if flag else 0.0)

    def recv(self, bufsize: int) -> bytes:
        """Reads at most `bufsize` bytes, as soon as there are any. b"" is the end that the pod gave."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        return self._receive(bufsize)

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0) -> int:
        """Reads into `buffer`, at most `nbytes` bytes or all that fit; returns how many."""
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError("recv_into needs a buffer that can be written to")
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        data = self._receive(min(nbytes or len(view), len(view)))
        view[: len(data)] = data
        return len(data)

    def send(self, data: Buffer) -> int:
        """Hands over some of `data`, as soon as there is room; returns how much."""
        return self._send(memoryview(buffer("data", data)).cast("B"), self._deadline())

    def sendall(self, data: Buffer) -> None:
        """Hands over all of `data`. When it raises, it is not known how much of it was."""
        view, deadline = memoryview(buffer("data", data)).cast("B"), self._deadline()
        while view:
            view = view[self._send(view, deadline) :]

    def shutdown(self, how: int) -> None:
        """Ends writing (SHUT_WR), reading (SHUT_RD) or both. When the pod learns that nothing more is written is up to
        the option `half_close`."""
        if how not in (0, 1, 2):
            raise InvalidError(f"shutdown takes SHUT_RD, SHUT_WR or SHUT_RDWR, not {how!r}")
        self._check()
        self._unread = self._unread or how != 1
        if how != 0:
            self._native.end()

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Returns a file, as `socket.makefile` does. The connection lasts until it and all of its files are closed."""
        if not set(mode) <= set("rwb") or not set(mode) & set("rw"):
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        binary = "b" in mode
        if buffering == 0 and not binary:
            raise ValueError("unbuffered streams must be binary")
        self._check()
        raw = ForwardFile(self, "r" in mode, "w" in mode)
        self._files += 1
        if buffering == 0:
            return raw  # type: ignore[return-value]
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        file: Any
        if "r" in mode and "w" in mode:
            file = io.BufferedRWPair(raw, raw, size)
        else:
            file = io.BufferedReader(raw, size) if "r" in mode else io.BufferedWriter(raw, size)
        return file if binary else io.TextIOWrapper(file, encoding, errors, newline)

    def close(self) -> None:
        """Closes the connection, or leaves that to its files. Again does nothing.

        It does not wait: what was written has up to 5 s to get across, which closing the port-forward waits for.
        """
        self._closed = True
        if self._files == 0 and not self._gone:
            self._gone = True
            self._native.close(b"")

    def abort(self) -> None:
        """Resets the connection. Again does nothing."""
        self._closed = self._gone = True
        self._native.abort()

    def fileno(self) -> int:
        """It has none: -1."""
        return -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ForwardSocket of {self._owner!r}{' closed' if self._closed else ''}>"

    def __del__(self) -> None:
        if not getattr(self, "_gone", True):
            with suppress(WsxError):  # a forked child owns nothing of its parent
                self._native.abort()
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self)

    def _check(self) -> None:
        if self._gone or self._closed and not self._files:
            raise ClosedError("the connection is closed")

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _receive(self, size: int) -> bytes:
        self._check()
        if size == 0:
            return b""
        deadline = self._deadline()
        while not self._unread:
            data = self._native.try_read(size)
            if data is not None:
                return data
            self._await(self._native.arm, deadline, "read")
        return b""

    def _send(self, view: memoryview, deadline: float | None) -> int:
        self._check()
        piece = view[:PIECE]
        while not self._native.write(piece):
            self._await(self._native.arm_room, deadline, "write")
        return len(piece)

    def _await(self, arm: Arm, deadline: float | None, what: str) -> None:
        """Waits in slices, between which signals are looked at."""
        waiter = _native.Waiter()
        ready = arm(waiter)
        while not ready:
            left = SLICE if deadline is None else min(SLICE, int((deadline - time.monotonic()) * 1000) + 1)
            if self._timeout == 0:
                raise BlockingIOError(errno.EAGAIN, f"nothing to {what} without waiting")
            if left <= 0:
                raise WsxTimeoutError(f"nothing to {what} in {self._timeout} s", remedies=["settimeout()"])
            ready = waiter.wait(left)

    def _file_closed(self) -> None:
        self._files -= 1
        if self._closed:
            self.close()


class ForwardFile(io.RawIOBase):
    """A connection as a file."""

    def __init__(self, socket: ForwardSocket, reads: bool, writes: bool) -> None:
        self._socket = socket
        self._reads = reads
        self._writes = writes
        self._late = False

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return self._writes

    def readinto(self, target: Any) -> int | None:
        if self._late:  # what a buffer had taken by then is gone
            raise OSError("cannot read from timed out object")
        try:
            return self._socket.recv_into(target)
        except BlockingIOError:
            return None
        except TimeoutError:
            self._late = True
            raise

    def write(self, data: Any) -> int | None:
        try:
            return self._socket.send(memoryview(data))
        except BlockingIOError:
            return None

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._socket._file_closed()

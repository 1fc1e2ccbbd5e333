"""Port-forwards for threads. `_async_forward.py` is the same for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from . import _native
from ._blocking_logs import Items
from ._forward import PortForwardBase
from ._forward_values import ForwardEvent
from ._socket import ForwardSocket
from ._steps import block


class PortForward(PortForwardBase):
    """A running port-forward. It goes on, over lost sessions and replaced pods, until it is closed.

    `with` closes it. Dropping it ends it at once, when nobody has a connection of `open()` any more.
    """

    def __init__(
        self, native: _native.PortForward, what: str, ports: list[str], tell: Callable[[], object] | None = None
    ) -> None:
        super().__init__(native, what, ports)
        self._tell = tell

    def open(self, port: int | str | None = None) -> ForwardSocket:
        """Opens a connection to one of the ports that were asked for, without a local socket.

        What it gives is like a `socket.socket` that is connected: `http.client` takes it as `connection.sock`.

        Raises `InvalidError` for another port, `NotStartedError` when there is no session in `hold` seconds,
        `ClosedError` when all is over.
        """
        return ForwardSocket(block(self._open(port), self._tell), self)

    def events(self) -> Items[ForwardEvent]:
        """Iterates over what happens, to the end. Each event is given out once, whoever asks."""
        return Items(lambda: block(self._event(), self._tell))

    def wait(self) -> None:
        """Waits for the end. Raises what ended it for good; nothing after `close()`.

        `ConnectionLostError` where nothing is opened anew, `NotStartedError` when no pod came in time,
        `NotFoundError`, `ForbiddenError`, ... as the server says.
        """
        block(self._wait(), self._tell)

    def close(self) -> None:
        """Ends it: nothing is listened on, connections are reset. Again does nothing.

        Those that were closed before have up to 5 s to bring across what was written to them.
        """
        block(self._end(), self._tell)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

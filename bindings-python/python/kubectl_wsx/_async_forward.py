"""Port-forwards for asyncio. `_blocking_forward.py` is the same without `await`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from ._async_logs import AsyncItems
from ._forward import PortForwardBase
from ._forward_values import ForwardEvent
from ._steps import drive

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter


class AsyncPortForward(PortForwardBase):
    """A running port-forward. It goes on, over lost sessions and replaced pods, until it is closed.

    `async with` closes it. Dropping it ends it at once, when nobody has a connection of `open()` any more.
    """

    async def open(self, port: int | str | None = None) -> tuple[StreamReader, StreamWriter]:
        """Opens a connection to one of the ports that were asked for, without a local socket.

        The reader raises what cut the connection, behind the last byte: `ConnectionLostError`, `NotStartedError`
        where the pod refused it, `ClosedError`; only where the pod ended it there is an end. A cancelled read has
        taken nothing. `writer.close()` still brings across what was written and waits up to 5 s for the pod to end;
        `await writer.wait_closed()` raises where it may not have arrived. `writer.transport.abort()` is at once.

        Raises `InvalidError` for another port, `NotStartedError` when there is no session in `hold` seconds,
        `ClosedError` when all is over. When it is cancelled the connection is given up.
        """
        native = await drive(self._open(port))
        from ._transport import connect  # which needs asyncio

        return connect(native, self)

    def events(self) -> AsyncItems[ForwardEvent]:
        """Iterates over what happens, to the end. Each event is given out once, whoever asks."""
        return AsyncItems(lambda: drive(self._event()))

    async def wait(self) -> None:
        """Waits for the end. Raises what ended it for good; nothing after `close()`. Can be cancelled.

        `ConnectionLostError` where nothing is opened anew, `NotStartedError` when no pod came in time,
        `NotFoundError`, `ForbiddenError`, ... as the server says.
        """
        await drive(self._wait())

    async def close(self) -> None:
        """Ends it: nothing is listened on, connections are reset. Again does nothing.

        Those that were closed before have up to 5 s to bring across what was written to them; when it is
        cancelled they have not.
        """
        await drive(self._end())

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

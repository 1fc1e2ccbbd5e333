"""Port-forwards, as far as they are the same for both clients; `_async_forward.py` and `_blocking_forward.py` only
drive this."""

from __future__ import annotations

import warnings
from contextlib import suppress

from . import _native
from ._forward_values import ForwardedPort, ForwardEvent, ForwardReport
from ._steps import Steps, finished
from .errors import ClosedError, InvalidError, WsxError


class PortForwardBase:
    """A running port-forward."""

    def __init__(self, native: _native.PortForward, what: str, ports: list[str]) -> None:
        self._native = native
        self._what = what
        #: The ports of the other side, as they were asked for.
        self._remotes = list(dict.fromkeys(port.rpartition(":")[2] for port in ports))
        self._ports = [ForwardedPort(*port) for port in native.local_ports()]
        self._closed = False

    @property
    def local_ports(self) -> list[ForwardedPort]:
        """What is listened on: one record for each address of each port."""
        return list(self._ports)

    @property
    def local_port(self) -> int:
        """The local port, where one was asked for. `InvalidError` where several are, or none is, listened on."""
        numbers = {port.local for port in self._ports if port.local}
        if len(numbers) == 1:
            return numbers.pop()
        raise InvalidError(f"{len(numbers)} local ports are listened on, not one", remedies=["local_ports"])

    def report(self) -> ForwardReport:
        """What was done so far, in numbers."""
        return ForwardReport(*self._native.report())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._what} {' '.join(self._remotes)}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not self._over():
            warnings.warn(f"unclosed port-forward: {self._what}", ResourceWarning, source=self)

    def _over(self) -> bool:
        try:
            return self._native.has_ended()
        except ClosedError:  # a forked child owns nothing of its parent
            return True

    def _open(self, port: int | str | None) -> Steps[_native.Connection]:
        if isinstance(port, bool) or not isinstance(port, (int, str, type(None))):
            raise TypeError(f"a port must be int or str, not {type(port).__name__}")
        if port is None and len(self._remotes) > 1:
            ports = ", ".join(self._remotes)
            raise InvalidError("several ports are forwarded: say which one to open", why=f"there are {ports}")
        if self._closed:
            raise ClosedError("the port-forward is closed")
        name = self._remotes[0] if port is None else str(port)
        connection: _native.Connection = yield from finished(self._native.open(name))
        return connection

    def _event(self) -> Steps[ForwardEvent | None]:
        """Waits for the next event; None at the end."""
        while (event := self._native.take_event()) is None:
            if self._native.has_ended():
                return None
            yield (self._native.arm,)
        return event

    def _wait(self) -> Steps[None]:
        while not (yield (self._native.arm_end,)):
            pass
        yield from finished(self._native.end())

    def _idle(self) -> Steps[None]:
        """Waits for connections that were closed and have still to bring across what was written."""
        while not (yield (self._native.arm_idle,)):
            pass

    def _end(self) -> Steps[None]:
        self._closed = True
        try:
            yield from self._idle()
        finally:
            self._native.close()
        with suppress(WsxError):  # nobody wants to know any more
            yield from self._wait()

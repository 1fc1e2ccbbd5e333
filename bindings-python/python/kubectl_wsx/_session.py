"""Clients and processes, as far as they are the same for both: everything but the waiting."""

from __future__ import annotations

import io
import threading
import warnings
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import IO, Any, TypeVar

from . import _native
from ._forward import PortForwardBase
from ._forward_values import ForwardOptions
from ._kubernetes import options_of
from ._log_values import LogsOptions
from ._logs import LogsBase
from ._options import (
    PIPE,
    Buffer,
    Command,
    ConnectOptions,
    ExecOptions,
    ExitStatus,
    Input,
    Timeouts,
    buffer,
    wanted,
    words,
)
from ._steps import Steps, block, finished
from ._streams import CHUNK, ReaderBase, WriterBase, drained
from .errors import ClosedError, InvalidError, LocalIoError, WsxError

R = TypeVar("R", bound=ReaderBase)


class ProcessBase:
    """A running remote process. Closing it ends the session; the remote process may live on."""

    def __init__(self, native: _native.Process, what: str) -> None:
        self._native = native
        self._what = what
        self._closed = False
        self._failure: WsxError | None = None
        self.stdin: WriterBase | None = None
        self.stdout: ReaderBase | None = None
        self.stderr: ReaderBase | None = None

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it is not known, and for ever where no status came."""
        status = self.status
        return None if status is None else status.code

    @property
    def status(self) -> ExitStatus | None:
        """How the command ended; None while that is not known, and for ever where no status came."""
        status = self._native.status()
        return None if status is None else ExitStatus(*status)

    @property
    def protocol(self) -> str:
        """The subprotocol that was agreed, such as "v5.channel.k8s.io"."""
        return self._native.protocol

    @property
    def has_terminal(self) -> bool:
        """Whether the remote process has a terminal: its error output then arrives on stdout."""
        return self._native.has_terminal

    def resize(self, columns: int, rows: int) -> None:
        """Says the terminal's new size; of several that wait only the last is sent."""
        self._native.resize(columns, rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._what} returncode={self.returncode}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not self._over():
            warnings.warn(f"unclosed process: {self._what}", ResourceWarning, source=self)

    def _over(self) -> bool:
        try:
            return self._native.has_ended()
        except ClosedError:  # a forked child owns nothing of its parent
            return True

    def _wait(self) -> Steps[int]:
        try:
            code, _ = yield from finished(self._native.wait())
        except WsxError as error:
            if self._failure is not None:
                raise self._failure from error
            raise
        return int(code)

    def _collect(self, readers: list[ReaderBase]) -> Steps[None]:
        """Moves all output to the heads of its readers, where a cancelled wait leaves it."""
        open = list(readers)
        while open:
            arms = []
            for reader in list(open):
                data = reader._take(CHUNK)
                if data:
                    reader._head += data
                elif data is None:
                    arms.append(reader._native.arm)
                else:
                    open.remove(reader)
            yield tuple(arms) if len(arms) == len(open) else ()

    def _communicate(self, input: Buffer | None) -> Steps[tuple[bytes, bytes]]:
        if input is not None and self.stdin is None:
            raise InvalidError("there is no stdin for the input", remedies=["exec(..., stdin=PIPE)"])
        with ExitStack() as reading:
            for reader in (self.stdout, self.stderr):
                if reader is not None:
                    reader._begin()
                    reading.callback(reader._reading.release)
            if self.stdin is not None:
                if input:
                    with suppress(ClosedError):  # a command may end without reading; its status tells
                        self.stdin._native.write(buffer("input", input))
                self.stdin.close()
            readers = [reader for reader in (self.stdout, self.stderr) if reader is not None]
            yield from self._collect(readers)
            for reader in readers:
                reader._told = True  # here, in a moment
            yield from self._wait()
            stdout, stderr = (b"" if reader is None else reader._rest() for reader in (self.stdout, self.stderr))
        return stdout, stderr

    def _end(self) -> Steps[None]:
        self._closed = True
        self._native.close()
        self._native.stdout.discard()
        self._native.stderr.discard()
        with suppress(WsxError):  # nobody wants to know any more
            yield from finished(self._native.wait())

    @staticmethod
    def _reader(reader: Callable[[_native.Stream], R], native: _native.Stream, wanted: bool) -> R | None:
        """Returns a reader of what was asked for."""
        return reader(native) if wanted else None

    def _feed(self, input: Input) -> None:
        """Sends all of `input`: bytes at once, a file by a thread that ends with the session."""
        stdin = self._native.stdin
        if stdin is None or isinstance(input, int) or input is None:
            return
        if isinstance(input, (bytes, bytearray, memoryview)):
            stdin.write(input)
            stdin.end()
        else:
            threading.Thread(target=self._copy, args=(input, stdin), name="kubectl-wsx-stdin", daemon=True).start()

    def _copy(self, file: IO[bytes], stdin: _native.Stdin) -> None:
        try:
            with suppress(ClosedError):  # nobody takes more; the status tells why
                while data := file.read(CHUNK):
                    stdin.write(buffer("what was read", data))
                    block(drained(stdin))
                stdin.end()
        except Exception as error:
            self._failure = LocalIoError("cannot read the file for stdin", why=str(error))
            self._failure.__cause__ = error
            self._native.close()


class ClientBase:
    """A cluster that can be entered."""

    def __init__(self) -> None:
        self._native: _native.Client | None = None
        self._options: ConnectOptions | None = None
        #: The configuration that is looked at before each use, and the namespace that was named with it.
        self._given: tuple[Any, str | None] | None = None
        self._closed = True
        self._processes: weakref.WeakSet[ProcessBase] = weakref.WeakSet()
        self._logs: weakref.WeakSet[LogsBase] = weakref.WeakSet()
        self._forwards: weakref.WeakSet[PortForwardBase] = weakref.WeakSet()

    @property
    def namespace(self) -> str:
        """The namespace that is used where none is named."""
        return self._entered().namespace

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._closed else 'open'}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed client: {self!r}", ResourceWarning, source=self)

    def _connect(self, options: ConnectOptions) -> Steps[None]:
        self._native = yield from finished(_native.connect(options))
        self._options = options
        self._closed = False

    def _reconnect(self, given: tuple[Any, str | None]) -> Steps[None]:
        """Takes over what has changed in the configuration."""
        if self._options is not None:
            self._entered()
        options = options_of(*given)
        if options != self._options:
            yield from self._connect(options)

    def _entered(self) -> _native.Client:
        if self._closed or self._native is None:
            raise ClosedError("the client is closed")
        return self._native

    def _version(self) -> Steps[str]:
        version = yield from finished(self._entered().version())
        return str(version)

    def _exec(self, target: str, command: Command, options: ExecOptions) -> Steps[_native.Process]:
        process: _native.Process = yield from finished(self._entered().exec(target, words(command), options))
        return process

    def _attach(self, target: str, options: ExecOptions) -> Steps[_native.Process]:
        process: _native.Process = yield from finished(self._entered().attach(target, options))
        return process

    def _read(self, target: str | None, options: LogsOptions) -> Steps[_native.Logs]:
        logs: _native.Logs = yield from finished(self._entered().logs(target, options))
        return logs

    def _forward(self, target: str, ports: list[str], options: ForwardOptions) -> Steps[_native.PortForward]:
        forward: _native.PortForward = yield from finished(self._entered().port_forward(target, ports, options))
        return forward

    def _run(
        self, target: str, command: Command, options: ExecOptions, input: Buffer | None, limit: int | None
    ) -> Steps[tuple[int, str, bytes, bytes]]:
        operation = self._entered().run(target, words(command), options, input, limit)
        result: tuple[int, str, bytes, bytes] = yield from finished(operation)
        return result

    def _end(self) -> Steps[None]:
        self._closed = True
        for logs in list(self._logs):
            logs._close()
        processes = [process for process in self._processes if not process._closed]
        for process in processes:
            process._native.close()
        forwards = [forward for forward in self._forwards if not forward._closed]
        try:
            for forward in forwards:
                forward._closed = True
                yield from forward._idle()
        finally:
            for forward in forwards:
                forward._native.close()
        for forward in forwards:
            yield from forward._end()
        for process in processes:
            yield from process._end()
        self._native = None


def exec_options(
    *,
    namespace: str | None,
    container: str | None,
    stdin: Input,
    stdout: int,
    stderr: int,
    tty: bool,
    size: tuple[int, int] | None,
    protocol: str,
    timeouts: Timeouts | None,
    verify: str = "auto",
    preflight: bool = True,
) -> ExecOptions:
    """Returns what to ask of the core."""
    return ExecOptions(
        namespace=namespace,
        container=container,
        stdin=_has_input(stdin),
        stdout=wanted("stdout", stdout),
        stderr=wanted("stderr", stderr),
        tty=tty,
        size=size,
        protocol=protocol,
        verify=verify,
        preflight=preflight,
        timeouts=timeouts,
    )


def _has_input(stdin: Input) -> bool:
    if stdin is None or stdin == PIPE:
        return stdin is not None
    if isinstance(stdin, io.TextIOBase):
        raise TypeError('the file for stdin is open as text: open it with mode "rb"')
    if isinstance(stdin, (int, str)) or not hasattr(stdin, "read"):
        buffer("stdin", stdin)
    return True

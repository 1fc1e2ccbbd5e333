"""For asyncio: `AsyncClient`, and what it gives out. `_blocking.py` is the same without `await`."""

from __future__ import annotations

import codecs
import inspect
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from . import _native
from ._async_forward import AsyncPortForward
from ._async_logs import AsyncLogs
from ._forward_values import (
    Balance,
    ForwardOptions,
    ForwardProtocol,
    HalfClose,
    OnConflict,
    Reconnect,
    addresses,
    tries,
    wanted_ports,
)
from ._kubernetes import refresh
from ._log_values import LogProtocol, LogsOptions, OnEvent, point
from ._options import (
    PIPE,
    Buffer,
    Command,
    CompletedProcess,
    ConnectOptions,
    ExecOptions,
    Input,
    Notify,
    Path,
    Protocol,
    Timeouts,
    Verify,
    checked,
    decoded,
    encoded,
    limited,
)
from ._session import ClientBase, ProcessBase, exec_options
from ._steps import Steps, Turn, drive
from ._streams import CHUNK, ReaderBase, WriterBase

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")


class AsyncReader(ReaderBase):
    """Output of the remote command, like `asyncio.StreamReader`.

    It ends where the command reported a status. Where none came, the error that `wait()` raises is raised
    once, behind the last byte; what an interrupted or failed read had taken is given out by the next one.
    A cancelled read loses nothing; a second one at a time is a `RuntimeError`.
    """

    __slots__ = ("_turn",)

    def __init__(self, native: _native.Stream) -> None:
        super().__init__(native)
        self._turn = Turn()

    async def _run(self, steps: Steps[T]) -> T:
        self._begin()
        try:
            return await drive(steps, self._turn)
        finally:
            self._reading.release()

    def _at_once(self, size: int) -> bytes | None:
        """Takes what is there, without the cost of a wait; nothing where `_run` has more to look at."""
        if size <= 0 or not self._turn.quick or self._head or self._lines or self._reading.locked():
            return None
        self._turn.quick -= 1
        return self._native.try_read(size)

    async def read(self, n: int = -1) -> bytes:
        """Reads at most `n` bytes, as soon as there are any; all to the end without `n`. b"" is the end."""
        if data := self._at_once(n):
            return data
        return await self._run(self._read(n))

    async def readexactly(self, n: int) -> bytes:
        """Reads `n` bytes; `asyncio.IncompleteReadError` holds what came before the end."""
        return await self._run(self._readexactly(n))

    async def readline(self) -> bytes:
        r"""Reads a line with its \n; the last one may have none. A line over 1 MiB comes in pieces."""
        return await self._run(self._readline())

    async def readinto(self, buffer: bytearray | memoryview) -> int:
        """Reads into `buffer`, as soon as there are bytes; returns how many, 0 at the end."""
        return await self._run(self._readinto(buffer))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._head:
            try:
                return self._lines.popleft()
            except IndexError:
                pass
        if line := await self._run(self._readline()):
            return line
        raise StopAsyncIteration

    def chunks(self) -> AsyncChunks:
        """Iterates over the bytes as they come, in pieces of at most 256 KiB."""
        return AsyncChunks(self)

    def lines(self, encoding: str = "utf-8", errors: str = "strict") -> AsyncLines:
        r"""Iterates over the lines as text, with their \n."""
        return AsyncLines(self, encoding, errors)


class AsyncChunks:
    """Pieces of an output."""

    def __init__(self, reader: AsyncReader) -> None:
        self._reader = reader

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if data := self._reader._at_once(CHUNK) or await self._reader.read(CHUNK):
            return data
        raise StopAsyncIteration


class AsyncLines:
    """Lines of an output, as text."""

    def __init__(self, reader: AsyncReader, encoding: str, errors: str) -> None:
        self._reader = reader
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        line = await self._reader.readline()
        if text := self._decoder.decode(line, final=not line):
            return text
        raise StopAsyncIteration


class AsyncWriter(WriterBase):
    """Input of the remote command, like `asyncio.StreamWriter`."""

    __slots__ = ("_turn",)

    def __init__(self, native: _native.Stdin) -> None:
        super().__init__(native)
        self._turn = Turn()

    async def drain(self) -> None:
        """Waits until there is room for more; raises `ClosedError` when the remote side takes no more.

        Nothing is lost when it is cancelled."""
        await drive(self._drain(), self._turn)

    async def wait_closed(self) -> None:
        """For code written for asyncio: there is nothing to wait for, what was written goes on being sent."""


class AsyncProcess(ProcessBase):
    """A running remote process, like `asyncio.subprocess.Process`. `async with` closes the session."""

    stdin: AsyncWriter | None
    stdout: AsyncReader | None
    stderr: AsyncReader | None

    async def wait(self) -> int:
        """Waits for the exit code. An output that nobody reads can hold it up, as with `subprocess`.

        Raises `ConnectionLostError` or `ProtocolError` when no status came, `NotStartedError`,
        `WsxTimeoutError`, `ClosedError`. Nothing is lost when it is cancelled.
        """
        return await drive(self._wait())

    async def communicate(self, input: Buffer | None = None) -> tuple[bytes, bytes]:
        """Sends all input, reads both outputs to the end, waits. Raises what `wait` raises.

        What was read when it is cancelled or raises can still be read.
        """
        return await drive(self._communicate(input))

    async def close(self) -> None:
        """Ends the session and waits until the connection is gone. Again does nothing."""
        await drive(self._end())

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AsyncClient(ClientBase):
    """A cluster that can be entered from asyncio. Any number of tasks may share one, in any event loop."""

    @classmethod
    async def connect(
        cls,
        kubeconfig: Path | None = None,
        *,
        context: str | None = None,
        cluster: str | None = None,
        user: str | None = None,
        namespace: str | None = None,
        server: str | None = None,
        token: str | None = None,
        impersonate: str | None = None,
        impersonate_groups: list[str] | None = None,
        certificate_authority: Path | None = None,
        client_certificate: Path | None = None,
        client_key: Path | None = None,
        insecure_skip_tls_verify: bool = False,
        tls_server_name: str | None = None,
        request_timeout: float | None = None,
        on_notice: Notify | None = None,
    ) -> Self:
        """Loads the kubeconfig as kubectl does and prepares a client; nothing is sent yet.

        `on_notice` is called on this event loop with a level ("detail", "note", "warning") and a line of
        text. Raises `ConfigError`.
        """
        options = ConnectOptions(
            kubeconfig=kubeconfig,
            context=context,
            cluster=cluster,
            user=user,
            namespace=namespace,
            server=server,
            token=token,
            impersonate=impersonate,
            impersonate_groups=impersonate_groups,
            certificate_authority=certificate_authority,
            client_certificate=client_certificate,
            client_key=client_key,
            insecure_skip_tls_verify=insecure_skip_tls_verify,
            tls_server_name=tls_server_name,
            request_timeout=request_timeout,
            on_notice=_on_this_loop(on_notice),
        )
        client = cls()
        await drive(client._connect(options))
        return client

    @classmethod
    async def from_kubernetes(cls, configuration: Any, *, namespace: str | None = None) -> Self:
        """Prepares a client from a `kubernetes.client.Configuration`; its `refresh_api_key_hook` is called
        before each use. Raises `TypeError`, `ConfigError`, `InvalidError`."""
        client = cls()
        client._given = configuration, namespace
        await client._renew()
        return client

    async def exec(
        self,
        target: str,
        command: Command,
        *,
        namespace: str | None = None,
        container: str | None = None,
        stdin: Input = None,
        stdout: int = PIPE,
        stderr: int = PIPE,
        tty: bool = False,
        size: tuple[int, int] | None = None,
        protocol: Protocol = "auto",
        verify: Verify = "auto",
        preflight: bool = True,
        timeouts: Timeouts | None = None,
    ) -> AsyncProcess:
        """Starts `command` in a container of `target`: "POD" or "TYPE/NAME" such as "deploy/web".

        `stdin` is None, PIPE, bytes or a binary file; `stdout` and `stderr` are PIPE or DEVNULL. With `tty`
        error output arrives on stdout, and `size` is (columns, rows). The command is sent at most once:
        errors whose `may_have_started` is false say that it did not start. When it is cancelled the
        connection is closed, and the command may have been started.
        """
        options = exec_options(
            namespace=namespace,
            container=container,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            tty=tty,
            size=size,
            protocol=protocol,
            verify=verify,
            preflight=preflight,
            timeouts=timeouts,
        )
        await self._renew()
        native = await drive(self._exec(target, command, options))
        return self._started(native, target, stdin, options)

    async def attach(
        self,
        target: str,
        *,
        namespace: str | None = None,
        container: str | None = None,
        stdin: Input = None,
        stdout: int = PIPE,
        stderr: int = PIPE,
        tty: bool = False,
        size: tuple[int, int] | None = None,
        protocol: Protocol = "auto",
        timeouts: Timeouts | None = None,
    ) -> AsyncProcess:
        """Joins the main process of a container of `target`: its output from now on, and its input where it has one.

        The exit code is the container's own; a stream that ends while the container runs on is
        `ConnectionLostError`. The terminal is the container's, whatever `tty` says: `process.has_terminal` tells.
        `InvalidError` when `stdin` is asked of a container that was made without. When it is cancelled the
        connection is closed, and the process goes on.
        """
        options = exec_options(
            namespace=namespace,
            container=container,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            tty=tty,
            size=size,
            protocol=protocol,
            timeouts=timeouts,
        )
        await self._renew()
        native = await drive(self._attach(target, options))
        return self._started(native, target, stdin, options)

    async def logs(
        self,
        target: str | None = None,
        *,
        namespace: str | None = None,
        selector: str | None = None,
        all_namespaces: bool = False,
        all_pods: bool = False,
        container: str | None = None,
        all_containers: bool = False,
        follow: bool = False,
        forever: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since: float | None = None,
        since_time: str | datetime | None = None,
        limit_bytes: int | None = None,
        timestamps: bool = False,
        resume: bool = True,
        ignore_errors: bool = False,
        max_log_requests: int = 50,
        sort_window: float | None = None,
        protocol: LogProtocol = "auto",
        timeouts: Timeouts | None = None,
        on_event: OnEvent | None = None,
    ) -> AsyncLogs:
        """Reads the log of a container of `target`, "POD" or "TYPE/NAME", or the logs of all pods that `selector`
        finds. Raises what is wrong with the target; what is wrong with its log, reading and `wait()` raise.

        Without `follow` it ends with what there is. With it, it goes on while the container runs, over lost connections,
        restarts and rotations: no line twice, none missing without a "gap" event; new pods of a selector join.
        `forever` also waits for what is not there yet and never gives up. Without `resume` a cut is an error.
        Times are in seconds, `since_time` is RFC 3339 or a datetime with a time zone. `sort_window` merges several
        logs by their timestamps and holds a line back for so long at most; at most `max_log_requests` are followed at
        once. Without `ignore_errors` the first log that fails ends all. Events go to `on_event`, which is called by
        whoever reads, at their place between the lines; else to `logs.events()`. Of `timeouts`, `connect`,
        `keepalive`, `keepalive_timeout` (15) and `pod_running` (20) are for logs. When it is cancelled the
        connections are closed.
        """
        options = LogsOptions(
            namespace=namespace,
            selector=selector,
            all_namespaces=all_namespaces,
            all_pods=all_pods,
            container=container,
            all_containers=all_containers,
            follow=follow,
            forever=forever,
            previous=previous,
            tail_lines=tail_lines,
            since=since,
            since_time=point(since_time),
            limit_bytes=limit_bytes,
            timestamps=timestamps,
            resume=resume,
            ignore_errors=ignore_errors,
            max_log_requests=max_log_requests,
            sort_window=sort_window,
            protocol=protocol,
            timeouts=timeouts,
        )
        await self._renew()
        native = await drive(self._read(target, options))
        logs = AsyncLogs(native, target or "selected pods", on_event)
        self._logs.add(logs)
        return logs

    async def port_forward(
        self,
        target: str,
        *ports: int | str,
        namespace: str | None = None,
        address: Sequence[str] = ("localhost",),
        balance: Balance | None = None,
        half_close: HalfClose = "auto",
        hold: float = 5,
        on_conflict: OnConflict = "fail",
        protocol: ForwardProtocol = "auto",
        reconnect: Reconnect = "auto",
        require_ready: bool = True,
        sessions: int = 1,
        unix: Path | None = None,
        wait: float = 60,
        timeouts: Timeouts | None = None,
    ) -> AsyncPortForward:
        """Forwards local ports to ports of `target`, "POD" or "TYPE/NAME": 80, "8080:80", ":http" (any local port).

        It goes on until it is closed: a lost session is replaced (`reconnect`: "auto", "never", or so many failures
        in a row), and so is a pod, by a ready one of the target or the next one of its name, within `wait` seconds;
        a connection that comes meanwhile is held for `hold` seconds. A connection that is cut is reset, never ended.
        It listens at `address`, with [] not at all, or at the Unix socket `unix`; what is in use is an error that
        names the holder, or another port is taken (`on_conflict`). `balance` uses all pods of the target, `sessions`
        spreads connections over so many WebSockets. `half_close` says when the pod learns that a local side sends no
        more: once it is quiet for 1 s, when it has ended ("hold"), or at once ("pass"), which cuts long replies.
        Of `timeouts`, all but `total` are for port-forwards: `keepalive_timeout` is 15, `stall` 300.

        Raises `NotFoundError`, `ForbiddenError`, ... as the server says, `NotStartedError` when no pod may be used in
        time or a port cannot be listened on, `UnsupportedError` for UDP. When it is cancelled it leaves
        nothing behind.
        """
        options = ForwardOptions(
            address=addresses(address),
            balance=balance,
            half_close=half_close,
            hold=hold,
            namespace=namespace,
            on_conflict=on_conflict,
            protocol=protocol,
            reconnect=tries(reconnect),
            require_ready=require_ready,
            sessions=sessions,
            timeouts=timeouts,
            unix=unix,
            wait=wait,
        )
        names = wanted_ports(ports)
        await self._renew()
        forward = AsyncPortForward(await drive(self._forward(target, names, options)), target, names)
        self._forwards.add(forward)
        return forward

    @overload
    async def run(
        self,
        target: str,
        command: Command,
        *,
        namespace: str | None = None,
        container: str | None = None,
        input: Buffer | None = None,
        check: bool = False,
        timeout: float | None = None,
        encoding: None = None,
        max_output: int | None = None,
        protocol: Protocol = "auto",
        verify: Verify = "auto",
        preflight: bool = True,
        timeouts: Timeouts | None = None,
    ) -> CompletedProcess[bytes]: ...

    @overload
    async def run(
        self,
        target: str,
        command: Command,
        *,
        namespace: str | None = None,
        container: str | None = None,
        input: Buffer | str | None = None,
        check: bool = False,
        timeout: float | None = None,
        encoding: str,
        max_output: int | None = None,
        protocol: Protocol = "auto",
        verify: Verify = "auto",
        preflight: bool = True,
        timeouts: Timeouts | None = None,
    ) -> CompletedProcess[str]: ...

    async def run(
        self,
        target: str,
        command: Command,
        *,
        namespace: str | None = None,
        container: str | None = None,
        input: Buffer | str | None = None,
        check: bool = False,
        timeout: float | None = None,
        encoding: str | None = None,
        max_output: int | None = None,
        protocol: Protocol = "auto",
        verify: Verify = "auto",
        preflight: bool = True,
        timeouts: Timeouts | None = None,
    ) -> CompletedProcess[Any]:
        """Runs `command` to its end and returns all it said: bytes, or text with an `encoding`.

        A code other than 0 is a value, or `ExitError` with `check`. `timeout` is `Timeouts.total`. More than
        `max_output` bytes of stdout and stderr together end it with `ClosedError`. Errors carry what had
        come, as `stdout` and `stderr`. When it is cancelled the connection is closed.
        """
        options = exec_options(
            namespace=namespace,
            container=container,
            stdin=None if input is None else PIPE,
            stdout=PIPE,
            stderr=PIPE,
            tty=False,
            size=None,
            protocol=protocol,
            verify=verify,
            preflight=preflight,
            timeouts=limited(timeouts, timeout),
        )
        data = encoded(input, encoding)
        await self._renew()
        result = await drive(self._run(target, command, options, data, max_output))
        completed = decoded(result, command, encoding)
        return checked(completed, target) if check else completed

    async def version(self) -> str:
        """Asks the server for its version, such as "v1.35.2"."""
        await self._renew()
        return await drive(self._version())

    async def close(self) -> None:
        """Closes the client, all its processes, logs and port-forwards. Again does nothing."""
        await drive(self._end())

    aclose = close

    def _started(self, native: _native.Process, target: str, stdin: Input, options: ExecOptions) -> AsyncProcess:
        process = AsyncProcess(native, target)
        if stdin == PIPE and native.stdin is not None:
            process.stdin = AsyncWriter(native.stdin)
        process.stdout = process._reader(AsyncReader, native.stdout, options.stdout)
        process.stderr = process._reader(AsyncReader, native.stderr, options.stderr and not native.has_terminal)
        process._feed(stdin)
        self._processes.add(process)
        return process

    async def _renew(self) -> None:
        if self._given is not None:
            refreshing = refresh(self._given[0])
            if inspect.isawaitable(refreshing):
                await refreshing
            await drive(self._reconnect(self._given))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _on_this_loop(callback: Notify | None) -> Notify | None:
    """Makes notices arrive where the client was connected; a closed loop gets none."""
    if callback is None:
        return None
    import asyncio

    loop = asyncio.get_running_loop()

    def tell(level: str, text: str) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(callback, level, text)

    return tell


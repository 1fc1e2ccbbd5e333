"""Commands, logs and ports of Kubernetes pods, from Python: never a false success, never a silent loss, never a hang.

`AsyncClient` is for asyncio, `Client` for threads; both have the same methods.

    with Client.connect() as client:
        done = client.run("deploy/web", ["sh", "-c", "ls; exit 3"])
        print(done.returncode, done.stdout)

A code other than 0 is a value. A connection that breaks is an error (`ConnectionLostError`), never a code.
"""

from ._async import AsyncClient, AsyncProcess, AsyncReader, AsyncWriter
from ._async_forward import AsyncPortForward
from ._async_logs import AsyncLogs
from ._blocking import Client, Process, Reader, Writer
from ._blocking_forward import PortForward
from ._blocking_logs import Logs
from ._forward_values import ForwardedPort, ForwardEvent, ForwardReport
from ._log_values import LogEnd, LogEvent, LogLine, LogReport, LogSource
from ._options import DEVNULL, PIPE, STDOUT, CompletedProcess, ExitStatus, Timeouts
from ._socket import ForwardSocket
from .errors import (
    AuthError,
    ClosedError,
    ConfigError,
    ConnectionLostError,
    ExitError,
    ForbiddenError,
    InternalError,
    InvalidError,
    LocalIoError,
    NotFoundError,
    NotStartedError,
    ProtocolError,
    UnsupportedError,
    UpgradeError,
    WsxError,
    WsxTimeoutError,
)

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AsyncClient",
    "AsyncLogs",
    "AsyncPortForward",
    "AsyncProcess",
    "AsyncReader",
    "AsyncWriter",
    "AuthError",
    "Client",
    "ClosedError",
    "CompletedProcess",
    "ConfigError",
    "ConnectionLostError",
    "ExitError",
    "ExitStatus",
    "ForbiddenError",
    "ForwardEvent",
    "ForwardReport",
    "ForwardSocket",
    "ForwardedPort",
    "InternalError",
    "InvalidError",
    "LocalIoError",
    "LogEnd",
    "LogEvent",
    "LogLine",
    "LogReport",
    "LogSource",
    "Logs",
    "NotFoundError",
    "NotStartedError",
    "PortForward",
    "Process",
    "ProtocolError",
    "Reader",
    "Timeouts",
    "UnsupportedError",
    "UpgradeError",
    "Writer",
    "WsxError",
    "WsxTimeoutError",
]

"""What can go wrong: one class for each kind, with a second base that Python programs already catch.

The kinds are those of every language (`tests/vectors/error.json`). A command that ends with a code
other than 0 is no error; it becomes `ExitError` where `check=True` asks for that.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from typing import Any

from ._native import KINDS

__all__ = [
    "AuthError",
    "ClosedError",
    "ConfigError",
    "ConnectionLostError",
    "ExitError",
    "ForbiddenError",
    "InternalError",
    "InvalidError",
    "LocalIoError",
    "NotFoundError",
    "NotStartedError",
    "ProtocolError",
    "UnsupportedError",
    "UpgradeError",
    "WsxError",
    "WsxTimeoutError",
]

_FACTS = ("why", "remedies", "http_status", "reason", "close_code", "stdout_bytes", "stderr_bytes", "stdout", "stderr")


class WsxError(Exception):
    """The base of all errors of this package. `str()` is the message, then why, then what to try.

    What is not known is None: `http_status` and Kubernetes' `reason` of a refusal, `close_code` of the
    server's Close frame, `stdout_bytes` and `stderr_bytes` received, and what `run()` had captured.
    """

    kind: str = "internal"
    message: str
    why: str | None
    remedies: tuple[str, ...]
    http_status: int | None
    reason: str | None
    close_code: int | None
    stdout_bytes: int | None
    stderr_bytes: int | None
    stdout: Any
    stderr: Any

    def __init__(
        self,
        message: str,
        *,
        why: str | None = None,
        remedies: Sequence[str] = (),
        http_status: int | None = None,
        reason: str | None = None,
        close_code: int | None = None,
        stdout_bytes: int | None = None,
        stderr_bytes: int | None = None,
        stdout: Any = None,
        stderr: Any = None,
    ) -> None:
        Exception.__init__(self, message)
        self.message = message
        self.why = why
        self.remedies = tuple(remedies)
        self.http_status = http_status
        self.reason = reason
        self.close_code = close_code
        self.stdout_bytes = stdout_bytes
        self.stderr_bytes = stderr_bytes
        self.stdout = stdout
        self.stderr = stderr

    @property
    def may_have_started(self) -> bool:
        """Whether the remote command may have run."""
        return KINDS[self.kind]

    def __str__(self) -> str:
        lines = [self.message]
        if self.why is not None:
            lines.append(f"why: {self.why}")
        lines.extend(f"try: {remedy}" for remedy in self.remedies)
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, {name: getattr(self, name) for name in _FACTS}, self._more())

    def _more(self) -> dict[str, Any]:
        return {}


class AuthError(WsxError, PermissionError):
    """The credentials were not accepted, or could not be obtained."""

    kind = "auth"


class ClosedError(WsxError):
    """This side ended the session, or closed what was to be used."""

    kind = "closed"


class ConfigError(WsxError, ValueError):
    """The kubeconfig or the environment cannot be used."""

    kind = "config"


class ExitError(WsxError, subprocess.CalledProcessError):
    """The command ended with a code other than 0, and `check=True` asked for an error then."""

    kind = "exit"

    def __init__(self, message: str, *, returncode: int = 1, cmd: Sequence[str] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.returncode = returncode
        self.cmd = list(cmd)

    def _more(self) -> dict[str, Any]:
        return {"returncode": self.returncode, "cmd": self.cmd}


class ForbiddenError(WsxError, PermissionError):
    """The credentials are known, but may not do this."""

    kind = "forbidden"


class InternalError(WsxError, RuntimeError):
    """A defect of this package."""

    kind = "internal"


class InvalidError(WsxError, ValueError):
    """What was asked for cannot be."""

    kind = "invalid"


class LocalIoError(WsxError, OSError):
    """Data could not be read from or written to this machine."""

    kind = "local_io"


class ConnectionLostError(WsxError, ConnectionError):
    """The connection ended before a status came: the outcome is not known."""

    kind = "lost"


class NotFoundError(WsxError, LookupError):
    """The pod, the container or another named thing does not exist."""

    kind = "not_found"


class NotStartedError(WsxError):
    """The command certainly did not start."""

    kind = "not_started"


class ProtocolError(WsxError, ConnectionError):
    """The server broke the protocol: the outcome is not known."""

    kind = "protocol"


class WsxTimeoutError(WsxError, TimeoutError):
    """A time limit of the caller passed."""

    kind = "timeout"


class UnsupportedError(WsxError, NotImplementedError):
    """The cluster cannot do what was asked."""

    kind = "unsupported"


class UpgradeError(WsxError, ConnectionError):
    """The server, or something before it, answered the upgrade with something else."""

    kind = "upgrade"


_CLASSES: dict[str, type[WsxError]] = {each.kind: each for each in WsxError.__subclasses__()}


def make(kind: str, message: str, *, why: str | None = None, remedies: Sequence[str] = (), **facts: Any) -> WsxError:
    """Makes the error of a kind; called by the native half, whose flags become the options of here."""
    why = None if why is None else _LIMIT.sub(_limit, why)
    return _CLASSES[kind](_LIMIT.sub(_limit, message), why=why, remedies=[_hint(each) for each in remedies], **facts)


#: How the core names a limit that was reached.
_LIMIT = re.compile(r"\(--([a-z]+(?:-[a-z]+)*)\)")
#: How it names an option to try: `--no-preflight`, `--verify=never`, `--kubeconfig FILE`.
_FLAG = re.compile(r"(?<!\S)--(no-)?([a-z]+(?:-[a-z]+)*)(?:[ =](\w+))?")
#: The flags of what is in `Timeouts`.
_TIMEOUTS = {
    "connect_timeout": "connect",
    "keepalive_timeout": "keepalive_timeout",
    "pod_running_timeout": "pod_running",
    "stall_timeout": "stall",
}


def _limit(flag: re.Match[str]) -> str:
    name = flag[1].replace("-", "_")
    return f"(Timeouts.{_TIMEOUTS[name]})" if name in _TIMEOUTS else f"({name})"


def _hint(remedy: str) -> str:
    if remedy.startswith("kubectl "):  # a command line
        return remedy
    words = remedy.replace("-c CONTAINER --", "container=CONTAINER, --").replace("-c CONTAINER", "container=CONTAINER")
    return _FLAG.sub(_option, words)


def _option(flag: re.Match[str]) -> str:
    name, value = flag[2].replace("-", "_"), flag[3]
    if flag[1]:
        return f"{name}=False"
    if value is None:
        return name
    plain = value.isupper() or value in ("false", "true")
    return f"{name}={value.title() if value.islower() else value}" if plain else f'{name}="{value}"'


def _rebuild(cls: type[WsxError], message: str, facts: dict[str, Any], more: dict[str, Any]) -> WsxError:
    return cls(message, **facts, **more)

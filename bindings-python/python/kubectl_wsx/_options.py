"""What is passed to `connect`, `exec`, `attach` and `run`, and what comes back: plain values.

Absent (None) stays absent down to the core, which holds the defaults.
"""

from __future__ import annotations

import codecs
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, AnyStr, Final, Generic, Literal

from .errors import ExitError, InvalidError, LocalIoError

PIPE: Final = subprocess.PIPE
DEVNULL: Final = subprocess.DEVNULL
STDOUT: Final = subprocess.STDOUT

Buffer = bytes | bytearray | memoryview
Command = Sequence[str]
Path = str | os.PathLike[str]
Protocol = Literal["auto", "v4", "v5"]
Verify = Literal["auto", "never"]
Input = int | Buffer | IO[bytes] | None
Notify = Callable[[str, str], object]


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Time limits in seconds. None keeps the default: `connect` 10, `keepalive` 5, `keepalive_timeout`
    60, `stall` 1800, `pod_running` 60, and no limit for `total`, from the call to the exit status."""

    total: float | None = None
    connect: float | None = None
    keepalive: float | None = None
    keepalive_timeout: float | None = None
    stall: float | None = None
    pod_running: float | None = None


@dataclass(frozen=True)
class ExitStatus:
    """How a command ended: its exit `code`, and how sure that is: "confirmed", "checked", "unchecked"."""

    code: int
    confidence: str


@dataclass(frozen=True)
class CompletedProcess(Generic[AnyStr]):
    """A command that has ended, with all it said: bytes, or text where an encoding was given."""

    args: list[str]
    returncode: int
    stdout: AnyStr
    stderr: AnyStr
    status: ExitStatus


@dataclass(frozen=True, kw_only=True)
class ConnectOptions:
    certificate_authority: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    cluster: str | None = None
    context: str | None = None
    impersonate: str | None = None
    impersonate_groups: Sequence[str] | None = None
    insecure_skip_tls_verify: bool = False
    kubeconfig: Path | None = None
    kubeconfig_text: str | None = None
    namespace: str | None = None
    on_notice: Notify | None = None
    request_timeout: float | None = None
    server: str | None = None
    tls_server_name: str | None = None
    token: str | None = None
    user: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExecOptions:
    container: str | None
    namespace: str | None
    preflight: bool
    protocol: str
    size: tuple[int, int] | None
    stderr: bool
    stdin: bool
    stdout: bool
    timeouts: Timeouts | None
    tty: bool
    verify: str


def words(command: Command) -> list[str]:
    """Returns the command as a list, or says what is wrong with it."""
    if isinstance(command, (str, bytes, bytearray)):
        raise TypeError('command must be a sequence of str such as ["sh", "-c", "ls | wc -l"], not one text')
    command = list(command)
    for word in command:
        if not isinstance(word, str):
            raise TypeError(f"each word of the command must be str, not {type(word).__name__}")
    if not command:
        raise InvalidError("no command to execute")
    return command


def wanted(name: str, value: int) -> bool:
    """Tells whether an output is wanted."""
    if value == PIPE:
        return True
    if value == DEVNULL:
        return False
    if value == STDOUT:
        raise InvalidError(
            f"{name} cannot be merged into stdout",
            why="they are two streams of one connection",
            remedies=["tty=True", '["sh", "-c", "exec COMMAND 2>&1"]'],
        )
    raise TypeError(f"{name} must be PIPE or DEVNULL, not {value!r}")


def buffer(name: str, data: Any) -> Buffer:
    """Returns bytes as they are, or says that text is none."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return data
    hint = "; encode it first" if isinstance(data, str) else ""
    raise TypeError(f"{name} must be bytes-like, not {type(data).__name__}{hint}")


def checked(completed: CompletedProcess[AnyStr], target: str) -> CompletedProcess[AnyStr]:
    """Returns what ended with 0, or raises."""
    if completed.returncode == 0:
        return completed
    raise ExitError(
        f"the command in {target} ended with exit code {completed.returncode}",
        returncode=completed.returncode,
        cmd=completed.args,
        stdout=completed.stdout,
        stderr=completed.stderr,
        stdout_bytes=len(completed.stdout),
        stderr_bytes=len(completed.stderr),
    )


def limited(timeouts: Timeouts | None, total: float | None) -> Timeouts | None:
    """Returns the limits with `total`, where that is given."""
    return timeouts if total is None else replace(timeouts or Timeouts(), total=total)


def encoded(input: Buffer | str | None, encoding: str | None) -> Buffer | None:
    """Returns the input of `run` as bytes: text needs an encoding."""
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise InvalidError(str(error)) from error
    if isinstance(input, str) and encoding is not None:
        return input.encode(encoding)
    return None if input is None else buffer("input", input)


def decoded(result: tuple[int, str, bytes, bytes], args: Command, encoding: str | None) -> CompletedProcess[Any]:
    """Returns what `run` returns: text where there is an encoding."""
    code, confidence, stdout, stderr = result
    completed = CompletedProcess(list(args), code, stdout, stderr, ExitStatus(code, confidence))
    if encoding is None:
        return completed
    try:
        text = stdout.decode(encoding), stderr.decode(encoding)
    except UnicodeDecodeError as error:
        why = f"the command ended with exit code {code}: {error}"
        message = f"the output is not {encoding}"
        raise LocalIoError(message, why=why, stdout=stdout, stderr=stderr) from error
    return CompletedProcess(list(args), code, *text, completed.status)

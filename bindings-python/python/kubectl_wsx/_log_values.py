"""What is asked of logs and what comes of them: plain values.

Absent (None) stays absent down to the core, which holds the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ._options import Timeouts
from .errors import InvalidError, WsxError

if TYPE_CHECKING:  # what few need is not loaded with the package
    from datetime import datetime

LogProtocol = Literal["auto", "http", "binary.k8s.io", "base64.binary.k8s.io"]
LogEventKind = Literal["gap", "reconnected", "replaced", "restarted", "waiting", "started", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class LogSource:
    """Whose log it is. `container` is "" where it is not known: pods may not be read, and none was named."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, slots=True)
class LogLine:
    r"""A line of a log, or a piece of one.

    `data` are the bytes as the container wrote them, with \n where the line ends here, and behind the timestamp
    where timestamps were asked for. `timestamp` is when the runtime read the line, in nanoseconds since 1970, or
    None. `begins` is false for the later pieces of a line over 1 MiB.
    """

    data: bytes
    timestamp: int | None
    begins: bool
    source: LogSource


@dataclass(frozen=True, kw_only=True)
class LogEvent:
    """What happened to the log of `source`, between two of its lines. What a kind does not tell is None.

    - "gap": lines may be missing. `from_` and `to` are the timestamps around it in nanoseconds since 1970, where
      known; `certain` is false where the place was found again, but by too little to be sure.
    - "reconnected": the connection was lost for `away` seconds, `why` it ended; the log goes on.
    - "replaced": the log of another pod of that name follows: `pod`.
    - "restarted": the next run of the container follows. `count` restarts since the pod was made; nobody has
      seen `unseen` whole runs, and a gap was told then.
    - "waiting": nothing can come for the time being: `reason`.
    - "started", "ended" (`exit_code`): where several logs are read, this one joins or is complete.
    - "failed": with `ignore_errors`, this one could not be read, or not on: `error`.

    Of more than 1000 that wait to be taken the oldest are left out, and the next one counts them in `omitted`.
    "gap" and "failed" are not: two gaps of one log become one that spans both, and counts the other.
    """

    kind: LogEventKind
    source: LogSource
    certain: bool | None = None
    from_: int | None = None
    to: int | None = None
    away: float | None = None
    why: str | None = None
    pod: str | None = None
    count: int | None = None
    unseen: int | None = None
    reason: str | None = None
    exit_code: int | None = None
    error: WsxError | None = None
    omitted: int = 0


@dataclass(frozen=True)
class LogEnd:
    """How a log ended: "complete", all that was asked for was there, or "ended", its container does not run any
    more; then with its exit code, where the pod tells it."""

    kind: Literal["complete", "ended"]
    exit_code: int | None


@dataclass(frozen=True)
class LogReport:
    """What has come so far: `lines` that began, `bytes`, `gaps` and `reconnects` that were told, lines that came
    `late` where several logs are sorted, and the `protocol` ("http", "binary.k8s.io", "base64.binary.k8s.io"), None
    before the first answer."""

    lines: int
    bytes: int
    gaps: int
    reconnects: int
    late: int
    protocol: str | None


OnEvent = Callable[[LogEvent], object]


@dataclass(frozen=True, kw_only=True)
class LogsOptions:
    all_containers: bool
    all_namespaces: bool
    all_pods: bool
    container: str | None
    follow: bool
    forever: bool
    ignore_errors: bool
    limit_bytes: int | None
    max_log_requests: int
    namespace: str | None
    previous: bool
    protocol: str
    resume: bool
    selector: str | None
    since: float | None
    since_time: str | None
    sort_window: float | None
    tail_lines: int | None
    timeouts: Timeouts | None
    timestamps: bool


def point(time: str | datetime | None) -> str | None:
    """Returns a point in time as text (RFC 3339)."""
    if time is None or isinstance(time, str):
        return time
    if not hasattr(time, "utcoffset"):
        raise TypeError(f"since_time must be str or datetime, not {type(time).__name__}")
    offset = time.utcoffset()
    if offset is None:
        raise InvalidError("since_time needs a time zone", remedies=["datetime.now(timezone.utc)"])
    return (time - offset).replace(tzinfo=None).isoformat() + "Z"

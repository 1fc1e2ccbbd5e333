"""What is asked of a port-forward and what comes of it: plain values.

Absent (None) stays absent down to the core, which holds the defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ._options import Path, Timeouts
from .errors import InvalidError, WsxError

Balance = Literal["least", "round-robin"]
HalfClose = Literal["auto", "hold", "pass"]
OnConflict = Literal["fail", "next", "random"]
ForwardProtocol = Literal["auto", "tunnel", "v4", "SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io"]
Reconnect = Literal["auto", "never"] | int
ForwardEventKind = Literal["closed", "missed", "opened", "paused", "ready", "reconnecting", "resumed"]


@dataclass(frozen=True)
class ForwardedPort:
    """A port that is listened on: `local` at `address` leads to `remote` of `target`.

    `remote` is the port of the pod, which a service's port leads to. With a Unix socket `local` is 0 and `address`
    its path.
    """

    target: str
    remote: int
    local: int
    address: str


@dataclass(frozen=True, kw_only=True)
class ForwardEvent:
    """What happened to a port-forward. What a kind does not tell is None.

    - "ready": a session with `pod` is there; `away` seconds there was none, None for the first.
    - "opened": `connection`, a number from 1, came for the pod's port `remote`, at the port `local` (0: by `open`).
    - "closed": it is over after `lasted` seconds; `sent` and `received` bytes, and the `error` that it was reset for,
      None where both sides were done.
    - "reconnecting": the last session is lost, or its `pod` is, and `why`; another is opened.
    - "paused", "resumed": no connection is accepted, because of `why`, until descriptors are free again.
    - "missed": `count` events were not told, because nobody took those before.
    """

    kind: ForwardEventKind
    connection: int | None = None
    remote: int | None = None
    local: int | None = None
    sent: int | None = None
    received: int | None = None
    lasted: float | None = None
    error: WsxError | None = None
    pod: str | None = None
    away: float | None = None
    why: str | None = None
    count: int | None = None


@dataclass(frozen=True)
class ForwardReport:
    """What was done so far: `connections` that came, those `active` now, those that `failed` (were reset), bytes
    `sent` to and `received` from pods, lost sessions that were replaced (`reconnects`), and the `protocol`
    ("SPDY/3.1+portforward.k8s.io" or "v4.channel.k8s.io")."""

    connections: int
    active: int
    failed: int
    sent: int
    received: int
    reconnects: int
    protocol: str | None


@dataclass(frozen=True, kw_only=True)
class ForwardOptions:
    address: list[str]
    balance: str | None
    half_close: str
    hold: float
    namespace: str | None
    on_conflict: str
    protocol: str
    reconnect: str
    require_ready: bool
    sessions: int
    timeouts: Timeouts | None
    unix: Path | None
    wait: float


def addresses(address: Sequence[str]) -> list[str]:
    """Returns the addresses as a list, or says what is wrong with them."""
    if isinstance(address, (str, bytes)):
        raise TypeError(f"address must be a sequence of str such as [{address!r}], not one text")
    return list(address)


def tries(reconnect: Reconnect) -> str:
    """Returns how often to reconnect, as the core reads it."""
    if isinstance(reconnect, bool) or not isinstance(reconnect, (str, int)):
        raise TypeError(f'reconnect must be "auto", "never" or int, not {type(reconnect).__name__}')
    return str(reconnect)


def wanted_ports(ports: Sequence[int | str]) -> list[str]:
    """Returns ports as the core reads them, or says what is wrong with them."""
    for port in ports:
        if isinstance(port, bool) or not isinstance(port, (int, str)):
            raise TypeError(f'a port must be int or str such as 80, "8080:80", ":http", not {type(port).__name__}')
    if not ports:
        raise InvalidError("no port to forward", remedies=['port_forward("POD", 80)', 'port_forward("POD", "8080:80")'])
    return [str(port) for port in ports]

"""Waiting, once for both clients: what takes time is a generator that yields what it waits for.

`Steps` yields the `arm` methods of native things, one of which must become ready, or nothing to give
others a turn; it is sent whether something was ready at once. The event loop or a thread drives it.
A wait that is cancelled closes the generator; data are only taken between waits, so none is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from ._native import Door, Operation, Waiter

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")
Arm = Callable[[Waiter], bool]
Steps = Generator[tuple[Arm, ...], "bool | None", T]

#: How long a thread waits in one go, in milliseconds: then signals are looked at.
SLICE = 50
#: How long the event loop may be held while there is always something to take, in seconds.
TURN = 0.005
#: How often something may be taken at once before the time is looked at.
QUICK = 16


#: The way into each event loop; None where there is none and it is woken by our own thread.
doors: WeakKeyDictionary[AbstractEventLoop, Door | None] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=doors.clear)


def door(loop: AbstractEventLoop) -> Door | None:
    """Returns the way into the running event loop."""
    try:
        return doors[loop]
    except KeyError:
        return doors.setdefault(loop, Door.into(loop))


class Turn:
    """When the event loop last had a turn, and how often something may be taken before the time is looked at."""

    __slots__ = ("last", "quick")

    def __init__(self) -> None:
        self.last = 0.0
        self.quick = 0


async def drive(steps: Steps[T], turn: Turn | None = None) -> T:
    """Runs to the end on the running event loop."""
    import asyncio  # whoever gets here has it loaded

    loop = asyncio.get_running_loop()
    turn = turn or Turn()
    turn.quick = QUICK
    ready: bool | None = None
    try:
        while True:
            if loop.time() - turn.last > TURN:
                if turn.last:
                    await asyncio.sleep(0)
                turn.last = loop.time()
            try:
                arms = steps.send(ready)
            except StopIteration as end:
                result: T = end.value
                return result
            if arms:
                future = loop.create_future()
                waiter = Waiter(loop, future, door(loop))
                ready = any([arm(waiter) for arm in arms])
                if not ready:
                    await future
                    turn.last = loop.time()
    finally:
        steps.close()


def block(steps: Steps[T], meanwhile: Callable[[], object] | None = None) -> T:
    """Runs to the end in this thread."""
    ready: bool | None = None
    try:
        while True:
            try:
                arms = steps.send(ready)
            except StopIteration as end:
                result: T = end.value
                return result
            if arms:
                waiter = Waiter()
                ready = any([arm(waiter) for arm in arms])
                while not (ready or waiter.wait(SLICE)):
                    if meanwhile:
                        meanwhile()
    finally:
        steps.close()


def finished(operation: Operation) -> Steps[Any]:
    """Waits for an operation and returns its result; ends it early when it is not waited for."""
    done = False
    try:
        while not done:
            done = bool((yield (operation.arm,)))
    finally:
        if not done:
            operation.cancel()
    return operation.result()

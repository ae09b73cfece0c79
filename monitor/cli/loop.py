"""Run asynchronous work from a command, until it ends or somebody stops it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from monitor.tasks import STOP_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end, on the fastest loop that is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def until_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """Run work that people end by Ctrl-C or SIGTERM, which is no error: it is cancelled, and None is returned."""
    return finish(_stoppable(work))


async def _stoppable(work: Coroutine[Any, Any, T]) -> T | None:
    task = asyncio.ensure_future(work)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not stopped:
            raise
        return None
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - it does not exist everywhere, and plain asyncio does as well
    except ImportError:
        return None
    return uvloop.new_event_loop

"""Trying again: the one place that repeats what failed for a reason that passes."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

import structlog
import tenacity

from monitor.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
log = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What ends a process in order; SIGHUP because a terminal that is closed sends it."""


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    what: str,
    transient: tuple[type[Transient], ...] = (Transient,),
    first_delay_s: float = 0.1,
    longest_delay_s: float = 10.0,
    deadline_s: float | None = None,
    trouble: Callable[[str | None], None] | None = None,
) -> T:
    """
    Return what `call` returns, repeating it for as long as it raises a transient error. Cancel it to give up.

    Args:
        call: Makes one attempt.
        what: What log lines call it.
        transient: Errors after which it is repeated; every other one is raised at once.
        first_delay_s: Wait after the first failure; waits double, each with up to this much jitter on top. An error's
            `retry_after_s` is waited at least.
        longest_delay_s: Longest doubled wait.
        deadline_s: Raise the last error rather than begin a wait that would end later than this; None: never.
        trouble: Told the reason at each failure, and None once it went well after some.

    Raises:
        Transient: The last one, if `deadline_s` has no room for another attempt.
    """

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "retrying",
            what=what,
            tries=state.attempt_number,
            wait_s=round(state.upcoming_sleep, 2),
            error=str(error),
        )
        if trouble is not None:
            trouble(f"{what}: {error}")

    # The jitter stands apart from the doubling, which would swallow it at its longest wait.
    doubling = tenacity.wait_exponential_jitter(multiplier=first_delay_s, max=longest_delay_s, jitter=0)
    spread = tenacity.wait_random(0, first_delay_s)

    def wait_s(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, Transient) else 0.0
        return max(doubling(state), asked_s) + spread(state)

    attempts = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(transient),
        wait=wait_s,
        stop=tenacity.stop_never if deadline_s is None else tenacity.stop_before_delay(deadline_s),
        before_sleep=before_sleep,
        sleep=asyncio.sleep,
        reraise=True,
    )

    async def attempt() -> T:
        return await call()

    result: T = await attempts(attempt)
    if attempts.statistics["attempt_number"] > 1 and trouble is not None:
        trouble(None)
    return result

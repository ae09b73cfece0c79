"""Trying again: the one place that repeats what failed for a reason that passes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog
import tenacity

from monitor.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
log = structlog.get_logger(__name__)


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    what: str,
    transient: tuple[type[Transient], ...] = (Transient,),
    first_delay_s: float = 0.1,
    longest_delay_s: float = 10.0,
    trouble: Callable[[str | None], None] | None = None,
) -> T:
    """
    Return what `call` returns, repeating it for as long as it raises a transient error. Cancel it to give up.

    Args:
        what: What log lines call it.
        transient: Errors after which it is repeated.
        first_delay_s: Wait after the first failure; waits double, with jitter.
        longest_delay_s: Longest wait.
        trouble: Told the reason at each failure, and None once it went well after some.
    """

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait_s = state.next_action.sleep if state.next_action else 0.0
        log.warning("retrying", what=what, tries=state.attempt_number, wait_s=round(wait_s, 2), error=str(error))
        if trouble is not None:
            trouble(f"{what}: {error}")

    attempts = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(transient),
        wait=tenacity.wait_exponential_jitter(initial=first_delay_s, max=longest_delay_s, jitter=first_delay_s),
        before_sleep=before_sleep,
        sleep=asyncio.sleep,
        reraise=True,
    )
    tries = 0

    async def counted() -> T:
        nonlocal tries
        tries += 1
        return await call()

    result: T = await attempts(counted)
    if tries > 1 and trouble is not None:
        trouble(None)
    return result

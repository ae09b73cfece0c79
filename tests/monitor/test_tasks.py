"""Trying again: what is repeated, how long it waits, and who is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog

from monitor.errors import MonitorError, RequestFailed, SourceLost, StoreUnavailable
from monitor.tasks import retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Return the list of waits, none of which takes any time."""
    waited: list[float] = []
    turn = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await turn(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with structlog.testing.capture_logs():
        yield waited


def failing(*errors: Exception) -> Callable[[], Awaitable[str]]:
    """Return a call that raises these errors, one each time, and then succeeds."""
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


async def test_success_at_once_tells_nobody(waits: list[float]) -> None:
    """Nothing waits and nobody is told when nothing fails."""
    told: list[str | None] = []
    assert await retry(failing(), what="x", trouble=told.append) == "done"
    assert (waits, told) == ([], [])


async def test_waits_double_with_jitter_up_to_the_longest(waits: list[float]) -> None:
    """Each wait is its power of two (capped) and at most the first delay on top, also at the cap; no two are equal."""
    errors = [StoreUnavailable(f"away {number}") for number in range(9)]
    assert await retry(failing(*errors), what="x", first_delay_s=0.5, longest_delay_s=8) == "done"
    floors = [0.5, 1, 2, 4, 8, 8, 8, 8, 8]
    assert all(floor <= wait <= floor + 0.5 for floor, wait in zip(floors, waits, strict=True))
    assert len(set(waits[4:])) == 5


async def test_the_other_sides_wish_is_waited_at_least(waits: list[float]) -> None:
    """`retry_after_s` outweighs a shorter delay, and is no reason to come sooner."""
    errors = [RequestFailed("429", retry_after_s=7.0), RequestFailed("429", retry_after_s=0.01)]
    await retry(failing(*errors), what="x", first_delay_s=0.5)
    assert 7.0 <= waits[0] <= 7.5
    assert 1.0 <= waits[1] <= 1.5


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), MonitorError("ours"), SourceLost("transient, but not asked for")]
)
async def test_other_errors_are_raised_at_once(waits: list[float], error: Exception) -> None:
    """Only the errors that were named are repeated."""
    with pytest.raises(type(error)) as caught:
        await retry(failing(error), what="x", transient=(StoreUnavailable,))
    assert caught.value is error
    assert waits == []


async def test_trouble_is_told_and_its_end(waits: list[float]) -> None:
    """Health hears each reason and, once, that it is over; the log says what, how often and why."""
    told: list[str | None] = []
    errors = [StoreUnavailable("refused"), StoreUnavailable("starting up")]
    with structlog.testing.capture_logs() as lines:
        await retry(failing(*errors), what="commit", trouble=told.append)
    assert told == ["commit: refused", "commit: starting up", None]
    assert [(line["event"], line["what"], line["tries"], line["error"]) for line in lines] == [
        ("retrying", "commit", 1, "refused"),
        ("retrying", "commit", 2, "starting up"),
    ]
    assert all(line["wait_s"] > 0 for line in lines)


async def test_deadline_ends_it_with_the_last_error(waits: list[float]) -> None:
    """No wait begins that would end after the deadline."""
    errors = [StoreUnavailable("first"), StoreUnavailable("second")]
    with pytest.raises(StoreUnavailable, match="second"):
        await retry(failing(*errors, RuntimeError("one too many")), what="x", first_delay_s=1.0, deadline_s=2.0)
    assert len(waits) == 1


async def test_cancelling_ends_a_wait_and_an_attempt() -> None:
    """`retry` never outlives its task: neither waiting nor calling."""
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(retry(hang, what="x"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    waiting = asyncio.Event()
    with structlog.testing.capture_logs():
        task2 = asyncio.create_task(
            retry(failing(StoreUnavailable("x")), what="x", first_delay_s=3600, trouble=lambda _: waiting.set())
        )
        await waiting.wait()
        task2.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task2

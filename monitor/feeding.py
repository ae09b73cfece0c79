"""Run sources side by side: one that is refused rests, and the others go on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from monitor.errors import NoSourceLeft, SourceRefused
from monitor.sources.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.sources.notices import Outlet, Source

log = structlog.get_logger(__name__)

# A key or a plan that is mended is mended by somebody: there is no hurry, and it should need no restart.
_REFUSED_PAUSE_S, _LONGEST_REFUSED_PAUSE_S = 300.0, 3600.0


async def feed(sources: Sequence[Source], out: Outlet) -> None:
    """
    Run sources until each has ended. One that is refused rests, and is tried again as long as another one runs.

    Raises:
        NoSourceLeft: If every source is refused at the same time.
        ExceptionGroup: If one broke.
    """
    feeding = _Feeding(out, len(sources))
    async with asyncio.TaskGroup() as group:
        # Not gather: what it raises the group would count a second time.
        await asyncio.wait([group.create_task(feeding.run(number, one)) for number, one in enumerate(sources)])
    refused = feeding.refused
    if refused and len(refused) == len(sources):
        last = [*refused.values()][-1]
        raise NoSourceLeft(f"every source was refused; the last: {last}", mend=last.mend)


class _Feeding:
    """Sources at work: which are `refused` now, and whether any still runs."""

    def __init__(self, out: Outlet, count: int) -> None:
        self.refused: dict[int, SourceRefused] = {}
        self._out = out
        self._running = count
        self._is_over = asyncio.Event()

    async def run(self, number: int, source: Source) -> None:
        """Run a source until it ends, or until it is refused and no other one runs."""
        pauses = Backoff(_REFUSED_PAUSE_S, _LONGEST_REFUSED_PAUSE_S)
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            error = await self._try(source)
            self._running -= 1
            if error is not None:
                self.refused[number] = error
            if not self._running:
                self._is_over.set()
            if error is None:
                return
            if loop.time() - began_at > _LONGEST_REFUSED_PAUSE_S:
                pauses.succeeded()
            if await self._over_within(pauses.failed()):
                return
            self._running += 1
            del self.refused[number]

    async def _try(self, source: Source) -> SourceRefused | None:
        """Run a source; return why it was refused, or None if it came to its end."""
        try:
            await source.run(self._out)
        except SourceRefused as error:
            log.error("source_refused", error=str(error), mend=error.mend)  # noqa: TRY400 - no bug: no traceback
            return error
        return None

    async def _over_within(self, pause_s: float) -> bool:
        """Rest; tell at once if no source runs any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._is_over.wait()
        return self._is_over.is_set()

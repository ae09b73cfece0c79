"""Let a feed live through its losses: tell each, wait, and begin anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from decoders.core.types import TxNotice
from monitor.errors import SourceLost, SourceRefused
from monitor.sources.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from monitor.sources.live import Following, Tap
    from monitor.sources.notices import Notice, Outlet
    from monitor.sources.tally import FeedTally
    from monitor.sources.translate import Translator

log = structlog.get_logger(__name__)


class Recovery:
    """What happens between the connections of one feed."""

    def __init__(self, name: str, following: Following, tally: FeedTally, translator: Translator, tap: Tap) -> None:
        self._name = name
        self._following = following
        self._tally = tally
        self._translator = translator
        self._tap = tap
        self._backoff = Backoff(following.first_delay_s, following.longest_delay_s)
        self._settles_at: float | None = None

    def connected(self, labels: Mapping[int, str], endpoint: object) -> None:
        """Take note that everything that is wanted is told from now on."""
        self._settles_at = asyncio.get_running_loop().time() + self._following.settled_after_s
        self._tally.connects += 1
        self._tap.connected(labels)
        self._translator.connected(labels)
        log.info("source_connected", source=self._name, endpoint=str(endpoint))

    async def put(self, notices: Sequence[Notice], out: Outlet) -> None:
        """Put notices out, so that it is known at each moment how many transactions are yet to be."""
        self._tally.in_hand = sum(type(notice) is TxNotice for notice in notices)
        for notice in notices:
            self._tally.in_hand -= type(notice) is TxNotice
            await out.put(notice)

    async def run(self, follow: Callable[[], Awaitable[None]], out: Outlet) -> None:
        """
        Call `follow` again and again, whenever it raises SourceLost. Other errors are the caller's.

        Raises:
            SourceRefused: As `follow`; that the feed is down was told before.
        """
        while True:
            try:
                await follow()
            except SourceLost as error:
                await self._tell_loss(error, out)
                await asyncio.sleep(self._delay_s(error))
            except SourceRefused as error:
                # Else everybody would go on to believe that the feed is up, and make no hole for what it misses.
                self._tap.lost(str(error))
                await self._tell_down(str(error), out)
                raise

    async def _tell_loss(self, error: SourceLost, out: Outlet) -> None:
        self._tally.losses[error.kind] += 1
        self._tap.lost(str(error))
        mend = {} if error.mend is None else {"mend": error.mend}
        log.warning("source_lost", source=self._name, reason=error.kind, error=str(error), **mend)
        await self._tell_down(str(error), out)

    async def _tell_down(self, reason: str, out: Outlet) -> None:
        for notice in self._translator.lost(reason):
            await out.put(notice)

    def _delay_s(self, error: SourceLost) -> float:
        if self._settles_at is not None and asyncio.get_running_loop().time() >= self._settles_at:
            self._backoff.succeeded()
        self._settles_at = None
        return self._backoff.failed(error.retry_after_s)

"""What the stages need of the rooms below them; `app` hands over what fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from decoders.core.types import Fact, Need
    from monitor.sources.notices import BlockSeen
    from monitor.store.batch import Batch, Written


class Fetcher(Protocol):
    """Gets what a feed did not carry; the answer comes back as notices of its own."""

    def want(self, need: Need) -> None:
        """Ask for a whole copy of a transaction, a pool's account, or a slot's time. Asking twice asks once."""

    def satisfied(self, signature: str) -> None:
        """Tell that a whole copy of a transaction came by another way."""

    def timed(self, slot: int) -> None:
        """Tell that the time of a slot came by another way."""


class ChainWatcher(Protocol):
    """Compares what is stored with the finalized chain."""

    def root(self, slot: int) -> None:
        """Take note that a slot is final by a feed's word."""

    def heard(self, block: BlockSeen) -> None:
        """Take note of a block that a feed told."""


class Writer(Protocol):
    """Commits batches."""

    async def write(self, batch: Batch) -> Written:
        """
        Commit a batch, or nothing of it. The same batch may be given again after an error.

        Raises:
            StoreUnavailable: If the database is away; try again.
        """

    async def known_mints(self, mints: Collection[str]) -> set[str]:
        """Return those of the mints that are tokens of a followed launchpad."""


class Announcer(Protocol):
    """Tells people who watch."""

    async def announce(self, facts: Sequence[Fact]) -> None:
        """
        Tell facts, in order.

        Raises:
            RedisUnavailable: If they cannot be told now.
        """

"""Hold the database against the chain: fetch finalized blocks again, decode them afresh, compare row for row."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from decoders.core.transaction import TransactionError
from monitor.errors import RequestFailed, SourceLost, UsageError
from monitor.pipeline import compare, spans
from monitor.pipeline.gate import Gate
from monitor.pipeline.pools import PoolMap
from monitor.pipeline.spans import Span
from monitor.serving import BACKFILL, MOST_HOLES, first_available_slot, newest_slot
from monitor.sources import rpc
from monitor.sources.blocks import Block, Blocks
from monitor.start import durable_slot
from monitor.tasks import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from decoders.core.registry import Registry
    from decoders.core.types import Decoded, Fact, TxNotice
    from monitor.pipeline.compare import Compared, Difference
    from monitor.sources.clients import Rpc
    from monitor.store.asked import HoleRow
    from monitor.store.store import Store

REASON = "audit"
"""The reason of the holes that differences become: their slots are fetched again at finalized, and settled."""
ABANDONED = "abandoned"
_LOOK_AHEAD_SLOTS = 256
LAST = (1 << 63) - 1
_MOST_FAILURES = 5
# More than a client ever asks at once: its own limits hold.
_AT_ONCE = 256
_DEADLINE_S = 60.0
# What an error says of the block itself; after any other one the node may be away.
_NO_BLOCK = frozenset({"not_there", "not_yet", "pruned"})


@dataclass(slots=True)
class Audited:
    """
    What came of an audit.

    `slots` were compared, of `claimed` that the database claims to be complete; `rows` are those that both sides have,
    `inexact` of them without a known place in the block. `failed` says by slot why one could not be compared. `filed`
    are the holes that the differences became.
    """

    claimed: int
    slots: int = 0
    blocks: int = 0
    rows: int = 0
    inexact: int = 0
    untold: int = 0
    differences: list[Difference] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    filed: list[int] = field(default_factory=list)

    def count(self, how: str) -> int:
        """Return how many differences are of that kind."""
        return sum(difference.how == how for difference in self.differences)

    @property
    def to_repair(self) -> list[int]:
        """Return the slots with something that fetching them again mends, in order."""
        return sorted({difference.slot for difference in self.differences if is_mendable(difference)})

    @property
    def share(self) -> float:
        """Return the share of rows that are as they should be; 1.0 of none."""
        wrong = len({(difference.slot, difference.key) for difference in self.differences})
        total = self.rows + self.count("missing") + self.count("extra")
        return 1.0 if not total else (total - wrong) / total

    def add(self, compared: Compared) -> None:
        """Count one slot."""
        self.slots += 1
        self.rows += compared.rows
        self.inexact += compared.inexact
        self.differences += compared.differences


class Auditor:
    """
    Compares slots, several at once within the node's limits.

    It reads, and writes nothing but holes; it needs no lock.
    """

    def __init__(self, store: Store, client: Rpc, registry: Registry, *, everything: bool) -> None:
        """
        Take what is compared.

        Args:
            store: One side.
            client: The other one.
            registry: Decodes its blocks.
            everything: Whether all pools are stored, not only those of launched tokens.
        """
        self._store = store
        self._client = client
        self._blocks = Blocks(client, registry.followed, "finalized", most_failures=_MOST_FAILURES, at_once=_AT_ONCE)
        self._registry = registry
        self._everything = everything

    async def claimed(self, wanted: Span) -> list[Span]:
        """
        Return the finalized slots (of `wanted`) that the database claims to be complete and the node still has.

        Raises:
            RequestFailed: If the node does not answer.
            StoreUnavailable: If the database does not.
            UsageError: If there are none.
        """
        through = durable_slot(await self._store.progress())
        holes = await self._store.holes(open_only=False, limit=MOST_HOLES)
        since = await self._since([Span(hole.first_slot, hole.last_slot) for hole in holes if hole.reason == BACKFILL])
        claims = complete(since, through, holes)
        if not claims:
            raise UsageError("nothing was followed to its end yet", mend="audit a database that a daemon has filled")
        first, last = await first_available_slot(self._client), await newest_slot(self._client)
        bounds = Span(max(first, wanted.first), min(last, wanted.last))
        left = spans.within(claims, bounds)
        if not left:
            raise UsageError(
                f"of slots {bounds.first} to {bounds.last} none is final, claimed to be complete and known to the node",
                mend="give other slots, or wait until more is complete",
            )
        return left

    async def _since(self, backfilled: list[Span]) -> int | None:
        """Return the first slot that was followed: behind that of the oldest trade that no backfill brought."""
        after = -1
        while (slot := await self._store.oldest_slot(after)) is not None:
            brought = [span.last for span in backfilled if span.first <= slot <= span.last]
            if not brought:
                return slot + 1  # the subscription may have begun in the middle of it
            after = max(brought)
        return None

    async def audit(self, slots: Sequence[int], claimed: int, on_slot: Callable[[], None] = lambda: None) -> Audited:
        """
        Compare these slots. `on_slot` is called after each.

        Raises:
            SourceRefused: If the node does not let us in.
            StoreUnavailable: If the database does not answer.
        """
        found = Audited(claimed)
        waiting = iter(slots)

        async def work() -> None:
            for slot in waiting:
                try:
                    found.add(await self._slot(slot, found))
                except (RequestFailed, SourceLost, TransactionError) as error:
                    found.failed[slot] = str(error)
                on_slot()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._client.limits.concurrency):
                tasks.create_task(work())
        await self._forgive(found)
        found.differences.sort(key=lambda difference: difference[:4])
        return found

    async def repair(self, found: Audited) -> None:
        """Make a hole of each slot that this mends; history fetches it again and settles it."""
        found.filed = [await self._store.file_hole(slot, slot, REASON) for slot in found.to_repair]

    async def _forgive(self, found: Audited) -> None:
        """Leave out what became a hole meanwhile: the daemon noticed it by itself."""
        if not found.differences:
            return
        open_now = await self._store.holes(open_only=True, limit=MOST_HOLES)
        slots = {difference.slot for difference in found.differences}
        known = {slot for slot in slots if any(hole.first_slot <= slot <= hole.last_slot for hole in open_now)}
        found.differences = [difference for difference in found.differences if difference.slot not in known]

    async def _slot(self, slot: int, found: Audited) -> Compared:
        block = await retry(
            lambda: self._block(slot), what="get_block", transient=(RequestFailed, SourceLost), deadline_s=_DEADLINE_S
        )
        if block is None:
            return compare.compare(slot, compare.Said(), await self._stored(slot, None))
        found.blocks += 1
        said = await self._said(block.notices)
        found.untold += len(said.untold)
        times = [notice.block_time for notice in block.notices if notice.block_time is not None]
        return compare.compare(slot, said, await self._stored(slot, times[0] if times else None))

    async def _block(self, slot: int) -> Block | None:
        """
        Return a block, None: the slot was skipped.

        Raises:
            RequestFailed, SourceLost: If the node does not answer: it may do so later.
            TransactionError: If the block cannot be had, or not be read.
            SourceRefused: If the node does not let us in.
        """
        self._blocks.node.begin()
        match await self._blocks.block(slot):
            case Block() as block if block.lacks is None:
                return block
            case Block(lacks=lacks):
                raise TransactionError(lacks)
            case RequestFailed() as error if rpc.kind_of(error.code) in _NO_BLOCK:
                if await self._is_skipped(slot):
                    return None
                raise TransactionError(str(error)) from error
            case error:
                raise error

    async def _is_skipped(self, slot: int) -> bool:
        """Tell whether the parents of later blocks prove that a slot has none; that a node says so proves nothing."""
        later = await self._blocks.listed(slot + 1, slot + _LOOK_AHEAD_SLOTS)
        return bool(later) and (await self._blocks.header(later[0])).parent_slot < slot

    async def _said(self, notices: Iterable[TxNotice]) -> compare.Said:
        """Return what a block's transactions say, by the rules of what is stored."""
        pools = PoolMap()
        decoded = [await self._decode(notice, pools) for notice in notices]
        facts = [fact for one in decoded for fact in one.facts]
        kept, filtered = (facts, []) if self._everything else await self._admit(facts)
        partial = [fact for one in decoded for fact in one.partial]
        return compare.said(kept, filtered, partial, await self._store.trades_from())

    async def _decode(self, notice: TxNotice, pools: PoolMap) -> Decoded:
        decoded = self._registry.decode(notice, pools)
        asked = {need.pool for need in decoded.needs if need.pool is not None}
        known = await self._store.known_pools(asked) if asked else {}
        if known:
            for info in known.values():
                pools.add(info)
            decoded = self._registry.decode(notice, pools)
        for fact in decoded.facts:
            pools.learn(fact)
        return decoded

    async def _admit(self, facts: list[Fact]) -> tuple[list[Fact], list[Fact]]:
        gate = Gate()
        asked = gate.questions(facts)
        gate.answer(asked, await self._store.known_mints(asked) if asked else set())
        return gate.admit(facts)

    async def _stored(self, slot: int, block_time: int | None) -> list[compare.Row]:
        return compare.stored_rows(await self._store.rows_of_slot(slot, block_time))


def is_mendable(difference: Difference) -> bool:
    """
    Tell whether fetching a slot again mends a difference.

    It brings what is missing, makes void what is not there, and says again what is. But by its time a trade is found:
    with another one it would be stored a second time.
    """
    return (difference.how, difference.key.kind, difference.member) != ("different", "trade", "block_time")


def complete(since: int | None, through: int | None, holes: Sequence[HoleRow]) -> list[Span]:
    """
    Return the slots that a database claims to be complete.

    Args:
        since: First slot that was followed, None: none was.
        through: Progress, None: there is none yet.
        holes: All that there are and were. What was abandoned is missing for ever; of others, what is filled is there.
    """
    brought = [Span(hole.first_slot, hole.last_slot) for hole in holes if hole.reason == BACKFILL]
    missing = [Span(hole.first_slot, hole.last_slot) for hole in holes if not _is_filled(hole)]
    followed = [] if since is None or through is None or through < since else [Span(since, through)]
    return spans.without(spans.union([*followed, *brought]), missing)


def _is_filled(hole: HoleRow) -> bool:
    return hole.filled_at is not None and hole.filled_by != ABANDONED


def draw(claimed: Sequence[Span], most: int, seed: int | None) -> list[int]:
    """Return up to `most` slots of these, drawn by `seed` (None: anew each time), in order."""
    return spans.draw(claimed, most, Random(seed))  # noqa: S311 - a sample, no secret

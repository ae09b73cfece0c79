"""What vanished with a fork leaves no trace: the tables are those of the facts that stand."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from decoders.core.types import Trade
from monitor.store.batch import Batch, Filled, Settled
from monitor.store.store import Store
from tests.store.dump import dump
from tests.store.forks import SLOTS, forked
from tests.store.test_arrival_order import migrated_url, write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from decoders.core.types import Fact
    from monitor.store.batch import Written
    from tests.store.forks import Forked

__all__ = ["migrated_url"]

_EMPTY = """
TRUNCATE tokens, pools, transactions, changes, sightings, landings, tails, faults, feeds, holes, batches;
DELETE FROM mints WHERE address NOT IN (SELECT address FROM mints ORDER BY id LIMIT 3);
"""


class Sum:
    """What a consumer adds up of commits: it takes off what vanished."""

    def __init__(self) -> None:
        self.base = 0

    def add(self, written: Written) -> None:
        """Add one commit."""
        self.base += _base([*written.new, *(upgraded.new for upgraded in written.upgraded), *written.revived])
        self.base -= _base([*(upgraded.old for upgraded in written.upgraded), *written.voided])


def _base(facts: Iterable[Fact | None]) -> int:
    return sum(fact.base_amount for fact in facts if isinstance(fact, Trade))


def settled(story: Forked, slot: int) -> Settled:
    """Return what the final chain holds in a slot."""
    return Settled(slot=slot, signatures=tuple(dict.fromkeys(fact.signature for fact in story.chain[slot])))


async def follow(store: Store, story: Forked, dice: random.Random) -> Sum:
    """Write what was heard, settle slots meanwhile and after, and look again into those that are doubted."""
    total, final = Sum(), set[int]()
    heard, size = list(story.heard), dice.choice([1, 3, 10, 100])
    slots = list(SLOTS)
    dice.shuffle(slots)
    while heard or slots:
        if heard:
            facts, heard = heard[:size], heard[size:]
            total.add(await store.write(Batch(facts, late=frozenset(final))))
        if slots and (not heard or dice.random() < 0.1):
            slot = slots.pop()
            final.add(slot)
            total.add(
                await store.write(Batch(story.chain[slot])) if dice.random() < 0.5 else await store.write(Batch())
            )
            total.add(await store.write(Batch(story.chain[slot], settled=[settled(story, slot)])))
        if dice.random() < 0.1 and store._writer is not None:
            store._writer._recent.clear()
            store._writer._markets.clear()
    for _ in range(20):
        holes = await store.open_holes(100)
        if not holes:
            return total
        for hole in holes:
            slot = hole.first_slot
            filled = [Filled(by="history", hole_id=hole.id)]
            batch = Batch(story.chain[slot], settled=[settled(story, slot)], filled=filled)
            total.add(await store.write(batch))
    raise AssertionError("doubts are never settled")


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
@example(seed=19_543)  # a fault that had vanished is told again after its slot was settled
def test_what_vanished_leaves_no_trace(migrated_url: str, seed: int) -> None:
    """Forks in any order of arrival and settling: the tables equal those of the final chain's facts alone."""
    story = forked(seed)

    async def scenario() -> None:
        expected = await write(migrated_url, [story.final], forget=False)
        connection = await asyncpg.connect(migrated_url)
        await connection.execute(_EMPTY)
        async with await Store.open(migrated_url) as store:
            await store.lock()
            total = await follow(store, story, random.Random(seed))
        found = await dump(migrated_url)
        for table, rows in expected.items():
            assert found[table] == rows, table
        standing = await connection.fetchval(
            "SELECT COALESCE(sum(base_amount), 0) FROM transactions WHERE voided_at IS NULL"
        )
        assert total.base == standing
        await connection.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_stories_have_forks(seed: int) -> None:
    """Some of what was heard is not on the final chain, and the other way about."""
    story = forked(seed)
    heard = {(fact.slot, fact.signature) for fact in story.heard}
    final = {(fact.slot, fact.signature) for fact in story.final}
    assert heard - final
    assert final - heard

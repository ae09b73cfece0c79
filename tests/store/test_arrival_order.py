"""The tables are the same whatever the order in which facts arrive, and however often."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decoders.core.types import CurveComplete, Launch, Other, Record, Trade
from monitor.store.batch import Batch
from monitor.store.rows import FILLABLE, OF_MARKET
from monitor.store.store import Store
from tests.store.dump import dump
from tests.store.facts import (
    BLOCK_TIME,
    SLOT,
    curve_complete,
    fault,
    graduation,
    launch,
    other,
    pool_created,
    swap,
    trade,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from decoders.core.types import Fact
    from tests.postgres import Server
    from tests.store.dump import Dump

_FORGETTABLE = {
    Launch: (
        "payer",
        "supply",
        "token_program",
        "platform_config",
        "for_sale",
        "is_mayhem",
        "mark_base",
        "quote_decimals",
    ),
    Trade: (*FILLABLE, *OF_MARKET[1:]),
    CurveComplete: ("trader", "platform_config"),
}
_EMPTY = """
TRUNCATE tokens, pools, transactions, changes, sightings, landings, tails, faults, feeds, holes, batches;
DELETE FROM mints WHERE address NOT IN (SELECT address FROM mints ORDER BY id LIMIT 3);
"""


@dataclass(frozen=True)
class Story:
    """How to draw a chain and its arrival: all of it follows from the seed."""

    seed: int
    shuffled: bool
    batches: int

    def told(self) -> tuple[list[Fact], list[list[Fact]]]:
        """Return the facts in the order of the chain, and in batches as they came in."""
        dice = random.Random(self.seed)
        facts = chain(dice)
        copies = list(facts)
        for fact in facts:
            copies += [fact] * (dice.random() < 0.3)
            copies += [poorer(dice, fact) for _ in range(dice.choice([0, 0, 1, 2]))]
        if self.shuffled:
            dice.shuffle(copies)
        size = -(-len(copies) // self.batches)
        return facts, [copies[at : at + size] for at in range(0, len(copies), max(size, 1))]


def chain(dice: random.Random) -> list[Fact]:
    """Return lives of a few tokens, several facts to a slot, in the order of the chain."""
    facts: list[Fact] = []
    for token in range(dice.randint(1, 3)):
        facts += life(dice, f"mint{token}", f"curve{token}", f"pool{token}")
    cuts = sorted(dice.randrange(len(facts) + 1) for _ in range(3))
    placed: list[Fact] = []
    for at, fact in enumerate(facts):
        slot = SLOT + sum(at >= cut for cut in cuts)
        place = {"slot": slot, "block_time": BLOCK_TIME + slot // 2, "index": at // 2, "position": 3 + at % 2}
        placed.append(msgspec.structs.replace(fact, signature=f"signature{at // 2}", nth=at % 2, **place))
    return placed


def life(dice: random.Random, mint: str, curve: str, pool: str) -> list[Fact]:
    """Return what happens to one token; its launch, or anything else, may have gone unseen."""
    on_curve = {"mint": mint, "pool": curve}
    on_pool = {"mint": mint, "pool": pool}
    record = Record(None, (), b"\x09") if dice.random() < 0.5 else None
    reserves = [
        {"mark_base": dice.randrange(1, 99), "mark_quote": dice.randrange(1, 99), "curve_sold": dice.randrange(99)}
        for _ in range(6)
    ]
    swaps = [
        {**values, "curve_sold": None, "real_base": dice.choice([None, 7]), "supply": dice.choice([None, 1 << 63, 9])}
        for values in reserves
    ]
    story: list[Fact] = [
        launch(**on_curve, token_program="Token", is_mayhem=False, platform_config="config", record=record),
        trade(**on_curve, **reserves[0], decimals=6, quote_decimals=9, platform_config="config", record=record),
        trade(**on_curve, **reserves[1], side="sell"),
        other(**on_curve, creator=f"creator{dice.randrange(9)}", mark_base=5, mark_quote=dice.randrange(1, 9)),
        other(pool=curve, virtual_quote=dice.randrange(-9, 9), real_quote=dice.choice([None, 8])),
        trade(**on_curve, **reserves[2]),
        fault(payload=dice.randbytes(3)),
        curve_complete(**on_curve),
        pool_created(**on_pool, base_amount=dice.randrange(1, 9), canonical=dice.random() < 0.5),
        graduation(mint=mint, pool=curve, to_pool=pool, quote_amount=dice.choice([None, 5]), decimals=6),
        swap(**on_pool, **swaps[3], platform=dice.choice([None, "pumpfun"])),
        other(**on_pool, venue="pumpswap", supply=dice.randrange(1 << 63, 1 << 64)),
        swap(**on_pool, **swaps[4], base_amount=1 << 63 if dice.random() < 0.1 else 4),
        swap(**on_pool, **swaps[5], canonical=None),
    ]
    return [fact for fact in story if dice.random() < 0.85]


def poorer(dice: random.Random, fact: Fact) -> Fact:
    """Return a copy of a fact that does not know its place in the block, or lacks members."""
    names = [name for name in _FORGETTABLE.get(type(fact), ()) if dice.random() < 0.4]
    members = dict.fromkeys(names)
    # The tail of a trade is filled by a later copy; those of other facts are of the copy that came first.
    return msgspec.structs.replace(fact, index=dice.choice([None, fact.index]), **members)


STORIES = st.builds(Story, st.integers(0, 1 << 32), st.booleans(), st.sampled_from([1, 2, 5, 30, 1000]))


async def write(url: str, batches: Sequence[Sequence[Fact]], *, forget: bool) -> Dump:
    """Write the batches into emptied tables and return what these say then."""
    connection = await asyncpg.connect(url)
    await connection.execute(_EMPTY)
    await connection.close()
    async with await Store.open(url) as store:
        await store.lock()
        for facts in batches:
            await store.write(Batch(facts))
            assert store._writer is not None
            if forget:
                store._writer._recent.clear()
                store._writer._markets.clear()
    return await dump(url)


@pytest.fixture
def migrated_url(server: Server) -> Iterator[str]:
    """A database with our schema, for all examples of a test."""
    with asyncio.Runner() as runner:
        database = server.database()
        url = runner.run(database.__aenter__())
        runner.run(migrate(url))
        yield url
        runner.run(database.__aexit__(None, None, None))


async def migrate(url: str) -> None:
    """Make the schema."""
    async with await Store.open(url) as store:
        await store.migrate()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=STORIES, forget=st.booleans())
def test_arrival_does_not_matter(migrated_url: str, story: Story, forget: bool) -> None:
    """Shuffled, doubled, poorer copies first or last, any batches, memory kept or lost: the tables are equal."""
    facts, batches = story.told()

    async def scenario() -> None:
        in_order = await write(migrated_url, [facts], forget=False)
        assert await write(migrated_url, batches, forget=forget) == in_order

    asyncio.run(scenario())


def test_the_stories_have_everything() -> None:
    """The property is about every kind of fact, and about copies that know less."""
    kinds = {type(fact).kind for seed in range(20) for fact in chain(random.Random(seed))}
    assert kinds == {"launch", "trade", "curve_complete", "graduation", "pool_created", "other", "fault"}
    assert isinstance(other(), Other)

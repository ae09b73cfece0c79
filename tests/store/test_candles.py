"""Candles are what the trades that stand say, whatever happened to these, and outlive them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import StoreUnavailable
from monitor.store import migrate
from monitor.store.batch import Batch, Settled
from monitor.store.candles import LEVELS, Candles, pieces, spans
from monitor.store.store import Store
from tests.store import candle_model
from tests.store.facts import BLOCK_TIME, SLOT, graduation, launch, pool_created, swap, trade
from tests.store.test_arrival_order import migrated_url

if TYPE_CHECKING:
    from decoders.core.types import Fact

__all__ = ["migrated_url"]

MARKS = "SELECT first_time, last_time FROM stale_candles ORDER BY id"
_EMPTY = """
TRUNCATE tokens, pools, transactions, changes, sightings, landings, tails, faults, feeds, holes, batches, stale_candles;
DELETE FROM mints WHERE address NOT IN (SELECT address FROM mints ORDER BY id LIMIT 3);
UPDATE candle_levels SET through = '-infinity';
UPDATE lifecycle SET trades_from = NULL;
"""
_KEPT = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'candles_kept_%'
"""
_DROP_CHUNKS = "SELECT drop_chunks('transactions', older_than => $1::timestamptz)"
DAY = 86_400
MIDNIGHT = BLOCK_TIME // DAY * DAY
MINUTE = timedelta(minutes=1)


def at(time: int) -> datetime:
    """Return a Unix time as the database tells it."""
    return datetime.fromtimestamp(time, UTC)


@dataclass
class Market:
    """Some pools of some tokens, their trades so far by slot (a second each), and a database that is told of them."""

    dice: random.Random
    store: Store
    connection: asyncpg.Connection
    now: int = BLOCK_TIME
    told: dict[int, list[Fact]] = field(default_factory=dict)
    number: int = 0

    @property
    def candles(self) -> Candles:
        """What keeps the candles."""
        assert self.store.edition is not None
        return Candles(self.store.edition)

    def draw(self, time: int) -> Fact:
        """Return a new trade of that time, the tail of a distribution in each of its members."""
        dice, token = self.dice, self.dice.randrange(2)
        self.number += 1
        amounts = dice.choice([(1, 99), (1, 1 << 20), ((1 << 63) - 5, (1 << 63) - 1)])
        kind = dice.choice(["curve", "pool", "other"])
        members: dict[str, Any] = {
            "mint": f"mint{token}",
            "pool": f"{kind}{token}",
            "signature": f"signature{self.number}",
            "slot": SLOT + time - BLOCK_TIME,
            "block_time": time,
            "index": dice.choice([None, self.number]),
            "trader": f"trader{dice.randrange(4)}",
            "side": dice.choice(["buy", "sell"]),
            "base_amount": dice.choice([0, dice.randint(*amounts), dice.randint(*amounts)]),
            "quote_amount": dice.choice([0, dice.randint(*amounts), dice.randint(*amounts)]),
            "mark_base": dice.choice([None, 0, dice.randint(*amounts)]),
            "mark_quote": dice.choice([None, dice.randint(*amounts)]),
            "organic": dice.random() < 0.8,
            "synthetic": dice.random() < 0.1,
            "supply": None,
        }
        fact = trade(**members) if kind == "curve" else swap(**members)
        self.told.setdefault(fact.slot, []).append(fact)
        return fact

    def draw_time(self) -> int:
        """Return the time of a trade: mostly now, else within two days, often at the edge of a bucket."""
        self.now += self.dice.choice([0, 0, 1, 7, 59, 60, 200, 4_000])
        if self.dice.random() < 0.6:
            return self.now
        width = self.dice.choice(list(candle_model.WIDTHS.values()))
        time = self.now - self.dice.choice([1, 30, 61, 119, 121, 4_000, 100_000, self.dice.randrange(2 * DAY)])
        return self.dice.choice([time, time // width * width, time // width * width - 1])

    async def step(self) -> None:
        """Have something happen."""
        dice = self.dice
        match dice.choice(["new", "new", "new", "again", "void", "settle", "launch", "refresh", "forget"]):
            case "new":
                await self.store.write(Batch([self.draw(self.draw_time()) for _ in range(dice.choice([1, 3, 20]))]))
            case "again" if self.told:  # a copy that knows more or less, of the slot or of a later one
                slots = dice.sample(sorted(self.told), min(3, len(self.told)))
                await self.store.write(Batch([self.again(dice.choice(self.told[slot])) for slot in slots]))
            case "void" if self.told:
                await self.settle(dice.choice(sorted(self.told)), dice.random() < 0.5)
            case "settle" if self.told:
                await self.settle(dice.choice(sorted(self.told)), is_whole=True)
            case "launch":
                await self.store.write(Batch(self.life(dice.randrange(2))))
            case "refresh":
                await self.refresh()
            case "forget" if self.store._writer is not None:
                self.store._writer._recent.clear()

    def again(self, fact: Fact) -> Fact:
        """Return a copy of a fact."""
        members: dict[str, Any] = {"index": self.dice.choice([None, fact.index, 77]), "final": self.dice.random() < 0.3}
        if self.dice.random() < 0.2:
            members |= {"slot": fact.slot + 1, "base_amount": self.dice.randrange(1, 9)}
        if self.dice.random() < 0.5:
            members["mark_base"] = self.dice.choice([None, 5])
        return msgspec.structs.replace(fact, **members)

    async def settle(self, slot: int, is_whole: bool) -> None:
        """Have the chain hold all or some of a slot: the rest is void, and what was void may stand again."""
        signatures = [fact.signature for fact in self.told[slot]]
        kept = signatures if is_whole else self.dice.sample(signatures, len(signatures) // 2)
        await self.store.write(Batch(settled=[Settled(slot=slot, signatures=tuple(kept))]))

    def life(self, token: int) -> list[Fact]:
        """Return the launch of a token and, perhaps, its graduation."""
        self.number += 1
        names = {"mint": f"mint{token}", "signature": f"signature{self.number}"}
        born = self.now - self.dice.randrange(DAY)
        place = {"slot": SLOT + born - BLOCK_TIME, "block_time": born}
        facts: list[Fact] = [launch(**names, **place, pool=f"curve{token}", quote_decimals=9)]
        if self.dice.random() < 0.5:
            then = self.dice.choice([self.now, self.now // 3600 * 3600, born + 1])
            place = {"slot": SLOT + then - BLOCK_TIME, "block_time": then}
            facts += [
                pool_created(**names, **place, pool=f"pool{token}"),
                graduation(**names, **place, pool=f"curve{token}", to_pool=f"pool{token}", position=9),
            ]
        return facts

    async def newest(self) -> datetime | None:
        """Return the time of the newest trade."""
        newest: datetime | None = await self.connection.fetchval("SELECT max(block_time) FROM transactions")
        return newest

    async def refresh(self) -> None:
        """Have the candles kept; nothing is stale then."""
        await self.candles.refresh(self.connection, await self.newest())
        assert await self.connection.fetch(MARKS) == []

    async def check(self) -> None:
        """Every candle that is not marked is what the trades say, those of a second always."""
        marks = [tuple(row) for row in await self.connection.fetch(MARKS)]
        found = await candle_model.raw(self.connection)
        for level in candle_model.WIDTHS:
            stale = [] if level == "1s" else marks
            for kind, compute in (("pool", candle_model.pool_candles), ("token", candle_model.token_candles)):
                expected = candle_model.without(compute(found, level), stale, level)
                stored = candle_model.without(await candle_model.stored(self.connection, kind, level), stale, level)
                assert stored == expected, (kind, level)


async def emptied(url: str) -> asyncpg.Connection:
    """Empty a database and return a connection to it."""
    connection = await asyncpg.connect(url)
    kept = [row[0] for row in await connection.fetch(_KEPT)] or [f"candles_{level}" for level in LEVELS]
    await connection.execute(_EMPTY)
    for name in kept:
        await connection.execute(f"TRUNCATE {name}")
    return connection


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 25))
def test_candles_are_what_the_trades_say(migrated_url: str, seed: int, steps: int) -> None:
    """New, late, doubled, upgraded, void and revived trades: each candle that is not marked is right at any moment."""

    async def scenario() -> None:
        connection = await emptied(migrated_url)
        async with await Store.open(migrated_url) as store:
            await store.lock()
            market = Market(random.Random(seed), store, connection)
            for _ in range(steps):
                await market.step()
                if market.dice.random() < 0.3:
                    await market.check()
            await market.check()
            await market.refresh()
            await market.check()
        await connection.close()

    asyncio.run(scenario())


@pytest.fixture
async def market(store: Store, sql: asyncpg.Connection) -> Market:
    """A market that has a launched token, in an empty database."""
    market = Market(random.Random(0), store, sql)
    await store.write(Batch([launch(mint="mint0", pool="curve0", signature="launch", quote_decimals=9)]))
    return market


def buy(time: int, **given: Any) -> Fact:
    """A trade of that second."""
    place = {"slot": SLOT + time - BLOCK_TIME, "block_time": time, "mint": "mint0", "pool": "curve0"}
    return trade(**{"signature": f"buy{time}", **place, **given})


async def prices(market: Market) -> dict[str, candle_model.Candles]:
    """Return all candles that are kept."""
    return {level: await candle_model.stored(market.connection, "pool", level) for level in LEVELS}


async def test_dropped_trades_leave_their_candles(market: Market) -> None:
    """
    A day of trades is dropped and one comes late in it: nothing that is refreshed afterwards touches the day.

    Made again of what is left, all of that day's candles would be gone but the one of the late trade.
    """
    first = MIDNIGHT - 2 * DAY
    await market.store.write(Batch([buy(time) for time in range(first, MIDNIGHT + 3_600, 997)]))
    await market.refresh()
    before = await prices(market)
    assert len(before["1d"]) == 3
    if market.store.edition == "plain":
        await market.connection.execute(f"DROP TABLE transactions_p{at(first):%Y%m%d}")
    else:
        await market.connection.fetch(_DROP_CHUNKS, at(first + DAY))
    assert await market.connection.fetchval("SELECT min(block_time) FROM transactions") >= at(first + DAY)
    await market.store.write(Batch([buy(first + 7_200), buy(first + DAY + 5, base_amount=3)]))
    await market.connection.execute("UPDATE lifecycle SET trades_from = $1", at(first + DAY + 9))
    await market.connection.execute(
        "INSERT INTO stale_candles (first_time, last_time) VALUES ($1, $2)", at(first), at(MIDNIGHT)
    )
    await market.store.write(Batch([buy(MIDNIGHT + 9_000)]))
    await market.refresh()
    after, raw = await prices(market), await candle_model.raw(market.connection)
    for level in LEVELS:
        old = {key: row for key, row in before[level].items() if key[0] < at(first + DAY)}
        young = candle_model.pool_candles(raw, level)
        assert old
        assert after[level] == old | {key: row for key, row in young.items() if key[0] >= at(first + DAY)}


async def test_only_late_trades_leave_marks(market: Market) -> None:
    """What is told in time costs nothing; what is late is marked with it, close times together."""
    now = BLOCK_TIME + 10_000
    await market.store.write(Batch([buy(now), buy(now - 5_000)]))  # the first batch: no candle is kept
    assert await market.connection.fetch(MARKS) == []
    await market.store.write(Batch([buy(now + 200), buy(now - 60), buy(now - 59)]))
    assert await market.connection.fetch(MARKS) == []
    late = [now + 139, now + 100, now - 3_000, now - 3_100]
    await market.store.write(Batch([buy(time) for time in late]))
    marks = [(at(now - 3_100), at(now - 3_000)), (at(now + 100), at(now + 139))]
    assert [tuple(row) for row in await market.connection.fetch(MARKS)] == marks
    await market.store.write(Batch([buy(time) for time in late]))  # doubled
    assert len(await market.connection.fetch(MARKS)) == 2
    market.store._writing.terminate()  # type: ignore[union-attr]
    market.store._writer = None
    await market.store.write(Batch([buy(now - 9_000)]))
    assert len(await market.connection.fetch(MARKS)) == 3


@pytest.mark.parametrize("what", ["void", "revived", "upgraded", "replaced"])
async def test_what_becomes_of_an_old_trade_is_marked(market: Market, what: str) -> None:
    """Until then the kept candles say the old, and the new after the next refresh."""
    old = buy(BLOCK_TIME, index=None)
    await market.store.write(Batch([old, buy(BLOCK_TIME + 1, base_amount=5)]))
    await market.store.write(Batch([buy(BLOCK_TIME + DAY)]))
    gone = Batch(settled=[Settled(slot=SLOT, signatures=())])
    if what == "revived":
        await market.store.write(gone)
    await market.refresh()
    before = await candle_model.stored(market.connection, "pool", "1m")
    richer = msgspec.structs.replace(old, index=1)
    await market.store.write({
        "void": gone,
        "revived": Batch(settled=[Settled(slot=SLOT, signatures=(old.signature,))]),
        "upgraded": Batch([richer]),
        "replaced": Batch([msgspec.structs.replace(richer, base_amount=7, final=True)]),
    }[what])  # fmt: skip
    marks = await market.connection.fetch(MARKS)
    assert [tuple(row) for row in marks] == [(at(BLOCK_TIME), at(BLOCK_TIME))]
    assert await candle_model.stored(market.connection, "pool", "1m") == before
    await market.refresh()
    await market.check()
    assert await candle_model.stored(market.connection, "pool", "1m") != before


class _Interrupted(Candles):
    """Does something instead of the step of that number, or fails there."""

    def __init__(self, candles: Candles, step: int, instead: Any) -> None:
        super().__init__(candles._edition)
        self.left, self.instead = step, instead

    async def _make(self, *args: Any, **named: Any) -> None:
        self.left -= 1
        if self.left < 0:
            await self.instead()
        await super()._make(*args, **named)


async def test_a_refresh_that_is_cut_short_is_repeated(market: Market) -> None:
    """Wherever it ends, what is marked stays marked, and the next one makes it right."""

    async def fail() -> None:
        raise StoreUnavailable("cut")

    await market.store.write(Batch([buy(time) for time in range(BLOCK_TIME, BLOCK_TIME + 9_000, 1_000)]))
    await market.refresh()
    step = 0
    while True:
        later = BLOCK_TIME + (step + 2) * 9_000
        await market.store.write(Batch([buy(later)]))
        await market.store.write(Batch([buy(BLOCK_TIME + 1_000 + step), buy(later - 200)]))
        try:
            await _Interrupted(market.candles, step, fail).refresh(market.connection, await market.newest())
        except StoreUnavailable:
            assert await market.connection.fetch(MARKS)
            await market.check()
            await market.refresh()
            await market.check()
        else:
            break
        step += 1
    assert step > len(LEVELS)


async def test_what_comes_during_a_refresh_stays_marked(market: Market) -> None:
    """A trade that comes late while its candle is being made is served by the next refresh at the latest."""
    times = iter(range(BLOCK_TIME, BLOCK_TIME + 9_000, 7))
    await market.store.write(Batch([buy(next(times))]))
    await market.store.write(Batch([buy(BLOCK_TIME + 9_000)]))
    await market.store.write(Batch([buy(next(times))]))

    async def tell() -> None:
        await market.store.write(Batch([buy(next(times), base_amount=9)]))

    await _Interrupted(market.candles, 0, tell).refresh(market.connection, await market.newest())
    assert await market.connection.fetch(MARKS)
    await market.check()
    await market.refresh()
    await market.check()


async def test_settled_is_what_needs_its_trades_no_more(market: Market) -> None:
    """Below every watermark, and not marked."""
    candles, connection = market.candles, market.connection
    await market.store.write(Batch([buy(MIDNIGHT - 2 * DAY), buy(MIDNIGHT + 119)]))
    assert not await candles.is_settled(connection, at(MIDNIGHT - 2 * DAY))
    await market.refresh()
    assert await candles.is_settled(connection, at(MIDNIGHT - DAY))
    assert not await candles.is_settled(connection, at(MIDNIGHT))
    await market.store.write(Batch([buy(MIDNIGHT + 120)]))
    await market.refresh()
    assert await candles.is_settled(connection, at(MIDNIGHT))
    await market.store.write(Batch([buy(MIDNIGHT - 9)]))
    assert (await candles.waiting(connection)).marks == 1
    assert not await candles.is_settled(connection, at(MIDNIGHT))
    assert await candles.is_settled(connection, at(MIDNIGHT - 9))


async def test_decades_without_trades_are_passed_over(market: Market) -> None:
    """A trade of 1970 and one of today: a watermark takes few steps from one to the other."""
    await market.store.write(Batch([buy(5), buy(BLOCK_TIME)]))
    refreshed = await market.candles.refresh(market.connection, at(BLOCK_TIME))
    assert refreshed.added <= 2 * len(LEVELS)
    await market.check()


TIMES = st.integers(0, 40 * DAY).map(at)


@given(st.lists(st.tuples(TIMES, TIMES).map(sorted).map(tuple), max_size=6), st.none() | TIMES, st.none() | TIMES)
@pytest.mark.parametrize("level", LEVELS)
def test_pieces_hold_what_is_marked(
    level: str, marked: list[tuple[datetime, datetime]], horizon: datetime | None, through: datetime | None
) -> None:
    """Whole buckets between horizon and watermark, each once, and those alone of which something is marked."""
    width = LEVELS[level]
    seconds = int(width.total_seconds())
    through = None if through is None else at(int(through.timestamp()) // seconds * seconds)
    horizon = None if horizon is None else at(int(horizon.timestamp()) // DAY * DAY)
    found = [
        since + width * number
        for since, until in pieces(marked, width, horizon, through)
        for number in range((until - since) // width)
    ]
    wanted = set()
    for first, last in marked:
        bucket = at(int(first.timestamp()) // seconds * seconds)
        while bucket <= last:
            if through is not None and bucket < through and (horizon is None or bucket >= horizon):
                wanted.add(bucket)
            bucket += width
    assert sorted(wanted) == found


@given(st.lists(st.integers(0, 5_000).map(at), max_size=20))
def test_spans_begin_and_end_with_a_time(times: list[datetime]) -> None:
    """Each time is in one span, and spans are minutes apart."""
    found = spans(times)
    assert [moment for moment in sorted(times) if not any(first <= moment <= last for first, last in found)] == []
    assert all(edge in times for span in found for edge in span)
    assert all(later[0] - earlier[1] >= 5 * MINUTE for earlier, later in pairwise(found))


def test_the_editions_share_all_but_how_candles_are_kept() -> None:
    """The two files of the step differ in one part; what consumers ask is the same text."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(migrate.migrations_dir()).glob("0009_*.sql"))]
    parts = [text.split("\n-- Of ") for text in texts]
    assert [len(part) for part in parts] == [3, 3]
    first, second = parts
    assert first[2] == second[2]
    after_heading = "\n\n-- Up to where"
    assert first[0].split(after_heading)[1] == second[0].split(after_heading)[1]

"""Old trades go once their candles are made, and nothing that comes later can spoil these."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import msgspec
import pytest

from monitor.errors import StoreUnavailable
from monitor.store import lifecycle
from monitor.store.batch import Batch, Settled
from monitor.store.lifecycle import Rules
from monitor.store.partitions import Partitions, partitions
from monitor.store.store import Store
from monitor.store.trouble import translated
from monitor.upkeep import Upkeep
from tests.store.facts import CURVE, MINT, POOL, launch, other, swap, trade
from tests.store.standin import Counting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from decoders.core.types import Fact, Trade

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
RULES = Rules(retain_trades=30 * DAY)
DAYS = 100


@pytest.fixture
async def candles(sql: asyncpg.Connection) -> Counting:
    """What makes candles."""
    counting = Counting()
    await counting.make(sql)
    return counting


@pytest.fixture
async def upkeep(store: Store, candles: Counting) -> Upkeep:
    """What keeps the store in shape."""
    return Upkeep(store, RULES, candles)


@pytest.fixture
async def tending(store: Store) -> AsyncIterator[asyncpg.Connection]:
    """A connection for it, which does not wait long."""
    async with store.upkeep() as connection:
        await connection.execute("SET lock_timeout = '100ms'")
        yield connection


def traded(at: datetime, name: str, **given: object) -> Trade:
    """A trade at that time."""
    seconds = int(at.timestamp())
    return trade(block_time=seconds, slot=seconds % (1 << 31), signature=name, **given)


async def go_on(upkeep: Upkeep, tending: asyncpg.Connection) -> None:
    """Do all that the daemon does now and then."""
    await upkeep.refresh(tending)
    await upkeep.tend(tending)


async def test_months(store: Store, sql: asyncpg.Connection, candles: Counting, tending: asyncpg.Connection) -> None:
    """
    As time goes on old trades go, and their candles stay, whatever comes late.

    What must be there is told by a ledger of all that was given: the horizon is 29 days behind the newest trade, pieces
    of a day go when they ended 30 days ago, and what is older than the horizon is a fault with all that it says.
    """
    dice = random.Random(4)
    upkeep = Upkeep(store, RULES, candles)
    counted: Counter[tuple[datetime, str]] = Counter()
    kept: dict[str, datetime] = {}
    refused: set[str] = set()
    await store.write(Batch([launch(block_time=int(START.timestamp())), swap(block_time=int(START.timestamp()))]))
    counted[START, POOL] += 1
    kept["5" * 88] = START
    for day in range(DAYS):
        now = START + day * DAY + 20 * HOUR
        horizon = START - 99 * DAY if day == 0 else now - 30 * DAY  # as it was moved a day ago
        facts: list[Fact] = []
        for number in range(12):
            # Most are of the day, some are late, a few by more than trades are kept.
            age = dice.choice([*[timedelta(hours=20)] * 6, 25 * DAY, 29 * DAY, 60 * DAY]) * dice.random()
            at = (now - age).replace(microsecond=0)
            fact = traded(
                at, f"{day}-{number}", pool=dice.choice([CURVE, POOL]), base_amount=dice.randrange(1, 1 << 60)
            )
            facts.append(fact)
            if at < horizon:
                refused.add(fact.signature)
            else:
                counted[at.replace(second=0), fact.pool] += 1
                kept[fact.signature] = at
        facts.append(traded(now, f"{day}-newest"))
        counted[now, CURVE] += 1
        kept[f"{day}-newest"] = now
        written = await store.write(Batch(facts))
        assert {fault.signature for fault in written.refused} == refused & {fact.signature for fact in facts}
        await go_on(upkeep, tending)
        assert await sql.fetchval("SELECT trades_from FROM lifecycle") == now - 29 * DAY
        first_day = (now - 30 * DAY).replace(hour=0)
        kept = {name: at for name, at in kept.items() if at >= first_day}
        found = {row[0]: row[1] for row in await sql.fetch("SELECT signature, block_time FROM transactions")}
        assert found == kept
    rows = await sql.fetch("SELECT minute, address, trades FROM counted JOIN pools p ON p.id = pool_id")
    assert {(row[0], row[1]): row[2] for row in rows} == counted
    assert refused
    faults = await sql.fetch("SELECT signature, reason, fact, payload FROM faults")
    assert {row["signature"] for row in faults} == refused
    assert {(row["reason"], row["fact"]) for row in faults} == {("refused: beyond_retention", "trade")}
    assert all(msgspec.json.decode(row["payload"])["base_amount"] > 0 for row in faults)
    assert upkeep.tally.dropped_pieces >= DAYS - 31
    assert upkeep.tally.pieces <= 31 + 3
    assert upkeep.tally.failures.total() == 0


async def test_nothing_is_dropped_before_its_candles_are_made(
    store: Store, sql: asyncpg.Connection, candles: Counting, tending: asyncpg.Connection
) -> None:
    """Neither moves the horizon: a late trade is still one. Nor is anything dropped that nobody makes candles of."""
    await store.write(Batch([traded(START, "old"), traded(START + 60 * DAY, "new")]))
    nobody, lazy = Upkeep(store, RULES, None), Upkeep(store, RULES, candles)
    candles.is_lazy = True
    for upkeep in (nobody, lazy):
        await go_on(upkeep, tending)
        assert await sql.fetchval("SELECT trades_from FROM lifecycle") is None
        assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
    assert len((await store.write(Batch([traded(START, "late")]))).new) == 1
    candles.is_lazy = False
    await go_on(lazy, tending)
    assert [row[0] for row in await sql.fetch("SELECT signature FROM transactions")] == ["new"]
    assert await sql.fetchval("SELECT sum(trades) FROM counted") == 3


async def test_what_is_marked_is_made_before_the_horizon_passes_it(
    store: Store, sql: asyncpg.Connection, candles: Counting, tending: asyncpg.Connection
) -> None:
    """A mark that is left below it would be a candle that is wrong for good."""
    upkeep = Upkeep(store, RULES, candles)
    await store.write(Batch([traded(START, "old"), traded(START + 60 * DAY, "new")]))
    await upkeep.refresh(tending)
    await sql.execute("INSERT INTO stale_candles (first_time, last_time) VALUES ($1, $1)", START + 5 * DAY)
    await upkeep.tend(tending)
    assert await sql.fetchval("SELECT trades_from FROM lifecycle") is None
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
    await go_on(upkeep, tending)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 1


async def test_a_piece_whose_candles_became_stale_again_waits(
    store: Store, sql: asyncpg.Connection, candles: Counting, tending: asyncpg.Connection
) -> None:
    """The horizon has moved, but a fork changed what lies below it."""
    await store.write(Batch([traded(START, "old"), traded(START + 60 * DAY, "new")]))
    await candles.refresh(tending, START + 60 * DAY)
    await store.move_horizon(START + 31 * DAY, lambda connection: candles.is_settled(connection, START))
    await sql.execute("INSERT INTO stale_candles (first_time, last_time) VALUES ($1, $1)", START)
    upkeep = Upkeep(store, RULES, candles)
    await upkeep.tend(tending)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
    await go_on(upkeep, tending)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 1


async def test_the_horizon_is_known_to_whoever_writes_next(
    store: Store, database_url: str, upkeep: Upkeep, tending: asyncpg.Connection
) -> None:
    """A replay into the same database finds it there, and moves it no further."""
    await store.write(Batch([traded(START + 60 * DAY, "new")]))
    await go_on(upkeep, tending)
    await store.close()
    async with await Store.open(database_url) as later:
        await later.check()
        await later.lock()
        written = await later.write(
            Batch(
                [
                    traded(START + 31 * DAY - HOUR, "late"),
                    traded(START + 31 * DAY, "not"),
                    traded(START + 99 * DAY, "far"),
                ]
            )
        )
        assert [fault.signature for fault in written.refused] == ["late"]
        assert [fault.reason for fault in written.refused] == ["refused: beyond_retention"]
        async with later._reader() as connection:
            assert await lifecycle.trades_from(connection) == START + 31 * DAY


async def test_it_never_moves_back(store: Store, sql: asyncpg.Connection, candles: Counting) -> None:
    """A longer retention brings nothing back; the daemon goes on from where it was."""

    async def ready(_: asyncpg.Connection) -> bool:
        return True

    assert await store.move_horizon(START, ready) == START
    assert await store.move_horizon(START - DAY, ready) == START
    assert await sql.fetchval("SELECT trades_from FROM lifecycle") == START


async def test_a_batch_under_way_is_waited_for(store: Store, upkeep: Upkeep) -> None:
    """The horizon moves between batches, so none is older than it when it is committed."""

    async def ready(_: asyncpg.Connection) -> bool:
        return True

    async with store._turn:
        moving = asyncio.create_task(store.move_horizon(START, ready))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not moving.done()
    assert await moving == START


async def test_only_trades_are_beyond_it(
    store: Store, sql: asyncpg.Connection, upkeep: Upkeep, tending: asyncpg.Connection
) -> None:
    """Of tokens and pools all is kept, so a launch of long ago is still told of."""
    await store.write(Batch([traded(START + 60 * DAY, "new")]))
    await go_on(upkeep, tending)
    seconds = int(START.timestamp())
    written = await store.write(Batch([launch(block_time=seconds), other(block_time=seconds), traded(START, "t")]))
    assert ([fact.kind for fact in written.new], len(written.refused)) == (["launch"], 1)
    assert await sql.fetchval("SELECT launched_at FROM tokens WHERE mint = $1", MINT) == START


async def test_a_time_from_far_ahead_drops_nothing(
    store: Store, sql: asyncpg.Connection, upkeep: Upkeep, tending: asyncpg.Connection
) -> None:
    """One block time that cannot be must not cost everything: the server's clock holds the horizon back."""
    today = (await sql.fetchval("SELECT now()")).replace(microsecond=0)
    await store.write(Batch([traded(today - DAY, "yesterday"), traded(datetime(2099, 1, 1, tzinfo=UTC), "ahead")]))
    await go_on(upkeep, tending)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
    assert len((await store.write(Batch([traded(today - 20 * DAY, "late")]))).new) == 1


async def test_nothing_is_dropped_for_ever(
    store: Store, sql: asyncpg.Connection, candles: Counting, tending: asyncpg.Connection
) -> None:
    """`none` keeps all, and an empty database is left alone."""
    upkeep = Upkeep(store, Rules(retain_trades=None), candles)
    await go_on(upkeep, tending)
    await store.write(Batch([traded(START - 900 * DAY, "old"), traded(START, "new")]))
    await go_on(upkeep, tending)
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 2
    assert (upkeep.tally.trades_from, upkeep.tally.dropped_pieces) == (None, 0)


async def test_shorter_pieces(
    store: Store, sql: asyncpg.Connection, candles: Counting, tending: asyncpg.Connection
) -> None:
    """They go by whole days, for a candle may be a day long: as long as it may change it has all of its trades."""
    rules = Rules(chunk_interval=6 * HOUR, retain_trades=2 * DAY, compress_trades_after=None)
    await lifecycle.arrange(tending, store.edition or "plain", rules)
    store._chunk_interval = 6 * HOUR
    assert store._writer is not None
    if store._writer._partitions is not None:
        store._writer._partitions._interval = 6 * HOUR
    upkeep = Upkeep(store, rules, candles)
    for hours in range(0, 96, 6):
        await store.write(Batch([traded(START + hours * HOUR + 5 * MINUTE, f"at{hours}")]))
    await go_on(upkeep, tending)
    newest = START + 90 * HOUR + 5 * MINUTE
    assert await sql.fetchval("SELECT trades_from FROM lifecycle") == (newest - 42 * HOUR).replace(minute=0)
    # Pieces may end by the begin of the horizon's day, and have to by 2 days ago.
    assert await sql.fetchval("SELECT min(block_time) FROM transactions") == START + 42 * HOUR + 5 * MINUTE


async def test_readers_go_on_while_a_piece_is_dropped(
    store: Store, sql: asyncpg.Connection, database_url: str, upkeep: Upkeep, tending: asyncpg.Connection
) -> None:
    """Who reads in it keeps it for as long; meanwhile others read and write, and later it is dropped to the end."""
    await store.write(Batch([traded(START, "old"), traded(START + 60 * DAY, "new")]))
    await upkeep.refresh(tending)
    async with sql.transaction():
        await sql.fetch("SELECT * FROM transactions")
        with pytest.raises(StoreUnavailable), translated():
            await upkeep.tend(tending)
        other_reader = await asyncpg.connect(database_url)
        await other_reader.execute("SET lock_timeout = '1s'")
        assert "new" in {row[0] for row in await other_reader.fetch("SELECT signature FROM transactions")}
        await other_reader.close()
        assert len((await store.write(Batch([traded(START + 60 * DAY, "newer")]))).new) == 1
    await upkeep.tend(tending)
    assert {row[0] for row in await sql.fetch("SELECT signature FROM transactions")} == {"new", "newer"}
    assert await sql.fetchval("SELECT dropping FROM lifecycle") is None
    assert await sql.fetchval("SELECT to_regclass('transactions_p20240301')") is None


@pytest.mark.parametrize("done", ["noted", "detached"])
async def test_dropping_that_was_cut_short_is_done_to_the_end(
    store: Store, sql: asyncpg.Connection, upkeep: Upkeep, tending: asyncpg.Connection, done: str
) -> None:
    """Whichever step was the last one; a table that somebody else detached is left alone."""
    await store.write(Batch([traded(START, "old"), traded(START + DAY, "theirs"), traded(START + 60 * DAY, "new")]))
    await upkeep.refresh(tending)
    if store.edition == "plain":
        await sql.execute("ALTER TABLE transactions DETACH PARTITION transactions_p20240302")
        await sql.execute("UPDATE lifecycle SET dropping = 'transactions_p20240301'")
        if done == "detached":
            await sql.execute("ALTER TABLE transactions DETACH PARTITION transactions_p20240301")
    await upkeep.tend(tending)
    assert [row[0] for row in await sql.fetch("SELECT signature FROM transactions")] == ["new"]
    if store.edition == "plain":
        assert await sql.fetchval("SELECT dropping FROM lifecycle") is None
        assert await sql.fetchval("SELECT to_regclass('transactions_p20240301')") is None
        assert await sql.fetchval("SELECT count(*) FROM transactions_p20240302") == 1


async def test_partitions_are_there_ahead(
    store: Store, sql: asyncpg.Connection, upkeep: Upkeep, tending: asyncpg.Connection
) -> None:
    """Those of the days behind the newest trade, so that no batch has to wait for them."""
    await store.write(Batch([traded(START, "now")]))
    if store.edition != "plain":
        assert len(await lifecycle.pieces(sql, store.edition or "plain")) == 1
        return
    assert store._writer is not None
    await sql.execute("DROP TABLE transactions_p20240302, transactions_p20240303")
    store._writer._partitions = type(store._writer._partitions)()  # type: ignore[misc]  # one that knows nothing yet
    await upkeep.tend(tending)
    names = {piece.name for piece in await lifecycle.pieces(sql, "plain")}
    assert names == {"transactions_p20240301", "transactions_p20240302", "transactions_p20240303"}


async def test_timescale_is_told_what_to_do(store: Store, sql: asyncpg.Connection) -> None:
    """The length of chunks; the community edition also when to compress. What is told again is changed."""
    edition = store.edition or "plain"
    rules = Rules(chunk_interval=7 * DAY, compress_trades_after=3 * DAY)
    await lifecycle.arrange(sql, edition, rules)
    if edition == "plain":
        return
    assert await sql.fetchval(lifecycle._CHUNK_INTERVAL) == 7 * DAY
    jobs = (
        "SELECT (config ->> 'compress_after')::interval FROM timescaledb_information.jobs WHERE proc_name ~ '^policy_c'"
    )
    expected = {"apache": [], "timescale": [3 * DAY]}[edition]
    assert [row[0] for row in await sql.fetch(jobs)] == expected
    for after in (9 * DAY, 9 * DAY, None):
        await lifecycle.arrange(sql, edition, Rules(compress_trades_after=after))
        found = [row[0] for row in await sql.fetch(jobs)]
        assert found == ([after] if edition == "timescale" and after is not None else [])
    assert await sql.fetchval(lifecycle._CHUNK_INTERVAL) == DAY


async def test_pools_know_what_dropped_trades_told(
    store: Store, sql: asyncpg.Connection, upkeep: Upkeep, tending: asyncpg.Connection
) -> None:
    """A trade that vanishes with a fork leaves its pool as it was before, though what told that is gone by now."""
    now = START + 60 * DAY
    others = {"mint": "another", "pool": CURVE}
    quiet = [
        swap(signature="a", block_time=int(START.timestamp()), slot=5, supply=(1 << 64) - 1, mark_base=7, mark_quote=8),
        swap(signature="b", block_time=int(START.timestamp()), slot=4, supply=9, real_quote=3, mark_base=1),
        swap(signature="c", block_time=int((START + DAY).timestamp()), slot=6, real_base=None, mark_quote=None),
    ]
    pools, tokens = "SELECT * FROM pools ORDER BY id", "SELECT * FROM tokens ORDER BY id"
    await store.write(Batch([*quiet, traded(now, "new", **others)]))
    before = await sql.fetch(pools), await sql.fetch(tokens)
    await go_on(upkeep, tending)
    assert [row[0] for row in await sql.fetch("SELECT signature FROM transactions")] == ["new"]
    for _ in range(2):
        seconds = int(now.timestamp())
        await store.write(
            Batch([swap(signature="forked", block_time=seconds, slot=99, supply=4, mark_base=5, mark_quote=6)])
        )
        assert await sql.fetch(pools) != before[0]
        await store.write(Batch(settled=[Settled(slot=99, signatures=())]))
        assert (await sql.fetch(pools), await sql.fetch(tokens)) == before


_AGGREGATE = """
CREATE MATERIALIZED VIEW candles_of_test WITH (timescaledb.continuous, timescaledb.materialized_only = TRUE) AS
SELECT time_bucket(INTERVAL '1 hour', block_time) AS bucket, count(*) AS trades FROM transactions
 GROUP BY 1 WITH NO DATA
"""


async def test_candles_go_later_than_trades(store: Store, sql: asyncpg.Connection) -> None:
    """Those that begin before a day are dropped, of tables and aggregates alike, and aggregates may be compressed."""
    edition = store.edition or "plain"
    await store.write(Batch([traded(START + days * DAY, f"{days}") for days in (0, 40, 80, 120)]))
    if edition == "timescale":
        await sql.execute(_AGGREGATE)
        await sql.execute("CALL refresh_continuous_aggregate('candles_of_test', NULL, NULL)")
        await lifecycle.arrange(sql, edition, Rules(compress_candles_after=30 * DAY))
        (after,) = await sql.fetch(
            "SELECT (j.config ->> 'compress_after')::interval FROM timescaledb_information.jobs j"
            "  JOIN timescaledb_information.continuous_aggregates a"
            "    ON j.hypertable_name IN (a.materialization_hypertable_name, a.view_name)"
            " WHERE a.view_name = 'candles_of_test'"
        )
        assert after[0] == 30 * DAY
        await lifecycle.arrange(sql, edition, Rules(compress_candles_after=30 * DAY))  # changes nothing
    else:
        await sql.execute("CREATE TABLE candles_kept_of_test (bucket TIMESTAMPTZ, trades BIGINT)")
        await sql.execute("INSERT INTO candles_kept_of_test SELECT block_time, 1 FROM transactions")
    name = "candles_of_test" if edition == "timescale" else "candles_kept_of_test"
    left = f"SELECT DISTINCT date_trunc('day', bucket) FROM {name} ORDER BY 1"
    assert len(await sql.fetch(left)) == 4
    assert await lifecycle.drop_candles(sql, edition, START + 60 * DAY) > 0
    assert [row[0] for row in await sql.fetch(left)][-2:] == [START + 80 * DAY, START + 120 * DAY]
    assert len(await sql.fetch(left)) < 4
    assert await sql.fetchval("SELECT count(*) FROM transactions") == 4


async def test_what_is_compressed_can_still_change(store: Store, sql: asyncpg.Connection) -> None:
    """Late trades, copies that know more, doubles and forks, as anywhere."""
    await lifecycle.arrange(sql, store.edition or "plain", RULES)
    poor, rich = (traded(START, "copied", index=index, lp_fee=fee) for index, fee in ((None, None), (4, 8)))
    forked = traded(START, "forked", pool=POOL, venue="pumpswap")
    await store.write(Batch([poor, forked, *(traded(START, f"{number}") for number in range(50))]))
    if store.edition == "timescale":
        assert await sql.fetch("SELECT compress_chunk(chunk) FROM show_chunks('transactions') chunk")
    await store.close()
    async with await Store.open(store._url) as later:  # which remembers nothing
        await later.check()
        await later.lock()
        written = await later.write(Batch([rich, traded(START, "7"), traded(START + MINUTE, "late")]))
        told = [[fact.signature for fact in facts] for facts in (written.new, written.duplicates)]
        assert (told, [one.new.signature for one in written.upgraded]) == ([["late"], ["7"]], ["copied"])
        signatures = ("copied", *(f"{number}" for number in range(50)))
        written = await later.write(Batch(settled=[Settled(slot=forked.slot, signatures=signatures)]))
        assert [fact.signature for fact in written.voided] == ["forked"]
    assert await sql.fetchval("SELECT count(*) FROM transactions WHERE voided_at IS NULL") == 52
    assert await sql.fetchval("SELECT lp_fee FROM transactions WHERE signature = 'copied'") == 8


@pytest.mark.slow
async def test_many_compressed_rows_change_at_once(store: Store, sql: asyncpg.Connection) -> None:
    """One in 400 of 120,000: by itself TimescaleDB refuses what has to look through more than 100,000."""
    await lifecycle.arrange(sql, store.edition or "plain", RULES)
    times = [START + number // 2 * timedelta(seconds=1) for number in range(120_000)]
    poor = [traded(at, f"{number}", index=None, lp_fee=None) for number, at in enumerate(times)]
    for first in range(0, len(poor), 20_000):
        await store.write(Batch(poor[first : first + 20_000]))
    if store.edition == "timescale":
        assert await sql.fetch("SELECT compress_chunk(chunk) FROM show_chunks('transactions') chunk")
    await store.close()
    async with await Store.open(store._url) as later:  # which remembers nothing
        await later.lock()
        rich = [traded(at, f"{number}", index=4, lp_fee=8) for number, at in enumerate(times) if number % 400 == 0]
        written = await later.write(Batch(rich))
    assert (len(written.upgraded), written.new, written.refused) == (300, [], [])
    assert await sql.fetchval("SELECT count(*) FROM transactions WHERE lp_fee = 8") == 300


async def test_pieces_of_other_lengths_fill_what_is_between(store: Store, sql: asyncpg.Connection) -> None:
    """After a change of the interval no two overlap, none leaves a gap, and each row finds its own."""
    at = [START + hours * HOUR for hours in (30, 33, 47, 100, 101, 200, 340, 20 * 24)]
    await store.write(Batch([traded(START + 26 * HOUR, "first")]))
    if store.edition == "plain":
        for interval, times in ((6 * HOUR, at[:5]), (7 * DAY, at[5:7]), (DAY, at[7:])):
            await Partitions(interval).ensure(sql, times)
        pieces = await partitions(sql)
        assert all(one.end <= other.first for one, other in itertools.pairwise(pieces))
        assert all(any(piece.first <= time < piece.end for piece in pieces) for time in at)
        # From the three days that the first trade had made, by six hours, then by what is left of weeks.
        assert {(piece.end - piece.first) // HOUR for piece in pieces} >= {24, 6}
    written = await store.write(Batch([traded(time, f"{time}") for time in at]))
    assert len(written.new) == len(at)

"""
Measure what a trade takes on the disk: `python -m bench.compression --url URL` of a community TimescaleDB.

The same simulated trades in tables that are compressed in several ways, in heap and indexes before and after, and how
fast late trades come into what is compressed.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import database, simulated
from bench.table import PAGE, Row, report
from decoders.core import base58
from monitor.store.batch import Batch
from monitor.store.rows import AT, COLUMNS
from monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import asyncpg

    from monitor.store.rows import Row as Stored
    from tests import postgres

NOTIFICATIONS = 200_000
BATCH = 5_000
LATE = 2_000
MOST_BYTES = 180.0
LEAST_LATE_PER_S = 2_000.0
_ALL = f"SELECT {', '.join(COLUMNS)} FROM transactions ORDER BY block_time, chain_order"  # noqa: S608
_SIZES = """
SELECT sum(total_bytes)::float8 AS total, sum(index_bytes)::float8 AS indexes
  FROM hypertable_detailed_size($1::text::regclass)
"""
_HYPERTABLE = """
SELECT create_hypertable(
    '{table}', 'block_time', chunk_time_interval => INTERVAL '1 day', create_default_indexes => FALSE
)
"""
_COMPRESS = "SELECT count(compress_chunk(c, if_not_compressed => TRUE)) FROM show_chunks($1::text::regclass) AS c"


@dataclass(frozen=True, slots=True)
class Way:
    """
    A way to keep trades.

    Args:
        name: In the table.
        segment_by: Columns, or "".
        order_by: Columns.
        types: Columns that are kept as another type.
        convert: Returns a row of `COLUMNS` as it is kept then.
    """

    name: str
    segment_by: str = ""
    order_by: str = "block_time DESC, slot DESC"
    types: tuple[tuple[str, str], ...] = ()
    convert: Callable[[Stored], Stored] | None = None


def _as_bytes(*columns: str) -> Callable[[Stored], Stored]:
    places = [AT[column] for column in columns]

    def convert(row: Stored) -> Stored:
        changed = list(row)
        for place in places:
            changed[place] = base58.decode(row[place])
        return tuple(changed)

    return convert


OURS = Way("none, by time")
WAYS = (
    OURS,
    Way("none, by order of the chain", order_by="chain_order DESC"),
    Way("none, by token and time", order_by="token_id, block_time DESC"),
    Way("by token, by time", segment_by="token_id"),
    Way("by venue, by time", segment_by="venue"),
    Way("none, by time; signatures as bytea", types=(("signature", "bytea"),), convert=_as_bytes("signature")),
    Way(
        "none, by time; signatures and wallets as bytea",
        types=(("signature", "bytea"), ("trader", "bytea")),
        convert=_as_bytes("signature", "trader"),
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured. `url` None: nothing is, for the wheel's server has no TimescaleDB."""

    notifications: int = NOTIFICATIONS
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a way takes (bytes a trade), and how many late trades a second come into it (None: not tried)."""

    heap: float
    indexes: float
    compressed: float
    late_per_s: float | None


def rows(options: Options | None = None) -> list[Row]:
    """Return the figures; none where the server cannot compress."""
    options = options or Options()
    with database.server(options.url) as server:
        return database.run(_measure(server, options))


async def _measure(server: postgres.Server, options: Options) -> list[Row]:
    async with database.migrated(server) as url, database.connected(url) as connection, await Store.open(url) as store:
        _say(await database.told(connection, needs_fsync=False))
        if await store.check() != "timescale":
            _say("compression: left out, this server is no community TimescaleDB (name one by --url)")
            return []
        facts = simulated.tape(options.notifications).facts()
        await store.lock()
        for at in range(0, len(facts), BATCH):
            await store.write(Batch(facts=facts[at : at + BATCH]))
        written = [tuple(row) for row in await connection.fetch(_ALL)]
        # Without it, a statement that touches many compressed rows is refused.
        await connection.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
        found: list[Row] = []
        for number, way in enumerate(WAYS):
            kept = await _keep(connection, f"way_{number}", way, written)
            _say(f"{way.name}: {kept}")
            found += _rows(way, kept)
        return found


def _rows(way: Way, kept: Kept) -> Iterator[Row]:
    plain = kept.heap + kept.indexes
    if way.types or way is OURS:
        yield Row(f"heap, {way.name.partition('; ')[2] or 'as it is'}", kept.heap, "B")
        yield Row(f"its indexes, {way.name.partition('; ')[2] or 'as it is'}", kept.indexes, "B")
    yield Row(f"compressed: {way.name}", kept.compressed, "B", most=MOST_BYTES if way is OURS else None)
    yield Row(f"heap and indexes over it: {way.name}", plain / kept.compressed, "times")
    if kept.late_per_s is not None:
        least = LEAST_LATE_PER_S if way is OURS else None
        yield Row(f"{LATE:,} late trades into it: {way.name}", kept.late_per_s, "/s", least=least)


async def _keep(connection: asyncpg.Connection[Any], table: str, way: Way, written: Sequence[Stored]) -> Kept:
    """Fill a table, compress it, and then have late trades come in."""
    await connection.execute(f"CREATE TABLE {table} (LIKE transactions INCLUDING ALL)")
    for column, kind in way.types:
        await connection.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING NULL::{kind}")
    await connection.execute(_HYPERTABLE.format(table=table))
    rows = [way.convert(row) for row in written] if way.convert else written
    for at in range(0, len(rows), BATCH):
        await connection.copy_records_to_table(table, records=rows[at : at + BATCH], columns=COLUMNS)
    before = await connection.fetchrow(_SIZES, table)
    await connection.execute(
        f"ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby = '{way.segment_by}',"
        f" timescaledb.compress_orderby = '{way.order_by}')"
    )
    await connection.fetchval(_COMPRESS, table)
    after = await connection.fetchval(f"SELECT hypertable_size('{table}')")
    late_per_s = None if way.types else await _late(connection, table, written)
    await connection.execute(f"DROP TABLE {table}")
    count = len(rows)
    heap = (before["total"] - before["indexes"]) / count
    return Kept(heap, before["indexes"] / count, after / count, late_per_s)


async def _late(connection: asyncpg.Connection[Any], table: str, written: Sequence[Stored]) -> float:
    """Return how many late trades a second come into a compressed table, all over its time, in one transaction."""
    step = max(1, len(written) // LATE)
    signature = AT["signature"]
    late = [(*row[:signature], "0" + row[signature][1:], *row[signature + 1 :]) for row in written[::step][:LATE]]
    began = time.perf_counter()
    await connection.copy_records_to_table(table, records=late, columns=COLUMNS)
    return len(late) / (time.perf_counter() - began)


def show(found: Sequence[Row], *, write: bool) -> list[str]:
    """Print a table, put it into its page if asked to, and return what falls short."""
    return report(PAGE, "compression", found, write=write and bool(found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure what a trade takes on the disk.")
    parser.add_argument("--notifications", type=int, default=NOTIFICATIONS, help="of the simulated market")
    parser.add_argument("--write", action="store_true", help="put the table into docs/BENCHMARKS.md")
    database.option(parser)
    asked = parser.parse_args()
    for miss in show(rows(Options(asked.notifications, asked.url)), write=asked.write):
        print(f"MISSED {miss}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

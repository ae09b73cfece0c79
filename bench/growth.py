"""
Measure how inserts and queries bear a table that grows: `python -m bench.growth [--rows 10000000] [--url ...]`.

Millions of trades are made on the server (bench/many.py). On top of each size the same simulated trades, with
signatures and times of their own, are written by raw COPY and by the write path, in turns.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import sys
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from bench import database, many, picture, simulated
from bench.table import PAGE, Row, report
from decoders.core.types import Trade
from monitor.store.batch import Batch
from monitor.store.rows import AT, COLUMNS, Times
from monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from monitor.store.rows import Row as Stored
    from tests import postgres

MOST_ROWS = 10_000_000
FIRST_ROWS = 20_000  # what is measured on top of them makes 100 thousand of it, in the middle
SIZES = (0.1, 0.25, 0.5, 1.0)  # of the most
NOTIFICATIONS = 20_000
BATCH = 5_000  # store.batch_max_rows
ROUNDS = 3
ASKED = 100
LEAST_RATIO = 0.9
MOST_QUERY_MS = 5.0
SVG = PAGE.with_name("throughput.svg")
_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_A_MINUTE_S, _A_MINUTE_SLOTS = 60, 150
_READ_BACK = f"SELECT {', '.join(COLUMNS)} FROM transactions WHERE block_time >= $1 ORDER BY batch_no, ctid"  # noqa: S608
_LATE_S = 1_000

_TRADE = "SELECT block_time, side, base_amount, quote_amount, price, trader FROM recent_trades"
# Sixty buckets up to a time at which it was traded.
_CANDLES = """
SELECT * FROM token_candles_{level}
 WHERE mint = $1 AND bucket > $2::timestamptz - 60 * INTERVAL '{width}' AND bucket <= $2 ORDER BY bucket
"""
QUERIES = (
    # What, the query, what it is asked with, the column that needs an index of its own, whether there is a goal.
    ("recent trades of a token", f"{_TRADE} WHERE mint = $1 LIMIT 50", "mint", "token_id", True),
    ("recent trades of a wallet", f"{_TRADE} WHERE trader = $1 LIMIT 50", "trader", "trader", False),
    (
        "a transaction by its signature",
        "SELECT * FROM transactions WHERE signature = $1 AND voided_at IS NULL",
        "signature",
        "signature",
        True,
    ),
    ("newest launches", "SELECT * FROM recent_launches LIMIT 20", None, None, False),
    *(
        (f"sixty candles of a token, {level}", _CANDLES.format(level=level, width=width), "traded", None, True)
        for level, width in (("1s", "1 second"), ("1m", "1 minute"), ("1h", "1 hour"))
    ),
)
_SAMPLES = {
    # Of tokens that were traded, as they were: busy ones come more often.
    "mint": "SELECT t.mint FROM sample s JOIN tokens t ON t.id = s.token_id",
    "traded": "SELECT t.mint, s.block_time FROM sample s JOIN tokens t ON t.id = s.token_id",
    "trader": "SELECT trader FROM sample",
    "signature": "SELECT signature FROM sample",
}
_SAMPLE = f"""
CREATE TEMP TABLE sample AS
SELECT token_id, trader, signature, block_time FROM transactions ORDER BY hashtext(signature) LIMIT {ASKED}
"""  # noqa: S608  the constants of this file alone
_INDEXED = """
SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = 'transactions'::regclass AND a.attname = $1)
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured. `url` None: on a server of its own."""

    rows: int = MOST_ROWS
    notifications: int = NOTIFICATIONS
    rounds: int = ROUNDS
    url: str | None = None


@dataclass(slots=True)
class Point:
    """Rates (rows a second) on top of so many rows."""

    rows: int
    raw: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Grown:
    """What was measured: points from the smallest table to the largest, and rows of what was asked there."""

    points: list[Point] = field(default_factory=list)
    asked: list[Row] = field(default_factory=list)
    place: str = ""


class Copies:
    """The simulated trades again and again, each time with other signatures, a minute later."""

    def __init__(self, trades: Sequence[Trade], rows: Sequence[Stored]) -> None:
        self._trades = trades
        self._rows = rows
        self._times = Times()
        self._number = 0

    def __len__(self) -> int:
        return len(self._trades)

    def facts(self) -> list[Trade]:
        """Return the next copy as facts."""
        mark, later_s, later_slots = self._next()
        return [
            msgspec.structs.replace(
                trade,
                signature=mark + trade.signature[2:],
                block_time=(trade.block_time or 0) + later_s,
                slot=trade.slot + later_slots,
            )
            for trade in self._trades
        ]

    def rows(self) -> list[Stored]:
        """Return the next copy as rows."""
        mark, later_s, later_slots = self._next()
        return [self._row(row, mark, later_s, later_slots) for row in self._rows]

    def _row(self, row: Stored, mark: str, later_s: int, later_slots: int) -> Stored:
        changed = list(row)
        changed[AT["signature"]] = mark + row[AT["signature"]][2:]
        changed[AT["block_time"]] = self._times.get(int(row[AT["block_time"]].timestamp()) + later_s)
        changed[AT["slot"]] += later_slots
        changed[AT["chain_order"]] += later_slots << 32
        return tuple(changed)

    def _next(self) -> tuple[str, int, int]:
        self._number += 1
        mark = _LETTERS[self._number // len(_LETTERS)] + _LETTERS[self._number % len(_LETTERS)]
        return mark, self._number * _A_MINUTE_S, self._number * _A_MINUTE_SLOTS


def rows(options: Options | None = None) -> list[Row]:
    """Return the figures, and draw the picture."""
    options = options or Options()
    with database.server(options.url) as server:
        grown = database.run(_grow(server, options))
    first, last = grown.points[0], grown.points[-1]
    found = []
    for what, of in (("raw COPY", "raw"), ("write path", "ours")):
        rates = [median(getattr(point, of)) for point in grown.points]
        found += [
            Row(f"{what}, on top of {point.rows:,} rows", rate, "/s")
            for point, rate in zip(grown.points, rates, strict=True)
        ]
        found.append(
            Row(f"{what}, on top of {last.rows:,} over {first.rows:,}", rates[-1] / rates[0], "", least=LEAST_RATIO)
        )
    _draw(grown)
    return [*found, *grown.asked]


def _draw(grown: Grown) -> None:
    lines = [
        picture.Line(name, [(point.rows, median(getattr(point, of))) for point in grown.points])
        for name, of in (("raw COPY", "raw"), ("write path", "ours"))
    ]
    text = picture.svg(
        "Trades inserted a second, by trades in the table", "trades in the table (one partition)",
        f"trades a second, batches of {BATCH:,}; {grown.place}", lines,
    )  # fmt: skip
    SVG.write_text(text)


async def _grow(server: postgres.Server, options: Options) -> Grown:
    facts = simulated.tape(options.notifications).facts()
    grown = Grown()
    sizes = sorted({min(FIRST_ROWS, options.rows), *(int(options.rows * share) for share in SIZES)})
    async with database.migrated(server) as url, database.connected(url) as connection:
        grown.place = await database.told(connection)
        await many.prepare(connection)
        async with await Store.open(url) as store:
            await store.lock()
            # Tokens and pools come with the first ones, and are known from there on.
            for at in range(0, len(facts), BATCH):
                await store.write(Batch(facts=facts[at : at + BATCH]))
            trades = [fact for fact in facts if isinstance(fact, Trade)]
            first_time = Times().get(trades[0].block_time)
            copies = Copies(trades, [tuple(row) for row in await connection.fetch(_READ_BACK, first_time)])
            done = 0
            for size in sizes:
                _say(f"filling up to {size:,} rows")
                await many.fill(connection, done + 1, size, options.rows)
                done = size
                grown.points.append(await _measure(connection, store, copies, options.rounds))
            grown.asked = await _ask(connection, store, copies)
    return grown


async def _measure(connection: asyncpg.Connection[Any], store: Store, copies: Copies, rounds: int) -> Point:
    """Write by both ways in turns; the first round only warms up, and takes the checkpoint's first writes of pages."""
    await connection.execute("CHECKPOINT")
    raw, ours = [], []
    before = await connection.fetchval("SELECT count(*) FROM transactions")
    for _ in range(rounds + 1):
        written = copies.rows()
        began = time.perf_counter()
        for at in range(0, len(written), BATCH):
            await database.copy(connection, written[at : at + BATCH], COLUMNS)
        raw.append(len(written) / (time.perf_counter() - began))
        facts = copies.facts()
        began = time.perf_counter()
        for at in range(0, len(facts), BATCH):
            await store.write(Batch(facts=facts[at : at + BATCH]))
        ours.append(len(facts) / (time.perf_counter() - began))
    point = Point(before + (rounds + 1) * len(copies), raw[1:], ours[1:])
    _say(f"on top of {point.rows:,}: raw {median(point.raw):,.0f}/s, ours {median(point.ours):,.0f}/s")
    return point


async def _ask(connection: asyncpg.Connection[Any], store: Store, copies: Copies) -> list[Row]:
    """Return how long candles and queries take on the full table."""
    await connection.execute("VACUUM ANALYZE")
    found = await _candles(connection, store, copies)
    await connection.execute(_SAMPLE)
    for what, query, asks, column, has_goal in QUERIES:
        if column is not None and not await connection.fetchval(_INDEXED, column):
            _say(f"{what}: left out, no index of transactions leads by {column}")
            continue
        if "token_candles" in query and not await _exists(connection, query.split()[3]):
            _say(f"{what}: left out, this schema has no such view")
            continue
        arguments = [()] * ASKED if asks is None else [tuple(row) for row in await connection.fetch(_SAMPLES[asks])]
        random.Random(1).shuffle(arguments)
        took = [await _took_ms(connection, query, *each) for each in arguments]
        found += [
            Row(f"{what}, median of {len(took)}", median(took), "ms", most=MOST_QUERY_MS if has_goal else None),
            Row(f"{what}, slowest of them", max(took), "ms"),
        ]
    return found


async def _took_ms(connection: asyncpg.Connection[Any], query: str, *arguments: object) -> float:
    """Return how long a query takes that was asked before: what it needs is in memory."""
    await connection.fetch(query, *arguments)
    began = time.perf_counter()
    await connection.fetch(query, *arguments)
    return (time.perf_counter() - began) * 1e3


async def _exists(connection: asyncpg.Connection[Any], relation: str) -> bool:
    found: bool = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", relation)
    return found


async def _candles(connection: asyncpg.Connection[Any], store: Store, copies: Copies) -> list[Row]:
    """Return how long it takes to make all candles, and those of one late trade."""
    if importlib.util.find_spec("monitor.store.candles") is None or not await _exists(connection, "price_candles_1m"):
        _say("candles: left out, this program makes none")
        return []
    candles = importlib.import_module("monitor.store.candles").Candles(store.edition)
    newest: datetime = await connection.fetchval("SELECT max(block_time) FROM transactions")

    async def refreshed_s() -> float:
        began = time.perf_counter()
        await candles.refresh(connection, newest)
        return time.perf_counter() - began

    whole_s = await refreshed_s()
    idle_s = await refreshed_s()
    late = copies.facts()[0]
    at = int(many.FIRST_TIME.timestamp()) + _LATE_S
    await store.write(Batch(facts=[msgspec.structs.replace(late, block_time=at, slot=many.FIRST_SLOT + 1)]))
    return [
        Row("making the candles of all of it, every level", whole_s, "s"),
        Row("refreshing them where nothing changed", idle_s * 1e3, "ms"),
        Row("refreshing them after one late trade", await refreshed_s() * 1e3, "ms"),
    ]


def show(found: Sequence[Row], *, write: bool) -> list[str]:
    """Print a table, put it into its page if asked to, and return what falls short."""
    return report(PAGE, "growth", found, write=write)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure a table that grows.")
    parser.add_argument("--rows", type=int, default=MOST_ROWS, help="in the end")
    parser.add_argument("--notifications", type=int, default=NOTIFICATIONS, help="of the market on top of them")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="put the table into docs/BENCHMARKS.md")
    database.option(parser)
    asked = parser.parse_args()
    options = Options(asked.rows, asked.notifications, asked.rounds, asked.url)
    for miss in show(rows(options), write=asked.write):
        print(f"MISSED {miss}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""
Measure the write path against raw COPY: `python -m bench.store [--notifications 60000] [--url ...] [--profile]`.

Both write the same rows into the same table with the same indexes, in transactions of the same size, in turns.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import inspect
import pstats
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from bench import database, simulated
from bench.table import Row, machine, markdown
from decoders.core.types import Trade
from monitor.store import write
from monitor.store.batch import Batch
from monitor.store.rows import AT, COLUMNS
from monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from decoders.core.types import Fact
    from monitor.store.rows import Row as Stored
    from tests import postgres

NOTIFICATIONS = 60_000
SIZES = (2_000, 10_000)
ROUNDS = 5
LEAST_RATIO = 0.7
# The order in which they were written; a table's rows stand in it.
_WRITTEN = f"SELECT {', '.join(COLUMNS)} FROM transactions ORDER BY batch_no, tableoid, ctid"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured. `url` None: on a server of its own."""

    notifications: int = NOTIFICATIONS
    sizes: tuple[int, ...] = SIZES
    rounds: int = ROUNDS
    url: str | None = None


@dataclass(slots=True)
class Side:
    """One way to write, round by round: rows a second, CPU time a row, and memory above that at the beginning."""

    rates: list[float] = field(default_factory=list)
    spent_s: list[float] = field(default_factory=list)
    grew_bytes: list[int] = field(default_factory=list)


def rows(options: Options | None = None) -> list[Row]:
    """Return the figures."""
    options = options or Options()
    facts = simulated.tape(options.notifications).facts()
    gc.freeze()  # what a daemon does not hold is not to be looked through while it is measured
    with database.server(options.url) as server:
        return [
            row for size in options.sizes for row in _rows(size, database.run(_measure(server, facts, size, options)))
        ]


def _rows(size: int, sides: tuple[Side, Side]) -> list[Row]:
    ours, raw = sides
    ratios = [mine / limit for mine, limit in zip(ours.rates, raw.rates, strict=True)]
    batches = f"batches of {size:,}"
    return [
        Row(f"raw COPY, {batches}", median(raw.rates), "/s", best=max(raw.rates)),
        Row(f"write path, {batches}", median(ours.rates), "/s", best=max(ours.rates)),
        Row(f"write path over raw COPY, {batches}", median(ratios), "", best=max(ratios), least=LEAST_RATIO),
        Row(
            f"our CPU time per trade, raw COPY, {batches}", median(raw.spent_s) * 1e6, "us", best=min(raw.spent_s) * 1e6
        ),
        Row(f"our CPU time per trade, {batches}", median(ours.spent_s) * 1e6, "us", best=min(ours.spent_s) * 1e6),
        Row(f"most memory above the facts, {batches}", median(ours.grew_bytes) / database.MIB, "MiB"),
    ]


async def _measure(server: postgres.Server, facts: Sequence[Fact], size: int, options: Options) -> tuple[Side, Side]:
    ours, raw = Side(), Side()
    for number in range(options.rounds):
        written, sizes = await _ours(server, facts, size, ours)
        await _raw(server, written, sizes, raw)
        print(f"round {number + 1}: {ours.rates[-1]:,.0f}/s, raw {raw.rates[-1]:,.0f}/s", file=sys.stderr, flush=True)
    return ours, raw


async def _ours(
    server: postgres.Server, facts: Sequence[Fact], size: int, side: Side
) -> tuple[list[Stored], list[int]]:
    """Write facts by our write path; return the rows that came of it, and how many each batch had."""
    batches = [facts[at : at + size] for at in range(0, len(facts), size)]
    async with database.migrated(server) as url, await Store.open(url) as store, database.connected(url) as other:
        await database.told(other)
        # The partition is there already, as it is on any day but the first.
        await database.make_room(other, [_day(facts)])
        await store.lock()
        began_bytes = database.forget_peak()
        began, began_cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            await store.write(Batch(facts=batch))
        seconds, spent_s = time.perf_counter() - began, time.process_time() - began_cpu
        side.grew_bytes.append(database.peak_bytes() - began_bytes)
        written = [tuple(row) for row in await other.fetch(_WRITTEN)]
    assert len(written) == sum(isinstance(fact, Trade) for fact in facts)
    side.rates.append(len(written) / seconds)
    side.spent_s.append(spent_s / len(written))
    return written, [sum(isinstance(fact, Trade) for fact in batch) for batch in batches]


def _day(facts: Sequence[Fact]) -> datetime:
    return datetime.fromtimestamp(next(fact.block_time for fact in facts if fact.block_time is not None), UTC)


async def _raw(server: postgres.Server, written: Sequence[Stored], sizes: Sequence[int], side: Side) -> None:
    """Write the same rows by COPY alone."""
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    batches = [written[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    async with database.migrated(server) as url, database.connected(url) as connection:
        await database.make_room(connection, [written[0][AT["block_time"]]])
        began, began_cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            await database.copy(connection, batch, COLUMNS)
        seconds, spent_s = time.perf_counter() - began, time.process_time() - began_cpu
    side.rates.append(len(written) / seconds)
    side.spent_s.append(spent_s / len(written))


# What a batch is made of, in the order of its work; nothing in it is part of another.
_STAGES: tuple[tuple[str, object, str], ...] = (
    ("sort: what is new, what is known", write, "sort"),
    ("tokens and pools: read, fold, write", write.Writer, "_fold"),
    ("COPY, with the rows made meanwhile", asyncpg.Connection, "copy_records_to_table"),
    ("the batch's own row", write.Writer, "_write_batch"),
    ("what becomes of each fact", write, "_written"),
    ("remember what is committed", write.Writer, "committed"),
)


def stages(options: Options | None = None) -> dict[str, dict[str, float]]:
    """Return where the time goes (us of the clock per trade), by the size of batches."""
    options = options or Options()
    facts = simulated.tape(options.notifications).facts()
    gc.freeze()
    with database.server(options.url) as server:
        return {f"batches of {size:,}": database.run(_timed(server, facts, size)) for size in options.sizes}


async def _timed(server: postgres.Server, facts: Sequence[Fact], size: int) -> dict[str, float]:
    spent: dict[str, float] = {}
    side = Side()
    with pytest.MonkeyPatch.context() as patch:
        for name, owner, attribute in _STAGES:
            patch.setattr(owner, attribute, _clocked(getattr(owner, attribute), name, spent))
        written, _ = await _ours(server, facts, size, side)
    found = {name: seconds / len(written) * 1e6 for name, seconds in spent.items()}
    whole = 1e6 / side.rates[-1]
    return found | {"the rest: reserves, other statements, COMMIT": whole - sum(found.values()), "sum": whole}


def _clocked(call: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    """Return a function or coroutine function that adds up how long it takes."""

    def told(began: float) -> None:
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

    def of_function(*args: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*args, **named)
        finally:
            told(began)

    async def of_coroutine(*args: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return await call(*args, **named)
        finally:
            told(began)

    return of_coroutine if inspect.iscoroutinefunction(call) else of_function


def profile(options: Options) -> None:
    """Print where the write path spends our processor's time."""
    facts = simulated.tape(options.notifications).facts()
    found = cProfile.Profile()

    async def fill(server: postgres.Server) -> None:
        async with database.migrated(server) as url, await Store.open(url) as store:
            await store.lock()
            found.enable()
            for at in range(0, len(facts), options.sizes[0]):
                await store.write(Batch(facts=facts[at : at + options.sizes[0]]))
            found.disable()

    with database.server(options.url) as server:
        database.run(fill(server))
    pstats.Stats(found).sort_stats("tottime").print_stats(30)


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the write path against raw COPY.")
    parser.add_argument("--notifications", type=int, default=NOTIFICATIONS, help="of the simulated market")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="facts in a batch")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--profile", action="store_true", help="tell where the time goes instead")
    database.option(parser)
    asked = parser.parse_args()
    options = Options(asked.notifications, tuple(asked.sizes), asked.rounds, asked.url)
    if asked.profile:
        profile(options)
        return 0
    print(f"{machine()}\n\n{markdown(rows(options))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""
Measure a replay from end to end: `python -m bench.replay [--notifications 60000] [--url ...]`.

A capture of a simulated market, and a journal that holds the same, each into a fresh database, by a process that does
nothing else: what `launch-monitor replay` runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from bench import database, simulated
from bench.table import Row, machine, markdown
from decoders.core.types import TxNotice
from monitor import app
from monitor.config import Config
from monitor.config.settings import Database
from monitor.journal import Journal, JournalLimits
from monitor.pipeline.pools import PoolMap
from monitor.sources.capture import Capture, Replayer
from monitor.sources.codec import encode
from monitor.store.batch import Batch
from monitor.store.store import Store

if TYPE_CHECKING:
    from bench.simulated import Tape
    from tests import postgres

NOTIFICATIONS = 60_000
ROUNDS = 3
LEAST_PER_S = 50_000.0
MOST_MEMORY_MIB = 300.0
_ROOT = Path(__file__).resolve().parents[1]
_TIMEOUT_S = 600
_BATCH = 5_000  # store.batch_max_rows


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured. `url` None: on a server of its own."""

    notifications: int = NOTIFICATIONS
    rounds: int = ROUNDS
    url: str | None = None


class Ran(msgspec.Struct, frozen=True):
    """What one replay took, from the opening of the database to its end."""

    seconds: float
    cpu_s: float
    peak_bytes: int


def rows(options: Options | None = None) -> list[Row]:
    """Return the figures."""
    options = options or Options()
    tape = simulated.tape(options.notifications)
    with tempfile.TemporaryDirectory() as name, database.server(options.url) as server:
        capture, journal = Path(name) / "market.jsonl.gz", Path(name) / "journal"
        tape.record(capture)
        database.run(_keep(tape, journal))
        return [
            row
            for what, path in (("capture", capture), ("journal", journal))
            for row in _rows(
                what, tape.trades, [database.run(_round(server, tape, path)) for _ in range(options.rounds)]
            )
        ]


def _rows(what: str, trades: int, ran: list[Ran]) -> list[Row]:
    rates = [trades / one.seconds for one in ran]
    spent_us = [one.cpu_s / trades * 1e6 for one in ran]
    memory = [one.peak_bytes / database.MIB for one in ran]
    return [
        Row(f"replay of a {what}, trades", median(rates), "/s", best=max(rates), least=LEAST_PER_S),
        Row(f"our CPU time per trade, {what}", median(spent_us), "us", best=min(spent_us)),
        Row(f"peak memory, {what}", median(memory), "MiB", best=min(memory), most=MOST_MEMORY_MIB),
    ]


def _rounds(server: postgres.Server, tape: Tape, path: Path, count: int) -> list[Ran]:
    return [database.run(_round(server, tape, path)) for _ in range(count)]


async def _round(server: postgres.Server, tape: Tape, path: Path) -> Ran:
    async with database.migrated(server) as url, database.connected(url) as connection:
        await database.told(connection)
        command = [sys.executable, "-m", "bench.replay", "--child", url, str(path)]
        child = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdout=subprocess.PIPE)
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await child.communicate()
        assert child.returncode == 0
        ran = msgspec.json.decode(output, type=Ran)
        stored = await connection.fetchval("SELECT count(*) FROM transactions")
    assert stored == tape.trades, (stored, tape.trades)
    print(f"{path.name}: {stored / ran.seconds:,.0f}/s", file=sys.stderr, flush=True)
    return ran


async def _keep(tape: Tape, folder: Path) -> None:
    """Write what a daemon would have journaled."""
    journal = Journal.open(folder, JournalLimits(min_free_bytes=0, memory_bytes=0), lambda: b"")
    writing = asyncio.create_task(journal.run())
    try:
        slot = 0
        for notice in tape.notices():
            slot = getattr(notice, "slot", slot)
            journal.append(encode(notice), slot)
        await journal.flush()
    finally:
        writing.cancel()
        await asyncio.wait({writing})
        await journal.close()


async def _replay(url: str, path: Path) -> Ran:
    began = time.perf_counter(), time.process_time()
    config = Config(programs=simulated.VENUES, database=Database(url=url))
    await app.replay(config, path, speed=None)
    return Ran(time.perf_counter() - began[0], time.process_time() - began[1], database.peak_bytes())


def stages(options: Options | None = None) -> dict[str, dict[str, float]]:
    """Return where the time goes (CPU us per trade), each stage by itself."""
    options = options or Options()
    tape = simulated.tape(options.notifications)
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, database.server(options.url) as server:
        path = Path(name) / "market.jsonl.gz"
        tape.record(path)
        began = time.process_time()
        with path.open("rb") as stream:
            lines = list(capture := Capture(stream))
        spent["capture to lines (unzipping is most of it)"] = time.process_time() - began
        began, replayer = time.process_time(), Replayer(capture.header, simulated.registry().followed)
        notices = [notice for line in lines for notice in replayer.notices(line)]
        spent["lines to notices"] = time.process_time() - began
        del lines
        began, pools, facts = time.process_time(), PoolMap(), []
        for notice in notices:
            if isinstance(notice, TxNotice):
                for fact in simulated.registry().decode(notice, pools).facts:
                    pools.learn(fact)
                    facts.append(fact)
        spent["notices to facts"] = time.process_time() - began

        async def write() -> None:
            async with database.migrated(server) as url, await Store.open(url) as store:
                await store.lock()
                began = time.process_time()
                for at in range(0, len(facts), _BATCH):
                    await store.write(Batch(facts=facts[at : at + _BATCH]))
                spent["facts to rows and COPY"] = time.process_time() - began

        database.run(write())
    spent["sum"] = sum(spent.values())
    return {"capture": {stage: seconds / tape.trades * 1e6 for stage, seconds in spent.items()}}


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure a replay from end to end.")
    parser.add_argument("--notifications", type=int, default=NOTIFICATIONS, help="of the simulated market")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--stages", action="store_true", help="tell where the time goes instead")
    parser.add_argument("--child", nargs=2, metavar=("URL", "PATH"), help=argparse.SUPPRESS)
    database.option(parser)
    asked = parser.parse_args()
    if asked.child:
        url, path = asked.child
        print(msgspec.json.encode(database.run(_replay(url, Path(path)))).decode())
        return 0
    options = Options(asked.notifications, asked.rounds, asked.url)
    print(json.dumps(stages(options), indent=2) if asked.stages else f"{machine()}\n\n{markdown(rows(options))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""
Measure the installed daemon behind a websocket: `python -m bench.live [--notifications 60000] [--program ...]`.

How much it takes until all is committed, and how long a transaction is on its way from the socket to the commit at
some rates. Node, daemon and database are processes of their own, and share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import database, simulated
from bench.table import PAGE, Row, report
from bench.teller import Order, save, telling
from tests.e2e import daemon, installed
from tests.e2e.watching import cpu_s, free_port

if TYPE_CHECKING:
    from array import array
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from bench.simulated import Tape
    from tests import postgres

NOTIFICATIONS = 60_000
SECONDS = 20.0
RATES = (100.0, 1_000.0, 5_000.0)
LEAST_PER_S = 30_000.0
GOAL_RATE, MOST_P99_MS = 1_000.0, 10.0
MOST_MEMORY_MIB = 300.0
PERCENTILES = (50.0, 99.0, 99.9)
_WARM_SHARE = 0.1  # of the notifications: connections and caches are made by the first ones
_COMMIT_S = 600
_COUNT = "SELECT count(*) FROM transactions WHERE voided_at IS NULL"
_TELL = """
CREATE FUNCTION tell_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('batches', NEW.batch_no || ' ' || NEW.stored);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_batch AFTER INSERT ON batches FOR EACH ROW EXECUTE FUNCTION tell_batch()
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured. `program` None installs the wheel first; `url` None: on a server of its own."""

    notifications: int = NOTIFICATIONS
    seconds: float = SECONDS
    rates: tuple[float, ...] = RATES
    program: Path | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """
    What one daemon did, from the first notification to the last commit; `waits_ms` of each trade but the first ones.

    `cpu_s` and `peak_bytes` are the daemon's.
    """

    trades: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    waits_ms: list[float]


@dataclass
class Commits:
    """When each batch was committed (ns of the monotonic clock), as a listener hears of it right after."""

    at_ns: dict[int, int] = field(default_factory=dict)
    stored: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        """Take note of a batch."""
        batch_no, stored = str(payload).split()
        self.at_ns[int(batch_no)] = time.monotonic_ns()
        self.stored += int(stored)
        self.heard.set()


def rows(options: Options | None = None) -> list[Row]:
    """Return the figures of a run as fast as can be, and of one at each rate."""
    options = options or Options()
    most = max([options.notifications, *(int(rate * options.seconds) for rate in options.rates)])
    tape = simulated.tape(most)
    with tempfile.TemporaryDirectory() as name, database.server(options.url) as server:
        program = options.program or installed.install(Path(name))
        folder = Path(name)
        save(tape, folder / "tape")
        orders = [Order(options.notifications, str(folder / "times"))]
        for rate in options.rates:
            orders.append(Order(int(rate * options.seconds), str(folder / "times"), rate))
            if rate == GOAL_RATE:
                orders.append(Order(int(rate * options.seconds), str(folder / "times"), rate, bursts=True))
        found: list[Row] = []
        for order in orders:
            with contextlib.redirect_stdout(sys.stderr):  # the daemon's log
                run = database.run(_run(program, server, tape, folder, order))
            found += _rows(order, run)
        return found


def _rows(order: Order, run: Run) -> list[Row]:
    memory = Row(_named("peak memory of the daemon", order), run.peak_bytes / database.MIB, "MiB", most=MOST_MEMORY_MIB)
    spent = Row(_named("what the daemon spent on a trade", order), run.cpu_s / run.trades * 1e6, "us")
    if order.rate is None:
        rate = Row(_named("trades until committed", order), run.trades / run.seconds, "/s", least=LEAST_PER_S)
        return [rate, spent, memory]
    waits = sorted(run.waits_ms)
    return [
        *(
            Row(
                _named(f"from socket to commit, p{share:g}", order),
                waits[min(int(len(waits) * share / 100), len(waits) - 1)],
                "ms",
                most=MOST_P99_MS if (order.rate, order.bursts, share) == (GOAL_RATE, False, 99.0) else None,
            )
            for share in PERCENTILES
        ),
        spent,
        memory,
    ]


def _named(what: str, order: Order) -> str:
    if order.rate is None:
        return f"{what}, as fast as can be"
    return f"{what}, {order.rate:,.0f}/s{', a slot at once' if order.bursts else ''}"


async def _run(program: Path, server: postgres.Server, tape: Tape, folder: Path, order: Order) -> Run:
    """Have a fresh daemon with a fresh database take what is ordered."""
    expected = sum(told.trades for told in tape.told[: order.count])
    async with (
        database.migrated(server) as url,
        database.connected(url) as connection,
        _commits(url) as commits,
        telling(folder / "tape") as node,
    ):
        await database.told(connection)
        settings = {
            "node.ws_url": node.ws_url, "node.http_url": node.http_url, "node.feed": "logs", "start": "now",
            "programs": ",".join(simulated.VENUES), "fetch.rate_per_s": "5000", "database.url": url,
            "metrics.listen": f"127.0.0.1:{free_port()}",
        }  # fmt: skip
        with tempfile.TemporaryDirectory(dir=folder) as own:
            async with daemon.ingest(program, Path(own), settings) as process:
                times = await node.tell(order)
                async with asyncio.timeout(_COMMIT_S):
                    await _until(commits, connection, expected)
                ended_ns = max(commits.at_ns.values())
                spent_s = cpu_s(Path(f"/proc/{process.pid}/stat").read_text())
                peak_bytes = database.peak_bytes(process.pid)
        seconds = (ended_ns - times[0]) / 1e9
        return Run(expected, seconds, spent_s, peak_bytes, await _waits(connection, tape, times, commits))


async def _until(commits: Commits, connection: asyncpg.Connection[Any], expected: int) -> None:
    """Wait until as many trades are committed as there are."""
    while True:
        commits.heard.clear()  # before looking: what is committed while the rows are counted sets it again
        if commits.stored >= expected and await connection.fetchval(_COUNT) >= expected:
            return
        await commits.heard.wait()


async def _waits(connection: asyncpg.Connection[Any], tape: Tape, times: array[int], commits: Commits) -> list[float]:
    """Return how long each trade was on its way (ms), but for the first ones."""
    venues = {number: simulated.registry().programs[address].name for number, address in tape.programs.items()}
    sent = {(told.signature, venues[told.subscription]): ns for told, ns in zip(tape.told, times, strict=False)}
    warm_ns = times[int(len(times) * _WARM_SHARE)]
    rows = await connection.fetch("SELECT signature, venue, batch_no FROM transactions")
    ways = [(sent[row["signature"], row["venue"]], commits.at_ns[row["batch_no"]]) for row in rows]
    return [(at_ns - sent_ns) / 1e6 for sent_ns, at_ns in ways if sent_ns >= warm_ns]


@asynccontextmanager
async def _commits(url: str) -> AsyncIterator[Commits]:
    """Hear of every batch by a trigger of our own."""
    async with database.connected(url) as connection:
        await connection.execute(_TELL)
        found = Commits()
        await connection.add_listener("batches", found.hear)
        yield found


def show(found: Sequence[Row], *, write: bool) -> list[str]:
    """Print a table, put it into its page if asked to, and return what falls short."""
    return report(PAGE, "live", found, write=write)


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the installed daemon behind a websocket.")
    parser.add_argument("--notifications", type=int, default=NOTIFICATIONS, help="told as fast as can be")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long they are told at each rate")
    parser.add_argument("--rates", type=float, nargs="*", default=RATES, help="transactions a second")
    parser.add_argument("--program", type=Path, help="launch-monitor as it is installed (default: install the wheel)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/BENCHMARKS.md")
    database.option(parser)
    asked = parser.parse_args()
    options = Options(asked.notifications, asked.seconds, tuple(asked.rates), asked.program, asked.url)
    misses = show(rows(options), write=asked.write)
    for miss in misses:
        print(f"MISSED {miss}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

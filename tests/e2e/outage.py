"""Take the database away from a daemon that follows a market, and measure what its journal and its memory do."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e import daemon, rows
from tests.e2e.market import Plan, market
from tests.e2e.truth import differences
from tests.e2e.watching import Watch, free_port, watching
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests import postgres
    from tests.e2e.market import Market
    from tests.e2e.rows import Hole
    from tests.e2e.watching import Sample

FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
# Who waits for less than a slot's records is not behind.
CAUGHT_UP = 1_000


@dataclass(frozen=True, slots=True)
class Outage:
    """
    What is done: trade for `before_s`, trade without a database for `away_s`, trade for `after_s` behind it.

    Args:
        max_bytes: The journal's cap; None is the daemon's own.
        queue_size: Notifications that the node keeps for a client which does not read.
        until_dropped: The outage ends sooner, once the node has cut off the daemon.
    """

    rate: float = 1_000.0
    away_s: float = 600.0
    before_s: float = 30.0
    after_s: float = 30.0
    feed: str = "blocks"
    max_bytes: int | None = None
    queue_size: int = 50_000
    until_dropped: bool = False


@dataclass(frozen=True, slots=True)
class Stages:
    """
    Samples before, during, from the first commit until there was no backlog, and from there on.

    `first_commit_s` and `normal_s` count from when the database was back; `made_per_s` are the transactions that the
    market came to while it was away.
    """

    before: Sequence[Sample]
    during: Sequence[Sample]
    catching_up: Sequence[Sample]
    after: Sequence[Sample]
    first_commit_s: float
    normal_s: float
    made_per_s: float

    @property
    def appended_per_s(self) -> float:
        """Records that were appended a second while the database was away."""
        return _per_s(self.during, "journal_newest_seq")

    @property
    def live_per_s(self) -> float:
        """Records that came in a second while the backlog was committed."""
        return _per_s(self.catching_up, "journal_newest_seq")

    @property
    def committed_per_s(self) -> float:
        """Records that were committed a second while the backlog was."""
        return _per_s(self.catching_up, "journal_done_seq")

    @property
    def bytes_per_record(self) -> float:
        """By how many bytes each record made the journal grow while the database was away."""
        return _rise(self.during, "journal_bytes") / _rise(self.during, "journal_newest_seq")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured. `differences` is what is wrong with the rows; `load` the load average while all that ran."""

    stages: Stages
    differences: Sequence[str]
    holes: Sequence[Hole]
    trades: int
    load: tuple[float, float, float]


def _rise(samples: Sequence[Sample], name: str) -> float:
    return samples[-1].page[name] - samples[0].page[name]


def _per_s(samples: Sequence[Sample], name: str) -> float:
    return _rise(samples, name) / (samples[-1].at_s - samples[0].at_s)


async def run(outage: Outage, program: Path, server: postgres.Server, folder: Path) -> Outcome:
    """Do it, with everything in processes of their own."""
    plan = Plan(rate=outage.rate, queue_size=outage.queue_size, kept_transactions=_kept(outage))
    async with (
        server.database() as url,
        Proxy(rows.socket_of(url)) as proxy,
        market(plan) as node,
        following(program, folder, node, rows.through(proxy, url), outage) as watch,
    ):
        stages = await _stages(outage, node, proxy, watch)
        last_slot = await node.settle()
        await watch.until(lambda sample: sample.highest("slot_progress") >= last_slot and not sample.waiting)
        load = os.getloadavg()
        async with rows.connected(url) as connection:
            while await rows.open_holes(connection):
                await watch.next()
            trades, holes = await rows.trades(connection), await rows.holes(connection)
        wrong = await differences(url, await node.ledger(folder / "ledger.json"), FOLLOWED)
        return Outcome(stages, wrong, holes, trades, load)


def _kept(outage: Outage) -> int:
    """How many transactions the node must answer for: with logs whatever waits, else what a hole may hold."""
    seconds = outage.before_s + outage.away_s + outage.after_s + 60
    return int(outage.rate * (3 * seconds if outage.feed == "logs" or outage.max_bytes else 60))


async def _stages(outage: Outage, node: Market, proxy: Proxy, watch: Watch) -> Stages:
    await node.trade()
    before = await _take(watch, outage.before_s)
    await proxy.refuse()
    proxy.cut()
    made = await node.produced()
    during = await _take(watch, outage.away_s, node if outage.until_dropped else None)
    made_per_s = (await node.produced() - made) / (during[-1].at_s - during[0].at_s)
    await proxy.accept()
    back_at = time.monotonic()
    while (first := await watch.next()).page["database_retrying"]:
        pass
    first_s, catching_up = time.monotonic() - back_at, [first]
    while len(catching_up) < 2 or catching_up[-1].waiting >= CAUGHT_UP:
        catching_up.append(await watch.next())
    normal_s = time.monotonic() - back_at
    return Stages(before, during, catching_up, await _take(watch, outage.after_s), first_s, normal_s, made_per_s)


async def _take(watch: Watch, seconds: float, drops: Market | None = None) -> list[Sample]:
    """Return the samples of so many seconds, or until a node has dropped who followed it."""
    end = time.monotonic() + seconds
    found = [await watch.next()]
    while time.monotonic() < end and not (drops and await drops.subscriptions() == 0):
        found.append(await watch.next())
    return found


@asynccontextmanager
async def following(
    program: Path, folder: Path, node: Market, database_url: str, outage: Outage
) -> AsyncIterator[Watch]:
    """Run a daemon against a node until the block ends, and watch it each second."""
    port = free_port()
    settings = {
        "node.ws_url": node.ws_url,
        "node.http_url": node.http_url,
        "node.feed": outage.feed,
        "fetch.rate_per_s": "5000",
        "fetch.concurrency": "16",
        "database.url": database_url,
        "metrics.listen": f"127.0.0.1:{port}",
        "start": "now",
    }
    if outage.max_bytes is not None:
        settings["journal.max_bytes"] = str(outage.max_bytes)
    await daemon.command(program, settings, "migrate")
    async with daemon.ingest(program, folder, settings) as process, watching(Watch(process.pid, port)) as watch:
        yield watch

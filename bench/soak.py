"""
Follow a market that misbehaves for a long time: `python -m bench.soak [--minutes 30] [--rate 2000] [--faults ...]`.

Tells each minute what the daemon takes, and in the end whether anything grew: memory, tasks, file descriptors.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.minutes import EVERY_S, HEADER, MIB, line, middle, spent_s
from bench.minutes import minutes as by_minute
from bench.table import Row, figures, machine, update
from simulator.faults.schedule import SILENT_IN_LOGS
from tests import postgres
from tests.e2e import daemon, installed
from tests.e2e import rows as stored
from tests.e2e.market import Plan, market
from tests.e2e.watching import Watch, free_port, watching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.market import Market
    from tests.e2e.watching import Sample

PAGE = Path(__file__).resolve().parents[1] / "docs" / "RELIABILITY.md"
SECTION = "soak"
SETTLED_MIN = 5
MOST_GROWTH = 0.05
MOST_MORE_DESCRIPTORS, MOST_MORE_TASKS = 2, 2
LEAST_SHARE = 0.95  # of the rate that was asked for
# One a second at 2,000/s, more than on mainnet's record day (71,735). What is remembered of each token is bounded, but
# with 24 a second, as the simulator likes it, the bound is reached after hours.
_LAUNCH_SHARE = 0.0005
_KEPT_S = 240  # how long the node answers for a transaction: longer than a hole stays open
# What a feed notices by itself, so that everything can be fetched: how often a minute. Faults of requests
# strike up to ten of them, and a quiet daemon asks seldom.
FAULTS = {
    "restart": 0.1, "close": 0.5, "hang": 0.15, "drop": 0.5, "duplicate": 1.0, "delay": 0.5, "reorder": 0.5,
    "wrong_envelope": 0.5, "limit": 0.1, "http_error": 0.1, "not_available": 0.1, "missing_in_list": 0.1,
    "skip_slots": 0.5, "fork": 0.15, "stale": 0.25,
}  # fmt: skip


def usual(feed: str) -> dict[str, float]:
    """Return the faults that a feed notices: a single notification that is missing shows in blocks alone."""
    silent = SILENT_IN_LOGS if feed == "logs" else frozenset[str]()
    return {kind: rate for kind, rate in FAULTS.items() if kind not in silent}


@dataclass(frozen=True, slots=True)
class Options:
    """
    What is measured; `program` None installs the wheel first.

    By default what costs the market the least: the logs of programs whose transactions need not be fetched one by one.
    It is one process, and does not come to 2,000 transactions a second if it has to tell whole blocks as well.
    """

    minutes: float = 30.0
    rate: float = 2_000.0
    feed: str = "logs"
    programs: tuple[str, ...] = ("pumpfun", "pumpswap")
    faults: dict[str, float] = field(default_factory=lambda: usual("logs"))
    program: Path | None = None


@dataclass(frozen=True, slots=True)
class Soaked:
    """What came of it: samples while transactions flowed, and how rows and holes stood after that."""

    samples: Sequence[Sample]
    made: int
    made_trades: int
    stored_trades: int
    open_holes: int
    filled_holes: int
    struck: dict[str, int]
    seconds: float
    market_cpu_s: float


def rows(options: Options | None = None) -> list[Row]:
    """Return the figures of one run; a line for each minute is printed meanwhile."""
    options = options or Options()
    with tempfile.TemporaryDirectory() as name, postgres.start(fsync=True) as server:
        program = options.program or installed.install(Path(name))
        with contextlib.redirect_stdout(sys.stderr):  # the daemon's log
            soaked = asyncio.run(soak(options, program, server, Path(name)))
    return verdict(options, soaked)


async def soak(options: Options, program: Path, server: postgres.Server, folder: Path) -> Soaked:
    """Run market, daemon and database in processes of their own."""
    port = free_port()
    plan = Plan(
        rate=options.rate,
        faults=options.faults,
        keeps_ledger=False,
        kept_transactions=int(options.rate * _KEPT_S),
        launch_share=_LAUNCH_SHARE,
    )
    async with server.database() as url, market(plan) as node:
        settings = {
            "node.ws_url": node.ws_url, "node.http_url": node.http_url, "node.feed": options.feed,
            "programs": ",".join(options.programs),
            # Of a slot's 800 transactions the market would write out all for the four whose logs were cut.
            "fetch.rate_per_s": "5000", "fetch.block_at": "50", "database.url": url,
            "metrics.listen": f"127.0.0.1:{port}", "start": "now",
        }  # fmt: skip
        await daemon.command(program, settings, "migrate")
        async with (
            daemon.ingest(program, folder, settings) as process,
            watching(Watch(process.pid, port, EVERY_S)) as watch,
            stored.connected(url) as connection,
        ):
            seconds = await _trade(options, node, watch)
            flowing = list(watch.samples)
            made, struck, cpu_s = await node.produced(), await node.struck(), await node.cpu_s()
            await node.calm()
            last_slot = await node.settle()
            with contextlib.suppress(TimeoutError):  # what then is open counts against us
                await watch.until(lambda sample: _is_final(sample, last_slot), _KEPT_S)
                async with asyncio.timeout(_KEPT_S):
                    while await stored.open_holes(connection):
                        await watch.next()
            holes = await stored.holes(connection)
            trades = await node.trades()
            return Soaked(
                flowing, made, sum(trades.get(venue, 0) for venue in options.programs), await stored.trades(connection),
                sum(hole.filled_by is None for hole in holes), sum(hole.filled_by is not None for hole in holes),
                struck, seconds, cpu_s,
            )  # fmt: skip


def _is_final(sample: Sample, slot: int) -> bool:
    """Tell whether everything through a slot is committed, and was compared with the finalized chain."""
    page = sample.page
    return not sample.waiting and sample.highest("slot_progress") >= slot and page.get("slot_final", 0) >= slot


async def _trade(options: Options, node: Market, watch: Watch) -> float:
    """Let transactions flow, and tell of each minute; return how many seconds that was."""
    _say(HEADER)
    await node.trade()
    began = time.monotonic()
    minute, told = 1, len(watch.samples)
    while time.monotonic() < began + options.minutes * 60:
        await watch.next()
        if time.monotonic() >= began + minute * 60:
            _say(line(minute, watch.samples[told:]))
            minute, told = minute + 1, len(watch.samples)
    await node.rest()
    return time.monotonic() - began


def verdict(options: Options, soaked: Soaked) -> list[Row]:
    """Return the figures with their goals: growth is from the first settled minute to the worst one after it."""
    minutes = list(by_minute(soaked.samples))
    settled = minutes[SETTLED_MIN:] or minutes[-1:]

    def more(what: str) -> float:
        return max(middle(samples, what) for samples in settled) - middle(settled[0], what)

    first_bytes = middle(settled[0], "rss")
    made_per_s = soaked.made / soaked.seconds
    return [
        Row(f"transactions made, {options.minutes:g} min", made_per_s, "/s", least=LEAST_SHARE * options.rate),
        Row("what the machine spent on making one", soaked.market_cpu_s / soaked.made * 1e6, "us"),
        Row("what the daemon spent on one", spent_s(soaked.samples) / soaked.made * 1e6, "us"),
        Row("load average (2 cores, shared)", os.getloadavg()[2], ""),
        Row(f"memory (RSS) in minute {min(SETTLED_MIN + 1, len(minutes))}", first_bytes / MIB, "MiB"),
        Row("most that it grew by after that", more("rss") / first_bytes * 100, "%", most=MOST_GROWTH * 100),
        Row("file descriptors more than then", more("descriptors"), "", most=MOST_MORE_DESCRIPTORS),
        Row("tasks more than then", more("tasks"), "", most=MOST_MORE_TASKS),
        Row("faults that struck", sum(soaked.struck.values()), "", least=1 if options.faults else None),
        Row("kinds of them", len(soaked.struck), ""),
        Row("holes filled", soaked.filled_holes, ""),
        Row("holes left open", soaked.open_holes, "", most=0),
        Row("trades lost (doubled: negative)", soaked.made_trades - soaked.stored_trades, "", most=0, least=0),
        Row("trades stored", soaked.stored_trades, ""),
    ]


def show(found: Sequence[Row], *, write: bool) -> list[str]:
    """Print the figures, put them into their page if asked to, and return what falls short."""
    text = f"{machine()}\n\n{figures(found)}"
    _say(text)
    if write:
        update(PAGE, SECTION, text)
    return [miss for row in found for miss in row.misses]


def _say(text: str) -> None:
    print(text, file=sys.__stdout__, flush=True)


def faults_of(text: str, feed: str) -> dict[str, float]:
    """Read `KIND:RATE,...`; "none" is none, "all" the usual ones."""
    if text in ("all", "none"):
        return usual(feed) if text == "all" else {}
    pairs = (item.partition(":") for item in text.split(","))
    return {kind.strip(): float(rate or 1) for kind, _, rate in pairs}


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Watch a daemon for a long time.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long transactions flow")
    parser.add_argument("--rate", type=float, default=2_000.0, help="transactions a second")
    parser.add_argument("--feed", choices=("blocks", "logs"), default="logs", help="what the daemon follows")
    parser.add_argument("--programs", default="pumpfun,pumpswap", help="of which programs")
    parser.add_argument("--faults", default="all", help="KIND:TIMES A MINUTE,... or all, none")
    parser.add_argument("--program", type=Path, help="launch-monitor as it is installed (default: install the wheel)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/RELIABILITY.md")
    asked = parser.parse_args()
    programs, faults = tuple(asked.programs.split(",")), faults_of(asked.faults, asked.feed)
    options = Options(asked.minutes, asked.rate, asked.feed, programs, faults, asked.program)
    misses = show(rows(options), write=asked.write)
    for miss in misses:
        _say(f"MISSED {miss}")
    _say("FLAT" if not misses else "NOT AS IT SHOULD BE")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())

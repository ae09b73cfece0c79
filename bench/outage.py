"""
Measure what a database that is away costs: `python -m bench.outage [--minutes 10] [--rate 1000] [--write]`.

A market in real time, the installed daemon and PostgreSQL, each in processes of their own, and a proxy before the
database that cuts and refuses. Then the same with a journal that is soon full.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from bench import journal
from bench.table import Row, figures, machine, update
from tests import postgres
from tests.e2e import installed
from tests.e2e.outage import Outage, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.outage import Outcome, Stages
    from tests.e2e.watching import Sample

PAGE = Path(__file__).resolve().parents[1] / "docs" / "RELIABILITY.md"
SECTION = "outage"
MIB = 1 << 20
LEAST_CATCH_UP = 2.0
# What bench/journal.py finds on other transactions of the same market is how good the forecast can be.
MOST_OFF = 0.25
_FULL_MIB = 16
# Soon full, and a node that soon gives up on a client which does not read.
_SMALL = Outage(away_s=600, max_bytes=_FULL_MIB * MIB, queue_size=50, until_dropped=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured; `program` None installs the wheel first."""

    minutes: float = 10.0
    rate: float = 1_000.0
    feed: str = "blocks"
    program: Path | None = None


def rows(options: Options | None = None) -> list[Row]:
    """Return the figures of both outages."""
    options = options or Options()
    with tempfile.TemporaryDirectory() as name, postgres.start(fsync=True) as server:
        folder = Path(name)
        program = options.program or installed.install(folder)
        away = Outage(rate=options.rate, away_s=options.minutes * 60, feed=options.feed)
        full = replace(_SMALL, rate=options.rate, feed=options.feed)
        outcomes = []
        for number, outage in enumerate((away, full)):
            (folder / str(number)).mkdir()
            with contextlib.redirect_stdout(sys.stderr):  # the daemon's log
                outcomes.append(asyncio.run(run(outage, program, server, folder / str(number))))
    forecast = journal.stored_bytes(whole=options.feed == "blocks")
    return [*_away(away, outcomes[0], forecast), *_full(outcomes[1])]


def _away(outage: Outage, outcome: Outcome, forecast: float) -> list[Row]:
    stages = outcome.stages
    seconds = stages.during[-1].at_s - stages.during[0].at_s
    grew, computed = (each * stages.appended_per_s * seconds for each in (stages.bytes_per_record, forecast))
    # What came in while it was committed; and before, when nothing else took the processor's time.
    live_per_s = max(stages.live_per_s, stages.appended_per_s)
    return [
        Row(f"{outage.away_s / 60:g} minutes away: transactions made, of {outage.rate:g}/s", stages.made_per_s, "/s"),
        Row("records appended meanwhile", stages.appended_per_s, "/s"),
        Row("bytes on disk per record", stages.bytes_per_record, "B"),
        Row("bytes on disk per record, computed (bench/journal.py)", forecast, "B"),
        Row("the journal grew by", grew / MIB, "MiB"),
        Row("the journal should grow by, computed", computed / MIB, "MiB"),
        Row("how far off that is", abs(grew / computed - 1) * 100, "%", most=MOST_OFF * 100),
        Row("first commit after the database is back", stages.first_commit_s, "s"),
        Row("records committed while catching up", stages.committed_per_s, "/s"),
        Row("against the rate at which they come", stages.committed_per_s / live_per_s, "times", least=LEAST_CATCH_UP),
        Row("until nothing waits any more", stages.normal_s, "s"),
        *_memory(stages),
        *_truth(outcome),
    ]


def _memory(stages: Stages) -> list[Row]:
    found = {
        "before": stages.before, "away": stages.during, "catching up": stages.catching_up, "after": stages.after
    }  # fmt: skip
    return [Row(f"memory (RSS), {name}", _rss(samples), "MiB") for name, samples in found.items()]


def _rss(samples: Sequence[Sample]) -> float:
    return mean(sample.rss_bytes for sample in samples) / MIB


def _full(outcome: Outcome) -> list[Row]:
    during = outcome.stages.during
    most = max(sample.page["journal_bytes"] for sample in during)
    return [
        Row(f"full at {_FULL_MIB} MiB: most that the journal took", most / MIB, "MiB"),
        Row("until the node dropped us", during[-1].at_s - during[0].at_s, "s"),
        Row("holes recorded", len(outcome.holes), "", least=1),
        Row("slots in them", sum(hole.slots for hole in outcome.holes), ""),
        Row("holes left open", sum(hole.filled_by is None for hole in outcome.holes), "", most=0),
        *_truth(outcome),
    ]


def _truth(outcome: Outcome) -> list[Row]:
    return [
        Row("trades stored", outcome.trades, ""),
        Row("rows that differ from the ledger (lost, doubled, other)", len(outcome.differences), "", most=0),
        Row("load average (2 cores, shared)", outcome.load[1], ""),
    ]


def show(found: Sequence[Row], *, write: bool) -> list[str]:
    """Print a table, put it into its page if asked to, and return what falls short."""
    text = f"{machine()}\n\n{figures(found)}"
    print(text, flush=True)
    if write:
        update(PAGE, SECTION, text)
    return [miss for row in found for miss in row.misses]


def main() -> int:
    """Run what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure outages of the database.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it is away")
    parser.add_argument("--rate", type=float, default=1_000.0, help="transactions a second")
    parser.add_argument("--feed", choices=("blocks", "logs"), default="blocks", help="what the daemon follows")
    parser.add_argument("--program", type=Path, help="launch-monitor as it is installed (default: install the wheel)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/RELIABILITY.md")
    asked = parser.parse_args()
    misses = show(rows(Options(asked.minutes, asked.rate, asked.feed, asked.program)), write=asked.write)
    for miss in misses:
        print(f"MISSED {miss}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())

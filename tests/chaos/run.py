"""
Break everything around the daemon, kill it again and again, and hold what it stored against the simulator's ledger.

`python -m tests.chaos.run` runs every kind of fault alone on each feed, then combinations; `--part` the fixed part of
continuous integration. It prints a table; `--write` also writes it into docs/RELIABILITY.md. Exit status 1: something
is not as promised. `--only NAME` runs one again, as the table's notes name it. Folders of runs that went wrong are kept
in `--keep`, with the daemon's log.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos import child, plan, servers, table
from tests.chaos.one import PROGRAM, Outcome
from tests.pipeline.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.chaos.plan import Plan
    from tests.chaos.servers import Server

ROOT = Path(__file__).parents[2]
NICE = 5
SEED, TOGETHER_SEED = 1, 1_001
PART_TOGETHER, ALL_TOGETHER = 6, 40
_LONGEST_RUN_S = 400


def part() -> list[Plan]:
    """Return the fixed runs of continuous integration."""
    return [*plan.turns(SEED), *plan.together(TOGETHER_SEED, PART_TOGETHER)]


def everything(seed: int, times: int) -> list[Plan]:
    """Return the runs of a full table."""
    return [*plan.alone(seed, times), *plan.together(seed + TOGETHER_SEED - SEED, ALL_TOGETHER * times)]


def run_all(
    plans: Iterable[Plan], *, jobs: int, keep: Path, tell: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Run plans, some at a time, each in a process of its own; return what came of them, in the order of the plans."""
    wanted = list(plans)
    waiting: queue.SimpleQueue[tuple[int, Plan]] = queue.SimpleQueue()
    for item in enumerate(wanted):
        waiting.put(item)
    found: dict[int, Outcome] = {}

    def work() -> None:
        with servers_of_a_worker() as around:
            while True:
                try:
                    number, what = waiting.get_nowait()
                except queue.Empty:
                    return
                found[number] = run_one(what, around, keep)
                tell(found[number])

    count = min(jobs, len(wanted))
    with ThreadPoolExecutor(count) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(count)]:
                worker.result()
        except BaseException:
            while not waiting.empty():  # those under way end by themselves, and their servers with them
                waiting.get_nowait()
            raise
    return [found[number] for number in sorted(found)]


@dataclass(frozen=True, slots=True)
class Around:
    """What runs use one after the other: a PostgreSQL with a migrated template, and the port of a Valkey."""

    server: Server
    redis_port: int


@contextlib.contextmanager
def servers_of_a_worker() -> Iterator[Around]:
    """Run both until the block ends."""
    with servers.start() as server, tempfile.TemporaryDirectory() as folder, asyncio.Runner() as loop:
        loop.run(_migrate(server, Path(folder)))
        redis = Valkey(Path(folder))
        loop.run(redis.start())
        try:
            yield Around(server, redis.port)
        finally:
            loop.run(redis.stop())


async def _migrate(server: Server, folder: Path) -> None:
    await server.execute(
        f"CREATE ROLE {servers.ROLE} LOGIN CREATEROLE", f"CREATE DATABASE {servers.TEMPLATE} OWNER {servers.ROLE}"
    )
    config = folder / "config.toml"
    config.write_text(f'[database]\nurl = "{server.url(servers.TEMPLATE, role=servers.ROLE)}"\n')
    code, said = await child.command(PROGRAM, "migrate", "--config", str(config))
    if code:
        raise RuntimeError(said)


def run_one(what: Plan, around: Around, keep: Path, *, audits: bool = True) -> Outcome:
    """
    Carry out a plan in a process of its own; keep its folder if something is not as promised.

    Args:
        audits: Whether an audit looks for what feeds cannot notice, where that is needed.
    """
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with (folder / "run.log").open("wb") as log:
        arguments = [
            what.name,
            str(folder),
            str(around.redis_port),
            json.dumps(asdict(around.server)),
            str(int(audits)),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.one", *arguments],
            stdout=subprocess.PIPE, stderr=log, check=False, cwd=ROOT, timeout=_LONGEST_RUN_S,
        )  # fmt: skip
    outcome = Outcome(what.name, what.kinds, what.feeds)
    if done.returncode:
        outcome.odd.append("the run broke: " + (folder / "run.log").read_text()[-600:])
    else:
        outcome = Outcome(**json.loads(done.stdout))
    if outcome.is_good:
        shutil.rmtree(folder)
    else:
        keep.mkdir(parents=True, exist_ok=True)
        kept = keep / what.name.replace(":", "-")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(folder, kept)
        (kept / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1))
    return outcome


def main() -> int:
    """Run what the command line names; return the exit status."""
    options = _options()
    os.nice(NICE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.only:
        plans = [plan.read(name) for name in options.only]
    else:
        plans = part() if options.part else everything(options.seed, options.times)
    if options.kinds:
        plans = [what for what in plans if set(what.kinds) <= set(options.kinds.split(","))]
    if options.feeds:
        plans = [what for what in plans if "+".join(what.feeds) in options.feeds.split(",")]
    outcomes = run_all(plans, jobs=options.jobs, keep=options.keep, tell=_tell)
    print(table.text(outcomes))
    if options.write:
        table.write(ROOT / "docs/RELIABILITY.md", outcomes)
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


def _tell(outcome: Outcome) -> None:
    print(outcome.line(), flush=True)
    if not outcome.is_good:
        print(f"     lost {outcome.lost} doubled {outcome.doubled} wrong {outcome.wrong} open {outcome.open_holes}")
        for line in [*outcome.odd, *outcome.words[:6]]:
            print(f"     {line[:400]}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Break everything around the daemon, and count what is lost.")
    parser.add_argument("--part", action="store_true", help="the fixed part of continuous integration")
    parser.add_argument("--seed", type=int, default=SEED, help=f"the first one (default: {SEED})")
    parser.add_argument("--times", type=int, default=1, help="how many seeds of everything (default: 1)")
    parser.add_argument("--only", action="append", metavar="NAME", help="this run alone: SEED:KIND+KIND:FEED+FEED")
    parser.add_argument("--kinds", help="runs of these kinds alone, separated by commas")
    parser.add_argument("--feeds", help="runs of these feeds alone, separated by commas, such as logs,logs+blocks")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="runs at a time")
    parser.add_argument("--keep", type=Path, default=Path(".cache/chaos"), help="folder of runs that went wrong")
    parser.add_argument("--write", action="store_true", help="write the table into docs/RELIABILITY.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

"""`status`: whether the daemon runs and keeps up, for people and for scripts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from monitor.cli import announced, holes, servers
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.say import tell
from monitor.config import Config
from monitor.errors import RedisUnavailable, SchemaMismatch, StoreUnavailable
from monitor.servers import journal_dir
from monitor.serving import MOST_HOLES
from monitor.store.asked import HoleRow
from monitor.store.batch import SKIPPED_BY_START
from monitor.store.read import Status
from monitor.store.store import Store

_MIB = 1 << 20
_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 30.0


class State(IntEnum):
    """What is the matter; the number is the exit code."""

    OK = 0
    LAGGING = 1
    AWAY = 2


@dataclass(frozen=True, slots=True)
class Report:
    """
    What was found.

    `held` None: the database could not be asked; `redis` None: there is no Redis. `journal_bytes` None: there is no
    journal on this machine.
    """

    state: State
    reason: str
    now: datetime
    held: Status | None = None
    redis: bool | None = None
    open_holes: tuple[HoleRow, ...] = ()
    journal_bytes: int | None = None


def status(
    max_lag: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How old the newest trade and progress may be.")
    ] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: ConfigFile = None,
) -> None:
    """
    Tell whether the daemon keeps up, and what the database holds.

    Exit codes: 0 it keeps up; 1 it lags behind, stands still or has stored nothing yet; 2 it does not run, or its
    database does not answer.
    """
    report = finish(_ask(read_config(config), max_lag))
    if json:
        tell(msgspec.json.encode(as_json(report)).decode())
    else:
        tell(f"{report.state.name.lower()}: {report.reason}")
        if report.held is not None:
            Console(highlight=False).print(as_table(report, report.held))
    if report.state != State.OK:
        raise typer.Exit(report.state.value)


async def _ask(config: Config, max_lag_s: float) -> Report:
    now = datetime.now(UTC)
    found = servers.find(config)
    if found.database_url is None:
        where = servers.places(config)
        return Report(State.AWAY, f"no daemon runs below {where}, and no database is configured", now)
    asked, redis = await asyncio.gather(_held(found.database_url), _answers(found.redis_url))
    if isinstance(asked, str):
        return Report(State.AWAY, asked, now, redis=redis)
    held, has_writer, still_open = asked
    state, reason = judge(held, now, max_lag_s) if has_writer else (State.AWAY, "no daemon writes to the database")
    return Report(state, reason, now, held, redis, tuple(still_open), journal_bytes(config))


def journal_bytes(config: Config) -> int | None:
    """Return how much disk the journal of a daemon of this machine takes; None: there is none."""
    folders = [journal_dir(config)]
    if config.journal.dir is None:
        folders.append(servers.simulated_dir(config) / folders[0].name)
    for folder in folders:
        try:
            return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        except OSError:  # also a segment that goes while we look
            continue
    return None


async def _held(url: str) -> tuple[Status, bool, list[HoleRow]] | str:
    """Return what the database holds, whether somebody writes to it and open holes, or why that cannot be told."""
    try:
        opened = await Store.open(url, connect_timeout_s=_CONNECT_TIMEOUT_S, command_timeout_s=_COMMAND_TIMEOUT_S)
        async with opened as store:
            await store.check()
            still_open = await store.holes(open_only=True, limit=MOST_HOLES)
            return await store.status(), await store.writer_pid() is not None, still_open
    except (StoreUnavailable, SchemaMismatch) as error:
        return f"the database cannot be asked: {error}"


async def _answers(url: str | None) -> bool | None:
    if url is None:
        return None
    try:
        async with await announced.connect(url):
            return True
    except RedisUnavailable:
        return False


def judge(held: Status, now: datetime, max_lag_s: float) -> tuple[State, str]:
    """Return what is the matter with a daemon whose database holds this."""
    moved_at = max((feed.updated_at for feed in held.progress), default=None)
    if moved_at is None:
        return State.LAGGING, "nothing has been followed to its end yet"
    if held.newest_block_time is None:
        return State.LAGGING, "no trade has been stored yet"
    still_s = (now - moved_at).total_seconds()
    lag_s = (now - held.newest_block_time).total_seconds()
    newest = f"the newest trade is {duration(lag_s)} old"
    if still_s > max_lag_s and lag_s > max_lag_s:
        return State.LAGGING, f"{newest}, and nothing moves: does the daemon run, and does its node answer?"
    if still_s > max_lag_s:
        return State.LAGGING, f"{newest}, but progress has stood still for {duration(still_s)}"
    return (State.LAGGING if lag_s > max_lag_s else State.OK), newest


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as a JSON object: times in RFC 3339, ages in seconds, `rows` as PostgreSQL estimates them."""
    shown: dict[str, Any] = {
        "state": report.state.name.lower(),
        "reason": report.reason,
        "at": report.now,
        "redis": report.redis,
    }
    held = report.held
    if held is None:
        return shown
    newest = held.newest_block_time
    return shown | {
        "newest_block_time": newest,
        "newest_slot": held.newest_slot,
        "lag_s": None if newest is None else (report.now - newest).total_seconds(),
        "feeds": [
            {
                "feed": feed.feed,
                "program": feed.program,
                "slot": feed.slot,
                "block_time": feed.block_time,
                "updated_at": feed.updated_at,
                "age_s": (report.now - feed.updated_at).total_seconds(),
            }
            for feed in held.progress
        ],
        "launches": held.launches,
        "graduations": held.graduations,
        **holes.sums(list(report.open_holes)),
        "oldest_hole_at": oldest(report.open_holes),
        "voided": held.voided,
        "final_through": held.final_through,
        "journal_bytes": report.journal_bytes,
        "rows": held.rows,
    }


def as_table(report: Report, held: Status) -> Table:
    """Return a report for people."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    if held.newest_block_time is not None:
        age = duration((report.now - held.newest_block_time).total_seconds())
        table.add_row(
            "newest trade", f"{held.newest_block_time:%Y-%m-%d %H:%M:%S} UTC, slot {held.newest_slot} ({age} ago)"
        )
    for feed in held.progress:
        age = duration((report.now - feed.updated_at).total_seconds())
        table.add_row(f"feed {feed.feed}", f"complete through slot {feed.slot} (told {age} ago)")
    table.add_row("launches", f"{held.launches:,}")
    table.add_row("graduations", f"{held.graduations:,}")
    for name, label in (("transactions", "trades"), ("tokens", "tokens"), ("pools", "pools"), ("faults", "faults")):
        table.add_row(label, f"about {held.rows.get(name, 0):,}")
    table.add_row("voided trades", f"{held.voided:,}")
    table.add_row("holes", _holes(report))
    if held.final_through is not None:
        table.add_row("finality", f"compared with the finalized chain through slot {held.final_through}")
    if report.journal_bytes is not None:
        table.add_row("journal", f"{report.journal_bytes / _MIB:,.1f} MiB on disk")
    table.add_row("redis", {None: "none", True: "answers", False: "does not answer"}[report.redis])
    return table


def oldest(still_open: Sequence[HoleRow]) -> datetime | None:
    """Return when the oldest of the open holes was noticed, but those left on purpose."""
    return min((hole.seen_at for hole in still_open if hole.reason != SKIPPED_BY_START), default=None)


def _holes(report: Report) -> str:
    noticed = oldest(report.open_holes)
    age = "" if noticed is None else f" (the oldest for {duration((report.now - noticed).total_seconds())})"
    return holes.sum_line(list(report.open_holes)) + age


def duration(seconds: float) -> str:
    """Return a time span in its two largest units."""
    left = max(round(seconds), 0)
    parts: list[str] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])

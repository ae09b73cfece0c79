"""`faults`: what programs said that could not be read, or not be stored."""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from monitor.cli import stores, tables
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.say import called, tell
from monitor.config import Config
from monitor.store.kept import FaultRow

_PAGE_ROWS = 2_000


class Group(NamedTuple):
    """What faults are counted by."""

    venue: str
    program: str
    reason: str
    event: str


@dataclass
class Found:
    """Counts of all faults by group, those of them that are not resolved, and the newest rows."""

    newest: deque[FaultRow]
    counts: Counter[Group] = field(default_factory=Counter)
    unresolved: Counter[Group] = field(default_factory=Counter)
    last_at: dict[Group, datetime] = field(default_factory=dict)

    def add(self, row: FaultRow) -> None:
        """Take in one fault; they come oldest first."""
        group = Group(row.venue, row.program, row.reason, row.event)
        self.counts[group] += 1
        self.unresolved[group] += row.resolved_at is None
        self.last_at[group] = row.seen_at
        self.newest.append(row)


def faults(
    unresolved: Annotated[bool, typer.Option("--unresolved", help="Only those that nobody could read yet.")] = False,
    program: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this program: its name or its address.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="How many of the newest are listed.")] = 20,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with the payloads in hexadecimal.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """
    List what programs said that could not be read, or that the database cannot hold (`refused: …`).

    Nothing of it is thrown away: payloads are kept whole. `redecode` reads them again after an IDL was updated; what
    was refused was read already, and stays. Exit codes: 0 it was listed, 75 the database does not answer.
    """
    found = finish(_ask(read_config(config), unresolved_only=unresolved, program=program, limit=limit))
    if json:
        tell(msgspec.json.encode(as_json(found)).decode())
        return
    if not found.counts:
        tell("no faults")
        return
    if found.newest:
        tables.show(("id", "seen", "program", "event", "reason", "slot", "bytes", "signature", "resolved"),
                    [_row(row) for row in found.newest])  # fmt: skip
        tell("")
    tables.show(("program", "reason", "event", "count", "unresolved", "last seen"),
                [(group.venue, group.reason, group.event, count, found.unresolved[group], found.last_at[group])
                 for group, count in found.counts.most_common()])  # fmt: skip
    if found.unresolved.total():
        tell(f"{found.unresolved.total():,} are not resolved; after an IDL was updated: {called()} redecode")


async def _ask(config: Config, *, unresolved_only: bool, program: str | None, limit: int) -> Found:
    found = Found(deque(maxlen=limit))
    async with stores.opened(config) as store:
        after_id = 0
        while rows := await store.faults(_PAGE_ROWS, unresolved_only=unresolved_only, after_id=after_id):
            for row in rows:
                if program in (None, row.venue, row.program):
                    found.add(row)
            after_id = rows[-1].id
    return found


def as_json(found: Found) -> dict[str, Any]:
    """Return faults as a JSON object."""
    groups = [
        {**group._asdict(), "count": count, "unresolved": found.unresolved[group], "last_seen_at": found.last_at[group]}
        for group, count in found.counts.most_common()
    ]
    return {
        "faults": found.counts.total(),
        "unresolved": found.unresolved.total(),
        "groups": groups,
        "newest": [_fault_json(row) for row in found.newest],
    }


def _fault_json(row: FaultRow) -> dict[str, Any]:
    names = ("id", "signature", "program", "venue", "event", "nth", "fact", "slot", "block_time", "reason", "seen_at",
             "resolved_at", "resolved_by")  # fmt: skip
    shown = {name: getattr(row, name) for name in names}
    return shown | {"payload_bytes": len(row.payload), "payload_hex": row.payload.hex()}


def _row(row: FaultRow) -> tuple[Any, ...]:
    resolved = None if row.resolved_at is None else f"{tables.cell(row.resolved_at)} by {row.resolved_by}"
    return (str(row.id), row.seen_at, row.venue, row.event, row.reason, str(row.slot), len(row.payload), row.signature,
            resolved)  # fmt: skip

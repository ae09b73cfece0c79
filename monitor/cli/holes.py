"""`holes`: what is known to be missing, and what was."""

from typing import Annotated, Any

import msgspec
import typer

from monitor.cli import stores, tables
from monitor.cli.loop import finish
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.say import tell
from monitor.config import Config
from monitor.pipeline import spans
from monitor.pipeline.spans import Span
from monitor.serving import MOST_HOLES
from monitor.store.asked import HoleRow
from monitor.store.batch import SKIPPED_BY_START

_TITLES = ("id", "slots", "count", "signature", "reason", "feed", "seen", "tries", "there through", "filled",
           "last error")  # fmt: skip


def holes(
    everything: Annotated[bool, typer.Option("--all/--open", help="Also those that were filled.")] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many are listed.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: ConfigFile = None,
) -> None:
    """
    List what is known to be missing: ranges of slots and single transactions, with the reason.

    The daemon fills holes by itself, oldest first; `skipped_by_start` was left out on purpose, and `backfill` brings
    what lies before the first subscription. Exit codes: 0 it was listed (also if something is missing: `status` tells
    that), 75 the database does not answer.
    """
    listed, still_open = finish(_ask(read_config(config), open_only=not everything, limit=limit))
    if json:
        tell(msgspec.json.encode(sums(still_open) | {"holes": [as_json(hole) for hole in listed]}).decode())
        return
    if listed:
        tables.show(_TITLES, [_row(hole) for hole in listed])
    tell(sum_line(still_open))


async def _ask(config: Config, *, open_only: bool, limit: int) -> tuple[list[HoleRow], list[HoleRow]]:
    async with stores.opened(config) as store:
        return await store.holes(open_only=open_only, limit=limit), await store.holes(open_only=True, limit=MOST_HOLES)


def missing(hole: HoleRow) -> Span | None:
    """Return the slots of a hole that are missing; None: a transaction is, or nothing any more."""
    first = hole.first_slot if hole.filled_through is None else hole.filled_through + 1
    is_whole = hole.signature is None and hole.filled_at is None and first <= hole.last_slot
    return Span(first, hole.last_slot) if is_whole else None


def sums(still_open: list[HoleRow]) -> dict[str, Any]:
    """Return what open holes come to; slots that several holes name count once."""
    found = [hole for hole in still_open if hole.reason != SKIPPED_BY_START]
    left_out = [hole for hole in still_open if hole.reason == SKIPPED_BY_START]
    return {
        "open_holes": len(found),
        "missing_slots": _slots(found),
        "missing_transactions": sum(hole.signature is not None for hole in found),
        "left_out_slots": _slots(left_out),
    }


def sum_line(still_open: list[HoleRow]) -> str:
    """Return the same in words."""
    found = sums(still_open)
    left_out = f"; {found['left_out_slots']:,} slots were left out on purpose" if found["left_out_slots"] else ""
    if not found["open_holes"]:
        return f"no open holes: nothing is known to be missing{left_out}"
    return (
        f"{found['open_holes']:,} open holes: {found['missing_slots']:,} slots and "
        f"{found['missing_transactions']:,} single transactions are missing{left_out}"
    )


def _slots(found: list[HoleRow]) -> int:
    return spans.count(spans.union(span for hole in found if (span := missing(hole)) is not None))


def _row(hole: HoleRow) -> tuple[Any, ...]:
    filled = None if hole.filled_at is None else f"{tables.cell(hole.filled_at)} by {hole.filled_by}"
    count = None if hole.signature is not None else hole.last_slot - hole.first_slot + 1
    return (str(hole.id), tables.slots(hole.first_slot, hole.last_slot), count, hole.signature, hole.reason, hole.feed,
            hole.seen_at, hole.tries, None if hole.filled_through is None else str(hole.filled_through), filled,
            hole.last_error)  # fmt: skip


def as_json(hole: HoleRow) -> dict[str, Any]:
    """Return a hole as a JSON object."""
    names = ("id", "feed", "program", "first_slot", "last_slot", "signature", "reason", "seen_at", "tries",
             "last_error", "filled_at", "filled_by", "filled_through")  # fmt: skip
    left = missing(hole)
    slots = 0 if left is None else left.last - left.first + 1
    return {name: getattr(hole, name) for name in names} | {"missing_slots": slots}

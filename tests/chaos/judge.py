"""Hold a database against the simulator's ledger, and count what is wrong by what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from tests.e2e.truth import differences

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
_OPEN = "SELECT count(*) FROM holes WHERE filled_at IS NULL"
_SETTLED = f"""
SELECT ({_OPEN}) = 0
   AND coalesce((SELECT max(slot) FROM feeds WHERE program = '*'), -1) >= $1
   AND coalesce((SELECT max(through_slot) FROM finality), -1) >= $1
"""
_WHERE = f"""
SELECT ({_OPEN}) AS open_holes, (SELECT max(slot) FROM feeds WHERE program = '*') AS progress,
       (SELECT max(through_slot) FROM finality) AS final
"""
_HOLES = """
SELECT feed, first_slot, last_slot, signature, reason, filled_through, tries, last_error
  FROM holes WHERE filled_at IS NULL ORDER BY id LIMIT 5
"""
_FAULTS = (
    "SELECT program, event, reason, count(*) AS count FROM faults WHERE resolved_at IS NULL GROUP BY 1, 2, 3 LIMIT 5"
)

_KEPT = (
    "mints",
    "tokens",
    "pools",
    "transactions",
    "changes",
    "faults",
    "feeds",
    "holes",
    "journals",
    "finality",
    "batches",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong (the first few of it in words), and what was mended."""

    lost: int
    doubled: int
    wrong: int
    open_holes: int
    filled_holes: int
    voided: int
    stored: int
    words: Sequence[str]


async def is_settled(url: str, last_slot: int) -> bool:
    """Tell whether the database says itself that it holds everything up to and including a slot, for good."""
    return bool(await _value(url, _SETTLED, last_slot))


async def where(url: str) -> str:
    """Return in words how far a database is."""
    connection = await asyncpg.connect(url)
    try:
        found = [dict(await connection.fetchrow(_WHERE) or {}), *map(dict, await connection.fetch(_HOLES))]
    finally:
        await connection.close()
    return "; ".join(map(str, found))


async def has_begun(url: str) -> bool:
    """Tell whether a feed is subscribed durably: what happens from then on is to be stored."""
    return bool(await _value(url, "SELECT EXISTS (SELECT FROM feeds WHERE program = '*')"))


async def faults(url: str) -> int:
    """Return how many events could not be read."""
    return int(await _value(url, "SELECT count(*) FROM faults WHERE resolved_at IS NULL"))


async def verdict(url: str, ledger: dict[str, Any], *, forked: bool) -> Verdict:
    """Compare everything."""
    said = await differences(url, ledger, FOLLOWED, forked=forked)
    lost = [line for line in said if line.endswith("is missing")]
    doubled = [line for line in said if "stored" in line or "does not exist" in line]
    unread = await faults(url)
    words = said[:12]
    if unread:
        connection = await asyncpg.connect(url)
        words += [str(dict(row)) for row in await connection.fetch(_FAULTS)]
        await connection.close()
    return Verdict(
        lost=len(lost) + unread,
        doubled=len(doubled),
        wrong=len(said) - len(lost) - len(doubled),
        open_holes=await _value(url, _OPEN),
        filled_holes=await _value(url, "SELECT count(*) FROM holes WHERE filled_at IS NOT NULL"),
        voided=await _value(url, "SELECT count(*) FROM transactions WHERE voided_at IS NOT NULL"),
        stored=await _value(url, "SELECT count(*) FROM transactions WHERE voided_at IS NULL"),
        words=words,
    )


async def keep(url: str, folder: Path) -> None:
    """Copy what the daemon writes into files, to be looked at."""
    connection = await asyncpg.connect(url)
    try:
        for table in _KEPT:
            query = f"SELECT * FROM {table}"
            await connection.copy_from_query(query, output=folder / f"{table}.csv", format="csv", header=True)
    finally:
        await connection.close()


async def _value(url: str, query: str, *arguments: int) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()

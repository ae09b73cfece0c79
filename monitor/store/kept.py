"""Events as they were kept because they could not be read, or not to their end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

_FAULTS = """
SELECT id, program, venue, event, nth, signature, slot, block_time, tx_index, position, fact, platform, reason, payload,
       seen_at, resolved_at, resolved_by
  FROM faults
 WHERE id > $1 AND (resolved_at IS NULL OR NOT $3) ORDER BY id LIMIT $2
"""
_TAILS = """
SELECT id, program, venue, event, nth, signature, slot, block_time, tx_index, position, fact, tail, payload
  FROM tails
 WHERE id > $1 AND resolved_at IS NULL AND payload IS NOT NULL AND program IS NOT NULL ORDER BY id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """
    A row of `faults` (docs/SCHEMA.md). `payload` are the event's whole bytes, discriminator first.

    `fact` is `fault`, or the kind of a fact that was refused: then `reason` begins with `refused:` and the payload is
    JSON. `resolved_at` None: it was not read after all.
    """

    id: int
    program: str
    venue: str
    event: str
    nth: int
    signature: str
    slot: int
    block_time: datetime | None
    tx_index: int | None
    position: int
    fact: str
    platform: str | None
    reason: str
    payload: bytes
    seen_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None


@dataclass(frozen=True, slots=True)
class TailRow:
    """A row of `tails` (docs/SCHEMA.md) that keeps the event's whole bytes, discriminator first, as `payload`."""

    id: int
    program: str
    venue: str
    event: str
    nth: int
    signature: str
    slot: int
    block_time: datetime
    tx_index: int | None
    position: int
    fact: str
    tail: bytes
    payload: bytes


async def faults(
    connection: asyncpg.Connection, limit: int, *, unresolved_only: bool = True, after_id: int = 0
) -> list[FaultRow]:
    """Return up to `limit` faults with ids above `after_id`, by id."""
    rows = await connection.fetch(_FAULTS, after_id, limit, unresolved_only)
    return [FaultRow(**{**row, "slot": int(row["slot"])}) for row in rows]


async def tails(connection: asyncpg.Connection, after_id: int, limit: int) -> list[TailRow]:
    """Return up to `limit` unresolved tails whose whole event was kept, with ids above `after_id`, by id."""
    return [TailRow(*row) for row in await connection.fetch(_TAILS, after_id, limit)]

"""What a commit makes true besides its facts: holes, progress, the journal's end, what is final or read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.batch import TOLD_AFTER_FINAL
from monitor.store.rows import Times, clean
from monitor.store.sql import TELL_REFUSED

if TYPE_CHECKING:
    from collections.abc import Collection

    import asyncpg

    from monitor.store.batch import Batch, Final, Hole, Resolved

_INSERT_HOLE = """
INSERT INTO holes (feed, program, first_slot, last_slot, signature, reason, last_error)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT
"""
INSERT_HOLE = f"{_INSERT_HOLE} DO NOTHING"
# Who fills the open one may have read the slot already, and says so by its id: then this is another one.
_TELL_HOLE_AGAIN = f"""{_INSERT_HOLE} (first_slot, last_slot, feed, program, reason)
   WHERE filled_at IS NULL AND signature IS NULL DO UPDATE SET id = EXCLUDED.id, filled_through = NULL
"""
_FILL_PART = "UPDATE holes SET filled_through = GREATEST(filled_through, $2) WHERE id = $1 AND filled_at IS NULL"
_FILL_HOLE = "UPDATE holes SET filled_at = now(), filled_by = $1 WHERE filled_at IS NULL AND id = $2"
_RESOLVE_FAULT = """
UPDATE faults SET resolved_at = now(), resolved_by = $2 WHERE id = $1 AND resolved_at IS NULL RETURNING token_id
"""
_RESOLVE_TAIL = "UPDATE tails SET resolved_at = now(), resolved_by = $2 WHERE id = $1 AND resolved_at IS NULL"
_UPSERT_PROGRESS = """
INSERT INTO feeds AS f (feed, program, slot, block_time, blockhash) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (feed, program) DO UPDATE
   SET slot = EXCLUDED.slot, block_time = EXCLUDED.block_time, blockhash = EXCLUDED.blockhash, updated_at = now()
 WHERE f.slot < EXCLUDED.slot
"""
_UPSERT_FINAL = """
INSERT INTO finality AS f (through_slot, block_time)
SELECT $1, (SELECT max(block_time) FROM feeds WHERE slot <= $1)
ON CONFLICT (one) DO UPDATE
   SET through_slot = EXCLUDED.through_slot, block_time = COALESCE(EXCLUDED.block_time, f.block_time),
       updated_at = now()
 WHERE f.through_slot < EXCLUDED.through_slot
"""
_UPSERT_DONE = """
INSERT INTO journals AS j (id, done_seq) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET done_seq = EXCLUDED.done_seq, updated_at = now() WHERE j.done_seq < EXCLUDED.done_seq
"""


async def write_commits(connection: asyncpg.Connection, batch: Batch, *, still_long: Collection[int] = ()) -> None:
    """
    Write what a batch says besides facts, after these.

    Args:
        connection: With the batch's transaction open.
        batch: All of it.
        still_long: Ids of tails that were read again, but not to their end: they are not resolved.
    """
    for hole in batch.holes:
        await insert_hole(connection, hole)
    for part in batch.parts:
        await connection.execute(_FILL_PART, part.hole_id, part.through)
    for filled in batch.filled:
        await connection.execute(_FILL_HOLE, filled.by, filled.hole_id)
    for resolved in batch.resolved:
        await _resolve(connection, resolved, still_long)
    for progress in batch.progress:
        at = Times().get(progress.block_time)
        await connection.execute(
            _UPSERT_PROGRESS, progress.feed, progress.program, progress.slot, at, _clean(progress.blockhash)
        )
    if batch.final is not None:
        await _write_final(connection, batch.final)
    if batch.done is not None:
        await connection.execute(_UPSERT_DONE, batch.done.journal_id, batch.done.seq)


async def insert_hole(connection: asyncpg.Connection, hole: Hole) -> None:
    """Note a hole; one that is open already stays the one it is, but a slot that is told of again is read again."""
    statement = _TELL_HOLE_AGAIN if hole.reason == TOLD_AFTER_FINAL and hole.signature is None else INSERT_HOLE
    place = (hole.feed, hole.program, hole.first_slot, hole.last_slot, _clean(hole.signature))
    await connection.execute(statement, *place, clean(hole.reason), _clean(hole.last_error))


def _clean(text: str | None) -> str | None:
    return None if text is None else clean(text)


async def _resolve(connection: asyncpg.Connection, resolved: Resolved, still_long: Collection[int]) -> None:
    if resolved.fault_id is not None:
        token_id = await connection.fetchval(_RESOLVE_FAULT, resolved.fault_id, resolved.by)
        if token_id is not None:
            await connection.execute(TELL_REFUSED, [token_id])
    if resolved.tail_id is not None and resolved.tail_id not in still_long:
        await connection.execute(_RESOLVE_TAIL, resolved.tail_id, resolved.by)


async def _write_final(connection: asyncpg.Connection, final: Final) -> None:
    await connection.execute(_UPSERT_FINAL, final.through)

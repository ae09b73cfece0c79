"""What is deleted because nobody will ever ask for it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

TRIM_EVERY = 1024
"""Batches from one time to the next."""
KEPT_BATCHES = 1_000_000
"""
A commit of unknown outcome is among the newest few. What is rolled elsewhere (Redis) may be away for long and then asks
which rows came since: a million commits are most of three hours at a hundred a second, and a week at two.
"""

KEPT_LANDINGS_SLOTS = 1_000_000
"""Nobody goes further back for a fork: a node that is days behind is none to be listened to."""

_TRIM_BATCHES = "DELETE FROM batches WHERE batch_no <= $1"
_TRIM_LANDINGS = "DELETE FROM landings WHERE slot < (SELECT through_slot FROM finality) - $1"
# Only `other` facts: there is one of each other kind in the life of a token or pool. What the later one does not say
# (another member of the reserves) is still needed of the earlier one.
_TRIM_CHANGES = """
WITH bounds AS (SELECT trimmed_slot, through_slot FROM finality),
     later AS (
        SELECT c.* FROM changes c, bounds b
         WHERE c.slot > b.trimmed_slot AND c.slot <= b.through_slot AND c.fact = 'other' AND c.voided_at IS NULL
     ),
     trimmed AS (
        DELETE FROM changes c USING later n
         WHERE c.fact = 'other' AND c.chain_order < n.chain_order AND c.venue = n.venue AND c.event = n.event
           AND (c.pool_id = n.pool_id OR (c.pool_id IS NULL AND n.pool_id IS NULL AND c.token_id = n.token_id))
           AND c.token_id IS NOT DISTINCT FROM n.token_id
           AND NOT EXISTS (SELECT jsonb_object_keys(c.data) EXCEPT SELECT jsonb_object_keys(n.data))
     )
UPDATE finality SET trimmed_slot = through_slot WHERE trimmed_slot < through_slot
"""


async def trim(connection: asyncpg.Connection, batch_no: int) -> None:
    """Delete commits long gone, and changes that were final before a final one that says as much."""
    await connection.execute(_TRIM_BATCHES, batch_no - KEPT_BATCHES)
    await connection.execute(_TRIM_CHANGES)
    await connection.execute(_TRIM_LANDINGS, KEPT_LANDINGS_SLOTS)

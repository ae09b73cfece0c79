"""What the tables say, without numbers that depend on the order of arrival: surrogate ids, batches, clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE_ALONE = {"address", "mint", "venue", "kind"}
"""Columns of tokens, pools and mints that are set where nothing is known of them."""
_CHANCE = {
    "id",
    "resolved_at",
    "batch_no",
    "seen_at",
    "token_id",
    "quote_id",
    "pool_id",
    "curve_id",
    "graduation_pool_id",
} | {
    "primary_pool_id",
    "graduated_to",
    "graduated_from",
}
_STATEMENTS = {
    "mints": "SELECT * FROM mints ORDER BY address",
    "tokens": """
        SELECT t.*, c.address AS curve, g.address AS graduation_pool, p.address AS primary_pool
          FROM tokens t LEFT JOIN pools c ON c.id = t.curve_id LEFT JOIN pools g ON g.id = t.graduation_pool_id
          LEFT JOIN pools p ON p.id = t.primary_pool_id ORDER BY t.mint""",
    "pools": """
        SELECT p.*, b.address AS token, q.address AS quote, t.address AS graduated_into, f.address AS came_from
          FROM pools p LEFT JOIN mints b ON b.id = p.token_id LEFT JOIN mints q ON q.id = p.quote_id
          LEFT JOIN pools t ON t.id = p.graduated_to LEFT JOIN pools f ON f.id = p.graduated_from ORDER BY p.address""",
    "transactions": """
        SELECT r.*, b.address AS token, q.address AS quote, p.address AS pool
          FROM transactions r JOIN mints b ON b.id = r.token_id JOIN mints q ON q.id = r.quote_id
          JOIN pools p ON p.id = r.pool_id WHERE r.voided_at IS NULL
         ORDER BY r.block_time, r.signature, r.venue, r.event, r.nth""",
    # A fact that was refused is kept as its first copy told it.
    "faults": """
        SELECT signature, program, event, nth, fact, slot, block_time, tx_index, position, platform, reason,
               CASE WHEN fact = 'fault' THEN payload END AS payload
          FROM faults WHERE resolved_by IS DISTINCT FROM 'vanished' ORDER BY signature, program, event, nth, fact""",
    "tails": """
        SELECT * FROM tails WHERE resolved_by IS DISTINCT FROM 'vanished'
         ORDER BY signature, venue, event, nth, fact""",
    "changes": """
        SELECT c.*, b.address AS token, p.address AS pool
          FROM changes c LEFT JOIN mints b ON b.id = c.token_id LEFT JOIN pools p ON p.id = c.pool_id
         WHERE c.voided_at IS NULL ORDER BY c.signature, c.venue, c.event, c.nth, c.fact, c.block_time""",
}

Dump = dict[str, list[dict[str, Any]]]


async def dump(url: str) -> Dump:
    """Return the rows of every table of facts that stand; of tokens, pools and mints those that say something."""
    connection = await asyncpg.connect(url)
    try:
        return {
            table: [_plain(row) for row in await connection.fetch(statement) if not _is_stub(table, row)]
            for table, statement in _STATEMENTS.items()
        }
    finally:
        await connection.close()


def _is_stub(table: str, row: Mapping[str, Any]) -> bool:
    if table not in ("mints", "tokens", "pools"):
        return False
    return all(value in (None, -1, False) for name, value in row.items() if name not in _PLACE_ALONE | {"id"})


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _CHANCE}

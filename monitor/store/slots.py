"""What stands in the slots of the chain, to be compared with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from monitor.store.order import slot_of

if TYPE_CHECKING:
    import asyncpg

_UNSETTLED = """
SELECT slot, signature, LEAST(min(block_time), now()) AS block_time FROM (
    SELECT slot, signature, block_time FROM transactions
     WHERE slot > $1 AND slot <= $2 AND voided_at IS NULL AND block_time >= $4
    UNION ALL
    SELECT slot, signature, block_time FROM changes WHERE slot > $1 AND slot <= $2 AND voided_at IS NULL
) standing GROUP BY slot, signature ORDER BY slot, signature LIMIT $3
"""
# When that slot was, or some time before. (No time is to come, whatever a node says.)
_ABOUT = "SELECT LEAST(block_time, now()) FROM transactions WHERE slot <= $1 ORDER BY block_time DESC LIMIT 1"
_MARGIN = timedelta(days=1)
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_TRADES = """
SELECT r.*, b.address AS mint, q.address AS quote_mint, p.address AS pool
  FROM transactions r
  JOIN mints b ON b.id = r.token_id JOIN mints q ON q.id = r.quote_id JOIN pools p ON p.id = r.pool_id
 WHERE r.slot = $1 AND r.voided_at IS NULL
   AND ($2::timestamptz IS NULL OR r.block_time BETWEEN $2 - INTERVAL '1 hour' AND $2 + INTERVAL '1 hour')
"""
_TOKENS = """
SELECT t.*, c.address AS curve, g.address AS graduation_pool, g.venue AS graduation_venue
  FROM tokens t LEFT JOIN pools c ON c.id = t.curve_id LEFT JOIN pools g ON g.id = t.graduation_pool_id
 WHERE t.id IN (
    SELECT token_id FROM changes WHERE slot = $1 AND token_id IS NOT NULL
    UNION SELECT id FROM tokens WHERE launched_at = $2 UNION SELECT id FROM tokens WHERE graduated_at = $2)
"""
_POOLS = """
SELECT p.*, b.address AS mint, q.address AS quote_mint
  FROM pools p LEFT JOIN mints b ON b.id = p.token_id LEFT JOIN mints q ON q.id = p.quote_id
 WHERE p.id IN (SELECT pool_id FROM changes WHERE slot = $1 AND pool_id IS NOT NULL) AND p.created_order >> 32 = $1
"""

Row = dict[str, Any]
"""A row by its columns (docs/SCHEMA.md)."""


@dataclass(frozen=True, slots=True)
class SlotRows:
    """
    What stands in one slot.

    `trades` are rows of `transactions`, with the addresses `mint`, `quote_mint` and `pool`. `launches`, `completions`
    and `graduations` are rows of `tokens` of which that happened there, with the addresses `curve`, `graduation_pool`
    and the `graduation_venue`; `pools` are rows of `pools` that were made there, with `mint` and `quote_mint`.
    """

    trades: list[Row] = field(default_factory=list)
    launches: list[Row] = field(default_factory=list)
    completions: list[Row] = field(default_factory=list)
    graduations: list[Row] = field(default_factory=list)
    pools: list[Row] = field(default_factory=list)


async def know_journal(connection: asyncpg.Connection, journal_id: str, newest_seq: int) -> int | None:
    """
    Return up to which number a journal is committed here; None: it was kept for another database until now.

    From then on it is known, with all through `newest_seq` taken as committed.
    """
    known: int | None = await connection.fetchval("SELECT done_seq FROM journals WHERE id = $1", journal_id)
    if known is None:
        statement = "INSERT INTO journals (id, done_seq) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        await connection.execute(statement, journal_id, newest_seq)
    return known


async def journal_done(connection: asyncpg.Connection, journal_id: str) -> int:
    """Return up to which number the journal of that id is committed; 0: nothing of it is."""
    done: int | None = await connection.fetchval("SELECT done_seq FROM journals WHERE id = $1", journal_id)
    return done or 0


async def final_through(connection: asyncpg.Connection) -> int | None:
    """Return up to which slot all rows were compared with the finalized chain; None: they never were."""
    slot: int | None = await connection.fetchval("SELECT through_slot FROM finality")
    return slot


class Standing:
    """
    What stands in slots that have yet to be compared, asked for from the older to the newer ones.

    It remembers about when the last ones were, for a slot is no time: without one, every piece of the table is read.
    """

    def __init__(self) -> None:
        self._known: tuple[int, datetime] | None = None

    async def page(
        self, connection: asyncpg.Connection, after_slot: int, through_slot: int, limit: int
    ) -> list[tuple[int, str]]:
        """Return distinct slots and signatures of what stands in these slots, by slot, each slot whole."""
        since = await self._about(connection, after_slot) - _MARGIN
        rows = await connection.fetch(_UNSETTLED, after_slot, through_slot, limit, since)
        if len(rows) >= limit:
            last = rows[-1]["slot"]
            whole = [row for row in rows if row["slot"] != last]
            rows = whole or await connection.fetch(_UNSETTLED, last - 1, last, None, since)
        if rows:
            self._known = (rows[-1]["slot"], rows[-1]["block_time"])
        return [(row["slot"], row["signature"]) for row in rows]

    async def _about(self, connection: asyncpg.Connection, slot: int) -> datetime:
        """Return when a slot was, or some time before."""
        if self._known is None or self._known[0] > slot:
            at = await connection.fetchval(_ABOUT, slot)
            self._known = (slot, _EVER + _MARGIN if at is None else at)
        return self._known[1]


async def rows_of_slot(connection: asyncpg.Connection, slot: int, block_time: int | None) -> SlotRows:
    """Return everything that stands in a slot; its block time (Unix seconds) makes that cheaper."""
    at = None if block_time is None else datetime.fromtimestamp(block_time, UTC)
    found = SlotRows(
        trades=[dict(row) for row in await connection.fetch(_TRADES, slot, at)],
        pools=[dict(row) for row in await connection.fetch(_POOLS, slot)],
    )
    for row in await connection.fetch(_TOKENS, slot, at):
        stamps = (("launch", found.launches), ("completed", found.completions), ("graduated", found.graduations))
        for prefix, rows in stamps:
            order = row[f"{prefix}_order"]
            if order is not None and slot_of(order) == slot:
                rows.append(dict(row))
    return found

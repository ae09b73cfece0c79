"""Slots as the finalized chain holds them: what vanished from there becomes void, what came back stands again."""

# ruff: noqa: S608  the statements are put together from the constants in this file alone

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from decoders.core.types import Trade
from monitor.store.batch import TOLD_AFTER_FINAL, Hole
from monitor.store.order import index_of, position_of
from monitor.store.refold import refold
from monitor.store.rows import AT, COLUMNS, ORDER, POOL_ID, SLOT, TOKEN_ID, Times, with_row
from monitor.store.sql import TELL_REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg

    from decoders.core.types import Fact
    from monitor.store.batch import Settled
    from monitor.store.refold import Touched
    from monitor.store.rows import Row

FORK = "fork"
"""The feed of holes in which something may have landed that was found elsewhere."""

# $1 is the batch, $2 the slot, $3 the signatures that the chain holds there.
_VANISHED = "slot = $2 AND voided_at IS NULL AND signature <> ALL($3)"
_BACK = "slot = $2 AND voided_at IS NOT NULL AND signature = ANY($3)"
_ELSEWHERE = "signature = ANY($3) AND slot <> $2 AND voided_at IS NULL"
# Where it is known about when that was: a transaction is valid for minutes, so its other places are not far.
_NEAR = " AND block_time BETWEEN $4 AND $5"
_FAR = timedelta(days=1)
_VOID, _STAND = "now()", "NULL"
_CHANGED_IDS = "token_id, pool_id, slot, signature"
_FAULTY_TABLES = ("faults", "tails")
_REFUSED_TOKENS = """
SELECT ARRAY(SELECT DISTINCT token_id FROM faults WHERE (slot = $1 OR signature = ANY($2)) AND token_id IS NOT NULL)
"""
_CLOSE = """
UPDATE {table} SET resolved_at = now(), resolved_by = 'vanished'
 WHERE slot = $1 AND resolved_at IS NULL AND signature <> ALL($2) RETURNING signature, slot
"""
_OPEN = """
UPDATE {table} SET resolved_at = NULL, resolved_by = NULL
 WHERE slot = $1 AND resolved_by = 'vanished' AND signature = ANY($2)
"""
_CLOSE_ELSEWHERE = """
UPDATE {table} SET resolved_at = now(), resolved_by = 'vanished'
 WHERE slot <> $1 AND resolved_at IS NULL AND signature = ANY($2) RETURNING signature, slot
"""
_OTHER_LANDINGS = "SELECT DISTINCT slot FROM landings WHERE signature = ANY($2) AND slot <> $1"
_MARKETS = """
SELECT p.id AS pool_id, p.address, p.flipped, p.canonical, b.address AS mint, b.decimals, q.address AS quote_mint,
       q.decimals AS quote_decimals, q.id AS quote_id, t.platform, t.platform_config
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS u(pool_id, token_id, quote_id)
  JOIN pools p ON p.id = u.pool_id JOIN mints b ON b.id = u.token_id JOIN mints q ON q.id = u.quote_id
  JOIN tokens t ON t.id = u.token_id
"""


def _update(table: str, value: str, where: str, returning: str) -> str:
    return f"UPDATE {table} SET voided_at = {value}, batch_no = $1 WHERE {where} RETURNING {returning}"


@dataclass(slots=True)
class Settlement:
    """Trades that vanished and that came back, and holes in which something is to be looked for."""

    voided: list[Fact] = field(default_factory=list)
    revived: list[Fact] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)


async def settle(
    connection: asyncpg.Connection, settled: Iterable[Settled], touched: Touched, batch_no: int
) -> Settlement:
    """
    Make what is stored of some slots what the chain holds there, and what was made of it as if the rest had never come.

    Args:
        connection: With a transaction open, in which the facts told with these slots are written.
        settled: The slots, and all of their signatures.
        touched: What has moved with facts of this batch.
        batch_no: Under which the rows change.
    """
    voided: list[Row] = []
    revived: list[Row] = []
    found = Settlement()
    for slot in settled:
        gone, back = await _trades(connection, slot, batch_no)
        lost = {(row[AT["signature"]], row[SLOT]) for row in gone}
        lost |= await _changes(connection, slot, touched, batch_no)
        lost |= await _surplus(connection, slot)
        voided += gone
        revived += back
        found.holes += await _doubts(connection, slot.slot, lost)
    for row in (*voided, *revived):
        touched.trade(row[TOKEN_ID], row[POOL_ID], row[SLOT])
    found.voided, found.revived = await _facts(connection, voided), await _facts(connection, revived)
    if touched:
        await refold(connection, touched, revived)
    return found


async def _trades(connection: asyncpg.Connection, slot: Settled, batch_no: int) -> tuple[list[Row], list[Row]]:
    """Return rows that vanished from the slot or stood in another although they are in this, and those back in it."""
    names = ", ".join(COLUMNS)
    at = Times().get(slot.block_time)
    near = _NEAR if at is not None else ""
    arguments = (batch_no, slot.slot, list(slot.signatures), *(() if at is None else (at - _FAR, at + _FAR)))
    gone = await connection.fetch(_update("transactions", _VOID, _VANISHED + near, names), *arguments)
    if slot.signatures:
        gone += await connection.fetch(_update("transactions", _VOID, _ELSEWHERE + near, names), *arguments)
    back = await connection.fetch(_update("transactions", _STAND, _BACK + near, names), *arguments)
    return [tuple(row) for row in gone], [tuple(row) for row in back]


async def _changes(
    connection: asyncpg.Connection, slot: Settled, touched: Touched, batch_no: int
) -> set[tuple[str, int]]:
    """Do the same with changes, and return signatures and slots of those that are void now."""
    arguments = (batch_no, slot.slot, list(slot.signatures))
    back = await connection.fetch(_update("changes", _STAND, _BACK, _CHANGED_IDS), *arguments)
    gone = await connection.fetch(_update("changes", _VOID, _VANISHED, _CHANGED_IDS), *arguments)
    gone += await connection.fetch(_update("changes", _VOID, _ELSEWHERE, _CHANGED_IDS), *arguments)
    for row in (*back, *gone):
        touched.owners(row["token_id"], row["pool_id"], row["slot"])
    return {(row["signature"], row["slot"]) for row in gone}


async def _surplus(connection: asyncpg.Connection, slot: Settled) -> set[tuple[str, int]]:
    """Do the same with what could not be read, and return signatures and slots of what is closed now."""
    arguments = (slot.slot, list(slot.signatures))
    closed: list[asyncpg.Record] = []
    for table in _FAULTY_TABLES:
        await connection.execute(_OPEN.format(table=table), *arguments)
        for statement in (_CLOSE, _CLOSE_ELSEWHERE):
            closed += await connection.fetch(statement.format(table=table), *arguments)
    refused = await connection.fetchval(_REFUSED_TOKENS, *arguments)
    if refused:
        await connection.execute(TELL_REFUSED, refused)
    return {(row["signature"], int(row["slot"])) for row in closed}


async def _doubts(connection: asyncpg.Connection, slot: int, lost: set[tuple[str, int]]) -> list[Hole]:
    """
    Return holes in which transactions may have landed that were found where they are not.

    What was told of them there was passed over, for they had a row elsewhere.
    """
    slots = {slot} if any(was_in != slot for _, was_in in lost) else set[int]()
    vanished = [signature for signature, was_in in lost if was_in == slot]
    if vanished:
        slots |= {row[0] for row in await connection.fetch(_OTHER_LANDINGS, slot, vanished)}
    return [Hole(first_slot=at, last_slot=at, reason=TOLD_AFTER_FINAL, feed=FORK) for at in sorted(slots)]


async def _facts(connection: asyncpg.Connection, rows: Sequence[Row]) -> list[Fact]:
    """Return rows as trades, in the order of the chain; their `program` is empty, for the table does not keep it."""
    ids = {(row[POOL_ID], row[TOKEN_ID], row[AT["quote_id"]]) for row in rows}
    if not ids:
        return []
    markets = {
        (found["pool_id"], found["quote_id"]): found
        for found in await connection.fetch(_MARKETS, *zip(*ids, strict=True))
    }
    ordered = sorted(rows, key=lambda row: row[ORDER])
    return [_trade(row, markets[row[POOL_ID], row[AT["quote_id"]]]) for row in ordered]


def _trade(row: Row, market: asyncpg.Record) -> Trade:
    members = {name: row[AT[name]] for name in ("venue", "event", "nth", "signature", "slot")}
    names = ("platform", "platform_config", "flipped", "canonical", "mint", "decimals", "quote_mint", "quote_decimals")
    blank = Trade(
        program="",
        **members,
        **{name: market[name] for name in names},
        block_time=int(row[AT["block_time"]].timestamp()),
        index=index_of(row[ORDER]),
        position=position_of(row[ORDER]),
        pool=market["address"],
        trader=row[AT["trader"]],
        side=row[AT["side"]],
        base_amount=0,
        quote_amount=0,
        user_quote_amount=0,
        mark_base=None,
        mark_quote=None,
    )
    return with_row(blank, row)

"""The table of changes: read before a batch's facts are applied, written with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from monitor.store.changes import Change, as_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg

    from monitor.store.changes import ChangeKey, Market

_KEY = "signature, venue, event, nth, fact, block_time"
_KEYS = f"unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[]) AS u({_KEY})"
_MEMBERS = "slot, chain_order, token_id, pool_id, data, voided_at IS NOT NULL AS is_void"
_SELECT = f"SELECT {_KEY}, {_MEMBERS} FROM {_KEYS} JOIN changes USING ({_KEY})"  # noqa: S608  constants of this file
_OF = f"SELECT {_KEY}, {_MEMBERS} FROM changes WHERE voided_at IS NULL AND (token_id = ANY($1) OR pool_id = ANY($2))"  # noqa: S608  constants of this file
_UPSERT = f"""
INSERT INTO changes ({_KEY}, slot, chain_order, token_id, pool_id, data, batch_no)
SELECT u.*, $12 FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[],
                            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::jsonb[]) AS u
ON CONFLICT ({_KEY}) DO UPDATE
   SET slot = EXCLUDED.slot, chain_order = EXCLUDED.chain_order, token_id = EXCLUDED.token_id,
       pool_id = EXCLUDED.pool_id, data = EXCLUDED.data, voided_at = NULL, batch_no = EXCLUDED.batch_no
"""  # noqa: S608  constants of this file
_INSERT_SIGHTINGS = """
INSERT INTO sightings (pool_id, said) SELECT * FROM unnest($1::bigint[], $2::jsonb[]) ON CONFLICT DO NOTHING
"""


async def stored_changes(connection: asyncpg.Connection, keys: Iterable[ChangeKey]) -> dict[ChangeKey, Change]:
    """Return those of the changes that are in the table, void ones too."""
    rows = await connection.fetch(_SELECT, *zip(*keys, strict=True))
    return {change.key: change for change in map(_change, rows)}


async def changes_of(connection: asyncpg.Connection, token_ids: Iterable[int], pool_ids: Iterable[int]) -> list[Change]:
    """Return the changes of those tokens and pools that stand."""
    return [_change(row) for row in await connection.fetch(_OF, list(token_ids), list(pool_ids))]


async def write_changes(connection: asyncpg.Connection, changes: Sequence[Change], batch_no: int) -> None:
    """Write changes over those of their identity."""
    rows = [
        (*change.key, change.slot, change.order, change.token_id, change.pool_id, as_json(change.data))
        for change in changes
    ]
    if rows:
        await connection.execute(_UPSERT, *zip(*rows, strict=True), batch_no)


async def write_sightings(connection: asyncpg.Connection, told: Iterable[tuple[int, Market]]) -> None:
    """Note what trades said of their pools."""
    rows = [(pool_id, as_json(market)) for pool_id, market in told]
    if rows:
        await connection.execute(_INSERT_SIGHTINGS, *zip(*rows, strict=True))


def _change(row: asyncpg.Record) -> Change:
    key = (row["signature"], row["venue"], row["event"], row["nth"], row["fact"], row["block_time"])
    data = msgspec.json.decode(row["data"])
    return Change(key, row["slot"], row["chain_order"], row["token_id"], row["pool_id"], data, row["is_void"])

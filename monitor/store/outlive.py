"""What pools and tokens still have to know once the trades that told it are dropped."""

# ruff: noqa: S608  the statements are put together from the constants in this file alone

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

    from monitor.store.partitions import Piece

# Order of each group of reserves that trades tell, its other columns, and which trades tell it.
_GROUPS = (
    ("mark_order", ("mark_base", "mark_quote"), "NOT synthetic AND mark_base IS NOT NULL AND mark_quote IS NOT NULL"),
    ("real_base_order", ("real_base",), "NOT synthetic AND real_base IS NOT NULL"),
    ("real_quote_order", ("real_quote",), "NOT synthetic AND real_quote IS NOT NULL"),
    (
        "curve_order",
        ("curve_sold", "curve_total"),
        "NOT synthetic AND curve_sold IS NOT NULL AND curve_total IS NOT NULL",
    ),
    ("last_trade_order", ("last_trade_at",), "TRUE"),
)
_SOURCE = {"last_trade_at": "extract(epoch FROM block_time)::bigint"}
_SHOWN = {"last_trade_at": "to_timestamp(last_trade_order[2])"}
_OF_PIECE = "FROM transactions WHERE block_time >= $1 AND block_time < $2 AND voided_at IS NULL"


def _latest(order: str, columns: tuple[str, ...], told: str) -> str:
    """Return the aggregate of what the latest trade tells of a group: its order first."""
    values = ", ".join(_SOURCE.get(name, name) for name in columns)
    return f"max(ARRAY[chain_order, {values}]) FILTER (WHERE {told}) AS {order}"


def _members(order: str, columns: tuple[str, ...]) -> str:
    """Return names and values of a group's columns, of its aggregate."""
    values = [_SHOWN.get(name, f"{order}[{place}]") for place, name in enumerate(columns, 2)]
    return ", ".join(
        f"'{name}', {value}" for name, value in zip((order, *columns), (f"{order}[1]", *values), strict=True)
    )


def _later(order: str, columns: tuple[str, ...]) -> str:
    """Return a group's columns if the new row tells them of later than the stored one."""
    both = (f"COALESCE(({row}.data ->> '{order}')::bigint, -1)" for row in ("EXCLUDED", "s"))
    members = ", ".join(f"'{name}', EXCLUDED.data -> '{name}'" for name in (order, *columns))
    return f"CASE WHEN {' > '.join(both)} THEN jsonb_build_object({members}) ELSE '{{}}' END"


_KEEP_POOLS = f"""
INSERT INTO snapshots AS s (kind, id, data)
SELECT 'pool', pool_id,
       jsonb_strip_nulls(jsonb_build_object('id', pool_id, {", ".join(_members(*group[:2]) for group in _GROUPS)}))
  FROM (SELECT pool_id, {", ".join(_latest(*group) for group in _GROUPS)} {_OF_PIECE} GROUP BY pool_id) told
ON CONFLICT (kind, id) DO UPDATE SET data = s.data || {" || ".join(_later(*group[:2]) for group in _GROUPS)}
"""
_KEEP_TOKENS = f"""
INSERT INTO snapshots AS s (kind, id, data)
SELECT 'token', token_id, jsonb_build_object('id', token_id, 'supply_order', told[1], 'supply', told[2])
  FROM (SELECT token_id, max(ARRAY[chain_order::numeric, supply]) AS told {_OF_PIECE} AND supply IS NOT NULL
         GROUP BY token_id) told
ON CONFLICT (kind, id) DO UPDATE SET data = s.data || {_later("supply_order", ("supply",))}
"""


async def keep_told(connection: asyncpg.Connection, piece: Piece) -> None:
    """
    Keep what the trades of a piece told last of each pool and token; done twice it changes nothing.

    A later trade may vanish with a fork, and then that is what stands (monitor/store/refold.py). The piece itself is
    final by far.
    """
    async with connection.transaction():
        await connection.execute(_KEEP_POOLS, piece.first, piece.end)
        await connection.execute(_KEEP_TOKENS, piece.first, piece.end)

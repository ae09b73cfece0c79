"""The statements of the writer."""

# ruff: noqa: S608  the statements are put together from the constants in this file alone

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.rows import COLUMNS, FILLABLE
from monitor.store.states import MintState, PoolState, TokenState, columns

if TYPE_CHECKING:
    from monitor.store.states import State

_TEXT, _BIGINT, _BOOL, _TIME = "text", "bigint", "boolean", "timestamptz"

_TYPES = {
    "block_time": _TIME,
    "canonical": _BOOL,
    "completed_at": _TIME,
    "created_at": _TIME,
    "decimals": "smallint",
    "flipped": _BOOL,
    "graduated_at": _TIME,
    "is_cashback": _BOOL,
    "is_holder_reward": _BOOL,
    "is_mayhem": _BOOL,
    "launched_at": _TIME,
    "nth": "smallint",
    "order_exact": _BOOL,
    "organic": _BOOL,
    "supply": "numeric",
    "synthetic": _BOOL,
    "tail": "bytea",
}
_TEXTS = frozenset(
    (
        *("address", "symbol", "name", "mint", "platform", "platform_config", "uri", "creator", "payer", "signature"),
        *("token_program", "curve_kind", "migrate_to", "launch_signature", "completed_signature", "completed_by"),
        *("graduated_signature", "created_signature", "venue", "kind", "event", "side", "trader"),
    )
)


def _type(column: str) -> str:
    return _TYPES.get(column) or (_TEXT if column in _TEXTS else _BIGINT)


def _unnest(names: tuple[str, ...], types: tuple[str, ...] | None = None) -> str:
    """Return a FROM item: one array parameter per column, one row per element."""
    types = types or tuple(map(_type, names))
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(types, 1))
    return f"unnest({arrays}) AS u({', '.join(names)})"


def _upsert(table: str, kind: type[State]) -> str:
    """Return the statement that writes rows by id. A row of that id with another address is left, and not counted."""
    names = columns(kind)
    key = names[1]
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in names if name not in ("id", key))
    return (
        f"INSERT INTO {table} AS t ({', '.join(names)}) SELECT * FROM {_unnest(names)} "
        f"ON CONFLICT (id) DO UPDATE SET {sets} WHERE t.{key} = EXCLUDED.{key}"
    )


NEXT_IDS = """
SELECT ARRAY(SELECT nextval(pg_get_serial_sequence('mints', 'id')) FROM generate_series(1, $1)),
       ARRAY(SELECT nextval(pg_get_serial_sequence('pools', 'id')) FROM generate_series(1, $2))
"""
NEWEST_BATCH_NO = "SELECT COALESCE(pg_sequence_last_value(pg_get_serial_sequence('batches', 'batch_no')::regclass), 0)"
NEXT_BATCH_NUMBERS = """
SELECT nextval(pg_get_serial_sequence('batches', 'batch_no')) FROM generate_series(1, $1)
"""

SELECT_MINTS = f"SELECT {', '.join(columns(MintState))} FROM mints WHERE address = ANY($1)"
SELECT_TOKENS = f"""
SELECT {", ".join(columns(TokenState))} FROM tokens WHERE mint = ANY($1)
UNION
SELECT {", ".join(columns(TokenState))} FROM tokens WHERE id = ANY($2)
"""
SELECT_POOLS = f"SELECT {', '.join(columns(PoolState))} FROM pools WHERE address = ANY($1)"

UPSERT_MINTS = _upsert("mints", MintState)
UPSERT_TOKENS = _upsert("tokens", TokenState)
UPSERT_POOLS = _upsert("pools", PoolState)

_RESERVE_GROUPS = (
    ("mark_order", "mark_base", "mark_quote"),
    ("real_base_order", "real_base", None),
    ("real_quote_order", "real_quote", None),
    ("curve_order", "curve_sold", "curve_total"),
    ("virtual_quote_order", "virtual_quote", None),
    ("last_trade_order", "last_trade_at", None),
)


def _update_reserves() -> str:
    """Return the statement for `Reserves.columns()`: what is later on the chain replaces its group as a whole."""
    names, types, sets = ["id"], [_BIGINT], []
    for order, *members in _RESERVE_GROUPS:
        names += [order, *(member or f"{order}_unused" for member in members)]
        types += [_BIGINT, *(_TIME if member == "last_trade_at" else _BIGINT for member in members)]
        sets += [
            f"{member} = CASE WHEN u.{order} > p.{order} THEN u.{member} ELSE p.{member} END"
            for member in (*members, order)
            if member is not None
        ]
    later = " OR ".join(f"u.{order} > p.{order}" for order, *_ in _RESERVE_GROUPS)
    source = _unnest(tuple(names), tuple(types))
    return f"UPDATE pools p SET {', '.join(sets)} FROM {source} WHERE p.id = u.id AND ({later})"


UPDATE_RESERVES = _update_reserves()

FORGET_RESERVES = f"""
UPDATE pools SET {", ".join(f"{order} = -1" for order, *_ in _RESERVE_GROUPS)},
       {", ".join(f"{name} = NULL" for _, *members in _RESERVE_GROUPS for name in members if name is not None)}
 WHERE id = ANY($1)
"""

UPDATE_SUPPLIES = f"""
UPDATE tokens t SET supply = u.supply, supply_order = u.supply_order
  FROM {_unnest(("id", "supply_order", "supply"))}
 WHERE t.id = u.id AND u.supply_order > COALESCE(t.supply_order, -1)
"""

_KEY = ("block_time", "signature", "venue", "event", "nth")
_SAME_KEY = " AND ".join(f"t.{name} = u.{name}" for name in _KEY)
SELECT_TRADES = f"""
SELECT {", ".join(f"t.{name}" for name in COLUMNS)}, t.voided_at IS NOT NULL
  FROM {_unnest(_KEY)} JOIN transactions t ON {_SAME_KEY}
"""
UPGRADED_COLUMNS = (*_KEY, "slot", "chain_order", "order_exact", *FILLABLE, "tail", "batch_no")
UPDATE_TRADES = f"""
UPDATE transactions t SET {", ".join(f"{name} = u.{name}" for name in UPGRADED_COLUMNS[len(_KEY) :])}
  FROM {_unnest(UPGRADED_COLUMNS)} WHERE {_SAME_KEY}
"""
DELETE_TRADES = f"DELETE FROM transactions t USING {_unnest(_KEY)} WHERE {_SAME_KEY}"

FAULT_COLUMNS = (
    ("signature", _TEXT),
    ("program", _TEXT),
    ("venue", _TEXT),
    ("event", _TEXT),
    ("nth", _BIGINT),
    ("fact", _TEXT),
    ("slot", "numeric"),
    ("block_time", _TIME),
    ("tx_index", _BIGINT),
    ("position", _BIGINT),
    ("platform", _TEXT),
    ("reason", _TEXT),
    ("payload", "bytea"),
    ("batch_no", _BIGINT),
    ("token_id", _BIGINT),
)
_FAULT_NAMES, _FAULT_TYPES = (tuple(part) for part in zip(*FAULT_COLUMNS, strict=True))
_VANISHED = "COALESCE(f.resolved_by = 'vanished', FALSE)"
# Copies of one slot fill each other. What vanished is told anew by a copy of any slot.
_RETOLD_FAULT = ", ".join(
    f"{name} = CASE WHEN {_VANISHED} THEN EXCLUDED.{name} ELSE {stored} END"
    for name, stored in (
        *((name, f"f.{name}") for name in ("slot", "position", "reason", "payload")),
        *(
            (name, f"COALESCE(f.{name}, CASE WHEN EXCLUDED.slot = f.slot THEN EXCLUDED.{name} END)")
            for name in ("block_time", "tx_index")
        ),
        ("token_id", "COALESCE(f.token_id, EXCLUDED.token_id)"),
        *((name, f"f.{name}") for name in ("resolved_at", "resolved_by")),
    )
)
# What had vanished is as new as what was never there.
INSERT_FAULTS = f"""
WITH told AS MATERIALIZED (
    SELECT * FROM {_unnest(_FAULT_NAMES, _FAULT_TYPES)}
), gone AS MATERIALIZED (
    SELECT f.id FROM told u JOIN faults f USING (signature, program, event, nth, fact) WHERE f.resolved_by = 'vanished'
)
INSERT INTO faults AS f ({", ".join(_FAULT_NAMES)}) SELECT * FROM told
ON CONFLICT (signature, program, event, nth, fact) DO UPDATE
   SET {_RETOLD_FAULT}
RETURNING signature, program, event, nth, fact, slot, xmax = 0 OR id IN (SELECT id FROM gone) AS is_new
"""


# A token of which all was refused is known by its address alone.
MAKE_MINTS = "INSERT INTO mints (address) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
MAKE_TOKENS = """
INSERT INTO tokens (id, mint) SELECT id, address FROM mints WHERE address = ANY($1) ON CONFLICT DO NOTHING
"""
IDS_OF_TOKENS = "SELECT mint, id FROM tokens WHERE mint = ANY($1)"
# What vanished, or was read after all, is refused no longer.
TELL_REFUSED = """
UPDATE tokens t SET has_refused = u.has_refused
  FROM (SELECT told.id, EXISTS (SELECT FROM faults f WHERE f.token_id = told.id AND f.resolved_at IS NULL)
          FROM unnest($1::bigint[]) AS told(id)) AS u(id, has_refused)
 WHERE t.id = u.id AND t.has_refused <> u.has_refused
"""

INSERT_LANDINGS = """
INSERT INTO landings (signature, slot) SELECT * FROM unnest($1::text[], $2::bigint[]) ON CONFLICT DO NOTHING
"""

TAIL_COLUMNS = (
    ("signature", _TEXT),
    ("venue", _TEXT),
    ("event", _TEXT),
    ("nth", "smallint"),
    ("fact", _TEXT),
    ("block_time", _TIME),
    ("slot", _BIGINT),
    ("tail", "bytea"),
    ("payload", "bytea"),
    ("program", _TEXT),
    ("tx_index", _BIGINT),
    ("position", _BIGINT),
)
_TAIL_NAMES, _TAIL_TYPES = (tuple(part) for part in zip(*TAIL_COLUMNS, strict=True))
# The copy of the latest slot counts, of these the one that was read furthest, and places are filled in.
INSERT_TAILS = f"""
INSERT INTO tails AS t ({", ".join(_TAIL_NAMES)}) SELECT * FROM {_unnest(_TAIL_NAMES, _TAIL_TYPES)}
ON CONFLICT (signature, venue, event, nth, fact, block_time) DO UPDATE
   SET {", ".join(f"{name} = EXCLUDED.{name}" for name in ("slot", "tail", "program", "position"))},
       payload = COALESCE(EXCLUDED.payload, t.payload),
       tx_index = COALESCE(EXCLUDED.tx_index, CASE WHEN EXCLUDED.slot = t.slot THEN t.tx_index END),
       resolved_at = NULL, resolved_by = NULL
 WHERE t.resolved_by = 'vanished' OR EXCLUDED.slot > t.slot
    OR (EXCLUDED.slot = t.slot AND (length(EXCLUDED.tail) < length(t.tail)
        OR (t.tx_index IS NULL AND EXCLUDED.tx_index IS NOT NULL)
        OR (t.payload IS NULL AND EXCLUDED.payload IS NOT NULL)))
RETURNING id
"""

ABANDON_HOLES = """
WITH abandoned AS (
    UPDATE holes SET filled_at = now(), filled_by = 'abandoned' WHERE filled_at IS NULL RETURNING id
), forgotten AS (DELETE FROM feeds)
SELECT count(*) FROM abandoned
"""
NOTE_FAILED_TRY = "UPDATE holes SET tries = tries + 1, last_error = $2 WHERE id = $1 AND filled_at IS NULL"
INSERT_BATCH = """
INSERT INTO batches (batch_no, id, facts, stored, upgraded, duplicates, refused, first_time, last_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING
RETURNING (SELECT max(number) FROM schema_migrations)
"""
FIND_BATCH = "SELECT TRUE FROM batches WHERE id = $1"

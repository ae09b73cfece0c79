"""How large a database is, what is slow in it, and how its autovacuum fits the rate at which it is written to."""

# ruff: noqa: S608  the statements are put together from names that the database's own catalog holds, quoted

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from monitor.store.edition import Edition

_PAGE_BYTES = 8192
_ADVISED_SCALE, _ADVISED_ROWS = 0.02, 1000
_BUSY_UPDATES_PER_S = 10.0
_BY_BATCH = 22
"""What autovacuum pays for a page that it reads and dirties (vacuum_cost_page_miss + vacuum_cost_page_dirty)."""

# A table with its partitions.
_TABLES = """
SELECT o.relname AS name, format('%I', o.relname) AS quoted, count(*) - 1 AS pieces,
       (sum(pg_table_size(part.id)))::bigint AS table_bytes, (sum(pg_indexes_size(part.id)))::bigint AS index_bytes,
       (COALESCE(sum(s.n_live_tup), 0))::bigint AS about
  FROM pg_class o
 CROSS JOIN LATERAL (SELECT o.oid AS id UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = o.oid) part
  LEFT JOIN pg_stat_all_tables s ON s.relid = part.id
 WHERE o.relnamespace = current_schema()::regnamespace AND o.relkind IN ('r', 'p') AND NOT o.relispartition
 GROUP BY o.oid, o.relname ORDER BY o.relname
"""
# Hypertables: chunks, and what of them is compressed, lie elsewhere. Continuous aggregates are hypertables, too.
_HYPERTABLES = """
SELECT COALESCE(a.view_name, t.hypertable_name) AS name,
       format('%I', COALESCE(a.view_name, t.hypertable_name)) AS quoted, t.num_chunks AS pieces,
       (d.table_bytes + d.toast_bytes)::bigint AS table_bytes, d.index_bytes::bigint AS index_bytes,
       approximate_row_count(w.id)::bigint AS about
  FROM timescaledb_information.hypertables t
  LEFT JOIN timescaledb_information.continuous_aggregates a
         ON (a.materialization_hypertable_schema, a.materialization_hypertable_name)
          = (t.hypertable_schema, t.hypertable_name)
 CROSS JOIN LATERAL (SELECT format('%I.%I', t.hypertable_schema, t.hypertable_name)::regclass AS id) w
 CROSS JOIN LATERAL (SELECT sum(table_bytes) AS table_bytes, sum(index_bytes) AS index_bytes,
                            sum(toast_bytes) AS toast_bytes FROM hypertable_detailed_size(w.id)) d
 WHERE COALESCE(a.view_schema, t.hypertable_schema) = current_schema() ORDER BY 1
"""
_COMPRESSION = """
SELECT COALESCE(a.view_name, t.hypertable_name) AS name, s.total_chunks AS chunks,
       s.number_compressed_chunks AS compressed,
       s.before_compression_total_bytes AS before_bytes, s.after_compression_total_bytes AS after_bytes
  FROM timescaledb_information.hypertables t
  LEFT JOIN timescaledb_information.continuous_aggregates a
         ON (a.materialization_hypertable_schema, a.materialization_hypertable_name)
          = (t.hypertable_schema, t.hypertable_name)
 CROSS JOIN LATERAL hypertable_compression_stats(format('%I.%I', t.hypertable_schema, t.hypertable_name)::regclass) s
 WHERE COALESCE(a.view_schema, t.hypertable_schema) = current_schema() AND s.number_compressed_chunks > 0 ORDER BY 1
"""
_STATEMENTS_SCHEMA = """
SELECT format('%I', extnamespace::regnamespace::text) FROM pg_extension WHERE extname = 'pg_stat_statements'
"""
_STATEMENTS = """
SELECT calls, total_exec_time / 1000 AS total_s, mean_exec_time AS mean_ms, max_exec_time AS max_ms, rows, query
  FROM {schema}.pg_stat_statements
 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND calls > 0
 ORDER BY total_exec_time DESC LIMIT $1
"""
_SETTINGS = (
    "autovacuum", "autovacuum_vacuum_scale_factor", "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_vacuum_cost_limit", "autovacuum_vacuum_cost_delay", "vacuum_cost_limit", "vacuum_cost_delay",
)  # fmt: skip
# Of the newest hour in which anything was committed.
_RATE = """
SELECT COALESCE(sum(stored) / GREATEST(extract(epoch FROM max(committed_at) - min(committed_at)), 1), 0)::float8
  FROM batches WHERE committed_at > (SELECT max(committed_at) FROM batches) - INTERVAL '1 hour'
"""
_UPDATES = """
SELECT c.relname,
       s.n_tup_upd / GREATEST(extract(epoch FROM now() - COALESCE(d.stats_reset, m.first)), 1)::double precision,
       COALESCE((SELECT option_value::double precision FROM pg_options_to_table(c.reloptions)
                  WHERE option_name = 'autovacuum_vacuum_scale_factor'), $1)
  FROM pg_stat_user_tables s
  JOIN pg_class c ON c.oid = s.relid
  JOIN pg_stat_database d ON d.datname = current_database()
  CROSS JOIN (SELECT min(applied_at) AS first FROM schema_migrations) m
 WHERE c.relname IN ('tokens', 'pools') AND s.schemaname = current_schema() ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Size:
    """A table with its partitions or chunks: `rows` are counted unless estimates do; `table_bytes` has TOAST in it."""

    name: str
    rows: int
    pieces: int
    table_bytes: int
    index_bytes: int

    @property
    def total_bytes(self) -> int:
        """All that it takes."""
        return self.table_bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class Compression:
    """What compression came to: bytes of the chunks that are compressed, before and after, indexes included."""

    name: str
    chunks: int
    compressed: int
    before_bytes: int
    after_bytes: int

    @property
    def ratio(self) -> float:
        """How many times smaller they became."""
        return self.before_bytes / self.after_bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of pg_stat_statements."""

    calls: int
    total_s: float
    mean_ms: float
    max_ms: float
    rows: int
    query: str


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting of autovacuum, what it is, what to make of it, and why."""

    setting: str
    now: str
    advised: str
    why: str


@dataclass(frozen=True, slots=True)
class Load:
    """
    How the database is written to: rows stored a second in its newest hour, and bytes that one takes.

    `updates` are, by table, updates a second and the scale factor by which it is vacuumed.
    """

    rows_per_s: float
    row_bytes: float
    updates: dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Stats:
    """What `db stats` tells. `bytes_per_trade` None: no trade; `statements` None: pg_stat_statements is not there."""

    sizes: tuple[Size, ...]
    bytes_per_trade: float | None
    compression: tuple[Compression, ...]
    statements: tuple[Statement, ...] | None
    load: Load
    advice: tuple[Advice, ...]


async def stats(connection: asyncpg.Connection, edition: Edition, *, quick: bool, statements: int = 10) -> Stats:
    """
    Return sizes, slow statements and advice.

    Args:
        connection: To the database.
        edition: Of its schema.
        quick: Take the server's estimates of rows, and count none.
        statements: How many statements at most.
    """
    sizes = await _sizes(connection, edition, quick=quick)
    trades = next(size for size in sizes if size.name == "transactions")
    per_trade = trades.total_bytes / trades.rows if trades.rows else None
    settings = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in _SETTINGS}
    scale = float(settings["autovacuum_vacuum_scale_factor"])
    updates = {row[0]: (row[1], row[2]) for row in await connection.fetch(_UPDATES, scale)}
    load = Load(await connection.fetchval(_RATE), per_trade or 0.0, updates)
    compression = await connection.fetch(_COMPRESSION) if edition == "timescale" else []
    return Stats(
        sizes=tuple(sizes),
        bytes_per_trade=per_trade,
        compression=tuple(Compression(**row) for row in compression),
        statements=await _statements(connection, statements),
        load=load,
        advice=tuple(advise(load, settings)),
    )


async def _sizes(connection: asyncpg.Connection, edition: Edition, *, quick: bool) -> list[Size]:
    rows = {row["name"]: row for row in await connection.fetch(_TABLES)}
    if edition != "plain":
        rows |= {row["name"]: row for row in await connection.fetch(_HYPERTABLES)}
    found = []
    for name, row in sorted(rows.items()):
        count = row["about"] if quick else await connection.fetchval(f"SELECT count(*) FROM {row['quoted']}")
        found.append(Size(name, count, row["pieces"], row["table_bytes"], row["index_bytes"]))
    return found


async def _statements(connection: asyncpg.Connection, limit: int) -> tuple[Statement, ...] | None:
    schema = await connection.fetchval(_STATEMENTS_SCHEMA)
    if schema is None:
        return None
    try:
        rows = await connection.fetch(_STATEMENTS.format(schema=schema), limit)
    except (asyncpg.ObjectNotInPrerequisiteStateError, asyncpg.InsufficientPrivilegeError):
        return None  # made, but not in shared_preload_libraries; or not for us
    return tuple(Statement(**row) for row in rows)


def advise(load: Load, settings: dict[str, str]) -> list[Advice]:
    """Return which settings of autovacuum do not fit the load; `settings` are as SHOW tells them."""
    found = []
    if settings["autovacuum"] != "on":
        found.append(Advice("autovacuum", settings["autovacuum"], "on", "nothing is cleaned up or counted without it"))
    for table, (per_s, scale) in load.updates.items():
        if per_s >= _BUSY_UPDATES_PER_S and scale > _ADVISED_SCALE:
            found.append(
                Advice(
                    f"{table}: autovacuum_vacuum_scale_factor", f"{scale:g}", f"{_ADVISED_SCALE:g}",
                    f"{per_s:,.0f} updates a second: ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = "
                    f"{_ADVISED_SCALE:g}, autovacuum_vacuum_threshold = {_ADVISED_ROWS})",
                )
            )  # fmt: skip
    limit, delay_ms = _cost(settings)
    needed = 2 * load.rows_per_s * load.row_bytes
    if delay_ms > 0 and (limit / _BY_BATCH) * _PAGE_BYTES * 1000 / delay_ms < needed:
        enough = math.ceil(needed * delay_ms / 1000 / _PAGE_BYTES * _BY_BATCH / 100) * 100
        found.append(
            Advice(
                "autovacuum_vacuum_cost_limit", f"{limit:g}", f"{enough}",
                f"{load.rows_per_s:,.0f} rows a second of {load.row_bytes:,.0f} bytes are written: a vacuum that is to "
                "keep up with twice that must not rest so much",
            )
        )  # fmt: skip
    return found


def _cost(settings: dict[str, str]) -> tuple[float, float]:
    """Return the limit and the delay (ms) that hold for autovacuum: -1 stands for those of VACUUM."""
    limit = float(settings["autovacuum_vacuum_cost_limit"])
    delay = settings["autovacuum_vacuum_cost_delay"]
    if delay == "-1":
        delay = settings["vacuum_cost_delay"]
    return (
        limit if limit > 0 else float(settings["vacuum_cost_limit"]),
        float(delay.removesuffix("us").removesuffix("ms")) / (1000 if delay.endswith("us") else 1),
    )

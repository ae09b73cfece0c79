"""What is amiss in a database that has the right schema: indexes, and what is to be done by the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Literal

from monitor.store import lifecycle
from monitor.store.indexes import indexes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from monitor.store.edition import Edition
    from monitor.store.lifecycle import Rules

Kind = Literal[
    "missing_index", "invalid_index", "unused_index", "bloated_index", "missing_partition", "missing_policy",
    "failed_policy", "paused_policy", "late_policy", "uncompressed_chunks",
]  # fmt: skip

_MIB = 1 << 20
_FULL = 0.9
"""How full PostgreSQL leaves the pages of a btree that it builds."""
_PAGE_BYTES, _PAGE_HEADER_BYTES = 8192, 40
_ENTRY_BYTES = 16
"""Of an entry besides its columns: header, line pointer, alignment (src/include/access/itup.h)."""

_INDEXES = """
SELECT o.relname AS owner, CASE WHEN h.inhrelid IS NOT NULL THEN t.oid::regclass::text END AS piece,
       x.oid::regclass::text AS name, i.indisvalid AS is_valid, i.indisunique AS is_unique,
       CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
           || regexp_replace(pg_get_indexdef(x.oid), '^.* USING ', '') AS shape,
       x.reltuples * CASE WHEN x.reltuples > 0 AND t.relpages > 0
                          THEN GREATEST(pg_relation_size(t.oid) / 8192.0 / t.relpages, 1) ELSE 1 END AS entries,
       CASE WHEN x.relkind = 'i' THEN pg_relation_size(x.oid) ELSE 0 END AS bytes, COALESCE(s.idx_scan, 0) AS scans,
       CASE WHEN m.amname = 'btree' THEN (
           SELECT sum(w.avg_width) FROM unnest(i.indkey::smallint[]) AS k(attnum)
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum
             JOIN pg_stats w ON w.schemaname = t.relnamespace::regnamespace::text AND w.tablename = t.relname
                            AND w.attname = a.attname
       ) END AS width
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_am m ON m.oid = x.relam
  LEFT JOIN pg_inherits h ON h.inhrelid = t.oid
  JOIN pg_class o ON o.oid = COALESCE(h.inhparent, t.oid)
  LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = x.oid
 WHERE o.relnamespace = current_schema()::regnamespace AND o.relkind IN ('r', 'p')
 ORDER BY 1, 2 NULLS FIRST, 3
"""
_PIECES = """
SELECT o.relname, h.inhrelid::regclass::text
  FROM pg_inherits h JOIN pg_class o ON o.oid = h.inhparent
 WHERE o.relnamespace = current_schema()::regnamespace AND o.relkind IN ('r', 'p') ORDER BY 1, 2
"""
_COUNTED_SINCE = """
SELECT GREATEST(stats_reset, (SELECT max(applied_at) FROM schema_migrations)), now()
  FROM pg_stat_database WHERE datname = current_database()
"""
_NEWEST = "SELECT max(block_time) FROM transactions"
_BOUNDS = r"""
SELECT bound[1]::timestamptz AS first, bound[2]::timestamptz AS end
  FROM pg_inherits h
  JOIN pg_class c ON c.oid = h.inhrelid,
       regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('([^']+)'\) TO \('([^']+)'\)$$) AS bound
 WHERE h.inhparent = 'transactions'::regclass AND bound IS NOT NULL ORDER BY 1
"""
# Jobs below 1000 are TimescaleDB's own.
_POLICIES = """
SELECT j.job_id, j.proc_name AS policy, COALESCE(a.view_name, j.hypertable_name) AS on, j.scheduled AS is_scheduled,
       s.last_run_status = 'Failed' AS has_failed,
       s.job_status = 'Scheduled'
           AND s.next_start < now() - GREATEST(j.schedule_interval, INTERVAL '1 hour') AS is_late,
       (SELECT e.err_message FROM timescaledb_information.job_errors e
         WHERE e.job_id = j.job_id ORDER BY e.finish_time DESC LIMIT 1) AS error
  FROM timescaledb_information.jobs j
  LEFT JOIN timescaledb_information.job_stats s ON s.job_id = j.job_id
  LEFT JOIN timescaledb_information.continuous_aggregates a
         ON (a.materialization_hypertable_schema, a.materialization_hypertable_name)
          = (j.hypertable_schema, j.hypertable_name)
 WHERE j.job_id >= 1000 AND j.hypertable_name IS NOT NULL ORDER BY j.job_id
"""
# A policy goes by the server's clock. One that has come to a chunk twice and left it is not merely late.
_UNCOMPRESSED = """
SELECT c.hypertable_name AS on, count(*) AS chunks, min(c.range_start) AS first
  FROM timescaledb_information.chunks c
  JOIN timescaledb_information.jobs j
    ON (j.hypertable_schema, j.hypertable_name) = (c.hypertable_schema, c.hypertable_name)
   AND j.proc_name IN ('policy_compression', 'policy_columnstore')
 WHERE NOT c.is_compressed
   AND c.range_end < now() - (j.config ->> 'compress_after')::interval - 2 * j.schedule_interval
   AND c.chunk_creation_time < now() - 2 * j.schedule_interval
 GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is amiss: of which table, index or policy, what, and what mends it."""

    kind: Kind
    what: str
    detail: str
    mend: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Below these nothing is said: an index that is small or young may well be unused, and a small one bloated."""

    bloat_ratio: float = 2.0
    bloat_bytes: int = 64 * _MIB
    unused_bytes: int = 64 * _MIB
    unused_for: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Index:
    """
    An index of a table or, where `piece` is not None, of one of its partitions or chunks.

    `shape` is its definition behind USING, with UNIQUE before it where it is so. `width` is how many bytes its columns
    take in an entry (None: not known, or it is no btree), `entries` how many there are (-1: nobody has counted), if
    what was counted has grown as the table has.
    """

    owner: str
    piece: str | None
    name: str
    is_valid: bool
    is_unique: bool
    shape: str
    entries: float
    bytes: int
    scans: int
    width: int | None


async def verify(
    connection: asyncpg.Connection, edition: Edition, rules: Rules, limits: Limits | None = None
) -> list[Finding]:
    """Return what is amiss in a database whose rows stay by these rules; it only reads."""
    limits = limits or Limits()
    indexes = [Index(**row) for row in await connection.fetch(_INDEXES)]
    pieces = [(row[0], row[1]) for row in await connection.fetch(_PIECES)]
    since, now = await connection.fetchrow(_COUNTED_SINCE)
    found = [*missing(indexes, pieces, indexes_of(edition)), *invalid(indexes), *bloated(indexes, limits)]
    if now - since >= limits.unused_for:
        found += unused(indexes, limits, since)
    if edition == "plain":
        found += ahead(await connection.fetchval(_NEWEST), await bounds(connection))
    else:
        found += [_lacks_policy(name) for name in await lifecycle.lacks_policy(connection, edition, rules)]
        found += [finding for row in await connection.fetch(_POLICIES) for finding in _policy(row)]
        found += [_uncompressed(row) for row in await connection.fetch(_UNCOMPRESSED)]
    return found


def missing(
    indexes: Sequence[Index], pieces: Iterable[tuple[str, str]], of_schema: Mapping[str, Mapping[str, str]]
) -> Iterator[Finding]:
    """Yield the indexes `of_schema` that a table lacks, and those of a table that one of its pieces lacks."""
    names = {index.name for index in indexes if index.piece is None}
    for table, wanted in of_schema.items():
        for name, shape in wanted.items():
            if name not in names:
                yield Finding("missing_index", name, f"{table} lacks it", _create(name, table, shape))
    have = {(index.piece, index.shape) for index in indexes if index.is_valid}
    for owner, piece in pieces:
        for index in indexes:
            if index.owner == owner and index.piece is None and (piece, index.shape) not in have:
                yield Finding("missing_index", index.name, f"{piece}, a piece of {owner}, lacks it",
                              _create("CONCURRENTLY", piece, index.shape))  # fmt: skip


def _create(name: str, table: str, shape: str) -> str:
    unique = "UNIQUE " if shape.startswith("UNIQUE ") else ""
    return f"CREATE {unique}INDEX {name} ON {table} USING {shape.removeprefix('UNIQUE ')}"


def invalid(indexes: Iterable[Index]) -> Iterator[Finding]:
    """Yield indexes that nobody uses, since their building was cut short."""
    for index in indexes:
        if not index.is_valid:
            yield Finding("invalid_index", index.name, "its building was cut short: it costs, and no query uses it",
                          f"REINDEX INDEX CONCURRENTLY {index.name}, or drop it if it is not the schema's")  # fmt: skip


def unused(indexes: Iterable[Index], limits: Limits, since: datetime) -> Iterator[Finding]:
    """Yield large indexes that no query has used since the server counts; those that keep rows unique are in use."""
    scans: dict[tuple[str, str], int] = {}
    size: dict[tuple[str, str], int] = {}
    names: dict[tuple[str, str], str] = {}
    for index in indexes:
        if index.is_unique:
            continue
        key = (index.owner, index.shape)
        scans[key] = scans.get(key, 0) + index.scans
        size[key] = size.get(key, 0) + index.bytes
        names.setdefault(key, index.name)
    for key, name in names.items():
        if scans[key] == 0 and size[key] >= limits.unused_bytes:
            yield Finding("unused_index", name, f"{size[key] / _MIB:,.0f} MiB, not used since {since:%Y-%m-%d}",
                          "nothing, if what asks that way is yet to come; it costs every insert")  # fmt: skip


def bloated(indexes: Iterable[Index], limits: Limits) -> Iterator[Finding]:
    """Yield indexes that take far more room than their entries would if they were built anew."""
    for index in indexes:
        if index.width is None or index.entries < 0:
            continue
        needed = (
            index.entries * (index.width + _ENTRY_BYTES) / ((_PAGE_BYTES - _PAGE_HEADER_BYTES) * _FULL) * _PAGE_BYTES
        )
        if index.bytes > limits.bloat_ratio * needed and index.bytes - needed > limits.bloat_bytes:
            yield Finding(
                "bloated_index", index.name, f"{index.bytes / _MIB:,.0f} MiB, of which {needed / _MIB:,.0f} are needed",
                f"REINDEX INDEX CONCURRENTLY {index.name}",
            )  # fmt: skip


def ahead(newest: datetime | None, pieces: Sequence[tuple[datetime, datetime]]) -> Iterator[Finding]:
    """Yield that no partition is there for what comes next; `pieces` are their bounds, by time."""
    if newest is None:
        return
    end, length = newest, timedelta(0)
    for first, piece_end in pieces:
        if first <= end < piece_end:
            end, length = piece_end, length or piece_end - first
    if end - newest < length or not length:
        yield Finding(
            "missing_partition", "transactions", f"there is none from {end:%Y-%m-%d %H:%M} on; the newest trade is of "
            f"{newest:%Y-%m-%d %H:%M}", "the daemon makes them: see `launch-monitor status` and its log",
        )  # fmt: skip


async def bounds(connection: asyncpg.Connection) -> list[tuple[datetime, datetime]]:
    """Return from when to when each partition goes, by time (plain PostgreSQL)."""
    return [(row[0].astimezone(UTC), row[1].astimezone(UTC)) for row in await connection.fetch(_BOUNDS)]


def _lacks_policy(name: str) -> Finding:
    return Finding("missing_policy", name, "TimescaleDB was not told to compress it at the age that is configured",
                   "the daemon tells it: see its log, and that it runs with this configuration")  # fmt: skip


def _policy(row: asyncpg.Record) -> Iterator[Finding]:
    name = f"{row['policy']} of {row['on']} (job {row['job_id']})"
    if row["has_failed"]:
        yield Finding("failed_policy", name, row["error"] or "its last run failed",
                      f"mend that, then CALL run_job({row['job_id']})")  # fmt: skip
    if not row["is_scheduled"]:
        yield Finding(
            "paused_policy", name, "it is switched off", f"SELECT alter_job({row['job_id']}, scheduled => TRUE)"
        )
    elif row["is_late"]:
        yield Finding(
            "late_policy", name, "it should have run long ago",
            "raise timescaledb.max_background_workers and max_worker_processes",
        )  # fmt: skip


def _uncompressed(row: asyncpg.Record) -> Finding:
    return Finding(
        "uncompressed_chunks", row["on"], f"{row['chunks']} are past their time, from {row['first']:%Y-%m-%d} on",
        "look why the policy leaves them: SELECT * FROM timescaledb_information.job_errors",
    )  # fmt: skip

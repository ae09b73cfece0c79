"""`db verify` is content with what the program makes, and finds whatever was broken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor import upkeep
from monitor.config import Config
from monitor.store import lifecycle, verify
from monitor.store.batch import Batch
from monitor.store.candles import LEVELS
from monitor.store.indexes import indexes_of
from monitor.store.lifecycle import Rules
from monitor.store.verify import Index, Limits
from tests.store.facts import BLOCK_TIME, fault, graduation, launch, trade

if TYPE_CHECKING:
    from monitor.store.store import Store
    from monitor.store.verify import Finding

_SCHEMA = """
SELECT t.relname, x.relname, CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
       || regexp_replace(pg_get_indexdef(x.oid), '^.* USING ', '')
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
 WHERE t.relnamespace = current_schema()::regnamespace AND NOT t.relispartition
"""
DAY = timedelta(days=1)
NEWEST = datetime(2026, 9, 21, 13, tzinfo=UTC)
MIDNIGHT = NEWEST.replace(hour=0)
RULES = Rules(compress_trades_after=None)
"""As a daemon is told that compresses nothing: none has run on these databases."""


async def findings(
    store: Store, connection: asyncpg.Connection, limits: Limits | None = None, rules: Rules = RULES
) -> list[Finding]:
    """Return what is found."""
    return await verify.verify(connection, await store.check(), rules, limits)


@pytest.fixture
async def written(store: Store) -> None:
    """Rows in most tables, and trades of several days."""
    days = [trade(block_time=BLOCK_TIME + 86_400 * day, signature=f"s{day}") for day in range(3)]
    await store.write(Batch([launch(), fault(), graduation(), *days]))


async def test_the_list_is_the_schemas(store: Store, sql: asyncpg.Connection) -> None:
    """Every index that migrations make is known, and no other."""
    found: dict[str, dict[str, str]] = {}
    for table, name, shape in await sql.fetch(_SCHEMA):
        found.setdefault(table, {})[name] = shape
    assert found == indexes_of(await store.check())


async def test_what_the_program_makes_is_well(store: Store, sql: asyncpg.Connection, written: None) -> None:
    """An empty database would be, too; a young one has no unused indexes."""
    await sql.execute("VACUUM ANALYZE")
    assert await findings(store, sql) == []


async def test_an_empty_database_is_well(store: Store, sql: asyncpg.Connection) -> None:
    """There is nothing that could be missing ahead."""
    assert await findings(store, sql) == []


@pytest.mark.parametrize(
    ("table", "index"),
    [("transactions", "transactions_trader"), ("tokens", "tokens_launched_at"), ("holes", "holes_open_range")],
)
async def test_a_dropped_index_is_missed(
    table: str, index: str, store: Store, sql: asyncpg.Connection, written: None
) -> None:
    """What it says mends it."""
    await sql.execute(f"DROP INDEX {index}")
    (found,) = await findings(store, sql)
    assert (found.kind, found.what, table in found.detail) == ("missing_index", index, True)
    await sql.execute(found.mend)
    assert await findings(store, sql) == []


def test_an_index_that_a_piece_lacks_is_missed() -> None:
    """By what it is: its name may be any."""
    alike = [index(name="a"), index(name="b", piece="p1"), index(name="c", piece="p2", is_valid=False)]
    lacking = [found for found in verify.missing(alike, [("t", "p1"), ("t", "p2")], {}) if found.what == "a"]
    assert [(found.detail, found.mend) for found in lacking] == [
        ("p2, a piece of t, lacks it", "CREATE INDEX CONCURRENTLY ON p2 USING btree (x)")
    ]


def index(**given: object) -> Index:
    """Return an index of the table `t`."""
    members: dict[str, object] = {"owner": "t", "piece": None, "name": "i", "is_valid": True, "is_unique": False,
                                  "shape": "btree (x)", "entries": 0.0, "bytes": 0, "scans": 0, "width": 8}  # fmt: skip
    return Index(**(members | given))  # type: ignore[arg-type]


async def test_an_index_that_was_half_built_is_found(store: Store, sql: asyncpg.Connection) -> None:
    """As CREATE INDEX CONCURRENTLY leaves one that was cut short."""
    await sql.execute("CREATE TABLE twice AS SELECT 1 AS x FROM generate_series(1, 2)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await sql.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON twice (x)")
    (found,) = await findings(store, sql)
    assert (found.kind, found.what) == ("invalid_index", "once")


async def test_a_bloated_index_is_found_until_it_is_built_anew(store: Store, sql: asyncpg.Connection) -> None:
    """Most of its rows are gone, and the room is not."""
    limits = Limits(bloat_bytes=500_000)
    await sql.execute("INSERT INTO landings SELECT md5(n::text) || md5(n::text), n FROM generate_series(1, 30000) n")
    await sql.execute("VACUUM ANALYZE landings")
    assert await findings(store, sql, limits) == []
    await sql.execute("DELETE FROM landings WHERE slot % 10 > 0")
    await sql.execute("VACUUM ANALYZE landings")
    (found,) = await findings(store, sql, limits)
    assert (found.kind, found.what) == ("bloated_index", "landings_pkey")
    assert await findings(store, sql) == []
    await sql.execute(found.mend)
    await sql.execute("VACUUM ANALYZE landings")
    assert await findings(store, sql, limits) == []


async def test_a_table_that_grew_since_it_was_counted_is_not_bloated(store: Store, sql: asyncpg.Connection) -> None:
    """As after a replay: nobody counts a table again that fast."""
    fill = "INSERT INTO landings SELECT md5(n::text) || md5(n::text), n FROM generate_series({}, {}) n"
    await sql.execute("ALTER TABLE landings SET (autovacuum_enabled = FALSE)")
    await sql.execute(fill.format(1, 3_000))
    await sql.execute("VACUUM ANALYZE landings")
    await sql.execute(fill.format(3_001, 60_000))
    assert await findings(store, sql, Limits(bloat_bytes=500_000)) == []


def test_unused_indexes_are_counted_over_all_pieces() -> None:
    """One scan of one piece is use; those that keep rows unique are in use anyway; small ones cost little."""
    found = list(
        verify.unused(
            [
                index(name="used"), index(name="used_1", piece="p1", scans=1, bytes=9_000),
                index(name="idle", shape="hash (y)"), index(name="idle_1", shape="hash (y)", piece="p1", bytes=600),
                index(name="idle_2", shape="hash (y)", piece="p2", bytes=600),
                index(name="key", shape="UNIQUE btree (z)", is_unique=True, bytes=9_000),
                index(name="small", shape="btree (w)", bytes=10),
            ],
            Limits(unused_bytes=1_000), NEWEST,
        )
    )  # fmt: skip
    assert [(one.kind, one.what) for one in found] == [("unused_index", "idle")]
    assert "2026-09-21" in found[0].detail


async def test_an_index_that_nobody_uses_for_long_is_told(store: Store, sql: asyncpg.Connection, written: None) -> None:
    """Long is a month; here it is no time at all."""
    found = await findings(store, sql, Limits(unused_bytes=0, unused_for=timedelta(0)))
    names = {one.what for one in found if one.kind == "unused_index"}
    assert {"transactions_trader", "faults_unresolved"} <= names
    assert "transactions_pkey" not in names


@pytest.mark.parametrize(
    ("pieces", "missing_from"),
    [
        ([0, 1], None),
        ([-3, 0, 1, 2], None),
        ([0], "2026-09-22 00:00"),
        ([-1, 0, 2], "2026-09-22 00:00"),
        ([-1], "2026-09-21 13:00"),
        ([], "2026-09-21 13:00"),
    ],
)
def test_partitions_ahead(pieces: list[int], missing_from: str | None) -> None:
    """One whole partition has to follow that of the newest trade, without a gap."""
    found = list(verify.ahead(NEWEST, [(MIDNIGHT + DAY * day, MIDNIGHT + DAY * (day + 1)) for day in pieces]))
    assert [one.kind for one in found] == ([] if missing_from is None else ["missing_partition"])
    if missing_from is not None:
        assert f"from {missing_from} on" in found[0].detail


async def test_a_partition_that_is_not_there_is_missed(store: Store, sql: asyncpg.Connection, written: None) -> None:
    """On plain PostgreSQL; TimescaleDB makes its chunks when they are needed."""
    day = await sql.fetchval("SELECT max(block_time)::date + 1 FROM transactions")
    await sql.execute(f"DROP TABLE IF EXISTS transactions_p{day:%Y%m%d}")
    kinds = [found.kind for found in await findings(store, sql)]
    assert kinds == (["missing_partition"] if store.edition == "plain" else [])


async def test_policies_that_do_not_do_their_work(store: Store, sql: asyncpg.Connection, written: None) -> None:
    """Missing, failed, switched off, behind. Only the community edition has policies."""
    if store.edition != "timescale":
        with pytest.raises((asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError)):
            await sql.execute("SELECT add_retention_policy('transactions', INTERVAL '90 days')")
        assert await findings(store, sql, rules=Rules()) == []
        return
    assert [(found.kind, found.what) for found in await findings(store, sql, rules=Rules())] == [
        ("missing_policy", "transactions")
    ]
    await sql.execute(
        "ALTER TABLE transactions SET (timescaledb.compress, timescaledb.compress_orderby = 'block_time')"
    )
    job = await sql.fetchval(
        "SELECT add_compression_policy('transactions', INTERVAL '7 days', initial_start => now() + INTERVAL '1 day')"
    )
    assert await findings(store, sql, rules=Rules()) == []
    await sql.execute("UPDATE _timescaledb_catalog.chunk SET creation_time = now() - INTERVAL '9 days'")
    behind = datetime.now(UTC) - datetime.fromtimestamp(BLOCK_TIME, UTC) > timedelta(days=12)
    assert [found.kind for found in await findings(store, sql, rules=Rules())] == (
        ["uncompressed_chunks"] if behind else []
    )
    await sql.execute("SELECT count(compress_chunk(c)) FROM show_chunks('transactions') c")
    assert await findings(store, sql, rules=Rules()) == []
    await sql.execute("SELECT alter_job($1, scheduled => FALSE)", job)
    (found,) = await findings(store, sql, rules=Rules())
    assert (found.kind, str(job) in found.what, "transactions" in found.what) == ("paused_policy", True, True)
    await sql.execute(found.mend)
    assert await sql.execute(_FAIL, job) == "UPDATE 1"
    (found,) = await findings(store, sql, rules=Rules())
    assert (found.kind, str(job) in found.mend) == ("failed_policy", True)


async def test_what_a_migration_arranges_is_well(store: Store, sql: asyncpg.Connection, written: None) -> None:
    """Of a database to which no daemon has come yet."""
    await upkeep.arrange(store, Config())
    assert await findings(store, sql, rules=upkeep.rules_of(Config())) == []


async def test_what_the_daemon_arranges_is_well(store: Store, sql: asyncpg.Connection, written: None) -> None:
    """And another age than was told is found, of trades and candles alike."""
    rules = Rules(compress_candles_after=30 * DAY)
    await lifecycle.arrange(sql, await store.check(), rules)
    assert await findings(store, sql, rules=rules) == []
    changed = Rules(compress_trades_after=3 * DAY, compress_candles_after=None)
    found = await findings(store, sql, rules=changed)
    expected = {"transactions", *(f"candles_{level}" for level in LEVELS)} if store.edition == "timescale" else set()
    assert ({one.what for one in found}, {one.kind for one in found} <= {"missing_policy"}) == (expected, True)


# As the scheduler notes a run that failed.
_FAIL = """
UPDATE _timescaledb_internal.bgw_job_stat
   SET last_start = now(), last_finish = now(), next_start = now() + INTERVAL '1 day', last_run_success = FALSE,
       total_runs = 1, total_failures = 1, consecutive_failures = 1
 WHERE job_id = $1
"""

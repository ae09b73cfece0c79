"""A plain database moves to TimescaleDB: every row stays, wherever it is cut short, and it is as if made there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from monitor.config import ENVIRONMENT
from monitor.errors import AlreadyRunning, SchemaMismatch, StoreUnavailable
from monitor.store import migrate, move
from monitor.store.batch import Batch, Hole, Progress, Settled
from monitor.store.candles import Candles
from monitor.store.edition import EDITIONS
from monitor.store.store import Store
from tests.store.facts import (
    BLOCK_TIME,
    MINT,
    SLOT,
    curve_complete,
    fault,
    graduation,
    launch,
    pool_created,
    swap,
    trade,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests import postgres

pytestmark = pytest.mark.ci

DAY = 86_400
PATIENCE_S = 60
_IS_AVAILABLE = "SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'timescaledb'"
_TABLES = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = ANY('{r,p}') AND NOT c.relispartition
   AND c.relname <> 'schema_migrations' AND c.relname !~ '^candles_kept_'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
_CANDLES = "SELECT viewname::text FROM pg_views WHERE schemaname = 'public' AND viewname ~ '^(price|token)_candles_'"
_SHAPE = """
SELECT 'column', format('%s.%s %s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                        a.attidentity, pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = ANY('{r,p,v}') AND a.attnum > 0
 UNION ALL SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public'
 UNION ALL SELECT 'view', viewname || definition FROM pg_views WHERE schemaname = 'public'
 UNION ALL SELECT 'constraint', format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace
 UNION ALL SELECT 'function', p.oid::regprocedure::text || p.prosrc FROM pg_proc p
            WHERE pronamespace = 'public'::regnamespace
              AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
 UNION ALL SELECT 'schema', nspname::text FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast_temp)'
 UNION ALL SELECT 'hypertable', format('%s %s', hypertable_name, compression_enabled)
             FROM timescaledb_information.hypertables
 UNION ALL SELECT 'step', format('%s %s %s %s', number, name, edition, checksum) FROM schema_migrations
"""
_COLUMNS = """
SELECT attname::text AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
 WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
_VALUES = {
    "smallint": "3", "bigint": "5", "numeric": "7", "text": "'x'", "boolean": "TRUE", "jsonb": "'{}'", "bytea": "'x'",
    "timestamp with time zone": "to_timestamp(1)", "uuid": "gen_random_uuid()", "bigint[]": "ARRAY[1, 2, 3]",
}  # fmt: skip

Rows = dict[str, list[str]]


class Killed(Exception):  # noqa: N818 - it is what happened
    """Of a test's making: the process is gone at this place."""


@pytest.fixture
async def connection(server: postgres.Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server's own database; skips the test where the server has no TimescaleDB."""
    connection = await asyncpg.connect(server.url)
    try:
        if not await connection.fetchval(_IS_AVAILABLE):
            pytest.skip("needs a server with TimescaleDB (TEST_DATABASE_URL)")
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def plain_url(connection: asyncpg.Connection, database_url: str) -> str:
    """A database with a plain schema and with rows in each table, in which TimescaleDB was made since."""
    await execute(database_url, "DROP EXTENSION IF EXISTS timescaledb")
    async with await Store.open(database_url) as store:
        await store.migrate("plain")
        await store.lock()
        await fill(store)
    await keep_candles(database_url)
    await fill_the_rest(database_url)
    await execute(database_url, "CREATE EXTENSION timescaledb")
    return database_url


async def execute(url: str, *statements: str) -> None:
    """Run statements in a session of their own, as a first one that makes or drops the extension wants it."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fill(store: Store) -> None:
    """Write what a market tells in days that are far apart, with a fork, holes and what could not be read."""
    for day in (-20_000, -400, -1, 0, 1):
        at = BLOCK_TIME + day * DAY
        slot = SLOT + day
        trades = [
            (swap if n % 2 else trade)(signature=f"{day}-{n}", block_time=at + n, slot=slot, index=n) for n in range(40)
        ]
        await store.write(Batch([*trades, fault(signature=f"f{day}", block_time=at, slot=slot)]))
    facts = [launch(), curve_complete(signature="c"), graduation(signature="g"), pool_created(signature="p")]
    holes = [Hole(first_slot=SLOT + 5, last_slot=SLOT + 6, reason="closed", feed="logs")]
    await store.write(Batch(facts, holes=holes, progress=[Progress(feed="logs", slot=SLOT)]))
    await store.write(Batch(settled=[Settled(slot=SLOT + 1, signatures=())]))


async def keep_candles(url: str) -> None:
    """Keep what is old enough, and drop the oldest trades: their candles are all that is left of them."""
    connection = await asyncpg.connect(url)
    newest = await connection.fetchval("SELECT max(block_time) FROM transactions")
    await Candles("plain").refresh(connection, newest)
    horizon = await connection.fetchval("SELECT date_trunc('day', $1::timestamptz, 'UTC')", newest - timedelta(days=30))
    await connection.execute("UPDATE lifecycle SET trades_from = $1", horizon)
    dropped = await connection.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'transactions'::regclass ORDER BY 1 LIMIT 5"
    )
    for (name,) in dropped:
        await connection.execute(f"DROP TABLE {name}")
    await connection.close()


async def fill_the_rest(url: str) -> None:
    """Put a row of any values into each table that a market left empty."""
    connection = await asyncpg.connect(url)
    for (table,) in await connection.fetch(_TABLES):
        if await connection.fetchval(f"SELECT count(*) FROM {table}") == 0:
            columns = await connection.fetch(_COLUMNS, table)
            names = ", ".join(column["name"] for column in columns)
            values = ", ".join(_VALUES[column["type"]] for column in columns)
            await connection.execute(f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({values})")
    await connection.close()


async def rows(url: str) -> Rows:
    """Return every row of every table, and every candle as consumers see it, wherever it is kept."""
    connection = await asyncpg.connect(url)
    try:
        return {
            table: sorted(repr(sorted(row.items())) for row in await connection.fetch(f"SELECT * FROM {table}"))
            for (table,) in [*await connection.fetch(_TABLES), *await connection.fetch(_CANDLES)]
        }
    finally:
        await connection.close()


async def shape(url: str) -> list[tuple[str, str]]:
    """Return all that a schema consists of."""
    connection = await asyncpg.connect(url)
    try:
        return sorted((kind, text) for kind, text in await connection.fetch(_SHAPE))
    finally:
        await connection.close()


async def count_pieces(url: str) -> int:
    """Return how many partitions or chunks the trades have."""
    connection = await asyncpg.connect(url)
    try:
        return int(
            await connection.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'transactions'::regclass")
        )
    finally:
        await connection.close()


async def to_timescale(url: str) -> list[str]:
    """Move a database and return what was told."""
    told: list[str] = []
    async with await Store.open(url) as store:
        await store.migrate_to_timescale(told.append)
    return told


async def test_every_row_stays_and_the_schema_is_as_if_made_there(plain_url: str, server: postgres.Server) -> None:
    """Nothing is left of the plain one; ids go on where they were; a second time there is nothing to do."""
    before = await rows(plain_url)
    assert all(before.values()), "a table is empty: its move would show nothing"
    pieces = await count_pieces(plain_url)
    told = await to_timescale(plain_url)
    assert await rows(plain_url) == before
    async with server.database() as fresh, await Store.open(fresh) as other:
        await other.migrate()
        assert await shape(plain_url) == await shape(fresh)
    assert sum("transactions_p" in line for line in told) == pieces > 5
    assert await count_pieces(plain_url) == 3
    assert await to_timescale(plain_url) == []
    async with await Store.open(plain_url) as store:
        await store.lock()
        assert store.edition in ("apache", "timescale")
        written = await store.write(
            Batch([launch(mint="Other", pool="Elsewhere", signature="n"), fault(signature="n")])
        )
        assert len(written.new) == 2
        # What was stored before is known, not stored again.
        assert len((await store.write(Batch([trade(signature="0-0", index=0)]))).duplicates) == 1
    after = await rows(plain_url)
    for table in ("transactions", "holes", "changes"):
        assert set(before[table]) <= set(after[table])


async def test_candles_outlive_their_trades_and_the_move(plain_url: str) -> None:
    """Those of days whose trades are gone stay, also when all is made anew that can be; the others are as they were."""
    before = await rows(plain_url)
    await to_timescale(plain_url)
    connection = await asyncpg.connect(plain_url)
    days = "SELECT count(DISTINCT date_trunc('day', {}, 'UTC')) FROM {}"
    kept, traded = [
        await connection.fetchval(days.format(*what))
        for what in (("bucket", "price_candles_1d"), ("block_time", "transactions WHERE voided_at IS NULL"))
    ]
    assert (kept, traded) == (4, 2)
    await connection.execute(
        "INSERT INTO stale_candles (first_time, last_time) SELECT '1960-01-01+00', max(block_time) FROM transactions"
    )
    edition = await migrate.check(connection)
    newest = await connection.fetchval("SELECT max(block_time) FROM transactions")
    await Candles(edition).refresh(connection, newest)
    await connection.close()
    after = await rows(plain_url)
    candles = [name for name in before if "_candles_" in name]
    assert len(candles) == 14
    assert {name: after[name] for name in candles} == {name: before[name] for name in candles}


async def test_killed_between_any_two_steps_it_goes_on(plain_url: str) -> None:
    """After each transaction that it commits; until it is done, nobody takes the database for a whole one."""
    before = await rows(plain_url)
    runs = 0
    while await cut_short(plain_url, after_commits=1):
        runs += 1
        await _is_refused(plain_url)
    assert runs > len(before)
    assert await rows(plain_url) == before
    async with await Store.open(plain_url) as store:
        assert await store.check() in ("apache", "timescale")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_killed_anywhere_it_goes_on(plain_url: str, seed: int) -> None:
    """Before any statement, those inside of a transaction included."""
    before = await rows(plain_url)
    chance = random.Random(seed)
    # At the end all rights are given in one transaction, by a statement each.
    while await cut_short(plain_url, after_statements=chance.randrange(1, 1_500)):
        pass
    assert await rows(plain_url) == before
    async with await Store.open(plain_url) as store:
        assert await store.check() in ("apache", "timescale")


async def cut_short(url: str, *, after_commits: int = 1 << 30, after_statements: int = 1 << 30) -> bool:
    """Move a database with a connection that breaks after so much, and tell whether it did."""
    left = {"commits": after_commits, "statements": after_statements}

    class Breaking(asyncpg.Connection):  # type: ignore[misc]
        def _count(self, statement: str) -> None:
            if min(left.values()) <= 0:
                self.terminate()
                raise Killed(statement)
            left["statements"] -= 1
            left["commits"] -= statement == "COMMIT;"

        async def execute(self, query: str, *arguments: Any, **options: Any) -> str:
            self._count(query)
            done: str = await super().execute(query, *arguments, **options)
            return done

        async def fetch(self, query: str, *arguments: Any, **options: Any) -> Any:
            self._count(query)
            return await super().fetch(query, *arguments, **options)

        async def fetchrow(self, query: str, *arguments: Any, **options: Any) -> Any:
            self._count(query)
            return await super().fetchrow(query, *arguments, **options)

        async def fetchval(self, query: str, *arguments: Any, **options: Any) -> Any:
            self._count(query)
            return await super().fetchval(query, *arguments, **options)

    connection = await asyncpg.connect(
        url,
        connection_class=Breaking,
        server_settings={"application_name": "launch-monitor migrate", "timezone": "UTC"},
    )
    try:
        await move.to_timescale(connection, lambda _: None)
    except (Killed, StoreUnavailable):
        return True
    finally:
        connection.terminate()
        await _gone(url)
    return False


async def _gone(url: str) -> None:
    """Return once the server has noticed: what was not committed is undone then."""
    watcher = await asyncpg.connect(url)
    async with asyncio.timeout(PATIENCE_S):
        while await watcher.fetchval(
            "SELECT count(*) > 0 FROM pg_stat_activity"
            " WHERE application_name = 'launch-monitor migrate' AND datname = current_database()"
        ):
            pass
    await watcher.close()


async def _is_refused(url: str) -> None:
    connection = await asyncpg.connect(url)
    is_moving = await migrate.is_moving(connection)
    await connection.close()
    if not is_moving:
        return
    async with await Store.open(url) as store:
        for refused in (store.check, store.lock, store.migrate):
            with pytest.raises(SchemaMismatch, match="half-way") as caught:
                await refused()
            assert "--to-timescale" in (caught.value.mend or "")


async def test_killed_with_kill_9_it_goes_on(plain_url: str) -> None:
    """The command itself, ended by the system in the middle."""
    before = await rows(plain_url)
    watcher = await asyncpg.connect(plain_url)
    running = await _command(plain_url)
    async with asyncio.timeout(PATIENCE_S):
        while not await migrate.is_moving(watcher) and running.returncode is None:
            pass
    running.kill()
    await running.communicate()
    assert running.returncode == -9
    await watcher.close()
    await _gone(plain_url)
    again = await _command(plain_url)
    out, errors = (text.decode() for text in await again.communicate())
    assert again.returncode == 0, errors
    assert "moved tokens: " in out
    assert await rows(plain_url) == before


async def _command(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", "migrate", "--to-timescale",
        env={**os.environ, f"{ENVIRONMENT}DATABASE__URL": url}, stdout=-1, stderr=-1,
    )  # fmt: skip


async def test_it_is_refused_while_a_daemon_writes(plain_url: str) -> None:
    """Nothing is touched; once the daemon is gone it works."""
    before = await rows(plain_url)
    async with await Store.open(plain_url) as daemon:
        await daemon.lock()
        with pytest.raises(AlreadyRunning, match="writes to this database") as caught:
            await to_timescale(plain_url)
        assert "stop the daemon" in (caught.value.mend or "")
        assert len((await daemon.write(Batch([trade(signature="more", index=99)]))).new) == 1
    await _gone(plain_url)
    await to_timescale(plain_url)
    assert len((await rows(plain_url))["transactions"]) == len(before["transactions"]) + 1


async def test_it_is_refused_without_the_extension(plain_url: str) -> None:
    """The message says what to run; the database is as it was, and works."""
    await execute(plain_url, "DROP EXTENSION timescaledb")
    before = await rows(plain_url)
    with pytest.raises(SchemaMismatch, match="lacks the extension") as caught:
        await to_timescale(plain_url)
    assert "CREATE EXTENSION timescaledb" in (caught.value.mend or "")
    assert await rows(plain_url) == before
    async with await Store.open(plain_url) as store:
        assert await store.check() == "plain"


async def test_what_others_made_of_our_tables_is_not_destroyed(plain_url: str) -> None:
    """Views, foreign keys and triggers of theirs are named, and nothing is done until they are out of the way."""
    await execute(
        plain_url,
        "CREATE SCHEMA theirs",
        "CREATE VIEW theirs.mine AS SELECT count(*) FROM transactions",
        "CREATE TABLE notes (mint TEXT REFERENCES tokens (mint))",
        "CREATE FUNCTION noticed() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER watch AFTER INSERT ON batches EXECUTE FUNCTION noticed()",
        "INSERT INTO notes SELECT mint FROM tokens LIMIT 1",
    )
    with pytest.raises(SchemaMismatch, match=r"foreign key notes_mint_fkey .*trigger watch .*view theirs.mine"):
        await to_timescale(plain_url)
    async with await Store.open(plain_url) as store:
        assert await store.check() == "plain"
    await execute(
        plain_url,
        "DROP VIEW theirs.mine",
        "ALTER TABLE notes DROP CONSTRAINT notes_mint_fkey",
        "DROP TRIGGER watch ON batches",
    )
    before = await rows(plain_url)
    await to_timescale(plain_url)
    assert await rows(plain_url) == before
    assert before["notes"] == [repr([("mint", MINT)])]


async def test_whoever_could_read_can_read(plain_url: str, connection: asyncpg.Connection) -> None:
    """Rights on tables and views are given again, and everything belongs to whom it belonged, whoever moves it."""
    await connection.execute("CREATE ROLE moved_owner")
    await connection.execute("CREATE ROLE moved_reader")
    try:
        name = urlsplit(plain_url).path[1:]
        tables = [*await rows(plain_url), "schema_migrations", "recent_trades"]
        await execute(
            plain_url,
            "GRANT USAGE, CREATE ON SCHEMA public TO moved_owner",
            "GRANT CREATE ON DATABASE " + name + " TO moved_owner",
            *(f"ALTER TABLE {table} OWNER TO moved_owner" for table in tables),
            "GRANT SELECT ON tokens, recent_trades, transactions TO moved_reader",
            "GRANT UPDATE ON faults TO PUBLIC",
        )
        await to_timescale(plain_url)
        reader = await asyncpg.connect(plain_url)
        owners = await reader.fetch(
            f"SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname IN ({names(tables)})"
        )
        assert [row[0] for row in owners] == ["moved_owner"]
        await reader.execute("SET ROLE moved_reader")
        for table in ("tokens", "transactions", "recent_trades"):
            assert await reader.fetch(f"SELECT * FROM {table}")
        await reader.execute("UPDATE faults SET reason = DEFAULT WHERE FALSE")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.fetch("SELECT * FROM pools")
        await reader.close()
    finally:
        await execute(plain_url, "DROP OWNED BY moved_owner, moved_reader CASCADE")
        await connection.execute("DROP ROLE moved_owner, moved_reader")


def names(tables: list[str]) -> str:
    """Return names as a list in SQL."""
    return ", ".join(f"'{table}'" for table in tables)


async def test_a_table_without_a_place_is_kept(plain_url: str, tmp_path: Any) -> None:
    """The move stops before rows that the new schema has no place for, and goes on once something takes them."""
    folder = tmp_path
    for path in migrate.migrations_dir().glob("*.sql"):
        (folder / path.name).write_bytes(path.read_bytes())
    number = max(step.number for step in migrate.read(folder)) + 1
    (folder / f"{number:04}_kept.apache-timescale.sql").write_text("CREATE TABLE elsewhere (id BIGINT);")
    (folder / f"{number:04}_kept.plain.sql").write_text("CREATE TABLE kept AS SELECT generate_series(1, 5) AS id;")

    async def run(places: dict[str, Any]) -> None:
        connection = await asyncpg.connect(plain_url)
        try:
            await move.to_timescale(connection, lambda _: None, folder=folder, places=places)
        finally:
            await connection.close()

    async def place(_: asyncpg.Connection) -> str:
        return "elsewhere"

    with pytest.raises(SchemaMismatch, match="no place for 5 rows"):
        await run({**move.PLACES})
    await run({**move.PLACES, "kept": place})
    assert len((await rows(plain_url))["elsewhere"]) == 5


async def test_values_that_change_on_the_way_stop_the_move(plain_url: str) -> None:
    """Each row is looked at where it came to be: as many rows are not enough."""
    before = await rows(plain_url)
    with contextlib.suppress(Killed):
        await cut_short(plain_url, after_commits=2 + len(migrate.read(migrate.migrations_dir())))
    await execute(
        plain_url,
        "CREATE FUNCTION spoil() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN NEW.name = ''other''; RETURN NEW; END'",
        "CREATE TRIGGER spoil BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION spoil()",
    )
    with pytest.raises(SchemaMismatch, match="other values"):
        await to_timescale(plain_url)
    await execute(plain_url, "DROP TRIGGER spoil ON tokens", "DROP FUNCTION spoil")
    await to_timescale(plain_url)
    assert await rows(plain_url) == before


def test_every_name_that_the_steps_make_is_found() -> None:
    """Those that loops put together too."""
    made = migrate.made_by(
        [migrate.Migration(1, "x", EDITIONS, "CREATE TABLE a (b INT);\n  CREATE OR REPLACE VIEW c_%1$s AS SELECT;")]
    )
    assert all(made.fullmatch(name) for name in ("a", "c_1m", "schema_migrations"))
    assert not any(made.fullmatch(name) for name in ("b", "c_", "ab"))

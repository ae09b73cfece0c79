"""TimescaleDB that is there by halves: a clear word with its mend, and nothing half-applied. Most of it needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor.errors import SchemaMismatch
from monitor.store import edition, migrate
from monitor.store.edition import Offer, look
from monitor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_COMMUNITY = """-- no-transaction
CREATE TABLE IF NOT EXISTS seen (at TIMESTAMPTZ NOT NULL);
SELECT create_hypertable('seen', 'at', if_not_exists => TRUE);
CREATE MATERIALIZED VIEW IF NOT EXISTS daily WITH (timescaledb.continuous) AS
SELECT time_bucket(INTERVAL '1 day', at) AS day, count(*) AS n FROM seen GROUP BY 1 WITH NO DATA;
"""


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with the extension; skips the test where the server has none."""
    connection = await asyncpg.connect(database_url)
    try:
        if not await connection.fetchval("SELECT count(*) > 0 FROM pg_extension WHERE extname = 'timescaledb'"):
            pytest.skip("needs a server with TimescaleDB (TEST_DATABASE_URL)")
        yield connection
    finally:
        await connection.close()


@pytest.mark.ci
async def test_loaded_but_not_made_in_this_database(sql: asyncpg.Connection, database_url: str) -> None:
    """Nobody gets a plain schema by oversight; who wants one says so, once."""
    await sql.execute("DROP EXTENSION timescaledb")
    async with await Store.open(database_url) as store:
        with pytest.raises(SchemaMismatch, match="lacks the extension") as caught:
            await store.migrate()
        assert "CREATE EXTENSION timescaledb" in (caught.value.mend or "")
        assert "migrate --plain" in (caught.value.mend or "")
        assert await sql.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert len(await store.migrate("plain")) > 0
        assert await store.migrate() == []
        assert await store.check() == "plain"


@pytest.mark.ci
async def test_made_after_it_was_asked_for(sql: asyncpg.Connection, database_url: str) -> None:
    """What the message says is what helps."""
    await sql.execute("DROP EXTENSION timescaledb")
    async with await Store.open(database_url) as store:
        with pytest.raises(SchemaMismatch):
            await store.migrate()
    made = await asyncpg.connect(database_url)
    await made.execute("CREATE EXTENSION timescaledb")
    await made.close()
    async with await Store.open(database_url) as store:
        await store.migrate()
        assert await store.check() in ("apache", "timescale")


@pytest.mark.ci
async def test_a_community_feature_that_the_licence_refuses(sql: asyncpg.Connection, tmp_path: Path) -> None:
    """The step says so, is not noted as taken, and what came before stays; the community edition takes it."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE before_it (id BIGINT);")
    (tmp_path / "0002_daily.sql").write_text(_COMMUNITY)
    if (await look(sql)).edition == "timescale":
        assert [step.number for step in await migrate.apply(sql, tmp_path)] == [1, 2]
        return
    with pytest.raises(SchemaMismatch, match=r"0002_daily.*license") as caught:
        await migrate.apply(sql, tmp_path)
    assert "timescaledb.license = 'timescale'" in (caught.value.mend or "")
    assert await sql.fetchval("SELECT max(number) FROM schema_migrations") == 1


@pytest.mark.ci
async def test_a_schema_that_the_licence_bears_no_more(
    sql: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema of the community edition on a server that was set to the Apache licence, or is Debian's."""
    async with await Store.open(database_url) as store:
        await store.migrate()
        await sql.execute("UPDATE schema_migrations SET edition = 'timescale'")
        # A licence is set for a whole server: a community one stands in for one that is not.
        monkeypatch.setattr(
            edition, "_LOOK", edition._LOOK.replace("current_setting('timescaledb.license', TRUE)", "'apache'")
        )
        for refused in (store.check, store.migrate, store.lock):
            with pytest.raises(SchemaMismatch, match="licence refuses") as caught:
                await refused()
            assert "community edition" in (caught.value.mend or "")


@pytest.mark.ci
async def test_a_version_that_is_too_old(
    sql: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this program wanted a newer one than there is."""
    monkeypatch.setattr(edition, "OLDEST_TIMESCALE", (1000, 1))
    async with await Store.open(database_url) as store:
        with pytest.raises(SchemaMismatch, match="is too old") as caught:
            await store.migrate()
        assert "install 1000.1 or later, and run ALTER EXTENSION timescaledb UPDATE" in (caught.value.mend or "")
        assert await sql.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert len(await store.migrate("plain")) > 0


@pytest.mark.parametrize(
    ("offer", "edition", "word"),
    [
        (Offer("plain", None, is_preloaded=False), "apache", "lacks"),
        (Offer("plain", None, is_preloaded=True), "timescale", "lacks"),
        (Offer("apache", "2.18.2", is_preloaded=True), "apache", "2.18.2 is too old"),
        (Offer("apache", "2.30.0-dev", is_preloaded=False), "apache", "started without it"),
        (Offer("apache", "2.19.3", is_preloaded=True), "timescale", "licence"),
    ],
)
def test_what_a_server_must_offer(offer: Offer, edition: edition.Edition, word: str) -> None:
    """Each edition wants no more than it uses."""
    with pytest.raises(SchemaMismatch, match=word):
        offer.bear(edition)
    offer.bear("plain")
    Offer("timescale", "2.30.0-dev", is_preloaded=True).bear(edition)

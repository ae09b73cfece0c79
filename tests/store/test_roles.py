"""Owner, writer, reader: each can do its part, and nothing else."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from monitor.errors import ConfigError
from monitor.store.batch import Batch, Progress, Settled
from monitor.store.store import Store
from tests.store.facts import BLOCK_TIME, SLOT, fault, graduation, launch, trade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests import postgres

DAY = 86_400
CHANGES = (
    "CREATE TABLE mine (x BIGINT)",
    "ALTER TABLE tokens ADD COLUMN mine BIGINT",
    "DROP VIEW graduations",
    "DROP TABLE transactions CASCADE",
    "TRUNCATE tokens",
    "CREATE INDEX mine ON tokens (name)",
    "UPDATE schema_migrations SET checksum = ''",
    "DELETE FROM schema_migrations",
    "ALTER TABLE tokens OWNER TO CURRENT_USER",
    "CREATE ROLE mine",
    "COPY tokens TO PROGRAM 'true'",
)
WRITES = ("INSERT INTO mints (address) VALUES ('x')", "UPDATE tokens SET name = 'x'", "DELETE FROM transactions",
          "SELECT nextval(pg_get_serial_sequence('mints', 'id'))")  # fmt: skip
_RELATIONS = """
SELECT oid::regclass::text FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY 1
"""


class Logins(NamedTuple):
    """URLs of one database, for each role, and for the server's superuser."""

    owner: str
    writer: str
    reader: str
    superuser: str
    names: dict[str, str]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def logins(server: postgres.Server) -> AsyncIterator[Logins]:
    """A database that a plain login owns and has migrated; two more have what they need of the roles."""
    names = {role: f"test_{role}_{uuid.uuid4().hex[:12]}" for role in ("owner", "writer", "reader")}
    async with connected(server.url) as first:
        for role in ("writer", "reader"):
            await first.execute(_MAKE_ROLE.format(f"launch_monitor_{role}"))
        for name in names.values():
            await first.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    async with server.database() as url, connected(url) as superuser:
        urls = {role: as_user(url, name) for role, name in names.items()}
        await superuser.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} OWNER TO {names['owner']}")
        for role in ("writer", "reader"):
            await superuser.execute(f"GRANT launch_monitor_{role} TO {names[role]}")
        async with await Store.open(urls["owner"]) as store:
            await store.migrate()
        yield Logins(urls["owner"], urls["writer"], urls["reader"], url, names)
        await superuser.execute(f"DROP OWNED BY {', '.join(names.values())} CASCADE")
        await superuser.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} OWNER TO CURRENT_USER")
    async with connected(server.url) as first:
        await first.execute(f"DROP ROLE {', '.join(names.values())}")


# Roles outlive databases: another test may have made it, or be making it.
_MAKE_ROLE = """
DO $$ BEGIN
    CREATE ROLE {} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""


def as_user(url: str, name: str) -> str:
    """Return a URL with another user."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:x@{parts.netloc.rpartition('@')[2]}"))


async def refused(connection: asyncpg.Connection, statements: tuple[str, ...]) -> set[str]:
    """Return those of the statements for which the right is lacking; whatever they did is undone."""
    found = set()
    for statement in statements:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            found.add(statement)
        finally:
            await transaction.rollback()
    return found


async def test_the_owner_makes_the_tables_and_writes(logins: Logins) -> None:
    """It is no superuser, makes no roles, and runs no programs of the server."""
    async with await Store.open(logins.owner) as store:
        await store.lock()
        await store.write(Batch([launch(), trade()]))
    async with connected(logins.owner) as connection:
        assert await refused(connection, CHANGES) == {"CREATE ROLE mine", "COPY tokens TO PROGRAM 'true'"}
        assert await refused(connection, WRITES) == set()


async def test_the_reader_reads_everything(logins: Logins) -> None:
    """Tables, views, partitions, those to come as well; and changes nothing."""
    async with await Store.open(logins.owner) as store:
        await store.lock()
        await store.write(Batch([launch(), trade(), graduation()]))
    async with connected(logins.owner) as owner:
        await owner.execute("CREATE TABLE later (x BIGINT)")
    async with connected(logins.reader) as reader:
        relations = [row[0] for row in await reader.fetch(_RELATIONS)]
        assert {"transactions", "recent_trades", "later", "schema_migrations"} <= set(relations)
        for relation in relations:
            await reader.fetch(f"SELECT * FROM {relation}")
        assert await refused(reader, CHANGES) == set(CHANGES)
        assert await refused(reader, WRITES) == set(WRITES)
    async with await Store.open(logins.reader) as store:
        await store.check()
        assert (await store.status()).launches == 1
        with pytest.raises(ConfigError, match="holes"):
            await store.file_hole(1, 2, "test")


async def test_the_writer_writes_rows_and_changes_no_table(logins: Logins) -> None:
    """All that a batch writes, in pieces of time that are there; holes and requests."""
    async with await Store.open(logins.owner) as store:
        await store.lock()
        await store.write(Batch([trade(signature="first")]))
    async with await Store.open(logins.writer) as store:
        await store.check()
        await store.lock()
        facts = [launch(), trade(signature="vanishes"), fault(), graduation()]
        await store.write(Batch(facts, progress=[Progress(feed="logs", slot=SLOT, program="*")]))
        # A second copy takes the longer way, and what is on no chain is undone.
        await store.write(Batch(facts))
        written = await store.write(Batch(settled=[Settled(slot=SLOT, signatures=("first",))]))
        assert "vanishes" in {fact.signature for fact in written.voided}
        await store.file_hole(1, 2, "test")
        await store.settle_request(await store.file_request("redecode", {}), {})
        await store.know_journal("j", 5)
        await store.forget_chain()
    async with connected(logins.writer) as writer:
        assert await refused(writer, CHANGES) == set(CHANGES)
        assert await refused(writer, WRITES) == set()


async def test_a_writer_that_may_become_the_owner_makes_pieces(logins: Logins) -> None:
    """TimescaleDB makes chunks for whoever writes. Partitions are made by the owner, and by whom it lets do so."""
    new_day = Batch([trade(block_time=BLOCK_TIME + 40 * DAY)])
    async with await Store.open(logins.writer) as store:
        await store.lock()
        if store.edition == "plain":
            with pytest.raises(ConfigError, match="permission denied"):
                await store.write(new_day)
            async with connected(logins.superuser) as superuser:
                if int(await superuser.fetchval("SHOW server_version_num")) < 160_000:
                    return  # it cannot let a role become another without having its rights all along
                names = logins.names
                await superuser.execute(f"GRANT {names['owner']} TO {names['writer']} WITH INHERIT FALSE, SET TRUE")
        await store.write(new_day)
    async with connected(logins.superuser) as superuser:
        owners = await superuser.fetch(
            "SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid"
            " WHERE h.inhparent = 'transactions'::regclass"
        )
    assert [row[0] for row in owners] == [logins.names["owner"]]
    async with connected(logins.writer) as writer:
        assert await refused(writer, CHANGES) == set(CHANGES)
    async with connected(logins.reader) as reader:
        assert await reader.fetchval("SELECT count(*) FROM transactions") == 1

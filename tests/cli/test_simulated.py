"""`run` without a node begins a market anew at each start, and so does what it says of it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from monitor import embedded
from monitor.config import ENVIRONMENT
from tests.cli.test_live import LIMIT_S, begin, end

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
_HOLE = "INSERT INTO holes (feed, program, first_slot, last_slot, reason) VALUES ('logs', '*', 1, 9, 'feed_away')"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shut out the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT)]:
        monkeypatch.delenv(name)


async def run_for_a_launch(state_dir: Path, *statements: str) -> list[asyncpg.Record]:
    """Run until a launch is printed, execute statements, end it, and return the holes as they were before."""
    process = await begin(state_dir, "run")
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        while b" launch " not in (line := await process.stdout.readline()):
            assert line
    found = embedded.addresses(state_dir.with_name(f"{state_dir.name}-simulated"))
    assert found is not None
    connection = await asyncpg.connect(found.database_url)
    try:
        holes: list[asyncpg.Record] = await connection.fetch("SELECT reason, filled_by FROM holes ORDER BY first_slot")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
    assert (await end(process, signal.SIGINT)).code == 0
    return holes


async def test_holes_of_the_last_market_are_given_up(state_dir: Path) -> None:
    """
    They could never be filled; and that it was away meanwhile leaves no hole, since nothing happened.

    The first run may leave others than the planted one: of transactions that it was fetching when it was stopped.
    """
    assert await run_for_a_launch(state_dir, _HOLE) == []
    holes = [tuple(hole) for hole in await run_for_a_launch(state_dir)]
    assert holes.count(("feed_away", "abandoned")) == 1
    assert set(holes) <= {("feed_away", "abandoned"), ("stopped_before_fetched", "abandoned")}

"""What is missing is listed and fetched, what is stored is held against the chain: commands at work on real servers."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from simulator.run import Simulator
from tests import postgres
from tests.cli import test_live as commands
from tests.e2e.truth import differences

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.cli.test_live import Ended

pytestmark = [pytest.mark.slow]

FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
TRADES = "SELECT count(*) FROM transactions"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server."""
    with postgres.start() as server:
        yield server


class Place:
    """A simulated node, and a migrated database of ours; commands know both."""

    def __init__(self, node: Simulator, connection: asyncpg.Connection, url: str, state: Path) -> None:
        self.node = node
        self.sql = connection
        self.url = url
        self._state = state
        self.settings = {
            "DATABASE__URL": url,
            "NODE__WS_URL": node.ws_url,
            "NODE__HTTP_URL": node.http_url,
            "FETCH__RATE_PER_S": "2000",
            "JOURNAL__DIR": str(state / "journal"),
        }

    async def call(self, *arguments: object, settings: dict[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        return await commands.call(self._state, *arguments, settings=self.settings | (settings or {}))

    async def begin(self, *arguments: object, settings: dict[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start a command."""
        return await commands.begin(self._state, *arguments, settings=self.settings | (settings or {}))

    async def until(self, query: str, enough: Any) -> None:
        """Go on with empty slots until a number that a query tells is enough."""
        async with asyncio.timeout(commands.LIMIT_S):
            while not enough(await self.sql.fetchval(query)):
                await self.node.idle_until(_once())

    async def differences(self) -> list[str]:
        """Return in what the database is not the simulator's ledger."""
        return await differences(self.url, self.node.export(), FOLLOWED)

    @asynccontextmanager
    async def daemon(self, start: str = "now") -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a daemon until the block ends, from its first subscription on."""
        process = await self.begin("ingest", settings={"START": start})
        try:
            async with asyncio.timeout(commands.LIMIT_S):
                await self.node.idle_until(
                    lambda: self.node.subscriptions > len(FOLLOWED) or process.returncode is not None
                )
            assert process.returncode is None
            yield process
        finally:
            ended = await commands.end(process, None if process.returncode is not None else signal.SIGTERM)
        print(ended.errors)  # noqa: T201 - pytest shows it where a test fails
        assert ended.code == 0


def _once() -> Any:
    """Return what says no once, and then yes."""
    answers = iter([False])
    return lambda: next(answers, True)


@pytest.fixture
async def place(server: postgres.Server, tmp_path: Path) -> AsyncIterator[Place]:
    """A node and a database."""
    async with server.database() as url, Simulator(seed=11) as node:
        connection = await asyncpg.connect(url)
        try:
            subject = Place(node, connection, url, tmp_path / "state")
            assert (await subject.call("migrate")).code == 0
            yield subject
        finally:
            await connection.close()


async def test_a_range_is_backfilled_without_a_daemon(place: Place) -> None:
    """Everything is there afterwards, the hole says by whom; a second time changes nothing."""
    await place.node.run_for(transactions=1_500)
    first, last = place.node.rules.first_slot, place.node.chain.tip("finalized")
    done = await place.call("backfill", "--from-slot", first, "--to-slot", last)
    assert (done.code, done.errors) == (0, "")
    assert "everything is there" in done.out
    assert await place.differences() == []
    count = await place.sql.fetchval(TRADES)
    assert (await place.call("backfill", "--from-slot", first, "--to-slot", last)).code == 0
    assert await place.sql.fetchval(TRADES) == count
    listed = json.loads((await place.call("holes", "--all", "--json")).out)
    assert {(hole["reason"], hole["filled_by"], hole["last_slot"]) for hole in listed["holes"]} == {
        ("backfill", "history", last)
    }
    assert listed["open_holes"] == listed["missing_slots"] == 0

"""What no feed told is fetched afterwards: the database equals the simulator's ledger, or says what it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from simulator.node import errors
from simulator.run import Simulator
from tests.e2e import daemon
from tests.e2e.truth import differences

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulator.chain import Block
    from tests.e2e.daemon import Commits

pytestmark = [pytest.mark.slow]

FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
SUBSCRIPTIONS = {"logs": len(FOLLOWED) + 1, "blocks": 1, "transactions": 2}
# The environment's own script: what these tests try is not the wheel.
PROGRAM = Path(sys.executable).with_name("launch-monitor")
OPEN = "SELECT count(*) FROM holes WHERE filled_at IS NULL"
# A slot that was final before its rows were stored is looked at once more, which depends on how fast the market runs.
HOLES = """
SELECT first_slot, last_slot, signature, reason, tries, last_error, filled_by FROM holes
 WHERE reason <> 'told_after_final' ORDER BY first_slot
"""


class Daemon:
    """A daemon that follows a simulator's node into a database."""

    def __init__(self, node: Simulator, feed: str, database_url: str, commits: Commits) -> None:
        self.node = node
        self._feed = feed
        self.commits = commits
        self._database_url = database_url

    async def subscribed(self) -> None:
        """Go on with empty slots until the daemon is subscribed."""
        async with asyncio.timeout(daemon.READY_S):
            await self.node.idle_until(lambda: self.node.subscriptions >= SUBSCRIPTIONS[self._feed])

    async def has_all(self) -> list[str]:
        """Wait until every trade is stored and every hole is filled; return what differs from the ledger then."""
        async with quiet(self.node):
            await self.commits.until("SELECT count(*) FROM transactions", self._trades().__le__)
            await self.commits.until(OPEN, (0).__eq__)
        return await self.differences()

    async def differences(self) -> list[str]:
        """Return what differs from the ledger."""
        return await differences(self._database_url, self.node.export(), FOLLOWED)

    def _trades(self) -> int:
        return sum(trade["venue"] in FOLLOWED for trade in self.node.export()["trades"])


@asynccontextmanager
async def following(
    node: Simulator, database_url: str, folder: Path, start: str, feed: str = "logs"
) -> AsyncIterator[Daemon]:
    """Run a daemon against a node until the block ends."""
    settings = {
        "node.ws_url": node.ws_url,
        "node.http_url": node.http_url,
        "node.feed": feed,
        "database.url": database_url,
        "fetch.rate_per_s": "2000",
        "metrics.listen": "",
        "start": start,
    }
    await daemon.command(PROGRAM, settings, "migrate")
    async with daemon.commits(database_url) as commits, contextlib.AsyncExitStack() as stack:
        await commits.connection.execute(
            "CREATE TRIGGER tell_hole AFTER INSERT OR UPDATE ON holes FOR EACH STATEMENT EXECUTE FUNCTION tell_commit()"
        )
        async with quiet(node):
            await stack.enter_async_context(daemon.ingest(PROGRAM, folder, settings))
        yield Daemon(node, feed, database_url, commits)


@asynccontextmanager
async def quiet(node: Simulator) -> AsyncIterator[None]:
    """Let the node go on with empty slots until the block ends."""
    is_over = asyncio.Event()
    idling = asyncio.create_task(node.idle_until(is_over.is_set))
    try:
        yield
    finally:
        is_over.set()
        await idling


async def test_a_start_in_the_past_brings_everything_from_there_on(database_url: str, tmp_path: Path) -> None:
    """With `start = slot N` every trade of the ledger from N on is stored, though the daemon came later."""
    async with Simulator(seed=3) as node:
        await node.run_for(transactions=3_000)
        async with following(node, database_url, tmp_path, f"slot {node.rules.first_slot}") as subject:
            await node.run_for(transactions=1_000)
            assert await subject.has_all() == []
            (hole,) = await subject.commits.rows(HOLES)
            assert hole["first_slot"] == node.rules.first_slot
            assert (hole["reason"], hole["filled_by"]) == ("feed_away", "history")


async def test_a_start_now_leaves_no_hole(database_url: str, tmp_path: Path) -> None:
    """What happened before is not asked for."""
    async with Simulator(seed=4) as node:
        await node.run_for(transactions=500)
        async with following(node, database_url, tmp_path, "now") as subject:
            await node.run_for(transactions=500)
            await subject.commits.until("SELECT count(*) FROM transactions", (1).__le__)
            assert await subject.commits.rows(HOLES) == []


@pytest.mark.parametrize("feed", ["logs", "blocks"])
async def test_what_happens_while_connections_are_cut_is_filled_in(
    database_url: str, tmp_path: Path, feed: str
) -> None:
    """Each loss of the connections leaves a hole, which history fills; nothing is missing or doubled."""
    async with Simulator(seed=5) as node, following(node, database_url, tmp_path, "now", feed) as subject:
        for _ in range(3):
            await node.run_for(transactions=600)
            node.drop_connections()
            await node.run_for(transactions=400)
            await subject.subscribed()
        assert await subject.has_all() == []
        holes = await subject.commits.rows(HOLES)
        assert len(holes) >= 3
        assert {hole["filled_by"] for hole in holes} == {"history"}


async def test_holes_of_an_earlier_life_are_filled(database_url: str, tmp_path: Path) -> None:
    """What happened between two runs of the daemon is a hole from its progress on."""
    async with Simulator(seed=6) as node:
        async with following(node, database_url, tmp_path, "now"):
            await node.run_for(transactions=600)
        (tmp_path / "notify").unlink()
        await node.run_for(transactions=600)
        # The trigger functions of `commits` are made anew.
        connection = await asyncpg.connect(database_url)
        await connection.execute("DROP FUNCTION tell_commit CASCADE")
        await connection.close()
        async with following(node, database_url, tmp_path, "progress") as subject:
            await node.run_for(transactions=600)
            assert await subject.has_all() == []


async def test_a_block_that_cannot_be_had_leaves_the_hole_open(database_url: str, tmp_path: Path) -> None:
    """Its trades alone are missing, the hole says why; as soon as the node gives it, it is filled in."""
    async with Simulator(seed=7) as node:
        await node.run_for(transactions=2_000)
        lost = _without_block(node)
        async with following(node, database_url, tmp_path, f"slot {node.rules.first_slot}") as subject:
            await node.run_for(transactions=500)
            await subject.commits.until(f"{OPEN} AND tries > 1", (1).__le__)
            told = {trade["signature"] for trade in node.export()["trades"] if trade["venue"] in FOLLOWED}
            of_the_block = {trade["signature"] for trade in node.export()["trades"] if trade["slot"] == lost.slot}
            await subject.commits.until(
                "SELECT count(DISTINCT signature) FROM transactions", len(told - of_the_block).__le__
            )
            stored = {row["signature"] for row in await subject.commits.rows("SELECT signature FROM transactions")}
            assert stored == told - of_the_block
            (hole,) = await subject.commits.rows(HOLES)
            assert hole["filled_by"] is None
            assert f"slot {lost.slot}: " in hole["last_error"]
            assert "missing in long-term storage" in hole["last_error"]
            lost.is_found = True
            assert await subject.has_all() == []


class _without_block:  # noqa: N801 - used as a function
    """Let a node lose one block of the middle until `is_found`: it neither lists nor gives it."""

    def __init__(self, node: Simulator) -> None:
        self.is_found = False
        blocks: list[Block] = list(node.chain.blocks.values())
        self.slot = max(blocks[len(blocks) // 4 : len(blocks) // 2], key=lambda block: len(block.transactions)).slot
        self._methods = node.node.rpc.methods
        self._get_block, self._get_blocks = self._methods["getBlock"], self._methods["getBlocks"]
        self._methods["getBlock"], self._methods["getBlocks"] = self._block, self._blocks

    def _block(self, params: list[Any]) -> Any:
        if params[0] == self.slot and not self.is_found:
            raise errors.missing_in_storage(self.slot)
        return self._get_block(params)

    def _blocks(self, params: list[Any]) -> Any:
        return [slot for slot in self._get_blocks(params) if slot != self.slot or self.is_found]

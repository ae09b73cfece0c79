"""Blocks without rows that progress has passed, and that are replaced by blocks with rows while nobody listens."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import asyncpg
import pytest

from simulator.chain import Rules
from simulator.faults.schedule import Fault
from simulator.run import Simulator
from tests.e2e.test_history import following, quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.test_history import Daemon

pytestmark = [pytest.mark.slow]

RULES = Rules(finalized_lag=12, skipped_share=0)
DEPTH = 6


async def forked(subject: Daemon) -> None:
    """Have the node tell empty blocks that will vanish, and wait until progress has passed some."""
    node = subject.node
    node.strike(Fault("fork", count=DEPTH, way="replaced"))
    await node.idle_until(lambda: node.chain.is_forked)
    parent_slot = node.chain.slot - 1
    await node.idle_until(lambda: node.chain.slot >= parent_slot + DEPTH)
    await subject.commits.until("SELECT max(slot) FROM feeds", (parent_slot + 2).__le__)


async def test_they_come_though_the_daemon_was_away(database_url: str, tmp_path: Path) -> None:
    """It cannot know by which blocks it passed the slots, and reads again what was not final then."""
    async with Simulator(seed=31, rules=RULES) as node:
        async with following(node, database_url, tmp_path, "now", "blocks") as subject:
            await node.run_for(transactions=300)
            await subject.commits.until("SELECT coalesce(max(through_slot), 0) FROM finality", (1).__le__)
            async with quiet(node):
                await subject.commits.until("SELECT count(*) FROM transactions", (1).__le__)
            await forked(subject)
        (tmp_path / "notify").unlink()
        connection = await asyncpg.connect(database_url)
        await connection.execute("DROP FUNCTION tell_commit CASCADE")
        await connection.close()
        await node.run_for(transactions=900)
        async with following(node, database_url, tmp_path, "progress", "blocks") as subject:
            assert await subject.has_all() == []


async def test_they_come_though_the_connection_was_away(database_url: str, tmp_path: Path) -> None:
    """The blocks that were told are compared with the finalized chain as rows are."""
    async with (
        Simulator(seed=32, rules=RULES) as node,
        following(node, database_url, tmp_path, "now", "blocks") as subject,
    ):
        await node.run_for(transactions=300)
        await forked(subject)
        async with away(node):
            await node.run_for(transactions=900)
        await subject.subscribed()
        assert await subject.has_all() == []


@contextlib.asynccontextmanager
async def away(node: Simulator) -> AsyncIterator[None]:
    """Close the node's websocket until the block ends."""
    node.drop_connections()
    await node.node.pubsub.stop()
    try:
        yield
    finally:
        await node.node.pubsub.start("127.0.0.1", node.node.pubsub.port)

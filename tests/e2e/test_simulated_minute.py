"""One minute of simulated market at 1,000 transactions a second, live and replayed, against the simulator's ledger."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import asyncpg
import pytest

from simulator.run import Simulator
from tests.e2e import daemon
from tests.e2e.truth import differences

if TYPE_CHECKING:
    from pathlib import Path

    from tests import postgres

pytestmark = [pytest.mark.ci, pytest.mark.slow]

RATE, TRANSACTIONS = 1_000, 60_000
FOLLOWED = {"pumpfun", "pumpswap", "raydium_launchpad"}
# The daemon's and the recorder's subscriptions: each program's logs, and slots.
_EVERYBODY = 2 * (len(FOLLOWED) + 1)
# Everything that consumers read; of batches and feeds only what does not tell the time of the run.
_DIGESTS = {
    table: f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t"
    for table in ("tokens", "mints", "pools", "transactions", "tails", "faults", "holes")
}


async def test_a_minute_of_market(program: Path, server: postgres.Server, tmp_path: Path) -> None:
    """
    The database equals the ledger in every token, pool, reserve and trade.

    So does another one that the minute's recording is replayed into, and a second replay changes no row.
    """
    capture, ledger_path = tmp_path / "minute.jsonl.gz", tmp_path / "ledger.json"
    async with server.database() as live_url, server.database() as replay_url:
        live = {"database.url": live_url, "metrics.listen": "", "fetch.rate_per_s": "2000", "fetch.concurrency": "16"}
        async with Simulator(seed=20_261_120, rate=RATE) as node:
            live |= {"node.ws_url": node.ws_url, "node.http_url": node.http_url}
            await daemon.command(program, live, "migrate")
            recording = asyncio.create_task(
                daemon.command(program, live, "record", str(capture), "--duration", "110", within_s=160)
            )
            # Clients come up in a quiet market: what happened before a subscription is not theirs to know.
            up = asyncio.Event()
            quiet = asyncio.create_task(node.idle_until(lambda: up.is_set() and node.subscriptions >= _EVERYBODY))
            async with daemon.commits(live_url) as commits, daemon.ingest(program, tmp_path, live):
                up.set()
                await quiet
                await node.run_for(transactions=TRANSACTIONS)
                node.write_ledger(ledger_path)
                ledger = json.loads(ledger_path.read_text())
                trades = sum(trade["venue"] in FOLLOWED for trade in ledger["trades"])
                await commits.until("SELECT count(*) FROM transactions", trades.__le__)
                await recording
        assert await differences(live_url, ledger, FOLLOWED) == []
        replayed = {"database.url": replay_url, "metrics.listen": ""}
        await daemon.command(program, replayed, "migrate")
        await daemon.command(program, replayed, "replay", str(capture), within_s=120)
        assert await differences(replay_url, ledger, FOLLOWED) == []
        before = await _digests(replay_url)
        await daemon.command(program, replayed, "replay", str(capture), within_s=120)
        assert await _digests(replay_url) == before


async def _digests(url: str) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    try:
        return {table: await connection.fetchval(query) for table, query in _DIGESTS.items()}
    finally:
        await connection.close()

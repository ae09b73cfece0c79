"""Recorded mainnet transactions, told by a plain websocket server, become rows of the installed daemon's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import mainnet
from tests.e2e import daemon, model, recorded_node, said

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ci, pytest.mark.slow]

# A log record of PumpSwap without its transaction, and without its pool's account: nobody can tell its mint.
UNTELLABLE = "2Vehf92Yr3kTjxunVLfR72EXRYrSZgDcc27sUFbzLPUAF4qtt1Rk5cj2BBeVat7ZEuwodeSPJPXgByhF2csu82Jm"
FAILED = "1" * 87 + "2"


async def test_recorded_transactions_become_rows(program: Path, database_url: str, tmp_path: Path) -> None:
    """
    Every trade, launch and graduation is stored as its bytes say, once, in the order of the chain.

    What logs do not carry (LaunchLab's accounts, PumpSwap's mints) is fetched; a failed transaction leaves no row; what
    cannot be had is a hole.
    """
    mainnet.require()
    records = said.records()
    events = [event for record in records for event in record.said if event.signature != UNTELLABLE]
    trades = model.trades(events, said.pools_of(records))
    async with recorded_node.run(records, {}, programs=len(said.FOLLOWED)) as node:
        settings = {
            "node.ws_url": node.ws_url,
            "node.http_url": node.http_url,
            "fetch.rate_per_s": "1000",
            "pumpswap.pools": "all",
            "database.url": database_url,
            "metrics.listen": "",
            "start": "now",
        }
        await daemon.command(program, settings, "migrate")
        async with daemon.commits(database_url) as commits:
            async with daemon.ingest(program, tmp_path, settings):
                for record in records:
                    await node.tell_slot(record.slot)
                    await node.tell(record)
                await node.tell(records[-1], signature=FAILED, err={"InstructionError": [0, {"Custom": 1}]})
                await commits.until("SELECT count(*) FROM transactions", len(trades).__le__)
            assert await commits.rows(model.TRADES) == trades
            assert await commits.rows(model.LAUNCHES) == model.launches(events)
            assert await commits.rows(model.GRADUATIONS) == model.graduations(events)
            assert [row["signature"] for row in await commits.rows("SELECT signature FROM holes")] == [UNTELLABLE]
            assert await commits.rows("SELECT signature, event, reason FROM faults") == []
            stored = await commits.rows("SELECT DISTINCT signature, slot FROM transactions")
            assert {(row["signature"], row["slot"]) for row in stored} <= {(r.signature, r.slot) for r in records}

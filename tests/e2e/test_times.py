"""A feed of whole transactions names no time: LaunchLab's trades come with one small request a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from simulator.run import Simulator
from tests.e2e.test_history import following

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow]

UNTIMED = "raydium_launchpad"


class _Asked:
    """What a node was asked, method by method: the slot, signature or addresses, and the options."""

    def __init__(self, node: Simulator) -> None:
        self.calls: dict[str, list[list[Any]]] = {}
        methods = node.node.rpc.methods
        for name, method in list(methods.items()):
            methods[name] = self._noted(name, method)

    def _noted(self, name: str, method: Any) -> Any:
        def call(params: list[Any]) -> Any:
            self.calls.setdefault(name, []).append(params)
            return method(params)

        return call


async def test_no_transaction_is_fetched_for_its_time(database_url: str, tmp_path: Path) -> None:
    """Every trade of the ledger is stored; no transaction was asked for again, nor a block, and times once a slot."""
    async with Simulator(seed=12) as node:
        asked = _Asked(node)
        async with following(node, database_url, tmp_path, "now", "transactions") as subject:
            await subject.subscribed()
            await node.run_for(transactions=2_000)
            assert await subject.has_all() == []
            assert await subject.commits.rows("SELECT * FROM holes") == []
        slots = {trade["slot"] for trade in node.export()["trades"] if trade["venue"] == UNTIMED}
        assert len(slots) > 2
        assert "getTransaction" not in asked.calls
        assert [
            params for params in asked.calls.get("getBlock", ()) if params[1].get("transactionDetails") == "full"
        ] == []
        times = [slot for (slot,) in asked.calls["getBlockTime"]]
        assert slots <= set(times)
        assert len(times) < 2 * len(set(times)), "a slot that is not known yet is asked for again"

"""A node forks: what was told and vanished is found, fetched again and settled, until rows and chain are the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from decoders.core.registry import load
from decoders.core.transaction import parse_block, read_block
from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.finality import Finality, FinalityRules
from monitor.sources.history import History, HistoryRules
from monitor.sources.notices import BlockSeen, FinalSeen, HoleFilled, SlotDoubted, SlotSettled
from simulator.chain import Rules
from simulator.data import read_idl
from simulator.faults.schedule import Fault
from simulator.run import Simulator
from tests.simulator.client import client, rpc
from tests.sources.forks import Storing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.sources.notices import Notice

NAMES = ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm")
WHOLE = {"commitment": "confirmed", "maxSupportedTransactionVersion": 1}
PROGRAMS = load(NAMES, lambda name: [(f"{name}.json", read_idl(name))]).followed


@dataclass(frozen=True)
class Doubted:
    """A slot in doubt."""

    id: int
    first_slot: int
    last_slot: int
    signature: str | None = None
    reason: str = "not_final"
    filled_through: int | None = None


@dataclass
class Stored:
    """Rows and holes as a database keeps them."""

    pairs: set[tuple[int, str]] = field(default_factory=set)
    holes: dict[int, Doubted] = field(default_factory=dict)
    doubted: set[int] = field(default_factory=set)
    through: int = -1

    async def final_through(self) -> int | None:
        """Return where to begin."""
        return None

    async def unsettled(self, after_slot: int, through_slot: int, limit: int) -> list[tuple[int, str]]:
        """Return all at once."""
        del limit
        return sorted(pair for pair in self.pairs if after_slot < pair[0] <= through_slot)

    async def open_holes(self, limit: int, without: Iterable[int] = ()) -> list[Doubted]:
        """Return those that may be tried."""
        rest = set(without)
        found = sorted(self.holes.values(), key=lambda hole: hole.first_slot)
        return [hole for hole in found if hole.id not in rest][:limit]

    async def hole_failed(self, hole_id: int, reason: str) -> None:
        """Take note of nothing."""

    def take(self, notice: Notice) -> list[int]:
        """Do what a notice says; return the holes that it closed."""
        match notice:
            case TxNotice(slot=slot, signature=signature, failed=False):
                self.pairs.add((slot, signature))
            case SlotDoubted(slot=slot):
                self.doubted.add(slot)
                self.holes[slot] = Doubted(slot, slot, slot)
            case SlotSettled(slot=slot, signatures=signatures):
                assert {(slot, one) for one in signatures} <= self.pairs, "settled before it was told"
                self.pairs = {pair for pair in self.pairs if pair[0] != slot} | {(slot, one) for one in signatures}
            case HoleFilled(hole_id=hole_id):
                del self.holes[hole_id]
                return [hole_id]
            case FinalSeen(through=through):
                self.through = through
        return []


def pairs_of(slot: int, block: Any) -> set[tuple[int, str]]:
    """Return what a block holds of ours."""
    parsed = parse_block(read_block(msgspec.json.encode(block)), slot=slot, programs=PROGRAMS)
    assert not parsed.malformed
    return {(slot, notice.signature) for notice in parsed.notices if not notice.failed}


async def told_by(node: Simulator, way: str) -> list[Any]:
    """Return the blocks that a subscriber was told while the node forked twice."""
    async with client(node) as subscriber:
        await subscriber.call("blockSubscribe", "all", WHOLE)
        await node.run_for(transactions=40)
        for depth in (1, 3):
            node.strike(Fault("fork", count=depth, way=way))
            await node.run_for(transactions=100)
        return [found["value"] for found in await subscriber.results("blockNotification")]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["skipped", "replaced"])
@pytest.mark.parametrize("hears", [True, False])
async def test_rows_become_those_of_the_chain(way: str, hears: bool) -> None:
    """By parents where blocks are heard, by statuses where not; nothing else is fetched than what is in doubt."""
    async with Simulator(seed=3, rules=Rules(finalized_lag=8)) as node:
        told = await told_by(node, way)
        final = {**WHOLE, "commitment": "finalized"}
        root = (await rpc(node, "getSlot", final))["result"]
        slots = (await rpc(node, "getBlocks", told[0]["slot"], root, final))["result"]
        blocks = {slot: (await rpc(node, "getBlock", slot, final))["result"] for slot in slots}
        expected = set().union(*[pairs_of(slot, block) for slot, block in blocks.items()])
        stored = Stored(set().union(*[pairs_of(value["slot"], value["block"]) for value in told]))
        wrong = {slot for slot, _ in {pair for pair in stored.pairs if pair[0] <= root} ^ expected}
        assert wrong, "the node did not fork"
        await settle(node, stored, told if hears else [], root)
        assert {pair for pair in stored.pairs if pair[0] <= root} == expected
        vanished = {slot for fork in node.chain.vanished for slot in fork.slots}
        assert wrong <= stored.doubted
        if way == "skipped":
            assert stored.doubted & vanished == wrong & vanished
        assert len(stored.doubted) < len(slots)


async def settle(node: Simulator, stored: Stored, heard: list[Any], root: int) -> None:
    """Compare what is stored, and fetch what is in doubt, until nothing is."""
    out: Channel[Notice] = Channel(1_000, "out")
    async with RpcClient(Endpoint(node.http_url), ClientLimits(rate_per_s=10_000)) as rpc_client:
        finality = Finality(rpc_client, stored, rules=FinalityRules(rest_s=0.0))
        history = History(rpc_client, PROGRAMS, stored, rules=HistoryRules(first_retry_s=0.01, look_every_s=0.05))
        for value in heard:
            block = value["block"]
            names = (block["blockhash"], block["previousBlockhash"])
            finality.heard(BlockSeen(value["slot"], block["parentSlot"], *names, None, "blocks"))
        finality.committed(root)
        tasks = [asyncio.create_task(finality.run(Storing(finality, out))), asyncio.create_task(history.run(out))]
        async with asyncio.timeout(20):
            while stored.through < root or stored.holes:
                notice = await out.get()
                closed = stored.take(notice)
                if closed or isinstance(notice, SlotDoubted):
                    history.committed(closed)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks), tasks

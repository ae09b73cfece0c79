"""Programs change their events: old readers notice, new ones read what the ledger says."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core.registry import load
from simulator.calls import LogWriter
from simulator.chain import Rules
from simulator.data import read_idl
from simulator.faults.schedule import Fault
from simulator.rendering import Renderer
from simulator.run import Simulator
from tests.simulator.reading import differences, notice

if TYPE_CHECKING:
    from decoders.core.registry import Registry
    from simulator.faults.schedule import Kind

pytestmark = pytest.mark.slow  # a whole market each

NAMES = ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm")
TRADE, BUY, SELL = "pumpfun.TradeEvent", "pumpswap.BuyEvent", "pumpswap.SellEvent"
CHANGES: list[tuple[Kind, str, str]] = [
    ("grow_tail", "", TRADE), ("grow_tail", "", SELL), ("layout_change", "discriminator", BUY),
    ("layout_change", "layout", TRADE),
]  # fmt: skip
RULES = Rules(finalized_lag=4)


async def changed(*faults: Fault) -> Simulator:
    """Return a market in which programs change one after the other."""
    async with Simulator(seed=21, rules=RULES) as node:
        for fault in faults:
            await node.run_for(transactions=1_200)
            node.strike(fault)
        await node.run_for(transactions=600)
    return node


def told(node: Simulator, registry: Registry) -> Counter[str]:
    """Return how many facts of each kind are read from the chain, and how many of them have a tail."""
    renderer = Renderer(node.market.world.bank, LogWriter(), 10_000)
    found: Counter[str] = Counter()
    for block in node.chain.blocks.values():
        for tx in block.transactions:
            one = notice(renderer, block, tx, "json", registry.followed)
            for fact in registry.decode(one, {}).facts if one else ():
                found[fact.kind] += 1
                found["tail"] += fact.record is not None and bool(fact.record.tail)
    return found


@pytest.mark.parametrize(("kind", "way", "event"), CHANGES)
async def test_the_new_idl_reads_what_the_ledger_says(kind: Kind, way: str, event: str) -> None:
    """With the file for the slots since the change everything is the ledger; old readers notice that they cannot."""
    node = await changed(Fault(kind, way=way, of=event))
    (layout,) = node.layouts
    assert (layout.name, layout.last_slot) == (event.partition(".")[0], None)

    def files(name: str) -> list[tuple[str, bytes]]:
        return [(f"{name}.json", read_idl(name)), *([layout.file()] if name == layout.name else [])]

    assert differences(node.market, node.chain, load(NAMES, files)) == []
    registry = load(NAMES, lambda name: [(f"{name}.json", read_idl(name))])
    wrong, found = differences(node.market, node.chain, registry), told(node, registry)
    if kind == "grow_tail":
        assert wrong == []
        assert found["tail"] > 20
        assert found["fault"] == 0
    else:
        assert wrong
        assert found["fault"] > 10
        assert found["tail"] == 0


async def test_changes_of_one_program_share_the_slots() -> None:
    """Two changes of a program give two files, each for its slots; a third of another program stands alone."""
    node = await changed(Fault("grow_tail", of=TRADE), Fault("layout_change", of=TRADE),
                         Fault("grow_tail", of=BUY))  # fmt: skip
    first, second, third = node.layouts
    assert (first.last_slot, second.last_slot, third.last_slot) == (second.first_slot - 1, None, None)

    def files(name: str) -> list[tuple[str, bytes]]:
        return [(f"{name}.json", read_idl(name)), *(one.file() for one in node.layouts if one.name == name)]

    assert differences(node.market, node.chain, load(NAMES, files)) == []
    found: list[Any] = [one.file()[0] for one in node.layouts]
    assert all(first != second for first, second in itertools.combinations(found, 2))

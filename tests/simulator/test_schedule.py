"""A schedule begins its faults in order, and a seed draws the same ones again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.chain import Rules
from simulator.faults.schedule import SLOTS_PER_MINUTE, WAYS, Fault, Schedule
from simulator.run import Simulator
from tests.simulator.client import client

RATES = dict.fromkeys(WAYS, 6.0)


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 60)))
def test_each_fault_is_due_once_in_order(slots: list[int], asked: list[int]) -> None:
    """Whenever it is asked, it returns what began by then and was not returned before."""
    schedule = Schedule(Fault("drop", slot=slot) for slot in slots)
    found = [[fault.slot for fault in schedule.due(slot)] for slot in sorted(asked)]
    assert [slot for one in found for slot in one] == sorted(slot for slot in slots if asked and slot <= max(asked))
    assert all(slot <= at for at, one in zip(sorted(asked), found, strict=True) for slot in one)


def test_a_seed_draws_the_same_again() -> None:
    """The same seed gives the same faults, with an end as without one; another seed gives others."""
    end = 10 * SLOTS_PER_MINUTE
    first, second, other = (Schedule.drawn(seed, RATES, end).due(end) for seed in (1, 1, 2))
    endless = Schedule.drawn(1, RATES)
    assert first == second == [fault for slot in range(end + 1) for fault in endless.due(slot)]
    assert first != other
    assert endless.due(2 * end)
    assert Schedule.drawn(1, RATES, end).due(2 * end) == first


def test_rates_are_kept() -> None:
    """Each kind begins about as often as it was asked for, in all its ways; what changes for good begins once."""
    found = Schedule.drawn(7, RATES).due(60 * SLOTS_PER_MINUTE)
    for kind, ways in WAYS.items():
        of_kind = [fault for fault in found if fault.kind == kind]
        if kind in ("layout_change", "grow_tail"):
            assert len(of_kind) == 1
            continue
        assert 250 < len(of_kind) < 450
        assert {fault.way for fault in of_kind} == set(ways)
        assert all(fault.count > 0 for fault in of_kind)


@pytest.mark.parametrize(("kind", "way"), [("nope", ""), ("close", "1001"), ("fork", "cut")])
def test_what_there_is_not_is_refused(kind: str, way: str) -> None:
    """A fault or way that does not exist is an error where it is written down."""
    with pytest.raises(ValueError, match=kind):
        Fault(kind, way=way)  # type: ignore[arg-type]  # a wrong one, on purpose


async def test_a_schedule_begins_with_the_first_slot() -> None:
    """Faults begin at their slots, counted from the first one made, and all of them are counted."""
    schedule = Schedule([Fault("skip_slots", slot=5, count=3), Fault("drop", slot=2, count=1, of="slot"),
                         Fault("stale", slot=12, way="back", distance=4), Fault("fork", slot=20)])  # fmt: skip
    rules = Rules(finalized_lag=8, skipped_share=0)
    async with Simulator(seed=3, rules=rules, schedule=schedule) as node, client(node) as one:
        await one.call("slotSubscribe")
        for _ in range(40):
            await node._slot(1)
            await node.node.pubsub.drained()
        await node.settle()
        told = [found["slot"] - rules.first_slot for found in await one.results("slotNotification")]
    assert told[:9] == [0, 1, 3, 4, 8, 9, 10, 11, 8]
    assert node.faults.struck == {"skip_slots": 3, "drop": 1, "stale": 1, "fork": 1}
    assert node.chain.vanished[0].slots[0] == rules.first_slot + 20


async def test_a_schedule_can_come_later() -> None:
    """Slots of a schedule that is given later count from the next one; calming ends it."""
    async with Simulator(seed=3, rules=Rules(skipped_share=0)) as node:
        await node.run_for(transactions=500)
        node.misbehave(Schedule([Fault("skip_slots", slot=2), Fault("skip_slots", slot=6)]))
        last = node.chain.slot
        for _ in range(5):
            await node._slot(1)
        await node.calm()
        for _ in range(5):
            await node._slot(1)
        assert [slot - last for slot in node.chain.blocks if slot > last] == [1, 2, 4, 5, 6, 7, 8, 9, 10]


async def test_a_node_is_behind() -> None:
    """A node that is behind tells nothing and answers as of then; afterwards it tells everything, in order."""
    async with Simulator(seed=3, rules=Rules(finalized_lag=8, skipped_share=0)) as node, client(node) as one:
        await one.call("slotSubscribe")
        await one.call("logsSubscribe", "all", {"commitment": "confirmed"})
        for _ in range(10):
            await node._slot(1)
        tip = node.chain.tip("processed")
        node.strike(Fault("stale", count=4))
        for _ in range(4):
            await node._slot(1)
        assert (node.chain.tip("processed"), node.chain.slot) == (tip, tip + 4)
        assert len(await one.results("slotNotification")) == 10
        await node._slot(1)
        assert node.chain.tip("processed") == tip + 5
        await node.settle()
        slots = [found["slot"] for found in await one.results("slotNotification")]
        assert slots == list(node.chain.blocks)
        assert len(await one.results("logsNotification")) == 15


async def test_everything_at_once() -> None:
    """Every fault by chance, together: the node goes on, and all that the ledger says is in history."""
    seed = 11
    ends = dict.fromkeys(("restart", "hang", "slow", "close", "unsubscribe"), 0.0)
    schedule = Schedule.drawn(seed, {kind: 12.0 for kind in WAYS if kind not in ends})
    async with Simulator(seed=3, rules=Rules(finalized_lag=8), schedule=schedule) as node, client(node) as one:
        await one.call("slotSubscribe")
        await one.call("logsSubscribe", "all", {"commitment": "confirmed"})
        for _ in range(150):
            await node._slot(20)
        await node.calm()
        await node.settle()
        assert len(node.faults.struck) > 8, f"seed {seed}"
        assert {entry.said.signature for entry in node.ledger.entries} <= set(node.chain.where)

"""The chain tells blocks that vanish, and afterwards nothing of them is left but what landed again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core import base58
from decoders.core.registry import load
from simulator.chain import Chain, Rules
from simulator.data import read_idl
from simulator.faults.schedule import Fault
from simulator.keys import text
from simulator.ledger import Ledger
from simulator.market import Market
from simulator.run import Simulator
from tests.simulator.client import client, rpc
from tests.simulator.reading import differences

if TYPE_CHECKING:
    from simulator.fork import Way

pytestmark = pytest.mark.slow  # a whole market each

NAMES = ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm")
NEWEST = {"commitment": "confirmed", "maxSupportedTransactionVersion": 1}
RULES = Rules(finalized_lag=8, skipped_share=0.05)


def forked(way: Way, seed: int = 5, count: int = 3_000) -> tuple[Market, Chain]:
    """Return a market whose chain forked again and again."""
    market = Market(seed)
    chain = Chain(market, seed, RULES)
    for number in itertools.count():
        if number % 19 == 3:
            chain.fork(1 + number % 3, way)
        if chain.produced >= count and not chain.is_unsettled:
            return market, chain
        chain.next_slot(20)
    raise AssertionError


@pytest.mark.parametrize("way", ["skipped", "replaced"])
def test_the_ledger_knows_nothing_of_forks(way: Way) -> None:
    """What stands on the chain in the end is the ledger, entry for entry, and every balance adds up."""
    market, chain = forked(way)
    registry = load(NAMES, lambda name: [(f"{name}.json", read_idl(name))])
    assert differences(market, chain, registry) == []
    bank = market.world.bank
    assert sum(bank.lamports.values()) == bank.granted_lamports
    held = Ledger(bank).balances()
    for mint, found in bank.mints.items():
        if not mint.startswith(b"\x06\x9b\x88\x57"):  # wrapped SOL has no supply
            assert sum(held.get(text(mint), {}).values()) == found.supply
    assert len(chain.vanished) > 5


@pytest.mark.parametrize("way", ["skipped", "replaced"])
def test_blocks_name_their_parents_across_forks(way: Way) -> None:
    """Later blocks jump over what vanished; a slot that vanished has no block, or another one."""
    _, chain = forked(way)
    blocks = list(chain.blocks.values())
    for parent, block in itertools.pairwise(blocks):
        assert (block.parent, block.parent_hash, block.height) == (parent.slot, parent.hash, parent.height + 1)
        assert block.slot > parent.slot
    hashes = {block.hash for block in blocks}
    slots = {slot for vanished in chain.vanished for slot in vanished.slots}
    assert not any(one in hashes for vanished in chain.vanished for one in vanished.hashes)
    assert bool(slots & set(chain.blocks)) == (way == "replaced")
    assert {len(vanished.slots) for vanished in chain.vanished} == {2, 3, 4}


def test_some_land_again_later() -> None:
    """Many transactions of a fork land again, in a later slot and second, and do the same; others are gone for good."""
    _, chain = forked("replaced")
    told = {signature for vanished in chain.vanished for signature in vanished.signatures}
    landed = {signature for vanished in chain.vanished for signature in vanished.landing if signature in chain.where}
    assert len(told) > 200
    assert 0.3 < len(landed) / len(told) < 0.8
    assert not any(signature in chain.where for signature in told - landed)
    for vanished in chain.vanished:
        last_s = chain.time_of(vanished.slots[-1])
        assert all(chain.time_of(chain.where[one][0]) > last_s for one in vanished.landing if one in chain.where)


def test_a_fork_is_no_deeper_than_what_is_final() -> None:
    """A fork waits for a block to start from, is told one at a time, and never touches what is final."""
    chain = Chain(Market(1), 1, Rules(finalized_lag=3, skipped_share=0))
    assert not chain.fork(1, "skipped")
    for _ in range(10):
        chain.next_slot(1)
    before = chain.tip("finalized")
    assert chain.fork(9, "skipped")
    assert not chain.fork(1, "skipped")
    finals = []
    for _ in range(10):
        chain.next_slot(5)
        finals.append(chain.tip("finalized"))
    assert finals == sorted(finals)
    assert finals[0] > before
    assert len(chain.vanished[0].slots) == 2


class Told:
    """What a client saw during a fork and after it."""

    def __init__(self) -> None:
        self.blocks: list[Any] = []
        self.logs: list[Any] = []
        self.final: list[Any] = []
        self.slots: list[Any] = []


async def told_of_a_fork(node: Simulator, way: str) -> Told:
    """Return what a client is told while the node forks once."""
    found = Told()
    async with client(node) as one, client(node) as final:
        await one.call("blockSubscribe", "all", NEWEST)
        await one.call("logsSubscribe", "all", {"commitment": "processed"})
        await one.call("slotSubscribe")
        await final.call("blockSubscribe", "all", {**NEWEST, "commitment": "finalized"})
        for _ in range(5):
            await node._slot(5)
        node.strike(Fault("fork", count=2, way=way))
        await node.run_for(transactions=1_000)
        found.blocks = await one.results("blockNotification")
        found.logs = await one.results("logsNotification")
        found.slots = await one.results("slotNotification")
        found.final = await final.results("blockNotification")
    return found


@pytest.mark.parametrize("way", ["skipped", "replaced"])
async def test_a_fork_is_told_at_confirmed_and_never_at_finalized(way: str) -> None:
    """Two blocks are told at confirmed, by block and logs, and vanish; who asks for finalized hears of none of them."""
    async with Simulator(seed=3, rules=RULES) as node:
        told = await told_of_a_fork(node, way)
        (vanished,) = node.chain.vanished
        gone = {base58.encode(one) for one in vanished.signatures}
        lost = gone - {base58.encode(one) for one in node.chain.where}
        hashes = {text(one) for one in vanished.hashes}
        assert sum(found["value"]["block"]["blockhash"] in hashes for found in told.blocks) == 2
        assert lost < {found["value"]["signature"] for found in told.logs}
        assert {found["slot"] for found in told.slots} > set(vanished.slots)
        real = [text(block.hash) for block in node.chain.blocks.values()]
        final = [found["value"]["block"]["blockhash"] for found in told.final]
        assert final == real[: len(final)]
        confirmed = [found["value"]["block"]["blockhash"] for found in told.blocks]
        assert [one for one in confirmed if one not in hashes] == real[: len(confirmed) - 2]
        assert node.faults.struck == {"fork": 1}


async def test_history_answers_from_a_fork_while_it_lasts() -> None:
    """HTTP knows the fork at confirmed until it is left, and then the truth: statuses, blocks and transactions."""
    async with Simulator(seed=3, rules=RULES) as node:
        for _ in range(5):
            await node._slot(5)
        node.strike(Fault("fork", count=3))
        before = node.chain.slot
        while (tip := node.chain.tip("confirmed")) <= before:
            await node._slot(5)
        assert node.chain.is_forked
        signatures = [base58.encode(tx.signature) for tx in node.chain.blocks[tip].transactions]
        block = await rpc(node, "getBlock", tip, {**NEWEST, "transactionDetails": "signatures"})
        assert block["result"]["signatures"] == signatures
        assert all([(await rpc(node, "getTransaction", one, NEWEST))["result"] for one in signatures])
        assert (await rpc(node, "getBlock", tip, {"commitment": "finalized"}))["error"]["code"] == -32004
        await node.run_for(transactions=500)
        assert (await rpc(node, "getBlock", tip, NEWEST))["error"]["code"] == -32007
        values = (await rpc(node, "getSignatureStatuses", [*signatures]))["result"]["value"]
        for signature, status in zip(signatures, values, strict=True):
            place = node.chain.where.get(base58.decode(signature))
            assert (status and (status["slot"], status["confirmationStatus"])) == (place and (place[0], "finalized"))
            answer = (await rpc(node, "getTransaction", signature, NEWEST))["result"]
            assert (answer and answer["slot"]) == (place and place[0])
        assert None in values


async def test_statuses_without_history_are_recent() -> None:
    """A status is at hand for 300 blocks; older ones are found by searching the history."""
    async with Simulator(seed=3, rules=RULES) as node:
        await node.run_for(transactions=1)
        signature = base58.encode(next(iter(node.chain.where)))
        for _ in range(330):
            await node._slot(0)
        assert (await rpc(node, "getSignatureStatuses", [signature]))["result"]["value"] == [None]
        config = {"searchTransactionHistory": True}
        (found,) = (await rpc(node, "getSignatureStatuses", [signature], config))["result"]["value"]
        assert found["confirmationStatus"] == "finalized"

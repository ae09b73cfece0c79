"""transactionSubscribe, as Helius and compatible providers speak it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from decoders.core import base58
from simulator.chain import Rules
from simulator.keys import text
from simulator.run import Simulator
from tests.simulator.client import client, rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulator.transaction import Transaction

PUMP = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
OPTIONS = {"commitment": "confirmed", "encoding": "base64", "maxSupportedTransactionVersion": 1}


@pytest.fixture
async def node() -> AsyncIterator[Simulator]:
    """Return a node that goes flat out."""
    async with Simulator(seed=3, rules=Rules(finalized_lag=4)) as found:
        yield found


async def told(node: Simulator, wanted: dict[str, Any], options: dict[str, Any] | None = None) -> list[Any]:
    """Return what a subscription is told about 200 transactions."""
    async with client(node) as one:
        number = (await one.call("transactionSubscribe", wanted, {**OPTIONS, **(options or {})}))["result"]
        await node.run_for(transactions=200)
        results = await one.results("transactionNotification")
        assert {item["params"]["subscription"] for item in one.heard} == ({number} if results else set())
    return results


def made(node: Simulator) -> list[Transaction]:
    """Return the transactions of the chain, in order."""
    return [tx for block in node.chain.blocks.values() for tx in block.transactions]


async def test_full_is_what_history_tells(node: Simulator) -> None:
    """Each transaction is told once, in order, as getTransaction has it, with its place but without a block time."""
    results = await told(node, {})
    assert [found["signature"] for found in results] == [base58.encode(tx.signature) for tx in made(node)]
    found = results[5]
    assert set(found) == {"transaction", "signature", "slot", "transactionIndex"}
    answer = (await rpc(node, "getTransaction", found["signature"], OPTIONS))["result"]
    assert {"slot": answer.pop("slot"), "transactionIndex": answer.pop("transactionIndex")} == {
        name: found[name] for name in ("slot", "transactionIndex")
    }
    answer.pop("blockTime")
    assert answer == found["transaction"]


async def test_accounts_are_included_excluded_and_required(node: Simulator) -> None:
    """One of the included, all of the required, none of the excluded; failed ones only where they are wanted."""
    swap = text(node.market.world.pumpswap.key)
    wanted = {"accountInclude": [PUMP, swap], "accountExclude": [swap], "accountRequired": [PUMP], "failed": False}
    results = await told(node, {**wanted, "vote": False})
    pump, swap_key = node.market.world.pumpfun.key, node.market.world.pumpswap.key
    expected = [tx for tx in made(node) if pump in tx.mentions() and swap_key not in tx.mentions() and not tx.error]
    assert [found["signature"] for found in results] == [base58.encode(tx.signature) for tx in expected]
    assert 20 < len(expected) < 200


@pytest.mark.parametrize("details", ["accounts", "signatures", "none"])
async def test_details(node: Simulator, details: str) -> None:
    """Less than everything can be asked for; one transaction too."""
    results = await told(node, {}, {"transactionDetails": details})
    assert len(results) == 200
    assert ("transaction" in results[0]) == (details == "accounts")
    if details == "accounts":
        assert set(results[0]["transaction"]["transaction"]) == {"signatures", "accountKeys"}


async def test_versions_and_one_signature(node: Simulator) -> None:
    """Newer versions than asked for are not told, and a signature asks for one transaction."""
    results = await told(node, {}, {"maxSupportedTransactionVersion": 0})
    assert {found["transaction"]["version"] for found in results} == {"legacy", 0}
    assert await told(node, {"signature": results[0]["signature"]}) == []


async def test_what_cannot_be_served_is_refused(node: Simulator) -> None:
    """Bad filters and options are errors; after unsubscribing nothing comes."""
    async with client(node) as one:
        for params in ([], ["all"], [{"accountInclude": ["x"]}, OPTIONS], [{"accountInclude": PUMP}, OPTIONS],
                       [{}, {"commitment": "confirmed"}], [{}, {**OPTIONS, "transactionDetails": "some"}]):  # fmt: skip
            assert (await one.call("transactionSubscribe", *params))["error"]["code"] == -32602
        number = (await one.call("transactionSubscribe", {}, OPTIONS))["result"]
        assert (await one.call("transactionUnsubscribe", number))["result"] is True
        await node.run_for(transactions=20)
        assert await one.results("transactionNotification") == []

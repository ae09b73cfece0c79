"""Each fault of notifications and answers strikes as named; what it loses stays in history."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core import base58
from simulator.chain import Rules
from simulator.faults.schedule import WAYS, Fault
from simulator.run import Simulator
from tests.simulator.client import client, rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.simulator.client import Client

RULES = Rules(finalized_lag=4, skipped_share=0)
NEWEST = {"maxSupportedTransactionVersion": 1, "encoding": "json"}


@pytest.fixture
async def node() -> AsyncIterator[Simulator]:
    """Return a node that goes flat out."""
    async with Simulator(seed=3, rules=RULES) as found:
        yield found


async def signatures(one: Client) -> list[str]:
    """Return the signatures that a logs subscription told."""
    return [found["value"]["signature"] for found in await one.results("logsNotification")]


def made(node: Simulator) -> list[str]:
    """Return the signatures of the chain, in order."""
    return [base58.encode(tx.signature) for block in node.chain.blocks.values() for tx in block.transactions]


async def logs_of(node: Simulator, fault: Fault, transactions: int = 20) -> list[str]:
    """Return what a logs subscription tells about some transactions under a fault."""
    async with client(node) as one:
        await one.call("logsSubscribe", "all", {"commitment": "confirmed"})
        node.strike(fault)
        await node.run_for(transactions=transactions)
        return await signatures(one)


async def test_drop(node: Simulator) -> None:
    """Three notifications never come, and history has what they told."""
    told = await logs_of(node, Fault("drop", count=3))
    assert told == made(node)[3:]
    assert (await rpc(node, "getTransaction", made(node)[0], NEWEST))["result"]["slot"] == RULES.first_slot
    assert node.faults.struck == {"drop": 3}


async def test_duplicate(node: Simulator) -> None:
    """Two notifications come twice, each at once."""
    told = await logs_of(node, Fault("duplicate", count=2))
    first, second, *others = made(node)
    assert told == [first, first, second, second, *others]


async def test_delay(node: Simulator) -> None:
    """A notification comes three later, and all come."""
    told = await logs_of(node, Fault("delay", distance=3))
    first, *others = made(node)
    assert told == [*others[:3], first, *others[3:]]


async def test_reorder(node: Simulator) -> None:
    """Neighbours change places, twice."""
    a, b, c, d, *others = (await logs_of(node, Fault("reorder", count=2)),)[0]
    assert [b, a, d, c, *others] == made(node)


async def test_calm_lets_go(node: Simulator) -> None:
    """What is held back comes when the faults end, and nothing strikes any more."""
    async with client(node) as one:
        await one.call("logsSubscribe", "all", {"commitment": "confirmed"})
        node.strike(Fault("delay", distance=1_000))
        node.strike(Fault("drop", slot=0, count=10_000, of="slot"))
        await node.run_for(transactions=5)
        await node.calm()
        await node.run_for(transactions=5)
        assert sorted(await signatures(one)) == sorted(made(node))


@pytest.mark.parametrize("kind", ["logs", "transaction", "block"])
async def test_truncate_logs(node: Simulator, kind: str) -> None:
    """A log ends before its first event with the node's own words; getTransaction has it whole."""
    params: dict[str, list[Any]] = {"logs": ["all"], "transaction": [{}], "block": ["all"]}
    async with client(node) as one:
        await one.call(f"{kind}Subscribe", *params[kind], {"commitment": "confirmed", **NEWEST})
        node.strike(Fault("truncate_logs"))
        await node.run_for(transactions=20)
        results = await one.results(f"{kind}Notification")
    cut = [found for found in all_logs(kind, results) if found[1][-1:] == ["Log truncated"]]
    ((signature, logs),) = cut
    answer = (await rpc(node, "getTransaction", signature, NEWEST))["result"]["meta"]["logMessages"]
    assert answer[: len(logs) - 1] == logs[:-1]
    assert answer[len(logs) - 1].startswith("Program data: ")


def all_logs(kind: str, results: list[Any]) -> list[tuple[str, list[str]]]:
    """Return signatures and logs that notifications carry."""
    match kind:
        case "logs":
            return [(found["value"]["signature"], found["value"]["logs"]) for found in results]
        case "transaction":
            return [(found["signature"], found["transaction"]["meta"]["logMessages"]) for found in results]
        case _:
            shown = [one for found in results for one in found["value"]["block"]["transactions"]]
            return [(one["transaction"]["signatures"][0], one["meta"]["logMessages"]) for one in shown]


@pytest.mark.parametrize("way", ["garbage", "other_id", "other_shape"])
async def test_wrong_envelope(node: Simulator, way: str) -> None:
    """A frame that is none of ours comes before a notification, which comes as well."""
    async with client(node) as one:
        number = (await one.call("logsSubscribe", "all", {"commitment": "confirmed"}))["result"]
        node.strike(Fault("wrong_envelope", way=way))
        await node.run_for(transactions=10)
        wrong, *others = await one.frames()
    assert [json.loads(text)["params"]["result"]["value"]["signature"] for text in others] == made(node)
    if way == "garbage":
        with pytest.raises(json.JSONDecodeError):
            json.loads(wrong)
        return
    params = json.loads(wrong)["params"]
    assert (params["subscription"] == number) == (way == "other_shape")
    assert isinstance(params["result"], list) == (way == "other_shape")


async def test_null_block(node: Simulator) -> None:
    """A block notification names its slot and an error, and holds no block; getBlock has it."""
    async with client(node) as one:
        await one.call("blockSubscribe", "all", {"commitment": "confirmed", **NEWEST})
        node.strike(Fault("wrong_envelope", way="null_block"))
        await node.run_for(transactions=500)
        first, *others = [found["value"] for found in await one.results("blockNotification")]
    assert (first["block"], first["err"]) == (None, {"BlockStoreError": None})
    assert all(found["block"] for found in others)
    assert (await rpc(node, "getBlock", first["slot"], NEWEST))["result"]["blockhash"]


async def test_only_some_notifications(node: Simulator) -> None:
    """A fault of one kind of notifications leaves the others alone."""
    async with client(node) as one:
        await one.call("slotSubscribe")
        await one.call("logsSubscribe", "all", {"commitment": "confirmed"})
        node.strike(Fault("drop", count=2, of="slot"))
        await node.run_for(transactions=10)
        slots = [found["slot"] for found in await one.results("slotNotification")]
        assert await signatures(one) == made(node)
    assert slots[0] == RULES.first_slot + 2


async def answers(node: Simulator, count: int, method: str = "getSlot") -> list[tuple[int, str | None, bytes]]:
    """Return status, Retry-After and body of so many requests."""

    def send() -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", node.node.http.port, timeout=10)
        try:
            connection.request("POST", "/", json.dumps({"jsonrpc": "2.0", "id": 7, "method": method}))
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"], answer.read()
        finally:
            connection.close()

    return [await asyncio.to_thread(send) for _ in range(count)]


@pytest.mark.parametrize(
    ("way", "status", "retry_after", "code"),
    [("retry_after", 429, "1", None), ("bare", 429, None, None), ("code_32005", 200, None, -32005),
     ("code_32429", 429, None, -32429)],
)  # fmt: skip
async def test_limit(node: Simulator, way: str, status: int, retry_after: str | None, code: int | None) -> None:
    """Two requests are too many, as providers say it; the third is answered."""
    node.strike(Fault("limit", count=2, way=way, of="getSlot"))
    assert (await answers(node, 1, "getHealth"))[0][0] == 200
    first, second, third = await answers(node, 3)
    assert first == second
    assert first[:2] == (status, retry_after)
    if code:
        assert json.loads(first[2])["error"]["code"] == code
    assert json.loads(third[2])["result"] < RULES.first_slot
    assert node.faults.struck == {"limit": 2}


@pytest.mark.parametrize(("way", "status"), [("500", 500), ("502", 502), ("empty", 200)])
async def test_http_error(node: Simulator, way: str, status: int) -> None:
    """A request fails with a status, or with nothing in it."""
    node.strike(Fault("http_error", way=way))
    first, second = await answers(node, 2)
    assert first[0] == status
    assert b"result" not in first[2]
    assert b"result" in second[2]


@pytest.mark.parametrize("way", ["cut", "timeout"])
async def test_http_cut(node: Simulator, way: str) -> None:
    """An answer breaks off, at once or after a while."""
    node.strike(Fault("http_error", way=way, seconds=0.3))
    started = time.monotonic()
    with pytest.raises(http.client.IncompleteRead):
        await answers(node, 1)
    assert (time.monotonic() - started > 0.25) == (way == "timeout")
    assert b"result" in (await answers(node, 1))[0][2]


@pytest.mark.parametrize("code", WAYS["not_available"])
async def test_not_available(node: Simulator, code: str) -> None:
    """A block that the node has is said to be missing, a transaction is null; then they are there."""
    await node.run_for(transactions=5)
    slot, signature = RULES.first_slot, made(node)[0]
    node.strike(Fault("not_available", way=code, of="getBlock"))
    node.strike(Fault("not_available", of="getTransaction", count=2))
    assert (await rpc(node, "getBlock", slot, NEWEST))["error"]["code"] == int(code)
    assert (await rpc(node, "getBlock", slot, NEWEST))["result"]["parentSlot"] == slot - 1
    found = [(await rpc(node, "getTransaction", signature, NEWEST))["result"] for _ in range(3)]
    assert found[:2] == [None, None]
    assert found[2]["slot"] == slot
    assert node.faults.struck == {"not_available": 3}


async def test_missing_in_list(node: Simulator) -> None:
    """A list of blocks lacks one that is there."""
    for _ in range(10):
        await node._slot(1)
    node.strike(Fault("missing_in_list"))
    wrong, right = [(await rpc(node, "getBlocks", RULES.first_slot, RULES.first_slot + 4))["result"] for _ in range(2)]
    assert right == list(range(RULES.first_slot, RULES.first_slot + 5))
    assert len(wrong) == 4
    assert set(wrong) < set(right)


async def test_slow(node: Simulator) -> None:
    """Notifications and answers trickle, until the time is over."""
    async with client(node) as one:
        await one.call("logsSubscribe", "all", {"commitment": "confirmed"})
        node.strike(Fault("slow", seconds=0.5))
        started = time.monotonic()
        await node.run_for(transactions=200)
        assert time.monotonic() - started > 0.4
        assert await signatures(one) == made(node)
    started = time.monotonic()
    await answers(node, 5)
    assert time.monotonic() - started < 0.4

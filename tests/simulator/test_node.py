"""The node answers as a real one does, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

from decoders.core import base58
from simulator.chain import Rules
from simulator.keys import text
from simulator.ledger import Trade
from simulator.run import Simulator, serve
from tests.simulator.client import client, post, rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RULES = Rules(finalized_lag=4, skipped_share=0.05)
PUMP = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"


@pytest.fixture
async def node() -> AsyncIterator[Simulator]:
    """Return a node that goes flat out."""
    async with Simulator(seed=3, rules=RULES) as found:
        yield found


async def test_logs_come_once_in_order(node: Simulator) -> None:
    """A logs subscription gets each transaction that mentions its program, once, in the order of the chain."""
    async with client(node) as one:
        await one.call("logsSubscribe", {"mentions": [PUMP]}, {"commitment": "confirmed"})
        await node.run_for(transactions=800)
        results = await one.results("logsNotification")
    pump = node.market.world.pumpfun.key
    blocks = node.chain.blocks.values()
    wanted = [tx for block in blocks for tx in block.transactions if pump in tx.mentions()]
    assert [found["context"]["slot"] for found in results] == [tx.slot for tx in wanted]
    assert [found["value"]["err"] for found in results] == [tx.error for tx in wanted]
    assert all(set(found["value"]) == {"signature", "err", "logs"} for found in results)
    assert len({found["value"]["signature"] for found in results}) == len(results) > 300


async def test_commitments_tell_later(node: Simulator) -> None:
    """A finalized subscription hears of a block only when it is final."""
    async with client(node) as one:
        await one.call("logsSubscribe", "all", {"commitment": "finalized"})
        await node._slot(5)
        assert await one.results("logsNotification") == []
        await node.settle()
        assert len(await one.results("logsNotification")) == 5


async def test_slots_name_parent_and_root(node: Simulator) -> None:
    """Slot notifications follow the blocks, and root follows at its lag."""
    async with client(node) as one:
        await one.call("slotSubscribe")
        await node.run_for(transactions=400)
        results = await one.results("slotNotification")
    blocks = list(node.chain.blocks.values())
    assert [(found["slot"], found["parent"]) for found in results] == [(block.slot, block.parent) for block in blocks]
    assert results[-1]["root"] == blocks[-1 - RULES.finalized_lag].slot


@pytest.mark.parametrize("encoding", ["json", "jsonParsed", "base64"])
async def test_blocks_are_whole(node: Simulator, encoding: str) -> None:
    """A block subscription gets every block, as getBlock gives it."""
    config = {
        "commitment": "confirmed",
        "encoding": encoding,
        "maxSupportedTransactionVersion": 1,
        "showRewards": False,
    }
    async with client(node) as one:
        await one.call("blockSubscribe", "all", config)
        await node.run_for(transactions=60)
        results = await one.results("blockNotification")
    assert sum(len(found["value"]["block"]["transactions"]) for found in results) == 60
    value = results[0]["value"]
    config["rewards"] = False
    assert value["err"] is None
    assert (await rpc(node, "getBlock", value["slot"], config))["result"] == value["block"]


async def test_filtered_blocks_hold_what_mentions(node: Simulator) -> None:
    """A filtered block subscription gets only blocks and transactions that mention the account."""
    config = {"commitment": "confirmed", "maxSupportedTransactionVersion": 1}
    async with client(node) as one:
        await one.call("blockSubscribe", {"mentionsAccountOrProgram": PUMP}, config)
        await node.run_for(transactions=60)
        results = await one.results("blockNotification")
    pump = node.market.world.pumpfun.key
    counts = [sum(pump in tx.mentions() for tx in block.transactions) for block in node.chain.blocks.values()]
    assert [len(found["value"]["block"]["transactions"]) for found in results] == [n for n in counts if n]


async def test_old_clients_get_an_error_for_new_versions(node: Simulator) -> None:
    """Without maxSupportedTransactionVersion a block with newer transactions is an error, as for getTransaction."""
    async with client(node) as one:
        await one.call("blockSubscribe", "all", {"commitment": "confirmed"})
        await node.run_for(transactions=60)
        results = await one.results("blockNotification")
    assert {json.dumps(found["value"]["block"]) for found in results[:1]} == {"null"}
    assert "UnsupportedTransactionVersion" in results[0]["value"]["err"]
    newer = next(tx for block in node.chain.blocks.values() for tx in block.transactions if tx.version == 1)
    signature = results_signature(node, newer.signature)
    answer = await rpc(node, "getTransaction", signature, {"maxSupportedTransactionVersion": 0})
    assert answer["error"]["code"] == -32015
    answer = await rpc(node, "getTransaction", signature, {"maxSupportedTransactionVersion": 1})
    assert answer["result"]["version"] == 1


def results_signature(node: Simulator, signature: bytes) -> str:
    """Return a signature as text."""
    assert signature in node.chain.where
    return base58.encode(signature)


async def test_history_by_address(node: Simulator) -> None:
    """The history of an address is paged back through everything that mentions it, newest first."""
    await node.run_for(transactions=300)
    found: list[dict[str, Any]] = []
    while page := (
        await rpc(
            node,
            "getSignaturesForAddress",
            PUMP,
            {"limit": 70, **({"before": found[-1]["signature"]} if found else {})},
        )
    )["result"]:
        found += page
    pump = node.market.world.pumpfun.key
    wanted = [tx for block in node.chain.blocks.values() for tx in block.transactions if pump in tx.mentions()]
    assert [row["slot"] for row in found] == [tx.slot for tx in reversed(wanted)]
    until = {"until": found[9]["signature"]}
    assert (await rpc(node, "getSignaturesForAddress", PUMP, until))["result"] == found[:9]
    statuses = await rpc(node, "getSignatureStatuses", [found[0]["signature"], "1" * 64])
    assert statuses["result"]["value"][0]["confirmationStatus"] == "finalized"
    assert statuses["result"]["value"][1] is None


async def test_slots_blocks_and_times(node: Simulator) -> None:
    """Slots, blocks and times agree with each other, and with the chain."""
    for _ in range(80):
        await node._slot(1)
    slots = (await rpc(node, "getBlocks", RULES.first_slot))["result"]
    tip = (await rpc(node, "getSlot"))["result"]
    assert slots[-1] == tip
    assert (await rpc(node, "getSlot", {"commitment": "processed"}))["result"] == node.chain.slot
    assert (await rpc(node, "getBlockTime", slots[0]))["result"] == RULES.start_time
    assert (await rpc(node, "getBlocks", slots[1], slots[3]))["result"] == slots[1:4]
    skipped = next(slot for slot in range(slots[0], tip) if slot not in slots)
    assert (await rpc(node, "getBlock", skipped))["error"]["code"] == -32007
    assert (await rpc(node, "getBlock", tip + 100))["error"]["code"] == -32004
    assert (await rpc(node, "getBlock", slots[0] - 1))["error"]["code"] == -32009
    signatures = await rpc(node, "getBlock", slots[0], {"transactionDetails": "signatures", "rewards": False})
    assert set(signatures["result"]) == {
        "blockHeight", "blockTime", "blockhash", "parentSlot", "previousBlockhash", "signatures",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("nope", [], -32601), ("getBlock", [], -32602), ("getBlock", ["x"], -32602), ("getBlock", [1, 5], -32602),
        ("getTransaction", ["xyz"], -32602), ("getSlot", [{"commitment": "sure"}], -32602),
        ("getBlocks", [0], -32602), ("getBlock", [1, {"commitment": "processed"}], -32602),
        ("getMultipleAccounts", [[PUMP] * 101], -32602), ("getSignatureStatuses", [["1" * 87] * 257], -32602),
        ("getSignaturesForAddress", [PUMP, {"limit": 1001}], -32602),
        ("getSlot", [{"minContextSlot": 1 << 60}], -32016), ("getAccountInfo", ["0"], -32602),
    ],
)  # fmt: skip
async def test_errors(node: Simulator, method: str, params: list[Any], code: int) -> None:
    """What cannot be served is an error with the code of a real node."""
    assert (await rpc(node, method, *params))["error"]["code"] == code


async def test_envelopes(node: Simulator) -> None:
    """Batches, parse errors and plain answers have the envelopes of JSON-RPC."""
    assert (await post(node, b"{"))["error"]["code"] == -32700
    assert (await post(node, 5))["error"]["code"] == -32600
    batch = [{"jsonrpc": "2.0", "id": n, "method": m} for n, m in enumerate(("getHealth", "getVersion", "nope"))]
    answers = await post(node, batch)
    assert [answer["id"] for answer in answers] == [0, 1, 2]
    assert answers[0] == {"jsonrpc": "2.0", "result": "ok", "id": 0}
    assert set(answers[1]["result"]) == {"solana-core", "feature-set"}
    assert (await rpc(node, "getTransaction", "1" * 64))["result"] is None
    latest = (await rpc(node, "getLatestBlockhash"))["result"]
    assert set(latest) == {"context", "value"}


async def test_accounts_read_as_pools(node: Simulator) -> None:
    """Pools, mints and token accounts are served as their programs store them."""
    await node.run_for(transactions=3_000)
    world = node.market.world
    for address, pool in world.ledger.pools.items():
        value = (await rpc(node, "getAccountInfo", text(address), {"encoding": "base64"}))["result"]["value"]
        mint = pool.row()["mint"]
        assert mint in base64.b64decode(value["data"][0]) or pool.row()["venue"] == "pumpfun"
        assert set(value) == {"lamports", "owner", "data", "executable", "rentEpoch", "space"}
    mints = [text(mint) for mint in list(world.bank.mints)[:5]]
    values = (await rpc(node, "getMultipleAccounts", [*mints, "1" * 31 + "2"], {"encoding": "base64"}))["result"][
        "value"
    ]
    assert [value["space"] for value in values[:5]] == [82] * 5
    assert values[5] is None


async def test_subscriptions_are_checked(node: Simulator) -> None:
    """Bad subscriptions are refused, unknown ids cannot be unsubscribed, and after unsubscribing nothing comes."""
    async with client(node) as one:
        for params in ([{"mentions": [PUMP, PUMP]}], [{"mentions": ["x"]}], [], [5]):
            assert (await one.call("logsSubscribe", *params))["error"]["code"] == -32602
        assert (await one.call("blockSubscribe", "all", {"commitment": "processed"}))["error"]["code"] == -32602
        assert (await one.call("logsUnsubscribe", 99))["error"]["code"] == -32602
        number = (await one.call("slotSubscribe"))["result"]
        assert (await one.call("slotUnsubscribe", number))["result"] is True
        await node.run_for(transactions=10)
        assert await one.results("slotNotification") == []


async def test_slow_clients_are_cut_off() -> None:
    """A client that does not read is disconnected once its queue is full, and the node goes on."""
    async with Simulator(seed=3, rate=1_000, rules=RULES, queue_size=50) as node:
        node.faults.pause()
        async with client(node) as one:
            await one.call("logsSubscribe", "all", {"commitment": "processed"})
            await node._slot(200)
            with pytest.raises(ConnectionClosed):
                await one.results("logsNotification")
        assert len(node.chain.blocks) == 1


async def test_faults_on_demand(node: Simulator) -> None:
    """Notifications can be repeated, held back and let go; connections can be cut."""
    async with client(node) as one:
        await one.call("slotSubscribe")
        node.faults.repeat = 1
        await node._slot(1)
        await node.node.pubsub.drained()
        node.faults.repeat = 0
        node.faults.pause()
        assert node.faults.paused
        await node._slot(1)
        first = node.chain.blocks[RULES.first_slot].slot
        assert [found["slot"] for found in await one.results("slotNotification")] == [first, first]
        node.faults.resume()
        await node.node.pubsub.drained()
        assert len(await one.results("slotNotification")) == 3
        node.drop_connections()
        with pytest.raises(ConnectionClosed):
            await one.call("slotSubscribe")


async def test_http_keeps_connections(node: Simulator) -> None:
    """One connection serves request after request; other HTTP methods are refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.node.http.port)
    body = b'{"jsonrpc":"2.0","id":1,"method":"getHealth"}'
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["result"] == "ok"
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 405")
    writer.close()
    assert node.node.http.requests == 3


async def test_serve_writes_its_ledger(tmp_path: Path) -> None:
    """`serve` runs in real time, and leaves the truth behind when it is stopped."""
    ledger = tmp_path / "ledger.json"
    started: list[Simulator] = []
    await serve(seed=1, rate=200, duration_s=0.5, ledger_path=ledger, ready=started.append)
    told = json.loads(ledger.read_text())
    assert len(told["trades"]) == len(started[0].ledger.of(Trade)) > 50
    assert told["transactions"]["launch"] == len(told["launches"])
    assert {pool["venue"] for pool in told["pools"].values()} <= {
        "pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm",
    }  # fmt: skip

"""Connections break as named, and the node can be away for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from simulator.chain import Rules
from simulator.faults.schedule import Fault
from simulator.run import Simulator
from tests.simulator.client import client, rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RULES = Rules(finalized_lag=4, skipped_share=0)
_SILENT_S = 0.2


@pytest.fixture
async def node() -> AsyncIterator[Simulator]:
    """Return a node that goes flat out."""
    async with Simulator(seed=3, rules=RULES) as found:
        yield found


@pytest.mark.parametrize("code", [1000, 1006, 1011, 1013])
async def test_close(node: Simulator, code: int) -> None:
    """The node closes a connection with a code, or without a word."""
    async with client(node) as one:
        await one.call("slotSubscribe")
        node.strike(Fault("close", way=str(code)))
        with pytest.raises(ConnectionClosed) as closed:
            await one.socket.recv()
    received = closed.value.rcvd
    assert (1006 if received is None else received.code) == code
    assert node.faults.struck == {"close": 1}


async def test_hang(node: Simulator) -> None:
    """A half-open connection says nothing, not even to a ping; others go on; in the end it is reset."""
    async with client(node) as one:
        await one.call("slotSubscribe")
        node.strike(Fault("hang", seconds=60))
        async with client(node) as other:
            await other.call("slotSubscribe")
            await node.run_for(transactions=10)
            assert await other.results("slotNotification")
        pong = asyncio.ensure_future(await one.socket.ping())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.socket.recv(), _SILENT_S)
        assert not pong.done()
        assert node.subscriptions == 0
        await node.calm()
        with pytest.raises(ConnectionClosed):
            await one.socket.recv()
        with pytest.raises(ConnectionClosed):
            await pong


async def test_unsubscribe(node: Simulator) -> None:
    """One subscription is forgotten without a word, the others of the connection go on."""
    async with client(node) as one:
        await one.call("slotSubscribe")
        await one.call("logsSubscribe", "all", {"commitment": "confirmed"})
        node.strike(Fault("unsubscribe", of="logs"))
        await node.run_for(transactions=10)
        assert len(await one.results("slotNotification")) == len(node.chain.blocks)
        assert await one.results("logsNotification") == []
    assert node.faults.struck == {"unsubscribe": 1}


async def test_restart(node: Simulator) -> None:
    """All connections end and nobody can connect; then the same ports answer again, and the chain went on."""
    async with client(node) as one:
        await one.call("slotSubscribe")
        node.strike(Fault("restart", seconds=60))
        with pytest.raises(ConnectionClosed):
            await one.socket.recv()
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        async with client(node):
            pass
    with pytest.raises(ConnectionRefusedError):
        await rpc(node, "getHealth")
    await node.run_for(transactions=10)
    await node.calm()
    assert (await rpc(node, "getSlot", {"commitment": "processed"}))["result"] == node.chain.slot
    async with client(node) as one:
        assert (await one.call("slotSubscribe"))["result"] > 1


async def test_a_fault_waits_for_somebody_to_strike(node: Simulator) -> None:
    """A fault of connections begins when there is one."""
    node.strike(Fault("close", way="1011"))
    await node.run_for(transactions=1)
    assert not node.faults.struck
    async with client(node) as one:
        await one.call("slotSubscribe")
        await node.run_for(transactions=1)
        await one.socket.wait_closed()
        assert one.socket.close_code == 1011

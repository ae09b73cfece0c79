"""Several nodes are asked as one, and the first that can tell does."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from monitor.errors import RequestFailed, SourceRefused
from monitor.sources import rpc
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.clients import RpcClients
from monitor.sources.endpoint import Endpoint
from tests.sources import said
from tests.sources.http_node import Reply, http_node

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.sources.http_node import HttpNode

LIMITS = ClientLimits(rate_per_s=10_000, timeout_s=5, refused_pause_s=0.05)
BLOCK = rpc.get_block(7, "finalized")


class Asking:
    """Two nodes, each of which answers with its number, and both as one."""

    def __init__(self, nodes: list[HttpNode], clients: RpcClients) -> None:
        self.nodes = nodes
        self.clients = clients
        nodes[0].results["getBlock"] = lambda _: 0
        nodes[1].results["getBlock"] = lambda _: 1

    async def ask(self) -> int | None:
        """Return which node's block it was."""
        return msgspec.json.decode((await self.clients.call(BLOCK)).result, type=int | None)

    def asked(self) -> list[int]:
        """Return how often each was asked."""
        return [len(node.requests) for node in self.nodes]


@asynccontextmanager
async def asking(*, thorough: bool = False) -> AsyncGenerator[Asking]:
    """Ask two nodes."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(http_node()) for _ in range(2)]
        clients = [await stack.enter_async_context(RpcClient(Endpoint(node.url), LIMITS)) for node in nodes]
        yield Asking(nodes, RpcClients(clients, thorough=thorough))


async def test_the_first_one_that_can_tell_does() -> None:
    """The others are not asked, and counts stand by endpoint."""
    async with asking() as subject:
        assert [await subject.ask() for _ in range(3)] == [0, 0, 0]
        assert subject.asked() == [3, 0]
        assert [sum(tally.requests.values()) for tally in subject.clients.tallies.values()] == [3, 0]
        assert "SECRET" not in "".join(subject.clients.tallies)


@pytest.mark.parametrize("code", [-32001, -32007, -32009, -32011, -32015, -32019, -32601])
async def test_what_one_has_not_another_may_have(code: int) -> None:
    """It is asked for that very thing, and the first one for the next."""
    async with asking() as subject:
        subject.nodes[0].next.append(Reply(said.error(code)))
        assert await subject.ask() == 1
        if code != -32019:  # that one's storage is away: it rests
            assert await subject.ask() == 0


@pytest.mark.parametrize("reply", [Reply(b"", status=429), Reply(b"", status=401), Reply(b"", status=502)])
async def test_one_that_is_away_rests(reply: Reply) -> None:
    """Nobody waits for it while there is another."""
    async with asking() as subject:
        subject.nodes[0].next.append(reply)
        assert [await subject.ask() for _ in range(5)] == [1] * 5
        assert subject.asked() == [1, 5]


async def test_when_all_rest_the_first_to_be_back_is_asked() -> None:
    """And what it says is told."""
    async with asking() as subject:
        subject.nodes[0].next.append(Reply(b"", status=401))
        subject.nodes[1].next.append(Reply(b"", status=429, headers={"Retry-After": "60"}))
        with pytest.raises(RequestFailed, match="429"):
            await subject.ask()
        async with asyncio.timeout(2):
            assert await subject.ask() == 0


async def test_an_error_about_the_block_says_more_than_one_about_a_node() -> None:
    """So that whoever asked knows what to expect; a refusal is told if there is nothing else."""
    async with asking() as subject:
        subject.nodes[0].next.append(Reply(b"", status=502))
        subject.nodes[1].next.append(Reply(said.error(-32009)))
        with pytest.raises(RequestFailed) as caught:
            await subject.ask()
        assert caught.value.code == -32009
    async with asking() as subject:
        for node in subject.nodes:
            node.next.append(Reply(b"", status=403))
        with pytest.raises(SourceRefused):
            await subject.ask()


async def test_a_request_that_makes_no_sense_goes_no_further() -> None:
    """Nor does one for what is not there yet, unless it is sought thoroughly."""
    async with asking() as subject:
        for code in (-32602, -32004):
            subject.nodes[0].next.append(Reply(said.error(code)))
            with pytest.raises(RequestFailed):
                await subject.ask()
        assert subject.asked() == [2, 0]
    async with asking(thorough=True) as subject:
        subject.nodes[0].next.append(Reply(said.error(-32004)))
        assert await subject.ask() == 1


async def test_nothing_is_looked_for_elsewhere_if_thorough() -> None:
    """A pruned node lists no block and knows no transaction, without any error."""
    async with asking(thorough=True) as subject:
        subject.nodes[0].results["getBlock"] = lambda _: None
        assert await subject.ask() == 1
        subject.nodes[1].results["getBlock"] = lambda _: []
        assert await subject.ask() is None
        subject.nodes[1].next.append(Reply(b"", status=500))
        assert await subject.ask() is None


async def test_each_node_is_asked() -> None:
    """Those that fail are left out."""
    async with asking() as subject:
        assert [bytes(answer.result) for answer in await subject.clients.each(BLOCK)] == [b"0", b"1"]
        subject.nodes[0].next.append(Reply(b"", status=500))
        assert [bytes(answer.result) for answer in await subject.clients.each(BLOCK)] == [b"1"]

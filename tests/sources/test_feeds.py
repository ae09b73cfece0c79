"""Several feeds of one market at once, of every kind."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.errors import ConfigError
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.feeds import feed_source
from monitor.sources.live import Following
from monitor.sources.notices import BlockSeen, FeedUp, SlotSeen
from simulator.chain import Rules
from simulator.keys import text
from simulator.run import Simulator

if TYPE_CHECKING:
    from monitor.sources.feeds import FeedKind
    from monitor.sources.notices import Notice

KINDS: tuple[FeedKind, ...] = ("logs", "blocks", "transactions", "polled_blocks")


async def told_by(
    kind: FeedKind, node: Simulator, out: Channel[Notice], stack: AsyncExitStack, programs: frozenset[str]
) -> asyncio.Task[None]:
    """Start a feed under a name of its own."""
    client = await stack.enter_async_context(
        RpcClient(Endpoint(node.http_url), ClientLimits(rate_per_s=10_000, concurrency=8))
    )
    source = feed_source(kind, f"my {kind}", Following(Endpoint(node.ws_url), programs), client=client)
    assert source.name == f"my {kind}"
    return asyncio.create_task(source.run(out))


@pytest.mark.slow
async def test_every_kind_tells_the_same_market() -> None:
    """
    Side by side, each under its name, feeds of every kind tell the same transactions at the same slots.

    Those with whole copies tell the same of them: calls, logs and balances, and their place in the block.
    """
    async with Simulator(seed=5, rules=Rules(finalized_lag=4, skipped_share=0.1)) as node, AsyncExitStack() as stack:
        programs = frozenset({text(node.market.world.pumpfun.key)})
        outs: dict[str, Channel[Notice]] = {kind: Channel(100_000, kind) for kind in KINDS}
        tasks = [await told_by(kind, node, outs[kind], stack, programs) for kind in KINDS]
        stack.push_async_callback(asyncio.wait, tasks)
        for task in tasks:
            stack.callback(task.cancel)
        async with asyncio.timeout(20):
            while node.subscriptions < 5 or any(len(outs[kind]) == 0 for kind in KINDS):
                await node._slot(0)
                await asyncio.sleep(0.01)  # the feeds come up in their own time
            first_slot = node.chain.slot + 1
            await node.run_for(transactions=600)
            last_slot = node.chain.tip("finalized")
            told = {kind: await collected(outs[kind], f"my {kind}", last_slot) for kind in KINDS}
    kept = {
        kind: {notice.signature: notice for notice in notices if notice.slot >= first_slot and not notice.failed}
        for kind, notices in told.items()
    }
    assert len(kept["blocks"]) > 100
    for kind in KINDS:
        assert kept[kind].keys() == kept["blocks"].keys(), kind
        for signature, notice in kept[kind].items():
            whole = kept["blocks"][signature]
            assert notice.slot == whole.slot
            if kind != "logs":
                assert (notice.index, notice.invokes, notice.logs, notice.token_balances) == (
                    whole.index,
                    whole.invokes,
                    whole.logs,
                    whole.token_balances,
                )
    assert any(notice.block_time is None for notice in kept["transactions"].values())
    assert {n.signature: n.block_time for n in kept["polled_blocks"].values()} == {
        n.signature: n.block_time for n in kept["blocks"].values()
    }


async def collected(out: Channel[Notice], name: str, last_slot: int) -> list[TxNotice]:
    """Return the transactions of a feed up to a slot."""
    found: list[TxNotice] = []
    while True:
        match await out.get():
            case TxNotice() as notice:
                assert notice.feed == name
                found.append(notice)
            case SlotSeen(feed=feed, root=slot) | BlockSeen(feed=feed, slot=slot):
                assert feed == name
                if slot >= last_slot:
                    return found
            case FeedUp(feed=feed):
                assert feed == name


def test_polling_needs_somebody_to_ask() -> None:
    """Without a node's HTTP address there is nothing to poll."""
    with pytest.raises(ConfigError, match="the feed second has no node to poll") as caught:
        feed_source("polled_blocks", "second", Following(Endpoint("ws://h"), frozenset()))
    assert caught.value.mend

"""Recorded events, said again by a program on a real Solana runtime, arrive as they did when they were recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bench import recorded
from decoders.core.registry import load
from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.data import data_dir
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.jobs import FetchTransaction, read_result, request_of
from monitor.sources.live import Following, logs_source
from monitor.sources.notices import FeedUp
from tests import mainnet
from tests.e2e import surfpool

if TYPE_CHECKING:
    from pathlib import Path

    from decoders.core.registry import Registry
    from monitor.sources.notices import Notice

pytestmark = [pytest.mark.ci, pytest.mark.slow]

NAMES = ("pumpfun", "pumpswap", "raydium_launchpad")
PROGRAMS = (mainnet.PUMPFUN, mainnet.PUMPSWAP)
WAIT_S = 60


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Return the decoders."""
    return load(NAMES, lambda name: (data_dir("idl") / f"{name}.json").read_bytes())


async def test_the_runtime_gives_recorded_events_by_subscription_and_by_transaction(
    registry: Registry, tmp_path: Path
) -> None:
    """Event bytes come unchanged in a log notification, and the whole transaction gives the same facts."""
    mainnet.require()
    events = [event for event in recorded.events(frozenset(PROGRAMS)) if event.program == mainnet.PUMPFUN]
    async with surfpool.run(tmp_path, PROGRAMS) as node, asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        heard: Channel[Notice] = Channel(1000, "heard")
        source = logs_source(Following(Endpoint(node.ws_url), frozenset(PROGRAMS)))
        following = tasks.create_task(source.run(heard))
        while not isinstance(await heard.get(), FeedUp):
            pass
        sent = {await node.say((event.program, event.data)): event for event in events}
        notices = await transactions(heard, len(sent))
        following.cancel()
        async with RpcClient(Endpoint(node.http_url), ClientLimits(rate_per_s=1000)) as client:
            for notice in notices:
                job = FetchTransaction(notice.signature, notice.slot)
                answer = await client.call(request_of(job, "confirmed"))
                [whole] = read_result(job, answer.result, registry.followed)
                assert isinstance(whole, TxNotice)
                facts = registry.decode(notice, {}).facts
                assert [fact.record for fact in facts] == [fact.record for fact in registry.decode(whole, {}).facts]
                assert facts
    assert {notice.signature for notice in notices} == set(sent)


async def transactions(heard: Channel[Notice], count: int) -> list[TxNotice]:
    """Return the next transactions heard of."""
    found: list[TxNotice] = []
    while len(found) < count:
        notice = await heard.get()
        if isinstance(notice, TxNotice):
            found.append(notice)
    return found

"""A feed of blocks that are asked for."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.errors import SourceRefused
from monitor.pipeline.feeds import Feeds
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.notices import BlockSeen, EndOfInput, FeedDown, FeedUp
from monitor.sources.polled import Pace, PollRules, polled_blocks_source
from monitor.sources.recorder import Recorder
from monitor.sources.replay import CaptureSource
from monitor.store.batch import Hole
from tests.sources import said
from tests.sources.http_node import Reply, http_node
from tests.sources.node import LIMITS, following

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from monitor.sources.live import Tap
    from monitor.sources.notices import Notice
    from monitor.sources.polled import PolledBlocks
    from tests.sources.http_node import HttpNode

RULES = PollRules(shortest_pause_s=0.001, longest_pause_s=0.005, window_slots=100, behind_slots=20)


class Chain:
    """A chain under a test's control: slots with blocks, and what the node hides of them."""

    def __init__(self, server: HttpNode, *slots: int) -> None:
        self.slots = list(slots)
        self.unlisted: set[int] = set()
        self.withheld: set[int] = set()
        self.forked: set[int] = set()
        server.results = {"getSlot": self.newest, "getBlocks": self.listed, "getBlock": self.block}

    def newest(self, params: list[Any]) -> int:
        """Return the newest slot."""
        assert params == [{"commitment": "confirmed"}]
        return max(self.slots)

    def listed(self, params: list[Any]) -> list[int]:
        """List blocks."""
        first, last, options = params
        assert options == {"commitment": "confirmed"}
        return [slot for slot in self.slots if first <= slot <= last and slot not in self.unlisted]

    def block(self, params: list[Any]) -> Any:
        """Return a block: one transaction of ours in each."""
        slot, options = params
        assert (options["transactionDetails"], options["maxSupportedTransactionVersion"]) == ("full", 1)
        if slot in self.withheld or slot not in self.slots:
            return Reply(said.error(-32009, f"Slot {slot} was skipped, or missing in long-term storage"))
        chain = [one for one in self.slots if one < slot and one not in self.forked]
        parent = max(chain, default=slot - 1)
        answer = said.block_answer(slot, [said.entry(slot), said.entry(0, program="1")])
        return {**answer, "parentSlot": parent, "previousBlockhash": f"hash{parent}"}


class Polling:
    """A feed at work, and what it put out."""

    def __init__(self, source: PolledBlocks, out: Channel[Notice]) -> None:
        self.source = source
        self.out = out

    async def get(self) -> Notice:
        """Return the next notice."""
        return await self.out.get(asyncio.get_running_loop().time() + 5)

    async def until(self, slot: int) -> list[Notice]:
        """Return what is told up to the block of a slot."""
        told = [await self.get()]
        while not (isinstance(told[-1], BlockSeen) and told[-1].slot == slot):
            told.append(await self.get())
        return told


@asynccontextmanager
async def polling(
    server: HttpNode,
    *,
    stall_s: float = 5.0,
    concurrency: int = 8,
    timeout_s: float = 5.0,
    tap: Tap | None = None,
    name: str = "polled",
) -> AsyncGenerator[Polling, None]:
    """Run a feed, and cancel it in the end."""
    limits = dataclasses.replace(LIMITS, stall_timeout_s=stall_s)
    out: Channel[Notice] = Channel(10_000, "out")
    usage = ClientLimits(rate_per_s=100_000, concurrency=concurrency, timeout_s=timeout_s)
    async with RpcClient(Endpoint(server.url), usage) as client:
        source = polled_blocks_source(client, following("ws://unused", limits), name=name, tap=tap, rules=RULES)
        task = asyncio.create_task(source.run(out))
        try:
            yield Polling(source, out)
        finally:
            task.cancel()
            await asyncio.wait([task])
    assert task.cancelled(), task


def slots(told: list[Notice]) -> list[int]:
    """Return the slots of the blocks among notices."""
    return [notice.slot for notice in told if isinstance(notice, BlockSeen)]


def holes(told: list[Notice], through: int | None = None) -> list[Hole]:
    """Return what is missed by the word of these notices."""
    feeds = Feeds(through)
    found: list[object] = []
    for notice in told:
        match notice:
            case FeedUp(feed=feed, subscribed_at_slot=slot):
                found += feeds.up(feed, slot)
            case FeedDown(feed=feed):
                found += feeds.down(feed)
            case BlockSeen():
                found += feeds.block(notice, None)
    return [one for one in found if isinstance(one, Hole)]


async def test_it_follows_the_tip_in_order() -> None:
    """From the newest slot on every block is told whole, in order, exactly as a feed of blocks tells it."""
    async with http_node() as server:
        chain = Chain(server, 7, 9)
        async with polling(server) as feed:
            assert await feed.get() == FeedUp("polled", 9)
            notice = await feed.get()
            assert isinstance(notice, TxNotice)
            assert (notice.signature, notice.slot, notice.index, notice.block_time, notice.feed) == (
                said.signature(9),
                9,
                0,
                said.BLOCK_TIME,
                "polled",
            )
            first = await feed.get()
            assert first == BlockSeen(9, 7, "hash9", "hash7", said.BLOCK_TIME, "polled")
            chain.slots += [11, 12, 15]
            told = await feed.until(15)
            assert slots(told) == [11, 12, 15]
            assert holes([FeedUp("polled", 9), first, *told]) == []
            tally = feed.source.tally
            assert (tally.connects, tally.frames, tally.received, tally.irrelevant, tally.forwarded) == (1, 4, 8, 4, 4)
            assert (tally.head_slot, tally.behind_slots, tally.losses) == (15, 0, {})


async def test_what_is_not_listed_is_fetched_by_its_child() -> None:
    """A block that the node does not list, the parent chain names: it is told in its turn, and no hole is made."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with polling(server) as feed:
            told = await feed.until(9)
            chain.unlisted |= {11, 12, 13}
            chain.slots += [11, 12, 13, 14]
            told += await feed.until(14)
            assert slots(told) == [9, 11, 12, 13, 14]
            assert holes(told) == []


async def test_a_listed_block_that_is_not_there_is_waited_for() -> None:
    """As long as a later block names it as its parent, nothing behind it is told."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with polling(server) as feed:
            await feed.until(9)
            chain.withheld.add(10)
            chain.slots += [10, 11]
            await server.arrived(30)
            assert len(feed.out) == 0
            chain.withheld.clear()
            assert slots(await feed.until(11)) == [10, 11]
            assert feed.source.tally.losses == {}


async def test_a_listed_block_of_a_fork_is_left_out() -> None:
    """What the parent chain jumps over was skipped, whatever the node listed: the error alone would prove nothing."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with polling(server) as feed:
            told = await feed.until(9)
            chain.withheld.add(10)
            chain.forked.add(10)
            chain.slots += [10, 11]
            told += await feed.until(11)
            assert slots(told) == [9, 11]
            assert holes(told) == []


async def test_a_node_that_fails_for_long_leaves_a_hole() -> None:
    """After the stall timeout the feed is down; then it begins at the newest slot, and the rest is a hole."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with polling(server, stall_s=0.2) as feed:
            told = await feed.until(9)
            results, server.results = server.results, {}
            server.results["getBlocks"] = lambda _: Reply(status=503)
            chain.slots += [10, 11, 20]
            told.append(await feed.get())
            assert isinstance(told[-1], FeedDown)
            assert "HTTP 503" in told[-1].reason
            assert "SECRET" not in told[-1].reason
            server.results = results
            told += await feed.until(20)
            assert slots(told) == [9, 20]
            assert [(hole.first_slot, hole.last_slot) for hole in holes(told)] == [(10, 20)]
            assert feed.source.tally.losses["polling"] >= 1
            assert feed.source.tally.connects == 2


async def test_a_node_that_hangs() -> None:
    """Connections that stand, and on which nothing comes any more, are a loss like any other."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with polling(server, stall_s=0.1, timeout_s=0.1) as feed:
            await feed.until(9)
            server.results["getBlocks"] = lambda _: Reply(hang=True)
            down = await feed.get()
            assert isinstance(down, FeedDown)
            assert "no answer within 0.1 s" in down.reason
            server.results["getBlocks"] = chain.listed
            chain.slots.append(12)
            assert slots(await feed.until(12)) == [12]


async def test_a_short_failure_costs_nothing() -> None:
    """What fails for less than the stall timeout is asked again, and everything comes in order."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with polling(server) as feed:
            told = await feed.until(9)
            chain.slots += range(10, 40)
            garbage = [Reply(b"garbage"), Reply(said.result("x")), Reply(said.result(None)), Reply(said.error(-32005))]
            server.next.extend([Reply(status=500), *garbage, Reply(cut=True), Reply(said.result([-1, 10]))] * 3)
            told += await feed.until(39)
            assert slots(told) == list(range(9, 40))
            assert holes(told) == []
            assert feed.source.tally.losses == {}


async def test_a_node_that_stands_still_is_lost() -> None:
    """A node without new blocks is silent; one that started anew from below is followed from there."""
    async with http_node() as server:
        chain = Chain(server, 900)
        async with polling(server, stall_s=0.1) as feed:
            told = await feed.until(900)
            chain.slots = [3]
            told.append(await feed.get())
            assert isinstance(told[-1], FeedDown)
            assert "has no new block" in told[-1].reason
            assert feed.source.tally.losses == {"silent": 1}
            told += await feed.until(3)
            assert isinstance(told[-3], FeedUp)
            assert feed.source.tally.head_slot == 3


async def test_blocks_are_fetched_side_by_side() -> None:
    """A feed that lies behind fetches several blocks at once, half of what the client may, and says how far it lies."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with polling(server, concurrency=6) as feed:
            await feed.until(9)

            def listed_then_hung(params: list[Any]) -> list[int]:
                server.busiest = 0
                server.gate.clear()  # for what is asked after this
                return Chain.listed(chain, params)

            chain.slots += range(10, 300)
            server.results["getBlocks"] = listed_then_hung
            while server.busiest < 3:
                await server.arrived(1)
            assert feed.source.tally.behind_slots > 20
            server.results["getBlocks"] = chain.listed
            server.gate.set()
            told = await feed.until(60)
            assert server.busiest == 3
            told += await feed.until(299)
            assert slots(told) == list(range(10, 300))
            await server.arrived(1)
            assert feed.source.tally.behind_slots == 0


@pytest.mark.parametrize("parent", [12, 99])
async def test_a_parent_that_cannot_be(parent: int) -> None:
    """A block that names itself or a later one as its parent is not told: the feed waits for a better answer."""
    async with http_node() as server:
        chain = Chain(server, 9)
        block = chain.block
        wrong = 3

        def contradict(params: list[Any]) -> Any:
            nonlocal wrong
            if params[0] != 12 or wrong == 0:
                return block(params)
            wrong -= 1
            return {**block(params), "parentSlot": parent}

        server.results["getBlock"] = contradict
        async with polling(server) as feed:
            told = await feed.until(9)
            chain.slots += [11, 12]
            told += await feed.until(12)
            assert (slots(told), wrong) == ([9, 11, 12], 0)


async def test_a_refusal_ends_it() -> None:
    """A node that does not let us in ends the feed, at its start and later; one that was up is told to be down."""
    async with http_node() as server:
        chain = Chain(server, 9)
        async with RpcClient(Endpoint(server.url), ClientLimits(rate_per_s=1000)) as client:
            out: Channel[Notice] = Channel(100, "out")
            server.next.append(Reply(status=401))
            with pytest.raises(SourceRefused, match="401"):
                await polled_blocks_source(client, following("ws://unused"), rules=RULES).run(out)
        async with RpcClient(Endpoint(server.url), ClientLimits(rate_per_s=1000)) as client:
            task = asyncio.create_task(polled_blocks_source(client, following("ws://unused"), rules=RULES).run(out))
            await server.arrived(4)
            server.results["getBlocks"] = lambda _: Reply(status=403)
            async with asyncio.timeout(5):
                with pytest.raises(SourceRefused, match="403"):
                    await task
        told = out.get_nowait_all(100)
        assert [type(notice) for notice in told] == [FeedUp, TxNotice, BlockSeen, FeedDown]
        assert chain.slots


async def test_no_slot() -> None:
    """A node whose newest slot cannot be had is tried again."""
    async with http_node() as server:
        Chain(server, 9)
        server.next.extend([Reply(said.result("x")), Reply(status=500)])
        async with polling(server) as feed:
            assert await feed.get() == FeedUp("polled", 9)
            assert feed.source.tally.losses == {"polling": 2}


async def test_a_replayed_life_equals_the_live_one(tmp_path: Path) -> None:
    """The answers are recorded: a capture gives the notices that the feed gave, ups and downs included."""
    live: list[Notice] = []
    programs = frozenset({said.PROGRAM})
    recorder = Recorder(tmp_path / "c", feed="mine", endpoint=Endpoint("http://h/SECRET"), programs=programs)
    async with http_node() as server:
        chain = Chain(server, 9)
        with recorder:
            async with polling(server, stall_s=0.1, tap=recorder, name="mine") as feed:
                live += await feed.until(9)
                chain.slots += [10, 12]
                live += await feed.until(12)
                live.append(await feed.get())
                assert isinstance(live[-1], FeedDown)
    out: Channel[Notice] = Channel(1000, "out")
    source = CaptureSource(tmp_path / "c", programs)
    await source.run(out)
    assert out.get_nowait_all(1000)[: len(live)] == live
    assert [type(notice) for notice in live].count(BlockSeen) == 3
    assert (source.tally.frames >= 3, source.tally.malformed, source.name) == (True, 0, "mine")


async def test_a_spoilt_recording(tmp_path: Path) -> None:
    """An answer in a capture that holds no block is counted, and ends nothing."""
    programs = frozenset({said.PROGRAM})
    with Recorder(tmp_path / "c", feed="f", endpoint=Endpoint("http://h"), programs=programs) as recorder:
        recorder.polled(9, said.result("x"))
        recorder.polled(9, said.error(-32009))
        recorder.polled(9, said.result(said.block_answer(9, [])))
    out: Channel[Notice] = Channel(1000, "out")
    source = CaptureSource(tmp_path / "c", programs)
    await source.run(out)
    seen = BlockSeen(9, 8, "hash9", "hash8", said.BLOCK_TIME, "f")
    assert out.get_nowait_all(10) == [seen, EndOfInput("f")]
    assert source.tally.malformed == 2


def test_the_pace_adapts() -> None:
    """Looks that find nothing come later, those that find several come sooner, both within bounds."""
    rules = PollRules()
    pace = Pace(rules, rules.longest_pause_s)
    assert [pace.found(3) for _ in range(10)][-1] == rules.shortest_pause_s
    assert pace.found(1) == rules.shortest_pause_s
    assert [pace.found(0) for _ in range(10)][-1] == rules.longest_pause_s

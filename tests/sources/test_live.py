"""A feed that lives through the loss of its connections."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

from decoders.core.types import TxNotice
from monitor.channel import Channel
from monitor.errors import SourceRefused
from monitor.sources.live import blocks_source, logs_source
from monitor.sources.notices import BlockSeen, FeedDown, FeedUp, FrameLost, SlotSeen
from tests.sources import said
from tests.sources.node import LIMITS, following, node, running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.sources.notices import Notice
    from tests.sources.node import Node, Peer, Running


class Told:
    """A tap that remembers."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def connected(self, labels: Mapping[int, str]) -> None:
        """Remember."""
        self.lines.append(sorted(labels.values()))

    def frame(self, raw: bytes) -> None:
        """Remember."""
        self.lines.append(raw)

    def polled(self, slot: int, body: bytes) -> None:
        """Remember."""
        self.lines.append((slot, body))

    def lost(self, reason: str) -> None:
        """Remember."""
        self.lines.append(("lost", reason))


async def subscribed(server: Node) -> tuple[Peer, dict[str, int]]:
    """Acknowledge the next connection's subscriptions."""
    peer = await server.peer()
    return peer, await peer.acknowledge(3)


async def signature(source: Running) -> str:
    """Return the signature of the next notice, which must be a transaction."""
    notice = await source.get()
    assert isinstance(notice, TxNotice)
    return notice.signature


async def test_one_connection_carries_every_program() -> None:
    """One subscription a program and one for slots; a transaction of two programs comes as each one's, in its turn."""
    async with node() as server, running(logs_source(following(server.url))) as source:
        peer, ids = await subscribed(server)
        assert set(ids) == {said.PROGRAM, said.OTHER_PROGRAM, "slotSubscribe"}
        one, other = ids[said.PROGRAM], ids[said.OTHER_PROGRAM]
        await peer.send(said.logs(1, 9, one), said.logs(2, 9, other), said.logs(1, 9, other), said.logs(1, 9, one))
        await peer.send(said.slot(40, ids["slotSubscribe"]))
        told = [await source.get() for _ in range(3)]
        assert [(n.signature, n.program, n.arrival) for n in told if isinstance(n, TxNotice)] == [
            (said.signature(1), said.PROGRAM, 1),
            (said.signature(2), said.OTHER_PROGRAM, 1),
            (said.signature(1), said.OTHER_PROGRAM, 2),
        ]
        assert await source.get() == FeedUp("logs", 40)
        assert await source.get() == SlotSeen(40, 39, 8, "logs")
        tally = source.source.tally
        assert (tally.connects, tally.frames, tally.repeats, tally.head_slot) == (1, 5, 1, 40)


@pytest.mark.parametrize("how", ["close", "reset", "silence", "oversized"])
async def test_it_comes_back_whatever_broke(how: str) -> None:
    """The loss is told with its reason and counted by kind; the next connection subscribes anew, and forwards."""
    limits = dataclasses.replace(LIMITS, stall_timeout_s=0.2 if how == "silence" else 5.0, max_frame_bytes=1000)
    async with node() as server, running(logs_source(following(server.url, limits))) as source:
        peer, ids = await subscribed(server)
        await peer.send(said.slot(40, ids["slotSubscribe"]))
        assert await source.get() == FeedUp("logs", 40)
        assert isinstance(await source.get(), SlotSeen)
        match how:
            case "close":
                await peer.connection.close()
            case "reset":
                peer.reset()
            case "silence":
                peer.connection.transport.pause_reading()
            case "oversized":
                await peer.send("x" * 1001)
        down = await source.get()
        assert isinstance(down, FeedDown)
        assert "SECRET" not in down.reason
        peer, ids = await subscribed(server)
        await peer.send(said.slot(50, ids["slotSubscribe"]), said.logs(7, 50, ids[said.PROGRAM]))
        assert await source.get() == FeedUp("logs", 50)
        assert isinstance(await source.get(), SlotSeen)
        assert await signature(source) == said.signature(7)
        kind = {"close": "closed", "reset": "broken", "silence": "silent"}.get(how, how)
        assert source.source.tally.losses == {kind: 1}
        assert source.source.tally.connects == 2


async def test_what_passes_is_tried_again_quietly() -> None:
    """A node that cannot be had yet is tried again; nothing was up, so nothing is told to be down."""
    async with node() as server:
        server.statuses = [(503, {}), (429, {"Retry-After": "0"})]
        async with running(logs_source(following(server.url))) as source:
            peer, ids = await subscribed(server)
            await peer.send(said.slot(40, ids["slotSubscribe"]))
            assert await source.get() == FeedUp("logs", 40)
            assert source.source.tally.losses == {"http": 2}


async def test_what_lasts_ends_the_source() -> None:
    """A refusal ends the source with an error that names the mend."""
    async with node() as server:
        server.statuses = [(401, {})]
        out: Channel[Notice] = Channel(10, "out")
        with pytest.raises(SourceRefused, match="HTTP 401") as caught:
            await logs_source(following(server.url)).run(out)
        assert caught.value.mend


async def test_garbage_leaves_its_slots_in_doubt() -> None:
    """A frame that cannot be read ends nothing: it tells which slots it may have been about, once for each slot."""
    async with node() as server, running(logs_source(following(server.url))) as source:
        peer, ids = await subscribed(server)
        slots = ids["slotSubscribe"]
        await peer.send(said.slot(50, slots), *["garbage"] * 3, said.slot(51, slots), "garbage", said.slot(52, slots))
        told = [await source.get() for _ in range(6)]
        assert [notice for notice in told if isinstance(notice, FrameLost)] == [
            FrameLost("logs", 50, 51),
            FrameLost("logs", 52, 52),
        ]
        assert source.source.tally.losses == {}


async def test_garbage_and_strays_are_counted() -> None:
    """Neither ends the feed, until strays show that the node mixes up subscriptions."""
    async with node() as server, running(logs_source(following(server.url))) as source:
        peer, ids = await subscribed(server)
        await peer.send("garbage", said.logs(1, 9, 999), said.logs(2, 9, ids[said.PROGRAM]))
        assert await signature(source) == said.signature(2)
        assert (source.source.tally.malformed, source.source.tally.strays) == (1, 1)
        await peer.send(*[said.logs(number, 9, 999) for number in range(20)])
        down = await source.get()
        assert isinstance(down, FeedDown)
        assert "mixes up subscriptions" in down.reason
        assert source.source.tally.losses == {"strays": 1}
        peer, ids = await subscribed(server)
        await peer.send(said.logs(3, 9, ids[said.PROGRAM]))
        assert await signature(source) == said.signature(3)


async def test_blocks() -> None:
    """Blocks are asked for whole, and told with their parents."""
    async with node() as server, running(blocks_source(following(server.url))) as source:
        peer = await server.peer()
        request = await peer.request()
        assert request["method"] == "blockSubscribe"
        assert request["params"] == [
            "all",
            {
                "encoding": "json",
                "commitment": "confirmed",
                "maxSupportedTransactionVersion": 1,
                "transactionDetails": "full",
                "showRewards": False,
            },
        ]
        await peer.send(said.result(5, request["id"]), said.block(9, [said.entry(1), said.entry(2, program="1")], 5))
        assert await source.get() == FeedUp("blocks", 9)
        assert await signature(source) == said.signature(1)
        assert await source.get() == BlockSeen(9, 8, "hash9", "hash8", said.BLOCK_TIME, "blocks")


async def test_backpressure_loses_nothing() -> None:
    """A full outlet holds the node back; every notice arrives, in order, without a loss of the connection."""
    limits = dataclasses.replace(LIMITS, queue_frames=4, stall_timeout_s=0.2)
    count = 3000
    async with node() as server, running(logs_source(following(server.url, limits)), capacity=1) as source:
        peer, ids = await subscribed(server)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.send(*(said.logs(number, 9, ids[said.PROGRAM]) for number in range(count))))
            await asyncio.sleep(0.3)  # longer than the stall timeout: being held back is no silence
            for number in range(count):
                assert await signature(source) == said.signature(number)
        assert source.source.tally.losses == {}


async def test_the_tap_hears_what_counts() -> None:
    """A tap hears the feed's own frames and garbage word by word, and every coming and going."""
    tap = Told()
    async with node() as server, running(logs_source(following(server.url), tap=tap)) as source:
        peer, ids = await subscribed(server)
        frames = [said.logs(1, 9, ids[said.PROGRAM]), b"garbage", said.slot(40, ids["slotSubscribe"])]
        await peer.send(frames[0], said.logs(2, 9, 999), *frames[1:])
        for _ in range(3):
            await source.get()
        await peer.connection.close()
        down = await source.get()
        assert isinstance(down, FeedDown)
        assert tap.lines == [sorted([said.PROGRAM, said.OTHER_PROGRAM, "slots"]), *frames, ("lost", down.reason)]


async def test_a_subscription_that_is_dropped_without_a_word() -> None:
    """While slots go on, a program that used to tell something is missed: the connection is renewed."""
    limits = dataclasses.replace(LIMITS, subscription_silence_s=0.2)
    async with node() as server, running(logs_source(following(server.url, limits))) as source:
        peer, ids = await subscribed(server)
        await peer.send(*[said.logs(number, 9, ids[said.PROGRAM]) for number in range(20)])
        for number in range(20):
            assert await signature(source) == said.signature(number)

        async def slots() -> None:
            with contextlib.suppress(ConnectionClosed):
                for number in itertools.count(40):
                    await peer.send(said.slot(number, ids["slotSubscribe"]))
                    await asyncio.sleep(0.02)  # a node's own pace: silence is what is tested

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(slots())
            down: Notice = await source.get()
            while not isinstance(down, FeedDown):
                down = await source.get()
        assert f"told nothing of {said.PROGRAM}" in down.reason
        assert source.source.tally.losses == {"subscription_silent": 1}
        await subscribed(server)

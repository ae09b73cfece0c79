"""The announce stage: a stream of launches and graduations, trades for who listens, and a Redis that goes away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
import uvloop
from structlog.testing import capture_logs

from decoders.core.types import Trade
from monitor.channel import Channel
from monitor.errors import ConfigError, RedisUnavailable
from monitor.pipeline.announce import (
    STREAM,
    Drops,
    RedisAnnouncer,
    announce,
    connect,
    discard,
    identity,
    trades_channel,
)
from monitor.present import fact_json
from tests.pipeline import valkey
from tests.pipeline.facts import complete, graduation, launch, trade
from tests.pipeline.stages import decoding, filled, logged_buys
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from decoders.core.types import Fact
    from monitor.pipeline.protocols import Announcer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[valkey.Valkey]:
    """A Valkey."""
    async with valkey.running(tmp_path) as server:
        yield server


@pytest.fixture
async def redis(server: valkey.Valkey) -> AsyncIterator[Redis]:
    """A client of it, as the daemon has one."""
    async with connect(server.url, 5) as client:
        yield client


async def entries(redis: Redis) -> list[dict[bytes, bytes]]:
    """Return the stream's entries, oldest first."""
    return [members for _, members in cast("list[Any]", await redis.xrange(STREAM))]


@asynccontextmanager
async def listening(redis: Redis, mint: str) -> AsyncIterator[AsyncIterator[Any]]:
    """Yield the trades of a mint that are told from now on."""
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(trades_channel(mint))
        heard = pubsub.listen()
        assert (await anext(heard))["type"] == "subscribe"
        yield heard
        await heard.aclose()


async def tell(facts: Sequence[Fact], announcer: Announcer, drops: Drops | None = None) -> None:
    """Run the stage over these."""
    async with asyncio.timeout(20):
        await announce(cast("Channel[Fact]", filled(facts, "live")), announcer, drops or Drops())


async def test_the_stream_has_all_but_trades(redis: Redis) -> None:
    """An entry carries kind, identity and the fact as JSON, without the raw event; the order is that of the facts."""
    told = [launch(), trade(), complete(nth=2), graduation()]
    await tell(told, RedisAnnouncer(redis, 100))
    found = await entries(redis)
    assert [members[b"fact"] for members in found] == [b"launch", b"curve_complete", b"graduation"]
    for members, fact in zip(found, [told[0], told[2], told[3]], strict=True):
        assert members.keys() == {b"fact", b"identity", b"json"}
        assert tuple(msgspec.json.decode(members[b"identity"])) == identity(fact)
        assert msgspec.json.decode(members[b"json"]) == fact_json(fact, raw=False)


async def test_an_announced_event_is_not_told_raw(redis: Redis) -> None:
    """Whoever needs its bytes finds it in the database, by its identity."""
    (fact,) = [item for told in logged_buys(1) for item in decoding().take(told)]
    assert isinstance(fact, Trade)
    assert fact.record is not None
    async with listening(redis, str(fact.mint)) as heard:
        await tell([fact], RedisAnnouncer(redis, 100))
        said = msgspec.json.decode((await anext(heard))["data"])
    assert said == fact_json(fact, raw=False)
    assert not said.keys() & {"fields", "tail_hex"}


async def test_a_mint_s_trades_go_to_who_listens_to_it(redis: Redis) -> None:
    """In their order, and no others."""
    async with listening(redis, "a") as heard:
        told = [trade(mint=mint, nth=number) for number, mint in enumerate("abaabba")]
        await tell(told, RedisAnnouncer(redis, 100))
        said = [msgspec.json.decode((await anext(heard))["data"]) for _ in range(4)]
    assert [one["nth"] for one in said] == [0, 2, 3, 6]
    assert {one["mint"] for one in said} == {"a"}
    assert await redis.exists(STREAM) == 0


async def test_the_stream_is_bounded(redis: Redis) -> None:
    """The newest stay; Redis cuts whole blocks of a hundred, so that there are a few more than asked for."""
    await tell([launch(nth=number) for number in range(1_200)], RedisAnnouncer(redis, 200))
    numbers = [msgspec.json.decode(members[b"json"])["nth"] for members in await entries(redis)]
    assert 200 <= len(numbers) <= 300
    assert numbers == list(range(1_200 - len(numbers), 1_200))


async def test_a_redis_that_is_away_costs_announcements_and_nothing_else(server: valkey.Valkey) -> None:
    """What cannot be told is counted, the log says so once, and after a restart all goes on, scripts and all."""
    drops = Drops()
    async with connect(server.url, 5) as client:
        announcer = RedisAnnouncer(client, 100)
        await tell([launch(nth=0)], announcer, drops)
        await server.stop()
        live: Channel[Fact] = Channel(10, "live")
        with capture_logs() as logs:
            async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                tasks.create_task(announce(live, announcer, drops))
                for number in (1, 2, 3):
                    live.offer(launch(nth=number))
                    while drops.count < number:  # noqa: ASYNC110 - a count, which nobody signals
                        await asyncio.sleep(0)
                    assert "Redis" in (drops.because or "")
                await server.start()
                live.offer(launch(nth=4))
                live.close()
        assert drops.count == 3
        assert drops.because is None
        assert [entry["event"] for entry in logs] == ["announcements_dropped", "announcements_told_again"]
        assert logs[1]["dropped"] == 3
        assert [msgspec.json.decode(members[b"json"])["nth"] for members in await entries(client)] == [4]


async def test_a_redis_that_hangs_is_given_up(server: valkey.Valkey) -> None:
    """After the configured time, and without a second try: that could tell everything twice."""
    async with connect(server.url, 0.1) as client:
        announcer = RedisAnnouncer(client, 100)
        await announcer.announce([launch(nth=0)])
        server.freeze()
        began = asyncio.get_running_loop().time()
        with pytest.raises(RedisUnavailable):
            await announcer.announce([launch(nth=1)])
        assert asyncio.get_running_loop().time() - began < 0.5
        server.thaw()
    async with connect(server.url, 5) as client:
        await RedisAnnouncer(client, 100).announce([launch(nth=2)])
        numbers = [msgspec.json.decode(members[b"json"])["nth"] for members in await entries(client)]
        assert numbers in ([0, 2], [0, 1, 2])


def test_a_connection_that_is_reset(tmp_path: Path) -> None:
    """On the daemon's own event loop too it costs what was to be told next, and no more."""

    async def scenario() -> None:
        async with (
            valkey.running(tmp_path) as server,
            Proxy("127.0.0.1", server.port) as proxy,
            connect(f"redis://127.0.0.1:{proxy.port}/0", 5) as client,
        ):
            announcer = RedisAnnouncer(client, 100)
            await announcer.announce([launch(nth=0)])
            proxy.cut()
            while proxy.connections:  # noqa: ASYNC110 - nobody signals it
                await asyncio.sleep(0)
            (connection,) = client.connection_pool._available_connections
            assert connection._writer is not None
            while not connection._writer.transport.is_closing():  # noqa: ASYNC110 - nor this
                await asyncio.sleep(0)
            with pytest.raises(RedisUnavailable) as caught:
                await announcer.announce([launch(nth=1)])
            assert isinstance(caught.value.__cause__, RuntimeError)
            await announcer.announce([launch(nth=2)])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_redis_that_refuses_is_away(redis: Redis) -> None:
    """Out of memory, or something else under our name: the announcements are dropped, the stage goes on."""
    await redis.set(STREAM, "what is this")
    drops = Drops()
    await tell([launch()], RedisAnnouncer(redis, 100), drops)
    assert drops.count == 1


class Crowd:
    """Who hears of everything, some hundred at once."""

    def __init__(self) -> None:
        self.batches: list[list[Fact]] = []

    async def announce(self, facts: Sequence[Fact]) -> None:
        """Remember them."""
        self.batches.append(list(facts))


async def test_many_go_together() -> None:
    """What waits is one call, up to some hundreds."""
    crowd = Crowd()
    told = [trade(nth=number) for number in range(1_234)]
    await tell(told, crowd)
    assert [fact for batch in crowd.batches for fact in batch] == told
    assert len(crowd.batches) == 3


async def test_without_redis_nothing_piles_up() -> None:
    """The live branch is read to nowhere."""
    live = filled([trade()] * 700, "live")
    await discard(cast("Channel[Fact]", live))
    assert len(live) == 0


async def test_what_is_left_when_it_is_cancelled_counts_as_dropped() -> None:
    """Both what is on its way and what still waits."""

    class Deaf:
        """Who never answers."""

        def __init__(self) -> None:
            self.asked = asyncio.Event()

        async def announce(self, facts: Sequence[Fact]) -> None:
            """Wait for ever."""
            self.asked.set()
            await asyncio.Event().wait()

    deaf, drops = Deaf(), Drops()
    live = cast("Channel[Fact]", filled([trade()] * 700, "live"))
    task = asyncio.create_task(announce(live, deaf, drops))
    await deaf.asked.wait()
    task.cancel()
    await asyncio.wait({task})
    assert drops.count == 700


def test_an_option_that_redis_does_not_know_is_refused_at_once() -> None:
    """It would be found at the first connection, as an error of ours; its value is not told."""
    with pytest.raises(ConfigError, match="api-key") as caught:
        connect("redis://localhost/0?api-key=SECRET", 1.0)
    assert "SECRET" not in str(caught.value)
    connect("redis://localhost/0?protocol=3&client_name=me", 1.0)

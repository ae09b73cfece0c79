"""How a run ends: when its sources do, when it is told to stop, and when something breaks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from monitor.config import Config, History, Node
from monitor.config import Feed as ConfigFeed
from monitor.errors import (
    EXIT_BUG,
    ConfigError,
    DrainTooSlow,
    MonitorError,
    NoSourceLeft,
    SchemaMismatch,
    SourceRefused,
    exit_code,
    leaves,
)
from monitor.node import addresses, nodes_of
from monitor.sources.notices import EndOfInput, FeedUp, SlotSeen
from monitor.stages import build, follow_sources
from monitor.store.batch import Progress
from tests.decoders.built import ALL
from tests.pipeline.stages import Books, logged_buys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from decoders.core.types import Fact
    from monitor.pipeline.protocols import Announcer
    from monitor.sources.notices import Notice, Outlet
    from monitor.stages import Pipeline

PATIENCE_S = 20


@dataclass
class Feed:
    """A source that puts out notices, and then does as told: end, raise or stay."""

    notices: Sequence[Notice] = ()
    error: Exception | None = None
    stays: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    found_closed: bool | None = None
    """Whether the outlet was closed when this was cancelled; None: it was not cancelled."""

    async def run(self, out: Outlet) -> None:
        """Do so."""
        for notice in self.notices:
            await out.put(notice)
        self.done.set()
        if self.error is not None:
            raise self.error
        if self.stays:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.found_closed = out.closed  # type: ignore[attr-defined]  # the outlet is the wire
                raise


@dataclass
class Refusing(Feed):
    """A source that is refused so many times, the first time once `after` is set."""

    refusals: int = 0
    after: asyncio.Event | None = None

    async def run(self, out: Outlet) -> None:
        """Do so."""
        if self.after is not None:
            await self.after.wait()
        if self.refusals:
            self.refusals -= 1
            raise SourceRefused("401")
        await super().run(out)


class Bug(Exception):  # noqa: N818 - the word for it
    """What nobody foresaw."""


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    """Whatever happens, every task that a run began has ended with it."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}


def pipeline(books: Any, announcer: Announcer | None = None) -> Pipeline:
    """Return stages that keep these books."""
    return build(
        ALL,
        books,
        fetcher=None,
        announcer=announcer,
        everything=True,
        batch_max_rows=100,
        live=announcer is not None,
    )


async def run(
    stages: Pipeline,
    *sources: Feed,
    helpers: Sequence[Feed] = (),
    stop: asyncio.Event | None = None,
    deadline_s: float = PATIENCE_S,
) -> None:
    """Follow these sources."""
    async with asyncio.timeout(2 * PATIENCE_S):
        await follow_sources(stages, sources, helpers, stop or asyncio.Event(), deadline_s=deadline_s)


async def test_it_ends_when_its_sources_do() -> None:
    """All that they told is committed, and those that serve them are let go."""
    books, helper = Books(), Feed(stays=True)
    stages = pipeline(books)
    await run(stages, Feed([*logged_buys(250), EndOfInput("a")]), Feed([EndOfInput("b")]), helpers=[helper])
    assert [fact.signature for fact in books.facts] == [str(number) for number in range(250)]
    assert helper.found_closed is False
    assert stages.decoding.ledger.in_flight == 0


async def test_a_stop_ends_sources_first_and_commits_the_rest() -> None:
    """They are cancelled while the wire is open; what they had told by then is committed, progress included."""
    books, stop = Books(), asyncio.Event()
    books.open.clear()
    feed = Feed([FeedUp("logs", 90), *logged_buys(9), SlotSeen(141, 140, 120, "logs")], stays=True)
    running = asyncio.create_task(run(pipeline(books), feed, stop=stop))
    await feed.done.wait()
    await books.begun.wait()
    stop.set()
    while feed.found_closed is None:  # noqa: ASYNC110 - set as the source is cancelled
        await asyncio.sleep(0)
    assert feed.found_closed is False
    assert books.batches == []
    books.open.set()
    await running
    assert len(books.facts) == 9
    assert books.batches[-1].progress == [Progress(feed="logs", slot=120)]


async def test_a_stop_before_the_start() -> None:
    """Nothing is told, and nothing hangs."""
    stop = asyncio.Event()
    stop.set()
    books = Books()
    await run(pipeline(books), Feed(stays=True), stop=stop)
    assert books.batches == []


async def test_a_refused_source_ends_alone() -> None:
    """The others go on."""
    books, refused = Books(), Feed(logged_buys(2), SourceRefused("401"))
    other = Feed(logged_buys(5))
    await run(pipeline(books), refused, other)
    assert len(books.facts) == 7


async def test_a_refused_source_is_tried_again_while_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is let in by then or not; the others notice nothing."""
    monkeypatch.setattr("monitor.feeding._REFUSED_PAUSE_S", 0.001)
    books, stop = Books(), asyncio.Event()
    mended, other = Refusing(logged_buys(2), refusals=3), Feed(stays=True)
    running = asyncio.create_task(run(pipeline(books), mended, other, stop=stop))
    await asyncio.wait_for(mended.done.wait(), PATIENCE_S)
    stop.set()
    await running
    assert (mended.refusals, len(books.facts)) == (0, 2)


async def test_sources_that_are_refused_one_after_the_other_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends when all are refused at the same time."""
    monkeypatch.setattr("monitor.feeding._REFUSED_PAUSE_S", 0.001)
    stop = asyncio.Event()
    first = Refusing(stays=True, refusals=1)
    second = Refusing(stays=True, refusals=1, after=first.done)
    running = asyncio.create_task(run(pipeline(Books()), first, second, stop=stop))
    await asyncio.wait_for(second.done.wait(), PATIENCE_S)
    assert not running.done()
    stop.set()
    await running


async def test_no_source_left() -> None:
    """If each was refused the run ends with that, what they told before being committed."""
    books, helper = Books(), Feed(stays=True)
    feeds = [Feed(logged_buys(2), SourceRefused("401", mend="mind the key")) for _ in range(2)]
    with pytest.raises(NoSourceLeft, match="401") as caught:
        await run(pipeline(books), *feeds, helpers=[helper])
    assert caught.value.mend == "mind the key"
    assert len(books.facts) == 4


async def test_a_drain_that_takes_too_long_is_given_up() -> None:
    """The deadline holds for a database that hangs as well."""
    books, stop = Books(), asyncio.Event()
    books.open.clear()
    running = asyncio.create_task(run(pipeline(books), Feed(logged_buys(1), stays=True), stop=stop, deadline_s=0.05))
    await books.begun.wait()
    stop.set()
    with pytest.raises(DrainTooSlow):
        await running
    assert books.batches == []


async def test_a_stage_that_breaks_ends_the_run() -> None:
    """Its error is what comes out; the sources are cancelled."""
    feed = Feed(logged_buys(1), stays=True)
    with pytest.raises(ExceptionGroup) as caught:
        await run(pipeline(Books(errors=[SchemaMismatch("older")])), feed)
    assert [type(error) for error in leaves(caught.value)] == [SchemaMismatch]
    assert feed.found_closed is not None


@pytest.mark.parametrize("error", [Bug("!"), MonitorError("?")])
@pytest.mark.parametrize("is_helper", [False, True])
async def test_a_source_that_breaks_ends_the_run(error: Exception, is_helper: bool) -> None:
    """Its error comes out, once; what was told is committed and the others are cancelled."""
    books, other, broken = Books(), Feed(stays=True), Feed(logged_buys(3), error)
    sources, helpers = ([other], [broken]) if is_helper else ([other, broken], [])
    with pytest.raises(ExceptionGroup) as caught:
        await run(pipeline(books), *sources, helpers=helpers)
    assert list(leaves(caught.value)) == [error]
    assert len(books.facts) == 3
    assert other.found_closed is False


async def test_a_bug_is_not_hidden_by_a_slow_drain() -> None:
    """If a source broke and the rest cannot be committed either, both are told."""
    books, bug = Books(), Bug("!")
    books.open.clear()
    with pytest.raises(ExceptionGroup) as caught:
        await run(pipeline(books), Feed(logged_buys(1), bug), deadline_s=0.05)
    first, second = leaves(caught.value)
    assert (first, type(second)) == (bug, DrainTooSlow)
    assert exit_code(caught.value) == EXIT_BUG


async def test_a_run_can_be_cancelled() -> None:
    """Everything ends at once."""
    books = Books()
    books.open.clear()
    running = asyncio.create_task(run(pipeline(books), Feed(logged_buys(1), stays=True)))
    await books.begun.wait()
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()


class Audience:
    """Who hears of everything, slowly, or (deaf) never answers."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.heard: list[Fact] = []
        self._deaf = deaf

    async def announce(self, facts: Sequence[Fact]) -> None:
        """Hear them."""
        if self._deaf:
            await asyncio.Event().wait()
        for _ in range(100):
            await asyncio.sleep(0)
        self.heard += facts


async def test_who_watches_hears_the_last_words() -> None:
    """What was told until the end is announced."""
    audience = Audience()
    await run(pipeline(Books(), audience), Feed(logged_buys(600)))
    assert len(audience.heard) == 600


async def test_a_redis_that_hangs_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all is committed, announcements get a moment and no more; what is not told by then is counted."""
    monkeypatch.setattr("monitor.stages._LAST_WORDS_S", 0.01)
    books, audience = Books(), Audience(deaf=True)
    stages = pipeline(books, audience)
    await run(stages, Feed(logged_buys(9)))
    assert len(books.facts) == 9
    assert stages.drops.count == 9


def test_without_a_node_there_is_nothing_to_follow() -> None:
    """The mend is named, whichever half of the node's address is missing."""
    with pytest.raises(ConfigError) as caught:
        addresses(Config())
    assert "--endpoint" in str(caught.value.mend)


async def test_each_feed_has_a_name_and_an_address() -> None:
    """Where none is given, the name is the kind, numbered where that is taken, and the address that of the node."""
    node = Node(ws_url="ws://a.example", http_url="http://a.example", feed="logs")
    extra = (
        ConfigFeed(kind="logs"),
        ConfigFeed(kind="logs", ws_url="wss://b.example"),
        ConfigFeed(kind="polled_blocks", name="poll", http_url="http://c.example"),
        ConfigFeed(kind="transactions"),
    )
    config = Config(node=node, feeds=extra, history=History(http_url="http://old.example"))
    async with nodes_of(config, ALL.followed) as nodes:
        assert [feed.name for feed in nodes.feeds] == ["logs", "logs_2", "logs_3", "poll", "transactions"]
        assert list(nodes.rpc.tallies) == ["http://a.example", "http://c.example"]
        assert list(nodes.archive.tallies) == ["http://a.example", "http://c.example", "http://old.example"]

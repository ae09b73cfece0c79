"""Journal, progress and store against a naive model: whatever is told and wherever the daemon ends, nothing is lost."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from decoders.core.types import TxNotice
from monitor.pipeline.pools import PoolMap
from monitor.sources import codec
from monitor.sources.notices import (
    HISTORY,
    AccountSeen,
    BlockSeen,
    FeedDown,
    FeedUp,
    FetchGaveUp,
    FrameLost,
    HoleFilled,
    HolePart,
    SlotSeen,
)
from monitor.store.batch import Batch
from monitor.store.store import Store
from monitor.tasks import retry
from tests import postgres
from tests.decoders.built import ALL
from tests.journal.crash import everything
from tests.model.chain import story
from tests.model.life import Life

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from monitor.sources.notices import Notice
    from monitor.store.asked import OpenHole
    from tests.model.chain import Block, TradeKey

IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
CHAINS = (1, 2, 3, 4)
FEEDS: dict[str, Literal["logs", "blocks"]] = {"logs": "logs", "other": "logs", "blocks": "blocks"}
FATES = st.sampled_from(["committed", "committed", "committed", "away", "lost_before", "lost_after"])
FEED_NAMES = st.sampled_from(sorted(FEEDS))

_TRADES = "SELECT signature, venue, event, nth FROM transactions"
_FEEDS = "SELECT feed, program, slot FROM feeds"
_HOLES = "SELECT first_slot, last_slot, signature, filled_through FROM holes WHERE filled_at IS NULL"
# What the end must be like, in whatever order and by whatever copies it was told.
_END = {
    "transactions": """
        SELECT t.signature, t.venue, t.event, t.nth, t.slot, t.block_time, t.side, t.trader, t.base_amount,
               t.quote_amount, k.mint, p.address AS pool
          FROM transactions t JOIN tokens k ON k.id = t.token_id JOIN pools p ON p.id = t.pool_id
         ORDER BY t.signature, t.venue, t.event, t.nth""",
    "tokens": """
        SELECT k.mint, k.launch_signature, k.completed_signature, k.graduated_signature, c.address AS curve,
               g.address AS graduation_pool
          FROM tokens k LEFT JOIN pools c ON c.id = k.curve_id LEFT JOIN pools g ON g.id = k.graduation_pool_id
         ORDER BY k.mint""",
    "pools": "SELECT address, venue, mark_base, mark_quote FROM pools ORDER BY address",
}


@dataclass
class Feed:
    """A feed: the place in the chain of the next block that it tells, and what is still to be told of one."""

    name: str
    is_up: bool = False
    place: int = 0
    queue: deque[Notice] = field(default_factory=deque)


class Model(RuleBasedStateMachine):
    """What the chain and the feeds ever told, beside the daemon that it was told to."""

    def __init__(self, url: str, other_url: str, chain: int) -> None:
        super().__init__()
        self.url, self.other_url = url, other_url
        self.story = story(chain)
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.feeds = {name: Feed(name) for name in FEEDS}
        self.records: dict[int, Notice] = {}
        self.revealed = 1
        self.since: int | None = None
        self.since_seq = 0
        self.is_exact = True
        self.progress: dict[tuple[str, str], int] = {}
        self.checked_done = 0
        self.journal_id = ""

    # How it begins and ends.

    @initialize()
    def begin(self) -> None:
        """Empty the database, and begin the first life."""
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.sql = await asyncpg.connect(self.url)
        await _empty(self.sql)
        await self._live()

    async def _live(self) -> None:
        self.life = await Life.begin(Path(self.folder.name), self.url, self._heard)
        await self._read_back()
        await self.life.start()

    async def _read_back(self) -> None:
        """What was not committed can be read from the journal, unless it was lost with what followed it."""
        journal, store = self.life.journal, self.life.store
        for seq in [seq for seq in self.records if seq > journal.newest_seq]:
            del self.records[seq]
        if journal.id != self.journal_id:  # a power cut took the first segment, and the name with it
            self.records.clear()
            self.journal_id, self.since_seq, self.checked_done = journal.id, 0 if self.progress else 1, 0
        done = await store.journal_done(journal.id)
        if self.since_seq > max(journal.newest_seq, done):
            self.since, self.is_exact = None, False
        found = await everything(journal, done)
        wanted = [(seq, codec.encode(notice)) for seq, notice in self.records.items() if seq > done]
        assert found == wanted, "what is not committed cannot be read back"

    def _heard(self, seq: int, record: bytes) -> None:
        self.records[seq] = codec.decode(record)

    def teardown(self) -> None:
        """End."""
        if hasattr(self, "sql"):
            self.runner.run(self._end())
        self.runner.close()
        self.folder.cleanup()

    async def _end(self) -> None:
        await self.life.die()
        await self.sql.close()

    # The chain and the feeds.

    @property
    def head(self) -> Block:
        """The newest block."""
        return self.story.blocks[self.revealed - 1]

    @rule(name=FEED_NAMES, lag=st.sampled_from([0, 0, 0, 1, 2]), early=st.integers(0, 4))
    def feed_up(self, name: str, lag: int, early: int) -> None:
        """A feed is subscribed, to a node that may lag; it may have told some of the slot before it says so."""
        feed = self.feeds[name]
        if feed.is_up:
            return
        place = max(0, self.revealed - 1 - lag)
        block = self.story.blocks[place]
        if FEEDS[name] == "blocks":
            feed.place, feed.queue = place, deque([FeedUp(name, block.slot)])
        else:
            before = [*block.as_logs(name)][-early:] if early else []
            feed.place, feed.queue = place + 1, deque()
            for notice in before:
                self.put(notice)
            self.put(FeedUp(name, block.slot))
        feed.is_up = True

    @rule(name=FEED_NAMES, blocks=st.integers(0, 4), count=st.integers(1, 20), claims=st.booleans())
    def feed_tells(self, name: str, blocks: int, count: int, claims: bool) -> None:
        """Blocks are made; a feed tells what is next, and says how far it is, now and then."""
        self.revealed = min(self.revealed + blocks, len(self.story.blocks))
        feed = self.feeds[name]
        if not feed.is_up:
            self.feed_up(name, 0, 0)
        for _ in range(count):
            if not self._has_next(feed):
                break
            notice = feed.queue.popleft()
            if claims or not isinstance(notice, SlotSeen):
                self.put(notice)

    @rule(name=FEED_NAMES, trouble=st.sampled_from(["down", "frame", "transaction", "block"]))
    def feed_fails(self, name: str, trouble: str) -> None:
        """A connection is lost; or something cannot be read, and the feed says so; or a block is left out silently."""
        feed = self.feeds[name]
        if not feed.is_up:
            return
        if trouble == "down":
            feed.is_up = False
            self.put(FeedDown(name, "lost"))
        elif trouble == "block":
            if FEEDS[name] == "blocks" and not feed.queue and feed.place < self.revealed:
                feed.place += 1
        elif self._has_next(feed) and isinstance(lost := feed.queue[0], TxNotice):
            feed.queue.popleft()
            self.put(FrameLost(name, lost.slot, lost.slot, lost.signature if trouble == "transaction" else None))

    def _has_next(self, feed: Feed) -> bool:
        """Tell whether a feed has something to tell."""
        only_up = len(feed.queue) == 1 and isinstance(feed.queue[0], FeedUp)
        if feed.is_up and (not feed.queue or only_up) and feed.place < self.revealed:
            block = self.story.blocks[feed.place]
            feed.place += 1
            if FEEDS[feed.name] == "blocks":
                hashes = (f"hash {block.slot}", f"hash {block.parent_slot}")
                seen = BlockSeen(block.slot, block.parent_slot, *hashes, block.block_time, feed.name)
                feed.queue += [*block.as_block(feed.name), seen]
            else:
                told = [*block.as_logs(feed.name)]
                feed.queue += [*told, SlotSeen(block.slot + 32, block.slot + 31, block.slot, feed.name)]
        return feed.is_up and bool(feed.queue)

    def put(self, notice: Notice) -> None:
        """Let a feed put something."""
        self.runner.run(self.life.inlet.put(notice))
        if isinstance(notice, FeedUp) and self.since is None:
            self.since, self.since_seq = notice.subscribed_at_slot, self.life.journal.newest_seq

    # The daemon.

    @rule(
        count=st.integers(0, 20), fates=st.lists(FATES, max_size=4), is_written=st.sampled_from(["no", "yes", "synced"])
    )
    def daemon_moves(self, count: int, fates: list[Any], is_written: str) -> None:
        """Notices are decoded; batches are committed, or not, or nobody knows; the journal is written, or not."""
        self.runner.run(self._move(count, fates, is_written))

    async def _move(self, count: int, fates: list[Any], is_written: str) -> None:
        if is_written != "no":
            await (self.life.journal.flush() if is_written == "synced" else self.life.journal._flush())
        await self.life.decode(count)
        for fate in fates:
            await self.life.commit(fate)

    @rule(count=st.integers(1, 8))
    def all_goes_well(self, count: int) -> None:
        """Whatever was told is decoded and committed."""
        self.runner.run(self._work(count))

    async def _work(self, count: float) -> None:
        while count > 0:
            count -= 1
            await self.life.decode(_EVERYTHING)
            if not await self.life.commit("committed") and self.life.is_told:
                break

    @rule(place=st.integers(0, 99), outcome=st.sampled_from(["told", "told", "told", "absent", "gave_up"]))
    def fetch_ends(self, place: int, outcome: str) -> None:
        """Something that was asked of the node is told, or not to be had."""
        self.runner.run(self._answer(place, outcome))

    async def _answer(self, place: int, outcome: str = "told") -> None:
        wanted = self.life.wishes.wanted
        if not wanted:
            return
        need = wanted[place % len(wanted)]
        self.life.wishes.wanted = [other for other in wanted if other != need]
        if outcome == "gave_up" and need.pool is None:
            await self.life.put_aside(FetchGaveUp(need.signature, need.slot, "gone", "fetch"))
        elif outcome != "told" and need.pool is not None:
            await self.life.put_aside(AccountSeen(need.pool, None, b"", need.slot, "fetch"))
        else:
            await self.life.put_aside(self.story.answer(need))

    @rule(
        place=st.integers(0, 99), ends=st.sampled_from(["filled", "filled", "part", "cut_short"]), parts=st.booleans()
    )
    def history_fills(self, place: int, ends: str, parts: bool) -> None:
        """A hole is fetched, all of it or some."""
        self.runner.run(self._fill(place, ends, parts=parts))

    async def _fill(self, place: int, ends: str = "filled", *, parts: bool = False) -> bool:
        holes = await self.life.store.open_holes(100)
        if not holes:
            return False
        hole = holes[place % len(holes)]
        blocks = self._blocks_of(hole)
        if ends != "filled":
            blocks = blocks[: len(blocks) // 2]
        for block in blocks:
            for notice in block.as_block(HISTORY):
                await self.life.put_aside(notice)
            if parts and hole.signature is None and block is not blocks[-1]:
                await self.life.put_aside(HolePart(hole.id, block.slot))
        if ends == "part" and blocks and hole.signature is None:
            await self.life.put_aside(HolePart(hole.id, blocks[-1].slot))
        if ends == "filled":
            await self.life.put_aside(HoleFilled(hole.id, hole.first_slot, hole.last_slot, hole.signature))
        return True

    def _blocks_of(self, hole: OpenHole) -> list[Block]:
        first_slot = hole.first_slot if hole.filled_through is None else hole.filled_through + 1
        assert hole.last_slot <= self.head.slot, "a hole reaches into the future"
        return [block for block in self.story.blocks if first_slot <= block.slot <= hole.last_slot]

    # How lives end.

    @rule(end=st.sampled_from(["stopped", "killed", "power_cut"]), share=st.sampled_from([0.0, 0.0, 0.5, 1.0]))
    def life_ends(self, end: str, share: float) -> None:
        """
        The daemon ends in order; or is gone with all that it had in memory; or so is what was not forced to disk.

        A power cut leaves a share of that. Then it begins again.
        """
        self.runner.run(self.life.stop() if end == "stopped" else self.life.die())
        if end == "power_cut":
            self.life.disk.cut_power(share)
        self._begin_again()

    def _begin_again(self) -> None:
        for feed in self.feeds.values():
            feed.is_up = False
        self.runner.run(self._live())

    # What holds.

    @invariant()
    def nothing_is_lost(self) -> None:
        """Of all that progress passed everything is stored, once, or known to be missing."""
        if hasattr(self, "sql"):
            self.runner.run(self._check())

    async def _check(self) -> None:
        rows = [tuple(row) for row in await self.sql.fetch(_TRADES)]
        stored: set[TradeKey] = set(rows)
        assert len(rows) == len(stored), "rows are stored twice"
        told = {
            key
            for block in self._told_blocks()
            for notice in block.whole
            for key in self.story.trades[notice.signature]
        }
        assert stored <= told, f"never told: {stored - told}"
        await self._check_progress(stored)
        await self._check_done(stored)

    async def _check_progress(self, stored: set[TradeKey]) -> None:
        progress = {(row["feed"], row["program"]): row["slot"] for row in await self.sql.fetch(_FEEDS)}
        for key, slot in self.progress.items():
            assert progress[key] >= slot, f"progress of {key} fell from {slot}"
        self.progress = progress
        through = max(progress.values(), default=-1)
        assert through <= self.head.slot
        if self.since is not None:
            covered = [sign for sign, slot in self.story.slots.items() if self.since < slot <= through]
            await self._check_stored(covered, stored, f"progress {through} since {self.since}")

    async def _check_done(self, stored: set[TradeKey]) -> None:
        done = await self.sql.fetchval("SELECT done_seq FROM journals WHERE id = $1", self.journal_id)
        covered = [
            notice.signature
            for seq in range(self.checked_done + 1, (done or 0) + 1)
            if isinstance(notice := self.records.get(seq), TxNotice)
        ]
        await self._check_stored(covered, stored, f"journal's done {done}")
        self.checked_done = done or 0

    async def _check_stored(self, signatures: list[str], stored: set[TradeKey], because: str) -> None:
        holes = await self.sql.fetch(_HOLES)
        for signature in signatures:
            lacks = self.story.trades[signature] - stored
            slot = self.story.slots[signature]
            is_known = any(
                hole["signature"] == signature
                if hole["signature"] is not None
                else max(hole["first_slot"], (hole["filled_through"] or -1) + 1) <= slot <= hole["last_slot"]
                for hole in holes
            )
            assert not lacks or is_known, f"{lacks} of slot {slot} is lost: {because}"

    def _told_blocks(self) -> tuple[Block, ...]:
        return self.story.blocks[: self.revealed]

    # In the end.

    @rule()
    def all_is_told(self) -> None:
        """Once everything is told, answered and filled, the database is what the chain is."""
        self.runner.run(self._settle())

    async def _settle(self) -> None:
        if not any(feed.is_up and FEEDS[feed.name] == "logs" for feed in self.feeds.values()):
            slot = self.head.slot
            await self.life.inlet.put(FeedUp("logs", slot))
            self.feeds["logs"] = Feed("logs", is_up=True, place=self.revealed)
            if self.since is None:
                self.since, self.since_seq = slot, self.life.journal.newest_seq
        for feed in self.feeds.values():
            while self._has_next(feed):
                await self.life.inlet.put(feed.queue.popleft())
        async with asyncio.timeout(60):
            while True:
                await self._work(_EVERYTHING)
                if self.life.wishes.wanted:
                    await self._answer(0)
                elif not await self._fill(0):
                    break
        await self._claim_all()
        decoding = self.life.pipeline.decoding
        assert len(decoding.pending) == 0
        await self._check()
        assert max(self.progress.values()) == self.head.slot
        assert self.checked_done == self.life.journal.newest_seq
        await self._check_end()

    async def _claim_all(self) -> None:
        """Let feeds of logs say that everything is told: what waited held progress up when they last did."""
        for feed in self.feeds.values():
            if feed.is_up and FEEDS[feed.name] == "logs":
                await self.life.inlet.put(SlotSeen(self.head.slot + 32, self.head.slot + 31, self.head.slot, feed.name))
        await self._work(_EVERYTHING)

    async def _check_end(self) -> None:
        assert self.since is not None
        rows = {row[0] for row in await self.sql.fetch("SELECT signature FROM transactions")}
        lacks = {
            s for s, slot in self.story.slots.items() if self.since < slot <= self.head.slot and self.story.trades[s]
        }
        assert lacks <= rows
        assert await self.sql.fetchval("SELECT count(*) FROM faults") == 0
        if self.is_exact:
            await self._check_tables()

    async def _check_tables(self) -> None:
        """Compare with a database that was told the same transactions, whole, in their order."""
        stored = {
            row[0]
            for row in await self.sql.fetch("SELECT signature FROM transactions UNION SELECT signature FROM changes")
        }
        pools = PoolMap()
        facts = [
            fact
            for block in self._told_blocks()
            for notice in block.whole
            if self.since is not None and (block.slot > self.since or notice.signature in stored)
            for fact in ALL.decode(notice, pools).facts
        ]
        other = await asyncpg.connect(self.other_url)
        try:
            await _empty(other)
            async with await Store.open(self.other_url) as store:
                await store.lock()
                await store.write(Batch(facts=facts))
            for table, query in _END.items():
                is_ = [dict(row) for row in await self.sql.fetch(query)]
                should = [dict(row) for row in await other.fetch(query)]
                assert is_ == should, table
        finally:
            await other.close()


_EVERYTHING = float("inf")


async def _empty(sql: asyncpg.Connection[Any]) -> None:
    """Empty every table; by DELETE, which is the quickest for a few rows."""
    kept = ("schema_migrations", "mints")
    names = await sql.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL($1)", kept
    )
    await sql.execute(";".join(f'DELETE FROM "{row[0]}"' for row in names))
    await sql.execute("DELETE FROM mints WHERE address NOT IN (SELECT address FROM mints ORDER BY id LIMIT 3)")


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """Two databases with our schema, and nothing in them."""
    with postgres.start() as server, asyncio.Runner() as runner:
        databases = server.database(), server.database()
        first, second = (runner.run(_migrated(database)) for database in databases)
        yield first, second
        for database in databases:
            runner.run(database.__aexit__(None, None, None))


async def _migrated(database: AbstractAsyncContextManager[str]) -> str:
    url = await database.__aenter__()
    async with await Store.open(url) as store:
        await store.migrate()
    return url


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try commits again at once, and say nothing of it."""
    monkeypatch.setattr("monitor.pipeline.write.retry", functools.partial(retry, first_delay_s=0.0001))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.mark.hypothesis  # the thorough profile's run takes those with this mark
@pytest.mark.parametrize("chain", CHAINS if IS_THOROUGH else CHAINS[:1])
def test_nothing_is_lost(urls: tuple[str, str], chain: int) -> None:
    """Whatever is told, in which order the parts move, and wherever lives end."""
    run_state_machine_as_test(
        lambda: Model(*urls, chain),  # type: ignore[arg-type]  # it takes whatever makes one
        settings=settings(
            max_examples=40 if IS_THOROUGH else 8,
            stateful_step_count=60 if IS_THOROUGH else 40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A failure is told as it was found: to make it small takes hours, and the test may run for three minutes.
            phases=[phase for phase in Phase if phase is not Phase.shrink],
        ),
    )

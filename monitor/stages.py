"""The stages between sources and stores: built, run, and ended in the right order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from monitor.channel import Channel
from monitor.errors import DrainTooSlow
from monitor.feeding import feed
from monitor.health import Health
from monitor.pipeline.announce import Drops, announce, discard
from monitor.pipeline.decode import Decoding, decode
from monitor.pipeline.feeds import Feeds
from monitor.pipeline.gate import Gate
from monitor.pipeline.leads import Leads
from monitor.pipeline.ledger import Ledger
from monitor.pipeline.pending import Pending
from monitor.pipeline.pools import PoolMap
from monitor.pipeline.write import Writing, write
from monitor.tasks import STOP_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from decoders.core.registry import Registry
    from decoders.core.types import Fact, PoolInfo
    from monitor.pipeline.decode import Durable
    from monitor.pipeline.protocols import Announcer, Writer
    from monitor.pipeline.protocols import Fetcher as Fetches
    from monitor.sources.notices import Journaled, Notice, Outlet, Source

log = structlog.get_logger(__name__)

# What waits in memory is some 10 KB a notice and 1 KB a fact; what waits longer, waits in the journal.
WIRE_NOTICES = 2_000
DURABLE_FACTS = 10_000
LIVE_FACTS = 5_000
_LAST_WORDS_S = 1.0


@dataclass(slots=True)
class Pipeline:
    """The stages between sources and stores, with their channels. What they begin with is said by `begin`."""

    wire: Channel[Notice | Journaled]
    durable: Channel[Durable]
    live: Channel[Fact] | None
    decoding: Decoding
    writing: Writing
    announcer: Announcer | None
    drops: Drops
    health: Health

    def begin(
        self,
        *,
        pools: Iterable[PoolInfo],
        through: int | None,
        left_out_through: int = -1,
        final_through: int | None = None,
    ) -> None:
        """
        Say what is known already.

        Args:
            pools: Pools that trades may name.
            through: Slot up to which everything was told before; None: nothing was promised yet.
            left_out_through: Slot up to which what was missed since then is left out on purpose.
            final_through: Slot up to which what is stored was compared with the finalized chain; None: not yet.
        """
        for pool in pools:
            self.decoding.pools.add(pool)
        self.decoding.feeds = Feeds(through, left_out_through)
        self.decoding.final_through = -1 if final_through is None else final_through

    async def run(self) -> None:
        """Run every stage until the wire is closed and all of it is committed; what is announced then gets a moment."""
        async with asyncio.TaskGroup() as stages:
            stages.create_task(decode(self.wire, self.durable, self.live, self.decoding), name="decode")
            writing = stages.create_task(write(self.durable, self.writing), name="write")
            if self.live is None:
                return
            telling = (
                stages.create_task(discard(self.live), name="discard")
                if self.announcer is None
                else stages.create_task(
                    announce(self.live, self.announcer, self.drops, self.writing.gate), name="announce"
                )
            )
            await asyncio.wait({writing})
            # A Redis that hangs must not make a stop look like one that lost something.
            await asyncio.wait({telling}, timeout=_LAST_WORDS_S)
            telling.cancel()


def build(  # noqa: PLR0913 - the parts of a pipeline, all by keyword
    registry: Registry,
    writer: Writer,
    *,
    fetcher: Fetches | None,
    announcer: Announcer | None,
    everything: bool,
    batch_max_rows: int,
    live: bool,
    feeds: Collection[str] = (),
    journal_id: str | None = None,
) -> Pipeline:
    """
    Return stages that are ready to run.

    Args:
        everything: Store all pools, not only those of launched tokens.
        live: Whether what is decoded is announced (a replay is not).
        feeds: Names of the feeds that are compared with each other.
        journal_id: The journal in which numbered notices stand.
    """
    ledger = Ledger()
    health = Health(ledger)
    decoding = Decoding(
        registry, PoolMap(), Feeds(None), Pending(), fetcher, ledger, health.subscribed, Leads(feeds), journal_id
    )
    writing = Writing(writer, None if everything else Gate(), ledger, batch_max_rows, health)
    return Pipeline(
        wire=Channel(WIRE_NOTICES, "wire"),
        durable=Channel(DURABLE_FACTS, "durable"),
        live=Channel(LIVE_FACTS, "live") if live else None,
        decoding=decoding,
        writing=writing,
        announcer=announcer,
        drops=Drops(),
        health=health,
    )


async def follow(
    pipeline: Pipeline,
    feeding: asyncio.Task[None],
    helpers: Sequence[Source],
    stop: asyncio.Event,
    *,
    deadline_s: float,
    side_door: Outlet | None = None,
) -> None:
    """
    Run the stages while sources are read, until these end or `stop` is set, then commit what is under way.

    Args:
        feeding: `feed(...)`, which runs already.
        helpers: Sources that serve the others (the fetcher): they never end by themselves.
        side_door: Where helpers put what they bring; None: right onto the wire.

    Raises:
        NoSourceLeft: If every source was refused.
        DrainTooSlow: If the rest was not committed within `deadline_s` of the stop.
        ExceptionGroup: If a source or a stage broke.
    """
    stages = asyncio.create_task(pipeline.run(), name="stages")
    helping = asyncio.create_task(_serve(side_door or pipeline.wire, helpers), name="helpers")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({stages, feeding, helping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        feeding.cancel()
        helping.cancel()
        await asyncio.wait({feeding, helping})
        pipeline.wire.close()
        if not stages.done():
            try:
                await asyncio.wait_for(asyncio.shield(stages), deadline_s)
            except TimeoutError:
                raise _too_slow(deadline_s, feeding) from None
        await stages
        for ended in (feeding, helping):
            if not ended.cancelled():
                ended.result()
    finally:
        for task in (stages, feeding, helping, stopping):
            task.cancel()
        await asyncio.wait({stages, feeding, helping, stopping})


async def follow_sources(
    pipeline: Pipeline,
    sources: Sequence[Source],
    helpers: Sequence[Source],
    stop: asyncio.Event,
    *,
    deadline_s: float,
) -> None:
    """Run the stages as `follow` does, with sources that put right onto the wire."""
    feeding = asyncio.create_task(feed(sources, pipeline.wire), name="sources")
    await follow(pipeline, feeding, helpers, stop, deadline_s=deadline_s)


async def _serve(out: Outlet, helpers: Sequence[Source]) -> None:
    async with asyncio.TaskGroup() as group:
        for helper in helpers:
            group.create_task(helper.run(out))
        group.create_task(asyncio.Event().wait())  # helpers that have nothing left to do end nobody


def _too_slow(deadline_s: float, feeding: asyncio.Task[None]) -> BaseException:
    """Return the error of a drain that was given up, along with the one (if any) with which the sources ended."""
    slow = DrainTooSlow(
        f"what was under way could not be committed within {deadline_s:g} s",
        mend="look whether the database answers; what was not committed is in the journal, or fetched from the node",
    )
    broken = None if feeding.cancelled() else feeding.exception()
    return (
        slow if broken is None else BaseExceptionGroup("the sources ended, and the drain was too slow", [broken, slow])
    )


@contextlib.contextmanager
def stop_on_signals(reload: Callable[[], None] | None = None) -> Iterator[asyncio.Event]:
    """
    Set an event on SIGTERM and on SIGINT.

    SIGHUP calls `reload`; without one it sets the event as well, for then a terminal was closed.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)

"""The parts of a running daemon, joined."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from monitor.config import parse_start
from monitor.errors import ConfigError
from monitor.health import OpenHoles
from monitor.node import feed_kinds, feed_names
from monitor.pipeline.inlet import Inlet
from monitor.pipeline.redecode import Redecoding
from monitor.pipeline.upfeeds import UpFeeds
from monitor.programs import registry_of
from monitor.servers import announcer_of, journal_dir, journal_of, store_of
from monitor.sources.fetch import Fetcher
from monitor.sources.finality import NOT_FINAL, Finality
from monitor.sources.history import History
from monitor.sources.pending import Rules
from monitor.stages import build
from monitor.start import COMPARED_BACK_SLOTS, beginning, durable_slot, needless_slot
from monitor.store.batch import Batch, Final
from monitor.upkeep import Upkeep, candles_of, rules_of

if TYPE_CHECKING:
    import contextlib

    from decoders.core.registry import Registry
    from monitor.config import Config
    from monitor.health import Health
    from monitor.journal import Journal
    from monitor.node import Nodes
    from monitor.servers import Servers
    from monitor.sources.notices import Outlet, Source
    from monitor.stages import Pipeline
    from monitor.store.batch import Written
    from monitor.store.store import Store

log = structlog.get_logger(__name__)

_BLOCK_FEEDS = frozenset({"blocks", "polled_blocks"})


@dataclass(slots=True)
class Daemon:
    """The parts of a running daemon. `finality` None: what is told is final already."""

    config: Config
    store: Store
    nodes: Nodes
    journal: Journal | None
    up: UpFeeds
    pipeline: Pipeline
    inlet: Inlet
    fetcher: Fetcher
    history: History
    finality: Finality | None
    redecoding: Redecoding
    upkeep: Upkeep
    holes: OpenHoles = field(default_factory=OpenHoles)
    stood_by: bool = False

    @property
    def health(self) -> Health:
        """Return how it is."""
        return self.pipeline.health

    @property
    def helpers(self) -> list[Source]:
        """Return what serves the feeds, mends what they did not tell, and keeps the database in shape."""
        helpers: list[Source] = [
            _CatchUp(self.inlet), self.fetcher, self.history, self.redecoding, _Tending(self.upkeep)
        ]  # fmt: skip
        return helpers if self.finality is None else [*helpers, self.finality]

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """Tell whom it concerns that a batch was committed within so many seconds."""
        self.health.committed(batch, written, seconds)
        if batch.holes or batch.filled:
            self.history.committed([filled.hole_id for filled in batch.filled])
        if batch.done is not None:
            self.inlet.released(batch.done.seq)
        if batch.comparing_through is not None and self.finality is not None:
            self.finality.stored(batch.comparing_through)
        if batch.progress and self.finality is not None:
            self.finality.committed(max(progress.slot for progress in batch.progress))

    def trouble(self, reason: str | None) -> None:
        """Tell that a commit is tried again because of `reason`, or (None) no longer."""
        self.health.trouble(reason)

    def reload(self) -> None:
        """Read the IDLs again. Those that cannot be read change nothing: the daemon goes on with what it had."""
        try:
            registry = registry_of(self.config)
        except ConfigError as error:
            log.error("idls_not_reloaded", error=str(error), mend=error.mend)  # noqa: TRY400 - no bug: no traceback
            return
        self.pipeline.decoding.registry = registry
        log.info("idls_reloaded", mend="`launch-monitor redecode` reads again what could not be read")

    async def _compared(self, durable: int | None, *, new_chain: bool) -> int | None:
        """Return up to which slot nothing needs to be compared with the finalized chain; None: nothing is there yet."""
        through = await self.store.final_through()
        if self.finality is None:
            return through
        if new_chain:
            needless = (await self.store.status()).newest_slot  # what is stored is of the chain that is gone
        elif through is None and durable is not None:
            back = max(durable - COMPARED_BACK_SLOTS, 0)
            needless = needless_slot(durable, await self.store.first_slot(back + 1, durable))
        else:
            return through
        if needless is not None:
            await self.store.write(Batch(final=Final(through=needless)))
        return needless

    async def begin(self, *, new_chain: bool) -> None:
        """
        Find out where to go on, as the writer of the database.

        Raises:
            MonitorError: If the database or the node does not tell, or `start` makes no sense.
        """
        store, config = self.store, self.config
        if new_chain and (abandoned := await store.forget_chain()):
            log.info("holes_abandoned", holes=abandoned, reason="the chain begins anew")
        durable = durable_slot(await store.progress())
        begun = await beginning(parse_start(config.start), durable, self.nodes.rpc, config.node.commitment)
        await self._doubt_tail(durable)
        final_through = await self._compared(durable, new_chain=new_chain)
        self.pipeline.begin(
            pools=(await store.load_pools(config.store.known_pools)).values(),
            through=begun.through,
            left_out_through=begun.left_out_through,
            final_through=final_through,
        )
        if self.finality is not None and durable is not None:
            self.finality.committed(durable)
        await self.inlet.start(await self._done_seq(new_chain=new_chain))

    async def _doubt_tail(self, durable: int | None) -> None:
        """
        Have what was told before it was final be read again: of an earlier life nobody knows by which blocks.

        One that held no row may have been replaced, meanwhile, by one that does. Other feeds claim nothing before its
        slot is final, and their rows are compared.
        """
        if self.finality is None or durable is None or not _BLOCK_FEEDS & feed_kinds(self.config):
            return
        through = await self.store.final_through()
        if through is not None and through < durable:
            await self.store.file_hole(through + 1, durable, NOT_FINAL)

    async def _done_seq(self, *, new_chain: bool) -> int:
        """Return up to which number the journal is not to be told again."""
        if self.journal is None:
            return 0
        if new_chain:
            return self.journal.newest_seq  # it tells of the chain that is gone
        done_seq = await self.store.journal_done(self.journal.id)
        # What a standby gave up was committed by the writer.
        return max(done_seq, self.journal.released_seq) if self.stood_by else done_seq


@dataclass(frozen=True, slots=True)
class _CatchUp:
    """What passes on from the journal, as a helper among others."""

    inlet: Inlet

    async def run(self, out: Outlet) -> None:
        """Run until cancelled; the inlet knows its wire."""
        del out
        await self.inlet.run()


@dataclass(frozen=True, slots=True)
class _Tending:
    """What keeps the database in shape, as a helper among others: it runs while this process is the writer."""

    upkeep: Upkeep

    async def run(self, out: Outlet) -> None:
        """Run until cancelled; nothing is put out."""
        del out
        await self.upkeep.run()


async def assemble(
    config: Config,
    registry: Registry,
    nodes: Nodes,
    servers: Servers,
    stack: contextlib.AsyncExitStack,
    *,
    migrate: bool,
) -> Daemon:
    """
    Return the parts, joined; what has to be closed is left to `stack`.

    Raises:
        AlreadyRunning: If somebody else writes to the database, and this is to be no standby.
        MonitorError: As opening the database and the journal.
    """
    commitment = config.node.commitment
    own = config.database.url is None
    store = await stack.enter_async_context(store_of(config, servers, migrate=migrate or own, lock=False))
    if not config.standby:
        await store.lock()
    up = UpFeeds()
    journal = await stack.enter_async_context(journal_of(config, up.snapshot))
    if journal is not None and await store.know_journal(journal.id, journal.newest_seq) is None and journal.newest_seq:
        log.warning("journal_of_another_database", left_out=journal.newest_seq, folder=str(journal_dir(config)))
    fetcher = Fetcher(
        nodes.rpc,
        registry.followed,
        commitment=commitment,
        rules=Rules(give_up_after_s=config.fetch.give_up_after_s, block_at=config.fetch.block_at),
    )
    pipeline = build(
        registry,
        store,
        fetcher=fetcher,
        announcer=await stack.enter_async_context(announcer_of(config, servers)),
        everything=config.pumpswap.pools == "all",
        batch_max_rows=config.store.batch_max_rows,
        live=True,
        feeds=feed_names(config),
        journal_id=None if journal is None else journal.id,
    )
    told_by_blocks = feed_kinds(config) <= _BLOCK_FEEDS
    inlet = Inlet(pipeline.wire, journal, up)
    finality = None
    if commitment != "finalized":
        finality = Finality(nodes.archive, store, blocks_tell_rows=told_by_blocks, is_behind=lambda: inlet.waiting > 0)
    daemon = Daemon(
        config, store, nodes, journal, up, pipeline,
        inlet=inlet,
        fetcher=fetcher,
        history=History(
            nodes.archive,
            registry.followed,
            store,
            commitment=commitment,
            final_slot=None if finality is None else finality.final_slot,
        ),
        finality=finality,
        redecoding=Redecoding(
            store, lambda seen: pipeline.decoding.registry.decode_payload(seen, pipeline.decoding.pools)
        ),
        upkeep=Upkeep(store, rules_of(config), candles=candles_of(store)),
    )  # fmt: skip
    pipeline.writing.watcher = daemon
    pipeline.decoding.chain = finality
    return daemon

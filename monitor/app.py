"""The daemon: its parts, built from the configuration, run until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from decoders.core.errors import IdlError
from decoders.core.registry import load
from monitor.config import parse_start
from monitor.data import data_dir, idls_in
from monitor.errors import AlreadyRunning, ConfigError
from monitor.health import OpenHoles, Work, beat
from monitor.metrics import Meters, check, serve
from monitor.node import feed_names, nodes_of
from monitor.pipeline.accounts import EventAccount, NoticeAccount
from monitor.pipeline.inlet import Inlet, SideDoor
from monitor.pipeline.journal_source import capture_or_journal
from monitor.pipeline.leads import BEHIND_BUCKETS_S
from monitor.pipeline.redecode import Redecoding
from monitor.pipeline.upfeeds import UpFeeds
from monitor.sdnotify import ServiceManager
from monitor.servers import announcer_of, journal_dir, journal_of, servers_of, store_of
from monitor.sources.fetch import Fetcher
from monitor.sources.finality import Finality
from monitor.sources.history import History
from monitor.sources.pending import Rules
from monitor.stages import build, feed, follow, follow_sources, stop_on_signals
from monitor.standby import stand_by
from monitor.start import beginning, durable_slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from decoders.core.registry import Registry
    from monitor.config import Config
    from monitor.health import Health
    from monitor.journal import Journal
    from monitor.node import Nodes
    from monitor.pipeline.ledger import Ledger
    from monitor.servers import Servers
    from monitor.sources.notices import BlockSeen, Outlet, Source
    from monitor.stages import Pipeline
    from monitor.store.batch import Batch, Written
    from monitor.store.store import Store

log = structlog.get_logger(__name__)

_BEAT_S = 5.0
_PATIENCE_S = 60.0
_BLOCK_FEEDS = frozenset({"blocks", "polled_blocks"})


def registry_of(config: Config) -> Registry:
    """
    Return the decoders that the configuration names.

    Raises:
        ConfigError: If an IDL is missing, malformed, or lacks what its decoder needs.
    """
    folder = Path(config.idl_dir) if config.idl_dir else data_dir("idl")
    try:
        return load(config.programs, idls_in(folder))
    except (IdlError, OSError) as error:
        raise ConfigError(str(error), mend=f"restore the file in {folder}") from error


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
    holes: OpenHoles = field(default_factory=OpenHoles)

    @property
    def health(self) -> Health:
        """Return how it is."""
        return self.pipeline.health

    @property
    def helpers(self) -> list[Source]:
        """Return what serves the feeds, and mends what they did not tell."""
        helpers: list[Source] = [_CatchUp(self.inlet), self.fetcher, self.history, self.redecoding]
        return helpers if self.finality is None else [*helpers, self.finality]

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """Tell whom it concerns that a batch was committed within so many seconds."""
        self.health.committed(batch, written, seconds)
        if batch.holes or batch.filled:
            self.history.committed([filled.hole_id for filled in batch.filled if filled.hole_id is not None])
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
        final_through = await store.final_through()
        self.pipeline.begin(
            pools=(await store.load_pools(config.store.known_pools)).values(),
            through=begun.through,
            left_out_through=begun.left_out_through,
            final_through=final_through,
        )
        if self.finality is not None and durable is not None:
            self.finality.committed(durable)
        await self.inlet.start(0 if self.journal is None else await store.journal_done(self.journal.id))


@dataclass(frozen=True, slots=True)
class _Roots:
    """Tells of roots alone: where logs tell rows too, a block that is final does not speak for all of its slot."""

    finality: Finality

    def root(self, slot: int) -> None:
        """Tell it."""
        self.finality.root(slot)

    def heard(self, block: BlockSeen) -> None:
        """Leave it."""


@dataclass(frozen=True, slots=True)
class _CatchUp:
    """What passes on from the journal, as a helper among others."""

    inlet: Inlet

    async def run(self, out: Outlet) -> None:
        """Run until cancelled; the inlet knows its wire."""
        del out
        await self.inlet.run()


async def run(
    config: Config,
    *,
    migrate: bool = False,
    new_chain: bool = False,
    reloads: bool = False,
    on_servers: Callable[[Servers], None] | None = None,
    on_metrics: Callable[[str], None] | None = None,
) -> None:
    """
    Follow the configured nodes into the database until a signal of `STOP_SIGNALS`.

    Args:
        migrate: Bring the schema up to date first, also of a database that is not the embedded one.
        new_chain: The node's chain is not the one that the database tells of: what is missing of that is given up.
        reloads: SIGHUP reads the IDLs again; else it is a signal to stop.
        on_servers: Told where the database and Redis are, once they run.
        on_metrics: Told where the metrics page is, if there is one, once it is served.

    Raises:
        MonitorError: Whatever ends the daemon but a signal; its `exit_code` is the process's.
    """
    registry = registry_of(config)
    check(config.metrics.listen)  # again when it is served, but then servers have been started in vain
    async with contextlib.AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(nodes_of(config, registry.followed))
        servers = await stack.enter_async_context(servers_of(config))
        if on_servers is not None:
            on_servers(servers)
        daemon = await _assemble(config, registry, nodes, servers, stack, migrate=migrate)
        stop = stack.enter_context(stop_on_signals(daemon.reload if reloads else None))
        url = await stack.enter_async_context(serve(_meters(daemon), config.metrics.listen))
        if url is not None:
            log.info("metrics_served", url=url)
            if on_metrics is not None:
                on_metrics(url)
        await _live(daemon, stop, new_chain=new_chain)


async def _assemble(
    config: Config,
    registry: Registry,
    nodes: Nodes,
    servers: Servers,
    stack: contextlib.AsyncExitStack,
    *,
    migrate: bool,
) -> Daemon:
    """Return the parts, joined; what has to be closed is left to `stack`."""
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
        rules=Rules(give_up_after_s=config.fetch.give_up_after_s),
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
    finality = None if commitment == "finalized" else Finality(nodes.rpc, store)
    daemon = Daemon(
        config, store, nodes, journal, up, pipeline,
        inlet=Inlet(pipeline.wire, journal, up),
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
    )  # fmt: skip
    pipeline.writing.watcher = daemon
    if daemon.finality is not None:
        kinds = {config.node.feed, *(feed.kind for feed in config.feeds)}
        pipeline.decoding.chain = daemon.finality if kinds <= _BLOCK_FEEDS else _Roots(daemon.finality)
    return daemon


async def _live(daemon: Daemon, stop: asyncio.Event, *, new_chain: bool) -> None:
    """Run a daemon until it is told to stop."""
    manager = ServiceManager()
    async with asyncio.TaskGroup() as group:
        beside = [
            group.create_task(beat(daemon.health, manager, every_s=_beat_s(manager), patience_s=_PATIENCE_S)),
            group.create_task(daemon.holes.run(daemon.store)),
        ]
        if daemon.journal is not None:
            beside.append(group.create_task(daemon.journal.run(), name="journal"))
        try:
            await _follow(daemon, stop, new_chain=new_chain)
        finally:
            manager.stopping()
            for task in beside:
                task.cancel()


async def _follow(daemon: Daemon, stop: asyncio.Event, *, new_chain: bool) -> None:
    if await daemon.store.try_lock():
        await daemon.begin(new_chain=new_chain)
        feeding = asyncio.create_task(feed(daemon.nodes.feeds, daemon.inlet), name="sources")
    else:
        feeding = asyncio.create_task(feed(daemon.nodes.feeds, daemon.inlet), name="sources")
        if not await _take_over(daemon, feeding, stop):
            return
    await follow(
        daemon.pipeline,
        feeding,
        daemon.helpers,
        stop,
        deadline_s=daemon.config.stop_deadline_s,
        side_door=SideDoor(daemon.inlet, daemon.pipeline.wire),
    )


async def _take_over(daemon: Daemon, feeding: asyncio.Task[None], stop: asyncio.Event) -> bool:
    """Stand by until the database is ours, and begin; tell whether it is. Sources end with anything else."""
    is_ours = False
    try:
        if daemon.journal is None:
            raise AlreadyRunning("another process writes to this database", mend="a standby needs journal.enabled")
        is_ours = await stand_by(daemon.store, daemon.inlet, daemon.journal, daemon.up, daemon.health, feeding, stop)
        if is_ours:
            await daemon.begin(new_chain=False)
    except BaseException:
        is_ours = False
        raise
    finally:
        if not is_ours:
            feeding.cancel()
            await asyncio.wait({feeding})
            if not feeding.cancelled():
                feeding.result()
    return is_ours


def _meters(daemon: Daemon) -> Meters:
    pipeline, journal = daemon.pipeline, daemon.journal
    decoding = pipeline.decoding
    meters = Meters(decoding.ledger, pipeline.health, pipeline.drops)
    meters.programs({program: pad.name for program, pad in decoding.registry.programs.items()})
    tallies = {source.name: source.tally for source in daemon.nodes.feeds}
    meters.account("notices", NoticeAccount(daemon.inlet, pipeline.wire, decoding.ledger, tallies))
    meters.account("events", EventAccount(decoding.ledger, decoding, pipeline.durable, pipeline.writing))
    meters.watch(pipeline.wire, pipeline.durable, pipeline.live)
    for name, tally in tallies.items():
        meters.feed(name, tally)
    meters.race(decoding.leads.feeds, BEHIND_BUCKETS_S)
    for endpoint, counted in {**daemon.nodes.rpc.tallies, **daemon.nodes.archive.tallies}.items():
        meters.rpc(counted, lambda: len(daemon.fetcher), endpoint=endpoint)
    meters.history(daemon.history.tally)
    meters.holes(daemon.holes)
    if journal is not None:
        meters.journal(journal, daemon.config.journal.max_bytes)
        pipeline.health.ask("journal", lambda: journal.full_because)
        pipeline.health.watch(
            Work("inlet", lambda: journal.newest_seq - daemon.inlet.waiting, lambda: daemon.inlet.waiting)
        )
    return meters


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a capture, where it was written, and whether the file ended before its end."""

    ledger: Ledger
    database_url: str
    is_torn: bool


async def replay(
    config: Config, path: Path, *, speed: float | None, progress: Callable[[int, int], None] | None = None
) -> Replayed:
    """
    Decode a capture, or a folder with a journal, into the database. Nothing of it is announced.

    Args:
        speed: 1.0 is the recording's own pace; None is flat out.
        progress: Told (bytes read, bytes in all) now and then.

    Raises:
        BadInput: If the file is no capture.
        MonitorError: As `run`.
    """
    registry = registry_of(config)
    source = capture_or_journal(path, registry.followed, speed=speed, progress=progress)
    async with servers_of(config) as servers:
        with stop_on_signals() as stop:
            async with store_of(config, servers, migrate=config.database.url is None) as store:
                pipeline = build(
                    registry,
                    store,
                    fetcher=None,
                    announcer=None,
                    everything=config.pumpswap.pools == "all",
                    batch_max_rows=config.store.batch_max_rows,
                    live=False,
                )
                await _begin_replay(pipeline, store, config)
                await follow_sources(pipeline, [source], [], stop, deadline_s=config.stop_deadline_s)
                return Replayed(pipeline.decoding.ledger, servers.database_url, source.is_torn)


async def _begin_replay(pipeline: Pipeline, store: Store, config: Config) -> None:
    pools = await store.load_pools(config.store.known_pools)
    pipeline.begin(pools=pools.values(), through=durable_slot(await store.progress()))


def _beat_s(manager: ServiceManager) -> float:
    return min(_BEAT_S, (manager.watchdog_s or 2 * _BEAT_S) / 2)

"""Run the daemon until it is told to stop, or a capture to its end."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from monitor import memory
from monitor.daemon import assemble
from monitor.errors import AlreadyRunning
from monitor.feeding import feed
from monitor.gauges import meters_of
from monitor.health import beat
from monitor.metrics import check, serve
from monitor.node import nodes_of
from monitor.pipeline.inlet import SideDoor
from monitor.pipeline.journal_source import capture_or_journal
from monitor.programs import registry_of
from monitor.sdnotify import ServiceManager
from monitor.servers import servers_of, store_of
from monitor.stages import build, follow, follow_sources, stop_on_signals
from monitor.standby import stand_by
from monitor.start import durable_slot
from monitor.upkeep import candles_of, make_candles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.config import Config
    from monitor.daemon import Daemon
    from monitor.pipeline.ledger import Ledger
    from monitor.servers import Servers
    from monitor.stages import Pipeline
    from monitor.store.store import Store

log = structlog.get_logger(__name__)

_BEAT_S = 5.0
_PATIENCE_S = 60.0


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
    memory.give_back()
    registry = registry_of(config)
    check(config.metrics.listen)  # again when it is served, but then servers have been started in vain
    async with contextlib.AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(nodes_of(config, registry.followed))
        servers = await stack.enter_async_context(servers_of(config))
        if on_servers is not None:
            on_servers(servers)
        daemon = await assemble(config, registry, nodes, servers, stack, migrate=migrate)
        stop = stack.enter_context(stop_on_signals(daemon.reload if reloads else None))
        url = await stack.enter_async_context(serve(meters_of(daemon), config.metrics.listen))
        if url is not None:
            log.info("metrics_served", url=url)
            if on_metrics is not None:
                on_metrics(url)
        await _live(daemon, stop, new_chain=new_chain)


async def _live(daemon: Daemon, stop: asyncio.Event, *, new_chain: bool) -> None:
    """Run a daemon until it is told to stop."""
    manager = ServiceManager()
    async with asyncio.TaskGroup() as group:
        beside = [
            group.create_task(beat(daemon.health, manager, every_s=_beat_s(manager), patience_s=_PATIENCE_S)),
            group.create_task(daemon.holes.run(daemon.store)),
            group.create_task(memory.keep_trim(), name="memory"),
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
            daemon.stood_by = True
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
    memory.give_back()
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
                await make_candles(store, candles_of(store))
                return Replayed(pipeline.decoding.ledger, servers.database_url, source.is_torn)


async def _begin_replay(pipeline: Pipeline, store: Store, config: Config) -> None:
    pools = await store.load_pools(config.store.known_pools)
    pipeline.begin(pools=pools.values(), through=durable_slot(await store.progress()))


def _beat_s(manager: ServiceManager) -> float:
    return min(_BEAT_S, (manager.watchdog_s or 2 * _BEAT_S) / 2)

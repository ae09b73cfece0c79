"""Build the stages from the configuration, run them, and let them end in the right order."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from decoders.core.errors import IdlError
from decoders.core.registry import load
from monitor.channel import Channel
from monitor.config import parse_start
from monitor.data import data_dir, idls_in
from monitor.errors import ConfigError, DrainTooSlow, NoSourceLeft, SourceRefused
from monitor.health import Health, Watchers, beat
from monitor.metrics import Meters, check, serve
from monitor.pipeline.announce import Drops, announce, discard
from monitor.pipeline.decode import Decoding, decode
from monitor.pipeline.feeds import Feeds
from monitor.pipeline.gate import Gate
from monitor.pipeline.ledger import Ledger
from monitor.pipeline.pending import Pending
from monitor.pipeline.pools import PoolMap
from monitor.pipeline.write import Writing, write
from monitor.sdnotify import ServiceManager
from monitor.servers import announcer_of, servers_of, store_of
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.fetch import Fetcher
from monitor.sources.history import History
from monitor.sources.live import Following, blocks_source, logs_source
from monitor.sources.pending import Rules
from monitor.sources.replay import CaptureSource
from monitor.sources.session import Limits
from monitor.start import beginning, durable_slot
from monitor.tasks import STOP_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from decoders.core.registry import Registry
    from decoders.core.types import Fact
    from monitor.config import Config
    from monitor.pipeline.decode import Durable
    from monitor.pipeline.protocols import Announcer, Writer
    from monitor.pipeline.protocols import Fetcher as Fetches
    from monitor.servers import Servers
    from monitor.sources.live import LiveSource, Tap
    from monitor.sources.notices import Journaled, Notice, Source
    from monitor.start import Beginning
    from monitor.store.store import Store

log = structlog.get_logger(__name__)

WIRE_NOTICES = 10_000
DURABLE_FACTS = 20_000
LIVE_FACTS = 5_000
_BEAT_S = 5.0
_LAST_WORDS_S = 1.0
_PATIENCE_S = 60.0


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
class Pipeline:
    """The stages between sources and stores, with their channels."""

    wire: Channel[Notice | Journaled]
    durable: Channel[Durable]
    live: Channel[Fact] | None
    decoding: Decoding
    writing: Writing
    announcer: Announcer | None
    drops: Drops
    health: Health

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
    pools: PoolMap,
    through: int | None,
    fetcher: Fetches | None,
    announcer: Announcer | None,
    everything: bool,
    batch_max_rows: int,
    live: bool,
    left_out_through: int = -1,
) -> Pipeline:
    """
    Return stages that are ready to run.

    Args:
        through: Slot up to which everything was told before; None: nothing was promised yet.
        left_out_through: Slot up to which what they missed since then is left out on purpose.
        everything: Store all pools, not only those of launched tokens.
        live: Whether what is decoded is announced (a replay is not).
    """
    ledger = Ledger()
    health = Health(ledger)
    feeds = Feeds(through, left_out_through)
    decoding = Decoding(registry, pools, feeds, Pending(), fetcher, ledger, health.subscribed)
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
    sources: Sequence[Source],
    helpers: Sequence[Source],
    stop: asyncio.Event,
    *,
    deadline_s: float,
) -> None:
    """
    Run sources into the pipeline until they end or `stop` is set, then commit what is under way.

    `helpers` are sources that serve the others (the fetcher): they never end by themselves.

    Raises:
        NoSourceLeft: If every source was refused.
        DrainTooSlow: If the rest was not committed within `deadline_s` of the stop.
        ExceptionGroup: If a source or a stage broke.
    """
    stages = asyncio.create_task(pipeline.run(), name="stages")
    feeding = asyncio.create_task(_feed(pipeline, sources, helpers), name="sources")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({stages, feeding, stopping}, return_when=asyncio.FIRST_COMPLETED)
        feeding.cancel()
        await asyncio.wait({feeding})
        pipeline.wire.close()
        if not stages.done():
            try:
                await asyncio.wait_for(asyncio.shield(stages), deadline_s)
            except TimeoutError:
                raise _too_slow(deadline_s, feeding) from None
        await stages
        if not feeding.cancelled():
            feeding.result()
    finally:
        for task in (stages, feeding, stopping):
            task.cancel()
        await asyncio.wait({stages, feeding, stopping})


def _too_slow(deadline_s: float, feeding: asyncio.Task[None]) -> BaseException:
    """Return the error of a drain that was given up, along with the one (if any) with which the sources ended."""
    slow = DrainTooSlow(
        f"what was under way could not be committed within {deadline_s:g} s",
        mend="look whether the database answers; what was not committed is fetched again from the node",
    )
    broken = None if feeding.cancelled() else feeding.exception()
    return (
        slow if broken is None else BaseExceptionGroup("the sources ended, and the drain was too slow", [broken, slow])
    )


async def _feed(pipeline: Pipeline, sources: Sequence[Source], helpers: Sequence[Source]) -> None:
    """Run sources until each has ended; one that is refused ends alone."""
    refused: list[SourceRefused] = []

    async def one(source: Source) -> None:
        try:
            await source.run(pipeline.wire)
        except SourceRefused as error:
            log.error("source_refused", error=str(error), mend=error.mend)  # noqa: TRY400 - no bug: no traceback
            refused.append(error)

    async with asyncio.TaskGroup() as group:
        serving = [group.create_task(helper.run(pipeline.wire)) for helper in helpers]
        # Not gather: what it raises the group would count a second time.
        await asyncio.wait([group.create_task(one(source)) for source in sources])
        for task in serving:
            task.cancel()
    if refused and len(refused) == len(sources):
        raise NoSourceLeft(f"every source was refused; the last: {refused[-1]}", mend=refused[-1].mend)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """Set an event on SIGTERM, on SIGINT, and on SIGHUP: the terminal was closed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def endpoints(config: Config) -> tuple[Endpoint, Endpoint]:
    """
    Return the node's websocket and HTTP endpoints.

    Raises:
        ConfigError: If none is configured.
    """
    node = config.node
    if node.ws_url is None or node.http_url is None:
        raise ConfigError("no node to follow", mend="give --endpoint mainnet (or an address), or set node.ws_url")
    return Endpoint(node.ws_url), Endpoint(node.http_url)


def live_source(config: Config, programs: frozenset[str], tap: Tap | None = None) -> LiveSource:
    """
    Return the feed that the configuration names. `tap` hears it word by word.

    Raises:
        ConfigError: If no node is configured.
    """
    node = config.node
    following = Following(
        endpoint=endpoints(config)[0],
        programs=programs,
        commitment=node.commitment,
        limits=Limits(stall_timeout_s=node.stall_timeout_s, max_frame_bytes=node.max_frame_bytes),
    )
    return (blocks_source if node.feed == "blocks" else logs_source)(following, tap=tap)


def rpc_client(config: Config) -> RpcClient:
    """
    Return a client of the configured node's HTTP address.

    Raises:
        ConfigError: If it has none.
    """
    if config.node.http_url is None:
        raise ConfigError("no node to ask", mend="give --endpoint mainnet (or an address), or set node.http_url")
    limits = ClientLimits(rate_per_s=config.fetch.rate_per_s, concurrency=config.fetch.concurrency)
    return RpcClient(Endpoint(config.node.http_url), limits)


async def run(
    config: Config,
    *,
    migrate: bool = False,
    new_chain: bool = False,
    on_servers: Callable[[Servers], None] | None = None,
    on_metrics: Callable[[str], None] | None = None,
) -> None:
    """
    Follow the configured node into the database until a signal of `STOP_SIGNALS`.

    Args:
        migrate: Bring the schema up to date first, also of a database that is not the embedded one.
        new_chain: The node's chain is not the one that the database tells of: what is missing of that is given up.
        on_servers: Told where the database and Redis are, once they run.
        on_metrics: Told where the metrics page is, if there is one, once it is served.

    Raises:
        MonitorError: Whatever ends the daemon but a signal; its `exit_code` is the process's.
    """
    registry = registry_of(config)
    source = live_source(config, registry.followed)
    check(config.metrics.listen)  # again when it is served, but then servers have been started in vain
    manager = ServiceManager()
    with stop_on_signals() as stop:
        async with contextlib.AsyncExitStack() as stack:
            servers = await stack.enter_async_context(servers_of(config))
            if on_servers is not None:
                on_servers(servers)
            own = config.database.url is None
            store = await stack.enter_async_context(store_of(config, servers, migrate=migrate or own))
            client = await stack.enter_async_context(rpc_client(config))
            begun = await _begin(config, store, client, new_chain=new_chain)
            fetcher = _fetcher(config, client, registry)
            pipeline = build(
                registry,
                store,
                pools=PoolMap((await store.load_pools(config.store.known_pools)).values()),
                through=begun.through,
                left_out_through=begun.left_out_through,
                fetcher=fetcher,
                announcer=await stack.enter_async_context(announcer_of(config, servers)),
                everything=config.pumpswap.pools == "all",
                batch_max_rows=config.store.batch_max_rows,
                live=True,
            )
            history = History(client, registry.followed, store, commitment=config.node.commitment)
            pipeline.writing.watcher = Watchers(pipeline.health, history)
            meters = _meters(pipeline, source)
            meters.rpc(client.tally, lambda: len(fetcher))
            meters.history(history.tally)
            url = await stack.enter_async_context(serve(meters, config.metrics.listen))
            if url is not None:
                log.info("metrics_served", url=url)
                if on_metrics is not None:
                    on_metrics(url)
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(_beat(pipeline.health, manager))
                try:
                    await follow(pipeline, [source], [fetcher, history], stop, deadline_s=config.stop_deadline_s)
                finally:
                    manager.stopping()
                    beating.cancel()


async def _begin(config: Config, store: Store, client: RpcClient, *, new_chain: bool) -> Beginning:
    if new_chain and (abandoned := await store.forget_chain()):
        log.info("holes_abandoned", holes=abandoned, reason="the chain begins anew")
    durable = durable_slot(await store.progress())
    return await beginning(parse_start(config.start), durable, client, config.node.commitment)


def _fetcher(config: Config, client: RpcClient, registry: Registry) -> Fetcher:
    rules = Rules(give_up_after_s=config.fetch.give_up_after_s)
    return Fetcher(client, registry.followed, commitment=config.node.commitment, rules=rules)


def _meters(pipeline: Pipeline, source: LiveSource) -> Meters:
    meters = Meters(pipeline.decoding.ledger, pipeline.health, pipeline.drops)
    meters.watch(pipeline.wire, pipeline.durable, pipeline.live)
    meters.feed(source.name, source.tally)
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
    Decode a capture into the database. Nothing of it is announced.

    Args:
        speed: 1.0 is the recording's own pace; None is flat out.
        progress: Told (bytes read, bytes in all) now and then.

    Raises:
        BadInput: If the file is no capture.
        MonitorError: As `run`.
    """
    registry = registry_of(config)
    source = CaptureSource(path, registry.followed, speed=speed, progress=progress)
    with stop_on_signals() as stop:
        async with (
            servers_of(config) as servers,
            store_of(config, servers, migrate=config.database.url is None) as store,
        ):
            pipeline = build(
                registry,
                store,
                pools=PoolMap((await store.load_pools(config.store.known_pools)).values()),
                through=durable_slot(await store.progress()),
                fetcher=None,
                announcer=None,
                everything=config.pumpswap.pools == "all",
                batch_max_rows=config.store.batch_max_rows,
                live=False,
            )
            await follow(pipeline, [source], [], stop, deadline_s=config.stop_deadline_s)
            return Replayed(pipeline.decoding.ledger, servers.database_url, source.is_torn)


async def _beat(health: Health, manager: ServiceManager) -> None:
    every_s = min(_BEAT_S, (manager.watchdog_s or 2 * _BEAT_S) / 2)
    await beat(health, manager, every_s=every_s, patience_s=_PATIENCE_S)

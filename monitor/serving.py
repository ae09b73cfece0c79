"""Serve holes and kept payloads from a command: watch the daemon do it, or do it here where there is none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from decoders.core.answers import Slot
from monitor.errors import RequestFailed
from monitor.feeding import feed
from monitor.node import nodes_of
from monitor.sources import rpc
from monitor.sources.fetch import Fetcher
from monitor.sources.history import History
from monitor.sources.pending import Rules
from monitor.stages import build, follow
from monitor.start import durable_slot
from monitor.upkeep import candles_of, make_candles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from decoders.core.registry import Registry
    from monitor.config import Config
    from monitor.health import Health
    from monitor.sources.clients import Rpc
    from monitor.sources.notices import Outlet, Source
    from monitor.stages import Pipeline
    from monitor.store.asked import HoleRow, OpenHole
    from monitor.store.batch import Batch, Written
    from monitor.store.store import Store

BACKFILL = "backfill"
"""The reason of a hole that somebody filed."""
MOST_HOLES = 1_000_000
"""More holes than any database has."""
LOOK_S = 0.5

Work: TypeAlias = "Callable[[Outlet], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Only:
    """The holes of a database that this process shall fill: those of these ids, or (`ids` None) of this reason."""

    store: Store
    ids: Collection[int] | None = None
    reason: str = ""

    async def open_holes(self, limit: int, without: Iterable[int] = ()) -> list[OpenHole]:
        """Return open ones, oldest slots first."""
        return [hole for hole in await self.store.open_holes(MOST_HOLES, without) if self._is_ours(hole)][:limit]

    async def hole_failed(self, hole_id: int, reason: str) -> None:
        """Note that a try to fill one failed."""
        await self.store.hole_failed(hole_id, reason)

    def _is_ours(self, hole: OpenHole) -> bool:
        return hole.reason == self.reason if self.ids is None else hole.id in self.ids


class Job:
    """Work that ends by itself, as a source: the stages run for as long as it does."""

    def __init__(self, work: Work) -> None:
        self.name = "job"
        self._work = work

    async def run(self, out: Outlet) -> None:
        """Do the work."""
        await self._work(out)


@dataclass(frozen=True, slots=True)
class _Watching:
    """Hears of commits: history looks at the holes again after some."""

    health: Health
    history: History

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """Tell it."""
        self.health.committed(batch, written, seconds)
        if batch.holes or batch.filled:
            self.history.committed([filled.hole_id for filled in batch.filled])

    def trouble(self, reason: str | None) -> None:
        """Tell it."""
        self.health.trouble(reason)


async def serve_holes(config: Config, registry: Registry, holes: Only, work: Work, stop: asyncio.Event) -> None:
    """
    Fill holes from the configured nodes until `work` ends, or `stop` is set. The lock must be held.

    Raises:
        MonitorError: As `app.run`.
    """
    async with nodes_of(config, registry.followed) as nodes:
        rules, commitment = (
            Rules(give_up_after_s=config.fetch.give_up_after_s, block_at=config.fetch.block_at),
            config.node.commitment,
        )
        fetcher = Fetcher(nodes.rpc, registry.followed, commitment=commitment, rules=rules)
        final_slot = await newest_slot(nodes.rpc)
        history = History(nodes.archive, registry.followed, holes, commitment=commitment, final_slot=lambda: final_slot)
        pipeline = await _pipeline(config, registry, holes.store, fetcher)
        pipeline.writing.watcher = _Watching(pipeline.health, history)
        await _run(config, pipeline, work, [fetcher, history], stop)
        await make_candles(holes.store, candles_of(holes.store))


async def serve_job(config: Config, registry: Registry, store: Store, work: Work, stop: asyncio.Event) -> None:
    """
    Write what `work` puts out until it ends, or `stop` is set. The lock must be held; no node is asked.

    Raises:
        MonitorError: As `app.run`.
    """
    await _run(config, await _pipeline(config, registry, store, None), work, [], stop)
    await make_candles(store, candles_of(store))


async def _pipeline(config: Config, registry: Registry, store: Store, fetcher: Fetcher | None) -> Pipeline:
    """Return stages that write what is fetched afterwards: nothing of it is announced."""
    pipeline = build(
        registry,
        store,
        fetcher=fetcher,
        announcer=None,
        everything=config.pumpswap.pools == "all",
        batch_max_rows=config.store.batch_max_rows,
        live=False,
    )
    pipeline.begin(
        pools=(await store.load_pools(config.store.known_pools)).values(),
        through=durable_slot(await store.progress()),
        final_through=await store.final_through(),
    )
    return pipeline


async def _run(config: Config, pipeline: Pipeline, work: Work, helpers: Sequence[Source], stop: asyncio.Event) -> None:
    feeding = asyncio.create_task(feed([Job(work)], pipeline.wire), name="sources")
    await follow(pipeline, feeding, helpers, stop, deadline_s=config.stop_deadline_s)


async def until_filled(
    store: Store, ids: Sequence[int], look: Callable[[Sequence[HoleRow]], None], *, patience_s: float
) -> None:
    """
    Look at holes until they are filled, or nothing of them was for `patience_s` though it was tried.

    Args:
        store: Has them.
        ids: Which holes.
        look: Told what is known of them, again and again.
        patience_s: How long to wait for what cannot be had.
    """
    loop = asyncio.get_running_loop()
    moved_at, state, tries = loop.time(), None, {}
    while True:
        holes = [hole for hole_id in ids if (hole := await store.hole(hole_id)) is not None]
        look(holes)
        left = [hole for hole in holes if hole.filled_at is None]
        now = [(hole.id, hole.filled_through) for hole in left]
        if now != state:
            moved_at, state, tries = loop.time(), now, {hole.id: hole.tries for hole in left}
        was_tried = all(hole.tries > tries.get(hole.id, 0) for hole in left)
        if not left or (was_tried and loop.time() - moved_at > patience_s):
            return
        await asyncio.sleep(LOOK_S)  # the commits are another process's or another task's


async def newest_slot(client: Rpc, commitment: rpc.Commitment = "finalized") -> int:
    """
    Return the node's newest slot at this commitment.

    Raises:
        RequestFailed: If it does not tell.
    """
    return await _number(client, rpc.get_slot(commitment))


async def first_available_slot(client: Rpc) -> int:
    """
    Return the oldest slot whose block the node has.

    Raises:
        RequestFailed: If it does not tell.
    """
    return await _number(client, rpc.get_first_available_block())


async def _number(client: Rpc, request: rpc.Request) -> int:
    answer = await client.call(request)
    try:
        return msgspec.json.decode(answer.result, type=Slot)
    except msgspec.MsgspecError as error:
        raise RequestFailed(f"{request.method} at {client.endpoint}: {error}") from error

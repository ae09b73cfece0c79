"""Stand by while another daemon writes: listen, keep what it might not commit, and take over when it is gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from monitor.errors import StoreUnavailable
from monitor.start import durable_slot

if TYPE_CHECKING:
    from monitor.health import Health
    from monitor.journal import Journal
    from monitor.pipeline.inlet import Inlet
    from monitor.pipeline.upfeeds import UpFeeds
    from monitor.store.store import Store

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 2.0


async def stand_by(
    store: Store,
    inlet: Inlet,
    journal: Journal,
    up: UpFeeds,
    health: Health,
    feeding: asyncio.Task[None],
    stop: asyncio.Event,
) -> bool:
    """
    Wait until the writer's lock is ours; tell whether it is (False: `stop` was set, or the sources ended).

    Sources run into `inlet` meanwhile. Of what they tell, the journal keeps what the writer has not committed yet.
    """
    inlet.begin_life()
    health.commits.is_standby = True
    log.info("standby", reason="another process writes to the database")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        while not (stop.is_set() or feeding.done()):
            if any(True for _ in up):
                health.subscribed.set()
            if await _look(store, journal):
                health.commits.is_standby = False
                log.info("standby_takes_over")
                return True
            await asyncio.wait({stopping, feeding}, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        return False
    finally:
        stopping.cancel()


async def _look(store: Store, journal: Journal) -> bool:
    """Try to become the writer; release what the present one has committed. A database that is away is asked again."""
    try:
        if await store.try_lock():
            return True
        through = durable_slot(await store.progress())
    except StoreUnavailable as error:
        log.warning("standby_cannot_look", error=str(error))
        return False
    if through is not None:
        journal.release_marked(through)
    return False

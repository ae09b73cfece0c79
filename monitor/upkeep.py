"""What keeps a database in shape beside the writing: candles made, partitions ahead, and old rows dropped."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from monitor.config import parse_age, parse_interval
from monitor.errors import MonitorError
from monitor.store import candles, lifecycle
from monitor.store.lifecycle import Rules
from monitor.store.outlive import keep_told
from monitor.store.partitions import DAY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    import asyncpg

    from monitor.config import Config
    from monitor.store.edition import Edition
    from monitor.store.partitions import Piece
    from monitor.store.store import Store

log = structlog.get_logger(__name__)

_REFRESH_EVERY_S = 2.0
_TEND_EVERY_S = 60.0


class Candles(Protocol):
    """Makes candles of trades."""

    async def refresh(self, connection: asyncpg.Connection, newest: datetime) -> object:
        """Make those again that are marked as stale, and those up to shortly before the newest trade."""

    async def is_settled(self, connection: asyncpg.Connection, before: datetime) -> bool:
        """Tell whether all candles that begin before that time are made, and none of them is stale."""


@dataclass(slots=True)
class Tally:
    """
    What upkeep has done since the process began, and how it found things at the last look.

    `failures` are rounds that failed, by which ("candles" or "lifecycle"). `marks` are ranges of candles that have yet
    to be made again. `trades_from`: Unix time of the trade horizon; None: there is none.
    """

    failures: Counter[str] = field(default_factory=lambda: Counter({"candles": 0, "lifecycle": 0}))
    marks: int = 0
    oldest_mark_age_s: float = 0.0
    pieces: int = 0
    dropped_pieces: int = 0
    dropped_candles: int = 0
    trades_from: float | None = None


class Upkeep:
    """
    Keeps the database of a writer in shape, over connections of its own.

    Old trades are dropped once the candles above them are made, and never before: without somebody who makes candles
    nothing is dropped.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        candles: Candles | None,
        *,
        refresh_every_s: float = _REFRESH_EVERY_S,
        tend_every_s: float = _TEND_EVERY_S,
    ) -> None:
        """
        Have done nothing yet.

        Args:
            store: Its lock is held while this runs.
            rules: How long what stays.
            candles: Makes them; None: nobody does.
            refresh_every_s: Pause between two looks for stale candles.
            tend_every_s: Pause between two looks for what is to be made ahead or dropped.
        """
        self.name = "upkeep"
        self.tally = Tally()
        self._store = store
        self._rules = rules
        self._candles = candles
        self._candles_from: datetime | None = None
        self._refresh_every_s = refresh_every_s
        self._tend_every_s = tend_every_s

    async def run(self) -> None:
        """Go on until cancelled. What fails is tried again; it ends nobody, for rows are written without it."""
        async with asyncio.TaskGroup() as group:
            # A partition is detached once the last of its readers is done: candles do not wait for that.
            group.create_task(self._again(self.refresh, "candles", self._refresh_every_s), name="candles")
            group.create_task(self._again(self.tend, "lifecycle", self._tend_every_s, self._arrange), name="lifecycle")

    async def refresh(self, connection: asyncpg.Connection) -> None:
        """
        Make the candles that are to be made.

        Raises:
            UpkeepFailed, StoreUnavailable: As `Store.upkeep`, from which the connection is.
        """
        if self._candles is None:
            return
        newest = await lifecycle.newest(connection)
        if newest is not None:
            await self._candles.refresh(connection, newest.past)
        found = await lifecycle.marks(connection)
        self.tally.marks, self.tally.oldest_mark_age_s = found.count, found.oldest_age_s

    async def tend(self, connection: asyncpg.Connection) -> None:
        """
        Make partitions ahead, move the horizon, and drop what is old.

        Raises:
            UpkeepFailed, StoreUnavailable: As `Store.upkeep`, from which the connection is.
            AlreadyRunning, SchemaMismatch: As `Store.write`.
        """
        if await lifecycle.finish_drop(connection):
            self.tally.dropped_pieces += 1
        newest = await lifecycle.newest(connection)
        if newest is None:
            return
        await self._store.make_ahead(newest.at)
        trades_from = await self._horizon(connection, newest.past)
        if trades_from is not None:
            self.tally.trades_from = trades_from.timestamp()
            before = lifecycle.droppable_before(newest.past, trades_from, self._rules)
            await self._drop_trades(connection, before)
        await self._drop_candles(connection, newest.past)
        self.tally.pieces = len(await lifecycle.pieces(connection, self._edition))

    async def _arrange(self, connection: asyncpg.Connection) -> None:
        await lifecycle.arrange(connection, self._edition, self._rules)

    async def _horizon(self, connection: asyncpg.Connection, past: datetime) -> datetime | None:
        """Move the horizon as far as it may be, and return where it is; None: there is none."""
        wanted = lifecycle.horizon(past, self._rules)
        candles = self._candles
        if wanted is None or candles is None:
            return await lifecycle.trades_from(connection)

        async def is_ready(writing: asyncpg.Connection) -> bool:
            # Nothing is made again below the horizon: what is marked there has to be made before it moves.
            return await candles.is_settled(writing, wanted)

        return await self._store.move_horizon(wanted, is_ready)

    async def _drop_trades(self, connection: asyncpg.Connection, before: datetime | None) -> None:
        if before is None or self._candles is None:
            return
        for piece in await lifecycle.pieces(connection, self._edition):
            if piece.end > before:
                return
            if not await self._candles.is_settled(connection, piece.end):
                log.info(
                    "piece_kept", name=piece.name, end=piece.end.isoformat(), reason="its candles are not made yet"
                )
                return
            await keep_told(connection, piece)
            if await lifecycle.drop(connection, self._edition, piece):
                self._dropped(piece)

    def _dropped(self, piece: Piece) -> None:
        self.tally.dropped_pieces += 1
        log.info("piece_dropped", name=piece.name, first=piece.first.isoformat(), end=piece.end.isoformat())

    async def _drop_candles(self, connection: asyncpg.Connection, past: datetime) -> None:
        if self._rules.retain_candles is None:
            return
        before = lifecycle.floor(past - self._rules.retain_candles, DAY)
        if self._candles_from is None or self._candles_from < before:
            self.tally.dropped_candles += await lifecycle.drop_candles(connection, self._edition, before)
            self._candles_from = before

    async def _again(
        self,
        once: Callable[[asyncpg.Connection], Awaitable[None]],
        what: str,
        every_s: float,
        first: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
    ) -> None:
        """Do something now and then, over one connection until it fails; `first` is done on each new one."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._store.upkeep() as connection:
                    if first is not None:
                        await first(connection)
                    while True:
                        began = loop.time()
                        await once(connection)
                        # Half of the time at most: what comes late by the hour would keep the server busy all along.
                        await asyncio.sleep(max(every_s, loop.time() - began))
            except MonitorError as error:  # that the database is lost, or another's by now, the writer finds out itself
                self.tally.failures[what] += 1
                log.warning("upkeep_failed", what=what, error=str(error))
            await asyncio.sleep(every_s)

    @property
    def _edition(self) -> Edition:
        if self._store.edition is None:
            raise RuntimeError("the store was neither checked nor migrated")
        return self._store.edition


def rules_of(config: Config) -> Rules:
    """Return how long what stays, as configured."""
    told = config.lifecycle
    return Rules(
        chunk_interval=parse_interval(told.chunk_interval),
        compress_trades_after=parse_age(told.compress_trades_after),
        compress_candles_after=parse_age(told.compress_candles_after),
        retain_trades=parse_age(told.retain_trades),
        retain_candles=parse_age(told.retain_candles),
    )


class _CandlesOf:
    """Makes the candles of a store; it runs once that was checked or its lock is held, so that its edition is known."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def refresh(self, connection: asyncpg.Connection, newest: datetime) -> object:
        """Do as `Candles` says."""
        return await self._made().refresh(connection, newest)

    async def is_settled(self, connection: asyncpg.Connection, before: datetime) -> bool:
        """Do as `Candles` says."""
        return await self._made().is_settled(connection, before)

    def _made(self) -> candles.Candles:
        if self._store.edition is None:
            raise RuntimeError("the store was neither checked nor migrated")
        return candles.Candles(self._store.edition)


def candles_of(store: Store) -> Candles:
    """Return what makes the candles of a database; a standby has not looked yet what that is."""
    return _CandlesOf(store)


async def arrange(store: Store, config: Config) -> None:
    """
    Tell TimescaleDB how long pieces are and what it compresses, as configured: for whoever made the schema.

    Raises:
        UpkeepFailed, StoreUnavailable: If that fails: the next daemon does it.
    """
    edition = store.edition or await store.check()
    async with store.upkeep() as connection:
        await lifecycle.arrange(connection, edition, rules_of(config))


async def make_candles(store: Store, candles: Candles | None) -> None:
    """
    Make all candles that are to be made now, for whoever wrote and ends.

    Raises:
        UpkeepFailed, StoreUnavailable: If that fails: the next daemon makes them.
    """
    async with store.upkeep() as connection:
        await Upkeep(store, Rules(), candles).refresh(connection)

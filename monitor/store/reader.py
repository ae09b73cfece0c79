"""The database as everybody may use it: ask, and file what whoever writes shall do."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import asyncpg

from monitor.store import asked, kept, lifecycle, migrate, read, slots
from monitor.store.locks import WRITER_HOLDER, WRITER_KEY
from monitor.store.trouble import translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from types import TracebackType

    from decoders.core.types import PoolInfo
    from monitor.store.edition import Edition


class Reader:
    """
    What can be done with a database of ours without its lock. Nothing is connected before it is needed.

    Every method raises StoreUnavailable if the database does not answer.
    """

    def __init__(self, url: str, pool: asyncpg.Pool, *, connect_timeout_s: float) -> None:
        """
        Connect nothing yet.

        Args:
            url: Where the database is.
            pool: Of connections that read.
            connect_timeout_s: How long to wait for a connection.
        """
        self._url = url
        self._pool = pool
        self._connect_timeout_s = connect_timeout_s
        self._standing = slots.Standing()
        self.edition: Edition | None = None
        """Known after `check`, or once a store migrated or has the lock."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pool.close(), self._connect_timeout_s)
            return
        self._pool.terminate()

    async def check(self) -> Edition:
        """
        Make sure that the schema is this program's, and return the edition.

        Raises:
            SchemaMismatch: If it is not.
            StoreUnavailable: If the database does not answer.
        """
        async with self._reader() as connection:
            self.edition = await migrate.check(connection)
        return self.edition

    async def load_pools(self, limit: int | None = None) -> dict[str, PoolInfo]:
        """Return the pools and curves whose token and quote are known, by address; the `limit` newest (None: all)."""
        async with self._reader() as connection:
            return await read.load_pools(connection, limit)

    async def known_pools(self, addresses: Iterable[str]) -> dict[str, PoolInfo]:
        """Return those of the pools that are known, by address."""
        async with self._reader() as connection:
            return await read.known_pools(connection, addresses)

    async def known_mints(self, mints: Iterable[str]) -> set[str]:
        """Return those of the mints that are tokens of a launchpad."""
        async with self._reader() as connection:
            return await read.known_mints(connection, mints)

    async def progress(self) -> tuple[read.FeedProgress, ...]:
        """Return how far each feed is complete."""
        async with self._reader() as connection:
            return await read.progress(connection)

    async def open_holes(self, limit: int, without: Iterable[int] = ()) -> list[asked.OpenHole]:
        """Return up to `limit` open holes but those of the ids `without`, oldest slots first."""
        async with self._reader() as connection:
            return await asked.open_holes(connection, limit, without)

    async def count_open_holes(self) -> int:
        """Return how many holes are open."""
        async with self._reader() as connection:
            return await asked.count_open_holes(connection)

    async def holes(self, *, open_only: bool, limit: int) -> list[asked.HoleRow]:
        """Return up to `limit` holes: the open ones, oldest slots first, or all, the last noticed first."""
        async with self._reader() as connection:
            return await asked.holes(connection, open_only=open_only, limit=limit)

    async def hole(self, hole_id: int) -> asked.HoleRow | None:
        """Return a hole, or None if there is none of that id."""
        async with self._reader() as connection:
            return await asked.hole(connection, hole_id)

    async def trades_from(self) -> int | None:
        """Return the Unix second before which no trade is taken any more; None: all are."""
        async with self._reader() as connection:
            at = await lifecycle.trades_from(connection)
            return None if at is None else int(at.timestamp())

    async def file_hole(
        self, first_slot: int, last_slot: int, reason: str, signature: str | None = None, feed: str = ""
    ) -> int:
        """Note a hole and return its id: that of the open one if it is the same. Whoever writes will fill it."""
        async with self._reader() as connection:
            return await asked.file_hole(connection, first_slot, last_slot, reason, signature, feed)

    async def file_request(self, kind: str, args: Mapping[str, Any]) -> int:
        """Ask whoever writes for something, and return the request's id."""
        async with self._reader() as connection:
            return await asked.file_request(connection, kind, args)

    async def open_requests(self) -> list[asked.Request]:
        """Return what has yet to be done, oldest first."""
        async with self._reader() as connection:
            return await asked.open_requests(connection)

    async def request(self, request_id: int) -> asked.Request | None:
        """Return a request, or None if there is none of that id."""
        async with self._reader() as connection:
            return await asked.request(connection, request_id)

    async def settle_request(self, request_id: int, result: Mapping[str, Any]) -> None:
        """Note that a request is done, and what came of it. One that is done stays as it is."""
        async with self._reader() as connection:
            await asked.settle_request(connection, request_id, result)

    async def faults(self, limit: int, *, unresolved_only: bool = True, after_id: int = 0) -> list[kept.FaultRow]:
        """Return up to `limit` faults with ids above `after_id`, by id."""
        async with self._reader() as connection:
            return await kept.faults(connection, limit, unresolved_only=unresolved_only, after_id=after_id)

    async def tails(self, after_id: int, limit: int) -> list[kept.TailRow]:
        """Return up to `limit` unresolved tails whose whole event was kept, with ids above `after_id`, by id."""
        async with self._reader() as connection:
            return await kept.tails(connection, after_id, limit)

    async def know_journal(self, journal_id: str, newest_seq: int) -> int | None:
        """
        Return up to which number a journal is committed here; None: it was kept for another database until now.

        From then on it is known, with all through `newest_seq` taken as committed. It takes no lock.
        """
        async with self._reader() as connection:
            return await slots.know_journal(connection, journal_id, newest_seq)

    async def journal_done(self, journal_id: str) -> int:
        """Return up to which number the journal of that id is committed; 0: nothing of it is."""
        async with self._reader() as connection:
            return await slots.journal_done(connection, journal_id)

    async def final_through(self) -> int | None:
        """Return up to which slot all rows were compared with the finalized chain; None: they never were."""
        async with self._reader() as connection:
            return await slots.final_through(connection)

    async def unsettled(self, after_slot: int, through_slot: int, limit: int = 10_000) -> list[tuple[int, str]]:
        """
        Return slots and signatures of what stands in these slots, by slot; none twice.

        A slot is returned whole: there may be more than `limit` if that many are in one slot. Ask again after the last.
        """
        async with self._reader() as connection:
            return await self._standing.page(connection, after_slot, through_slot, limit)

    async def rows_of_slot(self, slot: int, block_time: int | None = None) -> slots.SlotRows:
        """Return everything that stands in a slot; its block time (Unix seconds) makes that cheaper."""
        async with self._reader() as connection:
            return await slots.rows_of_slot(connection, slot, block_time)

    async def writer_pid(self) -> int | None:
        """Return the server process of whoever is this database's writer now; None if nobody is."""
        async with self._reader() as connection:
            pid: int | None = await connection.fetchval(WRITER_HOLDER, WRITER_KEY)
            return pid

    async def oldest_slot(self, after_slot: int = -1) -> int | None:
        """Return the slot of the oldest trade behind `after_slot`, or None if there is none."""
        async with self._reader() as connection:
            return await read.oldest_slot(connection, after_slot)

    async def first_slot(self, first: int, last: int) -> int | None:
        """Return the first slot with trades of those from `first` to `last`, or None if there is none."""
        async with self._reader() as connection:
            return await read.first_slot(connection, first, last)

    async def status(self) -> read.Status:
        """Return what the database holds."""
        async with self._reader() as connection:
            return await read.status(connection)

    async def recent_launches(
        self, limit: int, *, platform: str | None = None, mint: str | None = None
    ) -> list[read.LaunchRow]:
        """Return the newest launches, newest first, of one platform or mint if given."""
        async with self._reader() as connection:
            return await read.recent_launches(connection, limit, platform=platform, mint=mint)

    async def recent_trades(
        self, limit: int, *, venue: str | None = None, mint: str | None = None
    ) -> list[read.TradeRow]:
        """Return the newest trades, newest first, of one venue or mint if given."""
        async with self._reader() as connection:
            return await read.recent_trades(connection, limit, venue=venue, mint=mint)

    async def graduations(
        self, limit: int, *, platform: str | None = None, mint: str | None = None
    ) -> list[read.GraduationRow]:
        """Return the newest graduations, newest first, of one platform or mint if given."""
        async with self._reader() as connection:
            return await read.graduations(connection, limit, platform=platform, mint=mint)

    @asynccontextmanager
    async def alone(self, purpose: str) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection for work of any length: none of its statements is given up. It writes nothing."""
        settings = {"default_transaction_read_only": "on", "datestyle": "ISO", "bytea_output": "hex"}
        with translated():
            connection = await self._connect(f"launch-monitor {purpose}", settings, command_timeout_s=None)
            try:
                yield connection
            finally:
                connection.terminate()

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[asyncpg.Connection]:
        with translated():
            async with self._pool.acquire(timeout=self._connect_timeout_s) as connection:
                yield connection

    async def _connect(
        self, name: str, settings: dict[str, str], *, command_timeout_s: float | None
    ) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._url,
            timeout=self._connect_timeout_s,
            command_timeout=command_timeout_s,
            server_settings={"application_name": name, "timezone": "UTC", **settings},
        )

"""The database as the rest of the daemon sees it: one connection that writes, a few that read."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import asyncpg
import structlog

from monitor.errors import AlreadyRunning, LockLost, StoreUnavailable, StoreWentBack, UpkeepFailed
from monitor.store import lifecycle, migrate, move, read, sql
from monitor.store.locks import WRITER_HOLDER, WRITER_KEY
from monitor.store.partitions import DAY, Partitions
from monitor.store.reader import Reader
from monitor.store.roles import as_owner
from monitor.store.rows import clean
from monitor.store.trim import KEPT_BATCHES
from monitor.store.trouble import translated
from monitor.store.write import Writer

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime, timedelta

    from monitor.store.batch import Batch, Written
    from monitor.store.edition import Edition
    from monitor.store.write import Attempt

log = structlog.get_logger()

_WRITER_SETTINGS = {
    "jit": "off",
    "lock_timeout": "10s",
    # A writer whose machine is gone without a word holds the lock until the server has noticed: by Linux's own
    # measure that takes two hours, and no standby takes over before. (They mean nothing on a unix socket.)
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30000",
    # A batch is looked up by its keys. What the planner thinks of its size must not end in a scan of a whole table.
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
}
# By itself TimescaleDB refuses a transaction that has to look through more than 100,000 compressed rows, as one has to
# that changes a hundred here and there.
_NO_LIMIT = "SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0"
_UPKEEP_SETTINGS = {
    "jit": "off",
    # Whoever waits for an exclusive lock holds up all that come after: rather try again.
    "lock_timeout": "10s",
}
# After these a connection is given up: nobody knows what it is in the middle of, or it may only read, and would be so
# bound after another server was made the primary.
_USELESS = (asyncpg.InternalClientError, OSError, asyncio.CancelledError, asyncpg.ReadOnlySQLTransactionError)


class Store(Reader):
    """
    A database of ours. Made by `open`; nothing is connected before it is needed.

    Reading is free for all. Writing takes the lock, which one process at a time holds.
    """

    def __init__(
        self,
        url: str,
        readers: asyncpg.Pool,
        *,
        connect_timeout_s: float,
        command_timeout_s: float,
        chunk_interval: timedelta = DAY,
    ) -> None:
        super().__init__(url, readers, connect_timeout_s=connect_timeout_s)
        self._chunk_interval = chunk_interval
        self._command_timeout_s = command_timeout_s
        self._writing: asyncpg.Connection | None = None
        self._writing_pid: int | None = None
        self._writer: Writer | None = None
        self._unsure: tuple[Batch, Attempt] | None = None
        self._newest: tuple[int, uuid.UUID] | None = None
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        connect_timeout_s: float = 10,
        command_timeout_s: float = 60,
        readers: int = 4,
        chunk_interval: timedelta = DAY,
    ) -> Self:
        """
        Return a store that speaks to the database at `url` (postgresql://...).

        Args:
            url: Where the database is; PgBouncer in front of it must be in session mode.
            connect_timeout_s: How long to wait for a connection.
            command_timeout_s: How long to wait for one statement.
            readers: How many connections read at most.
            chunk_interval: Length of the pieces that trades are cut into, where the server does not do that.
        """
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=readers,
            timeout=connect_timeout_s,
            command_timeout=command_timeout_s,
            server_settings={"application_name": "launch-monitor read", "timezone": "UTC"},
        )
        with translated():
            await pool
        return cls(
            url,
            pool,
            connect_timeout_s=connect_timeout_s,
            command_timeout_s=command_timeout_s,
            chunk_interval=chunk_interval,
        )

    async def close(self) -> None:
        """Close every connection and give the lock back."""
        if self._writing is not None:
            self._writing.terminate()
            self._writing = None
        await super().close()

    async def migrate(self, edition: Edition | None = None) -> list[migrate.Migration]:
        """
        Bring the schema up to this program's and return the steps taken.

        Args:
            edition: What a new schema is made for (None: the most that the server offers).

        Raises:
            SchemaMismatch: If the database is ahead or not ours.
            AlreadyRunning, ConfigError: As `migrate.apply`.
            StoreUnavailable: If it does not answer.
        """
        async with self._migrating() as connection:
            return await migrate.apply(connection, edition=edition)

    async def migrate_to_timescale(self, told: Callable[[str], None]) -> None:
        """
        Make the schema one of the TimescaleDB that the server offers, and keep every row.

        Args:
            told: Called with a line of progress after each piece.

        Raises:
            AlreadyRunning, ConfigError, SchemaMismatch, StoreUnavailable: As `move.to_timescale`.
        """
        async with self._migrating() as connection:
            await move.to_timescale(connection, told)

    @asynccontextmanager
    async def _migrating(self) -> AsyncIterator[asyncpg.Connection]:
        with translated():
            connection = await self._connect("launch-monitor migrate", {}, command_timeout_s=None)
        try:
            yield connection
            self.edition = await migrate.check(connection)
        finally:
            connection.terminate()

    async def lock(self) -> None:
        """
        Become the writer of this database.

        Raises:
            AlreadyRunning: If another process is.
            SchemaMismatch: If the schema is not this program's (looked at here unless `check` or `migrate` did).
            StoreUnavailable: If the database does not answer.
        """
        async with self._turn:
            with translated():
                await self._connected()

    async def try_lock(self) -> bool:
        """
        Become the writer of this database if nobody is, and tell whether this process is now.

        Raises:
            SchemaMismatch, StoreUnavailable: As `lock`.
        """
        try:
            await self.lock()
        except AlreadyRunning:
            return False
        return True

    async def write(self, batch: Batch) -> Written:
        """
        Commit a batch: all of it or nothing. Repeat it unchanged after StoreUnavailable: it will not be written twice.

        Raises:
            LockLost: If another process took over; AlreadyRunning from then on, until it is gone.
            StoreWentBack: If the database no longer holds the batch that was committed last.
            SchemaMismatch: If the schema is no longer ours.
            StoreUnavailable: If the database cannot take it now; whether it did is looked up when it is repeated.
        """
        async with self._own() as connection:
            settled = await self._settle(connection, batch)
            return settled if settled is not None else await self._commit(connection, batch)

    async def make_ahead(self, newest: datetime) -> None:
        """
        Make the partitions behind that time, where the server does not do that when they are needed.

        Raises:
            AlreadyRunning, SchemaMismatch, StoreUnavailable: As `write`.
        """
        async with self._own() as connection:
            if self._writer is not None:
                await self._writer.make_ahead(connection, newest)

    async def move_horizon(
        self, trades_from: datetime, is_ready: Callable[[asyncpg.Connection], Awaitable[bool]]
    ) -> datetime | None:
        """
        Take no trade from before that time any more, and return where the horizon is then; it never moves back.

        No batch is under way meanwhile, and each one after it knows: what is older is stored, or a fault, for good.

        Args:
            trades_from: Where it is to be.
            is_ready: Asked before it moves; if not, it stays where it was.

        Raises:
            AlreadyRunning, SchemaMismatch, StoreUnavailable: As `write`.
        """
        async with self._own() as connection:
            known = await lifecycle.trades_from(connection)
            if (known is None or known < trades_from) and await is_ready(connection):
                await connection.execute(lifecycle.MOVE_TRADES_FROM, trades_from)
                known = trades_from
            if self._writer is not None:
                self._writer.trades_from = known
            return known

    @asynccontextmanager
    async def upkeep(self) -> AsyncIterator[asyncpg.Connection]:
        """
        Yield a connection of its own, with no limit to how long a statement takes.

        Raises:
            UpkeepFailed: For whatever the database refuses inside the block.
            StoreUnavailable: If it does not answer.
        """
        try:
            with translated():
                connection = await self._connect("launch-monitor upkeep", _UPKEEP_SETTINGS, command_timeout_s=None)
                try:
                    await as_owner(connection)
                    yield connection
                finally:
                    connection.terminate()
        except asyncpg.PostgresError as error:
            raise UpkeepFailed(f"PostgreSQL: {error} ({error.sqlstate})") from error

    @asynccontextmanager
    async def _own(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield the connection that holds the lock, in turn with batches."""
        async with self._turn:
            with translated():
                connection = await self._connected()
                try:
                    yield connection
                except _USELESS:
                    connection.terminate()
                    raise

    async def hole_failed(self, hole_id: int, reason: str) -> None:
        """
        Note that a try to fill a hole failed. A hole that is filled by now stays as it is.

        Raises:
            AlreadyRunning, SchemaMismatch, StoreUnavailable: As `write`.
        """
        async with self._own() as connection:
            await connection.execute(sql.NOTE_FAILED_TRY, hole_id, clean(reason))

    async def forget_chain(self) -> int:
        """
        Give up every open hole, forget how far feeds were, and return how many holes that were.

        It is for a chain that is gone and begins anew: nobody will ever tell what was missed of it.

        Raises:
            AlreadyRunning, SchemaMismatch, StoreUnavailable: As `write`.
        """
        async with self._own() as connection:
            count: int = await connection.fetchval(sql.ABANDON_HOLES)
            return count

    async def _connected(self) -> asyncpg.Connection:
        """Return the connection that holds the lock, a new one if the last was lost."""
        if self._writing is not None and not self._writing.is_closed():
            return self._writing
        connection = await self._connect(
            "launch-monitor write", _WRITER_SETTINGS, command_timeout_s=self._command_timeout_s
        )
        try:
            await self._take_lock(connection)
            self.edition = await migrate.check(connection)
            if self.edition == "timescale":
                await connection.execute(_NO_LIMIT)
            newest_batch_no = await connection.fetchval(sql.NEWEST_BATCH_NO)
            await self._make_sure(connection, newest_batch_no)
            if self._writer is None or self._writer.newest_batch_no != newest_batch_no:
                # The first time; or somebody else wrote meanwhile, and what we remember may not be so any more.
                self._writer = await self._new_writer(connection, newest_batch_no)
            self._writer.trades_from = await lifecycle.trades_from(connection)
        except BaseException:
            connection.terminate()
            raise
        self._writing, self._writing_pid = connection, connection.get_server_pid()
        log.info("store_writer_ready", pid=self._writing_pid)
        return connection

    async def _make_sure(self, connection: asyncpg.Connection, newest_batch_no: int) -> None:
        """
        Make sure that the server behind a new connection holds what we committed last.

        A replica that was promoted may have got less than its primary confirmed: the end is missing then, nothing else.
        """
        if self._newest is None:
            return
        batch_no, batch_id = self._newest
        is_trimmed = newest_batch_no - batch_no >= KEPT_BATCHES
        if is_trimmed or await connection.fetchval(sql.FIND_BATCH, batch_id):
            return
        raise StoreWentBack(
            f"the database lost batch {batch_no}, which it had committed: it was restored, or a replica was promoted",
            mend="start again: what it lacks is read back from the journal, or is a hole and is fetched",
        )

    async def _new_writer(self, connection: asyncpg.Connection, newest_batch_no: int) -> Writer:
        slot = await read.newest_slot(connection)
        return Writer(
            Partitions(self._chunk_interval) if self.edition == "plain" else None,
            stored_slot=-1 if slot is None else slot,
            schema=await migrate.newest(connection),
            newest_batch_no=newest_batch_no,
            newest=await read.newest_time(connection),
        )

    async def _take_lock(self, connection: asyncpg.Connection) -> None:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", WRITER_KEY):
            return
        holder = await connection.fetchval(WRITER_HOLDER, WRITER_KEY)
        if holder is None or holder == self._writing_pid:
            # The server has not yet noticed that our last connection is gone. It may be committing right now: what
            # became of that batch can be told once it is gone.
            await connection.execute("SELECT pg_terminate_backend($1)", holder)
            raise StoreUnavailable("our last connection still holds the writer's lock")
        was_ours, self._writing_pid = self._writing_pid is not None, None
        raise (LockLost if was_ours else AlreadyRunning)(
            f"another process (server pid {holder}) writes to this database",
            mend="stop it, or give this one a database of its own",
        )

    async def _settle(self, connection: asyncpg.Connection, batch: Batch) -> Written | None:
        """Find out what became of the last COMMIT, if that is not known; return its outcome if it was this batch's."""
        if self._unsure is None or self._writer is None:
            return None
        last, attempt = self._unsure
        was_committed = await connection.fetchval(sql.FIND_BATCH, last.batch_id)
        self._unsure = None
        log.warning("commit_outcome_looked_up", batch_id=str(last.batch_id), committed=bool(was_committed))
        if not was_committed:
            return None
        written = self._committed(self._writer, last, attempt)
        return written if last.batch_id == batch.batch_id else None

    async def _commit(self, connection: asyncpg.Connection, batch: Batch) -> Written:
        if self._writer is None:
            raise StoreUnavailable("the writer's lock is not held")
        attempt = await self._writer.prepare(connection, batch)
        self._unsure = (batch, attempt)
        try:
            await connection.execute("COMMIT")
        except BaseException:
            connection.terminate()
            raise
        self._unsure = None
        return self._committed(self._writer, batch, attempt)

    def _committed(self, writer: Writer, batch: Batch, attempt: Attempt) -> Written:
        if batch.is_noted:
            self._newest = (attempt.batch_no, batch.batch_id)
        return writer.committed(attempt)

"""One life of a daemon, of which a test moves every part by itself and that may end between any two steps."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Literal, cast

from monitor.channel import Channel
from monitor.errors import AlreadyRunning, StoreUnavailable
from monitor.journal import Journal, JournalLimits
from monitor.pipeline.decode import decode
from monitor.pipeline.inlet import Inlet, SideDoor
from monitor.pipeline.upfeeds import UpFeeds
from monitor.pipeline.write import Writing, write
from monitor.stages import build
from monitor.start import durable_slot
from monitor.store.store import Store
from tests.decoders.built import ALL
from tests.journal.crash import kill
from tests.model.disk import Disk
from tests.pipeline.stages import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    import asyncpg

    from monitor.pipeline.decode import Durable
    from monitor.sources.notices import Journaled, Notice
    from monitor.store.batch import Batch, Written

Fate = Literal["committed", "away", "lost_before", "lost_after"]
"""What becomes of a commit; "lost": the connection is, before or after the server hears of the COMMIT."""

LIMITS = JournalLimits(min_free_bytes=0, segment_bytes=1_500, memory_bytes=1_000)
_WIRE, _DURABLE, _BATCH_ROWS = 4, 6, 5
_PATIENCE_S = 20.0
_TURNS = 12
"""So often others get their turn before a stage that has something to do has got to where it waits."""


class _Cut:
    """A connection that is lost at the next COMMIT."""

    def __init__(self, connection: asyncpg.Connection[Any], fate: Fate) -> None:
        self._connection = connection
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, statement: str, *arguments: object) -> str:
        """Execute a statement, but for a COMMIT."""
        if statement == "COMMIT" and self._fate != "committed":
            if self._fate == "lost_after":
                await self._connection.execute(statement)
            self._connection.terminate()
            raise ConnectionResetError(self._fate)
        answer: str = await self._connection.execute(statement, *arguments)
        return answer


class CutStore(Store):
    """A store whose next commit meets with `fate`."""

    fate: Fate = "committed"

    async def _commit(self, connection: asyncpg.Connection[Any], batch: Batch) -> Written:
        return await super()._commit(cast("asyncpg.Connection[Any]", _Cut(connection, self.fate)), batch)


class Desk:
    """A writer that waits at each batch for what is to become of it."""

    def __init__(self, store: CutStore) -> None:
        self.store = store
        self._is_asked = False
        self._orders: asyncio.Queue[Fate] = asyncio.Queue()

    def is_asked(self) -> bool:
        """Tell whether a batch waits."""
        return self._is_asked

    def order(self, fate: Fate) -> None:
        """Let the batch go."""
        self._is_asked = False
        self._orders.put_nowait(fate)

    async def write(self, batch: Batch) -> Written:
        """Wait, then write."""
        self._is_asked = True
        fate = await self._orders.get()
        if fate == "away":
            raise StoreUnavailable(fate)
        self.store.fate = fate
        return await self.store.write(batch)

    async def known_mints(self, mints: Collection[str]) -> set[str]:
        """Ask the store."""
        return await self.store.known_mints(mints)


class Turnstile:
    """The wire's far end, which lets through as many as it is told."""

    def __init__(self, wire: Channel[Notice | Journaled]) -> None:
        self.is_shut = False
        self.permits: float = 0
        self._wire = wire
        self._granted = asyncio.Event()

    def __len__(self) -> int:
        return len(self._wire)

    def grant(self, permits: float) -> None:
        """Let so many through."""
        self.permits = permits
        self._granted.set()

    async def get(self) -> Notice | Journaled:
        """Wait for leave to pass, then for something that passes."""
        while self.permits <= 0:
            self.is_shut = True
            self._granted.clear()
            await self._granted.wait()
        self.is_shut = False
        self.permits -= 1
        return await self._wire.get()


class Life:
    """One life. It stands still but for what it is told to do."""

    def __init__(self, store: CutStore, disk: Disk, journal: Journal, up: UpFeeds) -> None:
        self.store, self.disk, self.journal = store, disk, journal
        self.wishes = Wishes()
        self.desk = Desk(store)
        self.commits = 0
        pipeline = build(
            ALL, self.desk, fetcher=self.wishes, announcer=None, everything=True, batch_max_rows=_BATCH_ROWS,
            live=False, journal_id=journal.id,
        )  # fmt: skip
        self.pipeline = pipeline
        self.wire: Channel[Notice | Journaled] = Channel(_WIRE, "wire")
        self.durable: Channel[Durable] = Channel(_DURABLE, "durable")
        self.inlet = Inlet(self.wire, journal, up)
        self.side_door = SideDoor(self.inlet, self.wire)
        self.turnstile = Turnstile(self.wire)
        self.writing = Writing(self.desk, None, pipeline.decoding.ledger, _BATCH_ROWS, self)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @classmethod
    async def begin(cls, folder: Path, url: str, heard: Callable[[int, bytes], None]) -> Life:
        """
        Open what an earlier life left, as the daemon does, and begin the stages; nothing is passed on before `start`.

        Args:
            folder: Of the journal.
            url: Of the database.
            heard: Told every record that is appended, with its number.
        """
        store = await CutStore.open(url)
        await _lock(store)
        up = UpFeeds()
        journal = Journal.open(folder, LIMITS, up.snapshot)
        await store.know_journal(journal.id, journal.newest_seq)
        _tap(journal, heard)
        return cls(store, Disk(folder, journal), journal, up)

    async def start(self) -> None:
        """Go on where the database says that the last life got to."""
        self.pipeline.begin(
            pools=(await self.store.load_pools()).values(),
            through=durable_slot(await self.store.progress()),
            final_through=await self.store.final_through(),
        )
        await self.inlet.start(await self.store.journal_done(self.journal.id))
        wire = cast("Channel[Notice | Journaled]", self.turnstile)
        self._tasks = {
            "decode": asyncio.create_task(decode(wire, self.durable, None, self.pipeline.decoding)),
            "write": asyncio.create_task(write(self.durable, self.writing)),
            "inlet": asyncio.create_task(self.inlet.run()),
        }

    @property
    def is_told(self) -> bool:
        """Tell whether everything that was put has been decoded."""
        return not len(self.wire) and not self.inlet.waiting

    async def put_aside(self, notice: Notice) -> None:
        """Put what was asked of a node; whatever is in the way moves on."""
        putting = asyncio.create_task(self.side_door.put(notice))
        await _turns(1)
        while not putting.done():
            await self.decode(1)
            if len(self.durable) >= self.durable.capacity:
                await self.commit("committed")
        putting.result()

    async def decode(self, count: float) -> None:
        """Let so many notices through, if that many are there and the durable branch has room."""
        self.turnstile.grant(count)
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                await _turns(_TURNS)
                self._look()
                is_stuck = len(self.durable) >= self.durable.capacity
                if is_stuck or self.is_told or (self.turnstile.is_shut and not self.turnstile.permits):
                    break
                await asyncio.sleep(0.0002)  # the journal is read in a thread
        self.turnstile.permits = 0

    async def commit(self, fate: Fate) -> bool:
        """Let the batch that is next meet with a fate; tell whether there was one."""
        await _turns(_TURNS)
        self._look()
        if not self.desk.is_asked():
            return False
        before = self.commits
        self.desk.order(fate)
        async with asyncio.timeout(_PATIENCE_S):
            while self.commits == before and not self.desk.is_asked():
                await asyncio.sleep(0.0002)
                self._look()
        return True

    async def stop(self) -> None:
        """End in order: what is on the wire is decoded, all of it is committed, the journal written."""
        await self._cancel("inlet")
        self.wire.close()
        self.turnstile.grant(float("inf"))
        async with asyncio.timeout(_PATIENCE_S):
            while not self._tasks["write"].done():
                await _turns(_TURNS)
                if self.desk.is_asked():
                    self.desk.order("committed")
                await asyncio.sleep(0.0002)
        for name in ("decode", "write"):
            self._tasks[name].result()
        await self.journal.close()
        await self.store.close()

    async def die(self) -> None:
        """End like a process that is killed: what was not written is gone."""
        for name in self._tasks:
            await self._cancel(name)
        kill(self.journal)
        await self.store.close()

    def committed(self, batch: Batch, written: Written, seconds: float) -> None:
        """A batch was committed."""
        del written, seconds
        self.commits += 1
        if batch.done is not None:
            self.inlet.released(batch.done.seq)

    def trouble(self, reason: str | None) -> None:
        """Ignore it: the desk sees each attempt."""

    async def _cancel(self, name: str) -> None:
        task = self._tasks[name]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def _look(self) -> None:
        """Raise what a stage broke with."""
        for task in self._tasks.values():
            if task.done():
                task.result()


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _lock(store: Store) -> None:
    """Become the writer, as soon as the server has noticed that the last life is over."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                await store.lock()
            except (AlreadyRunning, StoreUnavailable):
                await asyncio.sleep(0.002)
            else:
                return


def _tap(journal: Journal, heard: Callable[[int, bytes], None]) -> None:
    """Tell of every record that is appended."""
    append = journal.append

    def tapped(record: bytes, mark: int = -1) -> int:
        seq = append(record, mark)
        heard(seq, record)
        return seq

    journal.append = tapped  # type: ignore[method-assign]  # as good as a subclass, which `open` would have to know

"""
The queue on disk, of which memory holds the newest part.

What it promises: a number that was given stays that record's for ever. A record is with the operating system some
10 ms after it was appended (a killed process loses no more), and on disk `fsync_interval_s` later (a power cut loses no
more). Whatever a crash costs is the end: what is read back afterwards is what was appended, up to somewhere.

At the cap (bytes, free disk, a write or a deletion that found the disk full, or a disk too slow for what comes) nothing
is thrown away. `room()` waits, so the feed is not read any more, so the node drops the connection, and the next one
records as a hole what was missed meanwhile. Whatever else a disk can do, and any failure to force to disk what was
written, ends the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

import structlog

from monitor.errors import ConfigError
from monitor.journal.disk import DiskReader
from monitor.journal.folder import lock, read_header, recover
from monitor.journal.segment import NO_MARK, Chunk, Gap
from monitor.journal.tape import Tape, broken
from monitor.metrics import SECONDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.journal.disk import Entry
    from monitor.journal.folder import Found, Segment
    from monitor.journal.limits import JournalLimits

T = TypeVar("T")
log = structlog.get_logger(__name__)

_GATHER_S = 0.005
_FULL_POLL_S = 1.0
_CHUNK_BYTES = 1 << 20
_MOST_UNWRITTEN_BYTES = 64 << 20
_ROOM_SHARE = 7 / 8
# One writes, one forces to disk, one reads: none waits for another, nor for what else the loop's own threads do.
_THREADS = 3


class Journal:
    """
    One folder, one process, one event loop.

    `newest_seq` is the last number given, `released_seq` the highest that was released, `stored_bytes` what stands on
    disk, `unwritten_bytes` what waits in memory for it, `gaps` the numbers that reading found lost since the start.
    `full_because` says why nothing more fits. `sync_seconds` counts how long forcing to disk took.
    """

    def __init__(self, folder: Path, limits: JournalLimits, snapshot: Callable[[], bytes], lock_handle: int) -> None:
        """Use `open`."""
        found = recover(folder)
        self.id = found.journal_id or uuid.uuid4().hex
        self.newest_seq = found.newest_seq
        self.released_seq = found.released_seq
        self._gone_seq = self.released_seq
        self.stored_bytes = 0
        self.unwritten_bytes = 0
        self.gaps: list[Gap] = []
        self.full_because: str | None = None
        self.sync_seconds = Histogram(SECONDS)
        self._folder = folder
        self._limits = limits
        self._snapshot = snapshot
        self._lock = lock_handle
        self._segments = found.segments
        self._tape = Tape(folder, self.id, limits.roll_bytes, _newest_mark(found))
        self._state = snapshot()
        self._open = Chunk(self.newest_seq + 1, self._state)
        self._unwritten: deque[Chunk] = deque()
        self._written: deque[Chunk] = deque()
        self._written_bytes = 0
        self._written_seq = self._synced_seq = self.newest_seq
        self._doomed: list[Path] = []
        self._found_full = False
        self._free_bytes = self._tape.free_bytes()
        self._wake = asyncio.Event()
        self._roomy = asyncio.Event()
        self._pool = ThreadPoolExecutor(_THREADS, "journal")
        self._flushing: asyncio.Task[None] | None = None
        self._count_bytes()

    @classmethod
    def open(cls, folder: Path, limits: JournalLimits, snapshot: Callable[[], bytes]) -> Self:
        """
        Open a journal, or begin one. A torn tail is cut off, and logged; what comes next goes into a new segment.

        Args:
            folder: Made if it is not there.
            limits: Bounds.
            snapshot: Returns the caller's state, that stands at the head of each segment: reading may begin at any.
                It is called inside of `append` at times, and then accounts for that record already.

        Raises:
            AlreadyRunning: If somebody else has it open.
            ConfigError: If the folder cannot be used, or a newer program wrote it.
            JournalBroken: If the disk fails.
        """
        handle = lock(folder)
        try:
            return cls(folder, limits, snapshot, handle)
        except OSError as error:
            os.close(handle)
            raise broken(folder, error) from error
        except ConfigError:
            os.close(handle)
            raise

    @property
    def is_full(self) -> bool:
        """Tell whether the cap is reached, or the disk is nearly full, full, or too slow."""
        return self.full_because is not None

    @property
    def gone_seq(self) -> int:
        """The last number whose record was given up: it cannot be read any more."""
        return self._gone_seq

    @property
    def synced_seq(self) -> int:
        """The last number that no power cut can cost."""
        return self._synced_seq

    def skip_to(self, seq: int) -> None:
        """Give no number up to `seq` again: the database knows it, though a power cut took its record from here."""
        if seq <= self.newest_seq:
            return
        self._seal()
        log.warning("journal_behind_database", newest_seq=self.newest_seq, done_seq=seq)
        self.newest_seq = seq
        self._open = Chunk(seq + 1, self._state)

    def append(self, record: bytes, mark: int = NO_MARK) -> int:
        """
        Append a record and return its number. Await `room()` before.

        Args:
            record: At most 256 MiB.
            mark: Any number; see `release_marked`.
        """
        chunk = self._open
        chunk.records.append(record)
        chunk.size_bytes += len(record)
        if mark > chunk.mark:  # noqa: PLR1730 - a third of the time of max(), at each record
            chunk.mark = mark
        self.newest_seq += 1
        self.unwritten_bytes += len(record)
        if chunk.size_bytes >= _CHUNK_BYTES:
            self._seal()
        if len(chunk.records) == 1:
            self._wake.set()
        if (
            self.unwritten_bytes > _MOST_UNWRITTEN_BYTES
            or self.stored_bytes + self.unwritten_bytes >= self._limits.max_bytes
        ):
            self._judge()
        return self.newest_seq

    async def room(self) -> None:
        """Wait while the journal is full."""
        while self.is_full:
            await self._roomy.wait()

    def read(self, after_seq: int) -> Reader:
        """Read what comes after a number; what was not flushed yet is included. Close the reader when done."""
        return Reader(self, max(after_seq, self._gone_seq))

    async def state_before(self, seq: int) -> tuple[int, bytes]:
        """
        Return the nearest number up to `seq` before which the caller's state is known, and that state.

        Of what was released long ago it is the first number that is left; of what is lost nothing is known (b"").

        Raises:
            JournalBroken: If the disk fails.
        """
        self._seal()
        seq = max(seq, self._gone_seq + 1)
        if seq > self.newest_seq:
            return seq, self._state
        for chunk in (*self._written, *self._unwritten):
            if chunk.first_seq <= seq <= chunk.last_seq:
                return chunk.first_seq, chunk.before
        before = [segment for segment in self._segments if segment.first_seq <= seq <= segment.last_seq]
        if not before:
            return seq, b""
        header = await self._in_thread(read_header, before[-1].path)
        return before[-1].first_seq, b"" if header is None else header.snapshot

    def release(self, through_seq: int) -> None:
        """Give up every closed segment whose numbers are all at most `through_seq`."""
        if through_seq > self.released_seq:
            self.released_seq = min(through_seq, self.newest_seq)
            self._drop()

    def release_marked(self, below: int) -> None:
        """Give up the oldest closed segments as long as every mark in them is below: for who will never commit them."""
        kept = next((s for s in self._closed() if s.mark >= below), None)
        end = self._newest_segment() if kept is None else kept
        if end is not None:
            self.release(end.first_seq - 1)

    async def run(self) -> None:
        """
        Write, and force to disk, until cancelled.

        Raises:
            ExceptionGroup: Of JournalBroken, if the disk fails.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(), name="journal-write")
            group.create_task(self._sync(), name="journal-sync")

    async def flush(self) -> None:
        """
        Write what waits, and force it to disk. On a full disk as much as goes.

        Raises:
            JournalBroken: If the disk fails.
        """
        await self._flush()
        await self._sync_once()

    async def close(self) -> None:
        """
        Write what waits, and let go of the folder. Cancel `run` before.

        Raises:
            JournalBroken: If the disk fails.
        """
        try:
            await self.flush()
            await self._in_thread(self._tape.close)
            if self._unwritten:
                log.error("journal_unwritten", first_seq=self._unwritten[0].first_seq, last_seq=self.newest_seq)
        finally:
            self._pool.shutdown()
            os.close(self._lock)

    async def read_some(self, reader: DiskReader) -> list[Entry] | Gap:
        """Return what follows a reader's place; [] if that is all. Suspends only if it must be read from disk."""
        self._seal()
        oldest = self._oldest_in_memory()
        if reader.after_seq + 1 < oldest:
            return await self._from_disk(reader, oldest - 1)
        for chunk in (*self._written, *self._unwritten):
            if chunk.last_seq > reader.after_seq:
                known = max(0, reader.after_seq + 1 - chunk.first_seq)
                reader.after_seq = chunk.last_seq
                return list(enumerate(chunk.records[known:], start=chunk.first_seq + known))
        return []

    def _oldest_in_memory(self) -> int:
        for chunks in (self._written, self._unwritten):
            if chunks:
                return chunks[0].first_seq
        return self.newest_seq + 1

    async def _from_disk(self, reader: DiskReader, through_seq: int) -> list[Entry] | Gap:
        found = await self._in_thread(reader.read, tuple(self._segments), through_seq)
        if isinstance(found, Gap):
            self.gaps.append(found)
            if found.after is None:
                self._tape.must_roll = True  # what follows in this segment can be read by nobody
        return found

    def _seal(self) -> None:
        """End the chunk to which records are appended."""
        if self._open.records:
            self._unwritten.append(self._open)
            self._state = self._snapshot()
            self._open = Chunk(self.newest_seq + 1, self._state)

    async def _write(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FULL_POLL_S if self.is_full else None):
                    await self._wake.wait()
            await asyncio.sleep(_GATHER_S)
            await self._flush()

    async def _flush(self) -> None:
        """Write what waits. Whoever gives up waiting does not stop it."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait({self._flushing})
        self._flushing = asyncio.create_task(self._flush_once())
        await asyncio.shield(self._flushing)

    async def _flush_once(self) -> None:
        self._wake.clear()
        self._seal()
        chunks, doomed = list(self._unwritten), self._doomed
        self._doomed = []
        worked = await self._in_thread(self._tape.work, chunks, doomed)
        for segment in worked.begun:  # one that is still empty is written anew under the same name
            self._segments = [old for old in self._segments if old.path != segment.path]
            self._segments.append(segment)
        for _ in range(worked.written):
            self._keep(self._unwritten.popleft())
        if not worked.has_deleted:
            self._doomed = [*doomed, *self._doomed]
        self._found_full = worked.written < len(chunks) or not worked.has_deleted
        self._free_bytes = worked.free_bytes
        self._count_bytes()

    def _keep(self, chunk: Chunk) -> None:
        """Keep a chunk that was written in memory, for as long as there is room."""
        self._written_seq = chunk.last_seq
        self.unwritten_bytes -= chunk.size_bytes
        self._written.append(chunk)
        self._written_bytes += chunk.size_bytes
        while self._written_bytes > self._limits.memory_bytes:
            self._written_bytes -= self._written.popleft().size_bytes

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(self._limits.fsync_interval_s)
            await self._sync_once()

    async def _sync_once(self) -> None:
        written_seq = self._written_seq
        if written_seq > self._synced_seq:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await self._in_thread(self._tape.sync)
            self.sync_seconds.observe(loop.time() - began)
            self._synced_seq = max(self._synced_seq, written_seq)

    async def _in_thread(self, call: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)
        except OSError as error:
            raise broken(self._folder, error) from error

    def _newest_segment(self) -> Segment | None:
        return self._segments[-1] if self._segments else None

    def _closed(self) -> list[Segment]:
        """Return the segments that do not grow; the newest stays in any case: it knows which number is next."""
        return self._segments[:-1]

    def _drop(self) -> None:
        gone = [segment for segment in self._closed() if segment.last_seq <= self.released_seq]
        if gone:
            self._segments = self._segments[len(gone) :]
            self._gone_seq = gone[-1].last_seq
            self._doomed += [segment.path for segment in gone]
            self._wake.set()
        self._count_bytes()

    def _count_bytes(self) -> None:
        self.stored_bytes = sum(segment.size_bytes for segment in self._segments)
        self._judge()

    def _judge(self) -> None:
        """Find out whether there is room, and tell who waits for it."""
        before, self.full_because = self.full_because, self._why_full()
        if before is None and self.full_because is not None:
            self._roomy.clear()
            self._wake.set()  # to look again each second
            log.warning("journal_full", reason=self.full_because, stored_bytes=self.stored_bytes)
        elif before is not None and self.full_because is None:
            log.info("journal_has_room", stored_bytes=self.stored_bytes)
        if self.full_because is None:
            self._roomy.set()

    def _why_full(self) -> str | None:
        if self._found_full:
            return "no_space"
        if self.unwritten_bytes > _MOST_UNWRITTEN_BYTES:
            return "slow_disk"
        taken_bytes = self.stored_bytes + self.unwritten_bytes
        # Whoever waited at the cap comes back when there is some room: else each record would come and go by itself.
        cap_bytes = self._limits.max_bytes * (_ROOM_SHARE if self.full_because == "cap" else 1)
        # Once everything is released there is nothing to wait for: the next record begins a segment, and the last goes.
        if self.released_seq < self.newest_seq and taken_bytes >= cap_bytes:
            return "cap"
        return "free_disk" if self._free_bytes < self._limits.min_free_bytes else None


class Reader:
    """Reads a journal on after a number, while it grows."""

    def __init__(self, journal: Journal, after_seq: int) -> None:
        self._journal = journal
        self._disk = DiskReader(after_seq)

    async def next(self) -> list[Entry] | Gap:
        """
        Return some (number, record) that follow, or a gap; [] once everything that was appended was returned.

        Where it returns [], it has not suspended since it looked: nothing was appended meanwhile.

        Raises:
            JournalBroken: If the disk fails.
        """
        return await self._journal.read_some(self._disk)

    def close(self) -> None:
        """Let go of the open file."""
        self._disk.close()


def _newest_mark(found: Found) -> int:
    return found.segments[-1].mark if found.segments else NO_MARK

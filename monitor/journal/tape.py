"""Writing chunks into segments. It blocks, so it runs in a thread."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import JournalBroken
from monitor.journal.folder import DRAFT_SUFFIX, Segment, path_of, sync_folder
from monitor.journal.segment import NO_MARK, Header, Packer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from monitor.journal.segment import Chunk

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Worked:
    """
    How many chunks were written to their end, the segments that were begun, what is free on the file system.

    `has_deleted`: whether all that was to be deleted is gone for good.
    """

    written: int
    begun: list[Segment]
    free_bytes: int
    has_deleted: bool


class Tape:
    """
    The end of a journal, to which chunks are written.

    `segment` is the one that grows (None: the next chunk begins one). `roll_bytes` is the size at which it is closed;
    `must_roll` closes it sooner.
    """

    def __init__(self, folder: Path, journal_id: str, roll_bytes: int, previous_mark: int = NO_MARK) -> None:
        self.segment: Segment | None = None
        self.must_roll = False
        self._folder = folder
        self._journal_id = journal_id
        self._roll_bytes = roll_bytes
        self._previous_mark = previous_mark
        self._packer: Packer | None = None
        self._handle: int | None = None
        self._rest: memoryview | None = None
        # Another thread forces to disk what this one writes: it must not find the handle of a closed file.
        self._handle_lock = threading.Lock()

    def work(self, chunks: Sequence[Chunk], doomed: Sequence[Path]) -> Worked:
        """
        Delete segments, and write chunks. What was not done, because the disk is full, is given again first.

        Raises:
            JournalBroken: If the disk fails in any other way.
        """
        try:
            has_deleted = not doomed or self._delete(doomed)
            begun: list[Segment] = []
            written = self._write(chunks, begun)
            return Worked(written, begun, self.free_bytes(), has_deleted)
        except OSError as error:
            raise broken(self._folder, error) from error

    def sync(self) -> None:
        """
        Force what was written to disk.

        Raises:
            JournalBroken: If that fails, for whatever reason: what the kernel then still holds is not known.
        """
        try:
            with self._handle_lock:
                if self._handle is None:
                    return
                handle = os.dup(self._handle)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise broken(self._folder, error) from error

    def close(self) -> None:
        """
        Force what was written to disk, and close the segment.

        Raises:
            JournalBroken: If the disk fails.
        """
        if self._handle is None:
            return
        try:
            self.sync()
        finally:
            self._swap(None)

    def free_bytes(self) -> int:
        """Return what is free on the file system for whoever is not root."""
        status = os.statvfs(self._folder)
        return status.f_bavail * status.f_frsize

    def _write(self, chunks: Sequence[Chunk], begun: list[Segment]) -> int:
        for written, chunk in enumerate(chunks):
            try:
                if self._rest is None:
                    begun += self._prepare(chunk)
                self._write_rest(chunk)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                return written
        return len(chunks)

    def _delete(self, paths: Sequence[Path]) -> bool:
        """Delete files, and tell whether they are gone; not on a full disk of a kind that needs room even for that."""
        try:
            for path in paths:
                path.unlink(missing_ok=True)
            sync_folder(self._folder)
        except OSError as error:
            # One that is there again after a power cut is as one that was not deleted yet: nobody reads it.
            if error.errno not in FULL:
                raise
            return False
        return True

    def _prepare(self, chunk: Chunk) -> list[Segment]:
        segment = self.segment
        begun: list[Segment] = []
        if (
            segment is None
            or self.must_roll
            or segment.size_bytes >= self._roll_bytes
            or chunk.first_seq != segment.last_seq + 1
        ):
            begun.append(self._begin(chunk))
        assert self._packer is not None  # noqa: S101 - there is one wherever there is a segment
        self._rest = memoryview(self._packer.pack(chunk))
        return begun

    def _write_rest(self, chunk: Chunk) -> None:
        assert self._handle is not None  # noqa: S101 - as above
        assert self.segment is not None  # noqa: S101 - as above
        while self._rest:
            count = os.write(self._handle, self._rest)
            self._rest = self._rest[count:]
            self.segment.size_bytes += count
        self._rest = None
        self.segment.last_seq = chunk.last_seq
        self.segment.mark = max(self.segment.mark, chunk.mark)

    def _begin(self, chunk: Chunk) -> Segment:
        """
        Begin a segment.

        The one before is on disk by then, so that only the last one can have a torn tail; the new one's name appears
        once its header is on disk, so that no crash leaves half a header.
        """
        self.sync()
        mark = self._previous_mark if self.segment is None else self.segment.mark
        packer = Packer(Header(self._journal_id, chunk.first_seq, chunk.before, mark))
        path = path_of(self._folder, chunk.first_seq)
        handle = _create(path, packer.start)
        self._swap(handle)
        self._packer, self.must_roll = packer, False
        self.segment = Segment(path, chunk.first_seq, chunk.first_seq - 1, len(packer.start))
        return self.segment

    def _swap(self, handle: int | None) -> None:
        with self._handle_lock:
            if self._handle is not None:
                os.close(self._handle)
            self._handle = handle


def _create(path: Path, start: bytes) -> int:
    draft = path.with_name(path.name + DRAFT_SUFFIX)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(start)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
        draft.replace(path)
        sync_folder(path.parent)
    except BaseException:
        os.close(handle)
        draft.unlink(missing_ok=True)
        raise
    return handle


def broken(folder: Path, error: OSError) -> JournalBroken:
    """Return the error that ends the daemon."""
    return JournalBroken(
        f"journal in {folder}: {error.strerror or error}",
        mend="look at the disk; what was not committed is read back, or fetched again from the node, after a start",
    )

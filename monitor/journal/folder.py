"""The folder of a journal: its lock, its segments, and what a crash left of the last one."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from monitor.errors import AlreadyRunning, ConfigError
from monitor.journal.segment import NO_MARK, Unpacker

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.journal.segment import Header

log = structlog.get_logger(__name__)

SUFFIX = ".segment"
DRAFT_SUFFIX = ".new"
_BAD_SUFFIX = ".bad"


@dataclass(slots=True)
class Segment:
    """A file of the journal. `last_seq` is below `first_seq` while it is empty."""

    path: Path
    first_seq: int
    last_seq: int
    size_bytes: int
    mark: int = NO_MARK


@dataclass(slots=True)
class Found:
    """
    What stands in a folder: the journal's id (None: no journal), its segments, oldest first, and their end.

    What was numbered up to `released_seq` was released, as far as the folder tells.
    """

    journal_id: str | None = None
    segments: list[Segment] = field(default_factory=list)
    newest_seq: int = 0
    released_seq: int = 0


def lock(folder: Path) -> int:
    """
    Make the folder if need be, and hold it until the returned handle is closed.

    Raises:
        AlreadyRunning: If another process (or journal of this one) holds it.
        ConfigError: If it cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"journal folder {folder}: {error.strerror}", mend="set journal.dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise AlreadyRunning(
            f"another process already uses the journal in {folder}",
            mend="stop that one, or set journal.dir to another folder",
        ) from error
    return handle


def path_of(folder: Path, first_seq: int) -> Path:
    """Return where the segment that begins with a number lies."""
    return folder / f"{first_seq:020d}{SUFFIX}"


def sync_folder(folder: Path) -> None:
    """Force to disk which files there are."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_header(path: Path) -> Header | None:
    """Return what a segment says first; None if it cannot be read."""
    with path.open("rb") as stream:
        return Unpacker(stream).header


def list_segments(folder: Path) -> Found:
    """
    Return the segments that can be read, changing nothing. The journal is the one that the newest of them belongs to.

    Raises:
        ConfigError: If a newer program wrote them.
    """
    headers = {path: read_header(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}
    known = [(path, header) for path, header in headers.items() if header is not None]
    if not known:
        return Found()
    journal_id = known[-1][1].journal_id
    ours = [(path, header) for path, header in known if header.journal_id == journal_id]
    segments = [Segment(path, head.first_seq, head.first_seq - 1, path.stat().st_size) for path, head in ours]
    for segment, following, (_, header) in zip(segments, segments[1:], ours[1:], strict=False):
        segment.last_seq, segment.mark = following.first_seq - 1, header.previous_mark
    return Found(journal_id, segments, segments[-1].first_seq - 1, segments[0].first_seq - 1)


def recover(folder: Path) -> Found:
    """
    Make a folder fit for writing: set aside what is no segment, cut the torn tail of the last one.

    Damage before the tail stays where it is: who reads comes upon it.

    Raises:
        ConfigError: If a newer program wrote it.
    """
    for draft in folder.glob(f"*{DRAFT_SUFFIX}"):
        draft.unlink()
    found = list_segments(folder)
    ours = {segment.path for segment in found.segments}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path not in ours:
            log.error("journal_segment_unreadable", segment=path.name, size_bytes=path.stat().st_size)
            path.rename(path.with_name(path.name + _BAD_SUFFIX))
    if found.segments:
        _cut(found.segments[-1])
        found.newest_seq = found.segments[-1].last_seq
        found.released_seq = min(
            [found.released_seq, *(_first_seq(path) - 1 for path in folder.glob(f"*{_BAD_SUFFIX}"))]
        )
    sync_folder(folder)
    return found


def _first_seq(path: Path) -> int:
    """Return what the name of a segment says. One that was set aside was not released, and is missed."""
    stem = path.name.partition(".")[0]
    return int(stem) if stem.isdecimal() else 1


def _cut(segment: Segment) -> None:
    """Read the last segment to its last good chunk, and cut what follows: a write that a crash interrupted."""
    with segment.path.open("r+b") as stream:
        unpacker = Unpacker(stream)
        while (chunk := unpacker.next()) is not None:
            segment.last_seq, segment.mark = chunk.last_seq, max(segment.mark, chunk.mark)
        cut_bytes = segment.size_bytes - unpacker.good_bytes
        if cut_bytes:
            log.warning("journal_tail_cut", segment=segment.path.name, cut_bytes=cut_bytes, last_seq=segment.last_seq)
            stream.truncate(unpacker.good_bytes)
            segment.size_bytes = unpacker.good_bytes
        os.fsync(stream.fileno())  # a killed process left it to the kernel alone

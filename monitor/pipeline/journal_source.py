"""Replay a journal: what a daemon heard and had not committed, or not given up, when it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from decoders.core.types import TxNotice
from monitor.errors import BadInput
from monitor.journal import DiskReader, Gap, list_segments, read_header
from monitor.pipeline.retell import Retelling
from monitor.sources.codec import decode
from monitor.sources.notices import EndOfInput
from monitor.sources.replay import CaptureSource
from monitor.sources.tally import FeedTally

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.journal.folder import Found
    from monitor.sources.notices import Journaled, Outlet

    Progress: TypeAlias = Callable[[int, int], None]

_FAIR = 64


class JournalSource:
    """
    A journal's folder as a source, as fast as can be. It changes nothing there, and asks for no lock.

    Of a daemon that runs, it tells what was written when it comes to the end. `tally` counts what came, `is_torn` tells
    whether the end was torn by a crash (or is being written), `progress` is told (bytes read, bytes in all).
    """

    def __init__(self, folder: Path, *, progress: Progress | None = None) -> None:
        self.name = "journal"
        self.tally = FeedTally()
        self.is_torn = False
        self._folder = folder
        self._progress = progress

    async def run(self, out: Outlet) -> None:
        """
        Put out every notice of the journal, then `EndOfInput`.

        Raises:
            BadInput: If the folder holds no journal, or cannot be read.
            ConfigError: If another version of the program wrote it.
        """
        try:
            found = list_segments(self._folder)
            if not found.segments:
                raise BadInput(f"{self._folder}: no journal in this folder", mend="name the folder of journal.dir")
            await self._replay(found, out)
        except OSError as error:
            raise BadInput(f"{self._folder}: {error.strerror or error}") from error
        await out.put(EndOfInput(self.name))

    async def _replay(self, found: Found, out: Outlet) -> None:
        after_seq, header = found.segments[0].first_seq - 1, read_header(found.segments[0].path)
        snapshot = b"" if header is None else header.snapshot
        retelling = Retelling()
        if after_seq:
            # Nobody here knows what became of the records that were given up: as at a start, they are missed.
            retelling.gap(1, after_seq, snapshot)
        reader = DiskReader(after_seq)
        try:
            while batch := await self._read(reader, found):
                if isinstance(batch, Gap):
                    await self._tell(retelling.gap(batch.first_seq, batch.last_seq, batch.after), out)
                    continue
                for seq, record in batch:
                    await self._tell(retelling.notice(seq, decode(record)), out)
                    if seq % _FAIR == 0:
                        await asyncio.sleep(0)
                self._say_progress(found, reader.after_seq)
        finally:
            reader.close()
        self.is_torn = reader.is_torn

    async def _read(self, reader: DiskReader, found: Found) -> list[tuple[int, bytes]] | Gap:
        try:
            return await asyncio.to_thread(reader.read, found.segments, None)
        except FileNotFoundError:  # its daemon committed what was in it, and let it go
            found.segments = list_segments(self._folder).segments
            return await asyncio.to_thread(reader.read, found.segments, None)

    async def _tell(self, told: list[Journaled], out: Outlet) -> None:
        for item in told:
            await out.put(item.notice)
            if isinstance(item.notice, TxNotice):
                self.tally.received += 1
                self.tally.forwarded += 1

    def _say_progress(self, found: Found, through_seq: int) -> None:
        if self._progress is not None:
            read_bytes = sum(s.size_bytes for s in found.segments if s.first_seq <= through_seq)
            self._progress(read_bytes, sum(s.size_bytes for s in found.segments))


def capture_or_journal(
    path: Path, programs: frozenset[str], *, speed: float | None = None, progress: Progress | None = None
) -> CaptureSource | JournalSource:
    """
    Return what `replay` reads: a folder is a journal, anything else a capture.

    Raises:
        BadInput: If a pace is asked of a journal, which keeps no times.
    """
    if not path.is_dir():
        return CaptureSource(path, programs, speed=speed, progress=progress)
    if speed is not None:
        raise BadInput(f"{path} is a journal, which keeps no times: it has no pace", mend="leave out --speed")
    return JournalSource(path, progress=progress)

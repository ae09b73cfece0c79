"""Reading segments from disk, one after another, up to a number."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import structlog

from monitor.journal.segment import Gap, Unpacker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from monitor.journal.folder import Segment
    from monitor.journal.segment import Chunk

    Entry: TypeAlias = tuple[int, bytes]

log = structlog.get_logger(__name__)

_BATCH_BYTES = 1 << 19


class DiskReader:
    """
    Reads on after a number, as far as it is told that there is something. It blocks, and holds one file open.

    Damage inside of a segment costs the rest of that segment: it is logged, and returned as a `Gap`. `is_torn` tells
    that the last segment ends in something else than a chunk, such as a write under way.
    """

    def __init__(self, after_seq: int) -> None:
        self.after_seq = after_seq
        self.is_torn = False
        self._stream: IO[bytes] | None = None
        self._unpacker: Unpacker | None = None
        self._open_seq = 0
        self._gap: Gap | None = None

    def read(self, segments: Sequence[Segment], through_seq: int | None) -> list[Entry] | Gap:
        """
        Return about half a MiB of what follows.

        Args:
            segments: All there are, oldest first.
            through_seq: The last number that was written; None: read up to where the last segment ends.
        """
        entries: list[Entry] = []
        size_bytes = 0
        while self._gap is None and size_bytes < _BATCH_BYTES:
            if through_seq is not None and self.after_seq >= through_seq:
                break
            chunk = self._next(segments)
            if chunk is None:
                if not self._turned(segments, through_seq):
                    break
            # What is passed over is no part of what is returned: to return nothing says that nothing is left.
            elif chunk.last_seq > self.after_seq:
                entries += self._wanted(chunk.first_seq, chunk.records)
                self.after_seq = chunk.last_seq
                size_bytes += chunk.size_bytes
        if entries or self._gap is None:
            return entries
        return self._skip(self._gap)

    def close(self) -> None:
        """Close the file; reading on opens it again."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._unpacker = None

    def _wanted(self, first_seq: int, records: list[bytes]) -> list[Entry]:
        known = max(0, self.after_seq + 1 - first_seq)
        return list(enumerate(records[known:], start=first_seq + known))

    def _next(self, segments: Sequence[Segment]) -> Chunk | None:
        if not segments:
            return None
        unpacker = self._opened(segments)
        return unpacker.next() if self._gap is None else None  # what opening found missing comes first

    def _opened(self, segments: Sequence[Segment]) -> Unpacker:
        """Return the reader of the segment that holds what is wanted: the last that does not begin after it."""
        if self._unpacker is None:
            before = [segment for segment in segments if segment.first_seq <= self.after_seq + 1]
            self._open(before[-1] if before else segments[0])
        assert self._unpacker is not None  # noqa: S101 - opened just now
        return self._unpacker

    def _open(self, segment: Segment) -> None:
        self.close()
        self._open_seq = segment.first_seq
        self._stream = segment.path.open("rb")
        self._unpacker = Unpacker(self._stream)
        if segment.first_seq > self.after_seq + 1:
            self._gap = Gap(self.after_seq + 1, segment.first_seq - 1, self._state())

    def _state(self) -> bytes | None:
        header = None if self._unpacker is None else self._unpacker.header
        return None if header is None else header.snapshot

    def _turned(self, segments: Sequence[Segment], through_seq: int | None) -> bool:
        """Go on to the next segment, where one ended; tell whether there is anything to go on with."""
        if self._gap is not None:
            return True
        following = next((segment for segment in segments if segment.first_seq > self._open_seq), None)
        if following is not None:
            self._open(following)
            return True
        self.is_torn = self._unpacker is not None and self._unpacker.is_damaged
        self.close()  # what is under way may be complete by the next time
        if through_seq is not None:
            self._gap = Gap(self.after_seq + 1, through_seq)
        return False

    def _skip(self, gap: Gap) -> Gap:
        log.error("journal_damaged", first_seq=gap.first_seq, last_seq=gap.last_seq)
        self.after_seq, self._gap = gap.last_seq, None
        return gap

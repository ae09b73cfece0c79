"""How much a journal may take, and how soon it is on disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """
    Bounds of a journal.

    Args:
        max_bytes: Cap of all segments together.
        min_free_bytes: What must stay free on the file system.
        fsync_interval_s: How often it is forced to disk: what a power cut may cost.
        segment_bytes: Size at which a segment is closed, and the next one begun.
        memory_bytes: How much of the newest is kept in memory as well, so that who falls behind a little reads no disk.
    """

    max_bytes: int = 8 << 30
    min_free_bytes: int = 1 << 30
    fsync_interval_s: float = 0.2
    segment_bytes: int = 16 << 20
    memory_bytes: int = 8 << 20

    @property
    def roll_bytes(self) -> int:
        """Size at which a segment is closed: with a small cap sooner, for only closed ones can be released."""
        return max(1, min(self.segment_bytes, self.max_bytes // 4))

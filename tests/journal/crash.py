"""A journal's end without a farewell, and everything that can be read of one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from monitor.journal import Gap, Journal, JournalLimits

if TYPE_CHECKING:
    from pathlib import Path

ROOMY = JournalLimits(min_free_bytes=0)
TIGHT = JournalLimits(min_free_bytes=0, segment_bytes=150, memory_bytes=0)
"""Nearly every chunk a segment, and all that was written is read from disk."""

FROM_DISK = JournalLimits(min_free_bytes=0, memory_bytes=0)
"""All in one segment, which is read from disk."""


def opened(folder: Path, limits: JournalLimits = ROOMY, state: bytes = b"") -> Journal:
    """Open a journal whose caller's state never changes."""
    return Journal.open(folder, limits, lambda: state)


def kill(journal: Journal) -> None:
    """Let go of all that a process holds, as the kernel does: what was not written is gone."""
    journal._pool.shutdown()
    journal._tape._swap(None)
    os.close(journal._lock)


async def everything(journal: Journal, after_seq: int = 0) -> list[tuple[int, bytes] | Gap]:
    """Return all that can be read after a number."""
    reader = journal.read(after_seq)
    found: list[tuple[int, bytes] | Gap] = []
    while batch := await reader.next():
        found += [batch] if isinstance(batch, Gap) else batch
    reader.close()
    return found


async def numbers(journal: Journal, after_seq: int = 0) -> list[int]:
    """Return the numbers that can be read after one, gaps left out."""
    return [entry[0] for entry in await everything(journal, after_seq) if not isinstance(entry, Gap)]


async def written(folder: Path, records: list[list[bytes]], limits: JournalLimits = ROOMY) -> Path:
    """Write a journal of one chunk for each list, and return its newest segment."""
    journal = opened(folder, limits)
    for chunk in records:
        for record in chunk:
            journal.append(record)
        await journal.flush()
    await journal.close()
    return max(folder.glob("*.segment"))

"""Measure the journal: what each notice costs before it is passed on, and how fast a backlog is read back."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from bench.table import Row
from monitor.journal import Gap, Journal, JournalLimits
from monitor.sources.codec import decode, encode
from tests.pipeline.market import recorded

if TYPE_CHECKING:
    from decoders.core.types import TxNotice

ROUNDS = 7
SLOTS, PER_SLOT = 200, 25
# As many as make a second of a record day, so that what the threads do is in the figure.
BURST = 2_000
MOST_APPEND_US = 10.0
LEAST_READ_PER_S = 20_000.0
LIMITS = JournalLimits(min_free_bytes=0, memory_bytes=0)


def rows() -> list[Row]:
    """Return the figures, for what a notification feed hears and for whole copies out of blocks."""
    whole = list(recorded(5, SLOTS, PER_SLOT).whole)
    told = [_told(notice) for notice in whole]
    return [row for name, notices in (("notification", told), ("whole copy", whole)) for row in _rows(name, notices)]


def stored_bytes(*, whole: bool) -> float:
    """Return what a record takes on disk: a whole copy, or what a notification feed hears."""
    copies = list(recorded(5, SLOTS, PER_SLOT).whole)
    told = copies if whole else [_told(notice) for notice in copies]
    return asyncio.run(_measure(told))[3]


def _told(notice: TxNotice) -> TxNotice:
    return msgspec.structs.replace(notice, invokes=None, token_balances=(), index=None)


def _rows(name: str, notices: list[TxNotice]) -> list[Row]:
    measured = [asyncio.run(_measure(notices)) for _ in range(ROUNDS)]
    loop, process, read, stored = (list(figures) for figures in zip(*measured, strict=True))
    return [
        Row(f"encode and append, {name}", median(loop), "us", best=min(loop), most=MOST_APPEND_US),
        Row(f"encode, append, compress and write, {name}", median(process), "us", best=min(process)),
        Row(f"read back from disk and decode, {name}", median(read), "/s", best=max(read), least=LEAST_READ_PER_S),
        Row(f"bytes on disk, {name}", median(stored), "B"),
    ]


async def _measure(notices: list[TxNotice]) -> tuple[float, float, float, float]:
    """Return CPU us of the loop and of the process per notice, notices read per second, and bytes per notice."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder), LIMITS, lambda: b"")
        writing = asyncio.create_task(journal.run())
        loop_s, process_s = 0.0, time.process_time()
        for at in range(0, len(notices), BURST):
            started = time.thread_time()
            for notice in notices[at : at + BURST]:
                journal.append(encode(notice), notice.slot)
            loop_s += time.thread_time() - started
            await journal.flush()
        process_s = time.process_time() - process_s
        started = time.perf_counter()
        assert await _read(journal) == len(notices)
        read_s = time.perf_counter() - started
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        await journal.close()
        count = len(notices)
        return loop_s / count * 1e6, process_s / count * 1e6, count / read_s, journal.stored_bytes / count


async def _read(journal: Journal) -> int:
    reader = journal.read(0)
    count = 0
    while batch := await reader.next():
        assert not isinstance(batch, Gap)
        for _, record in batch:
            decode(record)
        count += len(batch)
    reader.close()
    return count

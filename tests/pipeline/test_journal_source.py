"""`replay` reads a journal's folder as it reads a capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.channel import Channel
from monitor.errors import BadInput
from monitor.journal import JournalLimits
from monitor.pipeline.journal_source import JournalSource, capture_or_journal
from monitor.sources.notices import EndOfInput, FeedUp
from monitor.sources.replay import CaptureSource
from tests.pipeline.test_inlet import life, tx

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.sources.notices import Notice


async def told(source: JournalSource) -> list[Notice]:
    """Return what a source puts out."""
    out: Channel[Notice] = Channel(1_000, "out")
    await source.run(out)
    return out.get_nowait_all(1_000)


async def test_a_journal_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """Also while a daemon has it open, and without changing anything in it."""
    said: list[Notice] = [FeedUp("logs", 5), *map(tx, range(200))]
    seen: list[tuple[int, int]] = []
    async with life(tmp_path, limits=JournalLimits(min_free_bytes=0, segment_bytes=150)) as it:
        for number, notice in enumerate(said):
            await it.inlet.put(notice)
            if number % 40 == 0:
                await it.journal.flush()
        await it.journal.flush()
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        source = JournalSource(tmp_path, progress=lambda read, total: seen.append((read, total)))
        assert await told(source) == [*said, EndOfInput("journal")]
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert (source.tally.forwarded, source.is_torn) == (200, False)
        assert seen[-1][0] == seen[-1][1] > 0
        # What was given up is not told; the feeds that were up are, at the head of what is left.
        await it.take(201)
        it.inlet.released(100)
        await it.journal.flush()
        rest = await told(JournalSource(tmp_path))
        assert rest[0] == FeedUp("logs", 5)
        assert rest[1:-1] == said[201 - len(rest) + 2 :]
        assert len(rest) < 150


async def test_a_torn_end_is_told_as_such(tmp_path: Path) -> None:
    """What stands before it is told."""
    async with life(tmp_path) as it:
        await it.inlet.put(tx(1))
        await it.journal.flush()
        await it.inlet.put(tx(2))
    [segment] = tmp_path.glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-1])
    source = JournalSource(tmp_path)
    assert await told(source) == [tx(1), EndOfInput("journal")]
    assert source.is_torn


async def test_a_folder_is_a_journal_and_anything_else_a_capture(tmp_path: Path) -> None:
    """A journal has no pace; a folder without one is refused."""
    assert isinstance(capture_or_journal(tmp_path / "file", frozenset(), speed=2.0), CaptureSource)
    source = capture_or_journal(tmp_path, frozenset())
    assert isinstance(source, JournalSource)
    with pytest.raises(BadInput, match="no journal"):
        await told(source)
    with pytest.raises(BadInput, match="pace"):
        capture_or_journal(tmp_path, frozenset(), speed=1.0)

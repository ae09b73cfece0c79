"""`replay` reads a journal's folder as it reads a capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.channel import Channel
from monitor.errors import BadInput
from monitor.journal import JournalLimits
from monitor.pipeline.journal_source import JournalSource, capture_or_journal
from monitor.sources.notices import EndOfInput, FeedUp, SlotSeen
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


async def test_what_was_given_up_is_a_hole_and_no_silence(tmp_path: Path) -> None:
    """A feed that was up is up again only with its next word: what lies before that, nobody here knows."""
    slots: list[Notice] = [SlotSeen(slot, slot - 1, slot - 1, "logs") for slot in range(2, 100)]
    async with life(tmp_path, limits=JournalLimits(min_free_bytes=0, segment_bytes=200, memory_bytes=0)) as it:
        for notice in [FeedUp("logs", 1), *slots]:
            await it.inlet.put(notice)
            await it.journal.flush()
        await it.take(99)
        it.inlet.released(60)
        await it.journal.flush()
        gone = it.journal.gone_seq
    assert gone > 30
    rest = await told(JournalSource(tmp_path))
    first = slots[gone - 1]
    assert isinstance(first, SlotSeen)
    assert rest == [FeedUp("logs", first.slot), *slots[gone - 1 :], EndOfInput("journal")]


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

"""The queue on disk, as its caller sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

import pytest

from monitor.errors import AlreadyRunning, ConfigError
from monitor.journal import Journal, JournalLimits
from tests.journal.crash import FROM_DISK, ROOMY, TIGHT, everything, kill, numbers, opened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


@contextlib.asynccontextmanager
async def running(journal: Journal) -> AsyncGenerator[Journal]:
    """Run a journal, and close it."""
    task = asyncio.create_task(journal.run())
    try:
        yield journal
    finally:
        task.cancel()
        await asyncio.wait({task})
        await journal.close()


@pytest.mark.parametrize("limits", [ROOMY, FROM_DISK, TIGHT])
async def test_what_is_appended_is_read_at_once_and_after_a_restart(tmp_path: Path, limits: JournalLimits) -> None:
    """Numbers go on where they ended, and the journal keeps its name."""
    expected = []
    ids = set()
    for life in range(3):
        journal = opened(tmp_path, limits)
        ids.add(journal.id)
        for number in range(50):
            record = f"{life}/{number}".encode()
            expected.append((journal.append(record), record))
            if number % 7 == 0:
                await journal.flush()
        assert await everything(journal) == expected
        assert await everything(journal, 77) == expected[77:]
        await journal.close()
    assert [seq for seq, _ in expected] == list(range(1, 151))
    assert len(ids) == 1


async def test_reading_may_begin_far_inside_of_a_segment(tmp_path: Path) -> None:
    """What is passed over, however much, is not taken for the end: who believes that would lose all that follows."""
    journal = opened(tmp_path, FROM_DISK)
    records = [number.to_bytes(4) + os.urandom(60_000) for number in range(60)]
    for record in records:
        journal.append(record)
        await journal.flush()
    for after_seq in range(0, 60, 7):
        assert await everything(journal, after_seq) == list(enumerate(records, start=1))[after_seq:]
    await journal.close()


async def test_a_killed_process_loses_only_what_was_appended_just_now(tmp_path: Path) -> None:
    """`run` hands everything to the operating system without being asked."""
    journal = opened(tmp_path)
    task = asyncio.create_task(journal.run())
    journal.append(b"safe")
    while not journal.stored_bytes:  # noqa: ASYNC110 - it has no event for that
        await asyncio.sleep(0)
    journal.append(b"too late")
    kill(journal)
    task.cancel()
    await asyncio.wait({task})
    again = opened(tmp_path)
    assert await everything(again) == [(1, b"safe")]
    await again.close()


async def test_run_forces_what_was_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, so that the loop goes on while the disk is slow."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    async with running(opened(tmp_path, JournalLimits(min_free_bytes=0, fsync_interval_s=0.01))) as journal:
        journal.append(b"x")
        while journal.synced_seq < 1:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0)
    assert synced


async def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    """Until the first has let go."""
    journal = opened(tmp_path)
    with pytest.raises(AlreadyRunning):
        opened(tmp_path)
    await journal.close()
    await opened(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """It is the configuration that is wrong."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"journal folder .*file/x"):
        opened(tmp_path / "file" / "x")


async def test_release_deletes_what_is_below_and_keeps_the_numbers(tmp_path: Path) -> None:
    """Whole segments go; the newest one stays, so that the next number is known after a restart."""
    journal = opened(tmp_path, TIGHT)
    for number in range(100):
        journal.append(f"{number}".encode() * 20)
        await journal.flush()
    before = len(list(tmp_path.glob("*.segment")))
    stored_bytes = journal.stored_bytes
    journal.release(60)
    await journal.flush()
    assert len(list(tmp_path.glob("*.segment"))) < before
    assert journal.stored_bytes < stored_bytes
    assert await numbers(journal, 60) == list(range(61, 101))
    journal.release(100)
    await journal.close()
    assert len(list(tmp_path.glob("*.segment"))) == 1
    again = opened(tmp_path, TIGHT)
    assert (again.id, again.append(b"")) == (journal.id, 101)
    await again.close()


async def test_a_standby_releases_by_what_its_records_speak_of(tmp_path: Path) -> None:
    """Segments go from the oldest on, as long as no mark in them reaches the bound: after a restart as well."""
    journal = opened(tmp_path, TIGHT)
    for slot in [*range(100, 150), 90, *range(150, 200)]:
        journal.append(b"x" * 100, mark=slot)
        await journal.flush()
    await journal.close()
    journal = opened(tmp_path, TIGHT)
    journal.release_marked(below=150)
    kept = await numbers(journal)
    assert kept[-1] == 101
    assert 40 < kept[0] <= 52
    journal.release_marked(below=1_000)
    assert (await numbers(journal))[-1] == 101
    await journal.close()


async def test_numbers_that_the_database_knows_are_not_given_again(tmp_path: Path) -> None:
    """A power cut took the end of the journal, after it was committed: the next number is beyond."""
    journal = opened(tmp_path)
    journal.append(b"kept")
    await journal.close()
    journal = opened(tmp_path)
    journal.skip_to(500)
    assert journal.append(b"new") == 501
    assert await everything(journal, 500) == [(501, b"new")]
    await journal.close()
    journal = opened(tmp_path)
    assert await everything(journal, 500) == [(501, b"new")]
    await journal.close()


def _count(seen: list[int]) -> bytes:
    return str(len(seen)).encode()


async def test_the_state_at_a_number_is_that_at_the_head_of_its_segment(tmp_path: Path) -> None:
    """From memory and from disk: records from there on lead to the state at the number."""
    for limits in (ROOMY, TIGHT):
        folder = tmp_path / str(limits.segment_bytes)
        seen: list[int] = []
        journal = Journal.open(folder, limits, partial(_count, seen))
        for number in range(1, 60):
            seen.append(number)
            journal.append(b"x" * 60)
            if number % 5 == 0:
                await journal.flush()
        for seq in range(1, 60):
            first, state = await journal.state_before(seq)
            assert first <= seq
            assert int(state or b"0") == first - 1
        await journal.close()

"""A journal without room keeps what it took, lets nobody in, and goes on once there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.errors import JournalBroken
from monitor.journal import JournalLimits, tape
from monitor.journal.tape import Tape
from tests.journal.crash import everything, opened
from tests.journal.test_journal import running

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from monitor.journal import Journal
    from monitor.journal.segment import Chunk
    from monitor.journal.tape import Worked

RECORD = os.urandom(1000)


class Disk:
    """Stands before os.write: lets so many bytes through, then fails."""

    def __init__(self, code: int) -> None:
        self.room_bytes: int | None = None
        self._code = code
        self._write = os.write

    def write(self, handle: int, data: memoryview) -> int:
        """Write what fits."""
        if self.room_bytes is None:
            return self._write(handle, data)
        if self.room_bytes == 0:
            raise OSError(self._code, os.strerror(self._code))
        count = self._write(handle, data[: self.room_bytes])
        self.room_bytes -= count
        return count


@pytest.fixture
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.journal.journal._FULL_POLL_S", 0.01)


async def waits(journal: Journal) -> asyncio.Task[None]:
    """Return the task of somebody who waits for room, and see that there is none."""
    waiting = asyncio.create_task(journal.room())
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    return waiting


async def test_at_the_cap_nobody_gets_in_until_something_is_released(tmp_path: Path) -> None:
    """The cap counts all segments and what is not written yet."""
    async with running(opened(tmp_path, JournalLimits(max_bytes=20_000, min_free_bytes=0))) as journal:
        count = 0
        while not journal.is_full:
            journal.append(os.urandom(1000))
            count += 1
            await asyncio.sleep(0.002)
        assert 15 <= count <= 21
        assert journal.full_because == "cap"
        waiting = await waits(journal)
        assert len(await everything(journal)) == count
        journal.release(count // 2)
        await asyncio.wait_for(waiting, 5)


async def test_a_journal_of_which_everything_is_committed_is_never_full(tmp_path: Path) -> None:
    """Even where one segment takes all that it may: nobody could ever release more."""
    async with running(opened(tmp_path, JournalLimits(max_bytes=500, min_free_bytes=0))) as journal:
        for _ in range(5):
            seq = journal.append(RECORD)
            assert journal.is_full
            journal.release(seq)
            await asyncio.wait_for(journal.room(), 5)
            await journal.flush()
        assert len(list(tmp_path.glob("*.segment"))) <= 2


@pytest.mark.usefixtures("_look_often")
async def test_a_disk_that_is_nearly_full_counts_as_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken is written; the rest waits until there is space again."""
    free_bytes = 10_000
    monkeypatch.setattr(Tape, "free_bytes", lambda _: free_bytes)
    async with running(opened(tmp_path, JournalLimits(min_free_bytes=5_000))) as journal:
        assert not journal.is_full
        free_bytes = 4_000
        journal.append(RECORD)
        await journal.flush()
        assert journal.full_because == "free_disk"
        assert journal.unwritten_bytes == 0
        waiting = await waits(journal)
        free_bytes = 6_000
        await asyncio.wait_for(waiting, 5)


@pytest.mark.usefixtures("_look_often")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("room_bytes", [0, 10, 1_500])
async def test_a_write_that_finds_the_disk_full_is_done_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, room_bytes: int
) -> None:
    """Wherever it stopped, nothing is lost or written twice; also where a segment could not be begun."""
    disk = Disk(code)
    monkeypatch.setattr(os, "write", disk.write)
    expected = []
    async with running(opened(tmp_path, JournalLimits(min_free_bytes=0, segment_bytes=1_200, memory_bytes=0))) as it:
        for number in range(3):
            disk.room_bytes = room_bytes
            for part in range(3):
                record = os.urandom(700) + bytes([number, part])
                expected.append((it.append(record), record))
                await it.flush()
            assert it.full_because == "no_space"
            waiting = await waits(it)
            assert await everything(it) == expected
            disk.room_bytes = None
            await asyncio.wait_for(waiting, 5)
        assert await everything(it) == expected
    again = opened(tmp_path)
    assert await everything(again) == expected
    await again.close()


async def test_a_disk_that_is_too_slow_counts_as_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has yet to take does not fill the memory; nothing of it is lost."""
    may_write, work = threading.Event(), Tape.work
    monkeypatch.setattr("monitor.journal.journal._MOST_UNWRITTEN_BYTES", 5_000)

    def slow_work(its: Tape, chunks: Sequence[Chunk], doomed: Sequence[Path]) -> Worked:
        assert may_write.wait(30)
        return work(its, chunks, doomed)

    monkeypatch.setattr(Tape, "work", slow_work)
    async with running(opened(tmp_path, JournalLimits(min_free_bytes=0))) as journal:
        for count in range(1, 7):
            assert journal.full_because is None
            journal.append(RECORD)
            assert journal.unwritten_bytes == count * len(RECORD)
        assert journal.full_because == "slow_disk"
        waiting = await waits(journal)
        may_write.set()
        await asyncio.wait_for(waiting, 5)
        assert journal.unwritten_bytes == 0
        assert await everything(journal) == [(seq, RECORD) for seq in range(1, 7)]


@pytest.mark.usefixtures("_look_often")
@pytest.mark.parametrize("call", ["unlink", "fsync"])
async def test_a_deletion_that_finds_the_disk_full_is_done_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Some file systems need room to make some: it counts as the cap, and what is released is gone in the end."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    async with running(opened(tmp_path, JournalLimits(min_free_bytes=0, segment_bytes=1_200))) as journal:
        records = [os.urandom(1000) for _ in range(6)]
        for record in records:
            journal.append(record)
            await journal.flush()
        before = set(tmp_path.glob("*.segment"))
        with monkeypatch.context() as patch:
            target, name = (Path, "unlink") if call == "unlink" else (tape, "sync_folder")
            patch.setattr(target, name, fail)
            journal.release(4)
            await journal.flush()
            assert journal.full_because == "no_space"
            waiting = await waits(journal)
        await asyncio.wait_for(waiting, 5)
        assert len(before - set(tmp_path.glob("*.segment"))) == 2
        assert await everything(journal, 4) == [(5, records[4]), (6, records[5])]


async def test_any_other_failure_of_the_disk_ends_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code of an I/O error."""
    disk = Disk(errno.EIO)
    journal = opened(tmp_path)
    journal.append(RECORD)
    await journal.flush()
    monkeypatch.setattr(os, "write", disk.write)
    disk.room_bytes = 0
    journal.append(RECORD)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(journal.run(), 5)
    [error] = caught.value.exceptions
    assert isinstance(error, JournalBroken)
    assert error.exit_code == 74
    with pytest.raises(JournalBroken):
        await journal.close()


async def test_an_fsync_that_fails_ends_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even for want of space: what the kernel then still holds is not known (LWN 752063)."""
    journal = opened(tmp_path)
    journal.append(RECORD)
    await journal.flush()

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    journal.append(RECORD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(JournalBroken):
            await journal.flush()
    await journal.close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Generator[Path]:
    """Mount a real file system of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.ci
@pytest.mark.usefixtures("_look_often")
async def test_a_real_disk_that_runs_full_loses_nothing(tiny_disk: Path) -> None:
    """The kernel's own answer, and space that comes back by release."""
    expected = []
    limits = JournalLimits(min_free_bytes=0, segment_bytes=50_000, memory_bytes=0)
    async with running(opened(tiny_disk / "journal", limits)) as journal:
        for _ in range(3):
            while not journal.is_full:
                record = os.urandom(3_000)
                expected.append((journal.append(record), record))
                await asyncio.sleep(0.001)
            assert journal.full_because == "no_space"
            done = journal.newest_seq - 30
            assert await everything(journal, done) == expected[done:]
            journal.release(done)
            await asyncio.wait_for(journal.room(), 5)
        done = journal.released_seq
    again = opened(tiny_disk / "journal", limits)
    assert await everything(again, done) == expected[done:]
    await again.close()

"""A journal that a crash or a disk damaged never tells a wrong record, and says what it lost."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest
import structlog

from monitor.errors import ConfigError
from monitor.journal import Gap
from monitor.journal.segment import Chunk, Header, Packer
from tests.journal.crash import FROM_DISK, TIGHT, everything, opened, written

if TYPE_CHECKING:
    from pathlib import Path

CHUNKS = [[b"one", b"two"], [b"three" * 20], [b"four", b"", b"six"]]
RECORDS = [record for chunk in CHUNKS for record in chunk]


@pytest.mark.slow
async def test_a_tail_torn_at_any_byte_leaves_what_stands_before_it(tmp_path: Path) -> None:
    """What is read back are whole chunks from the first on; the rest is cut, and logged once with its size."""
    segment = await written(tmp_path / "whole", CHUNKS)
    whole = segment.read_bytes()
    lengths = {0, 2, 3, 6}
    found_lengths = set()
    for size in range(len(whole) + 1):
        folder = tmp_path / "torn"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / segment.name).write_bytes(whole[:size])
        with structlog.testing.capture_logs() as logs:
            journal = opened(folder)
        found = await everything(journal)
        assert found == list(enumerate(RECORDS[: len(found)], start=1))
        assert journal.newest_seq == len(found)
        said = [line["event"] for line in logs]
        assert said in ([], ["journal_tail_cut"], ["journal_segment_unreadable"])
        assert journal.append(b"next") == len(found) + 1
        await journal.close()
        again = opened(folder)
        assert (await everything(again))[len(found) :] == [(len(found) + 1, b"next")]
        await again.close()
        found_lengths.add(len(found))
    assert found_lengths == lengths


async def test_no_flipped_bit_gives_a_wrong_record(tmp_path: Path) -> None:
    """Wherever a bit flips: what is read is right, or it is a gap."""
    await written(tmp_path / "whole", CHUNKS * 2, TIGHT)
    names = [path.name for path in sorted((tmp_path / "whole").glob("*.segment"))]
    assert len(names) > 2
    right = dict(enumerate(RECORDS * 2, start=1))
    rng = random.Random(3)
    for name in names:
        size = (tmp_path / "whole" / name).stat().st_size
        for at in rng.sample(range(size), 40):
            folder = tmp_path / "flipped"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(tmp_path / "whole", folder)
            data = bytearray((folder / name).read_bytes())
            data[at] ^= 1 << rng.randrange(8)
            (folder / name).write_bytes(data)
            journal = opened(folder, TIGHT)
            told = 0
            for entry in await everything(journal):
                match entry:
                    case Gap(first_seq=first, last_seq=last):
                        assert first == told + 1
                        told = last
                    case (seq, record):
                        assert (seq, record) == (told + 1, right[seq])
                        told = seq
            assert told == journal.newest_seq
            assert told == len(right) or name == names[-1]
            await journal.close()


async def test_damage_in_the_middle_is_told_as_a_gap_with_what_is_known_behind_it(tmp_path: Path) -> None:
    """An error in the log, the numbers that are lost, and the state at the head of the next segment."""
    folder = tmp_path / "journal"
    for number in range(3):
        journal = opened(folder, state=f"state {number}".encode())
        for record in RECORDS:
            journal.append(record)
        await journal.close()
    middle = sorted(folder.glob("*.segment"))[1]
    data = bytearray(middle.read_bytes())
    data[-1] ^= 1
    middle.write_bytes(data)
    journal = opened(folder)
    with structlog.testing.capture_logs() as logs:
        found = await everything(journal)
    count = len(RECORDS)
    gap = Gap(count + 1, 2 * count, b"state 2")
    assert found == [
        *enumerate(RECORDS, start=1),
        gap,
        *enumerate(RECORDS, start=2 * count + 1),
    ]
    assert journal.gaps == [gap]
    assert [(line["event"], line["log_level"]) for line in logs] == [("journal_damaged", "error")]
    await journal.close()


async def test_a_segment_that_is_gone_is_a_gap(tmp_path: Path) -> None:
    """Somebody deleted a file: the numbers that it held are known."""
    await written(tmp_path, [[random.randbytes(9) for _ in range(40)] for _ in range(3)], TIGHT)
    first, middle, last = sorted(tmp_path.glob("*.segment"))
    assert (first.stem, last.stem) == (f"{1:020d}", f"{81:020d}")
    middle.unlink()
    journal = opened(tmp_path, TIGHT)
    assert Gap(41, 80, b"") in await everything(journal)
    assert len(await everything(journal)) == 81
    await journal.close()


async def test_damage_in_the_segment_that_grows_costs_what_stands_in_it(tmp_path: Path) -> None:
    """What is appended after the damage was seen goes into another segment, and is read."""
    journal = opened(tmp_path, FROM_DISK)
    for _ in range(3):
        journal.append(b"lost")
        await journal.flush()
    [segment] = tmp_path.glob("*.segment")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    gaps = [entry for entry in await everything(journal) if isinstance(entry, Gap)]
    assert [gap.last_seq for gap in gaps] == [3]
    journal.append(b"found")
    await journal.flush()
    assert len(list(tmp_path.glob("*.segment"))) == 2
    assert (await everything(journal))[-1] == (4, b"found")
    await journal.close()


async def test_a_journal_of_a_newer_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no damage: the version that wrote it can read it."""
    monkeypatch.setattr("monitor.journal.segment.FORMAT", 2)
    await written(tmp_path, CHUNKS)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="newer"):
        opened(tmp_path)


async def test_a_chunk_of_another_file_is_not_taken_for_one_of_this(tmp_path: Path) -> None:
    """What stands on reused blocks of the disk has a checksum of its own, seeded with another header."""
    segment = await written(tmp_path, [[b"ours"]])
    other = Packer(Header("another journal", 2, b""))
    with segment.open("ab") as stream:
        stream.write(other.pack(Chunk(2, records=[b"theirs"])))
    journal = opened(tmp_path)
    assert await everything(journal) == [(1, b"ours")]
    await journal.close()

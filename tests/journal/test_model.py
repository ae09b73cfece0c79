"""The journal against a list, with crashes between any two steps."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from monitor.journal import JournalLimits
from tests.journal.crash import everything, kill, opened

if TYPE_CHECKING:
    from monitor.journal import Journal

LIMITS = JournalLimits(min_free_bytes=0, segment_bytes=250, memory_bytes=300)


class Journals(RuleBasedStateMachine):
    """A journal of which every life ends in some way, and the list of what was appended."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.records: list[bytes] = []
        self.released = 0
        self.appended = self.written = self.synced = 0
        self.synced_sizes: dict[Path, int] = {}
        self.journal = self.open()

    def open(self) -> Journal:
        """Open the journal as it stands on disk."""

        async def call() -> Journal:
            return opened(Path(self.folder.name), LIMITS)

        return self.runner.run(call())

    def teardown(self) -> None:
        """End."""
        self.runner.run(self.journal.close())
        self.runner.close()
        self.folder.cleanup()

    @rule(sizes=st.lists(st.integers(0, 200), min_size=1, max_size=5), byte=st.integers(0, 255))
    def append(self, sizes: list[int], byte: int) -> None:
        """Append some."""
        for size in sizes:
            self.records.append(bytes([byte]) * size)
            self.appended = self.journal.append(self.records[-1])
            assert self.appended == len(self.records)

    @rule()
    def write(self) -> None:
        """Hand what waits to the operating system."""
        before = self.segments()
        self.runner.run(self.journal._flush())
        self.written = self.appended
        for path in self.segments():
            if path not in before:  # its header is on disk, and all of the segments before it
                self.synced_sizes |= {older: older.stat().st_size for older in self.segments() if older < path}
                self.synced_sizes[path] = _header_bytes(path)
                self.synced = max(self.synced, int(path.stem) - 1)

    @rule()
    def sync(self) -> None:
        """Force what was written to disk."""
        self.runner.run(self.journal._sync_once())
        self.synced = self.written
        self.synced_sizes = {path: path.stat().st_size for path in self.segments()}

    @rule(share=st.floats(0, 1))
    def release(self, share: float) -> None:
        """Commit some of it."""
        self.released = max(self.released, int(share * len(self.records)))
        self.journal.release(self.released)

    @rule()
    def stop(self) -> None:
        """End in order, and start."""
        self.runner.run(self.journal.close())
        self.written = self.synced = self.appended
        self.synced_sizes = {path: path.stat().st_size for path in self.segments()}
        self.begin(self.appended)

    @rule()
    def killed(self) -> None:
        """Lose what memory held."""
        kill(self.journal)
        self.begin(self.written)

    @rule(share=st.floats(0, 1))
    def power_cut(self, share: float) -> None:
        """Lose what memory held, and some of what was not forced to disk."""
        kill(self.journal)
        for path in self.segments()[-1:]:
            least, most = self.synced_sizes.get(path, 0), path.stat().st_size
            with path.open("r+b") as stream:
                stream.truncate(least + int(share * (most - least)))
        self.begin(self.synced)

    def begin(self, least: int) -> None:
        """Start again: at least so many records are there, and the database knows what was committed."""
        self.journal = self.open()
        assert least <= self.journal.newest_seq <= len(self.records)
        self.appended = self.written = self.synced = self.journal.newest_seq
        self.synced_sizes = {path: path.stat().st_size for path in self.segments()}
        del self.records[self.journal.newest_seq :]
        if self.released > self.journal.newest_seq:
            self.records += [b"lost, but committed"] * (self.released - self.journal.newest_seq)
            self.journal.skip_to(self.released)
        self.journal.release(self.released)

    @invariant()
    def what_was_not_committed_is_read(self) -> None:
        """In order, each once, with its number."""
        found = self.runner.run(everything(self.journal, self.released))
        assert found == list(enumerate(self.records[self.released :], start=self.released + 1))

    def segments(self) -> list[Path]:
        """Return the files, oldest first."""
        return sorted(Path(self.folder.name).glob("*.segment"))


def _header_bytes(path: Path) -> int:
    """Return how long a header is, as the format says it: ten bytes, of which the third field is the body's length."""
    head = path.read_bytes()
    return 14 + int.from_bytes(head[6:10], "little")


TestJournals = Journals.TestCase
TestJournals.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)

"""Where sources put what they hear: into the journal first, then on the wire, or later, from the journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from decoders.core.types import TxNotice
from monitor.journal import Gap
from monitor.pipeline.retell import Retelling
from monitor.sources.codec import decode, encode
from monitor.sources.notices import BlockSeen, Journaled, Restarted, SlotSeen

if TYPE_CHECKING:
    from monitor.channel import Channel
    from monitor.journal import Journal
    from monitor.pipeline.upfeeds import UpFeeds
    from monitor.sources.notices import Notice

log = structlog.get_logger(__name__)

EVERY_PROGRAM = "*"
# Appending does not suspend: after so many, others get their turn.
_FAIR = 64


class Inlet:
    """
    An `Outlet` that never makes a source wait for the wire, as long as the journal has room.

    What the wire has no room for is read back from the journal, by `run`; until it has caught up, everything goes that
    way, so the order is that of the numbers. Without a journal, `put` waits for the wire.

    `entered` counts transactions of this life and those read back of an earlier one, by (feed, program whose
    subscription told them, or "*"); `on_disk` those of them that are not on the wire yet. `kept` of them stood in the
    journal when a standby took over: what of that is still to be told enters once more. `lost` ones cannot be read.

    By feed: `at_door` wait in `put` and have not entered yet, `read_back` entered from the journal.
    """

    def __init__(self, wire: Channel[Notice | Journaled], journal: Journal | None, up: UpFeeds) -> None:
        """`up.snapshot` is what the journal was opened with; nothing is passed on before `start`."""
        self.entered: Counter[tuple[str, str]] = Counter()
        self.on_disk: Counter[tuple[str, str]] = Counter()
        self.kept: Counter[tuple[str, str]] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()
        self.at_door: Counter[str] = Counter()
        self.read_back: Counter[str] = Counter()
        self._counted_from_seq = 1
        self._wire = wire
        self._journal = journal
        self._up = up
        self._retelling = Retelling()
        self._sent_seq = 0
        self._has_begun = False
        self._is_started = False
        self._behind = asyncio.Event()
        self._since_yield = 0

    @property
    def waiting(self) -> int:
        """How many notices stand between the journal's end and the wire; of a standby nothing is to go there yet."""
        if self._journal is None or not self._is_started:
            return 0
        return self._journal.newest_seq - self._sent_seq

    def begin_life(self) -> None:
        """
        Mark in the journal where this life of the daemon begins. Call it before any source runs; `start` does it too.

        It is for a standby, that appends for a long time before it is started.
        """
        if self._journal is not None and not self._has_begun:
            self._has_begun = True
            if self._journal.newest_seq:
                self._append(self._journal, Restarted())

    async def start(self, done_seq: int) -> None:
        """
        Tell everything after `done_seq` (0: all there is) before anything new; `run` does it.

        Raises:
            JournalBroken: If the disk fails.
        """
        if self._journal is not None:
            self._journal.skip_to(done_seq)
            self.begin_life()
            replayed_through = self._journal.newest_seq
            self._counted_from_seq = replayed_through + 1
            self.kept, self.on_disk = self.on_disk, Counter()
            first_seq, snapshot = await self._journal.state_before(done_seq + 1)
            self._retelling = Retelling(done_seq, replayed_through, snapshot)
            gone_seq = self._journal.gone_seq
            if gone_seq > done_seq:
                # The database went back behind what was given up: whatever that told has to become a hole.
                log.warning("journal_ahead_of_database", done_seq=done_seq, given_up_through=gone_seq)
                self._retelling = Retelling(done_seq, replayed_through)
                self._retelling.gap(done_seq + 1, gone_seq, snapshot)
            self._sent_seq = first_seq - 1
            self._behind.set()
            self._journal.release(done_seq)
        self._is_started = True

    async def put(self, notice: Notice) -> None:
        """
        Take a notice. Waits while the journal is full, or, where there is none, while the wire is.

        Raises:
            Closed: If the wire is closed. The journal has the notice.
        """
        journal = self._journal
        if journal is None:
            self._up.note(notice)
            self._at_door(notice, 1)
            await self._wire.put(notice)
            self._at_door(notice, -1)
            _count(self.entered, notice)
            return
        if journal.is_full:
            self._at_door(notice, 1)
            await journal.room()
            self._at_door(notice, -1)
        seq = self._append(journal, notice)
        if not (self._is_started and self._pass_on(seq, notice)):
            _count(self.on_disk, notice)
        self._since_yield += 1
        if self._since_yield >= _FAIR:
            self._since_yield = 0
            await asyncio.sleep(0)

    def released(self, done_seq: int) -> None:
        """Let go of what was committed."""
        if self._journal is not None:
            self._journal.release(done_seq)

    async def run(self) -> None:
        """
        Pass on what is read back, whenever the wire had no room. Cancelled, it leaves the rest to the next start.

        Raises:
            JournalBroken: If the disk fails.
            ConfigError: If another version of the program wrote the journal.
        """
        while True:
            await self._behind.wait()
            await self._catch_up()

    def _at_door(self, notice: Notice, by: int) -> None:
        if type(notice) is TxNotice:
            self.at_door[notice.feed] += by

    def _append(self, journal: Journal, notice: Notice) -> int:
        self._up.note(notice)
        seq = journal.append(encode(notice), _slot(notice))
        _count(self.entered, notice)
        return seq

    def _pass_on(self, seq: int, notice: Notice) -> bool:
        """Put a notice on the wire, unless something stands before it that is not there yet; tell whether it is."""
        is_behind = self._behind.is_set() or self._retelling.is_mending
        if is_behind or not self._wire.put_nowait(Journaled(seq, notice, is_prompt=True)):
            self._behind.set()
            return False
        self._sent_seq = seq
        self._retelling.note(notice)
        return True

    async def _catch_up(self) -> None:
        assert self._journal is not None  # noqa: S101 - nothing falls behind without one
        reader = self._journal.read(self._sent_seq)
        has_gap = False
        try:
            while found := await reader.next():
                if isinstance(found, Gap):
                    has_gap = True
                    await self._tell(found.last_seq, self._retelling.gap(found.first_seq, found.last_seq, found.after))
                    continue
                for seq, record in found:
                    await self._tell(seq, self._retelling.notice(seq, decode(record)))
        finally:
            reader.close()
        if has_gap:  # without one nothing is left here, and a difference would be a bug that is to be seen
            self.lost += self.on_disk
            self.on_disk.clear()
        # Nothing was appended since the reader looked: from here on the wire comes next.
        self._behind.clear()

    async def _tell(self, seq: int, told: list[Journaled]) -> None:
        for item in told:
            await self._wire.put(item)
            # What stood there at the start comes in only now; what was heard since has come in before.
            if seq < self._counted_from_seq:
                _count(self.entered, item.notice)
                if isinstance(item.notice, TxNotice):
                    self.read_back[item.notice.feed] += 1
            else:
                _count(self.on_disk, item.notice, -1)
        self._sent_seq = seq


class SideDoor:
    """An `Outlet` right onto the wire, for what is asked of nodes: it is not journaled, and counted with the rest."""

    def __init__(self, inlet: Inlet, wire: Channel[Notice | Journaled]) -> None:
        self._inlet = inlet
        self._wire = wire

    async def put(self, notice: Notice) -> None:
        """
        Take a notice; wait while the wire is full.

        Raises:
            Closed: If the wire is closed.
        """
        await self._wire.put(notice)
        _count(self._inlet.entered, notice)


def _count(counts: Counter[tuple[str, str]], notice: Notice, by: int = 1) -> None:
    if type(notice) is TxNotice:
        counts[notice.feed, notice.program or EVERY_PROGRAM] += by


def _slot(notice: Notice) -> int:
    match notice:
        case TxNotice(slot=slot) | SlotSeen(slot=slot) | BlockSeen(slot=slot):
            return slot
        case _:
            return -1

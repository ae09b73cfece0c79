"""Turn a feed's messages into notices: live and from a recorded file alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decoders.core.transaction import parse_block, sane_time
from decoders.core.types import TxNotice
from monitor.sources import rpc
from monitor.sources.notices import BlockSeen, FeedDown, FeedUp, SlotSeen
from monitor.sources.slots import FINALITY_SLOTS, SlotTracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.sources.notices import Notice
    from monitor.sources.tally import FeedTally

TRUNCATED = "Log truncated"
_REMEMBERED = 20_000


class Recent:
    """
    The transactions of late: at least the last `size`, at most twice as many.

    A transaction that names several followed programs comes once for each subscription, and each copy is complete.
    """

    def __init__(self, size: int = _REMEMBERED) -> None:
        self._size = size
        self._new: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def repeats(self, signature: str, slot: int) -> bool:
        """Tell whether this was asked before, and remember it. In another slot it is another landing."""
        if self._new.get(signature) == slot or self._old.get(signature) == slot:
            return True
        if len(self._new) >= self._size:
            self._old, self._new = self._new, {}
        self._new[signature] = slot
        return False


class Arrivals:
    """Counts the notices of each slot, from 1, in the order in which a feed told them; past slots are forgotten."""

    def __init__(self, slots: int = 512) -> None:
        self._slots = slots
        self._counts: dict[int, int] = {}

    def next(self, slot: int) -> int:
        """Return the number of the slot's next notice."""
        count = self._counts.get(slot)
        if count is None and len(self._counts) >= self._slots:
            del self._counts[next(iter(self._counts))]
        self._counts[slot] = number = (count or 0) + 1
        return number


class _Heard:
    """What one subscription told of late (over all connections), and how much of each slot."""

    __slots__ = ("arrivals", "recent")

    def __init__(self) -> None:
        self.recent = Recent()
        self.arrivals = Arrivals()


class Translator:
    """
    Messages of one feed, over all its connections, to notices.

    `FeedUp` comes with the first slot or block after the subscriptions stood: only then the resume slot is known.
    """

    def __init__(
        self, feed: str, programs: frozenset[str], tally: FeedTally, commitment: rpc.Commitment = "confirmed"
    ) -> None:
        self._feed = feed
        self._programs = programs
        self._tally = tally
        self._labels: Mapping[int, str] = {}
        self._heard: dict[str | None, _Heard] = {}
        self._lag_slots = FINALITY_SLOTS if commitment == "finalized" else None
        self._slots = SlotTracker(self._lag_slots)
        self._is_connected = False
        self._is_up = False

    def connected(self, labels: Mapping[int, str] | None = None) -> None:
        """Take note that every subscription stands; `labels` name the program of each number."""
        self._labels = {number: label for number, label in (labels or {}).items() if label not in ("slots", "blocks")}
        self._slots = SlotTracker(self._lag_slots)
        self._is_connected = True
        self._is_up = False

    def lost(self, reason: str) -> Sequence[Notice]:
        """Take note that the connection is gone."""
        was_connected, self._is_connected, self._is_up = self._is_connected, False, False
        return [FeedDown(self._feed, reason)] if was_connected else []

    def notices(self, message: rpc.Notification) -> Sequence[Notice]:
        """Return what a notification says, in order."""
        match message:
            case rpc.LogsNotification():
                return self._logs(message.params)
            case rpc.SlotNotification():
                return self._slot(message.params.result)
            case rpc.BlockNotification():
                return self._block(message.params.result.value)

    def _logs(self, params: rpc.LogsParams) -> Sequence[Notice]:
        """
        Tell a copy of a transaction's log as what its program said.

        A node tells a slot subscription by subscription, each in the order of the block: a transaction that names two
        programs comes with both, and only in its own program's turn does it stand where it belongs.
        """
        value, slot = params.result.value, params.result.context.slot
        program = self._labels.get(params.subscription)
        heard = self._heard.get(program)
        if heard is None:
            heard = self._heard[program] = _Heard()
        self._tally.received += 1
        self._slots.heard(slot)
        if heard.recent.repeats(value.signature, slot):
            self._tally.repeats += 1
            return ()
        self._tally.forwarded += 1
        logs = [TRUNCATED] if value.logs is None else value.logs  # a log that is not there is one cut at its start
        return (
            TxNotice(
                signature=value.signature,
                slot=slot,
                failed=value.err is not None,
                logs=logs,
                feed=self._feed,
                arrival=heard.arrivals.next(slot),
                program=program,
            ),
        )

    def _slot(self, result: rpc.SlotResult) -> Sequence[Notice]:
        self._slots.see(result.slot, result.root)
        self._tally.head_slot, self._tally.root_slot = self._slots.head, self._slots.root
        claim = None if self._lag_slots is None else self._slots.complete_through() or 0
        return [*self._up(result.slot), SlotSeen(result.slot, result.parent, result.root, self._feed, claim)]

    def _block(self, value: rpc.BlockValue) -> Sequence[Notice]:
        block = value.block
        if block is None:  # the next block's parent tells whether one is missing: the node may yet give it
            self._tally.received += 1
            self._tally.malformed += 1
            return ()
        parsed = parse_block(block, slot=value.slot, programs=self._programs, feed=self._feed)
        self._tally.received += len(block.transactions)
        self._tally.irrelevant += parsed.irrelevant
        self._tally.malformed += len(parsed.malformed)
        self._tally.forwarded += len(parsed.notices)
        self._tally.head_slot = max(value.slot, self._tally.head_slot or 0)
        seen = BlockSeen(
            value.slot,
            block.parent_slot,
            block.blockhash,
            block.previous_blockhash,
            sane_time(block.block_time),
            self._feed,
            len(parsed.malformed),
        )
        return [*self._up(value.slot), *parsed.notices, seen]

    def _up(self, slot: int) -> Sequence[Notice]:
        if self._is_up or not self._is_connected:
            return ()
        self._is_up = True
        return (FeedUp(self._feed, slot),)

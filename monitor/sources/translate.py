"""Turn a feed's messages into notices: live and from a recorded file alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from decoders.core import base58
from decoders.core.transaction import TransactionError, parse_block, parse_transaction, read_transaction, sane_time
from decoders.core.types import TxNotice
from monitor.sources import rpc
from monitor.sources.doubts import Doubts
from monitor.sources.notices import BlockSeen, FeedDown, FeedUp, FrameLost, SlotSeen
from monitor.sources.slots import FINALITY_SLOTS, SlotTracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.sources.notices import Notice
    from monitor.sources.tally import FeedTally

TRUNCATED = "Log truncated"
SLOTS, BLOCKS, TRANSACTIONS = "slots", "blocks", "transactions"
"""Labels of subscriptions that are no program's."""
_REMEMBERED = 20_000
_SIGNATURE_BYTES = 64
# What a program said cannot stand in a notification of another kind, nor in one that we do not know.
_TELLING = frozenset({None, "logsNotification", "transactionNotification"})


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
        self._doubts = Doubts()
        self._is_connected = False
        self._is_up = False

    def connected(self, labels: Mapping[int, str] | None = None) -> None:
        """Take note that every subscription stands; `labels` name the program of each number."""
        self._labels = {number: label for number, label in (labels or {}).items() if label not in (SLOTS, BLOCKS)}
        self._slots = SlotTracker(self._lag_slots)
        self._doubts = Doubts()
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
                return self.block(message.params.result.value)
            case rpc.TransactionNotification():
                return self._transaction(message.params.result)

    def unreadable(self, malformed: rpc.Malformed) -> None:
        """
        Take note of a frame that could not be read: with the next slot, `FrameLost` tells what it may have been about.

        A block that is lost with its frame is missed by its child, and needs no such notice.
        """
        self._tally.received += 1
        self._tally.malformed += 1
        if malformed.subscription is None:
            is_ours = bool(self._labels) and malformed.method in _TELLING
        else:
            is_ours = malformed.subscription in self._labels
        if is_ours:
            self._doubts.frame(self._slots)

    def _logs(self, params: rpc.LogsParams) -> Sequence[Notice]:
        """
        Tell a copy of a transaction's log as what its program said.

        A node tells a slot subscription by subscription, each in the order of the block: a transaction that names two
        programs comes with both, and only in its own program's turn does it stand where it belongs.
        """
        value, slot = params.result.value, params.result.context.slot
        program = self._labels.get(params.subscription)
        heard = self._heard_by(program)
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

    def _heard_by(self, label: str | None) -> _Heard:
        heard = self._heard.get(label)
        if heard is None:
            heard = self._heard[label] = _Heard()
        return heard

    def _transaction(self, result: rpc.TransactionResult) -> Sequence[Notice]:
        heard = self._heard_by(TRANSACTIONS)
        self._tally.received += 1
        if heard.recent.repeats(result.signature, result.slot):
            self._tally.repeats += 1
            return ()
        try:
            notice = parse_transaction(
                read_transaction(result.transaction),
                slot=result.slot,
                block_time=sane_time(result.block_time),
                index=result.transaction_index,
                programs=self._programs,
                feed=self._feed,
            )
        except TransactionError:
            self._tally.malformed += 1
            return (FrameLost(self._feed, result.slot, result.slot, _signature(result.signature)),)
        if notice is None:
            self._tally.irrelevant += 1
            return ()
        self._tally.forwarded += 1
        arrival = heard.arrivals.next(result.slot) if notice.index is None else None
        has_nothing = notice.logs is None and notice.invokes is None
        logs = [TRUNCATED] if has_nothing else notice.logs
        return (msgspec.structs.replace(notice, arrival=arrival, logs=logs),)

    def _slot(self, result: rpc.SlotResult) -> Sequence[Notice]:
        self._slots.see(result.slot, result.root)
        self._tally.head_slot, self._tally.root_slot = self._slots.head, self._slots.root
        claim = None if self._lag_slots is None else self._slots.complete_through() or 0
        seen = SlotSeen(result.slot, result.parent, result.root, self._feed, claim)
        doubted = self._doubts.close(self._slots)
        lost = [] if doubted is None else [FrameLost(self._feed, *doubted)]
        return [*self._up(result.slot), *lost, seen]

    def block(self, value: rpc.BlockValue) -> Sequence[Notice]:
        """Return what a block says, in order."""
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


def _signature(text: str) -> str | None:
    """Return what is a signature; None for anything else, which nobody could fetch."""
    try:
        return text if len(base58.decode(text)) == _SIGNATURE_BYTES else None
    except ValueError:
        return None

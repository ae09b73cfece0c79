"""Frames that cannot be read: which slots they may have been about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sources import rpc
from monitor.sources.doubts import Doubts
from monitor.sources.notices import BlockSeen, FeedUp, FrameLost, SlotSeen
from monitor.sources.slots import SlotTracker
from monitor.sources.tally import FeedTally
from monitor.sources.translate import Translator
from tests.sources import said

if TYPE_CHECKING:
    from monitor.sources.notices import Notice


def subject(labels: dict[int, str] | None = None) -> Translator:
    """Return a translator of a feed "f" of logs that is up since slot 40, rooted at 8."""
    translator = Translator("f", frozenset({said.PROGRAM}), FeedTally())
    translator.connected({1: said.PROGRAM, 2: "slots"} if labels is None else labels)
    return translator


def say(translator: Translator, *texts: bytes) -> list[Notice]:
    """Return what frames say, readable or not."""
    told: list[Notice] = []
    for text in texts:
        message = rpc.read_message(text)
        if isinstance(message, rpc.Malformed):
            translator.unreadable(message)
        else:
            assert isinstance(message, rpc.Notification)
            told += translator.notices(message)
    return told


def lost(told: list[Notice]) -> list[FrameLost]:
    """Return the lost frames among notices."""
    return [notice for notice in told if isinstance(notice, FrameLost)]


OURS = [
    b"garbage",
    b"\xff\x00",
    b"",
    b"[]",
    b'{"x":1}',
    said.logs(1, 9, 1)[:-20],
    said.logs(1, 9, 1).replace(b'"slot":9', b'"slot":-1'),
    said.notification("logsNotification", {"value": 1}, 1),
    said.notification("fooNotification", {"value": 1}, 1),
    b'{"method":"logsNotification","params":{}}',
    b'{"method":"transactionNotification","params":[]}',
    b'{"method":7,"params":{"subscription":1}}',
    b'{"params":{"subscription":1}}',
]
FOREIGN = [
    b'{"method":"fooNotification","params":{"result":1}}',
    said.notification("fooNotification", 1, 999),
    said.notification("slotNotification", {"slot": -1}, 2),
    b'{"method":"slotNotification"}',
]


@pytest.mark.parametrize("frame", OURS)
def test_the_next_slot_tells_what_is_in_doubt(frame: bytes) -> None:
    """From behind the claim to the next slot, and before any further claim; afterwards all is well again."""
    translator = subject()
    assert say(translator, said.slot(40, 2, root=39), said.slot(60, 2, root=44))[-1] == SlotSeen(60, 59, 44, "f")
    assert say(translator, frame) == []
    assert say(translator, said.slot(61, 2, root=50)) == [FrameLost("f", 45, 61), SlotSeen(61, 60, 50, "f")]
    assert say(translator, said.slot(62, 2, root=51)) == [SlotSeen(62, 61, 51, "f")]


@pytest.mark.parametrize("frame", FOREIGN)
def test_what_is_none_of_ours_is_no_loss(frame: bytes) -> None:
    """Notifications of other kinds and of other subscriptions carry nothing that we wait for; they are counted."""
    translator = subject()
    assert not lost(say(translator, said.slot(40, 2), frame, said.slot(41, 2)))
    assert translator._tally.malformed == 1


def test_blocks_need_no_doubt() -> None:
    """A block that is lost is missed by the next one's parent."""
    translator = subject({1: "blocks"})
    told = say(translator, said.block(9, [], 1), b"garbage", said.notification("blockNotification", 1, 1))
    assert [type(notice) for notice in told] == [FeedUp, BlockSeen]
    assert not lost(say(translator, said.block(10, [], 1)))


def test_before_the_first_slot() -> None:
    """What comes before the first slot is missed with all that lies there; a claim below it says nothing."""
    translator = subject()
    assert not lost(say(translator, b"garbage", said.slot(40, 2, root=8)))
    assert lost(say(translator, b"garbage", said.slot(41, 2, root=9))) == [FrameLost("f", 40, 41)]


def test_another_connection_doubts_anew() -> None:
    """What a lost connection left in doubt lies in the hole of the reconnect; a node may count from below then."""
    translator = subject()
    say(translator, said.slot(40, 2), b"garbage")
    translator.lost("gone")
    translator.connected({1: said.PROGRAM, 2: "slots"})
    assert not lost(say(translator, said.slot(3, 2, root=0)))
    assert lost(say(translator, b"garbage", said.slot(4, 2, root=3))) == [FrameLost("f", 3, 4)]


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 5), st.integers(0, 5)))))
def test_each_slot_is_doubted_once_and_none_forgotten(steps: list[tuple[int, int] | None]) -> None:
    """Whatever comes (None: garbage): ranges do not overlap, and hold every slot that a lost frame may be about."""
    tracker, doubts = SlotTracker(), Doubts()
    tracker.see(100, 100)
    head, root = 100, 100
    told: list[tuple[int, int]] = []
    owed: set[int] = set()
    waiting: int | None = None
    for step in steps:
        if step is None:
            doubts.frame(tracker)
            waiting = root + 1 if waiting is None else waiting
            continue
        head, root = head + step[0], min(head, root + step[1])
        tracker.see(head, root)
        if waiting is not None:
            owed |= set(range(waiting, head + 1))
            waiting = None
        doubted = doubts.close(tracker)
        if doubted is not None:
            told.append(doubted)
    covered = [slot for first, last in told for slot in range(first, last + 1)]
    assert len(covered) == len(set(covered))
    assert owed <= set(covered)

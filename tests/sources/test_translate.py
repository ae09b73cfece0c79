"""Messages of a feed to notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from decoders.core.types import TxNotice
from monitor.sources import rpc
from monitor.sources.notices import BlockSeen, FeedDown, FeedUp, SlotSeen
from monitor.sources.tally import FeedTally
from monitor.sources.translate import Recent, Translator
from tests.sources import said

if TYPE_CHECKING:
    from monitor.sources.notices import Notice


def translator() -> tuple[Translator, FeedTally]:
    """Return a translator of the feed "f", and its counts."""
    tally = FeedTally()
    return Translator("f", frozenset({said.PROGRAM}), tally), tally


def notices(subject: Translator, text: bytes) -> list[Notice]:
    """Translate a frame's text."""
    message = rpc.read_message(text)
    assert isinstance(message, rpc.Notification)
    return list(subject.notices(message))


def test_logs() -> None:
    """A log notification is a transaction with its logs and no instructions; a failed one says so."""
    subject, tally = translator()
    assert notices(subject, said.logs(1, 9, 1)) == [
        TxNotice(said.signature(1), 9, failed=False, logs=["Program log: 1"], feed="f", arrival=1)
    ]
    failed = notices(subject, said.logs(2, 9, 1, err="X"))[0]
    assert isinstance(failed, TxNotice)
    assert failed.failed
    assert failed.arrival == 2, "the second of its slot"
    assert (tally.received, tally.forwarded) == (2, 2)


def test_logs_that_are_missing_count_as_truncated() -> None:
    """A node without the logs makes the transaction one to be fetched."""
    text = said.logs(1, 9, 1).replace(b'["Program log: 1"]', b"null")
    notice = notices(translator()[0], text)[0]
    assert isinstance(notice, TxNotice)
    assert notice.logs == ["Log truncated"]


def test_repeats_are_dropped_and_counted() -> None:
    """The copies of other subscriptions are dropped; the same signature in another slot is another landing."""
    subject, tally = translator()
    assert notices(subject, said.logs(1, 9, 1))
    assert notices(subject, said.logs(1, 9, 2)) == []
    assert notices(subject, said.logs(1, 10, 2))
    assert (tally.received, tally.repeats, tally.forwarded) == (3, 1, 2)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1))), st.integers(1, 5))
def test_recent_forgets_late_and_never_lies(asked: list[tuple[int, int]], size: int) -> None:
    """A repeat was told before; what was told is remembered while fewer than `size` others are told after it."""
    recent = Recent(size)
    told: list[tuple[int, int]] = []
    for number, slot in asked:
        is_repeat = recent.repeats(str(number), slot)
        if is_repeat:
            assert (number, slot) in told
            continue
        if dict(told).get(number) == slot:
            since = told[len(told) - told[::-1].index((number, slot)) :]
            assert len({signature for signature, _ in since}) >= size
        told.append((number, slot))


def test_feed_up_comes_with_the_first_slot() -> None:
    """Only the first slot after the subscriptions stood tells from where on the feed is whole; each connection anew."""
    subject, tally = translator()
    assert notices(subject, said.slot(40, 1)) == [SlotSeen(40, 39, 8, "f")]
    subject.connected()
    assert not any(isinstance(notice, FeedUp) for notice in notices(subject, said.logs(1, 40, 1)))
    assert notices(subject, said.slot(41, 1)) == [FeedUp("f", 41), SlotSeen(41, 40, 9, "f")]
    assert notices(subject, said.slot(42, 1)) == [SlotSeen(42, 41, 10, "f")]
    assert (tally.head_slot, tally.root_slot) == (42, 10)
    assert subject.lost("gone") == [FeedDown("f", "gone")]
    assert subject.lost("could not connect") == []
    subject.connected()
    assert notices(subject, said.slot(2, 1, root=0))[0] == FeedUp("f", 2)
    assert (tally.head_slot, tally.root_slot) == (2, 0)


def test_finalized_logs_are_claimed_only_once_they_came() -> None:
    """A root may be told before the logs of its slot: these are all there when those of a later slot come."""
    subject = Translator("f", frozenset({said.PROGRAM}), FeedTally(), "finalized")
    subject.connected()
    assert notices(subject, said.slot(41, 1, root=41))[1] == SlotSeen(41, 40, 41, "f", complete_through=0)
    notices(subject, said.logs(1, 44, 1))
    assert notices(subject, said.slot(80, 1, root=45)) == [SlotSeen(80, 79, 45, "f", complete_through=43)]
    notices(subject, said.logs(1, 45, 1))
    assert notices(subject, said.slot(81, 1, root=46)) == [SlotSeen(81, 80, 46, "f", complete_through=44)]
    assert notices(subject, said.slot(112, 1, root=80)) == [SlotSeen(112, 111, 80, "f", complete_through=48)]


def test_blocks() -> None:
    """A block gives its transactions, each with its place, then itself; what does not matter is counted."""
    subject, tally = translator()
    subject.connected()
    entries = [said.entry(1, program=said.OTHER_PROGRAM), said.entry(2), {"x": 1}]
    up, tx, seen = notices(subject, said.block(9, entries, 1))
    assert up == FeedUp("f", 9)
    assert isinstance(tx, TxNotice)
    assert (tx.signature, tx.slot, tx.index, tx.block_time) == (said.signature(2), 9, 1, said.BLOCK_TIME)
    assert seen == BlockSeen(9, 8, "hash9", "hash8", said.BLOCK_TIME, "f", unreadable=1)
    assert (tally.received, tally.irrelevant, tally.malformed, tally.forwarded) == (3, 1, 1, 1)


def test_a_block_that_the_node_cannot_give() -> None:
    """An error in the place of a block is counted; the parent of the next block will tell that one is missing."""
    subject, tally = translator()
    text = said.notification("blockNotification", {"value": {"slot": 9, "err": "X", "block": None}}, 1)
    assert notices(subject, text) == []
    assert (tally.received, tally.malformed) == (1, 1)

"""Tries go over all of a hole, and nothing of it is taken for proven that is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.sources.chain import Link
from monitor.sources.pieces import HistoryRules, Piece, Work

RULES = HistoryRules(piece_slots=10, most_pieces=3)


def taken(work: Work, rules: HistoryRules = RULES) -> list[tuple[int, int]]:
    """Return the ends of the pieces of a try in which none is proven."""
    work.begin()
    found = []
    while (piece := work.take(rules)) is not None:
        found.append((piece.first_slot, piece.last_slot))
    return found


@given(st.data())
def test_what_is_not_proven_is_tried_again(data: st.DataObject) -> None:
    """Each try takes exactly the slots that are missing, in order, however it went before and wherever it was cut."""
    work, missing = Work(100, 177), set(range(100, 178))
    rules = HistoryRules(piece_slots=data.draw(st.integers(1, 30)), most_pieces=10_000)
    for _ in range(data.draw(st.integers(1, 5))):
        work.begin()
        seen: list[int] = []
        while (piece := work.take(rules)) is not None:
            slots = range(piece.first_slot, piece.last_slot + 1)
            assert len(slots) <= rules.piece_slots
            seen += slots
            match data.draw(st.sampled_from(["proven", "partly", "nothing"])):
                case "proven":
                    work.proven(piece)
                    missing -= set(slots)
                case "partly":
                    piece.links[piece.first_slot] = Link(0, "", "")
            assert work.is_proven == (not missing)
            assert work.proven_through == min(missing, default=178) - 1
        assert work.is_through
        assert seen == sorted(set(seen))
        assert missing <= set(seen)


def test_there_is_a_bound_to_what_is_remembered() -> None:
    """No further piece is begun while so many lack some of their blocks."""
    work = Work(0, 1_000)
    work.begin()
    for _ in range(3):
        piece = work.take(RULES)
        assert piece is not None
        piece.links[piece.first_slot] = Link(0, "", "")
    assert work.take(RULES) is None
    assert work.is_through
    assert taken(work) == [(0, 9), (10, 19), (20, 29)]


def test_what_brought_nothing_is_not_remembered() -> None:
    """A hole of millions of slots that a node has forgotten is one piece between two tries."""
    work = Work(0, 10_000_000)
    work.begin()
    first = work.take(RULES)
    assert first is not None
    work.skip_to(9_999_995)
    last = work.take(RULES)
    assert last is not None
    assert (last.first_slot, last.last_slot) == (9_999_995, 10_000_000)
    work.proven(last)
    assert work.is_through
    work.begin()
    again = work.take(RULES)
    assert again is not None
    assert (again.first_slot, again.last_slot) == (0, 9)


def test_a_try_that_ended_early_is_gone_on_with() -> None:
    """Unless it is to begin anew."""
    work = Work(0, 29)
    work.begin()
    work.take(RULES)
    assert taken(work) == [(10, 19), (20, 29)]
    work.begin()
    work.take(RULES)
    work.rewind()
    assert taken(work) == [(0, 9), (10, 19), (20, 29)]


def test_when_a_slot_was_is_told_by_the_next_block() -> None:
    """Also by the one behind the piece, which proves its end; one without a time tells nothing."""
    piece = Piece(100, 104)
    piece.links = {
        99: Link(98, "", "", 50),
        101: Link(99, "", "", 60),
        103: Link(101, "", ""),
        106: Link(103, "", "", 70),
    }
    assert [piece.about(slot) for slot in (100, 101, 102, 104, 107)] == [60, 60, 70, 70, None]

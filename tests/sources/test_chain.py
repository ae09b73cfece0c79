"""A slot counts as skipped only if the parents of later blocks jump over it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from monitor.sources.chain import Contradiction, Link, NoEnd, Proven, Wanted, examine

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST, LAST = 100, 120


def chain(slots: Sequence[int]) -> dict[int, Link]:
    """Return the links of blocks at these slots, the first of which only names its parent."""
    return {slot: Link(parent, f"h{slot}", f"h{parent}") for parent, slot in pairwise(slots)}


slots = st.sets(st.integers(FIRST - 20, LAST + 20), min_size=2).map(sorted)


@given(slots)
def test_a_whole_chain_proves_the_range_between_its_ends(blocks: list[int]) -> None:
    """Proven exactly if it begins before the range and ends in it or after it; nothing else is missing from it."""
    verdict = examine(FIRST, LAST, chain(blocks))
    if blocks[-1] < LAST:
        assert verdict == NoEnd()
    elif blocks[0] < FIRST:
        assert verdict == Proven()
    else:
        end = min(slot for slot in blocks[1:] if slot >= LAST)
        child = min(slot for slot in [*blocks[1:], end] if slot >= FIRST)
        assert verdict == Wanted(blocks[0], child)


@given(st.sets(st.integers(FIRST, LAST)), st.data())
def test_a_missing_block_is_never_taken_for_a_skipped_slot(inner: set[int], data: st.DataObject) -> None:
    """Whatever blocks are unknown, the range is proven only if none of them lies in it."""
    links = chain([FIRST - 3, *sorted(inner), LAST + 2])
    unknown = data.draw(st.sets(st.sampled_from(sorted(links))))
    verdict = examine(FIRST, LAST, {slot: link for slot, link in links.items() if slot not in unknown})
    assert (verdict == Proven()) == (not unknown & inner and bool(links.keys() - unknown - set(range(FIRST, LAST))))
    if isinstance(verdict, Wanted):
        assert verdict.slot in unknown


@given(st.sets(st.integers(FIRST, LAST)), st.data())
def test_asking_for_what_is_wanted_ends_in_a_proof(inner: set[int], data: st.DataObject) -> None:
    """A node that lists nothing but the end still gives all, one parent after the other, and no block twice."""
    links = chain([FIRST - 3, *sorted(inner), LAST + 2])
    known = {slot: links[slot] for slot in data.draw(st.sets(st.sampled_from(sorted(links))))}
    for _ in range(len(links) + 1):
        match examine(FIRST, LAST, known):
            case Wanted(slot=slot):
                assert slot not in known
                known[slot] = links[slot]
            case NoEnd():
                known[LAST + 2] = links[LAST + 2]
            case verdict:
                assert verdict == Proven()
                break
    assert inner <= known.keys()


def test_the_block_after_the_end_need_not_be_the_next_one() -> None:
    """If its parent lies behind the range as well, that one is wanted, down to the first after the end."""
    links = chain([99, 110, 123, 125])
    del links[123]
    assert examine(FIRST, LAST, links) == Wanted(123, 125)


def test_blocks_of_another_fork_prove_nothing() -> None:
    """Neither does a parent of another hash, nor a block that the chain jumps over, nor one that is its own parent."""
    links = chain([99, 105, 110, 121])
    forked = {**links, 105: links[105]._replace(blockhash="other")}
    assert isinstance(examine(FIRST, LAST, forked), Contradiction)
    stray = {**links, 107: Link(105, "h107", "h105")}
    assert examine(FIRST, LAST, stray) == Contradiction((107,), "the chain jumps over the block of slot 107")
    circle = {**links, 110: links[110]._replace(parent_slot=110)}
    assert examine(FIRST, LAST, circle) == Contradiction((110,), "the block of slot 110 names 110 as its parent")


@given(st.dictionaries(st.integers(95, 125), st.builds(Link, st.integers(90, 130), *[st.sampled_from("ab")] * 2)))
def test_nonsense_ends(links: dict[int, Link]) -> None:
    """Whatever a node says of parents, there is a verdict; and what it doubts is known, what it wants is not."""
    match examine(FIRST, LAST, links):
        case Contradiction(slots=doubted):
            assert doubted
            assert links.keys() >= set(doubted)
        case Wanted(slot=slot, child_slot=child):
            assert slot not in links
            assert child in links
            assert FIRST <= slot < child

"""Sets of slots equal the sets that they stand for."""

from __future__ import annotations

import itertools
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as some

from monitor.pipeline import spans
from monitor.pipeline.spans import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE = some.tuples(some.integers(0, 60), some.integers(0, 9)).map(lambda at: Span(at[0], at[0] + at[1]))
SOME = some.lists(ONE, max_size=8)


def slots(of: Iterable[Span]) -> set[int]:
    """Return the slots one by one."""
    return {slot for span in of for slot in range(span.first, span.last + 1)}


@given(SOME, SOME)
def test_what_is_left_without_others_is_the_difference_of_sets(some_spans: list[Span], holes: list[Span]) -> None:
    """The spans that come out are disjoint, in order and none is empty."""
    left = spans.without(spans.union(some_spans), holes)
    assert slots(left) == slots(some_spans) - slots(holes)
    assert spans.count(left) == len(slots(left))
    assert left == sorted(left)


@given(SOME)
def test_a_union_is_disjoint_and_nothing_in_it_touches(some_spans: list[Span]) -> None:
    """The same slots come out in as few spans as can be."""
    joined = spans.union(some_spans)
    assert slots(joined) == slots(some_spans)
    assert all(one.last + 1 < other.first for one, other in itertools.pairwise(joined))


@given(SOME, ONE)
def test_bounds_cut_off_what_lies_outside(some_spans: list[Span], bounds: Span) -> None:
    """What is left is the intersection."""
    assert slots(spans.within(some_spans, bounds)) == slots(some_spans) & slots([bounds])


@given(SOME, some.integers(0, 40), some.integers())
def test_slots_are_drawn_from_the_spans_and_none_twice(some_spans: list[Span], most: int, seed: int) -> None:
    """As many as there are, up to the number asked for; the same seed draws the same ones."""
    joined = spans.union(some_spans)
    drawn = spans.draw(joined, most, Random(seed))
    assert set(drawn) <= slots(joined)
    assert len(set(drawn)) == len(drawn) == min(most, spans.count(joined))
    assert drawn == sorted(drawn) == spans.draw(joined, most, Random(seed))

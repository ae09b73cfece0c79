"""Sets of slots as spans: what remains of some without others, and slots drawn from them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random


class Span(NamedTuple):
    """Slots from `first` to `last`, both included."""

    first: int
    last: int


def without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """Return what remains of disjoint spans without the holes, which may overlap, in order."""
    left: list[Span] = []
    cuts = sorted(holes)
    for span in sorted(spans):
        first = span.first
        for hole in cuts:
            if hole.last < first:
                continue
            if hole.first > span.last:
                break
            if first < hole.first:
                left.append(Span(first, hole.first - 1))
            first = max(first, hole.last + 1)
        if first <= span.last:
            left.append(Span(first, span.last))
    return left


def within(spans: Iterable[Span], bounds: Span) -> list[Span]:
    """Return what of spans lies in the bounds, in order."""
    cut = (Span(max(span.first, bounds.first), min(span.last, bounds.last)) for span in sorted(spans))
    return [span for span in cut if span.first <= span.last]


def count(spans: Iterable[Span]) -> int:
    """Return how many slots disjoint spans have."""
    return sum(span.last - span.first + 1 for span in spans)


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the same slots as disjoint spans, in order; what touches is one."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.first <= joined[-1].last + 1:
            joined[-1] = Span(joined[-1].first, max(joined[-1].last, span.last))
        else:
            joined.append(span)
    return joined


def draw(spans: Sequence[Span], most: int, random: Random) -> list[int]:
    """Return up to `most` slots of disjoint spans, each as likely as any other, in order."""
    total = count(spans)
    places = sorted(random.sample(range(total), min(most, total)))
    drawn: list[int] = []
    before = 0
    at = iter(spans)
    span = next(at, None)
    for place in places:
        while span is not None and place >= before + span.last - span.first + 1:
            before += span.last - span.first + 1
            span = next(at, None)
        if span is not None:
            drawn.append(span.first + place - before)
    return drawn

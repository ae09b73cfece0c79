"""Orders sort as the chain does, whatever is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.store.order import (
    SLOT_LIMIT,
    Arrivals,
    arrival_order,
    exact_order,
    first_order,
    index_of,
    is_exact,
    position_of,
    slot_of,
    supersedes,
)

PLACES = st.tuples(st.integers(0, SLOT_LIMIT - 1), st.integers(0, 131_071), st.integers(0, 1023), st.integers(0, 15))


@given(PLACES, PLACES)
def test_exact_orders_sort_as_their_places(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> None:
    """Orders compare as the places that they are made of, and can be taken apart again."""
    assert (exact_order(*one) < exact_order(*two)) == (one < two)
    order = exact_order(*one)
    assert (slot_of(order), index_of(order), position_of(order)) == one[:3]
    assert is_exact(order)


@given(PLACES)
def test_every_order_fits_a_bigint(place: tuple[int, int, int, int]) -> None:
    """The greatest order is below 2^63."""
    assert 0 <= exact_order(*place) < 1 << 63


@given(PLACES, st.integers(1, 131_071))
def test_known_places_sort_after_arrivals_of_their_slot_and_after_starts(
    place: tuple[int, int, int, int], number: int
) -> None:
    """In one slot: what a pool starts with, then arrivals, then known places; all before the next slot."""
    slot, index, position, nth = place
    starts = [first_order(slot, 0), first_order(slot, 1)]
    arrival = arrival_order(slot, number, position, nth)
    assert starts[0] < starts[1] < arrival < exact_order(slot, index, position, nth) < first_order(slot + 1, 0)
    assert not is_exact(arrival)
    assert index_of(arrival) is None


def test_beyond_the_widths_orders_stay_in_their_slot() -> None:
    """A place that no real transaction has does not spill into the slot."""
    assert slot_of(exact_order(5, 1 << 40, 1 << 40, 1 << 40)) == 5
    assert slot_of(arrival_order(5, 1 << 40, 1 << 40, 1 << 40)) == 5


def test_supersedes() -> None:
    """A known place replaces an arrival, a later slot replaces all, an arrival nothing in its slot."""
    early, late = arrival_order(5, 1, 0, 0), arrival_order(5, 2, 0, 0)
    exact = exact_order(5, 0, 0, 0)
    assert supersedes(early, None)
    assert not supersedes(late, early)
    assert supersedes(exact, late)
    assert not supersedes(late, exact)
    assert not supersedes(exact, exact)
    assert supersedes(arrival_order(6, 1, 0, 0), exact)
    assert not supersedes(exact_order(4, 9, 0, 0), early)


def test_arrivals_count_transactions_per_slot_and_pool() -> None:
    """A transaction keeps its number; pools and slots count for themselves."""
    arrivals = Arrivals()
    assert [arrivals.number(5, "a", signature) for signature in ("x", "y", "x", "z")] == [1, 2, 1, 3]
    assert arrivals.number(5, "b", "y") == 1
    assert arrivals.number(6, "a", "w") == 1


def test_arrivals_after_a_restart_come_after_what_is_stored() -> None:
    """In slots that an earlier life wrote, numbers begin above those it can have given."""
    arrivals = Arrivals(stored_slot=5)
    assert arrivals.number(5, "a", "x") > 60_000
    assert arrivals.number(6, "a", "x") == 1


def test_arrivals_forget_old_slots() -> None:
    """Memory is bounded by the number of slots kept."""
    arrivals = Arrivals(keep_slots=2)
    for slot in range(10):
        arrivals.number(slot, "a", "x")
    assert len(arrivals._slots) == 2

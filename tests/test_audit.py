"""Which slots a database claims to have, and which differences fetching again mends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.audit import Audited, complete, draw, is_mendable
from monitor.pipeline.compare import Compared, Difference, Key
from monitor.pipeline.spans import Span
from monitor.store.asked import HoleRow

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KEY = Key("trade", ("signature", "pumpfun", "TradeEvent", 0))


def hole(first: int, last: int, reason: str = "feed_away", **columns: Any) -> HoleRow:
    """Return a hole, open unless it is said who filled it."""
    row: dict[str, Any] = {
        "id": first, "feed": "logs", "program": "*", "first_slot": first, "last_slot": last, "signature": None,
        "reason": reason, "seen_at": NOW, "filled_through": None, "tries": 0, "last_error": None, "filled_by": None,
        "filled_at": NOW if "filled_by" in columns else None,
    } | columns  # fmt: skip
    return HoleRow(**row)


@pytest.mark.parametrize(
    ("since", "through", "holes", "claimed"),
    [
        (None, None, [], []),
        (10, 20, [], [Span(10, 20)]),
        (10, 9, [], []),
        (10, 20, [hole(12, 13)], [Span(10, 11), Span(14, 20)]),
        (10, 20, [hole(12, 12, signature="s")], [Span(10, 11), Span(13, 20)]),
        (10, 20, [hole(12, 13, filled_by="history")], [Span(10, 20)]),
        (10, 20, [hole(12, 13, filled_by="abandoned")], [Span(10, 11), Span(14, 20)]),
        (10, 20, [hole(15, 16, "skipped_by_start")], [Span(10, 14), Span(17, 20)]),
        (10, 20, [hole(1, 5, "backfill", filled_by="history")], [Span(1, 5), Span(10, 20)]),
        (10, 20, [hole(1, 5, "backfill")], [Span(10, 20)]),
        (10, 20, [hole(1, 5, filled_by="history")], [Span(10, 20)]),
        (None, None, [hole(1, 5, "backfill", filled_by="history")], [Span(1, 5)]),
    ],
)
def test_complete_is_what_was_followed_or_brought_and_is_in_no_open_hole(
    since: int | None, through: int | None, holes: list[HoleRow], claimed: list[Span]
) -> None:
    """What was abandoned or left out on purpose is missing."""
    assert complete(since, through, holes) == claimed


@pytest.mark.parametrize(
    ("difference", "mends"),
    [
        (Difference(1, "missing", KEY, "s"), True),
        (Difference(1, "extra", KEY, "s"), True),
        (Difference(1, "different", KEY, "s", "lp_fee", None, 5), True),
        (Difference(1, "different", KEY, "s", "place", 0, 1), True),
        (Difference(1, "different", KEY, "s", "lp_fee", 4, 5), True),
        (Difference(1, "different", Key("pool_created", ("pool",)), "s", "created_at", 4, 5), True),
        (Difference(1, "different", KEY, "s", "block_time", 4, 5), False),
    ],
)
def test_fetching_again_mends_all_but_the_time_by_which_a_trade_is_found(difference: Difference, mends: bool) -> None:
    """Told again at its own time it would be there twice."""
    assert is_mendable(difference) is mends
    assert Audited(1, differences=[difference]).to_repair == ([1] if mends else [])


def test_the_share_counts_rows_and_not_values() -> None:
    """A row with two wrong values is one wrong row; of no rows at all nothing is wrong."""
    found = Audited(10)
    assert found.share == 1.0
    wrong = [Difference(1, "different", KEY, "s", name, 1, 2) for name in ("lp_fee", "cashback")]
    found.add(Compared(rows=3, differences=[*wrong, Difference(1, "missing", KEY._replace(name=("other",)), "s")]))
    assert (found.slots, found.rows, found.share) == (1, 3, 0.5)


def test_the_same_seed_draws_the_same_slots() -> None:
    """Another one most likely does not."""
    spans = [Span(0, 10_000)]
    assert draw(spans, 20, 7) == draw(spans, 20, 7) != draw(spans, 20, 8)

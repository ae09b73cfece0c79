"""What `status` makes of what the database holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from monitor.cli.status import Report, State, as_json, as_table, duration, judge, oldest
from monitor.store.asked import HoleRow
from monitor.store.batch import SKIPPED_BY_START
from monitor.store.read import FeedProgress, Status

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def held(*, trade_s: float | None = 1, told_s: float | None = 1) -> Status:
    """Return what a database holds whose newest trade and progress are so old."""
    ago = None if trade_s is None else NOW - timedelta(seconds=trade_s)
    feeds = () if told_s is None else (FeedProgress("logs", "*", 7, None, NOW - timedelta(seconds=told_s)),)
    return Status(
        rows={"transactions": 5},
        launches=1,
        graduations=0,
        open_holes=0,
        voided=0,
        final_through=None,
        newest_block_time=ago,
        newest_slot=None if ago is None else 8,
        progress=feeds,
    )


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (held(), State.OK, "1 s old"),
        (held(trade_s=60, told_s=60), State.OK, "1 min old"),
        (held(trade_s=61), State.LAGGING, "1 min 1 s old"),
        (held(trade_s=600, told_s=600), State.LAGGING, "does the daemon run"),
        (held(told_s=600), State.LAGGING, "progress has stood still for 10 min"),
        (held(trade_s=None), State.LAGGING, "no trade"),
        (held(told_s=None), State.LAGGING, "followed"),
    ],
)
def test_a_daemon_keeps_up_or_lags(found: Status, state: State, words: str) -> None:
    """It keeps up if both its newest trade and its progress are young."""
    judged, reason = judge(found, NOW, 60)
    assert judged == state
    assert words in reason


def test_exit_codes_are_those_that_scripts_rely_on() -> None:
    """0 keeps up, 1 lags, 2 is away."""
    assert {state.name: int(state) for state in State} == {"OK": 0, "LAGGING": 1, "AWAY": 2}


def test_the_json_object_has_ages_and_times() -> None:
    """Times in RFC 3339, ages in seconds; without a database there is no more than the reason."""
    shown = msgspec.json.decode(msgspec.json.encode(as_json(Report(State.OK, "fine", NOW, held(), True))))
    assert (shown["state"], shown["lag_s"], shown["newest_block_time"]) == ("ok", 1.0, "2026-11-20T11:59:59Z")
    assert shown["feeds"] == [
        {
            "feed": "logs",
            "program": "*",
            "slot": 7,
            "block_time": None,
            "updated_at": "2026-11-20T11:59:59Z",
            "age_s": 1.0,
        }
    ]
    assert (shown["launches"], shown["rows"]) == (1, {"transactions": 5})
    assert (shown["open_holes"], shown["oldest_hole_at"], shown["final_through"]) == (0, None, None)
    assert set(as_json(Report(State.AWAY, "gone", NOW))) == {"state", "reason", "at", "redis"}


def test_open_holes_are_told_with_what_is_missing() -> None:
    """Slots that are filled already, and those that several holes name, are not counted twice."""
    found = (
        hole(1, 10, 19, filled_through=14),
        hole(2, 18, 21, seen_s=600),
        hole(3, 30, 30, signature="s"),
        hole(4, 90, 99, reason=SKIPPED_BY_START, seen_s=9_000),
    )
    report = Report(State.OK, "fine", NOW, held(), True, found)
    shown = as_json(report)
    assert (shown["open_holes"], shown["missing_slots"], shown["missing_transactions"], shown["left_out_slots"]) == (
        3, 7, 1, 10,
    )  # fmt: skip
    assert oldest(found) == NOW - timedelta(seconds=600)
    with Console(file=StringIO(), width=200) as console, console.capture() as said:
        console.print(as_table(report, held()))
    assert (
        "3 open holes: 7 slots and 1 single transactions are missing; 10 slots were left out on purpose" in said.get()
    )
    assert "(the oldest for 10 min)" in said.get()


def hole(number: int, first: int, last: int, *, seen_s: float = 1, **columns: Any) -> HoleRow:
    """Return an open hole that was noticed so long ago."""
    row: dict[str, Any] = {
        "id": number, "feed": "logs", "program": "*", "first_slot": first, "last_slot": last, "signature": None,
        "reason": "feed_away", "seen_at": NOW - timedelta(seconds=seen_s), "filled_through": None, "tries": 0,
        "last_error": None, "filled_at": None, "filled_by": None,
    } | columns  # fmt: skip
    return HoleRow(**row)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3_600, "1 h"), (90_061, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    """The largest ones."""
    assert duration(seconds) == text

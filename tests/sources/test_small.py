"""Slots, delays, turns and addresses: small pure parts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import SourceRefused
from monitor.sources.backoff import Backoff
from monitor.sources.endpoint import Endpoint, redact, refusal, retry_after_s
from monitor.sources.limiter import TokenBucket
from monitor.sources.slots import FINALITY_SLOTS, SlotTracker

SLOTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1)


class TestSlotTracker:
    """Slot notifications."""

    @given(SLOTS)
    def test_equals_the_naive_model(self, told: list[tuple[int, int]]) -> None:
        """Head and root are the highest ever told, the claim is the root from the first slot on."""
        tracker = SlotTracker()
        assert tracker.complete_through() is None
        for slot, root in told:
            tracker.see(slot, root)
        highest_root = max(root for _, root in told)
        assert (tracker.head, tracker.root, tracker.first) == (max(s for s, _ in told), highest_root, told[0][0])
        assert tracker.complete_through() == (highest_root if highest_root >= told[0][0] else None)

    @given(st.lists(st.one_of(st.integers(100, 200), st.tuples(st.integers(100, 200), st.integers(100, 200)))))
    def test_finalized_logs_come_after_their_root(self, told: list[int | tuple[int, int]]) -> None:
        """The claim ends before the newest slot with logs, or 32 below the root, and never beyond it."""
        tracker = SlotTracker(FINALITY_SLOTS)
        tracker.see(100, 100)
        heard, roots = [0], [100]
        for one in told:
            if isinstance(one, int):
                tracker.heard(one)
                heard.append(one)
            else:
                tracker.see(*one)
                roots.append(one[1])
        claim = min(max(max(heard) - 1, max(roots) - 32), max(roots))
        assert tracker.complete_through() == (claim if claim >= 100 else None)


class TestBackoff:
    """Delays between tries."""

    @given(st.integers(), st.integers(1, 200))
    def test_bounds(self, seed: int, failures: int) -> None:
        """A delay lies between half and the whole of the doubled first one, up to the longest; success begins anew."""
        backoff = Backoff(0.5, 30.0, random.Random(seed))
        for number in range(failures):
            whole = min(0.5 * 2**number, 30.0)
            assert whole / 2 <= backoff.failed() <= whole
        backoff.succeeded()
        assert backoff.failed() <= 0.5

    def test_the_other_side_may_ask_for_more(self) -> None:
        """Retry-After is a lower bound."""
        assert Backoff(0.5, 30.0).failed(asked_s=90.0) == 90.0


class TestTokenBucket:
    """Turns."""

    @given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(1, 5), st.floats(0.5, 50))
    def test_rate_is_kept(self, gaps: list[float], burst: int, rate: float) -> None:
        """No stretch of time holds more turns than the burst and what the rate allows in it; turns are in order."""
        bucket, now, turns = TokenBucket(rate, burst), 0.0, []
        for gap in gaps:
            now += gap
            turn = bucket.turn(now)
            assert turn >= now
            turns.append(turn)
        assert turns == sorted(turns)
        for first in range(len(turns)):
            for last in range(first, len(turns)):
                assert last - first + 1 <= burst + rate * (turns[last] - turns[first]) + 1e-6

    @given(st.integers(1, 50), st.floats(0.5, 50))
    def test_turns_are_not_wasted(self, count: int, rate: float) -> None:
        """Under constant demand turns come at exactly the rate."""
        bucket = TokenBucket(rate, 1)
        turns = [bucket.turn(0.0) for _ in range(count)]
        assert turns == pytest.approx([number / rate for number in range(count)])

    def test_pause(self) -> None:
        """A pause is never shortened."""
        bucket = TokenBucket(1.0)
        bucket.pause(5.0)
        bucket.pause(3.0)
        assert bucket.paused_until == 5.0


class TestEndpoint:
    """Addresses and their secrets."""

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("wss://node.example/?api-key=SECRET", "wss://node.example/…"),
            ("wss://SECRET:SECRET@node.example:8900/v2/SECRET#SECRET", "wss://node.example:8900/…"),
            ("http://127.0.0.1:8899", "http://127.0.0.1:8899"),
            ("http://127.0.0.1:8899/", "http://127.0.0.1:8899"),
            ("ws://[::1]:1/", "ws://[::1]:1"),
            ("ws://host:SECRET/", "(an address that cannot be read)"),
        ],
    )
    def test_secrets_are_not_shown(self, url: str, shown: str) -> None:
        """Scheme, host and port are shown, and nothing of the rest, in any form of text."""
        assert redact(url) == shown
        endpoint = Endpoint(url, {"Authorization": "SECRET"})
        assert "SECRET" not in f"{endpoint} {endpoint!r} {[endpoint]}"

    @given(st.text(max_size=60))
    def test_any_text(self, url: str) -> None:
        """Redacting never raises."""
        redact(url)

    def test_refusals_name_the_mend(self) -> None:
        """A refusal says what to do about it."""
        error = refusal(Endpoint("ws://h"), 401)
        assert isinstance(error, SourceRefused)
        assert error.mend
        assert "401" in str(error)

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (None, None),
            ("7", 7.0),
            (" 0.5 ", 0.5),
            ("soon", None),
            ("9" * 400, 3600.0),
            ("Fri, 20 Nov 2099 12:00:10 GMT", 3600.0),
            ("-3", None),
            ("", None),
            ("Fri, 20 Nov 2026 12:00:10 GMT", 10.0),
            ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
            ("Fri, 20 Nov 2026 12:00:10", None),
        ],
    )
    def test_retry_after(self, value: str | None, seconds: float | None) -> None:
        """Seconds and dates are understood, anything else is no wish."""
        assert retry_after_s(value, datetime(2026, 11, 20, 12, tzinfo=UTC)) == seconds

    @given(st.text(max_size=40), st.timedeltas(timedelta(0), timedelta(days=1)))
    def test_any_retry_after(self, value: str, since: timedelta) -> None:
        """No header raises, and none asks for negative time."""
        seconds = retry_after_s(value, datetime(2026, 11, 20, tzinfo=UTC) + since)
        assert seconds is None or 0 <= seconds <= 3600

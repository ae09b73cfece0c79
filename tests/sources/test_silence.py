"""Subscriptions that a node drops without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from monitor.sources.silence import Silence

if TYPE_CHECKING:
    from monitor.sources.silence import Silent

DAY_S = 86_400


def life(
    subject: Silence, seconds: range, every_s: dict[str, float], *, until: float = float("inf")
) -> tuple[float, Silent] | None:
    """Let slots tell something each second, and "p" as often as `every_s` says (up to `until`); return the alarm."""
    due = dict(every_s)
    for second in seconds:
        for label, every in every_s.items():
            while due[label] <= second:
                if due[label] <= until and (silent := subject.told(label, due[label])):
                    return second, silent
                due[label] += every
        if silent := subject.told("slots", second):
            return second, silent
    return None


def connected(floor_s: float = 60.0) -> Silence:
    """Return the habits of a feed whose first connection stands."""
    subject = Silence(floor_s)
    subject.connected(["p", "q", "slots"])
    return subject


def test_one_that_was_dropped_is_noticed_after_a_minute() -> None:
    """A busy program that falls silent while slots go on is noticed soon after the floor, by name."""
    alarm = life(connected(), range(1, 1000), {"p": 0.1}, until=300.0)
    assert alarm is not None
    second, silent = alarm
    assert silent.label == "p"
    assert 60 < silent.silent_s <= 65
    assert 360 < second <= 365


def test_one_that_seldom_tells_is_given_time() -> None:
    """What comes every 30 s is not missed for 20 such gaps, and one long gap is remembered."""
    assert life(connected(), range(1, 1500), {"p": 30.0}, until=900.0) is None
    alarm = life(connected(), range(1, 2000), {"p": 30.0}, until=900.0)
    assert alarm is not None
    assert alarm[1].silent_s > 600
    subject = connected()
    life(subject, range(1, 100), {"p": 1.0})
    subject.told("p", 150.0)
    assert life(subject, range(151, 250), {}) is None
    assert life(subject, range(250, 300), {}) is not None


def test_one_that_never_told_is_not_missed() -> None:
    """Of a program that said nothing yet, or too little, nothing is known."""
    assert life(connected(), range(1, DAY_S // 10), {"p": 0.1}, until=0.9) is None


def test_a_program_that_sleeps_does_not_flap() -> None:
    """Each false alarm doubles the time to the next: a day of silence costs a handful of reconnects."""
    subject = connected()
    life(subject, range(1, 100), {"p": 0.1})
    alarms = 0
    left_s = DAY_S
    while left_s > 0:
        subject.connected(["p", "q", "slots"])
        alarm = life(subject, range(1, left_s), {})
        left_s -= DAY_S if alarm is None else int(alarm[0])
        alarms += alarm is not None
    assert 5 <= alarms <= 12


def test_patience_ends_when_the_alarm_was_right() -> None:
    """A subscription that speaks right after it was renewed had been dropped: the next time is noticed as soon."""
    subject = connected()
    for _ in range(5):
        alarm = life(subject, range(1, 1000), {"p": 0.1}, until=100.0)
        assert alarm is not None
        assert alarm[1].silent_s <= 65
        subject.connected(["p", "q", "slots"])


def test_the_slots_themselves_may_be_dropped() -> None:
    """No subscription is beyond doubt."""
    subject = connected()
    life(subject, range(1, 100), {"p": 1.0})
    alarms = [subject.told("p", 100.0 + second) for second in range(100)]
    assert [alarm.label for alarm in alarms if alarm] == ["slots"]


@given(st.lists(st.tuples(st.sampled_from(["p", "q", "slots"]), st.floats(0, 59)), max_size=200))
def test_nothing_under_the_floor_is_silence(told: list[tuple[str, float]]) -> None:
    """Whatever the habits: as long as no gap reaches the floor, nothing is said."""
    subject, now = connected(), 0.0
    last = dict.fromkeys(("p", "q", "slots"), 0.0)
    for label, gap_s in told:
        now += gap_s
        silent = subject.told(label, now)
        last[label] = now
        if silent is not None:
            assert now - last[silent.label] > 60
            assert silent.label != label

"""Notice a subscription that a node silently dropped, while it goes on telling others. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENOUGH_GAPS = 10
_TIMES_USUAL = 20.0
_TIMES_LONGEST = 2.0
_WEIGHT = 0.02
_FADING = 0.999
_LOOKS_PER_FLOOR = 20
_MOST_PATIENCE = 1 << 16


class Silent(NamedTuple):
    """A subscription that tells nothing any more, and for how long."""

    label: str
    silent_s: float


@dataclass(slots=True)
class _Habit:
    """
    How often a subscription tells something.

    `usual_s` is the moving mean of the gaps, `longest_s` the longest one (it fades as more come), `patience` grows with
    every alarm that turned out false. `at_s` is when it told something last, or when it was subscribed.
    """

    gaps: int = 0
    usual_s: float = 0.0
    longest_s: float = 0.0
    patience: int = 1
    is_alarmed: bool = False
    at_s: float = 0.0
    has_told: bool = False

    def told(self, at_s: float, floor_s: float) -> None:
        gap_s, self.at_s = at_s - self.at_s, at_s
        if self.has_told:
            self.gaps += 1
            self.usual_s += (gap_s - self.usual_s) * max(_WEIGHT, 1 / self.gaps)
            self.longest_s = max(gap_s, self.longest_s * _FADING)
        elif self.is_alarmed and gap_s < floor_s:
            self.patience = 1  # subscribed anew it speaks again: it had been dropped
        self.has_told, self.is_alarmed = True, False

    def limit_s(self, floor_s: float) -> float:
        return max(floor_s, _TIMES_USUAL * self.usual_s, _TIMES_LONGEST * self.longest_s) * self.patience


class Silence:
    """
    What is usual for each subscription of a feed, over all of its connections.

    One is taken for dropped when others tell something, and it has been silent for `floor_s` at least, for 20 times its
    usual gap, and for twice its longest one. The first alarms may be false: a program can go to sleep. So each doubles
    the time to the next, until the subscription speaks again right after it was renewed.

    Times are seconds of waiting on the connection, from 0: what lies unread while we are busy is no silence.
    """

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s
        self._habits: dict[str, _Habit] = {}
        self._next_look_s = 0.0

    def connected(self, labels: Iterable[str]) -> None:
        """Take note that a new connection has these subscriptions; its time begins at 0."""
        self._next_look_s = 0.0
        for label in labels:
            habit = self._habits.setdefault(label, _Habit())
            habit.at_s, habit.has_told = 0.0, False

    def told(self, label: str, at_s: float) -> Silent | None:
        """Take note of a notification; return another subscription that must have been dropped, if there is one."""
        self._habits[label].told(at_s, self._floor_s)
        if at_s < self._next_look_s:
            return None
        self._next_look_s = at_s + self._floor_s / _LOOKS_PER_FLOOR
        for other, habit in self._habits.items():
            silent_s = at_s - habit.at_s
            if habit.gaps >= _ENOUGH_GAPS and silent_s > habit.limit_s(self._floor_s):
                habit.patience, habit.is_alarmed = min(2 * habit.patience, _MOST_PATIENCE), True
                return Silent(other, silent_s)
        return None

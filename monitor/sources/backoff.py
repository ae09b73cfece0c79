"""How long to wait before another try."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_MAX_DOUBLINGS = 30


@dataclass(slots=True)
class Backoff:
    """
    Delays that double from `first_s` to `longest_s`, each drawn between half of that and the whole.

    The jitter keeps many clients of a node that restarts from coming back in step.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def failed(self, asked_s: float | None = None) -> float:
        """Return the seconds to wait after one more failure; at least `asked_s`, the other side's own wish."""
        doubled: float = self.first_s * 2 ** min(self.failures, _MAX_DOUBLINGS)
        self.failures += 1
        whole = min(doubled, self.longest_s)
        return max(whole * (0.5 + self.random.random() / 2), asked_s or 0.0)

    def succeeded(self) -> None:
        """Begin again with the shortest delay."""
        self.failures = 0

"""How often a node may be asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """
    Turns at `rate_per_s` in the long run, `burst` of them at once, first come first served.

    Kept as one number (the generic cell rate algorithm): the time at which all turns given out are paid for.
    """

    rate_per_s: float
    burst: float = 1.0
    paid_at: float = 0.0
    paused_until: float = 0.0

    def turn(self, now: float) -> float:
        """Give out a turn; return the time at which it may be used."""
        self.paid_at = max(self.paid_at, now) + 1 / self.rate_per_s
        return max(now, self.paid_at - self.burst / self.rate_per_s)

    def pause(self, until: float) -> None:
        """Let nobody go before `until`, those who hold a turn neither: they ask `paused_until` again when it comes."""
        self.paused_until = max(self.paused_until, until)

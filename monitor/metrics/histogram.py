"""Counts of values by size, as cheap as a list: metrics read them at each scrape."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for waits, from a local disk's to a database's that is nearly away."""
ROWS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000)
"""Bounds for sizes of batches."""


class Histogram:
    """How many values were at most as large as each bound, and their sum. Values of no bound count as above all."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count by these upper bounds, which rise."""
        if not bounds or list(bounds) != sorted(set(bounds)):
            raise ValueError(f"bounds of a histogram must rise: {bounds}")
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @classmethod
    def of(cls, bounds: Sequence[float], counts: Sequence[int], total: float) -> Histogram:
        """Return one of values counted elsewhere: by each bound, and at the end those above all."""
        made = cls(bounds)
        if len(counts) != len(made._counts):
            raise ValueError(f"{len(bounds)} bounds make {len(made._counts)} counts, not {len(counts)}")
        made._counts[:] = counts
        made.total = total
        return made

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """Return how many values were counted."""
        return sum(self._counts)

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Yield (upper bound, values up to it), as Prometheus has them: cumulative, "+Inf" at the end."""
        so_far = 0
        for bound, count in zip((*map(str, map(float, self._bounds)), "+Inf"), self._counts, strict=True):
            so_far += count
            yield bound, so_far

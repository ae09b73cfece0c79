"""Tell from a daemon's samples, minute by minute, what it takes and whether that grew."""

from __future__ import annotations

import os
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.e2e.watching import Sample

MIB = 1 << 20
EVERY_S = 5.0
COLUMNS = (
    "minute", "RSS (MiB)", "descriptors", "threads", "tasks", "records/s", "lag (s)", "behind", "journal (MiB)", "CPU",
    "load",
)  # fmt: skip
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---:|' * len(COLUMNS)}"
_READ: dict[str, Callable[[Sample], float]] = {
    "rss": lambda sample: sample.rss_bytes,
    "descriptors": lambda sample: sample.descriptors,
    "threads": lambda sample: sample.threads,
    "tasks": lambda sample: sample.page.get("asyncio_tasks", 0),
}


def line(minute: int, samples: Sequence[Sample]) -> str:
    """Return a minute's samples as a line of a table: medians, but the longest lag and backlog."""
    passed_s = samples[-1].at_s - samples[0].at_s
    rate = (samples[-1].page["journal_newest_seq"] - samples[0].page["journal_newest_seq"]) / passed_s
    cells = (
        f"{middle(samples, 'rss') / MIB:.1f}",
        f"{middle(samples, 'descriptors'):.0f}",
        f"{middle(samples, 'threads'):.0f}",
        f"{middle(samples, 'tasks'):.0f}",
        f"{rate:.0f}",
        f"{max(sample.page.get('lag_seconds', 0) for sample in samples):.1f}",
        f"{max(sample.waiting for sample in samples)}",
        f"{max(sample.page['journal_bytes'] for sample in samples) / MIB:.1f}",
        f"{(samples[-1].cpu_s - samples[0].cpu_s) / passed_s:.0%}",
        f"{os.getloadavg()[0]:.1f}",
    )
    return f"| {minute} | {' | '.join(cells)} |"


def middle(samples: Sequence[Sample], what: str) -> float:
    """Return the median of rss (bytes), descriptors, threads or tasks."""
    return median(map(_READ[what], samples))


def spent_s(samples: Sequence[Sample]) -> float:
    """Return the processor time that passed between the first and the last."""
    return samples[-1].cpu_s - samples[0].cpu_s


def minutes(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """Yield the samples of each minute; half a minute tells too little."""
    began = samples[0].at_s
    for minute in range(int((samples[-1].at_s - began) / 60) + 1):
        found = [sample for sample in samples if int((sample.at_s - began) / 60) == minute]
        if len(found) * EVERY_S > 30:
            yield found

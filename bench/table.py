"""What a benchmark reports: figures with their goals, as a table in Markdown."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE = Path(__file__).resolve().parents[1] / "docs" / "BENCHMARKS.md"


@dataclass(frozen=True, slots=True)
class Row:
    """
    One figure. `best` is that of the calmest round; `most` a goal not to exceed, `least` one to reach.

    `rival` is the same work in anchorpy, in the same unit; `times` the least factor between the two.
    """

    what: str
    figure: float
    unit: str
    best: float | None = None
    most: float | None = None
    least: float | None = None
    rival: float | None = None
    times: float | None = None

    @property
    def misses(self) -> list[str]:
        """What the figure falls short of, in words."""
        found = []
        if self.most is not None and self.figure > self.most:
            found.append(f"{self.what}: {self.figure:.2f} {self.unit}, goal at most {self.most:g}")
        if self.least is not None and self.figure < self.least:
            found.append(f"{self.what}: {self.figure:.2f} {self.unit}, goal at least {self.least:g}")
        if self.rival is not None and self.times is not None and self.rival < self.times * self.figure:
            found.append(f"{self.what}: {self.rival / self.figure:.1f} times anchorpy, goal {self.times:g} times")
        return found


def markdown(rows: Iterable[Row]) -> str:
    """Return the rows as a table."""
    lines = ["| what | median | best round | goal | anchorpy | factor |", "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines)


def figures(rows: Iterable[Row]) -> str:
    """Return rows that were measured once as a table."""
    lines = ["| what | figure | goal |", "|---|---:|---:|"]
    lines += [f"| {row.what} | {row.figure:,.{_digits(row.figure)}f} {row.unit} | {_goal(row)} |" for row in rows]
    return "\n".join(lines)


def _digits(figure: float) -> int:
    """Return how many digits after the point tell something."""
    return 0 if figure == int(figure) or abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2


def _goal(row: Row) -> str:
    return f"<= {row.most:g}" if row.most is not None else f">= {row.least:g}" if row.least is not None else ""


def _cells(row: Row) -> Sequence[str]:
    return (
        row.what,
        f"{row.figure:.2f} {row.unit}",
        "" if row.best is None else f"{row.best:.2f}",
        _goal(row),
        "" if row.rival is None else f"{row.rival:.1f} {row.unit}",
        "" if row.rival is None else f"{row.rival / row.figure:.1f}",
    )


def machine(now: datetime | None = None) -> str:
    """Return one line about where and when this runs."""
    day = (now or datetime.now(UTC)).date().isoformat()
    cores = os.cpu_count()
    return f"{day}, {_processor()}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def report(page: Path, section: str, found: Sequence[Row], *, write: bool, beside: str = "") -> list[str]:
    """Print figures as a table, put it into a section of a page if asked to, and return what falls short."""
    text = f"{machine()}{beside}\n\n{figures(found)}"
    print(text, flush=True)
    if write:
        update(page, section, text)
    return [miss for row in found for miss in row.misses]


def update(page: Path, section: str, text: str) -> None:
    """
    Replace what stands between `<!-- section -->` and `<!-- /section -->` on a page.

    Raises:
        ValueError: If the page does not have both.
    """
    opening, closing = f"<!-- {section} -->\n", f"<!-- /{section} -->\n"
    before, found, rest = page.read_text().partition(opening)
    _, found_too, after = rest.partition(closing)
    if not (found and found_too):
        raise ValueError(f"{page} has no section {section}")
    page.write_text(f"{before}{opening}{text}\n{closing}{after}")

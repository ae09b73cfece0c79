"""The table of what came of runs, as text and in the documentation. Its functions but `write` do no I/O."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.one import Outcome

BEGIN, END = "<!-- chaos table: make chaos -->", "<!-- end of chaos table -->"
HEAD = (
    "fault", "feeds", "runs", "kills", "lost", "doubled", "balance errors", "open holes", "holes filled",
    "worst recovery (s)",
)  # fmt: skip
TOGETHER = "combinations"


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return a row by kind of fault, one of combinations, and the sum."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.kinds[0] if len(outcome.kinds) == 1 else TOGETHER, []).append(outcome)
    found = [_row(name, group) for name, group in groups.items() if name != TOGETHER]
    if TOGETHER in groups:
        found.append(_row(TOGETHER, groups[TOGETHER]))
    return [*found, _row("all", outcomes)]


def _row(name: str, group: Sequence[Outcome]) -> tuple[str, ...]:
    feeds = list(dict.fromkeys("+".join(one.feeds) for one in group))
    return (
        name, ", ".join(feeds), str(len(group)), str(sum(one.kills for one in group)),
        str(sum(one.lost for one in group)), str(sum(one.doubled for one in group)),
        str(sum(one.wrong for one in group)), str(sum(one.open_holes for one in group)),
        str(sum(one.filled_holes for one in group)), f"{max((one.recovery_s for one in group), default=0):.1f}",
    )  # fmt: skip


def text(outcomes: Sequence[Outcome]) -> str:
    """Return the table for a terminal, and what was not as promised."""
    found = [HEAD, *rows(outcomes)]
    widths = [max(len(row[at]) for row in found) for at in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in found]
    lines.append(summary(outcomes))
    lines += [f"NOT AS PROMISED: {outcome.name}" for outcome in outcomes if not outcome.is_good]
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return in a sentence what the rows do not say."""
    seeds = sorted({int(outcome.name.split(":")[0]) for outcome in outcomes})
    idle = sum(bool(one.idle_kinds) for one in outcomes if len(one.kinds) > 1)
    return (
        f"{sum(one.stored for one in outcomes):,} trades stored, {sum(one.voided for one in outcomes):,} void; "
        f"{sum(one.scrapes for one in outcomes):,} scrapes, at {sum(one.unequal for one in outcomes)} of which a "
        f"ledger did not hold; seeds {_ranges(seeds)}."
        + (f" In {idle} combinations not every fault found something to strike." if idle else "")
    )


def _ranges(numbers: Sequence[int]) -> str:
    """Return rising numbers as ranges."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def markdown(outcomes: Sequence[Outcome], machine: str, date: str) -> str:
    """Return the table for the documentation."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows(outcomes)]
    return "\n".join([*lines, "", f"{summary(outcomes)} {date}, {machine}."])


def machine() -> str:
    """Return what this machine is."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def write(file: Path, outcomes: Sequence[Outcome]) -> None:
    """Put the table between its marks in a file."""
    before, _, rest = file.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    told = markdown(outcomes, machine(), time.strftime("%Y-%m-%d", time.gmtime()))
    file.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}")

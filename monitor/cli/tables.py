"""Rows as tables for people: nothing in them is taken for markup, and into a pipe every column comes whole."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.cli.say import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Wider than any row: what is no terminal gets lines that do not break.
_PIPE_WIDTH = 2_000
_BLANK = "·"


def show(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows below their titles; None is shown as a dot, numbers stand at the right."""
    is_plain = not sys.stdout.isatty()
    table = Table(box=None if is_plain else box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    rows = [list(row) for row in rows]
    for place, title in enumerate(titles):
        is_number = any(isinstance(row[place], int) for row in rows)
        table.add_column(title.upper(), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    Console(highlight=False, width=_PIPE_WIDTH if is_plain else None).print(table)


def cell(value: Any) -> str:
    """Return a value as one line of text."""
    match value:
        case None | "":
            return _BLANK
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        case _:
            return one_line(str(value))


def slots(first: int, last: int) -> str:
    """Return a range of slots as text."""
    return str(first) if first == last else f"{first}-{last}"

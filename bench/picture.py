"""A picture of lines over a logarithmic axis, as SVG text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 50, 50
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")
_TICKS = 5
_FONT = 'font-family="sans-serif" font-size="12" fill="#1f2328"'


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its name, and its points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


def svg(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """
    Return the picture.

    Args:
        title: What it shows.
        across: Name of the axis from left to right, which is logarithmic.
        up: Name of the other one, which begins at 0.
        lines: Some, each with two points or more.
    """
    places = [x for line in lines for x, _ in line.points]
    first, last = min(places), max(places)
    top = _round_up(max(y for line in lines for _, y in line.points))

    def at(x: float, y: float) -> tuple[float, float]:
        share = math.log(x / first) / math.log(last / first)
        return (
            _LEFT + share * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 24, title, size=15),
        _text(_LEFT, 42, up),
        _text(_LEFT, _HEIGHT - 10, across),
    ]
    for number in range(_TICKS + 1):
        y = at(first, top * number / _TICKS)[1]
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#d0d7de"/>')
        parts.append(_text(_LEFT - 8, y + 4, _short(top * number / _TICKS), anchor="end"))
    parts += [_text(at(x, 0)[0], _HEIGHT - _BOTTOM + 18, _short(x), anchor="middle") for x in sorted(set(places))]
    for colour, line in zip(_COLOURS, lines, strict=False):
        parts += _drawn(line, [at(x, y) for x, y in line.points], colour)
    return "\n".join((*parts, "</svg>", ""))


def _drawn(line: Line, places: list[tuple[float, float]], colour: str) -> Iterator[str]:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    x, y = places[-1]
    yield _text(x + 10, y + 4, line.name, colour=colour)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", colour: str = "") -> str:
    fill = f' fill="{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{fill}>{text}</text>'


def _short(value: float) -> str:
    """Return a number as people write it on an axis."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _round_up(value: float) -> float:
    """Return the next number of one digit and zeros, or half of it."""
    size: float = 10 ** math.floor(math.log10(value))
    return float(next(step * size for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * size >= value))

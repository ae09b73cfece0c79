"""`tail`: what is let through, what is drawn, and how it ends."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from monitor.cli.screen import Lines
from monitor.cli.tail import Enough, Filter, Kind, Platform
from monitor.present import fact_json
from tests.cli.test_present import trade as trade_fact
from tests.cli.test_render import launch, trade


class Seen:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.learned: list[str] = []
        self.decimals: dict[str, int] = {}

    def learn(self, fact: Any) -> None:
        """Remember it."""
        self.learned.append(fact["fact"])

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """Remember it."""
        self.decimals[mint] = decimals

    def show(self, fact: Any) -> None:
        """Remember it."""
        self.shown.append(fact["fact"])


def chosen(seen: Seen, **wishes: Any) -> Filter:
    """Return a filter in front of a screen."""
    return Filter(seen, **{"platform": None, "kinds": [], "mint": None, "count": None, **wishes})


FACTS = [launch(), trade(), trade(mint="other", platform=None), {**trade(), "fact": "curve_complete"}]


@pytest.mark.parametrize(
    ("wishes", "shown"),
    [
        ({}, ["launch", "trade", "trade", "curve_complete"]),
        ({"kinds": [Kind.LAUNCH]}, ["launch"]),
        ({"kinds": [Kind.LAUNCH, Kind.COMPLETE]}, ["launch", "curve_complete"]),
        ({"mint": "other"}, ["trade"]),
        ({"platform": Platform.PUMPFUN}, ["launch", "trade", "curve_complete"]),
        ({"platform": Platform.LAUNCHLAB}, []),
        ({"platform": Platform.PUMPFUN, "kinds": [Kind.TRADE], "mint": "MINT"}, ["trade"]),
    ],
)
def test_only_what_was_asked_for_is_shown(wishes: dict[str, Any], shown: list[str]) -> None:
    """Filters are joined by "and"."""
    seen = Seen()
    for fact in FACTS:
        chosen(seen, **wishes).show(fact)
    assert seen.shown == shown


def test_launches_that_are_not_shown_name_the_trades_that_are() -> None:
    """The screen learns them all the same."""
    seen = Seen()
    filtered = chosen(seen, kinds=[Kind.TRADE])
    filtered.show(launch())
    filtered.learn(launch())
    filtered.learn_decimals("m", 6)
    assert (seen.shown, seen.learned, seen.decimals) == ([], ["launch", "launch"], {"m": 6})


def test_enough_is_enough() -> None:
    """After `--count` lines it ends; what is filtered out does not count."""
    seen = Seen()
    filtered = chosen(seen, kinds=[Kind.TRADE], count=2)
    filtered.show(launch())
    filtered.show_fact(trade_fact())
    with pytest.raises(Enough):
        filtered.show(fact_json(trade_fact()))
    assert seen.shown == ["trade", "trade"]


def test_the_header_comes_again_with_each_screenful_of_a_terminal() -> None:
    """Into a pipe it comes once."""
    for is_terminal, headers in ((True, 5), (False, 1)):
        out = io.StringIO()
        screen = Lines(Console(file=out, force_terminal=is_terminal, width=120, height=20, color_system=None))
        screen.learn(launch())
        screen.learn_decimals("m", 6)
        for _ in range(80):
            screen.show(trade())
        lines = out.getvalue().splitlines()
        assert len(lines) == 80 + headers
        assert sum(line.startswith("TIME") for line in lines) == headers


def test_names_do_not_become_markup() -> None:
    """A token named [bold] is called so."""
    out = io.StringIO()
    Lines(Console(file=out, force_terminal=False, width=120)).show(launch(symbol="[red]x[/]"))
    assert "[red]x[/]" in out.getvalue()

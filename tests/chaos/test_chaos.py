"""The fixed part of `make chaos`: each kind of fault once, and combinations, with kill -9 at random points."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos import plan, table
from tests.chaos.one import Outcome
from tests.chaos.run import part, run_one, servers_of_a_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.run import Around

_PLANS = part()


@pytest.fixture(scope="module")
def around() -> Iterator[Around]:
    """Servers that runs share."""
    with servers_of_a_worker() as around:
        yield around


@pytest.mark.ci
@pytest.mark.slow
@pytest.mark.parametrize("name", [what.name for what in _PLANS])
def test_nothing_is_lost_or_doubled(around: Around, name: str) -> None:
    """Every row, every balance, every hole and every ledger is as it should be; the daemon was killed meanwhile."""
    outcome = run_one(plan.read(name), around, Path(os.environ.get("CHAOS_KEEP", ".cache/chaos")))
    print(outcome.line())  # noqa: T201 - pytest shows it where a test fails
    assert outcome.is_good, "\n".join([*outcome.odd, *outcome.words])
    assert outcome.kills
    assert outcome.stored


@pytest.mark.ci
@pytest.mark.slow
def test_what_is_lost_is_seen(around: Around, tmp_path: Path) -> None:
    """A notification that a node swallows is lost as long as nobody audits: such a loss shows."""
    outcome = run_one(plan.read("1:drop:logs"), around, tmp_path, audits=False)
    assert outcome.lost
    assert not outcome.doubled
    assert not outcome.is_good


def test_a_seed_draws_the_same_run_again() -> None:
    """A run's name is all that it takes to repeat it; another seed draws another one."""
    for what in _PLANS:
        assert plan.read(what.name) == what
        assert plan.drawn(what.seed + 1, what.kinds, what.feeds) != what


def test_the_part_has_every_kind_of_fault_and_every_feed() -> None:
    """Each kind alone, each feed more than once, and every run with kills."""
    kinds = Counter(what.kinds[0] for what in _PLANS if len(what.kinds) == 1)
    assert set(kinds) == set(plan.KINDS)
    assert len(kinds) >= 12
    feeds = Counter(what.feeds for what in _PLANS)
    assert set(feeds) == set(plan.FEEDS)
    assert min(feeds.values()) > 1
    assert all(len(what.kills) >= 2 for what in _PLANS)


def test_what_is_not_as_promised_stands_in_the_table() -> None:
    """Rows add up by kind, combinations stand alone, and a run that went wrong is named."""
    good = Outcome("1:drop:logs", ("drop",), ("logs",), kills=3, filled_holes=4, recovery_s=2.0, stored=10)
    bad = Outcome("2:drop:blocks", ("drop",), ("blocks",), lost=1, kills=2, recovery_s=7.5)
    both = Outcome("3:drop+fork:logs", ("drop", "fork"), ("logs",), kills=1)
    assert table.rows([good, bad, both]) == [
        ("drop", "logs, blocks", "2", "5", "1", "0", "0", "0", "4", "7.5"),
        ("combinations", "logs", "1", "1", "0", "0", "0", "0", "0", "0.0"),
        ("all", "logs, blocks", "3", "6", "1", "0", "0", "0", "4", "7.5"),
    ]
    assert "NOT AS PROMISED: 2:drop:blocks" in table.text([good, bad, both])
    assert "In 1 combinations not every fault" in table.summary([good, bad, both])
    assert "combinations" not in table.summary([good, bad])


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    """The rest of the page stays as it is; a second time changes nothing."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nformer\n{table.END}\nafter\n")
    table.write(page, [Outcome("1:drop:logs", ("drop",), ("logs",), kills=3)])
    text = page.read_text()
    table.write(page, [Outcome("1:drop:logs", ("drop",), ("logs",), kills=3)])
    assert page.read_text() == text
    assert text.startswith(f"before\n{table.BEGIN}\n\n| fault |")
    assert text.endswith(f"{table.END}\nafter\n")
    assert "former" not in text

"""`simulate` misbehaves for those who ask for it, and says how often it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ran


def test_faults_strike_and_are_counted(command: Callable[..., Ran]) -> None:
    """At the end it tells which faults struck."""
    found = command(
        "simulate", "--duration", "2.5", "--rate", "100", "--faults", "skip_slots:400,drop", "--fault-seed", "3"
    )
    assert found.code == 0
    assert "faults that struck: skip_slots" in found.out + found.errors


@pytest.mark.parametrize(("faults", "said"), [("nope", "'nope'"), ("drop,fork:often", "'often'"), ("", "''")])
def test_what_there_is_not_is_refused(faults: str, said: str, command: Callable[..., Ran]) -> None:
    """An unknown fault, or a rate that is no number, is a usage error that names it."""
    found = command("simulate", "--duration", "0.1", "--faults", faults)
    assert found.code == 64
    assert said in found.out + found.errors

"""Log lines are framed and cut as the runtime does it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator import keys
from simulator.calls import Call, LogWriter

OUTER, INNER = bytes([1]) * 32, bytes([2]) * 32


def test_frames_nest_and_count_units() -> None:
    """Depths, compute units and returns read as on a real node."""
    inner = Call(INNER, (), (), b"", 100, "Program data: AAAA")
    outer = Call(OUTER, (), (), b"", 1_000, "Program log: Instruction: Route")
    outer.parts += [inner, Call(keys.SYSTEM, (), (), b"", 150)]
    one, two, system = keys.text(OUTER), keys.text(INNER), keys.text(keys.SYSTEM)
    assert LogWriter().lines([outer], None) == [
        f"Program {one} invoke [1]",
        "Program log: Instruction: Route",
        f"Program {two} invoke [2]",
        "Program data: AAAA",
        f"Program {two} consumed 100 of 199000 compute units",
        f"Program {two} success",
        f"Program {system} invoke [2]",
        f"Program {system} success",
        f"Program {one} consumed 1250 of 200000 compute units",
        f"Program {one} success",
    ]


def test_failure_is_told() -> None:
    """A failed call says so instead of success."""
    call = Call(OUTER, (), (), b"", 1)
    call.failure = "custom program error: 0x1771"
    assert LogWriter().lines([call], None)[-1] == f"Program {keys.text(OUTER)} failed: custom program error: 0x1771"


@given(st.lists(st.text("ab", max_size=40), max_size=60), st.integers(1, 500))
def test_cut_keeps_what_fits(texts: list[str], limit: int) -> None:
    """At most the limit is kept, the cut is told once, and nothing is told where nothing was dropped."""
    call = Call(OUTER, (), (), b"", 1, *texts)
    whole, cut = (LogWriter().lines([call], bound) for bound in (None, limit))
    kept = [line for line in cut if line != "Log truncated"]
    assert sum(map(len, kept)) < limit
    assert cut.count("Log truncated") == (1 if sum(map(len, whole)) >= limit else 0)
    rest = iter(whole)
    assert all(line in rest for line in kept)

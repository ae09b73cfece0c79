"""An overlay is a dict of its own that begins like another one, and leaves that one as it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.overlay import Overlay

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "del", "pop", "get", "setdefault", "in", "append"]), KEYS, st.integers(0, 9))
)


@given(st.dictionaries(KEYS, st.integers(0, 9).map(lambda n: [n])), STEPS)
def test_an_overlay_behaves_as_a_copy(base: dict[bytes, list[int]], steps: list[tuple[str, bytes, int]]) -> None:
    """Step by step it answers as a deep copy of the base would, and the base never changes."""
    before = {key: list(value) for key, value in base.items()}
    copied = {key: list(value) for key, value in base.items()}
    overlay: Overlay[list[int]] = Overlay(base, list.copy)
    for what, key, number in steps:
        assert _do(overlay, what, key, number) == _do(copied, what, key, number)
    assert base == before


def _do(found: dict[bytes, list[int]], what: str, key: bytes, number: int) -> object:
    match what:
        case "set":
            found[key] = [number]
        case "del" if key in found:
            del found[key]
        case "pop":
            return found.pop(key, None)
        case "setdefault":
            return found.setdefault(key, [number])
        case "in":
            return key in found
        case "append" if key in found:
            found[key].append(number)
    return found.get(key)

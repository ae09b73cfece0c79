"""Events are found by log lines and by self-CPI calls, belong to the program that ran, and nobody can forge one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.core.carriers import _MOST_FRAMES, SELF_CPI_TAG, Emitted, LogWalk, LogWalker, from_invokes
from decoders.core.types import Invoke

PAD, RAY, ALIEN = "Pad111", "Ray111", "Alien1"
HELLO = base64.b64encode(b"hello").decode()


def walk(*lines: str) -> LogWalk:
    """Walk lines, following PAD and RAY."""
    return LogWalker([PAD, RAY], [RAY]).walk(lines)


def naive(lines: list[str]) -> list[tuple[str, int, bytes | None]]:
    """Return (program, position, data) of each event, by the plainest code that can be right."""
    stack: list[tuple[str, int]] = []
    found = []
    count = 0
    for line in lines:
        words = line.split(" ")
        if line == "Log truncated" or (words[0] == "Program" and words[2:3] == ["failed:"] and words[1] != "log:"):
            break
        if line.startswith("Program log: "):
            owner = stack[-1] if stack else ("", 0)
            if owner[0] == RAY and line.startswith("Program log: ray_log: "):
                found.append((*owner, _decoded(line.removeprefix("Program log: ray_log: "))))
        elif line.startswith("Program data: "):
            owner = stack[-1] if stack else ("", 0)
            if owner[0] in (PAD, RAY):
                found.append((*owner, _decoded(line.removeprefix("Program data: "))))
        elif words[0] == "Program" and words[2:3] == ["invoke"]:
            stack.append((words[1], count))
            count += 1
        elif words[0] == "Program" and words[2:3] == ["success"] and stack:
            stack.pop()
    return found


def _decoded(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None


PROGRAMS = st.sampled_from([PAD, RAY, ALIEN])
PAYLOADS = st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode())
LINES = st.one_of(
    st.builds("Program {} invoke [{}]".format, PROGRAMS, st.integers(1, 5)),
    st.builds("Program {} success".format, PROGRAMS),
    st.builds("Program {} failed: custom program error: 0x1".format, PROGRAMS),
    st.builds("Program data: {}".format, PAYLOADS),
    st.builds("Program log: ray_log: {}".format, PAYLOADS),
    st.builds("Program {} consumed 5 of 9 compute units".format, PROGRAMS),
    st.builds("Program return: {} {}".format, PROGRAMS, PAYLOADS),
    st.sampled_from(
        ["Log truncated", "Program data: !", "Program data: ", "Program", "", "Program log: Instruction: Buy"]
    ),
)


@settings(max_examples=300)
@given(st.lists(LINES, max_size=30))
def test_equals_the_naive_walk(lines: list[str]) -> None:
    """Any mixture of lines gives the events that a plain loop finds."""
    assert [(event.program, event.position, event.data) for event in walk(*lines).emitted] == naive(lines)


@given(st.lists(st.text(max_size=40) | LINES | st.text().map("Program {}".format), max_size=20))
def test_never_raises(lines: list[str]) -> None:
    """Lines of any text are walked."""
    walk(*lines)


def test_attribution() -> None:
    """A line belongs to the program on top of the stack, also after calls that ended; lines of others are counted."""
    found = walk(
        f"Program data: {HELLO}",
        f"Program {ALIEN} invoke [1]",
        f"Program data: {HELLO}",
        f"Program {PAD} invoke [2]",
        f"Program {ALIEN} invoke [3]",
        f"Program data: {HELLO}",
        f"Program {ALIEN} success",
        f"Program data: {HELLO}",
        f"Program {PAD} success",
        f"Program data: {HELLO}",
        f"Program {ALIEN} success",
        f"Program {ALIEN} success",
        f"Program data: {HELLO}",
    )
    assert found == LogWalk([Emitted(PAD, b"hello", 1)], ["", PAD, ""], 5, False)


@pytest.mark.parametrize(
    "text",
    [
        f"Program log: Program {PAD} invoke [1]",
        f"Program log: x\nProgram {PAD} invoke [1]",
        f"Program log: \nProgram {PAD} invoke [1]\n",
        f"Program log: Program {ALIEN} success",
        f"Program log: ray_log: x\nProgram {ALIEN} success",
        f"Program log: Program data: {HELLO}",
        f"Program log: x\nProgram data: {HELLO}",
        f"Program log: ray_log: {HELLO}",
        "Program log: Log truncated",
        "Program log: x\nLog truncated",
        f"Program return: {PAD} {HELLO}",
        f"Program consumption: {PAD} invoke [1]",
        f" Program {PAD} invoke [1]",
        f"program {PAD} invoke [1]",
        f"Program  {PAD} invoke [1]",
        f"Transfer: Program {PAD} invoke [1]",
        "Program failed to complete: exceeded CUs meter",
        f"Transfer data: {HELLO}",
        f"Transfer log: ray_log: {HELLO}",
    ],
)
def test_forged_frames(text: str) -> None:
    """What another program prints neither opens nor closes a frame, nor speaks for a followed program."""
    found = walk(f"Program {ALIEN} invoke [1]", text, f"Program data: {HELLO}", f"Program {ALIEN} success")
    assert (found.emitted, found.calls, found.truncated) == ([], [""], False)
    inside = walk(f"Program {PAD} invoke [1]", text, f"Program data: {HELLO}", f"Program {PAD} success")
    assert [event.data for event in inside.emitted] == [b"hello"]


def test_truncated() -> None:
    """After `Log truncated` nothing is read: the stack is not to be trusted."""
    found = walk(f"Program {PAD} invoke [1]", "Log truncated", f"Program data: {HELLO}")
    assert found == LogWalk([], [PAD], 0, True, unfinished=(0,))


@pytest.mark.parametrize("text", ["!", "aGVsbG8", "aGVs bG8=", "aGVsbG8=\n", "=", "é"])
def test_no_base64(text: str) -> None:
    """A line of a followed program that is no base64 is kept as text."""
    assert walk(f"Program {PAD} invoke [1]", f"Program data: {text}").emitted == [Emitted(PAD, None, 0, None, text)]


def test_frames_are_remembered_within_bounds() -> None:
    """Frames that differ without end do not fill the memory, and forgetting changes nothing."""
    walker = LogWalker([PAD])
    for number in range(_MOST_FRAMES + 2):
        walker.walk([f"Program {ALIEN}{number} invoke [1]"])
    assert len(walker._frames) <= _MOST_FRAMES
    assert walker.walk([f"Program {PAD} invoke [1]", f"Program data: {HELLO}"]).emitted == [Emitted(PAD, b"hello", 0)]


def test_self_cpi() -> None:
    """An event call belongs to the nearest call of its program one level above."""
    outer, inner = Invoke(0, 1, PAD, ("a",), b"outer"), Invoke(2, 2, PAD, ("b",), b"inner")
    invokes = [outer, Invoke(1, 2, PAD, (), SELF_CPI_TAG + b"1"), inner, Invoke(3, 3, PAD, (), SELF_CPI_TAG + b"2")]
    assert from_invokes(invokes) == [Emitted(PAD, b"1", 0, outer), Emitted(PAD, b"2", 2, inner)]


@pytest.mark.parametrize(
    "invokes",
    [
        [Invoke(0, 1, PAD, (), SELF_CPI_TAG + b"x")],
        [Invoke(0, 2, PAD, (), SELF_CPI_TAG + b"x")],
        [Invoke(0, 1, ALIEN, (), b"route"), Invoke(1, 2, PAD, (), SELF_CPI_TAG + b"x")],
        [Invoke(0, 2, PAD, (), b"buy"), Invoke(1, 2, PAD, (), SELF_CPI_TAG + b"x")],
        [Invoke(0, 1, PAD, (), SELF_CPI_TAG + b"x"), Invoke(1, 2, PAD, (), SELF_CPI_TAG + b"x")],
    ],
    ids=["outer", "no caller", "another caller", "sibling", "event of an event"],
)
def test_no_self_cpi(invokes: list[Invoke]) -> None:
    """A call that looks like an event, yet was not made by the program itself, is none."""
    assert from_invokes(invokes) == []


@given(
    st.lists(
        st.builds(
            Invoke,
            st.integers(0, 9),
            st.integers(1, 4),
            st.sampled_from([PAD, RAY]),
            st.just(()),
            st.binary(max_size=9) | st.binary(max_size=9).map(SELF_CPI_TAG.__add__),
        ),
        max_size=9,
    )
)
def test_any_invokes(invokes: list[Invoke]) -> None:
    """Instructions in any order and depth are searched."""
    from_invokes(invokes)

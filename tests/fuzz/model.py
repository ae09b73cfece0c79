"""What a notice should say, found by the plainest code that can be right: which program said what, and where."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.decoders.built import RAW, TAG
from tests.fuzz.reader import Unreadable, fields_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.types import Invoke, TxNotice

BY_ADDRESS = {raw.address: name for name, raw in RAW.items()}
RAY = "raydium_amm_v4"


@dataclass(frozen=True)
class Heard:
    """Bytes that a followed program gave out at a position; `data` None: a line that is no base64, `text` has it."""

    program: str
    position: int
    data: bytes | None
    text: str = ""


@dataclass(frozen=True)
class Expected:
    """One event: its name as far as it is known, its number, and its fields by name (None: they cannot be read)."""

    program: str
    event: str
    nth: int
    position: int
    payload: bytes
    fields: dict[str, Any] | None


@dataclass
class Walk:
    """What log lines hold."""

    heard: list[Heard]
    calls: list[str]
    open: list[int]
    foreign: int = 0
    is_cut: bool = False
    has_failed: bool = False


def walk(lines: Sequence[str]) -> Walk:
    """Walk log lines with a stack of the programs that run."""
    found = Walk([], [], [])
    for line in lines:
        words = line.split(" ")
        if line == "Log truncated":
            found.is_cut = True
            break
        if line.endswith(" units"):  # "… consumed N of M compute units"; base64 has no spaces
            continue
        if line.startswith("Program log: "):
            if _owner(found) == RAY and line.startswith("Program log: ray_log: "):
                _hear(found, line.removeprefix("Program log: ray_log: "))
        elif line.startswith("Program data:"):
            if _owner(found):
                _hear(found, line[14:])
            else:
                found.foreign += 1
        elif words[0] == "Program" and words[2:3] == ["invoke"]:
            found.open.append(len(found.calls))
            found.calls.append(words[1])
        elif words[0] == "Program" and words[2:3] == ["success"]:
            del found.open[-1:]
        elif words[0] == "Program" and words[2:3] == ["failed:"]:
            found.has_failed = True
            break
    return found


def _owner(found: Walk) -> str | None:
    return BY_ADDRESS.get(found.calls[found.open[-1]]) if found.open else None


def _hear(found: Walk, text: str) -> None:
    position = found.open[-1]
    try:
        heard = Heard(found.calls[position], position, base64.b64decode(text, validate=True))
    except ValueError:
        heard = Heard(found.calls[position], position, None, text)
    found.heard.append(heard)


def expected(notice: TxNotice, found: Walk) -> list[Expected]:
    """Return the events of a notice, whose lines hold `found`, in their order."""
    if notice.failed or (notice.invokes is None and found.has_failed):
        return []
    logged = [one for one in found.heard if not (found.is_cut and _may_be_overtaken(found, one))]
    heard = logged if notice.invokes is None else _joined(notice.invokes, found, logged)
    told = [one for one in heard if notice.program in (None, one.program)]
    counts: Counter[tuple[str, str]] = Counter()
    events = []
    for one in sorted(told, key=lambda heard: heard.position):
        name, fields = _read(one)
        nth = counts[one.program, name]
        counts[one.program, name] += 1
        payload = one.text.encode() if one.data is None else one.data
        events.append(Expected(one.program, name, nth, one.position, payload, fields))
    return events


def _may_be_overtaken(found: Walk, one: Heard) -> bool:
    """Return whether an unfinished call of its program stands before the one that gave it out."""
    return any(found.calls[at] == one.program and at < one.position for at in found.open)


def _joined(invokes: Sequence[Invoke], found: Walk, logged: list[Heard]) -> list[Heard]:
    """Return what calls carry, and what lines carry of kinds that no call does."""
    carried = []
    for at, invoke in enumerate(invokes):
        if invoke.depth > 1 and invoke.data.startswith(TAG):
            above = [one for one in invokes[:at] if (one.program, one.depth) == (invoke.program, invoke.depth - 1)]
            if above and not above[-1].data.startswith(TAG):
                carried.append(Heard(invoke.program, above[-1].position, invoke.data[8:]))
    kinds = {(one.program, _head(one)) for one in carried}
    for one in logged:
        if (one.program, _head(one)) not in kinds:
            rank = found.calls[: one.position].count(one.program)
            same = [invoke.position for invoke in invokes if invoke.program == one.program]
            carried.append(Heard(one.program, same[rank] if rank < len(same) else one.position, one.data, one.text))
    return carried


def _head(one: Heard) -> bytes:
    return (one.data or b"")[:8]


def _read(one: Heard) -> tuple[str, dict[str, Any] | None]:
    if one.data is None:
        return "no_base64", None
    return read_event(one.program, one.data)


def read_event(program: str, data: bytes) -> tuple[str, dict[str, Any] | None]:
    """Return the name of an event (its discriminator where that is unknown) and its fields, None if unreadable."""
    raw = RAW[BY_ADDRESS[program]]
    head = data[: 1 if BY_ADDRESS[program] == RAY else 8]
    name = next((name for name, known in raw.discriminators["events"].items() if known == head), None)
    if name is None:
        return head.hex(), None
    try:
        return name, fields_of(raw, "events", name, data, len(head))
    except Unreadable:
        return name, None

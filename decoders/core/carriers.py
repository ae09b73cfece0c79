"""
Find the events of followed programs in a transaction: log lines by invoke stack, and self-CPI calls.

Anyone can print `Program data:`; a line belongs to the program on top of the invoke stack, and to nobody else.
"""

from __future__ import annotations

from binascii import Error as BadBase64
from binascii import a2b_base64
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from decoders.core.types import Invoke

# sha256("anchor:event")[:8] backwards: how Anchor's emit_cpi! marks an event among a program's instructions.
SELF_CPI_TAG = bytes.fromhex("e445a52e51cb9a1d")
RAY_LOG = "ray_log: "


class Emitted(msgspec.Struct, frozen=True):
    """
    Bytes of one event as its program gave them out.

    `data` starts with the discriminator, and is None where the log line held no base64 (`text` then has it).
    `position` is that of the emitting instruction, `emitter` the instruction itself where the source carries it.
    """

    program: str
    data: bytes | None
    position: int
    emitter: Invoke | None = None
    text: str = ""


class LogWalk(msgspec.Struct, frozen=True):
    """What log lines hold: events, positions of each followed program's invokes, foreign lines, and whether cut short."""

    emitted: list[Emitted]
    invoked: dict[str, list[int]]
    foreign: int
    truncated: bool


def from_logs(logs: Sequence[str], programs: Collection[str], ray_programs: Collection[str] = ()) -> LogWalk:
    """
    Walk log lines with a stack of invokes.

    Args:
        programs: Addresses whose `Program data:` lines are wanted.
        ray_programs: Addresses that speak by `Program log: ray_log:` lines instead (AMM v4).
    """
    emitted: list[Emitted] = []
    invoked: dict[str, list[int]] = {}
    stack: list[tuple[str, int]] = []
    count = foreign = 0
    for line in logs:
        word = line[8:13]
        if word == "log: ":
            if ray_programs and line.startswith(RAY_LOG, 13) and stack and stack[-1][0] in ray_programs:
                emitted.append(_emitted(line[22:], *stack[-1]))
        elif line[-1:] == "]":
            end = line.find(" invoke [", 8)
            if end > 0:
                program = line[8:end]
                if program in programs:
                    invoked.setdefault(program, []).append(count)
                stack.append((program, count))
                count += 1
        elif line[-8:] == " success":
            if stack:
                stack.pop()
        elif word == "data:":
            if stack and stack[-1][0] in programs:
                emitted.append(_emitted(line[14:], *stack[-1]))
            else:
                foreign += 1
        elif line == "Log truncated":
            return LogWalk(emitted, invoked, foreign, truncated=True)
        elif " failed" in line and line.startswith("Program ") and stack and line[8:].startswith(stack[-1][0]):
            stack.pop()
    return LogWalk(emitted, invoked, foreign, truncated=False)


def _emitted(text: str, program: str, position: int) -> Emitted:
    try:
        return Emitted(program, a2b_base64(text, strict_mode=True), position)
    except (BadBase64, ValueError):
        return Emitted(program, None, position, None, text)


def from_invokes(invokes: Sequence[Invoke]) -> list[Emitted]:
    """Return the self-CPI events among instructions in execution order, each with the instruction that emitted it."""
    emitted: list[Emitted] = []
    for number, invoke in enumerate(invokes):
        if invoke.depth > 1 and invoke.data.startswith(SELF_CPI_TAG):
            emitter = _caller(invokes, number)
            if emitter is not None:
                emitted.append(Emitted(invoke.program, invoke.data[8:], emitter.position, emitter))
    return emitted


def _caller(invokes: Sequence[Invoke], number: int) -> Invoke | None:
    """Return the nearest instruction before `number` of the same program, one level above it, that is no event itself."""
    event = invokes[number]
    for invoke in reversed(invokes[:number]):
        if invoke.program == event.program and invoke.depth == event.depth - 1:
            return None if invoke.data.startswith(SELF_CPI_TAG) else invoke
    return None

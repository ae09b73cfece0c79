"""
Find the events of followed programs in a transaction: log lines by invoke stack, and self-CPI calls.

Anyone can print `Program data:`; a line belongs to the program on top of the invoke stack, and to nobody else.
"""

from __future__ import annotations

from binascii import Error as BadBase64
from binascii import a2b_base64
from typing import TYPE_CHECKING

import msgspec

from decoders.core.types import Invoke

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


# sha256("anchor:event")[:8] backwards: how Anchor's emit_cpi! marks an event among a program's instructions.
SELF_CPI_TAG = bytes.fromhex("e445a52e51cb9a1d")
RAY_LOG = "ray_log: "
_LEAVE, _NOTHING, _FAILED = "leave", "nothing", "failed"
_MOST_FRAMES = 8192
_LONG_LINE = 128


class Emitted(msgspec.Struct, frozen=True, gc=False):
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


class LogWalk(msgspec.Struct, frozen=True, gc=False):
    """
    What log lines hold: events, the program invoked at each position ("" if not followed), and foreign lines.

    `truncated`: the lines were cut, while the calls at the positions `unfinished` ran. `failed`: a call failed, with
    which the whole transaction does, whatever its source says of it (no program can catch the failure of one that it
    called).
    """

    emitted: list[Emitted]
    calls: list[str]
    foreign: int
    truncated: bool = False
    failed: bool = False
    unfinished: tuple[int, ...] = ()

    def numbered(self) -> list[Emitted]:
        """
        Return the events whose number among their kind is certain.

        Events are counted in the order of their instructions: where the lines were cut, an unfinished call may yet emit
        one that comes before those of the calls inside it.
        """
        if not self.unfinished:
            return self.emitted
        first = {self.calls[position]: position for position in reversed(self.unfinished)}
        return [event for event in self.emitted if event.position <= first.get(event.program, event.position)]


class LogWalker:
    """
    Walks log lines with a stack of invokes.

    Framing lines recur, so what each of them means is remembered (bounded): most of decoding a notice is this loop.
    """

    def __init__(self, programs: Collection[str], ray_programs: Collection[str] = ()) -> None:
        """
        Prepare to walk.

        Args:
            programs: Addresses whose `Program data:` lines are wanted.
            ray_programs: Those of them that speak by `Program log: ray_log:` lines instead (AMM v4).
        """
        self._programs = frozenset(programs)
        self._ray = frozenset(ray_programs)
        # Per line: the program invoked ("" if not followed), or _LEAVE, or _NOTHING.
        self._frames: dict[str, str] = {}

    def walk(self, logs: Sequence[str]) -> LogWalk:  # noqa: C901, PLR0912 - the hot loop: a call a line doubles its cost
        """Return what log lines hold. Never raises: lines that mean nothing are passed over."""
        emitted: list[Emitted] = []
        calls: list[str] = []
        stack: list[int] = []
        enter, leave, call = stack.append, stack.pop, calls.append
        left, nothing, failed = _LEAVE, _NOTHING, _FAILED
        foreign = 0
        known = self._frames.get
        for line in logs:
            frame = known(line)
            if frame is None:
                if line[-6:] == " units":  # "… consumed N of M compute units"; no event ends so, base64 has no spaces
                    continue
                word = line[:13]
                if word == "Program data:":
                    if stack and calls[stack[-1]]:
                        emitted.append(_emitted(line[14:], calls[stack[-1]], stack[-1]))
                    else:
                        foreign += 1
                    continue
                if word == "Program log: ":
                    if self._ray and line.startswith(RAY_LOG, 13) and stack and calls[stack[-1]] in self._ray:
                        emitted.append(_emitted(line[22:], calls[stack[-1]], stack[-1]))
                    elif line[13:25] == "Instruction:" and len(line) < _LONG_LINE:
                        self._remember(line, _NOTHING)
                    continue
                if line == "Log truncated":
                    return LogWalk(emitted, calls, foreign, truncated=True, unfinished=tuple(stack))
                frame = self._read_frame(line)
            if frame is left:
                if stack:
                    leave()
            elif frame is nothing:
                continue
            elif frame is failed:
                return LogWalk(emitted, calls, foreign, failed=True)
            else:
                enter(len(calls))
                call(frame)
        return LogWalk(emitted, calls, foreign)

    def _remember(self, line: str, meaning: str) -> str:
        if len(self._frames) >= _MOST_FRAMES:
            self._frames.clear()
        self._frames[line] = meaning
        return meaning

    def _read_frame(self, line: str) -> str:
        """Return what a framing line means, and remember it; `_NOTHING` if it is no such line."""
        words = line.split(" ")
        if words[0] != "Program" or len(words) < 3:
            return _NOTHING
        if words[2] == "invoke":
            return self._remember(line, words[1] if words[1] in self._programs else "")
        if words[2] == "success":
            return self._remember(line, _LEAVE)
        if words[2] == "failed:":
            return _FAILED
        return _NOTHING


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
    """Return the nearest instruction before `number` of its program, one level above it, that is no event itself."""
    event = invokes[number]
    for invoke in reversed(invokes[:number]):
        if invoke.program == event.program and invoke.depth == event.depth - 1:
            return None if invoke.data.startswith(SELF_CPI_TAG) else invoke
    return None

"""
Build a notice from any bytes: a small language of calls, events and damage.

A fuzzer that changes text seldom finds the way through base64, base58 and JSON; here each byte that it changes is a
choice (which transaction to start from, which event to emit, where to cut). The same bytes give the same notice.
"""

from __future__ import annotations

import base64
from typing import TypeVar

import msgspec

from decoders.core.base58 import decode
from decoders.core.types import I64_MAX, Invoke, TxNotice
from tests.decoders.built import ALL, SIGNATURE, SLOT, TAG, TIME_S
from tests.fuzz import material

LINES = (
    "Log truncated", "Program log: Log truncated", "Program log: Instruction: Buy", "Program data: ", "Program data:",
    "Program data: !", "Program  data: AAAA", "Program log: Program data: AAAA", "Program log: ray_log: AAAA", "",
    "Program", "Program return: x AAAA", "Transfer: insufficient lamports 1, need 2", "Program data: AAAA units",
    "Program log: \nProgram data: AAAA", "Program failed to complete: exceeded CUs meter", "Program x consumed 1 units",
)  # fmt: skip
T = TypeVar("T")
_MOST_OPERATIONS = 64
_FAR_BYTES = 1024


class Choices:
    """Bytes that are taken one after another; zeros when they are at an end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_done(self) -> bool:
        """Whether all are taken."""
        return self._at >= len(self._data)

    def byte(self) -> int:
        """Take a byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def number(self) -> int:
        """Take two bytes."""
        return self.byte() | self.byte() << 8

    def some(self) -> bytes:
        """Take a length and as many bytes."""
        count = self.byte()
        found = self._data[self._at : self._at + count]
        self._at += count
        return found


class Building:
    """A transaction under construction, told as log lines and as instructions at once."""

    def __init__(self, base: TxNotice | None) -> None:
        self.logs = list(base.logs or ()) if base else []
        self.invokes = list(base.invokes or ()) if base else []
        self._stack: list[str] = []
        self._position = 1 + max((invoke.position for invoke in self.invokes), default=-1)
        self._event = (material.PROGRAMS[0], b"")

    def operate(self, take: Choices) -> None:
        """Do one thing."""
        operations = (
            self._enter, self._leave, self._choose, self._patch, self._cut, self._emit, self._line, self._text,
            self._damage_line, self._damage_call, self._drop, self._deepen, self._truncate, self._repeat,
        )  # fmt: skip
        operations[take.byte() % len(operations)](take)

    def _enter(self, take: Choices) -> None:
        program, data, accounts = _of(material.instructions(), take.number())
        if take.byte() % 8 == 0:
            program = _of(material.PROGRAMS, take.byte())
        self._call(program, data, accounts[: take.byte() or len(accounts)])
        self._stack.append(program)

    def _call(self, program: str, data: bytes, accounts: tuple[str, ...]) -> None:
        depth = len(self._stack) + 1
        self.logs.append(f"Program {program} invoke [{depth}]")
        if program in ALL.followed:
            self.invokes.append(Invoke(self._position, depth, program, accounts, data))
        self._position += 1

    def _leave(self, take: Choices) -> None:
        if self._stack:
            program = self._stack.pop()
            how = take.byte()
            if how % 4 == 1:
                self.logs.append(f"Program {program} consumed 5 of 9 compute units")
            self.logs.append(f"Program {program} {'failed: custom program error: 0x1' if how == 255 else 'success'}")

    def _choose(self, take: Choices) -> None:
        self._event = _of(material.events(), take.number())

    def _patch(self, take: Choices) -> None:
        program, data = self._event
        self._event = program, patched(data, take)

    def _cut(self, take: Choices) -> None:
        program, data = self._event
        self._event = program, data[: take.number() % (len(data) + 1)]

    def _emit(self, take: Choices) -> None:
        data = self._event[1]
        carriers = take.byte()
        if carriers & 4:
            self.logs.append("Program log: ray_log: " + material.base64_of(data))
        if not carriers & 1:
            self.logs.append("Program data: " + material.base64_of(data))
        if not carriers & 2 and self._stack:
            self._call(self._stack[-1], TAG + data, ())
            self.logs.append(f"Program {self._stack[-1]} success")

    def _line(self, take: Choices) -> None:
        self.logs.append(_of(LINES, take.byte()))

    def _text(self, take: Choices) -> None:
        self.logs.append(("Program " if take.byte() % 2 else "") + take.some().decode("utf-8", "replace"))

    def _damage_line(self, take: Choices) -> None:
        """Change the bytes behind the base64 of a line, or the line."""
        at = take.number() % (len(self.logs) or 1)
        for prefix in ("Program data: ", "Program log: ray_log: "):
            if at < len(self.logs) and self.logs[at].startswith(prefix):
                data = _bytes_of(self.logs[at].removeprefix(prefix))
                self.logs[at] = prefix + material.base64_of(patched(data, take))

    def _damage_call(self, take: Choices) -> None:
        at = take.number() % (len(self.invokes) or 1)
        if at < len(self.invokes):
            invoke = self.invokes[at]
            self.invokes[at] = msgspec.structs.replace(invoke, data=patched(invoke.data, take))

    def _drop(self, take: Choices) -> None:
        del self.logs[take.number() : take.byte()]

    def _deepen(self, take: Choices) -> None:
        at = take.number() % (len(self.invokes) or 1)
        if at < len(self.invokes):
            self.invokes[at] = msgspec.structs.replace(self.invokes[at], depth=1 + take.byte() % 6)

    def _truncate(self, take: Choices) -> None:
        at = take.number() % (len(self.logs) + 1)
        self.logs[at : at + take.byte()] = ["Log truncated"]

    def _repeat(self, take: Choices) -> None:
        at = take.number() % (len(self.logs) or 1)
        self.logs.extend(self.logs[at : at + take.byte() % 16])


def notice(data: bytes) -> TxNotice:
    """Return the notice that any bytes stand for."""
    take = Choices(data)
    known = material.notices()
    number, flags, program = take.number(), take.byte(), take.byte()
    base = known[number % len(known)] if number % 4 else None
    building = Building(base)
    for _ in range(_MOST_OPERATIONS):
        if take.is_done:
            break
        building.operate(take)
    return TxNotice(
        signature=SIGNATURE,
        slot=SLOT,
        failed=flags & 31 == 31,
        logs=None if flags & 3 == 1 else building.logs,
        invokes=None if flags & 3 in (2, 3) else tuple(building.invokes),
        index=None if flags & 3 == 2 else flags,
        block_time=None if flags & 4 else TIME_S,
        program=_of(material.PROGRAMS[:-1], program) if flags & 8 else None,
        token_balances=base.token_balances if base else (),
    )


def patched(data: bytes, take: Choices) -> bytes:
    """Return bytes with some of them written over, put in, or turned into an extreme number."""
    at, how = take.number() % (min(len(data), _FAR_BYTES) + 1), take.byte() % 6
    match how:
        case 0:
            some = take.some()
            return data[:at] + some + data[at + len(some) :]
        case 1:
            return data[:at] + take.some() + data[at:]
        case 2:
            return (
                data[:at]
                + _of((0, 1, I64_MAX, I64_MAX + 1, 2**64 - 1), take.byte()).to_bytes(8, "little")
                + data[at + 8 :]
            )
        case 3:
            return data[:at] + decode(_of([*material.MINTS, *material.POOLS], take.byte())) + data[at + 32 :]
        case 4:
            return data + take.some()
        case _:
            return data[:at] + bytes([take.byte()]) + data[at + 1 :]


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return text.encode()


def _of(items: tuple[T, ...] | list[T], number: int) -> T:
    return items[number % len(items)]

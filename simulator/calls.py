"""Instructions as a tree of calls, and the log lines that the runtime writes about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.keys import COMPUTE_BUDGET, SYSTEM, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WRITABLE, SIGNER = 1, 2
_BUILTIN = frozenset({SYSTEM, COMPUTE_BUDGET})
Account = tuple[bytes, int]


class Call:
    """
    One instruction as it ran: outer ones are a transaction's, inner ones stand among their caller's `parts`.

    `parts` are log lines and inner calls in the order of execution, `flags` tell for each account whether the caller
    passed it writable or as a signer. `failure` is the text after "failed: ".
    """

    __slots__ = ("accounts", "data", "failure", "flags", "parts", "program", "units")

    def __init__(
        self, program: bytes, accounts: Sequence[bytes], flags: Sequence[int], data: bytes, units: int, *lines: str
    ) -> None:
        self.program = program
        self.accounts = tuple(accounts)
        self.flags = tuple(flags)
        self.data = data
        self.units = units
        self.parts: list[str | Call] = list(lines)
        self.failure: str | None = None

    def inner(self) -> Iterator[Call]:
        """Yield the calls made directly by this one."""
        return (part for part in self.parts if isinstance(part, Call))

    def walk(self, depth: int = 1) -> list[tuple[Call, int]]:
        """Return this call and all below it with their depths, in the order of execution."""
        found = [(self, depth)]
        for part in self.parts:
            if isinstance(part, Call):
                found += part.walk(depth + 1)
        return found


class _Frames:
    """The texts of one program's frame lines, made once."""

    __slots__ = ("consumed", "failed", "invoke", "success")

    def __init__(self, program: bytes) -> None:
        name = text(program)
        self.invoke = [f"Program {name} invoke [{depth}]" for depth in range(10)]
        self.consumed = f"Program {name} consumed "
        self.success = f"Program {name} success"
        self.failed = f"Program {name} failed: "


class LogWriter:
    """Writes the log lines of transactions, under the runtime's limit of message text."""

    def __init__(self) -> None:
        self._frames: dict[bytes, _Frames] = {}

    def lines(self, calls: Sequence[Call], limit_bytes: int | None) -> list[str]:
        """
        Return the log lines of a transaction.

        Args:
            limit_bytes: Bytes of text that the node keeps; None for all. As the runtime does it (agave
                LogCollector): what would exceed it is dropped, "Log truncated" stands once in place of the first
                such line, and a later line that still fits is kept.
        """
        out: list[str] = []
        budget = 200_000 * len(calls)
        for call in calls:
            budget = self._write(call, 1, budget, out)
        return out if limit_bytes is None else _cut(out, limit_bytes)

    def _write(self, call: Call, depth: int, budget: int, out: list[str]) -> int:
        frames = self._frames.get(call.program)
        if frames is None:
            frames = self._frames[call.program] = _Frames(call.program)
        out.append(frames.invoke[depth])
        left = budget - call.units
        for part in call.parts:
            if isinstance(part, str):
                out.append(part)
            else:
                left = self._write(part, depth + 1, left, out)
        if call.program not in _BUILTIN:
            out.append(f"{frames.consumed}{budget - left} of {budget} compute units")
        out.append(frames.success if call.failure is None else frames.failed + call.failure)
        return left


def _cut(lines: list[str], limit_bytes: int) -> list[str]:
    kept: list[str] = []
    written, warned = 0, False
    for line in lines:
        if written + len(line) < limit_bytes:
            written += len(line)
            kept.append(line)
        elif not warned:
            warned = True
            kept.append("Log truncated")
    return kept

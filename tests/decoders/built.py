"""
Transactions that tests build, since nobody recorded such ones: calls in calls, with the events that they emit.

The same calls are told as log lines (framed as the runtime does) and as executed instructions, so that a test can hand
over either carrier or both.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from solders.pubkey import Pubkey
from solders.signature import Signature

from decoders.core.registry import load
from decoders.core.types import Invoke, TxNotice
from tests.decoders import borsh

if TYPE_CHECKING:
    from decoders.core.registry import Registry
    from decoders.core.types import Fact, PoolInfo, TokenBalance

RAW = {name: borsh.Idl.load(name) for name in borsh.NAMES}
SIGNATURE = str(Signature(b"\5" * 64))
ROUTER, OTHER_ROUTER = (str(Pubkey(bytes([n]) * 32)) for n in (201, 202))
WSOL = "So11111111111111111111111111111111111111112"
USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
SLOT, TIME_S = 454_000_000, 1_791_000_000
TAG = bytes.fromhex("e445a52e51cb9a1d")


def key(number: int) -> str:
    """Return one of 256 made-up addresses."""
    return str(Pubkey(bytes([number]) + bytes(30) + b"\1"))


def registry(*names: str) -> Registry:
    """Return a registry of these decoders; of all by default."""
    return load(names or borsh.NAMES, lambda name: [(f"{name}.json", (borsh.IDLS / f"{name}.json").read_bytes())])


ALL = registry()


@dataclass(frozen=True)
class Event:
    """Bytes that the running program emits: by a log line, by a self-CPI call, or by both in this order."""

    data: bytes
    carriers: str = "log cpi"


@dataclass(frozen=True)
class Line:
    """A line of log text as it stands."""

    text: str


@dataclass(frozen=True)
class Call:
    """An instruction: what it carries, and what happens while it runs."""

    program: str
    data: bytes = b""
    accounts: tuple[str, ...] = ()
    inside: tuple[Call | Event | Line, ...] = ()


@dataclass
class _Run:
    """The tellings of a transaction as it runs."""

    logs: list[str] = field(default_factory=list)
    invokes: list[Invoke] = field(default_factory=list)
    count: int = 0

    def call(self, call: Call, depth: int, followed: frozenset[str]) -> None:
        self.logs.append(f"Program {call.program} invoke [{depth}]")
        if call.program in followed:
            self.invokes.append(Invoke(self.count, depth, call.program, call.accounts, call.data))
        self.count += 1
        for item in call.inside:
            match item:
                case Call():
                    self.call(item, depth + 1, followed)
                case Line(text):
                    self.logs.append(text)
                case Event(data, carriers):
                    for carrier in carriers.split():
                        self._event(call.program, data, carrier, depth, followed)
        if depth == 1 or call.inside:
            self.logs.append(f"Program {call.program} consumed 2164 of 200000 compute units")
        self.logs.append(f"Program {call.program} success")

    def _event(self, program: str, data: bytes, carrier: str, depth: int, followed: frozenset[str]) -> None:
        match carrier:
            case "log":
                self.logs.append(f"Program data: {base64.b64encode(data).decode()}")
            case "ray":
                self.logs.append(f"Program log: ray_log: {base64.b64encode(data).decode()}")
            case "cpi":
                self.call(Call(program, TAG + data), depth + 1, followed)


def notice(
    *calls: Call,
    carriers: str = "log cpi",
    failed: bool = False,
    block_time: int | None = TIME_S,
    token_balances: tuple[TokenBalance, ...] = (),
    truncate_after: int | None = None,
) -> TxNotice:
    """
    Return a transaction of these calls.

    Args:
        carriers: "log" (as logsSubscribe tells it), "cpi" (instructions without log lines) or both.
        truncate_after: Number of log lines after which the node stopped writing.
    """
    run = _Run()
    for call in calls:
        run.call(call, 1, ALL.followed)
    logs = run.logs if truncate_after is None else [*run.logs[:truncate_after], "Log truncated"]
    return TxNotice(
        signature=SIGNATURE,
        slot=SLOT,
        failed=failed,
        logs=logs if "log" in carriers else None,
        invokes=tuple(run.invokes) if "cpi" in carriers else None,
        index=7 if "cpi" in carriers else None,
        block_time=block_time,
        token_balances=token_balances,
    )


def facts(*calls: Call, pools: dict[str, PoolInfo] | None = None, **options: Any) -> list[Fact]:
    """Return the facts of a transaction that wants nothing more."""
    decoded = ALL.decode(notice(*calls, **options), pools or {})
    assert not decoded.partial
    assert not decoded.needs
    return decoded.facts


def said(fact: Fact | PoolInfo, *names: str) -> tuple[Any, ...]:
    """Return members of a fact."""
    return tuple(getattr(fact, name) for name in names)

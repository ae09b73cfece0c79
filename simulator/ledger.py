"""The truth about the market, kept by the market itself: what consumers must end up with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from solders.signature import Signature

from simulator.keys import WSOL, ZERO, text

if TYPE_CHECKING:
    from simulator.bank import Bank


@dataclass(frozen=True, slots=True)
class Said:
    """Identity and order of one event: `nth` counts from 0 that name of that program in its transaction."""

    signature: bytes
    slot: int
    index: int
    block_time: int
    program: bytes
    venue: str
    event: str
    nth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A token and its curve; `supply` and `for_sale` are base units of the token, `raise_target` of the quote."""

    said: Said
    platform: str
    platform_config: bytes | None = None
    mint: bytes
    pool: bytes
    creator: bytes
    payer: bytes
    name: str
    symbol: str
    uri: str
    decimals: int
    supply: int
    quote_mint: bytes
    token_program: bytes
    curve_kind: str
    for_sale: int
    raise_target: int | None
    is_mayhem: bool = False
    is_cashback: bool = False
    is_holder_reward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """
    One trade. `base_amount` and `quote_amount` are what entered or left the reserves, all fees excluded.

    `user_quote_amount` is what the trader paid or got; `mark_*` are the effective reserves after it; fees are in the
    quote (`trade_fee` of CPMM: in the token that was put in); `protocol_fee` contains `buyback_fee`.
    """

    said: Said
    mint: bytes
    pool: bytes
    quote_mint: bytes
    trader: bytes
    side: str
    base_amount: int
    quote_amount: int
    user_quote_amount: int
    mark_base: int
    mark_quote: int
    protocol_fee: int = 0
    buyback_fee: int = 0
    creator_fee: int = 0
    lp_fee: int = 0
    platform_fee: int = 0
    share_fee: int = 0
    cashback: int = 0
    trade_fee: int = 0
    organic: bool = True
    synthetic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A curve sold its last token."""

    said: Said
    mint: bytes
    pool: bytes
    trader: bytes
    quote_mint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Graduation:
    """A curve's liquidity moved to `to_pool`; amounts are that pool's seed."""

    said: Said
    mint: bytes
    pool: bytes
    to_pool: bytes
    to_venue: str
    quote_mint: bytes
    base_amount: int
    quote_amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOpened:
    """An AMM pool was opened."""

    said: Said
    mint: bytes
    pool: bytes
    quote_mint: bytes
    creator: bytes
    base_amount: int
    quote_amount: int


Entry = Launch | Trade | Completion | Graduation | PoolOpened


class PoolState(Protocol):
    """A curve or pool as its program keeps it."""

    @property
    def address(self) -> bytes:
        """Return its address."""

    def row(self) -> dict[str, Any]:
        """Return its members for the ledger (keys as bytes)."""


class Ledger:
    """Entries in the order they happened, pools as they stand, and counts of what was said."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self.entries: list[Entry] = []
        self.pools: dict[bytes, PoolState] = {}
        self.events: Counter[tuple[str, str]] = Counter()
        self.transactions: Counter[str] = Counter()

    def of(self, kind: type[Entry]) -> list[Any]:
        """Return the entries of one kind, in order."""
        return [entry for entry in self.entries if isinstance(entry, kind)]

    def export(self) -> dict[str, Any]:
        """Return everything as JSON-ready data: keys and signatures as base58, amounts as integers."""
        return {
            "launches": [row(entry) for entry in self.of(Launch)],
            "trades": [row(entry) for entry in self.of(Trade)],
            "completions": [row(entry) for entry in self.of(Completion)],
            "graduations": [row(entry) for entry in self.of(Graduation)],
            "pools_opened": [row(entry) for entry in self.of(PoolOpened)],
            "pools": {text(address): _plain(pool.row()) for address, pool in self.pools.items()},
            "mints": {text(mint): {"decimals": m.decimals, "supply": m.supply} for mint, m in self._bank.mints.items()},
            "balances": self.balances(),
            "events": [{"venue": venue, "event": name, "count": n} for (venue, name), n in sorted(self.events.items())],
            "transactions": dict(self.transactions),
        }

    def balances(self) -> dict[str, dict[str, int]]:
        """Return by mint and owner what the owner's token accounts hold, zeros left out."""
        found: dict[str, dict[str, int]] = {}
        for account in self._bank.tokens.values():
            if account.amount:
                owners = found.setdefault(text(account.mint), {})
                owner = text(account.owner)
                owners[owner] = owners.get(owner, 0) + account.amount
        return found


def money(quote_mint: bytes) -> bytes:
    """Return a quote mint as the ledger names it: SOL is always the wrapped mint."""
    return WSOL if quote_mint == ZERO else quote_mint


_SAID = frozenset(member.name for member in fields(Said))


def row(entry: Entry) -> dict[str, Any]:
    """Return an entry as the export has it: identity and members side by side."""
    members = (*fields(Said), *fields(entry)[1:])
    return _plain({m.name: getattr(entry.said if m.name in _SAID else entry, m.name) for m in members})


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _text(value) if isinstance(value, bytes) else value for name, value in row.items()}


def _text(value: bytes) -> str:
    return str(Signature(value)) if len(value) == 64 else text(value)

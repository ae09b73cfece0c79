"""What a decoder module declares about its program: rules that turn its events and instructions into facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from decoders.core.base58 import encode
from decoders.core.errors import AmountError
from decoders.core.layout import Layout
from decoders.core.types import I64_MAX, WSOL, ZERO_KEY, Invoke, Need, Other, PoolInfo, TxNotice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from decoders.core.layout import Idl
    from decoders.core.types import Fact, NeedReason, Record

    Say = Callable[["Site", Record], Iterable[Fact | Need]]
    ReadAccount = Callable[[str, Record], PoolInfo | None]
    ReadBytes = Callable[[str, bytes], PoolInfo | None]

SOL_DECIMALS = 9
# Mints that are money on every venue, with their decimals: a pool whose base is one of them, and whose quote is none,
# stands flipped.
MONEY = {
    WSOL: SOL_DECIMALS,
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v": 6,  # USDC
    "USD1ttGY1N17NEEHLmELoaybftRBUSErhqYiQzvEmuB": 6,  # USD1
}


class Site(msgspec.Struct, frozen=True, gc=False):
    """Where something was said: the notice, the speaking program's place in it, and what is known of pools."""

    notice: TxNotice
    program: str
    venue: str
    event: str
    nth: int
    position: int
    emitter: Invoke | None
    pools: Mapping[str, PoolInfo]
    instructions: Mapping[bytes, Layout]

    def account(self, *names: str) -> str | None:
        """Return the emitting instruction's account of the first of these IDL names that it has; None if unknown."""
        if self.emitter is None:
            return None
        layout = self.instructions.get(self.emitter.data[:8])
        if layout is None:
            return None
        for name in names:
            at = layout.account_index.get(name)
            if at is not None and at < len(self.emitter.accounts):
                return self.emitter.accounts[at]
        return None

    def decimals(self, mint: str | None) -> int | None:
        """Return a mint's decimals: those of money, or as the balances of a whole copy tell them; None if unknown."""
        if mint is None or mint in MONEY:
            return MONEY.get(mint or "")
        return next((balance.decimals for balance in self.notice.token_balances if balance.mint == mint), None)

    def need(self, reason: NeedReason, pool: str | None = None) -> Need:
        """Return the wish for a whole copy of this transaction (or for that pool alone)."""
        return Need(self.notice.signature, self.notice.slot, reason, self.venue, pool)


class EventRule(msgspec.Struct, frozen=True):
    """
    How one event becomes facts.

    `oldest` is the last field of the oldest layout known: a record that ends before it is a fault.
    """

    layout: Layout
    say: Say
    oldest: int


class Pad(msgspec.Struct, frozen=True):
    """
    One program, ready to decode.

    `signatures_only`: its log lines do not carry what a fact needs, so that each of its transactions is wanted whole.
    `lines_only`: no self-CPI calls carry its events. `ray_log`: it speaks by `ray_log:` lines. Rules are keyed by
    discriminator, of which an event's has `head_bytes`; `sized_accounts` are told by their size.
    """

    name: str
    program: str
    platform: str | None
    events: dict[bytes, EventRule]
    instructions: dict[bytes, Layout]
    instruction_rules: dict[bytes, tuple[str, Say]]
    accounts: dict[bytes, tuple[Layout, ReadAccount]]
    sized_accounts: dict[int, ReadBytes] = {}
    signatures_only: bool = False
    ray_log: bool = False
    lines_only: bool = False
    head_bytes: int = 8


def build(  # noqa: PLR0913 - a table of rules, all but two by keyword
    name: str,
    idl: Idl,
    *,
    platform: str | None,
    events: dict[str, tuple[str, Say]],
    instructions: dict[str, Say] | None = None,
    accounts: dict[str, ReadAccount] | None = None,
    sized_accounts: dict[int, ReadBytes] | None = None,
    signatures_only: bool = False,
    ray_log: bool = False,
    lines_only: bool = False,
) -> Pad:
    """
    Join a program's IDL with the rules of its decoder.

    Args:
        events: Per event of interest the last field of its oldest layout, and its rule. Any other event is an `Other`.

    Raises:
        IdlError: If the IDL lacks an event, field, instruction or account that a rule names.
    """

    def other(site: Site, record: Record) -> Iterator[Other]:
        yield Other(**facts_common(site, record, None), platform=platform)

    rules = {layout.discriminator: EventRule(layout, other, 0) for layout in idl.events.values()}
    for event, (oldest, say) in events.items():
        layout = idl.events[event]
        layout.require(oldest)
        rules[layout.discriminator] = EventRule(layout, say, layout.index[oldest])
    return Pad(
        name=name,
        program=idl.address,
        platform=platform,
        events=rules,
        instructions={layout.discriminator: layout for layout in idl.instructions.values()},
        instruction_rules={
            idl.instructions[instruction].discriminator: (instruction, say)
            for instruction, say in (instructions or {}).items()
        },
        accounts={
            idl.accounts[account].discriminator: (idl.accounts[account], read)
            for account, read in (accounts or {}).items()
        },
        sized_accounts=sized_accounts or {},
        signatures_only=signatures_only,
        ray_log=ray_log,
        lines_only=lines_only,
        head_bytes=1 if ray_log else 8,
    )


def new_creators(
    idl: Idl, platform: str | None, mint: str, pool: str, fields: dict[str, str]
) -> dict[str, tuple[str, Say]]:
    """
    Return rules for those of some events that the IDL has: each tells who earns a token's creator fee from then on.

    Args:
        mint: Name of the events' field with the token.
        pool: Name of the one with its curve or pool.
        fields: By event the name of the one with the new creator.
    """
    return {
        event: (field, _new_creator(idl.events[event], platform, (mint, pool, field)))
        for event, field in fields.items()
        if event in idl.events
    }


def _new_creator(layout: Layout, platform: str | None, fields: tuple[str, str, str]) -> Say:
    pick = layout.pick("timestamp", *fields)

    def say(site: Site, record: Record) -> Iterator[Other]:
        time, mint, pool, creator = pick(record.values)
        yield Other(
            **facts_common(site, record, time),
            platform=platform,
            mint=encode(mint),
            pool=encode(pool),
            creator=encode(creator),
        )

    return say


def quote_of(mint: bytes | None) -> str:
    """Return the quote mint of an event's field: SOL, in whatever way it is said, is the wrapped mint."""
    if mint is None or mint == bytes(32):
        return WSOL
    return encode(mint)


def stands_flipped(base_mint: str, quote_mint: str) -> bool:
    """Return whether the launched token is a pool's quote mint: money stands as its base, and none as its quote."""
    return base_mint in MONEY and quote_mint not in MONEY


def check_amounts(*amounts: int | None) -> None:
    """
    Refuse what no amount can be, and what a BIGINT cannot hold.

    Raises:
        AmountError: If an amount is negative or beyond 2^63-1.
    """
    for amount in amounts:
        if amount is not None and not 0 <= amount <= I64_MAX:
            raise AmountError(f"amount {amount} is {'beyond 2^63-1' if amount > 0 else 'negative'}")


def mark(base: int, quote: int) -> tuple[int | None, int | None]:
    """
    Return effective reserves as a pair that fits BIGINTs: (None, None) where they give no price.

    Pairs beyond 2^63-1 are halved together until they fit, which moves their quotient by less than 2^-61.
    """
    if 0 < base <= I64_MAX and 0 <= quote <= I64_MAX:
        return base, quote
    if base <= 0 or quote < 0:
        return None, None
    over = max(base.bit_length(), quote.bit_length()) - 63
    base, quote = base >> over, quote >> over
    return (base, quote) if base else (None, None)


def facts_common(site: Site, record: Record | None, timestamp: int | None) -> dict[str, Any]:
    """
    Return the members that every fact has, for `Trade(**common, ...)`.

    Time is the `timestamp` given, else the event's own field of that name, else that of the block.
    """
    notice = site.notice
    if timestamp is None and record is not None:
        at = record.layout.index.get("timestamp")
        timestamp = None if at is None else record.values[at]
    return {
        "program": site.program,
        "venue": site.venue,
        "event": site.event,
        "nth": site.nth,
        "signature": notice.signature,
        "slot": notice.slot,
        "block_time": notice.block_time if timestamp is None else timestamp,
        "index": notice.index,
        "arrival": notice.arrival,
        "position": site.position,
        "record": record,
        "final": notice.final,
    }


__all__ = [
    "MONEY", "SOL_DECIMALS", "ZERO_KEY", "EventRule", "Pad", "Site", "build", "check_amounts", "facts_common", "mark",
    "new_creators", "quote_of", "stands_flipped",
]  # fmt: skip

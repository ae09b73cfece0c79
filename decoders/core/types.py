"""
The data that flows: notices of transactions in, facts about launchpads out.

Amounts are `int` base units, addresses and signatures base58 `str`, times Unix seconds, None means "not known".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

# gc=False below: none of these can take part in a reference cycle, and the collector need not walk millions of them.

if TYPE_CHECKING:
    from collections.abc import Mapping

WSOL = "So11111111111111111111111111111111111111112"
ZERO_KEY = "11111111111111111111111111111111"
I64_MAX = (1 << 63) - 1

Side = Literal["buy", "sell"]
NeedReason = Literal["truncated", "accounts", "pool", "time"]


class Invoke(msgspec.Struct, frozen=True, gc=False):
    """
    One executed instruction of a followed program (self-CPI event calls included).

    `position` counts every instruction of the transaction in execution order from 0, `depth` is 1 for an outer one.
    """

    position: int
    depth: int
    program: str
    accounts: tuple[str, ...]
    data: bytes


class TokenBalance(msgspec.Struct, frozen=True, gc=False):
    """Balance of one token account before and after a transaction, in base units (None: account absent)."""

    account: str
    mint: str
    owner: str | None
    before: int | None
    after: int | None
    decimals: int


class TxNotice(msgspec.Struct, frozen=True, gc=False):
    """
    One transaction as a source heard of it.

    `logs` None: the source carries no log lines. `invokes` None: it carries no instructions (a log notification), which
    is different from (): a transaction in which no followed program ran. `index` is the place in the block, `arrival`
    (where that is not known) the place among the notices of its slot as they arrived, from 1. `program` is set where a
    subscription of one program told it: then only what that program says counts, for the order of such a subscription
    holds for its program alone. `final`: it was read from the finalized chain.
    """

    signature: str
    slot: int
    failed: bool
    logs: list[str] | None = None
    invokes: tuple[Invoke, ...] | None = None
    index: int | None = None
    block_time: int | None = None
    token_balances: tuple[TokenBalance, ...] = ()
    feed: str = ""
    arrival: int | None = None
    program: str | None = None
    final: bool = False


class Record(msgspec.Struct, frozen=True, gc=False):
    """
    Values of one event in IDL order (pubkeys as raw bytes, None where the data ended), and the bytes after them.

    `payload` are the event's whole bytes (discriminator first) where there is a tail: newer layouts may read it.
    """

    layout: Any  # decoders.core.layout.Layout; Any because layout imports this module
    values: tuple[Any, ...]
    tail: bytes = b""
    payload: bytes = b""


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    What every fact has. Identity: (block_time, signature, program, event, nth, kind).

    `venue` is the decoder's name, `event` the IDL event (or the instruction where there is none), `nth` counts that
    name of that program in the transaction from 0 in execution order. `index`/`position` order facts inside a slot:
    place of the transaction in its block (None: not known, `arrival` is all there is) and of the emitting instruction
    in its transaction. `final`: the finalized chain says so, whatever was heard or stored before.
    """

    kind: ClassVar[str] = ""
    program: str
    venue: str
    event: str
    nth: int
    signature: str
    slot: int
    block_time: int | None
    index: int | None
    position: int
    arrival: int | None = None
    record: Record | None = None
    platform: str | None = None
    final: bool = False


class Launch(Fact, frozen=True, kw_only=True, gc=False):
    """A token and its curve were created. `for_sale`: base units the curve will sell; `raise_target` in quote units."""

    kind: ClassVar[str] = "launch"
    mint: str | None
    pool: str
    creator: str
    payer: str | None
    name: str
    symbol: str
    uri: str
    decimals: int
    supply: int | None
    quote_mint: str | None
    token_program: str | None = None
    platform_config: str | None = None
    curve_kind: Literal["constant", "fixed", "linear"] = "constant"
    for_sale: int | None = None
    raise_target: int | None = None
    mark_base: int | None = None
    mark_quote: int | None = None
    is_mayhem: bool | None = None
    is_cashback: bool | None = None
    is_holder_reward: bool | None = None
    creator_fee_bps: int | None = None
    depth: int | None = None
    migrate_to: str | None = None
    quote_decimals: int | None = None


class Trade(Fact, frozen=True, kw_only=True, gc=False):
    """
    Tokens changed hands against a curve or pool.

    `base_amount`/`quote_amount` are what entered or left the reserves, all fees excluded; `user_quote_amount` is what
    the trader paid or got. Executed price = quote_amount / base_amount; mark price = mark_quote / mark_base (effective
    reserves after the trade, virtual ones included). Of a curve's `curve_total` base units `curve_sold` have been sold.
    Fees are in the pool's quote mint. `flipped`: the launched token is the pool's own quote mint. `decimals` and
    `quote_decimals` are None where neither a rule of the venue nor the balances of this copy tell them. `supply` is
    that of the token, where the event says it.
    """

    kind: ClassVar[str] = "trade"
    mint: str | None
    pool: str
    trader: str | None
    side: Side
    base_amount: int
    quote_amount: int
    user_quote_amount: int
    quote_mint: str | None
    mark_base: int | None
    mark_quote: int | None
    real_base: int | None = None
    real_quote: int | None = None
    curve_sold: int | None = None
    curve_total: int | None = None
    protocol_fee: int | None = None
    creator_fee: int | None = None
    lp_fee: int | None = None
    platform_fee: int | None = None
    share_fee: int | None = None
    cashback: int | None = None
    platform_config: str | None = None
    organic: bool = True
    synthetic: bool = False
    flipped: bool = False
    canonical: bool | None = None
    decimals: int | None = None
    quote_decimals: int | None = None
    supply: int | None = None


class CurveComplete(Fact, frozen=True, kw_only=True, gc=False):
    """The curve sold its last token and waits for its graduation."""

    kind: ClassVar[str] = "curve_complete"
    mint: str | None
    pool: str
    trader: str | None
    quote_mint: str | None
    platform_config: str | None = None


class Graduation(Fact, frozen=True, kw_only=True, gc=False):
    """A completed curve (`pool`) moved its liquidity to `to_pool` on `to_venue`. Amounts are the new pool's seed."""

    kind: ClassVar[str] = "graduation"
    mint: str
    pool: str
    to_pool: str
    to_venue: str
    quote_mint: str
    base_amount: int | None = None
    quote_amount: int | None = None
    decimals: int | None = None
    quote_decimals: int | None = None
    payer: str | None = None
    platform_config: str | None = None


class PoolCreated(Fact, frozen=True, kw_only=True, gc=False):
    """A pool was opened. `mint` is the non-quote side; `flipped`: it stands as the pool's own quote mint."""

    kind: ClassVar[str] = "pool_created"
    mint: str
    pool: str
    quote_mint: str
    creator: str | None
    base_amount: int | None = None
    quote_amount: int | None = None
    decimals: int | None = None
    quote_decimals: int | None = None
    flipped: bool = False
    canonical: bool = False


class Other(Fact, frozen=True, kw_only=True, gc=False):
    """Any other event of a followed program. Members that are set change the token or pool they name."""

    kind: ClassVar[str] = "other"
    mint: str | None = None
    pool: str | None = None
    quote_mint: str | None = None
    creator: str | None = None
    mark_base: int | None = None
    mark_quote: int | None = None
    real_base: int | None = None
    real_quote: int | None = None
    virtual_quote: int | None = None
    supply: int | None = None


class Fault(Fact, frozen=True, kw_only=True, gc=False):
    """
    A followed program said something that could not be read or must not be stored; `payload` are its whole bytes.

    `mint` is the token whose amounts no BIGINT holds; None: they are not why, or it is not known.
    """

    kind: ClassVar[str] = "fault"
    reason: str
    payload: bytes
    mint: str | None = None


class Need(msgspec.Struct, frozen=True, gc=False):
    """
    A transaction holds events that this copy cannot tell completely; a whole copy is wanted.

    `pool` is set when knowing that pool (its mints) would do.
    """

    signature: str
    slot: int
    reason: NeedReason
    venue: str
    pool: str | None = None


class PoolInfo(msgspec.Struct, frozen=True, gc=False):
    """What is known of a pool or curve: its launched token (`mint`), the quote, and whether the two stand flipped."""

    address: str
    venue: str
    mint: str
    quote_mint: str
    platform: str | None = None
    flipped: bool = False
    canonical: bool = False
    platform_config: str | None = None


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """
    Everything one notice says.

    `facts` are complete and in execution order; `partial` ones lack a member (mint, trader, quote mint or time is None)
    that this copy does not carry: `needs` says what would tell it, and they must not be stored. `foreign` counts
    `Program data:` lines of programs that are not followed.
    """

    facts: list[Fact] = []
    partial: list[Fact] = []
    needs: list[Need] = []
    foreign: int = 0


if TYPE_CHECKING:
    Pools = Mapping[str, PoolInfo]

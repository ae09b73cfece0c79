"""Trades in PumpSwap pools: two versions of instructions, and the boost that buys and burns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator import curves, keys
from simulator.calls import WRITABLE
from simulator.ledger import Trade
from simulator.venues import pumpfun
from simulator.venues.fees import fee_call
from simulator.venues.pumpswap import VENUE

if TYPE_CHECKING:
    from simulator.calls import Call
    from simulator.draft import Draft, Parts
    from simulator.venues.pumpswap import Pool


@dataclass(frozen=True, slots=True)
class _Amounts:
    """What a trade moves, before it is applied. `net` is quote without fees on buys, the gross output on sells."""

    base: int
    net: int
    rates: curves.FeeRates
    lp: int
    protocol: int
    back: int

    @property
    def buyback(self) -> int:
        """Return the part of the protocol fee that buys back."""
        return self.protocol * pumpfun.BUYBACK_BPS // curves.BPS

    @property
    def total(self) -> int:
        """Return all fees."""
        return self.lp + self.protocol + self.back


def rates_of(pool: Pool, supply: int) -> curves.FeeRates:
    """Return (lp, protocol, creator) bps by market cap before the trade."""
    return curves.pool_fees(pool.effective * supply // pool.base, stable=pool.quote == keys.USDC)


def _amounts(base: int, net: int, rates: curves.FeeRates) -> _Amounts:
    lp, protocol, back = (curves.ceil_bps(net, rate) for rate in rates)
    return _Amounts(base, net, rates, lp, protocol, back)


def buy(draft: Draft, parts: Parts, pool: Pool, user: bytes, spend: int, *, v2: bool, exact_in: bool) -> int:
    """Buy for `spend` of quote, fees included. Return the tokens."""
    rates = rates_of(pool, draft.world.bank.mints[pool.mint].supply)
    net = curves.net_of(spend, rates)
    base = curves.tokens_for(net, pool.effective, pool.base)
    if not exact_in:
        net = curves.amm_quote_for(base, pool.effective, pool.base)
    amounts = _amounts(base, net, rates)
    gross = net + amounts.total
    ix_name = ("buy_exact_quote_in" if exact_in else "buy") + ("_v2" if v2 else "")
    args = (
        {"spendable_quote_in": spend, "min_base_amount_out": 0}
        if exact_in
        else {"base_amount_out": base, "max_quote_amount_in": gross * 101 // 100}
    )
    call = _trade_call(draft, parts, pool, user, ix_name, args, amounts)
    before = _Before.of(draft, pool, user)
    draft.save(pool)
    _move(draft, call.parts, pool, user, amounts, v2=v2, is_buy=True)
    said = draft.emit(call, draft.world.pumpswap, VENUE, "BuyEvent", {
        **_common(draft, pool, user, amounts, before, v2=v2), "base_amount_out": base,
        "max_quote_amount_in": spend if exact_in else gross * 101 // 100,
        "quote_amount_in": gross if exact_in else net, "quote_amount_in_with_lp_fee": net + amounts.lp,
        "user_quote_amount_in": net if exact_in else gross, "ix_name": ix_name,
    })  # fmt: skip
    _record(draft, pool, user, amounts, said, "buy")
    return base


def sell(draft: Draft, parts: Parts, pool: Pool, user: bytes, tokens: int, *, v2: bool) -> int:
    """Sell tokens. Return what the trader gets."""
    rates = rates_of(pool, draft.world.bank.mints[pool.mint].supply)
    amounts = _amounts(tokens, curves.quote_from(tokens, pool.effective, pool.base), rates)
    args = {"base_amount_in": tokens, "min_quote_amount_out": 0}
    call = _trade_call(draft, parts, pool, user, "sell_v2" if v2 else "sell", args, amounts)
    before = _Before.of(draft, pool, user)
    draft.save(pool)
    _move(draft, call.parts, pool, user, amounts, v2=v2, is_buy=False)
    said = draft.emit(call, draft.world.pumpswap, VENUE, "SellEvent", {
        **_common(draft, pool, user, amounts, before, v2=v2), "base_amount_in": tokens,
        "quote_amount_out": amounts.net, "quote_amount_out_without_lp_fee": amounts.net - amounts.lp,
        "user_quote_amount_out": amounts.net - amounts.total,
    })  # fmt: skip
    _record(draft, pool, user, amounts, said, "sell")
    return amounts.net - amounts.total


@dataclass(frozen=True, slots=True)
class _Before:
    """Reserves as a trade found them: events tell these."""

    base: int
    quote: int
    virtual: int
    user_base: int
    user_quote: int

    @staticmethod
    def of(draft: Draft, pool: Pool, user: bytes) -> _Before:
        """Read them."""
        bank, world = draft.world.bank, draft.world
        return _Before(
            pool.base, pool.quote_amount, pool.virtual_quote, bank.amount(world.ata(user, pool.mint)),
            bank.amount(world.ata(user, pool.quote)),
        )  # fmt: skip


def _common(draft: Draft, pool: Pool, user: bytes, amounts: _Amounts, before: _Before, *, v2: bool) -> dict[str, Any]:
    """Return the members that BuyEvent and SellEvent share."""
    world = draft.world
    recipient = keys.ZERO if v2 else world.fees.protocol
    creator_bps = amounts.rates[2]
    return {
        "timestamp": draft.now, "user_base_token_reserves": before.user_base,
        "user_quote_token_reserves": before.user_quote, "pool_base_token_reserves": before.base,
        "pool_quote_token_reserves": before.quote, "lp_fee_basis_points": amounts.rates[0], "lp_fee": amounts.lp,
        "protocol_fee_basis_points": amounts.rates[1], "protocol_fee": amounts.protocol, "pool": pool.address,
        "user": user, "user_base_token_account": world.ata(user, pool.mint),
        "user_quote_token_account": world.ata(user, pool.quote), "protocol_fee_recipient": recipient,
        "protocol_fee_recipient_token_account": keys.ZERO if v2 else world.ata(recipient, pool.quote),
        "coin_creator": pool.coin_creator, "coin_creator_fee_basis_points": 0 if pool.cashback else creator_bps,
        "coin_creator_fee": 0 if pool.cashback else amounts.back,
        "cashback_fee_basis_points": creator_bps if pool.cashback else 0,
        "cashback": amounts.back if pool.cashback else 0, "buyback_fee_basis_points": pumpfun.BUYBACK_BPS,
        "buyback_fee": amounts.buyback, "virtual_quote_reserves": before.virtual, "can_boost": pool.boost_left > 0,
        "base_supply": world.bank.mints[pool.mint].supply,
        "holder_rewards_bps": creator_bps if pool.holder_reward else 0,
        "holder_rewards": amounts.back if pool.holder_reward and not pool.cashback else 0,
        "creator_fee_unclaimed": pool.unclaimed_creator,
    }  # fmt: skip


def _trade_call(
    draft: Draft, parts: Parts, pool: Pool, user: bytes, name: str, args: dict[str, Any], amounts: _Amounts
) -> Call:
    """Return the trade's instruction; the first version asks the fee program for its rates."""
    world = draft.world
    pda, program = world.pda, world.pumpswap
    volume = pda(program.key, b"user_volume_accumulator", user)
    creator_vault = pda(program.key, b"creator_vault", pool.coin_creator)
    accounts = {
        "pool": pool.address, "user": user, "base_mint": pool.mint, "quote_mint": pool.quote,
        "user_base_token_account": world.ata(user, pool.mint),
        "user_quote_token_account": world.ata(user, pool.quote), "pool_base_token_account": pool.base_vault,
        "pool_quote_token_account": pool.quote_vault, "protocol_fee_recipient": world.fees.protocol,
        "protocol_fee_recipient_token_account": world.ata(world.fees.protocol, pool.quote),
        "base_token_program": world.token_program(pool.mint), "quote_token_program": keys.TOKEN,
        "coin_creator_vault_ata": world.ata(creator_vault, pool.quote),
        "coin_creator_vault_authority": creator_vault, "user_volume_accumulator": volume,
        "buyback_fee_recipient": world.fees.buyback,
    }  # fmt: skip
    rest: list[tuple[bytes, int]] = []
    if not name.endswith("_v2"):
        rest = [
            (pda(program.key, b"pool-v2", pool.mint), 0),
            (world.fees.buyback, 0),
            (world.ata(world.fees.buyback, pool.quote), WRITABLE),
        ]
        if pool.cashback:
            rest.insert(0, (world.ata(volume, pool.quote), WRITABLE))
    call = program.call(name, accounts, args, rest)
    parts.append(call)
    if not name.endswith("_v2"):
        call.parts.append(fee_call(program.key, *amounts.rates))
    return call


def _move(draft: Draft, parts: Parts, pool: Pool, user: bytes, amounts: _Amounts, *, v2: bool, is_buy: bool) -> None:
    """Move base and quote; v2 keeps protocol and creator fees in the vault, and takes them off the virtual quote."""
    world = draft.world
    user_base, user_quote = world.ata(user, pool.mint), world.ata(user, pool.quote)
    kept_protocol = amounts.protocol - amounts.buyback if v2 else 0
    kept_back = amounts.back if v2 and not pool.cashback else 0
    kept = kept_protocol + kept_back
    if is_buy:
        draft.move(parts, pool.base_vault, user_base, pool.address, amounts.base)
        draft.move(parts, user_quote, pool.quote_vault, user, amounts.net + amounts.lp + kept)
        pool.base -= amounts.base
        pool.quote_amount += amounts.net + amounts.lp + kept
        source, authority = user_quote, user
    else:
        draft.move(parts, user_base, pool.base_vault, user, amounts.base)
        draft.move(parts, pool.quote_vault, user_quote, pool.address, amounts.net - amounts.total)
        pool.base += amounts.base
        pool.quote_amount -= amounts.net - amounts.lp - kept
        source, authority = pool.quote_vault, pool.address
    pool.virtual_quote -= kept
    pool.swept = 0
    pool.unclaimed_protocol += kept_protocol
    pool.unclaimed_creator += kept_back
    back_to = (
        world.pda(world.pumpswap.key, b"user_volume_accumulator", user)
        if pool.cashback
        else world.pda(world.pumpswap.key, b"creator_vault", pool.coin_creator)
    )
    for owner, amount in (
        (world.fees.protocol, amounts.protocol - amounts.buyback - kept_protocol),
        (back_to, amounts.back - kept_back),
        (world.fees.buyback, amounts.buyback),
    ):
        if amount:
            draft.move(parts, source, draft.account(parts, owner, pool.quote), authority, amount)


def _record(draft: Draft, pool: Pool, user: bytes, amounts: _Amounts, said: Any, side: str) -> None:
    creator_fee, cashback = (0, amounts.back) if pool.cashback else (amounts.back, 0)
    pool.fees = pumpfun.added(
        pool.fees, lp=amounts.lp, protocol=amounts.protocol, creator=creator_fee, cashback=cashback
    )
    draft.record(Trade(
        said=said, mint=pool.mint, pool=pool.address, quote_mint=pool.quote, trader=user, side=side,
        base_amount=amounts.base, quote_amount=amounts.net,
        user_quote_amount=amounts.net + (amounts.total if side == "buy" else -amounts.total), mark_base=pool.base,
        mark_quote=pool.effective, protocol_fee=amounts.protocol, buyback_fee=amounts.buyback,
        creator_fee=creator_fee, lp_fee=amounts.lp, cashback=cashback,
    ))  # fmt: skip


def boost_burn(draft: Draft, parts: Parts, pool: Pool, authority: bytes, spend: int) -> None:
    """Spend a slice of the boost vault on tokens and burn them: a BuyEvent without fees, then BoostBuyAndBurnEvent."""
    world = draft.world
    vault = world.ata(pool.boost_authority, pool.quote)
    base = curves.tokens_for(spend, pool.effective, pool.base)
    call = world.pumpswap.call(
        "boost_buy_and_burn",
        {
            "pool": pool.address, "authority": authority, "base_mint": pool.mint, "quote_mint": pool.quote,
            "pool_base_token_account": pool.base_vault, "pool_quote_token_account": pool.quote_vault,
            "boost_vault_authority": pool.boost_authority, "boost_vault": vault,
            "base_token_program": world.token_program(pool.mint), "quote_token_program": keys.TOKEN,
        },
        {"quote_amount_in": spend, "min_base_amount_burned": 0},
    )  # fmt: skip
    parts.append(call)
    before = _Before.of(draft, pool, pool.boost_authority)
    supply = world.bank.mints[pool.mint].supply
    amounts = _Amounts(base, spend, (0, 0, 0), 0, 0, 0)
    draft.save(pool)
    draft.move(call.parts, vault, pool.quote_vault, pool.boost_authority, spend)
    draft.burn(call.parts, pool.base_vault, pool.address, base)
    pool.base -= base
    pool.quote_amount += spend
    pool.swept = 0
    pool.boost_left -= spend
    said = draft.emit(call, world.pumpswap, VENUE, "BuyEvent", {
        **_common(draft, pool, pool.boost_authority, amounts, before, v2=True), "base_amount_out": base,
        "max_quote_amount_in": spend, "user_base_token_account": keys.ZERO, "user_quote_token_account": vault,
        "quote_amount_in": spend, "quote_amount_in_with_lp_fee": spend, "user_quote_amount_in": spend,
        "buyback_fee_basis_points": 0, "ix_name": "buy_exact_quote_in", "can_boost": True, "base_supply": supply,
    })  # fmt: skip
    draft.emit(call, world.pumpswap, VENUE, "BoostBuyAndBurnEvent", {
        "timestamp": draft.now, "mint": pool.mint,
        "bonding_curve": world.pda(world.pumpfun.key, b"bonding-curve", pool.mint),
        "pool": pool.address, "authority": authority, "quote_amount_in_requested": spend,
        "quote_amount_in_used": spend, "base_amount_burned": base, "virtual_quote_reserves": pool.virtual_quote,
        "real_quote_reserves_after": pool.quote_amount, "base_reserves_after": pool.base,
        "boost_vault_remaining": pool.boost_left,
    })  # fmt: skip
    draft.record(Trade(
        said=said, mint=pool.mint, pool=pool.address, quote_mint=pool.quote, trader=pool.boost_authority, side="buy",
        base_amount=base, quote_amount=spend, user_quote_amount=spend, mark_base=pool.base,
        mark_quote=pool.effective, organic=False,
    ))  # fmt: skip

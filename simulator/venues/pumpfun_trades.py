"""Trades on pump.fun curves: three versions of instructions, the completing buy, and the sweep of kept fees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator import curves, keys
from simulator.calls import WRITABLE
from simulator.ledger import Completion, Trade, money
from simulator.venues.fees import fee_call
from simulator.venues.pumpfun import (
    BUYBACK_BPS,
    CREATOR_BPS,
    PROTOCOL_BPS,
    SEED,
    VENUE,
    added,
    migration_fee,
)

if TYPE_CHECKING:
    from simulator.calls import Call
    from simulator.draft import Draft, Parts
    from simulator.venues.pumpfun import Curve, Version


@dataclass(frozen=True, slots=True)
class _Amounts:
    """What a trade moves; `back` is the creator's share, which a cashback coin gives to the trader's accumulator."""

    tokens: int
    quote: int
    fee: int
    back: int
    buyback: int

    @property
    def on_top(self) -> int:
        """Return all fees."""
        return self.fee + self.back


def _amounts(tokens: int, quote: int) -> _Amounts:
    fee = curves.ceil_bps(quote, PROTOCOL_BPS)
    return _Amounts(tokens, quote, fee, curves.ceil_bps(quote, CREATOR_BPS), fee * BUYBACK_BPS // curves.BPS)


def tokens_of(curve: Curve, spend: int) -> tuple[int, int]:
    """Return tokens and net quote for `spend` (fees included), cut at what the curve still sells."""
    net = curves.net_of(spend, (PROTOCOL_BPS, CREATOR_BPS))
    tokens = curves.tokens_for(net, curve.virtual_quote, curve.virtual_tokens)
    if tokens < curve.real_tokens:
        return tokens, net
    rest = curve.real_tokens
    return rest, curves.quote_for(rest, curve.virtual_quote, curve.virtual_tokens)


def buy(draft: Draft, parts: Parts, curve: Curve, user: bytes, spend: int, *, version: Version, exact_in: bool) -> int:
    """Buy for `spend` of quote (fees included), and complete the curve with its last token. Return the tokens."""
    tokens, net = tokens_of(curve, spend)
    if not exact_in:
        net = curves.quote_for(tokens, curve.virtual_quote, curve.virtual_tokens)
    amounts = _amounts(tokens, net)
    if exact_in:
        ix_name = "buy_exact_sol_in" if version == 1 else "buy_exact_quote_in"
        name = ix_name if version == 1 else f"buy_exact_quote_in_v{version}"
        args = {("spendable_sol_in" if version == 1 else "spendable_quote_in"): spend, "min_tokens_out": 0}
    else:
        ix_name, name = "buy", "buy" if version == 1 else f"buy_v{version}"
        args = {"amount": tokens, "max_sol_cost": (net + amounts.on_top) * 101 // 100}
    call = _call(draft, parts, curve, user, name, args, version)
    draft.save(curve)
    draft.move(call.parts, curve.vault, draft.world.ata(user, curve.mint), curve.address, tokens)
    curve.virtual_tokens -= tokens
    curve.real_tokens -= tokens
    curve.virtual_quote += net
    curve.real_quote += net
    _settle(draft, call.parts, curve, user, amounts, version, is_buy=True)
    _say(draft, call, curve, user, amounts, ix_name, version, is_buy=True)
    if curve.real_tokens == 0:
        _complete(draft, call, curve, user)
        left = spend - net - amounts.on_top
        if version == 3 and left > 1_000_000:
            _post_complete(draft, call, curve, user, left)
    return tokens


def sell(draft: Draft, parts: Parts, curve: Curve, user: bytes, tokens: int, *, version: Version) -> int:
    """Sell tokens. Return the quote that the curve gives, fees included."""
    amounts = _amounts(tokens, curves.quote_from(tokens, curve.virtual_quote, curve.virtual_tokens))
    args = {"amount": tokens, "min_sol_output": 0}
    call = _call(draft, parts, curve, user, "sell" if version == 1 else f"sell_v{version}", args, version)
    draft.save(curve)
    draft.move(call.parts, draft.world.ata(user, curve.mint), curve.vault, user, tokens)
    curve.virtual_tokens += tokens
    curve.real_tokens += tokens
    curve.virtual_quote -= amounts.quote
    curve.real_quote -= amounts.quote
    _settle(draft, call.parts, curve, user, amounts, version, is_buy=False)
    _say(draft, call, curve, user, amounts, "sell", version, is_buy=False)
    return amounts.quote


def _call(
    draft: Draft, parts: Parts, curve: Curve, user: bytes, name: str, args: dict[str, Any], version: Version
) -> Call:
    """Return the trade's instruction, its accounts by all the names that the versions use."""
    world = draft.world
    program, pda = world.pumpfun, world.pda
    quote = money(curve.quote)
    volume = pda(program.key, b"user_volume_accumulator", user)
    buyback, recipient = world.fees.buyback, world.fees.protocol
    vault = pda(program.key, b"creator-vault", curve.creator)
    accounts = {
        "fee_recipient": recipient, "mint": curve.mint, "base_mint": curve.mint, "quote_mint": quote,
        "bonding_curve": curve.address, "associated_bonding_curve": curve.vault,
        "associated_base_bonding_curve": curve.vault, "associated_user": world.ata(user, curve.mint),
        "associated_base_user": world.ata(user, curve.mint), "user": user, "creator_vault": vault,
        "user_volume_accumulator": volume, "buyback_fee_recipient": buyback,
        "token_program": world.token_program(curve.mint), "base_token_program": world.token_program(curve.mint),
        "quote_token_program": keys.TOKEN,
    }  # fmt: skip
    rest: list[tuple[bytes, int]] = []
    if version == 1:
        rest = [(pda(program.key, b"bonding-curve-v2", curve.mint), 0), (buyback, WRITABLE)]
        if curve.cashback:
            rest.insert(0, (volume, WRITABLE))
    else:
        accounts["associated_quote_bonding_curve"] = world.ata(curve.address, quote)
        accounts["associated_quote_user"] = world.ata(user, quote)
    if version == 2:
        accounts |= {
            "associated_quote_fee_recipient": world.ata(recipient, quote),
            "associated_quote_buyback_fee_recipient": world.ata(buyback, quote),
            "associated_creator_vault": world.ata(vault, quote),
            "associated_user_volume_accumulator": world.ata(volume, quote),
            "sharing_config": pda(keys.PUMP_FEES, b"sharing-config", curve.mint),
        }
    call = program.call(name, accounts, args, rest)
    parts.append(call)
    if version < 3:
        call.parts.append(fee_call(world.pumpfun.key, 0, PROTOCOL_BPS, CREATOR_BPS))
    return call


def _settle(
    draft: Draft, parts: Parts, curve: Curve, user: bytes, amounts: _Amounts, version: Version, *, is_buy: bool
) -> None:
    """Move the quote: buys pay the curve and each recipient, sells are paid by the curve; v3 keeps fees on it."""
    world = draft.world
    kept_fee, kept_back = 0, 0
    if version == 3:
        kept_fee, kept_back = amounts.fee - amounts.buyback, 0 if curve.cashback else amounts.back
        curve.unclaimed_protocol += kept_fee
        curve.unclaimed_creator += kept_back
    kept = kept_fee + kept_back
    back_to = (
        world.pda(world.pumpfun.key, b"user_volume_accumulator", user)
        if curve.cashback
        else world.pda(world.pumpfun.key, b"creator-vault", curve.creator)
    )
    if is_buy:
        _send(draft, parts, curve, user, curve.address, amounts.quote + kept)
    else:
        _send(draft, parts, curve, curve.address, user, amounts.quote - amounts.on_top)
    source = user if is_buy else curve.address
    _send(draft, parts, curve, source, world.fees.protocol, amounts.fee - amounts.buyback - kept_fee)
    _send(draft, parts, curve, source, back_to, amounts.back - kept_back)
    _send(draft, parts, curve, source, world.fees.buyback, amounts.buyback)


def _send(draft: Draft, parts: Parts, curve: Curve, source: bytes, target: bytes, amount: int) -> None:
    """Send quote from one owner to another."""
    if amount == 0:
        return
    if curve.is_sol:
        if source == curve.address:  # the program moves its own lamports, without a call
            draft.world.bank.pay(source, target, amount)
        else:
            draft.pay(parts, source, target, amount)
        return
    giver = draft.world.ata(source, curve.quote)
    draft.move(parts, giver, draft.account(parts, target, curve.quote), source, amount)


def _say(
    draft: Draft, call: Call, curve: Curve, user: bytes, amounts: _Amounts, ix_name: str, version: Version, *,
    is_buy: bool,
) -> None:  # fmt: skip
    """Emit TradeEvent, and record the trade."""
    sol = 1 if curve.is_sol else 0
    creator_fee, cashback = (0, amounts.back) if curve.cashback else (amounts.back, 0)
    said = draft.emit(call, draft.world.pumpfun, VENUE, "TradeEvent", {
        "mint": curve.mint, "sol_amount": amounts.quote * sol, "token_amount": amounts.tokens, "is_buy": is_buy,
        "user": user, "timestamp": draft.now, "virtual_sol_reserves": curve.virtual_quote * sol,
        "virtual_token_reserves": curve.virtual_tokens, "real_sol_reserves": curve.real_quote * sol,
        "real_token_reserves": curve.real_tokens,
        "fee_recipient": keys.ZERO if version == 3 else draft.world.fees.protocol,
        "fee_basis_points": PROTOCOL_BPS, "fee": amounts.fee, "creator": curve.creator,
        "creator_fee_basis_points": 0 if curve.cashback else CREATOR_BPS, "creator_fee": creator_fee,
        "ix_name": ix_name, "mayhem_mode": curve.mayhem,
        "cashback_fee_basis_points": CREATOR_BPS if curve.cashback else 0, "cashback": cashback,
        "buyback_fee_basis_points": BUYBACK_BPS, "buyback_fee": amounts.buyback, "quote_mint": curve.quote,
        "quote_amount": amounts.quote, "virtual_quote_reserves": curve.virtual_quote,
        "real_quote_reserves": curve.real_quote,
        "holder_rewards_bps": CREATOR_BPS if curve.holder_reward else 0,
        "holder_rewards": creator_fee if curve.holder_reward else 0, "creator_fee_unclaimed": curve.unclaimed_creator,
    })  # fmt: skip
    curve.fees = added(curve.fees, protocol=amounts.fee, creator=creator_fee, cashback=cashback)
    draft.record(Trade(
        said=said, mint=curve.mint, pool=curve.address, quote_mint=money(curve.quote), trader=user,
        side="buy" if is_buy else "sell", base_amount=amounts.tokens, quote_amount=amounts.quote,
        user_quote_amount=amounts.quote + (amounts.on_top if is_buy else -amounts.on_top),
        mark_base=curve.virtual_tokens, mark_quote=curve.virtual_quote, protocol_fee=amounts.fee,
        buyback_fee=amounts.buyback, creator_fee=creator_fee, cashback=cashback,
    ))  # fmt: skip


def _complete(draft: Draft, call: Call, curve: Curve, user: bytes) -> None:
    curve.complete = True
    said = draft.emit(call, draft.world.pumpfun, VENUE, "CompleteEvent", {
        "user": user, "mint": curve.mint, "bonding_curve": curve.address, "timestamp": draft.now,
        "quote_mint": curve.quote,
    })  # fmt: skip
    draft.record(Completion(said=said, mint=curve.mint, pool=curve.address, trader=user, quote_mint=money(curve.quote)))


def _post_complete(draft: Draft, call: Call, curve: Curve, user: bytes, spend: int) -> None:
    """Fill the rest of a completing v3 buy from the reserves that the pool will have."""
    base, quote = SEED, curve.real_quote - migration_fee(curve)
    net = curves.net_of(spend, (PROTOCOL_BPS, CREATOR_BPS))
    tokens = curves.tokens_for(net, quote, base)
    amounts = _amounts(tokens, net)
    draft.move(call.parts, curve.vault, draft.world.ata(user, curve.mint), curve.address, tokens)
    _settle(draft, call.parts, curve, user, amounts, 3, is_buy=True)
    curve.post_base_out, curve.post_quote_in = tokens, net
    said = draft.emit(call, draft.world.pumpfun, VENUE, "PostCompleteBuyEvent", {
        "user": user, "mint": curve.mint, "bonding_curve": curve.address, "quote_mint": curve.quote,
        "timestamp": draft.now, "base_out": tokens, "quote_in": net, "fee_basis_points": PROTOCOL_BPS,
        "fee": amounts.fee, "creator_fee_basis_points": 0 if curve.cashback else CREATOR_BPS,
        "creator_fee": 0 if curve.cashback else amounts.back, "buyback_fee": amounts.buyback,
        "pool_base_reserves_before": base, "pool_quote_reserves_before": quote,
        "pool_base_reserves_after": base - tokens, "pool_quote_reserves_after": quote + net,
    })  # fmt: skip
    creator_fee, cashback = (0, amounts.back) if curve.cashback else (amounts.back, 0)
    curve.fees = added(curve.fees, protocol=amounts.fee, creator=creator_fee, cashback=cashback)
    draft.record(Trade(
        said=said, mint=curve.mint, pool=curve.address, quote_mint=money(curve.quote), trader=user, side="buy",
        base_amount=tokens, quote_amount=net, user_quote_amount=net + amounts.on_top, mark_base=base - tokens,
        mark_quote=quote + net, protocol_fee=amounts.fee, buyback_fee=amounts.buyback, creator_fee=creator_fee,
        cashback=cashback, synthetic=True,
    ))  # fmt: skip


def sweep(draft: Draft, parts: Parts, curve: Curve, payer: bytes, *, creator: bool) -> None:
    """Pay out the kept fees of v3 trades: the creator's bucket, or the protocol's."""
    world = draft.world
    amount = curve.unclaimed_creator if creator else curve.unclaimed_protocol
    recipient = world.pda(world.pumpfun.key, b"creator-vault", curve.creator) if creator else world.fees.protocol
    quote = money(curve.quote)
    call = world.pumpfun.call(
        "sweep_creator_fee" if creator else "sweep_protocol_fee",
        {
            "payer": payer, "base_mint": curve.mint, "quote_mint": quote, "quote_token_program": keys.TOKEN,
            "bonding_curve": curve.address, "associated_quote_bonding_curve": world.ata(curve.address, quote),
            "recipient": recipient, "associated_quote_recipient": world.ata(recipient, quote),
        },
        {},
    )  # fmt: skip
    parts.append(call)
    draft.save(curve)
    _send(draft, call.parts, curve, curve.address, recipient, amount)
    if creator:
        curve.unclaimed_creator = 0
    else:
        curve.unclaimed_protocol = 0
    draft.emit(call, world.pumpfun, VENUE, "SweepBondingCurveFeeEvent", {
        "timestamp": draft.now, "mint": curve.mint, "bonding_curve": curve.address, "quote_mint": curve.quote,
        "recipient": recipient, "amount": amount, "bucket": 1 if creator else 0,
    })  # fmt: skip

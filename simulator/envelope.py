"""What surrounds a trade: fees, versions, failures, and transactions of other programs that only look alike."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from simulator import keys
from simulator.calls import SIGNER, WRITABLE, Call
from simulator.trading import pass_accounts
from simulator.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.draft import Draft
    from simulator.market import Market
    from simulator.transaction import Version

_FEE = 5_000
_CHATTER = "Program log: route leg {} of {}: quoted out {} min out {} slippage {} bps pool state fresh"
_SLIPPAGE = 0x1771


def finish(market: Market, draft: Draft, action: Callable[[Draft], str]) -> Transaction:
    """Carry out an action as one transaction, which may fail in the end."""
    rng, world = market.rng, market.world
    kind = action(draft)
    failed_at = None
    plain = kind in {"trade", "bundle"}
    if plain and rng.random() < market.mix.failed:
        failed_at, kind = _fail(market, draft), "failed"
    elif plain and rng.random() < market.mix.chatty and not _logs_alone(market, draft):
        _chatter(market, draft)
        kind = "chatty"
    version = _version(market)
    if version != 1:
        _budget(market, draft)
        failed_at = None if failed_at is None else failed_at + 2
    fee = _FEE + rng.randrange(20_000)
    error = None
    if failed_at is None:
        draft.commit()
    else:
        draft.abort()
        error = {"InstructionError": [failed_at, {"Custom": _SLIPPAGE}]}
    world.bank.pay(draft.payer, world.keys.key("validator"), fee)
    world.ledger.transactions[kind] += 1
    return Transaction(
        draft.signature, draft.slot, draft.index, draft.now, draft.payer, draft.calls, version, error, fee,
        world.bank.end(), kind,
    )  # fmt: skip


def _logs_alone(market: Market, draft: Draft) -> bool:
    """Return whether a program ran whose events are in the log alone: cut off there, they could not be had again."""
    return any(one.program == market.world.cpmm.key for call in draft.calls for one, _ in call.walk())


def _version(market: Market) -> Version:
    roll = market.rng.random()
    return "legacy" if roll < 0.35 else 0 if roll < 0.75 else 1


def _budget(market: Market, draft: Draft) -> None:
    """Ask for compute units, as versions before 1 do by instructions."""
    limit = b"\x02" + market.rng.randrange(100_000, 400_000).to_bytes(4, "little")
    price = b"\x03" + market.rng.randrange(1_000_000).to_bytes(8, "little")
    draft.calls[:0] = [Call(keys.COMPUTE_BUDGET, (), (), data, 150) for data in (limit, price)]


def _fail(market: Market, draft: Draft) -> int:
    """Have a last check fail, and return its place: everything is undone, but the log keeps what was said before."""
    world = market.world
    guard = Call(world.keys.key("guard"), (draft.payer,), (WRITABLE | SIGNER,), b"\x01" * 8, 3_000)
    guard.parts.append("Program log: Instruction: CheckSlippage")
    if market.rng.random() < 0.5:  # the check stands around the trade, and the trade's frame is inside a failing one
        guard.parts += draft.calls
        pass_accounts(guard, draft.payer)
        draft.calls[:] = []
    guard.parts.append("Program log: AnchorError occurred. Error Code: SlippageExceeded. Error Number: 6001.")
    guard.failure = f"custom program error: {_SLIPPAGE:#x}"
    draft.calls.append(guard)
    return len(draft.calls) - 1


def _chatter(market: Market, draft: Draft) -> None:
    """Put a talkative router around the calls, so that the log is cut before they speak."""
    router = Call(market.world.keys.key("chatty"), (), (), b"\x07" * 16, 30_000)
    router.parts.append("Program log: Instruction: RouteWithLegs")
    legs = market.rng.randrange(100, 140)
    router.parts += [_CHATTER.format(leg, legs, 10**9 + leg, 10**9 - leg, leg) for leg in range(legs)]
    router.parts += draft.calls
    pass_accounts(router, draft.payer)
    draft.calls[:] = [router]


def noise(market: Market, draft: Draft) -> str:
    """Do something that is not ours: another program's work, which may name our programs among its accounts."""
    rng, world = market.rng, market.world
    if rng.random() < 0.4:
        draft.pay(draft.calls, draft.payer, market.wallets.any(), rng.randrange(1_000, 50_000_000))
        return "noise"
    program = world.keys.key("other program", rng.randrange(12))
    ours = [pad.key for pad in (world.pumpfun, world.pumpswap, world.launchpad, world.cpmm)]
    accounts = [draft.payer, rng.choice(ours), world.keys.key("state", rng.randrange(50))]
    call = Call(program, accounts, (WRITABLE | SIGNER, 0, WRITABLE), rng.randbytes(24), 8_000)
    call.parts.append("Program log: Instruction: Update")
    if rng.random() < 0.5:
        call.parts.append("Program data: " + b64encode(rng.randbytes(64)).decode())
    draft.calls.append(call)
    return "noise"


def forged(market: Market, draft: Draft) -> str:
    """Print a pump.fun trade from another program, in the two ways that log text allows."""
    rng, world = market.rng, market.world
    listing = market.pick()
    event = world.pumpfun.event("TradeEvent", {
        "mint": listing.mint, "sol_amount": 77 * 10**9, "token_amount": 10**12, "is_buy": True, "user": draft.payer,
        "timestamp": draft.now, "virtual_sol_reserves": 10**12, "virtual_token_reserves": 10**12, "ix_name": "buy",
        "quote_amount": 77 * 10**9, "virtual_quote_reserves": 10**12,
    })  # fmt: skip
    line = "Program data: " + b64encode(event).decode()
    pump = keys.text(world.pumpfun.key)
    liar = Call(
        world.keys.key("liar"),
        (draft.payer, world.pumpfun.key, listing.mint),
        (WRITABLE | SIGNER, 0, 0),
        b"\0" * 8,
        5_000,
    )
    if rng.random() < 0.5:
        liar.parts.append(line)
    else:
        liar.parts += [f"Program log: Program {pump} invoke [2]", f"Program log: {line}", line]
        liar.parts.append(f"Program log: Program {pump} success")
    draft.calls.append(liar)
    return "forged"

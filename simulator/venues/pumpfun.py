"""pump.fun: tokens on a constant product curve, until the last one is sold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from simulator import keys
from simulator.bank import Mint
from simulator.calls import WRITABLE
from simulator.ledger import Launch, money

if TYPE_CHECKING:
    from simulator.draft import Draft, Parts
    from simulator.world import World

VENUE = "pumpfun"
DECIMALS = 6
SUPPLY = 10**15
FOR_SALE = 793_100_000_000_000
SEED = SUPPLY - FOR_SALE
VIRTUAL_TOKENS = 1_073_000_000_000_000
VIRTUAL_SOL = 30_000_000_000
VIRTUAL_USDC = 4_292_000_000
MIGRATION_FEE = 15_000_001
PROTOCOL_BPS, CREATOR_BPS, BUYBACK_BPS = 95, 30, 5_000

Version = Literal[1, 2, 3]
Flag = Literal["mayhem", "cashback", "holder_reward"]


@dataclass(slots=True)
class Curve:
    """A bonding curve as the program keeps it. `unclaimed_*` are the kept fees of v3 trades."""

    mint: bytes
    address: bytes
    vault: bytes
    quote_vault: bytes
    creator: bytes
    quote: bytes
    virtual_tokens: int
    virtual_quote: int
    mayhem: bool = False
    cashback: bool = False
    holder_reward: bool = False
    real_tokens: int = FOR_SALE
    real_quote: int = 0
    unclaimed_creator: int = 0
    unclaimed_protocol: int = 0
    complete: bool = False
    migrated: bool = False
    post_base_out: int = 0
    post_quote_in: int = 0
    fees: dict[str, int] = field(default_factory=dict)

    @property
    def is_sol(self) -> bool:
        """Whether the quote is native SOL."""
        return self.quote == keys.ZERO

    def row(self) -> dict[str, Any]:
        """Return its members for the ledger."""
        return {
            "venue": VENUE,
            "mint": self.mint,
            "quote_mint": money(self.quote),
            "real_base": self.real_tokens,
            "real_quote": self.real_quote,
            "mark_base": self.virtual_tokens,
            "mark_quote": self.virtual_quote,
            "complete": self.complete,
            "migrated": self.migrated,
            "creator": self.creator,
            "fees": self.fees,
        }


def new_curve(world: World, mint: bytes, creator: bytes, quote: bytes, flag: Flag | None) -> Curve:
    """Return the curve of a mint that is about to be created."""
    program = world.pumpfun.key
    address = keys.pda(program, b"bonding-curve", mint)
    if flag == "holder_reward":
        creator = keys.pda(program, b"holder-rewards", mint)
    vault = world.ata(address, mint)
    quote_vault = address if quote == keys.ZERO else world.ata(address, quote)
    start = VIRTUAL_SOL if quote == keys.ZERO else VIRTUAL_USDC
    return Curve(
        mint, address, vault, quote_vault, creator, quote, VIRTUAL_TOKENS, start,
        mayhem=flag == "mayhem", cashback=flag == "cashback", holder_reward=flag == "holder_reward",
    )  # fmt: skip


def create(draft: Draft, parts: Parts, curve: Curve, user: bytes, words: tuple[str, str, str], *, legacy: bool) -> None:
    """Create a token: `create` makes an SPL Token mint, `create_v2` one of Token-2022. `words`: name, symbol, uri."""
    world = draft.world
    program, bank = world.pumpfun, world.bank
    token_program = world.token_program(curve.mint)
    accounts = {
        "mint": curve.mint, "bonding_curve": curve.address, "associated_bonding_curve": curve.vault, "user": user,
        "token_program": token_program,
    }  # fmt: skip
    args: dict[str, Any] = {"name": words[0], "symbol": words[1], "uri": words[2], "creator": curve.creator}
    if legacy:
        accounts["metadata"] = keys.pda(keys.METADATA, b"metadata", keys.METADATA, curve.mint)
        call = program.call("create", accounts, args)
    else:
        accounts["mayhem_state"] = keys.pda(keys.MAYHEM, b"mayhem-state", curve.mint)
        accounts["mayhem_token_vault"] = world.ata(keys.pda(keys.MAYHEM, b"sol-vault"), curve.mint)
        args |= {
            "is_mayhem_mode": curve.mayhem, "is_cashback_enabled": (curve.cashback,),
            "is_holder_reward": (curve.holder_reward,),
        }  # fmt: skip
        rest = [] if curve.is_sol else [(curve.quote, 0), (curve.quote_vault, WRITABLE), (keys.TOKEN, 0)]
        call = program.call("create_v2", accounts, args, rest)
    parts.append(call)
    bank.pay(user, curve.address, 2_039_280)
    draft.open(call.parts, curve.vault, curve.address, curve.mint)
    authority = keys.pda(program.key, b"mint-authority")
    draft.mint_to(call.parts, curve.vault, authority, SUPPLY)
    if curve.mayhem:
        agent = keys.pda(keys.MAYHEM, b"sol-vault")
        draft.mint_to(call.parts, draft.account(call.parts, agent, curve.mint), authority, SUPPLY)
    if not curve.is_sol:
        draft.account(call.parts, curve.address, curve.quote)
    said = draft.emit(call, program, VENUE, "CreateEvent", {
        "name": words[0], "symbol": words[1], "uri": words[2], "mint": curve.mint, "bonding_curve": curve.address,
        "user": user, "creator": curve.creator, "timestamp": draft.now,
        "virtual_token_reserves": curve.virtual_tokens,
        "virtual_sol_reserves": curve.virtual_quote if curve.is_sol else 0, "real_token_reserves": curve.real_tokens,
        "token_total_supply": SUPPLY, "token_program": token_program, "is_mayhem_mode": curve.mayhem,
        "is_cashback_enabled": curve.cashback, "quote_mint": curve.quote,
        "virtual_quote_reserves": curve.virtual_quote, "is_holder_reward": curve.holder_reward,
    })  # fmt: skip
    draft.opened(curve)
    draft.record(Launch(
        said=said, platform=VENUE, mint=curve.mint, pool=curve.address, creator=curve.creator, payer=user,
        name=words[0], symbol=words[1], uri=words[2], decimals=DECIMALS, supply=bank.mints[curve.mint].supply,
        quote_mint=money(curve.quote), token_program=token_program, curve_kind="constant", for_sale=FOR_SALE,
        raise_target=None, is_mayhem=curve.mayhem, is_cashback=curve.cashback, is_holder_reward=curve.holder_reward,
    ))  # fmt: skip


def new_mint(world: World, mint: bytes, token_program: bytes) -> None:
    """Make the mint known to the bank; its supply comes with `create`."""
    world.bank.mints[mint] = Mint(DECIMALS, token_program, 0)


def migration_fee(curve: Curve) -> int:
    """Return what migration costs: nothing for token quotes."""
    return MIGRATION_FEE if curve.is_sol else 0


def added(fees: dict[str, int], **more: int) -> dict[str, int]:
    """Return fees with more on top; a new dict, so that an aborted transaction can put the old one back."""
    found = dict(fees)
    for name, amount in more.items():
        if amount:
            found[name] = found.get(name, 0) + amount
    return found

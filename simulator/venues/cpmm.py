"""Raydium CPMM: the pools that completed LaunchLab curves move to; it speaks by log lines alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator import curves, keys
from simulator.calls import WRITABLE
from simulator.ledger import Graduation, PoolOpened, Trade
from simulator.venues import launchlab
from simulator.venues.pumpfun import added

if TYPE_CHECKING:
    from simulator.draft import Draft, Parts
    from simulator.venues.launchlab import LaunchPool

VENUE = "raydium_cpmm"
# A config whose whole trade fee goes to liquidity providers: SwapEvent does not tell the protocol's and the fund's
# share of it, so that with them nobody could know the reserves after a swap from events alone.
RATES = curves.CpmmRates(protocol=0, fund=0)
CREATE_POOL_FEE = 150_000_000


@dataclass(slots=True)
class CpmmPool:
    """A pool. Reserves are net of accrued fees; `flipped`: the token sorts behind its quote."""

    mint: bytes
    address: bytes
    quote: bytes
    config: bytes
    creator: bytes
    base_vault: bytes
    quote_vault: bytes
    lp_mint: bytes
    observation: bytes
    base: int
    quote_amount: int
    accrued: dict[str, int] = field(default_factory=dict)
    fees: dict[str, int] = field(default_factory=dict)

    @property
    def token_first(self) -> bool:
        """Whether the token is the pool's token 0."""
        return self.mint < self.quote

    def row(self) -> dict[str, Any]:
        """Return its members for the ledger."""
        return {
            "venue": VENUE,
            "mint": self.mint,
            "quote_mint": self.quote,
            "real_base": self.base,
            "real_quote": self.quote_amount,
            "mark_base": self.base,
            "mark_quote": self.quote_amount,
            "accrued": self.accrued,
            "fees": self.fees,
        }


def migrate(draft: Draft, parts: Parts, curve: LaunchPool) -> CpmmPool:
    """Move a completed LaunchLab curve to CPMM: LaunchLab says nothing of it, CPMM neither."""
    world, pad = draft.world, draft.world.launchpad
    program = world.cpmm.key
    authority = world.pda(pad.key, b"vault_auth_seed")
    config = world.pda(program, b"amm_config", (7).to_bytes(2, "big"))
    first, second = sorted((curve.mint, curve.quote))
    address = keys.pda(program, b"pool", config, first, second)
    pool = CpmmPool(
        curve.mint, address, curve.quote, config, curve.creator, keys.pda(program, b"pool_vault", address, curve.mint),
        keys.pda(program, b"pool_vault", address, curve.quote), keys.pda(program, b"pool_lp_mint", address),
        keys.pda(program, b"observation", address), curve.supply - curve.sold, curve.raised,
    )  # fmt: skip
    lp_token = keys.pda(keys.ATA_PROGRAM, authority, keys.TOKEN, pool.lp_mint)
    amm_authority = world.pda(program, b"vault_and_lp_mint_auth_seed")
    rest = [(world.keys.key("lock", address, number), WRITABLE) for number in range(10)]
    call = pad.call(
        "migrate_to_cpswap",
        {
            "payer": keys.CPMM_WALLET, "base_mint": pool.mint, "quote_mint": pool.quote,
            "platform_config": curve.platform.config, "cpswap_program": program, "cpswap_pool": address,
            "cpswap_authority": amm_authority, "cpswap_lp_mint": pool.lp_mint,
            "cpswap_base_vault": pool.base_vault, "cpswap_quote_vault": pool.quote_vault, "cpswap_config": config,
            "cpswap_create_pool_fee": keys.CPMM_POOL_FEE, "cpswap_observation": pool.observation,
            "lock_program": keys.LP_LOCK, "lock_authority": world.pda(keys.LP_LOCK, b"lock_cp_authority_seed"),
            "lock_lp_vault": keys.pda(keys.LP_LOCK, pool.lp_mint), "authority": authority,
            "pool_state": curve.address, "global_config": curve.config, "base_vault": curve.base_vault,
            "quote_vault": curve.quote_vault, "pool_lp_token": lp_token,
            "base_token_program": world.token_program(pool.mint), "quote_token_program": keys.TOKEN,
        },
        {},
        rest,
    )  # fmt: skip
    parts.append(call)
    draft.save(curve)
    curve.migrated = True
    _initialize(draft, call.parts, curve, pool, (authority, amm_authority, lp_token))
    said = draft.said(pad, launchlab.VENUE, "migrate_to_cpswap")
    draft.record(Graduation(
        said=said, mint=pool.mint, pool=curve.address, to_pool=address, to_venue=VENUE, quote_mint=pool.quote,
        base_amount=pool.base, quote_amount=pool.quote_amount,
    ))  # fmt: skip
    draft.opened(pool)
    return pool


def _initialize(
    draft: Draft, parts: Parts, curve: LaunchPool, pool: CpmmPool, owners: tuple[bytes, bytes, bytes]
) -> None:
    """Open the pool inside the migration (initialize_with_permission)."""
    world = draft.world
    authority, amm_authority, lp_token = owners
    sides = [(pool.mint, pool.base_vault, curve.base_vault, pool.base)]
    sides.append((pool.quote, pool.quote_vault, curve.quote_vault, pool.quote_amount))
    if not pool.token_first:
        sides.reverse()
    accounts = {
        "payer": authority, "creator": pool.creator, "amm_config": pool.config, "authority": amm_authority,
        "pool_state": pool.address, "lp_mint": pool.lp_mint, "payer_lp_token": lp_token,
        "create_pool_fee": keys.CPMM_POOL_FEE, "observation_state": pool.observation,
        "permission": world.pda(world.cpmm.key, b"permission", authority),
    }  # fmt: skip
    for number, (mint, vault, giver, _) in enumerate(sides):
        accounts |= {
            f"token_{number}_mint": mint, f"payer_token_{number}": giver, f"token_{number}_vault": vault,
            f"token_{number}_program": world.token_program(mint),
        }  # fmt: skip
    args = {"init_amount_0": sides[0][3], "init_amount_1": sides[1][3], "creator_fee_on": _only_quote(pool)}
    call = world.cpmm.call("initialize_with_permission", accounts, args)
    parts.append(call)
    draft.pay(call.parts, draft.payer, keys.CPMM_POOL_FEE, CREATE_POOL_FEE)
    for mint, vault, giver, amount in sides:
        draft.vault(vault, amm_authority, mint)
        draft.move(call.parts, giver, vault, authority, amount)
    said = draft.said(world.cpmm, VENUE, "initialize_with_permission")
    draft.record(PoolOpened(
        said=said, mint=pool.mint, pool=pool.address, quote_mint=pool.quote, creator=pool.creator,
        base_amount=pool.base, quote_amount=pool.quote_amount,
    ))  # fmt: skip


def _only_quote(pool: CpmmPool) -> str:
    return "OnlyToken1" if pool.token_first else "OnlyToken0"


def buy(draft: Draft, parts: Parts, pool: CpmmPool, user: bytes, spend: int) -> int:
    """Buy for exactly `spend` of quote. Return the tokens."""
    return _swap(draft, parts, pool, user, spend, is_buy=True)


def sell(draft: Draft, parts: Parts, pool: CpmmPool, user: bytes, tokens: int) -> int:
    """Sell tokens. Return the quote."""
    return _swap(draft, parts, pool, user, tokens, is_buy=False)


def _swap(draft: Draft, parts: Parts, pool: CpmmPool, user: bytes, amount: int, *, is_buy: bool) -> int:
    world, program = draft.world, draft.world.cpmm
    authority = world.pda(program.key, b"vault_and_lp_mint_auth_seed")
    mints, vaults = (pool.quote, pool.mint), (pool.quote_vault, pool.base_vault)
    reserves = (pool.quote_amount, pool.base)
    if not is_buy:
        mints, vaults, reserves = mints[::-1], vaults[::-1], reserves[::-1]
    call = program.call(
        "swap_base_input",
        {
            "payer": user, "authority": authority, "amm_config": pool.config, "pool_state": pool.address,
            "input_token_account": world.ata(user, mints[0]), "output_token_account": world.ata(user, mints[1]),
            "input_vault": vaults[0], "output_vault": vaults[1],
            "input_token_program": world.token_program(mints[0]),
            "output_token_program": world.token_program(mints[1]), "input_token_mint": mints[0],
            "output_token_mint": mints[1], "observation_state": pool.observation,
        },
        {"amount_in": amount, "minimum_amount_out": 0},
    )  # fmt: skip
    parts.append(call)
    swap = curves.cpmm_swap(amount, *reserves, RATES, creator_on_input=is_buy)
    draft.save(pool)
    said = draft.emit_log(call, program, VENUE, "SwapEvent", {
        "pool_id": pool.address, "input_vault_before": reserves[0], "output_vault_before": reserves[1],
        "input_amount": amount, "output_amount": swap.amount_out, "base_input": True, "input_mint": mints[0],
        "output_mint": mints[1], "trade_fee": swap.trade_fee, "creator_fee": swap.creator_fee,
        "creator_fee_on_input": is_buy,
    })  # fmt: skip
    draft.move(call.parts, world.ata(user, mints[0]), vaults[0], user, amount)
    draft.move(call.parts, vaults[1], world.ata(user, mints[1]), authority, swap.amount_out)
    _apply(pool, amount, swap, is_buy=is_buy)
    _record(draft, pool, user, said, amount, swap, is_buy=is_buy)
    return swap.amount_out


def _apply(pool: CpmmPool, amount: int, swap: curves.Swap, *, is_buy: bool) -> None:
    """Move the reserves: protocol, fund and creator fees stay in the vaults but no longer count."""
    kept_in = swap.protocol_fee + swap.fund_fee
    if is_buy:
        pool.quote_amount += amount - kept_in - swap.creator_fee
        pool.base -= swap.amount_out
    else:
        pool.base += amount - kept_in
        pool.quote_amount -= swap.amount_out + swap.creator_fee
    kept = {"quote": kept_in + swap.creator_fee} if is_buy else {"base": kept_in, "quote": swap.creator_fee}
    pool.accrued = added(pool.accrued, **kept)


def _record(
    draft: Draft, pool: CpmmPool, user: bytes, said: Any, amount: int, swap: curves.Swap, *, is_buy: bool
) -> None:
    pool.fees = added(pool.fees, creator=swap.creator_fee, **{f"trade_{'quote' if is_buy else 'base'}": swap.trade_fee})
    draft.record(Trade(
        said=said, mint=pool.mint, pool=pool.address, quote_mint=pool.quote, trader=user,
        side="buy" if is_buy else "sell", base_amount=swap.swapped_out if is_buy else swap.swapped_in,
        quote_amount=swap.swapped_in if is_buy else swap.swapped_out,
        user_quote_amount=amount if is_buy else swap.amount_out, mark_base=pool.base, mark_quote=pool.quote_amount,
        creator_fee=swap.creator_fee, lp_fee=swap.trade_fee if is_buy else 0, trade_fee=swap.trade_fee,
    ))  # fmt: skip

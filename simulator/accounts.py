"""Accounts as getAccountInfo shows them: curves and pools by their IDLs, mints and token accounts by SPL's layout."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from simulator import keys
from simulator.venues.cpmm import CpmmPool
from simulator.venues.launchlab import LaunchPool
from simulator.venues.pumpfun import SUPPLY, VIRTUAL_SOL, VIRTUAL_USDC, Curve
from simulator.venues.pumpswap import Pool

if TYPE_CHECKING:
    from simulator.world import World

_MINT = Struct("<I32sQBBI32s")
_TOKEN_ACCOUNT = Struct("<32s32sQI32sBIQQI32s")
_PUMPSWAP_SIZE = 300


class AccountInfo(NamedTuple):
    """One account."""

    lamports: int
    owner: bytes
    data: bytes
    executable: bool = False


def find(world: World, address: bytes) -> AccountInfo | None:
    """Return an account as it stands now; None if there is none."""
    pool = world.ledger.pools.get(address)
    lamports = world.bank.lamports.get(address, 0)
    if pool is not None:
        owner, data = _pool(world, pool)
        return AccountInfo(lamports or 2_039_280, owner, data)
    mint = world.bank.mints.get(address)
    if mint is not None:
        data = _MINT.pack(0, keys.ZERO, mint.supply, mint.decimals, 1, 0, keys.ZERO)
        return AccountInfo(1_461_600, mint.program, data)
    token = world.bank.tokens.get(address)
    if token is not None:
        native = 1 if token.mint == keys.WSOL else 0
        data = _TOKEN_ACCOUNT.pack(
            token.mint, token.owner, token.amount, 0, keys.ZERO, 1, native, 2_039_280 * native, 0, 0, keys.ZERO
        )
        return AccountInfo(lamports, token.program, data)
    if any(address == program.key for program in (world.pumpfun, world.pumpswap, world.launchpad, world.cpmm)):
        return AccountInfo(1, keys.key("BPFLoaderUpgradeab1e11111111111111111111111"), bytes(36), executable=True)
    return AccountInfo(lamports, keys.SYSTEM, b"") if lamports else None


def _pool(world: World, pool: object) -> tuple[bytes, bytes]:
    match pool:
        case Curve():
            return world.pumpfun.key, _curve(world, pool)
        case Pool():
            return world.pumpswap.key, _pumpswap(world, pool)
        case LaunchPool():
            return world.launchpad.key, _launchlab(world, pool)
        case CpmmPool():
            return world.cpmm.key, _cpmm(world, pool)
        case _:
            raise AssertionError(pool)


def _curve(world: World, curve: Curve) -> bytes:
    return world.pumpfun.account("BondingCurve", {
        "virtual_token_reserves": curve.virtual_tokens, "virtual_quote_reserves": curve.virtual_quote,
        "real_token_reserves": curve.real_tokens, "real_quote_reserves": curve.real_quote,
        "token_total_supply": SUPPLY, "complete": curve.complete, "creator": curve.creator,
        "is_mayhem_mode": curve.mayhem, "is_cashback_coin": curve.cashback, "quote_mint": curve.quote,
        "is_holder_reward": curve.holder_reward, "creator_fee": curve.unclaimed_creator,
        "protocol_fees": curve.unclaimed_protocol,
        "initial_virtual_quote_reserves": VIRTUAL_SOL if curve.is_sol else VIRTUAL_USDC,
        "post_complete_base_out": curve.post_base_out, "post_complete_quote_in": curve.post_quote_in,
    })  # fmt: skip


def _pumpswap(world: World, pool: Pool) -> bytes:
    return world.pumpswap.account("Pool", {
        "pool_bump": 255, "creator": pool.creator, "base_mint": pool.mint, "quote_mint": pool.quote,
        "lp_mint": pool.lp_mint, "pool_base_token_account": pool.base_vault,
        "pool_quote_token_account": pool.quote_vault, "lp_supply": pool.lp_supply,
        "coin_creator": pool.coin_creator, "is_mayhem_mode": pool.mayhem, "is_cashback_coin": pool.cashback,
        "virtual_quote_reserves": pool.virtual_quote, "is_holder_reward": pool.holder_reward,
        "protocol_fees": pool.unclaimed_protocol, "creator_fees": pool.unclaimed_creator,
    }).ljust(_PUMPSWAP_SIZE, b"\0")  # fmt: skip


def _launchlab(world: World, pool: LaunchPool) -> bytes:
    flag = 1 if world.token_program(pool.mint) == keys.TOKEN_2022 else 0
    return world.launchpad.account("PoolState", {
        "status": 2 if pool.migrated else 1 if pool.complete else 0, "base_decimals": 6,
        "quote_decimals": world.bank.mints[pool.quote].decimals, "migrate_type": 1, "supply": pool.supply,
        "total_base_sell": pool.start.sell, "virtual_base": pool.start.virtual_base,
        "virtual_quote": pool.start.virtual_quote, "real_base": pool.sold, "real_quote": pool.raised,
        "total_quote_fund_raising": pool.target, "quote_protocol_fee": pool.protocol_fees,
        "global_config": pool.config, "platform_config": pool.platform.config, "base_mint": pool.mint,
        "quote_mint": pool.quote, "base_vault": pool.base_vault, "quote_vault": pool.quote_vault,
        "creator": pool.creator, "token_program_flag": flag,
    })  # fmt: skip


def _cpmm(world: World, pool: CpmmPool) -> bytes:
    sides = [(pool.mint, pool.base_vault), (pool.quote, pool.quote_vault)]
    if not pool.token_first:
        sides.reverse()
    members = {
        "amm_config": pool.config, "pool_creator": pool.creator, "lp_mint": pool.lp_mint,
        "observation_key": pool.observation, "lp_mint_decimals": 9, "enable_creator_fee": True,
        "creator_fee_on": 2 if pool.token_first else 1,
    }  # fmt: skip
    for number, (mint, vault) in enumerate(sides):
        members |= {
            f"token_{number}_vault": vault, f"token_{number}_mint": mint,
            f"token_{number}_program": world.token_program(mint),
            f"mint_{number}_decimals": world.bank.mints[mint].decimals,
        }  # fmt: skip
    return world.cpmm.account("PoolState", members)

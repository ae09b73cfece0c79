"""Raydium LaunchLab: tokens on one of three curve kinds, under a platform's fees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator import curves, keys
from simulator.bank import Mint
from simulator.ledger import Launch

if TYPE_CHECKING:
    from simulator.curves import CurveKind, Rates, Start
    from simulator.draft import Draft, Parts
    from simulator.world import World

VENUE = "raydium_launchpad"
DECIMALS = 6
PROTOCOL_PPM = 2_500
_KINDS: dict[CurveKind, str] = {"constant": "Constant", "fixed": "Fixed", "linear": "Linear"}
MIGRATE_TO_CPSWAP = 1


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform that launches on LaunchLab, with its fee rates in millionths."""

    name: str
    config: bytes
    platform_ppm: int
    creator_ppm: int


PLATFORMS = (
    Platform("letsbonk", keys.key("FfYek5vEz23cMkWsdJwG2oa6EphsvXSHrGpdALN4g6W1"), 7_500, 500),
    Platform("stonkfun", keys.key("4E876qZTE9FJMrBzgVtBrSrzz2TLivB5Y5QXPjB4gZL7"), 10_000, 5_000),
    Platform("raydium", keys.key("4Bu96XjU84XjPDSpveTVf6LYGCkfW5FK7SNkREWcEfV4"), 0, 0),
)


@dataclass(slots=True)
class LaunchPool:
    """A curve as the program keeps it: `sold` and `raised` are its real base and quote."""

    mint: bytes
    address: bytes
    base_vault: bytes
    quote_vault: bytes
    creator: bytes
    quote: bytes
    config: bytes
    platform: Platform
    kind: CurveKind
    supply: int
    start: Start
    target: int
    sold: int = 0
    raised: int = 0
    protocol_fees: int = 0
    complete: bool = False
    migrated: bool = False
    fees: dict[str, int] = field(default_factory=dict)

    def rates(self, share_ppm: int = 0) -> Rates:
        """Return the fee rates of a trade."""
        return curves.Rates(PROTOCOL_PPM, self.platform.platform_ppm, self.platform.creator_ppm, share_ppm)

    def mark(self) -> tuple[int, int]:
        """Return effective base and quote reserves, whose quotient is the price."""
        match self.kind:
            case "constant":
                return self.start.virtual_base - self.sold, self.start.virtual_quote + self.raised
            case "fixed":
                return self.start.virtual_base, self.start.virtual_quote
            case "linear":
                return curves.Q64, self.start.virtual_base * self.sold

    def row(self) -> dict[str, Any]:
        """Return its members for the ledger."""
        base, quote = self.mark()
        return {
            "venue": VENUE,
            "mint": self.mint,
            "quote_mint": self.quote,
            "real_base": self.sold,
            "real_quote": self.raised,
            "mark_base": base,
            "mark_quote": quote,
            "complete": self.complete,
            "migrated": self.migrated,
            "creator": self.creator,
            "platform_config": self.platform.config,
            "curve_kind": self.kind,
            "fees": self.fees,
        }


def new_pool(
    world: World, mint: bytes, creator: bytes, quote: bytes, platform: Platform, kind: CurveKind, target: int
) -> LaunchPool:
    """Return the curve of a mint that is about to be created; `target` is the quote to be raised."""
    program = world.launchpad.key
    supply = 10**15
    address = keys.pda(program, b"pool", mint, quote)
    config = world.pda(program, b"global_config", quote, bytes([list(_KINDS).index(kind)]), b"\0\0")
    base_vault, quote_vault = (keys.pda(program, b"pool_vault", address, one) for one in (mint, quote))
    return LaunchPool(
        mint, address, base_vault, quote_vault, creator, quote, config, platform, kind, supply,
        curves.launch_start(kind, supply, 793_100_000_000_000, target), target,
    )  # fmt: skip


def create(draft: Draft, parts: Parts, pool: LaunchPool, user: bytes, words: tuple[str, str, str]) -> None:
    """Create a token: SPL Token mints by initialize_v2, others by initialize_with_token_2022."""
    world, program = draft.world, draft.world.launchpad
    authority = world.pda(program.key, b"vault_auth_seed")
    token_program = world.token_program(pool.mint)
    is_2022 = token_program == keys.TOKEN_2022
    data: tuple[int, ...] = (pool.supply, pool.target, MIGRATE_TO_CPSWAP)
    if pool.kind == "constant":
        data = (pool.supply, pool.start.sell, pool.target, MIGRATE_TO_CPSWAP)
    params = {
        "base_mint_param": (DECIMALS, *words), "curve_param": (_KINDS[pool.kind], (data,)),
        "vesting_param": (0, 0, 0), "amm_fee_on": "QuoteToken",
    }  # fmt: skip
    accounts = {
        "payer": user, "creator": pool.creator, "global_config": pool.config,
        "platform_config": pool.platform.config, "authority": authority, "pool_state": pool.address,
        "base_mint": pool.mint, "quote_mint": pool.quote, "base_vault": pool.base_vault,
        "quote_vault": pool.quote_vault, "base_token_program": token_program, "quote_token_program": keys.TOKEN,
    }  # fmt: skip
    if not is_2022:
        accounts["metadata_account"] = keys.pda(keys.METADATA, b"metadata", keys.METADATA, pool.mint)
    call = program.call("initialize_with_token_2022" if is_2022 else "initialize_v2", accounts, params)
    parts.append(call)
    draft.vault(pool.quote_vault, authority, pool.quote)
    said = draft.emit_cpi_first(
        call, program, VENUE, "PoolCreateEvent",
        {"pool_state": pool.address, "creator": pool.creator, "config": pool.config, **params},
    )  # fmt: skip
    draft.vault(pool.base_vault, authority, pool.mint)
    draft.mint_to(call.parts, pool.base_vault, authority, pool.supply)
    draft.opened(pool)
    draft.record(Launch(
        said=said, platform=VENUE, platform_config=pool.platform.config, mint=pool.mint, pool=pool.address,
        creator=pool.creator, payer=user, name=words[0], symbol=words[1], uri=words[2], decimals=DECIMALS,
        supply=pool.supply, quote_mint=pool.quote, token_program=token_program, curve_kind=pool.kind,
        for_sale=pool.start.sell, raise_target=pool.target,
    ))  # fmt: skip


def new_mint(world: World, mint: bytes, token_program: bytes) -> None:
    """Make the mint known to the bank; its supply comes with `create`."""
    world.bank.mints[mint] = Mint(DECIMALS, token_program, 0)

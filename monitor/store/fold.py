"""What facts other than trades change in mints, tokens and pools; the same end whatever the order of their arrival."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, assert_never

from decoders.core.types import CurveComplete, Graduation, Launch, Other, PoolCreated, Trade
from monitor.store import reserves
from monitor.store.order import first_order
from monitor.store.rows import clean
from monitor.store.states import fill, force, latest, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from monitor.store.states import MintState, PoolState, TokenState

ColdFact = Launch | CurveComplete | Graduation | PoolCreated | Other | Trade
"""A fact that may change a token or pool beyond its reserves; a trade does when it shows a pool for the first time."""

_FROM_GRADUATION, _FROM_CREATION = 0, 1


class Outcome(IntEnum):
    """What became of a fact."""

    DUPLICATE = 0
    NEW = 1
    UPGRADED = 2
    OTHER = 3
    REFUSED = 4


@dataclass(slots=True)
class Wanted:
    """Addresses that some facts speak of."""

    mints: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    pools: dict[str, str] = field(default_factory=dict)  # to the venue that it is of, should it be new


@dataclass(slots=True)
class World:
    """The rows that some facts speak of, by address, and the reserves that they leave."""

    mints: dict[str, MintState] = field(default_factory=dict)
    tokens: dict[str, TokenState] = field(default_factory=dict)
    pools: dict[str, PoolState] = field(default_factory=dict)
    reserves: reserves.Reserves = field(default_factory=reserves.Reserves)

    def mint(self, address: str | None) -> MintState:
        """Return a mint; None is none that a storable fact names."""
        return self.mints[address or ""]

    def token(self, address: str | None) -> TokenState:
        """Return a token; None is none that a storable fact names."""
        return self.tokens[address or ""]


def touches(fact: Other) -> bool:
    """Tell whether an event changes anything that is stored."""
    token = fact.mint is not None and (fact.creator is not None or fact.supply is not None)
    marks = fact.mark_base is not None and fact.mark_quote is not None
    others = any(value is not None for value in (fact.real_base, fact.real_quote, fact.virtual_quote))
    return token or (fact.pool is not None and (marks or others))


def wanted(facts: Iterable[ColdFact]) -> Wanted:
    """Return the addresses whose rows `fold` needs."""
    found = Wanted()
    for fact in facts:
        if fact.mint is not None:
            found.mints.add(fact.mint)
            found.tokens.add(fact.mint)
        if fact.quote_mint is not None:
            found.mints.add(fact.quote_mint)
        if fact.pool is not None:
            found.pools.setdefault(fact.pool, fact.venue)
        if isinstance(fact, Graduation):
            found.pools[fact.to_pool] = fact.to_venue
    return found


def fold(world: World, fact: ColdFact, at: datetime, order: int) -> Outcome:
    """
    Change the world by one fact.

    Args:
        world: Holds every row that the fact speaks of.
        at: Its block time.
        order: Its chain order.
    """
    match fact:
        case Launch():
            return _launch(world, fact, at, order)
        case CurveComplete():
            return _curve_complete(world, fact, at, order)
        case Graduation():
            return _graduation(world, fact, at, order)
        case PoolCreated():
            return _pool_created(world, fact, at, order)
        case Other():
            return _other(world, fact, order)
        case Trade():
            return _sighting(world, fact)
        case _:
            assert_never(fact)


def link(world: World) -> None:
    """Point every token at its curve and at the pool that it graduated to, as far as known."""
    tokens = {token.id: token for token in world.tokens.values()}
    for pool in world.pools.values():
        token = tokens.get(pool.token_id) if pool.token_id is not None else None
        if token is None:
            continue
        if pool.kind == "curve":
            fill(token, curve_id=pool.id)
        elif pool.canonical:
            fill(token, graduation_pool_id=pool.id)


def _outcome(*, was_known: bool, changed: bool) -> Outcome:
    if not was_known:
        return Outcome.NEW
    return Outcome.UPGRADED if changed else Outcome.DUPLICATE


def _market(world: World, fact: ColdFact) -> bool:
    """Note which token and quote a pool trades, and that a launchpad's own pool of a token is its curve."""
    if fact.pool is None:
        return False
    pool = world.pools[fact.pool]
    changed = fact.mint is not None and fill(pool, token_id=world.mint(fact.mint).id)
    changed |= fact.quote_mint is not None and fill(pool, quote_id=world.mint(fact.quote_mint).id)
    if fact.platform == fact.venue:
        changed |= force(pool, kind="curve")
    return changed


def _decimals(world: World, fact: Graduation | PoolCreated | Trade) -> bool:
    """Note the decimals of a fact's token and quote where they are not known; tell whether there was one."""
    changed = fill(world.token(fact.mint), decimals=fact.decimals)
    changed |= fill(world.mint(fact.mint), decimals=fact.decimals)
    changed |= fill(world.mint(fact.quote_mint), decimals=fact.quote_decimals)
    return changed


def _launch(world: World, fact: Launch, at: datetime, order: int) -> Outcome:
    token, mint, pool = world.token(fact.mint), world.mint(fact.mint), world.pools[fact.pool]
    was_known = token.launch_signature is not None
    name, symbol = clean(fact.name), clean(fact.symbol)
    start = first_order(fact.slot, _FROM_CREATION)
    changed = [
        stamp(token, "launch", at, fact.signature, order),
        fill(
            token,
            platform=fact.platform,
            platform_config=fact.platform_config,
            name=name,
            symbol=symbol,
            uri=clean(fact.uri),
            decimals=fact.decimals,
            payer=fact.payer,
            token_program=fact.token_program,
            curve_kind=fact.curve_kind,
            for_sale=fact.for_sale,
            raise_target=fact.raise_target,
            is_mayhem=fact.is_mayhem,
            is_cashback=fact.is_cashback,
            is_holder_reward=fact.is_holder_reward,
            creator_fee_bps=fact.creator_fee_bps,
            depth=fact.depth,
            migrate_to=fact.migrate_to,
        ),
        latest(token, "creator", fact.creator, start),
        latest(token, "supply", fact.supply, start),
        fill(mint, name=name, symbol=symbol, decimals=fact.decimals),
        fill(world.mint(fact.quote_mint), decimals=fact.quote_decimals),
        _market(world, fact),
        force(pool, kind="curve"),
        fill(pool, creator=fact.creator),
        stamp(pool, "created", at, fact.signature, order),
    ]
    world.reserves.offer(reserves.MARK, pool.id, start, fact.mark_base, fact.mark_quote)
    world.reserves.offer(reserves.CURVE, pool.id, start, 0, fact.for_sale)
    return _outcome(was_known=was_known, changed=any(changed))


def _curve_complete(world: World, fact: CurveComplete, at: datetime, order: int) -> Outcome:
    token, pool = world.token(fact.mint), world.pools[fact.pool]
    was_known = token.completed_signature is not None
    moved = stamp(token, "completed", at, fact.signature, order)
    if moved:
        force(pool, completed_at=at)
    changed = [
        moved,
        _market(world, fact),
        force(pool, kind="curve"),
        fill(token, platform=fact.platform, platform_config=fact.platform_config, completed_by=fact.trader),
    ]
    return _outcome(was_known=was_known, changed=any(changed))


def _graduation(world: World, fact: Graduation, at: datetime, order: int) -> Outcome:
    token, curve, pool = world.token(fact.mint), world.pools[fact.pool], world.pools[fact.to_pool]
    was_known = token.graduated_signature is not None
    changed = [
        _market(world, fact),
        force(curve, kind="curve"),
        fill(curve, graduated_to=pool.id),
        fill(
            pool,
            token_id=token.id,
            quote_id=world.mint(fact.quote_mint).id,
            graduated_from=curve.id,
            seed_base=fact.base_amount,
            seed_quote=fact.quote_amount,
        ),
        stamp(token, "graduated", at, fact.signature, order),
        fill(token, platform=fact.platform, platform_config=fact.platform_config, graduation_pool_id=pool.id),
        _decimals(world, fact),
    ]
    world.reserves.start(pool.id, fact.slot, fact.base_amount, fact.quote_amount, rank=_FROM_GRADUATION)
    return _outcome(was_known=was_known, changed=any(changed))


def _pool_created(world: World, fact: PoolCreated, at: datetime, order: int) -> Outcome:
    token, pool = world.token(fact.mint), world.pools[fact.pool]
    was_known = pool.created_signature is not None
    changed = [
        _market(world, fact),
        stamp(pool, "created", at, fact.signature, order),
        # A graduation may have told its own idea of the seed: the pool's own event says what entered its reserves.
        fact.base_amount is not None and force(pool, seed_base=fact.base_amount),
        fact.quote_amount is not None and force(pool, seed_quote=fact.quote_amount),
        fill(pool, creator=fact.creator),
        fact.flipped and force(pool, flipped=True),
        fact.canonical and force(pool, canonical=True),
        fill(token, platform=fact.platform),
        _decimals(world, fact),
    ]
    world.reserves.start(pool.id, fact.slot, fact.base_amount, fact.quote_amount, rank=_FROM_CREATION)
    return _outcome(was_known=was_known, changed=any(changed))


def _other(world: World, fact: Other, order: int) -> Outcome:
    _market(world, fact)
    if fact.mint is not None:
        token = world.token(fact.mint)
        latest(token, "creator", fact.creator, order)
        latest(token, "supply", fact.supply, order)
        fill(token, platform=fact.platform)
    if fact.pool is not None:
        pool = world.pools[fact.pool]
        world.reserves.offer(reserves.MARK, pool.id, order, fact.mark_base, fact.mark_quote)
        world.reserves.real(pool.id, order, fact.real_base, fact.real_quote)
        world.reserves.offer(reserves.VIRTUAL, pool.id, order, fact.virtual_quote, 0)
    return Outcome.OTHER


def _sighting(world: World, fact: Trade) -> Outcome:
    """Note what a trade tells about its token and pool besides the trade itself."""
    pool = world.pools[fact.pool]
    _market(world, fact)
    if fact.curve_total is not None:
        force(pool, kind="curve")
    if fact.flipped:
        force(pool, flipped=True)
    if fact.canonical is not None and not pool.canonical:
        force(pool, canonical=fact.canonical)
    fill(world.token(fact.mint), platform=fact.platform, platform_config=fact.platform_config)
    _decimals(world, fact)
    return Outcome.OTHER

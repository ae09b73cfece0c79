"""Mints, tokens and pools as the database holds them, to be filled and written back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from monitor.store.order import supersedes

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

PoolKind = Literal["curve", "pool"]


@dataclass(slots=True)
class MintState:
    """A row of `mints`."""

    id: int
    address: str
    symbol: str | None = None
    name: str | None = None
    decimals: int | None = None
    changed: bool = False


@dataclass(slots=True)
class TokenState:
    """A row of `tokens`: a stub, all None, while its launch is not known."""

    id: int
    mint: str
    platform: str | None = None
    platform_config: str | None = None
    name: str | None = None
    symbol: str | None = None
    uri: str | None = None
    decimals: int | None = None
    supply: int | Decimal | None = None
    supply_order: int | None = None
    creator: str | None = None
    creator_order: int | None = None
    payer: str | None = None
    token_program: str | None = None
    curve_kind: str | None = None
    for_sale: int | None = None
    raise_target: int | None = None
    is_mayhem: bool | None = None
    is_cashback: bool | None = None
    is_holder_reward: bool | None = None
    creator_fee_bps: int | None = None
    depth: int | None = None
    migrate_to: str | None = None
    launched_at: datetime | None = None
    launch_signature: str | None = None
    launch_order: int | None = None
    completed_at: datetime | None = None
    completed_signature: str | None = None
    completed_order: int | None = None
    completed_by: str | None = None
    graduated_at: datetime | None = None
    graduated_signature: str | None = None
    graduated_order: int | None = None
    curve_id: int | None = None
    graduation_pool_id: int | None = None
    changed: bool = False


@dataclass(slots=True)
class PoolState:
    """A row of `pools`, except for the reserves, which change with every trade and have their own statement."""

    id: int
    address: str
    venue: str
    kind: PoolKind = "pool"
    token_id: int | None = None
    quote_id: int | None = None
    flipped: bool = False
    canonical: bool | None = None
    creator: str | None = None
    created_at: datetime | None = None
    created_signature: str | None = None
    created_order: int | None = None
    seed_base: int | None = None
    seed_quote: int | None = None
    completed_at: datetime | None = None
    graduated_to: int | None = None
    graduated_from: int | None = None
    changed: bool = False


State = MintState | TokenState | PoolState


def columns(kind: type[State]) -> tuple[str, ...]:
    """Return the columns of a kind of row, in the order of its members."""
    return tuple(field.name for field in fields(kind) if field.name != "changed")


def fill(state: State, **members: Any) -> bool:
    """Set those members that are None and now known; tell whether there was one. What is known is not overwritten."""
    changed = False
    for name, value in members.items():
        if value is not None and getattr(state, name) is None:
            setattr(state, name, value)
            changed = True
    state.changed |= changed
    return changed


def force(state: State, **members: Any) -> bool:
    """Set members to those values; tell whether that changed one."""
    changed = False
    for name, value in members.items():
        if getattr(state, name) != value:
            setattr(state, name, value)
            changed = True
    state.changed |= changed
    return changed


def stamp(state: State, prefix: str, at: datetime, signature: str, order: int) -> bool:
    """Note when and where something happened, if this copy says it better than the noted one; tell whether it did."""
    names = {"launch": "launched_at"}
    if not supersedes(order, getattr(state, f"{prefix}_order")):
        return False
    return force(
        state,
        **{names.get(prefix, f"{prefix}_at"): at, f"{prefix}_signature": signature, f"{prefix}_order": order},
    )


def latest(state: State, name: str, value: Any, order: int) -> bool:
    """Set a member that changes over time, if `order` is later than that of its value; tell whether it changed."""
    noted = getattr(state, f"{name}_order")
    if value is None or (noted is not None and order <= noted):
        return False
    return force(state, **{name: value, f"{name}_order": order})

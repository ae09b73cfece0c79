"""Facts that are no trades, as rows from which tokens and pools can be made again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from decoders.core.types import CurveComplete, Fact, Graduation, Launch, Other, PoolCreated, Trade
from monitor.store.rows import clean

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.store.fold import ColdFact

ChangeKey = tuple[str, str, str, int, str, "datetime"]
"""Signature, venue, event, nth, kind of the fact and block time."""
Market = tuple[
    str, str | None, str | None, str, str | None, str | None, bool, bool | None, bool, int | None, int | None
]
"""All that a trade says of its pool and token besides the trade itself."""

_KINDS: dict[str, type[Fact]] = {kind.kind: kind for kind in (Launch, CurveComplete, Graduation, PoolCreated, Other)}
_OF_EVERY_FACT = frozenset(Fact.__struct_fields__) - {"platform"}


@dataclass(frozen=True, slots=True)
class Change:
    """A fact as it is kept: where it landed and what it says. `is_void`: on an abandoned fork."""

    key: ChangeKey
    slot: int
    order: int
    token_id: int | None
    pool_id: int | None
    data: dict[str, Any]
    is_void: bool = False


def change_key(fact: ColdFact, at: datetime) -> ChangeKey:
    """Return what makes a fact this one and no other."""
    return (fact.signature, fact.venue, fact.event, fact.nth, type(fact).kind, at)


def said(fact: ColdFact) -> dict[str, Any]:
    """Return what a fact says besides identity and place; what it does not know is left out."""
    return {
        name: clean(value) if isinstance(value, str) else value
        for name in _members(type(fact))
        if (value := getattr(fact, name)) is not None
    }


def merge(stored: Change | None, copy: Change, *, is_final: bool = False) -> Change | None:
    """
    Return what is to be kept of two copies of a fact, or None if `copy` says nothing new.

    The copy of the later slot is the fact, for it landed there again after a fork. Copies of one slot fill each other.
    What the finalized chain says stands over all (`is_final`).
    """
    if stored is None or stored.is_void or copy.slot > stored.slot:
        return copy
    if is_final:
        return replace(copy, data=stored.data | copy.data) if copy.slot == stored.slot else copy
    data = copy.data | stored.data
    if copy.slot < stored.slot or (data == stored.data and copy.order <= stored.order):
        return None
    return replace(stored, data=data, order=max(copy.order, stored.order))


def to_fact(change: Change) -> ColdFact:
    """Return the fact that a change was, as far as tokens and pools are made of it."""
    signature, venue, event, nth, kind, _ = change.key
    members = dict.fromkeys(_members(_KINDS[kind])) | change.data
    place = {"program": "", "venue": venue, "event": event, "nth": nth, "signature": signature, "slot": change.slot}
    # Anything: the members were read from a fact of the same kind.
    known: dict[str, Any] = {**members, **place, "block_time": None, "index": None, "position": 0}
    fact = _KINDS[kind](**known)
    if not isinstance(fact, Launch | CurveComplete | Graduation | PoolCreated | Other):
        raise TypeError(f"kept as a change: {fact}")
    return fact


def market(trade: Trade) -> Market:
    """Return what a trade says of its pool and token."""
    return (
        trade.pool,
        trade.mint,
        trade.quote_mint,
        trade.venue,
        trade.platform,
        trade.platform_config,
        trade.flipped,
        trade.canonical,
        trade.curve_total is not None,
        trade.decimals,
        trade.quote_decimals,
    )


def sighting(told: Market) -> Trade:
    """Return a trade that says this of its pool and token, and nothing else that is true."""
    pool, mint, quote_mint, venue, platform, config, flipped, canonical, is_curve, decimals, quote_decimals = told
    return Trade(
        program="",
        venue=venue,
        event="",
        nth=0,
        signature="",
        slot=0,
        block_time=None,
        index=None,
        position=0,
        platform=platform,
        mint=mint,
        pool=pool,
        trader=None,
        side="buy",
        base_amount=0,
        quote_amount=0,
        user_quote_amount=0,
        quote_mint=quote_mint,
        mark_base=None,
        mark_quote=None,
        curve_total=0 if is_curve else None,
        platform_config=config,
        flipped=flipped,
        canonical=canonical,
        decimals=decimals,
        quote_decimals=quote_decimals,
    )


@cache
def _members(kind: type[Fact]) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name not in _OF_EVERY_FACT)


def as_json(value: Any) -> str:
    """Return a value as the database takes it."""
    return msgspec.json.encode(value).decode()

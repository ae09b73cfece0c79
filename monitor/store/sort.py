"""The facts of a batch by what is to be done with them, before the database is asked anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from decoders.core.types import CurveComplete, Fact, Fault, Launch, Other, Trade
from monitor.store.batch import BEYOND_RETENTION
from monitor.store.fold import ColdFact, Outcome, touches
from monitor.store.order import SLOT_LIMIT
from monitor.store.rows import KNOWN_BITS, clean, identity, known, merged, refused_payload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from monitor.store.recent import Recent
    from monitor.store.rows import Identity, Times

REFUSED = "refused: "
"""What the reason of a fault begins with if its fact was read but cannot be stored."""


@dataclass(slots=True)
class Sorted:
    """
    A batch, its facts known by their place in it.

    `facts` are those given, or what they and their other copies know together. `trades` are those that may be new, by
    identity; `suspects` among them were stored lately, perhaps with less known. `landings` are slots in which a
    transaction was told whose facts are taken from another one.
    """

    given: Sequence[Fact]
    facts: list[Fact]
    outcomes: list[Outcome]
    trades: dict[Identity, int] = field(default_factory=dict)
    suspects: set[int] = field(default_factory=set)
    cold: list[int] = field(default_factory=list)
    faults: dict[int, tuple[str, Fault]] = field(default_factory=dict)  # with the kind of the fact that it is about
    landings: set[tuple[str, int]] = field(default_factory=set)

    def trade_facts(self) -> list[tuple[int, Trade]]:
        """Return the trades that may be new as they are now, with their places, in the order of `trades`."""
        return [(at, fact) for at in self.trades.values() if isinstance(fact := self.facts[at], Trade)]


class Known:
    """Which trades were lately committed, and which of their members are known."""

    def __init__(self, recent: Recent[Identity, int]) -> None:
        self._recent = recent

    def holds(self, trade: Trade, key: Identity) -> bool | None:
        """Tell whether all that this copy says is stored already; None: nothing is known of the trade."""
        noted = self._recent.get(key)
        if noted is None:
            return None
        return trade.slot == noted >> KNOWN_BITS and not known(trade) & ~noted

    def note(self, trade: Trade, key: Identity, *, is_new: bool) -> None:
        """Remember that this copy is committed."""
        noted = None if is_new else self._recent.get(key)
        told = noted_of(trade)
        if noted is not None and noted >> KNOWN_BITS == trade.slot:
            told |= noted
        self._recent.set(key, told)

    def note_new(self, told: Mapping[Identity, int]) -> None:
        """Remember new trades that are committed, as `noted_of` them."""
        self._recent.update(told)

    def forget(self, key: Identity) -> None:
        """Know nothing of that trade any more."""
        self._recent.drop(key)


def noted_of(trade: Trade) -> int:
    """Return what is remembered of a trade: its slot, and which of its members are known."""
    return trade.slot << KNOWN_BITS | known(trade)


def sort(
    facts: Sequence[Fact],
    times: Times,
    lately: Known,
    refused: Mapping[int, str],
    *,
    look_closely: bool = False,
    trades_from: datetime | None = None,
) -> Sorted:
    """
    Sort a batch.

    Args:
        facts: In the order of their arrival.
        times: Remembers block times.
        lately: What the last batches held.
        refused: Why the database does not take the facts at these places.
        look_closely: Whether trades that were stored lately may say more all the same: some were read again.
        trades_from: Trades from before that time are refused; None: none is for its age.
    """
    first_time = 0 if trades_from is None else int(trades_from.timestamp())
    found = Sorted(facts, list(facts), [Outcome.DUPLICATE] * len(facts))
    for at, fact in enumerate(facts):
        told = refused.get(at) if refused else None
        reason = told or _why_not(fact, times, first_time)
        if isinstance(fact, Trade) and reason is None:
            _sort_trade(found, at, fact, lately, look_closely=look_closely)
        elif isinstance(fact, Fault):
            found.faults[at] = ("fault", fact)
        elif isinstance(fact, Other) and not touches(fact):
            found.outcomes[at] = Outcome.OTHER
        elif reason is not None:
            found.outcomes[at] = Outcome.REFUSED
            found.faults[at] = (type(fact).kind, refusal(fact, reason, is_too_large=bool(told)))
        else:
            found.cold.append(at)
    return found


def refusal(fact: Fact, reason: str, *, is_too_large: bool = False) -> Fault:
    """Return the fault to be stored in place of a fact; with its token, if the database cannot hold its values."""
    return Fault(
        **{name: getattr(fact, name) for name in Fact.__struct_fields__ if name != "record"},
        reason=REFUSED + reason,
        payload=refused_payload(fact),
        mint=getattr(fact, "mint", None) if is_too_large else None,
    )


def _why_not(fact: Fact, times: Times, first_time: int) -> str | None:
    """Return why a fact cannot be stored, or None if nothing is against it; trades are from `first_time` on."""
    block_time = fact.block_time
    if block_time is None or times.get(block_time) is None:
        return "block time is not known" if block_time is None else "no block has this time"
    if not 0 <= fact.slot < SLOT_LIMIT:
        return "no block has this slot"
    whole = True
    if isinstance(fact, Trade):
        if block_time < first_time:
            return BEYOND_RETENTION
        whole = fact.mint is not None and fact.quote_mint is not None and fact.trader is not None
    elif isinstance(fact, Launch | CurveComplete):
        whole = fact.mint is not None and fact.quote_mint is not None
    return None if whole else "mint, quote mint or trader is not known"


def _sort_trade(found: Sorted, at: int, trade: Trade, lately: Known, *, look_closely: bool) -> None:
    key = identity(trade)
    first = found.trades.setdefault(key, at)
    if first != at:
        other = found.facts[first]
        if other.slot != trade.slot:
            found.landings.add((trade.signature, min(other.slot, trade.slot)))
        found.facts[first] = _merge(other, trade)
        return
    stored = lately.holds(trade, key)
    if stored is None:
        return
    if stored and not (look_closely or trade.final):
        del found.trades[key]
    else:
        found.suspects.add(at)


def _merge(first: Fact, second: Trade) -> Fact:
    return merged(first, second) if isinstance(first, Trade) else first


def cold_facts(found: Sorted) -> dict[int, ColdFact]:
    """Return the facts that change tokens and pools, by place."""
    return {at: fact for at in found.cold if isinstance(fact := found.facts[at], ColdFact)}


def clean_fault(fault: Fault) -> Fault:
    """Return the fault with texts and numbers that a row of `faults` can hold, whatever it was made from."""
    return msgspec.structs.replace(
        fault,
        **{name: clean(getattr(fault, name)) for name in ("signature", "program", "venue", "event", "reason")},
        platform=None if fault.platform is None else clean(fault.platform),
        mint=None if fault.mint is None else clean(fault.mint),
        slot=max(0, min(fault.slot, (1 << 64) - 1)),
    )

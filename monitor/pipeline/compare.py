"""
Compare what a block says with what is stored of its slot (pure).

What should be stored is put together here anew, from facts and docs/SCHEMA.md alone: the writer's code has no part in
it, so that its mistakes are found as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from decoders.core.types import CurveComplete, Graduation, Launch, PoolCreated, Trade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from decoders.core.types import Fact

Members: TypeAlias = dict[str, Any]
PLACE = "place"
"""The member of a difference in which a trade stands among its neighbours as it did not on the chain."""
Kind = Literal["trade", "launch", "curve_complete", "graduation", "pool_created"]

_BIGINT = range(-(1 << 63), 1 << 63)
# What may be greater than a BIGINT, and stands in a NUMERIC.
_WIDE = frozenset({"supply"})
_INDEX_END, _POSITION_END, _NTH_END = 1 << 17, 1 << 10, 1 << 4
_TRADE = (
    "slot", "block_time", "pool", "mint", "quote_mint", "trader", "side", "base_amount", "quote_amount",
    "user_quote_amount", "mark_base", "mark_quote", "real_base", "real_quote", "curve_sold", "curve_total",
    "protocol_fee", "creator_fee", "lp_fee", "platform_fee", "share_fee", "cashback", "organic", "synthetic", "supply",
)  # fmt: skip
# Column by member. What a token's row has of its launch and does not change later.
_LAUNCH = {"signature": "launch_signature", "block_time": "launched_at", "pool": "curve"} | {
    name: name
    for name in (
        "platform", "platform_config", "name", "symbol", "uri", "decimals", "payer", "token_program", "curve_kind",
        "for_sale", "raise_target", "is_mayhem", "is_cashback", "is_holder_reward", "creator_fee_bps", "depth",
        "migrate_to",
    )
}  # fmt: skip
_COMPLETE = {"signature": "completed_signature", "block_time": "completed_at", "trader": "completed_by",
             "pool": "curve"}  # fmt: skip
_GRADUATION = {"signature": "graduated_signature", "block_time": "graduated_at", "pool": "curve",
               "to_pool": "graduation_pool", "to_venue": "graduation_venue"}  # fmt: skip
_CREATED = {"signature": "created_signature", "block_time": "created_at"} | {
    name: name for name in ("venue", "mint", "quote_mint", "creator")
}
_SEEDED = _CREATED | {"base_amount": "seed_base", "quote_amount": "seed_quote", "flipped": "flipped"}


class Key(NamedTuple):
    """
    What makes a row this one and no other.

    Of a trade: (signature, venue, event, nth). Of what a token has once: (mint,). Of a pool: (address,).
    """

    kind: Kind
    name: tuple[str | int, ...]

    def __str__(self) -> str:
        """Return it as people read it."""
        return " ".join(map(str, self.name))


class SlotRows(Protocol):
    """What stands in one slot, as `Store.rows_of_slot` has it."""

    @property
    def trades(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `transactions`, with the addresses of mint, quote_mint and pool."""

    @property
    def launches(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `tokens` that were launched there."""

    @property
    def completions(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `tokens` whose curve was completed there."""

    @property
    def graduations(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `tokens` that graduated there."""

    @property
    def pools(self) -> Sequence[Mapping[str, Any]]:
        """Rows of `pools` that were made there."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    A row: its columns by name (times in Unix seconds), and where it stands in its slot.

    `order` is a trade's `chain_order`; None where there is none, or the place has no room in it. `is_exact` if the
    place in the block is known.
    """

    key: Key
    signature: str
    members: Members
    order: int | None = None
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """
    What a block says, as rows.

    `required` must be stored. `optional` need not be: the gate keeps them out by its rules, the database cannot hold
    them, or they are older than the trade horizon. `untold` are keys of what the block alone does not tell completely.
    """

    required: Sequence[Row] = ()
    optional: Sequence[Row] = ()
    untold: frozenset[Key] = frozenset()


class Difference(NamedTuple):
    """
    One thing in which the database is not what the chain says.

    `how`: "missing" and "extra" are whole rows, "different" is the `member` that `stored` and `chain` are values of.
    """

    slot: int
    how: Literal["missing", "extra", "different"]
    key: Key
    signature: str
    member: str = ""
    stored: Any = None
    chain: Any = None


@dataclass(slots=True)
class Compared:
    """What came of a comparison: rows that both sides have, those among them of unknown place, and what differs."""

    rows: int = 0
    inexact: int = 0
    differences: list[Difference] = field(default_factory=list)


def said(
    kept: Iterable[Fact], filtered: Iterable[Fact], partial: Iterable[Fact], trades_from: int | None = None
) -> Said:
    """
    Return what facts of a block say.

    Args:
        kept: Complete ones that the gate lets through, in order.
        filtered: Complete ones that it does not.
        partial: Those that lack a member.
        trades_from: Trades from before that Unix second are dropped, or will be; None: none are.
    """
    rows = [row for fact in kept for row in rows_of(fact)]
    return Said(
        required=[row for row in rows if _fits(row, trades_from)],
        optional=[row for row in rows if not _fits(row, trades_from)]
        + [row for fact in filtered for row in rows_of(fact)],
        untold=frozenset(row.key for fact in partial for row in rows_of(fact)),
    )


def rows_of(fact: Fact) -> Iterator[Row]:
    """Yield the rows that a fact makes: a launch makes its token's and its curve's."""
    match fact:
        case Trade():
            tail = fact.record.tail if fact.record is not None else b""
            key = Key("trade", (fact.signature, fact.venue, fact.event, fact.nth))
            members = _members(fact, {name: name for name in _TRADE}) | {"tail": tail or None}
            yield Row(key, fact.signature, members, _order(fact))
        case Launch():
            yield Row(Key("launch", (str(fact.mint),)), fact.signature, _known(fact, _LAUNCH))
            yield Row(Key("pool_created", (fact.pool,)), fact.signature, _known(fact, _CREATED))
        case CurveComplete():
            yield Row(Key("curve_complete", (str(fact.mint),)), fact.signature, _known(fact, _COMPLETE))
        case Graduation():
            yield Row(Key("graduation", (fact.mint,)), fact.signature, _known(fact, _GRADUATION))
        case PoolCreated():
            yield Row(Key("pool_created", (fact.pool,)), fact.signature, _known(fact, _SEEDED))
        case _:
            return


def stored_rows(found: SlotRows) -> list[Row]:
    """Return what is stored of a slot in the same shape."""
    rows = [
        Row(
            Key("trade", (row["signature"], row["venue"], row["event"], row["nth"])), row["signature"], _plain(row),
            row["chain_order"], row["order_exact"],
        )
        for row in found.trades
    ]  # fmt: skip
    once: tuple[tuple[Kind, str, str, Sequence[Mapping[str, Any]]], ...] = (
        ("launch", "mint", "launch_signature", found.launches),
        ("curve_complete", "mint", "completed_signature", found.completions),
        ("graduation", "mint", "graduated_signature", found.graduations),
        ("pool_created", "address", "created_signature", found.pools),
    )
    for kind, name, signature, of_kind in once:
        rows += [Row(Key(kind, (row[name],)), row[signature], _plain(row)) for row in of_kind]
    return rows


def compare(slot: int, chain: Said, stored: Sequence[Row]) -> Compared:
    """Return in what the rows that are stored of a slot differ from what its block says."""
    found = Compared()
    is_there = {row.key: row for row in stored}
    should = {row.key: row for row in (*chain.optional, *chain.required)}
    for key, row in is_there.items():
        if key in should:
            found.rows += 1
            found.inexact += not row.is_exact
            found.differences += _members_differ(slot, row, should[key])
        elif key not in chain.untold:
            found.differences.append(Difference(slot, "extra", key, row.signature))
    found.differences += [
        Difference(slot, "missing", row.key, row.signature) for row in chain.required if row.key not in is_there
    ]
    found.differences += _misplaced(slot, is_there, should)
    return found


def storable(text: str) -> str:
    """Return a text as PostgreSQL can hold it: NUL as its picture, half a surrogate pair as the replacement."""
    return "".join(
        "\u2400" if character == "\0" else "\ufffd" if "\ud800" <= character <= "\udfff" else character
        for character in text
    )


def _members(fact: Fact, columns: Mapping[str, str]) -> Members:
    values = {column: getattr(fact, name) for name, column in columns.items()}
    return {column: storable(value) if isinstance(value, str) else value for column, value in values.items()}


def _known(fact: Fact, columns: Mapping[str, str]) -> Members:
    """Return what a fact says of a token or pool: of what it does not say another fact may have told."""
    return {column: value for column, value in _members(fact, columns).items() if value is not None}


def _plain(row: Mapping[str, Any]) -> Members:
    """Return columns as facts have them."""
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    match value:
        case datetime():
            return int(value.timestamp())
        case Decimal():
            return int(value)
        case _:
            return value


def _fits(row: Row, trades_from: int | None) -> bool:
    """Tell whether the database can hold a row: it has 64 bits for each number, and needs a time that it keeps."""
    if row.key.kind == "trade":
        at = row.members["block_time"]
        if at is None or (trades_from is not None and at < trades_from):
            return False
    return all(type(value) is not int or name in _WIDE or value in _BIGINT for name, value in row.members.items())


def _order(trade: Trade) -> int | None:
    """Return the `chain_order` of docs/SCHEMA.md: slot, known, place in the block, position, nth; None: no room."""
    if trade.index is None or trade.index >= _INDEX_END or trade.position >= _POSITION_END or trade.nth >= _NTH_END:
        return None
    place = (trade.index * _POSITION_END + trade.position) * _NTH_END + trade.nth
    return (trade.slot * 2 + 1) * (_INDEX_END * _POSITION_END * _NTH_END) + place


def _members_differ(slot: int, row: Row, should: Row) -> Iterator[Difference]:
    for name, value in should.members.items():
        if row.members.get(name) != value:
            yield _different(slot, row, name, row.members.get(name), value)
    if row.is_exact and row.order is not None and should.order is not None and row.order != should.order:
        yield _different(slot, row, "chain_order", row.order, should.order)


def _misplaced(slot: int, stored: Mapping[Key, Row], should: Mapping[Key, Row]) -> Iterator[Difference]:
    """Yield the first trade of each pool that, known by arrival, stands in another place than on the chain."""
    by_pool: dict[str, list[Key]] = {}
    for key, row in stored.items():
        if row.order is not None and not row.is_exact and key in should and should[key].order is not None:
            by_pool.setdefault(str(should[key].members["pool"]), []).append(key)
    for keys in by_pool.values():
        as_stored = sorted(keys, key=lambda key: stored[key].order or 0)
        as_said = sorted(keys, key=lambda key: should[key].order or 0)
        for place, (one, other) in enumerate(zip(as_stored, as_said, strict=True)):
            if one != other:
                yield _different(slot, stored[one], PLACE, place, as_said.index(one))
                break


def _different(slot: int, row: Row, member: str, stored: Any, chain: Any) -> Difference:
    return Difference(slot, "different", row.key, row.signature, member, stored, chain)

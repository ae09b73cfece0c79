"""Trades as rows of `transactions`, and what one copy of a trade knows more than another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from monitor.store.order import index_of, position_of, supersedes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.types import Fact, Trade

Row = tuple[Any, ...]
Identity = tuple[int | None, str, str, str, int]
Ids = tuple[int, int, int]
"""Token, pool and quote."""

FILLABLE = (
    "mark_base",
    "mark_quote",
    "real_base",
    "real_quote",
    "curve_sold",
    "curve_total",
    "protocol_fee",
    "creator_fee",
    "lp_fee",
    "platform_fee",
    "share_fee",
    "cashback",
    "supply",
)
"""Members of a trade's row that one copy may know and another not."""
OF_MARKET = ("platform", "platform_config", "canonical", "decimals", "quote_decimals")
"""The same of its token and pool."""
KNOWN_BITS = 24
"""Width of what `known` returns, at least."""

COLUMNS = (
    "block_time",
    "signature",
    "venue",
    "event",
    "nth",
    "slot",
    "chain_order",
    "order_exact",
    *FILLABLE,
    "tail",
    "token_id",
    "pool_id",
    "quote_id",
    "batch_no",
    "base_amount",
    "quote_amount",
    "user_quote_amount",
    "organic",
    "synthetic",
    "side",
    "trader",
)
AT = {name: place for place, name in enumerate(COLUMNS)}
TIME = AT["block_time"]
SLOT = AT["slot"]
ORDER = AT["chain_order"]
EXACT = AT["order_exact"]
POOL_ID = AT["pool_id"]
TOKEN_ID = AT["token_id"]
SUPPLY = AT["supply"]
TAIL = AT["tail"]
_FILL_FROM = AT["mark_base"]
_FILL_TO = TAIL + 1
_VALUES = ("base_amount", "quote_amount", "user_quote_amount", "organic", "synthetic", "side", "trader")
_VALUES_FROM = AT["base_amount"]

_TIME_END = 4_102_444_800  # 2100-01-01: what claims to be later is no block time
_NUL_PICTURE = "\u2400"


class Times:
    """Block times as the database takes them; a batch has few distinct ones, so they are remembered."""

    def __init__(self) -> None:
        self._known: dict[int, datetime] = {}

    def get(self, block_time: int | None) -> datetime | None:
        """Return the time, or None if it is not known or no block can have it."""
        if block_time is None:
            return None
        at = self._known.get(block_time)
        if at is None:
            if not 0 <= block_time < _TIME_END:
                return None
            if len(self._known) > 10_000:
                self._known.clear()
            at = self._known[block_time] = datetime.fromtimestamp(block_time, UTC)
        return at


def identity(fact: Fact) -> Identity:
    """Return what makes a fact this one and no other, among facts of its kind (a venue is one program)."""
    return (fact.block_time, fact.signature, fact.venue, fact.event, fact.nth)


def known(trade: Trade) -> int:
    """Return a set of bits: which of the members that a copy may lack this copy has."""
    # Written out, for it is asked of each trade: a loop takes nearly thrice the time.
    return (
        (trade.index is not None) << 19
        | (trade.mark_base is not None) << 18
        | (trade.mark_quote is not None) << 17
        | (trade.real_base is not None) << 16
        | (trade.real_quote is not None) << 15
        | (trade.curve_sold is not None) << 14
        | (trade.curve_total is not None) << 13
        | (trade.protocol_fee is not None) << 12
        | (trade.creator_fee is not None) << 11
        | (trade.lp_fee is not None) << 10
        | (trade.platform_fee is not None) << 9
        | (trade.share_fee is not None) << 8
        | (trade.cashback is not None) << 7
        | (trade.supply is not None) << 6
        | (trade.platform is not None) << 5
        | (trade.platform_config is not None) << 4
        | (trade.canonical is not None) << 3
        | (trade.decimals is not None) << 2
        | (trade.quote_decimals is not None) << 1
        | bool(trade.record is not None and trade.record.tail)
    )


def trade_row(trade: Trade, at: datetime, order: int, ids: Ids, batch_no: int) -> Row:
    """Return the row, its members in the order of COLUMNS."""
    record = trade.record
    return (
        at,
        trade.signature,
        trade.venue,
        trade.event,
        trade.nth,
        trade.slot,
        order,
        trade.index is not None,
        trade.mark_base,
        trade.mark_quote,
        trade.real_base,
        trade.real_quote,
        trade.curve_sold,
        trade.curve_total,
        trade.protocol_fee,
        trade.creator_fee,
        trade.lp_fee,
        trade.platform_fee,
        trade.share_fee,
        trade.cashback,
        trade.supply,
        record.tail or None if record is not None else None,
        ids[0],
        ids[1],
        ids[2],
        batch_no,
        trade.base_amount,
        trade.quote_amount,
        trade.user_quote_amount,
        trade.organic,
        trade.synthetic,
        trade.side,
        trade.trader,
    )


def upgrade(old: Sequence[Any], new: Row, *, is_whole: bool = False, is_final: bool = False) -> Row | None:
    """
    Return the stored row `old` with what `new` knows more, or None if that is nothing; `new` itself to replace it.

    The copy of the later slot is the trade, for it landed there again after a fork. Copies of one slot fill each other.

    Args:
        old: As stored.
        new: Of a copy.
        is_whole: Whether the copy tells for sure which bytes are its tail, if any.
        is_final: Whether the finalized chain says so: a stored value that is another one is wrong.
    """
    better = _filled(old, new, is_whole=is_whole)
    if is_final and _contradicts(old if better is None else better, new):
        return new
    return better


def _contradicts(stored: Sequence[Any], new: Row) -> bool:
    at = AT["batch_no"]
    return tuple(stored[:at]) != new[:at] or tuple(stored[at + 1 :]) != new[at + 1 :]


def _filled(old: Sequence[Any], new: Row, *, is_whole: bool) -> Row | None:
    if new[SLOT] != old[SLOT]:
        return new if new[SLOT] > old[SLOT] else None
    known_by_old = old[_FILL_FROM:_FILL_TO]
    filled = tuple(
        stored if stored is not None else value
        for stored, value in zip(known_by_old, new[_FILL_FROM:_FILL_TO], strict=True)
    )
    if is_whole and reads_more(old, new):
        filled = (*filled[:-1], new[TAIL])
    elif new[TAIL] is not None and old[TAIL] is None and not _knows_all_of(old, new):
        filled = (*filled[:-1], None)  # left over by an older layout
    moves = supersedes(new[ORDER], old[ORDER])
    if not moves and filled == tuple(known_by_old):
        return None
    place = new if moves else old
    return (*old[:SLOT], place[SLOT], place[ORDER], place[EXACT], *filled, *old[_FILL_TO:])


def reads_more(old: Sequence[Any], new: Sequence[Any]) -> bool:
    """Tell whether a copy was read by a newer layout than the stored row: less is left over, and nothing is lost."""
    left, left_now = old[TAIL] or b"", new[TAIL] or b""
    if len(left_now) >= len(left) or not left.endswith(left_now):
        return False
    return _knows_all_of(old, new)


def _knows_all_of(old: Sequence[Any], new: Sequence[Any]) -> bool:
    pairs = zip(old[_FILL_FROM:TAIL], new[_FILL_FROM:TAIL], strict=True)
    return all(value is not None for stored, value in pairs if stored is not None)


def with_row(trade: Trade, row: Sequence[Any]) -> Trade:
    """Return the trade as a row of the same identity tells it."""
    order = row[ORDER]
    members = dict(zip(FILLABLE, row[_FILL_FROM:TAIL], strict=True))
    members |= zip(_VALUES, row[_VALUES_FROM:], strict=True)
    members["supply"] = None if row[SUPPLY] is None else int(row[SUPPLY])
    return msgspec.structs.replace(trade, slot=row[SLOT], index=index_of(order), position=position_of(order), **members)


def merged(first: Trade, second: Trade) -> Trade:
    """
    Return one trade from two copies of it: that of the later slot, or the first with what the second knows more.

    What the finalized chain says of a trade stands, and others tell more of its market alone.
    """
    if first.final != second.final:
        first, second = (first, second) if first.final else (second, first)
        known = {name: getattr(second, name) for name in OF_MARKET if getattr(first, name) is None}
        return msgspec.structs.replace(first, **known)
    if first.slot != second.slot:
        return first if first.slot > second.slot else second
    members = {name: getattr(second, name) for name in (*FILLABLE, *OF_MARKET) if getattr(first, name) is None}
    if first.index is None:
        members |= {"index": second.index, "position": second.position}
    if second.record is not None and (first.record is None or not first.record.tail):
        members["record"] = second.record
    return msgspec.structs.replace(first, **members)


def clean(text: str) -> str:
    """Return the text as PostgreSQL can hold it: NUL becomes its picture U+2400, half a surrogate pair U+FFFD."""
    return text.replace("\0", _NUL_PICTURE).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def refused_payload(fact: Fact) -> bytes:
    """Return everything that a fact says, as JSON, for the Fault that is stored in its place."""
    fields: dict[str, Any] = {}
    tail = b""
    if fact.record is not None:
        fields = fact.record.layout.render(fact.record)
        tail = fact.record.tail
    members = msgspec.to_builtins(msgspec.structs.replace(fact, record=None))
    return msgspec.json.encode({"fact": type(fact).kind, **members, "fields": fields, "tail_hex": tail.hex()})

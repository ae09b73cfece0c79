"""What must hold for whatever is decoded, from whatever bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decoders.core.base58 import decode
from decoders.core.types import CurveComplete, Fault, Graduation, Launch, PoolCreated, Trade
from tests.decoders.built import ALL, RAW
from tests.fuzz.model import BY_ADDRESS, Expected, expected, read_event, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from decoders.core.types import Decoded, Fact, PoolInfo, TxNotice

MOST = (1 << 63) - 1
KEYS = {"mint", "pool", "to_pool", "quote_mint", "trader", "creator", "payer", "platform_config", "token_program"}
ZERO_KEY = "1" * 32
TIMES = range(1_577_836_800, 1 << 32)
# Members of facts that stand in the event as they are, by the event's fields.
SAME: dict[tuple[str, str, str], dict[str, str]] = {
    ("pumpfun", "TradeEvent", "trade"): {"mint": "mint", "trader": "user", "base_amount": "token_amount"},
    ("pumpfun", "CreateEvent", "launch"): {"mint": "mint", "pool": "bonding_curve", "payer": "user", "name": "name"},
    ("pumpfun", "CompleteEvent", "curve_complete"): {"mint": "mint", "pool": "bonding_curve", "trader": "user"},
    ("pumpfun", "CompletePumpAmmMigrationEvent", "graduation"): {
        "mint": "mint", "to_pool": "pool", "base_amount": "mint_amount", "quote_amount": "sol_amount",
    },
    ("pumpfun", "PostCompleteBuyEvent", "trade"): {"mint": "mint", "pool": "bonding_curve", "trader": "user"},
    ("pumpswap", "BuyEvent", "trade"): {"pool": "pool", "trader": "user"},
    ("pumpswap", "SellEvent", "trade"): {"pool": "pool", "trader": "user"},
    ("pumpswap", "CreatePoolEvent", "pool_created"): {"pool": "pool", "creator": "creator"},
    ("raydium_launchpad", "TradeEvent", "trade"): {
        "pool": "pool_state", "real_quote": "real_quote_after", "curve_total": "total_base_sell",
        "protocol_fee": "protocol_fee", "platform_fee": "platform_fee", "share_fee": "share_fee",
    },
    ("raydium_launchpad", "PoolCreateEvent", "launch"): {"pool": "pool_state", "creator": "creator"},
    ("raydium_cpmm", "SwapEvent", "trade"): {"pool": "pool_id"},
}  # fmt: skip
# Why an event that can be read may still be a fault.
UNFIT = ("amount ", "time ", "shorter than", "unknown direction", "without its amounts", "unknown curve kind")


class WrongRow(AssertionError):  # noqa: N818 - that is what is counted
    """A fact that is not what the bytes say."""


def hold(fact_or_place: Any, is_so: bool, what: str = "") -> None:
    """See that something is so.

    Raises:
        WrongRow: If it is not.
    """
    if not is_so:
        raise WrongRow(f"{what}: {fact_or_place!r}")


def check_notice(notice: TxNotice, pools: Mapping[str, PoolInfo]) -> Decoded:
    """Decode a notice twice, and see that everything in the answer stands in it, and the other way round."""
    decoded = ALL.decode(notice, pools)
    hold(notice, ALL.decode(notice, pools) == decoded, "decoding twice is not equal")
    found = walk(notice.logs or ())
    is_nothing = notice.failed or (notice.invokes is None and found.has_failed)
    hold(decoded, decoded.foreign == (0 if is_nothing else found.foreign), "foreign lines")
    _check_events(decoded, expected(notice, found), notice)
    check_facts(decoded, {"signature": notice.signature, "slot": notice.slot, "index": notice.index})
    return decoded


def check_facts(decoded: Decoded, place: dict[str, Any]) -> None:
    """See that every fact fits the tables, has its identity, and is complete if it is said to be."""
    found = [*decoded.facts, *decoded.partial]
    identities = [(fact.program, fact.event, fact.nth, fact.kind) for fact in found]
    hold(identities, len(set(identities)) == len(identities), "two facts of one identity")
    for fact in found:
        hold(fact, all(getattr(fact, member) == value for member, value in place.items()), "not in its place")
        for member in fact.__struct_fields__:
            _check_member(fact, member, getattr(fact, member))
    for fact in decoded.facts:
        hold(fact, _lacks(fact) == [], f"complete without {_lacks(fact)}")
    for fact in decoded.partial:
        hold(fact, _lacks(fact) != [], "partial, and nothing is missing")
    positions = [fact.position for fact in decoded.facts]
    hold(positions, positions == sorted(positions), "facts stand in no order")
    hold(decoded, bool(decoded.needs) or not decoded.partial, "partial facts and no need")
    hold(decoded.needs, len(set(decoded.needs)) == len(decoded.needs), "a need twice")


def _lacks(fact: Fact) -> list[str]:
    match fact:
        case Trade():
            wanted = ["mint", "pool", "trader", "quote_mint", "block_time"]
        case Launch():
            wanted = ["mint", "pool", "creator", "quote_mint", "block_time"]
        case CurveComplete() | Graduation() | PoolCreated():
            wanted = ["mint", "pool", "quote_mint", "block_time"]
        case _:
            wanted = []
    return [member for member in wanted if getattr(fact, member) is None]


def _check_member(fact: Fact, member: str, value: Any) -> None:
    if value is None or isinstance(value, bool) or member in ("record", "payload"):
        return
    where = f"{fact.kind}.{member}"
    if member == "block_time":
        hold(value, value in TIMES, where)
    elif isinstance(value, int):
        low = -MOST if member == "virtual_quote" else 0
        high = 10**20 - 1 if member == "supply" else MOST  # NUMERIC(20)
        hold(value, low <= value <= high and (member != "mark_base" or value > 0), where)
    elif member in KEYS:
        hold(value, len(decode(value)) == 32 and (member != "quote_mint" or value != ZERO_KEY), where)
    else:
        hold(value, isinstance(value, str), where)


def _check_events(decoded: Decoded, events: list[Expected], notice: TxNotice) -> None:
    by_place = {(event.program, event.event, event.nth): event for event in events}
    hold(by_place, len(by_place) == len(events), "the model counts an event twice")
    told = set()
    for fact in [*decoded.facts, *decoded.partial]:
        place = fact.program, fact.event, fact.nth
        event = by_place.get(place)
        if event is None:
            _check_unsaid(fact, notice)
        else:
            told.add(place)
            check_event(fact, event)
    for place, event in by_place.items():
        hold(event, place in told or bool(decoded.needs), "an event that became nothing")


def _check_unsaid(fact: Fact, notice: TxNotice) -> None:
    """A fact of no event: of an instruction, or that lines are missing."""
    invokes = [one for one in notice.invokes or () if one.program == fact.program and one.position == fact.position]
    hold(fact, bool(invokes), "nobody said it")
    raw = RAW[BY_ADDRESS[fact.program]]
    heads = raw.discriminators["instructions"]
    if fact.event == "unheard":
        hold(fact, notice.logs is None or walk(notice.logs).is_cut, "heard in fact")
    else:
        hold(fact, any(one.data[:8] == heads.get(fact.event) for one in invokes), "no such instruction")


def check_event(fact: Fact, event: Expected) -> None:
    """See that a fact says what a slow reader reads from the same bytes."""
    hold(fact, fact.position == event.position, f"stands at {event.position}")
    if isinstance(fact, Fault):
        hold(fact, fact.payload == event.payload, "lost bytes")
        hold(fact, event.fields is None or any(reason in fact.reason for reason in UNFIT), "it can be read")
        return
    if event.fields is None or fact.record is None:
        raise WrongRow(f"read from what cannot be: {fact!r}")
    fields = event.fields
    names = [name for name in fields if name]
    hold(fact, list(fact.record.values) == [fields[name] for name in names], f"not {fields}")
    hold(fact, fact.record.tail == fields[""], "another tail")
    hold(fact, fact.record.payload == (event.payload if fields[""] else b""), "payload without tail, or the reverse")
    own_time = fields.get("timestamp")
    hold(fact, own_time is None or fact.block_time == own_time, "not at its own time")
    for member, field in SAME.get((BY_ADDRESS[fact.program], fact.event, fact.kind), {}).items():
        value = getattr(fact, member)
        told = decode(value) if member in KEYS and value else value
        hold(fact, told == fields[field] or value is None, f"{member} is not {field}")


def check_again(decoded: Decoded, program: str, payload: bytes, nth: int, position: int) -> None:
    """See that kept bytes say what a slow reader reads from them."""
    name, fields = read_event(program, payload)
    for fact in [*decoded.facts, *decoded.partial]:
        hold(fact, fact.nth == nth, "another number")
        if not isinstance(fact, Fault) or fact.event == name:
            check_event(fact, Expected(program, name, nth, position, payload, fields))

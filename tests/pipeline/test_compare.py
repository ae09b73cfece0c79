"""What is stored of a slot is held against what its block says."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from decoders.core.types import Trade
from monitor.pipeline import compare
from monitor.pipeline.compare import compare as compared
from tests.store import facts

if TYPE_CHECKING:
    from decoders.core.types import Fact
    from monitor.pipeline.compare import Said

SLOT = 454_600_001
AT = 1_790_000_000
NONE = SimpleNamespace(trades=[], launches=[], completions=[], graduations=[], pools=[])


def trade(**members: Any) -> Trade:
    """Return a trade whose place is known."""
    return facts.trade(slot=SLOT, block_time=AT, **({"index": 7, "position": 2} | members))


def row(fact: Trade, **columns: Any) -> dict[str, Any]:
    """Return a trade as a row of `transactions` that somebody else wrote, by docs/SCHEMA.md."""
    exact, place = fact.index is not None, 1 if fact.index is None else fact.index
    values = {name: getattr(fact, name) for name in Trade.__struct_fields__ if name not in ("record", "index")}
    return (
        values
        | {
            "block_time": datetime.fromtimestamp(AT, UTC),
            "tail": None,
            "order_exact": exact,
            "chain_order": SLOT << 32 | exact << 31 | place << 14 | fact.position << 4 | fact.nth,
        }
        | columns
    )


def stored(*trades: dict[str, Any], **others: list[dict[str, Any]]) -> list[compare.Row]:
    """Return rows of a slot as they are read."""
    return compare.stored_rows(SimpleNamespace(**vars(NONE) | others | {"trades": list(trades)}))


def told(*kept: Fact, filtered: tuple[Fact, ...] = (), partial: tuple[Fact, ...] = ()) -> Said:
    """Return what facts of a block say."""
    return compare.said(kept, filtered, partial)


def test_what_is_as_the_chain_says_is_counted_and_no_more() -> None:
    """Rows are counted; those ordered by arrival are told apart, and are no difference."""
    one, other = trade(), trade(signature="another", index=8)
    found = compared(SLOT, told(one, other), stored(row(one), row(msgspec.structs.replace(other, index=None))))
    assert (found.rows, found.inexact, found.differences) == (2, 1, [])


def test_rows_that_only_one_side_has_are_found() -> None:
    """One is missing, the other is extra."""
    here, there = trade(signature="here"), trade(signature="there")
    found = compared(SLOT, told(there), stored(row(here)))
    assert [(one.how, one.signature) for one in found.differences] == [("extra", "here"), ("missing", "there")]


@pytest.mark.parametrize("column", [name for name in compare._TRADE if name not in ("slot", "side")])
def test_each_column_of_a_trade_counts(column: str) -> None:
    """A value that is not the chain's is told with both sides."""
    one = trade()
    wrong = {"block_time": datetime.fromtimestamp(AT + 1, UTC)}.get(column, "wrong")
    (difference,) = compared(SLOT, told(one), stored(row(one, **{column: wrong}))).differences
    assert (difference.how, difference.member) == ("different", column)
    assert difference.chain == getattr(one, column)


def test_the_place_of_a_trade_counts() -> None:
    """A known place must be the block's; trades of a pool known by arrival must stand in the block's order."""
    one = trade()
    (difference,) = compared(SLOT, told(one), stored(row(one, chain_order=row(one)["chain_order"] + 16))).differences
    assert difference.member == "chain_order"
    first, second = trade(signature="first", index=3), trade(signature="second", index=4)
    by_arrival = [
        row(msgspec.structs.replace(fact, index=None), chain_order=SLOT << 32 | number << 14)
        for number, fact in ((2, first), (1, second))
    ]
    (difference,) = compared(SLOT, told(first, second), stored(*by_arrival)).differences
    assert (difference.member, difference.signature) == ("place", "second")
    elsewhere = msgspec.structs.replace(second, pool="elsewhere")
    by_arrival[1]["pool"] = "elsewhere"
    assert compared(SLOT, told(first, elsewhere), stored(*by_arrival)).differences == []


def test_what_need_not_be_stored_may_be() -> None:
    """Filtered facts, amounts that the database cannot hold and partial facts are neither missing nor extra."""
    filtered, huge, partial = trade(signature="f"), trade(signature="h", base_amount=1 << 63), trade(signature="p")
    said = told(huge, filtered=(filtered,), partial=(partial,))
    assert compared(SLOT, said, stored()).differences == []
    assert compared(SLOT, said, stored(row(filtered), row(partial))).differences == []
    assert [one.member for one in compared(SLOT, said, stored(row(filtered, trader="x"))).differences] == ["trader"]


def test_trades_beyond_the_horizon_need_not_be_stored() -> None:
    """They are dropped, or will be; the first of those that are kept is missing."""
    found = [compare.said([trade(signature="t")], (), (), trades_from) for trades_from in (AT, AT + 1)]
    assert [len(compared(SLOT, said, stored()).differences) for said in found] == [1, 0]
    assert compared(SLOT, found[1], stored(row(trade(signature="t")))).differences == []


def test_launches_completions_graduations_and_pools_are_compared_by_what_they_say() -> None:
    """What a fact does not say may have been told by another one, and what changes later is not looked at."""
    launch = facts.launch(slot=SLOT, block_time=AT, name="a\0b", platform_config=None)
    token = {
        "mint": launch.mint, "launch_signature": launch.signature, "launched_at": datetime.fromtimestamp(AT, UTC),
        "curve": launch.pool, "platform_config": "told later", "supply": 1,
    } | {name: getattr(launch, name) for name in compare._LAUNCH.values() if hasattr(launch, name)}  # fmt: skip
    token |= {"name": "a\u2400b", "platform_config": "told later"}
    pool = {
        "address": launch.pool, "created_signature": launch.signature, "created_at": datetime.fromtimestamp(AT, UTC),
        "venue": launch.venue, "mint": launch.mint, "quote_mint": launch.quote_mint, "creator": launch.creator,
    }  # fmt: skip
    assert compared(SLOT, told(launch), stored(launches=[token], pools=[pool])).differences == []
    found = compared(SLOT, told(launch), stored(launches=[token | {"symbol": "?"}])).differences
    assert [(one.how, one.key.kind, one.member) for one in found] == [
        ("different", "launch", "symbol"), ("missing", "pool_created", ""),
    ]  # fmt: skip

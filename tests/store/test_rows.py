"""Copies of a trade merge into the most that is known, and texts become what PostgreSQL can hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from decoders.core.types import Record
from monitor.store.order import arrival_order, exact_order
from monitor.store.rows import (
    AT,
    COLUMNS,
    FILLABLE,
    KNOWN_BITS,
    OF_MARKET,
    Times,
    clean,
    known,
    merged,
    refused_payload,
    trade_row,
    upgrade,
    with_row,
)
from tests.store.facts import trade

if TYPE_CHECKING:
    from decoders.core.types import Trade
    from monitor.store.rows import (
        Row,
    )

AT_TIME = datetime(2026, 9, 21, tzinfo=UTC)


def row(index: int | None, **given: int | None) -> Row:
    """Return the row of a copy."""
    copy = trade(index=index, **given)
    order = arrival_order(copy.slot, 4, 3, 0) if index is None else exact_order(copy.slot, index, 3, 0)
    return trade_row(copy, AT_TIME, order, (1, 2, 3), 9)


def test_a_row_has_every_column() -> None:
    """The row's members are those of COLUMNS, in their order."""
    copy = trade()
    found = dict(zip(COLUMNS, row(7), strict=True))
    for name in ("signature", "venue", "event", "nth", "slot", *FILLABLE, "base_amount", "side", "trader", "organic"):
        assert found[name] == getattr(copy, name)
    assert (found["block_time"], found["token_id"], found["pool_id"], found["quote_id"]) == (AT_TIME, 1, 2, 3)


def test_what_a_copy_may_lack_is_the_same_everywhere() -> None:
    """Each such member has a bit of its own in `known`, and its own place in a row, a merge and a trade of a row."""
    lacks = trade(index=None, **dict.fromkeys((*FILLABLE, *OF_MARKET)))
    assert known(lacks) == 0
    values = {name: 100 + at for at, name in enumerate((*FILLABLE, *OF_MARKET))}
    bits = {known(msgspec.structs.replace(lacks, **{name: value})) for name, value in values.items()}
    bits |= {known(msgspec.structs.replace(lacks, index=0)), known(trade(record=Record(None, (), b"x"))) & 1}
    assert len(bits) == len(values) + 2
    assert all(bit.bit_count() == 1 for bit in bits)
    assert max(bits) < 1 << KNOWN_BITS
    whole = msgspec.structs.replace(lacks, **values)
    assert {name: getattr(merged(lacks, whole), name) for name in values} == values
    of_row = {name: values[name] for name in FILLABLE}
    found = trade_row(whole, AT_TIME, 0, (1, 2, 3), 9)
    assert {name: found[AT[name]] for name in FILLABLE} == of_row
    assert {name: getattr(with_row(lacks, found), name) for name in FILLABLE} == of_row
    better = upgrade(trade_row(lacks, AT_TIME, 0, (1, 2, 3), 9), found)
    assert better is not None
    assert {name: better[AT[name]] for name in FILLABLE} == of_row


def test_an_upgrade_fills_what_is_null_and_moves_slot_and_order() -> None:
    """What is known stays, what was NULL is filled, a known place replaces an arrival."""
    old, new = row(None, mark_base=None, lp_fee=5), row(7, mark_base=11, lp_fee=6)
    better = upgrade(old, new)
    assert better is not None
    assert (better[AT["mark_base"]], better[AT["lp_fee"]]) == (11, 5)
    assert (better[AT["chain_order"]], better[AT["order_exact"]]) == (new[AT["chain_order"]], True)


def test_a_copy_that_knows_nothing_new_is_no_upgrade() -> None:
    """Neither the same copy, nor a poorer one, nor one that only arrived at another time."""
    assert upgrade(row(7), row(7)) is None
    assert upgrade(row(7), row(None, mark_base=None)) is None
    assert upgrade(row(None), row(None)) is None


COPIES = st.builds(
    lambda index, missing: trade(index=index, **dict.fromkeys(missing)),
    st.sampled_from([None, 7]),
    st.sets(st.sampled_from(FILLABLE)),
)


@given(COPIES, COPIES)
def test_merged_knows_what_either_knows(one: Trade, two: Trade) -> None:
    """The merge of two copies has the members of both, in whichever order they are merged."""
    both = merged(one, two)
    assert known(both) == known(one) | known(two)
    assert merged(two, one) == both


def test_a_stored_row_is_told_as_a_trade() -> None:
    """What the database holds comes back in place of what a poorer copy says."""
    poor = trade(index=None, mark_base=None)
    assert with_row(poor, row(7)) == trade()


def test_times_refuse_what_no_block_can_have() -> None:
    """Unknown, negative and absurd times are None."""
    times = Times()
    assert times.get(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert times.get(1_790_000_000) == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert [times.get(value) for value in (None, -1, 1 << 62)] == [None, None, None]


@given(st.text(st.characters(exclude_categories=[])))
def test_clean_text_can_be_stored(text: str) -> None:
    """No NUL and nothing that UTF-8 cannot say is left; a text without such things stays as it is."""
    cleaned = clean(text)
    cleaned.encode()
    assert "\0" not in cleaned
    if "\0" not in text and text.isascii():
        assert cleaned == text


def test_nul_becomes_its_picture() -> None:
    """NUL is shown as U+2400."""
    assert clean("a\0b") == "a\u2400b"


def test_the_payload_of_a_refused_fact_has_all_of_it() -> None:
    """Members and surplus bytes of a fact that could not be stored can be read back."""

    class Layout:
        def render(self, record: Record) -> dict[str, str]:
            return {"x": str(record.values[0])}

    payload = json.loads(refused_payload(trade(record=Record(Layout(), (5,), b"\xff"), base_amount=1 << 63)))
    assert (payload["fact"], payload["base_amount"]) == ("trade", 1 << 63)
    assert (payload["fields"], payload["tail_hex"]) == ({"x": "5"}, "ff")

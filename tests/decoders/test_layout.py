"""Readers give back what an independent encoder wrote, for every event, instruction and account of every IDL."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.core.errors import IdlError, LayoutError
from decoders.core.layout import Idl
from tests.decoders import borsh

RAW = {name: borsh.Idl.load(name) for name in borsh.NAMES}
PARSED = {name: Idl.parse((borsh.IDLS / f"{name}.json").read_bytes()) for name in borsh.NAMES}
LAYOUTS = [(name, kind, shape) for name, raw in RAW.items() for kind in raw.kinds for shape in raw.kinds[kind]]
WITH_FIELDS = [where for where in LAYOUTS if RAW[where[0]].kinds[where[1]][where[2]]]

DYNAMIC = {"PlatformCurveRule", "SharingConfig", "FeeConfig", "QuoteControl"}  # accounts that hold a vec


def layout_of(name: str, kind: str, shape: str) -> Any:
    """Return the reader under test."""
    return getattr(PARSED[name], kind)[shape]


def drawn(data: st.DataObject, name: str, kind: str, shape: str) -> tuple[list[bytes], list[Any]]:
    """Return a record's fields as bytes, and as they must be shown."""
    raw = RAW[name]
    fields = raw.kinds[kind][shape]
    values = [data.draw(raw.values(node), label=field) for field, node in fields]
    encoded = [raw.encode(node, value) for (_, node), value in zip(fields, values, strict=True)]
    return encoded, [raw.shown(node, value) for (_, node), value in zip(fields, values, strict=True)]


@settings(max_examples=300)
@given(st.data(), st.sampled_from(LAYOUTS), st.binary(max_size=9))
def test_round_trip(data: st.DataObject, where: tuple[str, str, str], tail: bytes) -> None:
    """What was written is read, and bytes after the last known field are kept."""
    encoded, shown = drawn(data, *where)
    layout = layout_of(*where)
    record = layout.read(b"disc" + b"".join(encoded) + tail, 4)
    assert list(layout.render(record).values()) == shown
    assert record.tail == tail


@settings(max_examples=200)
@given(st.data(), st.sampled_from(WITH_FIELDS))
def test_every_prefix(data: st.DataObject, where: tuple[str, str, str]) -> None:
    """A record that ends between two fields is an older one: what it lacks is None."""
    encoded, shown = drawn(data, *where)
    layout = layout_of(*where)
    for count in range(len(encoded)):
        record = layout.read(b"".join(encoded[:count]), 0)
        assert list(layout.render(record).values()) == shown[:count] + [None] * (len(encoded) - count)
        assert record.tail == b""


@settings(max_examples=200)
@given(st.data(), st.sampled_from(WITH_FIELDS))
def test_cut_inside_a_field(data: st.DataObject, where: tuple[str, str, str]) -> None:
    """A record that ends inside a field is refused; of an account the whole fields before it are read."""
    encoded, shown = drawn(data, *where)
    layout = layout_of(*where)
    whole = b"".join(encoded)
    ends = {sum(map(len, encoded[:count])): count for count in range(len(encoded), -1, -1)}
    cut = data.draw(st.integers(0, len(whole)), label="cut")
    if cut in ends or (where[2] == "TradeEvent" and cut == 130):  # LaunchLab's oldest, which lacks a field in between
        return
    with pytest.raises(LayoutError, match=where[2]):
        layout.read(whole[:cut], 0)
    count = max(count for end, count in ends.items() if end < cut)
    if where[1] != "accounts" or where[2] in DYNAMIC:
        return
    shorter = list(layout.render(layout.read(whole[:cut], 0, partial=True)).values())
    assert shorter == shown[:count] + [None] * (len(encoded) - count)


@settings(max_examples=300)
@given(st.sampled_from(LAYOUTS), st.binary(max_size=300), st.booleans())
def test_any_bytes(where: tuple[str, str, str], data: bytes, partial: bool) -> None:
    """Any bytes are read or refused, and what was read can be shown."""
    layout = layout_of(*where)
    try:
        record = layout.read(data, 0, partial=partial)
    except LayoutError:
        return
    json.dumps(layout.render(record))


@pytest.mark.parametrize(("length", "lacks"), [(138, {"creator_fee", "exact_in"}), (146, {"exact_in"}), (147, set())])
def test_launchlab_trade_by_length(length: int, lacks: set[str]) -> None:
    """LaunchLab's TradeEvent grew in its middle: its length (discriminator included) tells the layout."""
    raw = RAW["raydium_launchpad"]
    values = {name: number for number, (name, node) in enumerate(raw.kinds["events"]["TradeEvent"]) if node == "u64"}
    whole = b"".join(
        raw.encode(node, values.get(name, raw.zero(node)))
        for name, node in raw.kinds["events"]["TradeEvent"]
        if name not in lacks
    )
    idl = Idl.parse((borsh.IDLS / "raydium_launchpad.json").read_bytes())
    idl.events["TradeEvent"].add_variant(130, without=("creator_fee", "exact_in"))
    data = idl.events["TradeEvent"].discriminator + whole
    assert len(data) == length
    shown = idl.events["TradeEvent"].render(idl.events["TradeEvent"].read(data, 8))
    assert {name for name, value in shown.items() if value is None} == lacks
    assert {name: shown[name] for name in values if name not in lacks} == {
        name: str(value) for name, value in values.items() if name not in lacks
    }


# One type of each sort, in the places where the compiled reader treats it differently.
ZOO = {
    "address": "11111111111111111111111111111111",
    "metadata": {"name": "zoo", "version": "0.1.0", "spec": "0.1.0"},
    "instructions": [
        {
            "name": "feed",
            "discriminator": [9],
            "accounts": [{"name": "keeper"}, {"name": "pair", "accounts": [{"name": "left"}, {"name": "right"}]}],
            "args": [{"name": "meat", "type": "u8"}],
        }
    ],
    "accounts": [],
    "events": [{"name": "Cage", "discriminator": [1, 2]}],
    "types": [
        {
            "name": "Cage",
            "type": {
                "kind": "struct",
                "fields": [
                    {"name": "open", "type": "bool"},
                    {"name": "wide", "type": "i128"},
                    {"name": "wider", "type": "u256"},
                    {"name": "share", "type": "f64"},
                    {"name": "little", "type": "f32"},
                    {"name": "grid", "type": {"array": [{"array": ["u16", 2]}, 2]}},
                    {"name": "seal", "type": {"array": ["u8", 3]}},
                    {"name": "mood", "type": {"defined": {"name": "Mood"}}},
                    {"name": "pair", "type": {"defined": {"name": "Pair"}}},
                    {"name": "alone", "type": {"defined": {"name": "Alone"}}},
                    {"name": "none", "type": {"defined": {"name": "Nothing"}}},
                    {"name": "moods", "type": {"vec": {"defined": {"name": "Mood"}}}},
                    {"name": "raw", "type": "bytes"},
                    {"name": "names", "type": {"array": ["string", 2]}},
                    {"name": "maybe", "type": {"option": {"option": "u8"}}},
                    {"name": "animal", "type": {"defined": {"name": "Animal"}}},
                    {"name": "tags", "type": {"vec": {"defined": {"name": "Tag"}}}},
                    {"name": "many", "type": {"vec": {"array": [{"option": "bool"}, 2]}}},
                    {"name": "grave", "type": {"vec": {"vec": {"defined": {"name": "Animal"}}}}},
                    {"name": "void", "type": {"option": {"defined": {"name": "Nothing"}}}},
                    {"name": "last", "type": "u8"},
                ],
            },
        },
        {"name": "Mood", "type": {"kind": "enum", "variants": [{"name": "Calm"}, {"name": "Wild"}]}},
        {"name": "Pair", "type": {"kind": "struct", "fields": ["u8", "i16"]}},
        {"name": "Alone", "type": {"kind": "struct", "fields": ["i64"]}},
        {"name": "Nothing", "type": {"kind": "struct"}},
        {"name": "Tag", "type": {"kind": "type", "alias": {"defined": {"name": "Label"}}}},
        {"name": "Label", "type": {"kind": "struct", "fields": [{"name": "text", "type": "string"}]}},
        {
            "name": "Animal",
            "type": {
                "kind": "enum",
                "variants": [
                    {"name": "Ant"},
                    {"name": "Bear", "fields": [{"name": "weight", "type": "u64"}, {"name": "mood", "type": "string"}]},
                    {"name": "Cat", "fields": ["u32", "pubkey"]},
                ],
            },
        },
    ],
}
ZOO_RAW, ZOO_IDL = borsh.Idl(json.dumps(ZOO)), Idl.parse(json.dumps(ZOO))
CAGE = ZOO_IDL.events["Cage"]


@given(st.data())
def test_every_type(data: st.DataObject) -> None:
    """Types that no launchpad uses yet round-trip as well, in any nesting."""
    fields = ZOO_RAW.kinds["events"]["Cage"]
    values = [data.draw(ZOO_RAW.values(node)) for _, node in fields]
    encoded = b"".join(ZOO_RAW.encode(node, value) for (_, node), value in zip(fields, values, strict=True))
    shown = [ZOO_RAW.shown(node, value) for (_, node), value in zip(fields, values, strict=True)]
    assert list(CAGE.render(CAGE.read(encoded, 0)).values()) == shown
    cut = data.draw(st.integers(0, len(encoded)))
    with contextlib.suppress(LayoutError):
        CAGE.read(encoded[:cut], 0)


def spoilt(name: str, junk: bytes) -> bytes:
    """Return a cage up to `name`, then junk."""
    names = [field for field, _ in ZOO_RAW.kinds["events"]["Cage"]]
    known: dict[str, Any] = {"names": ["a", "b"], "animal": ("Ant", {})}
    fields = ZOO_RAW.kinds["events"]["Cage"][: names.index(name)]
    return b"".join(ZOO_RAW.encode(node, known.get(field, ZOO_RAW.zero(node))) for field, node in fields) + junk


HUGE = b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("field", "junk", "reason"),
    [
        ("open", b"\2" + bytes(200), "out of range"),
        ("open", b"\2" + bytes(20), "out of range"),
        ("mood", b"\2" + bytes(200), "out of range"),
        ("moods", HUGE + bytes(100), "a vec says 4294967295 items, 100 bytes are left"),
        ("moods", b"\1\0\0\0\2" + bytes(50), "out of range"),
        ("moods", b"\1\0", "data ends inside a length|end inside field moods"),
        ("raw", HUGE + b"x", "a length says 4294967295 bytes, 1 are left"),
        ("names", b"\1\0\0\0\xff" + bytes(50), "utf-8"),
        ("names", b"\1\0\0\0\xff\1\0\0\0", "utf-8|a length says"),
        ("maybe", b"\2" + bytes(50), "an option's tag"),
        ("maybe", b"\1", "an option's tag"),
        ("maybe", b"\1\1", "data ends inside a value"),
        ("animal", b"\3" + bytes(50), "an enum's tag"),
        ("animal", b"\1" + bytes(3), "data ends inside a value"),
        ("many", HUGE, "a vec says"),
        ("many", b"\1\0\0\0\1\2", "out of range"),
        ("grave", HUGE * 3, "a vec says"),
        ("grave", b"\1\0\0\0" + HUGE, "a vec says"),
        ("grave", b"\1\0\0\0\1\0\0\0\3", "an enum's tag"),
    ],
)
def test_hostile_bytes(field: str, junk: bytes, reason: str) -> None:
    """Lengths, tags and text that lie are refused at once, with the reason and the record's name."""
    with pytest.raises(LayoutError, match=f"Cage: .*({reason})"):
        CAGE.read(spoilt(field, junk), 0)


def test_bad_text_in_an_older_record() -> None:
    """An older record, which ends before the newest fields, is checked as much as a whole one."""
    with pytest.raises(LayoutError, match="utf-8"):
        CAGE.read(spoilt("names", b"\1\0\0\0\xff\1\0\0\0a"), 0)


def test_instruction_accounts() -> None:
    """Composite accounts stand for their members, in order."""
    feed = ZOO_IDL.instructions["feed"]
    assert feed.accounts == ("keeper", "left", "right")
    assert feed.account_index == {"keeper": 0, "left": 1, "right": 2}


def test_pick_and_require() -> None:
    """Fields are picked by name; a name that is not there is an IDL error."""
    record = CAGE.read(spoilt("animal", b"\0" + bytes(14)), 0)
    assert CAGE.pick("last", "maybe")(record.values) == (0, None)
    with pytest.raises(IdlError, match="Cage has no field first"):
        CAGE.pick("last", "first")
    with pytest.raises(IdlError, match="Cage has no field first"):
        CAGE.add_variant(1, without=("first",))


def test_vec_of_nothing_is_refused() -> None:
    """A vec whose items take no bytes could claim 2^32 of them for free: the IDL is refused."""
    types = [
        {"name": "E", "type": {"kind": "struct", "fields": [{"name": "v", "type": {"vec": {"array": ["u8", 0]}}}]}}
    ]
    with pytest.raises(IdlError, match="cannot be bounded"):
        Idl.parse(json.dumps({**ZOO, "events": [{"name": "E", "discriminator": [1]}], "types": types}))

"""The encoder is the readers' counterpart: what it writes, they read back, for every layout of every IDL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.core.idl import PRIMITIVES, parse
from decoders.core.layout import Array, Blob, Enum, Idl, Option, Prim, Struct, Text, Vec
from simulator.data import read_idl
from simulator.encode import Encoder, encode

if TYPE_CHECKING:
    from decoders.core.idl import Shape
    from decoders.core.layout import Layout, Type

NAMES = ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm", "raydium_amm_v4")


def pairs(name: str) -> list[tuple[Shape, Layout]]:
    """Return every shape of an IDL with its reader."""
    shapes, layouts = parse(read_idl(name)), Idl.parse(read_idl(name))
    return [
        (shape, group[shape.name])
        for shapes_of, group in (
            (shapes.events, layouts.events),
            (shapes.instructions, layouts.instructions),
            (shapes.accounts, layouts.accounts),
        )
        for shape in shapes_of
    ]


PAIRS = {name: pairs(name) for name in NAMES}


def values(node: Type) -> st.SearchStrategy[Any]:  # noqa: C901 - one line for each kind of type
    """Return values of a type, as readers give them."""
    match node:
        case Prim("bool"):
            return st.booleans()
        case Prim("pubkey"):
            return st.binary(min_size=32, max_size=32)
        case Prim(name):
            bits = int(name[1:])
            low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if name[0] == "i" else (0, (1 << bits) - 1)
            return st.integers(low, high)
        case Text():
            return st.text(max_size=12)
        case Blob():
            return st.binary(max_size=12)
        case Array(Prim("u8"), count):
            return st.binary(min_size=count, max_size=count)
        case Array(of, count):
            return st.tuples(*[values(of)] * count) if count <= 8 else values(of).map(lambda one: (one,) * count)
        case Vec(of):
            return st.lists(values(of), max_size=3)
        case Option(of):
            return st.none() | values(of)
        case Struct(_, fields):
            return st.tuples(*[values(field.type) for field in fields])
        case Enum(_, variants):
            if node.plain:
                return st.sampled_from([variant.name for variant in variants])
            return st.one_of(*[st.tuples(st.just(v.name), values(Struct(v.name, v.fields))) for v in variants])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=80)
@given(data=st.data())
def test_round_trip(name: str, data: st.DataObject) -> None:
    """Readers give back what was written, to the last byte, for every layout of every IDL."""
    shape, layout = data.draw(st.sampled_from(PAIRS[name]))
    drawn = {field.name: data.draw(values(field.type)) for field in shape.fields}
    written = Encoder(shape)(drawn)
    assert written.startswith(shape.discriminator)
    record = layout.read(written, len(shape.discriminator))
    assert dict(zip(drawn, record.values, strict=True)) == drawn
    assert record.tail == b""


@pytest.mark.parametrize("name", NAMES)
def test_absent_members_are_zero(name: str) -> None:
    """Members that are not given are all zero bytes."""
    for shape, _ in PAIRS[name]:
        assert not any(Encoder(shape)({})[len(shape.discriminator) :])


def test_unknown_member_is_refused() -> None:
    """A misspelt member is an error, not a silent zero."""
    with pytest.raises(KeyError, match="soll"):
        Encoder(PAIRS["pumpfun"][0][0])({"soll": 1})


@pytest.mark.parametrize("name", sorted(set(PRIMITIVES) - {"f32", "f64", "pubkey"}))
def test_numbers_are_little_endian(name: str) -> None:
    """Each number takes its own width, lowest byte first."""
    size = 1 if name == "bool" else int(name[1:]) // 8
    assert encode(Prim(name), 1) == b"\1" + bytes(size - 1)

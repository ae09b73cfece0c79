"""IDL files: ours are sound, and a malformed one is refused with the place."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from decoders.core import idl
from decoders.core.errors import IdlError
from decoders.core.idl import Array, Enum, Field, Prim, Struct
from tests.decoders import borsh


def small(**changes: Any) -> dict[str, Any]:
    """Return an IDL of one event, some members replaced."""
    whole = {
        "address": "11111111111111111111111111111111",
        "metadata": {"name": "small", "version": "0.1.0", "spec": "0.1.0"},
        "instructions": [],
        "events": [{"name": "E", "discriminator": [1, 2, 3, 4, 5, 6, 7, 8]}],
        "types": [{"name": "E", "type": {"kind": "struct", "fields": [{"name": "one", "type": "u8"}]}}],
    }
    return {**whole, **changes}


def typed(body: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """Return an IDL whose event has this type."""
    return small(types=[{"name": "E", "type": body}, *others])


def fields(*types: Any) -> dict[str, Any]:
    """Return the body of a struct with fields of these types."""
    return {"kind": "struct", "fields": [{"name": f"f{i}", "type": node} for i, node in enumerate(types)]}


def test_small() -> None:
    """A sound IDL gives name, address and shapes; members that are missing are empty."""
    parsed = idl.parse(json.dumps(small()))
    assert (parsed.name, parsed.address) == ("small", "1" * 32)
    assert parsed.events == (idl.Shape("E", bytes(range(1, 9)), (Field("one", Prim("u8")),)),)
    assert parsed.accounts == parsed.instructions == ()


def test_alias() -> None:
    """An alias stands for its type, and a type that is used twice is read once."""
    alias = {"name": "A", "type": {"kind": "type", "alias": {"array": ["u16", 2]}}}
    node = {"defined": {"name": "A"}}
    parsed = idl.parse(json.dumps(typed(fields(node, node), alias)))
    assert [field.type for field in parsed.events[0].fields] == [Array(Prim("u16"), 2)] * 2


def test_plain_enum() -> None:
    """An enum is plain if none of its variants has fields."""
    assert Enum("A", (Struct("X", ()),)).plain
    assert not Enum("A", (Struct("X", (Field("0", Prim("u8")),)),)).plain


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ({"first": 5}, range(5, 1 << 63)),
        ({"last": 5}, range(6)),
        ({"first": 5, "last": 5}, range(5, 6)),
    ],
)
def test_slots(slots: dict[str, int], expected: range) -> None:
    """An IDL may describe a range of slots, both ends included, one of which may be open."""
    assert idl.parse(json.dumps(small(slots=slots))).slots == expected
    assert idl.parse(json.dumps(small())).slots is None


OTHER = {"name": "O", "type": {"kind": "struct", "fields": []}}
MALFORMED = {
    "not JSON": ("{", "not JSON"),
    "no object": ([], "spec 0.1.0"),
    "no metadata": ({}, "metadata is missing"),
    "an older spec": (small(metadata={"name": "x", "spec": "0.0.1"}), "spec 0.1.0"),
    "no name": (small(metadata={"spec": "0.1.0"}), "metadata: name is missing"),
    "address of another alphabet": (small(address="0" * 32), "is no public key"),
    "short address": (small(address="111"), "not 32 bytes"),
    "address is no text": (small(address=1), "address is missing or no str"),
    "types is no list": (small(types={}), "types is not a list"),
    "events holds text": (small(events=["E"]), "events is not a list of objects"),
    "event without name": (small(events=[{}]), "an event or account: name"),
    "type without name": (small(types=[{}]), "a type: name"),
    "type without body": (small(types=[{"name": "E"}]), "E: type is missing"),
    "no discriminator": (small(events=[{"name": "E"}]), "discriminator is not a list"),
    "discriminator of 256": (small(events=[{"name": "E", "discriminator": [256]}]), "discriminator is not a list"),
    "empty discriminator": (small(events=[{"name": "E", "discriminator": []}]), "discriminator is empty"),
    "undefined type": (small(types=[]), "type E is not defined"),
    "event is an enum": (typed({"kind": "enum", "variants": [{"name": "A"}]}), "E is not a struct"),
    "event is an alias": (typed({"kind": "type", "alias": "u8"}), "E is not a struct"),
    "contains itself": (typed(fields({"vec": {"defined": {"name": "E"}}})), "type E contains itself"),
    "generic": (small(types=[{"name": "E", "generics": [{}], "type": fields()}]), "E is generic"),
    "unknown kind": (typed({"kind": "union"}), "unknown kind 'union'"),
    "enum of nothing": (
        typed(fields({"defined": {"name": "A"}}), {"name": "A", "type": {"kind": "enum", "variants": []}}),
        "enum A has 0 variants",
    ),
    "fields is no list": (typed({"kind": "struct", "fields": {"a": "u8"}}), "E: fields is not a list"),
    "partly named": (typed({"kind": "struct", "fields": [{"name": "a", "type": "u8"}, "u8"]}), "partly named"),
    "unknown primitive": (typed(fields("u7")), "E: unknown type 'u7'"),
    "no type": (typed({"kind": "struct", "fields": [{"name": "a"}]}), "E: unknown type None"),
    "two types": (typed(fields({"vec": "u8", "option": "u8"})), "E: unknown type"),
    "huge array": (typed(fields({"array": ["u8", 65_537]})), "E: unknown type"),
    "generic array": (typed(fields({"array": ["u8", {"generic": "N"}]})), "E: unknown type"),
    "coption": (typed(fields({"coption": "u8"})), "E: unknown type"),
    "slots is a number": (small(slots=5), "slots is missing or no dict"),
    "slots of nothing": (small(slots={}), "names neither first nor last"),
    "slots of something else": (small(slots={"first": 1, "until": 2}), "or more than these"),
    "slots of text": (small(slots={"first": "1"}), "holds what is no slot"),
    "slots of a bool": (small(slots={"first": True}), "holds what is no slot"),
    "slots below 0": (small(slots={"first": -1}), "holds what is no slot"),
    "slots that end before they begin": (small(slots={"first": 2, "last": 1}), "first 2 is after last 1"),
    "argument without name": (
        small(instructions=[{"name": "i", "discriminator": [1], "accounts": [], "args": [{"type": "u8"}]}]),
        "i: name is missing",
    ),
    "account without name": (
        small(instructions=[{"name": "i", "discriminator": [1], "accounts": [{}], "args": []}]),
        "i: name is missing",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    """A malformed IDL is refused, and the message names the place."""
    value, reason = MALFORMED[case]
    with pytest.raises(IdlError, match=reason):
        idl.parse(value if isinstance(value, str) else json.dumps(value))


@pytest.mark.parametrize("name", [name for name in borsh.NAMES if name != "raydium_amm_v4"])
def test_discriminators_are_anchors(name: str) -> None:
    """Discriminators are what Anchor derives from the names (AMM v4 is no Anchor program)."""
    raw = borsh.Idl.load(name)
    spaces = {"events": "event", "accounts": "account", "instructions": "global"}
    for kind, found in raw.discriminators.items():
        for shape, discriminator in found.items():
            wanted = hashlib.sha256(f"{spaces[kind]}:{shape}".encode()).digest()[:8]
            assert discriminator == wanted, f"{kind} {shape}"

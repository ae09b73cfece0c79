"""Anchor IDL files (spec 0.1.0) as type trees; compiling them into readers is layout.py's work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from decoders.core.base58 import decode as base58_decode
from decoders.core.errors import IdlError
from decoders.core.types import I64_MAX

PRIMITIVES = {
    "bool": "B", "u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q",
    "u128": "QQ", "i128": "Qq", "u256": "QQQQ", "i256": "QQQq", "f32": "f", "f64": "d", "pubkey": "32s",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prim:
    """A number, bool or pubkey; `name` is a key of PRIMITIVES."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 text behind its u32 length."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes behind their u32 length."""


@dataclass(frozen=True, slots=True)
class Vec:
    """Items behind their u32 count."""

    of: Type


@dataclass(frozen=True, slots=True)
class Array:
    """A fixed count of items."""

    of: Type
    count: int


@dataclass(frozen=True, slots=True)
class Option:
    """A tag byte (0 or 1), then the value if 1."""

    of: Type


@dataclass(frozen=True, slots=True)
class Struct:
    """Fields in order; `tuple_like` ones are named by their index."""

    name: str
    fields: tuple[Field, ...]
    tuple_like: bool = False


@dataclass(frozen=True, slots=True)
class Enum:
    """A u8 variant index, then that variant's fields."""

    name: str
    variants: tuple[Struct, ...]

    @property
    def plain(self) -> bool:
        """Whether no variant has fields, so that the variant's name says it all."""
        return not any(variant.fields for variant in self.variants)


Type = Prim | Text | Blob | Vec | Array | Option | Struct | Enum


@dataclass(frozen=True, slots=True)
class Field:
    """One named member."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Shape:
    """An event, instruction or account: its discriminator, fields in order, and an instruction's account names."""

    name: str
    discriminator: bytes
    fields: tuple[Field, ...]
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawIdl:
    """A parsed IDL file. `slots`: those whose transactions it describes; None: all that no other file of its does."""

    address: str
    name: str
    events: tuple[Shape, ...]
    instructions: tuple[Shape, ...]
    accounts: tuple[Shape, ...]
    slots: range | None = None


def parse(text: str | bytes) -> RawIdl:
    """
    Parse an Anchor IDL of spec 0.1.0.

    Raises:
        IdlError: If the file is no such IDL; the message names the place.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise IdlError(f"not JSON: {error}") from error
    if not isinstance(data, dict) or _get(data, "metadata", dict, "the IDL").get("spec") != "0.1.0":
        raise IdlError("not an Anchor IDL of spec 0.1.0 (metadata.spec); `anchor idl convert` mends an older one")
    types = _Types(_list(data, "types"))
    address = _get(data, "address", str, "the IDL")
    try:
        if len(base58_decode(address)) != 32:
            raise ValueError("not 32 bytes")
    except ValueError as error:
        raise IdlError(f"address {address!r} is no public key: {error}") from error
    return RawIdl(
        address=address,
        name=_get(data["metadata"], "name", str, "metadata"),
        events=tuple(_typed_shape(item, types) for item in _list(data, "events")),
        instructions=tuple(_instruction(item, types) for item in _list(data, "instructions")),
        accounts=tuple(_typed_shape(item, types) for item in _list(data, "accounts")),
        slots=_slots(_get(data, "slots", dict, "the IDL")) if "slots" in data else None,
    )


def _slots(raw: dict[str, Any]) -> range:
    """Return the slots from `first` to `last`, both included; one of the two may be absent."""
    if not raw or not set(raw) <= {"first", "last"}:
        raise IdlError(f"slots: {raw!r} names neither first nor last, or more than these")
    if not all(type(slot) is int and 0 <= slot <= I64_MAX for slot in raw.values()):
        raise IdlError(f"slots: {raw!r} holds what is no slot")
    first, last = raw.get("first", 0), raw.get("last", I64_MAX)
    if first > last:
        raise IdlError(f"slots: first {first} is after last {last}")
    return range(first, last + 1)


def _typed_shape(item: dict[str, Any], types: _Types) -> Shape:
    name = _get(item, "name", str, "an event or account")
    node = types.resolve(name, ())
    if not isinstance(node, Struct):
        raise IdlError(f"{name} is not a struct")
    return Shape(name, _discriminator(item, name), node.fields)


def _instruction(item: dict[str, Any], types: _Types) -> Shape:
    name = _get(item, "name", str, "an instruction")
    fields = tuple(
        Field(_get(arg, "name", str, name), types.node(arg.get("type"), name, ())) for arg in _list(item, "args")
    )
    return Shape(name, _discriminator(item, name), fields, tuple(_account_names(_list(item, "accounts"), name)))


def _account_names(items: list[dict[str, Any]], where: str) -> list[str]:
    names: list[str] = []
    for item in items:
        if "accounts" in item:  # a composite: its members stand in its place
            names += _account_names(_list(item, "accounts"), where)
        else:
            names.append(_get(item, "name", str, where))
    return names


def _discriminator(item: dict[str, Any], name: str) -> bytes:
    try:
        found = bytes(item["discriminator"])
    except (KeyError, TypeError, ValueError) as error:
        raise IdlError(f"{name}: discriminator is not a list of bytes") from error
    if not found:
        raise IdlError(f"{name}: discriminator is empty")
    return found


class _Types:
    """The `types` section, resolved on demand."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._raw = {_get(item, "name", str, "a type"): item for item in items}
        self._done: dict[str, Type] = {}

    def resolve(self, name: str, above: tuple[str, ...]) -> Type:
        if name in above:
            raise IdlError(f"type {name} contains itself")
        if name not in self._done:
            if name not in self._raw:
                raise IdlError(f"type {name} is not defined")
            self._done[name] = self._define(name, (*above, name))
        return self._done[name]

    def _define(self, name: str, above: tuple[str, ...]) -> Type:
        body = _get(self._raw[name], "type", dict, name)
        if self._raw[name].get("generics"):
            raise IdlError(f"type {name} is generic, which no event here uses")
        match body.get("kind"):
            case "struct":
                return self._struct(name, body.get("fields"), above)
            case "enum":
                variants = tuple(
                    self._struct(_get(item, "name", str, name), item.get("fields"), above)
                    for item in _list(body, "variants")
                )
                if not 0 < len(variants) <= 256:
                    raise IdlError(f"enum {name} has {len(variants)} variants")
                return Enum(name, variants)
            case "type":
                return self.node(body.get("alias"), name, above)
            case kind:
                raise IdlError(f"type {name} has unknown kind {kind!r}")

    def _struct(self, name: str, fields: Any, above: tuple[str, ...]) -> Struct:
        items = fields or []
        if not isinstance(items, list):
            raise IdlError(f"{name}: fields is not a list")
        named = [isinstance(item, dict) and "name" in item for item in items]
        if any(named) and not all(named):
            raise IdlError(f"{name}: fields are partly named")
        if items and not named[0]:
            return Struct(name, tuple(Field(str(i), self.node(t, name, above)) for i, t in enumerate(items)), True)
        return Struct(name, tuple(Field(item["name"], self.node(item.get("type"), name, above)) for item in items))

    def node(self, raw: Any, where: str, above: tuple[str, ...]) -> Type:
        if isinstance(raw, str):
            if raw == "string":
                return Text()
            if raw == "bytes":
                return Blob()
            if raw in PRIMITIVES:
                return Prim(raw)
        elif isinstance(raw, dict) and len(raw) == 1:
            match raw:
                case {"vec": of}:
                    return Vec(self.node(of, where, above))
                case {"option": of}:
                    return Option(self.node(of, where, above))
                case {"array": [of, int(count)]} if 0 <= count <= 65_536:
                    return Array(self.node(of, where, above), count)
                case {"defined": {"name": str(name)}}:
                    return self.resolve(name, above)
        raise IdlError(f"{where}: unknown type {raw!r}")


def _get(data: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(data, dict) or not isinstance(data.get(key), kind):
        raise IdlError(f"{where}: {key} is missing or no {kind.__name__}")
    return data[key]


def _list(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = data.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise IdlError(f"{key} is not a list of objects")
    return found

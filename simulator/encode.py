"""Borsh, written by IDL layouts: the counterpart of decoders.core.layout's readers."""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from decoders.core.idl import PRIMITIVES, Array, Blob, Enum, Option, Prim, Struct, Text, Vec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from decoders.core.idl import Field, Shape, Type

    Writer = Callable[[Any], bytes]
    Step = Callable[[tuple[Any, ...]], bytes]

_U32 = struct.Struct("<I")


class Encoder:
    """
    Writes one event, instruction or account. Members that are not given are zero (empty, None, the first variant).

    Values are what the readers give: pubkeys as 32 bytes, structs as tuples, an enum as its variant's name, or as
    (name, values) where a variant has fields.

    Args:
        constants: Members that hold something else than zero if they are not given.
    """

    def __init__(self, shape: Shape, constants: Mapping[str, Any] | None = None) -> None:
        self._discriminator = shape.discriminator
        self._defaults = {field.name: zero(field.type) for field in shape.fields} | dict(constants or {})
        names = [field.name for field in shape.fields]
        self._pick = _picker(names)
        self._steps = _steps(shape.fields)

    def __call__(self, values: Mapping[str, Any]) -> bytes:
        """
        Return discriminator and members.

        Raises:
            KeyError: If the layout has no such member.
        """
        merged = {**self._defaults, **values}
        if len(merged) != len(self._defaults):
            raise KeyError(f"no such members: {sorted(set(values) - set(self._defaults))}")
        picked = self._pick(merged)
        return b"".join([self._discriminator, *[step(picked) for step in self._steps]])


def encode(node: Type, value: Any) -> bytes:
    """Return one value as Borsh."""
    return _writer(node)(value)


def zero(node: Type) -> Any:
    """Return the value of a type that is all zero bytes."""
    match node:
        case Prim("bool"):
            return False
        case Prim("pubkey"):
            return bytes(32)
        case Prim(name):
            return 0.0 if name in {"f32", "f64"} else 0
        case Text():
            return ""
        case Blob():
            return b""
        case Vec():
            return []
        case Array(Prim("u8"), count):
            return bytes(count)
        case Array(of, count):
            return (zero(of),) * count
        case Option():
            return None
        case Struct(_, fields):
            return tuple(zero(field.type) for field in fields)
        case Enum(_, variants):
            first = variants[0]
            return first.name if node.plain else (first.name, tuple(zero(field.type) for field in first.fields))


def _picker(names: list[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return cast("Callable[[Mapping[str, Any]], tuple[Any, ...]]", itemgetter(*names))
    return lambda merged: tuple(merged[name] for name in names)


def _steps(fields: tuple[Field, ...]) -> list[Step]:
    """Return writers of consecutive fields: one struct call for each run of simple numbers and keys."""
    steps: list[Step] = []
    start = 0
    while start < len(fields):
        end, formats = start, ""
        while end < len(fields) and (simple := _simple(fields[end].type)):
            formats, end = formats + simple, end + 1
        if end > start:
            steps.append(_run(struct.Struct("<" + formats).pack, slice(start, end)))
            start = end
        else:
            steps.append(_single(_writer(fields[start].type), start))
            start += 1
    return steps


def _simple(node: Type) -> str | None:
    if isinstance(node, Prim) and len(PRIMITIVES[node.name]) == len(PRIMITIVES[node.name].strip("Qq") or "Q"):
        return PRIMITIVES[node.name]
    return None


def _run(pack: Callable[..., bytes], part: slice) -> Step:
    return lambda picked: pack(*picked[part])


def _single(write: Writer, at: int) -> Step:
    return lambda picked: write(picked[at])


def _writer(node: Type) -> Writer:
    match node:
        case Prim("pubkey") | Array(Prim("u8"), _):
            return bytes
        case Prim(name) if len(PRIMITIVES[name]) > 1:
            size, signed = 8 * len(PRIMITIVES[name]), name.startswith("i")
            return lambda value: cast("int", value).to_bytes(size, "little", signed=signed)
        case Prim(name):
            return struct.Struct("<" + PRIMITIVES[name]).pack
        case Text():
            return lambda value: _counted(value.encode())
        case Blob():
            return _counted
        case Vec(of):
            inner = _writer(of)
            return lambda items: _U32.pack(len(items)) + b"".join(map(inner, items))
        case Array(of, _):
            inner = _writer(of)
            return lambda items: b"".join(map(inner, items))
        case Option(of):
            inner = _writer(of)
            return lambda value: b"\0" if value is None else b"\1" + inner(value)
        case Struct(_, fields):
            return _sequence([_writer(field.type) for field in fields])
        case Enum():
            return _enum(node)


def _counted(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


def _sequence(inners: list[Writer]) -> Writer:
    return lambda values: b"".join(inner(value) for inner, value in zip(inners, values, strict=True))


def _enum(node: Enum) -> Writer:
    writers = {
        variant.name: (bytes([tag]), _sequence([_writer(field.type) for field in variant.fields]))
        for tag, variant in enumerate(node.variants)
    }

    def write(value: Any) -> bytes:
        name, values = (value, ()) if isinstance(value, str) else value
        tag, inner = writers[name]
        return tag + inner(values)

    return write

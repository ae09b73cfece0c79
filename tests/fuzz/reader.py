"""Read event bytes by a raw IDL file, slowly and plainly, without a look at `decoders.core`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from tests.decoders.borsh import FLOATS, INTEGERS

if TYPE_CHECKING:
    from tests.decoders.borsh import Idl

# LaunchLab's TradeEvent of 2025 lacks a field in its middle and its last one (PROTOCOLS: 130 bytes).
OLDEST_LAUNCHLAB_TRADE = ("raydium_launchpad", "TradeEvent", 130, ("creator_fee", "exact_in"))


class Unreadable(Exception):  # noqa: N818 - no error: it is an answer
    """The bytes do not follow their layout."""


def fields_of(raw: Idl, kind: str, name: str, data: bytes, at: int) -> dict[str, Any]:
    """Return the values of the fields that `data` holds from `at` on, and its tail as "".

    Raises:
        Unreadable: If the data ends inside a field, or holds what none can be.
    """
    found: dict[str, Any] = {}
    pad, event, size, without = OLDEST_LAUNCHLAB_TRADE
    is_oldest = (raw.raw["metadata"]["name"], name, len(data) - at) == (pad, event, size)
    for field, node in raw.kinds[kind][name]:
        if at == len(data) or (is_oldest and field in without):
            found[field] = None
        else:
            found[field], at = read(raw, node, data, at)
    found[""] = data[at:]
    return found


def whole_fields_of(raw: Idl, kind: str, name: str, data: bytes, at: int) -> dict[str, Any]:
    """Return the values of the fields that stand whole in `data` from `at` on, up to the first that does not."""
    found: dict[str, Any] = {}
    for field, node in raw.kinds[kind][name]:
        try:
            found[field], at = read(raw, node, data, at)
        except Unreadable:
            return found
    return found


def read(raw: Idl, node: Any, data: bytes, at: int) -> tuple[Any, int]:  # noqa: C901 - a case per type
    """Return the value of a type at `at`, and where it ends."""
    match node:
        case "bool":
            return bool(_tag(data, at, 2)), at + 1
        case "string":
            found, at = read(raw, "bytes", data, at)
            try:
                return found.decode(), at
            except UnicodeDecodeError as error:
                raise Unreadable from error
        case "bytes":
            count, at = read(raw, "u32", data, at)
            return _take(data, at, count), at + count
        case "pubkey":
            return _take(data, at, 32), at + 32
        case "f32" | "f64":
            size = 4 if node == "f32" else 8
            return struct.unpack(FLOATS[node], _take(data, at, size))[0], at + size
        case str():
            size = INTEGERS[node]
            return int.from_bytes(_take(data, at, size), "little", signed=node[0] == "i"), at + size
        case {"array": ["u8", count]}:
            return _take(data, at, count), at + count
        case {"option": of}:
            return read(raw, of, data, at + 1) if _tag(data, at, 2) else (None, at + 1)
        case {"vec": of}:
            count, at = read(raw, "u32", data, at)
            if count > len(data) - at:  # no item takes less than a byte
                raise Unreadable
            return _several(raw, [of] * count, data, at)
        case {"array": [of, count]}:
            items, at = _several(raw, [of] * count, data, at)
            return tuple(items), at
    return _defined(raw, raw.types[node["defined"]["name"]], data, at)


def _defined(raw: Idl, body: dict[str, Any], data: bytes, at: int) -> tuple[Any, int]:
    if body["kind"] == "type":
        return read(raw, body["alias"], data, at)
    if body["kind"] == "struct":
        return _members(raw, body, data, at)
    variant = body["variants"][_tag(data, at, len(body["variants"]))]
    if not any(one.get("fields") for one in body["variants"]):
        return variant["name"], at + 1
    values, at = _members(raw, variant, data, at + 1)
    return (variant["name"], values), at


def _members(raw: Idl, body: dict[str, Any], data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    fields = body.get("fields") or []
    nodes = [field["type"] if isinstance(field, dict) and "name" in field else field for field in fields]
    items, at = _several(raw, nodes, data, at)
    return tuple(items), at


def _several(raw: Idl, nodes: list[Any], data: bytes, at: int) -> tuple[list[Any], int]:
    items = []
    for node in nodes:
        item, at = read(raw, node, data, at)
        items.append(item)
    return items, at


def _take(data: bytes, at: int, count: int) -> bytes:
    if at + count > len(data):
        raise Unreadable
    return data[at : at + count]


def _tag(data: bytes, at: int, count: int) -> int:
    tag = _take(data, at, 1)[0]
    if tag >= count:
        raise Unreadable
    return tag

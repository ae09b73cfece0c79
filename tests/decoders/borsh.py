"""
A Borsh encoder for tests, driven by the raw IDL files and written without a look at `decoders.core`.

Values are plain: ints, bools, str, bytes, lists, dicts for structs (lists where their fields have no names), a value or
None for options, and (variant name, fields) for enums. Pubkeys are base58 text.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from solders.pubkey import Pubkey

IDLS = Path(__file__).parents[2] / "idl"
NAMES = sorted(path.stem for path in IDLS.glob("*.json") if "." not in path.stem)

INTEGERS = {f"{sign}{bits}": bits // 8 for sign in "ui" for bits in (8, 16, 32, 64, 128, 256)}
FLOATS = {"f32": "<f", "f64": "<d"}
KEYS = st.binary(min_size=32, max_size=32).map(lambda raw: str(Pubkey(raw)))
ZERO_KEY = "1" * 32


class Idl:
    """One IDL file: its types, and the fields of its events, instructions and accounts as (name, type) lists."""

    def __init__(self, text: str) -> None:
        self.raw = json.loads(text)
        self.address: str = self.raw["address"]
        self.types = {item["name"]: item["type"] for item in self.raw["types"]}
        self.kinds: dict[str, dict[str, list[tuple[str, Any]]]] = {
            "events": {item["name"]: self._struct(item["name"]) for item in self.raw["events"]},
            "accounts": {item["name"]: self._struct(item["name"]) for item in self.raw["accounts"]},
            "instructions": {
                item["name"]: [(arg["name"], arg["type"]) for arg in item["args"]] for item in self.raw["instructions"]
            },
        }
        self.discriminators: dict[str, dict[str, bytes]] = {
            kind: {item["name"]: bytes(item["discriminator"]) for item in self.raw[kind]} for kind in self.kinds
        }
        self.accounts_of = {
            item["name"]: [account["name"] for account in item["accounts"]] for item in self.raw["instructions"]
        }

    @staticmethod
    def load(name: str) -> Idl:
        """Read idl/<name>.json."""
        return Idl((IDLS / f"{name}.json").read_text())

    def event(self, name: str, /, **values: Any) -> bytes:
        """Return an event's bytes, discriminator first; fields that are not given are zero."""
        return self._record("events", name, values)

    def instruction(self, name: str, /, **values: Any) -> bytes:
        """Return an instruction's data; arguments that are not given are zero."""
        return self._record("instructions", name, values)

    def account(self, name: str, /, **values: Any) -> bytes:
        """Return an account's data; fields that are not given are zero."""
        return self._record("accounts", name, values)

    def _record(self, kind: str, name: str, values: dict[str, Any]) -> bytes:
        fields = self.kinds[kind][name]
        assert not set(values) - {field for field, _ in fields}, f"{name} has no such field"
        whole = [self.encode(node, values.get(field, self.zero(node))) for field, node in fields]
        return self.discriminators[kind][name] + b"".join(whole)

    def accounts(self, instruction: str, /, filler: str = ZERO_KEY, **named: str) -> tuple[str, ...]:
        """Return an instruction's account list; accounts that are not named are `filler`."""
        names = self.accounts_of[instruction]
        assert not set(named) - set(names), f"{instruction} has no such account"
        return tuple(named.get(name, filler) for name in names)

    def _struct(self, name: str) -> list[tuple[str, Any]]:
        return [(field["name"], field["type"]) for field in self.types[name].get("fields", [])]

    def encode(self, node: Any, value: Any) -> bytes:
        """Return the bytes of a value."""
        match node:
            case "bool":
                return b"\1" if value else b"\0"
            case "string":
                return self.encode("bytes", value.encode())
            case "bytes":
                return struct.pack("<I", len(value)) + bytes(value)
            case "pubkey":
                return bytes(Pubkey.from_string(value))
            case "f32" | "f64":
                return struct.pack(FLOATS[node], value)
            case str():
                return int(value).to_bytes(INTEGERS[node], "little", signed=node[0] == "i")
            case {"vec": of}:
                return struct.pack("<I", len(value)) + b"".join(self.encode(of, item) for item in value)
            case {"array": ["u8", count]}:
                assert len(value) == count
                return bytes(value)
            case {"array": [of, count]}:
                assert len(value) == count
                return b"".join(self.encode(of, item) for item in value)
            case {"option": of}:
                return b"\0" if value is None else b"\1" + self.encode(of, value)
            case {"defined": {"name": name}}:
                return self._encode_defined(self.types[name], value)
        raise AssertionError(node)

    def _encode_defined(self, body: dict[str, Any], value: Any) -> bytes:
        if body["kind"] == "struct":
            return self._encode_fields(body.get("fields") or [], value)
        if body["kind"] == "type":
            return self.encode(body["alias"], value)
        variant, content = value
        tag = [item["name"] for item in body["variants"]].index(variant)
        return bytes([tag]) + self._encode_fields(body["variants"][tag].get("fields") or [], content)

    def _encode_fields(self, fields: list[Any], value: Any) -> bytes:
        if fields and not _named(fields):
            return b"".join(self.encode(node, item) for node, item in zip(fields, value, strict=True))
        return b"".join(self.encode(field["type"], value[field["name"]]) for field in fields)

    def zero(self, node: Any) -> Any:
        """Return the value whose bytes are zero (of an enum its first variant)."""
        match node:
            case "bool":
                return False
            case "string":
                return ""
            case "bytes":
                return b""
            case "pubkey":
                return ZERO_KEY
            case str():
                return 0
            case {"vec": _}:
                return []
            case {"array": ["u8", count]}:
                return bytes(count)
            case {"array": [of, count]}:
                return [self.zero(of)] * count
            case {"option": _}:
                return None
        return self._map_defined(self.types[node["defined"]["name"]], self.zero, lambda variants: variants[0])

    def _map_defined(self, body: dict[str, Any], of: Any, choose: Any) -> Any:
        """Build a value of a defined type from `of(type)` of each member."""
        if body["kind"] == "type":
            return of(body["alias"])
        if body["kind"] == "struct":
            return _map_fields(body.get("fields") or [], of)
        variant = choose(body["variants"])
        return variant["name"], _map_fields(variant.get("fields") or [], of)

    def values(self, node: Any) -> st.SearchStrategy[Any]:
        """Return a strategy of values."""
        match node:
            case "bool":
                return st.booleans()
            case "string":
                return st.text(max_size=12)
            case "bytes":
                return st.binary(max_size=12)
            case "pubkey":
                return KEYS
            case "f32" | "f64":
                return st.floats(width=32 if node == "f32" else 64, allow_nan=False)
            case str():
                bits = 8 * INTEGERS[node]
                low = -(1 << (bits - 1)) if node[0] == "i" else 0
                return st.integers(low, low + (1 << bits) - 1)
            case {"vec": of}:
                return st.lists(self.values(of), max_size=3)
            case {"array": ["u8", count]}:
                return st.binary(min_size=count, max_size=count)
            case {"array": [of, count]}:
                return self.values(of).map(lambda value: [value] * count)
            case {"option": of}:
                return st.none() | self.values(of)
        return self._values_defined(self.types[node["defined"]["name"]])

    def _values_defined(self, body: dict[str, Any]) -> st.SearchStrategy[Any]:
        if body["kind"] == "type":
            return self.values(body["alias"])
        if body["kind"] == "struct":
            return self._values_fields(body.get("fields") or [])
        return st.one_of(
            *(
                st.tuples(st.just(variant["name"]), self._values_fields(variant.get("fields") or []))
                for variant in body["variants"]
            )
        )

    def _values_fields(self, fields: list[Any]) -> st.SearchStrategy[Any]:
        if fields and not _named(fields):
            return st.tuples(*(self.values(node) for node in fields))
        return st.fixed_dictionaries({field["name"]: self.values(field["type"]) for field in fields})

    def shown(self, node: Any, value: Any) -> Any:
        """Return a value as `launch-monitor decode` prints it."""
        match node:
            case "bool" | "string" | "pubkey" | "f32" | "f64":
                return value
            case "bytes" | {"array": ["u8", _]}:
                return bytes(value).hex()
            case str():
                return str(value) if INTEGERS[node] >= 8 else value
            case {"vec": of} | {"array": [of, _]}:
                return [self.shown(of, item) for item in value]
            case {"option": of}:
                return None if value is None else self.shown(of, value)
        body = self.types[node["defined"]["name"]]
        if body["kind"] == "type":
            return self.shown(body["alias"], value)
        if body["kind"] == "struct":
            return self._shown_fields(body.get("fields") or [], value)
        variant, content = value
        if not any(item.get("fields") for item in body["variants"]):
            return variant
        fields = next(item.get("fields") or [] for item in body["variants"] if item["name"] == variant)
        return {variant: self._shown_fields(fields, content)}

    def _shown_fields(self, fields: list[Any], value: Any) -> Any:
        if fields and not _named(fields):
            items = [self.shown(node, item) for node, item in zip(fields, value, strict=True)]
            return items[0] if len(items) == 1 else items
        return {field["name"]: self.shown(field["type"], value[field["name"]]) for field in fields}


def _named(fields: list[Any]) -> bool:
    return isinstance(fields[0], dict) and "name" in fields[0]


def _map_fields(fields: list[Any], of: Any) -> Any:
    if fields and not _named(fields):
        return [of(node) for node in fields]
    return {field["name"]: of(field["type"]) for field in fields}

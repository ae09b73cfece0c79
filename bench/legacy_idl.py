"""
Write an Anchor IDL of spec 0.1.0 in the format before it, the only one that anchorpy 0.21.0 reads.

The old format has no discriminators (they follow from names), writes names in camel case, keeps the members of events
and accounts beside their names instead of under `types`, and has `publicKey`, `isMut`, `isSigner`.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def convert(idl: Json) -> Json:
    """Return the IDL in the old format. Events and accounts that the new one does not define raise a KeyError."""
    bodies = {item["name"]: item["type"] for item in idl.get("types", [])}
    moved = {item["name"] for key in ("events", "accounts") for item in idl.get(key, [])}
    return {
        "version": idl["metadata"]["version"],
        "name": idl["metadata"]["name"],
        "instructions": [_instruction(item) for item in idl["instructions"]],
        "accounts": [{"name": item["name"], "type": _body(bodies[item["name"]])} for item in idl.get("accounts", [])],
        "types": [{"name": name, "type": _body(body)} for name, body in bodies.items() if name not in moved],
        "events": [
            {"name": item["name"], "fields": [{**_field(field), "index": False} for field in _members(bodies, item)]}
            for item in idl.get("events", [])
        ],
        "metadata": {"address": idl["address"]},
    }


def camel(name: str) -> str:
    """Return `snake_case` as `snakeCase`."""
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _members(bodies: Json, event: Json) -> list[Any]:
    return list(bodies[event["name"]].get("fields", []))


def _instruction(item: Json) -> Json:
    return {
        "name": camel(item["name"]),
        "accounts": [_account(account) for account in item.get("accounts", [])],
        "args": [_field(arg) for arg in item.get("args", [])],
    }


def _account(item: Json) -> Json:
    if "accounts" in item:
        return {"name": camel(item["name"]), "accounts": [_account(inner) for inner in item["accounts"]]}
    return {
        "name": camel(item["name"]),
        "isMut": item.get("writable", False),
        "isSigner": item.get("signer", False),
        **({"isOptional": True} if item.get("optional") else {}),
    }


def _body(body: Json) -> Json:
    match body["kind"]:
        case "struct":
            return {"kind": "struct", "fields": _fields(body.get("fields") or [])}
        case "enum":
            return {"kind": "enum", "variants": [_variant(item) for item in body["variants"]]}
        case "type":
            return {"kind": "alias", "value": _type(body["alias"])}
        case kind:
            raise ValueError(f"unknown kind {kind!r}")


def _fields(items: list[Any]) -> list[Any]:
    """Return members; those of a tuple struct, which the old format has not, are named by their place."""
    return [_field(item if _named(item) else {"name": f"member{n}", "type": item}) for n, item in enumerate(items)]


def _variant(item: Json) -> Json:
    if not item.get("fields"):
        return {"name": item["name"]}
    return {"name": item["name"], "fields": [_field(f) if _named(f) else _type(f) for f in item["fields"]]}


def _named(item: Any) -> bool:
    return isinstance(item, dict) and "name" in item


def _field(item: Json) -> Json:
    return {"name": camel(item["name"]), "type": _type(item["type"])}


def _type(node: Any) -> Any:
    match node:
        case "pubkey":
            return "publicKey"
        case str():
            return node
        case {"vec": of}:
            return {"vec": _type(of)}
        case {"option": of}:
            return {"option": _type(of)}
        case {"array": [of, count]}:
            return {"array": [_type(of), count]}
        case {"defined": {"name": name}}:
            return {"defined": name}
        case _:
            raise ValueError(f"unknown type {node!r}")

"""Changed layouts: an event's other bytes, in the IDL text that describes them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Literal, NamedTuple

Change = Literal["appended", "discriminator", "layout"]
# What the added members hold: never zero, so that bytes which nobody expects are seen, and never a bool.
ADDED = {"u64": 0x0706_0504_0302_0100, "u8": 0xFF}


class Changed(NamedTuple):
    """An IDL with a changed event, and what its new member holds."""

    text: bytes
    member: dict[str, int]


class Layout(NamedTuple):
    """The IDL of a program as from a slot on; `last_slot` None: to this day."""

    name: str
    first_slot: int
    last_slot: int | None
    text: bytes

    def file(self) -> tuple[str, bytes]:
        """Return the file that describes these slots alone: its name beside `<name>.json`, and its text."""
        slots = {"first": self.first_slot} | ({} if self.last_slot is None else {"last": self.last_slot})
        return f"{self.name}.from-{self.first_slot}.json", json.dumps(json.loads(self.text) | {"slots": slots}).encode()


def changed(idl: bytes, event: str, change: Change) -> Changed:
    """
    Return an IDL in which an event carries other bytes.

    Args:
        change: "appended": a member more at the end, which readers of the old layout take for a tail. "discriminator":
            another discriminator, so that they do not know the event. "layout": a byte before the first bool, so that
            they find a bool that is none; events without a bool get another discriminator.

    Raises:
        StopIteration: If the IDL has no such event.
    """
    parsed = json.loads(idl)
    fields = next(item for item in parsed["types"] if item["name"] == event)["type"]["fields"]
    first_bool = next((at for at, field in enumerate(fields) if field["type"] == "bool"), None)
    if change == "appended":
        return _with_member(parsed, fields, len(fields), "u64")
    if change == "layout" and first_bool is not None:
        return _with_member(parsed, fields, first_bool, "u8")
    found = next(item for item in parsed["events"] if item["name"] == event)
    found["discriminator"] = list(sha256(bytes(found["discriminator"])).digest()[:8])
    return Changed(json.dumps(parsed).encode(), {})


def _with_member(parsed: dict[str, Any], fields: list[dict[str, Any]], at: int, kind: str) -> Changed:
    name = f"added_{sum(field['name'].startswith('added_') for field in fields)}"
    fields.insert(at, {"name": name, "type": kind})
    return Changed(json.dumps(parsed).encode(), {name: ADDED[kind]})

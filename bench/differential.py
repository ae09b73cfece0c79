"""
Compare our readers with anchorpy's, member by member, on recorded events and on generated ones of every event type.

Both are given the same IDL files (anchorpy after legacy_idl.py). Anchorpy cannot read older, shorter layouts: for those
it is given the members that the bytes hold, and they are counted apart. Run by differential.sh, which makes the
environment first. Exit status 1: a difference, or nothing to compare.
"""

from __future__ import annotations

import base64
import random
import struct
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench import recorded
from bench.peer import PADS, ROOT, Peer, PeerError
from decoders.core.carriers import LogWalker
from decoders.core.errors import LayoutError
from decoders.core.idl import PRIMITIVES
from decoders.core.layout import Array, Blob, Enum, Option, Prim, Struct, Text, Vec
from decoders.core.registry import load
from monitor.data import idls_in
from simulator.encode import encode, zero

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoders.core.layout import Field, Layout, Type
    from decoders.core.pad import Pad

GENERATED_EACH = 20
WORDS = ("", "pump", "Ünïcödé 🚀", "a" * 200)


class Comparison:
    """Counts of what was compared, and the differences."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.pads = load(PADS, idls_in(ROOT / "idl")).programs
        self.equal: Counter[str] = Counter()
        self.failures: list[str] = []

    def recorded_events(self) -> None:
        """Compare each recorded event."""
        for event in recorded.events(frozenset(self.pads)):
            layout = self._layout(event.program, event.data)
            if layout is None:
                self.failures.append(f"{event.where}: no event of {event.program} starts with {event.data[:8].hex()}")
                continue
            held = held_members(layout, event.data)
            kind = "newest" if len(held) == len(layout.fields) else "older"
            self.compare(kind, event.where, event.program, layout, event.data, held=held)

    def recorded_logs(self) -> None:
        """Compare the events that both find in whole log records, where all of them are of newest layouts."""
        walker = LogWalker(self.pads)
        for record in recorded.logs():
            walk = walker.walk(record.logs)
            for program in sorted({event.program for event in walk.emitted}):
                ours = [event.data for event in walk.emitted if event.program == program and event.data]
                layouts = [self._layout(program, data) for data in ours]
                if all(layout and is_newest(layout, data) for layout, data in zip(layouts, ours, strict=True)):
                    self._compare_logs(record, program, [layout.name for layout in layouts if layout])

    def _compare_logs(self, record: recorded.RecordedLogs, program: str, ours: list[str]) -> None:
        try:
            theirs = [event["name"] for event in self.peer.ask(do="logs", program=program, logs=record.logs)]
        except PeerError as error:
            self.failures.append(f"{record.where} {record.signature}: anchorpy: {error}")
            return
        if theirs == ours:
            self.equal["log record"] += 1
        else:
            self.failures.append(f"{record.where} {record.signature}: events {ours}, anchorpy: {theirs}")

    def generated_events(self, rng: random.Random) -> None:
        """Compare events made up for every event type of every IDL, extreme values among them."""
        for program, pad in self.pads.items():
            for layout in layouts_of(pad):
                for number in range(GENERATED_EACH):
                    values = tuple(draw(field.type, rng) for field in layout.fields)
                    body = b"".join(encode(f.type, v) for f, v in zip(layout.fields, values, strict=True))
                    data = layout.discriminator + body
                    self.compare("generated", f"number {number}", program, layout, data, values=values)

    def compare(
        self, kind: str, where: str, program: str, layout: Layout, data: bytes, *,
        held: list[int] | None = None, values: tuple[Any, ...] | None = None,
    ) -> None:  # fmt: skip
        """Read one event on both sides. `held`: numbers of the members in its bytes; `values`: what it was made of."""
        title = _title(self.pads[program], layout)
        held = list(range(len(layout.fields))) if held is None else held
        members = None if len(held) == len(layout.fields) else held
        text = base64.b64encode(data).decode()
        try:
            record = layout.read(data, len(layout.discriminator))
            theirs = self.peer.ask(do="event", program=program, name=layout.name, data=text, members=members)
        except (LayoutError, PeerError) as error:
            self.failures.append(f"{title} ({kind}, {where}): {type(error).__name__}: {error}")
            return
        ours = list(layout.render(record).items())
        found = list(differences([layout.fields[n] for n in held], [ours[n] for n in held], theirs["members"]))
        if theirs["name"] != layout.name:
            found.append(f"anchorpy takes it for {theirs['name']}")
        if values is not None and (record.values != values or record.tail):
            found.append(f"it was made of {values}, and read as {record.values} with tail {record.tail.hex()!r}")
        if found:
            self.failures.extend(f"{title} ({kind}, {where}): {difference}" for difference in found)
        else:
            self.equal[f"{kind} {title}"] += 1

    def planted_difference(self) -> None:
        """See that a difference is seen: change one byte of an event on its way to anchorpy."""
        program, pad = next(iter(self.pads.items()))
        layout = next(layout for layout in layouts_of(pad) if layout.name == "TradeEvent")
        data = layout.discriminator + b"".join(encode(field.type, zero(field.type)) for field in layout.fields)
        changed = base64.b64encode(data[:40] + b"\1" + data[41:]).decode()
        ours = list(layout.render(layout.read(data, 8)).items())
        theirs = self.peer.ask(do="event", program=program, name=layout.name, data=changed, members=None)
        found = list(differences(list(layout.fields), ours, theirs["members"]))
        if len(found) != 1:
            self.failures.append(f"a planted difference was reported as {found}")

    def _layout(self, program: str, data: bytes) -> Layout | None:
        pad = self.pads[program]
        rule = pad.events.get(data[:1] if pad.ray_log else data[:8])
        return rule.layout if rule else None


def held_members(layout: Layout, data: bytes) -> list[int]:
    """Return the numbers of the members that an event's bytes hold (no event has an option that could be None)."""
    values = layout.read(data, len(layout.discriminator)).values
    return [number for number, value in enumerate(values) if value is not None]


def is_newest(layout: Layout, data: bytes) -> bool:
    """Return whether an event has all members that the IDL knows."""
    return len(held_members(layout, data)) == len(layout.fields)


def differences(fields: list[Field], ours: list[tuple[str, Any]], theirs: list[list[Any]]) -> Iterator[str]:
    """Yield what differs between our rendered members and anchorpy's, in words."""
    if len(ours) != len(theirs):
        yield f"{len(ours)} members, anchorpy: {len(theirs)}"
        return
    for field, (name, mine), (their_name, raw) in zip(fields, ours, theirs, strict=True):
        if _bare(name) != _bare(their_name):
            yield f"member {name}, anchorpy: {their_name}"
        other = as_rendered(field.type, raw)
        if type(mine) is not type(other) or mine != other:
            yield f"{name} = {mine!r}, anchorpy: {other!r}"


def as_rendered(node: Type, value: Any) -> Any:
    """Return a value of anchorpy's as our Layout.render writes it."""
    match node:
        case Prim(name) if name in {"u64", "i64", "u128", "i128"}:
            return str(value)
        case Array(Prim("u8"), _):
            return bytes(value).hex()
        case Vec(of) | Array(of, _):
            return [as_rendered(of, item) for item in value]
        case Option(of):
            return None if value is None else as_rendered(of, value)
        case Struct():
            return _members(node, value)
        case Enum(_, variants):
            [(name, values)] = value.items()
            variant = next(variant for variant in variants if variant.name == name)
            return name if node.plain else {name: _members(variant, values)}
        case _:
            return value


def _members(node: Struct, members: list[list[Any]]) -> Any:
    values = [as_rendered(field.type, value) for field, (_, value) in zip(node.fields, members, strict=True)]
    if node.tuple_like:
        return values[0] if len(values) == 1 else values
    return {field.name: value for field, value in zip(node.fields, values, strict=True)}


def draw(node: Type, rng: random.Random) -> Any:
    """Return a value of a type, as our readers give it: often zero or the largest or smallest there is."""
    match node:
        case Prim("bool"):
            return rng.random() < 0.5
        case Prim("pubkey"):
            return bytes(32) if rng.random() < 0.2 else rng.randbytes(32)
        case Prim(name):
            return draw_integer(name, rng)
        case Text():
            return rng.choice(WORDS)
        case Blob():
            return rng.randbytes(rng.choice((0, 1, 300)))
        case Vec(of):
            return [draw(of, rng) for _ in range(rng.choice((0, 1, 3)))]
        case Array(Prim("u8"), count):
            return rng.randbytes(count)
        case Array(of, count):
            return tuple(draw(of, rng) for _ in range(count))
        case Option(of):
            return rng.choice((None, draw(of, rng)))
        case Struct(_, fields):
            return tuple(draw(field.type, rng) for field in fields)
        case Enum(_, variants):
            variant = rng.choice(variants)
            return variant.name if node.plain else (variant.name, draw(variant, rng))


def draw_integer(name: str, rng: random.Random) -> int:
    """Return a value of an integer type."""
    bits = 8 * struct.calcsize("<" + PRIMITIVES[name])
    low = -(1 << bits - 1) if name.startswith("i") else 0
    high = low + (1 << bits) - 1
    return rng.choice((low, high, 0, rng.randint(low, high), rng.randint(low, high)))


def _bare(name: str) -> str:
    """Return a name without what the way through camel case may change (`token_0_mint`, `token0_mint`)."""
    return name.rstrip("_").replace("_", "").lower()


def layouts_of(pad: Pad) -> list[Layout]:
    """Return the layouts of a program's events."""
    return [rule.layout for rule in pad.events.values()]


def _title(pad: Pad, layout: Layout) -> str:
    return f"{pad.name}.{layout.name}"


def report(comparison: Comparison) -> int:
    """Print what was compared, by event; return the exit status."""
    equal = comparison.equal
    titles = [_title(pad, layout) for pad in comparison.pads.values() for layout in layouts_of(pad)]
    kinds = ("newest", "older", "generated")
    print(f"{'equal to anchorpy':45}" + "".join(f"{kind:>10}" for kind in kinds))
    for title in titles:
        print(f"{title:45}" + "".join(f"{equal[f'{kind} {title}']:10}" for kind in kinds))
    newest, older, generated = (sum(equal[f"{kind} {title}"] for title in titles) for kind in kinds)
    print(
        f"{newest} recorded events of the newest layouts, {older} of older ones, {equal['log record']} whole log "
        f"records, {generated} generated events of {len(titles)} types"
    )
    failures = comparison.failures
    failures += [f"{title}: never compared" for title in titles if not equal[f"generated {title}"]]
    if not newest or not equal["log record"]:
        failures.append(f"no recorded event was compared (data in {recorded.FOLDER})")
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"{sum(equal.values())} passed, {len(failures)} failed")
    return 1 if failures else 0


def main() -> int:
    """Compare everything; return the exit status."""
    with Peer() as peer:
        comparison = Comparison(peer)
        comparison.planted_difference()
        comparison.recorded_events()
        comparison.recorded_logs()
        comparison.generated_events(random.Random(20261120))
    return report(comparison)


if __name__ == "__main__":
    sys.exit(main())

"""Decode whole notices with every followed program's rules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from decoders.core import carriers
from decoders.core.errors import IdlError, LayoutError
from decoders.core.layout import Idl
from decoders.core.pad import Site
from decoders.core.types import CurveComplete, Decoded, Fault, Launch, Need, Other, Trade, TxNotice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from decoders.core.carriers import Emitted
    from decoders.core.layout import Layout
    from decoders.core.pad import EventRule, Pad
    from decoders.core.types import Fact, Invoke, PoolInfo

_NOTHING = Decoded()
# Chain time is seconds since 1970; 2020 is before Solana, 2106 is where u32 seconds end.
_TIMES = range(1_577_836_800, 1 << 32)


def load(names: Sequence[str], read_idl: Callable[[str], bytes]) -> Registry:
    """
    Build the registry of these decoders.

    Args:
        names: Decoder names, each a module of this package and an IDL.
        read_idl: Returns the IDL file of a name.

    Raises:
        IdlError: If an IDL is malformed or lacks what its decoder needs.
    """
    pads = []
    for name in names:
        module = importlib.import_module(f"decoders.{name}")
        try:
            pads.append(module.pad(Idl.parse(read_idl(name))))
        except IdlError as error:
            raise IdlError(f"idl/{name}.json: {error}") from error
    return Registry(pads)


class Registry:
    """Followed programs by address. The same notice gives the same facts, always."""

    def __init__(self, pads: Iterable[Pad]) -> None:
        self.programs: dict[str, Pad] = {pad.program: pad for pad in pads}
        self.followed = frozenset(self.programs)
        ray = [pad.program for pad in self.programs.values() if pad.ray_log]
        self.whole = frozenset(pad.program for pad in self.programs.values() if pad.signatures_only)
        self._walker = carriers.LogWalker(self.followed, ray)

    def decode(self, notice: TxNotice, pools: Mapping[str, PoolInfo]) -> Decoded:
        """
        Return everything a transaction says. Never raises on what comes from the chain: bad bytes give a Fault.

        Args:
            pools: Known pools by address, for members that an event does not carry.
        """
        if notice.failed:
            return _NOTHING
        walk = self._walker.walk(notice.logs or ())
        out = _Out(self, notice, pools)
        if notice.invokes is None:
            if walk.failed:
                return _NOTHING
            out.events(_told(walk.emitted, notice.program))
            if walk.truncated or (self._is_whole(notice.program) and not self.whole.isdisjoint(walk.calls)):
                out.wants(walk)
        else:
            out.events(_merged(notice, walk))
            out.instructions(notice)
        return Decoded(out.facts, out.partial, out.needs, walk.foreign)

    def _is_whole(self, program: str | None) -> bool:
        """Tell whether a copy told for `program` may want more than log lines carry."""
        return program is None or program in self.whole

    def decode_event(self, program: str, data: bytes) -> Decoded:
        """Return what bare event bytes say (discriminator first, with or without the self-CPI prefix)."""
        data = data.removeprefix(carriers.SELF_CPI_TAG)
        out = _Out(self, TxNotice(signature="", slot=0, failed=False), {})
        out.events([carriers.Emitted(program, data, 0)])
        return Decoded(out.facts, out.partial, out.needs)

    def decode_account(self, address: str, owner: str, data: bytes) -> PoolInfo | None:
        """Return what an account of a followed program says about a pool; None if it is none, or not readable."""
        pad = self.programs.get(owner)
        if pad is None:
            return None
        read_bytes = pad.sized_accounts.get(len(data))
        if read_bytes is not None:
            return read_bytes(address, data)
        rule = pad.accounts.get(data[:8])
        if rule is None:
            return None
        layout, read = rule
        try:
            return read(address, layout.read(data, 8, partial=True))
        except LayoutError:
            return None


def _merged(notice: TxNotice, walk: carriers.LogWalk) -> list[Emitted]:
    """
    Return each event once, in execution order: self-CPI where a program has it for that event, log lines otherwise.

    A log line's emitter is the instruction of the same program whose place among that program's invokes is the same.
    """
    invokes = notice.invokes or ()
    emitted = carriers.from_invokes(invokes)
    by_cpi = {(event.program, _discriminator(event)) for event in emitted}
    places: dict[int, Invoke] = {}
    for program in {event.program for event in walk.emitted}:
        positions = [position for position, called in enumerate(walk.calls) if called == program]
        places.update(zip(positions, [i for i in invokes if i.program == program], strict=False))
    for event in walk.emitted:
        if (event.program, _discriminator(event)) in by_cpi:
            continue
        emitter = places.get(event.position)
        position = event.position if emitter is None else emitter.position
        emitted.append(carriers.Emitted(event.program, event.data, position, emitter, event.text))
    return _told(emitted, notice.program)


def _discriminator(event: Emitted) -> bytes:
    return (event.data or b"")[:8]


def _told(emitted: list[Emitted], program: str | None) -> list[Emitted]:
    """Return the events of log lines that count (all, or one program's), in the order of a whole copy's."""
    if program is not None:
        for event in emitted:
            if event.program != program:
                emitted = [event for event in emitted if event.program == program]
                break
    if len(emitted) > 1:
        emitted.sort(key=_position)
    return emitted


def _position(event: Emitted) -> int:
    return event.position


class _Out:
    """The facts of one notice as they are found."""

    __slots__ = ("_nth", "facts", "needs", "notice", "partial", "pools", "registry")

    def __init__(self, registry: Registry, notice: TxNotice, pools: Mapping[str, PoolInfo]) -> None:
        self.registry = registry
        self.notice = notice
        self.pools = pools
        self.facts: list[Fact] = []
        self.partial: list[Fact] = []
        self.needs: list[Need] = []
        self._nth: dict[Layout | tuple[str, str], int] = {}

    def events(self, emitted: Sequence[Emitted]) -> None:
        for event in emitted:
            pad = self.registry.programs[event.program]
            data = event.data
            if data is None:
                self._fault(pad, event, "no_base64", event.text.encode())
                continue
            rule = pad.events.get(data[:1] if pad.ray_log else data[:8])
            if rule is None:
                self._fault(pad, event, "unknown_discriminator", data)
                continue
            self._event(pad, rule, event, data)

    def _event(self, pad: Pad, rule: EventRule, event: Emitted, data: bytes) -> None:
        layout = rule.layout
        nth = self._count(layout)
        try:
            record = layout.read(data, len(layout.discriminator))
            if record.values[rule.oldest] is None:
                raise LayoutError(f"{layout.name}: shorter than its oldest layout")
            site = Site(
                self.notice, pad.program, pad.name, layout.name, nth, event.position, event.emitter, self.pools,
                pad.instructions,
            )  # fmt: skip
            said = tuple(rule.say(site, record))
            for item in said:
                time = None if isinstance(item, Need) else item.block_time
                if time is not None and time not in _TIMES:
                    raise LayoutError(f"time {time} is out of range")
        except LayoutError as error:
            self._fault(pad, event, str(error), data, layout.name, nth)
            return
        self._take(said)

    def instructions(self, notice: TxNotice) -> None:
        """Apply the rules of instructions that emit no event."""
        before = len(self.facts)
        for invoke in notice.invokes or ():
            pad = self.registry.programs.get(invoke.program)
            rule = pad.instruction_rules.get(invoke.data[:8]) if pad else None
            if pad is None or rule is None or notice.program not in (None, pad.program):
                continue
            name, say = rule
            nth = self._count(pad.instructions[invoke.data[:8]])
            site = Site(notice, pad.program, pad.name, name, nth, invoke.position, invoke, self.pools, pad.instructions)
            try:
                said = list(say(site, pad.instructions[invoke.data[:8]].read(invoke.data, 8)))
            except LayoutError as error:
                found = carriers.Emitted(invoke.program, invoke.data, invoke.position, invoke)
                self._fault(pad, found, str(error), invoke.data, name, nth)
                continue
            self._take(said)
        if len(self.facts) > before:
            self.facts.sort(key=lambda fact: fact.position)

    def wants(self, walk: carriers.LogWalk) -> None:
        """Ask for the whole transaction where log lines alone cannot tell it."""
        notice = self.notice
        called = {program for program in walk.calls if program and notice.program in (None, program)}
        programs = self.registry.programs
        if walk.truncated:
            first = notice.program or next((program for program in walk.calls if program), None)
            venue = programs[first].name if first in programs else ""
            self._need(Need(notice.signature, notice.slot, "truncated", venue))
        for program in sorted(self.registry.whole & called):
            self._need(Need(notice.signature, notice.slot, "accounts", programs[program].name))

    def _take(self, said: Sequence[Fact | Need]) -> None:
        for item in said:
            if isinstance(item, Need):
                self._need(item)
            elif _complete(item):
                self.facts.append(item)
            else:
                self.partial.append(item)
                if item.block_time is None:
                    self._need(Need(item.signature, item.slot, "time", item.venue))

    def _need(self, need: Need) -> None:
        if need not in self.needs:
            self.needs.append(need)

    def _count(self, what: Layout | tuple[str, str]) -> int:
        """Number what was said: an event or instruction by its layout, a fault without one by program and name."""
        nth = self._nth.get(what, 0)
        self._nth[what] = nth + 1
        return nth

    def _fault(
        self, pad: Pad, event: Emitted, reason: str, payload: bytes, name: str | None = None, nth: int | None = None
    ) -> None:
        """Keep the whole payload; an event without a name is counted by its discriminator."""
        if name is None:
            name = payload[:8].hex() if event.data is not None else "no_base64"
        self.facts.append(
            Fault(
                program=pad.program,
                venue=pad.name,
                event=name,
                nth=self._count((pad.program, name)) if nth is None else nth,
                signature=self.notice.signature,
                slot=self.notice.slot,
                block_time=self.notice.block_time,
                index=self.notice.index,
                arrival=self.notice.arrival,
                position=event.position,
                platform=pad.platform,
                reason=reason,
                payload=payload,
            )
        )


def _complete(fact: Fact) -> bool:
    """Return whether a fact may be stored: no member that identifies it is unknown."""
    if type(fact) is Trade:
        return not (fact.mint is None or fact.trader is None or fact.quote_mint is None or fact.block_time is None)
    if isinstance(fact, (Launch, CurveComplete)) and (fact.mint is None or fact.quote_mint is None):
        return False
    return fact.block_time is not None or isinstance(fact, (Other, Fault))

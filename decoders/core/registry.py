"""Decode whole notices with every followed program's rules."""

from __future__ import annotations

import importlib
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from decoders.core import carriers
from decoders.core.errors import IdlError, LayoutError
from decoders.core.layout import Idl
from decoders.core.said import Said
from decoders.core.types import Decoded, TxNotice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from decoders.core.carriers import Emitted
    from decoders.core.pad import Pad
    from decoders.core.said import Payload
    from decoders.core.types import Invoke, PoolInfo

    ReadIdls = Callable[[str], Iterable[tuple[str, bytes]]]

_NOTHING = Decoded()


class _File(NamedTuple):
    """One IDL file with the rules that its program has by it; `slots` None: wherever no other file says more."""

    name: str
    slots: range | None
    pad: Pad


def load(names: Sequence[str], read_idls: ReadIdls) -> Registry:
    """
    Build the registry of these decoders.

    Args:
        names: Decoder names, each a module of this package and an IDL.
        read_idls: Returns the IDL files of a decoder's name as (file name, text): `<name>.json`, and any number of
            `<name>.<anything>.json` that describe a range of slots, by their member `slots`.

    Raises:
        IdlError: If an IDL is malformed or lacks what its decoder needs, or ranges of slots overlap.
    """
    files = [_checked(name, [_file(name, *found) for found in read_idls(name)]) for name in names]
    plain = [one.pad for of_one in files for one in of_one if one.slots is None]
    return Registry(plain, [(one.slots, one.pad) for of_one in files for one in of_one if one.slots is not None])


def _file(name: str, file: str, text: bytes) -> _File:
    module = importlib.import_module(f"decoders.{name}")
    try:
        idl = Idl.parse(text)
        if (idl.slots is None) != (file == f"{name}.json"):
            raise IdlError(f"slots stand in files beside {name}.json, and in each of them")
        return _File(file, idl.slots, module.pad(idl))
    except IdlError as error:
        raise IdlError(f"idl/{file}: {error}") from error


def _checked(name: str, files: list[_File]) -> list[_File]:
    """Return the files of one program: a plain one, ranges that do not meet, and one address."""
    plain = next((one for one in files if one.slots is None), None)
    if plain is None:
        raise IdlError(f"idl/{name}.json is missing")
    last: _File | None = None
    for one in sorted(files, key=lambda file: file.slots.start if file.slots else -1):
        if one.pad.program != plain.pad.program:
            raise IdlError(f"idl/{one.name}: address {one.pad.program} is not that of {plain.name}")
        if last and last.slots and one.slots and one.slots.start < last.slots.stop:
            raise IdlError(f"idl/{one.name}: its slots overlap those of {last.name}")
        last = one
    return files


class Registry:
    """Followed programs by address. The same notice gives the same facts, always."""

    def __init__(self, pads: Iterable[Pad], ranged: Sequence[tuple[range, Pad]] = ()) -> None:
        """
        Join programs.

        Args:
            pads: Each followed program by its plain IDL.
            ranged: Rules of some of them for ranges of slots.
        """
        self.programs: dict[str, Pad] = {pad.program: pad for pad in pads}
        self.followed = frozenset(self.programs)
        ray = [pad.program for pad in self.programs.values() if pad.ray_log]
        self.whole = frozenset(pad.program for pad in self.programs.values() if pad.signatures_only)
        self._walker = carriers.LogWalker(self.followed, ray)
        # The slots at which the rules of any program change, and the rules of all from each on.
        self._starts = sorted({0, *(edge for slots, _ in ranged for edge in (slots.start, slots.stop))})
        self._rules = [
            self.programs | {pad.program: pad for slots, pad in ranged if start in slots} for start in self._starts
        ]

    def decode(self, notice: TxNotice, pools: Mapping[str, PoolInfo]) -> Decoded:
        """
        Return everything a transaction says. Never raises on what comes from the chain: bad bytes give a Fault.

        Args:
            pools: Known pools by address, for members that an event does not carry.
        """
        if notice.failed:
            return _NOTHING
        walk = self._walker.walk(notice.logs or ())
        said = Said(self._at(notice.slot), notice, pools)
        if notice.invokes is None:
            if walk.failed:
                return _NOTHING
            said.events(_told(walk.numbered(), notice.program))
            if walk.truncated or (self._is_whole(notice.program) and not self.whole.isdisjoint(walk.calls)):
                said.wants(walk)
        else:
            said.events(_merged(notice, walk))
            said.instructions(notice)
            if walk.truncated or notice.logs is None:
                said.unheard(walk)
        return Decoded(said.facts, said.partial, said.needs, walk.foreign)

    def _at(self, slot: int) -> Mapping[str, Pad]:
        """Return the rules by which the transactions of a slot are read."""
        if len(self._rules) == 1:
            return self.programs
        return self._rules[bisect_right(self._starts, slot) - 1]

    def _is_whole(self, program: str | None) -> bool:
        """Tell whether a copy told for `program` may want more than log lines carry."""
        return program is None or program in self.whole

    def decode_payload(self, seen: Payload, pools: Mapping[str, PoolInfo]) -> Decoded:
        """
        Return what bytes say that were kept because nobody could read them, or not to their end.

        The facts have the identity and place that they would have had in their time. What is no more readable than it
        was is a Fault again; what the bytes alone do not tell is partial or nothing, and `needs` says so. What an
        unknown program said is nothing.

        Args:
            seen: The bytes, with what was stored of them. (What the store refused is kept as JSON, and is no event.)
            pools: Known pools by address.
        """
        programs = self._at(seen.slot)
        if seen.program not in programs:
            return _NOTHING
        notice = TxNotice(seen.signature, seen.slot, failed=False, index=seen.index, block_time=seen.block_time)
        said = Said(programs, notice, pools)
        said.again(seen)
        return Decoded(said.facts, said.partial, said.needs)

    def decode_event(self, program: str, data: bytes) -> Decoded:
        """Return what bare event bytes (discriminator first, with or without the self-CPI prefix) say by plain IDLs."""
        data = data.removeprefix(carriers.SELF_CPI_TAG)
        said = Said(self.programs, TxNotice(signature="", slot=0, failed=False), {})
        said.events([carriers.Emitted(program, data, 0)])
        return Decoded(said.facts, said.partial, said.needs)

    def decode_account(self, address: str, owner: str, data: bytes, slot: int | None = None) -> PoolInfo | None:
        """
        Return what an account of a followed program says about a pool; None if it is none, or not readable.

        Args:
            slot: When it was read; None: by the plain IDL.
        """
        pad = (self.programs if slot is None else self._at(slot)).get(owner)
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
    logged = walk.numbered()
    for program in {event.program for event in logged}:
        positions = [position for position, called in enumerate(walk.calls) if called == program]
        places.update(zip(positions, [i for i in invokes if i.program == program], strict=False))
    for event in logged:
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

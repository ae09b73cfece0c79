"""`decode`: what transactions in files say, one JSON object a line."""

import binascii
import sys
from collections import Counter
from typing import Annotated

import msgspec
import typer

from decoders.core.carriers import SELF_CPI_TAG, LogWalker
from decoders.core.pad import Pad
from decoders.core.registry import Registry
from decoders.core.types import Decoded, Fact, Other, TxNotice
from monitor.cli import inputs
from monitor.cli.once import Once, Said, in_order
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.reading import Reader
from monitor.cli.registry import load_registry
from monitor.cli.say import complain, one_line
from monitor.cli.shapes import Refusal
from monitor.errors import BadInput, UsageError
from monitor.pipeline.pools import PoolMap
from monitor.pipeline.times import SlotTimes
from monitor.present import fact_json
from monitor.sources.notices import AccountSeen, SlotTime

# A file of nothing but garbage lines is told in so many of them.
_MOST_COMPLAINTS = 20


def decode(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="JSON, NDJSON or a capture, gzipped or not; - is standard input."),
    ] = None,
    program: Annotated[
        str | None, typer.Option("--program", metavar="ID", help="The program of --event-base64: address or name.")
    ] = None,
    event_base64: Annotated[
        str | None, typer.Option("--event-base64", metavar="TEXT", help="The bytes of one event, as in a log line.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """
    Print what recorded transactions say, one JSON object per event and line.

    FILE holds answers of getTransaction or getBlock, entries of a block, log or block notifications, log records
    {signature, slot, err, logs}, or lists of these; a value a line, or one in all. Failed transactions say nothing.
    A capture holds transactions in several copies: of it each event is printed once, as completely as it tells it.
    What is no transaction is named on standard error, the rest is done, and the exit code is 65.
    """
    if event_base64 is not None or program is not None:
        if files or event_base64 is None or program is None:
            raise UsageError("--program and --event-base64 go together, without FILE", mend="see decode --help")
        _print(bare_event(load_registry(read_config(config).idl_dir), program, event_base64))
        return
    if not files:
        raise UsageError("nothing to decode", mend="name files, or - for standard input; see decode --help")
    registry = load_registry(read_config(config).idl_dir)
    refused = [path for path in files if not _decode_file(registry, path)]
    if refused:
        raise typer.Exit(BadInput.exit_code)


def bare_event(registry: Registry, program: str, text: str) -> list[Fact]:
    """
    Return what the bytes of one event say.

    Raises:
        BadInput: If the program is not followed, or the text is no base64.
    """
    pad = next((pad for pad in registry.programs.values() if program in (pad.program, pad.name)), None)
    if pad is None:
        known = ", ".join(f"{pad.name} {pad.program}" for pad in registry.programs.values())
        raise BadInput(f"no decoder for program {one_line(program)}", mend=f"known are: {known}")
    try:
        data = binascii.a2b_base64(text.strip(), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"--event-base64 is not base64: {error}") from error
    nowhere = TxNotice(signature="", slot=0, failed=False)
    decoded = registry.decode_event(pad.program, data)
    return in_order(decoded.facts, decoded.partial) or [_fields_alone(pad, data.removeprefix(SELF_CPI_TAG), nowhere)]


def _said(registry: Registry, pools: PoolMap, notice: TxNotice) -> Said:
    """Return what a notice says, and remember the pools that it tells of."""
    decoded = registry.decode(notice, pools)
    said = Said(decoded.facts, [*decoded.partial, *untold(registry, notice, decoded)])
    for fact in in_order(*said):
        pools.learn(fact)
    return said


def untold(registry: Registry, notice: TxNotice, decoded: Decoded) -> list[Fact]:
    """
    Return the events of a log record that say nothing without their instructions, as their fields alone.

    AMM v4 names not even the pool in its log lines: its decoder asks for the whole transaction, and says no more.
    """
    mute = {pad.program for pad in registry.programs.values() if pad.ray_log}
    if notice.invokes is not None or not any(registry.programs[program].name == need.venue for need in decoded.needs
                                             for program in mute):  # fmt: skip
        return []
    told = {(fact.program, fact.event, fact.nth) for fact in (*decoded.facts, *decoded.partial)}
    count: Counter[str] = Counter()
    found: list[Fact] = []
    for event in LogWalker(mute, mute).walk(notice.logs or ()).emitted:
        rule = registry.programs[event.program].events.get((event.data or b"")[:1])
        if rule is None or event.data is None:
            continue
        nth = count[rule.layout.name]
        count[rule.layout.name] += 1
        if (event.program, rule.layout.name, nth) not in told:
            pad = registry.programs[event.program]
            found.append(_fields_alone(pad, event.data, notice, nth=nth, position=event.position))
    return found


def _fields_alone(pad: Pad, data: bytes, notice: TxNotice, *, nth: int = 0, position: int = 0) -> Fact:
    layout = pad.events[data[:1] if pad.ray_log else data[:8]].layout
    return Other(
        program=pad.program,
        venue=pad.name,
        platform=pad.platform,
        event=layout.name,
        nth=nth,
        signature=notice.signature,
        slot=notice.slot,
        block_time=notice.block_time,
        index=notice.index,
        position=position,
        record=layout.read(data, len(layout.discriminator)),
    )


class _File:
    """Prints what one file says: of a capture each event once, of anything else whatever it holds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._reader = Reader(registry.followed)
        self._pools = PoolMap()
        self._times = SlotTimes()
        self._once = Once(self._say)

    def take(self, piece: inputs.Piece) -> str | None:
        """Print what a piece says; return why some of it could not be read, if so."""
        refusals: list[Refusal] = []
        for found in self._reader.read(piece):
            match found:
                case TxNotice():
                    if found.block_time is not None:
                        self._times.learn(found.slot, found.block_time)
                    _print(self._once.take(found) if self._reader.is_capture else in_order(*self._say(found)))
                case AccountSeen():
                    info = self._registry.decode_account(found.address, found.owner or "", found.data)
                    if info is not None:
                        self._pools.add(info)
                case SlotTime(slot=slot, block_time=block_time):
                    self._times.learn(slot, block_time)
                case Refusal():
                    refusals.append(found)
        if not refusals:
            return None
        return f"{refusals[0]}" + (f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else "")

    def close(self) -> None:
        """Print what waited in vain for a better copy."""
        _print(self._once.rest())

    def _say(self, notice: TxNotice) -> Said:
        return _said(self._registry, self._pools, self._times.dated(notice))


def _decode_file(registry: Registry, path: str) -> bool:
    """Print what a file says; return whether all of it could be read."""
    name = "standard input" if path == "-" else path
    file = _File(registry)
    refused = 0
    try:
        for piece in inputs.read(path):
            reason = file.take(piece)
            if reason is not None:
                refused += 1
                where = "" if piece.line is None else f"line {piece.line}: "
                if refused <= _MOST_COMPLAINTS:
                    complain(one_line(f"{name}: {where}{reason}"))
            if path == "-":
                sys.stdout.flush()
    except BadInput as error:
        refused += 1
        complain(one_line(f"{name}: {error}"))
    file.close()
    if refused > _MOST_COMPLAINTS:
        complain(one_line(f"{name}: {refused - _MOST_COMPLAINTS} more of the kind"))
    return refused == 0


def _print(facts: list[Fact]) -> None:
    for fact in facts:
        sys.stdout.buffer.write(msgspec.json.encode(fact_json(fact)) + b"\n")

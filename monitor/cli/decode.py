"""`decode`: what transactions in files say, one JSON object a line."""

import binascii
import sys
from typing import Annotated

import msgspec
import typer

from decoders.core.carriers import SELF_CPI_TAG
from decoders.core.pad import Pad
from decoders.core.registry import Registry
from decoders.core.types import Decoded, Fact, Other, TxNotice
from monitor.cli import inputs
from monitor.cli.options import ConfigFile, read_config
from monitor.cli.reading import Reader
from monitor.cli.registry import load_registry
from monitor.cli.say import complain, one_line
from monitor.cli.shapes import Refusal
from monitor.errors import BadInput, UsageError
from monitor.pipeline.pools import PoolMap
from monitor.present import fact_json
from monitor.sources.notices import AccountSeen

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
    return in_order(registry.decode_event(pad.program, data)) or [_raw_event(pad, data)]


def in_order(decoded: Decoded) -> list[Fact]:
    """Return complete and partial facts as they happened."""
    if not decoded.partial:
        return decoded.facts
    return sorted(decoded.facts + decoded.partial, key=lambda fact: fact.position)


def _raw_event(pad: Pad, data: bytes) -> Fact:
    """Return the fields alone of an event that says nothing without its instruction (AMM v4 does not name the pool)."""
    data = data.removeprefix(SELF_CPI_TAG)
    layout = pad.events[data[:1] if pad.ray_log else data[:8]].layout
    return Other(
        program=pad.program,
        venue=pad.name,
        platform=pad.platform,
        event=layout.name,
        nth=0,
        signature="",
        slot=0,
        block_time=None,
        index=None,
        position=0,
        record=layout.read(data, len(layout.discriminator)),
    )


def _decode_file(registry: Registry, path: str) -> bool:
    """Print what a file says; return whether all of it could be read."""
    name = "standard input" if path == "-" else path
    reader, pools = Reader(registry.followed), PoolMap()
    refused = 0
    try:
        for piece in inputs.read(path):
            reason = _decode_piece(registry, reader, pools, piece)
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
    if refused > _MOST_COMPLAINTS:
        complain(one_line(f"{name}: {refused - _MOST_COMPLAINTS} more of the kind"))
    return refused == 0


def _decode_piece(registry: Registry, reader: Reader, pools: PoolMap, piece: inputs.Piece) -> str | None:
    """Print what a piece says; return why some of it could not be read, if so."""
    refusals: list[Refusal] = []
    for found in reader.read(piece):
        match found:
            case TxNotice():
                facts = in_order(registry.decode(found, pools))
                for fact in facts:
                    pools.learn(fact)
                _print(facts)
            case AccountSeen():
                info = registry.decode_account(found.address, found.owner or "", found.data)
                if info is not None:
                    pools.add(info)
            case Refusal():
                refusals.append(found)
    if not refusals:
        return None
    return f"{refusals[0]}" + (f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else "")


def _print(facts: list[Fact]) -> None:
    for fact in facts:
        sys.stdout.buffer.write(msgspec.json.encode(fact_json(fact)) + b"\n")

"""Find every event and log record in the recorded mainnet data, wherever in its files it stands."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from decoders.core.carriers import SELF_CPI_TAG, LogWalker, from_invokes
from decoders.core.transaction import convert_transaction, parse_transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(os.environ.get("MAINNET_FIXTURES") or Path(__file__).resolve().parents[2] / "shared" / "fixtures")
AMM_V4 = "675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8"


class RecordedEvent(NamedTuple):
    """Bytes of one event, discriminator first."""

    where: str
    program: str
    data: bytes


class RecordedLogs(NamedTuple):
    """Log lines of one transaction."""

    where: str
    signature: str
    slot: int
    logs: list[str]


def events(programs: frozenset[str]) -> Iterator[RecordedEvent]:
    """Yield the events of these programs, each bytes once, whatever carries them: log line, self-CPI, bare bytes."""
    seen = set()
    walker = LogWalker(programs)
    for file in _files():
        for value in _objects(json.loads(file.read_text())):
            for program, data in _events_of(value, programs, walker):
                if (program, data) not in seen:
                    seen.add((program, data))
                    yield RecordedEvent(file.name, program, data)


def logs() -> Iterator[RecordedLogs]:
    """Yield log records: those of logs, and of whole transactions. A slot that nobody recorded is 0."""
    for file in _files():
        for value in _objects(json.loads(file.read_text())):
            match value:
                case {"meta": {"logMessages": [*lines]}, "transaction": {"signatures": [signature, *_]}}:
                    yield RecordedLogs(file.name, signature, value.get("slot") or 0, lines)
                case {"signature": str(signature), "logs": [*lines]}:
                    yield RecordedLogs(file.name, signature, value.get("slot") or 0, lines)


def _files() -> list[Path]:
    return sorted(FOLDER.glob("*/*.json"))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def _events_of(value: dict[str, Any], programs: frozenset[str], walker: LogWalker) -> Iterator[tuple[str, bytes]]:
    match value:
        case {"meta": {}, "transaction": _}:
            notice = parse_transaction(convert_transaction(value), slot=0, programs=programs)
            if notice is not None:
                emitted = from_invokes(notice.invokes or ()) + walker.walk(notice.logs or ()).emitted
                yield from ((event.program, event.data) for event in emitted if event.data)
        case {"logs": [*lines]}:
            yield from ((event.program, event.data) for event in walker.walk(lines).emitted if event.data)
        case {"program": program, "event_b64": str(text)} if program in programs:
            yield program, base64.b64decode(text)
        case {"program": program, "event": _, "hex": str(text)} if program in programs:
            yield program, bytes.fromhex(text).removeprefix(SELF_CPI_TAG)
        case {"ray_log": str(text)} if AMM_V4 in programs:
            yield AMM_V4, base64.b64decode(text)

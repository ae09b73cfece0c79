"""
Answer our questions with anchorpy, in the environment that anchorpy needs.

Reads one JSON request a line and writes one JSON answer a line, until its input ends. Requests by `do`:

* `load` {idls: [IDL in the old format]}: the programs to know; answers their names.
* `event` {program, name, data, members}: one event's name and members (base64, discriminator first). `members` numbers
  those that the bytes hold, where they follow an older layout; null means all.
* `logs` {program, logs}: the events that EventParser finds in log lines.
* `keep` {key, texts}: remember texts for `time`.
* `time` {program, what: line | notice, key, repeats}: CPU seconds for all texts, `repeats` times over, and how many
  events are in them.
* `core` {number}: stay on this core.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import sys
import time
from typing import Any

from anchorpy import Coder, EventParser
from anchorpy.coder.event import _event_layout
from anchorpy_core.idl import Idl, IdlEvent
from solders.pubkey import Pubkey

PREFIX_LENGTH = 8


class Peer:
    """EventParsers by program address, and texts to measure with."""

    def __init__(self) -> None:
        self.parsers: dict[str, EventParser] = {}
        self.texts: dict[str, list[str]] = {}

    def answer(self, request: dict[str, Any]) -> Any:
        """Do what a request asks."""
        match request:
            case {"do": "load", "idls": idls}:
                for idl in idls:
                    coder = Coder(Idl.from_json(json.dumps(idl)))
                    address = idl["metadata"]["address"]
                    self.parsers[address] = EventParser(Pubkey.from_string(address), coder)
                return sorted(self.parsers)
            case {"do": "core", "number": number}:
                os.sched_setaffinity(0, {number})
                return number
            case {"do": "event", "program": program, "name": name, "data": data, "members": members}:
                return self._event(program, name, base64.b64decode(data), members)
            case {"do": "logs", "program": program, "logs": logs}:
                found: list[Any] = []
                self.parsers[program].parse_logs(logs, found.append)
                return [{"name": event.name, "members": plain(event.data)} for event in found]
            case {"do": "keep", "key": key, "texts": texts}:
                self.texts[key] = texts
                return len(texts)
            case {"do": "time", "program": program, "what": what, "key": key, "repeats": repeats}:
                return self._time(program, what, self.texts[key], repeats)
        raise ValueError(f"unknown request {request!r}")

    def _event(self, program: str, name: str, data: bytes, members: list[int] | None) -> Any:
        """
        Read an event by its discriminator.

        By its name where that is not Anchor's (AMM v4: one byte), or with the layout cut to `members`.
        """
        events = self.parsers[program].coder.events
        if members is None and data[:PREFIX_LENGTH] in events.discriminators:
            event = events.parse(data)
            return {"name": event.name, "members": plain(event.data)}
        layout, size = events.layouts[name], 1
        if members is not None:
            layout, size = self._cut(program, name, members), PREFIX_LENGTH
        return {"name": name, "members": plain(layout.parse(data[size:]))}

    def _cut(self, program: str, name: str, members: list[int]) -> Any:
        idl = self.parsers[program].coder.events.idl
        event = next(event for event in idl.events if event.name == name)
        return _event_layout(IdlEvent(name, [event.fields[number] for number in members]), idl)

    def _time(self, program: str, what: str, texts: list[str], repeats: int) -> dict[str, Any]:
        parser = self.parsers[program]
        found: list[Any] = []
        if what == "line":

            def work(text: str) -> None:
                found.append(parser.handle_program_log(text)[0])

        else:

            def work(text: str) -> None:
                parser.parse_logs(json.loads(text)["params"]["result"]["value"]["logs"], found.append)

        for text in texts:  # once for warmth, and to see that the work is done
            work(text)
        counted = len(found)
        found.clear()
        started = time.process_time()
        for _ in range(repeats):
            for text in texts:
                work(text)
            found.clear()
        return {"seconds": time.process_time() - started, "events": counted}


def plain(value: Any) -> Any:
    """Return a decoded value as JSON: members in order as [name, value], enums as {variant: members}."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, Pubkey):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return [[field.name, plain(getattr(value, field.name))] for field in dataclasses.fields(value)]
    return {type(value).__name__: [[name, plain(item)] for name, item in vars(value).items()]}


def main() -> None:
    """Answer until the input ends; a request that fails is answered by its error."""
    peer = Peer()
    for line in sys.stdin:
        try:
            answer = {"answer": peer.answer(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - whatever anchorpy raises is an answer, which the asker judges
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

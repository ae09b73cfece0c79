"""
Build the log notifications that the benchmark decodes, from recorded ones.

Many of each, because a real stream never says the same thing twice: every notification has a signature, slot and trader
of its own, and mints take turns. Framing lines stay as they were recorded.
"""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass
from typing import Any

from bench.recorded import FOLDER
from decoders.core import base58

PUMPFUN = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
COUNT, MINTS = 500, 50
SUBSCRIPTION = 24_040
_DATA = "Program data: "
_TRADE = bytes.fromhex("bddb7fd34ee661ee")
_MINT, _USER = slice(8, 40), slice(57, 89)


@dataclass(frozen=True, slots=True)
class Sample:
    """Notifications of one shape: `lines` are the event lines, `texts` the whole JSON texts."""

    title: str
    lines: list[str]
    texts: list[str]


def old_trades() -> Sample:
    """
    Return trades in the layout of 2025 (225 bytes).

    Their log is the second half of a recorded transaction: the buyer's token account is created, then the buy.
    """
    recorded = json.loads((FOLDER / "transactions" / "pump_create_buy_2025.json").read_text())
    logs: list[str] = recorded["meta"]["logMessages"]
    start = max(at for at, line in enumerate(logs) if line.startswith("Program AToken") and "invoke [1]" in line)
    return _sample(logs[start:])


def new_trades() -> Sample:
    """Return trades in the newest layout (397 bytes), in a log as it was recorded (routed, 2026-10-03)."""
    recorded = json.loads((FOLDER / "logs" / "logs_notifications_2026-10.json").read_text())
    return _sample(recorded[0]["logs"])


def fresh_mints(sample: Sample, seed: int) -> Sample:
    """Return the same with a mint of its own in each."""
    logs = json.loads(sample.texts[0])["params"]["result"]["value"]["logs"]
    return _sample(logs, mints=COUNT, seed=seed)


def _sample(logs: list[str], *, mints: int = MINTS, seed: int = 1) -> Sample:
    rng = random.Random(seed)
    at = next(i for i, line in enumerate(logs) if _is_trade(line))
    event = base64.b64decode(logs[at][len(_DATA) :])
    keys = [rng.randbytes(32) for _ in range(mints)]
    lines, texts = [], []
    for number in range(COUNT):
        changed = bytearray(event)
        changed[_MINT], changed[_USER] = keys[number % mints], rng.randbytes(32)
        line = _DATA + base64.b64encode(changed).decode()
        lines.append(line)
        texts.append(_notification(rng, 453_558_465 + number // 20, [*logs[:at], line, *logs[at + 1 :]]))
    title = f"{len(event)}-byte event in {len(texts[0]) / 1000:.1f} KB"
    return Sample(title, lines, texts)


def _is_trade(line: str) -> bool:
    return line.startswith(_DATA) and base64.b64decode(line[len(_DATA) :]).startswith(_TRADE)


def _notification(rng: random.Random, slot: int, logs: list[str]) -> str:
    """Return a logsNotification as Agave writes it."""
    value = {"signature": base58.encode(rng.randbytes(64)), "err": None, "logs": logs}
    result: dict[str, Any] = {"context": {"slot": slot}, "value": value}
    message = {
        "jsonrpc": "2.0",
        "method": "logsNotification",
        "params": {"result": result, "subscription": SUBSCRIPTION},
    }
    return json.dumps(message, separators=(",", ":"))

"""What leaves a node instead of a notification. Without any I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections import Counter

    from simulator.faults.schedule import Fault, Kind

STRIKES: frozenset[Kind] = frozenset({"drop", "duplicate", "delay", "reorder", "truncate_logs", "wrong_envelope"})
TRUNCATED = "Log truncated"
_OTHER_ID = 987_654_321
_GARBAGE = b'{"jsonrpc":"2.0","method":"logsNotif\xc3\xa9'
_OTHER_SHAPE = b'{"jsonrpc":"2.0","method":"%b","params":{"result":["not",{"what":"you expect"}],"subscription":%b}}'
_encode, _decode = msgspec.json.encode, msgspec.json.decode


class Frames:
    """The faults of notifications that are yet to strike, and how often each kind did."""

    def __init__(self, struck: Counter[Kind]) -> None:
        self._struck = struck
        self._armed: deque[tuple[Fault, list[int]]] = deque()

    @property
    def quiet(self) -> bool:
        """Whether notifications pass as they are."""
        return not self._armed

    def arm(self, fault: Fault) -> None:
        """Have a fault strike the next notifications of its kind, `count` of them."""
        self._armed.append((fault, [fault.count]))

    def disarm(self) -> None:
        """Strike no more."""
        self._armed.clear()

    def strike(self, kind: str, frame: bytes, *, swaps: bool) -> tuple[Fault, bytes] | None:
        """
        Return the fault that takes this notification, and what becomes of its text; None if it passes.

        Args:
            swaps: Whether it may change places with the next one (not while another is held back).
        """
        for armed in self._armed:
            fault, left = armed
            if fault.of in ("", kind) and (swaps or fault.kind != "reorder"):
                text = _text(fault, kind, frame)
                if text is not None:
                    left[0] -= 1
                    self._struck[fault.kind] += 1
                    if not left[0]:
                        self._armed.remove(armed)
                    return fault, text
        return None


class Wire:
    """The notifications of one connection: some are held back and come later."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._held: list[list[Any]] = []  # [how many are to leave before it, its text]

    @property
    def quiet(self) -> bool:
        """Whether notifications pass as they are."""
        return self._frames.quiet and not self._held

    def out(self, kind: str, frame: bytes) -> list[bytes]:
        """Return what leaves instead of a notification, in order."""
        struck = self._frames.strike(kind, frame, swaps=not self._held)
        leaving = [frame] if struck is None else self._instead(frame, *struck)
        if not leaving:
            return []
        for held in self._held:
            held[0] -= 1
        late = [text for left, text in self._held if left < 0]
        self._held = [held for held in self._held if held[0] >= 0]
        return leaving + late

    def rest(self) -> list[bytes]:
        """Return what was held back, and hold it no more."""
        texts, self._held = [text for _, text in self._held], []
        return texts

    def _instead(self, frame: bytes, fault: Fault, text: bytes) -> list[bytes]:
        match fault.kind:
            case "drop":
                return []
            case "duplicate":
                return [frame, frame]
            case "delay":
                self._held.append([fault.distance - 1, frame])
                return []
            case "reorder":
                self._held.append([0, frame])
                return []
            case "wrong_envelope" if fault.chosen != "null_block":
                return [text, frame]
            case _:
                return [text]


def _text(fault: Fault, kind: str, frame: bytes) -> bytes | None:
    """Return the text that a fault makes of a notification; None where it cannot strike this one."""
    match fault.kind, fault.chosen:
        case "truncate_logs", _:
            return _truncated(kind, frame)
        case "wrong_envelope", "null_block":
            return _without_block(frame) if kind == "block" else None
        case "wrong_envelope", "garbage":
            return _GARBAGE
        case "wrong_envelope", "other_id":
            message = _decode(frame)
            message["params"]["subscription"] = _OTHER_ID
            return _encode(message)
        case "wrong_envelope", _:
            params = _decode(frame)["params"]
            return _OTHER_SHAPE % (f"{kind}Notification".encode(), str(params["subscription"]).encode())
        case _:
            return frame


def _truncated(kind: str, frame: bytes) -> bytes | None:
    """Return a notification whose first log with an event in it ends before it; None if there is none."""
    if kind not in ("logs", "transaction", "block") or b"Program data: " not in frame:
        return None
    message = _decode(frame)
    for logs in _logs(kind, message["params"]["result"]):
        at = next((at for at, line in enumerate(logs) if line.startswith("Program data: ")), None)
        if at is not None:
            logs[at:] = [TRUNCATED]
            return _encode(message)
    return None


def _logs(kind: str, result: dict[str, Any]) -> list[list[str]]:
    match kind:
        case "logs":
            return [result["value"]["logs"]]
        case "transaction":
            found = [result["transaction"]] if isinstance(result.get("transaction"), dict) else []
        case _:
            found = (result["value"]["block"] or {}).get("transactions", [])
    return [one["meta"]["logMessages"] for one in found if one["meta"].get("logMessages")]


def _without_block(frame: bytes) -> bytes:
    message = _decode(frame)
    message["params"]["result"]["value"] |= {"block": None, "err": {"BlockStoreError": None}}
    return _encode(message)

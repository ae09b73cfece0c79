"""What a node answers by HTTP instead of the truth. Without any I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.node import errors
from simulator.node.errors import RpcError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from simulator.faults.schedule import Fault, Kind

STRIKES: frozenset[Kind] = frozenset({"limit", "http_error", "not_available", "missing_in_list"})
RETRY_AFTER_S = 1
_TOO_MANY = "Too many requests for a specific RPC call"
_LATE: dict[str, Callable[[int], RpcError]] = {
    "-32004": errors.block_not_available,
    "-32007": errors.slot_skipped,
    "-32009": errors.missing_in_storage,
    "-32014": errors.status_not_available,
}


class Answer(NamedTuple):
    """An HTTP answer; `wait_s` passes before it. `body` None: the connection is cut instead."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = b""
    wait_s: float = 0.0


_LIMITED = {
    "retry_after": Answer(429, (("Retry-After", str(RETRY_AFTER_S)),), b"Too many requests\n"),
    "bare": Answer(429, (), b"Too many requests\n"),
    "code_32429": Answer(429, (), b'{"jsonrpc":"2.0","error":{"code":-32429,"message":"rate limited"},"id":null}'),
}


class Requests:
    """The faults of requests that are yet to strike, and how often each kind did."""

    def __init__(self, struck: Counter[Kind]) -> None:
        self._struck = struck
        self._armed: deque[tuple[Fault, list[int]]] = deque()

    def arm(self, fault: Fault) -> None:
        """Have a fault strike the next requests that it concerns, `count` of them."""
        self._armed.append((fault, [fault.count]))

    def disarm(self) -> None:
        """Strike no more."""
        self._armed.clear()

    def _take(self, kinds: tuple[Kind, ...], method: str, *, coded: bool) -> Fault | None:
        """Return a fault for this request, counted; `coded`: one that is an error within an answer."""
        for armed in self._armed:
            fault, left = armed
            if fault.kind in kinds and fault.of in ("", method) and coded == (fault.chosen == "code_32005"):
                left[0] -= 1
                self._struck[fault.kind] += 1
                if not left[0]:
                    self._armed.remove(armed)
                return fault
        return None

    def answer(self, body: bytes) -> Answer | None:
        """Return what is answered in place of a request's answer; None if it passes."""
        if not self._armed:
            return None
        fault = self._take(("limit", "http_error"), _method(body), coded=False)
        if fault is None:
            return None
        if fault.kind == "limit":
            return _LIMITED[fault.chosen]
        match fault.chosen:
            case "empty":
                return Answer()
            case "cut":
                return Answer(body=None)
            case "timeout":
                return Answer(body=None, wait_s=fault.seconds)
            case status:
                return Answer(int(status), (), b"<html><body>upstream</body></html>")

    def call(self, method: str, params: list[Any], call: Callable[[str, list[Any]], Any]) -> Any:
        """
        Return a call's result, or what stands in its place.

        Raises:
            RpcError: As the node answers, truly or not.
        """
        if not self._armed:
            return call(method, params)
        if self._take(("limit",), method, coded=True):
            raise RpcError(-32005, _TOO_MANY)
        result = call(method, params)
        if method == "getBlocks" and len(result) > 1 and self._take(("missing_in_list",), method, coded=False):
            return [slot for at, slot in enumerate(result) if at != len(result) // 2]
        if result is not None and method in ("getBlock", "getTransaction"):
            fault = self._take(("not_available",), method, coded=False)
            if fault is not None and method == "getTransaction":
                return None
            if fault is not None:
                raise _LATE[fault.chosen](params[0])
        return result


def _method(body: bytes) -> str:
    """Return a request's method as far as its text tells ("" in a batch)."""
    _, _, after = body.partition(b'"method"')
    return after.partition(b'"')[2].partition(b'"')[0].decode("latin-1") if not body.startswith(b"[") else ""

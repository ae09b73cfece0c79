"""JSON-RPC envelopes: text to calls, results to text; batches too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from simulator.node.errors import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

_encode = msgspec.json.encode


def answer(body: bytes | str, call: Callable[[str, list[Any]], Any]) -> bytes:
    """Return the answer to a request or a batch of them."""
    try:
        request = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return _encode(_failure(RpcError(-32700, "Parse error"), None))
    if isinstance(request, list) and request:
        return _encode([_one(item, call) for item in request])
    return _encode(_one(request, call))


def _one(request: Any, call: Callable[[str, list[Any]], Any]) -> dict[str, Any]:
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
        return _failure(RpcError(-32600, "Invalid request"), None)
    params = request.get("params") or []
    try:
        if not isinstance(params, list):
            raise RpcError(-32602, "`params` should be an array")
        result = call(request["method"], params)
    except RpcError as error:
        return _failure(error, request.get("id"))
    return {"jsonrpc": "2.0", "result": result, "id": request.get("id")}


def _failure(error: RpcError, request_id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": error.body(), "id": request_id}

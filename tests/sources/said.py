"""What nodes say, as text: small notifications, answers and transactions."""

from __future__ import annotations

from typing import Any

import msgspec
from solders.pubkey import Pubkey
from solders.signature import Signature

from decoders.core import base58

PROGRAM, OTHER_PROGRAM = (str(Pubkey(bytes([n]) * 32)) for n in (1, 2))
POOL = str(Pubkey(bytes([3]) * 32))
BLOCK_TIME = 1_791_106_392


def signature(number: int) -> str:
    """Return a signature like no other."""
    return str(Signature(number.to_bytes(64, "big")))


def notification(method: str, result: Any, subscription: int) -> bytes:
    """Return a notification."""
    params = {"result": result, "subscription": subscription}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params})


def logs(number: int, slot: int, subscription: int, *, err: Any = None) -> bytes:
    """Return a logsNotification."""
    value = {"signature": signature(number), "err": err, "logs": [f"Program log: {number}"]}
    return notification("logsNotification", {"context": {"slot": slot}, "value": value}, subscription)


def slot(number: int, subscription: int, *, root: int | None = None) -> bytes:
    """Return a slotNotification."""
    result = {"slot": number, "parent": number - 1, "root": max(0, number - 32) if root is None else root}
    return notification("slotNotification", result, subscription)


def whole(entry: Any, slot: int, subscription: int, *, number: int = 1, **more: Any) -> bytes:
    """Return a transactionNotification, as Helius sends it, of the entry of a block."""
    result = {"transaction": entry, "signature": signature(number), "slot": slot, **more}
    return notification("transactionNotification", result, subscription)


def block(slot: int, entries: list[Any], subscription: int) -> bytes:
    """Return a blockNotification."""
    value = {"slot": slot, "err": None, "block": block_answer(slot, entries)}
    return notification("blockNotification", {"context": {"slot": slot}, "value": value}, subscription)


def block_answer(slot: int, entries: list[Any]) -> dict[str, Any]:
    """Return the result of getBlock."""
    return {
        "blockhash": f"hash{slot}",
        "previousBlockhash": f"hash{slot - 1}",
        "parentSlot": slot - 1,
        "blockTime": BLOCK_TIME,
        "transactions": entries,
    }


def entry(number: int, *, program: str = PROGRAM, inner: list[Any] | None = None, err: Any = None) -> dict[str, Any]:
    """Return a transaction as it stands in a block: one call of `program`."""
    call = {"programIdIndex": 1, "accounts": [0], "data": base58.encode(number.to_bytes(8, "big")), "stackHeight": 1}
    message = {"accountKeys": [POOL, program], "instructions": [call]}
    meta = {"err": err, "innerInstructions": [] if inner is None else inner, "logMessages": ["Program log: whole"]}
    return {"transaction": {"signatures": [signature(number)], "message": message}, "meta": meta, "version": 0}


def transaction(number: int, slot: int, **options: Any) -> dict[str, Any]:
    """Return the result of getTransaction."""
    return {**entry(number, **options), "slot": slot, "blockTime": BLOCK_TIME}


def result(value: Any, request_id: Any = 1) -> bytes:
    """Return an answer."""
    return msgspec.json.encode({"jsonrpc": "2.0", "result": value, "id": request_id})


def error(code: int, message: str = "no", request_id: Any = 1) -> bytes:
    """Return an error."""
    return msgspec.json.encode({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": request_id})

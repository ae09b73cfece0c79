"""The instructions that nodes decode themselves under jsonParsed: system, SPL Token and associated accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator import keys
from simulator.keys import text

if TYPE_CHECKING:
    from simulator.calls import Call


def parse(call: Call) -> dict[str, Any] | None:
    """Return `{program, parsed}` of a well-known instruction; None for all others."""
    if call.program == keys.SYSTEM:
        return {"program": "system", "parsed": _system(call)}
    if call.program in (keys.TOKEN, keys.TOKEN_2022):
        return {"program": "spl-token", "parsed": _token(call)}
    if call.program == keys.ATA_PROGRAM:
        names = ("source", "account", "wallet", "mint", "systemProgram", "tokenProgram")
        return {"program": "spl-associated-token-account", "parsed": _named(call, "createIdempotent", *names)}
    return None


def _system(call: Call) -> dict[str, Any]:
    if call.data[:4] == b"\x02\0\0\0":
        lamports = int.from_bytes(call.data[4:12], "little")
        found = _named(call, "transfer", "source", "destination")
        found["info"]["lamports"] = lamports
        return found
    return _named(call, "createAccount", "source", "newAccount")


def _token(call: Call) -> dict[str, Any]:
    amount = int.from_bytes(call.data[1:9], "little")
    match call.data[0]:
        case 12:
            found = _named(call, "transferChecked", "source", "mint", "destination", "authority")
            decimals = call.data[9]
            found["info"]["tokenAmount"] = {"amount": str(amount), "decimals": decimals}
        case 8:
            found = _named(call, "burn", "account", "mint", "authority")
            found["info"]["amount"] = str(amount)
        case 7:
            found = _named(call, "mintTo", "mint", "account", "mintAuthority")
            found["info"]["amount"] = str(amount)
        case 9:
            found = _named(call, "closeAccount", "account", "destination", "owner")
        case 17:
            found = _named(call, "syncNative", "account")
        case _:
            found = _named(call, "initializeAccount3", "account", "mint")
            found["info"]["owner"] = text(call.data[1:33])
    return found


def _named(call: Call, kind: str, *names: str) -> dict[str, Any]:
    return {"type": kind, "info": {name: text(key) for name, key in zip(names, call.accounts, strict=False)}}

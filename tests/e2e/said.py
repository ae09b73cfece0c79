"""What recorded transactions said, found without the decoders: self-CPI calls, or log lines where nothing else is."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from solders.transaction import VersionedTransaction

from tests import mainnet

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLLOWED = (mainnet.PUMPFUN, mainnet.PUMPSWAP, mainnet.LAUNCHLAB)
_SELF_CPI = bytes.fromhex("e445a52e51cb9a1d")
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class Said:
    """An event: its bytes with the discriminator, and the accounts of the instruction that said it (() if unknown)."""

    signature: str
    program: str
    data: bytes
    accounts: tuple[str, ...] = ()
    block_time: int | None = None


@dataclass(frozen=True)
class Record:
    """A recorded transaction, or its logs alone (`whole` None). `answer` is what getTransaction gives."""

    signature: str
    slot: int
    logs: list[str]
    mentions: frozenset[str]
    said: list[Said]
    whole: dict[str, Any] | None = None


class _Call(NamedTuple):
    height: int
    program: str
    accounts: tuple[str, ...]
    data: bytes


def records() -> list[Record]:
    """Return every recorded transaction and log record; those without a slot get one of their own."""
    found: dict[str, Record] = {}
    for number, recorded in enumerate([*mainnet.recorded("transaction"), *mainnet.recorded("logs")]):
        value = recorded.load()
        slot = value.get("slot") or int(recorded.slot or 0) or 345_600_000 + number
        record = _transaction(value, slot) if "meta" in value else _log_record(value, slot)
        if record.logs and record.signature not in found:
            found[record.signature] = record
    return sorted(found.values(), key=lambda record: record.slot)


def _log_record(value: dict[str, Any], slot: int) -> Record:
    signature, logs = value["signature"], value["logs"]
    said = [Said(signature, program, data) for program, data in logged(logs)]
    return Record(
        signature, slot, logs, frozenset(p for p in FOLLOWED if f"Program {p} invoke [" in "\n".join(logs)), said
    )


def logged(logs: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield program and bytes of each event in log lines."""
    stack: list[str] = []
    for line in logs:
        words = line.split()
        if words[0] == "Program" and words[2:3] == ["invoke"]:
            stack.append(words[1])
        elif words[0] == "Program" and words[2:] == ["success"]:
            stack.pop()
        elif line.startswith("Program data: ") and stack[-1] in FOLLOWED:
            yield stack[-1], base64.b64decode(words[2])


def _transaction(value: dict[str, Any], slot: int) -> Record:
    signature, keys, outer = _body(value)
    inner = {group["index"]: group["instructions"] for group in value["meta"]["innerInstructions"]}
    calls = []
    for number, instruction in enumerate(outer):
        calls.append(_call(instruction, keys, 1))
        calls += [_call(one, keys, one.get("stackHeight") or 2) for one in inner.get(number, ())]
    said = [
        Said(signature, call.program, call.data[8:], _emitter(calls, at).accounts, value.get("blockTime"))
        for at, call in enumerate(calls)
        if call.program in FOLLOWED and call.data.startswith(_SELF_CPI)
    ]
    answer = {**value, "slot": slot}
    mentions = frozenset(program for program in FOLLOWED if program in keys)
    return Record(signature, slot, value["meta"]["logMessages"], mentions, said, answer)


def _body(value: dict[str, Any]) -> tuple[str, list[str], list[dict[str, Any]]]:
    transaction = value["transaction"]
    if isinstance(transaction, list):
        wire = VersionedTransaction.from_bytes(base64.b64decode(transaction[0]))
        instructions = [
            {"programIdIndex": one.program_id_index, "accounts": list(one.accounts), "data": bytes(one.data)}
            for one in wire.message.instructions
        ]
        return str(wire.signatures[0]), [str(key) for key in wire.message.account_keys], instructions
    message = transaction["message"]
    keys = [key if isinstance(key, str) else key["pubkey"] for key in message["accountKeys"]]
    if all(isinstance(key, str) for key in message["accountKeys"]):  # jsonParsed has the loaded ones in place
        loaded = value["meta"].get("loadedAddresses") or {}
        keys += [*loaded.get("writable", ()), *loaded.get("readonly", ())]
    return transaction["signatures"][0], keys, message["instructions"]


def _call(instruction: dict[str, Any], keys: list[str], height: int) -> _Call:
    if "programId" in instruction:  # jsonParsed; what the node parsed is of no followed program
        accounts = tuple(instruction.get("accounts", ()))
        return _Call(height, instruction["programId"], accounts, base58(instruction.get("data", "")))
    data = instruction["data"]
    accounts = tuple(keys[number] for number in instruction["accounts"])
    return _Call(
        height, keys[instruction["programIdIndex"]], accounts, data if isinstance(data, bytes) else base58(data)
    )


def _emitter(calls: list[_Call], at: int) -> _Call:
    event = calls[at]
    return next(c for c in reversed(calls[:at]) if c.program == event.program and c.height == event.height - 1)


def base58(text: str) -> bytes:
    """Return the bytes that base58 text stands for."""
    number = 0
    for letter in text:
        number = number * 58 + _ALPHABET.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def pools_of(records: list[Record]) -> dict[str, tuple[str, str]]:
    """Return mint and quote mint of PumpSwap pools, from what the pools' own token accounts hold."""
    wsol = "So11111111111111111111111111111111111111112"
    found = {}
    for record in records:
        balances = record.whole["meta"].get("postTokenBalances", []) if record.whole else []
        for pool in {balance.get("owner") for balance in balances}:
            mints = {balance["mint"] for balance in balances if balance.get("owner") == pool}
            if len(mints) == 2 and wsol in mints:
                found[str(pool)] = ((mints - {wsol}).pop(), wsol)
    return found


def text_of(value: Any) -> str:
    """Return JSON text as nodes write it."""
    return json.dumps(value, separators=(",", ":"))

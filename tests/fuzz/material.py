"""What fuzzing starts from: recorded mainnet data where it is, else events made by the tests' own encoder."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.recorded import events as recorded_events
from bench.recorded import logs as recorded_logs
from decoders.core.base58 import decode, encode
from decoders.core.transaction import convert_transaction, parse_transaction
from decoders.core.types import PoolInfo, TxNotice
from tests import mainnet
from tests.decoders.built import (
    ALL,
    RAW,
    ROUTER,
    SLOT,
    TIME_S,
    USDC,
    WSOL,
    Call,
    Event,
    key,
    notice,
)

if TYPE_CHECKING:
    from decoders.core.types import Invoke

PROGRAMS = [*sorted(ALL.followed), ROUTER]
MINTS = [key(1), key(2), WSOL, USDC]
POOLS = {
    key(0): PoolInfo(key(0), "pumpswap", key(1), WSOL),
    key(2): PoolInfo(key(2), "pumpswap", key(1), WSOL, platform="pumpfun", flipped=True),
    key(3): PoolInfo(key(3), "raydium_launchpad", key(1), USDC, platform="raydium_launchpad"),
    key(4): PoolInfo(key(4), "raydium_cpmm", key(1), WSOL),
    key(5): PoolInfo(key(5), "raydium_amm_v4", key(1), WSOL),
}
RAY = RAW["raydium_amm_v4"].address


def _sample(raw: Any, node: Any, name: str) -> Any:
    """Return a value that most rules take."""
    if name == "timestamp":
        return TIME_S
    if (name, raw.address) == ("direction", RAY):
        return 1
    if node == "pubkey":
        return key(len(name) % 6)
    if node in ("u64", "u128", "i128"):
        return 1_000_000 + len(name)
    return raw.zero(node)


@cache
def events() -> list[tuple[str, bytes]]:
    """Return (program, bytes) of every event of every IDL, as plausible values and as zeros, and recorded ones."""
    zeros = [(raw.address, raw.event(event)) for raw in RAW.values() for event in raw.kinds["events"]]
    return [*made_events(), *zeros, *((event.program, event.data) for event in recorded_events(ALL.followed))]


@cache
def instructions() -> list[tuple[str, bytes, tuple[str, ...]]]:
    """Return (program, data, accounts) of every instruction of every IDL."""
    found = []
    for raw in RAW.values():
        for name, accounts in raw.accounts_of.items():
            named = tuple(MINTS[at % len(MINTS)] if "mint" in one else key(at % 200) for at, one in enumerate(accounts))
            found.append((raw.address, raw.instruction(name), named))
    return found


@cache
def accounts() -> list[tuple[str, bytes]]:
    """Return (owner, data) of every account of every IDL, and of recorded ones."""
    found = []
    for raw in RAW.values():
        for name, fields in raw.kinds["accounts"].items():
            values = {field: _sample(raw, node, field) for field, node in fields}
            found.append((raw.address, raw.account(name, **values)))
    found.append((RAY, bytes(400) + decode(key(1)) + decode(WSOL) + bytes(288)))
    return found


@cache
def notices() -> list[TxNotice]:
    """Return recorded transactions, whole and as logs, and one of each event that was made."""
    found = [TxNotice(one.signature, one.slot, failed=False, logs=one.logs) for one in recorded_logs()]
    for answer in answers():
        whole = parse_transaction(convert_transaction(answer), slot=SLOT, block_time=TIME_S, programs=ALL.followed)
        if whole is not None and whole.invokes:
            found.append(whole)
    for program, data in made_events():
        call = Call(program, *instruction_of(program), (Event(data, "ray" if program == RAY else "log cpi"),))
        found.append(notice(Call(ROUTER, b"", (), (call,))))
    return found


@cache
def made_events() -> list[tuple[str, bytes]]:
    """Return (program, bytes) of every event of every IDL, with values that most rules take."""
    return [
        (raw.address, raw.event(event, **{name: _sample(raw, node, name) for name, node in fields}))
        for raw in RAW.values()
        for event, fields in raw.kinds["events"].items()
    ]


def instruction_of(program: str) -> tuple[bytes, tuple[str, ...]]:
    """Return data and accounts of a program's instruction that trades."""
    names = ("buy", "buy_exact_in", "swap_base_input", "swap_base_in", "swapBaseIn")
    of_program = [one for one in instructions() if one[0] == program]
    heads = RAW[next(name for name, raw in RAW.items() if raw.address == program)].discriminators["instructions"]
    wanted = [heads[name] for name in names if name in heads]
    found = next((one for one in of_program if wanted and one[1].startswith(wanted[0])), of_program[0])
    return found[1], found[2]


@cache
def answers() -> list[Any]:
    """Return recorded transactions as nodes answered them; built ones where there are none."""
    found = [line.load() for line in mainnet.recorded("transaction")]
    return found or [answer_of(one) for one in _built()]


def _built() -> list[TxNotice]:
    return [
        notice(Call(program, *instruction_of(program), (Event(data, "ray" if program == RAY else "log cpi"),)))
        for program, data in made_events()
    ]


def answer_of(whole: TxNotice) -> dict[str, Any]:
    """Return a notice as getTransaction tells it, in json; each outer instruction's calls stand below it."""
    keys = list(dict.fromkeys([key(9), *PROGRAMS, *(a for i in whole.invokes or () for a in i.accounts)]))
    outer: list[dict[str, Any]] = []
    inner: list[dict[str, Any]] = []
    for invoke in whole.invokes or ():
        item = _instruction(invoke, keys)
        if invoke.depth == 1:
            outer.append(item)
            inner.append({"index": len(outer) - 1, "instructions": []})
        elif inner:
            inner[-1]["instructions"].append(item)
    meta = {"err": None, "innerInstructions": inner, "logMessages": whole.logs}
    message = {"accountKeys": keys, "instructions": outer}
    transaction = {"signatures": [whole.signature], "message": message}
    return {"slot": whole.slot, "blockTime": whole.block_time, "transaction": transaction, "meta": meta}


def _instruction(invoke: Invoke, keys: list[str]) -> dict[str, Any]:
    return {
        "programIdIndex": keys.index(invoke.program),
        "accounts": [keys.index(account) for account in invoke.accounts],
        "data": encode(invoke.data),
        "stackHeight": invoke.depth,
    }


@cache
def frames() -> list[bytes]:
    """Return websocket frames: notifications of logs, slots and blocks, and answers."""
    found = [_logs_frame(one.signature, one.slot, one.logs or []) for one in notices() if one.logs]
    found += [_block_frame(answer) for answer in answers() if len(json.dumps(answer)) < MOST_BYTES]
    slot = {"slot": SLOT, "parent": SLOT - 1, "root": SLOT - 32}
    found.append(_dump({"method": "slotNotification", "params": {"result": slot, "subscription": 1}}))
    found.append(_dump({"jsonrpc": "2.0", "result": 24_040, "id": 1}))
    found.append(_dump({"jsonrpc": "2.0", "error": {"code": -32602, "message": "no"}, "id": 1}))
    return found


MOST_BYTES = 16_000


def _logs_frame(signature: str, slot: int, logs: list[str]) -> bytes:
    result = {"context": {"slot": slot}, "value": {"signature": signature, "err": None, "logs": logs}}
    return _dump({"method": "logsNotification", "params": {"result": result, "subscription": 1}})


def _block_frame(answer: dict[str, Any]) -> bytes:
    value = {"slot": SLOT, "err": None, "block": block(answer)}
    return _dump({"method": "blockNotification", "params": {"result": {"value": value}, "subscription": 3}})


def block(*transactions: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of getBlock."""
    entries = [{"transaction": one["transaction"], "meta": one["meta"]} for one in transactions]
    header = {"blockhash": key(7), "previousBlockhash": key(8), "parentSlot": SLOT - 1, "blockTime": TIME_S}
    return {**header, "transactions": entries}


def base64_of(data: bytes) -> str:
    """Return base64 text."""
    return base64.b64encode(data).decode()


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

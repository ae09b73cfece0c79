"""
The ways from bytes to facts, each a function of any bytes that raises if something does not hold.

`seeds` are where a fuzzer begins, and `change` how it may change an input besides bit by bit: behind base64 and base58
a changed letter is seldom a changed event.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, NamedTuple

from decoders.core.base58 import decode, encode
from decoders.core.transaction import TransactionError, parse_block, parse_transaction, read_block, read_transaction
from decoders.core.types import Fault, TxNotice
from monitor.sources import rpc
from monitor.sources.notices import PayloadSeen
from monitor.sources.tally import FeedTally
from monitor.sources.translate import Translator
from tests.decoders.built import ALL, RAW, SIGNATURE, SLOT, TIME_S, key
from tests.fuzz import build, material
from tests.fuzz.build import Choices
from tests.fuzz.model import BY_ADDRESS, RAY
from tests.fuzz.properties import check_again, check_facts, check_notice, hold
from tests.fuzz.reader import whole_fields_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Mutate = Callable[[bytes, int], bytes]

_PROGRAM = RAW["pumpfun"].address
_PAYLOAD = re.compile(rb'(?:data: |ray_log: )([A-Za-z0-9+/=]{8,})"|"data":\s?"([1-9A-HJ-NP-Za-km-z]{8,})"')
# Where accounts have the mints of a pool, by the places that programs' sources say (PROTOCOLS.md).
_POOLS = {
    "pumpswap": ("Pool", "base_mint", "quote_mint"),
    "raydium_launchpad": ("PoolState", "base_mint", "quote_mint"),
    "raydium_cpmm": ("PoolState", "token_0_mint", "token_1_mint"),
}
_AMM_BYTES, _AMM_MINTS = 752, (slice(400, 432), slice(432, 464))


def frame(data: bytes) -> None:
    """A frame of the websocket: message, notices, facts."""
    message = rpc.read_message(data)
    if isinstance(message, (rpc.Response, rpc.Malformed)):
        return
    translator = Translator("fuzz", ALL.followed, FeedTally())
    translator.connected({1: _PROGRAM, 2: "slots", 3: "blocks"})
    for notice in translator.notices(message):
        if isinstance(notice, TxNotice):
            check_notice(notice, {})


def transaction(data: bytes) -> None:
    """Events, calls and damage, put together from the bytes."""
    check_notice(build.notice(data[1:]), material.POOLS if data[:1] > b"\x7f" else {})


def answer(data: bytes) -> None:
    """An answer of getTransaction or getBlock: what it holds, or why it cannot be read."""
    try:
        found = parse_transaction(read_transaction(data), slot=SLOT, programs=ALL.followed)
        if found is not None:
            check_notice(found, material.POOLS)
    except TransactionError:
        pass
    try:
        block = read_block(data)
    except TransactionError:
        return
    parsed = parse_block(block, slot=SLOT, programs=ALL.followed)
    hold(parsed, parsed.irrelevant >= 0, "more notices than entries")
    for notice in parsed.notices:
        check_notice(notice, {})


def payload(data: bytes) -> None:
    """Bytes that were kept, as an event that was stored by its name, by its discriminator, or otherwise."""
    take = Choices(data)
    events = material.events()
    program, event = events[take.number() % len(events)]
    flags, nth, position = take.byte(), take.byte(), take.byte()
    while not take.is_done:
        event = build.patched(event, take)
    head = event[: 1 if BY_ADDRESS[program] == RAY else 8]
    names = {known: name for name, known in RAW[BY_ADDRESS[program]].discriminators["events"].items()}
    name = (head.hex(), names.get(head, head.hex()), "no_base64", "buy", "migrate_to_amm")[min(flags % 8, 4)]
    time = None if flags & 8 else TIME_S
    seen = PayloadSeen(program, name, nth, SIGNATURE, SLOT, time, 7, position, event, "fault", 1)
    decoded = ALL.decode_payload(seen, material.POOLS)
    hold(seen, ALL.decode_payload(seen, material.POOLS) == decoded, "decoding twice is not equal")
    check_facts(decoded, {"signature": SIGNATURE, "slot": SLOT, "index": 7, "position": position})
    check_again(decoded, program, event, nth, position)
    if name in ("no_base64", "buy", "migrate_to_amm"):
        hold(decoded, all(isinstance(fact, Fault) for fact in decoded.facts) and not decoded.partial, "made of nothing")
        return
    hold(decoded, bool(decoded.facts or decoded.partial or decoded.needs), "an event that became nothing")
    if nth == position == 0:
        line = "Program data: " if BY_ADDRESS[program] != RAY else "Program log: ray_log: "
        logs = [f"Program {program} invoke [1]", line + material.base64_of(event), f"Program {program} success"]
        alike = TxNotice(SIGNATURE, SLOT, failed=False, logs=logs, index=7, block_time=time)
        then = ALL.decode(alike, material.POOLS)
        hold(decoded, (decoded.facts, decoded.partial) == (then.facts, then.partial), "not as in its time")


def account(data: bytes) -> None:
    """An account of any bytes: a pool with the mints that stand there, or none."""
    take = Choices(data)
    accounts = material.accounts()
    owner, body = accounts[take.number() % len(accounts)]
    if take.byte() % 8 == 0:
        owner = material.PROGRAMS[take.byte() % len(material.PROGRAMS)]
    body = body[: take.number() or len(body)]
    while not take.is_done:
        body = build.patched(body, take)
    info = ALL.decode_account(key(5), owner, body, SLOT)
    hold(info, info == ALL.decode_account(key(5), owner, body), "reading twice is not equal")
    name = BY_ADDRESS.get(owner)
    mints = None if name is None else _mints(name, body)
    if info is None:
        return
    hold(info, mints is not None, f"made of {body!r}")
    hold(info, (info.address, info.venue) == (key(5), name) and {info.mint, info.quote_mint} == mints, f"not {mints}")


def _mints(name: str, body: bytes) -> set[str] | None:
    if name == RAY:
        return {encode(body[part]) for part in _AMM_MINTS} if len(body) == _AMM_BYTES else None
    kind, one, other = _POOLS.get(name, ("", "", ""))
    raw = RAW[name]
    if body[:8] != raw.discriminators["accounts"].get(kind):
        return None
    fields = whole_fields_of(raw, "accounts", kind, body, 8)
    return {encode(fields[one]), encode(fields[other])} if one in fields and other in fields else None


def change_text(data: bytes, size: int, seed: int, mutate: Mutate) -> bytes:
    """Change an input of JSON: half of the time what stands behind one of its base64 or base58 texts."""
    found = list(_PAYLOAD.finditer(data)) if seed % 2 else []
    if not found:
        return mutate(data, size)
    match = found[seed // 2 % len(found)]
    is_line = match[1] is not None
    text = match[1] if is_line else match[2]
    try:
        inner = b64decode(text) if is_line else decode(text.decode())
    except ValueError:
        return mutate(data, size)
    inner = mutate(inner, len(inner) + 64)
    changed = (material.base64_of(inner) if is_line else encode(inner)).encode()
    at = 1 if is_line else 2
    return (data[: match.start(at)] + changed + data[match.end(at) :])[:size]


class Target(NamedTuple):
    """One way, where fuzzing it begins, and the longest input."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    most_bytes: int
    is_text: bool = False


def _few(count: int) -> list[bytes]:
    return [number.to_bytes(2, "little") + bytes([flags, 0, 0]) for number in range(count) for flags in (0, 1, 2)]


def _answers() -> list[bytes]:
    found: list[Any] = [one for one in material.answers() if len(json.dumps(one)) < material.MOST_BYTES]
    return [json.dumps(one).encode() for one in [*found, *(material.block(one) for one in found)]]


TARGETS = {
    "frame": Target(frame, material.frames, material.MOST_BYTES, is_text=True),
    "transaction": Target(transaction, lambda: [b"\0" + one for one in _few(len(material.notices()))], 400),
    "answer": Target(answer, _answers, material.MOST_BYTES, is_text=True),
    "payload": Target(payload, lambda: _few(len(material.events())), 200),
    "account": Target(account, lambda: _few(len(material.accounts())), 200),
}

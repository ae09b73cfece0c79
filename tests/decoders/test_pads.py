"""What every decoder must do, whatever its program: a new one is covered by being in the folder."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoders
from decoders.core.base58 import decode
from decoders.core.layout import Idl
from decoders.core.types import I64_MAX, Fault, Invoke, PoolInfo, TxNotice
from tests.decoders import borsh
from tests.decoders.built import ALL, RAW, SIGNATURE, SLOT, TAG, TIME_S, USDC, WSOL, Call, Event, key, notice

if TYPE_CHECKING:
    from decoders.core.types import Decoded, Fact

FOLDER = Path(decoders.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
EVENTS = [(name, event) for name in MODULES for event in RAW[name].kinds["events"]]
TRADES = [
    ("pumpfun", "TradeEvent"),
    ("pumpfun", "CreateEvent"),
    ("pumpfun", "PostCompleteBuyEvent"),
    ("pumpswap", "BuyEvent"),
    ("pumpswap", "SellEvent"),
    ("raydium_launchpad", "TradeEvent"),
    ("raydium_launchpad", "PoolCreateEvent"),
    ("raydium_cpmm", "SwapEvent"),
    ("raydium_amm_v4", "SwapBaseInLog"),
    ("raydium_amm_v4", "SwapBaseOutLog"),
    ("raydium_amm_v4", "InitLog"),
]
MOST_LINES = 300
MINTS = [key(number) for number in range(12)] + [WSOL, USDC]
KEYS = [*MINTS, borsh.ZERO_KEY]
KINDS = {"launch", "trade", "curve_complete", "graduation", "pool_created", "other", "fault"}
FREE_TEXT = {"name", "symbol", "uri", "reason", "event"}
# Amounts at the edges, where sums overflow, and in between.
EDGES = st.sampled_from([0, 1, I64_MAX - 1, I64_MAX, I64_MAX + 1, (1 << 64) - 1])
POOLS = {
    key(0): PoolInfo(key(0), "pumpswap", key(1), WSOL),
    key(2): PoolInfo(key(2), "pumpswap", key(1), WSOL, platform="pumpfun", flipped=True),
    key(3): PoolInfo(key(3), "raydium_launchpad", key(1), USDC, platform="raydium_launchpad"),
}


@pytest.mark.parametrize("name", MODULES)
def test_module(name: str) -> None:
    """A decoder is one module, named as its IDL, that builds its pad and does no I/O; it fits on few screens."""
    module = importlib.import_module(f"decoders.{name}")
    pad = module.pad(Idl.parse((borsh.IDLS / f"{name}.json").read_bytes()))
    assert (module.NAME, pad.name, pad.program) == (name, name, RAW[name].address)
    assert pad.platform in (None, name)
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= MOST_LINES
    assert len(pad.events) == len(RAW[name].kinds["events"])


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.name)
def test_imports(path: Path) -> None:
    """Decoders know neither the monitor nor the outside world, and a decoder knows no other."""
    allowed = {
        "decoders",
        "__future__",
        "ast",
        "binascii",
        "bisect",
        "collections",
        "dataclasses",
        "functools",
        "importlib",
    }
    allowed |= {"json", "msgspec", "operator", "solders", "struct", "typing"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            assert name.split(".")[0] in allowed, f"{path.name} imports {name}"
            if name.startswith("decoders."):
                assert name.startswith("decoders.core"), f"{path.name} imports {name}"


def carried(data: bytes, name: str) -> Event:
    """Return an event by the carriers that its program has."""
    return Event(data, "ray" if name == "raydium_amm_v4" else "log cpi")


def check(decoded: Decoded) -> None:
    """Check what holds for every fact: its members fit the tables, its identity is its own."""
    found = decoded.facts + decoded.partial
    identities = [(fact.program, fact.event, fact.nth, fact.kind) for fact in found]
    assert len(set(identities)) == len(identities)
    for fact in found:
        assert fact.kind in KINDS
        assert fact.signature == SIGNATURE
        assert fact.slot == SLOT
        for member in fact.__struct_fields__:
            _check_member(fact, member, getattr(fact, member))
    assert len(set(decoded.needs)) == len(decoded.needs)
    if decoded.partial:
        assert decoded.needs


def _check_member(fact: Fact, member: str, value: Any) -> None:
    where = f"{fact.kind}.{member} = {value!r}"
    if isinstance(value, bool) or member in ("record", "payload") or value is None:
        return
    if isinstance(value, int):
        low = -I64_MAX if member == "virtual_quote" else 0
        high = 10**20 - 1 if member == "supply" else I64_MAX  # a NUMERIC(20), for a mint's supply is 64 bits wide
        assert low <= value <= high, where
    elif member in ("mint", "pool", "to_pool", "quote_mint", "trader", "creator", "payer", "platform_config"):
        assert len(decode(value)) == 32, where
        assert member != "quote_mint" or value != borsh.ZERO_KEY, where
    else:
        assert isinstance(value, str), where
    if fact.kind == "trade" and member == "mark_base":
        assert value > 0, where


def every_carrier(name: str, data: bytes, instruction: bytes = b"", accounts: tuple[str, ...] = ()) -> None:
    """Decode an event from each carrier and check the facts."""
    pad = RAW[name]
    call = Call(pad.address, instruction, accounts, (carried(data, name), carried(data, name)))
    for carriers in ("log", "cpi", "log cpi"):
        for pools in ({}, POOLS):
            check(ALL.decode(notice(call, carriers=carriers), pools))


@pytest.mark.parametrize(("name", "event"), EVENTS)
def test_zero_event(name: str, event: str) -> None:
    """Every event of every IDL is decoded from zeros, with and without its newest fields, without raising."""
    raw = RAW[name]
    whole = raw.event(event)
    head = raw.discriminators["events"][event]
    every_carrier(name, whole)
    for end in range(len(head), len(whole)):
        decoded = ALL.decode_event(raw.address, whole[:end])
        assert decoded.facts or decoded.partial or decoded.needs


def filled(data: st.DataObject, raw: borsh.Idl, node: Any) -> Any:
    """Return a value that decodes: keys of a few, integers at the edges, times that can be."""
    match node:
        case "pubkey":
            return data.draw(st.sampled_from(KEYS))
        case "i64":
            return TIME_S
        case "u64":
            return data.draw(st.integers(0, 10**18) | EDGES)
        case "i128":
            return data.draw(st.integers(-(10**18), 10**18) | st.integers(-(1 << 127), (1 << 127) - 1))
    return data.draw(raw.values(node))


@settings(max_examples=500)
@given(st.data(), st.sampled_from(TRADES) | st.sampled_from(EVENTS))
def test_any_values(data: st.DataObject, where: tuple[str, str]) -> None:
    """Whatever an event says, what becomes of it fits the tables, or it is a fault."""
    name, event = where
    raw = RAW[name]
    values = {field: filled(data, raw, node) for field, node in raw.kinds["events"][event]}
    instruction = data.draw(st.sampled_from(sorted(raw.kinds["instructions"])))
    accounts = tuple(data.draw(st.sampled_from(MINTS)) for _ in raw.accounts_of[instruction])
    accounts = accounts[: data.draw(st.integers(0, len(accounts)) | st.just(len(accounts)))]
    every_carrier(name, raw.event(event, **values), raw.instruction(instruction), accounts)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(EVENTS), st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes(data: st.DataObject, where: tuple[str, str], junk: bytes, cut: int) -> None:
    """Any bytes behind a known discriminator are decoded or become a fault that keeps them all."""
    name, event = where
    head = RAW[name].discriminators["events"][event]
    body = head + RAW[name].event(event)[len(head) : len(head) + cut] + junk
    decoded = ALL.decode_event(RAW[name].address, body)
    for fact in decoded.facts:
        if isinstance(fact, Fault):
            assert fact.payload == body


CALLS = st.builds(
    Call,
    st.sampled_from([RAW[name].address for name in MODULES]),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [head for name in MODULES for head in RAW[name].discriminators["instructions"].values()]
        ).flatmap(lambda head: st.binary(max_size=30).map(head.__add__)),
    ),
    st.lists(st.sampled_from(MINTS), max_size=40).map(tuple),
)


@given(st.lists(CALLS, max_size=4))
def test_any_instructions(calls: list[Call]) -> None:
    """Instructions of any data and accounts are decoded without raising."""
    for pools in ({}, POOLS):
        check(ALL.decode(notice(*calls, carriers="cpi"), pools))


@given(
    st.lists(
        st.builds(
            Invoke,
            st.integers(0, 5),
            st.integers(1, 5),
            st.sampled_from([RAW[name].address for name in MODULES]),
            st.lists(st.sampled_from(MINTS), max_size=30).map(tuple),
            st.sampled_from([TAG + RAW[name].event(event) for name, event in EVENTS]) | st.binary(max_size=30),
        ),
        max_size=8,
    ),
    st.lists(st.text(max_size=30), max_size=5),
)
def test_any_invokes(invokes: list[Invoke], logs: list[str]) -> None:
    """So are instructions in any order, at any depth, with any log lines beside."""
    whole = TxNotice(SIGNATURE, SLOT, failed=False, logs=logs, invokes=tuple(invokes), block_time=TIME_S)
    check(ALL.decode(whole, POOLS))


@given(st.data(), st.sampled_from([(name, account) for name in MODULES for account in RAW[name].kinds["accounts"]]))
def test_any_account(data: st.DataObject, where: tuple[str, str]) -> None:
    """Account data of any bytes tells a pool or none."""
    name, account = where
    junk = data.draw(st.binary(max_size=800))
    for body in (RAW[name].discriminators["accounts"][account] + junk, junk):
        info = ALL.decode_account(key(5), RAW[name].address, body)
        assert info is None or info.venue == name

"""Recorded mainnet data decodes to its authors' values, by every carrier."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from solders.pubkey import Pubkey

from decoders.core.carriers import LogWalker, from_invokes
from decoders.core.layout import Idl
from decoders.core.types import Launch, Trade, TxNotice
from tests import mainnet
from tests.decoders import borsh
from tests.decoders.built import ALL, RAW, WSOL, said
from tests.decoders.recorded import (
    ACCOUNTS,
    BY_ADDRESS,
    EVENTS,
    LOGS,
    RAY_LOGS,
    SHORT,
    TRANSACTIONS,
    VECTORS,
    known_pools,
    lines,
    logged,
    needs_data,
    one,
    params,
    read,
    same,
    shown,
    whole,
)

if TYPE_CHECKING:
    from decoders.core.carriers import Emitted
    from decoders.core.types import Decoded, Fact


IN_BALANCES = ("decimals", "quote_decimals")


@pytest.mark.parametrize("item", params(EVENTS, "name"))
def test_events_of_authors(item: dict[str, Any]) -> None:
    """Events decode to what their authors say; fields that a record lacks are None, and no byte is left over."""
    data = base64.b64decode(item["event_b64"])
    assert len(data) == item["length"]
    fact = one(ALL.decode_event(item["program"], data))
    fields = shown(fact)
    assert fact.event == item["event"]
    for name, value in {**item["expected_by_author"], **item.get("decoded", {})}.items():
        if name == "is_buy" and item["program"] == mainnet.LAUNCHLAB:
            assert fields["trade_direction"] == ("Buy" if value else "Sell")
        elif name in ("trade_direction", "pool_status"):
            variants = {"trade_direction": ["Buy", "Sell"], "pool_status": ["Fund", "Migrate", "Trade"]}
            assert fields[name] == variants[name][value]
        else:
            assert same(fields[name], value), name
    for name in item.get("missing_fields_vs_idl_2.0.0", ()):
        assert fields[name] is None, name
    assert fact.record is not None
    assert fact.record.tail == b""


def test_event_of_another_program() -> None:
    """Bytes with the discriminator of DepositEvent, which another program emitted, do not pass for one."""
    mainnet.require()
    note = next(item["note"] for item in EVENTS if item["name"] == "momentum_amm_deposit")
    data = base64.b64decode(re.findall(r"[A-Za-z0-9+/=]{80,}", note)[0])
    assert len(data) == 8 + 105
    assert one(ALL.decode_event(mainnet.PUMPSWAP, data)).kind == "fault"


@pytest.mark.parametrize("item", params([item for item in VECTORS if "event" in item], "test"))
def test_event_vectors(item: dict[str, Any]) -> None:
    """The event vectors of an independent indexer decode to its values; what it calls missing is None."""
    data = bytes.fromhex(item["hex"]) if "hex" in item else base64.b64decode(item["event_b64"])
    fact = one(ALL.decode_event(item["program"], data))
    fields = shown(fact)
    compared = {name for name, value in item["expected"].items() if name in fields and same(fields[name], value)}
    # The vector of CreatePoolEvent names two members of that indexer's own, which are no fields of the event.
    assert set(item["expected"]) - compared <= {"coin_creator_fee_bps", "coin_creator_fee"}
    assert len(compared) == item["compared"]
    assert all(fields[name] is None for name in item["missing"])
    assert fact.event == item["event"]


@pytest.mark.parametrize("item", params([item for item in VECTORS if item.get("kind") == "instruction"], "test"))
def test_instruction_vectors(item: dict[str, Any]) -> None:
    """So do its instruction vectors."""
    data = bytes.fromhex(item["hex"])
    _, arguments = instruction(item["program"], data)
    assert item["expected"]
    for name, value in item["expected"].items():
        assert same(arguments[name], value), name


def instruction(program: str, data: bytes) -> tuple[Any, dict[str, Any]]:
    """Return the layout of an instruction and its arguments."""
    idl = Idl.parse((borsh.IDLS / f"{BY_ADDRESS[program]}.json").read_bytes())
    (layout,) = (layout for layout in idl.instructions.values() if data.startswith(layout.discriminator))
    return layout, layout.render(layout.read(data, len(layout.discriminator)))


@needs_data
def test_swap_of_amm_v4() -> None:
    """The indexer's AMM v4 swap decodes to its values; no bytes are no event."""
    item = next(item for item in VECTORS if item["test"] == "unpack_amm_v4_swap_event")
    data = base64.b64decode(item["ray_log_or_b64"][0])
    log = [f"Program {item['program']} invoke [1]", f"Program log: ray_log: {item['ray_log_or_b64'][0]}"]
    walk = LogWalker([item["program"]], [item["program"]]).walk(log)
    assert [event.data for event in walk.emitted] == [data]
    fields = amm_v4(data)
    assert data[0] == item["expected"].pop("log_type")
    assert fields == {name: str(value) for name, value in item["expected"].items()}
    assert one(ALL.decode_event(item["program"], b"")).kind == "fault"


def amm_v4(data: bytes) -> dict[str, Any]:
    """Return the fields of a ray_log."""
    idl = Idl.parse((borsh.IDLS / "raydium_amm_v4.json").read_bytes())
    (layout,) = (layout for layout in idl.events.values() if data.startswith(layout.discriminator))
    record = layout.read(data, 1)
    assert record.tail == b""
    return layout.render(record)


@pytest.mark.parametrize("item", params(RAY_LOGS, "kind"))
def test_ray_logs(item: dict[str, Any]) -> None:
    """Recorded ray_logs decode, and to what the program printed beside."""
    fields = amm_v4(base64.b64decode(item["ray_log"]))
    renamed = {"open_time": "time"}
    for name, value in item.get("expect", {}).items():
        assert same(fields[renamed.get(name, name)], value), name
    if item["kind"] == "swap_base_in":
        swap = {name: int(value) for name, value in fields.items()}
        paid = swap["amount_in"] - -(-swap["amount_in"] * 25 // 10_000)
        assert swap["direction"] == 2
        assert swap["out_amount"] == paid * swap["pool_pc"] // (swap["pool_coin"] + paid)


@needs_data
def test_instruction_buy_v2() -> None:
    """A recorded buy_v2: its accounts stand where the IDL says."""
    value = read("transactions/pump_buy_v2.instruction.json")
    layout, arguments = instruction(mainnet.PUMPFUN, bytes.fromhex(value["data_hex"]))
    accounts = dict(zip(layout.accounts, value["accounts"], strict=False))
    assert layout.name == "buy_v2"
    assert accounts["quote_mint"] == WSOL
    curve, _ = Pubkey.find_program_address(
        [b"bonding-curve", bytes(Pubkey.from_string(accounts["base_mint"]))], Pubkey.from_string(mainnet.PUMPFUN)
    )
    assert accounts["bonding_curve"] == str(curve)
    assert accounts["program"] == mainnet.PUMPFUN
    assert arguments["amount"] == str(0x272EE4C4EC)
    assert arguments["max_sol_cost"] == str(0x031F25B3)


@needs_data
def test_instruction_create_v2_holder_reward() -> None:
    """A recorded create_v2 of a holder-reward coin decodes to its author's values."""
    value = read("transactions/pump_create_v2_holder_reward.instruction.json")
    layout, arguments = instruction(mainnet.PUMPFUN, bytes.fromhex(value["data"]))
    wanted = value["args"]
    renamed = {
        "mayhem": "is_mayhem_mode",
        "cashback": "is_cashback_enabled",
        "creatorFeeBps": "creator_fee_bps",
        "holderReward": "is_holder_reward",
    }
    assert {name: same(arguments[renamed.get(name, name)], wanted[name]) for name in wanted} == dict.fromkeys(
        wanted, True
    )
    assert dict(zip(layout.accounts, value["accounts"], strict=False))["mint"] == value["mint"]


@pytest.mark.parametrize("line", lines(TRANSACTIONS))
def test_events_of_transactions(line: mainnet.Recorded) -> None:
    """Log lines and self-CPI calls hold the events that the index lists, by program, name and length."""
    notice = whole(line)
    found = LogWalker(ALL.followed).walk(notice.logs or ()).emitted
    in_logs = [f"{SHORT[BY_ADDRESS[event.program]]}.{_name(event)}/{len(event.data or b'')}" for event in found]
    listed = re.search(r"log:(\S*)", line.what)
    assert listed is not None
    assert [text for text in listed[1].split(",") if text] == in_logs
    lengths = [len(event.data or b"") for event in from_invokes(notice.invokes or ())]
    listed_lengths = json.loads(re.search(r"cpi events:(\[.*?\])", line.what)[1])  # type: ignore[index]  # always there
    if line.signature.startswith("2m5nWLnD"):  # its router emits an event as well
        listed_lengths.remove(303)
    assert lengths == listed_lengths


def _name(event: Emitted) -> str:
    """Return the IDL name of an event by its first bytes."""
    heads = RAW[BY_ADDRESS[event.program]].discriminators["events"]
    return next(name for name, head in heads.items() if head == (event.data or b"")[:8])


@pytest.mark.parametrize("line", lines(TRANSACTIONS))
def test_carriers_agree(line: mainnet.Recorded) -> None:
    """Log lines, self-CPI calls and both give equal facts; log lines lack what stands in accounts alone."""
    notice = whole(line)
    both = ALL.decode(notice, {})
    assert not [fact for fact in both.facts if fact.kind == "fault"]
    calls = ALL.decode(msgspec.structs.replace(notice, logs=None), {})
    assert (calls.facts, calls.partial, calls.needs) == (both.facts, both.partial, both.needs)
    if not LogWalker(ALL.followed).walk(notice.logs or ()).emitted:
        assert "2025_cpi_only" in line.where
        return
    logs = ALL.decode(msgspec.structs.replace(notice, invokes=None, token_balances=()), known_pools(both))
    if "launchlab" in line.where:
        members = ("mint", "trader", "payer", "quote_mint", "platform_config", "token_program", *IN_BALANCES)
        assert [need.reason for need in logs.needs] == ["accounts"]
        assert [_unlike(fact, *members) for fact in logs.partial] == [_unlike(fact, *members) for fact in both.facts]
        return
    assert _told(logs) == _told(both)
    assert logs.needs == both.needs == []


def _unlike(fact: Fact, *names: str) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in fact.__struct_fields__ if name not in names}


def _told(decoded: Decoded) -> list[dict[str, Any]]:
    """Return facts without what log lines do not tell, and `canonical`, which the map of pools here does not know."""
    return [_unlike(fact, "canonical", *IN_BALANCES) for fact in decoded.facts + decoded.partial]


@pytest.mark.parametrize("line", lines(LOGS))
def test_log_records(line: mainnet.Recorded) -> None:
    """Recorded log lines hold the event that the index lists, by the wallet that their recorder followed."""
    notice = logged(line)
    (event,) = LogWalker(ALL.followed).walk(notice.logs or ()).emitted
    listed = re.search(r"(\w+)/(\d+)$", line.what)
    assert listed is not None
    assert [_name(event), str(len(event.data or b""))] == [*listed.groups()]
    fact = one(ALL.decode(notice, {}))
    wallet = line.load().get("wallet")
    if wallet is not None:
        assert isinstance(fact, Trade)
        assert fact.trader == wallet


@needs_data
def test_named_log_records() -> None:
    """The three records of 2026-10-05 are what their recorder called them."""
    decoded = [one(ALL.decode(logged(line), {})) for line in LOGS if "2026-10-05" in line.where]
    trade, mayhem, create = decoded
    assert isinstance(trade, Trade)
    assert said(trade, "side", "real_base", "curve_total") == ("buy", 94_712_993_274_513, 793_100_000_000_000)
    assert trade.curve_sold == 793_100_000_000_000 - 94_712_993_274_513
    assert isinstance(mayhem, Trade)
    assert (shown(mayhem)["mayhem_mode"], mayhem.side) == (True, "sell")
    assert isinstance(create, Launch)
    assert create.for_sale == 793_100_000_000_000


@needs_data
def test_bare_event() -> None:
    """The event of 2026-04 is of the layout that its note describes."""
    value = read("logs/pump_buy_exact_sol_in_2026-04-09.json")
    fields = shown(one(ALL.decode_event(mainnet.PUMPFUN, base64.b64decode(value["event_b64"]))))
    assert (fields["ix_name"], fields["mayhem_mode"], fields["track_volume"]) == ("buy_exact_sol_in", True, True)
    assert fields["cashback"] == "0"
    assert fields["buyback_fee"] is fields["quote_amount"] is None


@needs_data
def test_yellowstone_dump() -> None:
    """The transaction that a gRPC stream dumped as text: its trade agrees with the balances beside it."""
    text = (mainnet.FOLDER / "logs" / "yellowstone_pump_trade.txt").read_text()
    log_lines = re.findall(r"'(Program .*?)'", text[text.index("logMessages") :])
    (fact,) = ALL.decode(TxNotice("", 325_840_689, failed=False, logs=log_lines), {}).facts
    assert isinstance(fact, Trade)
    assert fact.base_amount == 3_723_578_438_849  # of the buyer's new token account
    assert fact.trader == "VTHSpkfF4HYc56vAN11k7nyGQ2AUUzEebSJ9WtzttU8"
    assert fact.pool == "6YfEqkVrcoN9wdCwMMALAWcTvFRYWUJJKM7qfVFqngbV"
    assert fact.mint == "6671RdBd2EwDBdf6SqUWVWiLXb31V5G7yXzB9f1Xpump"
    assert fact.quote_amount == 1_635_314_140 - 1_519_978_452  # what the curve's account gained


@pytest.mark.parametrize("item", params(ACCOUNTS, "name"))
def test_accounts(item: dict[str, Any]) -> None:
    """Pools give their two mints, from which (and their seeds) their address follows."""
    data = base64.b64decode(item["data_base64"])
    info = ALL.decode_account(item["address"], item["owner"], data)
    if item["owner"] == mainnet.PUMPFUN:  # a curve does not name its mint
        assert info is None
        return
    assert info is not None
    raw = RAW[info.venue]
    (account,) = (name for name, head in raw.discriminators["accounts"].items() if data.startswith(head))
    idl = Idl.parse((borsh.IDLS / f"{info.venue}.json").read_bytes())
    layout = idl.accounts[account]
    fields = layout.render(layout.read(data, 8, partial=True))
    seeds = {
        "raydium_launchpad": ("pool", "base_mint", "quote_mint"),
        "raydium_cpmm": ("pool", "amm_config", "token_0_mint", "token_1_mint"),
        "pumpswap": ("pool", "index", "creator", "base_mint", "quote_mint"),
    }[info.venue]
    raw_seeds = [
        b"pool" if seed == "pool" else b"\0\0" if seed == "index" else bytes(Pubkey.from_string(fields[seed]))
        for seed in seeds
    ]
    derived, _ = Pubkey.find_program_address(raw_seeds, Pubkey.from_string(item["owner"]))
    assert info.address == item["address"]
    assert str(derived) == item["address"]
    assert {info.mint, info.quote_mint} == {fields[seed] for seed in seeds if seed.endswith("mint")}
    assert info.canonical == (info.venue == "pumpswap")
    assert not info.flipped

"""Whole notices: order, numbers, carriers, faults and needs, on BUILT transactions (nobody recorded such ones)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from decoders.core.errors import IdlError
from decoders.core.registry import load
from decoders.core.types import Decoded, Fault, Need, TxNotice
from tests.decoders import borsh
from tests.decoders.built import ALL, RAW, ROUTER, SIGNATURE, SLOT, TIME_S, Call, Event, Line, facts, key, notice, said

if TYPE_CHECKING:
    from decoders.core.types import Fact

HUGE = b"\xff" * 4
PUMP, SWAP, LAB = (RAW[name] for name in ("pumpfun", "pumpswap", "raydium_launchpad"))


def bought(mint: str, tokens: int, **values: Any) -> Event:
    """Return a trade event of Pump.fun."""
    sound = {"is_buy": True, "timestamp": TIME_S, "virtual_token_reserves": 10**15, "virtual_sol_reserves": 30 * 10**9}
    return Event(PUMP.event("TradeEvent", mint=mint, token_amount=tokens, sol_amount=5, **{**sound, **values}))


def buy(mint: str, tokens: int) -> Call:
    """Return a buy on Pump.fun."""
    return Call(PUMP.address, PUMP.instruction("buy"), (), (bought(mint, tokens),))


def bare(fact: Fact) -> Any:
    """Return a fact's members without those that one carrier alone knows."""
    return {name: getattr(fact, name) for name in fact.__struct_fields__ if name != "index"}


CALLS = (
    buy(key(1), 100),
    Call(ROUTER, b"", (), (buy(key(2), 200), Call(ROUTER, b"", (), (buy(key(1), 300),)))),
    Call(PUMP.address, PUMP.instruction("multi_hop_curve_swap"), (), (bought(key(3), 400), bought(key(4), 500))),
)


@pytest.mark.parametrize("carriers", ["log", "cpi", "log cpi"])
def test_several_trades_of_one_transaction(carriers: str) -> None:
    """Trades of one program, at any depth and several of one instruction, are numbered in execution order."""
    found = facts(*CALLS, carriers=carriers)
    assert [said(fact, "nth", "mint", "base_amount", "position") for fact in found] == [
        (0, key(1), 100, 0),
        (1, key(2), 200, 3),
        (2, key(1), 300, 6),
        (3, key(3), 400, 8),
        (4, key(4), 500, 8),
    ]
    assert {said(fact, "signature", "slot", "venue", "platform", "program", "event") for fact in found} == {
        (SIGNATURE, SLOT, "pumpfun", "pumpfun", PUMP.address, "TradeEvent")
    }


def test_carriers_agree() -> None:
    """Log lines, self-CPI calls and both together give equal facts."""
    tellings = [[bare(fact) for fact in facts(*CALLS, carriers=carriers)] for carriers in ("log", "cpi", "log cpi")]
    assert tellings[0] == tellings[1] == tellings[2]


def test_nested_calls_of_one_program() -> None:
    """A call that emits after a call inside it comes first by both carriers: facts stand by their instruction."""
    call = Call(PUMP.address, b"outer", (), (buy(key(1), 1), bought(key(2), 2)))
    for carriers in ("log", "cpi", "log cpi"):
        assert [said(fact, "nth", "base_amount") for fact in facts(call, carriers=carriers)] == [(0, 2), (1, 1)]


def test_carriers_are_chosen_per_event() -> None:
    """Of one program an event may come by log lines alone while another comes by calls; both are taken once."""
    other = Event(PUMP.event("SetParamsEvent"), "log")
    calls = [Call(PUMP.address, b"", (), (event,)) for event in (bought(key(1), 1), other, bought(key(1), 2), other)]
    assert [said(fact, "event", "nth") for fact in facts(*calls)] == [
        ("TradeEvent", 0),
        ("SetParamsEvent", 0),
        ("TradeEvent", 1),
        ("SetParamsEvent", 1),
    ]


def test_failed_transaction() -> None:
    """A failed transaction says nothing, whatever it printed."""
    assert ALL.decode(notice(*CALLS, failed=True), {}) == Decoded()


def test_no_logs_and_no_instructions() -> None:
    """A notice that carries nothing says nothing."""
    assert ALL.decode(TxNotice(SIGNATURE, SLOT, failed=False), {}) == Decoded()
    assert ALL.decode(TxNotice(SIGNATURE, SLOT, failed=False, invokes=()), {}) == Decoded()


def test_position_of_log_lines_beside_instructions() -> None:
    """Log lines of a whole copy find their instruction, also where followed programs are called more than once."""
    cpmm = RAW["raydium_cpmm"]
    accounts = [
        cpmm.accounts("swap_base_input", payer=key(n), input_token_mint=key(9), output_token_mint=borsh.ZERO_KEY)
        for n in (1, 2)
    ]
    event = Event(cpmm.event("SwapEvent", output_vault_before=100, input_amount=5, output_amount=6), "log")
    calls = [Call(cpmm.address, cpmm.instruction("swap_base_input"), names, (event,)) for names in accounts]
    decoded = ALL.decode(notice(calls[0], Call(ROUTER, b"", (), (calls[1],))), {})
    assert [said(fact, "trader", "position", "nth") for fact in decoded.partial] == [(key(1), 0, 0), (key(2), 2, 1)]


@pytest.mark.parametrize("lines", [0, 1, 2, 3])
def test_truncated_logs(lines: int) -> None:
    """Truncated log lines give what stands before the cut, and the wish for a whole copy."""
    decoded = ALL.decode(notice(*CALLS, carriers="log", truncate_after=lines), {})
    assert len(decoded.facts) == (1 if lines >= 2 else 0)
    assert decoded.needs == [Need(SIGNATURE, SLOT, "truncated", "pumpfun" if lines else "")]


def test_truncated_logs_of_a_whole_copy() -> None:
    """A whole copy wants nothing: instructions are never truncated."""
    assert len(facts(*CALLS, truncate_after=2)) == 5


def test_foreign_lines_are_counted() -> None:
    """Lines of programs that nobody follows are counted, even if they carry our events' bytes."""
    forged = Call(ROUTER, b"", (), (Event(bought(key(1), 1).data, "log"), buy(key(2), 2)))
    decoded = ALL.decode(notice(forged, carriers="log"), {})
    assert decoded.foreign == 1
    assert [said(fact, "mint") for fact in decoded.facts] == [(key(2),)]


def test_discriminators_are_scoped_by_program() -> None:
    """LaunchLab's TradeEvent has the discriminator of Pump.fun's; each program's bytes are read as its own."""
    event = Event(LAB.event("TradeEvent", trade_direction=("Sell", {})), "log")
    decoded = ALL.decode(notice(Call(LAB.address, b"", (), (event,)), buy(key(1), 1), carriers="log"), {})
    assert [said(fact, "venue", "side") for fact in decoded.partial] == [("raydium_launchpad", "sell")]
    assert [said(fact, "venue", "side") for fact in decoded.facts] == [("pumpfun", "buy")]


class TestFaults:
    """What a followed program says and nobody can read is a Fault with the whole payload; the rest is kept."""

    @pytest.mark.parametrize(
        ("data", "event", "reason"),
        [
            (b"", "", "unknown_discriminator"),
            (b"\1\2\3", "010203", "unknown_discriminator"),
            (bytes(8) + b"rest", "00" * 8, "unknown_discriminator"),
            (bought(key(1), 1).data[:8], "TradeEvent", "shorter than its oldest layout"),
            (bought(key(1), 1).data[:105], "TradeEvent", "shorter than its oldest layout"),
            (bought(key(1), 1).data[:100], "TradeEvent", "92 bytes end inside field virtual_sol_reserves"),
            (bought(key(1), (1 << 64) - 1).data, "TradeEvent", "amount 18446744073709551615 is beyond 2^63-1"),
            (bought(key(1), 1, timestamp=1).data, "TradeEvent", "time 1 is out of range"),
            (bought(key(1), 1, timestamp=-1).data, "TradeEvent", "time -1 is out of range"),
            (bought(key(1), 1, timestamp=1 << 33).data, "TradeEvent", "time 8589934592 is out of range"),
        ],
        ids=[
            "empty",
            "short",
            "unknown",
            "bare",
            "before its oldest",
            "inside a field",
            "amount",
            "1970",
            "1969",
            "2242",
        ],
    )
    @pytest.mark.parametrize("carriers", ["log", "cpi", "log cpi"])
    def test_unreadable(self, data: bytes, event: str, reason: str, carriers: str) -> None:
        """The fault names the event as far as it is known, and is one of the facts in their order."""
        calls = Call(PUMP.address, b"", (), (Event(data), bought(key(1), 7))), buy(key(2), 8)
        fault, *trades = facts(*calls, carriers=carriers)
        assert isinstance(fault, Fault)
        assert (fault.event, fault.nth, fault.payload, fault.position) == (event, 0, data, 0)
        assert fault.reason.endswith(reason)
        assert (fault.block_time, fault.signature, fault.venue, fault.platform) == (
            TIME_S, SIGNATURE, "pumpfun", "pumpfun",
        )  # fmt: skip
        assert [said(trade, "base_amount", "nth") for trade in trades] == [
            (7, 1 if event == "TradeEvent" else 0),
            (8, 2 if event == "TradeEvent" else 1),
        ]

    @pytest.mark.parametrize(
        ("name", "data", "reason"),
        [
            (
                "pumpfun",
                PUMP.discriminators["events"]["CreateEvent"] + HUGE + b"x" * 200,
                "a length says 4294967295 bytes",
            ),
            (
                "pumpfun",
                PUMP.event("CreateEvent").replace(bytes(12), b"\1\0\0\0\xff" + bytes(8), 1),
                "invalid start byte",
            ),
            (
                "pumpfun",
                PUMP.event("TradeEvent")[: 8 + 32 + 16] + b"\2" + bytes(400),
                "a bool or enum tag is out of range",
            ),
            ("pumpfun", PUMP.event("TradeEvent")[: 258 + 4 + 1 + 32] + HUGE + bytes(90), "a vec says 4294967295 items"),
            ("raydium_launchpad", LAB.event("TradeEvent")[:-2] + b"\3\0", "a bool or enum tag is out of range"),
            ("raydium_launchpad", LAB.event("PoolCreateEvent")[: 8 + 96 + 13] + b"\3" + bytes(60), "an enum's tag"),
        ],
        ids=["4 GB of text", "no UTF-8", "bool 2", "vec of 2^32", "enum 3", "variant 3"],
    )
    def test_hostile(self, name: str, data: bytes, reason: str) -> None:
        """Lengths, tags and text that lie make a fault, at once and without taking memory."""
        (fault,) = facts(Call(RAW[name].address, b"", (), (Event(data),)))
        assert isinstance(fault, Fault)
        assert reason in fault.reason
        assert fault.payload == data

    def test_no_base64(self) -> None:
        """A log line of a followed program that is no base64 is kept as its text."""
        call = Call(PUMP.address, b"", (), (Line("Program data: a!"), Line("Program data: b!"), bought(key(1), 7)))
        one, other, _ = facts(call, carriers="log")
        assert isinstance(one, Fault)
        assert isinstance(other, Fault)
        assert (one.event, one.reason, one.payload, one.nth) == ("no_base64", "no_base64", b"a!", 0)
        assert (other.payload, other.nth) == (b"b!", 1)

    def test_without_time(self) -> None:
        """A fault is kept even where nobody knows the time."""
        (fault,) = facts(Call(PUMP.address, b"", (), (Event(b"?"),)), block_time=None)
        assert (fault.kind, fault.block_time) == ("fault", None)


class TestPartial:
    """A fact that lacks a member is handed over apart, with what would tell it."""

    def test_time(self) -> None:
        """LaunchLab's events carry no time: without the block's there is no complete fact."""
        accounts = LAB.accounts("buy_exact_in", payer=key(1), base_token_mint=key(2), quote_token_mint=key(3))
        event = Event(LAB.event("TradeEvent"))
        call = Call(LAB.address, LAB.instruction("buy_exact_in"), accounts, (event,))
        decoded = ALL.decode(notice(call, block_time=None), {})
        assert [fact.kind for fact in decoded.partial] == ["trade"]
        assert decoded.needs == [Need(SIGNATURE, SLOT, "time", "raydium_launchpad")]
        assert [fact.kind for fact in facts(call)] == ["trade"]

    def test_others_do_not_wait_for_the_time(self) -> None:
        """What is only counted needs no time."""
        (fact,) = facts(Call(LAB.address, b"", (), (Event(LAB.event("ClaimVestedEvent"), "log"),)), block_time=None)
        assert (fact.kind, fact.event) == ("other", "ClaimVestedEvent")

    def test_each_wish_once(self) -> None:
        """Several events that lack the same make one wish."""
        event = Event(LAB.event("TradeEvent"))
        call = Call(LAB.address, b"", (), (event, event))
        decoded = ALL.decode(notice(call, call, carriers="log"), {})
        assert len(decoded.partial) == 4
        assert decoded.needs == [Need(SIGNATURE, SLOT, "accounts", "raydium_launchpad")]


class TestBareEvents:
    """`decode --program ID --event-base64` hands over event bytes without a transaction."""

    @pytest.mark.parametrize("prefix", [b"", bytes.fromhex("e445a52e51cb9a1d")])
    def test_event(self, prefix: bytes) -> None:
        """Bytes are read with the self-CPI prefix and without."""
        decoded = ALL.decode_event(PUMP.address, prefix + bought(key(1), 7).data)
        assert [said(fact, "mint", "base_amount", "signature") for fact in decoded.facts] == [(key(1), 7, "")]

    def test_unreadable(self) -> None:
        """Bytes that nobody can read are a fault as well."""
        assert [fact.kind for fact in ALL.decode_event(PUMP.address, b"?").facts] == ["fault"]


class TestAccounts:
    """Accounts of followed programs tell pools."""

    def test_of_nobody(self) -> None:
        """Accounts of other programs, of other kinds and of no bytes are none."""
        pool = SWAP.account("Pool", base_mint=key(1), quote_mint=key(2))
        assert ALL.decode_account(key(9), SWAP.address, pool) is not None
        assert ALL.decode_account(key(9), ROUTER, pool) is None
        assert ALL.decode_account(key(9), SWAP.address, SWAP.account("GlobalConfig")) is None
        assert ALL.decode_account(key(9), SWAP.address, b"") is None

    def test_hostile(self) -> None:
        """An account with an impossible tag is none."""
        pool = RAW["raydium_cpmm"].account("PoolState", enable_creator_fee=True)
        at = pool.index(b"\1", 8)
        assert ALL.decode_account(key(9), RAW["raydium_cpmm"].address, pool[:at] + b"\2" + pool[at + 1 :]) is None

    @pytest.mark.parametrize(
        ("name", "account", "mint", "quote"),
        [
            ("pumpswap", "Pool", "base_mint", "quote_mint"),
            ("raydium_launchpad", "PoolState", "base_mint", "quote_mint"),
            ("raydium_cpmm", "PoolState", "token_0_mint", "token_1_mint"),
        ],
    )
    def test_growing(self, name: str, account: str, mint: str, quote: str) -> None:
        """A pool account may be longer than the layout, or end inside a field; it is none without its mints."""
        whole = RAW[name].account(account, **{mint: key(1), quote: key(2)})
        info = ALL.decode_account(key(9), RAW[name].address, whole + b"more")
        assert info is not None
        assert said(info, "address", "venue", "mint", "quote_mint") == (key(9), name, key(1), key(2))
        end = whole.index(bytes.fromhex("02" + "00" * 30 + "01")) + 32
        shorter = ALL.decode_account(key(9), RAW[name].address, whole[: end + 1])
        assert shorter is not None
        assert said(shorter, "mint", "quote_mint") == (key(1), key(2))
        assert ALL.decode_account(key(9), RAW[name].address, whole[: end - 1]) is None


class TestLoad:
    """A registry is made of decoder names and their IDL files."""

    def test_another_order_of_fields_and_more_of_everything(self) -> None:
        """An official IDL with events, fields and instructions that ours lack can be dropped over it."""
        raw = json.loads((borsh.IDLS / "pumpfun.json").read_text())
        raw["events"].append({"name": "New", "discriminator": [1] * 8})
        raw["types"].append({"name": "New", "type": {"kind": "struct", "fields": [{"name": "n", "type": "u64"}]}})
        trade = next(item for item in raw["types"] if item["name"] == "TradeEvent")
        trade["type"]["fields"].append({"name": "newest", "type": "u64"})
        newer = load(["pumpfun"], lambda _: json.dumps(raw).encode())
        decoded = newer.decode_event(PUMP.address, bought(key(1), 7).data + (5).to_bytes(8, "little"))
        (fact,) = decoded.facts
        assert fact.record is not None
        assert fact.record.layout.render(fact.record)["newest"] == "5"
        (other,) = newer.decode_event(PUMP.address, b"\1" * 8 + bytes(8)).facts
        assert (other.kind, other.event) == ("other", "New")

    @pytest.mark.parametrize(
        ("section", "name"),
        [("events", "TradeEvent"), ("instructions", "migrate_to_amm"), ("accounts", "PoolState")],
    )
    def test_lacking(self, section: str, name: str) -> None:
        """An IDL that lacks what its decoder needs is refused, by file and name."""
        raw = json.loads((borsh.IDLS / "raydium_launchpad.json").read_text())
        raw[section] = [item for item in raw[section] if item["name"] != name]
        with pytest.raises(IdlError, match=rf"idl/raydium_launchpad\.json: it lacks {name}"):
            load(["raydium_launchpad"], lambda _: json.dumps(raw).encode())

    def test_lacking_a_field(self) -> None:
        """So is one without a field."""
        raw = (borsh.IDLS / "pumpfun.json").read_text().replace('"token_amount"', '"tokens"')
        with pytest.raises(IdlError, match=r"idl/pumpfun\.json: TradeEvent has no field token_amount"):
            load(["pumpfun"], lambda _: raw.encode())

    def test_malformed(self) -> None:
        """A file that is no IDL is refused by name."""
        with pytest.raises(IdlError, match=r"idl/pumpfun\.json: not JSON"):
            load(["pumpfun"], lambda _: b"{")


BOTH = (
    Call(ROUTER, b"", (), (buy(key(1), 100), Call(LAB.address, LAB.instruction("buy_exact_in"), (), (
        Event(LAB.event("TradeEvent", total_base_sell=9, virtual_base=10, virtual_quote=1)),
    )))),
    Call(SWAP.address, SWAP.instruction("sell"), (), (Event(SWAP.event("DepositEvent")),)),
    buy(key(2), 200),
)  # fmt: skip


@pytest.mark.parametrize("carriers", ["log", "log cpi"])
def test_what_one_program_says(carriers: str) -> None:
    """A copy that one program's subscription told says what that program does, and the programs' copies say all."""
    whole = notice(*BOTH, carriers=carriers)
    all_facts = ALL.decode(whole, {})
    parts = [
        ALL.decode(msgspec.structs.replace(whole, program=program), {})
        for program in (PUMP.address, SWAP.address, LAB.address)
    ]
    assert [{fact.program for fact in [*part.facts, *part.partial]} for part in parts] == [
        {PUMP.address}, {SWAP.address}, {LAB.address}
    ]  # fmt: skip
    for of in ("facts", "partial", "needs"):
        found = [item for part in parts for item in getattr(part, of)]
        assert sorted(found, key=str) == sorted(getattr(all_facts, of), key=str)


def test_one_program_of_truncated_logs() -> None:
    """Each program's copy of cut lines wants the whole transaction, one that did not run yet too."""
    for program, venue in ((PUMP.address, "pumpfun"), (SWAP.address, "pumpswap")):
        cut = msgspec.structs.replace(notice(*BOTH, carriers="log", truncate_after=1), program=program)
        assert ALL.decode(cut, {}).needs == [Need(SIGNATURE, SLOT, "truncated", venue)]


def test_migration_in_another_programs_copy() -> None:
    """What an instruction says is said in the copy of its own program alone."""
    migrate = Call(LAB.address, LAB.instruction("migrate_to_cpswap"), ())
    copy = notice(migrate, buy(key(1), 1))
    assert {fact.kind for fact in ALL.decode(msgspec.structs.replace(copy, program=PUMP.address), {}).facts} == {
        "trade"
    }
    assert {fact.kind for fact in ALL.decode(msgspec.structs.replace(copy, program=LAB.address), {}).facts} == {"fault"}


def test_a_failed_call_fails_its_transaction() -> None:
    """A node may say that nothing failed (surfpool does): the log says it did, and nothing of it happened."""
    logs = [*(notice(buy(key(1), 1), carriers="log").logs or ()), f"Program {ROUTER} failed: custom program error: 0x1"]
    assert ALL.decode(TxNotice(SIGNATURE, SLOT, failed=False, logs=logs), {}) == Decoded()

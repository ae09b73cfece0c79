"""Whole notices: order, numbers, carriers, faults and needs, on BUILT transactions (nobody recorded such ones)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from decoders.core.errors import IdlError
from decoders.core.registry import load
from decoders.core.types import Decoded, Fault, Need, PoolInfo, TxNotice
from tests.decoders import borsh
from tests.decoders.built import ALL, RAW, ROUTER, SIGNATURE, SLOT, TIME_S, Call, Event, Line, facts, key, notice, said

if TYPE_CHECKING:
    from decoders.core.registry import Registry
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


def test_numbers_beyond_the_cut() -> None:
    """Of cut lines an event counts only if no unfinished call can emit one that comes before it."""
    outer = Call(PUMP.address, b"outer", (), (buy(key(1), 1), Call(SWAP.address, b""), bought(key(2), 2)))
    calls = buy(key(3), 3), outer, buy(key(4), 4)
    whole = {said(fact, "base_amount", "nth", "position") for fact in facts(*calls, carriers="log")}
    lines = notice(*calls, carriers="log").logs or []
    told = []
    for cut in range(len(lines) + 1):
        found = {
            said(fact, "base_amount", "nth", "position")
            for fact in ALL.decode(notice(*calls, carriers="log", truncate_after=cut), {}).facts
        }
        assert found <= whole
        told.append(len(found))
    assert sorted(set(told)) == [0, 1, 2, 3, 4]
    assert told == sorted(told)


@pytest.mark.parametrize("name", ["raydium_cpmm", "raydium_amm_v4"])
@pytest.mark.parametrize(("cut", "heard", "lost_at"), [(None, 0, 0), (0, 0, 0), (1, 0, 0), (5, 1, 1), (6, 2, 1)])
def test_a_whole_copy_without_its_lines(name: str, cut: int | None, heard: int, lost_at: int) -> None:
    """What programs say by lines alone, and the log lacks, is known to be missing, once each."""
    raw = RAW[name]
    event = Event(b"?" * 9, "ray" if name == "raydium_amm_v4" else "log")
    calls = [Call(raw.address, b"\x09" * 8, (), (event,)) for _ in range(3)]
    whole = notice(*calls, buy(key(1), 1), truncate_after=cut)
    if cut is None:
        whole = msgspec.structs.replace(whole, logs=None)
    decoded = ALL.decode(whole, {})
    assert [fact.position for fact in decoded.facts if fact.event == "unheard"] == [lost_at]
    assert [fact.position for fact in decoded.facts if fact.kind == "trade"] == [3]
    assert len([fact for fact in decoded.facts if fact.event.startswith("3f")]) == heard
    assert [fact.position for fact in decoded.facts] == sorted(fact.position for fact in decoded.facts)
    for program, count in ((raw.address, 1), (PUMP.address, 0)):
        copy = ALL.decode(msgspec.structs.replace(whole, program=program), {})
        assert len([fact for fact in copy.facts if fact.event == "unheard"]) == count


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
        newer = load(["pumpfun"], lambda name: [(f"{name}.json", json.dumps(raw).encode())])
        decoded = newer.decode_event(PUMP.address, bought(key(1), 7).data + (5).to_bytes(8, "little"))
        (fact,) = decoded.facts
        assert fact.record is not None
        assert fact.record.layout.render(fact.record)["newest"] == "5"
        raw["events"].append({"name": "Empty", "discriminator": [2] * 8})
        raw["types"].append({"name": "Empty", "type": {"kind": "struct", "fields": []}})
        newer = load(["pumpfun"], lambda name: [(f"{name}.json", json.dumps(raw).encode())])
        for event, data in (("New", b"\1" * 8 + bytes(8)), ("Empty", b"\2" * 8), ("Empty", b"\2" * 9)):
            (other,) = newer.decode_event(PUMP.address, data).facts
            assert (other.kind, other.event) == ("other", event)

    @pytest.mark.parametrize(
        ("section", "name"),
        [("events", "TradeEvent"), ("instructions", "migrate_to_amm"), ("accounts", "PoolState")],
    )
    def test_lacking(self, section: str, name: str) -> None:
        """An IDL that lacks what its decoder needs is refused, by file and name."""
        raw = json.loads((borsh.IDLS / "raydium_launchpad.json").read_text())
        raw[section] = [item for item in raw[section] if item["name"] != name]
        with pytest.raises(IdlError, match=rf"idl/raydium_launchpad\.json: it lacks {name}"):
            load(["raydium_launchpad"], lambda name: [(f"{name}.json", json.dumps(raw).encode())])

    def test_lacking_a_field(self) -> None:
        """So is one without a field."""
        raw = (borsh.IDLS / "pumpfun.json").read_text().replace('"token_amount"', '"tokens"')
        with pytest.raises(IdlError, match=r"idl/pumpfun\.json: TradeEvent has no field token_amount"):
            load(["pumpfun"], lambda _: [("pumpfun.json", raw.encode())])

    def test_malformed(self) -> None:
        """A file that is no IDL is refused by name."""
        with pytest.raises(IdlError, match=r"idl/pumpfun\.json: not JSON"):
            load(["pumpfun"], lambda _: [("pumpfun.json", b"{")])


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


def changed(event: str, *fields: tuple[str, Any], slots: dict[str, int] | None = None, name: str = "pumpfun") -> bytes:
    """Return a program's IDL with fields put before those of an event, for a range of slots."""
    raw = json.loads((borsh.IDLS / f"{name}.json").read_text())
    body = next(item["type"] for item in raw["types"] if item["name"] == event)
    body["fields"] = [{"name": field, "type": node} for field, node in fields] + body["fields"]
    return json.dumps(raw if slots is None else {**raw, "slots": slots}).encode()


PLAIN = ("pumpfun.json", (borsh.IDLS / "pumpfun.json").read_bytes())


class TestSlots:
    """A file beside a program's IDL describes it for a range of slots."""

    @pytest.mark.parametrize(
        ("slots", "inside", "outside"),
        [
            ({"last": SLOT}, (0, SLOT), (SLOT + 1,)),
            ({"first": SLOT}, (SLOT, SLOT + 1), (0, SLOT - 1)),
            ({"first": SLOT, "last": SLOT + 1}, (SLOT, SLOT + 1), (SLOT - 1, SLOT + 2)),
        ],
    )
    def test_range(self, slots: dict[str, int], inside: tuple[int, ...], outside: tuple[int, ...]) -> None:
        """Inside of the range events are read by its file, outside by the plain one; other programs are as ever."""
        file = ("pumpfun.v2.json", changed("TradeEvent", ("newest", "u64"), slots=slots))
        files = {"pumpfun": [PLAIN, file], "pumpswap": [("pumpswap.json", (borsh.IDLS / "pumpswap.json").read_bytes())]}
        both = load(["pumpfun", "pumpswap"], files.__getitem__)
        old = buy(key(1), 7)
        data = bought(key(1), 7).data
        new = Call(old.program, old.data, (), (Event(data[:8] + bytes(8) + data[8:]),))
        for call, fitting, others in ((new, inside, outside), (old, outside, inside)):
            for slot in fitting:
                (fact,) = both.decode(msgspec.structs.replace(notice(call), slot=slot), {}).facts
                assert said(fact, "kind", "mint", "base_amount", "slot") == ("trade", key(1), 7, slot)
            for slot in others:
                (fact,) = both.decode(msgspec.structs.replace(notice(call), slot=slot), {}).facts
                assert fact.kind == "fault"
        assert both.decode_event(PUMP.address, data).facts[0].kind == "trade"

    def test_accounts(self) -> None:
        """An account is read as what it was at its slot."""
        file = ("pumpswap.new.json", changed("Pool", ("more", "u64"), slots={"first": SLOT}, name="pumpswap"))
        plain = ("pumpswap.json", (borsh.IDLS / "pumpswap.json").read_bytes())
        both = load(["pumpswap"], lambda _: [plain, file])
        data = SWAP.account("Pool", base_mint=key(1), quote_mint=key(2))
        longer = data[:8] + bytes(8) + data[8:]
        for account, slot in ((data, None), (data, SLOT - 1), (longer, SLOT)):
            info = both.decode_account(key(9), SWAP.address, account, slot)
            assert info is not None
            assert said(info, "mint", "quote_mint") == (key(1), key(2))

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            ([], r"idl/pumpfun\.json is missing"),
            ([("pumpfun.v1.json", changed("TradeEvent", slots={"last": 5}))], r"idl/pumpfun\.json is missing"),
            (
                [PLAIN, ("pumpfun.v1.json", PLAIN[1])],
                r"idl/pumpfun\.v1\.json: slots stand in files beside pumpfun\.json",
            ),
            ([("pumpfun.json", changed("TradeEvent", slots={"last": 5}))], r"idl/pumpfun\.json: slots stand in files"),
            ([PLAIN, ("pumpfun.v1.json", b"{")], r"idl/pumpfun\.v1\.json: not JSON"),
            (
                [
                    ("pumpfun.b.json", changed("TradeEvent", slots={"first": 5})),
                    ("pumpfun.a.json", changed("TradeEvent", slots={"last": 5})),
                    PLAIN,
                ],
                r"idl/pumpfun\.b\.json: its slots overlap those of pumpfun\.a\.json",
            ),
            (
                [PLAIN, ("pumpfun.v1.json", changed("TradeEvent", slots={"last": 5}).replace(b"6EF8", b"6EF9"))],
                r"idl/pumpfun\.v1\.json: address 6EF9\w+ is not that of pumpfun\.json",
            ),
        ],
        ids=["nothing", "no plain one", "no slots", "a plain one with slots", "malformed", "overlap", "address"],
    )
    def test_refused(self, files: list[tuple[str, bytes]], reason: str) -> None:
        """Files that contradict each other are refused, by name."""
        with pytest.raises(IdlError, match=reason):
            load(["pumpfun"], lambda _: files)

    def test_neighbours(self) -> None:
        """Ranges may follow each other."""
        files = [PLAIN, *((f"pumpfun.{n}.json", changed("TradeEvent", slots={"first": n, "last": n})) for n in (5, 6))]
        assert load(["pumpfun"], lambda _: files).followed == {PUMP.address}


class Kept(msgspec.Struct, frozen=True):
    """What a store kept of an event."""

    program: str
    event: str
    nth: int
    signature: str
    slot: int
    block_time: int | None
    index: int | None
    position: int
    payload: bytes


def kept(fact: Fact) -> Kept:
    """Return what a store keeps of a fault, or of a tail."""
    payload = fact.payload if isinstance(fact, Fault) else fact.record.payload if fact.record else b""
    return Kept(
        fact.program,
        fact.event,
        fact.nth,
        fact.signature,
        fact.slot,
        fact.block_time,
        fact.index,
        fact.position,
        payload,
    )


def lacking(event: str, name: str = "pumpfun") -> Registry:
    """Return a registry that has not heard of an event."""
    raw = json.loads((borsh.IDLS / f"{name}.json").read_text())
    found = next(item for item in raw["events"] if item["name"] == event)
    found["discriminator"] = [0xEE] * len(found["discriminator"])
    return load([name], lambda _: [(f"{name}.json", json.dumps(raw).encode())])


class TestKeptPayloads:
    """Bytes that were kept are decoded again, as if they had been understood in their time."""

    def test_a_discriminator_that_was_unknown(self) -> None:
        """Each becomes the fact that it would have been: same number, place and time."""
        calls = [*CALLS, Call(PUMP.address, b"", (), (Event(PUMP.event("SetParamsEvent", timestamp=TIME_S)),))]
        whole = notice(*calls)
        then = lacking("TradeEvent").decode(whole, {}).facts
        assert [said(fact, "kind", "nth") for fact in then] == [("fault", n) for n in range(5)] + [("other", 0)]
        again = [ALL.decode_payload(kept(fact), {}) for fact in then if isinstance(fact, Fault)]
        assert [fact for decoded in again for fact in decoded.facts] == [
            fact for fact in ALL.decode(whole, {}).facts if fact.kind == "trade"
        ]
        assert not any(decoded.needs or decoded.partial for decoded in again)

    def test_one_byte_discriminators(self) -> None:
        """Events of a program whose discriminators are one byte are counted by that byte, before and after."""
        amm = RAW["raydium_amm_v4"]
        events = [amm.event("SwapBaseInLog", direction=2, pool_coin=10**9, amount_in=n) for n in (1, 2)]
        whole = notice(Call(amm.address, b"\x09", (key(3), key(4)), tuple(Event(data, "ray") for data in events)))
        then = lacking("SwapBaseInLog", "raydium_amm_v4").decode(whole, {}).facts
        assert [said(fact, "event", "nth") for fact in then] == [("03", 0), ("03", 1)]
        assert ALL.decode_payload(kept(then[1]), {}).needs == [Need(SIGNATURE, SLOT, "accounts", "raydium_amm_v4")]

    def test_a_layout_that_was_wrong(self) -> None:
        """What ended inside a field is read by a layout that fits."""
        wrong = load(["pumpfun"], lambda _: [("pumpfun.json", changed("TradeEvent", ("more", "pubkey"), ("x", "u8")))])
        whole = notice(buy(key(1), 7), buy(key(2), 8))
        then = wrong.decode(whole, {}).facts
        assert [said(fact, "kind", "event", "nth") for fact in then] == [
            ("fault", "TradeEvent", 0), ("fault", "TradeEvent", 1),
        ]  # fmt: skip
        again = [fact for fault in then for fact in ALL.decode_payload(kept(fault), {}).facts]
        assert again == ALL.decode(whole, {}).facts

    @pytest.mark.parametrize("tail", [b"", b"\x05" + bytes(7)])
    def test_tail(self, tail: bytes) -> None:
        """Exactly a record with a tail keeps its whole bytes, by which a newer layout reads it to its end."""
        event = PUMP.event("SetCreatorEvent", timestamp=TIME_S) + tail
        whole = notice(Call(PUMP.address, b"", (), (Event(event),)))
        (then,) = ALL.decode(whole, {}).facts
        assert then.record is not None
        assert (then.record.tail, then.record.payload) == (tail, event if tail else b"")
        if tail:
            raw = json.loads(PLAIN[1])
            body = next(item["type"] for item in raw["types"] if item["name"] == "SetCreatorEvent")
            body["fields"].append({"name": "newest", "type": "u64"})
            newer = load(["pumpfun"], lambda _: [("pumpfun.json", json.dumps(raw).encode())])
            (fact,) = newer.decode_payload(kept(then), {}).facts
            assert fact.record is not None
            assert fact.record.layout.render(fact.record)["newest"] == "5"
            assert (fact.record.tail, fact.record.payload) == (b"", b"")
            assert bare(msgspec.structs.replace(fact, record=None)) == bare(msgspec.structs.replace(then, record=None))

    def test_what_the_bytes_do_not_tell(self) -> None:
        """LaunchLab's trader stands in the accounts: the fact is partial, and a need says so."""
        then = notice(Call(LAB.address, LAB.instruction("buy_exact_in"), (), (Event(LAB.event("TradeEvent")),)))
        faults = lacking("TradeEvent", "raydium_launchpad").decode(then, {}).facts
        decoded = ALL.decode_payload(kept(faults[0]), {})
        assert [fact.kind for fact in decoded.partial] == ["trade"]
        assert (decoded.facts, decoded.needs) == ([], [Need(SIGNATURE, SLOT, "accounts", "raydium_launchpad")])

    def test_pools_that_are_known(self) -> None:
        """Known pools tell what an event does not."""
        event = Event(SWAP.event("SellEvent", pool=key(5), timestamp=TIME_S, base_amount_in=1))
        (fault,) = lacking("SellEvent", "pumpswap").decode(notice(Call(SWAP.address, b"", (), (event,))), {}).facts
        pools = {key(5): PoolInfo(key(5), "pumpswap", key(1), borsh.ZERO_KEY)}
        assert [said(fact, "mint") for fact in ALL.decode_payload(kept(fault), pools).facts] == [(key(1),)]
        assert ALL.decode_payload(kept(fault), {}).needs == [Need(SIGNATURE, SLOT, "pool", "pumpswap", key(5))]

    def test_instruction(self) -> None:
        """What an instruction says stands in its accounts, which are not kept."""
        (fault,) = facts(Call(LAB.address, LAB.instruction("migrate_to_amm"), ()))
        assert ALL.decode_payload(kept(fault), {}) == Decoded(
            needs=[Need(SIGNATURE, SLOT, "accounts", "raydium_launchpad")]
        )

    def test_another_name(self) -> None:
        """An event that was stored by a name that it has no more was counted among others."""
        (fault,) = facts(Call(PUMP.address, b"", (), (Event(bought(key(1), (1 << 64) - 1).data),)))
        renamed = msgspec.structs.replace(kept(fault), event="SwapEvent")
        assert ALL.decode_payload(renamed, {}) == Decoded(needs=[Need(SIGNATURE, SLOT, "accounts", "pumpfun")])

    @pytest.mark.parametrize(
        "inside", [Line("Program data: !!!!"), Event(b"?" * 9), Event(b""), bought(key(1), (1 << 64) - 1)]
    )
    def test_still_unreadable(self, inside: Line | Event) -> None:
        """What nobody can read is the same fault again."""
        (fault,) = facts(Call(PUMP.address, b"", (), (inside,)), carriers="log")
        assert ALL.decode_payload(kept(fault), {}) == Decoded(facts=[fault])

    def test_unknown_program(self) -> None:
        """What a program said that nobody follows any more is nothing."""
        (fault,) = facts(Call(PUMP.address, b"", (), (Event(b"?"),)))
        assert load([], lambda _: []).decode_payload(kept(fault), {}) == Decoded()

    def test_by_slot(self) -> None:
        """The layout of its slot counts."""
        file = ("pumpfun.v1.json", changed("TradeEvent", ("more", "u64"), slots={"last": SLOT}))
        (fault,) = facts(Call(PUMP.address, b"", (), (bought(key(1), (1 << 64) - 1),)))
        data = bought(key(1), 7).data
        payload = msgspec.structs.replace(kept(fault), payload=data[:8] + bytes(8) + data[8:])
        both = load(["pumpfun"], lambda _: [PLAIN, file])
        assert [said(fact, "base_amount") for fact in both.decode_payload(payload, {}).facts] == [(7,)]

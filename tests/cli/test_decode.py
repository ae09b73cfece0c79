"""`decode`: recorded transactions in every container, their authors' values, and everything that is no transaction."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.core.types import TxNotice
from monitor.cli.inputs import pieces
from monitor.cli.once import Once, Said
from monitor.cli.shapes import find
from monitor.sources.endpoint import Endpoint
from monitor.sources.jobs import FetchAccounts, FetchTime, FetchTransaction
from monitor.sources.recorder import Recorder
from tests import mainnet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from decoders.core.registry import Registry
    from tests.cli.conftest import Ran

pytestmark = pytest.mark.usefixtures("quick_decode")

TRANSACTIONS = [pytest.param(line, id=line.where) for line in mainnet.recorded("transaction")]
LOGS = [pytest.param(line, id=line.where) for line in mainnet.recorded("logs")]
# One author shows the zeros of a fixed-size struct as fields, which the 333 bytes do not hold.
UNKNOWN_FIELDS = ("coin_creator_fee_bps", "coin_creator_fee")
SELF_CPI = bytes.fromhex("e445a52e51cb9a1d")


def write(path: Path, value: Any) -> Path:
    """Write a value as a JSON file."""
    path.write_text(json.dumps(value))
    return path


def recorded_transaction() -> Any:
    """Return a getTransaction answer with one trade, which tells its slot and time itself."""
    mainnet.require()
    return json.loads((mainnet.FOLDER / "transactions" / "pump_sell_2025.json").read_text())


def author_values() -> list[Any]:
    """Return (program, base64 of the event, values that its author published)."""
    found = []
    for name in ("events.json", "substreams_solana_idls.json"):
        file = mainnet.FOLDER / "expected" / name
        items = json.loads(file.read_text()) if file.exists() else []
        for item in items if isinstance(items, list) else items["items"]:
            if item.get("event"):
                text = (
                    item.get("event_b64") or item.get("base64") or base64.b64encode(bytes.fromhex(item["hex"])).decode()
                )
                expected = item.get("expected_by_author") or item["expected"]
                found.append(pytest.param(item["program"], text, expected, id=item.get("name") or item["test"]))
    return found


# --- what was recorded


@pytest.mark.parametrize("line", TRANSACTIONS)
def test_recorded_transactions_tell_the_events_of_the_index(
    line: mainnet.Recorded, command: Callable[..., Ran], tmp_path: Path
) -> None:
    """One line for each event that INDEX.tsv names, with the transaction's signature, slot and time where known."""
    found = command("decode", write(tmp_path / "tx.json", line.load()))
    assert (found.code, found.errors) == (0, "")
    logged = re.search(r"log:(\S*)", line.what)
    assert logged is not None
    events = [event.partition("/")[0].partition(".")[2] for event in logged[1].split(",") if event]
    if not events:  # events by self-CPI only: the index gives their lengths
        events = ["PoolCreateEvent", "TradeEvent"]
    assert sorted(item["event"] for item in found.objects) == sorted(events)
    for item in found.objects:
        assert item["signature"] == line.signature
        assert item["slot"] == (int(line.slot) if line.slot and "slot" in line.load() else None)
        assert item["time"] == line.block_time or item["fact"] == "other"
        assert None not in (item.get("mint", ""), item.get("trader", "")) or item["fact"] == "other"


@pytest.mark.parametrize("line", LOGS)
def test_recorded_logs_tell_the_events_of_the_index(
    line: mainnet.Recorded, command: Callable[..., Ran], tmp_path: Path
) -> None:
    """Log records say as much as they can: a PumpSwap trade does not name its mint, and is told all the same."""
    found = command("decode", write(tmp_path / "logs.json", line.load()))
    assert (found.code, found.errors) == (0, "")
    [item] = found.objects
    assert item["event"] == re.search(r"(\w+)/\d+$", line.what)[1]  # type: ignore[index]  # every line has one
    assert (item["signature"], item["time"]) == (line.signature, line.block_time)
    assert (item["mint"] is None) == (item["venue"] == "pumpswap")


def test_files_as_they_are_recorded_are_read_whole(command: Callable[..., Ran]) -> None:
    """Lists, dicts from names to records, records with remarks around them; bare instructions are none."""
    mainnet.require()
    folder = mainnet.FOLDER
    bare = sorted(folder.glob("transactions/*.instruction.json"))
    whole = sorted({folder / line.where.partition("#")[0] for kind in ("transaction", "logs")
                    for line in mainnet.recorded(kind)})  # fmt: skip
    found = command("decode", *whole, *bare)
    assert found.code == 65
    assert [line.partition(":")[0] for line in found.errors.splitlines()] == [str(path) for path in bare]
    signatures = {item["signature"] for item in found.objects}
    assert signatures == {line.signature for kind in ("transaction", "logs") for line in mainnet.recorded(kind)}


@pytest.mark.parametrize(("program", "text", "expected"), author_values())
@pytest.mark.parametrize("is_prefixed", [False, True])
def test_bare_events_have_their_authors_values(
    program: str, text: str, expected: dict[str, Any], is_prefixed: bool, command: Callable[..., Ran]
) -> None:
    """With and without the self-CPI prefix; integers of 64 bits as text."""
    data = base64.b64decode(text).removeprefix(SELF_CPI)
    text = base64.b64encode(SELF_CPI + data if is_prefixed else data).decode()
    found = command("decode", "--program", program, "--event-base64", text)
    assert (found.code, found.errors) == (0, "")
    fields = found.objects[0]["fields"]
    if "is_buy" in expected and "is_buy" not in fields:
        assert found.objects[0]["side"] == ("buy" if expected["is_buy"] else "sell")
    compared = [name for name in expected if name in fields]
    assert len(set(expected) - set(compared) - {"is_buy", *UNKNOWN_FIELDS}) == 0
    for name in compared:
        value = expected[name]
        assert fields[name] == (str(value) if isinstance(fields[name], str) else value), name
    assert (found.objects[0]["signature"], found.objects[0]["slot"]) == (None, None)


def test_ray_logs_have_their_authors_values(command: Callable[..., Ran]) -> None:
    """AMM v4 names not even its pool: what its bytes say is told as fields."""
    mainnet.require()
    first, second = json.loads((mainnet.FOLDER / "expected" / "raydium_ammv4_ray_logs.json").read_text())
    found = command("decode", "--program", "raydium_amm_v4", "--event-base64", first["ray_log"])
    fields = found.objects[0]["fields"]
    expected = {"time" if name == "open_time" else name: str(value) for name, value in first["expect"].items()}
    assert {name: str(fields[name]) for name in expected} == expected
    found = command("decode", "--program", "raydium_amm_v4", "--event-base64", second["ray_log"])
    assert found.objects[0]["event"] == "SwapBaseInLog"


def test_log_records_tell_every_event_of_amm_v4_too(command: Callable[..., Ran], tmp_path: Path) -> None:
    """Each with its fields, in order, beside what is told completely; broken ones are faults."""
    mainnet.require()
    _, swap = json.loads((mainnet.FOLDER / "expected" / "raydium_ammv4_ray_logs.json").read_text())
    [amount_in] = struct.unpack_from("<Q", base64.b64decode(swap["ray_log"]), 1)
    amm = "675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8"
    ray_log = f"Program log: ray_log: {swap['ray_log']}"
    short = f"Program log: ray_log: {swap['ray_log'][:16]}"
    forged = [f"Program {mainnet.MAYHEM} invoke [1]", ray_log, f"Program {mainnet.MAYHEM} success"]
    logs = [f"Program {amm} invoke [1]", ray_log, short, ray_log, "Program log: ray_log: ?", f"Program {amm} success"]
    found = command("decode", write(tmp_path / "a", {"signature": "s", "slot": 7, "err": None, "logs": forged + logs}))
    assert (found.code, found.errors) == (0, "")
    told = [(item["fact"], item["event"], item["nth"]) for item in found.objects]
    assert sorted(told) == [
        ("fault", "SwapBaseInLog", 1), ("fault", "no_base64", 0),
        ("other", "SwapBaseInLog", 0), ("other", "SwapBaseInLog", 2),
    ]  # fmt: skip
    assert [item["fields"]["amount_in"] for item in found.objects if item["fact"] == "other"] == [str(amount_in)] * 2
    assert {(item["signature"], item["slot"]) for item in found.objects} == {("s", 7)}


def test_integers_are_text_where_json_readers_would_round_them(command: Callable[..., Ran]) -> None:
    """In every recorded event no number beyond 32 bits stands as a number, but for the slot."""
    mainnet.require()
    for path in sorted((mainnet.FOLDER / "transactions").glob("pump*s*.json")):
        for item in command("decode", path).objects:
            del item["slot"]
            assert not [number for number in _integers(item) if number >= 1 << 32]


def _integers(value: Any) -> list[int]:
    match value:
        case bool():
            return []
        case int():
            return [value]
        case dict():
            return [number for member in value.values() for number in _integers(member)]
        case list():
            return [number for member in value for number in _integers(member)]
        case _:
            return []


# --- containers


def envelope(value: Any) -> Any:
    """Return an answer as nodes send it."""
    return {"jsonrpc": "2.0", "id": 1, "result": value}


def block(*transactions: Any) -> Any:
    """Return a block with these entries."""
    entries = [{name: tx[name] for name in ("transaction", "meta")} for tx in transactions]
    first = transactions[0]
    return {
        "blockhash": "h",
        "previousBlockhash": "g",
        "parentSlot": first["slot"] - 1,
        "blockTime": first["blockTime"],
        "transactions": entries,
    }


def notification(method: str, slot: int, value: Any) -> Any:
    """Return a notification."""
    return {"jsonrpc": "2.0", "method": method,
            "params": {"result": {"context": {"slot": slot}, "value": value}, "subscription": 7}}  # fmt: skip


def containers() -> dict[str, Callable[[Any], bytes]]:
    """Return the ways in which one and the same transaction can come in a file."""

    def text(value: Any, indent: int | None = None) -> bytes:
        return json.dumps(value, indent=indent).encode()

    return {
        "bare": text,
        "pretty": lambda tx: text(tx, 2),
        "envelope": lambda tx: text(envelope(tx)),
        "array": lambda tx: text([tx]),
        "array of envelopes": lambda tx: text([envelope(tx)], 1),
        "line": lambda tx: b"\n" + text(tx) + b"\r\n\n",
        "byte order mark": lambda tx: b"\xef\xbb\xbf" + text(tx),
        "gzip": lambda tx: gzip.compress(text(tx)),
        "block notification": lambda tx: text(
            notification("blockNotification", tx["slot"], {"slot": tx["slot"], "err": None, "block": block(tx)})
        ),
        "record with remarks": lambda tx: text({"note": "a sell", "slot": tx["slot"], "tx": {**tx, "slot": None}}),
        "by name": lambda tx: text({"first": {"deeper": tx}, "number": 5, "nothing": []}),
    }


@pytest.mark.parametrize("name", containers())
def test_the_container_does_not_matter(name: str, command: Callable[..., Ran], tmp_path: Path) -> None:
    """A transaction says the same in every envelope, list and compression."""
    tx = recorded_transaction()
    plain = command("decode", write(tmp_path / "plain.json", tx))
    (tmp_path / "contained").write_bytes(containers()[name](tx))
    found = command("decode", tmp_path / "contained")
    assert (found.code, found.errors) == (0, "")
    assert found.out == plain.out
    assert len(found.objects) == 1


def test_blocks_and_their_entries_do_not_tell_their_slot(command: Callable[..., Ran], tmp_path: Path) -> None:
    """The answer of getBlock has a time and no slot; an entry alone has neither: null, unless the event tells."""
    tx = recorded_transaction()
    whole = command("decode", write(tmp_path / "block.json", envelope(block(tx, tx)))).objects
    assert [(item["slot"], item["time"]) for item in whole] == [(None, "2025-06-09T03:19:50Z")] * 2
    entry = command("decode", write(tmp_path / "entry.json", block(tx)["transactions"][0])).objects
    assert entry == whole[:1]


def test_log_notifications_and_log_records_are_the_same(command: Callable[..., Ran], tmp_path: Path) -> None:
    """Both say what the whole transaction says, but for what logs do not carry."""
    tx = recorded_transaction()
    record = {"signature": tx["transaction"]["signatures"][0], "err": None, "logs": tx["meta"]["logMessages"]}
    a = command("decode", write(tmp_path / "a", notification("logsNotification", tx["slot"], record)))
    b = command("decode", write(tmp_path / "b", {**record, "slot": tx["slot"]}))
    assert (a.code, a.out) == (0, b.out)
    assert a.out == command("decode", write(tmp_path / "c", tx)).out


def test_failed_transactions_say_nothing(command: Callable[..., Ran], tmp_path: Path) -> None:
    """Neither whole ones nor log records; where a record leaves `err` out, the log tells the outcome."""
    tx = recorded_transaction()
    error = {"InstructionError": [0, {"Custom": 6002}]}
    logs, signature = tx["meta"]["logMessages"], tx["transaction"]["signatures"][0]
    ends = [*logs[:-1], logs[-1].replace("success", "failed: custom program error: 0x1772")]
    assert ends != logs
    failed = [
        {**tx, "meta": {**tx["meta"], "err": error}},
        {"signature": signature, "slot": 1, "err": error, "logs": logs},
        {"signature": signature, "slot": 1, "logs": ends},
    ]
    found = command("decode", write(tmp_path / "failed.json", failed))
    assert found == (0, "", "")


def test_lines_are_read_one_by_one_and_earlier_ones_name_later_pools(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    """A whole transaction names a pool's mint for a later log record of the same pool."""
    mainnet.require()
    tx = json.loads((mainnet.FOLDER / "transactions" / "pumpswap_sell_routed.json").read_text())
    record = {"signature": "s", "slot": 1, "err": None, "logs": tx["meta"]["logMessages"]}
    (tmp_path / "lines").write_text("\n".join(json.dumps(value) for value in (record, tx, record)))
    before, whole, after = command("decode", tmp_path / "lines").objects
    assert (before["mint"], before["platform"]) == (None, None)
    assert whole["mint"] is not None
    assert (after["mint"], after["platform"]) == (whole["mint"], whole["platform"])


@pytest.mark.parametrize("is_compressed", [True, False])
def test_captures_are_read_as_what_they_recorded(
    is_compressed: bool, command: Callable[..., Ran], tmp_path: Path
) -> None:
    """Slots and marks say nothing; each event is told once, whole if it was fetched or its pool became known."""
    mainnet.require()
    tx = json.loads((mainnet.FOLDER / "transactions" / "pumpswap_sell_routed.json").read_text())
    pool = next(item for item in json.loads((mainnet.FOLDER / "accounts" / "accounts.json").read_text())
                if item["name"] == "pumpswap_pool_boosted")  # fmt: skip
    slot, signature = tx["slot"], tx["transaction"]["signatures"][0]
    account = {"owner": pool["owner"], "data": [pool["data_base64"], "base64"]}

    def logs(signature: str) -> bytes:
        value = {"signature": signature, "err": None, "logs": tx["meta"]["logMessages"]}
        return json.dumps(notification("logsNotification", slot, value)).encode()

    path = tmp_path / "capture"
    programs = frozenset({mainnet.PUMPSWAP})
    endpoint = Endpoint("wss://node.example/secret")
    with Recorder(path, feed="logs", endpoint=endpoint, programs=programs, is_compressed=is_compressed) as recorder:
        recorder.connected({})
        recorder.frame(json.dumps(notification("slotNotification", 0, None)).encode().replace(
            b'{"context": {"slot": 0}, "value": null}', b'{"slot": 9, "parent": 8, "root": 1}'))  # fmt: skip
        recorder.frame(logs(signature))
        recorder.frame(logs("early"))
        recorder.answer(FetchTransaction("s", slot), json.dumps(envelope(None)).encode())
        recorder.answer(FetchTransaction(signature, slot), json.dumps(envelope(tx)).encode())
        answer = envelope({"context": {"slot": slot}, "value": [account]})
        recorder.answer(FetchAccounts((pool["address"],)), json.dumps(answer).encode())
        recorder.frame(b"\xff garbage")
        recorder.lost("gone")
        for late in ("later", "later", signature):
            recorder.frame(logs(late))
    found = command("decode", path)
    assert found.code == 65
    assert found.errors == f"{path}: line 9: what the node said there cannot be read\n"
    whole, later, early = found.objects
    assert whole == command("decode", write(tmp_path / "tx.json", tx)).objects[0]
    assert (later["signature"], later["mint"]) == ("later", whole["mint"])
    assert (early["signature"], early["mint"]) == ("early", whole["mint"])


def test_a_recorded_time_is_that_of_its_slot(command: Callable[..., Ran], tmp_path: Path) -> None:
    """Transactions of a feed that tells no times are told with the one that was fetched for their slot."""
    mainnet.require()
    tx = json.loads((mainnet.FOLDER / "transactions" / "launchlab_initialize_buy_2025_cpi_only.json").read_text())
    slot, signature = tx["slot"], tx["transaction"]["signatures"][0]
    entry = {"transaction": tx["transaction"], "meta": tx["meta"], "version": tx.get("version", "legacy")}
    said = {"transaction": entry, "signature": signature, "slot": slot}
    frame = {
        "jsonrpc": "2.0", "method": "transactionNotification", "params": {"subscription": 1, "result": said}
    }  # fmt: skip
    path = tmp_path / "capture"
    programs = frozenset({mainnet.LAUNCHLAB})
    endpoint = Endpoint("wss://node.example/secret")
    with Recorder(path, feed="transactions", endpoint=endpoint, programs=programs) as recorder:
        recorder.connected({1: "transactions"})
        recorder.frame(json.dumps(frame).encode())
        recorder.answer(FetchTime(slot), json.dumps(envelope(None)).encode())
        recorder.answer(FetchTime(slot), json.dumps(envelope(tx["blockTime"])).encode())
    found = command("decode", path)
    assert (found.code, found.errors) == (0, "")
    assert [fact | {"index": None} for fact in found.objects] == [
        fact | {"index": None} for fact in command("decode", write(tmp_path / "tx.json", tx)).objects
    ]
    assert {fact["time"] for fact in found.objects} != {None}


def test_what_a_capture_never_tells_completely_is_told_at_its_end(registry: Registry) -> None:
    """Or earlier, if more than can be held waits; a second copy that lacks the same adds nothing."""
    mainnet.require()
    tx = json.loads((mainnet.FOLDER / "transactions" / "pumpswap_sell_routed.json").read_text())
    notices = [TxNotice(name, 1, False, tx["meta"]["logMessages"]) for name in ("a", "b", "a", "c")]

    def said(notice: TxNotice) -> Said:
        decoded = registry.decode(notice, {})
        return Said(decoded.facts, decoded.partial)

    once = Once(said, most_held=2)
    assert [[fact.signature for fact in once.take(notice)] for notice in notices] == [[], [], [], ["a"]]
    assert [fact.signature for fact in once.rest()] == ["b", "c"]
    assert once.rest() == []


def test_captures_of_the_future_are_named(command: Callable[..., Ran], tmp_path: Path) -> None:
    """What can be read of them is; a header that is none is no capture."""
    header = {"launch_monitor_capture": 99, "feed": "logs", "recorded_at": "", "endpoint": ""}
    found = command("decode", write(tmp_path / "a", header))
    assert (found.code, found.errors) == (
        65,
        f"{tmp_path}/a: line 1: a capture of format 99, newer than this program\n",
    )
    found = command("decode", write(tmp_path / "b", {**header, "feed": 5}))
    assert (found.code, "not the header" in found.errors) == (65, True)


def test_standard_input_is_a_file_too() -> None:
    """`-` reads a pipe, compressed or not; nobody reading the output is no error to talk about."""
    tx = json.dumps(recorded_transaction()).encode()
    program = [sys.executable, "-m", "monitor", "decode", "-"]
    for data in (tx, gzip.compress(tx)):
        done = subprocess.run(program, input=data, capture_output=True, check=True)
        assert json.loads(done.stdout)["fact"] == "trade"
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write(tx)
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# --- what is no transaction

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \n\n", "empty"),
    "no JSON": (b"signature,slot\n1,2\n", "not JSON"),
    "bytes": (bytes(range(256)), "not JSON"),
    "cut short": (b'{"transaction": {', "not JSON"),
    "cut short, pretty": (b'{\n "transaction": {\n  "signatures": []\n', "not JSON"),
    "invalid UTF-8": (b'{"a": "\xff"}', "not JSON"),
    "very deep": (b"[" * 100_000, "not JSON"),
    "deep": (b"[" * 50 + b"]" * 50, "levels"),
    "number": (b"5", "a number"),
    "text": (b'"5"', "a text"),
    "true": (b"true", "a boolean"),
    "null": (b"null", "null"),
    "empty object": (b"{}", "no transaction"),
    "empty result": (b'{"result": []}', "no transaction"),
    "not found": (b'{"jsonrpc": "2.0", "result": null, "id": 1}', "result is null"),
    "node's error": (b'{"jsonrpc": "2.0", "error": {"code": -32015, "message": "a\\n\x1b"}, "id": 1}', "not JSON"),
    "node's error, said well": (b'{"error": {"code": -32015, "message": "a\\nb\\u001b[2J"}}', "-32015: a b [2J"),
    "acknowledged": (b'{"jsonrpc": "2.0", "result": 12, "id": 1}', "no transaction"),
    "block that is away": (b'{"params": {"result": {"value": {"slot": 1, "block": null, "err": "gone"}}}}', "gone"),
    "logs of another shape": (b'{"signature": "s", "slot": 1, "err": null, "logs": "none"}', "logs"),
    "slot beyond u64": (b'{"signature": "s", "slot": 99999999999999999999, "err": null, "logs": []}', "slot"),
    "transaction null": (b'{"transaction": null, "meta": {"err": null}}', "not a transaction"),
    "bad base64": (b'{"transaction": ["A!", "base64"], "meta": {"err": null}}', "base64"),
    "not on the wire": (b'{"transaction": ["AAAA", "base64"], "meta": {"err": null}}', "wire"),
    "entries of another shape": (b'{"transactions": [5, null]}', "and 1 more"),
    "damaged gzip": (b"\x1f\x8b\x08\x00garbage!", "cannot be read"),
    "gzip cut short": (gzip.compress(b"[" + b" " * 100_000)[:-20], "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_input_that_is_no_transaction_is_named_and_the_others_are_done(
    name: str, command: Callable[..., Ran], tmp_path: Path
) -> None:
    """One line with file and reason, exit 65, and the next file is read all the same."""
    data, reason = REFUSED[name]
    bad, good = tmp_path / "bad", write(tmp_path / "good", recorded_transaction())
    bad.write_bytes(data)
    found = command("decode", bad, good)
    assert found.code == 65
    [line] = found.errors.splitlines()
    assert line.startswith(f"{bad}: ")
    assert reason in line
    assert line.isprintable()
    assert [item["fact"] for item in found.objects] == ["trade"]


@pytest.mark.parametrize("name", ["nothing there", ".", "new\nline"])
def test_files_that_cannot_be_read_are_named(name: str, command: Callable[..., Ran], tmp_path: Path) -> None:
    """A missing file, a folder, a name with a line break: one line each."""
    found = command("decode", tmp_path / name)
    assert found.code == 65
    assert len(found.errors.splitlines()) == 1
    assert "cannot be read" in found.errors


def test_bad_lines_are_named_by_number_and_the_rest_is_done(command: Callable[..., Ran], tmp_path: Path) -> None:
    """Also when the first line is a bad one; garbage without end is cut short."""
    tx = json.dumps(recorded_transaction())
    (tmp_path / "lines").write_text(f"{{bad\n{tx}\n\n5\n{tx}\n]")
    found = command("decode", tmp_path / "lines")
    assert found.code == 65
    assert re.findall(r": line (\d+): ", found.errors) == ["1", "4", "6"]
    assert len(found.objects) == 2
    (tmp_path / "many").write_text(tx + "\n" + "x\n" * 1_000)
    found = command("decode", tmp_path / "many")
    assert len(found.errors.splitlines()) == 21
    assert "980 more" in found.errors


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--program", "nobody", "--event-base64", "AAAA"], 65, "no decoder for program nobody"),
        (["--program", "pumpfun", "--event-base64", "A!AA"], 65, "not base64"),
        (["--program", "pumpfun", "--event-base64", "AAA"], 65, "not base64"),
        (["--program", "pumpfun", "--event-base64", "ü"], 65, "not base64"),
        (["--program", "pumpfun"], 64, "go together"),
        (["--event-base64", "AAAA"], 64, "go together"),
        (["--program", "pumpfun", "--event-base64", "AAAA", "file"], 64, "without FILE"),
        ([], 64, "nothing to decode"),
        (["--no-such-option"], 64, "No such option"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], code: int, reason: str, command: Callable[..., Ran]
) -> None:
    """Cause and mend on standard error, nothing on standard output."""
    found = command("decode", *arguments)
    assert (found.code, found.out) == (code, "")
    assert reason in found.errors


def test_bare_bytes_that_are_no_event_are_a_fault(command: Callable[..., Ran]) -> None:
    """A followed program said something that cannot be read: told with its whole payload, and no error."""
    for data in (b"", b"\1\2\3", bytes.fromhex("bddb7fd34ee661ee") + b"\xff" * 5):
        found = command("decode", "--program", mainnet.PUMPFUN, "--event-base64", base64.b64encode(data).decode())
        assert found.code == 0
        [item] = found.objects
        assert (item["fact"], item["payload_hex"]) == ("fault", data.hex())


# --- the pure parts, on anything

NAMES = st.sampled_from(
    ["signature", "logs", "err", "slot", "transaction", "transactions", "meta", "result", "value", "params", "error",
     "code", "message", "block", "context", "blockTime", "x"]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=30
)


@given(VALUES)
def test_find_never_raises(value: Any) -> None:
    """Whatever JSON holds, it is a notice or a refusal that says why."""
    for found in find(value, frozenset({mainnet.PUMPFUN})):
        assert isinstance(found, TxNotice) or found.reason


@given(st.binary(max_size=300) | st.lists(VALUES, max_size=5).map(lambda v: "\n".join(map(json.dumps, v)).encode()))
def test_pieces_never_raises(data: bytes) -> None:
    """Whatever a stream holds, each piece is a value or says why it is none."""
    found = list(pieces(io.BytesIO(data), 64))
    assert found
    assert all(piece.error is None or piece.value is None for piece in found)


@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(0, 2))
def test_a_value_a_line_comes_back_with_its_line(values: list[Any], blank: int) -> None:
    """Blank lines count, and say nothing."""
    text = ("\n" * (blank + 1)).join(json.dumps(value) for value in values)
    found = list(pieces(io.BytesIO(text.encode())))
    assert [piece.value for piece in found] == values
    assert [piece.line for piece in found] == [1 + number * (blank + 1) for number in range(len(values))]


def test_long_lines_are_refused_and_the_next_is_read() -> None:
    """A line without end is not held in memory."""
    text = b"[1]\n" + b"[" + b" " * 1_000 + b"]\n[2]\n"
    found = list(pieces(io.BytesIO(text), 100))
    assert [(piece.line, piece.value) for piece in found] == [(1, [1]), (2, None), (3, [2])]
    assert found[1].error is not None


def test_large_documents_are_refused_unless_they_are_lines() -> None:
    """What is larger than the limit is read by lines, if the second of them is a value."""
    [only] = pieces(io.BytesIO(b"[\n" + b" " * 1_000), 100)
    assert only.error is not None
    assert "larger" in only.error
    found = list(pieces(io.BytesIO(b"{bad\n[1]\n" + b"[2]\n" * 100), 50))
    assert [piece.value for piece in found] == [None, [1], *[[2]] * 100]

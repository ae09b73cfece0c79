"""`export` writes what the database holds, in both formats, and says what is wrong."""

from __future__ import annotations

import asyncio
import csv
import functools
import io
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pyarrow as pa
import pytest
from pyarrow import parquet

from decoders.core.types import Record
from monitor.config import ENVIRONMENT
from monitor.store.batch import Batch
from monitor.store.store import Store
from tests import postgres
from tests.store.facts import BLOCK_TIME, SLOT, fault, launch, trade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from decoders.core.types import Trade
    from tests.cli.conftest import Ran

HOURS = 30
START = datetime.fromtimestamp(BLOCK_TIME, UTC)
NAME = 'a "quoted" name,\nwith a line break'


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server."""
    with postgres.start() as server:
        yield server


@pytest.fixture(scope="module")
def url(server: postgres.Server) -> Iterator[str]:
    """A database with a launch, an hourly trade and a fault."""

    async def fill(url: str) -> None:
        async with await Store.open(url) as store:
            await store.migrate()
            await store.lock()
            await store.write(Batch([launch(name=NAME, uri=""), fault(), *trades()]))

    made = server.database()
    with asyncio.Runner() as runner:
        url = runner.run(made.__aenter__())
        runner.run(fill(url))
        yield url
        runner.run(made.__aexit__(None, None, None))


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shut out the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT)]:
        monkeypatch.delenv(name)


def trades() -> list[Trade]:
    """One an hour, in no order; every second one has a tail."""
    return [
        trade(signature=f"s{hour}", block_time=BLOCK_TIME + 3600 * hour, slot=SLOT + hour, base_amount=2**62 + hour,
              record=Record(None, (), b"\x00\xff") if hour % 2 else None)
        for hour in sorted(range(HOURS), key=lambda hour: hour * 7 % HOURS)
    ]  # fmt: skip


@pytest.fixture
def export(url: str, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Return a function that runs `launch-monitor export` on that database."""
    monkeypatch.setenv(f"{ENVIRONMENT}DATABASE__URL", url)
    return functools.partial(command, "export")


def stored(url: str, query: str) -> list[asyncpg.Record]:
    """Ask the database itself, or tell it something."""

    async def ask() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_a_range_as_csv(export: Callable[..., Ran], tmp_path: Path) -> None:
    """From a time on, up to another that is not in it, in the order of time, every column as it is stored."""
    out = tmp_path / "trades.csv"
    done = export(
        "transactions",
        "--from",
        START + timedelta(hours=3),
        "--to",
        (START + timedelta(hours=9)).isoformat(),
        "-o",
        out,
    )
    assert (done.code, done.out, done.errors) == (0, f"6 rows of transactions in {out}\n", "")
    rows = list(csv.DictReader(io.StringIO(out.read_text(), newline="")))
    assert [row["signature"] for row in rows] == [f"s{hour}" for hour in range(3, 9)]
    for hour, row in enumerate(rows, 3):
        assert int(row["base_amount"]) == 2**62 + hour
        assert datetime.fromisoformat(row["block_time"]) == START + timedelta(hours=hour)
        assert row["tail"] == (r"\x00ff" if hour % 2 else "")
        assert (row["side"], row["organic"], row["voided_at"]) == ("buy", "t", "")
    assert list(tmp_path.iterdir()) == [out]


def test_a_table_as_csv_has_every_row_and_column(export: Callable[..., Ran], url: str) -> None:
    """Texts with quotes and line breaks, and empty ones, stay what they are; without a range all of it."""
    done = export("tokens", "--out", "-")
    assert (done.code, done.errors) == (0, "1 rows of tokens in -\n")
    (row,) = csv.DictReader(io.StringIO(done.out, newline=""))
    (held,) = stored(url, "SELECT * FROM tokens")
    assert list(row) == list(held.keys())
    assert (row["name"], row["uri"], row["completed_at"]) == (NAME, "", "")
    assert ',"",' in done.out
    assert {name for name, text in row.items() if text == ""} == {
        name for name, value in held.items() if value in (None, "")
    }


def test_a_range_as_parquet(export: Callable[..., Ran], url: str, tmp_path: Path) -> None:
    """Each value is the database's own: integers of 64 bits, times, bytes, NULL."""
    out = tmp_path / "trades.parquet"
    done = export("transactions", "--from", f"{START + timedelta(hours=20):%Y-%m-%dT%H:%M:%S}", "-o", out)
    assert (done.code, done.out) == (0, f"10 rows of transactions in {out}\n")
    held = stored(url, f"SELECT * FROM transactions WHERE slot >= {SLOT + 20} ORDER BY slot")
    table = parquet.read_table(out)
    assert table.to_pylist() == [dict(row) for row in held]
    kinds = {field.name: field.type for field in table.schema}
    assert (kinds["block_time"], kinds["base_amount"], kinds["nth"], kinds["organic"], kinds["supply"]) == (
        pa.timestamp("us", "UTC"), pa.int64(), pa.int16(), pa.bool_(), pa.decimal128(20),
    )  # fmt: skip


@pytest.mark.parametrize("table", ["recent_trades", "changes", "batches", "faults", "mints", "schema_migrations"])
def test_every_kind_of_column_has_its_parquet(table: str, export: Callable[..., Ran], url: str, tmp_path: Path) -> None:
    """What Parquet has no type for is exact text: JSON, UUIDs, and decimals without bounds."""
    out = tmp_path / "any"
    done = export(table, "--format", "parquet", "--out", out)
    assert (done.code, done.errors) == (0, "")
    held = stored(url, f"SELECT * FROM {table}")
    found = parquet.read_table(out).to_pylist()
    assert len(found) == len(held) > 0
    key = next(iter(held[0].keys()))
    for row, other in zip(
        sorted(found, key=lambda row: str(row[key])), sorted(held, key=lambda row: str(row[key])), strict=True
    ):
        for name, value in other.items():
            shown = Decimal(row[name]) if isinstance(value, Decimal) else row[name]
            assert shown == (value if isinstance(value, bytes | int | datetime | Decimal | None) else str(value)), name


def test_many_rows_come_in_pieces(export: Callable[..., Ran], url: str, tmp_path: Path) -> None:
    """More rows than are fetched at once, and than a row group has."""
    stored(url, "INSERT INTO landings SELECT 's' || n, n FROM generate_series(1, 130000) n")
    out = tmp_path / "landings.parquet"
    assert (export("landings", "-o", out)).code == 0
    file = parquet.ParquetFile(out)
    assert file.num_row_groups == 2
    assert sorted(file.read().column("slot").to_pylist()) == list(range(1, 130_001))


def test_a_terminal_gets_a_bar(export: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error; in the end it shows the rows that were written, whatever was expected before."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    for out in (tmp_path / "x.csv", tmp_path / "x.parquet"):
        done = export("transactions", "-o", out)
        assert done.code == 0
        last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.errors).replace("\r", "\n").split("\n")
        assert any(f"{HOURS} of about {HOURS} rows" in line and "rows/s" in line for line in last), done.errors


def test_nothing_is_left_of_what_failed(export: Callable[..., Ran], url: str, tmp_path: Path) -> None:
    """A row that cannot be told ends it: the file that was there before stays."""
    stored(url, "CREATE VIEW broken AS SELECT 1 / (nth - nth) AS x FROM transactions")
    out = tmp_path / "broken.csv"
    out.write_text("before")
    assert (export("broken", "-o", out)).code == 70
    assert [path.name for path in tmp_path.iterdir()] == ["broken.csv"]
    assert out.read_text() == "before"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense", "-o", "{tmp}/x"], 64, ["no table 'nonsense'", "recent_trades, ", "transactions"]),
        (["mints", "--from", "2h", "-o", "{tmp}/x"], 64, ["mints has no time"]),
        (["transactions", "-o", "{tmp}/none/x"], 65, ["cannot be written", "No such file"]),
        (["transactions", "-o", "/dev/full"], 65, ["cannot be written"]),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], code: int, words: list[str], export: Callable[..., Ran], tmp_path: Path
) -> None:
    """With an exit code for scripts, and no file."""
    done = export(*[argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
    assert done.code == code
    assert "Traceback" not in done.errors
    assert all(word in done.errors for word in words), done.errors
    assert list(tmp_path.iterdir()) == []
    assert not Path("/dev/full").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "yesterday"], ["--from yesterday", "2026-09-21T14:00Z"]),
        (["--from", "2026-09-22", "--to", "2026-09-22"], ["nothing lies between"]),
        (["--format", "xml"], ["--format"]),
        (["--format", "parquet"], ["standard output"]),
    ],
)
def test_options_that_make_no_sense(arguments: list[str], words: list[str], command: Callable[..., Ran]) -> None:
    """Nobody is asked for anything."""
    done = command("export", "transactions", "--out", "-", *arguments)
    assert (done.code, done.out) == (64, "")
    assert all(word in done.errors for word in words), done.errors


def test_without_pyarrow_the_extra_is_named(
    command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before the database is asked for anything."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = command("export", "transactions", "-o", tmp_path / "x.parquet")
    assert (done.code, done.out) == (78, "")
    assert "launch-monitor[export]" in done.errors

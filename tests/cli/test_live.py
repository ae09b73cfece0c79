"""Commands at work: against a simulated node, against a running daemon, with no servers but their own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from monitor.cli import daemon
from monitor.config import ENVIRONMENT, Monitoring
from simulator.run import Simulator
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

LIMIT_S = 90


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    errors: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of standard output, each a JSON object."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(state: Path) -> dict[str, str]:
    """Return the environment, with no settings but a state directory and no fixed ports."""
    return {**os.environ} | {
        f"{ENVIRONMENT}EMBEDDED__STATE_DIR": str(state),
        f"{ENVIRONMENT}METRICS__LISTEN": "127.0.0.1:0",
        "COLUMNS": "120",
    }


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shut out the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT)]:
        monkeypatch.delenv(name)


async def begin(
    state: Path, *arguments: object, settings: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start a command."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "monitor", *map(str, arguments),
        env=environment(state) | {ENVIRONMENT + name: value for name, value in (settings or {}).items()},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def end(process: asyncio.subprocess.Process, number: signal.Signals | None = None) -> Ended:
    """Wait for the end of a command, which a signal brings about (None: which comes by itself)."""
    if number is not None:
        process.send_signal(number)
    try:
        async with asyncio.timeout(LIMIT_S):
            out, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), errors.decode())


async def call(state: Path, *arguments: object, settings: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end."""
    return await end(await begin(state, *arguments, settings=settings))


@asynccontextmanager
async def market() -> AsyncIterator[str]:
    """Serve a lively simulated market, and yield its endpoint."""
    async with Simulator(seed=5, rate=300) as node:
        running = asyncio.create_task(node.run_until(lambda: False))
        try:
            yield f"{node.ws_url},{node.http_url}"
        finally:
            running.cancel()
            await asyncio.wait({running})


@pytest.mark.slow
async def test_tail_follows_a_node_without_any_database(tmp_path: Path) -> None:
    """As JSON and as a table; filters hold; it ends after as many lines as asked for."""
    async with market() as endpoint:
        table, trades = await asyncio.gather(
            call(tmp_path, "tail", "--endpoint", endpoint, "--kind", "launch", "--count", 2),
            call(tmp_path, "tail", "--endpoint", endpoint, "--json", "--platform", "raydium_launchpad", "--count", 30),
        )
    assert (table.code, table.errors) == (0, "")
    header, *lines = table.out.splitlines()
    assert header.split()[:4] == ["TIME", "EVENT", "PLATFORM", "SYMBOL"]
    assert [line.split()[1] for line in lines] == ["launch", "launch"]
    assert (trades.code, trades.errors, len(trades.objects)) == (0, "", 30)
    for shown in trades.objects:
        assert shown["platform"] == "raydium_launchpad"
        assert shown["mint"]
        assert shown["time"]
    identities = {(shown["signature"], shown["program"], shown["event"], shown["nth"], shown["fact"])
                  for shown in trades.objects}  # fmt: skip
    assert len(identities) == 30


async def test_tail_ends_without_a_word_on_ctrl_c(tmp_path: Path) -> None:
    """It is how people end it: no traceback, exit 0."""
    async with market() as endpoint:
        process = await begin(tmp_path, "tail", "--endpoint", endpoint, "--json")
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            assert json.loads(await process.stdout.readline())["fact"]
        ended = await end(process, signal.SIGINT)
    assert (ended.code, ended.errors) == (0, "")


@pytest.mark.slow
async def test_what_is_recorded_can_be_decoded_and_replayed(state_dir: Path, tmp_path: Path) -> None:
    """A replay writes what the recording heard, a second one changes nothing; captures hold no address."""
    capture = tmp_path / "capture.gz"
    async with market() as endpoint:
        recorded = await call(state_dir, "record", capture, "--endpoint", endpoint, "--count", 800)
    assert (recorded.code, recorded.errors) == (0, "")
    assert recorded.out.startswith("800 notices, ")
    decoded = await call(state_dir, "decode", capture)
    assert (decoded.code, decoded.errors) == (0, "")
    facts = {(shown["signature"], shown["program"], shown["event"], shown["nth"]) for shown in decoded.objects}
    told = [(*(shown[name] for name in ("signature", "program", "event", "nth", "fact")),) for shown in decoded.objects]
    assert len(told) == len(set(told))
    first = await call(state_dir, "replay", capture)
    again = await call(state_dir, "replay", capture, "--speed", 50)
    assert (first.code, again.code) == (0, 0)
    assert " 0 refused" in first.out
    stored = int(first.out.splitlines()[1].split(" events: ")[1].split(" ")[0].replace(",", ""))
    assert 300 < stored <= len(facts)
    assert " 0 stored" in again.out
    refused = await call(state_dir, "replay", __file__)
    assert (refused.code, "no capture header" in refused.errors) == (65, True)
    assert "launch-monitor decode" in refused.errors
    assert f"embedded database in {state_dir}" in first.out
    assert first.errors == again.errors == ""
    torn = tmp_path / "torn.gz"
    torn.write_bytes(capture.read_bytes()[: capture.stat().st_size // 2])
    halved = await call(state_dir, "replay", torn)
    assert (halved.code, "ends before its end" in halved.errors) == (0, True)


@pytest.mark.slow
async def test_a_database_of_ones_own_is_migrated_filled_and_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`migrate --check` says what is to be done; `status` tells a database that nobody writes to from one that lags."""
    with postgres.start() as server:
        async with server.database() as url:
            monkeypatch.setenv(f"{ENVIRONMENT}DATABASE__URL", url)
            unmade = await call(tmp_path, "migrate", "--check")
            assert (unmade.code, "launch-monitor migrate" in unmade.errors) == (78, True)
            assert (await call(tmp_path, "status")).code == 2
            made = await call(tmp_path, "migrate")
            assert (made.code, "applied 0001_tables" in made.out) == (0, True)
            again = await call(tmp_path, "migrate")
            assert (again.code, "applied" in again.out) == (0, False)
            quiet = await call(tmp_path, "status", "--json")
            assert (quiet.code, json.loads(quiet.out)["reason"]) == (2, "no daemon writes to the database")
            async with market() as endpoint:
                daemon = await begin(tmp_path, "ingest", "--endpoint", endpoint)
                try:
                    async with asyncio.timeout(LIMIT_S):
                        while (await call(tmp_path, "status")).code == 2:
                            assert daemon.returncode is None
                    assert (await call(tmp_path, "check-config", "--connect", "--endpoint", endpoint)).code == 0
                finally:
                    ended = await end(daemon, signal.SIGTERM)
            assert ended.code == 0
            assert (await call(tmp_path, "status")).code == 2


async def test_a_metrics_port_in_use_ends_the_daemon_before_it_starts_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is one's own choice; the usual one gives way to a free one in `run`."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        for command in ("ingest", "run"):
            found = await call(
                tmp_path / "state", command, "--endpoint", "ws://127.0.0.1:2", settings={"METRICS__LISTEN": taken}
            )
            assert (found.code, f"metrics.listen {taken}" in found.errors) == (78, True)
        assert not (tmp_path / "state").exists()
        monkeypatch.setattr(daemon, "Monitoring", lambda: Monitoring(listen=taken))
        assert daemon._metrics_address() == "127.0.0.1:0"
    assert daemon._metrics_address() == taken


@pytest.mark.slow
async def test_tail_follows_blocks_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of one's own may serve whole blocks: then nothing has to be fetched."""
    monkeypatch.setenv(f"{ENVIRONMENT}NODE__FEED", "blocks")
    async with market() as endpoint:
        found = await call(tmp_path, "tail", "--endpoint", endpoint, "--json", "--count", 20)
    assert (found.code, found.errors, len(found.objects)) == (0, "", 20)


@pytest.mark.slow
async def test_nobody_reading_on_ends_tail(tmp_path: Path) -> None:
    """`tail | head` leaves no traceback, as a table and as JSON."""
    async with market() as endpoint:
        for form in ((), ("--json",)):
            process = await begin(tmp_path, "tail", "--endpoint", endpoint, *form)
            assert process.stdout is not None
            async with asyncio.timeout(LIMIT_S):
                assert await process.stdout.readline()
                process.stdout._transport.close()  # type: ignore[attr-defined]  # the pipe's reading end
                code = await process.wait()
            assert process.stderr is not None
            assert (code, await process.stderr.read()) == (141, b"")


@pytest.mark.slow
async def test_run_alone_follows_a_simulated_market_and_others_can_look(state_dir: Path) -> None:
    """With nothing configured: launches on the screen, rows in the database, announcements for `tail`, a clean end."""
    process = await begin(state_dir, "run")
    assert process.stdout is not None
    said: list[str] = []
    async with asyncio.timeout(LIMIT_S):
        while " launch " not in (said or [""])[-1]:
            line = await process.stdout.readline()
            assert line, said
            said.append(line.decode())
    text = "".join(said)
    assert text.startswith("No node is configured: following the built-in simulator")
    assert "--endpoint mainnet" in text
    assert "psql -h 127.0.0.1" in text
    assert "-simulated" in text
    assert re.search(r"^metrics: http://127\.0\.0\.1:[1-9]\d*/metrics$", text, re.MULTILINE)
    tail, everything = await asyncio.gather(
        call(state_dir, "tail", "--json", "--kind", "trade", "--count", 5),
        call(state_dir, "tail", "--last", 1, "--count", 3),
    )
    assert (tail.code, tail.errors) == (0, "")
    assert {shown["fact"] for shown in tail.objects} == {"trade"}
    assert everything.code == 0
    assert len(everything.out.splitlines()) == 4
    mint = tail.objects[-1]["mint"]
    one = await call(state_dir, "tail", "--json", "--mint", mint, "--count", 1)
    assert one.objects[0]["mint"] == mint
    looked = await call(state_dir, "status", "--json")
    shown = json.loads(looked.out)
    assert looked.code in (0, 1), looked  # progress waits until its first slots are final
    assert shown["redis"] is True
    assert shown["rows"]["tokens"] >= 0
    assert shown["newest_block_time"]
    checked = await call(state_dir, "migrate", "--check")
    assert (checked.code, "up to date" in checked.out) == (0, True)
    second = await call(state_dir, "run")
    assert second.code == 75
    assert "error: " in second.errors
    ended = await end(process, signal.SIGHUP)  # the terminal was closed
    assert ended.code == 0
    assert "Traceback" not in ended.errors
    assert (await call(state_dir, "status")).code == 2

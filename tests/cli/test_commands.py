"""Every command explains itself, and says what is wrong and what mends it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from monitor import config
from monitor.__main__ import run
from monitor.cli import say
from monitor.cli.app import COMMANDS
from monitor.errors import BadInput, ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ran


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Shut out the settings of whoever runs the tests, and every daemon of this machine."""
    for name in list(os.environ):
        if name.startswith(config.ENVIRONMENT):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LAUNCH_MONITOR_EMBEDDED__STATE_DIR", str(tmp_path / "state"))


def test_help_tells_of_every_command(command: Callable[..., Ran]) -> None:
    """In the order in which people need them."""
    found = command("--help")
    assert found.code == 0
    names = re.findall(r"^│ ([a-z][a-z-]*)  ", found.out, re.MULTILINE)
    assert names == [*COMMANDS]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_its_options(name: str, command: Callable[..., Ran]) -> None:
    """A sentence first, then each option with what it means."""
    found = command(name, "--help")
    assert found.code == 0
    assert f"Usage: launch-monitor {name}" in found.out
    for line in found.out.splitlines():
        option = re.match(r"^│ --[a-z0-9-]+ +(-\w )? *(<\w+>|[A-Z]+|N|) *(\[[^]]*\])? *$", line)
        assert option is None, f"{line!r} says nothing"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 64, ["No such command", "--help"]),
        (["tail", "--nonsense"], 64, ["No such option"]),
        (["tail", "--kind", "nonsense"], 64, ["nonsense", "graduation"]),
        (["tail", "--kind", "buy"], 64, ["--kind buy", "mend: give one of launch, trade, complete"]),
        (["tail", "--platform", "x"], 64, ["--platform x", "pump.fun", "launchlab"]),
        (["tail", "--platform", "Pump.fun", "--kind", "graduate", "--kind", "trade"], 75, ["no daemon"]),
        (["tail", "--mint", "foo"], 64, ["--mint foo", "no address"]),
        (["tail", "--mint", "So1111111111111111111111111111111111111111O"], 64, ["no address"]),
        (["tail", "--mint", "So11111111111111111111111111111111111111112"], 75, ["no daemon"]),
        (["tail", "--count", "0"], 64, ["--count"]),
        (["tail"], 75, ["no daemon", "--endpoint"]),
        (["tail", "--endpoint", "nonsense"], 78, ["mainnet", "WS,HTTP"]),
        (["tail", "--endpoint", "a,b,c"], 78, ["no endpoint"]),
        (["record", "{tmp}/x", "--endpoint", "ftp://node"], 78, ["ftp://node", "ws"]),
        (["record", "{tmp}/x"], 78, ["no node", "--endpoint"]),
        (["record", "{tmp}/no/folder/x", "--endpoint", "ws://localhost:2"], 65, ["No such file"]),
        (["record", "{tmp}", "--endpoint", "ws://localhost:2"], 64, ["directory"]),
        (["ingest"], 78, ["no node", "--endpoint"]),
        (["migrate"], 78, ["database.url"]),
        (["check-config", "--config", "{tmp}/missing.toml"], 78, ["missing.toml", "No such file"]),
        (["ingest", "--start", "yesterday", "--endpoint", "ws://localhost:2"], 78, ["yesterday", "progress"]),
        (["simulate", "--rate", "0"], 64, ["rate"]),
    ],
)
def test_what_is_wrong_is_said_with_what_mends_it(
    arguments: list[str], code: int, words: list[str], command: Callable[..., Ran], tmp_path: Path
) -> None:
    """On standard error, without a traceback, with the exit code of errors.py."""
    found = command(*[argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
    assert (found.code, found.out) == (code, "")
    assert "Traceback" not in found.errors
    assert "Value error" not in found.errors
    assert all(word in found.errors for word in words), found.errors


def test_several_errors_at_once_are_told_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Groups of errors are taken apart; equal ones say so once."""
    say.explain(
        ExceptionGroup("", [BadInput("a"), ExceptionGroup("", [StoreUnavailable("b", mend="c"), BadInput("a")])])
    )
    assert capsys.readouterr().err == "error: a\nerror: b\n  mend: c\n"


def test_a_bug_is_told_with_its_traceback(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 70, so that a service manager starts the daemon again and people can report it."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the bug")

    monkeypatch.setattr("monitor.cli.version.load_registry", broken)
    assert run(["version"]) == 70
    errors = capfd.readouterr().err
    assert "Traceback" in errors
    assert "report it" in errors


@pytest.mark.parametrize("error", [KeyboardInterrupt, ConfigError])
def test_interrupts_and_our_errors_have_codes(
    error: type[BaseException], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is 130 and silent."""

    def ends(*_: object, **__: object) -> None:
        raise error("cause")

    monkeypatch.setattr("monitor.cli.version.load_registry", ends)
    assert run(["version"]) == (130 if error is KeyboardInterrupt else 78)
    assert capfd.readouterr().err == ("" if error is KeyboardInterrupt else "error: cause\n")


@pytest.mark.parametrize(
    ("program", "on_path", "name"),
    [
        ("bin/launch-monitor", "bin", "launch-monitor"),
        ("bin/launch-monitor", "", "bin/launch-monitor"),
        ("bin/launch-monitor", "other", "bin/launch-monitor"),
        ("monitor/__main__.py", "bin", f"{sys.executable} -m monitor"),
        ("pytest", "", "launch-monitor"),
    ],
)
def test_lines_to_type_call_the_program_as_it_can_be_called(
    program: str, on_path: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name where that finds this very program, else by the path that was typed."""
    for folder in ("bin", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "launch-monitor").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / on_path) if on_path else "")
    monkeypatch.setattr("sys.argv", [program])
    assert say.called() == name


def test_version_tells_what_a_bug_report_needs(command: Callable[..., Ran]) -> None:
    """Program, Python, libraries, and every IDL with its version and program."""
    found = command("version")
    assert found.code == 0
    for word in ("launch-monitor ", "Python 3.", "solders ", "asyncpg "):
        assert word in found.out
    assert set(re.findall(r"^idl (\w+) \S+, \w{32,44}$", found.out, re.MULTILINE)) == set(config.KNOWN_PROGRAMS)
    assert command("--version").out.startswith("launch-monitor ")


def test_check_config_shows_what_holds_and_no_secret(command: Callable[..., Ran], tmp_path: Path) -> None:
    """The command line stands over the file; passwords and keys are hidden."""
    file = tmp_path / "settings.toml"
    file.write_text('programs = ["pumpfun"]\n[database]\nurl = "postgresql://me:hush@db.example/x"\n')
    key = "0123456789abcdef0123456789abcdef"
    found = command("check-config", "--config", file, "--endpoint", f"wss://node.example/{key}")
    assert (found.code, found.errors) == (0, "")
    assert "ok: pumpfun follows" in found.out
    assert "pumpswap follows" not in found.out
    assert "wss://node.example/" in found.out
    assert "db.example" in found.out
    assert "hush" not in found.out
    assert key not in found.out


def test_check_config_prints_a_file_to_begin_with(command: Callable[..., Ran], tmp_path: Path) -> None:
    """The example is a configuration itself, of defaults."""
    file = tmp_path / "settings.toml"
    file.write_text(command("check-config", "--example").out)
    assert config.load(file, environ={}) == config.Config()


def test_check_config_names_a_broken_idl(command: Callable[..., Ran], tmp_path: Path, monkeypatch: Any) -> None:
    """Exit 78: a restart will not mend it."""
    (tmp_path / "pumpfun.json").write_text("{}")
    monkeypatch.setenv("LAUNCH_MONITOR_IDL_DIR", str(tmp_path))
    found = command("check-config")
    assert found.code == 78
    assert "idl/pumpfun.json" in found.errors
    assert command("decode", "x").code == 78


def test_check_config_tells_who_does_not_answer(command: Callable[..., Ran], monkeypatch: Any) -> None:
    """Each of the four by itself; the exit code is the gravest."""
    monkeypatch.setenv("LAUNCH_MONITOR_DATABASE__URL", "postgresql://127.0.0.1:1/x")
    monkeypatch.setenv("LAUNCH_MONITOR_REDIS__URL", "redis://127.0.0.1:1")
    found = command("check-config", "--connect", "--endpoint", "ws://127.0.0.1:1,http://127.0.0.1:1")
    assert found.code == 75
    for name in ("node, websocket", "node, HTTP", "database", "redis"):
        assert f"failed: {name}" in found.out
    assert found.errors.count("error: ") == 4


def test_install_units_can_be_looked_at_first(command: Callable[..., Ran]) -> None:
    """Nothing is written."""
    found = command("install-units", "--dry-run")
    assert found.code == 0
    assert "launch-monitor-ingest.service" in found.out
    assert "ExecStart=" in found.out


def test_status_of_no_daemon(command: Callable[..., Ran], tmp_path: Path, monkeypatch: Any) -> None:
    """Exit 2, in words and in JSON; so is a database that does not answer."""
    found = command("status")
    assert (found.code, found.errors) == (2, "")
    assert found.out.startswith("away: no daemon runs")
    assert "-simulated" not in found.out
    (tmp_path / "state-simulated").mkdir()
    for name in ("status", "tail"):
        found = command(name)
        assert f"below {tmp_path}/state or {tmp_path}/state-simulated" in found.out + found.errors
    found = command("status", "--json")
    assert (found.code, json.loads(found.out)["state"]) == (2, "away")
    monkeypatch.setenv("LAUNCH_MONITOR_DATABASE__URL", "postgresql://127.0.0.1:1/x")
    found = command("status")
    assert found.code == 2
    assert found.out.startswith("away: the database cannot be asked")


def test_simulate_serves_and_leaves_its_ledger(command: Callable[..., Ran], tmp_path: Path) -> None:
    """It prints where it listens and how to follow it, ends in time, and writes the truth."""
    found = command(
        "simulate", "--duration", "0.5", "--rate", "500", "--seed", "1", "--ledger", tmp_path / "ledger.json"
    )
    assert (found.code, found.errors) == (0, "")
    assert re.search(r"ws://127\.0\.0\.1:\d+ http://127\.0\.0\.1:\d+", found.out)
    assert "tail --endpoint ws://" in found.out
    assert json.loads((tmp_path / "ledger.json").read_text())


def test_a_recording_does_not_write_over_another(command: Callable[..., Ran], tmp_path: Path) -> None:
    """Not without --force."""
    (tmp_path / "capture.gz").write_text("precious")
    found = command("record", tmp_path / "capture.gz", "--endpoint", "ws://127.0.0.1:2")
    assert found.code == 64
    assert "--force" in found.errors
    assert (tmp_path / "capture.gz").read_text() == "precious"


def test_decoding_does_not_load_what_it_does_not_need() -> None:
    """Commands that others call in loops start fast: no database, no Redis, no simulator."""
    script = (
        "import sys; from monitor.__main__ import run; run(['decode', '-']); "
        "print(*[name for name in ('asyncpg', 'redis', 'simulator', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], input=b"", capture_output=True, check=True)
    assert done.stdout.split() == []

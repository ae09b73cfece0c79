"""The systemd units: rendered for any path, installed without losing anything, and accepted by systemd itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monitor import install
from monitor.config import load
from monitor.errors import ConfigError

SERVICES = ("launch-monitor-migrate.service", "launch-monitor-ingest.service", "launch-monitor-audit.service")
WORST_EXPOSURE = "15"  # tenths, as systemd-analyze wants it


@pytest.mark.parametrize("program", ["/opt/launch-monitor/bin/launch-monitor", '/opt/50% "of" it/launch-monitor'])
def test_nothing_is_left_to_fill_in(program: str) -> None:
    """Every mark of the templates has its value in every unit, and every service is hardened alike."""
    texts = install.render(Path(program))
    assert set(texts) == set(SERVICES) | {"launch-monitor-audit.timer"}
    for name, text in texts.items():
        assert "@" not in text.replace("@system-service", "").replace("@privileged", "").replace("@resources", "")
        assert ("DynamicUser=yes\nUMask=0077\nNoNewPrivileges=yes\n" in text) == (name in SERVICES)


def test_paths_are_quoted_as_systemd_reads_them() -> None:
    """Blanks, quotes, percent and dollar signs mean themselves."""
    ingest = install.render(Path('/opt/50% "of" $it/x'))["launch-monitor-ingest.service"]
    assert 'ExecStart="/opt/50%% \\"of\\" $$it/x" ingest --config /etc/launch-monitor/launch-monitor.toml\n' in ingest


def test_a_configuration_error_is_not_restarted_and_everything_else_is() -> None:
    """Exit 78 waits for a human; no other end of a service that somebody waits for is final."""
    texts = install.render(Path("/opt/x"))
    for name in SERVICES[:2]:
        assert "RestartPreventExitStatus=78\n" in texts[name]
        assert "Restart=on-failure\n" in texts[name]


def test_the_audit_is_run_by_its_timer_once_a_day() -> None:
    """It draws a number of slots, and one that failed is left until the next day."""
    texts = install.render(Path("/opt/x"))
    audit = texts["launch-monitor-audit.service"]
    assert "ExecStart=/opt/x audit --slots 200 --config /etc/launch-monitor/launch-monitor.toml\n" in audit
    assert "Restart=no\n" in audit
    assert "OnCalendar=daily\n" in texts["launch-monitor-audit.timer"]


def test_every_service_may_write_its_state_and_nothing_else() -> None:
    """The journal lies in StateDirectory, which is the same one for all of them and for nobody else."""
    for name in SERVICES:
        text = install.render(Path("/opt/x"))[name]
        assert "StateDirectory=launch-monitor\nStateDirectoryMode=0700\n" in text
        assert "ProtectSystem=strict\n" in text
        assert "ReadWritePaths" not in text


def test_a_reload_reads_the_idl_files_again() -> None:
    """SIGHUP to the daemon itself, not to its servers."""
    text = install.render(Path("/opt/x"))["launch-monitor-ingest.service"]
    assert "ExecReload=/bin/kill -HUP $MAINPID\n" in text


def test_a_second_installation_keeps_the_configuration_and_renews_the_units(tmp_path: Path) -> None:
    """Upgrading is installing again."""
    install.install(root=tmp_path, program=Path("/opt/old/launch-monitor"))
    config = tmp_path / "etc/launch-monitor/launch-monitor.toml"
    assert load(config) == load(None)
    config.write_text("mine")
    lines = install.install(root=tmp_path, program=Path("/opt/new/launch-monitor"))
    assert config.read_text() == "mine"
    unit = tmp_path / "etc/systemd/system/launch-monitor-ingest.service"
    assert "ExecStart=/opt/new/launch-monitor ingest" in unit.read_text()
    assert f"wrote {unit}" in lines
    assert (tmp_path / "etc/launch-monitor/credentials").stat().st_mode & 0o777 == 0o700


def test_a_dry_run_shows_the_units_and_writes_nothing(tmp_path: Path) -> None:
    """What would be written can be read first."""
    lines = install.install(root=tmp_path, program=Path("/opt/x/launch-monitor"), dry_run=True)
    assert f"# {tmp_path}/etc/systemd/system/launch-monitor-ingest.service" in lines
    assert list(tmp_path.iterdir()) == []


def test_an_installation_that_its_own_units_could_not_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ProtectHome and PrivateTmp would leave systemd without a program to start."""
    program = tmp_path / "launch-monitor"
    program.touch(mode=0o755)
    monkeypatch.setattr(install, "_HIDDEN", (tmp_path,))
    monkeypatch.setattr(install, "_write", lambda *_: pytest.fail("it was written all the same"))
    with pytest.raises(ConfigError, match="where the hardened units see nothing"):
        install.install(program=program)


def test_an_interpreter_that_the_units_could_not_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python below somebody's home is hidden, though the environment's link to it is not."""
    home, environment = tmp_path / "home", tmp_path / "opt"
    for folder in (home, environment):
        folder.mkdir()
    (home / "python3").touch(mode=0o755)
    (environment / "launch-monitor").touch(mode=0o755)
    (environment / "python3").symlink_to(home / "python3")
    monkeypatch.setattr(install, "_HIDDEN", (home,))
    monkeypatch.setattr(install, "_write", lambda *_: pytest.fail("it was written all the same"))
    monkeypatch.setattr("sys.executable", str(environment / "python3"))
    with pytest.raises(ConfigError, match="home/python3 lies where the hardened units see nothing") as caught:
        install.install()
    assert "system's Python" in (caught.value.mend or "")


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """Return the units as the installer writes them for this environment's program, which exists."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = Path(sys.executable).with_name("launch-monitor")
    assert os.access(program, os.X_OK)
    install.install(root=tmp_path, program=program)
    return [str(tmp_path / "etc/systemd/system" / name) for name in install.UNITS]


@pytest.mark.ci
def test_systemd_finds_no_fault_in_the_units(units: list[str]) -> None:
    """`systemd-analyze verify` knows every setting and finds every program."""
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], check=False, capture_output=True, text=True
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.ci
def test_systemd_finds_the_units_hardened(units: list[str]) -> None:
    """Exposure is at most 1.5 of 10."""
    for unit in (path for path in units if path.endswith(".service")):
        rated = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--threshold={WORST_EXPOSURE}", unit],
            check=False,
            capture_output=True,
            text=True,
        )
        assert rated.returncode == 0, rated.stdout + rated.stderr
        assert "Overall exposure level" in rated.stdout

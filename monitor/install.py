"""Writes the systemd units for this very installation of the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from monitor.config import example_toml
from monitor.data import data_dir
from monitor.errors import ConfigError, UsageError

UNITS = (
    "launch-monitor-migrate.service",
    "launch-monitor-ingest.service",
    "launch-monitor-audit.service",
    "launch-monitor-audit.timer",
)
CONFIG = Path("/etc/launch-monitor/launch-monitor.toml")
CREDENTIALS = Path("/etc/launch-monitor/credentials")
_AUDIT_SLOTS = 200
_UNIT_FOLDER = Path("/etc/systemd/system")
_FIRST_CONFIG = f"""\
# Every setting with its default. Secrets may go into files of their own instead, readable by root alone:
# {CREDENTIALS}/node_ws_url, node_http_url, database_url, redis_url.

"""
# ProtectHome and PrivateTmp of the units hide these.
_HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108 (compared, not used)


def render(program: Path, config: Path = CONFIG, credentials: Path = CREDENTIALS) -> dict[str, str]:
    """Return the text of each unit by file name, for a program and a configuration at these absolute paths."""
    templates = data_dir("systemd")
    values = {
        "@HARDENING@": (templates / "hardening.conf").read_text(encoding="utf-8").strip(),
        "@PROGRAM@": _word(program),
        "@AUDIT_SLOTS@": str(_AUDIT_SLOTS),
        "@CONFIG@": _word(config),
        "@CREDENTIALS@": str(credentials).replace("%", "%%"),
    }
    texts = {}
    for name in UNITS:
        text = (templates / name).read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        texts[name] = text
    return texts


def _word(path: Path) -> str:
    """Return a path as one word of a command line in a unit (systemd.service, "Command lines")."""
    text = str(path).replace("%", "%%").replace("$", "$$")
    if text.isascii() and not any(character in text for character in " \t\"'\\;"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def install(
    *, root: Path = Path("/"), program: Path | None = None, config: Path = CONFIG, dry_run: bool = False
) -> list[str]:
    """
    Write units, a first configuration and the folder for secrets below `root`; what exists of the last two is kept.

    Args:
        root: "/" for this system (systemd is told), any other folder to prepare an image or a package.
        program: What the units start; None: the `launch-monitor` of this environment.
        config: The configuration file that the units name.
        dry_run: Write nothing; the lines then say what would be done, with the units' texts.

    Returns:
        Lines for a human: what was done, and what is left to do.

    Raises:
        ConfigError: If the units would hide the program from itself.
        UsageError: If the files cannot be written.
    """
    program = program or Path(sys.executable).with_name("launch-monitor")
    config, live = config.absolute(), root == Path("/")
    texts = render(program, config)
    if dry_run:
        return [line for name, text in texts.items() for line in (f"# {_under(root, _UNIT_FOLDER / name)}", text)]
    if live:
        _check_visible(program)
    try:
        written = _write(root, texts, config)
        if live and Path("/run/systemd/system").is_dir():
            subprocess.run(["systemctl", "daemon-reload"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UsageError(f"cannot install the units: {error}", mend="run it as root, or with --root DIR") from error
    return [
        *(f"wrote {path}" for path in written),
        f"next: name the node in {_under(root, config)}, or in node_ws_url and node_http_url below {CREDENTIALS}",
        "then: systemctl enable --now launch-monitor-ingest launch-monitor-audit.timer",
    ]


def _write(root: Path, texts: dict[str, str], config: Path) -> list[Path]:
    units, credentials, config = (_under(root, path) for path in (_UNIT_FOLDER, CREDENTIALS, config))
    units.mkdir(parents=True, exist_ok=True)
    config.parent.mkdir(parents=True, exist_ok=True)
    credentials.mkdir(parents=True, exist_ok=True)
    credentials.chmod(0o700)
    written = [units / name for name in texts]
    for path, text in zip(written, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
    if not config.exists():
        config.write_text(_FIRST_CONFIG + example_toml(), encoding="utf-8")
        config.chmod(0o644)
        written.append(config)
    return written


def _under(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _check_visible(program: Path) -> None:
    """Refuse an installation in a folder that the units do not let their own program see."""
    if not os.access(program, os.X_OK):
        raise ConfigError(f"{program} is no program", mend="install launch-monitor with pip, then call it from there")
    parts = (program, Path(sys.executable), Path(sys.prefix), Path(sys.base_prefix), Path(__file__))
    for part in (path.resolve() for path in parts):
        if any(part.is_relative_to(hidden) for hidden in _HIDDEN):
            raise ConfigError(
                f"{part} lies where the hardened units see nothing",
                mend="install with the system's Python into /opt/launch-monitor, and call it there",
            )

"""The house as DESIGN describes it: imports point down, and the wheel holds what the program needs, no more."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.config import Config, example_toml, load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

# Room -> floor. A room uses rooms on lower floors only; rooms on one floor are blind to each other.
FLOORS = {
    "decoders.core.types": 0,
    "decoders": 1,
    "base": 2,
    "monitor.sources": 3,
    "monitor.store": 3,
    "monitor.hot": 3,
    "monitor.journal": 3,
    "monitor.embedded": 3,
    "monitor.pipeline": 4,
    "monitor.api": 4,
    "app": 5,
    "front": 6,
}
BASE = {
    f"monitor.{name}"
    for name in ("errors", "channel", "tasks", "config", "log", "memory", "metrics", "data", "present", "sdnotify")
}
APP = {
    f"monitor.{name}"
    for name in (
        *("app", "audit", "daemon", "gauges", "health", "node", "programs", "servers", "serving", "stages", "standby"),
        "feeding",
        "start",
        "upkeep",
    )
}
FRONT = {f"monitor.{name}" for name in ("cli", "__main__", "install")}


def room(module: str) -> str:
    """Return the room that a module belongs to."""
    for name in FLOORS:
        if module == name or module.startswith(f"{name}."):
            return name
    package, top = module.split(".", maxsplit=1)[0], ".".join(module.split(".")[:2])
    if package in ("decoders", "simulator"):
        return package
    if top in BASE or module == "monitor":
        return "base"
    assert top in APP | FRONT, f"{module} has no floor: give it one in {Path(__file__).name}"
    return "app" if top in APP else "front"


def imports() -> Iterator[tuple[str, str]]:
    """Yield every (importing, imported) pair of our own modules, those for type checkers included."""
    for package in ("decoders", "monitor", "simulator"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            importer = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                for imported in _imported(node):
                    if imported.split(".")[0] in ("decoders", "monitor", "simulator", "tests", "bench"):
                        yield importer, imported


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [_module(node.module, alias.name) for alias in node.names]
    return []


def _module(package: str, name: str) -> str:
    """Return what `from package import name` imports: a module of that name, or else the package."""
    inner = ROOT.joinpath(*package.split("."), name)
    return f"{package}.{name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else package


def allowed(importer: str, imported: str) -> bool:
    """Tell whether DESIGN, section 2, lets one module import the other."""
    if imported.split(".", maxsplit=1)[0] in ("tests", "bench"):
        return False
    user, used = room(importer), room(imported)
    if user == used:
        return True
    if user == "simulator":
        return imported.startswith("decoders.core")
    if used == "simulator":
        return importer.startswith("monitor.cli")
    return FLOORS[used] < FLOORS[user]


def test_imports_point_down() -> None:
    """Every import goes to the same room or to a lower floor."""
    pairs = list(imports())
    assert [f"{user} imports {used}" for user, used in pairs if not allowed(user, used)] == []
    assert len(pairs) > 20


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("decoders.pumpfun", "monitor.errors"),
        ("monitor.store.write", "monitor.sources.live"),
        ("monitor.config", "monitor.store"),
        ("monitor.pipeline.write", "monitor.app"),
        ("monitor.app", "monitor.cli"),
        ("monitor.app", "simulator.market"),
        ("simulator.market", "monitor.errors"),
        ("simulator.market", "decoders.pumpfun"),
        ("monitor.store", "tests.support"),
    ],
)
def test_what_points_up_or_aside_is_caught(importer: str, imported: str) -> None:
    """The rule above can fail."""
    assert not allowed(importer, imported)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel built from this tree."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("launch_monitor-*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_packages_and_data_and_nothing_else(wheel: Path) -> None:
    """IDLs, migrations and units travel with the program; tests and benchmarks stay at home."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"decoders", "monitor", "simulator"}
    for folder, pattern in (("idl", "*.json"), ("migrations", "*.sql"), ("systemd", "*.service")):
        expected = {f"monitor/_data/{folder}/{path.name}" for path in (ROOT / folder).glob(pattern)}
        assert expected
        assert expected <= names
    assert "monitor/_data/systemd/hardening.conf" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_an_installed_wheel_finds_its_data_from_any_directory(wheel: Path, tmp_path: Path) -> None:
    """Nothing reaches back into the repository."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (
        "from monitor.data import data_dir; print(*[data_dir(n) for n in ('idl', 'migrations', 'systemd')], sep='\\n')"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == [str(site / "monitor" / "_data" / name) for name in ("idl", "migrations", "systemd")]


def test_the_example_names_every_setting() -> None:
    """The example configuration is what the program itself knows of its settings, and holds a valid one."""
    text = (ROOT / "deploy" / "launch-monitor.toml").read_text()
    assert text == example_toml()
    assert load(ROOT / "deploy" / "launch-monitor.toml", {}) == Config()


def test_the_scrape_job_finds_the_metrics() -> None:
    """The Prometheus example asks where the daemon answers by default."""
    assert Config().metrics.listen is not None
    assert f'"{Config().metrics.listen}"' in (ROOT / "deploy" / "prometheus" / "scrape.yml").read_text()

"""Run commands inside the test's process, as the console script runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from monitor.__main__ import run
from monitor.cli.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from decoders.core.registry import Registry


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    errors: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of standard output, each a JSON object."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Return the decoders, read once: they remember nothing of what they decode but to be faster."""
    return load_registry()


@pytest.fixture
def quick_decode(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `decode` take the decoders that are there already, unless it is told of others."""
    monkeypatch.setattr(
        "monitor.cli.decode.load_registry", lambda folder: load_registry(folder) if folder else registry
    )


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return a function that runs `launch-monitor` with its arguments."""

    def call(*arguments: object) -> Ran:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        return Ran(code, *capfd.readouterr())

    return call

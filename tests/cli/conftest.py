"""Run commands inside the test's process, as the console script runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from monitor.__main__ import run

if TYPE_CHECKING:
    from collections.abc import Callable


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    errors: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of standard output, each a JSON object."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return a function that runs `launch-monitor` with its arguments."""

    def call(*arguments: object) -> Ran:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        return Ran(code, *capfd.readouterr())

    return call

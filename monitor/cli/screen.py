"""Where lines go: a table on a terminal, plain lines into a pipe, or one JSON object a line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from rich.console import Console

from monitor.cli.render import Table, fitting

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is no terminal gets every column.
_PIPE_WIDTH = 200


class Screen(Protocol):
    """Shows facts, each as `fact_json` has it."""

    def learn(self, fact: Mapping[str, Any]) -> None:
        """Take note of a launch without showing it, so that its trades can be named."""

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """Take note of a token's decimals, without which its prices cannot be told."""

    def show(self, fact: Mapping[str, Any]) -> None:
        """Show a fact."""


class Lines:
    """A table that scrolls; its header comes again with each screenful."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
        self._table = Table(fitting(self._console.width), is_ascii=not self._console.encoding.lower().startswith("utf"))
        self._until_header = 0

    def learn(self, fact: Mapping[str, Any]) -> None:
        """Take note of a launch."""
        self._table.learn(fact)

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """Take note of a token's decimals."""
        self._table.learn_decimals(mint, decimals)

    def show(self, fact: Mapping[str, Any]) -> None:
        """Print a line."""
        if self._until_header == 0:
            self._print(self._table.header())
            self._until_header = max(self._console.height - 2, 10) if self._console.is_terminal else -1
        self._print(self._table.line(fact))
        self._until_header -= 1

    def _print(self, line: Any) -> None:
        self._console.print(line, no_wrap=True, overflow="crop")
        if not self._console.is_terminal:
            self._console.file.flush()


class JsonLines:
    """One JSON object a line."""

    def learn(self, fact: Mapping[str, Any]) -> None:
        """Ignore it: every object says all that there is."""

    def learn_decimals(self, mint: str, decimals: int) -> None:
        """Ignore it: amounts are in base units."""

    def show(self, fact: Mapping[str, Any]) -> None:
        """Print a line."""
        sys.stdout.buffer.write(msgspec.json.encode(fact) + b"\n")
        sys.stdout.buffer.flush()

"""What every command says in the same way: errors with their mend, and text from the chain without its tricks."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING

from monitor.errors import MonitorError, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 400


def tell(text: str) -> None:
    """Print a line on standard output, at once."""
    print(text, flush=True)  # noqa: T201 - the command line speaks here


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command line speaks here


def explain(error: BaseException) -> None:
    """Print the cause of each of our errors inside, and what mends it."""
    for cause, mend in dict.fromkeys(_causes(error)):
        complain(f"error: {cause}")
        if mend:
            complain(f"  mend: {mend}")


def installed(name: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Return text that other people wrote as one line: no control characters, none that turn the writing direction."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _causes(error: BaseException) -> Iterator[tuple[str, str | None]]:
    for leaf in leaves(error):
        if isinstance(leaf, MonitorError):
            yield str(leaf), leaf.mend

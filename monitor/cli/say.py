"""What every command says in the same way: errors with their mend, and text from the chain without its tricks."""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
import sys
from pathlib import Path
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


def called() -> str:
    """Return what people type to call this program again: its name, or its path where the name would not find it."""
    program, name = sys.argv[0], "launch-monitor"
    if Path(program).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m monitor"
    if Path(program).name != name:
        return name
    found = shutil.which(name)
    return name if found is not None and Path(found).resolve() == Path(program).resolve() else shlex.quote(program)


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

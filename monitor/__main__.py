"""The console script: runs a command, and turns whatever ends it into a line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from monitor.cli.app import build
from monitor.cli.say import complain, explain
from monitor.errors import EXIT_BUG, MonitorError, UsageError, exit_code, leaves

_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141
_STDOUT = 1


def main() -> None:
    """Run the command that the arguments name."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code: those of errors.py, 130 after Ctrl-C, 141 where nobody reads on."""
    try:
        named = next((word for word in arguments if not word.startswith("-")), None)
        result = typer.main.get_command(build(named)).main(arguments, prog_name="launch-monitor", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        return _unread()  # typer and rich turn a broken pipe into SystemExit; nothing else here does that
    except (KeyboardInterrupt, typer.Abort):
        return _EXIT_INTERRUPTED
    except typer.TyperException as error:
        if error.format_message():  # else the help was shown
            complain(f"error: {error.format_message()}")
            complain("  mend: see launch-monitor --help, or the --help of the command")
        return UsageError.exit_code
    except Exception as error:  # noqa: BLE001 - the one place: a bug ends the process loudly
        return _failed(error)
    return result if isinstance(result, int) else 0


def _unread() -> int:
    """Give up writing: what is still buffered has no reader either, and must not be written when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    return _EXIT_BROKEN_PIPE


def _failed(error: Exception) -> int:
    if all(isinstance(leaf, BrokenPipeError) for leaf in leaves(error)):
        return _unread()
    explain(error)
    if not all(isinstance(leaf, MonitorError) for leaf in leaves(error)):
        traceback.print_exception(error)
        complain("error: this is a bug in launch-monitor, please report it with the lines above")
        return EXIT_BUG
    return exit_code(error)


if __name__ == "__main__":
    main()

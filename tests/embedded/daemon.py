"""
A stand-in daemon for the tests: starts the embedded servers, says where, and waits to be killed.

Arguments: state directory, and optionally a uid to become and a folder with copies of the programs for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from monitor import embedded
from monitor.embedded import programs


async def main(state_dir: Path) -> None:
    """Start, report, and stop when standard input ends."""
    async with embedded.start(state_dir) as servers:
        sys.stdout.write(f"{servers.database_url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


async def warm_up() -> None:
    """Import all that Python imports late, because the new account may not be allowed to read it."""
    with tempfile.TemporaryDirectory(prefix="launch-monitor-") as folder:
        Path(folder).chmod(0o711)
        async with embedded.start(Path(folder) / "state"):
            pass


def become(uid: int, copies: Path) -> None:
    """Turn from root into an ordinary user, with programs that this user can reach."""
    asyncio.run(warm_up())
    found = programs.Programs(next(copies.glob("*/*/bin")), copies / "valkey-server")
    programs.find = lambda: found
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        become(int(sys.argv[2]), Path(sys.argv[3]))
    asyncio.run(main(Path(sys.argv[1])))

"""Talk to anchorpy/peer.py, which answers from the environment that anchorpy needs."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.legacy_idl import convert

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
PADS = ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm", "raydium_amm_v4")


class PeerError(Exception):
    """Anchorpy could not do what it was asked."""


class Peer:
    """A process with anchorpy and our IDLs in the old format, for a `with` block."""

    def __init__(self) -> None:
        self._idls: list[dict[str, Any]] = []
        venv = Path(os.environ.get("ANCHORPY_VENV") or ROOT / ".venv-anchorpy")
        self._process = subprocess.Popen(
            [venv / "bin" / "python", ROOT / "bench" / "anchorpy" / "peer.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        self._idls = [convert(json.loads((ROOT / "idl" / f"{pad}.json").read_text())) for pad in PADS]
        self.ask(do="load", idls=self._idls)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()

    def load(self, program: str, event: str, members: int) -> None:
        """Let a program's event end after so many members, as an older layout does."""
        [idl] = [copy.deepcopy(idl) for idl in self._idls if idl["metadata"]["address"] == program]
        [shape] = [shape for shape in idl["events"] if shape["name"] == event]
        del shape["fields"][members:]
        self.ask(do="load", idls=[idl])

    def ask(self, **request: Any) -> Any:
        """
        Return the answer to one request (see anchorpy/peer.py).

        Raises:
            PeerError: With anchorpy's own error, or if its process is gone.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both are pipes")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"anchorpy's process ended with status {self._process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply["answer"]

"""What of a journal's files a power cut can cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.journal import Journal


class Disk:
    """Remembers how much of each segment was forced to disk."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        """Watch a journal that was just opened: what was there then is on disk."""
        self._folder = folder
        self._synced_bytes = self._sizes()
        self._sync = journal._tape.sync
        journal._tape.sync = self._synced  # type: ignore[method-assign]  # as good as a subclass

    def cut_power(self, share: float) -> None:
        """Lose what was not forced to disk, but for this share of it. Nothing may have the files open."""
        for path, size in self._sizes().items():
            # A segment appears under its name once its header is on disk.
            least = self._synced_bytes.get(path, _header_bytes(path))
            with path.open("r+b") as stream:
                stream.truncate(least + int(share * (size - least)))

    def _synced(self) -> None:
        sizes = self._sizes()
        self._sync()
        self._synced_bytes |= sizes

    def _sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self._folder.glob("*.segment")}


def _header_bytes(path: Path) -> int:
    """Return how long a header is, as the format says it: ten bytes, of which the third field is the body's length."""
    head = path.read_bytes()[:10]
    return 14 + int.from_bytes(head[6:10], "little")

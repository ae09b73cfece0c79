"""Under which account the servers run: our own, or, since PostgreSQL refuses root, one without any rights."""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# In the range that systemd leaves to nobody (UIDS-GIDS: 60706 to 61183 are unused), hence owner of nothing else.
SERVER_UID = 60933


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the servers and owns their files; `setpriv` None means this very user."""

    uid: int
    gid: int
    setpriv: str | None = None

    def command(self, arguments: Sequence[str], *, uid: int | None = None) -> list[str]:
        """Return the arguments that run a program under this account (or another uid), without privileges."""
        if self.setpriv is None:
            return list(arguments)
        drop = ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        return [self.setpriv, f"--reuid={uid or self.uid}", f"--regid={self.gid}", *drop, "--", *arguments]

    def give(self, path: Path, *, uid: int | None = None) -> None:
        """Hand a file, or a folder with all that is in it, to this account (or to another uid)."""
        if self.setpriv is None:
            return
        for folder, _, files in os.walk(path):
            for name in (folder, *(os.path.join(folder, file) for file in files)):  # noqa: PTH118 (os.walk gives text)
                os.chown(name, uid or self.uid, self.gid, follow_symlinks=False)
        os.chown(path, uid or self.uid, self.gid, follow_symlinks=False)

    def closed_parent(self, path: Path) -> Path | None:
        """Return the outermost folder above `path` that this account may not pass through, or None."""
        if self.setpriv is None:
            return None
        return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None)


def current() -> Account:
    """
    Return the account for servers that this process starts.

    Raises:
        ConfigError: If this is root and there is no setpriv to become somebody else.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigError(
            "PostgreSQL does not run as root, and the program setpriv is missing to run it as somebody else",
            mend="install the package util-linux, or start launch-monitor as an ordinary user",
        )
    return Account(SERVER_UID, SERVER_UID, setpriv)


def named_uid(account: Account) -> int:
    """
    Return a uid with a name: initdb insists on one, unlike the server itself.

    Raises:
        ConfigError: If there is none.
    """
    try:
        return account.uid if account.setpriv is None and pwd.getpwuid(account.uid) else pwd.getpwnam("nobody").pw_uid
    except KeyError as error:
        missing = account.uid if account.setpriv is None else "nobody"
        raise ConfigError(f"the system has no user {missing}", mend="add a line for it to /etc/passwd") from error

"""The state directory: its lock, its secret, its ports, and the lines that tell people how to connect."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from typing import TYPE_CHECKING

import msgspec

from monitor.embedded.settings import HOST
from monitor.errors import AlreadyRunning, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from monitor.embedded.account import Account


class Ports(msgspec.Struct, frozen=True):
    """Where the servers listen on loopback; kept from start to start as long as nobody else takes them."""

    postgres: int
    valkey: int


# Below the range from which the kernel draws ports for outgoing connections.
_FIRST_PORTS = Ports(postgres=25432, valkey=26379)
_PORTS_TRIED = 100


def prepare(folder: Path, account: Account) -> Path:
    """
    Make the state directory if need be and return its real path; no folder above it is ever changed.

    Raises:
        ConfigError: If it cannot be made, belongs to somebody else, or the servers' account cannot get there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve(strict=True)
        status = folder.stat()
    except OSError as error:
        raise ConfigError(f"state directory {folder}: {error.strerror}", mend="set embedded.state_dir") from error
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"state directory {folder} belongs to uid {status.st_uid}, not to us (uid {os.geteuid()})",
            mend="start launch-monitor as its owner, or set embedded.state_dir to another folder",
        )
    closed = account.closed_parent(folder)
    if closed is not None:
        raise ConfigError(
            f"state directory {folder}: the servers run as uid {account.uid}, which cannot pass through {closed}",
            mend="set embedded.state_dir to a folder such as /var/lib/launch-monitor, or start as an ordinary user",
        )
    if account.setpriv is not None:
        folder.chmod(status.st_mode & 0o777 | 0o011)
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """
    Hold the directory against a second daemon; the kernel lets go of it however this process ends.

    Raises:
        AlreadyRunning: If another process holds it.
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 20).decode(errors="replace").strip()
            raise AlreadyRunning(
                f"process {holder or 'unknown'} already uses the state directory {folder}",
                mend="stop that one, or set embedded.state_dir to another folder",
            ) from error
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def write(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file in one step, so that nobody ever reads half of it or, for a moment, too openly."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(handle, mode)
        file.write(text)
    draft.replace(path)


def password(folder: Path) -> str:
    """Return the password of both servers, drawn at the first start."""
    path = folder / "password"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        write(path, secrets.token_urlsafe(24) + "\n")
        return password(folder)


def choose_ports(folder: Path) -> Ports:
    """
    Return free ports, the same as last time if possible, and remember them.

    Raises:
        ConfigError: If none is free.
    """
    last = _last_ports(folder)
    ports = Ports(
        postgres=_first_free((last.postgres, *_after(_FIRST_PORTS.postgres))),
        valkey=_first_free((last.valkey, *_after(_FIRST_PORTS.valkey))),
    )
    write(folder / "ports.json", msgspec.json.encode(ports).decode())
    return ports


def _last_ports(folder: Path) -> Ports:
    try:
        return msgspec.json.decode((folder / "ports.json").read_bytes(), type=Ports)
    except (FileNotFoundError, msgspec.DecodeError):
        return _FIRST_PORTS


def _after(first: int) -> Iterable[int]:
    return range(first, first + _PORTS_TRIED)


def _first_free(ports: Iterable[int]) -> int:
    for port in ports:
        if is_free(port):
            return port
    raise ConfigError(f"no free port on {HOST}", mend="configure database.url and redis.url, or free some ports")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on that port of the loopback address."""
    with socket.socket() as probe:
        # As servers do, so that a connection that has just been closed there does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

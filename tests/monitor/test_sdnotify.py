"""The service manager hears what it is told, by a real socket."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from monitor.sdnotify import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a socket such as the service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def test_every_message_arrives(manager: socket.socket) -> None:
    """One datagram each, in the words of sd_notify(3); a status is one line."""
    told = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()})
    told.ready()
    told.status("slot 5,\n0.4 s behind \ud800")
    told.alive()
    told.stopping()
    assert [manager.recv(4096) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=slot 5, 0.4 s behind ?",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_abstract_address() -> None:
    """An address that begins with @ has no file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0launch-monitor-test-{os.getpid()}")
        listener.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@launch-monitor-test-{os.getpid()}"}).ready()
        assert listener.recv(4096) == b"READY=1"


def test_nobody_listens(tmp_path: Path) -> None:
    """Without a manager, with one that went away, or one that is too busy, nothing happens and nothing blocks."""
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "absent")}).ready()
    ServiceManager({"NOTIFY_SOCKET": "/" + "x" * 200}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "busy"))
        told = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "busy")})
        for _ in range(10_000):
            told.alive()


@pytest.mark.parametrize(
    ("environ", "period_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_watchdog_period(environ: dict[str, str], period_s: float | None) -> None:
    """The period counts for the process that it names."""
    assert ServiceManager(environ).watchdog_s == period_s

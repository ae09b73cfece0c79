"""
Talk to the service manager: ready, alive, stopping, status.

By hand because the protocol is one datagram per message (sd_notify(3)) and systemd-python has no wheel.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServiceManager:
    """The service manager that started us; every call does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Take the manager's address from NOTIFY_SOCKET, and the watchdog's period from WATCHDOG_USEC."""
        environ = os.environ if environ is None else environ
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(period) / 1e6 if mine and period.isdigit() and int(period) else None
        """Seconds within which `alive` must be called; None: no watchdog."""

    def ready(self) -> None:
        """Tell that the daemon serves."""
        self._send("READY=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that the daemon ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Tell in one line how things are."""
        self._send("STATUS=" + text.replace("\n", " "))

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(errors="replace"), self._address)
        except OSError:
            # A manager that cannot be told must not end the daemon; its own timeouts tell what it missed.
            return

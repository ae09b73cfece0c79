"""Addresses of nodes, which hold secrets: what may be shown of them, and what to do when they refuse us."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from monitor.errors import SourceRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

REFUSING_STATUSES = frozenset({401, 402, 403, 404, 405})
LONGEST_ASKED_S = 3600.0
"""Longest wait that the other side's wish can cause: its clock, or ours, may be wrong."""
_SHORTEST_SECRET = 8
_MENDS = {
    401: "check the API key of the node's address",
    402: "the provider's plan does not include this",
    403: "check the API key, and whether the plan allows this from your address",
    404: "check the path of the node's address",
    405: "check the path of the node's address",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A node's address. Its path, query and headers hold API keys: `repr` and `str` tell scheme and host alone."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Return what may be logged."""
        return redact(self.url)

    def hide(self, text: str) -> str:
        """Return what the other side said, without what is secret of this address, should it repeat that."""
        for secret in sorted(_secrets(self), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _secrets(endpoint: Endpoint) -> set[str]:
    """Return parts of an address, and headers, that may be keys; short ones are words."""
    try:
        parts = urlsplit(endpoint.url)
    except ValueError:
        return set()
    values = [value for _, value in parse_qsl(parts.query)]
    words = [parts.username or "", parts.password or "", *parts.path.split("/"), *values, *endpoint.headers.values()]
    return {form for word in words for form in (word, unquote(word)) if len(form) >= _SHORTEST_SECRET}


def redact(url: str) -> str:
    """Return scheme, host and port of an address, and "/…" for the rest where there is one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(an address that cannot be read)"
    rest = "/…" if parts.path.strip("/") or parts.query or parts.fragment else ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{rest}"


def refusal(endpoint: Endpoint, status: int) -> SourceRefused:
    """Return the error for an HTTP status of `REFUSING_STATUSES`."""
    return SourceRefused(f"{endpoint} answers HTTP {status}", mend=_MENDS[status])


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """
    Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds, or a date).

    None where there is no header, or none that can be read; at most `LONGEST_ASKED_S`.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():  # fractions are against the RFC, and are sent
        return min(float(text), LONGEST_ASKED_S)
    try:
        return min(max(0.0, (parsedate_to_datetime(text) - now).total_seconds()), LONGEST_ASKED_S)
    except (ValueError, TypeError):
        return None

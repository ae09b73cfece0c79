"""Addresses of servers: what they must look like, which one follows from the other, and how they are shown."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from monitor.errors import ConfigError

_ENDPOINTS = {
    "mainnet": ("wss://api.mainnet-beta.solana.com", "https://api.mainnet-beta.solana.com"),
    "devnet": ("wss://api.devnet.solana.com", "https://api.devnet.solana.com"),
}
_ENDPOINT_MEND = "give mainnet, devnet, one address (ws, wss, http or https), or both as WS,HTTP"
_OTHER_SCHEME = {"ws": "http", "wss": "https", "http": "ws", "https": "wss"}
_HIDDEN = "***"
_KEY_LENGTH = 20
"""A path segment or user name of this length may be a key: providers put theirs there."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
# Ends where JSON, HTML or a terminal's colours would; begins at a word, so that long words are walked through once.
_URL = re.compile(r"""(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^\s"<>\\\x00-\x1f\x7f]*""")


def with_endpoint(text: str) -> dict[str, str]:
    """
    Return the settings that an endpoint stands for: a network's name, one address, or "ws-address,http-address".

    Raises:
        ConfigError: If it is none of these.
    """
    parts = [part.strip() for part in text.split(",")]
    if text in _ENDPOINTS:
        ws, http = _ENDPOINTS[text]
    elif len(parts) == 1:
        ws, http = _pair(parts[0])
    elif len(parts) == 2:
        ws, http = sorted(parts, key=lambda part: not part.startswith("ws"))
    else:
        raise ConfigError(f"{redact_text(text)!r} is no endpoint", mend=_ENDPOINT_MEND)
    return {"node.ws_url": ws, "node.http_url": http}


def _pair(url: str) -> tuple[str, str]:
    """Return both addresses of a node from one; a local validator's websocket port is its HTTP port plus one."""
    if fault := fault_of(url, tuple(_OTHER_SCHEME)):
        raise ConfigError(f"endpoint {redact_url(url)!r} {fault}", mend=_ENDPOINT_MEND)
    parts = urlsplit(url)
    netloc = parts.netloc
    if parts.port is not None and parts.scheme in ("ws", "http"):
        other = parts.port - 1 if parts.scheme == "ws" else parts.port + 1
        netloc = netloc[: netloc.rindex(":")] + f":{other}"
    pair = urlunsplit(parts._replace(scheme=_OTHER_SCHEME[parts.scheme], netloc=netloc))
    if fault := fault_of(pair, tuple(_OTHER_SCHEME)):
        raise ConfigError(f"endpoint {redact_url(url)!r}: its pair {redact_url(pair)!r} {fault}", mend=_ENDPOINT_MEND)
    return (url, pair) if parts.scheme.startswith("ws") else (pair, url)


def fault_of(url: str, schemes: tuple[str, ...], *, host: bool = True) -> str | None:
    """
    Return what is wrong with an address (None: nothing), to stand behind it in a sentence.

    Args:
        url: The address.
        schemes: What it may begin with.
        host: Whether it must name a host (an address of a unix socket does not).
    """
    if not url.isprintable() or " " in url:
        return "holds blanks or control characters"
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:  # whose text may quote a password
        return "has a host or port that cannot be read (in a password write / ? # @ as %2F %3F %23 %40)"
    if parts.scheme not in schemes:
        return f"does not begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if host and not name:
        return "names no host"
    return "has port 0" if port == 0 else None


def parse_listen(text: str) -> tuple[str, int]:
    """
    Split "HOST:PORT" or "[IPV6]:PORT" into host and port (0: any free one).

    Raises:
        ValueError: If it is neither.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})", text)
    if not found or int(found[3]) > 65_535:
        raise ValueError("write HOST:PORT, such as 127.0.0.1:9464")
    return found[1] or found[2], int(found[3])


def redact_url(url: str) -> str:
    """Return an address without what may be secret: password, long user names and path segments, query, fragment."""
    scheme, mark, rest = url.partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        return "(an address that cannot be read)"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, after = authority.rpartition("@")
    if "@" in rest and not at and ":" in authority:
        # A password with a bare / ? or # in it: everything before the last @ belongs to user and password.
        user, at, after = rest.rpartition("@")
        rest = after
    elif at:
        rest = rest[len(user) + 1 :]
    path, question, query = rest.partition("#")[0].partition("?")
    shown = "/".join(_HIDDEN if len(part) >= _KEY_LENGTH or "@" in part else part for part in path.split("/")[1:])
    host, slash, _ = path.partition("/")
    return f"{scheme}://{_user(user)}{at}{host}{slash}{shown}{question}{_HIDDEN if query else ''}"


def _user(text: str) -> str:
    name, colon, _ = text.partition(":")
    return (_HIDDEN if len(name) >= _KEY_LENGTH else name) + (f":{_HIDDEN}" if colon else "")


def redact_text(text: str) -> str:
    """Return a text in which every address is redacted, wherever it stands."""
    return _URL.sub(lambda found: redact_url(found[0]), text) if "://" in text else text

"""What a daemon says of itself on /readyz."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec

_PATIENCE_S = 60


async def failing(port: int) -> dict[str, str]:
    """Return by name the reasons of all checks that are not content."""
    return {check["name"]: check["reason"] for check in await _checks(port) if not check["ok"]}


async def names(port: int) -> set[str]:
    """Return the names of all checks."""
    return {check["name"] for check in await _checks(port)}


async def _checks(port: int) -> list[dict[str, Any]]:
    return list(msgspec.json.decode(await asyncio.to_thread(_page, port))["checks"])


def _page(port: int) -> bytes:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz?format=json", timeout=_PATIENCE_S) as answer:
            return bytes(answer.read())
    except HTTPError as error:
        with error:
            return bytes(error.read())

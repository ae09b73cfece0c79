"""Configuration: one TOML file, the environment over it, secrets from files; read once, handed out in frozen pieces."""

from monitor.config.address import parse_listen, redact_text, redact_url, with_endpoint
from monitor.config.load import ENVIRONMENT, load, state_dir
from monitor.config.settings import (
    KNOWN_PROGRAMS,
    Announce,
    Config,
    Database,
    Embedded,
    Fetch,
    Logging,
    Monitoring,
    Node,
    Pumpswap,
    RedisServer,
    Start,
    Store,
    parse_start,
)
from monitor.config.tell import example_toml, markdown_table

__all__ = [
    "ENVIRONMENT",
    "KNOWN_PROGRAMS",
    "Announce",
    "Config",
    "Database",
    "Embedded",
    "Fetch",
    "Logging",
    "Monitoring",
    "Node",
    "Pumpswap",
    "RedisServer",
    "Start",
    "Store",
    "example_toml",
    "load",
    "markdown_table",
    "parse_listen",
    "parse_start",
    "redact_text",
    "redact_url",
    "state_dir",
    "with_endpoint",
]

"""Reads the configuration: file, secrets, environment and command line, each over the one before."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from monitor.config.address import fault_of, parse_listen, redact_text, redact_url
from monitor.config.settings import KNOWN_PROGRAMS, Config, keys, parse_age, parse_interval, parse_start
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from monitor.config.settings import Feed, Key

ENVIRONMENT = "LAUNCH_MONITOR_"
_CREDENTIAL = "launch_monitor_"
_FILE = "_file"
_COMMAND_LINE = "the command line"
_DEFAULT = "the command's default"
_TABLES = frozenset({"feeds", "fetch.rates_per_s"})
RESERVED_FEEDS = frozenset({"fetch", "history"})
"""Names that stand for what is asked of a node beside its feeds."""


class Given(NamedTuple):
    """A setting as given: where, its name ("section.key"), its value; `typed` False: the place knows but text."""

    where: str
    name: str
    value: Any
    typed: bool


def load(
    path: Path | None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """
    Read the configuration.

    Args:
        path: The TOML file; None: there is none.
        environ: LAUNCH_MONITOR_KEY and LAUNCH_MONITOR_SECTION__KEY stand over the file; default os.environ.
            Files in $CREDENTIALS_DIRECTORY that are named as a setting stand between the two.
        overrides: "section.key" -> value from the command line, over everything.
        defaults: "section.key" -> value for what is set nowhere.

    Raises:
        ConfigError: Naming the file or variable, the key, what was given and what is allowed.
    """
    environ = os.environ if environ is None else environ
    layers = (
        [Given(_DEFAULT, name, value, typed=False) for name, value in (defaults or {}).items()],
        _from_file(path) if path else (),
        _from_credentials(environ.get("CREDENTIALS_DIRECTORY")),
        _from_environment(environ),
        [Given(_COMMAND_LINE, name, value, typed=False) for name, value in (overrides or {}).items()],
    )
    known = {key.name: key for key in keys()}
    given: dict[str, Given] = {}
    for layer in layers:
        given |= _layer(layer, known)
    tree: dict[str, Any] = {}
    for name, item in given.items():
        key = known[name]
        part = tree.setdefault(key.section, {}) if key.section else tree
        part[key.key] = _value(item, key)
    config = msgspec.convert(tree, Config)
    _check_node(config)
    _check_lifecycle(config)
    return config


def state_dir(config: Config, environ: Mapping[str, str] | None = None) -> Path:
    """Return where the embedded servers keep their data."""
    environ = os.environ if environ is None else environ
    if config.embedded.state_dir:
        return Path(config.embedded.state_dir)
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/launch-monitor")
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "launch-monitor"


def _from_file(path: Path) -> Iterator[Given]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", mend="give the right --config FILE") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", mend="mend the file: it is TOML") from error
    sections = {key.section for key in keys()}
    for name, value in tree.items():
        if not isinstance(value, dict):
            yield Given(str(path), name, value, typed=True)
            continue
        if name not in sections:
            raise _unknown(str(path), f"{name}.{next(iter(value), '')}".rstrip("."))
        for inner, item in value.items():
            yield Given(str(path), f"{name}.{inner}", item, typed=True)


def _from_credentials(folder: str | None) -> Iterator[Given]:
    """Yield the service manager's credentials: one file per setting, `section.key`, maybe with our prefix."""
    if not folder:
        return
    flat = {key.name.replace(".", "_"): key.name for key in keys()}
    try:
        files = sorted(Path(folder).iterdir())
    except OSError as error:
        raise ConfigError(f"credentials in {folder}: {error.strerror or error}") from error
    for file in files:
        plain = file.name.removeprefix(_CREDENTIAL)
        name = flat.get(plain.replace("__", "_").replace(".", "_"))
        if name is not None:
            yield Given(f"credential {file.name}", name, _read_secret(file, f"credential {file.name}"), typed=False)
        elif plain != file.name:
            raise _unknown(f"credential {file.name}", plain.replace("__", "."))


def _from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT):
            name = variable.removeprefix(ENVIRONMENT).lower().replace("__", ".")
            yield Given(variable, name, text or None, typed=False)


def _layer(items: Iterable[Given], known: Mapping[str, Key]) -> dict[str, Given]:
    """Return the settings of one place by name, those in files of their own read."""
    found: dict[str, Given] = {}
    for item in items:
        name = item.name.removesuffix(_FILE)
        in_file = name != item.name and name in known and known[name].secret
        if not in_file and item.name not in known:
            raise _unknown(item.where, item.name)
        if name in found:
            raise ConfigError(f"{item.where}: {name} and {name}{_FILE} are both given", mend="give one of them")
        found[name] = _from_its_file(item, name) if in_file else item
    return found


def _from_its_file(item: Given, name: str) -> Given:
    if not isinstance(item.value, str):
        raise ConfigError(f"{item.where}: {item.name} is no path", mend="give the path of a file")
    return Given(item.where, name, _read_secret(Path(item.value), f"{item.where}: {item.name}"), typed=True)


def _read_secret(path: Path, what: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what}: {error}", mend="make the file readable for the daemon") from error
    if not text:
        raise ConfigError(f"{what}: {path} is empty", mend="write the secret into the file")
    return text


def _value(item: Given, key: Key) -> Any:
    """Return a setting's value in its type, within its bounds."""
    value = item.value
    if item.name == "programs" and isinstance(value, str) and not item.typed:
        value = [part for part in re.split(r"[,\s]+", value) if part]
    try:
        if item.name in _TABLES and isinstance(value, str) and not item.typed:
            value = msgspec.json.decode(value)
        if item.name == "feeds" and isinstance(value, list):
            value = [_feed(entry, item.where) for entry in value]
        converted = msgspec.convert(value, key.kind, strict=item.typed)
        _CHECKS.get(key.name, _fine)(converted)
    except msgspec.MsgspecError as error:
        raise _refused(item, key, f"{key.allowed} ({error})" if item.name in _TABLES else key.allowed) from error
    except (ValueError, ConfigError) as error:
        raise _refused(item, key, str(getattr(error, "mend", None) or error)) from error
    return converted


def _feed(entry: Any, where: str) -> Any:
    """Return a feed's table with the addresses that stand in files of their own."""
    if not isinstance(entry, dict):
        return entry
    found = {name: value for name, value in entry.items() if name not in ("ws_url_file", "http_url_file")}
    for name in ("ws_url", "http_url"):
        if f"{name}{_FILE}" in entry:
            found[name] = _read_secret(Path(str(entry[f"{name}{_FILE}"])), f"{where}: feeds.{name}{_FILE}")
    return found


def _refused(item: Given, key: Key, allowed: str) -> ConfigError:
    shown = "nothing" if item.value is None else repr(item.value)
    if item.name in _TABLES:
        shown = "what it is set to"  # it may hold addresses, and so API keys
    elif key.secret and isinstance(item.value, str):
        shown = repr(redact_url(item.value))
    return ConfigError(f"{item.where}: {key.name} cannot be {redact_text(shown)}", mend=f"{key.name}: {allowed}")


def _unknown(where: str, name: str) -> ConfigError:
    """Return the error about a setting that does not exist: the same key elsewhere is nearer than a similar name."""
    names = [key.name for key in keys()]
    same = [known for known in names if known.rpartition(".")[2] == name.rpartition(".")[2]]
    close = same or difflib.get_close_matches(name, names, n=1, cutoff=0.5) or _sections(name)
    mend = f"did you mean {close[0]}?" if close else "`launch-monitor check-config` shows every setting"
    return ConfigError(f"{where} sets {name}, which does not exist", mend=mend)


def _sections(name: str) -> list[str]:
    near = difflib.get_close_matches(name.partition(".")[0], {key.section for key in keys()}, n=1, cutoff=0.6)
    return [f"[{section}]" for section in near]


def _check_node(config: Config) -> None:
    if (config.node.ws_url is None) != (config.node.http_url is None):
        missing = "node.http_url" if config.node.http_url is None else "node.ws_url"
        raise ConfigError(
            f"{missing} is not set", mend="a node needs both addresses; --endpoint URL finds the other one"
        )


def _check_lifecycle(config: Config) -> None:
    lifecycle = config.lifecycle
    interval = parse_interval(lifecycle.chunk_interval)
    trades, candles = parse_age(lifecycle.retain_trades), parse_age(lifecycle.retain_candles)
    if trades is not None and trades < 2 * interval:
        raise ConfigError(
            f"lifecycle.retain_trades is {lifecycle.retain_trades}, and trades are dropped by pieces of "
            f"{lifecycle.chunk_interval}",
            mend="give retain_trades at least twice chunk_interval",
        )
    if candles is not None and (trades is None or candles < trades):
        raise ConfigError(
            f"lifecycle.retain_candles is {lifecycle.retain_candles}, and candles outlive trades",
            mend="give retain_candles at least what retain_trades is, or none",
        )


def _check_feeds(feeds: tuple[Feed, ...]) -> None:
    names = [feed.name for feed in feeds if feed.name]
    if len(set(names)) < len(names) or RESERVED_FEEDS & set(names):
        raise ValueError(f"feeds have names of their own, and none of {', '.join(sorted(RESERVED_FEEDS))}")
    for feed in feeds:
        _check_address(feed.ws_url, schemes=("ws", "wss"))
        _check_address(feed.http_url, schemes=("http", "https"))


def _fine(_: Any) -> None:
    """Accept every value."""


def _check_address(url: str | None, *, schemes: tuple[str, ...], host: bool = True) -> None:
    if url is not None and (fault := fault_of(url, schemes, host=host)):
        raise ValueError(f"the address {fault}")


def _check_programs(programs: tuple[str, ...]) -> None:
    if not programs or not set(programs) <= set(KNOWN_PROGRAMS):
        raise ValueError(f"some of {', '.join(KNOWN_PROGRAMS)}")


def _check_listen(listen: str | None) -> None:
    if listen:
        parse_listen(listen)


_CHECKS: dict[str, Callable[[Any], object]] = {
    "feeds": _check_feeds,
    "history.http_url": partial(_check_address, schemes=("http", "https")),
    "node.ws_url": partial(_check_address, schemes=("ws", "wss")),
    "node.http_url": partial(_check_address, schemes=("http", "https")),
    "database.url": partial(_check_address, schemes=("postgresql", "postgres"), host=False),
    "redis.url": partial(_check_address, schemes=("redis", "rediss", "unix", "valkey"), host=False),
    "lifecycle.chunk_interval": parse_interval,
    "lifecycle.compress_trades_after": parse_age,
    "lifecycle.compress_candles_after": parse_age,
    "lifecycle.retain_trades": parse_age,
    "lifecycle.retain_candles": parse_age,
    "metrics.listen": _check_listen,
    "programs": _check_programs,
    "start": parse_start,
}

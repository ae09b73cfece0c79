"""Configuration: one TOML file, the environment over it, secrets from files; read once, handed out in frozen pieces."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Meta

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVIRONMENT = "LAUNCH_MONITOR_"
KNOWN_PROGRAMS = ("pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm", "raydium_amm_v4")
MIB = 1 << 20

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_ENDPOINTS = {
    "mainnet": ("wss://api.mainnet-beta.solana.com", "https://api.mainnet-beta.solana.com"),
    "devnet": ("wss://api.devnet.solana.com", "https://api.devnet.solana.com"),
}


def _doc(text: str, *, secret: bool = False) -> Meta:
    return Meta(description=text, extra={"secret": secret})


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """The Solana node to follow. Without addresses `run` follows the built-in simulator."""

    ws_url: Annotated[str | None, _doc("Websocket address, ws:// or wss://", secret=True)] = None
    http_url: Annotated[str | None, _doc("HTTP address for whatever the websocket cannot tell", secret=True)] = None
    feed: Annotated[
        Literal["logs", "blocks"],
        _doc("`logs`: log lines per program, any node; `blocks`: whole blocks, for a node with block subscriptions"),
    ] = "logs"
    commitment: Annotated[Literal["confirmed", "finalized"], _doc("How sure a transaction must be to be told")] = (
        "confirmed"
    )
    stall_timeout_s: Annotated[Seconds, _doc("Reconnect when nothing came for so long")] = 20.0
    max_frame_bytes: Annotated[int, Meta(ge=32 * MIB, le=1024 * MIB), _doc("Largest message taken; a block is big")] = (
        64 * MIB
    )


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """Single transactions and accounts asked of `node.http_url`."""

    rate_per_s: Annotated[float, Meta(gt=0, le=10_000), _doc("Requests a second at most")] = 10.0
    concurrency: Annotated[int, Meta(ge=1, le=256), _doc("Requests under way at most")] = 4
    give_up_after_s: Annotated[
        Seconds, _doc("How long a transaction is looked for before it is recorded as a hole")
    ] = 60.0


class Pumpswap(msgspec.Struct, frozen=True, kw_only=True):
    """Pools of PumpSwap."""

    pools: Annotated[
        Literal["launched", "all"], _doc("Store pools of tokens that a followed launchpad made, or every pool")
    ] = "launched"


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """PostgreSQL 15 or later. Without an address an embedded one is started."""

    url: Annotated[str | None, _doc("postgresql://user:password@host/database", secret=True)] = None
    connect_timeout_s: Annotated[Seconds, _doc("How long to wait for a connection")] = 10.0
    command_timeout_s: Annotated[Seconds, _doc("How long to wait for one statement")] = 60.0


class RedisServer(msgspec.Struct, frozen=True, kw_only=True):
    """Redis 7 or Valkey 8 and later. Without an address an embedded one is started."""

    url: Annotated[str | None, _doc("redis://, rediss:// or unix:// address", secret=True)] = None
    timeout_s: Annotated[Seconds, _doc("How long to wait for an answer before announcements are dropped")] = 2.0


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that come with the program, for machines without their own."""

    state_dir: Annotated[
        str | None, _doc("Where they keep their data; default $STATE_DIRECTORY, else below the home directory")
    ] = None


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """Writing to the database."""

    batch_max_rows: Annotated[int, Meta(ge=1, le=100_000), _doc("Most facts in one commit")] = 5_000
    known_pools: Annotated[int, Meta(ge=0, le=5_000_000), _doc("Pools loaded into memory at start")] = 200_000


class Announce(msgspec.Struct, frozen=True, kw_only=True):
    """Live announcements in Redis."""

    stream_max_len: Annotated[
        int, Meta(ge=1, le=10_000_000), _doc("About how many entries stream `launches` keeps")
    ] = 10_000


class Logging(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's own log, on standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _doc("Least severe level that is written")] = "info"
    format: Annotated[Literal["auto", "console", "json"], _doc("`auto`: for people on a terminal, JSON otherwise")] = (
        "auto"
    )


class Monitoring(msgspec.Struct, frozen=True, kw_only=True):
    """Prometheus metrics."""

    listen: Annotated[
        str | None, _doc("host:port of the metrics page; port 0 takes a free one, empty turns it off")
    ] = "127.0.0.1:9464"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    programs: Annotated[tuple[str, ...], _doc(f"Programs to follow, of {', '.join(KNOWN_PROGRAMS)}")] = (
        "pumpfun",
        "pumpswap",
        "raydium_launchpad",
    )
    start: Annotated[
        str,
        _doc("Where to begin: `progress` (where it stopped), `now`, `slot N`, or a time ago such as `10m`, `2h`"),
    ] = "progress"
    idl_dir: Annotated[str | None, _doc("Folder of IDL files that replace the program's own")] = None
    stop_deadline_s: Annotated[Seconds, _doc("How long the last batch may take when the daemon stops")] = 30.0
    node: Node = Node()
    fetch: Fetch = Fetch()
    pumpswap: Pumpswap = Pumpswap()
    database: Database = Database()
    redis: RedisServer = RedisServer()
    embedded: Embedded = Embedded()
    store: Store = Store()
    announce: Announce = Announce()
    log: Logging = Logging()
    metrics: Monitoring = Monitoring()

    def show(self) -> str:
        """Return the configuration as TOML, secrets hidden."""
        lines: list[str] = []
        for section, key, _, meta in _keys():
            value = _at(self, section, key)
            if _is_secret(meta) and value is not None:
                value = redact_url(value)
            if section and f"[{section}]" not in lines:
                lines += ["", f"[{section}]"]
            lines.append(_toml_line(key, value))
        return "\n".join(lines) + "\n"


def load(
    path: Path | None, environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """
    Read the configuration.

    Args:
        path: The TOML file; None: there is none.
        environ: LAUNCH_MONITOR_KEY and LAUNCH_MONITOR_SECTION__KEY stand over the file; default os.environ.
        overrides: "section.key" -> value from the command line, over everything.

    Raises:
        ConfigError: Naming the file or variable, the key, what was given and what is allowed.
    """
    environ = os.environ if environ is None else environ
    tree = _read_file(path)
    _take_secret_files(tree)
    for where, name, text in _from_environment(environ):
        _put(tree, name, _parse_text(name, text), where)
    for name, value in (overrides or {}).items():
        _put(tree, name, value, "the command line")
    _refuse_unknown(tree, str(path) if path else "the environment")
    try:
        config = msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_told(error), mend=f"mend it in {path or 'the environment'}") from error
    _check(config)
    return config


def with_endpoint(text: str) -> dict[str, Any]:
    """
    Return the overrides that an endpoint stands for: a network's name, one address, or "ws-address,http-address".

    Raises:
        ConfigError: If it is none of these.
    """
    if text in _ENDPOINTS:
        ws, http = _ENDPOINTS[text]
    else:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) == 1:
            ws, http = _pair(parts[0])
        elif len(parts) == 2:
            ws, http = sorted(parts, key=lambda part: not part.startswith("ws"))
        else:
            raise ConfigError(f"{text!r} is no endpoint", mend=_ENDPOINT_MEND)
    return {"node.ws_url": ws, "node.http_url": http}


_ENDPOINT_MEND = "give mainnet, devnet, one address (ws, wss, http or https), or both as WS,HTTP"


def _pair(url: str) -> tuple[str, str]:
    """Return both addresses of a node from one; a local validator's websocket port is its HTTP port plus one."""
    parts = urlsplit(url)
    swap = {"ws": "http", "wss": "https", "http": "ws", "https": "wss"}
    if parts.scheme not in swap or not parts.hostname:
        raise ConfigError(f"{redact_url(url)!r} is no endpoint", mend=_ENDPOINT_MEND)
    netloc = parts.netloc
    if parts.port is not None and parts.scheme in ("ws", "http"):
        other = parts.port - 1 if parts.scheme == "ws" else parts.port + 1
        netloc = netloc[: netloc.rindex(":")] + f":{other}"
    pair = urlunsplit(parts._replace(scheme=swap[parts.scheme], netloc=netloc))
    return (url, pair) if parts.scheme.startswith("ws") else (pair, url)


def redact_url(url: str) -> str:
    """Return an address without what may be secret in it: password, query, and path segments that look like keys."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(an address that cannot be read)"
    user = f"{parts.username}:***@" if parts.password else (f"{parts.username}@" if parts.username else "")
    host = f"[{host}]" if ":" in host else host
    path = "/".join("***" if len(part) >= 20 else part for part in parts.path.split("/"))
    query = "?***" if parts.query else ""
    return f"{parts.scheme}://{user}{host}{f':{port}' if port else ''}{path}{query}"


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


def markdown_table() -> str:
    """Return every setting as a Markdown table."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for section, key, _, meta in _keys():
        name = f"{section}.{key}" if section else key
        default = _toml_value(_at(Config(), section, key))
        rows.append(f"| `{name}` | {f'`{default}`' if default else ''} | {_description(meta)} |")
    return "\n".join(rows) + "\n"


def example_toml() -> str:
    """Return a file with every setting, commented out at its default."""
    lines: list[str] = []
    last = ""
    for section, key, _, meta in _keys():
        if section != last:
            lines += ["", f"[{section}]"]
            last = section
        default = _toml_value(_at(Config(), section, key))
        lines += [f"# {_description(meta)}", f"#{key} = {default}" if default else f"#{key} ="]
    return "\n".join(lines).lstrip("\n") + "\n"


def _keys() -> Iterator[tuple[str, str, Any, list[Meta]]]:
    """Yield (section, key, type, metas) of every setting, top-level ones first."""
    sections: list[tuple[str, Any]] = []
    for key, kind in get_type_hints(Config, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            sections.append((key, kind))
        else:
            yield "", key, kind, _metas(kind)
    for section, struct in sections:
        for key, kind in get_type_hints(struct, include_extras=True).items():
            yield section, key, kind, _metas(kind)


def _metas(kind: Any) -> list[Meta]:
    if get_origin(kind) is not Annotated:
        return []
    inner, *found = get_args(kind)
    return [*_metas(inner), *[item for item in found if isinstance(item, Meta)]]


def _description(metas: list[Meta]) -> str:
    return next((meta.description for meta in reversed(metas) if meta.description), "")


def _is_secret(metas: list[Meta]) -> bool:
    return any(meta.extra and meta.extra.get("secret") for meta in metas)


def _at(config: Config, section: str, key: str) -> Any:
    return getattr(getattr(config, section) if section else config, key)


def _toml_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return (
        '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if isinstance(value, str)
        else f"{value:g}"
        if (isinstance(value, float))
        else str(value)
    )


def _toml_line(key: str, value: Any) -> str:
    text = _toml_value(value)
    return f"{key} = {text}" if text else f"# {key} is not set"


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}", mend="give the right --config FILE") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", mend="mend the file: it is TOML") from error


def _names() -> dict[str, list[Meta]]:
    return {f"{section}.{key}" if section else key: metas for section, key, _, metas in _keys()}


def _put(tree: dict[str, Any], name: str, value: Any, where: str) -> None:
    if name not in _names():
        raise ConfigError(f"{where} sets {name}, which does not exist", mend=_nearest(name))
    section, _, key = name.rpartition(".")
    part = tree.setdefault(section, {}) if section else tree
    if not isinstance(part, dict):
        raise ConfigError(f"{section} is no table", mend=f"write it as [{section}]")
    part[key] = value


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (variable, setting, text); credentials of the service manager come first, so that variables win."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        flat = {name.replace(".", "_"): name for name in _names()}
        for file in sorted(Path(folder).iterdir()):
            plain = file.name.removeprefix("launch_monitor_").replace("__", "_").replace(".", "_")
            if plain in flat:
                yield f"credential {file.name}", flat[plain], _read_secret(file)
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT):
            yield variable, variable.removeprefix(ENVIRONMENT).lower().replace("__", "."), text


def _parse_text(name: str, text: str) -> Any:
    if name == "programs":
        return [part for part in re.split(r"[,\s]+", text.strip("[] ").replace('"', "")) if part]
    return None if text == "" else text


def _take_secret_files(tree: dict[str, Any]) -> None:
    """Replace `key_file = path` by the file's text, for each secret key."""
    for name, metas in _names().items():
        section, _, key = name.rpartition(".")
        part = tree.get(section) if section else tree
        if _is_secret(metas) and isinstance(part, dict) and f"{key}_file" in part:
            part[key] = _read_secret(Path(str(part.pop(f"{key}_file"))))


def _read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret file {path}: {error}", mend="make it readable for the daemon") from error


def _refuse_unknown(tree: dict[str, Any], where: str) -> None:
    names = _names()
    for key, value in tree.items():
        if isinstance(value, dict):
            for inner in value:
                if f"{key}.{inner}" not in names:
                    raise ConfigError(
                        f"{where} sets {key}.{inner}, which does not exist", mend=_nearest(f"{key}.{inner}")
                    )
        elif key not in names:
            raise ConfigError(f"{where} sets {key}, which does not exist", mend=_nearest(key))


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, _names(), n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "`launch-monitor check-config` shows every setting"


def _told(error: msgspec.ValidationError) -> str:
    text = str(error)
    found = re.search(r" - at `\$\.?(.*)`$", text)
    return f"{found[1]}: {text[: found.start()]}" if found else text


def _check(config: Config) -> None:
    for program in config.programs:
        if program not in KNOWN_PROGRAMS:
            close = difflib.get_close_matches(program, KNOWN_PROGRAMS, n=1)
            raise ConfigError(
                f"programs: {program!r} is not known", mend=f"known are {', '.join(close or KNOWN_PROGRAMS)}"
            )
    if not config.programs:
        raise ConfigError("programs is empty", mend=f"name some of {', '.join(KNOWN_PROGRAMS)}")
    for name, url, schemes in (
        ("node.ws_url", config.node.ws_url, ("ws", "wss")),
        ("node.http_url", config.node.http_url, ("http", "https")),
        ("database.url", config.database.url, ("postgresql", "postgres")),
        ("redis.url", config.redis.url, ("redis", "rediss", "unix", "valkey")),
    ):
        if url is not None and urlsplit(url).scheme not in schemes:
            raise ConfigError(
                f"{name} {redact_url(url)!r} does not begin with {' or '.join(s + '://' for s in schemes)}"
            )
    if (config.node.ws_url is None) != (config.node.http_url is None):
        missing = "node.http_url" if config.node.http_url is None else "node.ws_url"
        raise ConfigError(
            f"{missing} is not set", mend="a node needs both addresses; --endpoint URL finds the other one"
        )
    parse_start(config.start)


class Start(msgspec.Struct, frozen=True):
    """Where to begin: `slot` N, `ago_s` seconds ago, else `progress` or `now`."""

    kind: Literal["progress", "now", "slot", "ago"]
    slot: int = 0
    ago_s: int = 0


def parse_start(text: str) -> Start:
    """
    Read a `start` setting.

    Raises:
        ConfigError: If it is none of `progress`, `now`, `slot N`, or a time such as `90s`, `10m`, `2h`, `1d` (ago).
    """
    if text == "progress":
        return Start("progress")
    if text == "now":
        return Start("now")
    if found := re.fullmatch(r"slot[ :=]?(\d{1,18})", text):
        return Start("slot", slot=int(found[1]))
    if found := re.fullmatch(r"(?:ago[ :=]?)?(\d{1,6})([smhd])(?: ago)?", text):
        return Start("ago", ago_s=int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]])
    raise ConfigError(f"start {text!r} is not understood", mend="give progress, now, slot N, or a time ago such as 10m")

"""Every setting, with its default, its bounds and its meaning."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from monitor.config.address import redact_url
from monitor.data import data_dir
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN_PROGRAMS = tuple(sorted(file.stem for file in data_dir("idl").glob("*.json") if "." not in file.stem))
"""Whatever has an IDL: a new launchpad is known by its file. (Others beside it describe ranges of slots.)"""
MIB = 1 << 20

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_SECRET = {"secret": True}


def _doc(text: str, *, secret: bool = False) -> Meta:
    return Meta(description=text, extra=_SECRET if secret else None)


def _hidden(self: msgspec.Struct) -> str:
    """Return a representation without secrets, for the pieces that hold some."""
    fields = ((key, getattr(self, key)) for key in self.__struct_fields__)
    inner = (
        f"{key}={redact_url(value)!r}" if key.endswith("url") and value else f"{key}={value!r}" for key, value in fields
    )
    return f"{type(self).__name__}({', '.join(inner)})"


FeedKind = Literal["logs", "blocks", "transactions", "polled_blocks"]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """The Solana node to follow. Without addresses `run` follows the built-in simulator."""

    ws_url: Annotated[str | None, _doc("Websocket address, ws:// or wss://", secret=True)] = None
    http_url: Annotated[str | None, _doc("HTTP address for whatever the websocket cannot tell", secret=True)] = None
    feed: Annotated[
        FeedKind,
        _doc(
            "`logs`: log lines per program, any node; `blocks`: whole blocks, for a node with block subscriptions; "
            "`transactions`: whole transactions, for providers with transactionSubscribe; `polled_blocks`: whole "
            "blocks, asked for one by one"
        ),
    ] = "logs"
    commitment: Annotated[Literal["confirmed", "finalized"], _doc("How sure a transaction must be to be told")] = (
        "confirmed"
    )
    stall_timeout_s: Annotated[Seconds, _doc("Reconnect when nothing came for so long")] = 20.0
    max_frame_bytes: Annotated[int, Meta(ge=32 * MIB, le=1024 * MIB), _doc("Largest message taken; a block is big")] = (
        64 * MIB
    )

    __repr__ = _hidden


class Feed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One more feed beside that of `[node]`: whichever tells first wins, and what one misses another may tell.

    `name` is what logs, metrics and the database call it (default: its kind, numbered where that is taken). Addresses
    that are not given are those of `[node]`.
    """

    kind: FeedKind
    name: Annotated[str, Meta(pattern="^[a-z0-9_]{1,32}$")] | None = None
    ws_url: str | None = None
    http_url: str | None = None

    __repr__ = _hidden


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """Single transactions and accounts asked of `node.http_url`."""

    rate_per_s: Annotated[float, Meta(gt=0, le=10_000), _doc("Requests a second at most")] = 10.0
    rates_per_s: Annotated[
        dict[str, Annotated[float, Meta(gt=0, le=10_000)]],
        _doc("Requests a second at most of single methods, such as {getBlock = 4}"),
    ] = {}
    concurrency: Annotated[int, Meta(ge=1, le=256), _doc("Requests under way at most")] = 4
    give_up_after_s: Annotated[
        Seconds, _doc("How long a transaction is looked for before it is recorded as a hole")
    ] = 60.0
    block_at: Annotated[
        int,
        Meta(ge=2, le=10_000),
        _doc("How many transactions wanted of one slot have its whole block asked for instead"),
    ] = 4


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Filling of holes."""

    http_url: Annotated[
        str | None,
        _doc("HTTP address of a node that keeps more blocks, asked where `node.http_url` fails", secret=True),
    ] = None

    __repr__ = _hidden


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What feeds told, on disk until it is committed: it outlives a crash, and a database that is away."""

    enabled: Annotated[bool, _doc("Keep one; without it a database that is away holds the feeds back")] = True
    dir: Annotated[str | None, _doc("Where; default `journal` below the state directory")] = None
    max_bytes: Annotated[
        int, Meta(ge=MIB, le=1 << 50), _doc("Most disk that it takes; then feeds are not read until there is room")
    ] = 16 << 30
    min_free_bytes: Annotated[int, Meta(ge=0, le=1 << 50), _doc("Disk that it leaves free")] = 1 << 30
    fsync_interval_s: Annotated[
        float, Meta(ge=0.001, le=60), _doc("How often it is forced to disk: what a power cut may cost")
    ] = 0.2


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

    __repr__ = _hidden


class RedisServer(msgspec.Struct, frozen=True, kw_only=True):
    """Redis 7 or Valkey 8 and later. Beside an embedded database an embedded one is started, if this has no address."""

    url: Annotated[
        str | None,
        _doc(
            "redis://, rediss:// or unix:// address. Without an address: the embedded one, where the database is "
            "embedded too; else announcements are off",
            secret=True,
        ),
    ] = None
    timeout_s: Annotated[Seconds, _doc("How long to wait for an answer before announcements are dropped")] = 2.0

    __repr__ = _hidden


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Servers that come with the program, for machines without their own."""

    state_dir: Annotated[
        str | None,
        _doc(
            "Where they keep their data; default $STATE_DIRECTORY, else `/var/lib/launch-monitor` for root and "
            "`~/.local/state/launch-monitor` for others"
        ),
    ] = None


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """Writing to the database."""

    batch_max_rows: Annotated[int, Meta(ge=1, le=100_000), _doc("Most facts in one commit")] = 5_000
    known_pools: Annotated[int, Meta(ge=0, le=5_000_000), _doc("Pools loaded into memory at start")] = 200_000


class Lifecycle(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows of `transactions` and candles stay, in the time of the chain. Only `ingest` drops anything."""

    chunk_interval: Annotated[
        str, _doc("Length of the pieces of time that trades are cut into: `1h`, `2h`, … `12h`, or whole days: `1d`")
    ] = "1d"
    compress_trades_after: Annotated[
        str, _doc("Age (`36h`, `7d`) at which trades are compressed, by TimescaleDB's community edition; or `none`")
    ] = "7d"
    compress_candles_after: Annotated[str, _doc("The same of candles")] = "none"
    retain_trades: Annotated[
        str, _doc("How long trades stay (`90d`), counted back from the newest one; `none`: for ever")
    ] = "90d"
    retain_candles: Annotated[str, _doc("How long candles stay, no shorter than trades; `none`: for ever")] = "none"


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
    standby: Annotated[
        bool,
        _doc("Where another daemon writes to the database: listen, and take over when it is gone, instead of ending"),
    ] = False
    feeds: Annotated[
        tuple[Feed, ...],
        _doc("More feeds beside that of [node]: tables `[[feeds]]` with kind, name, ws_url, http_url", secret=True),
    ] = ()
    node: Node = Node()
    fetch: Fetch = Fetch()
    history: History = History()
    journal: Journal = Journal()
    pumpswap: Pumpswap = Pumpswap()
    database: Database = Database()
    redis: RedisServer = RedisServer()
    embedded: Embedded = Embedded()
    store: Store = Store()
    lifecycle: Lifecycle = Lifecycle()
    announce: Announce = Announce()
    log: Logging = Logging()
    metrics: Monitoring = Monitoring()

    def show(self) -> str:
        """Return the configuration as TOML, secrets hidden."""
        lines: list[str] = []
        section = ""
        for key in keys():
            if key.section != section:
                section = key.section
                lines += ["", f"[{section}]"]
            value = key.of(self)
            shown = toml_value(redact_url(value) if key.secret and isinstance(value, str) else value)
            lines.append(f"{key.key} = {shown}" if shown else f"# {key.key} is not set")
        return "\n".join(lines) + "\n"


class Key(NamedTuple):
    """One setting: its table ("" at the top), its key there, and its annotated type."""

    section: str
    key: str
    kind: Any

    @property
    def name(self) -> str:
        """Return "section.key", or "key" at the top."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def metas(self) -> list[Meta]:
        """Return bounds and description."""
        return [item for item in get_args(self.kind)[1:] if isinstance(item, Meta)]

    @property
    def description(self) -> str:
        """Return its meaning."""
        return next((meta.description for meta in reversed(self.metas) if meta.description), "")

    @property
    def secret(self) -> bool:
        """Tell whether its value may hold a password or a key."""
        return any(meta.extra == _SECRET for meta in self.metas)

    @property
    def allowed(self) -> str:
        """Return in words what it may be set to."""
        kind = get_args(self.kind)[0]
        least = next((f"from {meta.ge} " for meta in self.metas if meta.ge is not None), "")
        above = next((f"above {meta.gt} " for meta in self.metas if meta.gt is not None), "")
        most = next((f"up to {meta.le}" for meta in self.metas if meta.le is not None), "")
        if get_origin(kind) is Literal:
            return "one of " + ", ".join(get_args(kind))
        if kind in (int, float):
            return f"a {'whole ' if kind is int else ''}number {least}{above}{most}".rstrip()
        if get_origin(kind) is tuple:
            return "a list of tables" if get_args(kind)[0] is Feed else "a list of texts"
        if kind is bool:
            return "true or false"
        return "a table of numbers" if get_origin(kind) is dict else "text"

    def of(self, config: Config) -> Any:
        """Return its value."""
        return getattr(getattr(config, self.section) if self.section else config, self.key)


def keys() -> Iterator[Key]:
    """Yield every setting, those at the top first."""
    sections: list[tuple[str, Any]] = []
    for key, kind in get_type_hints(Config, include_extras=True).items():
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            sections.append((key, kind))
        else:
            yield Key("", key, kind)
    for section, struct in sections:
        for key, kind in get_type_hints(struct, include_extras=True).items():
            yield Key(section, key, kind)


def toml_value(value: Any) -> str:
    """Return a value as TOML, "" for None."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items()) + "}"
        case Feed():
            members = {name: getattr(value, name) for name in value.__struct_fields__}
            shown = {name: redact_url(item) if name.endswith("url") else item for name, item in members.items() if item}
            return toml_value(shown)
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case float():
            return f"{value:g}"
        case _:
            return str(value)


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


def parse_age(text: str) -> timedelta | None:
    """
    Read an age such as `36h` or `90d`; None: `none`.

    Raises:
        ConfigError: If it is neither.
    """
    age = None if text == "none" else _age(text)
    if age is None and text != "none":
        raise ConfigError(f"{text!r} is no age", mend="an age in hours or days such as 36h or 90d, or none")
    return age


def parse_interval(text: str) -> timedelta:
    """
    Read the length of a piece of time: hours that a day is a multiple of, or whole days.

    Raises:
        ConfigError: If it is neither.
    """
    day = timedelta(days=1)
    interval = _age(text)
    if interval is None or (day % interval and interval % day):
        raise ConfigError(
            f"{text!r} is no length of pieces", mend="1h, 2h, 3h, 4h, 6h, 8h, 12h, or whole days such as 1d"
        )
    return interval


def _age(text: str) -> timedelta | None:
    found = re.fullmatch(r"([1-9]\d{0,4})([hd])", text)
    return timedelta(hours=int(found[1]) * (24 if found[2] == "d" else 1)) if found else None

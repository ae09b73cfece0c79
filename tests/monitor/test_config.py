"""Configuration: what stands over what, what is refused and how, and that secrets stay hidden."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import (
    Config,
    Start,
    example_toml,
    load,
    markdown_table,
    parse_age,
    parse_interval,
    parse_start,
    redact_text,
    redact_url,
    state_dir,
    with_endpoint,
)
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a configuration file that does not exist yet."""
    return tmp_path / "launch-monitor.toml"


def refusal(path: Path | None = None, environ: dict[str, str] | None = None, **overrides: object) -> tuple[str, str]:
    """Return cause and mend of the error that loading raises."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, {name.replace("__", "."): value for name, value in overrides.items()})
    return str(caught.value), caught.value.mend or ""


def test_nothing_set_means_simulator_and_embedded_servers() -> None:
    """Without file and environment there is no node, no database and no Redis to connect to."""
    config = load(None, {})
    assert config == Config()
    assert (config.node.ws_url, config.node.http_url, config.database.url, config.redis.url) == (None, None, None, None)
    assert config.programs == ("pumpfun", "pumpswap", "raydium_launchpad")
    assert (config.store.batch_max_rows, config.stop_deadline_s, config.metrics.listen) == (5000, 30, "127.0.0.1:9464")


def test_environment_stands_over_file_and_command_line_over_both(file: Path) -> None:
    """File, then credential, then variable, then command line: the later one counts."""
    file.write_text('stop_deadline_s = 1\nprograms = ["pumpfun"]\n[store]\nbatch_max_rows = 1\nknown_pools = 1\n')
    environ = {
        "LAUNCH_MONITOR_STORE__BATCH_MAX_ROWS": "2",
        "LAUNCH_MONITOR_STORE__KNOWN_POOLS": "2",
        "LAUNCH_MONITOR_PROGRAMS": "pumpfun, pumpswap",
        "PATH": "not ours",
    }
    config = load(file, environ, {"store.known_pools": 3})
    assert (config.stop_deadline_s, config.store.batch_max_rows, config.store.known_pools) == (1.0, 2, 3)
    assert config.programs == ("pumpfun", "pumpswap")


def test_secrets_come_from_files(file: Path, tmp_path: Path) -> None:
    """`url_file` in the file or a variable, and the service manager's credentials; their last line end is dropped."""
    (tmp_path / "secret").write_text("postgresql://u:one@h/d\n")
    (tmp_path / "other").write_text("postgresql://u:two@h/d\n")
    file.write_text(f'[database]\nurl_file = "{tmp_path}/secret"\n')
    assert load(file, {}).database.url == "postgresql://u:one@h/d"
    given = {"LAUNCH_MONITOR_DATABASE__URL_FILE": str(tmp_path / "other")}
    assert load(file, given).database.url == "postgresql://u:two@h/d"

    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "launch_monitor_database.url").write_text("postgresql://u:three@h/d\n")
    (credentials / "redis.url").write_text("redis://h/\n")
    (credentials / "of-somebody-else").write_text("x")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    config = load(file, environ)
    assert (config.database.url, config.redis.url) == ("postgresql://u:three@h/d", "redis://h/")
    environ["LAUNCH_MONITOR_DATABASE__URL"] = "postgresql://four/d"
    assert load(file, environ).database.url == "postgresql://four/d"


def test_secret_files_that_cannot_be_used_are_refused(file: Path, tmp_path: Path) -> None:
    """Absent, no text, empty, beside the value itself, for a setting that is no secret, or misspelt."""
    for text in (f'url_file = "{tmp_path}/absent"', f'url_file = "{tmp_path}"', "url_file = 5"):
        file.write_text(f"[database]\n{text}\n")
        assert "database.url_file" in refusal(file)[0]
    (tmp_path / "empty").write_text("\n")
    file.write_text(f'[database]\nurl_file = "{tmp_path}/empty"\n')
    assert "is empty" in refusal(file)[0]
    (tmp_path / "full").write_text("postgresql://h/d")
    file.write_text(f'[database]\nurl_file = "{tmp_path}/full"\nurl = "postgresql://h/d"\n')
    assert "database.url and database.url_file" in refusal(file)[0]
    file.write_text('[log]\nlevel_file = "x"\n')
    assert "log.level_file" in refusal(file)[0]
    assert "credentials" in refusal(None, {"CREDENTIALS_DIRECTORY": str(tmp_path / "absent")})[0]
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "launch_monitor_databse.url").write_text("x")
    cause, mend = refusal(None, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert "launch_monitor_databse.url" in cause
    assert "database.url" in mend


@pytest.mark.parametrize(
    ("text", "named", "meant"),
    [
        ("[store]\nbatch_max_row = 1", "store.batch_max_row", "store.batch_max_rows"),
        ("[databse]\nurl = 'x'", "databse.url", "database.url"),
        ("stop_deadline = 1", "stop_deadline", "stop_deadline_s"),
        ("[database]\nstate_dir = 'x'", "database.state_dir", "embedded.state_dir"),
        ("[databas]", "databas", "database"),
        ("database = 'postgresql://h/d'", "database", "database"),
        ("[programs]\nx = 1", "programs", "programs"),
    ],
)
def test_unknown_settings_are_refused_with_the_nearest_known(file: Path, text: str, named: str, meant: str) -> None:
    """The error names the file and the setting, the mend a setting that exists."""
    file.write_text(text)
    cause, mend = refusal(file)
    assert str(file) in cause
    assert named in cause
    assert meant in mend


def test_unknown_variables_are_refused_with_the_nearest_known() -> None:
    """A misspelt variable is an error, not a silence."""
    cause, mend = refusal(None, {"LAUNCH_MONITOR_LOG__LEVLE": "debug"})
    assert "LAUNCH_MONITOR_LOG__LEVLE" in cause
    assert "log.level" in mend


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("store.batch_max_rows", "0", "1"),
        ("store.batch_max_rows", "100001", "100000"),
        ("store.batch_max_rows", "many", "whole number"),
        ("store.batch_max_rows", "1.5", "whole number"),
        ("stop_deadline_s", "0", "0"),
        ("stop_deadline_s", "nan", "0"),
        ("stop_deadline_s", "inf", "86400"),
        ("node.max_frame_bytes", "1048576", "33554432"),
        ("node.feed", "log", "logs"),
        ("log.level", "loud", "debug"),
        ("pumpswap.pools", "some", "launched"),
        ("programs", "pumpfun,pumpfum", "pumpfun"),
        ("start", "yesterday", "progress"),
        ("metrics.listen", "9464", "127.0.0.1:9464"),
        ("metrics.listen", "127.0.0.1:70000", "127.0.0.1:9464"),
        ("metrics.listen", "127.0.0.1:http", "127.0.0.1:9464"),
    ],
)
def test_values_out_of_bounds_are_refused(file: Path, name: str, value: str, allowed: str) -> None:
    """The error names where, which setting, what was given, and what is allowed."""
    variable = "LAUNCH_MONITOR_" + name.upper().replace(".", "__")
    said = " ".join(refusal(None, {variable: value}))
    given = value.rpartition(",")[2]
    assert name in said
    assert given in said
    assert allowed in said
    section, _, key = name.rpartition(".")
    quoted = f'["{value}"]' if name == "programs" else value if re.fullmatch(r"[\d.]+|nan|inf", value) else f'"{value}"'
    file.write_text((f"[{section}]\n" if section else "") + f"{key} = {quoted}\n")
    assert str(file) in " ".join(refusal(file))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("stop_deadline_s = true", "stop_deadline_s"),
        ("[store]\nbatch_max_rows = '5'", "store.batch_max_rows"),
        ("[store]\nbatch_max_rows = true", "store.batch_max_rows"),
        ("programs = 'pumpfun'", "programs"),
        ("programs = []", "programs"),
        ("programs = ['pumpfun', 1]", "programs"),
        ("idl_dir = 5", "idl_dir"),
    ],
)
def test_a_file_has_types(file: Path, text: str, name: str) -> None:
    """In TOML a number is a number and a list a list; only the environment has nothing but text."""
    file.write_text(text)
    assert name in refusal(file)[0]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("node.ws_url", "https://h/"),
        ("node.ws_url", "ws://"),
        ("node.ws_url", "ws://h:99999/"),
        ("node.http_url", "http://[::1/"),
        ("database.url", "mysql://u:hidden-one@h/d"),
        ("database.url", "u:hidden-one@h/d"),
        ("database.url", "postgresql://u:hidden-one/x@h/d"),
        ("redis.url", "redis:///0\n"),
        ("redis.url", ""),
    ],
)
def test_addresses_are_checked_and_not_told(name: str, url: str) -> None:
    """Wrong scheme, no host, no port, control characters: refused, and no password in the message."""
    tree = {"node.ws_url": "ws://h", "node.http_url": "http://h"} if name.startswith("node") else {}
    with pytest.raises(ConfigError, match=re.escape(name)) as caught:
        load(None, {}, {**tree, name: url})
    assert "hidden-one" not in f"{caught.value} {caught.value.mend}"


def test_redis_and_database_may_be_sockets() -> None:
    """A server on a unix socket has no host in its address."""
    config = load(None, {}, {"redis.url": "unix:///run/redis.sock", "database.url": "postgresql:///d?host=/run/pg"})
    assert config.redis.url == "unix:///run/redis.sock"


def test_half_a_node_is_refused() -> None:
    """A websocket address without its HTTP address (or the reverse) is an error, and the mend names the way."""
    cause, mend = refusal(None, {"LAUNCH_MONITOR_NODE__WS_URL": "wss://h/"})
    assert "node.http_url" in cause
    assert "--endpoint" in mend


def test_files_that_are_no_configuration_are_refused(file: Path) -> None:
    """Absent, no TOML, no text: the error names the file (and the line)."""
    assert str(file) in refusal(file)[0]
    file.write_text("[store]\nbatch_max_rows = = 3\n")
    assert "line 2" in refusal(file)[0]
    file.write_bytes(b"\xff\xfe")
    assert str(file) in refusal(file)[0]


@pytest.mark.parametrize(
    ("text", "ws", "http"),
    [
        ("mainnet", "wss://api.mainnet-beta.solana.com", "https://api.mainnet-beta.solana.com"),
        ("devnet", "wss://api.devnet.solana.com", "https://api.devnet.solana.com"),
        ("http://127.0.0.1:8899", "ws://127.0.0.1:8900", "http://127.0.0.1:8899"),
        ("ws://localhost:8900/", "ws://localhost:8900/", "http://localhost:8899/"),
        ("http://[::1]:8899", "ws://[::1]:8900", "http://[::1]:8899"),
        (
            "https://h.example/v2/key?api-key=k",
            "wss://h.example/v2/key?api-key=k",
            "https://h.example/v2/key?api-key=k",
        ),
        ("wss://h.example:444/", "wss://h.example:444/", "https://h.example:444/"),
        ("wss://a/,https://b/", "wss://a/", "https://b/"),
        ("https://b/ , wss://a/", "wss://a/", "https://b/"),
    ],
)
def test_endpoint_shorthands(text: str, ws: str, http: str) -> None:
    """A network's name, one address of the two (a validator's websocket port is the next one), or both in any order."""
    assert with_endpoint(text) == {"node.ws_url": ws, "node.http_url": http}
    load(None, {}, with_endpoint(text))


@pytest.mark.parametrize(
    "text",
    ["", "minnet", "ftp://h", "http://", "a,b,c", "http://h:99999", "http://[::1", "http://h:65535", "ws://a,ws://b"],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """Anything else is an error that says what is allowed."""
    with pytest.raises(ConfigError) as caught:
        load(None, {}, with_endpoint(text))
    assert "mainnet" in (caught.value.mend or "") or "http_url" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("progress", Start("progress")),
        ("now", Start("now")),
        ("slot 312000000", Start("slot", slot=312_000_000)),
        ("slot:5", Start("slot", slot=5)),
        ("90s", Start("ago", ago_s=90)),
        ("10m", Start("ago", ago_s=600)),
        ("2h", Start("ago", ago_s=7200)),
        ("1d ago", Start("ago", ago_s=86_400)),
    ],
)
def test_start(text: str, start: Start) -> None:
    """Where to begin, in words."""
    assert parse_start(text) == start


def test_state_dir_is_where_the_service_manager_or_the_user_keeps_state(file: Path) -> None:
    """The setting, else $STATE_DIRECTORY's first, else a folder of the user."""
    config = load(None, {})
    assert str(state_dir(config, {"STATE_DIRECTORY": "/a:/b", "XDG_STATE_HOME": "/x"})) == "/a"
    assert state_dir(config, {"XDG_STATE_HOME": "/x"}).name == "launch-monitor"
    file.write_text('[embedded]\nstate_dir = "/chosen"\n')
    assert str(state_dir(load(file, {}), {"STATE_DIRECTORY": "/a"})) == "/chosen"


SECRETS = {
    "node.ws_url": "wss://u:hidden-one@h.example/0123456789abcdef0123456789abcdef?api-key=hidden-two&x=hidden-three",
    "node.http_url": "https://hiddentokenhiddentokenhidden7@h.example/v2/",
    "database.url": "postgresql://u:hidden%2Ffour@h/launches?password=hidden-five",
    "redis.url": "redis://:hidden-six@h:6379/0",
}
HIDDEN = re.compile(r"hidden|0123456789abcdef")


def test_show_is_toml_without_secrets() -> None:
    """`show` says every setting as it counts, and no password, key or token."""
    config = load(None, {}, {**SECRETS, "store.batch_max_rows": 17, "log.level": "debug"})
    shown = config.show()
    assert not HIDDEN.search(shown)
    tree = tomllib.loads(shown)
    assert (tree["store"]["batch_max_rows"], tree["log"]["level"]) == (17, "debug")
    assert tree["programs"] == list(config.programs)
    assert "h.example" in tree["node"]["ws_url"]
    assert load_shown(load(None, {}).show()) == Config()


def load_shown(text: str) -> Config:
    """Return the configuration that a shown one makes."""
    tree = tomllib.loads(text)
    flat = {name: value for name, value in tree.items() if not isinstance(value, dict)}
    inner = {
        f"{part}.{key}": value for part, keys in tree.items() if isinstance(keys, dict) for key, value in keys.items()
    }
    return load(None, {}, flat | inner)


def test_repr_holds_no_secrets() -> None:
    """A configuration that gets into a message by accident betrays nothing."""
    config = load(None, {}, SECRETS)
    for part in (config, config.node, config.database, config.redis):
        assert not HIDDEN.search(repr(part))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.mainnet-beta.solana.com", "https://api.mainnet-beta.solana.com"),
        ("postgresql://u:p@h:5432/launches", "postgresql://u:***@h:5432/launches"),
        ("redis://:p@h/0", "redis://:***@h/0"),
        ("postgresql://u:p/w@h/d", "postgresql://u:***@h/d"),
        ("wss://h/0123456789abcdef0123", "wss://h/***"),
        ("ws://[::1]:8900/", "ws://[::1]:8900/"),
        ("ws://h:0/", "ws://h:0/"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("u:p@h/d", "(an address that cannot be read)"),
    ],
)
def test_redact_url(url: str, shown: str) -> None:
    """What tells the server stays, what opens it goes."""
    assert redact_url(url) == shown


@given(
    st.sampled_from(["wss://u:{}@h/", "wss://h/?api-key={}", "wss://h/v2/{}", "wss://h/{}/x", "redis://:{}@h:1/0"]),
    st.text("0123456789abcdefXYZ-_", min_size=24, max_size=50),
    st.sampled_from(
        ["{}", "could not connect to {}", "'{}'", '("{}", 5)', "<{}>: closed", '{{"url":"{}"}}', "a\n{},b"]
    ),
)
def test_redact_text_hides_the_secret_wherever_the_address_stands(form: str, secret: str, sentence: str) -> None:
    """In quotes, brackets, JSON, between other words."""
    text = redact_text(sentence.format(form.format(secret)))
    assert secret not in text
    assert "://" in text


@given(st.text(max_size=200))
def test_redacting_never_raises(text: str) -> None:
    """Whatever stands there."""
    redact_url(text)
    redact_text(text)
    redact_text(f"x {text}://{text}@{text}")


def test_text_without_addresses_stays_as_it_is() -> None:
    """Only addresses are touched."""
    assert redact_text("slot 5: 3 of 7 facts, see docs/README.md") == "slot 5: 3 of 7 facts, see docs/README.md"


def names() -> set[str]:
    """Return every setting's name, found without the code under test."""
    found = set()
    for name in Config.__struct_fields__:
        part = getattr(Config(), name)
        inner = getattr(part, "__struct_fields__", None)
        found |= {f"{name}.{key}" for key in inner} if inner else {name}
    return found


def test_example_and_table_tell_every_setting(file: Path) -> None:
    """Each setting stands in both, once; the example's defaults, with the comment signs taken off, change nothing."""
    rows = re.findall(r"^\| `([^`]+)` \|", markdown_table(), flags=re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == names()
    assert all(line.count("|") == 4 for line in markdown_table().splitlines())

    text = re.sub(r"^#(\w+ = .+)$", r"\1", example_toml(), flags=re.MULTILINE)
    tree = tomllib.loads(text)
    told = {
        f"{name}.{key}" if isinstance(part, dict) else name
        for name, part in tree.items()
        for key in (part if isinstance(part, dict) else [name])
    }
    unset = set(re.findall(r"^#(\w+) =$", text, flags=re.MULTILINE))
    assert {name.rpartition(".")[2] for name in names() - told} == unset
    file.write_text(text)
    assert load(file, {}) == Config()
    file.write_text(example_toml())
    assert load(file, {}) == Config()


@pytest.mark.parametrize(
    ("text", "hours"), [("none", None), ("36h", 36), ("1d", 24), ("90d", 90 * 24), ("99999d", 99_999 * 24)]
)
def test_ages(text: str, hours: int | None) -> None:
    """Hours or days, or none."""
    assert parse_age(text) == (None if hours is None else timedelta(hours=hours))


@pytest.mark.parametrize("text", ["", "0d", "7", "7w", "-1d", "1.5h", "1d ", "None", "100000d"])
def test_what_is_no_age(text: str) -> None:
    """It is told which setting that is, and what it may be."""
    cause, mend = refusal(lifecycle__retain_trades=text)
    assert "lifecycle.retain_trades" in cause
    assert "or none" in mend


@pytest.mark.parametrize("text", ["5h", "none", "36h", "1m", "23h"])
def test_what_is_no_length_of_pieces(text: str) -> None:
    """A day is a multiple of it, or it one of a day: candles of a day must not lie in two that go apart."""
    assert "lifecycle.chunk_interval: 1h, 2h" in refusal(lifecycle__chunk_interval=text)[1]


@pytest.mark.parametrize("text", ["1h", "2h", "3h", "4h", "6h", "8h", "12h", "24h", "1d", "7d"])
def test_lengths_of_pieces(text: str) -> None:
    """Each that the documentation names."""
    assert parse_interval(load(None, {}, {"lifecycle.chunk_interval": text}).lifecycle.chunk_interval) >= timedelta(
        hours=1
    )


def test_candles_outlive_trades() -> None:
    """And trades outlive two pieces: else the horizon would lie at the newest trade."""
    assert load(None, {}, {"lifecycle.retain_candles": "90d"}).lifecycle.retain_candles == "90d"
    assert "retain_trades is" in refusal(lifecycle__retain_candles="89d")[1]
    assert "or none" in refusal(lifecycle__retain_trades="none", lifecycle__retain_candles="400d")[1]
    assert "twice chunk_interval" in refusal(lifecycle__retain_trades="13d", lifecycle__chunk_interval="7d")[1]
    load(None, {}, {"lifecycle.retain_trades": "none", "lifecycle.chunk_interval": "7d"})

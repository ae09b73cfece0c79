"""What the servers are told, and what the state directory remembers, without starting any."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from monitor.embedded import account, settings, state
from monitor.errors import AlreadyRunning, ConfigError


def test_paths_with_quotes_and_backslashes_mean_themselves() -> None:
    """Both servers read the folder as it is called."""
    odd = Path("/a'b/c\"d\\e")
    assert "hba_file = '/a''b/c\"d\\\\e/pg_hba.conf'" in settings.postgres_conf(port=1, folder=odd)
    assert 'dir "/a\'b/c\\"d\\\\e"' in settings.valkey_conf(port=1, folder=odd, password="p")


def test_the_password_is_drawn_once_and_needs_no_escaping(tmp_path: Path) -> None:
    """It stands in URLs, in a password file and in a configuration."""
    drawn = state.password(tmp_path)
    assert drawn == state.password(tmp_path)
    assert len(drawn) >= 32
    assert drawn.replace("-", "").replace("_", "").isalnum()
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def test_ports_stay_the_same_until_somebody_else_takes_one(tmp_path: Path) -> None:
    """People write these ports into other programs' settings."""
    first = state.choose_ports(tmp_path)
    assert state.choose_ports(tmp_path) == first
    with socket.create_server(("127.0.0.1", first.postgres)):
        second = state.choose_ports(tmp_path)
    assert second.postgres != first.postgres
    assert second.valkey == first.valkey


def test_an_unreadable_list_of_ports_is_no_obstacle(tmp_path: Path) -> None:
    """It is a convenience, and can be chosen anew."""
    (tmp_path / "ports.json").write_text("{")
    assert state.choose_ports(tmp_path).postgres > 0


def test_the_lock_is_free_again_after_its_holder(tmp_path: Path) -> None:
    """Held once at a time, by whom is told."""
    with state.locked(tmp_path):
        with pytest.raises(AlreadyRunning, match=str(os.getpid())), state.locked(tmp_path):
            pass
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    with state.locked(tmp_path):
        pass


def test_a_state_directory_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    """Such as one below a file."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Not a directory"):
        state.prepare(tmp_path / "file" / "state", account.current())


def test_the_outermost_folder_that_the_account_cannot_pass_is_named(state_dir: Path) -> None:
    """That is the one to mend; without another account nothing is closed."""
    inner = state_dir / "closed" / "inner"
    inner.mkdir(parents=True)
    (state_dir / "closed").chmod(0o700)
    stranger = account.Account(account.SERVER_UID, account.SERVER_UID, "setpriv")
    assert stranger.closed_parent(inner / "file") == state_dir / "closed"
    assert stranger.closed_parent(state_dir / "file") is None
    assert account.Account(os.geteuid(), os.getegid()).closed_parent(inner / "file") is None


def test_root_without_setpriv_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL would refuse anyway, less helpfully."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ConfigError, match="setpriv") as refused:
        account.current()
    assert "util-linux" in (refused.value.mend or "")

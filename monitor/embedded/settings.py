"""The texts that configure both servers, sized for a laptop that does other things as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "launch_monitor"
DATABASE = "launch_monitor"
HOST = "127.0.0.1"


def postgres_conf(*, port: int, folder: Path) -> str:
    """Return postgresql.conf: nothing that is committed may be lost, all else leans towards few and large writes."""
    settings = {
        "listen_addresses": HOST,
        "port": port,
        # TCP alone: a socket's path may be too long for the kernel (108 bytes), a port never is.
        "unix_socket_directories": "",
        "hba_file": folder / "pg_hba.conf",
        "max_connections": 50,
        "password_encryption": "scram-sha-256",
        "shared_buffers": "256MB",
        "effective_cache_size": "1GB",
        "work_mem": "16MB",
        "maintenance_work_mem": "128MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "min_wal_size": "256MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": 1.1,
        # Compiling a query costs more than the short ones here take.
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": folder / "postgres" / "log",
        # One file per weekday, written over a week later.
        "log_filename": "%a.log",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": 0,
    }
    lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
    return (
        "\n".join(["# Written at every start; yours goes into custom.conf beside it.", *lines, _include(folder)]) + "\n"
    )


def _include(folder: Path) -> str:
    return f"include_if_exists = {_quoted(folder / 'custom.conf')}"


def _quoted(value: object) -> str:
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def pg_hba_conf() -> str:
    """Return pg_hba.conf: one role, from this machine, by password; nobody is trusted for having a login here."""
    return f"host all {ROLE} {HOST}/32 scram-sha-256\n"


def pgpass(*, port: int, password: str) -> str:
    """Return a password file for psql."""
    return f"{HOST}:{port}:*:{ROLE}:{password}\n"


def valkey_conf(*, port: int, folder: Path, password: str) -> str:
    """
    Return valkey.conf: memory only, since everything in it can be computed again from the database.

    When memory is full, writes are refused (noeviction): a stale ranking that says so beats one with holes in it.
    """
    lines = [
        f"bind {HOST}",
        f"port {port}",
        "protected-mode yes",
        f"requirepass {password}",
        f'dir "{str(folder).replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"',
        "daemonize no",
        'save ""',
        "appendonly no",
        "maxmemory 512mb",
        "maxmemory-policy noeviction",
        "loglevel warning",
    ]
    return "\n".join(lines) + "\n"


def database_url(*, port: int, password: str) -> str:
    """Return the address of the database (the password is drawn from letters that need no escaping)."""
    return f"postgresql://{ROLE}:{password}@{HOST}:{port}/{DATABASE}"


def redis_url(*, port: int, password: str) -> str:
    """Return the address of Valkey."""
    return f"redis://:{password}@{HOST}:{port}/0"

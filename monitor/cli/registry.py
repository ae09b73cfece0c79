"""The decoders that commands use, from the IDL files that they are told to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from decoders.core.errors import IdlError
from decoders.core.registry import load
from monitor.config import KNOWN_PROGRAMS
from monitor.data import data_dir, idls_in
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.registry import Registry


def load_registry(idl_dir: str | None = None, names: Sequence[str] = KNOWN_PROGRAMS) -> Registry:
    """
    Return the decoders of these names.

    Args:
        idl_dir: Where the IDL files are (see `idls_in`); None: those that come with the program.

    Raises:
        ConfigError: If an IDL is missing or wrong.
    """
    folder = Path(idl_dir) if idl_dir else data_dir("idl")
    try:
        return load(names, idls_in(folder))
    except IdlError as error:
        raise ConfigError(str(error), mend=f"put a right file into {folder}") from error
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}", mend="every decoder needs its IDL there") from error

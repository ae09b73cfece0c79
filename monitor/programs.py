"""The decoders that the configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from decoders.core.errors import IdlError
from decoders.core.registry import load
from monitor.data import data_dir, idls_in
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from decoders.core.registry import Registry
    from monitor.config import Config


def registry_of(config: Config) -> Registry:
    """
    Return the decoders that the configuration names.

    Raises:
        ConfigError: If an IDL is missing, malformed, or lacks what its decoder needs.
    """
    folder = Path(config.idl_dir) if config.idl_dir else data_dir("idl")
    try:
        return load(config.programs, idls_in(folder))
    except (IdlError, OSError) as error:
        raise ConfigError(str(error), mend=f"restore the file in {folder}") from error

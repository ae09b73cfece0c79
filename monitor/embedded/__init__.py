"""PostgreSQL and Valkey of our own, from wheels, for people who have configured neither."""

from monitor.embedded.servers import Servers, addresses, start
from monitor.embedded.state import default_state_dir

__all__ = ["Servers", "addresses", "default_state_dir", "start"]

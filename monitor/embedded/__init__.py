"""PostgreSQL and Valkey of our own, from wheels, for people who have configured neither."""

from monitor.embedded.servers import Addresses, Servers, addresses, start

__all__ = ["Addresses", "Servers", "addresses", "start"]

"""Every metric of the daemon, and the page where Prometheus reads them."""

from monitor.metrics.meters import PREFIX, Meters
from monitor.metrics.page import check, serve

__all__ = ["PREFIX", "Meters", "check", "serve"]

"""Every metric of the daemon, and the page where Prometheus and others read how it is."""

from monitor.metrics.checks import Check
from monitor.metrics.declared import PREFIX, series_names
from monitor.metrics.histogram import ROWS, SECONDS, Histogram
from monitor.metrics.meters import Meters
from monitor.metrics.page import check, serve

__all__ = ["PREFIX", "ROWS", "SECONDS", "Check", "Histogram", "Meters", "check", "series_names", "serve"]

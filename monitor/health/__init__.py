"""What the service manager, operators and people are told about a running daemon: ready, alive, how far."""

from monitor.health.commits import Commits
from monitor.health.health import Health, Notifier, Work, beat
from monitor.health.holes import OpenHoles

__all__ = ["Commits", "Health", "Notifier", "OpenHoles", "Work", "beat"]

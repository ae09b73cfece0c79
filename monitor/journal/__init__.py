"""The queue on disk: what was heard and is not committed yet, in segments of checksummed, compressed chunks."""

from monitor.journal.disk import DiskReader
from monitor.journal.folder import list_segments, read_header
from monitor.journal.journal import Journal, Reader
from monitor.journal.limits import JournalLimits
from monitor.journal.segment import Gap

__all__ = ["DiskReader", "Gap", "Journal", "JournalLimits", "Reader", "list_segments", "read_header"]

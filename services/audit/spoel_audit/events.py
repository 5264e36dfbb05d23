"""The public events of audit."""

from spoel_common.events import gap_detected

GapDetected = gap_detected("audit")
"""An event of the aggregate ``gap``, one for each time that an aggregate begins to wait for an event."""

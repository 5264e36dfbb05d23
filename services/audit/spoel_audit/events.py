"""The public events of audit."""

from spoel_common.events import parked_event_discarded

ParkedEventDiscarded = parked_event_discarded("audit")
"""An event of the aggregate ``discarded-event``, one for each event that was given up."""

"""The access log: an event for everybody who got to see a patient's identity or free text, or was refused to.

A line is durable before anything is shown. It says who, when, which patient and why, and nothing of what was seen.
"""

from spoel_common.events import EventData
from spoel_common.ids import new_id
from spoel_common.people import Actor
from spoel_common.runtime import Runtime
from spoel_common.work import Aggregate, Work
from spoel_intake.events import ACCESS_EVENTS, FileOpened

ACCESS = Aggregate("access", lambda: False, lambda _state, _event: True, ACCESS_EVENTS)
"""One aggregate a line, so that readers never wait for each other."""


async def write_line(work: Work, opening_id: str, line: EventData) -> None:
    """Write one line, in the caller's transaction."""
    await work.append(ACCESS, opening_id, await work.load(ACCESS, opening_id), [line])


async def log_opened(runtime: Runtime, reader: Actor, patient_id: str, case_id: str | None = None) -> None:
    """Write that ``reader`` is about to see a patient's file."""
    opening_id = new_id()
    line = FileOpened(opening_id=opening_id, patient_id=patient_id, case_id=case_id)
    await runtime.units.record(ACCESS, opening_id, [line], reader, opening_id)

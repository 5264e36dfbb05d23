"""A stimulus whose authorisation is stored though its commit looked failed is never sent, and does not stay open."""

from contextlib import asynccontextmanager

import pytest
from sqlalchemy.exc import OperationalError
from tests.stimulation.clinic import firing_frames
from tests.stimulation.story import measurement_order

from spoel_common.clock import utc_now
from spoel_stimulation.domain.conditions import local_day

pytestmark = [pytest.mark.invariant("INV-1"), pytest.mark.invariant("INV-9"), pytest.mark.hazard("HZ-11")]


def answers_with_an_error(begin):
    """Return ``begin`` of units of work whose first commit that stores something is not known to have been done."""
    lost = []

    @asynccontextmanager
    async def begin_and_lose(*args, **named):
        async with begin(*args, **named) as work:
            yield work
        if work.appended and not lost:
            lost.append(work)
            raise OperationalError("COMMIT", {}, OSError("disk I/O error"))

    return begin_and_lose


async def test_it_is_closed_as_not_given_and_the_next_one_can_be_given(clinic, monkeypatch):
    order = measurement_order(valid_on=local_day(utc_now(clinic.clock)), min_interval_s=1.0)
    session_id = await clinic.started(await clinic.prepare(order, "measurement"))
    monkeypatch.setattr(clinic.runtime.units, "begin", answers_with_an_error(clinic.runtime.units.begin))
    failed = await clinic.ask(session_id, "stimuli", percent_mso=40, key="key-1")
    assert failed.status_code >= 500
    (authorised,) = await clinic.until_event("train-authorised")
    (delivered,) = await clinic.until_event("train-delivered")
    assert (delivered["train_id"], delivered["outcome"]) == (authorised["train_id"], "none")
    assert firing_frames(clinic.folder) == []
    repeated = (await clinic.ask(session_id, "stimuli", percent_mso=40, key="key-1")).json()
    assert (repeated["train_id"], repeated["outcome"]) == (authorised["train_id"], "failed")
    assert (await clinic.ask(session_id, "stimuli", percent_mso=40)).json()["outcome"] == "done"
    assert len(firing_frames(clinic.folder)) == clinic.simulator.total_pulses == 1

"""The audit service answers an erasure: what it holds is pseudonyms and texts that nobody can open any more."""

import asyncio

import pytest
from tests.audit.conftest import Feed

from spoel_audit.app import build_app
from spoel_audit.events import ErasureCompleted
from spoel_audit.projections import erasures_projection
from spoel_audit.settings import AuditSettings
from spoel_common.erasure import ErasureAnswers
from spoel_common.store import AggregateRef


@pytest.mark.requirement("AU-06")
async def test_an_erasure_is_answered_and_the_log_stays_as_it_is(tmp_path, database_url):
    settings = AuditSettings(database_url=database_url, data_dir=tmp_path, nats_url="nats://127.0.0.1:1")
    app = build_app(settings)
    arrival = Feed("intake").event("patient-erased", {"patient_id": "patient-1", "ground": "patient-request"})
    async with app.router.lifespan_context(app):
        runtime = app.state.runtime
        answers = ErasureAnswers(ErasureCompleted)
        projection = erasures_projection(answers)
        for _ in range(2):
            async with runtime.database.write() as conn:
                decoded = projection.catalogue.decode(arrival.envelope)
                await projection.apply(conn, arrival.envelope, decoded, arrival.event_bytes)
            await projection.after_commit([arrival.envelope])
        task = asyncio.create_task(answers.run(runtime))
        try:
            async with asyncio.timeout(20):
                while not (events := await answered(runtime)):
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
    (event,) = events
    assert event.data == {"patient_id": "patient-1", "erasure_id": arrival.envelope.id, "cleared": {}}
    assert (event.source, event.causationid) == ("/spoel/local/audit/main", arrival.envelope.id)


async def answered(runtime):
    async with runtime.database.read() as conn:
        return await runtime.store.load(conn, AggregateRef("erasure", "patient-1"))

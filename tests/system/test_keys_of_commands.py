"""Every command of every service needs an Idempotency-Key; the emergency stop needs nothing (INV-8)."""

import base64
import re

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from spoel_audit.app import build_app as audit
from spoel_audit.settings import AuditSettings
from spoel_common.people import Actor, Role
from spoel_intake.app import create_app as intake
from spoel_intake.settings import IntakeSettings
from spoel_planning.app import create_app as planning
from spoel_planning.settings import PlanningSettings
from spoel_stimulation.app import build_app as stimulation
from spoel_stimulation.settings import StimulationSettings

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
FREE = {"POST /rooms/{room_id}/emergency-stop", "POST /sessions/{session_id}/loss-of-consciousness"}


class Anybody:
    async def verify(self, _token):
        return Actor(person_id="anybody", roles=frozenset(Role))


@pytest.fixture
def apps(tmp_path):
    """The applications of all services, not opened: a request that gets as far as the database fails."""
    kek = tmp_path / "kek"
    kek.write_text(base64.b64encode(bytes(32)).decode())
    kek.chmod(0o600)
    made = [
        intake(IntakeSettings(kek_file=kek, data_dir=tmp_path)),
        planning(PlanningSettings(data_dir=tmp_path)),
        stimulation(StimulationSettings(data_dir=tmp_path)),
        audit(AuditSettings(data_dir=tmp_path)),
    ]
    for app in made:
        app.state.runtime.verifier = Anybody()
    return made


def writes_of(app):
    return {
        f"{method} {context.path}"
        for context in iter_route_contexts(app.routes)
        for method in WRITES & (context.methods or set())
    }


@pytest.mark.invariant("INV-8")
async def test_every_write_of_every_service_but_the_emergency_stop_is_refused_without_a_key(apps):
    seen = set()
    for app in apps:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            for write in writes_of(app) - FREE:
                method, template = write.split()
                path = re.sub(r"\{[^}]+\}", "x1", template)
                answer = await client.request(method, path, json={}, headers={"Authorization": "Bearer anybody"})
                assert answer.status_code == 400, (write, answer.text)
                assert "Idempotency-Key" in answer.text, write
                seen.add(write)
    assert len(seen) > 30
    assert set().union(*map(writes_of, apps)) - seen == FREE

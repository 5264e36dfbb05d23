"""Read models: repeats and foreign orders of arrival lead to the same knowledge."""

import pytest

from spoel_planning import queries
from spoel_planning.app import create_app
from spoel_planning.foreign_events import FOREIGN_EVENTS
from spoel_planning.projections import _HANDLERS, knowledge_projection
from spoel_planning.settings import PlanningSettings


def test_every_foreign_event_has_a_handler():
    assert set(_HANDLERS) == set(FOREIGN_EVENTS.models)
    assert knowledge_projection().services == ("intake", "stimulation")


@pytest.mark.invariant("INV-3")
@pytest.mark.parametrize("order", ["0123", "3210", "1302", "2031"])
async def test_any_order_between_aggregates_gives_the_same_knowledge(quiet_clinic, order):
    acts = [
        quiet_clinic.hear_room,
        lambda: quiet_clinic.hear_registration("pro"),
        lambda: quiet_clinic.hear_stimuli("s-1", "order-1", (30, "no")),
        lambda: quiet_clinic.hear_treatable("case-1", "patient-1"),
    ]
    for index in order:
        await acts[int(index)]()
    async with quiet_clinic.runtime.database.read() as conn:
        assert (await queries.find_case(conn, "case-1")).consent == "given"
        assert len(await queries.list_rooms(conn)) == 1
        assert len(await queries.find_registrations(conn, "pro")) == 1
        assert (await queries.find_session(conn, "s-1")).stimuli[0].percent_mso == 30


async def test_a_case_knows_consent_before_its_referral(quiet_clinic):
    await quiet_clinic.hear_case("consent-given")
    async with quiet_clinic.runtime.database.read() as conn:
        case = await queries.find_case(conn, "case-1")
    assert (case.patient_id, case.indication, case.consent) == ("patient-1", None, "given")


async def test_stimuli_are_ordered_by_their_sessions_versions(quiet_clinic):
    await quiet_clinic.hear_stimuli("s-1", "order-1", (30, "no"), (35, "no"), (40, "no"))
    await quiet_clinic.hear_stimuli("s-2", "order-1", (30, "no"))
    async with quiet_clinic.runtime.database.read() as conn:
        session = await queries.find_session(conn, "s-1")
    assert [each.percent_mso for each in session.stimuli] == [30, 35, 40]
    assert session.stimuli_elsewhere == 1


async def test_an_ended_registration_without_a_record_supports_nobody(quiet_clinic):
    ended = {"person_id": "pro", "big_number": "19000000030", "ended_on": "2026-11-01", "reason": "left"}
    await quiet_clinic.hear("spoel.intake.registration-ended.v1", "pro", ended)
    async with quiet_clinic.runtime.database.read() as conn:
        assert await queries.find_registrations(conn, "pro") == []


def test_a_time_zone_that_is_none_stops_the_start():
    with pytest.raises(ValueError, match="Europe/Amsterdam"):
        PlanningSettings(time_zone="Europe/Atlantis")


def test_the_app_is_wired_without_opening_anything(tmp_path):
    database = tmp_path / "planning.db"
    create_app(PlanningSettings(database_url=f"sqlite:///{database}", data_dir=tmp_path))
    assert not database.exists()

"""What a device said is in no log of a room: in a blinded session it could tell the condition (ST-09)."""

from dataclasses import replace

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import PATIENT
from tests.stimulation.test_blinding import AP_COIL, SHORT, blinded_order

from spoel_common.sealing import generate_key_pair, open_sealed
from spoel_stimulation import foreign_events as told_by_others
from spoel_stimulation.devices.adapter import LinkLost
from spoel_stimulation.domain.blinding import NOT_SHOWN

REALISED = "it gave 49 A/µs at side B"


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
async def test_a_lost_link_tells_the_log_its_kind_alone_and_its_detail_is_sealed(tmp_path, monkeypatch, capfd):
    async def deaf():
        raise LinkLost(REALISED)

    async with simulated(tmp_path, fast_clock()) as clinic:
        clinic.simulator.settings = replace(clinic.simulator.settings, coil=AP_COIL)
        async with clinic.opened():
            session_id = await clinic.prepare(blinded_order(SHORT))
            keys = generate_key_pair()
            await clinic.tell(told_by_others.PatientRegistered(patient_id=PATIENT, public_key=keys.public_key))
            await clinic.seated(session_id)
            monkeypatch.setattr(clinic.room.device, "refresh_status", deaf)
            monkeypatch.setattr(clinic.room.device, "counters", deaf)
            monkeypatch.setattr(clinic.room, "_limits", clinic.room.limits.model_copy(update={"max_status_age_s": 0.0}))
            await clinic.room.freshen()
            await clinic.room.count()
            monkeypatch.undo()
            clinic.room.link.give_up(REALISED)
            (fault,) = await clinic.until_event("device-fault")
            await clinic.ready()
            (event,) = [each for each in await clinic.events() if each.type.split(".")[2] == "device-fault"]
    assert (fault["kind"], fault["detail"]) == ("link-lost", NOT_SHOWN)
    assert open_sealed(fault["sealed_detail"], keys.private_key, event.id, event.type) == REALISED
    logged = "".join(capfd.readouterr())
    assert all(name in logged for name in ("link.lost", "room.status-not-refreshed", "room.not-counted"))
    assert REALISED not in logged

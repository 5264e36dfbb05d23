"""A room with a Magstim Rapid² on its wire, over HTTP: no counter, the host keeps the pause, the code is a secret."""

from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise

import pytest
from pydantic import ValidationError
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.devices.rooms import INVENTED_CODE
from tests.stimulation.story import Pattern, treatment_order

from spoel_common.settings import CannotStart
from spoel_stimulation.devices.simulators import Wanted, simulate
from spoel_stimulation.settings import RoomSetting

DEVICE = {"stimulator_model": "Magstim Super Rapid² Plus", "coil_model": "D70²"}
TEN_HZ = Pattern(pulses_per_burst=1, bursts_per_train=40, burst_interval_s=0.1, trains=3, train_interval_s=6.0)
SPEED = 20.0
LONGEST_WAIT_S = 5.6
"""After 40 pulses at 10 Hz and full output; at 96 % it is 4.85 s (devices' energy table)."""


def rapid(clock, *, number, log_path):
    return simulate("magstim-rapid2", Wanted(clock, number, log_path, unlock_code=INVENTED_CODE))


@asynccontextmanager
async def room(folder, mode=0o600, **changes):
    code = folder / "unlock-code"
    code.write_text(INVENTED_CODE)
    code.chmod(mode)
    of_room = {"unit": "super-plus", "coil_model": "D70²", "serial": "M-1", "unlock_code_file": code, **changes}
    rooms = {"device": "magstim-rapid2", "kind": rapid, "of_room": of_room}
    async with simulated(folder, fast_clock(SPEED), **rooms) as clinic, clinic.opened():
        yield clinic


@pytest.mark.requirement("ST-08")
@pytest.mark.requirement("ST-06")
@pytest.mark.invariant("INV-1")
async def test_a_session_is_delivered_and_the_host_keeps_the_pause_that_the_device_needs(tmp_path):
    order = treatment_order(TEN_HZ, threshold=80, percent=120.0, **DEVICE)
    async with room(tmp_path) as clinic:
        await clinic.ready()
        session_id = await clinic.started(await clinic.prepare(order))
        session = await clinic.until_state(session_id, "closed")
        assert (session["progress"]["pulses_delivered"], session["progress"]["pulses_unknown"]) == (120, 0)
        assert clinic.simulator.total_pulses == 120
        delivered = await clinic.events("train-delivered")
        assert {(event["evidence"], event["device_total_pulses_after"]) for event in delivered} == {("status", None)}
        onsets = [datetime.fromisoformat(event["first_onset_at"]) for event in delivered]
        assert all((later - earlier).total_seconds() >= 3.9 + 4.85 for earlier, later in pairwise(onsets)), onsets
        assert (await clinic.room_view())["device"]["serial"] == "SIM-1"


@pytest.mark.requirement("ST-08")
@pytest.mark.hazard("HZ-13")
async def test_theta_burst_over_its_serial_line_is_refused_when_the_session_is_taken_into_the_room(tmp_path):
    theta = Pattern(
        pulses_per_burst=3,
        pulse_interval_s=0.02,
        bursts_per_train=10,
        burst_interval_s=0.2,
        trains=20,
        train_interval_s=10.0,
    )
    async with room(tmp_path) as clinic:
        await clinic.ready()
        refused = await clinic.open(await clinic.prepare(treatment_order(theta, **DEVICE)))
        assert (refused.status_code, refused.json()["type"].rsplit(":", 1)[-1]) == (422, "beyond-device-capability")
        assert clinic.simulator.total_pulses == 0


async def test_a_wrong_unlock_code_is_told_without_the_code(tmp_path):
    other = tmp_path / "other"
    other.write_text("0000-00000000-00")
    other.chmod(0o600)
    async with room(tmp_path, unlock_code_file=other) as clinic:
        await clinic.until(lambda: "unlock" in clinic.room.link.problem.lower(), "the problem is told")
        assert "0000-00000000" not in clinic.room.link.problem


async def test_an_unlock_code_that_others_may_read_keeps_the_service_from_starting(tmp_path):
    with pytest.raises(CannotStart, match="room-1"):
        async with room(tmp_path, mode=0o644):
            pass


@pytest.mark.parametrize(
    ("device", "of_others"),
    [("duomag", {"unlock_code_file": "/x"}), ("magpro", {"mains_v": 115}), ("magstim-200", {"unit": "super"})],
)
def test_a_setting_that_means_nothing_to_a_device_is_refused(device, of_others):
    with pytest.raises(ValidationError, match=next(iter(of_others))):
        RoomSetting(room_id="room-1", device=device, address="/dev/ttyS0", **of_others)

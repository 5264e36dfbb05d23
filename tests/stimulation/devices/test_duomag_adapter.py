"""The DuoMAG's adapter on the simulator, over the wire: pulses one by one, and what happens at the device.

What it promises as every maker's does is in ``test_every_maker``.
"""

import asyncio
from dataclasses import replace

import pytest

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.adapter import (
    NotAllowed,
    NotReady,
    RefusedByDevice,
    SettingNotTaken,
    TrainSettings,
)
from spoel_stimulation.devices.duomag.adapter import DuoMagAdapter
from spoel_stimulation.devices.duomag.codec import Delay
from spoel_stimulation.devices.duomag.simulator import DuoMagSimulator
from spoel_stimulation.devices.simulation.faults import Fault, Faults

ONE_HZ = TrainSettings(rate_hz=1.0, stimuli=4, percent_mso=55)
SINGLE = TrainSettings(rate_hz=1.0, stimuli=1, percent_mso=55)


@pytest.mark.requirement("ST-06")
@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize("pty", [False, True], ids=["tcp", "pty"])
async def test_pulses_are_given_one_by_one_at_their_time(open_duomag, pty):
    async with open_duomag(pty=pty, number=7) as room:
        identity = await room.adapter.connect()
        assert (identity.model, identity.serial, identity.coil_model) == ("DuoMAG", "SIM-7", "coil-1")
        read_back = await room.arm(ONE_HZ)
        assert read_back.set_point == read_back.read_back
        assert room.simulator.percent == 55
        began = room.adapter._clock.monotonic_ns()
        result = await room.adapter.run_train(ONE_HZ)
        assert room.adapter._clock.monotonic_ns() - began >= 3 * 10**9
        assert (result.outcome, result.pulses, result.evidence) == ("complete", 4, "status")
        assert (result.counters_before, result.realised) == (None, None)
        assert await room.adapter.counters() is None
        assert room.simulator.total_pulses == room.starts() == 4
        assert await room.adapter.disarm()
        assert room.simulator.percent == 0
        assert room.adapter.unasked.empty()


@pytest.mark.hazard("HZ-07")
async def test_what_was_left_set_on_the_device_does_not_change_the_dose(open_duomag):
    async with open_duomag() as room:
        room.simulator.percent, room.simulator.recharge, room.simulator.ttl_out = 93, Delay(99, 5), Delay(3, 7)
        await room.adapter.connect()
        assert room.simulator.percent == 0
        read_back = await room.arm(SINGLE)
        assert read_back.read_back == {"recharge_delay_ms": 0.0, "trigger_out_delay_ms": 0.0}
        assert (await room.adapter.run_train(SINGLE)).outcome == "complete"
        assert (room.simulator.percent, room.simulator.recharge, room.simulator.ttl_out) == (
            55,
            Delay(0, 0),
            Delay(0, 0),
        )


class DeafToDelays(DuoMagSimulator):
    def _take_delay(self, _command):
        """Take no delay."""


@pytest.mark.invariant("INV-2")
async def test_a_setting_that_reads_back_otherwise_is_not_armed(open_duomag, hurried):
    async with open_duomag(kind=DeafToDelays) as room:
        room.simulator.recharge = Delay(99, 5)
        await room.adapter.connect()
        with pytest.raises(SettingNotTaken, match="recharge_delay_ms"):
            await room.adapter.stage(SINGLE)
        with pytest.raises(NotReady):
            await room.adapter.arm()
        assert room.simulator.percent == 0


async def test_the_intensity_can_be_changed_staged_or_armed(duomag):
    await duomag.adapter.stage(SINGLE)
    await duomag.adapter.change_percent_mso(50)
    assert duomag.simulator.percent == 0
    await duomag.adapter.arm()
    assert (await duomag.adapter.change_percent_mso(51)).read_back["percent_mso"] == 51
    with pytest.raises(NotReady):
        await duomag.adapter.run_train(SINGLE)
    assert (await duomag.adapter.run_train(SINGLE.model_copy(update={"percent_mso": 51}))).outcome == "complete"
    assert (await duomag.adapter.refresh_status()).percent_mso == 51


async def test_a_disarm_between_two_pulses_ends_the_train(duomag, until):
    await duomag.arm(ONE_HZ)
    train = asyncio.create_task(duomag.adapter.run_train(ONE_HZ))
    await until(lambda: duomag.simulator.total_pulses >= 2)
    assert await duomag.adapter.disarm()
    result = await train
    assert (result.outcome, result.pulses) == ("partial", duomag.simulator.total_pulses)
    assert result.pulses < 4


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
@pytest.mark.parametrize("armed", [True, False])
async def test_a_pulse_fired_at_the_device_is_told_and_disarms(duomag, armed):
    if armed:
        await duomag.arm(SINGLE)
    duomag.simulator.faults.set(Fault.PANEL_FIRE)
    unasked = await duomag.unasked("pulse")
    assert (unasked.pulses, unasked.device_total_pulses, unasked.disarmed) == (1, None, True)
    assert (duomag.simulator.percent, duomag.simulator.total_pulses) == (0, 1)


async def test_a_pulse_from_the_panel_waits_for_the_first_arming(open_duomag):
    async with open_duomag(faults=Faults([Fault.PANEL_FIRE])) as room:
        await room.adapter.connect()
        assert room.simulator.total_pulses == 0
        (result,) = await asyncio.gather(room.arm(SINGLE), return_exceptions=True)
        assert isinstance(result, NotReady | RefusedByDevice)
        assert (await room.unasked("pulse")).pulses == 1


@pytest.mark.hazard("HZ-09")
async def test_staging_never_leaves_intensity_0_and_arming_that_is_broken_off_goes_back_to_it(duomag):
    await duomag.adapter.stage(SINGLE)
    assert set(duomag.frames_in()) <= {"0000", "8080", "a0a0", "c0c0", "e0e0"}
    duomag.simulator._charged = False
    arming = asyncio.create_task(duomag.adapter.arm())
    while duomag.simulator.percent == 0:
        await asyncio.sleep(0.001)
    arming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await arming
    assert duomag.simulator.percent == 0


@pytest.mark.hazard("HZ-10")
async def test_without_trains_a_disarm_has_none_to_wait_for(duomag):
    duomag.simulator.faults.set(Fault.DISABLE_AFTER_TRAIN)
    await duomag.arm(SINGLE)
    assert await duomag.adapter.disarm()


@pytest.mark.hazard("HZ-11")
@pytest.mark.invariant("INV-9")
async def test_a_pulse_that_is_sent_and_not_seen_is_unknown_and_never_sent_again(duomag, hurried):
    await duomag.arm(ONE_HZ)
    duomag.simulator.faults.set(Fault.GO_SILENT)
    result = await duomag.adapter.run_train(ONE_HZ)
    assert (result.outcome, result.pulses, duomag.starts()) == ("unknown", None, 1)
    assert (await duomag.unasked("link-lost")).kind == "link-lost"
    assert duomag.simulator.percent == 0
    duomag.simulator.faults.clear(Fault.GO_SILENT)


class RealUnit(DuoMagSimulator):
    def status(self):
        return replace(super().status(), mark=(0, 0))


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize(
    ("kind", "speed", "clinical"), [(RealUnit, 20.0, False), (RealUnit, 20.0, True), (DuoMagSimulator, 1.0, True)]
)
async def test_demo_and_treatment_do_not_mix(open_duomag, kind, speed, clinical):
    async with open_duomag(kind=kind, speed=speed, clinical=clinical) as room:
        with pytest.raises(NotAllowed):
            await room.adapter.connect()
        with pytest.raises(NotReady):
            await room.adapter.counters()


@pytest.mark.hazard("HZ-25")
async def test_a_unit_that_does_not_say_who_it_is_is_taken_at_speed_one(open_duomag):
    async with open_duomag(kind=RealUnit, speed=1.0, clinical=True) as room:
        identity = await room.adapter.connect()
        assert (identity.serial, identity.simulated) == ("not-told", False)


async def test_the_process_says_where_it_is(simulator_process):
    async with simulator_process("duomag", "--pty", "--number", "3", "--fault", "overheat") as (_, first):
        adapter = DuoMagAdapter(first["address"], ScaledClock.starting_now())
        identity = await adapter.connect()
        assert identity.serial == first["serial"] == "SIM-3"
        await adapter.close()

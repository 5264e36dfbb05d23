"""The adapter on a simulator, over the wire: trains as ordered, nothing unverified armed, nothing started twice."""

import asyncio
import random
from dataclasses import replace

import pytest

from spoel_stimulation.devices.adapter import (
    InterlockOpen,
    NotAllowed,
    NotReady,
    NotSupported,
    RefusedByDevice,
    SettingNotTaken,
    TrainSettings,
)
from spoel_stimulation.devices.magpro import conversation
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.magpro.simulator_state import Settings
from spoel_stimulation.devices.magpro.values import BURST_INTERVALS_TENTH_MS, Direction, Mode, Model, Page, Wave


@pytest.mark.requirement("ST-06")
@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize("pty", [False, True], ids=["tcp", "pty"])
@pytest.mark.parametrize("pattern", ["ten_hz", "itbs"])
async def test_trains_are_delivered_as_ordered(open_room, request, pattern, pty):
    settings = request.getfixturevalue(pattern)
    async with open_room(pty=pty, number=7) as room:
        identity = await room.adapter.connect()
        assert (identity.model, identity.serial, identity.coil_model) == ("MagPro X100+Option", "SIM-7", "Cool-B65")
        assert identity.simulated
        read_back = await room.arm(settings)
        assert read_back.set_point == read_back.read_back
        named = {"page", "mode", "waveform", "current_direction", "pulses_per_burst", "rate_hz", "stimuli"}
        assert named | {"trains", "percent_mso", "coil_model"} <= set(read_back.read_back)
        for done in (1, 2, 3):
            result = await room.adapter.run_train(settings)
            assert (result.outcome, result.pulses) == ("complete", settings.pulses)
            assert result.evidence == "frames-and-counter"
            didt = 160 * settings.percent_mso // 100
            assert (result.realised.stimuli, result.realised.lowest, result.realised.highest) == (
                settings.stimuli,
                didt,
                didt,
            )
            assert result.counters_after.pulses == done * settings.pulses
            assert result.first_onset_utc_ns <= result.ended_utc_ns
        assert room.simulator.total_pulses == room.pulses_logged() == 3 * settings.pulses
        assert room.starts() == 3
        assert room.adapter.unasked.empty()


@pytest.mark.requirement("ST-08")
async def test_pairs_of_two_intensities_are_delivered_and_counted(open_room):
    async with open_room() as room:
        await room.adapter.connect()
        read_back = await room.arm(PAIR)
        expected = {"mode": "dual", "pulses_per_burst": 2, "pulse_interval_ms": 3.0, "second_percent_mso": 60}
        assert expected.items() <= read_back.read_back.items()
        result = await room.adapter.run_train(PAIR)
        assert (result.outcome, result.pulses, result.evidence) == ("complete", 20, "frames-and-counter")
        assert room.simulator.total_pulses == 20
        with pytest.raises(NotReady, match="two intensities"):
            await room.adapter.change_percent_mso(39)
        assert room.adapter.unasked.empty()
        room.simulator.settings = replace(room.simulator.settings, amplitude_b=90)
        assert "second amplitude 90 % instead of 60 %" in (await room.unasked()).detail


@pytest.mark.invariant("INV-11")
async def test_every_start_is_of_one_train_of_the_device(room, ten_hz, itbs):
    for settings in (ten_hz, itbs):
        await room.arm(settings)
        await room.adapter.run_train(settings)
    writes = [bytes.fromhex(body) for body in room.bodies_in() if body.startswith("0b01")]
    assert [int.from_bytes(body[7:9], "big") for body in writes] == [1, 1]
    assert room.simulator.trains == 2


def left_over(seed):
    """What somebody may have left set on the device."""
    chance = random.Random(seed)
    settings = Settings(
        page=chance.choice([Page.MAIN, Page.TIMING, Page.PROTOCOL, Page.MEP]),
        amplitude_a=chance.randrange(101),
        amplitude_b=chance.randrange(101),
        coil=chance.choice([60, 60, 72, 0]),
        mode=chance.choice([Mode.STANDARD, Mode.POWER, Mode.TWIN, Mode.DUAL]),
        direction=chance.choice(list(Direction)),
        wave=chance.choice(list(Wave)),
        burst_pulses=chance.randrange(2, 6),
        interval_tenth_ms=chance.choice(BURST_INTERVALS_TENTH_MS),
        ratio_hundredths=chance.randrange(20, 501, 5),
    )
    timing = replace(
        settings.timing,
        control=chance.choice([0, 1, 2, 3]),
        extended_rate=chance.random() < 0.5,
        rate_tenth_hz=chance.choice([1, 10, 50, 200, 1000]),
        pulses=chance.choice([1, 40, 1000, 2000]),
        trains=chance.choice([1, 20, 500]),
        warning=chance.random() < 0.5,
    )
    return replace(settings, timing=timing, delays=replace(settings.delays, charge_ms=chance.choice([0, 4000])))


PAIR = TrainSettings(
    rate_hz=5.0, stimuli=10, percent_mso=40, pulses_per_burst=2, pulse_interval_s=0.003, second_percent_mso=60
)


@pytest.mark.hazard("HZ-07")
@pytest.mark.parametrize("seed", range(12))
async def test_what_was_left_set_on_the_device_does_not_change_the_dose(open_room, itbs, ten_hz, seed):
    settings = (itbs, ten_hz, PAIR)[seed % 3]
    async with open_room(settings=left_over(seed)) as room:
        if seed % 2:
            room.simulator.panel_enable(enabled=True)
        await room.adapter.connect()
        if room.simulator.settings.coil == 0:
            with pytest.raises(InterlockOpen):
                await room.arm(settings)
            assert (room.starts(), room.simulator.total_pulses) == (0, 0)
            return
        await room.arm(settings)
        result = await room.adapter.run_train(settings)
        assert (result.outcome, result.pulses) == ("complete", settings.pulses)
        assert room.simulator.total_pulses == settings.pulses
        assert room.simulator.settings.amplitude_a == settings.percent_mso


class DeafTo0B(MagProSimulator):
    def _set_timing(self, _command):
        """Take no timing."""


class RampedUp(MagProSimulator):
    def __init__(self, clock, **options):
        ramped = replace(Settings().timing, ramp_percent=70)
        super().__init__(clock, settings=Settings(timing=ramped), **options)


class WithHalfAmplitude(MagProSimulator):
    def _set_amplitude(self, command):
        super()._set_amplitude(replace(command, a=command.a // 2))


@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-07")
@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (DeafTo0B, "stimuli reads 5 instead of 40"),
        (RampedUp, "ramp_percent reads 70 instead of 100"),
        (WithHalfAmplitude, "percent_mso reads 27 instead of 55"),
    ],
)
async def test_a_setting_that_reads_back_otherwise_is_not_armed(open_room, monkeypatch, ten_hz, kind, word):
    monkeypatch.setattr(conversation, "SETTLE_TIMEOUT_S", 0.1)
    async with open_room(kind=kind) as room:
        await room.adapter.connect()
        with pytest.raises(SettingNotTaken, match=word):
            await room.adapter.stage(ten_hz)
        with pytest.raises(NotReady):
            await room.adapter.arm()
        assert not room.simulator.enabled
        assert "0201" not in room.bodies_in()


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    "change",
    [
        {"percent_mso": 101},
        {"rate_hz": 101.0},
        {"stimuli": 102},
        {"pulses_per_burst": 6, "pulse_interval_s": 0.01},
    ],
)
async def test_an_order_beyond_the_device_writes_nothing(room, ten_hz, change):
    await room.arm(ten_hz)
    writes = [body for body in room.bodies_in() if body != "05"]
    with pytest.raises(NotSupported):
        await room.adapter.stage(ten_hz.model_copy(update=change))
    with pytest.raises(NotSupported):
        await room.adapter.change_percent_mso(101)
    assert [body for body in room.bodies_in() if body != "05"] == writes


@pytest.mark.invariant("INV-2")
async def test_bursts_are_refused_on_a_unit_without_option(open_room, itbs, ten_hz):
    async with open_room(model=Model.X100) as room:
        assert (await room.adapter.connect()).model == "MagPro X100"
        with pytest.raises(NotSupported, match="no bursts"):
            await room.adapter.stage(itbs)
        await room.arm(ten_hz)
        assert (await room.adapter.run_train(ten_hz)).outcome == "complete"


async def test_the_intensity_can_be_changed_between_trains(room, ten_hz):
    await room.arm(ten_hz)
    await room.adapter.run_train(ten_hz)
    read_back = await room.adapter.change_percent_mso(51)
    assert read_back.read_back == {"percent_mso": 51}
    with pytest.raises(NotReady, match="not the settings"):
        await room.adapter.run_train(ten_hz)
    changed = ten_hz.model_copy(update={"percent_mso": 51})
    assert (await room.adapter.run_train(changed)).outcome == "complete"
    assert room.adapter.unasked.empty()


async def test_connecting_disarms_first(open_room):
    async with open_room() as room:
        room.simulator.panel_enable(enabled=True)
        await room.adapter.connect()
        assert not room.simulator.enabled
        assert room.bodies_in()[0] == "0200"


class StaysDisabled(MagProSimulator):
    def _set_enabled(self, command):
        super()._set_enabled(replace(command, enabled=False))


async def test_a_device_that_stays_disabled_is_not_armed(open_room, monkeypatch, ten_hz):
    monkeypatch.setattr(conversation, "ENABLE_TIMEOUT_S", 0.1)
    async with open_room(kind=StaysDisabled) as room:
        await room.adapter.connect()
        await room.adapter.stage(ten_hz)
        with pytest.raises(RefusedByDevice, match="stays disabled"):
            await room.adapter.arm()


async def test_disarm_during_a_train_makes_it_partial(room, until, ten_hz):
    await room.arm(ten_hz)
    train = asyncio.create_task(room.adapter.run_train(ten_hz))
    await until(lambda: room.simulator.total_pulses >= 5)
    assert await room.adapter.disarm()
    result = await train
    assert result.outcome == "partial"
    assert result.pulses == room.simulator.total_pulses < ten_hz.pulses
    assert not room.simulator.enabled


async def test_the_rest_of_a_train_that_nobody_follows_is_stopped(room, until, ten_hz):
    await room.arm(ten_hz)
    train = asyncio.create_task(room.adapter.run_train(ten_hz))
    await until(lambda: room.simulator.total_pulses >= 3)
    train.cancel()
    unasked = await room.unasked()
    assert (unasked.kind, unasked.disarmed) == ("pulse", True)
    assert unasked.device_total_pulses == room.simulator.total_pulses < ten_hz.pulses
    assert not room.simulator.enabled


async def test_the_status_is_kept_fresh(open_room):
    async with open_room(adapter_options={"poll_s": 0.02}) as room:
        await room.adapter.connect()
        first = room.adapter.status
        await asyncio.sleep(0.1)
        assert room.adapter.status.received_monotonic_s > first.received_monotonic_s
        assert (first.enabled, first.coil_temperature_c, first.coil_model) == (False, 22, "Cool-B65")


class RealUnit(MagProSimulator):
    """Answers with a serial number outside the simulators' range."""

    def __init__(self, clock, **options):
        super().__init__(clock, **options)
        self.serial_number = 17_004


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize(
    ("kind", "speed", "clinical", "word"),
    [
        (RealUnit, 60.0, False, "not a simulator on loopback"),
        (RealUnit, 0.5, False, "not a simulator on loopback"),
        (RealUnit, 60.0, True, "a site that treats"),
        (MagProSimulator, 1.0, True, "a site that treats"),
    ],
)
async def test_demo_and_treatment_do_not_mix(open_room, kind, speed, clinical, word):
    async with open_room(kind=kind, speed=speed, adapter_options={"clinical": clinical}) as room:
        with pytest.raises(NotAllowed, match=word):
            await room.adapter.connect()
        with pytest.raises(NotReady):
            await room.adapter.counters()


@pytest.mark.hazard("HZ-25")
async def test_a_real_unit_is_taken_at_speed_one(open_room):
    async with open_room(kind=RealUnit, speed=1.0, adapter_options={"clinical": True}) as room:
        identity = await room.adapter.connect()
        assert (identity.serial, identity.simulated) == ("17004", False)


@pytest.mark.hazard("HZ-05")
async def test_the_device_is_set_to_the_whole_percent_that_was_ordered(room):
    settings = TrainSettings(rate_hz=1.0, stimuli=1, percent_mso=63)
    await room.arm(settings)
    result = await room.adapter.run_train(settings)
    assert (result.outcome, result.pulses) == ("complete", 1)
    assert "013f" in room.bodies_in()
    assert (await room.adapter.refresh_status()).percent_mso == 63

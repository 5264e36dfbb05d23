"""What happens at the device, on the cable and to the answers, and that nothing is ever started twice because of it."""

import asyncio
from dataclasses import replace

import pytest

from spoel_stimulation.devices.adapter import BadChecksum, LinkLost, NotReady, SettingNotTaken
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.magpro.values import Mode, Page, Wave


@pytest.mark.hazard("HZ-08")
@pytest.mark.parametrize("armed", [False, True], ids=["staged", "armed"])
@pytest.mark.parametrize(
    ("touch", "word"),
    [
        (lambda device: device.panel_set_amplitude(80), "amplitude 80 % instead of 55 %"),
        (lambda device: device.panel_set_page(Page.MAIN), "page main instead of timing"),
        (lambda device: device.panel_set_mode(mode=Mode.TWIN), "mode twin instead of standard"),
        (lambda device: device.panel_set_mode(wave=Wave.BIPHASIC_BURST), "waveform biphasic_burst instead of biphasic"),
        (lambda device: device.panel_set_coil(0), "coil none instead of Cool-B65"),
    ],
    ids=["amplitude", "page", "mode", "waveform", "coil"],
)
async def test_a_change_at_the_panel_disarms_and_is_told(room, ten_hz, touch, word, armed):
    await room.adapter.stage(ten_hz)
    if armed:
        await room.adapter.arm()
    touch(room.simulator)
    unasked = await room.unasked()
    assert (unasked.kind, unasked.disarmed) == ("change", True)
    assert word in unasked.detail
    assert not room.simulator.enabled
    with pytest.raises(NotReady):
        await room.adapter.run_train(ten_hz)
    assert room.simulator.total_pulses == 0


@pytest.mark.hazard("HZ-08")
async def test_enabling_at_the_panel_what_is_only_staged_disarms(room, ten_hz):
    await room.adapter.stage(ten_hz)
    room.simulator.panel_enable(enabled=True)
    unasked = await room.unasked()
    assert "enabled at the device" in unasked.detail
    assert not room.simulator.enabled


@pytest.mark.hazard("HZ-08")
async def test_disabling_at_the_panel_voids_what_was_armed(room, ten_hz):
    await room.arm(ten_hz)
    room.simulator.panel_enable(enabled=False)
    assert "disabled at the device" in (await room.unasked()).detail
    with pytest.raises(NotReady):
        await room.adapter.run_train(ten_hz)


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_pulse_fired_at_the_device_is_counted_told_and_disarms(room, itbs):
    await room.arm(itbs)
    room.simulator.panel_fire()
    unasked = await room.unasked()
    assert (unasked.kind, unasked.pulses, unasked.device_total_pulses, unasked.disarmed) == ("pulse", 3, 3, True)
    assert not room.simulator.enabled
    with pytest.raises(NotReady):
        await room.adapter.run_train(itbs)


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_train_started_at_the_panel_is_stopped_and_counted(room, ten_hz):
    await room.arm(ten_hz)
    room.simulator.panel_start_train()
    unasked = await room.unasked()
    assert (unasked.kind, unasked.disarmed) == ("pulse", True)
    assert unasked.pulses == unasked.device_total_pulses == room.simulator.total_pulses < 40


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_pulse_whose_frame_was_lost_is_found_by_the_counter_before_the_next_train(room, ten_hz):
    await room.arm(ten_hz)
    room.cable.deaf = True
    room.simulator.panel_fire()
    await asyncio.sleep(0.02)
    room.cable.deaf = False
    with pytest.raises(NotReady, match="counted 1 pulses"):
        await room.adapter.run_train(ten_hz)
    unasked = await room.unasked()
    assert (unasked.kind, unasked.pulses, unasked.device_total_pulses) == ("pulse", 1, 1)
    assert room.starts() == 0


@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-08")
async def test_a_change_that_the_device_does_not_tell_of_is_found_before_the_start(room, ten_hz):
    await room.arm(ten_hz)
    settings = room.simulator.settings
    room.simulator.settings = replace(settings, timing=replace(settings.timing, trains=20))
    with pytest.raises(SettingNotTaken, match="trains reads 20 instead of 1"):
        await room.adapter.run_train(ten_hz)
    assert not room.simulator.enabled
    assert (room.starts(), room.simulator.total_pulses) == (0, 0)


@pytest.mark.hazard("HZ-08")
async def test_a_change_at_the_panel_during_a_train_stops_it(room, until, ten_hz):
    await room.arm(ten_hz)
    train = asyncio.create_task(room.adapter.run_train(ten_hz))
    await until(lambda: room.simulator.total_pulses >= 3)
    room.simulator.panel_set_amplitude(90)
    result = await train
    assert result.outcome == "partial"
    assert "amplitude 90 %" in result.reason
    assert (await room.unasked()).kind == "change"
    assert room.simulator.total_pulses == result.pulses < ten_hz.pulses


@pytest.mark.invariant("INV-9")
@pytest.mark.invariant("INV-11")
async def test_a_cut_cable_makes_the_outcome_unknown_and_the_device_ends_after_one_train(room, until, ten_hz):
    await room.arm(ten_hz)
    train = asyncio.create_task(room.adapter.run_train(ten_hz))
    await until(lambda: room.simulator.total_pulses >= 3)
    room.cable.cut()
    result = await train
    assert (result.outcome, result.pulses) == ("unknown", None)
    unasked = await room.unasked()
    assert (unasked.kind, unasked.disarmed) == ("link-lost", False)
    assert not await room.adapter.disarm()
    with pytest.raises(LinkLost):
        await room.adapter.counters()
    await until(lambda: not room.simulator.running)
    await asyncio.sleep(0.05)
    assert room.simulator.total_pulses == ten_hz.pulses
    assert room.starts() == 1


@pytest.mark.invariant("INV-9")
async def test_after_a_cut_the_device_can_be_connected_and_used_again(room, ten_hz):
    await room.arm(ten_hz)
    room.cable.cut()
    assert (await room.unasked()).kind == "link-lost"
    await room.adapter.connect()
    assert not room.simulator.enabled
    await room.arm(ten_hz)
    assert (await room.adapter.run_train(ten_hz)).outcome == "complete"


class DeafAfter(MagProSimulator):
    """Its cable loses everything that the device says from the first stimulus on, or from the start on."""

    def __init__(self, clock, **options):
        super().__init__(clock, **options)
        self.cable = None
        self.at_start = True

    def _fire_train(self, command):
        self.cable.deaf = self.at_start
        super()._fire_train(command)

    def _stimulate(self, onset_utc_ns):
        super()._stimulate(onset_utc_ns)
        if self.counts.stimuli == 5:
            self.cable.deaf = True


@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize("at_start", [True, False])
async def test_when_every_answer_is_lost_the_outcome_is_unknown_and_nothing_is_sent_again(
    open_room, hurried, ten_hz, at_start
):
    async with open_room(kind=DeafAfter, adapter_options={"answer_timeout_s": 0.1}) as room:
        room.simulator.cable, room.simulator.at_start = room.cable, at_start
        await room.adapter.connect()
        await room.arm(ten_hz)
        result = await room.adapter.run_train(ten_hz)
        assert (result.outcome, result.pulses) == ("unknown", None)
        assert room.starts() == 1
        assert "0200" in room.bodies_in()[room.bodies_in().index("04") :]
        assert not room.simulator.enabled


class IgnoresStart(MagProSimulator):
    def _fire_train(self, _command):
        """Do nothing."""


@pytest.mark.invariant("INV-9")
async def test_a_start_that_the_device_ignores_is_none_and_not_sent_again(open_room, hurried, ten_hz):
    async with open_room(kind=IgnoresStart) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        result = await room.adapter.run_train(ten_hz)
        assert (result.outcome, result.pulses) == ("none", 0)
        assert "nothing was heard of the start" in result.reason
        assert room.starts() == 1
        assert not room.simulator.enabled


class CountsPlanned(MagProSimulator):
    """The counter means what one open client says: pulses planned on the Timing page."""

    def __init__(self, clock, **options):
        super().__init__(clock, **options)
        told = self._tell.counters
        self._tell.counters = lambda: replace(told(), total_pulses=self.settings.timing.pulses)


@pytest.mark.requirement("ST-06")
async def test_a_counter_that_means_something_else_never_makes_a_train_known(open_room, ten_hz):
    async with open_room(kind=CountsPlanned) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        with pytest.raises(NotReady, match="nobody here asked for"):
            await room.adapter.run_train(ten_hz)
        assert (await room.unasked()).kind == "pulse"
        await room.arm(ten_hz)
        result = await room.adapter.run_train(ten_hz)
        assert result.outcome == "unknown"
        assert "40 pulses were heard of, but the device counted 0" in result.reason


async def test_a_silent_device_is_noticed(open_room, hurried, ten_hz):
    async with open_room(adapter_options={"poll_s": 0.05, "answer_timeout_s": 0.1}) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        room.cable.deaf = True
        unasked = await room.unasked()
        assert (unasked.kind, unasked.disarmed) == ("link-lost", False)
        assert not room.simulator.enabled


async def test_damaged_answers_are_told_from_silence(open_room):
    async with open_room(adapter_options={"answer_timeout_s": 0.2}) as room:
        await room.adapter.connect()
        room.cable.noisy = True
        with pytest.raises(BadChecksum, match="damaged frames"):
            await room.adapter.counters()
        room.cable.noisy = False
        assert (await room.adapter.counters()).pulses == 0


async def test_a_disarm_while_closing_and_cutting_never_raises(room, ten_hz):
    await room.arm(ten_hz)
    disarms = [asyncio.create_task(room.adapter.disarm()) for _ in range(3)]
    await asyncio.sleep(0)
    room.cable.cut()
    await room.adapter.close()
    await asyncio.gather(*disarms)
    assert not await room.adapter.disarm()


async def test_closing_disarms(room, ten_hz):
    await room.arm(ten_hz)
    await room.adapter.close()
    assert not room.simulator.enabled

"""A stimulator that is set by hand: the operator's word in place of a read-back, triggers through a box on the wire."""

import asyncio
import json
from contextlib import asynccontextmanager, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.adapter import (
    LinkLost,
    NotAllowed,
    NotReady,
    NotSupported,
    SettingNotTaken,
    TrainSettings,
)
from spoel_stimulation.devices.guarding import Reading
from spoel_stimulation.devices.manual import adapter as adapter_module
from spoel_stimulation.devices.manual.adapter import ManualAdapter, Shown
from spoel_stimulation.devices.manual.box import TRIGGER, Lines, SingleBytes, TriggerBoxGuarded, greeted_by
from spoel_stimulation.devices.manual.capability import capability_of
from spoel_stimulation.devices.manual.simulator import TriggerBoxSimulator
from spoel_stimulation.devices.simulation.faults import Fault
from spoel_stimulation.devices.simulation.ports import on_pty, on_tcp

ONE_HZ = TrainSettings(rate_hz=1.0, stimuli=4, percent_mso=55)
BURSTS = TrainSettings(rate_hz=1.0, stimuli=2, percent_mso=48, pulses_per_burst=3, pulse_interval_s=0.02)


def shown(settings=ONE_HZ, **changes):
    values = settings.model_dump(exclude={"rate_hz", "stimuli"})
    return Shown.model_validate(values | {"coil_model": "MCF-B65"} | changes)


class Room:
    def __init__(self, box, adapter):
        self.box, self.adapter = box, adapter

    async def arm(self, settings=ONE_HZ, **changes):
        self.adapter.confirm(shown(settings, **changes))
        read_back = await self.adapter.stage(settings)
        await self.adapter.arm()
        return read_back


@pytest.fixture
def open_manual(tmp_path):
    @asynccontextmanager
    async def opened(*, speed=20.0, port=on_tcp, clinical=False, kind=TriggerBoxSimulator):
        clock = ScaledClock.starting_now(speed)
        box = kind(clock, number=4, log_path=tmp_path / "box.jsonl")
        with closing(box):
            async with port(box) as address:
                adapter = ManualAdapter(address, clock, clinical=clinical, model="Neurosoft MS/D", serial="1234")
                yield Room(box, adapter)
                await adapter.close()

    return opened


@pytest.fixture
async def manual(open_manual):
    async with open_manual() as room:
        await room.adapter.connect()
        yield room


async def run_and_read(room, settings, until, counter_after):
    """Run a train; when its triggers are through, the operator reads the device's counter."""
    before = room.box.total_pulses
    train = asyncio.create_task(room.adapter.run_train(settings))
    await until(lambda: room.box.total_pulses == before + settings.stimuli)
    await asyncio.sleep(0.02)
    room.adapter.confirm(shown(settings, pulse_counter=counter_after))
    return await train


@pytest.mark.requirement("ST-06")
@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize("port", [on_tcp, on_pty], ids=["tcp", "pty"])
@pytest.mark.parametrize("settings", [ONE_HZ, BURSTS], ids=["pulses", "bursts"])
async def test_triggers_are_sent_one_by_one_and_the_operator_tells_the_outcome(open_manual, until, port, settings):
    async with open_manual(port=port) as room:
        identity = await room.adapter.connect()
        assert (identity.model, identity.serial, identity.simulated) == ("Neurosoft MS/D", "SIM-4", True)
        read_back = await room.arm(settings, pulse_counter=1_000)
        assert read_back.set_point == read_back.read_back
        assert (read_back.read_back["read_by"], read_back.read_back["percent_mso"]) == (
            "operator",
            settings.percent_mso,
        )
        result = await run_and_read(room, settings, until, 1_000 + settings.pulses)
        assert (result.outcome, result.pulses, result.evidence) == ("complete", settings.pulses, "operator")
        assert (result.counters_before, await room.adapter.counters()) == (None, None)
        assert room.box.total_pulses == settings.stimuli
        assert room.adapter.unasked.empty()


@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize("counter", [None, 1_000])
async def test_without_the_device_s_counter_before_and_after_the_outcome_is_unknown(
    manual, monkeypatch, until, counter
):
    monkeypatch.setattr(adapter_module, "READ_COUNTER_TIMEOUT_S", 0.05)
    await manual.arm(pulse_counter=counter)
    result = await manual.adapter.run_train(ONE_HZ)
    assert (result.outcome, result.pulses, result.evidence) == ("unknown", None, None)
    assert "4 triggers were sent" in result.reason
    await until(lambda: manual.box.total_pulses == 4)


@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize(
    ("counted", "outcome", "pulses"), [(4, "complete", 4), (3, "partial", 3), (0, "none", 0), (-1, "unknown", None)]
)
async def test_the_outcome_is_what_the_device_s_counter_says(manual, until, counted, outcome, pulses):
    await manual.arm(pulse_counter=10)
    result = await run_and_read(manual, ONE_HZ, until, 10 + counted)
    assert (result.outcome, result.pulses) == (outcome, pulses)


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_counter_read_before_an_earlier_train_says_nothing_of_this_one(manual, until, monkeypatch):
    await manual.arm(pulse_counter=10)
    with monkeypatch.context() as impatient:
        impatient.setattr(adapter_module, "READ_COUNTER_TIMEOUT_S", 0.05)
        assert (await manual.adapter.run_train(ONE_HZ)).outcome == "unknown"
    manual.box.faults.set(Fault.REFUSE)
    second = asyncio.create_task(manual.adapter.run_train(ONE_HZ))
    sent = manual.adapter.last_stimulus_monotonic_s
    await until(lambda: manual.adapter.last_stimulus_monotonic_s > sent or second.done())
    result = await asyncio.wait_for(second, 10)
    assert (result.outcome, result.pulses) == ("unknown", None), "4 pulses of the first train, none of this one"


async def test_more_pulses_than_triggers_are_nobody_s(manual, until):
    await manual.arm(pulse_counter=10)
    assert (await run_and_read(manual, ONE_HZ, until, 16)).pulses == 6
    unasked = manual.adapter.unasked.get_nowait()
    assert (unasked.kind, unasked.pulses) == ("pulse", 2)
    with pytest.raises(NotReady):
        await manual.adapter.run_train(ONE_HZ)


@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-07")
@pytest.mark.parametrize(
    "change",
    [
        {"percent_mso": 56},
        {"waveform": "monophasic"},
        {"current_direction": "reverse"},
        {"pulses_per_burst": 3, "pulse_interval_s": 0.02},
    ],
)
async def test_what_the_device_shows_must_be_what_is_ordered(manual, change):
    manual.adapter.confirm(shown(**change))
    with pytest.raises(SettingNotTaken, match=next(iter(change))):
        await manual.adapter.stage(ONE_HZ)
    with pytest.raises(NotReady):
        await manual.adapter.arm()
    assert manual.box.total_pulses == 0


@pytest.mark.invariant("INV-11")
async def test_a_device_that_runs_a_train_on_each_trigger_is_refused(manual):
    with pytest.raises(NotSupported, match="10 pulses or bursts on each trigger"):
        manual.adapter.confirm(shown(stimuli_per_trigger=10))
    assert manual.adapter.status is None


@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rate_hz": 5.0}, "at most one in 1 s"),
        ({"pulses_per_burst": 3, "pulse_interval_s": 0.02, "rate_hz": 5.0, "stimuli": 10}, "choose another stimulator"),
        ({"pulses_per_burst": 6, "pulse_interval_s": 0.02}, "1 to 5 pulses"),
        ({"percent_mso": 0}, "percent_mso is 0"),
        ({"stimuli": 12}, "longer than 10 s"),
    ],
)
async def test_what_a_host_cannot_time_is_refused(manual, change, word):
    manual.adapter.confirm(shown())
    with pytest.raises(NotSupported, match=word):
        await manual.adapter.stage(ONE_HZ.model_copy(update=change))


@pytest.mark.invariant("INV-4")
async def test_the_operator_s_word_stands_for_a_while_only(manual, monkeypatch):
    with pytest.raises(NotReady, match="nothing stands"):
        await manual.adapter.stage(ONE_HZ)
    await manual.arm()
    assert (manual.adapter.status.percent_mso, manual.adapter.status.enabled) == (55, True)
    assert (await manual.adapter.refresh_status()).coil_model == "MCF-B65"
    monkeypatch.setattr(adapter_module, "CONFIRMED_FOR_S", 0.0)
    assert manual.adapter.status is None
    with pytest.raises(NotReady):
        await manual.adapter.run_train(ONE_HZ)
    with pytest.raises(NotReady):
        await manual.adapter.refresh_status()
    assert manual.box.total_pulses == 0


@pytest.mark.invariant("INV-8")
@pytest.mark.hazard("HZ-10")
async def test_after_a_disarm_nothing_is_known_and_no_trigger_leaves(manual, until):
    await manual.arm(pulse_counter=0)
    train = asyncio.create_task(manual.adapter.run_train(ONE_HZ))
    await until(lambda: manual.box.total_pulses >= 2)
    assert await manual.adapter.disarm()
    await asyncio.sleep(0.02)
    sent = manual.box.total_pulses
    assert manual.adapter.status is None
    manual.adapter.confirm(shown(pulse_counter=sent))
    result = await train
    assert (result.outcome, result.pulses, manual.box.total_pulses) == ("partial", sent, sent)
    with pytest.raises(NotReady):
        await manual.adapter.arm()


@pytest.mark.hazard("HZ-08")
@pytest.mark.parametrize(
    ("change", "word"), [({"percent_mso": 60}, "percent_mso reads 60"), ({"coil_model": "x"}, "coil x")]
)
async def test_another_setting_than_the_staged_is_a_change_that_nobody_asked_for(manual, change, word):
    await manual.arm()
    manual.adapter.confirm(shown(**change))
    unasked = manual.adapter.unasked.get_nowait()
    assert (unasked.kind, unasked.disarmed) == ("change", True)
    assert word in unasked.detail
    with pytest.raises(NotReady):
        await manual.adapter.run_train(ONE_HZ)


async def test_another_intensity_is_set_by_hand_confirmed_and_compared(manual, until):
    manual.adapter.confirm(shown())
    with pytest.raises(NotReady, match="Nothing is staged"):
        await manual.adapter.change_percent_mso(50)
    await manual.adapter.stage(ONE_HZ)
    with pytest.raises(SettingNotTaken, match="percent_mso reads 55 instead of 50"):
        await manual.adapter.change_percent_mso(50)


@pytest.mark.invariant("INV-1")
async def test_before_connecting_nothing_is_possible(open_manual):
    async with open_manual() as room:
        with pytest.raises(NotReady):
            room.adapter.confirm(shown())
        for ask in (room.adapter.stage(ONE_HZ), room.adapter.arm(), room.adapter.run_train(ONE_HZ)):
            with pytest.raises(NotReady):
                await ask
        assert not await room.adapter.disarm()
        room.adapter.address = "socket://127.0.0.1:9"
        with pytest.raises(LinkLost):
            await room.adapter.connect()


@pytest.mark.invariant("INV-9")
async def test_a_box_that_is_pulled_out_is_told_and_its_train_unknown(open_manual, until, monkeypatch):
    monkeypatch.setattr(adapter_module, "READ_COUNTER_TIMEOUT_S", 0.05)
    async with open_manual(speed=2.0) as room:
        await room.adapter.connect()
        await room.arm(pulse_counter=0)
        train = asyncio.create_task(room.adapter.run_train(ONE_HZ))
        await until(lambda: room.box.total_pulses >= 1)
        await room.adapter.close()
        assert (await train).outcome == "unknown"
        assert not await room.adapter.disarm()


@pytest.mark.parametrize(("fault", "triggers"), [(Fault.REFUSE, 0), (Fault.PANEL_FIRE, 5), (Fault.GO_SILENT, 4)])
async def test_a_faulty_box_is_never_taken_at_its_word(manual, monkeypatch, until, fault, triggers):
    monkeypatch.setattr(adapter_module, "READ_COUNTER_TIMEOUT_S", 0.05)
    await manual.arm()
    manual.box.faults.set(fault)
    assert (await manual.adapter.run_train(ONE_HZ)).outcome == "unknown"
    await until(lambda: manual.box.total_pulses == triggers)


class SilentBox(TriggerBoxSimulator):
    async def _greet(self):
        """Say nothing, as a real box."""


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize(
    ("kind", "speed", "clinical"), [(SilentBox, 20.0, False), (SilentBox, 2.0, True), (TriggerBoxSimulator, 1.0, True)]
)
async def test_demo_and_treatment_do_not_mix(open_manual, monkeypatch, kind, speed, clinical):
    if kind is SilentBox:
        monkeypatch.setattr(adapter_module, "GREETING_TIMEOUT_S", 0.1)
    async with open_manual(kind=kind, speed=speed, clinical=clinical) as room:
        with pytest.raises(NotAllowed):
            await room.adapter.connect()


@pytest.mark.hazard("HZ-25")
async def test_a_real_box_is_taken_at_speed_one_under_the_site_s_names(open_manual, monkeypatch):
    monkeypatch.setattr(adapter_module, "GREETING_TIMEOUT_S", 0.1)
    async with open_manual(kind=SilentBox, speed=1.0, clinical=True) as room:
        identity = await room.adapter.connect()
        assert (identity.serial, identity.simulated) == ("1234", False)
        assert room.box.total_pulses == 0


async def test_the_process_counts_triggers_in_its_log(simulator_process, tmp_path, until):
    log = tmp_path / "box.jsonl"
    async with simulator_process("trigger-box", "--tcp", "0", "--log", str(log)) as (_, first):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(first["address"].rpartition(":")[2]))
        assert await reader.readline() == b"SIM-1\n"
        assert first["serial"] == "SIM-1"
        writer.write(b"\x01\x02\x01")
        await until(lambda: log.read_text().count("pulses") == 2)
        writer.close()
    assert [line["pulses"] for line in map(json.loads, log.read_text().splitlines()) if "pulses" in line] == [1, 2]


@given(st.binary(max_size=60))
def test_any_bytes_are_cut_without_a_crash(data):
    assert b"".join(SingleBytes().feed(data)) == data
    lines = Lines()
    for line in lines.feed(data):
        greeted_by(line)
    assert lines.give_up_pending() == []
    assert not lines.pending


@pytest.mark.parametrize(
    ("line", "serial"), [(b"SIM-12\n", "SIM-12"), (b"SIM-\n", None), (b"SIM-x\n", None), (b"12\n", None)]
)
def test_only_a_simulated_box_says_who_it_is(line, serial):
    assert greeted_by(line) == serial


@pytest.mark.invariant("INV-11")
def test_after_a_stop_a_guard_lets_no_byte_through():
    guarded = TriggerBoxGuarded()
    assert all(guarded.may_fire(bytes((value,))) for value in range(256))
    assert (guarded.disarm, guarded.ask, guarded.read(b"x")) == ((), (), Reading())
    assert guarded.host_frames().feed(TRIGGER * 2) == [TRIGGER, TRIGGER]
    assert guarded.device_frames().feed(b"a\nb") == [b"a\n"]


def test_the_record_names_its_source_and_claims_nothing():
    record = capability_of("some unit").record
    assert (record.name, record.runs_trains, record.has_counter) == ("some unit", False, False)
    told = (record, record.disarms_on_lost_contact, record.stops_in_mid_train)
    assert all(part.source and not part.verified for part in told)
    assert capability_of("some unit").minimum_wait_s(ONE_HZ) == 1

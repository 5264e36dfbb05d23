"""The DuoMAG: its bytes, what may be asked of it, and its adapter on the simulator over the wire."""

import asyncio
import json
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.adapter import (
    DeviceError,
    InterlockOpen,
    LinkLost,
    NotAllowed,
    NotReady,
    NotSupported,
    RefusedByDevice,
    SettingNotTaken,
    TrainSettings,
)
from spoel_stimulation.devices.duomag import adapter as adapter_module
from spoel_stimulation.devices.duomag import talk as talk_module
from spoel_stimulation.devices.duomag.adapter import DuoMagAdapter
from spoel_stimulation.devices.duomag.capability import assumed, capability
from spoel_stimulation.devices.duomag.codec import (
    DISARM,
    FIRE,
    Believing,
    CommandFrames,
    Delay,
    Status,
    StatusFrames,
    delay_of,
    set_intensity,
)
from spoel_stimulation.devices.duomag.guarding import DuoMagGuarded
from spoel_stimulation.devices.duomag.simulator import DuoMagSimulator
from spoel_stimulation.devices.guarding import Reading
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.ports import on_pty, on_tcp

ONE_HZ = TrainSettings(rate_hz=1.0, stimuli=4, percent_mso=55)
SINGLE = TrainSettings(rate_hz=1.0, stimuli=1, percent_mso=55)

# --- bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize(
    ("command", "frame"),
    [
        (set_intensity(0), "00 00"),
        (set_intensity(55), "37 37"),
        (set_intensity(100), "64 64"),
        (FIRE, "79 79"),
        (Delay(0, 0).recharge(), "80 80 a0 a0"),
        (Delay(127, 7).recharge(), "9f 9f bf bf"),
        (Delay(5, 3).recharge(), "81 81 ad ad"),
        (Delay(0, 0).ttl_out(), "c0 c0 e0 e0"),
        (Delay(127, 7).ttl_out(), "df df ff ff"),
    ],
)
def test_a_command_is_sent_twice_with_exactly_these_bytes(command, frame):
    assert command.hex(" ") == frame
    assert b"".join(CommandFrames().feed(command)) == command


@pytest.mark.parametrize("percent", [-1, 101, 121])
def test_an_intensity_that_is_none_has_no_bytes(percent):
    with pytest.raises(ValueError, match="0 to 100"):
        set_intensity(percent)


@given(st.integers(0, 127), st.integers(0, 7))
def test_a_delay_is_read_back_as_it_was_written(count, exponent):
    delay = Delay(count, exponent)
    assert delay_of(delay.recharge()[::2], Delay.recharge) == delay
    assert delay_of(delay.ttl_out()[::2], Delay.ttl_out) == delay
    assert delay_of(delay.ttl_out()[::2], Delay.recharge) is None


STATUS = Status(
    ttl_demand=True,
    turned=-3,
    percent=55,
    coil_adc=60,
    resistor_adc=61,
    discharge_adc=62,
    omitted=2,
    coil_disconnected=True,
    coil_overheat=True,
    charged=False,
    ttl_out=Delay(5, 3),
    recharge=Delay(9, 6),
    mark=(0x53, 7),
    coil_type=1,
)


@pytest.mark.requirement("ST-08")
def test_a_status_record_has_exactly_these_bytes():
    assert STATUS.encode().hex(" ") == "ff 3d 37 3c 3d 3e 02 02 32 01 05 09 1e 53 07 01"
    assert Status.decode(STATUS.encode()) == STATUS
    older = replace(STATUS, coil_type=None)
    assert Status.decode(older.encode()) == older


def test_what_is_no_record_is_not_read():
    assert Status.decode(STATUS.encode()[:12]) is None
    assert Status.decode(b"\xff\x00\x65" + bytes(13)) is None
    assert Status.decode(b"\x00" + STATUS.encode()[1:]) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_cut_without_a_crash(data):
    frames = StatusFrames()
    for frame in frames.feed(data) + frames.give_up_pending():
        Status.decode(frame)
    assert not frames.pending
    commands = CommandFrames()
    assert all(len(frame) == 2 and frame[0] == frame[1] for frame in commands.feed(data))
    commands.give_up_pending()
    assert not commands.pending


@given(st.integers(1, 9))
def test_records_come_whole_whatever_the_pieces(size):
    frames, stream = StatusFrames(), STATUS.encode() * 5
    got = [frame for at in range(0, len(stream), size) for frame in frames.feed(stream[at : at + size])]
    assert got == [STATUS.encode()] * 4


@given(st.integers(1, 15), st.integers(0, 3))
def test_a_record_that_lost_a_byte_is_never_believed(lost, at):
    records = [STATUS.encode() for _ in range(6)]
    records[at + 1] = records[at + 1][:lost] + records[at + 1][lost + 1 :]
    frames, believing = StatusFrames(), Believing()
    told = [believing.take(frame) for frame in frames.feed(b"".join(records))]
    assert {replace(status, coil_adc=0, resistor_adc=0, discharge_adc=0) for status in told if status} <= {
        replace(STATUS, coil_adc=0, resistor_adc=0, discharge_adc=0)
    }


@pytest.mark.invariant("INV-11")
def test_what_the_guard_knows_of_it():
    guarded = DuoMagGuarded()
    assert (guarded.line.baudrate, guarded.line.stop_bits, guarded.disarm) == (1_000_000, 2, (DISARM,))
    fires = [value for value in range(256) if guarded.may_fire(bytes((value, value)))]
    assert fires == list(range(1, 128))
    assert guarded.read(STATUS.encode()) == Reading(enabled=True)
    assert guarded.read(replace(STATUS, percent=0).encode()) == Reading(enabled=False)
    assert guarded.read(b"\xff") == Reading()
    assert guarded.host_frames().feed(FIRE) == [FIRE]
    assert guarded.device_frames().feed(STATUS.encode() * 2) == [STATUS.encode()]


# --- capability ---------------------------------------------------------------------------------------------------


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"percent_mso": -1}, "percent_mso is -1"),
        ({"percent_mso": 101}, "percent_mso is 101"),
        ({"rate_hz": 1.1}, "at most one in 1 s"),
        ({"rate_hz": 10.0}, "choose another stimulator"),
        ({"stimuli": 12}, "longer than 10 s"),
        ({"pulses_per_burst": 3, "pulse_interval_s": 0.02}, "only single pulses"),
        ({"waveform": "monophasic"}, "waveform is monophasic"),
        ({"current_direction": "reverse"}, "current_direction"),
    ],
)
def test_what_it_cannot_do_is_refused(change, word):
    with pytest.raises(NotSupported, match=word):
        capability().check(ONE_HZ.model_copy(update=change))


@pytest.mark.parametrize("settings", [ONE_HZ, SINGLE, SINGLE.model_copy(update={"rate_hz": 10.0})])
def test_slow_single_pulses_are_accepted(settings):
    capability().check(settings)
    assert capability().minimum_wait_s(settings) == 1


def test_the_record_names_its_source_and_claims_nothing():
    record = capability().record
    assert (record.runs_trains, record.has_counter, record.host_enforces_wait) == (False, False, True)
    told = (record, record.disarms_on_lost_contact, record.stops_in_mid_train, assumed())
    assert all(part.source and not part.verified for part in told)


# --- on the wire --------------------------------------------------------------------------------------------------


class Room:
    def __init__(self, device, adapter, log_path):
        self.device, self.adapter, self._log_path = device, adapter, log_path

    def frames_in(self):
        lines = [json.loads(line) for line in self._log_path.read_text().splitlines()]
        return [line["frame"] for line in lines if line.get("dir") == "in"]

    def fired(self):
        return self.frames_in().count("7979")

    async def arm(self, settings):
        read_back = await self.adapter.stage(settings)
        await self.adapter.arm()
        return read_back

    async def unasked(self, kind):
        while True:
            unasked = await asyncio.wait_for(self.adapter.unasked.get(), 8)
            if unasked.kind == kind:
                return unasked


@pytest.fixture
def open_duomag(tmp_path):
    @asynccontextmanager
    async def opened(*, kind=DuoMagSimulator, speed=20.0, port=on_tcp, clinical=False, **options):
        clock, log_path = ScaledClock.starting_now(speed), tmp_path / "duomag.jsonl"
        device = kind(clock, log_path=log_path, **options)
        with closing(device):
            async with port(device) as address:
                adapter = DuoMagAdapter(address, clock, clinical=clinical)
                yield Room(device, adapter, log_path)
                await adapter.close()

    return opened


@pytest.fixture
async def duomag(open_duomag):
    async with open_duomag() as room:
        await room.adapter.connect()
        yield room


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(adapter_module, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(adapter_module, "CHARGE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(talk_module, "DISARM_TIMEOUT_S", 0.5)


@pytest.mark.requirement("ST-06")
@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize("port", [on_tcp, on_pty], ids=["tcp", "pty"])
async def test_pulses_are_given_one_by_one_at_their_time(open_duomag, port):
    async with open_duomag(port=port, number=7) as room:
        identity = await room.adapter.connect()
        assert (identity.model, identity.serial, identity.coil_model) == ("DuoMAG", "SIM-7", "coil-1")
        read_back = await room.arm(ONE_HZ)
        assert read_back.set_point == read_back.read_back
        assert room.device.percent == 55
        began = room.adapter._clock.monotonic_ns()
        result = await room.adapter.run_train(ONE_HZ)
        assert room.adapter._clock.monotonic_ns() - began >= 3 * 10**9
        assert (result.outcome, result.pulses, result.evidence) == ("complete", 4, "status")
        assert (result.counters_before, result.realised) == (None, None)
        assert await room.adapter.counters() is None
        assert room.device.total_pulses == room.fired() == 4
        assert await room.adapter.disarm()
        assert room.device.percent == 0
        assert room.adapter.unasked.empty()


@pytest.mark.hazard("HZ-07")
async def test_what_was_left_set_on_the_device_does_not_change_the_dose(open_duomag):
    async with open_duomag() as room:
        room.device.percent, room.device.recharge, room.device.ttl_out = 93, Delay(99, 5), Delay(3, 7)
        await room.adapter.connect()
        assert room.device.percent == 0
        read_back = await room.arm(SINGLE)
        assert read_back.read_back == {"recharge_delay_ms": 0.0, "trigger_out_delay_ms": 0.0}
        assert (await room.adapter.run_train(SINGLE)).outcome == "complete"
        assert (room.device.percent, room.device.recharge, room.device.ttl_out) == (55, Delay(0, 0), Delay(0, 0))


class DeafToDelays(DuoMagSimulator):
    def _take_delay(self, _command):
        """Take no delay."""


@pytest.mark.invariant("INV-2")
async def test_a_setting_that_reads_back_otherwise_is_not_armed(open_duomag, hasty):
    async with open_duomag(kind=DeafToDelays) as room:
        room.device.recharge = Delay(99, 5)
        await room.adapter.connect()
        with pytest.raises(SettingNotTaken, match="recharge_delay_ms"):
            await room.adapter.stage(SINGLE)
        with pytest.raises(NotReady):
            await room.adapter.arm()
        assert room.device.percent == 0


async def test_the_intensity_can_be_changed_staged_or_armed(duomag):
    await duomag.adapter.stage(SINGLE)
    await duomag.adapter.change_percent_mso(50)
    assert duomag.device.percent == 0
    await duomag.adapter.arm()
    assert (await duomag.adapter.change_percent_mso(51)).read_back["percent_mso"] == 51
    with pytest.raises(NotReady):
        await duomag.adapter.run_train(SINGLE)
    assert (await duomag.adapter.run_train(SINGLE.model_copy(update={"percent_mso": 51}))).outcome == "complete"
    assert (await duomag.adapter.refresh_status()).percent_mso == 51


@pytest.mark.invariant("INV-1")
async def test_nothing_is_fired_that_was_not_staged_and_armed(duomag):
    for ask in (duomag.adapter.arm(), duomag.adapter.run_train(SINGLE), duomag.adapter.change_percent_mso(50)):
        with pytest.raises(NotReady):
            await ask
    await duomag.adapter.stage(SINGLE)
    with pytest.raises(NotReady):
        await duomag.adapter.run_train(SINGLE)
    with pytest.raises(NotSupported):
        await duomag.adapter.stage(SINGLE.model_copy(update={"percent_mso": 101}))
    assert duomag.fired() == 0


async def test_before_connecting_everything_but_disarm_is_refused(open_duomag):
    async with open_duomag() as room:
        assert room.adapter.status is None
        assert not await room.adapter.disarm()
        for ask in (room.adapter.stage(SINGLE), room.adapter.counters(), room.adapter.refresh_status()):
            with pytest.raises(NotReady):
                await ask
        room.adapter.address = "socket://127.0.0.1:9"
        with pytest.raises(LinkLost, match="does not open"):
            await room.adapter.connect()


async def test_a_disarm_between_two_pulses_ends_the_train(duomag, until):
    await duomag.arm(ONE_HZ)
    train = asyncio.create_task(duomag.adapter.run_train(ONE_HZ))
    await until(lambda: duomag.device.total_pulses >= 2)
    assert await duomag.adapter.disarm()
    result = await train
    assert (result.outcome, result.pulses) == ("partial", duomag.device.total_pulses)
    assert result.pulses < 4


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.06, 0.1, 0.15, 0.2])
async def test_nothing_goes_out_after_a_disarm_whenever_it_comes(duomag, after_s):
    async def treat():
        await duomag.arm(ONE_HZ)
        return await duomag.adapter.run_train(ONE_HZ)

    treating = asyncio.create_task(treat())
    await asyncio.sleep(after_s)
    await duomag.adapter.disarm()
    sent = len(duomag.frames_in())
    (result,) = await asyncio.gather(treating, return_exceptions=True)
    assert isinstance(result, NotReady | RefusedByDevice) or result.outcome == "partial"
    assert not {"7979", "3737"} & set(duomag.frames_in()[sent:])
    assert duomag.device.percent == 0


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize(("fault", "word"), [(Fault.OVERHEAT, "too hot"), (Fault.COIL_UNPLUGGED, "o coil")])
async def test_a_coil_that_is_missing_or_too_hot_is_an_open_interlock(duomag, fault, word):
    duomag.device.faults.set(fault)
    await duomag.adapter.refresh_status()
    with pytest.raises(DeviceError) as refused:
        await duomag.arm(SINGLE)
    assert isinstance(refused.value, InterlockOpen | NotReady)
    assert duomag.device.percent == 0
    await duomag.unasked("change")
    duomag.device.faults.clear(fault)
    await duomag.adapter.refresh_status()
    await duomag.arm(SINGLE)


@pytest.mark.hazard("HZ-08")
@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (Fault.OVERHEAT, "too hot"),
        (Fault.COIL_UNPLUGGED, "no coil"),
        (Fault.OTHER_COIL, "coil type 2 instead of 1"),
        (Fault.PANEL_CHANGE, "intensity 62 % instead of 55 %"),
        (Fault.RESET, "intensity 0 % instead of 55 %"),
    ],
)
async def test_what_happens_to_an_armed_device_disarms_it_and_is_told(duomag, fault, word):
    await duomag.arm(SINGLE)
    duomag.device.faults.set(fault)
    unasked = await duomag.unasked("change")
    assert word in unasked.detail
    assert unasked.disarmed
    assert duomag.device.percent == 0
    with pytest.raises(NotReady):
        await duomag.adapter.run_train(SINGLE)
    assert duomag.fired() == 0


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
@pytest.mark.parametrize("armed", [True, False])
async def test_a_pulse_fired_at_the_device_is_told_and_disarms(duomag, armed):
    if armed:
        await duomag.arm(SINGLE)
    duomag.device.faults.set(Fault.PANEL_FIRE)
    unasked = await duomag.unasked("pulse")
    assert (unasked.pulses, unasked.device_total_pulses, unasked.disarmed) == (1, None, True)
    assert (duomag.device.percent, duomag.device.total_pulses) == (0, 1)


async def test_a_pulse_from_the_panel_waits_for_the_first_arming(open_duomag):
    async with open_duomag(faults=Faults([Fault.PANEL_FIRE])) as room:
        await room.adapter.connect()
        assert room.device.total_pulses == 0
        (result,) = await asyncio.gather(room.arm(SINGLE), return_exceptions=True)
        assert isinstance(result, NotReady | RefusedByDevice)
        assert (await room.unasked("pulse")).pulses == 1


async def test_a_device_that_refuses_is_not_armed_and_omits_pulses(duomag, hasty):
    await duomag.arm(SINGLE)
    duomag.device.faults.set(Fault.REFUSE)
    result = await duomag.adapter.run_train(SINGLE)
    assert (result.outcome, result.pulses, duomag.device.omitted) == ("none", 0, 1)
    assert "omitted" in result.reason
    with pytest.raises(RefusedByDevice):
        await duomag.arm(SINGLE)
    assert duomag.device.percent == 0


@pytest.mark.hazard("HZ-09")
async def test_staging_never_leaves_intensity_0_and_arming_that_is_broken_off_goes_back_to_it(duomag):
    await duomag.adapter.stage(SINGLE)
    assert set(duomag.frames_in()) <= {"0000", "8080", "a0a0", "c0c0", "e0e0"}
    duomag.device._charged = False
    arming = asyncio.create_task(duomag.adapter.arm())
    while duomag.device.percent == 0:
        await asyncio.sleep(0.001)
    arming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await arming
    assert duomag.device.percent == 0


@pytest.mark.hazard("HZ-10")
async def test_a_disarm_that_is_ignored_is_never_called_confirmed(duomag, hasty):
    await duomag.arm(SINGLE)
    duomag.device.faults.set(Fault.DISABLE_IGNORED)
    assert not await duomag.adapter.disarm()
    assert duomag.device.percent == 55
    duomag.device.faults.clear(Fault.DISABLE_IGNORED)
    assert await duomag.adapter.disarm()


@pytest.mark.hazard("HZ-10")
async def test_without_trains_a_disarm_has_none_to_wait_for(duomag):
    duomag.device.faults.set(Fault.DISABLE_AFTER_TRAIN)
    await duomag.arm(SINGLE)
    assert await duomag.adapter.disarm()


@pytest.mark.hazard("HZ-11")
@pytest.mark.invariant("INV-9")
async def test_a_pulse_that_is_sent_and_not_seen_is_unknown_and_never_sent_again(duomag, hasty):
    await duomag.arm(ONE_HZ)
    duomag.device.faults.set(Fault.GO_SILENT)
    result = await duomag.adapter.run_train(ONE_HZ)
    assert (result.outcome, result.pulses, duomag.fired()) == ("unknown", None, 1)
    assert (await duomag.unasked("link-lost")).kind == "link-lost"
    assert duomag.device.percent == 0
    duomag.device.faults.clear(Fault.GO_SILENT)


@pytest.mark.hazard("HZ-11")
@pytest.mark.parametrize("fault", [Fault.DROP_BYTES, Fault.CORRUPT_CHECKSUM])
async def test_on_a_bad_line_no_pulse_is_sent_twice_or_miscounted(duomag, hasty, fault):
    await duomag.arm(ONE_HZ)
    duomag.device.faults.set(fault)
    (result,) = await asyncio.gather(duomag.adapter.run_train(ONE_HZ), return_exceptions=True)
    assert isinstance(result, DeviceError) or result.pulses in {None, duomag.device.total_pulses}
    assert duomag.fired() <= 4
    assert duomag.device.total_pulses <= duomag.fired()


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

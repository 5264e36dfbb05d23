"""The life of a train on a Magstim: against the simulator, over TCP and a pseudo-terminal, of every version."""

import asyncio
import random
from itertools import pairwise

import pytest

from spoel_stimulation.devices.adapter import (
    DeviceIdentity,
    NotAllowed,
    NotReady,
    NotSupported,
    RefusedByDevice,
    SettingNotTaken,
)
from spoel_stimulation.devices.magstim.adapter import MagstimAdapter
from spoel_stimulation.devices.magstim.messages import PairMode
from spoel_stimulation.devices.magstim.unlocking import read_unlock_code, unlock_code
from spoel_stimulation.devices.use import check_use

CODE = "1a2b-3c4d5e6f-70"
OTHER_CODE = "1a2b-3c4d5e6f-71"
VERSIONS = ["5.0.0", "6.0.0", "7.1.0", "8.0.0", "9.0.0", "10.0.0", "11.0.0"]


async def twice(room, settings):
    """Run a train two times, as ordered both times."""
    read_back = await room.arm(settings)
    assert read_back.set_point.items() <= read_back.read_back.items()
    for done in (1, 2):
        if done == 2:
            await asyncio.sleep(room.adapter.capability.minimum_wait_s(settings) / room.clock.speed)
        result = await room.adapter.run_train(settings)
        assert (result.outcome, result.pulses, result.evidence) == ("complete", settings.pulses, "status"), result
        assert result.first_onset_utc_ns <= result.ended_utc_ns
        assert room.simulator.total_pulses == room.pulses_logged() == done * settings.pulses
    assert room.starts() == 2
    assert {round(percent) for _, percent in room.simulator.given} == {settings.percent_mso}
    assert room.adapter.unasked.empty()


@pytest.mark.requirement("ST-08")
@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize(
    ("version", "pty"), [*((version, False) for version in VERSIONS), ("8.0.0", True), ("11.0.0", True)]
)
async def test_a_rapid_runs_trains_as_ordered(open_room, ten_hz, version, pty):
    code = CODE if int(version.split(".")[0]) >= 9 else None
    async with open_room(version=version, code=code, pty=pty) as room:
        identity = await room.adapter.connect()
        assert (identity.model, identity.serial, identity.simulated) == ("Magstim Rapid²", "SIM-7", True)
        assert room.adapter.capability.record.version == version
        await twice(room, ten_hz)


@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize("pty", [False, True], ids=["tcp", "pty"])
@pytest.mark.parametrize(
    ("kind", "settings", "model"),
    [
        ("rapid2", "one_pulse", "Magstim Rapid²"),
        ("200", "one_mono", "Magstim 200²"),
        ("bistim", "one_mono", "Magstim BiStim²"),
    ],
)
async def test_single_pulses_are_given_as_ordered(open_room, request, kind, settings, model, pty):
    async with open_room(kind, pty=pty, speed=20.0) as room:
        assert (await room.adapter.connect()).model == model
        await twice(room, request.getfixturevalue(settings))


@pytest.mark.requirement("ST-08")
async def test_a_bistim_gives_pairs_of_two_intensities(open_room, pair):
    async with open_room("bistim", speed=20.0) as room:
        await room.adapter.connect()
        read_back = await room.arm(pair)
        assert read_back.read_back == {
            "mode": "high-resolution",
            "percent_mso": 40,
            "second_percent_mso": 60,
            "interval": 25,
        }
        result = await room.adapter.run_train(pair)
        assert (result.outcome, result.pulses, room.simulator.total_pulses) == ("complete", 2, 2)
        (first_ns, first), (second_ns, second) = room.simulator.given
        assert (round(first), round(second), second_ns - first_ns) == (40, 60, 2_500_000)


async def test_a_pair_in_whole_milliseconds_has_the_intensity_of_the_first(open_room, pair):
    slower = pair.model_copy(update={"pulse_interval_s": 0.15, "second_percent_mso": None})
    async with open_room("bistim", speed=20.0) as room:
        await room.adapter.connect()
        read_back = (await room.arm(slower)).read_back
        assert (read_back["mode"], read_back["second_percent_mso"]) == ("low-resolution", 40)
        assert (await room.adapter.run_train(slower)).outcome == "complete"
        (first_ns, _), (second_ns, _) = room.simulator.given
        assert second_ns - first_ns == 150_000_000


async def test_control_is_given_back_at_the_end(open_room):
    async with open_room() as room:
        await room.adapter.connect()
        assert room.simulator.controlled
        await room.adapter.close()
        assert not room.simulator.controlled
        assert room.asked()[-1] == "R@"


# --- the unlock code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, OTHER_CODE])
async def test_without_the_right_unlock_code_the_unit_is_silent_and_the_error_says_why(open_room, given):
    told = None if given is None else unlock_code(given)
    async with open_room(code=CODE, unlock_code=told, answer_timeout_s=0.1) as room:
        with pytest.raises(RefusedByDevice, match="unlock code") as refused:
            await room.adapter.connect()
        assert OTHER_CODE not in str(refused.value.__dict__)
        assert not room.simulator.controlled


async def test_software_before_9_takes_no_unlock_code(open_room):
    async with open_room(version="8.0.0", unlock_code=unlock_code(CODE), answer_timeout_s=0.2) as room:
        with pytest.raises(RefusedByDevice, match="takes no unlock code"):
            await room.adapter.connect()


def test_an_unlock_code_is_shown_nowhere(tmp_path):
    code = unlock_code(CODE)
    adapter = MagstimAdapter("/dev/null", None, unlock_code=code)
    assert CODE not in repr(code) + str(code) + repr(adapter) + repr(vars(adapter))
    file = tmp_path / "code"
    file.write_text(CODE + "\n")
    file.chmod(0o600)
    assert read_unlock_code(file).get_secret_value() == CODE
    file.chmod(0o640)
    with pytest.raises(ValueError, match="0600"):
        read_unlock_code(file)
    with pytest.raises(ValueError, match="hhhh") as refused:
        unlock_code("9f9f-123")
    assert "9f9f" not in str(refused.value)


# --- which device, and where ----------------------------------------------------------------------------------------


@pytest.mark.hazard("HZ-04")
@pytest.mark.parametrize(
    ("there", "said"), [("200", "rapid2"), ("bistim", "rapid2"), ("rapid2", "200"), ("rapid2", "bistim")]
)
async def test_another_model_than_was_said_is_refused(open_room, there, said):
    async with open_room(there) as room:
        adapter = MagstimAdapter(room.adapter.address, room.clock, kind=said, answer_timeout_s=2.0)
        with pytest.raises(NotSupported, match="Look at the room's settings"):
            await adapter.connect()
        await adapter.close()


@pytest.mark.hazard("HZ-04")
async def test_a_bistim_is_not_taken_for_a_200_nor_the_other_way_round(open_room, one_mono):
    async with open_room("bistim") as room:
        adapter = MagstimAdapter(room.adapter.address, room.clock, kind="200", answer_timeout_s=2.0)
        await adapter.connect()
        with pytest.raises(SettingNotTaken, match="interval reads 10 instead of 0"):
            await adapter.stage(one_mono)
        await adapter.close()
    async with open_room("200") as room:
        adapter = MagstimAdapter(room.adapter.address, room.clock, kind="bistim", answer_timeout_s=2.0)
        await adapter.connect()
        with pytest.raises(NotSupported, match="no BiStim"):
            await adapter.stage(one_mono)
        await adapter.close()


@pytest.mark.hazard("HZ-25")
async def test_a_simulator_is_not_taken_where_people_are_treated(open_room):
    async with open_room(clinical=True, speed=1.0) as room:
        with pytest.raises(NotAllowed, match="SIM-7"):
            await room.adapter.connect()
        assert not room.simulator.armed


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize("reply", [None, b"?"], ids=["temperatures", "not-understood"])
async def test_a_device_that_does_not_answer_as_a_simulator_is_refused_at_another_speed(open_room, reply):
    async with open_room(speed=2.0) as room:
        speak, serial = room.simulator.speak, f"~{room.simulator.serial}".encode()
        temperatures = bytes.fromhex("4609323230323230")  # a device ignores what is in the pad

        def as_a_device(frame):
            real = reply or temperatures + bytes((~sum(temperatures) & 0xFF,))
            speak(real if serial in frame else frame)

        room.simulator.speak = as_a_device
        with pytest.raises(NotAllowed, match="not a simulator"):
            await room.adapter.connect()


@pytest.mark.hazard("HZ-25")
def test_a_real_unit_is_taken_at_speed_one_and_nowhere_else():
    unit = DeviceIdentity(model="Magstim Rapid²", serial="1234", coil_model="unknown", simulated=False)
    check_use(unit, speed=1.0, loopback=False, clinical=True)
    with pytest.raises(NotAllowed):
        check_use(unit, speed=2.0, loopback=True, clinical=False)
    with pytest.raises(NotAllowed):
        check_use(unit.model_copy(update={"simulated": True}), speed=2.0, loopback=False, clinical=False)


# --- what was left over ---------------------------------------------------------------------------------------------


def leave_rapid(part, chance):
    part.power.percent = chance.randrange(101)
    part.tenth_hz = chance.choice([0, 10, 100, 500])
    part.pulses = chance.choice([0, 1, 500, 6000])
    part.tenth_s = chance.choice([0, 10, 300, 6000])
    part.enhanced = part.tenth_s == 0 and chance.random() < 0.5
    part.delay_ms = chance.choice([0, 2000])


def leave_bistim(part, chance):
    part.power.percent = chance.randrange(101)
    part.second.percent = chance.randrange(101)
    part.mode = chance.choice([mode.value.encode() for mode in PairMode] + [b"Q", b"T"])
    part.interval = chance.choice([0, 3, 999])


@pytest.mark.hazard("HZ-07")
@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "settings", "leave"),
    [
        ("rapid2", "ten_hz", leave_rapid),
        ("rapid2", "one_pulse", leave_rapid),
        ("bistim", "one_mono", leave_bistim),
        ("bistim", "pair", leave_bistim),
    ],
)
async def test_what_was_left_set_on_the_device_does_not_change_the_dose(
    open_room, request, kind, settings, leave, seed
):
    settings = request.getfixturevalue(settings)
    async with open_room(kind) as room:
        leave(room.simulator.part, random.Random(seed))
        await room.adapter.connect()
        await room.arm(settings)
        result = await room.adapter.run_train(settings)
        assert (result.outcome, result.pulses) == ("complete", settings.pulses)
        assert room.simulator.total_pulses == settings.pulses
        expected = [settings.percent_mso, settings.second_percent_mso or settings.percent_mso]
        assert {round(percent) for _, percent in room.simulator.given} <= set(expected)


@pytest.mark.hazard("HZ-07")
@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("register", "value", "word"),
    [
        ("_set_pulses", None, "stimuli reads 0 instead of 20"),
        ("_set_frequency", None, "rate_hz reads 0.0 instead of 10.0"),
        ("_set_duration", None, "duration_s reads 0.0 instead of 2.0"),
        ("_set_delay", None, "charge_delay_ms reads 500 instead of 0"),
    ],
)
async def test_a_setting_that_reads_back_otherwise_is_not_armed(open_room, ten_hz, register, value, word):
    async with open_room() as room:
        part, device = room.simulator.part, room.simulator
        part.delay_ms = 500
        letter = {"_set_pulses": b"D", "_set_frequency": b"B", "_set_duration": b"[", "_set_delay": b"n"}[register]
        device._commands[letter] = lambda _data: b""
        await room.adapter.connect()
        with pytest.raises(SettingNotTaken, match=word):
            await room.adapter.stage(ten_hz)
        with pytest.raises(NotReady):
            await room.adapter.arm()
        assert "EB" not in room.asked()


# --- order, pauses, power -------------------------------------------------------------------------------------------


async def test_what_is_beyond_its_capability_is_not_written(room, itbs):
    before = len(room.asked())
    with pytest.raises(NotSupported, match="bursts"):
        await room.adapter.stage(itbs)
    assert not {"B", "D", "[", "@"} & {question[0] for question in room.asked()[before:]}


@pytest.mark.invariant("INV-2")
async def test_another_intensity_is_written_settles_and_is_given(open_room, one_pulse):
    async with open_room(speed=10.0) as room:
        await room.adapter.connect()
        await room.arm(one_pulse)
        for percent in (60, 35):
            read_back = await room.adapter.change_percent_mso(percent)
            assert read_back.read_back == {"percent_mso": percent}
            settings = one_pulse.model_copy(update={"percent_mso": percent})
            await asyncio.sleep(0.1)
            assert (await room.adapter.run_train(settings)).outcome == "complete"
        assert [percent for _, percent in room.simulator.given] == [60, 35]


@pytest.mark.hazard("HZ-11")
async def test_starts_are_never_so_close_that_the_device_would_lose_one(open_room, one_pulse):
    async with open_room(speed=10.0) as room:
        await room.adapter.connect()
        await room.arm(one_pulse)
        for done in (1, 2, 3):
            assert (await room.adapter.run_train(one_pulse)).outcome == "complete"
            assert room.simulator.total_pulses == room.starts() == done
        moments = [utc_ns for utc_ns, _ in room.simulator.given]
        assert all(after - before >= 1_000_000_000 for before, after in pairwise(moments))


@pytest.mark.hazard("HZ-12")
async def test_the_pause_that_the_device_does_not_keep_is_kept_by_the_host(open_room, ten_hz):
    heavy = ten_hz.model_copy(update={"percent_mso": 90, "stimuli": 40})
    async with open_room(speed=10.0) as room:
        await room.adapter.connect()
        await room.arm(heavy)
        await room.adapter.run_train(heavy)
        with pytest.raises(NotReady, match="sooner would damage it"):
            await room.adapter.run_train(heavy)
        assert (room.starts(), room.simulator.error) == (1, 0)
        await asyncio.sleep(room.adapter.capability.minimum_wait_s(heavy) / room.clock.speed)
        assert (await room.adapter.run_train(heavy)).outcome == "complete"
        assert room.simulator.error == 0


async def test_it_counts_no_pulses(room):
    assert await room.adapter.counters() is None


@pytest.mark.invariant("INV-4")
async def test_the_status_tells_power_temperature_coil_and_its_age(room, ten_hz):
    await room.arm(ten_hz)
    status = await room.adapter.refresh_status()
    assert (status.enabled, status.percent_mso, status.coil_model) == (True, 45, "unknown")
    assert 21 < status.coil_temperature_c < 23
    before = status.received_monotonic_s
    assert (await room.adapter.refresh_status()).received_monotonic_s > before


async def test_one_command_of_a_train_at_a_time_but_disarm_always(room, until, ten_hz):
    await room.arm(ten_hz)
    running = asyncio.create_task(room.adapter.run_train(ten_hz))
    await until(lambda: room.simulator.total_pulses >= 1)
    with pytest.raises(NotReady, match="only disarm"):
        await room.adapter.stage(ten_hz)
    assert await room.adapter.disarm()
    result = await running
    assert (result.outcome, result.pulses) == ("unknown", None)
    assert room.simulator.total_pulses < ten_hz.pulses
    assert room.starts() == 1

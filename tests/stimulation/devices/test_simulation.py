"""What all simulators share: faults of the line, the switchboard, and the control channel of a process."""

import asyncio
import json
from pathlib import Path

import pytest

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.magpro.codec import FrameParser
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.simulation.control import answer
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.pace import PROMPT
from spoel_stimulation.devices.simulation.ports import on_pty, on_tcp
from spoel_stimulation.devices.simulators import Wanted, simulate

STATUS = bytes.fromhex("fe010000ff")


@pytest.fixture
def device():
    made = MagProSimulator(ScaledClock.starting_now(), pace=PROMPT)
    yield made
    made.close()


async def heard_of(address, questions, quiet_s=0.3):
    """Ask for the status again and again; return good frames, damaged frames and bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    parser, got = FrameParser(), b""
    writer.write(STATUS * questions)
    try:
        while data := await asyncio.wait_for(reader.read(4096), quiet_s):
            got += data
    except TimeoutError:
        pass
    writer.close()
    good = parser.feed(got)
    while parser.pending:
        good += parser.give_up_pending()
    return len(good), parser.bad_frames, len(got)


async def test_without_a_fault_every_question_is_answered_whole(device):
    async with on_tcp(device) as address:
        assert await heard_of(address, 50) == (50, 0, 50 * 13)


async def test_lost_bytes_and_damaged_checks_spoil_frames_and_never_make_one_up(device):
    async with on_tcp(device) as address:
        device.faults.set(Fault.DROP_BYTES)
        good, _, size = await heard_of(address, 100)
        assert 0 < good < 100
        assert size < 100 * 13
        device.faults.clear(Fault.DROP_BYTES)
        device.faults.set(Fault.CORRUPT_CHECKSUM)
        good, bad, size = await heard_of(address, 50)
        assert (good, size) == (0, 50 * 13)
        assert bad > 0
        device.faults.clear(Fault.CORRUPT_CHECKSUM)
        assert (await heard_of(address, 50))[0] == 50


async def test_a_silent_device_hears_and_obeys(device, until):
    async with on_tcp(device) as address:
        device.faults.set(Fault.GO_SILENT)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(bytes.fromhex("fe020201cfff"))
        await until(lambda: device.enabled)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        writer.close()


async def test_a_silent_device_on_a_pseudo_terminal(device):
    device.faults.set(Fault.GO_SILENT)
    async with on_pty(device) as address:
        with Path(address).open("r+b", buffering=0) as port:  # noqa: ASYNC230  (a terminal opens at once)
            port.write(STATUS)
            await asyncio.sleep(0.05)
            device.faults.clear(Fault.GO_SILENT)
            port.write(bytes.fromhex("fe02020091ff"))
            assert await asyncio.to_thread(port.read, 4) == bytes.fromhex("fe040100")


async def test_what_a_device_has_heard_it_does_also_when_its_host_has_gone(until):
    device = MagProSimulator(ScaledClock.starting_now())
    async with on_tcp(device) as address:
        _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(bytes.fromhex("fe020201cfff"))
        writer.close()
        await until(lambda: device.enabled)
    device.close()


def test_momentary_faults_from_the_start_wait_for_the_first_arming():
    told = []
    faults = Faults([Fault.PANEL_FIRE, Fault.OVERHEAT])
    faults.begun = lambda fault: told.append((fault, "begun"))
    faults.ended = lambda fault: told.append((fault, "ended"))
    assert faults.present == [Fault.OVERHEAT]
    faults.armed()
    faults.armed()
    faults.set(Fault.OVERHEAT)
    faults.clear(Fault.OVERHEAT)
    faults.clear(Fault.OVERHEAT)
    faults.set(Fault.RESET)
    assert told == [(Fault.PANEL_FIRE, "begun"), (Fault.OVERHEAT, "ended"), (Fault.RESET, "begun")]
    assert faults.present == []


def test_the_control_channel_sets_clears_and_counts(device):
    device.counts.pulses = 12
    assert answer(device, b'{"set": "overheat"}') == {"serial": "SIM-1", "pulses": 12, "faults": ["overheat"]}
    assert answer(device, b'{"ask": "pulses"}')["faults"] == ["overheat"]
    assert answer(device, b'{"clear": "overheat"}')["faults"] == []


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b'{"set": "fire"}', b'{"burn": "overheat"}', b'{"set": []}'])
def test_what_the_control_channel_does_not_know_changes_nothing(device, line):
    assert "say {set: FAULT}" in answer(device, line)["error"]
    assert device.faults.present == []


def test_an_option_of_another_maker_is_refused():
    with pytest.raises(ValueError, match="magpro-x100 has no --unlock-code"):
        simulate("magpro-x100", Wanted(ScaledClock.starting_now(), unlock_code="invented"))


async def test_a_process_takes_faults_at_its_start_and_through_its_control_channel(simulator_process):
    async with simulator_process("magpro-x100", "--tcp", "0", "--fault", "go-silent", "--control", "0") as (_, first):
        reader, writer = await asyncio.open_connection(*first["control"].split(":"))
        assert await heard_of(first["address"], 3) == (0, 0, 0)
        writer.write(b'{"clear": "go-silent"}\n')
        assert json.loads(await reader.readline()) == {"serial": "SIM-1", "pulses": 0, "faults": []}
        assert (await heard_of(first["address"], 3))[0] == 3
        writer.close()

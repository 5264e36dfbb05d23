"""The simulator in a process of its own: first line, clock, log, and how it ends."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.__main__ import main
from spoel_stimulation.devices.adapter import LinkLost, TrainSettings
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.simulation.process import clock_of

NAME = "magpro-x100"


@pytest.mark.requirement("ST-08")
async def test_it_tells_its_address_runs_trains_on_the_common_clock_and_ends_when_told(simulator_process, tmp_path):
    clock = ScaledClock.starting_now(60)
    log = tmp_path / "sim.jsonl"
    settings = TrainSettings(rate_hz=10.0, stimuli=40, percent_mso=55)
    for run in (1, 2):
        arguments = ("--tcp", "0", "--number", "12", "--log", str(log))
        async with simulator_process(NAME, *arguments, SPOEL_CLOCK=clock.to_setting()) as (process, first_line):
            assert first_line["address"].startswith("socket://127.0.0.1:")
            assert (first_line["serial"], first_line["pid"]) == ("SIM-12", process.pid)
            adapter = MagProAdapter(first_line["address"], clock)
            await adapter.connect()
            await adapter.stage(settings)
            await adapter.arm()
            result = await adapter.run_train(settings)
            assert (result.outcome, result.counters_after.pulses) == ("complete", 40 * run)
            await adapter.close()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["pulses"] for line in lines if "pulses" in line] == list(range(1, 81))
    assert all(abs(line["t_ns"] - clock.utc_ns()) < 3600 * 10**9 for line in lines)


async def test_it_offers_a_pseudo_terminal(simulator_process):
    async with simulator_process(NAME, "--pty", "--no-option", "--speed", "30") as (_, first_line):
        assert first_line["address"].startswith("/dev/pts/")
        adapter = MagProAdapter(first_line["address"], ScaledClock.starting_now(30))
        assert (await adapter.connect()).model == "MagPro X100"
        await adapter.close()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_it_dies_with_its_parent_if_asked_to(until):
    script = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, *sys.argv[1:], '--tcp', '0'], "
        "stdout=subprocess.PIPE); print(child.stdout.readline().decode().strip(), flush=True)"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        *("-m", "spoel_stimulation.devices", NAME),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"SPOEL_DIE_WITH_PARENT": "1"},
    )
    child = json.loads(await asyncio.wait_for(parent.stdout.readline(), 20))
    await parent.wait()
    await until(lambda: not alive(child["pid"]))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_clock_comes_from_the_environment_or_starts_now():
    setting = ScaledClock.starting_now(60).to_setting()
    assert clock_of(setting, None).speed == clock_of(setting, 60.0).speed == 60.0
    assert clock_of(None, None).speed == 1.0
    assert clock_of(None, 30.0).speed == 30.0
    with pytest.raises(ValueError, match="differs"):
        clock_of(setting, 30.0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("--tcp", "99999"), "'99999' is no port"),
        (("--tcp", "0", "--control", "70000"), "'70000' is no port"),
        (("--tcp", "0", "--bind", "192.0.2.1"), "assign requested address"),
        (("--pty", "--speed", "0"), "--speed is 0; give a number above 0"),
        (("--pty", "--speed", "nan"), "--speed is nan; give a number above 0"),
        (("--pty", "--log", "/nowhere/at/all"), "No such file or directory: '/nowhere/at/all'"),
        (("--pty", "--fault", "nothing"), "invalid choice: 'nothing' (choose from 'drop-bytes'"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(wrong, told, capsys):
    with pytest.raises(SystemExit) as ended:
        main([NAME, *wrong])
    assert ended.value.code == 2
    last_line = capsys.readouterr().err.strip().splitlines()[-1]
    assert told in last_line


@pytest.mark.hazard("HZ-09")
@pytest.mark.parametrize("port", [("--pty",), ("--tcp", "0")], ids=["pty", "tcp"])
async def test_a_device_that_is_switched_off_is_noticed_and_asking_it_never_hangs(simulator_process, port):
    async with simulator_process(NAME, *port) as (process, first_line):
        adapter = MagProAdapter(first_line["address"], ScaledClock.starting_now())
        await adapter.connect()
        process.kill()
        unasked = await asyncio.wait_for(adapter.unasked.get(), 10)
        assert (unasked.kind, unasked.disarmed) == ("link-lost", False)
        assert not await adapter.disarm()
        with pytest.raises(LinkLost):
            await adapter.counters()
        await adapter.close()

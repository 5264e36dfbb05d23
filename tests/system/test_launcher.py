"""The instance as a whole: its clock never goes back, its description is found, its ports are its own."""

import json
import socket
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from spoel_common.clock import ScaledClock, utc_now
from spoel_local import probe
from spoel_local.event_tables import latest_moment, read_events
from spoel_local.instance import AlreadyRuns, PortTaken, StoreLocation, check_port_free, free_ports, only_instance
from spoel_local.launcher import Ports, never_back

NOW = datetime.now(UTC)


def test_without_data_the_clock_is_the_one_that_is_wanted():
    clock = ScaledClock.starting_now(60)
    assert never_back(clock, None) is clock
    assert never_back(None, None) is None


def test_data_of_the_past_changes_no_clock():
    assert never_back(None, NOW - timedelta(seconds=1)) is None


@pytest.mark.hazard("HZ-22")
@pytest.mark.parametrize("wanted", [None, ScaledClock.starting_now(60)], ids=["real-time", "fast"])
def test_after_fast_time_the_clock_goes_on_from_the_last_event_and_never_back(wanted):
    ahead = NOW + timedelta(days=3)
    clock = never_back(wanted, ahead)
    assert clock.speed == (1 if wanted is None else 60)
    assert ahead < utc_now(clock) < ahead + timedelta(minutes=5)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "events.sqlite"
    return StoreLocation(service="intake", store="main", url=f"sqlite:///{path}")


def fill(store, *moments):
    connection = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    connection.execute("CREATE TABLE events (position INTEGER, id, aggregate_type, aggregate_id, version, type, raw)")
    for number, moment in enumerate(moments, start=1):
        raw = json.dumps({"time": moment.isoformat()}).encode()
        connection.execute(
            "INSERT INTO events VALUES (?, ?, 'case', '1', ?, 'x', ?)", (number, f"e{number}", number, raw)
        )
    connection.commit()
    connection.close()


async def test_a_store_that_was_never_opened_has_no_events_and_is_not_made_by_looking(store, tmp_path):
    assert await latest_moment([store]) is None
    assert await read_events("local", [store]) == []
    assert list(tmp_path.iterdir()) == []


async def test_a_store_without_tables_has_no_events(store):
    sqlite3.connect(store.url.removeprefix("sqlite:///")).close()
    assert await latest_moment([store]) is None


async def test_events_are_read_in_their_order_with_their_source(store):
    fill(store, NOW, NOW + timedelta(hours=1))
    events = await read_events("local", [store])
    assert [(event.source, event.id, event.version) for event in events] == [
        ("/spoel/local/intake/main", "e1", 1),
        ("/spoel/local/intake/main", "e2", 2),
    ]
    assert await latest_moment([store]) == NOW + timedelta(hours=1)


def test_free_ports_are_different_and_not_those_that_are_spoken_for():
    first = free_ports(10)
    second = free_ports(10, besides=first)
    assert len({*first, *second}) == 20


def test_a_set_of_ports_has_one_for_each_purpose():
    assert len(set(vars(Ports.any_free()).values())) == 8


def test_a_port_at_which_somebody_listens_is_refused_with_the_option_that_sets_another():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(PortTaken, match=r"wanted for intake.*--intake-port or SPOEL_INTAKE_PORT"):
            check_port_free("127.0.0.1", listener.getsockname()[1], "intake", "--intake-port")


def test_a_data_directory_has_one_instance_at_a_time(tmp_path):
    with only_instance(tmp_path), pytest.raises(AlreadyRuns), only_instance(tmp_path):
        pass
    with only_instance(tmp_path):
        assert (tmp_path / "instance.lock").exists()


def test_the_container_s_probe_sees_a_listener_without_connecting_to_it():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
        assert probe.main(["--listens", port]) == 1
        listener.listen()
        listener.settimeout(0)
        assert probe.main(["--listens", port]) == 0
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_container_s_probe_says_why_a_service_is_not_ready(monkeypatch, capsys):
    (port,) = free_ports(1)
    monkeypatch.setenv("SPOEL_PORT", str(port))
    assert probe.main([]) == 1
    assert f"no answer at http://127.0.0.1:{port}/health/ready" in capsys.readouterr().err

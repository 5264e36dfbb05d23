"""Contracts of events: kept files equal the models, breaking changes are refused, foreign models read every sample."""

import copy
import json
from pathlib import Path

import pytest

from spoel_common.events import Catalogue, Envelope, EventData, parked_event_discarded
from spoel_local.contracts import (
    SERVICES,
    ContractBroken,
    check_contracts,
    contract_of,
    differences,
    foreign_models,
    read_contracts,
    write_contracts,
)

ROOT = Path(__file__).parents[2] / "contracts"


class Delivered(EventData):
    service = "stimulation"
    event_name = "delivered"
    pulses: int
    room_id: str


class DeliveredWithNote(EventData):
    service = "stimulation"
    event_name = "delivered"
    pulses: int
    room_id: str
    note: str | None = None


class DeliveredWithoutRoom(EventData):
    service = "stimulation"
    event_name = "delivered"
    pulses: int


class DeliveredWithText(EventData):
    service = "stimulation"
    event_name = "delivered"
    pulses: str
    room_id: str


class DeliveredWithMore(EventData):
    service = "stimulation"
    event_name = "delivered"
    pulses: int
    room_id: str
    trains: int


def test_kept_contracts_are_those_of_the_models():
    assert check_contracts(ROOT) == []


def test_every_service_that_publishes_has_contracts():
    assert {contract["type"].split(".")[1] for contract in read_contracts(ROOT)} == set(SERVICES)


def test_every_service_can_record_that_an_event_was_given_up():
    kept = {contract["type"] for contract in read_contracts(ROOT)}
    assert {parked_event_discarded(service).event_type() for service in SERVICES} <= kept


def test_an_optional_field_may_be_added():
    assert differences(contract_of(Delivered), contract_of(DeliveredWithNote)) == []


@pytest.mark.parametrize("changed", [DeliveredWithoutRoom, DeliveredWithText, DeliveredWithMore])
@pytest.mark.invariant("INV-3")
def test_a_change_that_an_old_reader_could_not_live_with_is_found(changed):
    assert differences(contract_of(Delivered), contract_of(changed)) != []


def test_writing_refuses_a_breaking_change(tmp_path):
    write_contracts(tmp_path)
    path = next(tmp_path.glob("stimulation/train-delivered/v1.json"))
    contract = json.loads(path.read_text(encoding="utf-8"))
    contract["schema"]["properties"]["gone_tomorrow"] = {"type": "string"}
    path.write_text(json.dumps(contract), encoding="utf-8")
    with pytest.raises(ContractBroken, match="gone_tomorrow"):
        write_contracts(tmp_path)


def test_a_changed_contract_file_is_found(tmp_path):
    write_contracts(tmp_path)
    path = next(tmp_path.glob("intake/*/v1.json"))
    path.write_text(json.dumps({}), encoding="utf-8")
    assert [problem for problem in check_contracts(tmp_path) if str(path) in problem]


@pytest.mark.parametrize("service", SERVICES)
def test_foreign_models_read_every_sample_and_ignore_unknown_fields(service):
    catalogue = Catalogue(foreign_models(service))
    samples = {contract["type"]: contract["sample"] for contract in read_contracts(ROOT)}
    handled = [event_type for event_type in samples if catalogue.knows(event_type)]
    assert len({event_type.rsplit(".", 1)[0] for event_type in handled}) == len(catalogue.models)
    for event_type in handled:
        data = copy.deepcopy(samples[event_type]) | {"field_of_tomorrow": True}
        assert catalogue.decode(_envelope(event_type, data)) is not None


def _envelope(event_type: str, data: dict) -> Envelope:
    service = event_type.split(".")[1]
    return Envelope(
        id="019a9f0c-0000-7000-8000-000000000000",
        source=f"/spoel/local/{service}/main",
        type=event_type,
        subject="x",
        time="2026-11-22T10:00:00Z",
        aggregatetype="x",
        aggregateversion=1,
        correlationid="c",
        actorid="a",
        site="local",
        data=data,
    )

"""Contracts of events: kept files equal the models, breaking changes are refused, foreign models read every sample."""

import contextlib
import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError

from spoel_common.events import (
    Catalogue,
    Envelope,
    EventData,
    ForeignEvent,
    parked_event_discarded,
    parse_event_type,
)
from spoel_local.contracts import (
    SERVICES,
    ContractBroken,
    check_contracts,
    contract_of,
    differences,
    event_models,
    foreign_catalogues,
    foreign_models,
    own_catalogues,
    read_contracts,
    write_contracts,
)

ROOT = Path(__file__).parents[2] / "contracts"
KEPT = {contract["type"]: contract for contract in read_contracts(ROOT)}
MODELS = {model.event_type(): model for service in SERVICES for model in event_models(service)}


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


class Part(BaseModel):
    title: str
    description: str | None = None


class PartUntitled(BaseModel):
    description: str | None = None


class Listed(EventData):
    service = "stimulation"
    event_name = "listed"
    parts: list[Part]


class ListedUntitled(EventData):
    service = "stimulation"
    event_name = "listed"
    parts: list[PartUntitled]


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
    path = next(tmp_path.glob("stimulation/train-delivered/v2.json"))
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


def test_names_of_fields_count_also_where_they_are_called_as_what_does_not_count():
    assert differences(contract_of(Listed), contract_of(ListedUntitled)) != []


@pytest.mark.parametrize("event_type", sorted(KEPT))
@pytest.mark.invariant("INV-3")
def test_every_change_of_a_kept_contract_that_a_reader_could_not_live_with_is_found(event_type):
    """Each field of each contract, in any depth, is taken away, given another type, and newly required."""
    contract, planted = KEPT[event_type], 0
    for breaking in _broken(contract["schema"]):
        planted += 1
        assert differences(contract, {**contract, "schema": breaking}) != []
    assert planted >= 2 * len(contract["schema"]["properties"]) + 1


def test_a_version_whose_events_are_stored_is_not_to_be_thrown_away(tmp_path, monkeypatch):
    class Next(EventData):
        service = "intake"
        event_name = "consent-given"
        event_version = 2

    shutil.copytree(ROOT, tmp_path, dirs_exist_ok=True)
    models = [model for model in MODELS.values() if model.event_name != "consent-given"]
    monkeypatch.setattr("spoel_local.contracts._all_models", lambda: [*models, Next])
    write_contracts(tmp_path)
    assert check_contracts(tmp_path) == []
    (tmp_path / "intake" / "consent-given" / "v1.json").unlink()
    (problem,) = check_contracts(tmp_path)
    assert "consent-given/v1.json" in problem


@pytest.mark.parametrize("service", SERVICES)
def test_every_foreign_model_is_in_a_catalogue_and_of_an_event_that_is_sent(service):
    catalogues = foreign_catalogues(service)
    assert {model for catalogue in catalogues for model in catalogue.models} == set(foreign_models(service))
    sent = {(model.service, model.event_name): model.event_version for model in MODELS.values()}
    for model in foreign_models(service):
        assert model.event_version >= sent[model.service, model.event_name], "consumers are deployed before producers"


@pytest.mark.parametrize("event_type", sorted(KEPT))
@pytest.mark.invariant("INV-3")
def test_every_sample_in_every_variant_is_read_by_its_owner_and_by_everybody_who_listens(event_type):
    service, variants = parse_event_type(event_type).service, _variants(event_type)
    owners = [catalogue for catalogue in own_catalogues(service).values() if catalogue.knows(event_type)]
    readers = [
        catalogue for reader in SERVICES for catalogue in foreign_catalogues(reader) if catalogue.knows(event_type)
    ]
    assert owners
    assert variants
    for data in variants:
        for owner in owners:
            assert _reads(owner, event_type, data)
        for reader in readers:
            assert _reads(reader, event_type, {**data, "field_of_tomorrow": True})


class Narrow(ForeignEvent):
    """A reader that does not reckon with a nullable field's null."""

    service = "intake"
    event_name = "registration-verified"
    valid_until: str


class Choosy(ForeignEvent):
    """A reader that knows one of two decisions."""

    service = "intake"
    event_name = "indication-decided"
    decision: Literal["indicated"]


@pytest.mark.parametrize("reader", [Narrow, Choosy])
def test_a_reader_that_does_not_know_all_that_may_be_sent_is_found(reader):
    event_type = f"spoel.intake.{reader.event_name}.v1"
    catalogue: Catalogue[ForeignEvent] = Catalogue([reader])
    assert catalogue.decode(_envelope(event_type, KEPT[event_type]["sample"])) is not None
    assert not all(_reads(catalogue, event_type, data) for data in _variants(event_type))


def _reads(catalogue: Catalogue[Any], event_type: str, data: dict[str, Any]) -> bool:
    """Tell whether a reader can read the data, but for a rule between fields: those its owner's domain keeps."""
    try:
        return catalogue.decode(_envelope(event_type, data)) is not None
    except ValidationError as error:
        return {found["type"] for found in error.errors()} == {"value_error"}


def _variants(event_type: str) -> list[dict[str, Any]]:
    """Return the sample, and it with each null, each choice and each absence that the model allows.

    Of an older version there is no model any more that could say which of them its rules between fields forbade.
    """
    contract = KEPT[event_type]
    found = [contract["sample"]]
    for path, schema in _fields(contract["schema"], contract["schema"].get("$defs", {})):
        choices = [None] if {"type": "null"} in schema.get("anyOf", ()) else []
        choices += [value for choice in _resolved_choices(schema, contract["schema"]) for value in choice["enum"]]
        for value in choices:
            data = copy.deepcopy(contract["sample"])
            with contextlib.suppress(KeyError, TypeError):  # the path leads through a choice that the sample has not
                _put(data, path, value)
                found.append(data)
    model = MODELS.get(event_type)
    return found if model is None else [data for data in found if _is_valid(model, data)]


def _is_valid(model: type[EventData], data: dict[str, Any]) -> bool:
    try:
        model.model_validate(data)
    except ValidationError:
        return False
    return True


def _resolved_choices(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in (schema, *schema.get("anyOf", ())):
        target = root["$defs"][choice["$ref"].rpartition("/")[2]] if "$ref" in choice else choice
        if "enum" in target:
            yield target


def _fields(
    schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Yield every field of a schema in any depth, with the path at which a sample has it."""
    for name, field in schema.get("properties", {}).items():
        yield (*path, name), field
        for choice in (field, *field.get("anyOf", ())):
            inner, steps = choice, (*path, name)
            while inner.get("type") == "array":
                inner, steps = inner.get("items", {}), (*steps, 0)
            if "$ref" in inner:
                yield from _fields(definitions[inner["$ref"].rpartition("/")[2]], definitions, steps)


def _put(data: Any, path: tuple[str | int, ...], value: object) -> None:
    for step in path[:-1]:
        data = data[step]
    data[path[-1]]  # must be there
    data[path[-1]] = value


def _broken(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield copies of a schema, each with one field taken away, of another type, or newly required."""
    for where in ("", *schema.get("$defs", {})):
        for name in (schema["$defs"][where] if where else schema).get("properties", {}):
            for change in ("gone", "other"):
                changed = copy.deepcopy(schema)
                fields = (changed["$defs"][where] if where else changed)["properties"]
                if change == "gone":
                    del fields[name]
                else:
                    fields[name] = {"type": "array", "maxItems": 7}
                yield changed
    changed = copy.deepcopy(schema)
    changed["properties"]["of_tomorrow"] = {"type": "string"}
    changed.setdefault("required", []).append("of_tomorrow")
    yield changed


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

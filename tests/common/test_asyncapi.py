"""AsyncAPI: complete, true to the models and subjects, and able to tell a wrong event from a right one.

The document was held against the official JSON Schema of AsyncAPI 3.0.0 and its parser by hand; neither comes as a
Python package, so here its form is checked by what the specification asks of the objects that are used.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from spoel_common.events import Envelope, parse_event_type
from spoel_common.messaging.watermark import Watermark
from spoel_common.store import AggregateRef, StoreName
from spoel_local import asyncapi
from spoel_local.__main__ import app
from spoel_local.contracts import (
    SERVICES,
    event_models,
    foreign_catalogues,
    own_catalogues,
    read_contracts,
)

ROOT = Path(__file__).parents[2] / "contracts"
DOCUMENT = json.loads((ROOT / asyncapi.FILE_NAME).read_text(encoding="utf-8"))
CONTRACTS = {contract["type"]: contract for contract in read_contracts(ROOT)}
EVENTS = {model.event_type(): model for service in SERVICES for model in event_models(service)}
NEWER_KEYWORDS = {"$defs", "prefixItems", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "$anchor"}
"""Of JSON Schema after draft 7, which AsyncAPI's own schema objects do not know."""


def nodes(part, path=()):
    yield path, part
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        yield from nodes(value, (*path, key))


def at(reference: str):
    part = DOCUMENT
    for key in reference.removeprefix("#/").split("/"):
        part = part[key]
    return part


def operations(action: str) -> dict[str, set[str]]:
    """Return the services that send or receive, by channel."""
    found: dict[str, set[str]] = {}
    for name, operation in DOCUMENT["operations"].items():
        if operation["action"] == action:
            found.setdefault(operation["channel"]["$ref"].rpartition("/")[2], set()).add(name.partition(".")[0])
    return found


def envelope(event_type: str, **changes) -> dict:
    service = parse_event_type(event_type).service
    made = Envelope(
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
        data=CONTRACTS[event_type]["sample"],
    )
    return json.loads(made.to_bytes()) | changes


def complaints(message: str, payload: dict) -> list[str]:
    schema = {"$ref": f"#/components/messages/{message}/payload", "components": DOCUMENT["components"]}
    return [error.message for error in Draft7Validator(schema).iter_errors(payload)]


def test_the_kept_document_is_that_of_the_models():
    assert asyncapi.render(ROOT) == (ROOT / asyncapi.FILE_NAME).read_text(encoding="utf-8")


def test_it_has_the_form_that_asyncapi_3_asks_for():
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    for name in (*DOCUMENT["channels"], *DOCUMENT["operations"], *DOCUMENT["components"]["schemas"]):
        assert re.fullmatch(r"[\w.-]+", name)
    for channel in DOCUMENT["channels"].values():
        assert channel.keys() <= {"address", "title", "description", "parameters", "messages"}
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == channel["parameters"].keys()
    for operation in DOCUMENT["operations"].values():
        assert operation.keys() == {"action", "channel", "messages"}
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
    for message in DOCUMENT["components"]["messages"].values():
        assert message.keys() <= {"name", "title", "summary", "contentType", "traits", "payload"}


def test_every_reference_leads_somewhere_and_no_schema_is_of_a_newer_draft():
    references = [part["$ref"] for _, part in nodes(DOCUMENT) if isinstance(part, dict) and "$ref" in part]
    assert len(references) > 500
    assert all(isinstance(at(reference), dict) for reference in references)
    used = {key for _, part in nodes(DOCUMENT["components"]["schemas"]) if isinstance(part, dict) for key in part}
    assert not used & NEWER_KEYWORDS
    Draft7Validator.check_schema({"definitions": DOCUMENT["components"]["schemas"]})


def test_every_version_of_every_event_has_a_message_in_a_channel():
    said = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    assert said == {*CONTRACTS, "watermark"}
    assert said == DOCUMENT["components"]["messages"].keys()


@pytest.mark.parametrize("event_type", EVENTS)
def test_the_channel_of_an_event_is_its_subject(event_type):
    model = EVENTS[event_type]
    store = StoreName(site="local", service=model.service)
    aggregates = asyncapi.aggregates_of(model)
    assert aggregates
    for aggregate in aggregates:
        address = DOCUMENT["channels"][f"{model.service}.{aggregate}.{model.event_name}"]["address"]
        filled = address.replace("{site}", "local").replace("{store}", "main").replace("{id}", "7")
        assert filled == store.subject(AggregateRef(aggregate, "7"), event_type)


def test_watermarks_have_the_subject_and_the_form_that_they_have():
    store = StoreName(site="local", service="planning")
    address = DOCUMENT["channels"]["planning.watermark"]["address"]
    assert address.replace("{site}", "local").replace("{store}", "main") == store.watermark_subject
    mark = Watermark(source=store.source, position=1, xid=0, stream_sequence=1, time="2026-11-22T10:00:00Z")
    assert complaints("watermark", json.loads(mark.model_dump_json())) == []
    assert complaints("watermark", {"source": store.source}) != []


def test_who_sends_and_who_receives_is_what_the_services_do():
    sends, receives = operations("send"), operations("receive")
    events = [name for name in DOCUMENT["channels"] if not name.endswith(".watermark")]
    assert sends == {name: {name.partition(".")[0]} for name in DOCUMENT["channels"]}
    for channel in events:
        service, _, name = channel.split(".")
        readers = {
            reader
            for reader in SERVICES
            for catalogue in foreign_catalogues(reader)
            if catalogue.knows(f"spoel.{service}.{name}.v1")
        }
        assert receives[channel] == readers | {"audit"}, channel
    assert all(own_catalogues(service) for service in SERVICES)


@pytest.mark.parametrize("event_type", sorted(CONTRACTS))
def test_a_message_takes_the_envelope_of_its_sample_and_no_other(event_type):
    assert complaints(event_type, envelope(event_type)) == []
    assert complaints(event_type, envelope(event_type, type="spoel.intake.other.v1"))
    assert complaints(event_type, envelope(event_type, aggregateversion=0))
    assert complaints(event_type, envelope(event_type, traceparent=None))
    assert complaints(event_type, envelope(event_type, data={}))
    assert complaints(event_type, envelope(event_type, data={**CONTRACTS[event_type]["sample"], "unknown": 1}))
    without_actor = {name: value for name, value in envelope(event_type).items() if name != "actorid"}
    assert complaints(event_type, without_actor)


def test_the_check_of_a_checkout_finds_a_document_that_is_out_of_date(tmp_path):
    def check():
        return CliRunner().invoke(app, ["contracts", "--check", "--checkout", str(tmp_path)])

    shutil.copytree(ROOT, tmp_path / "contracts")
    assert check().exit_code == 0
    described = tmp_path / "contracts" / asyncapi.FILE_NAME
    described.write_text(described.read_text(encoding="utf-8").replace("consent-given", "consent-taken"), "utf-8")
    found = check()
    assert found.exit_code == 1
    assert "asyncapi.json is out of date. Run `spoel contracts`." in found.output
    written = CliRunner().invoke(app, ["contracts", "--checkout", str(tmp_path)])
    assert written.exit_code == check().exit_code == 0

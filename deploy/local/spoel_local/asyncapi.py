"""``contracts/asyncapi.json``: AsyncAPI 3.0 of every event and watermark, from the services' own models.

A channel is the NATS subject of one event of one kind of aggregate. Whoever publishes it *sends*, every service that
decodes it, or takes every envelope as audit does, *receives*. The document is complete in itself: the data's schemas
are those of the contracts, with their references turned to its own components.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from spoel_audit.projections import LOGGED_SERVICES
from spoel_common.events import Envelope, EventData
from spoel_common.messaging.publish import POSITION_HEADER, XID_HEADER
from spoel_common.messaging.watermark import EVERY_S, Watermark
from spoel_common.store import watermark_wildcard
from spoel_local.contracts import SERVICES, contract_of, event_models, foreign_models, own_catalogues, read_contracts

ASYNCAPI_VERSION = "3.0.0"
FILE_NAME = "asyncapi.json"

Json: TypeAlias = Any
Part: TypeAlias = dict[str, Any]

_DESCRIPTION = (
    "Spoel's services share events and nothing else. Every event is a CloudEvents 1.0 envelope in JSON (structured "
    "mode), serialised once, at append. One JetStream stream a store. Between aggregates and services there is no "
    "order; within an aggregate `aggregateversion` counts from 1 without gaps."
)
_PARAMETERS: Part = {
    "site": {"description": "Name of the clinic or hospital site."},
    "store": {"description": "Event database within the service: `main`, or the name of a room node."},
    "id": {"description": "The aggregate's id, percent-encoded where it has characters that mean something to NATS."},
}
_HEADERS: Part = {
    "type": "object",
    "properties": {
        "Nats-Msg-Id": {"type": "string", "description": "The event's id."},
        POSITION_HEADER: {"type": "string", "pattern": "^[0-9]+$", "description": "Place in the store."},
        XID_HEADER: {"type": "string", "pattern": "^[0-9]+$", "description": "PostgreSQL's transaction, or 0."},
    },
    "required": ["Nats-Msg-Id", POSITION_HEADER, XID_HEADER],
}


def aggregates_of(model: type[EventData]) -> list[str]:
    """Return the kinds of aggregates whose event this is."""
    return [name for name, catalogue in own_catalogues(model.service).items() if model in catalogue.models]


def readers_of(service: str, event_name: str) -> list[str]:
    """Return the services that take in this event, audit among them."""
    decoding = [
        reader
        for reader in SERVICES
        if (service, event_name) in {(model.service, model.event_name) for model in foreign_models(reader)}
    ]
    return sorted({*decoding, *(["audit"] if service in LOGGED_SERVICES else [])})


def document(root: Path) -> Part:
    """Return the document.

    Args:
        root: where the contracts are; versions that are no longer written are taken from there.
    """
    contracts = {contract["type"]: contract for contract in read_contracts(root)}
    contracts |= {contract["type"]: contract for contract in map(contract_of, _models())}
    parts: Part = {"channels": {}, "operations": {}, "messages": {}, "schemas": _components("envelope", _envelope())}
    for contract in contracts.values():
        parts["messages"][contract["type"]] = _message(contract)
        parts["schemas"] |= _components(contract["type"], contract["schema"])
    for model in _models():
        versions = [name for name in contracts if name.rpartition(".v")[0] == model.event_type().rpartition(".v")[0]]
        for aggregate in aggregates_of(model):
            _add_channel(parts, model, aggregate, versions)
    _add_watermarks(parts)
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {"title": "Spoel events", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"site": {"host": "127.0.0.1:14222", "protocol": "nats", "description": "NATS of `make run`."}},
        "channels": parts["channels"],
        "operations": parts["operations"],
        "components": {
            "parameters": _PARAMETERS,
            "messageTraits": {"event": {"contentType": "application/json", "headers": _HEADERS}},
            "messages": parts["messages"],
            "schemas": parts["schemas"],
        },
    }


def render(root: Path) -> str:
    """Return the text of the document."""
    return json.dumps(document(root), indent=1, ensure_ascii=False) + "\n"


def _models() -> Iterator[type[EventData]]:
    for service in SERVICES:
        yield from event_models(service)


def _add_channel(parts: Part, model: type[EventData], aggregate: str, versions: list[str]) -> None:
    service, name = model.service, model.event_name
    channel = f"{service}.{aggregate}.{name}"
    parts["channels"][channel] = {
        "address": f"spoel.{{site}}.{service}.{{store}}.{aggregate}.{{id}}.{name}",
        "title": name,
        "description": (inspect.getdoc(model) or "").split("\n\n")[0].replace("\n", " "),
        "parameters": _parameters("site", "store", "id"),
        "messages": {version: {"$ref": _ref("components", "messages", version)} for version in versions},
    }
    newest = [model.event_type()]
    parts["operations"][f"{service}.send.{channel}"] = _operation("send", channel, newest)
    for reader in readers_of(service, name):
        parts["operations"][f"{reader}.receive.{channel}"] = _operation("receive", channel, versions)


def _add_watermarks(parts: Part) -> None:
    parts["schemas"] |= _components("watermark", Watermark.model_json_schema(mode="serialization"))
    parts["messages"]["watermark"] = {
        "name": "watermark",
        "title": "How far a store is",
        "summary": f"Every {EVERY_S:g} s, so that silence and a cut link differ; a plain message, never stored.",
        "contentType": "application/json",
        "payload": {"$ref": _ref("components", "schemas", "watermark")},
    }
    for service in LOGGED_SERVICES:
        channel = f"{service}.watermark"
        parts["channels"][channel] = {
            "address": watermark_wildcard("{site}", service).replace("*", "{store}"),
            "parameters": _parameters("site", "store"),
            "messages": {"watermark": {"$ref": _ref("components", "messages", "watermark")}},
        }
        parts["operations"][f"{service}.send.{channel}"] = _operation("send", channel, ["watermark"])
        for reader in SERVICES:
            if reader == "audit" or service in {model.service for model in foreign_models(reader)}:
                parts["operations"][f"{reader}.receive.{channel}"] = _operation("receive", channel, ["watermark"])


def _parameters(*names: str) -> Part:
    return {name: {"$ref": _ref("components", "parameters", name)} for name in names}


def _operation(action: str, channel: str, messages: list[str]) -> Part:
    return {
        "action": action,
        "channel": {"$ref": _ref("channels", channel)},
        "messages": [{"$ref": _ref("channels", channel, "messages", message)} for message in messages],
    }


def _message(contract: Part) -> Part:
    event_type = contract["type"]
    fixed = {"type": {"const": event_type}, "data": {"$ref": _ref("components", "schemas", event_type)}}
    return {
        "name": event_type,
        "title": contract["schema"].get("title", event_type),
        "traits": [{"$ref": _ref("components", "messageTraits", "event")}],
        "payload": {
            "allOf": [
                {"$ref": _ref("components", "schemas", "envelope")},
                {"type": "object", "properties": fixed, "required": ["type", "data"]},
            ]
        },
    }


def _envelope() -> Part:
    """Return the envelope as it is written: absent attributes are left out, so none is null."""
    schema = Envelope.model_json_schema(mode="serialization")
    for name, field in schema["properties"].items():
        if {"type": "null"} in field.get("anyOf", ()):
            schema["properties"][name] = field["anyOf"][0]
    schema["required"] = [*schema["required"], "specversion", "datacontenttype"]
    return schema


def _components(name: str, schema: Part) -> Part:
    """Return a schema and its definitions as components of the document, named after it."""
    found = {name: {key: value for key, value in schema.items() if key != "$defs"}}
    found |= {f"{name}.{inner}": definition for inner, definition in schema.get("$defs", {}).items()}
    return {key: _turned(value, name) for key, value in found.items()}


def _turned(node: Json, name: str) -> Json:
    if isinstance(node, dict):
        return {
            key: _ref("components", "schemas", f"{name}.{value.rpartition('/')[2]}")
            if key == "$ref" and isinstance(value, str)
            else _turned(value, name)
            for key, value in node.items()
        }
    return [_turned(value, name) for value in node] if isinstance(node, list) else node


def _ref(*path: str) -> str:
    return "#/" + "/".join(path)

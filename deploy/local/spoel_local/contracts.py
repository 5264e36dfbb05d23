"""The contract of every event version: its JSON Schema and a sample, under ``contracts/<service>/<event>/v<n>.json``.

The files are generated from the services' event models and kept in the repository, so that a change of a model is a
visible change of a contract. Within a version only optional fields may be added: an old consumer ignores them, and a
new one still reads old events. Anything else is a new version with an upcaster.
"""

import contextlib
import importlib
import importlib.util
import itertools
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from spoel_common.erasure import ERASURE
from spoel_common.events import Catalogue, EventData, ForeignEvent
from spoel_common.gaps import GAP
from spoel_common.web.events_routes import DISCARDED
from spoel_common.work import Aggregate

SERVICES = ("intake", "planning", "stimulation", "audit")

Json: TypeAlias = Any
"""A JSON value of a schema."""

M = TypeVar("M")

_TEXT_BY_FORMAT = {
    "date": "2026-11-22",
    "date-time": "2026-11-22T10:00:00.000000Z",
    "uuid": "019a9f0c-0000-7000-8000-000000000000",
}

_SHARED = {"parked-event-discarded": DISCARDED, "gap-detected": GAP, "erasure-completed": ERASURE}
"""Events whose aggregates are the common library's: of every service that has such an event."""

_NO_AGGREGATES = {"__main__", "migrations"}


class ContractBroken(Exception):
    """A model no longer reads or writes what its contract promises."""


def event_models(service: str) -> list[type[EventData]]:
    """Return the models that ``spoel_<service>.events`` defines, by event name."""
    return sorted(_models_in(service, "events", EventData), key=lambda model: model.event_name)


def foreign_models(service: str) -> list[type[ForeignEvent]]:
    """Return the models of others' events that ``spoel_<service>`` reads; none where it reads raw envelopes."""
    found = _models_in(service, "foreign_events", ForeignEvent)
    return sorted(found, key=lambda model: (model.service, model.event_name))


def own_catalogues(service: str) -> dict[str, Catalogue[EventData]]:
    """Return the catalogue of every kind of aggregate of ``service``, by its name."""
    package = importlib.import_module(f"spoel_{service}")
    rooms = [room.name for room in pkgutil.iter_modules(package.__path__) if room.name not in _NO_AGGREGATES]
    items = [item for room in rooms for item in _values_in(service, room) if isinstance(item, Aggregate)]
    shared = {_SHARED[model.event_name]: model for model in event_models(service) if model.event_name in _SHARED}
    return {item.name: item.catalogue for item in items} | {name: Catalogue([shared[name]]) for name in shared}


def foreign_catalogues(service: str) -> list[Catalogue[ForeignEvent]]:
    """Return the catalogues by which ``service`` decodes others' events; none where it reads raw envelopes."""
    return [item for item in _values_in(service, "foreign_events") if isinstance(item, Catalogue)]


def contract_of(model: type[EventData]) -> dict[str, Any]:
    """Return the contract of one event version: type, JSON Schema (2020-12) and a sample that fits it."""
    schema = model.model_json_schema(mode="serialization")
    return {"type": model.event_type(), "schema": schema, "sample": _valid_sample(model).model_dump(mode="json")}


def contract_path(root: Path, model: type[EventData]) -> Path:
    """Return where the contract of ``model`` is kept below ``root``."""
    return root / model.service / model.event_name / f"v{model.event_version}.json"


def read_contracts(root: Path) -> Iterator[dict[str, Any]]:
    """Yield every kept contract, of old versions too."""
    for path in sorted(root.glob("*/*/v*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return why a reader of contract ``old`` could not live with ``new``; empty where it can.

    Compared are the data's own fields with all references resolved.
    """
    before, after = _resolved(old["schema"]), _resolved(new["schema"])
    return list(_field_differences(before, after, path=""))


def write_contracts(root: Path) -> list[Path]:
    """Write the contract of every event; return the files that changed.

    Raises:
        ContractBroken: a kept version would change in a way that an old consumer could not read.
    """
    changed = []
    for model in _all_models():
        path, contract = contract_path(root, model), contract_of(model)
        if path.exists():
            _refuse_breaking(path, contract)
        text = json.dumps(contract, indent=1, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def check_contracts(root: Path) -> list[str]:
    """Return what is wrong with the kept contracts: missing, changed, or kept for no model. Empty when all is well."""
    problems = []
    newest: dict[Path, int] = {}
    for model in _all_models():
        path, contract = contract_path(root, model), contract_of(model)
        newest[path.parent] = model.event_version
        older = [path.with_name(f"v{version}.json") for version in range(1, model.event_version)]
        problems += [f"{gone}: gone, but its events are stored for ever." for gone in older if not gone.exists()]
        if not path.exists():
            problems.append(f"{path}: missing. Run `spoel contracts`.")
        elif json.loads(path.read_text(encoding="utf-8")) != contract:
            problems.append(f"{path}: differs from {model.__qualname__}. Run `spoel contracts`.")
    problems += [
        f"{path}: no event model has this version."
        for path in sorted(root.glob("*/*/v*.json"))
        if int(path.stem[1:]) > newest.get(path.parent, 0)
    ]
    return problems


def _all_models() -> list[type[EventData]]:
    return [model for service in SERVICES for model in event_models(service)]


def _models_in(service: str, room: str, base: type[M]) -> list[type[M]]:
    return [
        value
        for value in _values_in(service, room)
        if isinstance(value, type) and issubclass(value, base) and "event_name" in vars(value)
    ]


def _values_in(service: str, room: str) -> list[Any]:
    package = f"spoel_{service}"
    if importlib.util.find_spec(f"{package}.{room}") is None:
        return []
    return list(vars(importlib.import_module(f"{package}.{room}")).values())


def _refuse_breaking(path: Path, contract: dict[str, Any]) -> None:
    found = differences(json.loads(path.read_text(encoding="utf-8")), contract)
    if found:
        listed = "; ".join(found)
        raise ContractBroken(f"{path}: {listed}. Make it a new version with an upcaster, and keep the old file.")


def _field_differences(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[str]:
    old_fields, new_fields = before.get("properties", {}), after.get("properties", {})
    for name, old_field in old_fields.items():
        where = f"{path}{name}"
        if name not in new_fields:
            yield f"field {where} is gone"
        elif "properties" in old_field and "properties" in new_fields[name]:
            yield from _field_differences(old_field, new_fields[name], f"{where}.")
        elif _shape(old_field) != _shape(new_fields[name]):
            yield f"field {where} has another form"
    wanted_now = set(after.get("required", [])) - set(before.get("required", []))
    yield from (f"field {path}{name} is newly required" for name in sorted(wanted_now))


def _shape(field: Json, *, names: bool = False) -> Json:
    """Return ``field`` without its titles and descriptions, which nobody decodes by.

    Args:
        field: a schema or part of one.
        names: its keys are names of fields, which may be ``title`` too.
    """
    if isinstance(field, dict):
        return {
            key: _shape(value, names=key == "properties" and not names)
            for key, value in field.items()
            if names or key not in {"title", "description", "examples"}
        }
    return [_shape(value) for value in field] if isinstance(field, list) else field


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    definitions = schema.get("$defs", {})

    def resolve(node: Json) -> Json:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rsplit("/", 1)[1]])
            return {key: resolve(value) for key, value in node.items() if key != "$defs"}
        return [resolve(value) for value in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _valid_sample(model: type[EventData]) -> EventData:
    """Return a sample of ``model``: as full as its rules between fields allow."""
    schema = model.model_json_schema()
    full = _sample(schema, {})
    nullable = [name for name, field in schema["properties"].items() if {"type": "null"} in field.get("anyOf", [])]
    for count in range(len(nullable) + 1):
        for absent in itertools.combinations(nullable, count):
            with contextlib.suppress(ValidationError):
                return model.model_validate(full | dict.fromkeys(absent))
    raise ContractBroken(f"no sample of {model.event_type()} could be made: give its fields `examples`")


def _sample(schema: dict[str, Any], definitions: dict[str, Any]) -> Json:
    """Return a small value that fits ``schema``; fields with a pattern name their own example."""
    definitions = schema.get("$defs", definitions)
    if "$ref" in schema:
        return _sample(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return _sample(schema[choice][0], definitions)
    return _sample_of_type(schema, definitions)


def _sample_of_type(schema: dict[str, Any], definitions: dict[str, Any]) -> Json:
    kind = schema.get("type")
    if kind == "object":
        fields = {name: _sample(field, definitions) for name, field in schema.get("properties", {}).items()}
        extra = schema.get("additionalProperties")
        return fields | ({"key": _sample(extra, definitions)} if isinstance(extra, dict) else {})
    if kind == "array":
        count = max(1, schema.get("minItems", 1))
        return [_sample(schema.get("items", {}), definitions)] * count
    if kind in {"integer", "number"}:
        lowest = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        return lowest + 1 if schema.get("maximum", lowest + 1) >= lowest + 1 else lowest
    if kind == "string":
        return _TEXT_BY_FORMAT.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1)))
    return {"boolean": True}.get(str(kind))

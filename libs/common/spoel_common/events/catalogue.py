"""Which events a reader knows, and how raw data of an older version becomes the newest."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from spoel_common.events.envelope import Envelope, parse_event_type
from spoel_common.events.model import EventModel

E = TypeVar("E", bound=EventModel)
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class NewerVersion(Exception):
    """A producer sent a newer version of an event than this reader handles: the reader must stop and be updated."""


class UpcasterMissing(Exception):
    """An older version of an event has no upcaster: a fault of this reader's code."""


class Catalogue(Generic[E]):
    """The newest model of each event by service and name, with upcasters from older versions.

    Args:
        models: one model an event, the newest version.
        upcasters: (service, event name, version) → function from that version's raw data to the next version's.
    """

    def __init__(
        self, models: Iterable[type[E]], upcasters: Mapping[tuple[str, str, int], Upcaster] | None = None
    ) -> None:
        self._models: dict[tuple[str, str], type[E]] = {(model.service, model.event_name): model for model in models}
        self._upcasters = dict(upcasters or {})

    @property
    def models(self) -> list[type[E]]:
        """The newest model of every event, in the order in which they were given."""
        return list(self._models.values())

    def knows(self, event_type: str) -> bool:
        """Tell whether events of this service and name are handled, whatever their version."""
        service, name, _ = parse_event_type(event_type)
        return (service, name) in self._models

    def decode(self, envelope: Envelope) -> E | None:
        """Return the event in its newest model, or None where the name is unknown. The envelope is not changed.

        Raises:
            NewerVersion: the event's version is newer than the model's.
            UpcasterMissing: no upcaster for an older version.
            pydantic.ValidationError: the data does not fit the model.
        """
        service, name, version = parse_event_type(envelope.type)
        model = self._models.get((service, name))
        if model is None:
            return None
        if version > model.event_version:
            raise NewerVersion(f"{envelope.type} is newer than v{model.event_version}, the newest known here")
        data = envelope.data
        for step in range(version, model.event_version):
            upcast = self._upcasters.get((service, name, step))
            if upcast is None:
                raise UpcasterMissing(f"no upcaster for spoel.{service}.{name} from v{step} to v{step + 1}")
            data = upcast(dict(data))
        return model.model_validate(data)

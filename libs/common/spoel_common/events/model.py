"""Base models of events and commands."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, PlainSerializer


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def format_utc(moment: datetime) -> str:
    """Return ``moment`` as ISO 8601 in UTC with microseconds: ``2026-11-22T10:00:00.000000Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


UtcTime = Annotated[
    AwareDatetime,
    AfterValidator(_to_utc),
    PlainSerializer(format_utc, return_type=str, when_used="json"),
]
"""A moment: any zone is accepted, UTC with microseconds is written."""


class EventModel(BaseModel):
    """A model of the ``data`` of one event.

    A subclass names itself: ``service``, ``event_name`` (kebab-case) and ``event_version`` (from 1).
    """

    service: ClassVar[str]
    event_name: ClassVar[str]
    event_version: ClassVar[int] = 1


class EventData(EventModel):
    """What a service's own event says. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def event_type(cls) -> str:
        """Return the CloudEvents type, for example ``spoel.intake.referral-received.v1``."""
        return f"spoel.{cls.service}.{cls.event_name}.v{cls.event_version}"


class ForeignEvent(EventModel):
    """A service's own small model of another service's event: only the fields that it reads."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Command(BaseModel):
    """What can be asked of a service. Unknown fields are refused; a command never leaves its service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

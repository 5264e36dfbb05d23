"""Settings of planning."""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

from spoel_common.settings import Settings


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone known here; use a name such as Europe/Amsterdam") from error
    return name


class PlanningSettings(Settings):
    """What planning reads at start.

    Attributes:
        time_zone: the clinic's time zone; a local day is a day there.
        cleared_list_file: the clinic's own signed list of cleared protocols, in the form of ``data/cleared.toml``;
            without one the packaged example holds, and at a clinical site nothing is cleared (PL-07).
    """

    service: Literal["planning"] = "planning"
    port: int = 8102
    database_url: str = "sqlite:///.spoel/planning.db"
    time_zone: Annotated[str, AfterValidator(_is_zone)] = "Europe/Amsterdam"
    cleared_list_file: Path | None = None

"""Settings of planning."""

from typing import Literal

from spoel_common.settings import Settings


class PlanningSettings(Settings):
    """What planning reads at start.

    Attributes:
        local_zone: time zone in which a local day is a day.
    """

    service: Literal["planning"] = "planning"
    port: int = 8102
    database_url: str = "sqlite:///.spoel/planning.db"
    local_zone: str = "Europe/Amsterdam"

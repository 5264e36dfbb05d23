"""Settings of intake."""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

from spoel_common.settings import Settings


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone; use a name such as Europe/Amsterdam") from error
    return name


class IntakeSettings(Settings):
    """Settings of intake.

    Attributes:
        time_zone: the clinic's time zone; a local day is a day there.
        erasures_file: which patients were erased, for when the database is restored from a backup; keep it where that
            restore does not touch it. In ``data_dir`` if absent.
    """

    service: Literal["intake"] = "intake"
    port: int = 8101
    database_url: str = "sqlite:///.spoel/intake.db"
    time_zone: Annotated[str, AfterValidator(_is_zone)] = "Europe/Amsterdam"
    erasures_file: Path | None = None

    @property
    def erasures_path(self) -> Path:
        """Where erasures are kept outside the database."""
        return self.erasures_file or self.data_dir / f"{self.service}-{self.store}-erasures.jsonl"

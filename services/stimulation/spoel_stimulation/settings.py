"""Settings of a room node."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from spoel_common.settings import CannotStart, Name, Settings
from spoel_stimulation.devices.record import StopVerified
from spoel_stimulation.engine.limits import ClearedRow, example_cleared_list, read_cleared_list

RoomId = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]


Device = Literal["magpro", "magstim-rapid2", "magstim-200", "magstim-bistim", "duomag", "manual"]

_MEANT_FOR: dict[str, tuple[Device, ...]] = {
    "unit": ("magstim-rapid2",),
    "mains_v": ("magstim-rapid2",),
    "unlock_code_file": ("magstim-rapid2",),
    "coil_model": ("magstim-rapid2", "magstim-200", "magstim-bistim"),
    "serial": ("magstim-rapid2", "magstim-200", "magstim-bistim", "manual"),
    "model": ("manual",),
    "stop_verified": ("magpro",),
}
"""Settings that mean something to some devices only; with another device they are a mistake, and refused."""


class RoomSetting(BaseModel):
    """One treatment room.

    Attributes:
        room_id: its name, for example ``room-1``.
        device: which adapter speaks with its device.
        address: of the device: a serial port's path, or ``socket://host:port``.
        model: of a stimulator that does not say what it is (``manual``), as the site names it; ``serial`` likewise.
        unit: which Magstim Rapid² it is, and ``mains_v`` the mains it runs on: its rates depend on both.
        coil_model: of a stimulator that does not tell its coil (Magstim), as the site names it.
        unlock_code_file: of a Magstim Rapid² from software 9 up: a file of its own, mode 0600, with the unit's code.
        stop_verified: the MagPro on which somebody saw a disarm end a train under way; its trains may be longer.
        heart_address: of the chest belt for heart-brain searches, ``bluetooth://`` and its address, or
            ``socket://host:port`` of a simulated one; None where the room has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    room_id: RoomId
    device: Device = "magpro"
    address: Annotated[str, Field(pattern=r"^(/dev/\S+|socket://\S+)$")]
    model: Annotated[str, Field(min_length=1, max_length=40)] = "set by hand"
    serial: Annotated[str, Field(min_length=1, max_length=40)] = "not-told"
    unit: Literal["rapid", "super", "super-plus"] = "rapid"
    mains_v: Literal[115, 240] = 240
    coil_model: Annotated[str, Field(min_length=1, max_length=60)] = "unknown"
    unlock_code_file: Path | None = None
    stop_verified: StopVerified | None = None
    heart_address: Annotated[str, Field(pattern=r"^(bluetooth://\S+|socket://[^\s:]+:[0-9]+)$")] | None = None

    @model_validator(mode="after")
    def _settings_are_of_this_device(self) -> Self:
        of_others = [name for name in self.model_fields_set if self.device not in _MEANT_FOR.get(name, (self.device,))]
        if of_others:
            raise ValueError(f"{', '.join(sorted(of_others))}: no setting of a {self.device}; leave it out")
        return self


class StimulationSettings(Settings):
    """What a room node reads at start.

    Attributes:
        rooms: its rooms, as a JSON list.
        guard_dir: the directory of the guard that holds the rooms' devices; None where this process opens them itself.
        max_knowledge_age_s: oldest knowledge of intake and planning on which a session may start, in wall seconds.
        max_offline_age_s: oldest knowledge on which a session may start while the room is cut off, in wall seconds.
        grant_s: how long a session's grant lasts from its opening, in seconds of clock time.
        presence_every_s: how often a room says that it is there, in wall seconds.
        presence_ttl_s: after how long without a word a room is absent; the same for all nodes of a site.
        max_status_age_s: oldest status of the device on which a train may start, in wall seconds.
        max_presence_age_s: how often somebody confirms presence in the room, in wall seconds; None: as ``rules.toml``.
        max_autonomous_s: longest that a device may run on its own after one start command.
        cleared_list_file: the clinic's own signed list of cleared protocols, the same file as planning's; without one
            the packaged example holds, and at a clinical site nothing is cleared (HZ-13).
    """

    service: Literal["stimulation"] = "stimulation"
    store: Name = "node-1"
    port: int = Field(default=8103, ge=0, le=65_535)
    database_url: str = "sqlite:///.spoel/stimulation.db"
    rooms: tuple[RoomSetting, ...] = ()
    guard_dir: Path | None = None
    max_knowledge_age_s: float = Field(default=60.0, gt=0, le=3_600)
    max_offline_age_s: float = Field(default=3_600.0, gt=0, le=14_400)
    grant_s: float = Field(default=14_400.0, gt=0, le=43_200)
    presence_every_s: float = Field(default=5.0, gt=0, le=30)
    presence_ttl_s: float = Field(default=15.0, ge=1, le=120)
    max_status_age_s: float = Field(default=2.0, gt=0, le=10)
    max_presence_age_s: float | None = Field(default=None, gt=0, le=900)
    max_autonomous_s: float = Field(default=10.0, gt=0, le=10)
    cleared_list_file: Path | None = None

    @field_validator("database_url")
    @classmethod
    def _the_journal_is_sqlite(cls, url: str) -> str:
        if not url.startswith("sqlite"):
            raise ValueError("a room node's journal is SQLite, next to the device: give sqlite:///path")
        return url

    @model_validator(mode="after")
    def _guarded_where_people_are_treated(self) -> Self:
        if self.clinical and self.guard_dir is None and any(room.device != "manual" for room in self.rooms):
            raise ValueError(
                "SPOEL_CLINICAL is true and SPOEL_GUARD_DIR is not set: a room that treats people has its guard. Start "
                "python -m spoel_stimulation.guard with the same SPOEL_ROOMS and SPOEL_GUARD_DIR"
            )
        return self

    @field_validator("rooms")
    @classmethod
    def _rooms_differ(cls, rooms: tuple[RoomSetting, ...]) -> tuple[RoomSetting, ...]:
        for field in ("room_id", "address"):
            values = [getattr(room, field) for room in rooms]
            if len(set(values)) != len(values):
                raise ValueError(f"two rooms have the same {field}")
        return rooms


def cleared_list(settings: StimulationSettings) -> tuple[ClearedRow, ...]:
    """Return the clinic's list; the packaged one is an example that nobody signed, so a clinical site has none of it.

    Raises:
        CannotStart: the clinic's list cannot be read.
    """
    path = settings.cleared_list_file
    if path is None:
        return () if settings.clinical else example_cleared_list()
    try:
        return read_cleared_list(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotStart(f"SPOEL_CLEARED_LIST_FILE is {path}, which cannot be used: {error}") from error

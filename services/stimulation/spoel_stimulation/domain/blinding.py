"""Blinded sessions: equipment that hides the condition, and what of a session's events is sealed (ST-09, HZ-23). Pure.

What was ordered is the same in both conditions, and stays open. What the device then did may tell which condition ran:
its settings, the output of each train and what it measured. Those fields are taken out of the event and sealed; pulses
and trains stay, so that they are counted everywhere.
"""

import json
import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from spoel_common.events import EventData
from spoel_stimulation.domain.refusals import BlindCodeMismatch, ShamNotPossible
from spoel_stimulation.events.sessions import DeviceSettings, SessionArmed
from spoel_stimulation.events.trains import ParameterChanged, TrainAuthorised, TrainDelivered
from spoel_stimulation.orders import Blinding

NO_SETTINGS = DeviceSettings(set={}, read_back={})
NOT_SHOWN = "sealed, since the session is blinded; look at the device's own screen"
"""Stands for what a device said of its settings."""


class ShamEquipment(BaseModel):
    """Equipment with which a sham condition has the same signs as the active one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stimulator_models: frozenset[str]
    coil_models: frozenset[str]
    source: str
    verified: bool


@cache
def sham_equipment() -> tuple[ShamEquipment, ...]:
    """Return the list of ``data/sham.toml``."""
    text = files("spoel_stimulation").joinpath("data", "sham.toml").read_text(encoding="utf-8")
    return tuple(ShamEquipment.model_validate(row) for row in tomllib.loads(text)["equipment"])


def check_equipment(blinding: Blinding | None, stimulator_model: str, coil_model: str) -> None:
    """Refuse a blinded session on a device that shows, by sound, look or feel, which condition runs.

    Raises:
        ShamNotPossible: it is not in the list.
    """
    if blinding is None:
        return
    if any(stimulator_model in row.stimulator_models and coil_model in row.coil_models for row in sham_equipment()):
        return
    raise ShamNotPossible(
        f"{stimulator_model} with {coil_model} cannot deliver a sham condition whose signs are those of the active "
        "one. Use the equipment of the order; an output of 0 or a tilted coil hides nothing."
    )


def check_code(blinding: Blinding | None, said: str | None) -> None:
    """Compare the code that the operator entered at the stimulator with the patient's.

    Raises:
        BlindCodeMismatch: another one, none, or one outside a trial.
    """
    wanted = None if blinding is None else blinding.blind_code
    if said != wanted:
        raise BlindCodeMismatch(
            "blind_code is not that of this patient's order. Enter the order's code at the stimulator, and send it."
            if wanted
            else "This session is not blinded: leave blind_code out.",
        )


def revealing(event: EventData) -> dict[str, object]:
    """Return the fields of an event that could tell the condition, as they are to be sealed; none for most events."""
    match event:
        case SessionArmed():
            return event.model_dump(mode="json", include={"settings", "percent_mso"})
        case TrainAuthorised():
            return event.model_dump(mode="json", include={"percent_mso"})
        case TrainDelivered():
            return event.model_dump(mode="json", include={"percent_mso", "realised"})
        case ParameterChanged():
            return event.model_dump(mode="json", include={"from_percent_mso", "to_percent_mso"})
        case _:
            return {}


def veiled(event: EventData, sealed: str | None) -> EventData:
    """Return the event without what could tell the condition, and with that sealed.

    Args:
        event: as it was decided.
        sealed: ``text_of`` its revealing fields, sealed to the patient; None where the patient was erased.
    """
    hidden: dict[str, object] = {"sealed_output": sealed}
    if isinstance(event, SessionArmed):
        hidden |= {"settings": NO_SETTINGS, "percent_mso": None}
    elif isinstance(event, TrainAuthorised):
        hidden |= {"percent_mso": None}
    elif isinstance(event, TrainDelivered):
        hidden |= {"percent_mso": None, "realised": None}
    else:
        hidden |= {"from_percent_mso": None, "to_percent_mso": None}
    return event.model_copy(update=hidden)


def text_of(fields: dict[str, object]) -> str:
    """Return what is sealed, as JSON."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))

"""The makers' devices, for tests of what every adapter promises."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest
from tests.stimulation.devices import rooms

from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.devices.duomag.codec import DISARM as DUOMAG_DISARM
from spoel_stimulation.devices.duomag.codec import FIRE as DUOMAG_FIRE
from spoel_stimulation.devices.duomag.codec import set_intensity
from spoel_stimulation.devices.magpro.codec import encode_frame
from spoel_stimulation.devices.magpro.commands import FireTrain, SetEnabled
from spoel_stimulation.devices.magstim.messages import ARM, DISARM, FIRE


@dataclass(frozen=True)
class Maker:
    """One maker's device.

    Attributes:
        open: makes a room with it, in a folder.
        settings: of a train.
        arms: the frame that arms it for that; ``disarms`` and ``starts`` likewise.
        often: options with which its status is asked often.
    """

    open: Callable[..., AbstractAsyncContextManager[rooms.Room]]
    settings: TrainSettings
    arms: bytes
    disarms: bytes
    starts: bytes
    often: dict[str, object] = field(default_factory=dict)


MONO = TrainSettings(waveform="monophasic", rate_hz=0.2, stimuli=1, percent_mso=45)
PAIR = MONO.model_copy(
    update={"pulses_per_burst": 2, "pulse_interval_s": 0.0025, "percent_mso": 40, "second_percent_mso": 60}
)


def _magstim(kind, settings):
    return Maker(
        lambda folder, **options: rooms.magstim(folder, kind, **options), settings, ARM, DISARM, FIRE, {"poll_s": 0.05}
    )


MAKERS = {
    "magpro": Maker(
        rooms.magpro,
        TrainSettings(rate_hz=10.0, stimuli=40, percent_mso=55),
        *(encode_frame(it.encode()) for it in (SetEnabled(enabled=True), SetEnabled(enabled=False), FireTrain())),
        {"adapter_options": {"poll_s": 0.05}},
    ),
    "rapid2": _magstim("rapid2", TrainSettings(rate_hz=10.0, stimuli=20, percent_mso=45)),
    "200": _magstim("200", MONO),
    "bistim": _magstim("bistim", PAIR),
    "duomag": Maker(
        rooms.duomag,
        TrainSettings(rate_hz=1.0, stimuli=4, percent_mso=55),
        *(set_intensity(55), DUOMAG_DISARM, DUOMAG_FIRE),
    ),
}


def each(*names):
    return pytest.mark.parametrize("maker", [pytest.param(MAKERS[name], id=name) for name in names or MAKERS])


def cases(*rows):
    """Rows that each begin with a maker's name."""
    return [pytest.param(MAKERS[name], *rest, id="-".join([name, *map(str, rest[:1])])) for name, *rest in rows]

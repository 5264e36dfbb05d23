"""When a session's next train may begin on a device that leaves its pauses to the host."""

from types import SimpleNamespace

import pytest
from tests.stimulation.acts import changed
from tests.stimulation.story import Pattern, Story, treatment_order

from spoel_common.clock import SteppedClock
from spoel_stimulation.devices.magstim.capability import rapid_capability
from spoel_stimulation.devices.magstim.codec import Version
from spoel_stimulation.domain.trains import device_pattern, next_train
from spoel_stimulation.runner.conductor import Conductor

TEN_HZ = Pattern(pulses_per_burst=1, bursts_per_train=40, burst_interval_s=0.1, trains=3, train_interval_s=6.0)


@pytest.mark.invariant("INV-2")
@pytest.mark.requirement("ST-05")
def test_the_pause_is_that_of_the_train_that_was_given_also_where_the_intensity_is_lowered_after_it():
    capability = rapid_capability("super-plus", 240, Version(11))
    room = SimpleNamespace(
        link=SimpleNamespace(up=True),
        limits=SimpleNamespace(max_autonomous_s=10.0),
        device=SimpleNamespace(capability=capability),
    )
    conductor = Conductor(room, SteppedClock())
    story = Story(order=treatment_order(TEN_HZ, threshold=80, percent=120.0)).running().train("t")

    def earliest():
        due_at = next_train(story.state, device_pattern(story.state.block, 10.0)).due_at
        return conductor._not_before(story.state, due_at)

    before = earliest()
    assert (before - story.state.trains[-1].onset_at).total_seconds() > 6.0, "the device needs more than was ordered"
    story.then(changed(story))
    assert story.state.percent_mso < story.state.trains[-1].percent_mso
    assert earliest() == before

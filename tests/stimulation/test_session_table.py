"""A session's table of allowed transitions: every cell of it."""

import pytest
from tests.stimulation.acts import ASKED_OF_PEOPLE, ask
from tests.stimulation.story import (
    ARMED,
    OPERATOR,
    Story,
    bilateral_order,
    device,
    facts,
    search_order,
    told,
)

from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conduct, refusals, session
from spoel_stimulation.domain.phases import PEOPLES_ACTS, TRANSITIONS, Act, Phase

PHASES = {
    Phase.NONE: Story,
    Phase.OPENED: lambda: Story().opened(),
    Phase.IDENTIFIED: lambda: Story().identified(),
    Phase.ARMED: lambda: Story().armed(),
    Phase.RUNNING: lambda: Story().running(),
    Phase.PAUSED: lambda: Story().paused(),
    Phase.AWAITING_COIL: lambda: Story(order=bilateral_order()).awaiting_coil(),
    Phase.INTERRUPTED: lambda: Story().interrupted(),
    Phase.CLOSED: lambda: Story().closed(),
}
MEASURED = {
    Phase.RUNNING: lambda: Story("measurement").running(),
    Phase.PAUSED: lambda: Story("measurement").paused(),
    Phase.INTERRUPTED: lambda: Story("measurement").interrupted(),
}


def story_for(phase, act):
    """Return a story in this phase, of the kind and with the train that the act needs."""
    if act is Act.SEARCH and phase is Phase.RUNNING:
        return Story("measurement", order=search_order()).running()
    story = (MEASURED if act in (Act.STIMULATE, Act.ANSWER) and phase in MEASURED else PHASES)[phase]()
    if phase is Phase.IDENTIFIED and act is Act.ARM:
        story = Story().checked()
    if phase is Phase.IDENTIFIED and act is Act.DECIDE_CHECK:
        story = Story().checked(sleep="short")
    if act is Act.ANSWER and phase is Phase.RUNNING:
        stimulate = asked.Stimulate(percent_mso=40)
        story.then(session.stimulate(story.state, stimulate, "t", OPERATOR, story.armed_facts())).ended()
    return story


@pytest.mark.requirement("ST-04")
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("act", ASKED_OF_PEOPLE)
def test_every_cell_of_the_table(phase, act):
    story = story_for(phase, act)
    wanted = TRANSITIONS[phase].get(act)
    if wanted is None:
        with pytest.raises(refusals.TransitionNotAllowed) as caught:
            ask(act, story)
        possible = [other for other in TRANSITIONS[phase] if other in PEOPLES_ACTS]
        assert caught.value.facts == {"state": phase, "possible": possible}
        assert phase in caught.value.detail
        assert all(other in caught.value.detail for other in possible)
        return
    if act is Act.ANSWER and phase is not Phase.RUNNING:
        with pytest.raises(refusals.StimulusNotDelivered):
            ask(act, story)
        return
    assert told(story.state, ask(act, story)).phase is wanted


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("act", [Act.AWAIT_COIL, Act.INTERRUPT, Act.CLOSE])
def test_interlocks_never_fail_and_move_only_what_the_table_has(phase, act):
    story = PHASES[phase]()
    events = ask(act, story)
    after = told(story.state, events)
    assert after.phase is (TRANSITIONS[phase].get(act, phase) if events else phase)


@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase is not Phase.RUNNING])
def test_trains_are_authorised_only_while_running(phase):
    with pytest.raises(refusals.TransitionNotAllowed):
        ask(Act.AUTHORISE_TRAIN, PHASES[phase]())


@pytest.mark.invariant("INV-7")
def test_nothing_runs_again_after_an_interruption_but_by_arming_and_resuming():
    state = Story().interrupted().state
    assert set(state.possible) == {"stop", "arm", "answer", "presence"}
    with pytest.raises(refusals.TransitionNotAllowed):
        session.resume(state, asked.Resume(ear_protection=True), OPERATOR, facts(device=device(enabled=True)))
    armed = told(state, session.record_armed(state, ARMED.model_copy(update={"percent_mso": 60})))
    assert armed.phase is Phase.PAUSED


def test_an_interruption_before_the_start_asks_for_arming_and_starting():
    story = Story().armed()
    story.then(conduct.interrupt(story.state, asked.Interrupt(reason="link-lost"), story.now))
    assert story.state.phase is Phase.IDENTIFIED

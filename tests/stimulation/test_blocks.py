"""Sessions of several blocks: the coil is moved between two sites, and the first trains of a block may be weaker."""

from datetime import timedelta

import pytest
from tests.stimulation.story import (
    ARMED,
    OPERATOR,
    PATTERN_1HZ,
    PATTERN_10HZ,
    PATTERN_ITBS,
    Story,
    bilateral_order,
    block,
    treatment_order,
)

from spoel_common.clock import sleep_s
from spoel_common.units import set_percent_mso
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conduct, refusals, session
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.trains import check_consistent, device_pattern, next_train
from spoel_stimulation.events.sessions import CoilAwaited, CoilPlaced
from spoel_stimulation.orders import RampUp, ThresholdKey

LEFT = asked.PlaceCoil(side_or_site="left", ear_protection=True)


def waiting():
    return Story(order=bilateral_order()).awaiting_coil()


def placed(story):
    return story.then(session.place_coil(story.state, LEFT, OPERATOR, story.facts()))


def going_on(story):
    story.then(session.record_armed(story.state, ARMED.model_copy(update={"percent_mso": story.state.percent_mso})))
    resume = asked.Resume(ear_protection=True)
    return story.then(session.resume(story.state, resume, OPERATOR, story.armed_facts()))


@pytest.mark.hazard("HZ-03")
@pytest.mark.requirement("ST-05")
def test_between_two_sites_nothing_is_delivered_until_the_coil_is_placed_armed_and_resumed():
    story = waiting()
    assert story.state.phase is Phase.AWAITING_COIL
    assert story.state.block.site == "left-dlpfc"
    for refused in (
        lambda: story.authorise("t"),
        lambda: session.resume(story.state, asked.Resume(ear_protection=True), OPERATOR, story.armed_facts()),
        lambda: session.record_armed(story.state, ARMED),
    ):
        with pytest.raises(refusals.TransitionNotAllowed):
            refused()
    assert placed(story).state.phase is Phase.INTERRUPTED
    assert going_on(story).through_block().state.pulses_delivered == story.state.pulses_planned == 90
    story.then(conduct.close(story.state, asked.Close(reason="last-train-ended")))
    assert story.state.phase is Phase.CLOSED


@pytest.mark.hazard("HZ-03")
@pytest.mark.parametrize("said", ["right", "right-dlpfc", "left-motor-cortex"])
def test_a_wrong_side_or_site_is_refused_and_nothing_is_recorded(said):
    story = waiting()
    with pytest.raises(refusals.SiteMismatch):
        session.place_coil(story.state, LEFT.model_copy(update={"side_or_site": said}), OPERATOR, story.facts())


@pytest.mark.hazard("HZ-18")
def test_placing_the_coil_asks_for_ears_and_for_the_operator():
    story = waiting()
    with pytest.raises(refusals.EarProtectionMissing):
        session.place_coil(story.state, asked.PlaceCoil(side_or_site="left"), OPERATOR, story.facts())
    other = OPERATOR.model_copy(update={"person_id": "paul"})
    with pytest.raises(refusals.NotTheOperator):
        session.place_coil(story.state, LEFT, other, story.facts())


def test_what_is_recorded_says_which_block_and_site():
    story = waiting()
    awaited = conduct.await_coil(Story(order=bilateral_order()).running().through_block().state)
    assert [(each.block, each.site) for each in awaited if isinstance(each, CoilAwaited)] == [(1, "left-dlpfc")]
    (event,) = session.place_coil(story.state, LEFT, OPERATOR, story.facts())
    assert (event.block, event.site, event.ear_protection) == (1, "left-dlpfc", True)
    assert isinstance(event, CoilPlaced)
    assert {train.block for train in going_on(placed(story)).train("next").state.trains_of_block} == {1}


@pytest.mark.hazard("HZ-05")
def test_a_block_has_its_own_threshold_band_and_pause():
    story = waiting()
    assert (story.state.percent_rmt, story.state.percent_mso) == (100.0, 40)
    assert story.state.train_interval_s == PATTERN_ITBS.train_interval_s
    going_on(placed(story))
    change = asked.ChangeParameter(parameter="percent_rmt", value=120.0, reason="clinical-judgement")
    (changed,) = session.change_parameter(story.state, change, OPERATOR, story.facts())
    assert changed.to_percent_mso == set_percent_mso(120.0, 40)


@pytest.mark.hazard("HZ-03")
def test_long_after_the_coil_was_placed_the_side_is_chosen_again():
    story = placed(waiting())
    story.now += timedelta(minutes=5)
    with pytest.raises(refusals.SiteConfirmationMissing):
        going_on(story)
    chosen = asked.Resume(ear_protection=True, side_or_site="left")
    assert session.resume(story.state, chosen, OPERATOR, story.armed_facts())


def test_how_far_the_coil_was_from_one_target_says_nothing_of_the_next():
    story = Story(order=bilateral_order()).running()
    for parameter, value in (("coil_shift_mm", 5.0), ("coil_turn_deg", -10.0)):
        change = asked.ChangeParameter(parameter=parameter, value=value, reason="clinical-judgement")
        story.then(session.change_parameter(story.state, change, OPERATOR, story.facts()))
    story.through_block().then(conduct.await_coil(story.state))
    assert (story.state.coil_shift_mm, story.state.coil_turn_deg) == (0.0, 0.0)


def test_a_stop_while_the_coil_is_moved_closes_as_partial():
    story = waiting()
    (closed,) = session.stop(story.state, asked.Stop(reason="patient-asked"), OPERATOR)
    assert (closed.outcome, closed.pulses_delivered, closed.pulses_planned) == ("partial", 30, 90)


def test_an_interlock_does_not_release_a_session_that_waits_for_its_coil():
    story = waiting()
    assert conduct.interrupt(story.state, asked.Interrupt(reason="device-fault"), story.now) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda order: order.model_copy(update={"pulses": order.pulses - 1}),
        lambda order: order.model_copy(update={"further_blocks": (block(site="right-dlpfc"),), "pulses": 630}),
        lambda order: order.model_copy(update={"further_blocks": (block(percent_mso=41),), "pulses": 630}),
    ],
)
@pytest.mark.hazard("HZ-05")
def test_blocks_that_contradict_each_other_are_refused(wrong):
    check_consistent(bilateral_order())
    with pytest.raises(refusals.OrderInconsistent):
        check_consistent(wrong(bilateral_order()))


RAMPED = treatment_order(
    PATTERN_10HZ.model_copy(update={"trains": 6}), ramp_up=RampUp(trains=4, from_percent_rmt=80.0).model_dump()
)


def percents_of(story):
    return [train.percent_mso for train in story.state.trains]


@pytest.mark.requirement("ST-05")
def test_the_first_trains_ramp_up_to_the_intensity_in_force():
    assert percents_of(Story(order=RAMPED).running().through_block()) == [40, 45, 50, 55, 60, 60]


def test_a_lower_intensity_chosen_by_the_operator_lowers_the_ramp_too():
    story = Story(order=RAMPED).running().train("t", total=1000)
    change = asked.ChangeParameter(parameter="percent_rmt", value=84.0, reason="pain")
    story.then(session.change_parameter(story.state, change, OPERATOR, story.facts()))
    pattern = device_pattern(story.state.block, 10.0)
    assert next_train(story.state, pattern).percent_mso == set_percent_mso(81.0, 50) == 40


@pytest.mark.hazard("HZ-12")
def test_a_ramp_that_begins_above_its_end_is_refused():
    ramp = RampUp(trains=4, from_percent_rmt=121.0)
    with pytest.raises(refusals.OrderInconsistent):
        check_consistent(treatment_order(ramp_up=ramp.model_dump()))


@pytest.mark.hazard("HZ-04")
def test_every_blocks_threshold_is_compared_with_its_own_muscle():
    order = bilateral_order()
    story = Story(order=order)
    key = {name: getattr(order, name) for name in ThresholdKey.model_fields}
    right_hand = {"threshold-2": ThresholdKey.model_validate(key | {"muscle": "right-apb"})}
    left_hand = {"threshold-2": ThresholdKey.model_validate(key | {"muscle": "left-apb"})}
    signed = story.facts().order
    command = asked.OpenSession(session_id="session-1")
    assert session.open_session(
        story.state, command, OPERATOR, story.facts(order=signed.model_copy(update={"threshold_keys": right_hand}))
    )
    around = story.facts(order=signed.model_copy(update={"threshold_keys": left_hand}))
    with pytest.raises(refusals.ThresholdKeyMismatch, match="left-dlpfc"):
        session.open_session(story.state, command, OPERATOR, around)


@pytest.mark.hazard("HZ-03")
@pytest.mark.invariant("INV-7")
async def test_a_bilateral_session_over_http_never_passes_the_hold_by_itself(clinic):
    order = bilateral_order(PATTERN_1HZ.model_copy(update={"bursts_per_train": 5, "train_interval_s": 10.0}))
    session_id = await clinic.prepare(order)
    await clinic.open(session_id)
    await clinic.identify(session_id, side_or_site="right")
    await clinic.check_patient(session_id)
    await clinic.present(session_id)
    await clinic.arm(session_id)
    assert (await clinic.ask(session_id, "start")).status_code == 200
    waiting = await clinic.until_state(session_id, "awaiting-coil")
    assert (waiting["site"], waiting["block"], waiting["blocks"]) == ("left-dlpfc", 1, 2)
    assert set(waiting["possible"]) == {"place-coil", "presence", "stop"}
    await sleep_s(clinic.clock, 30)
    assert (clinic.simulator.total_pulses, clinic.simulator.enabled) == (5, False)
    for act in ("arm", "resume"):
        assert (await clinic.ask(session_id, act, ear_protection=True)).status_code == 409
    wrong = await clinic.ask(session_id, "place-coil", side_or_site="right", ear_protection=True)
    assert wrong.json()["type"].endswith("site-mismatch")
    placed = await clinic.ask(session_id, "place-coil", side_or_site="left", ear_protection=True)
    assert placed.json()["state"] == "interrupted"
    await clinic.arm(session_id)
    assert (await clinic.ask(session_id, "resume", ear_protection=True)).json()["state"] == "running"
    session = await clinic.until_state(session_id, "closed")
    assert session["progress"]["pulses_delivered"] == clinic.simulator.total_pulses == 65
    assert clinic.simulator.settings.amplitude_a == 40
    assert [event["block"] for event in await clinic.events("train-authorised")] == [0, 1, 1]

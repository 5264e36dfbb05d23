"""A room looks at the published limits itself: at opening, at arming and at every change (INV-2, HZ-12, HZ-13)."""

import re
from importlib.resources import files

import pytest
from tests.stimulation.story import (
    OPERATOR,
    PATTERN_10HZ,
    PATTERN_ITBS,
    Story,
    bilateral_order,
    block,
    facts,
    measurement_order,
    treatment_order,
)

from spoel_common.settings import CannotStart
from spoel_stimulation import commands as asked
from spoel_stimulation.devices.record import CapabilityRecord
from spoel_stimulation.domain import session
from spoel_stimulation.domain.envelope import Before, check_order_dose, coil_forecast, rest_of_session
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.refusals import BeyondHardLimits, NotOnClearedList, TransitionNotAllowed
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.dose_view import dose_view
from spoel_stimulation.engine.limits import example_cleared_list
from spoel_stimulation.settings import StimulationSettings, cleared_list

CLEARED = example_cleared_list()
LIMITS, NOTHING_CLEARED = Limits(), Limits(cleared=())


def opened(order, **changes):
    story = Story(order=order)
    command = asked.OpenSession(session_id="session-1", supervisor_id=None)
    return session.open_session(story.state, command, OPERATOR, facts(signed=order, **changes))


def changed(pattern, **changes):
    return pattern.model_copy(update=changes)


@pytest.mark.invariant("INV-2")
@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    ("order", "limit"),
    [
        (treatment_order(ceiling=132.0), "highest-percent"),
        (treatment_order(changed(PATTERN_10HZ, burst_interval_s=0.03)), "highest-frequency"),
        (treatment_order(changed(PATTERN_10HZ, train_interval_s=5.0)), "shortest-pause"),
        (treatment_order(changed(PATTERN_10HZ, train_interval_s=4.2)), "shortest-pause"),
    ],
)
def test_a_signed_order_that_nobody_may_override_is_not_opened(order, limit):
    with pytest.raises(BeyondHardLimits) as refusal:
        opened(order)
    assert refusal.value.facts["limit"] == limit


@pytest.mark.invariant("INV-2")
@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-13")
@pytest.mark.parametrize(
    "changes",
    [
        {"pulses_per_burst": 4},
        {"pulse_interval_s": 0.0199},
        {"bursts_per_train": 11},
        {"burst_interval_s": 0.21},
        {"trains": 21},
        {"train_interval_s": 9.9},
    ],
)
def test_bursts_one_step_outside_their_row_are_not_opened(changes):
    assert opened(treatment_order(PATTERN_ITBS))
    with pytest.raises(NotOnClearedList):
        opened(treatment_order(changed(PATTERN_ITBS, **changes)))


@pytest.mark.hazard("HZ-13")
def test_bursts_stronger_than_their_row_or_at_another_site_are_not_opened():
    with pytest.raises(NotOnClearedList, match="percent"):
        opened(treatment_order(PATTERN_ITBS, ceiling=122.0))
    with pytest.raises(NotOnClearedList, match="site"):
        opened(treatment_order(PATTERN_ITBS, site="right-dlpfc"))


@pytest.mark.hazard("HZ-13")
def test_where_a_clinic_cleared_nothing_no_burst_is_delivered():
    with pytest.raises(NotOnClearedList):
        opened(treatment_order(PATTERN_ITBS), limits=NOTHING_CLEARED)
    assert opened(treatment_order(), limits=NOTHING_CLEARED)


@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-13")
def test_the_list_is_looked_at_again_when_arming_and_at_a_change():
    story = Story(order=treatment_order(PATTERN_ITBS)).checked()
    arm = asked.Arm(ear_protection=True)
    session.check_arm(story.state, arm, OPERATOR, story.facts())
    with pytest.raises(NotOnClearedList):
        session.check_arm(story.state, arm, OPERATOR, story.facts(limits=NOTHING_CLEARED))
    running = Story(order=treatment_order(PATTERN_ITBS)).running()
    for parameter, value in (("percent_rmt", 100.0), ("train_interval_s", 12.0)):
        change = asked.ChangeParameter(parameter=parameter, value=value, reason="pain")
        assert session.change_parameter(running.state, change, OPERATOR, running.armed_facts())
        with pytest.raises(NotOnClearedList):
            session.change_parameter(running.state, change, OPERATOR, running.armed_facts(limits=NOTHING_CLEARED))


@pytest.mark.requirement("PL-07")
def test_what_planning_may_have_overridden_is_shown_and_refuses_nothing():
    order = treatment_order(changed(PATTERN_10HZ, bursts_per_train=50), max_pulses_per_day=4_000)
    state = Story(order=order).opened().state
    shown = dose_view(state, LIMITS, None, None)
    (only,) = shown.blocks
    assert shown.grade == only.grade == "beyond-limit"
    assert {finding.limit: finding.grade for finding in only.findings} == {
        "train-duration": "beyond-limit",
        "train-duration-stricter": "beyond-stricter-table",
        "pause-between-trains": "within",
        "threshold-method-margin": "beyond-limit",
    }
    assert (only.percent_mso, only.percent_rmt, only.pulses) == (60, 120.0, 3750)


@pytest.mark.requirement("PL-07")
def test_the_row_that_clears_bursts_is_named():
    shown = dose_view(Story(order=treatment_order(PATTERN_ITBS)).opened().state, LIMITS, None, None)
    assert (shown.grade, shown.blocks[0].cleared_by) == ("not-covered", "itbs-600-left-dlpfc v1")


@pytest.mark.hazard("HZ-19")
def test_a_coil_that_is_expected_to_overheat_is_warned_of_before_the_session():
    cool = dose_view(Story(order=treatment_order()).opened().state, LIMITS, None, 25.0).coil
    assert (cool.warning, cool.too_warm_at_s, cool.verified) == (None, None, False)
    order = treatment_order(coil_model="C-B60")
    bare = Story(order=order)
    opened_state = bare.then(opened(order, device=bare.facts().device.model_copy(update={"coil_model": "C-B60"}))).state
    warned = dose_view(opened_state, LIMITS, None, None).coil
    assert warned.highest_c > warned.limit_c
    assert set(warned.warning) == {"nl", "en"}
    sooner = dose_view(opened_state, LIMITS, None, 38.0).coil
    assert sooner.too_warm_at_s < warned.too_warm_at_s
    for told in (warned, sooner):
        (minutes,) = re.findall(r" (\d+) minu", told.warning["nl"])
        assert 0 <= told.too_warm_at_s - 60 * int(minutes) < 60, "a warning names no later moment"
    unknown = treatment_order(coil_model="coil-99")
    device = bare.facts().device.model_copy(update={"coil_model": "coil-99"})
    assert dose_view(Story(order=unknown).then(opened(unknown, device=device)).state, LIMITS, None, None).coil is None


@pytest.mark.hazard("HZ-19")
@pytest.mark.requirement("ST-05")
def test_the_rest_of_a_session_is_forecast_anew_from_what_is_in_force():
    story = Story(order=treatment_order()).running()
    assert rest_of_session(story.state, LIMITS).pulses == 3000
    story.train()
    change = asked.ChangeParameter(parameter="percent_rmt", value=100.0, reason="pain")
    story.then(session.change_parameter(story.state, change, OPERATOR, story.armed_facts()))
    longer = asked.ChangeParameter(parameter="train_interval_s", value=40.0, reason="patient-discomfort")
    story.then(session.change_parameter(story.state, longer, OPERATOR, story.armed_facts()))
    (part,) = rest_of_session(story.state, LIMITS).parts
    assert (part.pattern.trains, part.pattern.train_interval_s, part.percent_mso) == (74, 40.0, 50)
    whole, rest = (
        coil_forecast(state, LIMITS, 25.0) for state in (Story(order=treatment_order()).running().state, story.state)
    )
    assert rest.highest_c < whole.highest_c
    fewer = asked.ChangeParameter(parameter="trains", value=10.0, reason="pain")
    story.then(session.change_parameter(story.state, fewer, OPERATOR, story.armed_facts()))
    (part,) = rest_of_session(story.state, LIMITS).parts
    assert part.pattern.trains == 9


@pytest.mark.hazard("HZ-13")
@pytest.mark.parametrize(
    ("before", "field"), [(Before(pulses_today=1), "pulses_per_day"), (Before(0, 14_399.0), "pause_between_sessions_s")]
)
def test_what_the_patient_had_before_counts_for_the_row(before, field):
    order = treatment_order(PATTERN_ITBS)
    check_order_dose(order, CLEARED, Before(0, 14_400.0))
    with pytest.raises(NotOnClearedList, match=field):
        check_order_dose(order, CLEARED, before)


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-13")
def test_every_block_of_an_order_is_looked_at():
    order = bilateral_order()
    shown = dose_view(Story(order=order).opened().state, LIMITS, None, None)
    assert [(each.site, each.grade) for each in shown.blocks] == [
        ("right-dlpfc", "within"),
        ("left-dlpfc", "not-covered"),
    ]
    assert shown.grade == "not-covered"
    assert rest_of_session(Story(order=order).opened().state, LIMITS).pulses == order.pulses
    with pytest.raises(NotOnClearedList, match="left-dlpfc"):
        opened(order, limits=NOTHING_CLEARED)
    too_many = bilateral_order(second=block(pattern=PATTERN_ITBS))
    with pytest.raises(NotOnClearedList, match="pulses_per_day"):
        opened(too_many)


@pytest.mark.hazard("HZ-23")
def test_the_output_of_a_blinded_session_is_not_shown():
    blinding = {"trial_id": "trial-1", "method": "device-code", "blind_code": "B-1"}
    order = treatment_order(blinding=blinding)
    state = SessionState(
        opened=Story(order=treatment_order()).opened().state.session.model_copy(update={"treatment_order": order})
    )
    state = state.model_copy(update={"percent_mso": 60, "train_interval_s": 30.0})
    shown = dose_view(state, LIMITS, RAPID, 38.0)
    assert (shown.blocks[0].percent_mso, shown.supply, shown.coil) == (None, None, None)


RAPID = CapabilityRecord(
    name="Rapid2",
    waveforms={"biphasic"},
    current_directions={"normal"},
    max_percent_mso=100,
    max_rate=[{"percent_mso": 100, "max_rate_hz": 25}],
    runs_trains=True,
    has_counter=False,
    host_enforces_wait=True,
    disarms_on_lost_contact={"holds": True, "source": "a test", "verified": False},
    stops_in_mid_train={"holds": True, "source": "a test", "verified": False},
    max_autonomous_s=10,
    joules_at_full_output=252.0,
    mean_power_w=1050.0,
    source="MagPy",
    verified=False,
)


@pytest.mark.hazard("HZ-19")
def test_what_a_session_asks_of_the_connected_models_power_is_shown():
    order = treatment_order(threshold=60)
    supply = dose_view(Story(order=order).opened().state, LIMITS, RAPID, None).supply
    assert (supply.pulse_energy_j, supply.train_energy_j) == pytest.approx((130.6, 5225), abs=0.5)
    assert (supply.longest_on_time_s, supply.minimum_wait_s) == pytest.approx((48.2, 0.98), abs=0.05)
    assert supply.highest_continuous_rate_hz == pytest.approx(8.04, abs=0.01)
    theta = dose_view(Story(order=treatment_order(PATTERN_ITBS, threshold=30)).opened().state, LIMITS, RAPID, None)
    assert theta.supply.longest_on_time_s is None
    unknown = RAPID.model_copy(update={"mean_power_w": None})
    assert dose_view(Story(order=order).opened().state, LIMITS, unknown, None).supply is None


def test_after_a_blocks_last_train_the_power_is_that_of_the_block_that_comes():
    story = Story(order=bilateral_order(first=PATTERN_10HZ.model_copy(update={"trains": 1}))).running().train()
    assert story.state.percent_mso == 60
    supply = dose_view(story.state, LIMITS, RAPID, None).supply
    assert supply.pulse_energy_j == pytest.approx(252 * 0.4**2), "theta burst at 40 % of output follows"


@pytest.mark.hazard("HZ-19")
def test_a_model_whose_circuit_is_not_known_is_forecast_by_the_energy_that_it_states():
    order = treatment_order(stimulator_model="Rapid2")
    device = Story(order=order).facts().device.model_copy(update={"model": "Rapid2"})
    state = Story(order=order).then(opened(order, device=device)).state
    unknown, known = dose_view(state, LIMITS, None, None), dose_view(state, LIMITS, RAPID, None)
    assert unknown.coil is None
    assert unknown.no_coil_forecast["nl"].startswith("Van deze stimulator (Rapid2) zijn geen cijfers bekend")
    assert known.coil.highest_c > 25
    assert known.no_coil_forecast is None


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize("coil_model", ["D70²", "DuoMAG 70BF", "unknown"])
def test_of_a_coil_without_figures_it_is_said_that_nothing_is_forecast(coil_model):
    order = treatment_order(coil_model=coil_model)
    device = Story(order=order).facts().device.model_copy(update={"coil_model": coil_model})
    dose = dose_view(Story(order=order).then(opened(order, device=device)).state, LIMITS, RAPID, None)
    assert dose.coil is None
    assert dose.no_coil_forecast["en"].startswith(f"Of this coil ({coil_model}) no figures are known: no forecast")
    assert f"Van deze spoel ({coil_model}) zijn geen cijfers bekend" in dose.no_coil_forecast["nl"]
    assert "may become too warm" in dose.no_coil_forecast["en"]


def test_single_stimuli_have_no_dose():
    with pytest.raises(TransitionNotAllowed):
        dose_view(Story("measurement", measurement_order()).opened().state, LIMITS, None, None)


async def test_the_dose_of_a_session_is_read_over_http(clinic):
    session_id = await clinic.prepare(treatment_order(PATTERN_ITBS))
    await clinic.open(session_id)
    answer = await clinic.get(f"/sessions/{session_id}/dose")
    assert (answer.status_code, answer.json()["grade"]) == (200, "not-covered")
    assert answer.json()["coil"]["highest_c"] > 20


@pytest.mark.hazard("HZ-13")
def test_a_clinics_own_list_takes_the_place_of_the_example(tmp_path):
    own = tmp_path / "cleared.toml"
    own.write_text("", encoding="utf-8")
    assert cleared_list(StimulationSettings()) == CLEARED
    assert cleared_list(StimulationSettings(clinical=True)) == ()
    assert cleared_list(StimulationSettings(clinical=True, cleared_list_file=own)) == ()
    own.write_text("[[row]]\nsite = 1\n", encoding="utf-8")
    for path in (own, tmp_path / "nothing.toml"):
        with pytest.raises(CannotStart, match="SPOEL_CLEARED_LIST_FILE"):
            cleared_list(StimulationSettings(cleared_list_file=path))


@pytest.mark.hazard("HZ-13")
@pytest.mark.parametrize(
    ("packaged", "number"),
    [
        ("min_pause_between_sessions_s = 14400", -1),
        ("min_train_interval_s = 30.0", -30.0),
        ("min_train_interval_s = 30.0", 0.0),
        ("burst_interval_s = 0.1", 0.0),
        ("max_trains = 75", 0),
    ],
)
def test_a_row_that_clears_any_pause_or_nothing_at_all_stops_the_start(tmp_path, packaged, number):
    text = files("spoel_stimulation.engine").joinpath("data/cleared.toml").read_text(encoding="utf-8")
    name = packaged.partition(" ")[0]
    assert packaged in text
    own = tmp_path / "cleared.toml"
    own.write_text(text.replace(packaged, f"{name} = {number}"), encoding="utf-8")
    with pytest.raises(CannotStart, match=rf"SPOEL_CLEARED_LIST_FILE(.|\n)*{name}(.|\n)*greater than"):
        cleared_list(StimulationSettings(cleared_list_file=own))

"""A heart-brain search: runs of trains at several locations, and what they lead to (PL-11). Pure."""

from datetime import timedelta

from pydantic import ValidationError

from spoel_stimulation import engine
from spoel_stimulation.commands import SearchLocation
from spoel_stimulation.domain.refusals import (
    LocationUnknown,
    NotThisMeasurement,
    RunUnderWay,
    SearchIntensityDiffers,
    TrainBeyondLimits,
)
from spoel_stimulation.domain.state import SearchRun, SessionState
from spoel_stimulation.domain.trains import NextTrain, check_left, device_pattern, next_train
from spoel_stimulation.engine.coupling import Coupling, Ranking, RankingRules, rank
from spoel_stimulation.orders import MeasurementOrder


def check_search(state: SessionState) -> MeasurementOrder:
    """Return the order of a heart-brain search.

    Raises:
        NotThisMeasurement: the session has another order.
    """
    order = state.order
    if not isinstance(order, MeasurementOrder) or order.search is None:
        raise NotThisMeasurement("This session's order is no heart-brain search. Have one signed and booked.")
    return order


def check_location(state: SessionState, order: MeasurementOrder, command: SearchLocation) -> None:
    """Refuse a location that is not the order's, another run beside the one under way, or one that cannot be compared.

    Raises:
        LocationUnknown, RunUnderWay, SearchIntensityDiffers: as they say.
    """
    if state.run is not None:
        raise RunUnderWay(f"The trains at {state.run.location} are not over. Wait, or pause to break them off.")
    names = order.search.names if order.search is not None else ()
    if command.location not in names:
        raise LocationUnknown(f"{command.location} is not in the order. It has {', '.join(names)}.")
    measured_at = measured_percent_mso(state)
    if measured_at not in (None, command.percent_mso):
        raise SearchIntensityDiffers(
            f"percent_mso is {command.percent_mso}; what was measured in this search had {measured_at}, and locations "
            f"are compared at one intensity only. Give this one {measured_at} too, or stop, and search all of them "
            f"with {command.percent_mso} in another session.",
            measured_percent_mso=measured_at,
        )


def search_pattern(order: MeasurementOrder, max_autonomous_s: float) -> engine.Pattern:
    """Return the trains of one run, each of which a device may run on its own (INV-11).

    Raises:
        TrainBeyondLimits: a train is too long, or would have to be split, which would make another cycle of it.
    """
    assert order.search is not None  # noqa: S101 - of a search only
    try:
        wanted = engine.Pattern.model_validate(order.search.pattern.model_dump())
        given = engine.split_for_autonomy(wanted, max_autonomous_s)
    except (engine.AutonomyExceeded, ValidationError) as error:
        raise TrainBeyondLimits(f"The order's trains cannot be run here: {error}. Have others signed.") from error
    if given != wanted:
        raise TrainBeyondLimits("The order's trains are too slow for one start each. Have another order signed.")
    return given


def upcoming_train(state: SessionState, max_autonomous_s: float) -> NextTrain | None:
    """Return the next train that the room gives by itself; None where the block, or the run, has none left.

    Raises:
        TrainBeyondLimits: it cannot be run here.
    """
    if state.block is not None:
        return next_train(state, device_pattern(state.block, max_autonomous_s))
    run, order = state.run, state.order
    if run is None or not isinstance(order, MeasurementOrder):
        return None
    given = len(state.trains) - run.first_train
    if given >= run.trains:
        return None
    pattern = search_pattern(order, max_autonomous_s)
    interval_s = pattern.train_interval_s if given else order.min_interval_s
    return NextTrain(
        index=len(state.trains),
        percent_mso=run.percent_mso,
        bursts=pattern.bursts_per_train,
        pulses_per_burst=pattern.pulses_per_burst,
        burst_interval_s=pattern.burst_interval_s,
        pulse_interval_s=pattern.pulse_interval_s,
        due_at=state.trains[-1].onset_at + timedelta(seconds=interval_s) if state.trains else None,
    )


def check_run_left(state: SessionState, used: int) -> None:
    """Refuse a train of a run beyond the order's number; a treatment has its own.

    Raises:
        StimuliUsedUp: none is left.
    """
    if isinstance(state.order, MeasurementOrder):
        check_left(state.order, used, 1)


def measured_percent_mso(state: SessionState) -> int | None:
    """Return the intensity at which this search compares its locations; None before the first that was measured."""
    return next((run.percent_mso for run in state.runs if run.result is not None), None)


def newest_results(state: SessionState) -> dict[str, SearchRun]:
    """Return the last measured run of each location."""
    return {run.location: run for run in state.runs if run.result is not None}


def ranking_of(state: SessionState, rules: RankingRules) -> Ranking:
    """Return the locations of a search from strongest to weakest coupling, by the last result of each."""
    return rank({name: _coupling(run) for name, run in newest_results(state).items()}, rules)


def _coupling(run: SearchRun) -> Coupling:
    result = run.result
    assert result is not None  # noqa: S101 - of measured runs only
    return Coupling(beats=run.beats, artefacts=run.artefacts, **result.model_dump())

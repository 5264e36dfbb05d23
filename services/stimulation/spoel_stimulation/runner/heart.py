"""The heart side of a room: what the belt recorded during a run of a heart-brain search (PL-11)."""

from datetime import datetime, timedelta

import numpy as np

from spoel_stimulation.commands import RecordCoupling
from spoel_stimulation.domain.state import SearchRun, SessionState, Train
from spoel_stimulation.engine.coupling import Beats, Coupling, Cycle, Floats, in_cycle, measure
from spoel_stimulation.events.searches import CouplingResult
from spoel_stimulation.heart.recorder import BeltState, HeartRecorder, Trouble
from spoel_stimulation.heart.rules import HeartRules
from spoel_stimulation.orders import MeasurementOrder, Pattern

LONGEST_CYCLE = 2.0
"""A cycle that lasted longer than so many usual ones is no cycle any more; shorter ones are stretched or shrunk."""

NO_BELT = "This room has no belt. Have one set up for it (heart_address), or search in another room."


class RoomHeart:
    """What a room knows of its patient's heart while locations are searched.

    Args:
        recorder: of the room's belt; None where it has none.
        rules: of the analysis.
    """

    def __init__(self, recorder: HeartRecorder | None, rules: HeartRules) -> None:
        self.rules = rules
        self.recorder = recorder
        self._recorded: tuple[str, int] | None = None

    @property
    def belt(self) -> BeltState | None:
        """The belt as it is now; None where the room has none."""
        return None if self.recorder is None else self.recorder.state

    @property
    def problem(self) -> str | None:
        """Why no run can begin; None where one can."""
        belt = self.belt
        return NO_BELT if belt is None else belt.problem

    def goes_on(self, state: SessionState) -> bool:
        """Tell whether the run gets its next train; the first one begins the recording."""
        run, given = _run_of(state)
        if self.recorder is not None and not given and self._recorded != _key(state, run):
            self.recorder.begin()
            self._recorded = _key(state, run)
        return len(given) < run.trains and self._trouble(state) is None

    def over_at(self, state: SessionState) -> datetime | None:
        """Return until when a run's last cycle lasts; None where nothing is waited for."""
        _run, given = _run_of(state)
        if not given or self._trouble(state) is not None:
            return None
        return given[-1].onset_at + timedelta(seconds=_period_s(_onset_s(given), _pattern(state)))

    def forget(self) -> None:
        """Drop the recording of a run that was broken off."""
        if self.recorder is not None and self._recorded is not None:
            self.recorder.drop()
            self._recorded = None

    async def told(self, state: SessionState) -> None:
        """Wait until the belt has told of the beats up to the end of the last cycle, or is lost."""
        over_at = self.over_at(state)
        if over_at is not None and self.recorder is not None:
            await self.recorder.told_until(_utc_ns(over_at))

    def found(self, state: SessionState) -> RecordCoupling:
        """Return what the heart did in a run that is over; the recording is dropped."""
        _run, given = _run_of(state)
        trouble = self._trouble(state)
        zero_ns = _utc_ns(given[0].onset_at) if given else 0
        beats = trouble or ("belt-lost" if self.recorder is None else self.recorder.end(zero_ns))
        self._recorded = None
        if not isinstance(beats, tuple):
            return RecordCoupling(reason=beats)
        return self._measured(state, given, beats)

    def _measured(self, state: SessionState, given: list[Train], beats: Beats) -> RecordCoupling:
        pattern = _pattern(state)
        onset_s = _onset_s(given)
        period_s = _period_s(onset_s, pattern)
        if np.any(np.diff(onset_s) > LONGEST_CYCLE * period_s):
            return RecordCoupling(reason="uneven-trains")
        cycle = Cycle(period_s, pattern.bursts_per_train * pattern.burst_interval_s, len(given))
        found = measure(in_cycle(beats, onset_s, period_s), cycle, self.rules)
        if not isinstance(found, Coupling):
            return RecordCoupling(reason=found.reason, beats=found.beats, artefacts=found.artefacts)
        result = CouplingResult.model_validate(
            {name: value for name, value in found._asdict().items() if name in CouplingResult.model_fields}
        )
        return RecordCoupling(beats=found.beats, artefacts=found.artefacts, result=result)

    def _trouble(self, state: SessionState) -> Trouble | None:
        if self.recorder is None or self._recorded != _key(state, _run_of(state)[0]):
            return "belt-lost"
        return self.recorder.trouble


def _key(state: SessionState, run: SearchRun) -> tuple[str, int]:
    return state.session.session_id, run.run


def _run_of(state: SessionState) -> tuple[SearchRun, list[Train]]:
    """Return the run under way, and its trains so far."""
    run = state.run
    assert run is not None  # noqa: S101 - asked only while one is under way
    return run, list(state.trains[run.first_train :])


def _utc_ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6) * 1_000


def _onset_s(given: list[Train]) -> Floats:
    """Return when each train of a run began, in seconds since the first."""
    return np.array([(train.onset_at - given[0].onset_at).total_seconds() for train in given])


def _period_s(onset_s: Floats, pattern: Pattern) -> float:
    """Return how long a cycle usually lasted: a little longer than ordered, since trains begin after checks."""
    return float(np.median(np.diff(onset_s))) if onset_s.size > 1 else pattern.train_interval_s


def _pattern(state: SessionState) -> Pattern:
    """Return the trains of one run."""
    order = state.order
    assert isinstance(order, MeasurementOrder)  # noqa: S101 - only a measurement has runs
    assert order.search is not None  # noqa: S101 - and only of a search
    return order.search.pattern

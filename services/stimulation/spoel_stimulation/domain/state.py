"""A session's state: what is recorded of it, and what follows from that."""

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict

from spoel_common.people import Actor, Role
from spoel_stimulation.domain.phases import PEOPLES_ACTS, TRANSITIONS, Act, Phase
from spoel_stimulation.domain.refusals import TransitionNotAllowed
from spoel_stimulation.events.searches import CouplingResult
from spoel_stimulation.events.sessions import SessionOpened
from spoel_stimulation.events.words import CouplingReason, DailyOutcome, Decider, PatientState, Response, TrainOutcome
from spoel_stimulation.orders import Block, MeasurementOrder, TreatmentOrder


class Train(BaseModel):
    """One authorised train.

    Attributes:
        percent_mso: None in a blinded session.
        outcome: None while it is open.
        delivered: pulses that are known to be delivered.
        onset_at: clock time of its first pulse as far as known, else when it was due.
    """

    model_config = ConfigDict(frozen=True)

    train_id: str
    index: int
    pulses: int
    percent_mso: int | None
    device_total_pulses_before: int | None
    onset_at: datetime
    outcome: TrainOutcome | None = None
    unknown: bool = False
    delivered: int = 0
    response: Response | None = None
    block: int = 0

    @property
    def open(self) -> bool:
        """Whether it is not recorded how the train ended."""
        return self.outcome is None and not self.unknown

    @property
    def counts_for_maxima(self) -> bool:
        """Whether it counts as given: all but those of which nothing was delivered (ST-12)."""
        return self.outcome != "none"


class PatientChecked(BaseModel):
    """What the patient's answers of the day led to.

    Attributes:
        day: the local day for which they hold.
        undecided: question → whose decision its answer still waits for.
    """

    model_config = ConfigDict(frozen=True)

    day: date
    outcome: DailyOutcome
    undecided: dict[str, Decider]


class SearchRun(BaseModel):
    """One run of a heart-brain search: trains at one location.

    Attributes:
        first_train: index of its first train.
        trains: that were asked for.
        ended: measured, or broken off; one that was broken off is not gone on with (INV-7).
        result: None unless it was measured.
        reason: why a run that was not broken off has no result.
    """

    model_config = ConfigDict(frozen=True)

    run: int
    location: str
    percent_mso: int
    first_train: int
    trains: int
    ended: bool = False
    beats: int = 0
    artefacts: int = 0
    result: CouplingResult | None = None
    reason: CouplingReason | None = None


class SessionState(BaseModel):
    """What is recorded of a session.

    Attributes:
        opened: how it was opened, with the frozen order; None before.
        percent_rmt: intensity in force, of the motor threshold; None in a measurement.
        percent_mso: intensity in force; in a measurement that of the last stimulus, 0 before the first.
        train_interval_s: onset to onset in force; None in a measurement.
        most_trains: trains in force where the operator chose fewer than signed; None: as signed.
        coil_shift_mm: of the coil from the target, as the operator set it.
        coil_turn_deg: of the coil from the prescribed angle.
        trains: authorised trains in their order.
        checked: the patient's answers of the day; None before they were asked.
        paused_at: clock time since when it is paused or interrupted, or since the coil was placed, if that is known.
        site_unsure: the coil may have moved since side and site were chosen.
        block_index: which block of a treatment is given, or waited for.
        reason: of the last pause or of the end.
        consent_asked_again: the patient was asked again in this session, the room being cut off.
        grant_revoked: a supervisor ended the grant under which it is run.
        patient_state: as it was said when the session was stopped.
        runs: of a heart-brain search.
    """

    model_config = ConfigDict(frozen=True)

    phase: Phase = Phase.NONE
    opened: SessionOpened | None = None
    percent_rmt: float | None = None
    percent_mso: int = 0
    train_interval_s: float | None = None
    most_trains: int | None = None
    coil_shift_mm: float = 0.0
    coil_turn_deg: float = 0.0
    trains: tuple[Train, ...] = ()
    checked: PatientChecked | None = None
    paused_at: datetime | None = None
    site_unsure: bool = False
    block_index: int = 0
    reason: str | None = None
    consent_asked_again: bool = False
    grant_revoked: bool = False
    patient_state: PatientState | None = None
    runs: tuple[SearchRun, ...] = ()

    @property
    def session(self) -> SessionOpened:
        """How the session was opened.

        Raises:
            TransitionNotAllowed: it was not opened.
        """
        if self.opened is None:
            raise TransitionNotAllowed("This session was not opened here. Open it in its room first.", state=self.phase)
        return self.opened

    @property
    def order(self) -> TreatmentOrder | MeasurementOrder:
        """The signed order that was frozen into the session."""
        order = self.session.treatment_order or self.session.measurement_order
        assert order is not None  # noqa: S101 - the event's own validator holds this
        return order

    @property
    def block(self) -> Block | None:
        """The block of a treatment that is given, or waited for; None in a measurement."""
        order = self.order
        return order.blocks[self.block_index] if isinstance(order, TreatmentOrder) else None

    @property
    def blinded(self) -> bool:
        """Whether the session belongs to a blinded trial."""
        order = self.order
        return isinstance(order, TreatmentOrder) and order.blinding is not None

    @property
    def next_block(self) -> Block | None:
        """The block after this one; None where there is none."""
        order = self.order
        if not isinstance(order, TreatmentOrder):
            return None
        return next(iter(order.blocks[self.block_index + 1 :]), None)

    @property
    def trains_of_block(self) -> list[Train]:
        """Authorised trains of the block that is given."""
        return [train for train in self.trains if train.block == self.block_index]

    @property
    def run(self) -> SearchRun | None:
        """The run of a heart-brain search that is under way."""
        return self.runs[-1] if self.runs and not self.runs[-1].ended else None

    @property
    def conducted(self) -> bool:
        """Whether the room gives trains by itself: those of a treatment, or of a run."""
        return self.session.kind == "treatment" or self.run is not None

    @property
    def operator(self) -> Actor:
        """Who runs the session: the grant under which its trains are recorded."""
        opened = self.session
        return Actor(
            person_id=opened.operator_id,
            roles=frozenset({Role(opened.operator_role)}),
            big_number=opened.operator_big_number,
            supervisor_id=opened.supervisor_id,
        )

    @property
    def open_train(self) -> Train | None:
        """The train of which it is not recorded how it ended."""
        return self.trains[-1] if self.trains and self.trains[-1].open else None

    @property
    def ended(self) -> bool:
        """Whether nothing can follow any more."""
        return not TRANSITIONS[self.phase]

    @property
    def pulses_delivered(self) -> int:
        """Pulses that are known to be delivered."""
        return sum(train.delivered for train in self.trains)

    @property
    def pulses_unknown(self) -> int:
        """Pulses of trains whose outcome is unknown, at most."""
        return sum(train.pulses for train in self.trains if train.unknown)

    @property
    def pulses_planned(self) -> int:
        """Pulses of the whole order; in a measurement the most that it allows."""
        order = self.order
        return order.pulses if isinstance(order, TreatmentOrder) else order.max_pulses

    @property
    def trains_delivered(self) -> int:
        """Trains of which at least one pulse was delivered."""
        return sum(train.delivered > 0 for train in self.trains)

    def train(self, train_id: str) -> Train | None:
        """Return a train by its id."""
        return next((train for train in self.trains if train.train_id == train_id), None)

    def may(self, act: Act) -> bool:
        """Tell whether the table has this act in this phase."""
        return act in TRANSITIONS[self.phase]

    @property
    def possible(self) -> list[str]:
        """What a person may ask for in this phase."""
        return [str(act) for act in TRANSITIONS[self.phase] if act in PEOPLES_ACTS]

    def require(self, act: Act) -> None:
        """Refuse what the table does not have.

        Raises:
            TransitionNotAllowed: says the state and what is possible in it.
        """
        if self.may(act):
            return
        raise TransitionNotAllowed(
            f"'{act}' is not possible while the session is '{self.phase}'; possible now: "
            f"{', '.join(self.possible) or 'nothing'}.",
            state=self.phase,
            possible=self.possible,
        )

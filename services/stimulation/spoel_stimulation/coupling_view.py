"""What GET answers of a heart-brain search: each location, the ranking, and a plot (PL-11)."""

from html import escape
from typing import Literal

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.domain.search import check_search, newest_results, ranking_of
from spoel_stimulation.domain.state import SearchRun, SessionState
from spoel_stimulation.engine.coupling import RankedLocation, Ranking, Verdict
from spoel_stimulation.events.searches import CouplingResult
from spoel_stimulation.events.words import CouplingReason
from spoel_stimulation.heart.profile import Contact
from spoel_stimulation.runner.heart import NO_BELT, RoomHeart

RunState = Literal["under-way", "measured", "no-result", "broken-off"]
Language = Literal["nl", "en"]

VERDICTS: dict[Verdict, dict[Language, str]] = {
    "ranked": {
        "nl": "{best}: hier volgt het hart de stimulatie het sterkst, duidelijk meer dan op elke andere plek.",
        "en": "{best}: here the heart follows the stimulation most, clearly more than at any other location.",
    },
    "no-location-differs": {
        "nl": "Geen plek steekt duidelijk uit boven de andere. Kies de plek op andere gronden.",
        "en": "No location clearly stands out from the others. Choose the location on other grounds.",
    },
    "no-coupling": {
        "nl": "Op geen enkele plek volgt het hart de stimulatie aantoonbaar.",
        "en": "At no location does the heart demonstrably follow the stimulation.",
    },
    "too-few-locations": {
        "nl": "Er zijn nog geen twee plekken gemeten om te vergelijken.",
        "en": "There are not yet two measured locations to compare.",
    },
}

_TITLE: dict[Language, str] = {
    "nl": "Hart-brein-koppeling: daling van de hartslag in de maat van de stimulatie",
    "en": "Heart-brain coupling: fall in heart rate in step with stimulation",
}
_AXIS: dict[Language, str] = {"nl": "daling, slagen per minuut", "en": "fall, beats a minute"}
_COUPLED: dict[Language, str] = {"nl": "gekoppeld", "en": "coupled"}
_UNCERTAIN: dict[Language, str] = {"nl": "niet aantoonbaar", "en": "not demonstrable"}
_NOTHING: dict[Language, str] = {"nl": "niet gemeten", "en": "not measured"}
_UNVERIFIED: dict[Language, str] = {
    "nl": "Rekenwijze beproefd op gesimuleerde reeksen, niet op patiënten.",
    "en": "Analysis tried on simulated series, not on patients.",
}


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class BeltView(_View):
    """The belt as it is now; ``problem``: why no run can begin."""

    problem: str | None
    serial: str | None
    simulated: bool | None
    battery_percent: int | None
    contact: Contact
    rate_bpm: int | None
    beats_recorded: int
    heard_age_s: float | None


class RunView(_View):
    """One run at one location."""

    run: int
    location: str
    state: RunState
    percent_mso: int
    trains: int
    trains_given: int
    beats: int
    artefacts: int
    reason: CouplingReason | None
    result: CouplingResult | None


class LocationView(_View):
    """One location in the ranking, from strongest to weakest.

    Attributes:
        coupled: the heart slowed with the trains beyond chance, for the number of locations.
        fall_bpm: amplitude of heart rate at the cycle frequency; negative where it rose with the trains.
        ratio: power at the cycle frequency over that beside it.
    """

    location: str
    coupled: bool
    fall_bpm: float
    ratio: float
    p_value: float


class CouplingView(_View):
    """A heart-brain search as it stands.

    Attributes:
        best: the location to offer; null unless one stands out from every other.
        verified: whether the analysis was compared with patients' measurements.
    """

    session_id: str
    verdict: Verdict
    best: str | None
    meaning: dict[Language, str]
    locations: list[LocationView]
    not_measured: list[str]
    runs: list[RunView]
    belt: BeltView
    source: str
    verified: bool


def coupling_view(state: SessionState, heart: RoomHeart) -> CouplingView:
    """Return a heart-brain search as it stands.

    Raises:
        NotThisMeasurement: the session has another order.
    """
    order = check_search(state)
    ranking = ranking_of(state, heart.rules.ranking)
    measured = newest_results(state)
    names = order.search.names if order.search is not None else ()
    return CouplingView(
        session_id=state.session.session_id,
        verdict=ranking.verdict,
        best=ranking.best,
        meaning={language: text.format(best=ranking.best) for language, text in VERDICTS[ranking.verdict].items()},
        locations=[_location_view(each) for each in ranking.locations],
        not_measured=[name for name in names if name not in measured],
        runs=[_run_view(state, run) for run in state.runs],
        belt=_belt_view(heart),
        source=heart.rules.spectrum.source,
        verified=heart.rules.spectrum.verified and heart.rules.ranking.verified,
    )


def _location_view(ranked: RankedLocation) -> LocationView:
    return LocationView(
        location=ranked.location,
        coupled=ranked.coupled,
        fall_bpm=round(ranked.fall_bpm, 3),
        ratio=round(ranked.ratio, 2),
        p_value=ranked.p_value,
    )


def _run_view(state: SessionState, run: SearchRun) -> RunView:
    last = next((other.first_train for other in state.runs if other.run == run.run + 1), len(state.trains))
    how: RunState = "under-way"
    if run.ended:
        how = "measured" if run.result is not None else "no-result" if run.reason is not None else "broken-off"
    return RunView(
        run=run.run,
        location=run.location,
        state=how,
        percent_mso=run.percent_mso,
        trains=run.trains,
        trains_given=sum(train.outcome == "complete" for train in state.trains[run.first_train : last]),
        beats=run.beats,
        artefacts=run.artefacts,
        reason=run.reason,
        result=run.result,
    )


def _belt_view(heart: RoomHeart) -> BeltView:
    now = heart.belt
    belt = None if now is None else now.belt
    return BeltView(
        problem=NO_BELT if now is None else now.problem,
        serial=None if belt is None else belt.serial,
        simulated=None if belt is None else belt.simulated,
        battery_percent=None if belt is None else belt.battery_percent,
        contact="not-told" if now is None else now.contact,
        rate_bpm=None if now is None else now.rate_bpm,
        beats_recorded=0 if now is None else now.beats,
        heard_age_s=None if now is None or now.heard_age_s is None else round(now.heard_age_s, 1),
    )


# --- the plot

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 800, 130, 230, 74, 34
MOST_TICKS = 8
_BLUE, _GREY = "#1f5f99", "#9aa5b1"


def coupling_svg(state: SessionState, heart: RoomHeart, language: Language) -> str:
    """Return a plot of the ranking as SVG: a bar a location, its error, and what the answer is.

    Raises:
        NotThisMeasurement: the session has another order.
    """
    view = coupling_view(state, heart)
    ranking = ranking_of(state, heart.rules.ranking)
    rows = [*(each.location for each in view.locations), *view.not_measured]
    errors = {name: run.result.noise_bpm2**0.5 for name, run in newest_results(state).items() if run.result}
    height = _TOP + _ROW * len(rows) + 76
    scale = (_WIDTH - _LEFT - _RIGHT) / _highest(ranking, errors)
    body = [
        _text(20, 28, _TITLE[language], size=16, bold=True),
        _text(20, 50, view.meaning[language], size=13),
        *(
            _bar(_TOP + _ROW * place, each, errors[each.location], scale, language)
            for place, each in enumerate(view.locations)
        ),
        *(
            _text(_LEFT + 6, _TOP + _ROW * (len(view.locations) + place) + 21, _NOTHING[language], colour=_GREY)
            for place in range(len(view.not_measured))
        ),
        *(_text(20, _TOP + _ROW * place + 21, name, bold=name == view.best) for place, name in enumerate(rows)),
        f'<line x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{_TOP + _ROW * len(rows)}" stroke="black"/>',
        *_axis(_TOP + _ROW * len(rows), _highest(ranking, errors), scale, language),
        *([] if view.verified else [_text(20, height - 20, _UNVERIFIED[language], size=12, colour="#555")]),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" lang="{language}"><title>{escape(_TITLE[language])}</title>'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
    )
    return head + "".join(body) + "</svg>"


def _highest(ranking: Ranking, errors: dict[str, float]) -> float:
    return max((max(0.0, each.fall_bpm) + errors[each.location] for each in ranking.locations), default=1.0)


def _axis(top: int, highest_bpm: float, scale: float, language: Language) -> list[str]:
    """Return ticks of the scale under the bars, and what they count."""
    step = next(each for each in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 50.0) if highest_bpm / each <= MOST_TICKS)
    places = [(_LEFT + tick * step * scale, f"{tick * step:g}") for tick in range(int(highest_bpm / step) + 1)]
    return [
        *(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + 5}" stroke="black"/>' for x, _label in places),
        *(_text(round(x, 1) - 4, top + 19, label, size=12) for x, label in places),
        _text(_LEFT, top + 38, _AXIS[language], size=13),
    ]


def _bar(top: int, location: LocationView, error_bpm: float, scale: float, language: Language) -> str:
    """Return one location's bar, a line of one standard error to either side, and what is known of it."""
    fall = max(0.0, location.fall_bpm)
    middle = top + 16
    low, high = _LEFT + max(0.0, fall - error_bpm) * scale, _LEFT + (fall + error_bpm) * scale
    known = f"{(_COUPLED if location.coupled else _UNCERTAIN)[language]} · p = {location.p_value:.2g}"
    return (
        f'<rect x="{_LEFT}" y="{top + 6}" width="{fall * scale:.1f}" height="20" '
        f'fill="{_BLUE if location.coupled else _GREY}"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>'
        + _text(_WIDTH - _RIGHT + 12, top + 21, known, size=12)
    )


def _text(x: float, y: float, text: str, *, size: int = 14, bold: bool = False, colour: str = "black") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}"{weight} fill="{colour}">{escape(text)}</text>'

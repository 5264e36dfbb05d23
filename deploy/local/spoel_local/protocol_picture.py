"""The picture of a protocol: session, trains and pulses, each magnified from the one above; the pulse; the coil."""

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from matplotlib.ticker import FuncFormatter

from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_local.picture_words import Words, minutes_of, number, words
from spoel_planning.domain.rules import BlockRule, Protocol
from spoel_stimulation.engine import Part, Pattern, Ramp, Session, expand, heat, waveform
from spoel_stimulation.engine.circuits import Ringing
from spoel_stimulation.engine.envelope import GRADES, Dose, grade_dose
from spoel_stimulation.engine.limits import example_cleared_list, published_limits
from spoel_stimulation.engine.waveform import Shape

BLUE, ORANGE, GREY, PALE = "#0072b2", "#d55e00", "#5f6b73", "#e8f1f7"  # told apart by colour-blind people too
PULSES_SHOWN = 5
SLOTS_SHOWN = 20
NS_PER_MS, NS_PER_S, NS_PER_MIN = 1e6, 1e9, 60e9

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "svg.fonttype": "none",
    "svg.hashsalt": "spoel",
}


class Picture(NamedTuple):
    """What is drawn.

    Attributes:
        protocol: of planning's catalogue.
        block: which of its blocks is magnified, from 0.
        threshold_percent_mso: the motor threshold on which every block rests.
        pause_s: from the last pulse of a block to the first of the next.
        stimulator: model whose pulse is drawn, with ``circuit``.
        coil_model: model whose temperature is forecast, with ``coil``.
        coil: None for one of which no figures are known.
        shape: of the pulse.
        start_c: the coil's temperature at the start; None for that of the room.
        language: of the labels, ``nl`` or ``en``.
    """

    protocol: Protocol
    block: int
    threshold_percent_mso: int
    pause_s: float
    stimulator: str
    circuit: Ringing
    coil_model: str
    coil: heat.CoilHeat | None
    shape: Shape
    start_c: float | None
    language: str

    @property
    def session(self) -> Session:
        """All of it, as the engine has it."""
        parts = [
            Part(
                pattern=_pattern_of(block),
                percent_mso=self.set_percent_mso(block),
                ramp=_ramp_of(block),
                site=block.site,
            )
            for block in blocks_of(self.protocol)
        ]
        return Session.in_sequence(parts, self.pause_s)

    @property
    def magnified(self) -> Part:
        """The block that is magnified."""
        return self.session.parts[self.block]

    def set_percent_mso(self, block: BlockRule) -> int:
        """Return what the device would be set to for a block."""
        return set_percent_mso(PercentRmt(block.percent_rmt), PercentMso(self.threshold_percent_mso))

    @property
    def words(self) -> Words:
        """The words of its language."""
        return words(self.language)

    def number(self, value: float, digits: int = 2) -> str:
        """Return a number as its language writes it."""
        return number(value, self.language, digits)


class Scale(NamedTuple):
    """One magnification.

    Attributes:
        from_ns: where it begins, on the axis of the one above.
        until_ns: how long it is.
        unit_ns: nanoseconds to the unit of its axis.
        unit: its name.
    """

    from_ns: float
    until_ns: float
    unit_ns: float
    unit: str


def draw(picture: Picture, output: Path) -> None:
    """Write the picture of a protocol.

    Args:
        picture: what is drawn.
        output: a file whose name ends in ``.svg`` or ``.png``.

    Raises:
        OSError: it cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 10.0), layout="constrained")
        grid = figure.add_gridspec(5, 2, height_ratios=[0.62, 0.8, 1, 1, 1.6])
        scales = _scales(picture)
        rows = [figure.add_subplot(grid[row, :]) for row in (1, 2, 3)]
        _draw_session(rows[0], picture, scales[0])
        _draw_trains(rows[1], picture, scales[1])
        _draw_pulses(rows[2], picture, scales[2])
        for (upper, upper_scale), (lower, lower_scale) in zip(
            zip(rows[:2], scales[:2], strict=True), zip(rows[1:], scales[1:], strict=True), strict=True
        ):
            _magnify(figure, upper, lower, lower_scale, upper_scale.unit_ns)
        _draw_waveform(figure.add_subplot(grid[4, 0]), picture)
        _draw_temperature(figure.add_subplot(grid[4, 1]), picture)
        _write_heading(figure.add_subplot(grid[0, :]), picture)
        figure.supxlabel(picture.words["not-measured"], x=0.01, ha="left", fontsize=8, color=GREY)
        metadata = {"Date": None} if output.suffix.lower() == ".svg" else {}
        figure.savefig(output, dpi=150, metadata=metadata, bbox_inches="tight", pad_inches=0.15)


def blocks_of(protocol: Protocol) -> tuple[BlockRule, ...]:
    """Return every block of a protocol, its own first."""
    return (protocol, *protocol.further_block)


def _pattern_of(block: BlockRule) -> Pattern:
    return Pattern.model_validate(block.pattern.model_dump())


def _ramp_of(block: BlockRule) -> Ramp | None:
    if block.ramp_up is None:
        return None
    return Ramp(from_percent=100 * block.ramp_up.from_percent_rmt / block.percent_rmt, trains=block.ramp_up.trains)


def _scales(picture: Picture) -> tuple[Scale, Scale, Scale]:
    session, pattern = picture.session, picture.magnified.pattern
    last = session.parts[-1].pattern
    session_ns = session.duration_ns + last.slot_ns - last.train_duration_ns
    block_ns = (pattern.trains - 1) * pattern.train_interval_ns + pattern.slot_ns
    trains_ns = SLOTS_SHOWN * pattern.burst_interval_ns
    if pattern.trains > 1:
        trains_ns = pattern.train_interval_ns + pattern.slot_ns
    bursts_ns = pattern.burst_interval_ns + 2 * pattern.burst_duration_ns
    if pattern.pulses_per_burst == 1:
        bursts_ns = (min(PULSES_SHOWN, pattern.bursts_per_train) - 1) * pattern.burst_interval_ns
    return (
        Scale(0, session_ns * 1.01, NS_PER_MIN, "minutes"),
        Scale(session.part_starts_ns[picture.block], min(trains_ns * 1.03, block_ns * 1.01), NS_PER_S, "seconds"),
        Scale(0, bursts_ns * 1.15, NS_PER_MS, "milliseconds"),
    )


def _draw_session(axes: Axes, picture: Picture, scale: Scale) -> None:
    session = picture.session
    for part, start_ns in zip(session.parts, session.part_starts_ns, strict=True):
        starts = (start_ns + np.arange(part.pattern.trains) * part.pattern.train_interval_ns) / scale.unit_ns
        heights = [part.set_percents_mso(train)[0] for train in range(part.pattern.trains)]
        axes.bar(starts, heights, part.pattern.slot_ns / scale.unit_ns, align="edge", color=BLUE, linewidth=0)
        if len(session.parts) > 1:
            axes.text(start_ns / scale.unit_ns, part.percent_mso * 1.06, part.site, fontsize=8)
    axes.set_title(picture.words["session" if session.trains > 1 else "one-train"])
    _finish(axes, picture, scale, start=0.0)
    axes.set_ylim(0, max(part.percent_mso for part in session.parts) * (1.3 if len(session.parts) > 1 else 1.05))


def _draw_trains(axes: Axes, picture: Picture, scale: Scale) -> None:
    pattern, text = picture.magnified.pattern, picture.words
    _draw_lines(axes, picture, scale, width=0.8)
    axes.set_title(text["trains" if pattern.trains > 1 else "train"])
    _finish(axes, picture, scale)
    if pattern.trains == 1:
        return
    train_s, interval_s = pattern.slot_ns / NS_PER_S, pattern.train_interval_ns / NS_PER_S
    low, high = picture.magnified.percent_mso * 1.14, picture.magnified.percent_mso * 1.46
    _measure(axes, 0, train_s, low, text["train-length"].format(s=picture.number(train_s)))
    _measure(axes, train_s, interval_s, low, text["pause"].format(s=picture.number(interval_s - train_s)))
    _measure(axes, 0, interval_s, high, text["from-start-to-start"].format(s=picture.number(interval_s)))


def _draw_pulses(axes: Axes, picture: Picture, scale: Scale) -> None:
    pattern, text = picture.magnified.pattern, picture.words
    percent_mso = picture.magnified.percent_mso
    _draw_lines(axes, picture, scale, width=2.0)
    patterned = pattern.pulses_per_burst > 1
    axes.set_title(text["bursts" if patterned else "pulses"])
    _finish(axes, picture, scale)
    interval_ms = (pattern.pulse_interval_ns or pattern.burst_interval_ns) / NS_PER_MS
    named = text["pulse-interval"].format(
        ms=picture.number(interval_ms), hz=picture.number(pattern.highest_rate_hz, digits=1)
    )
    _measure(axes, 0, interval_ms, percent_mso * 1.14, named)
    if patterned:
        burst_ms = pattern.burst_interval_ns / NS_PER_MS
        named = text["burst-interval"].format(ms=picture.number(burst_ms), hz=picture.number(pattern.rate_hz, digits=1))
        _measure(axes, 0, burst_ms, percent_mso * 1.46, named)


def _draw_lines(axes: Axes, picture: Picture, scale: Scale, width: float) -> None:
    pulses = expand(Session(parts=(picture.magnified.model_copy(update={"interval_s": None}),)))
    shown = pulses.onset_ns <= scale.until_ns
    axes.vlines(pulses.onset_ns[shown] / scale.unit_ns, 0, pulses.percent_mso[shown], color=BLUE, linewidth=width)


def _finish(axes: Axes, picture: Picture, scale: Scale, start: float = -0.01) -> None:
    until = scale.until_ns / scale.unit_ns
    axes.set_xlim(start * until, until)
    axes.set_ylim(0, picture.magnified.percent_mso * 1.8)
    axes.set_yticks([0, picture.magnified.percent_mso])
    axes.set_xlabel(picture.words[scale.unit], loc="right", labelpad=1)
    axes.set_ylabel(picture.words["percent-mso"])
    axes.xaxis.set_major_formatter(_formatter(picture))


def _measure(axes: Axes, first: float, last: float, height: float, text: str) -> None:
    """Draw a measure as on a technical drawing; its text stands beside it where it does not fit above."""
    axes.annotate(
        "",
        (first, height),
        (last, height),
        arrowprops={"arrowstyle": "<->", "color": GREY, "shrinkA": 0, "shrinkB": 0, "linewidth": 0.8},
    )
    wide = (last - first) / (axes.get_xlim()[1] - axes.get_xlim()[0])
    at, align = ((first + last) / 2, "center") if wide > len(text) / 140 else (first, "left")
    axes.text(at, height * 1.02, text, ha=align, va="bottom", color="black", fontsize=8)


def _magnify(figure: Figure, upper: Axes, lower: Axes, scale: Scale, unit_ns: float) -> None:
    """Shade what the lower panel shows of the upper one, and lead the eye there."""
    first, until = scale.from_ns / unit_ns, (scale.from_ns + scale.until_ns) / unit_ns
    upper.axvspan(first, until, color=PALE, zorder=0)
    upper.axvspan(first, until, facecolor="none", edgecolor=GREY, linewidth=0.8, linestyle=":", zorder=3)
    lower.set_facecolor(PALE)
    left, right = lower.get_xlim()
    for at, corner in ((first, left), (until, right)):
        line = ConnectionPatch(
            (at, 0),
            (corner, lower.get_ylim()[1]),
            "data",
            "data",
            axesA=upper,
            axesB=lower,
            color=GREY,
            linewidth=0.6,
            linestyle=":",
        )
        line.set_in_layout(False)
        figure.add_artist(line)


def _draw_waveform(axes: Axes, picture: Picture) -> None:
    text = picture.words
    one = waveform.pulse(picture.shape, picture.circuit.circuit)
    ends_s = float(np.asarray(waveform.duration_s(one)))
    t_s = np.linspace(0, ends_s * 1.08, 2_000)
    current = waveform.current_a(one, picture.circuit.volts(picture.magnified.percent_mso), t_s) / 1_000
    field = waveform.e_field(one, t_s)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.plot(t_s * 1e6, field, color=ORANGE, linewidth=1.6)
    axes.set_ylabel(text["field"], color=ORANGE)
    axes.set_ylim(-1.12, 1.12)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes.set_xlim(0, t_s[-1] * 1e6)
    beside = axes.twinx()
    beside.spines["right"].set_visible(True)
    beside.plot(t_s * 1e6, current, color=BLUE, linewidth=1.6)
    beside.set_ylabel(text["current"], color=BLUE)
    highest = float(np.abs(current).max())
    beside.set_ylim(-1.12 * highest, 1.12 * highest)
    for each in (axes, beside):
        each.yaxis.set_major_formatter(_formatter(picture))
    axes.set_title(text["waveform"].format(shape=text[picture.shape], stimulator=picture.stimulator))
    axes.set_xlabel(text["microseconds"])


def _draw_temperature(axes: Axes, picture: Picture) -> None:
    text = picture.words
    if picture.coil is None:
        axes.set_axis_off()
        axes.text(0, 0.5, text["no-forecast"], color=ORANGE, fontweight="bold", va="center", transform=axes.transAxes)
        return
    found = heat.forecast(
        picture.session, picture.coil, picture.shape, picture.circuit.heat_at_full_j(picture.shape), picture.start_c
    )
    minutes = found.onset_s / 60
    axes.axhline(found.limit_c, color=ORANGE, linewidth=1.2, linestyle="--")
    named = text["limit"].format(c=picture.number(found.limit_c, digits=1))
    axes.text(minutes[-1], found.limit_c, named, color=ORANGE, ha="right", va="bottom", fontsize=8)
    axes.plot(minutes, found.temperature_c, color=BLUE, linewidth=1.4)
    if found.too_warm_at_s is not None:
        at = found.too_warm_at_s / 60
        axes.fill_between(
            minutes,
            found.limit_c,
            found.temperature_c,
            where=found.temperature_c > found.limit_c,
            color=ORANGE,
            alpha=0.3,
        )
        axes.annotate(
            text["too-warm"].format(minutes=int(at)),
            (at, found.limit_c),
            (0.03, 0.92),
            textcoords="axes fraction",
            color=ORANGE,
            fontweight="bold",
            arrowprops={"arrowstyle": "->", "color": ORANGE},
        )
    else:
        named = text["highest"].format(c=picture.number(found.highest_c, digits=1))
        at = int(found.temperature_c.argmax())
        axes.annotate(
            named,
            (minutes[at], found.temperature_c[at]),
            (0, 6),
            textcoords="offset points",
            color=BLUE,
            fontsize=8,
            ha="right" if at > len(minutes) / 2 else "left",
        )
    axes.set_ylim(min(20.0, float(found.temperature_c.min()) - 1), max(found.highest_c, found.limit_c) + 3)
    axes.set_xlim(0, minutes[-1])
    axes.set_title(text["temperature"].format(coil=picture.coil_model))
    axes.set_ylabel(text["celsius"])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_formatter(picture))
    axes.set_xlabel(text["minutes"])


def _write_heading(axes: Axes, picture: Picture) -> None:
    session, text = picture.session, picture.words
    amount = text["pulses-of" if session.trains > 1 else "pulses-of-one"].format(
        pulses=session.pulses,
        trains=session.trains,
        duration=minutes_of(session.duration_ns / NS_PER_S),
    )
    block = blocks_of(picture.protocol)[picture.block]
    intensity = text["intensity"].format(
        rmt=picture.number(block.percent_rmt),
        threshold=picture.threshold_percent_mso,
        mso=picture.set_percent_mso(block),
    )
    doses = [
        Dose(part.pattern, int(part.percent_mso), picture.threshold_percent_mso, part.site) for part in session.parts
    ]
    grades = [grade_dose(dose, published_limits(), example_cleared_list()).grade for dose in doses]
    graded = text["graded"].format(grade=text[max(grades, key=GRADES.index)])
    axes.set_axis_off()
    axes.text(0, 1.0, picture.protocol.name, va="top", fontsize=14, fontweight="bold")
    axes.text(0, 0.6, f"{amount}\n{intensity}\n{graded}", va="top", fontsize=9.5, linespacing=1.5)


def _formatter(picture: Picture) -> FuncFormatter:
    return FuncFormatter(lambda value, _position: picture.number(value))

"""``spoel plot``: pictures for people, of what a protocol does."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_local.processes import LauncherError
from spoel_local.words import errors_in_words
from spoel_planning.domain.rules import Protocol, clinic_rules
from spoel_stimulation.engine import heat
from spoel_stimulation.engine.circuits import circuits

app = typer.Typer(help="Pictures: a protocol's timing, its pulse, and how warm the coil gets.", no_args_is_help=True)

ENDINGS = (".svg", ".png")
HIGHEST_PERCENT_MSO = 100
NO_FIGURES = "unknown"

Found = TypeVar("Found")


class Language(StrEnum):
    """What a picture's labels are written in."""

    NL = "nl"
    EN = "en"


class Shape(StrEnum):
    """Of a pulse."""

    BIPHASIC = "biphasic"
    MONOPHASIC = "monophasic"
    HALFSINE = "halfsine"


@app.callback()
def plot() -> None:
    """Pictures: a protocol's timing, its pulse, and how warm the coil gets."""


@app.command()
def protocol(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="A protocol of planning's catalogue, for example itbs-600-left-dlpfc.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write: FILE.svg or FILE.png.")],
    threshold: Annotated[
        int, typer.Option("--threshold", min=1, max=100, help="Motor threshold, percent of output, that it rests on.")
    ] = 50,
    stimulator: Annotated[str, typer.Option("--stimulator", help="Model whose pulse is drawn.")] = "MagPro X100+Option",
    coil: Annotated[
        str, typer.Option("--coil", help=f"Model whose temperature is forecast; {NO_FIGURES} for one without figures.")
    ] = "Cool-B65",
    block: Annotated[int, typer.Option("--block", min=1, help="Which part of a bilateral protocol is magnified.")] = 1,
    shape: Annotated[Shape, typer.Option("--waveform", help="Of a pulse.")] = Shape.BIPHASIC,
    start_c: Annotated[
        float | None, typer.Option("--start-c", min=0, max=60, help="Coil temperature at the start, °C.")
    ] = None,
    language: Annotated[Language, typer.Option("--language", help="Of the labels.")] = Language.NL,
) -> None:
    """Draw a protocol from session to burst, its pulse, and the forecast of the coil's temperature."""
    with errors_in_words():
        if output.suffix.lower() not in ENDINGS:
            raise LauncherError(f"--output is {output}; give a file that ends in {' or '.join(ENDINGS)}.")
        if not output.parent.is_dir():
            raise LauncherError(f"--output is {output}; {output.parent} is no folder. Make it first.")
        rules = clinic_rules()
        chosen = _known("The protocol", name, {each.id: each for each in rules.protocols})
        _check_block(chosen, block)
        _check_output(chosen, threshold)
        circuit = _known(
            "--stimulator", stimulator, {model: each for each in circuits().ringing for model in each.models}
        )
        coil_heat = _coil_heat(coil)
        # drawing takes half a second to load, which no other command should wait for
        from spoel_local import protocol_picture  # noqa: PLC0415 - see above

        picture = protocol_picture.Picture(
            protocol=chosen,
            block=block - 1,
            threshold_percent_mso=threshold,
            pause_s=rules.booking.coil_move_s,
            stimulator=stimulator,
            circuit=circuit,
            coil_model=coil,
            coil=coil_heat,
            shape=shape.value,
            start_c=start_c,
            language=language.value,
        )
        protocol_picture.draw(picture, output)
    typer.echo(f"{output} shows {chosen.name} on a threshold of {threshold} % of output.")


def _check_block(chosen: Protocol, block: int) -> None:
    blocks = 1 + len(chosen.further_block)
    if block > blocks:
        raise LauncherError(f"--block is {block}; {chosen.id} has {blocks}.")


def _check_output(chosen: Protocol, threshold: int) -> None:
    strongest = max(each.percent_rmt for each in (chosen, *chosen.further_block))
    percent_mso = set_percent_mso(PercentRmt(strongest), PercentMso(threshold))
    if percent_mso > HIGHEST_PERCENT_MSO:
        raise LauncherError(
            f"{strongest:g} % of a threshold of {threshold} % is {percent_mso} % of output, more than there is. "
            "Give a lower --threshold."
        )


def _coil_heat(coil: str) -> heat.CoilHeat | None:
    if coil == NO_FIGURES:
        return None
    if heat.coil_heat(coil) is None:
        names = "\n".join(f"  {model}" for each in heat.heat_data().coil for model in each.models)
        raise LauncherError(
            f"--coil is {coil!r}: no figures for this coil, so no forecast of its temperature. "
            f"Give --coil {NO_FIGURES} to draw the rest. Known are:\n{names}"
        )
    return heat.coil_heat(coil)


def _known(option: str, name: str, found: Mapping[str, Found]) -> Found:
    if name not in found:
        names = "\n".join(f"  {each}" for each in sorted(found))
        raise LauncherError(f"{option} is {name!r}, which is not known. Known are:\n{names}")
    return found[name]

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
    coil: Annotated[str, typer.Option("--coil", help="Model whose temperature is forecast.")] = "Cool-B65",
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
        known = {model: each for each in circuits().ringing for model in each.models}
        coils = {model: each for each in heat.heat_data().coil for model in each.models}
        chosen = _protocol(name)
        percent_mso = set_percent_mso(PercentRmt(chosen.percent_rmt), PercentMso(threshold))
        if percent_mso > HIGHEST_PERCENT_MSO:
            raise LauncherError(
                f"{chosen.percent_rmt:g} % of a threshold of {threshold} % is {percent_mso} % of output, more than "
                "there is. Give a lower --threshold."
            )
        circuit = _known("--stimulator", stimulator, known)
        heats = _known("--coil", coil, coils)
        # drawing takes half a second to load, which no other command should wait for
        from spoel_local import protocol_picture  # noqa: PLC0415 - see above

        picture = protocol_picture.Picture(
            protocol=chosen,
            percent_mso=percent_mso,
            threshold_percent_mso=threshold,
            stimulator=stimulator,
            circuit=circuit,
            coil_model=coil,
            coil=heats,
            shape=shape.value,
            start_c=start_c,
            language=language.value,
        )
        protocol_picture.draw(picture, output)
    typer.echo(
        f"{output} shows {chosen.name} at {percent_mso} % of output ({chosen.percent_rmt:g} % of {threshold} %)."
    )


def _protocol(name: str) -> Protocol:
    protocols = {each.id: each for each in clinic_rules().protocols}
    return _known("The protocol", name, protocols)


def _known(option: str, name: str, found: Mapping[str, Found]) -> Found:
    if name not in found:
        names = "\n".join(f"  {each}" for each in sorted(found))
        raise LauncherError(f"{option} is {name!r}, which is not known. Known are:\n{names}")
    return found[name]

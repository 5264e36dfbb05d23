"""The words on pictures, in Dutch and English."""

from spoel_stimulation.engine.envelope import Grade

Words = dict[str, str]

DUTCH: Words = {
    "session": "Hele sessie: elk blokje is een trein",
    "one-train": "Hele sessie: één trein",
    "trains": "Van trein tot trein: elk streepje is een puls",
    "train": "Begin van de trein: elk streepje is een puls",
    "pulses": "Van puls tot puls",
    "bursts": "Van burst tot burst",
    "percent-mso": "% van max. uitgang",
    "minutes": "minuten",
    "seconds": "seconden",
    "milliseconds": "milliseconden",
    "microseconds": "microseconden",
    "train-length": "trein {s} s",
    "pause": "pauze {s} s",
    "from-start-to-start": "van begin tot begin {s} s",
    "pulse-interval": "{ms} ms ({hz} Hz)",
    "burst-interval": "{ms} ms tussen bursts ({hz} Hz)",
    "waveform": "Eén puls ({shape}, {stimulator})",
    "current": "stroom, kA",
    "field": "elektrisch veld (hoogste = 1)",
    "temperature": "Verwachte spoeltemperatuur ({coil})",
    "celsius": "°C",
    "limit": "grens {c} °C",
    "highest": "hoogste {c} °C",
    "too-warm": "te warm na {minutes} minuten",
    "no-forecast": "geen cijfers van deze spoel: geen voorspelling van de temperatuur",
    "biphasic": "bifasisch",
    "monophasic": "monofasisch",
    "halfsine": "halve sinus",
    "pulses-of": "{pulses} pulsen in {trains} treinen · {duration} min van eerste tot laatste puls",
    "pulses-of-one": "{pulses} pulsen in één trein · {duration} min van eerste tot laatste puls",
    "intensity": "{rmt} % van een motorische drempel van {threshold} % = {mso} % van de maximale uitgang",
    "graded": "Getoetst aan de gepubliceerde grenzen: {grade}",
    "not-measured": "Pulsvorm en temperatuur komen uit een model; niemand heeft dit apparaat nagemeten. "
    "Geen medisch hulpmiddel.",
}

ENGLISH: Words = {
    "session": "Whole session: each block is a train",
    "one-train": "Whole session: one train",
    "trains": "From train to train: each line is a pulse",
    "train": "Beginning of the train: each line is a pulse",
    "pulses": "From pulse to pulse",
    "bursts": "From burst to burst",
    "percent-mso": "% of max. output",
    "minutes": "minutes",
    "seconds": "seconds",
    "milliseconds": "milliseconds",
    "microseconds": "microseconds",
    "train-length": "train {s} s",
    "pause": "pause {s} s",
    "from-start-to-start": "from start to start {s} s",
    "pulse-interval": "{ms} ms ({hz} Hz)",
    "burst-interval": "{ms} ms between bursts ({hz} Hz)",
    "waveform": "One pulse ({shape}, {stimulator})",
    "current": "current, kA",
    "field": "electric field (highest = 1)",
    "temperature": "Forecast of the coil's temperature ({coil})",
    "celsius": "°C",
    "limit": "limit {c} °C",
    "highest": "highest {c} °C",
    "too-warm": "too warm after {minutes} minutes",
    "no-forecast": "no figures for this coil: no forecast of its temperature",
    "biphasic": "biphasic",
    "monophasic": "monophasic",
    "halfsine": "half sine",
    "pulses-of": "{pulses} pulses in {trains} trains · {duration} min from first to last pulse",
    "pulses-of-one": "{pulses} pulses in one train · {duration} min from first to last pulse",
    "intensity": "{rmt} % of a motor threshold of {threshold} % = {mso} % of maximum output",
    "graded": "Graded against the published limits: {grade}",
    "not-measured": "Shape of the pulse and temperature come from a model; nobody measured this device. "
    "Not a medical device.",
}

GRADES_IN_DUTCH: dict[Grade, str] = {
    "within": "binnen de grenzen",
    "beyond-stricter-table": "boven de strengere tabel",
    "beyond-longest-tested": "langer dan ooit getest",
    "not-covered": "niet door de tabellen gedekt",
    "beyond-limit": "boven de grens",
    "refused": "geweigerd",
}

GRADES_IN_ENGLISH: dict[Grade, str] = {
    "within": "within the limits",
    "beyond-stricter-table": "beyond the stricter table",
    "beyond-longest-tested": "beyond the longest tested",
    "not-covered": "not covered by the tables",
    "beyond-limit": "beyond the limit",
    "refused": "refused",
}


def words(language: str) -> Words:
    """Return the words of a language, ``nl`` or ``en``, the names of the grades among them."""
    chosen, grades = (DUTCH, GRADES_IN_DUTCH) if language == "nl" else (ENGLISH, GRADES_IN_ENGLISH)
    return chosen | {str(grade): text for grade, text in grades.items()}


def number(value: float, language: str, digits: int = 2) -> str:
    """Return a number as people of a language write it, without zeros at its end."""
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace(".", ",") if language == "nl" else text


def minutes_of(duration_s: float) -> str:
    """Return a duration to the nearest second as minutes and seconds, ``3:12``."""
    whole, seconds = divmod(round(duration_s), 60)
    return f"{whole}:{seconds:02d}"

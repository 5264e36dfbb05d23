"""What the bytes of the MagPro mean: models, modes, pages, coils, and the tables behind its indexes. Pure.

Source: the open clients pytms, MAGIC and MagProController; not tried on hardware.
"""

from enum import IntEnum


class Model(IntEnum):
    """Bits 5 to 7 of the status byte."""

    R30 = 0
    X100 = 1
    R30_OPTION = 2
    X100_OPTION = 3
    R30_OPTION_MONO = 4
    MST = 5


class Mode(IntEnum):
    """Bits 0 and 1 of the status byte."""

    STANDARD = 0
    POWER = 1
    TWIN = 2
    DUAL = 3


PAIR_MODES = frozenset({Mode.TWIN, Mode.DUAL})
"""Modes in which one stimulus is a pair of pulses; in Dual the second has an amplitude of its own."""


class Wave(IntEnum):
    """Bits 2 and 3 of the status byte."""

    MONOPHASIC = 0
    BIPHASIC = 1
    HALFSINE = 2
    BIPHASIC_BURST = 3


class Direction(IntEnum):
    """Current direction."""

    NORMAL = 0
    REVERSE = 1


class Page(IntEnum):
    """What the device's screen shows. A host may choose the first five."""

    MAIN = 1
    TIMING = 2
    TRIGGER = 3
    CONFIGURATION = 4
    DOWNLOAD = 6
    PROTOCOL = 7
    MEP = 8
    SERVICE = 13
    TREATMENT = 15
    TREATMENT_SELECT = 16
    SERVICE_2 = 17
    CALCULATOR = 19


MODEL_NAMES = {
    Model.R30: "MagPro R30",
    Model.X100: "MagPro X100",
    Model.R30_OPTION: "MagPro R30+Option",
    Model.X100_OPTION: "MagPro X100+Option",
    Model.R30_OPTION_MONO: "MagPro R30+Option+Mono",
    Model.MST: "MagPro MST",
}

SIMULATOR_SERIALS_FROM = 0xF00000
"""A simulator number n reports the serial number 0xF00000 + n, a range far above the numbers on real units.

The 00 answer has room for three bytes and nothing else to tell a simulator by; the text of such a number is ``SIM-n``.
"""


def page_name(page: int) -> str:
    """Return the page in lower case (``timing``), ``page-N`` for one that is not in the table."""
    try:
        return Page(page).name.lower().replace("_", "-")
    except ValueError:
        return f"page-{page}"


def serial_text(serial: int) -> str:
    """Return a serial number as text: ``SIM-n`` in the simulators' range, the decimal number otherwise."""
    if serial >= SIMULATOR_SERIALS_FROM:
        return f"SIM-{serial - SIMULATOR_SERIALS_FROM}"
    return str(serial)


def _down(first: int, last: int, step: int) -> list[int]:
    return list(range(first, last - 1, -step))


BURST_INTERVALS_TENTH_MS = tuple(_down(1000, 210, 10) + _down(200, 105, 5) + _down(100, 5, 1))
"""Intervals between pulses of a burst, tenths of a millisecond, by read-back index (0 is the longest)."""

PAIR_INTERVALS_TENTH_MS = tuple(
    _down(30_000, 11_000, 1_000)
    + _down(10_000, 5_500, 500)
    + _down(5_000, 1_100, 100)
    + _down(1_000, 210, 10)
    + _down(200, 105, 5)
    + _down(100, 10, 1)
)
"""The same for the pairs of Twin and Dual mode."""


def interval_table(mode: Mode) -> tuple[int, ...]:
    """Return the read-back table of inter-pulse intervals that holds in ``mode``."""
    return PAIR_INTERVALS_TENTH_MS if mode in PAIR_MODES else BURST_INTERVALS_TENTH_MS


def interval_index(mode: Mode, tenth_ms: int) -> int:
    """Return the index under which the device reports an interval.

    Raises:
        ValueError: the device has no such interval; the nearest is named, and never taken silently.
    """
    table = interval_table(mode)
    if tenth_ms not in table:
        nearest = min(table, key=lambda allowed: abs(allowed - tenth_ms))
        raise ValueError(
            f"an inter-pulse interval of {tenth_ms / 10} ms is not settable; the nearest is {nearest / 10} ms"
        )
    return table.index(tenth_ms)


def interval_of_index(mode: Mode, index: int) -> int:
    """Return the interval, tenths of a millisecond, that the device reports as ``index``.

    Raises:
        ValueError: an index past the end of the table.
    """
    table = interval_table(mode)
    if not 0 <= index < len(table):
        raise ValueError(f"interval index {index} is past the table's end ({len(table) - 1})")
    return table[index]


RATIO_MAX_INDEX = 96


def ratio_index(hundredths: int) -> int:
    """Return the index of a B/A ratio: 5.00 is 0, each step 0.05 less, 0.20 the last.

    Raises:
        ValueError: the device has no such ratio.
    """
    index, rest = divmod(500 - hundredths, 5)
    if rest or not 0 <= index <= RATIO_MAX_INDEX:
        raise ValueError(f"a B/A ratio of {hundredths / 100} is not settable; 0.20 to 5.00 in steps of 0.05 are")
    return index


def ratio_of_index(index: int) -> int:
    """Return the B/A ratio in hundredths.

    Raises:
        ValueError: an index past the end of the table.
    """
    if not 0 <= index <= RATIO_MAX_INDEX:
        raise ValueError(f"ratio index {index} is past the table's end ({RATIO_MAX_INDEX})")
    return 500 - 5 * index


def rates_tenth_hz(max_rate_hz: int) -> tuple[int, ...]:
    """Return the repetition rates up to ``max_rate_hz`` that can be set, in tenths of a hertz."""
    return (*range(1, 11), *range(20, max_rate_hz * 10 + 1, 10))

import pytest

from spoel_stimulation.devices.magpro.values import (
    BURST_INTERVALS_TENTH_MS,
    PAIR_INTERVALS_TENTH_MS,
    Mode,
    interval_index,
    interval_of_index,
    page_name,
    rates_tenth_hz,
    ratio_index,
    ratio_of_index,
    serial_text,
)


@pytest.mark.parametrize(
    ("mode", "index", "tenth_ms"),
    [
        (Mode.STANDARD, 0, 1000),
        (Mode.STANDARD, 79, 210),
        (Mode.STANDARD, 80, 200),
        (Mode.STANDARD, 99, 105),
        (Mode.STANDARD, 100, 100),
        (Mode.STANDARD, 195, 5),
        (Mode.TWIN, 0, 30_000),
        (Mode.TWIN, 19, 11_000),
        (Mode.TWIN, 20, 10_000),
        (Mode.TWIN, 29, 5_500),
        (Mode.DUAL, 30, 5_000),
        (Mode.DUAL, 69, 1_100),
        (Mode.DUAL, 70, 1_000),
        (Mode.DUAL, len(PAIR_INTERVALS_TENTH_MS) - 1, 10),
    ],
)
def test_intervals_are_read_by_index_from_the_longest(mode, index, tenth_ms):
    assert interval_of_index(mode, index) == tenth_ms
    assert interval_index(mode, tenth_ms) == index


@pytest.mark.parametrize("table", [BURST_INTERVALS_TENTH_MS, PAIR_INTERVALS_TENTH_MS])
def test_interval_tables_fall_strictly(table):
    assert list(table) == sorted(set(table), reverse=True)


def test_an_interval_that_the_device_lacks_is_refused_not_moved():
    with pytest.raises(ValueError, match=r"12\.3 ms is not settable; the nearest is 12\.5 ms"):
        interval_index(Mode.STANDARD, 123)


@pytest.mark.parametrize("index", [-1, 196])
def test_an_index_past_the_table_is_refused(index):
    with pytest.raises(ValueError, match="past the table's end"):
        interval_of_index(Mode.STANDARD, index)


def test_ratios_fall_from_five_in_steps_of_a_twentieth():
    assert [ratio_of_index(index) for index in (0, 1, 80, 96)] == [500, 495, 100, 20]
    assert all(ratio_index(ratio_of_index(index)) == index for index in range(97))


@pytest.mark.parametrize("hundredths", [15, 505, 101])
def test_a_ratio_that_the_device_lacks_is_refused(hundredths):
    with pytest.raises(ValueError, match="not settable"):
        ratio_index(hundredths)


def test_a_ratio_index_past_the_table_is_refused():
    with pytest.raises(ValueError, match="past the table's end"):
        ratio_of_index(97)


def test_rates_go_by_tenths_to_one_hertz_and_by_ones_from_there():
    assert rates_tenth_hz(3) == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30)


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize(
    ("number", "text"), [(0xF00000, "SIM-0"), (0xF00007, "SIM-7"), (0xEFFFFF, "15728639"), (17_004, "17004")]
)
def test_serial_numbers_of_simulators_are_told_by_their_range(number, text):
    assert serial_text(number) == text


@pytest.mark.parametrize(("page", "name"), [(2, "timing"), (16, "treatment-select"), (99, "page-99")])
def test_pages_have_names(page, name):
    assert page_name(page) == name

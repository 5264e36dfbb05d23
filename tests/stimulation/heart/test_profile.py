"""The bytes of the Bluetooth heart rate profile, as its specification has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_stimulation.heart.profile import BadMeasurement, Measurement, decode, encode, units_of

TABLE = [
    ("00 48", Measurement(72)),
    ("01 2c 01", Measurement(300)),
    ("04 48", Measurement(72, "lost")),
    ("06 48", Measurement(72, "good")),
    ("02 48", Measurement(72)),
    ("10 3c 00 04", Measurement(60, rr_units=(1024,))),
    ("16 41 bc 03 c4 03", Measurement(65, "good", None, (956, 964))),
    ("1e 41 0a 00 bc 03", Measurement(65, "good", 10, (956,))),
    ("19 2c 01 ff ff 05 01", Measurement(300, "not-told", 0xFFFF, (261,))),
    ("10 3c", Measurement(60)),
    ("f6 48 00 04", Measurement(72, "good", None, (1024,))),
]
CUT = ["", "00", "01 48", "08 48 01", "10 3c 00", "00 48 00", "06 48 ff ff"]


@pytest.mark.parametrize(("text", "measurement"), TABLE)
def test_a_notification_is_read_byte_by_byte(text, measurement):
    assert decode(bytes.fromhex(text)) == measurement


@pytest.mark.parametrize("text", CUT)
def test_a_cut_notification_is_refused(text):
    with pytest.raises(BadMeasurement):
        decode(bytes.fromhex(text))


MEASUREMENTS = st.builds(
    Measurement,
    st.integers(0, 0xFFFF),
    st.sampled_from(["not-told", "lost", "good"]),
    st.none() | st.integers(0, 0xFFFF),
    st.lists(st.integers(0, 0xFFFF), max_size=9).map(tuple),
)


@given(MEASUREMENTS)
def test_what_is_written_is_read(measurement):
    assert decode(encode(measurement)) == measurement


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(value):
    try:
        found = decode(value)
    except BadMeasurement:
        return
    assert 0 <= found.rate_bpm <= 0xFFFF
    assert decode(encode(found)) == found


@given(st.lists(st.floats(250, 3_000), max_size=9))
def test_intervals_keep_a_millisecond(rr_ms):
    measurement = Measurement(60, rr_units=units_of(rr_ms))
    assert decode(encode(measurement)).rr_ms == pytest.approx(rr_ms, abs=0.5)

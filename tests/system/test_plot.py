"""``spoel plot``: what a person sees of a protocol."""

import re

import pytest
from tests.system.terminal import typed

from spoel_local.picture_words import DUTCH, ENGLISH, minutes_of, number, words
from spoel_stimulation.engine.envelope import GRADES


@pytest.mark.requirement("SY-04")
@pytest.mark.parametrize(
    ("protocol", "language", "said"),
    [
        ("itbs-600-left-dlpfc", "nl", ["600 pulsen in 20 treinen", "pauze 8 s", "20 ms (50 Hz)", "bifasisch"]),
        ("itbs-600-left-dlpfc", "en", ["600 pulses in 20 trains", "200 ms between bursts (5 Hz)", "not covered"]),
        ("lf-right-dlpfc-1hz", "en", ["1200 pulses in one train", "19:59 min", "1000 ms (1 Hz)"]),
    ],
)
def test_a_protocol_is_drawn_in_the_readers_language(tmp_path, protocol, language, said):
    file = tmp_path / "picture.svg"
    told = typed("plot", "protocol", protocol, "-o", file, "--language", language)
    assert told.exit_code == 0, told.output
    assert str(file) in told.stdout
    texts = " ".join(re.findall(r">([^<>]+)</text>", file.read_text(encoding="utf-8")))
    for words_of_it in said:
        assert words_of_it in texts
    assert "°C" in texts


@pytest.mark.parametrize(("block", "interval"), [(1, "1000 ms (1 Hz)"), (2, "100 ms (10 Hz)")])
def test_a_bilateral_protocol_shows_both_sites_and_magnifies_one(tmp_path, block, interval):
    file = tmp_path / "picture.svg"
    told = typed("plot", "protocol", "bilateral-1hz-right-10hz-left", "-o", file, "--block", block)
    assert told.exit_code == 0, told.output
    texts = " ".join(re.findall(r">([^<>]+)</text>", file.read_text(encoding="utf-8")))
    assert all(each in texts for each in ("2100 pulsen in 51 treinen", "right-dlpfc", "left-dlpfc", interval))


def test_a_duration_has_sixty_seconds_to_the_minute():
    assert [minutes_of(each) for each in (39.84, 119.84, 191.84, 1199.0)] == ["0:40", "2:00", "3:12", "19:59"]


def test_a_picture_of_dots(tmp_path):
    file = tmp_path / "picture.png"
    told = typed("plot", "protocol", "itbs-600-left-dlpfc", "--output", file, "--waveform", "monophasic")
    assert told.exit_code == 0, told.output
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.hazard("HZ-19")
def test_a_coil_that_would_overheat_is_seen(tmp_path):
    texts = []
    for coil in ("C-B60", "Cool-B65"):
        file = tmp_path / f"{coil}.svg"
        typed("plot", "protocol", "hf-left-dlpfc-10hz-standard", "-o", file, "--coil", coil, "--start-c", 25)
        texts.append(file.read_text(encoding="utf-8"))
    assert all(each in texts[0] for each in ("te warm na", "trein 4 s", "van begin tot begin 30 s", "100 ms (10 Hz)"))
    assert "te warm na" not in texts[1]


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize(
    ("language", "said"), [("nl", "geen cijfers van deze spoel"), ("en", "no figures for this coil: no forecast")]
)
def test_of_a_coil_without_figures_the_picture_says_that_nothing_is_forecast(tmp_path, language, said):
    file = tmp_path / "picture.svg"
    typed("plot", "protocol", "itbs-600-left-dlpfc", "-o", file, "--coil", "unknown", "--language", language)
    assert said in file.read_text(encoding="utf-8")
    assert "°C" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["itbs-6000"], ["itbs-6000", "itbs-600-left-dlpfc", "lf-right-dlpfc-1hz"]),
        (["itbs-600-left-dlpfc", "--stimulator", "Toaster"], ["Toaster", "MagPro X100"]),
        (["itbs-600-left-dlpfc", "--coil", "Cool"], ["'Cool'", "no figures for this coil", "no forecast", "Cool-B65"]),
        (["itbs-600-left-dlpfc", "--threshold", "90"], ["108 % of output"]),
        (["itbs-600-left-dlpfc", "--block", "2"], ["--block is 2", "has 1"]),
    ],
)
def test_what_is_not_known_is_answered_with_what_is(tmp_path, arguments, named):
    told = typed("plot", "protocol", *arguments, "-o", tmp_path / "picture.svg")
    assert told.exit_code == 1
    assert all(each in told.stderr for each in named)
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_and_a_folder_that_is_not_there_are_refused(tmp_path):
    told = typed("plot", "protocol", "itbs-600-left-dlpfc", "-o", tmp_path / "picture.gif")
    assert (told.exit_code, ".svg or .png" in told.stderr) == (1, True)
    told = typed("plot", "protocol", "itbs-600-left-dlpfc", "-o", tmp_path / "nowhere" / "picture.svg")
    assert (told.exit_code, "is no folder" in told.stderr) == (1, True)


def test_both_languages_have_every_word():
    assert set(DUTCH) == set(ENGLISH)
    for language in ("nl", "en"):
        assert set(GRADES) <= set(words(language))


def test_numbers_are_written_as_the_reader_writes_them():
    assert [number(0.5, "nl"), number(0.5, "en"), number(30.0, "nl"), number(100, "en", 0)] == [
        "0,5",
        "0.5",
        "30",
        "100",
    ]

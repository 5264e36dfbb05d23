"""Names of stores, streams and subjects."""

import pytest
from pydantic import ValidationError

from spoel_common.store import AggregateRef, StoreName, watermark_wildcard

NAME = StoreName(site="ams-1", service="stimulation", store="node-2")


def test_a_store_has_one_source_stream_and_subject_space():
    assert NAME.source == "/spoel/ams-1/stimulation/node-2"
    assert NAME.stream == "spoel_ams-1_stimulation_node-2"
    assert NAME.wildcard == "spoel.ams-1.stimulation.node-2.>"
    assert NAME.watermark_subject == "spoel-watermark.ams-1.stimulation.node-2"
    assert watermark_wildcard("ams-1", "stimulation") == "spoel-watermark.ams-1.stimulation.*"


def test_names_are_read_back():
    assert StoreName.from_source(NAME.source) == NAME
    assert StoreName.from_wildcard(NAME.wildcard) == NAME


@pytest.mark.parametrize("source", ["", "/spoel/a/b", "/spoel/A/b/c", "spoel/a/b/c", "/spoel/a/b/c/d"])
def test_another_source_is_refused(source):
    with pytest.raises(ValueError, match="not of the form"):
        StoreName.from_source(source)


@pytest.mark.parametrize("subject", ["spoel.a.b.c", "spoel.a.b.c.d", "other.a.b.c.>", "spoel.a.b.>"])
def test_another_subject_is_refused(subject):
    with pytest.raises(ValueError, match="not of the form"):
        StoreName.from_wildcard(subject)


@pytest.mark.parametrize(
    "wrong", [{"site": "A"}, {"service": "in-take"}, {"store": "a_b"}, {"store": ""}, {"site": "a.b"}]
)
def test_a_part_that_would_confuse_subjects_or_streams_is_refused(wrong):
    with pytest.raises(ValidationError):
        StoreName(**({"site": "a", "service": "b", "store": "c"} | wrong))


@pytest.mark.parametrize(
    ("aggregate_id", "token"),
    [
        ("room-1", "room-1"),
        ("019ab-cd", "019ab-cd"),
        ("a.b", "a%2Eb"),
        ("a b", "a%20b"),
        (">", "%3E"),
        ("*", "%2A"),
        ("auth0|jan@clinic.nl", "auth0%7Cjan%40clinic%2Enl"),
        ("é", "%C3%A9"),
    ],
)
def test_every_id_has_a_subject_of_seven_tokens(aggregate_id, token):
    subject = NAME.subject(AggregateRef("staff", aggregate_id), "spoel.stimulation.room-opened.v2")
    assert subject == f"spoel.ams-1.stimulation.node-2.staff.{token}.room-opened"

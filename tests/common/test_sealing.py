"""Sealing: only the holder of the key opens, and only within the event for which it was sealed (INV-6)."""

import base64

import pytest

from spoel_common.sealing import CannotOpen, can_seal_for, generate_key_pair, open_sealed, public_key_of, seal

pytestmark = pytest.mark.invariant("INV-6")

TEXT = "Mevrouw vertelt dat … 🧠"
EVENT = ("019ab7d8-0000-7000-8000-000000000001", "spoel.intake.consent-withdrawn.v1")


def test_what_was_sealed_is_opened_with_the_private_key():
    keys = generate_key_pair()
    assert open_sealed(seal(TEXT, keys.public_key, *EVENT), keys.private_key, *EVENT) == TEXT
    assert public_key_of(keys.private_key) == keys.public_key


def test_nothing_of_the_text_shows_and_no_two_are_alike():
    keys = generate_key_pair()
    first, second = (seal(TEXT, keys.public_key, *EVENT) for _ in range(2))
    assert first != second
    assert TEXT.encode()[:8] not in base64.b64decode(first)


def test_another_key_does_not_open():
    sealed = seal(TEXT, generate_key_pair().public_key, *EVENT)
    with pytest.raises(CannotOpen):
        open_sealed(sealed, generate_key_pair().private_key, *EVENT)


@pytest.mark.parametrize("other", [("another-id", EVENT[1]), (EVENT[0], "spoel.intake.consent-given.v1")])
def test_a_text_that_was_moved_to_another_event_does_not_open(other):
    keys = generate_key_pair()
    with pytest.raises(CannotOpen):
        open_sealed(seal(TEXT, keys.public_key, *EVENT), keys.private_key, *other)


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "no base64"])
def test_a_text_that_was_changed_does_not_open(change):
    keys = generate_key_pair()
    raw = bytearray(base64.b64decode(seal(TEXT, keys.public_key, *EVENT)))
    raw[-1] ^= 1
    changed = {
        "flip": base64.b64encode(raw).decode(),
        "cut": base64.b64encode(raw[:20]).decode(),
        "empty": "",
        "no base64": "not base64!",
    }[change]
    with pytest.raises(CannotOpen):
        open_sealed(changed, keys.private_key, *EVENT)


def test_a_key_is_known_to_be_usable_before_something_has_to_be_sealed():
    assert can_seal_for(generate_key_pair().public_key)
    for no_key in ("", "key", "é", base64.b64encode(bytes(range(31))).decode(), base64.b64encode(bytes(32)).decode()):
        assert not can_seal_for(no_key)
        with pytest.raises(ValueError, match=r"."):
            seal(TEXT, no_key, *EVENT)

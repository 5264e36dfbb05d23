import os

import pytest

from spoel_common.settings import CannotStart
from spoel_local import identity_provider
from spoel_local.identity_provider import IdentitySettings, build_app, issue_token, main, make_secrets


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"dev_identity": False}, "set SPOEL_DEV_IDENTITY=1"),
        ({"clinical": True}, "never runs where SPOEL_CLINICAL is true"),
        ({"bind": "0.0.0.0"}, "loopback address only"),
        ({"bind": "192.0.2.7"}, "loopback address only"),
        ({"bind": "::"}, "loopback address only"),
    ],
)
def test_it_never_starts_where_it_could_do_harm(settings, changed, reason):
    refused = settings.model_copy(update=changed)
    with pytest.raises(CannotStart, match=reason):
        build_app(refused)
    with pytest.raises(CannotStart, match=reason):
        issue_token("supervisor", refused)
    assert not settings.key_file.exists()


def test_as_a_process_it_ends_with_status_2_and_the_reason(monkeypatch, capsys, tmp_path):
    for name in [name for name in os.environ if name.startswith("SPOEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SPOEL_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(identity_provider, "serve", lambda *_: pytest.fail("it started"))
    monkeypatch.setattr(identity_provider, "configure_logging", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "SPOEL_DEV_IDENTITY=1" in capsys.readouterr().err


def test_its_key_and_secret_are_made_once_and_for_their_owner_only(settings):
    made = make_secrets(settings)
    contents = [path.read_text() for path in made]
    assert made == [settings.key_file, settings.secret_file]
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
    assert make_secrets(settings) == []
    assert [path.read_text() for path in made] == contents
    assert len(set(contents)) == 2


def test_two_installations_have_different_secrets(tmp_path):
    one, two = (IdentitySettings(dev_identity=True, data_dir=tmp_path / name) for name in ("one", "two"))
    make_secrets(one)
    make_secrets(two)
    assert one.secret_file.read_text() != two.secret_file.read_text()
    assert one.key_file.read_text() != two.key_file.read_text()


@pytest.mark.parametrize("content", ["short", "!" * 44, ""])
def test_a_spoilt_key_says_what_to_do(settings, content):
    make_secrets(settings)
    settings.key_file.write_text(content)
    with pytest.raises(CannotStart, match="SPOEL_IDENTITY_KEY_FILE"):
        build_app(settings)


@pytest.mark.parametrize("content", ["[a]\nname = 3", "nonsense", '[a]\nname = "x"\nroles = ["emperor"]'])
def test_a_spoilt_people_file_says_which(settings, tmp_path, content):
    path = tmp_path / "people.toml"
    path.write_text(content)
    with pytest.raises(CannotStart, match=r"people\.toml"):
        build_app(settings.model_copy(update={"identity_people_file": path}))

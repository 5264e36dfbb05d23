"""A database that is restored from an older backup does not bring an erased patient back to life."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.engine import make_url
from tests.intake.service import NOWHERE, patient_body, referral_body, running_intake
from tests.intake.story import NOW

from spoel_common.events import Envelope
from spoel_common.messaging import read_history
from spoel_common.settings import CannotStart
from spoel_common.store import StoreName
from spoel_intake.erasure_file import ErasureFile

ERASURES = "intake-main-erasures.jsonl"

pytestmark = [pytest.mark.requirement("AU-06"), pytest.mark.invariant("INV-6")]


class SqliteBackups:
    """Backups of a SQLite database while it is used, put back while it is not."""

    def __init__(self, folder):
        self._file = folder / "intake.db"
        self._backup = folder / "backup"
        self.url = f"sqlite:///{self._file}"

    def take(self):
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(self._backup)) as copy:
            source.backup(copy)

    def restore(self):
        for path in self._file.parent.glob("intake.db*"):
            path.unlink()
        shutil.copy(self._backup, self._file)


class PostgresBackups:
    """Dumps of a PostgreSQL database, restored into an empty one of the same name."""

    def __init__(self, server, url):
        self._server = server
        self._name = make_url(url).database
        self.url = url

    def take(self):
        self._dump = self._server.dump(self._name)

    def restore(self):
        self._server.restore(self._name, self._dump)


@pytest.fixture(params=["sqlite", "postgresql"])
def backups(request, tmp_path):
    if request.param == "sqlite":
        return SqliteBackups(tmp_path)
    return PostgresBackups(request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_url"))


async def erase_behind_a_backup(folder, backups, nats, site, eventually):
    """Take two patients in, back up, erase the first; return both patients' ids, once the erasure is published."""
    async with running_intake(folder, database_url=backups.url, nats_url=nats.servers[0], site=site) as service:
        await service.verify_staff("nurse", "physician")
        erased = await service.refer()
        kept = await service.refer(patient=patient_body(bsn="123456782", family_name="Zuurkool"))
        backups.take()
        shutil.copy(folder / ERASURES, folder / "old-file")
        path = f"/patients/{erased['patient_id']}/erasure"
        answer = await service.post(path, {"ground": "patient-request"}, "physician")
        assert answer.status_code == 201, answer.text

        async def published():
            name = StoreName(site=site, service="intake")
            return len(await read_history(nats, name, "patient", "patient-erased")) == 1

        await eventually(published)
    return erased, kept


async def assert_gone(service, erased, kept):
    shown = (await service.get(f"/cases/{erased['case_id']}", "nurse")).json()
    assert (shown["identity"], shown["notes"]) == (None, [])
    assert [row["patient_id"] for row in await service.rows("vault")] == [kept["patient_id"]]
    assert (await service.get(f"/fhir/R4/Patient/{erased['patient_id']}", "nurse")).status_code == 410
    other = (await service.get(f"/cases/{kept['case_id']}", "nurse")).json()
    assert other["identity"]["family_name"] == "Zuurkool"
    assert [note["text"] for note in other["notes"]] == [referral_body()["question"]]


@pytest.mark.parametrize("known_from", ["file", "stream", "stream-and-an-old-file"])
async def test_an_erasure_is_replayed_before_anything_is_served(
    tmp_path, backups, nats_settings, site, eventually, known_from
):
    erased, kept = await erase_behind_a_backup(tmp_path, backups, nats_settings, site, eventually)
    backups.restore()
    if known_from == "stream":
        (tmp_path / ERASURES).unlink()
    if known_from == "stream-and-an-old-file":
        shutil.copy(tmp_path / "old-file", tmp_path / ERASURES)
    url = NOWHERE if known_from == "file" else nats_settings.servers[0]
    for _ in range(2):
        async with running_intake(tmp_path, database_url=backups.url, nats_url=url, site=site) as service:
            await assert_gone(service, erased, kept)
            view = (await service.get(f"/patients/{erased['patient_id']}/erasure", "physician")).json()
            assert view["replayed_at"] is not None
            assert (view["ground"], view["erased_by"]) == ("patient-request", "physician")
            replays = [
                json.loads(row["raw"])["data"]
                for row in await service.rows("events")
                if row["type"] == "spoel.intake.erasure-replayed.v1"
            ]
            expected = {
                "patient_id": erased["patient_id"],
                "erasure_id": view["erasure_id"],
                "found_in": known_from.split("-")[0],
            }
            assert replays == [expected]
            assert len((tmp_path / ERASURES).read_text().splitlines()) == 2


async def test_while_nobody_can_say_who_was_erased_nobodys_file_is_opened(tmp_path, own_nats, site, eventually):
    backups = SqliteBackups(tmp_path)
    erased, kept = await erase_behind_a_backup(tmp_path, backups, own_nats.settings, site, eventually)
    backups.restore()
    (tmp_path / ERASURES).unlink()
    own_nats.kill()
    url = own_nats.settings.servers[0]
    async with running_intake(tmp_path, database_url=backups.url, nats_url=url, site=site) as service:
        for refused in (
            await service.get(f"/cases/{erased['case_id']}", "nurse"),
            await service.get(f"/cases/{kept['case_id']}", "nurse"),
            await service.post("/referrals", referral_body(), "hospital"),
        ):
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:spoel:problem:erasures-unchecked")
        ready = (await service.http.get("/health/ready")).json()
        assert "erasures" in json.dumps(ready)
        assert not (tmp_path / ERASURES).exists()
        own_nats.start()

        async def opened():
            return (await service.get(f"/cases/{kept['case_id']}", "nurse")).status_code == 200

        await eventually(opened, within_s=30)
        await assert_gone(service, erased, kept)


@pytest.fixture
def file(tmp_path):
    return ErasureFile(tmp_path / "erasures", "vault-1")


def test_a_line_that_a_crash_cut_off_is_not_counted_and_does_not_spoil_the_next(tmp_path, file):
    first, second = erasure_of("patient-1"), erasure_of("patient-2")
    file.keep([first])
    with (tmp_path / "erasures").open("ab") as torn:
        torn.write(second[:40])
    assert file.read() == [first]
    file.keep([first, second])
    assert file.read() == [first, second]


def erasure_of(patient_id):
    return Envelope(
        id=f"erasure-of-{patient_id}",
        source="/spoel/local/intake/main",
        type="spoel.intake.patient-erased.v1",
        subject=patient_id,
        time=NOW,
        aggregatetype="patient",
        aggregateversion=2,
        correlationid="c",
        actorid="physician",
        site="local",
        data={"patient_id": patient_id, "ground": "patient-request"},
    ).to_bytes()


@pytest.mark.parametrize("content", [b"", b"garbage\n", b'{"format": "spoel-erasures/1", "vault": "other"}\n', b"[]\n"])
def test_a_file_that_is_damaged_or_another_installations_stops_the_start(tmp_path, file, content):
    (tmp_path / "erasures").write_bytes(content)
    with pytest.raises(CannotStart, match="file of erasures"):
        file.read()
    for line in (b"garbage", b"{}", erasure_of("patient-1")[:-1]):
        head = b'{"format": "spoel-erasures/1", "vault": "vault-1"}'
        (tmp_path / "erasures").write_bytes(b"\n".join([head, line, erasure_of("patient-2"), b""]))
        with pytest.raises(CannotStart, match="damaged"):
            file.read()


async def test_a_stream_that_was_never_made_holds_no_erasure(nats_settings):
    assert await read_history(nats_settings, StoreName(site="nowhere", service="intake"), "patient", "x") == []

"""The walker that looks for personal data in clear finds what is planted, wherever and however."""

import base64
import json
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.engine import make_url
from tests.system.walker import Finder, Piece, files_in, rows_of

from spoel_common.sealing import generate_key_pair, seal
from spoel_local.instance import StoreLocation

SECRETS = {"name": "Aardappelkroket", "accented": "Zoë-Ænne", "bsn": "999911120", "text": "wil graag rust"}
FINDER = Finder(SECRETS)


@pytest.mark.invariant("INV-6")
@pytest.mark.parametrize("what", SECRETS)
@pytest.mark.parametrize(
    "written",
    [
        lambda secret: secret.encode(),
        lambda secret: secret.lower().encode(),
        lambda secret: json.dumps({"a": f"x {secret}."}).encode(),
        lambda secret: secret.upper().encode(),
        lambda secret: secret.encode("utf-16"),
        lambda secret: secret.encode().hex().encode(),
        lambda secret: base64.b64encode(secret.encode()),
        lambda secret: base64.b64encode(b"1" + secret.encode() + b".."),
        lambda secret: base64.b64encode(b"12" + secret.encode()),
        lambda secret: base64.b64encode(json.dumps({"given": "x", "text": secret}, ensure_ascii=False).encode()),
    ],
)
def test_a_secret_is_found_in_whatever_form_it_is_written(what, written):
    content = b"before " + written(SECRETS[what]) + b" after"
    assert {leak.what for leak in FINDER.leaks([Piece("here", content)])} == {what}


def test_what_is_sealed_is_no_leak_and_digits_within_a_longer_number_are_none():
    sealed = seal(" ".join(SECRETS.values()), generate_key_pair().public_key, "e", "t").encode()
    assert FINDER.leaks([Piece("here", sealed), Piece("there", b"t_ns: 19999111203, Aardappel, kroket")]) == []


def test_a_leak_in_a_file_in_a_name_and_in_a_log_is_found(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "intake.log").write_text('{"event": "refused", "input": "999911120"}\n')
    (tmp_path / "export-aardappelkroket.bin").write_bytes(b"\x00\x01")
    (tmp_path / "fine").write_text("nothing here")
    found = FINDER.leaks(files_in(tmp_path))
    assert {(leak.what, leak.place.rpartition("/")[2]) for leak in found} == {
        ("bsn", "intake.log"),
        ("name", "export-aardappelkroket.bin"),
    }


@pytest.mark.parametrize("cell", ["Mevr. Aardappelkroket", b"\x00Aardappelkroket\x00"])
async def test_a_leak_in_a_table_of_sqlite_is_found(tmp_path, cell):
    with closing(sqlite3.connect(tmp_path / "some.db")) as connection, connection:
        connection.execute("CREATE TABLE fine (a, b)")
        connection.execute("CREATE TABLE cells (a, b)")
        connection.execute("INSERT INTO fine VALUES (1, 'x')")
        connection.execute("INSERT INTO cells VALUES (1, ?)", [cell])
    found = FINDER.leaks(
        await rows_of(StoreLocation(service="audit", store="main", url=f"sqlite:///{tmp_path}/some.db"))
    )
    assert [(leak.what, leak.place) for leak in found] == [("name", "audit: cells")]


async def test_a_leak_in_a_table_of_postgresql_is_found(tmp_path, postgres_url, open_database):
    database = await open_database(postgres_url)
    async with database.write() as conn:
        await conn.exec_driver_sql("CREATE TABLE cells (a INTEGER, b BYTEA)")
        await conn.exec_driver_sql("INSERT INTO cells VALUES (1, 'Aardappelkroket'), (2, 'x')")
    url = make_url(postgres_url)
    (tmp_path / "password").write_text(url.password)
    (tmp_path / "password").chmod(0o600)
    store = StoreLocation(
        service="audit",
        store="main",
        url=url.set(password=None).render_as_string(),
        password_file=tmp_path / "password",
    )
    found = FINDER.leaks(await rows_of(store))
    assert [(leak.what, leak.place) for leak in found] == [("name", "audit: cells")]

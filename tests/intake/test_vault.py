import base64
from datetime import date

import pytest
from tests.intake.service import create_app_for, running_intake
from tests.intake.story import NOW

from spoel_common.errors import PatientErased
from spoel_common.sealing import CannotOpen, seal
from spoel_common.settings import CannotStart
from spoel_intake.bsn import parse_bsn
from spoel_intake.domain.patient import Identity
from spoel_intake.vault import Vault, VaultDamaged, VaultKeys

KEYS = VaultKeys.derive(bytes(range(32)))
OTHER_KEYS = VaultKeys.derive(bytes(32))
SANNE = Identity(
    bsn=parse_bsn("111222333"),
    given_name="Sanne",
    family_name="Jansen",
    birth_date=date(1980, 2, 29),
    gender="female",
)


@pytest.fixture
async def stored(tables):
    async with tables.write() as conn:
        return await Vault(KEYS).store(conn, "patient-1", SANNE, NOW)


async def test_an_identity_comes_out_as_it_went_in(tables, stored):
    async with tables.read() as conn:
        file = await Vault(KEYS).open(conn, "patient-1", None, "test")
    assert (file.identity, file.registered_at) == (SANNE, NOW)
    assert "Sanne" not in repr(file)


@pytest.mark.requirement("IN-15")
async def test_a_patient_is_found_by_bsn_and_only_with_the_right_key(tables, stored):
    async with tables.read() as conn:
        assert await Vault(KEYS).find(conn, SANNE.bsn) == stored
        assert await Vault(KEYS).find(conn, parse_bsn("999911120")) is None
        assert await Vault(OTHER_KEYS).find(conn, SANNE.bsn) is None


@pytest.mark.invariant("INV-6")
async def test_another_key_encryption_key_opens_nothing(tables, stored):
    async with tables.read() as conn:
        with pytest.raises(VaultDamaged):
            await Vault(OTHER_KEYS).open(conn, "patient-1", None, "test")


@pytest.mark.invariant("INV-6")
async def test_a_wrapped_key_that_is_moved_to_another_patient_opens_nothing(tables, stored):
    async with tables.write() as conn:
        await Vault(KEYS).store(conn, "patient-2", SANNE.model_copy(update={"bsn": "999911120"}), NOW)
        await conn.exec_driver_sql(
            "UPDATE vault SET wrapped_private_key ="
            " (SELECT wrapped_private_key FROM vault WHERE patient_id = 'patient-1')"
        )
    async with tables.read() as conn:
        with pytest.raises(VaultDamaged):
            await Vault(KEYS).open(conn, "patient-2", None, "test")


@pytest.mark.invariant("INV-6")
async def test_an_identity_that_is_moved_to_another_patient_does_not_open(tables, stored):
    async with tables.write() as conn:
        await Vault(KEYS).store(conn, "patient-2", SANNE.model_copy(update={"bsn": "999911120"}), NOW)
        await conn.exec_driver_sql(
            "UPDATE vault SET sealed_identity = (SELECT sealed_identity FROM vault WHERE patient_id = 'patient-1')"
        )
    async with tables.read() as conn:
        with pytest.raises(CannotOpen):
            await Vault(KEYS).open(conn, "patient-2", None, "test")


async def test_who_was_never_here_or_was_erased_cannot_be_opened(tables, stored):
    async with tables.write() as conn:
        await conn.exec_driver_sql("UPDATE vault SET wrapped_private_key = NULL")
        for patient_id in ("patient-1", "nobody"):
            with pytest.raises(PatientErased):
                await Vault(KEYS).open(conn, patient_id, None, "test")


async def test_a_text_opens_only_in_the_event_it_was_sealed_for(tables, stored):
    sealed = seal("Somber.", stored.public_key, "event-1", "spoel.intake.referral-received.v1")
    async with tables.read() as conn:
        file = await Vault(KEYS).open(conn, "patient-1", None, "test")
    assert file.read(sealed, "event-1", "spoel.intake.referral-received.v1") == "Somber."
    with pytest.raises(CannotOpen):
        file.read(sealed, "event-2", "spoel.intake.referral-received.v1")


def test_wrapping_and_index_keys_differ():
    assert KEYS.wrapping != KEYS.index
    assert VaultKeys.from_text(base64.b64encode(bytes(range(32))).decode()) == KEYS


@pytest.mark.parametrize("text", ["", "too short", base64.b64encode(bytes(31)).decode(), "é" * 44])
def test_a_key_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="key-encryption key"):
        VaultKeys.from_text(text)


def test_intake_does_not_start_without_a_key(tmp_path):
    with pytest.raises(CannotStart, match="SPOEL_KEK_FILE is not set"):
        create_app_for(tmp_path, kek_file=None)


@pytest.mark.parametrize(("content", "mode"), [("no key", 0o600), (base64.b64encode(bytes(32)).decode(), 0o644)])
def test_intake_does_not_start_with_a_key_that_is_none_or_that_others_may_read(tmp_path, content, mode):
    (tmp_path / "kek").write_text(content)
    (tmp_path / "kek").chmod(mode)
    with pytest.raises(CannotStart, match="SPOEL_KEK_FILE"):
        create_app_for(tmp_path)


@pytest.mark.hazard("HZ-14")
async def test_intake_does_not_start_with_another_key_on_the_same_database(tmp_path):
    async with running_intake(tmp_path) as service:
        await service.refer()
    (tmp_path / "kek").write_text(base64.b64encode(bytes(32)).decode())
    with pytest.raises(CannotStart, match="not the key-encryption key"):
        async with running_intake(tmp_path):
            pass

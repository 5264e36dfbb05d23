"""Composition root of intake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

from fastapi import FastAPI

from spoel_common import web
from spoel_common.runtime import Runtime, Verifier
from spoel_common.settings import CannotStart, read_secret
from spoel_intake import api
from spoel_intake.erasing import Erasures
from spoel_intake.erasure_file import ErasureFile
from spoel_intake.fhir import routes as fhir
from spoel_intake.fhir.outcome import render_outcome
from spoel_intake.handlers import Intake
from spoel_intake.openings import Openings
from spoel_intake.projections import answers_projection, strips_projection
from spoel_intake.room_withdrawals import RoomWithdrawals
from spoel_intake.settings import IntakeSettings
from spoel_intake.strips import StripPusher
from spoel_intake.vault import OtherKeyEncryptionKey, Vault, VaultKeys


def create_app(settings: IntakeSettings, verifier: Verifier | None = None) -> FastAPI:
    """Wire intake together; nothing is opened before the lifespan begins.

    Args:
        settings: from the environment.
        verifier: who says who holds a token; the issuer of the settings if None.

    Raises:
        CannotStart: there is no usable key-encryption key.
    """
    keys = _vault_keys(settings)
    vault = Vault(keys)
    zone = ZoneInfo(settings.time_zone)
    pusher = StripPusher(vault)
    openings = Openings(vault)
    withdrawals = RoomWithdrawals()
    erasures = Erasures(vault, ErasureFile(settings.erasures_path, vault.fingerprint), pusher.wake)

    @asynccontextmanager
    async def vault_checked(runtime: Runtime) -> AsyncIterator[None]:
        await _check_vault(runtime, vault)
        await erasures.begin(runtime)
        yield

    runtime = Runtime(
        settings,
        "spoel_intake",
        [strips_projection(zone, pusher.wake), answers_projection(), withdrawals.projection()],
        resources=vault_checked,
        tasks={
            "strips": pusher.run,
            "openings": openings.run,
            "erasures": erasures.run,
            "room-withdrawals": withdrawals.run,
        },
        checks=[erasures.check],
        verifier=verifier,
        body_hash_key=keys.requests,
    )
    return web.create_app(
        runtime,
        title="Spoel intake",
        description="Referral, safety screen, indication, consent; the identity vault; the FHIR door to the EHR.",
        routers=[api.router, fhir.router],
        error_renderers={fhir.PREFIX: render_outcome},
        state={"intake": Intake(vault, zone), "erasures": erasures},
    )


def _vault_keys(settings: IntakeSettings) -> VaultKeys:
    if settings.kek_file is None:
        raise CannotStart(
            "SPOEL_KEK_FILE is not set. It names the file with the key-encryption key of the identity vault; make it "
            "with 'spoel init'."
        )
    try:
        return VaultKeys.from_text(read_secret(settings.kek_file, "kek_file"))
    except ValueError as error:
        raise CannotStart(
            f"SPOEL_KEK_FILE names {settings.kek_file}, which holds no key: {error}. It is 32 random bytes in base64; "
            "make it with 'spoel init'."
        ) from error


async def _check_vault(runtime: Runtime, vault: Vault) -> None:
    try:
        async with runtime.database.write() as conn:
            await vault.check_key(conn)
    except OtherKeyEncryptionKey as error:
        raise CannotStart(
            "SPOEL_KEK_FILE is not the key-encryption key with which this database's identity vault was made. "
            "Put the right key back; without it no patient can be found or read."
        ) from error

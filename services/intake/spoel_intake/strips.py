"""Identity strips: the name and birth date of a room's own bookings of the day, sealed to that room (INV-6).

They lie in a JetStream key-value bucket, one a session, and never in an event. The table ``strips`` says which belong
there; this loop makes the bucket agree with it, as often as needed: what fails is tried again, and nothing is lost.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
import structlog

from spoel_common.clock import utc_now
from spoel_common.errors import PatientErased
from spoel_common.messaging import Broker, Bucket
from spoel_common.runtime import Runtime
from spoel_common.sealing import CannotOpen, seal
from spoel_common.settings import Settings
from spoel_common.store import Database
from spoel_intake.domain.patient import Identity
from spoel_intake.tables import rooms, strips
from spoel_intake.vault import Vault, VaultDamaged

STRIP_TTL_S = 48 * 3_600
LOOK_EVERY_S = 1.0
"""Days begin and end without an event, so the table is looked at now and then too."""

IDENTITY_STRIP = "identity-strip"
"""Stands where the event type would in what a strip is bound to; the session's id stands for the event's."""

_log = structlog.get_logger(__name__)


class DueStrip(NamedTuple):
    """A strip that the bucket does not have as the table says.

    Attributes:
        public_key: of the room; None where the strip is to be deleted.
    """

    session_id: str
    room_id: str
    patient_id: str | None
    revision: int
    public_key: str | None

    @property
    def key(self) -> str:
        """Name of the strip in the bucket."""
        return f"{self.room_id}.{self.session_id}"


def bucket_name(site: str) -> str:
    """Return the name of the bucket of a site's strips."""
    return f"spoel-{site}-strips"


class StripPusher:
    """Keeps the bucket of strips as the table says.

    Args:
        vault: knows who the patients are.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Tell that the table changed."""
        self._changed.set()

    async def run(self, runtime: Runtime) -> None:
        """Carry out what is due, for ever; waits while NATS is away, raises where NATS fails, to be started again."""
        bucket: Bucket | None = None
        while True:
            self._changed.clear()
            now = utc_now(runtime.clock)
            await _end_expired(runtime.database, now)
            broker = runtime.broker
            if broker is not None and broker.connected:
                for strip in await _due(runtime.database, now):
                    bucket = bucket or await _open_bucket(broker, runtime.settings)
                    await self._carry_out(runtime.database, bucket, strip)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()

    async def _carry_out(self, database: Database, bucket: Bucket, strip: DueStrip) -> None:
        sealed = await self._sealed(database, strip)
        if sealed is None:
            await bucket.delete(strip.key)
        else:
            await bucket.put(strip.key, sealed.encode())
        await _note_pushed(database, strip)
        _log.info("strip.put" if sealed else "strip.deleted", session_id=strip.session_id, room_id=strip.room_id)

    async def _sealed(self, database: Database, strip: DueStrip) -> str | None:
        """Return the sealed strip, or None where there is none to be."""
        if strip.public_key is None or strip.patient_id is None:
            return None
        try:
            async with database.read() as conn:
                file = await self._vault.open(conn, strip.patient_id, None, f"identity strip for {strip.room_id}")
            return seal(strip_text(file.identity), strip.public_key, strip.session_id, IDENTITY_STRIP)
        except (PatientErased, VaultDamaged, CannotOpen, ValueError) as error:
            _log.error(
                "strip.impossible", session_id=strip.session_id, room_id=strip.room_id, reason=type(error).__name__
            )
            return None


async def _open_bucket(broker: Broker, settings: Settings) -> Bucket:
    return await Bucket.open(broker, bucket_name(settings.site), STRIP_TTL_S, settings.stream_replicas)


def strip_text(identity: Identity) -> str:
    """Return what a room gets to see, as JSON: given name, family name and birth date."""
    return json.dumps(
        {
            "given_name": identity.given_name,
            "family_name": identity.family_name,
            "birth_date": identity.birth_date.isoformat(),
        },
        ensure_ascii=False,
    )


async def _end_expired(database: Database, now: datetime) -> None:
    """End the strips of days that are over: a room keeps none after closing time."""
    expired = sa.and_(sa.not_(strips.c.ended), strips.c.visible_until <= now)
    async with database.read() as conn:
        found = await conn.scalar(sa.select(sa.func.count()).select_from(strips).where(expired))
    if found:
        async with database.write() as conn:
            await conn.execute(sa.update(strips).where(expired).values(ended=True, revision=strips.c.revision + 1))


async def _due(database: Database, now: datetime) -> Sequence[DueStrip]:
    """Return the strips whose newest revision was not carried out yet, and can be: none of a day that is over."""
    of_today = sa.and_(rooms.c.room_id.is_not(None), strips.c.visible_from <= now, strips.c.visible_until > now)
    key = sa.case((strips.c.ended, None), else_=rooms.c.strip_public_key)
    query = (
        sa.select(strips.c.session_id, strips.c.room_id, strips.c.patient_id, strips.c.revision, key)
        .join_from(strips, rooms, strips.c.room_id == rooms.c.room_id, isouter=True)
        .where(strips.c.room_id.is_not(None), strips.c.revision > strips.c.pushed)
        .where(sa.or_(strips.c.ended, of_today))
        .order_by(strips.c.session_id)
    )
    async with database.read() as conn:
        return [DueStrip(*row) for row in await conn.execute(query)]


async def _note_pushed(database: Database, strip: DueStrip) -> None:
    """Note the revision as carried out; if a later one was faster (two processes), have it done once more."""
    own = strips.c.session_id == strip.session_id
    async with database.write() as conn:
        noted = await conn.execute(
            sa.update(strips).where(own, strips.c.pushed < strip.revision).values(pushed=strip.revision)
        )
        if not noted.rowcount:
            await conn.execute(sa.update(strips).where(own).values(pushed=0))

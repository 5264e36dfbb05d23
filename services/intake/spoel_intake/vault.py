"""The identity vault: the only place that knows who a patient is.

Each patient has an X25519 key pair. The identity is sealed to the patient's public key; the private key is stored
wrapped (AES-256-GCM) with a key that is derived from the installation's key-encryption key. Whoever destroys the
wrapped private key has made the identity, and every text sealed to the patient anywhere, unreadable for ever. A patient
is found again by a keyed hash of the BSN (HMAC-SHA256), which tells nothing without the key-encryption key.
"""

import base64
import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple, Self

import sqlalchemy as sa
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.errors import PatientErased
from spoel_common.people import Actor
from spoel_common.sealing import generate_key_pair, open_sealed, seal
from spoel_common.store import upsert
from spoel_intake.bsn import Bsn
from spoel_intake.domain.patient import Identity
from spoel_intake.domain.refusals import ErasuresUnchecked
from spoel_intake.tables import vault, vault_key

KEK_BYTES = 32
_NONCE_BYTES = 12
_IDENTITY_RECORD = "identity-record"
"""Stands where the event type would in what an identity is bound to; the patient's id stands for the event's."""

_log = structlog.get_logger(__name__)


class VaultDamaged(Exception):
    """A wrapped key does not open: another key-encryption key, or the row was changed."""


class OtherKeyEncryptionKey(Exception):
    """The vault was made with another key-encryption key than the one given."""


@dataclass(frozen=True)
class VaultKeys:
    """Keys derived from the key-encryption key, one for each use (HKDF, RFC 5869).

    Attributes:
        wrapping: wraps patients' private keys.
        index: keys the hashes of BSNs.
        requests: keys the hashes of requests' bodies: without it a body could be guessed, its BSN above all.
    """

    wrapping: bytes
    index: bytes
    requests: bytes

    @classmethod
    def derive(cls, kek: bytes) -> Self:
        """Derive the keys.

        Raises:
            ValueError: the key-encryption key has not 32 bytes.
        """
        if len(kek) != KEK_BYTES:
            raise ValueError(f"the key-encryption key has {len(kek)} bytes; it must have {KEK_BYTES}")
        return cls(
            wrapping=_derive(kek, b"spoel/intake/wrapping/1"),
            index=_derive(kek, b"spoel/intake/bsn-index/1"),
            requests=_derive(kek, b"spoel/intake/requests/1"),
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Derive the keys from a key-encryption key in base64.

        Raises:
            ValueError: not base64 of 32 bytes.
        """
        try:
            kek = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise ValueError("the key-encryption key is not base64") from error
        return cls.derive(kek)


class VaultEntry(NamedTuple):
    """A patient in the vault. ``public_key``: X25519, base64."""

    patient_id: str
    public_key: str


@dataclass(frozen=True, repr=False)
class OpenFile:
    """A patient's file while it is open: the identity, and a reader of texts that were sealed to the patient."""

    identity: Identity
    registered_at: datetime
    _private_key: bytes

    def read(self, sealed: str, event_id: str, event_type: str) -> str:
        """Return the text that an event holds sealed.

        Raises:
            spoel_common.sealing.CannotOpen: changed, moved to another event, or sealed for another key.
        """
        return open_sealed(sealed, self._private_key, event_id, event_type)


class Vault:
    """Seals and opens patients' files; every opening is logged, without content.

    Args:
        keys: derived from the installation's key-encryption key.
    """

    def __init__(self, keys: VaultKeys) -> None:
        self._keys = keys
        self._closed_because: str | None = None

    @property
    def fingerprint(self) -> str:
        """What tells this vault's key-encryption key from another, and nothing else."""
        return hmac.digest(self._keys.index, b"fingerprint", sha256).hex()

    @property
    def closed_because(self) -> str | None:
        """Why nothing may be found or opened at the moment, or None."""
        return self._closed_because

    def close(self, because: str | None) -> None:
        """Let nothing be found or opened, and say why; None lets it again."""
        self._closed_because = because

    async def check_key(self, conn: AsyncConnection) -> None:
        """Make sure that the vault was made with this key-encryption key; note it in an empty vault.

        With another key no BSN would be found, and everybody would get a second file.

        Args:
            conn: a write transaction.

        Raises:
            OtherKeyEncryptionKey: it was made with another one.
        """
        own = self.fingerprint
        noted = (await conn.execute(sa.select(vault_key.c.fingerprint))).scalar_one_or_none()
        if noted is None:
            await upsert(conn, vault_key, [{"fingerprint": own}])
        elif noted != own:
            raise OtherKeyEncryptionKey

    async def holds_patients(self, conn: AsyncConnection) -> bool:
        """Tell whether there is any file at all."""
        return await conn.scalar(sa.select(vault.c.patient_id).limit(1)) is not None

    async def lock(self, conn: AsyncConnection, patient_id: str) -> None:
        """Keep others from referring a patient while this transaction erases; those who do already are waited for."""
        await conn.execute(sa.select(vault.c.patient_id).where(vault.c.patient_id == patient_id).with_for_update())

    async def erase(self, conn: AsyncConnection, patient_id: str) -> None:
        """Destroy a patient's keys, sealed identity and hash of the BSN.

        Args:
            conn: a write transaction.
            patient_id: the pseudonym; nothing happens where there is no such file.
        """
        await conn.execute(sa.delete(vault).where(vault.c.patient_id == patient_id))

    async def find(self, conn: AsyncConnection, bsn: Bsn) -> VaultEntry | None:
        """Return the patient with this BSN, who cannot be erased until the caller's write transaction ends.

        Raises:
            ErasuresUnchecked: the vault is closed.
        """
        self._check_open()
        query = sa.select(vault.c.patient_id, vault.c.public_key).where(vault.c.bsn_index == self._index(bsn))
        row = (await conn.execute(query.with_for_update(read=True))).one_or_none()
        return None if row is None else VaultEntry(row.patient_id, row.public_key)

    async def forget_number(self, conn: AsyncConnection, patient_id: str) -> None:
        """Let a file not be found by its BSN any more, which is another person's: that person gets a file of their own.

        What stands in place of the BSN's hash is one of the pseudonym, which no BSN is like.

        Args:
            conn: a write transaction.
            patient_id: the file; it is opened as before.
        """
        nobody = hmac.digest(self._keys.index, patient_id.encode(), sha256)
        await conn.execute(sa.update(vault).where(vault.c.patient_id == patient_id).values(bsn_index=nobody))

    async def store(self, conn: AsyncConnection, patient_id: str, identity: Identity, at: datetime) -> VaultEntry:
        """Make a key pair and put a new patient into the vault.

        Args:
            conn: a write transaction.
            patient_id: a new pseudonym.
            identity: who it is.
            at: the moment of registration.

        Raises:
            sqlalchemy.exc.IntegrityError: another transaction stored a patient with this BSN in the meantime.
        """
        keys = generate_key_pair()
        values = {
            "patient_id": patient_id,
            "bsn_index": self._index(identity.bsn),
            "public_key": keys.public_key,
            "wrapped_private_key": self._wrap(keys.private_key, patient_id),
            "sealed_identity": seal(identity.model_dump_json(), keys.public_key, patient_id, _IDENTITY_RECORD),
            "registered_at": at,
        }
        await conn.execute(sa.insert(vault), values)
        return VaultEntry(patient_id, keys.public_key)

    async def open(self, conn: AsyncConnection, patient_id: str, by: Actor | None, purpose: str) -> OpenFile:
        """Open a patient's file.

        Args:
            conn: any connection.
            patient_id: the pseudonym.
            by: who gets to see it; None where intake itself opens it to seal it for a room.
            purpose: what for, for the log.

        Raises:
            PatientErased: the private key was destroyed, or there never was such a patient.
            VaultDamaged: the wrapped key does not open.
            ErasuresUnchecked: the vault is closed.
        """
        self._check_open()
        row = (await conn.execute(sa.select(vault).where(vault.c.patient_id == patient_id))).one_or_none()
        if row is None or row.wrapped_private_key is None:
            raise PatientErased("Who this patient is cannot be read any more: the file was erased.")
        private_key = self._unwrap(row.wrapped_private_key, patient_id)
        record = open_sealed(row.sealed_identity, private_key, patient_id, _IDENTITY_RECORD)
        _log.info(
            "vault-opened",
            patient_id=patient_id,
            purpose=purpose,
            person_id="intake" if by is None else by.person_id,
            roles=[] if by is None else sorted(map(str, by.roles)),
        )
        return OpenFile(Identity.model_validate_json(record), row.registered_at, private_key)

    def _check_open(self) -> None:
        if self._closed_because is not None:
            raise ErasuresUnchecked(f"Nobody's file is opened for now: {self._closed_because}. Try again shortly.")

    def _index(self, bsn: Bsn) -> bytes:
        return hmac.digest(self._keys.index, bsn.encode(), sha256)

    def _wrap(self, private_key: bytes, patient_id: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._keys.wrapping).encrypt(nonce, private_key, patient_id.encode())

    def _unwrap(self, wrapped: bytes, patient_id: str) -> bytes:
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(self._keys.wrapping).decrypt(nonce, sealed, patient_id.encode())
        except InvalidTag as error:
            raise VaultDamaged(
                f"the wrapped key of patient {patient_id} does not open: the key-encryption key is another one than "
                "it was made with, or the row was changed"
            ) from error


def _derive(kek: bytes, use: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEK_BYTES, salt=None, info=use).derive(kek)
